"""Where the login session of a process really comes from: its sshd's socket, or a console; never what a process says of itself.

1. The kernel's number of the login (audit session id, /proc/PID/sessionid) is set once, by pam_loginuid(8) in the program that
   lets the person in, and everything that they start inherits it: `su`, tmux and screen change nothing.
2. The process that let them in is root's, is in that session, runs a program of LOGIN_PROGRAMS, and was itself not started
   from within any session: a person who may run an sshd as root does not thereby choose where they come from.
3. sshd: the peer of its TCP connection, from the kernel's socket diagnostics. SSH_CONNECTION, utmp and what logind was told
   are not looked at. A peer that is an address of this host hides where the person really is.
4. login(1), a display manager: `local`, if the terminal is the machine's own, or the seat is.
5. An ssh server of the person's own between the login and the process: unknown, whoever sits behind that one.

What this cannot see: other programs of the person's that relay for somebody elsewhere (`socat`, a shared tmux, a remote
desktop), and the host before the last one of several that were logged in through one by one.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jitsudo.host.netlink import Address, TcpSocket, is_own, tcp_sockets
from jitsudo.host.peer import MAX_ANCESTORS, UNSET_LOGIN_UID
from jitsudo.policy.verdict import Source

SECONDS: Final = 2.0  # for one look at all processes
TRIES: Final = 3  # a listing of sockets may leave one out
MAX_REMEMBERED: Final = 4096
LOCAL: Final = "local"

_SSHD_FOLDERS = ("/usr/sbin", "/usr/bin", "/usr/lib/openssh", "/usr/libexec/openssh", "/usr/lib/ssh", "/usr/libexec")
SSHD: Final = frozenset(f"{folder}/{name}" for folder in _SSHD_FOLDERS for name in ("sshd", "sshd-session"))
LOGIN: Final = frozenset({"/usr/bin/login", "/bin/login"})
DISPLAY_MANAGERS: Final = frozenset(
    {
        "/usr/libexec/gdm-session-worker",
        "/usr/lib/gdm3/gdm-session-worker",
        "/usr/sbin/lightdm",
        "/usr/lib/x86_64-linux-gnu/sddm/sddm-helper",
        "/usr/lib/aarch64-linux-gnu/sddm/sddm-helper",
        "/usr/libexec/sddm-helper",
        "/usr/lib/sddm/sddm-helper",
    }
)
LOGIN_PROGRAMS: Final = SSHD | LOGIN | DISPLAY_MANAGERS
_SSH_SERVERS = ("sshd", "dropbear")  # what the names of their programs begin with
# Terminals of the machine itself, by major number and minor numbers (Documentation/admin-guide/devices.txt).
_CONSOLES: Final = (
    (4, range(1, 256)),  # virtual consoles, serial ports
    (204, range(256)),  # serial ports of other kinds
    (229, range(256)),  # consoles of hypervisors
)


class _Unknown(Exception):
    """Why a source is unknown, for the person to read."""


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    start_time: int  # clock ticks since boot
    terminal: int  # device number, 0: none


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A login whose process still runs keeps its source; one whose process has gone never gets another."""

    leader: _Process | None
    source: Source


class Sources:
    """Finds sources and remembers those of sessions whose sshd still runs. Safe to call from several threads."""

    def __init__(
        self,
        proc: Path = Path("/proc"),
        logind: Path = Path("/run/systemd/sessions"),
        sockets: Callable[[], list[TcpSocket]] = tcp_sockets,
        own: Callable[[Address], bool] = is_own,
        status: Callable[[Path], os.stat_result] = os.stat,
    ) -> None:
        self._proc = proc
        self._logind = logind
        self._sockets = sockets
        self._own = own
        self._status = status
        self._remembered: dict[int, _Remembered] = {}

    def find(self, pid: int) -> Source:
        """The source of the login that process `pid` belongs to. Never raises; blocks: call it in a thread.

        Some 0.2 ms where it is remembered; where not, 5 ms, 4 µs for each TCP socket of the host, and 15 µs for each process
        if who let the person in is no ancestor (tmux).
        The caller holds a pidfd of `pid`, and sees to it afterwards that the process still lives.
        """
        try:
            return self._find(pid)
        except _Unknown as unknown:
            return Source(None, str(unknown))
        except (OSError, ValueError) as error:
            return Source(None, f"looking it up failed: {error}")

    def at_the_door(self, pid: int) -> Source:
        """Where somebody comes from whom process `pid` is letting in just now, before there is a login session. As `find`."""
        try:
            process = self._process(pid)
            if process is None or not self._is_roots(pid):
                raise _Unknown("it is not root's program that lets people in")
            if self._session(process.parent) not in (None, self._session(1)):  # somebody's own sshd, as in (2)
                raise _Unknown("what lets people in was started from somebody's login")
            program = self._program(pid)
            if program in SSHD:
                return self._of_sshd(process)
            if program in LOGIN and _is_console(process):
                return Source(LOCAL)
            raise _Unknown(f"{program or 'this program'} does not show where people come from")
        except _Unknown as unknown:
            return Source(None, str(unknown))
        except (OSError, ValueError) as error:
            return Source(None, f"looking it up failed: {error}")

    def _find(self, pid: int) -> Source:
        # (1)
        session = self._session(pid)
        if session is None or session == self._session(1):
            raise _Unknown("the process belongs to no login session, as those of cron and of services do not")
        ancestors = list(self._ancestors(pid))
        if not ancestors:
            raise _Unknown("the process has ended")
        # (2)
        known = self._remembered.get(session)
        if known is None or not self._still(known):
            known = self._look(session, ancestors)
        # (5)
        self._check_between(ancestors, known.leader)
        return known.source

    def _look(self, session: int, ancestors: list[_Process]) -> _Remembered:
        """Find the session's source, and remember it. Raises _Unknown for what may be otherwise next time."""
        leader = next((p for p in ancestors if self._lets_in(p, session)), None)
        if leader is None:
            leaders = [p for p in self._members(session) if self._lets_in(p, session)]
            if len(leaders) > 1:
                raise _Unknown("several processes may have let the person in")
            leader = leaders[0] if leaders else None
        source = self._of_nobody(session) if leader is None else self._of(leader, session)
        found = _Remembered(leader, source)
        if not self._still(found):  # what was read may be another process's, one that got its pid
            raise _Unknown("the login's connection ended just now")
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[session] = found
        return found

    def _still(self, known: _Remembered) -> bool:
        if known.leader is None:
            return True
        now = self._process(known.leader.pid)
        return now is not None and now.start_time == known.leader.start_time

    # (2) Who let the person in?

    def _lets_in(self, process: _Process, session: int) -> bool:
        pid = process.pid
        return (
            self._session(pid) == session
            and self._is_roots(pid)
            and self._program(pid) in LOGIN_PROGRAMS
            and self._session(process.parent) in (None, self._session(1))
        )

    def _is_roots(self, pid: int) -> bool:
        """Whether all four uids are 0."""
        lines = self._read(pid, "status").splitlines()
        return next((line.split()[1:] for line in lines if line.startswith(b"Uid:")), None) == [b"0"] * 4

    def _program(self, pid: int) -> str | None:
        """The path of the file that it executes, if that is root's alone; also after an upgrade has replaced it."""
        link = self._proc / str(pid) / "exe"
        try:
            path, facts = os.readlink(link), self._status(link)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        if facts.st_uid != 0 or facts.st_mode & 0o022 or not stat.S_ISREG(facts.st_mode):
            return None
        return path.removesuffix(" (deleted)")

    def _of_nobody(self, session: int) -> Source:
        if any(self._is_user_manager(p) for p in self._members(session)):
            return Source(None, "the process was started by the person's own systemd, which all their logins share")
        return Source(None, "the connection or console of this login has gone, or it was none (cron, at, a service)")

    def _is_user_manager(self, process: _Process) -> bool:
        return process.parent == 1 and self._program(process.pid) in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")

    # (3, 4) And from where?

    def _of(self, leader: _Process, session: int) -> Source:
        program = self._program(leader.pid)
        if program in SSHD:
            return self._of_sshd(leader)
        if program in LOGIN:
            return self._of_console(leader, session)
        return self._of_seat(leader, session)

    def _of_sshd(self, leader: _Process) -> Source:
        inodes = self._socket_inodes(leader.pid)
        for _ in range(TRIES):
            sockets = self._sockets()
            peers = {s.peer for s in sockets if not s.listening and s.inode in inodes}
            if len(peers) > 1:
                # Its PAM modules may hold connections that they made; the person's came to a port that root listens on.
                ports = {s.local_port for s in sockets if s.listening and s.uid == 0}
                peers = {s.peer for s in sockets if s.inode in inodes and not s.listening and s.local_port in ports}
            if peers:
                break
        if len(peers) != 1:
            raise _Unknown("the connection of this login's sshd has ended, or is not the only one that it has, or not TCP")
        peer = peers.pop()
        if self._own(peer):
            return Source(None, f"the login comes from {peer}, an address of this host itself")
        return Source(str(peer))

    def _socket_inodes(self, pid: int) -> set[int]:
        found = set()
        folder = self._proc / str(pid) / "fd"
        for name in os.listdir(folder):
            try:
                target = os.readlink(folder / name)
            except FileNotFoundError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                found.add(int(target[len("socket:[") : -1]))
        return found

    def _of_console(self, leader: _Process, session: int) -> Source:
        """login(1) lets go of the terminal; the shell that it starts has it."""
        shells = [p for p in self._members(session) if p.parent == leader.pid]
        if len(shells) != 1 or not _is_console(shells[0]):
            return Source(None, "the login is on a terminal that is not the machine's own console")
        return Source(LOCAL)

    def _of_seat(self, leader: _Process, session: int) -> Source:
        """What logind (sd_session_get_seat(3)) has of a session that this display manager registered."""
        lines = (self._logind / str(session)).read_text("utf-8").splitlines()
        facts = dict(line.split("=", 1) for line in lines if "=" in line)
        if facts.get("LEADER") != str(leader.pid) or facts.get("REMOTE") != "0" or not facts.get("SEAT"):
            return Source(None, "the login is on a display that is not on a seat of this machine")
        return Source(LOCAL)

    # (5)

    def _check_between(self, ancestors: list[_Process], leader: _Process | None) -> None:
        for process in ancestors:
            if leader is not None and leader.pid in (process.pid, process.parent):
                return
            name = os.path.basename(self._link(process.pid))
            if name.startswith(_SSH_SERVERS):
                raise _Unknown(f"another ssh server ({name}, process {process.pid}) stands between the login and this command")

    def _link(self, pid: int) -> str:
        try:
            return os.readlink(self._proc / str(pid) / "exe")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""

    # /proc

    def _read(self, pid: int, name: str) -> bytes:
        """b"" if there is no such process."""
        try:
            with open(f"{self._proc}/{pid}/{name}", "rb", buffering=0) as file:
                return file.readall()
        except (FileNotFoundError, ProcessLookupError):
            return b""

    def _session(self, pid: int) -> int | None:
        raw = self._read(pid, "sessionid")
        return None if not raw or int(raw) == UNSET_LOGIN_UID else int(raw)

    def _process(self, pid: int) -> _Process | None:
        raw = self._read(pid, "stat")
        if not raw:
            return None
        after_name = raw[raw.rindex(b")") + 2 :].split()
        return _Process(pid, int(after_name[1]), int(after_name[19]), int(after_name[4]))

    def _ancestors(self, pid: int) -> Iterator[_Process]:
        """The process itself, its parent, and so on."""
        seen: set[int] = set()
        while pid > 0 and pid not in seen and len(seen) < MAX_ANCESTORS:
            seen.add(pid)
            process = self._process(pid)
            if process is None:
                return
            yield process
            pid = process.parent

    def _members(self, session: int) -> Iterator[_Process]:
        """Every process of a login session."""
        deadline = time.monotonic() + SECONDS
        for name in os.listdir(self._proc):
            if time.monotonic() > deadline:
                raise _Unknown("there are too many processes to look through in time")
            if name.isdigit() and self._session(int(name)) == session:
                process = self._process(int(name))
                if process is not None:
                    yield process


def _is_console(process: _Process) -> bool:
    """Whether the process's terminal is the machine's own."""
    return any(os.major(process.terminal) == major and os.minor(process.terminal) in minors for major, minors in _CONSOLES)
