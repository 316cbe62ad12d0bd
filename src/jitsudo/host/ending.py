"""Ends everything that belongs to a session: its scope, then what left the scope and can still be recognised.

First SIGTERM, on which sudo restores the terminal and passes it on; a second later SIGKILL. What descends from the session's
processes but sits in another cgroup (`su -` with pam_systemd opens a login session and so another scope) is found by the chain
of parents, and with it the rest of a login session that was opened from inside. What lost its parents out there is found by
the audit session that it still has from the caller's login, if it is where no login of the caller's puts anything. What was
handed to somebody else's service manager (systemd-run, cron, at) is neither and is not found.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from jitsudo.errors import Failed
from jitsudo.host import scopes
from jitsudo.host.peer import Process
from jitsudo.host.processes import all_processes, audit_session, descendants, end
from jitsudo.types import SessionId

TERM_SECONDS: Final = scopes.STOP_SECONDS
KILL_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.02
_USER_SLICE: Final = re.compile(r"/user\.slice/user-[0-9]+\.slice/")


@dataclass(frozen=True, slots=True)
class End:
    """What is to be ended. `caller_cgroup` is where sudo was called from: that login session is not ours to end."""

    session: SessionId
    pid: int  # sudo's, with its start time, since the pid may be another's by now
    start_time: int
    caller_cgroup: str
    login_scope: str = ""  # logind's, of a session that has that in place of a scope of its own

    @property
    def cgroup(self) -> str:
        return self.login_scope or scopes.scope_cgroup(self.session)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`left`: pids that are still there."""

    left: tuple[int, ...]


async def end_everything(manager: scopes.SystemManager, what: End) -> Outcome:
    """Does not raise; takes at most about TERM_SECONDS + KILL_SECONDS."""
    escaped = _outside(what, {})
    with contextlib.suppress(Failed):  # without systemd, SIGTERM is sent by ourselves below
        await manager.stop_scope(what.session)
    if what.login_scope:  # that is no unit of ours to stop: in there, logind keeps what belongs to the login
        _signal(_inside(what).values(), signal.SIGTERM)
    _signal(escaped.values(), signal.SIGTERM)
    await _until_empty(what, TERM_SECONDS, escaped)
    # Again, since what was there may have gone on starting processes.
    escaped = _outside(what, escaped)
    with contextlib.suppress(Failed):
        if not what.login_scope and scopes.is_populated(what.session):
            await manager.kill_scope(what.session)
    _signal(_inside(what).values(), signal.SIGKILL)
    _signal(escaped.values(), signal.SIGKILL)
    await _until_empty(what, KILL_SECONDS, escaped)
    return Outcome(tuple(sorted({*scopes.members_of(what.cgroup), *_alive(escaped)})))


def _inside(what: End) -> dict[int, Process]:
    everybody = all_processes()
    return {pid: everybody[pid] for pid in scopes.members_of(what.cgroup) if pid in everybody}


def _outside(what: End, known: dict[int, Process]) -> dict[int, Process]:
    """What belongs to the session without being in its scope; `known` is what was found before."""
    everybody = all_processes()
    known = {pid: p for pid, p in known.items() if pid in everybody and everybody[pid].start_time == p.start_time}
    inside = {pid for pid in scopes.members_of(what.cgroup) if pid in everybody}
    sudo = everybody.get(what.pid)
    roots = inside | known.keys() | ({sudo.pid} if sudo is not None and sudo.start_time == what.start_time else set())
    found = descendants(roots, everybody) | known.keys()
    found |= _orphans(what, roots, everybody)
    logins = {scopes.login_scope(everybody[pid].cgroup) for pid in found} - {None, scopes.login_scope(what.caller_cgroup)}
    found |= {p.pid for p in everybody.values() if scopes.login_scope(p.cgroup) in logins}
    return {pid: everybody[pid] for pid in found if pid not in inside and not _is_other_session(everybody[pid], what)}


def _orphans(what: End, roots: Collection[int], everybody: Mapping[int, Process]) -> set[int]:
    """Processes of the same login that are younger than the session, outside the caller's own slice and of no other session.

    While another session of that login lives an orphan may be that one's: it is left to whichever ends last.
    """
    logins = {audit_session(pid) for pid in roots} - {None}
    if not logins or not (slice_ := _USER_SLICE.match(what.caller_cgroup)):
        return set()
    same = {p.pid for p in everybody.values() if p.start_time >= what.start_time and audit_session(p.pid) in logins}
    if any(_is_other_session(everybody[pid], what) for pid in same):
        return set()
    return {pid for pid in same if not everybody[pid].cgroup.startswith(slice_[0])}


def _is_other_session(process: Process, what: End) -> bool:
    """A session inside this one has a scope of its own, and is ended by itself."""
    session = scopes.session_in_cgroup(process.cgroup)
    return session is not None and session != what.session


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        end(process, number)


def _alive(processes: dict[int, Process]) -> list[int]:
    everybody = all_processes()
    return [
        pid
        for pid, process in processes.items()
        if pid in everybody and everybody[pid].start_time == process.start_time
    ]


async def _until_empty(what: End, seconds: float, escaped: dict[int, Process] | None = None) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if not scopes.is_occupied(what.cgroup) and not (escaped and _alive(escaped)):
            return
        await asyncio.sleep(POLL_SECONDS)
