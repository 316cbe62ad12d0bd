"""Who is at the other end of a unix socket, and what is known of a process: from the kernel, never from a message.

The uid of SO_PEERCRED is fixed at connect(2) (unix(7)). Everything else comes from /proc/PID, which could be another process
by now (CVE-2019-6133): a pidfd is held, and the process must still be alive, with the peer's uid, after the reading.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from dataclasses import dataclass
from typing import Final

from jitsudo.errors import Denied
from jitsudo.types import Uid

SO_PEERPIDFD: Final = 77  # Linux 6.5, asm-generic/socket.h; not yet in Python's socket module
UNSET_LOGIN_UID: Final = 0xFFFF_FFFF  # proc(5), /proc/PID/loginuid
MAX_ANCESTORS: Final = 4096


@dataclass(frozen=True, slots=True)
class Process:
    """What /proc says of a process. `login_uid` is None where the audit login uid is unset."""

    pid: int
    parent: int
    real_uid: int
    effective_uid: int
    login_uid: Uid | None
    start_time: int  # clock ticks since boot, proc_pid_stat(5) field 22
    cgroup: str


def read_process(pid: int) -> Process:
    """Raises ProcessLookupError if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
        with open(f"/proc/{pid}/status", "rb") as file:
            status = file.read()
        with open(f"/proc/{pid}/loginuid", "rb") as file:
            login_uid = int(file.read())
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as text:
            cgroup = cgroup_path(text.read())
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None
    # The command name in parentheses may hold anything, parentheses and spaces included.
    after_name = stat[stat.rindex(b")") + 2 :].split()
    uids = next(line for line in status.splitlines() if line.startswith(b"Uid:")).split()
    return Process(
        pid=pid,
        parent=int(after_name[1]),
        real_uid=int(uids[1]),
        effective_uid=int(uids[2]),
        login_uid=None if login_uid == UNSET_LOGIN_UID else Uid(login_uid),
        start_time=int(after_name[19]),
        cgroup=cgroup,
    )


def cgroup_path(text: str) -> str:
    """The process's path in the unified hierarchy, from the text of /proc/PID/cgroup (cgroups(7))."""
    for line in text.splitlines():
        if line.startswith("0::"):
            return line[3:]
    return ""


def ancestors(pid: int) -> list[int]:
    """The pids from `pid` itself up to the first process, as far as they can be read."""
    chain: list[int] = []
    while pid > 0 and pid not in chain and len(chain) < MAX_ANCESTORS:
        chain.append(pid)
        try:
            pid = read_process(pid).parent
        except ProcessLookupError:
            break
    return chain


@dataclass(slots=True)
class Peer:
    """The process that connected. `uid` is its effective uid at connect time; the pidfd is closed by `close`."""

    uid: Uid
    process: Process
    pidfd: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_alive(self) -> bool:
        return not select.select([self.pidfd], [], [], 0)[0]

    def close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def identify(connection: socket.socket) -> Peer:
    """Establish the peer of a connected unix socket. Raises Denied where it cannot be established beyond doubt."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    unknown = Denied("the calling process could not be identified", "call again; the process must outlive its call")
    try:
        pidfd = _peer_pidfd(connection, pid)
    except OSError:
        raise unknown from None
    try:
        process = read_process(pid)
        peer = Peer(uid=Uid(uid & 0xFFFF_FFFF), process=process, pidfd=pidfd)
        if not peer.is_alive() or process.effective_uid != uid:
            raise unknown
    except BaseException as error:
        os.close(pidfd)
        if isinstance(error, ProcessLookupError):
            raise unknown from None
        raise
    return peer


def _peer_pidfd(connection: socket.socket, pid: int) -> int:
    with contextlib.suppress(OSError):  # before Linux 6.5 the kernel does not know the option
        return int(connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
    return os.pidfd_open(pid)
