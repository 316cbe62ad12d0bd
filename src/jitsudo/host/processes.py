"""Processes that left a session's scope: found by descent, ended one by one through pidfds.

A process that joins another scope (a login session that `su -` opened, a unit of the person's own systemd) is no longer ended
with ours. Who descends from the session's processes is still recognised as long as the chain of parents holds.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path

from jitsudo.host.peer import UNSET_LOGIN_UID, Process, read_process


def all_processes() -> dict[int, Process]:
    """Every process by pid; those that have ended, or end while we read, are left out."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(ProcessLookupError):
                process = read_process(int(entry.name))
                if not process.ended:
                    found[process.pid] = process
    return found


def descendants(of: Collection[int], processes: dict[int, Process]) -> set[int]:
    """The pids that descend from any of `of`, those themselves excluded."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    open_ends = list(of)
    while open_ends:
        for child in children.get(open_ends.pop(), ()):
            if child not in found:
                found.add(child)
                open_ends.append(child)
    return found - set(of)


def audit_session(pid: int) -> int | None:
    """The kernel's number of the login that a process comes from; None where it has none, or has gone."""
    try:
        number = int(Path(f"/proc/{pid}/sessionid").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if number == UNSET_LOGIN_UID else number


def end(process: Process, number: signal.Signals) -> bool:
    """Signal exactly this process, not one that got its pid since; whether it was there."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if read_process(process.pid).start_time != process.start_time:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)
    return True
