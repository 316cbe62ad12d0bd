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
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jitsudo.errors import Denied
from jitsudo.types import AbsPath, Uid

SO_PEERPIDFD: Final = 77  # Linux 6.5, asm-generic/socket.h; not yet in Python's socket module
UNSET_LOGIN_UID: Final = 0xFFFF_FFFF  # proc(5), /proc/PID/loginuid
MAX_ANCESTORS: Final = 4096
READ_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Process:
    """What /proc says of a process."""

    pid: int
    parent: int
    start_time: int  # clock ticks since boot, proc_pid_stat(5) field 22
    cgroup: str
    ended: bool = False  # a zombie: nothing of it runs any more, whether or not its parent ever asks


@dataclass(frozen=True, slots=True)
class Status:
    """What proc_pid_stat(5) says of a process. `terminal` is the controlling terminal's device number, 0 without one."""

    parent: int
    session: int
    terminal: int
    start_time: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whose a process is. `login_uid` is None where the audit login uid is unset."""

    real_uid: int
    effective_uid: int
    login_uid: Uid | None


def read_process(pid: int) -> Process:
    """Raises ProcessLookupError if there is none."""
    status = read_status(pid)
    return Process(pid, status.parent, status.start_time, read_cgroup(pid), status.ended)


def read_status(pid: int) -> Status:
    """Raises ProcessLookupError if there is no such process."""
    # The command name in parentheses may hold anything, parentheses and spaces included.
    stat = _read(pid, "stat")
    fields = stat[stat.rindex(b")") + 2 :].split(None, 20)
    # A first thread that has ended is shown as a zombie as well, while others of the process run on.
    ended = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
    return Status(int(fields[1]), int(fields[3]), int(fields[4]) & 0xFFFF_FFFF, int(fields[19]), ended)


def read_cgroup(pid: int) -> str:
    """The process's path in the unified hierarchy, "" if there is none (cgroups(7)). Raises ProcessLookupError."""
    # By newline alone: a folder's name may hold other ends of lines, and what looks like another line after them.
    for line in _read(pid, "cgroup").split(b"\n"):
        if line.startswith(b"0::"):
            return line[3:].decode("utf-8", "surrogateescape")
    return ""


def read_cwd(pid: int) -> AbsPath:
    """The process's current directory. Raises Denied where it cannot be established."""
    try:
        path = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        path = ""
    if not path.startswith("/") or path.endswith(" (deleted)"):
        raise Denied("the current directory was deleted or cannot be seen", "change to one that exists: cd /")
    return AbsPath(path)


def read_credentials(pid: int) -> Credentials:
    """Raises ProcessLookupError if there is no such process."""
    uids = next(line for line in _read(pid, "status").splitlines() if line.startswith(b"Uid:")).split()
    login_uid = int(_read(pid, "loginuid"))
    return Credentials(int(uids[1]), int(uids[2]), None if login_uid == UNSET_LOGIN_UID else Uid(login_uid))


def _read(pid: int, name: str) -> bytes:
    try:
        descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # These files are made whole at the first read: one that fills less than its buffer gave all of it (seq_file.c).
            data = os.read(descriptor, READ_BYTES)
            if len(data) == READ_BYTES:
                data += b"".join(iter(lambda: os.read(descriptor, READ_BYTES), b""))
            return data
        finally:
            os.close(descriptor)
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None


def ancestry(pid: int) -> Iterator[Process]:
    """The process itself, its parent, and so on, as far as they can be read."""
    seen: set[int] = set()
    while pid > 0 and pid not in seen and len(seen) < MAX_ANCESTORS:
        seen.add(pid)
        try:
            process = read_process(pid)
        except ProcessLookupError:
            return
        yield process
        pid = process.parent


def is_running(pidfd: int) -> bool:
    """Whether the process behind a pidfd has not ended (pidfd_open(2)); poll, since select(2) ends at descriptor 1023."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return not poller.poll(0)


@dataclass(slots=True)
class Peer:
    """The process that connected. `uid` is its effective uid at connect time; the pidfd is closed by `close`."""

    uid: Uid
    pid: int
    credentials: Credentials
    pidfd: int

    def is_alive(self) -> bool:
        return is_running(self.pidfd)

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
        peer = Peer(uid=Uid(uid & 0xFFFF_FFFF), pid=pid, credentials=read_credentials(pid), pidfd=pidfd)
        if not peer.is_alive() or peer.credentials.effective_uid != uid:
            raise unknown
    except BaseException as error:  # whatever it is, the pidfd must not leak; nobody is identified
        os.close(pidfd)
        if isinstance(error, OSError):
            raise unknown from None
        raise
    return peer


def _peer_pidfd(connection: socket.socket, pid: int) -> int:
    with contextlib.suppress(OSError):  # before Linux 6.5 the kernel does not know the option
        return int(connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
    return os.pidfd_open(pid)
