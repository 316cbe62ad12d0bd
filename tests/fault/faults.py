"""Runs a program again and again, with one call of the C library failing each time, until it has no more to fail."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fake_sudo import Step, in_turn

HERE = Path(__file__).parent
MOST = 2000  # calls of one function that are failed in turn
MOST_SECONDS = 0.3  # until a program that has asked waits for the answer
SLACK = 10  # seconds, for a process to start and to end on a machine that has others to run
# What cannot succeed once it failed, and what is to be tried again.
HARD = {
    "malloc": [errno.ENOMEM], "calloc": [errno.ENOMEM], "realloc": [errno.ENOMEM], "strdup": [errno.ENOMEM],
    "socket": [errno.EMFILE, errno.ENOMEM], "lstat": [errno.EACCES],
    "connect": [errno.ECONNREFUSED, errno.EACCES, errno.ENOENT],
    "getsockopt": [errno.EBADF], "poll": [errno.ENOMEM, errno.EINVAL], "recv": [errno.ECONNRESET, errno.EBADF, errno.ENOMEM],
    "sendmsg": [errno.EPIPE, errno.ENOBUFS, errno.EBADF], "clock_gettime": [errno.EINVAL], "fcntl": [errno.EMFILE],
}  # fmt: skip
SOFT = {
    "connect": [errno.EINTR, errno.EAGAIN], "poll": [errno.EINTR, errno.EAGAIN], "recv": [errno.EINTR, errno.EAGAIN, 0],
    "sendmsg": [errno.EINTR, errno.EAGAIN, 0],
}  # fmt: skip


def each(table: dict[str, list[int]]) -> list[tuple[str, int]]:
    """Every function with every way in which it can fail."""
    return [(call, number) for call, numbers in table.items() for number in numbers]


def in_time_for(call: str, step: Step) -> Step:
    """The daemon's step; once it is waited for where that matters, since what is there already is never polled for."""
    return in_turn(_until_it_is_waited_for, step) if call == "poll" else step


def _until_it_is_waited_for(connection: socket.socket) -> None:
    """Or has gone: one whose poll(2) fails waits for nothing, and has the same time."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    end = time.monotonic() + MOST_SECONDS
    with contextlib.suppress(OSError):
        while time.monotonic() < end and not select.select([connection], [], [], 0.005)[0]:
            if Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].startswith(b"S"):
                return


def name(case: object) -> str:
    """A test's name for a number of errno."""
    return errno.errorcode.get(case, "short") if isinstance(case, int) else str(case)


@dataclass(frozen=True, slots=True)
class Fault:
    """One call that fails."""

    call: str
    number: int
    nth: int
    onwards: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """What the program did with it."""

    fault: Fault
    injected: bool
    leaks: list[str]  # what was not given back, and the place in the file that had taken it
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def leaked(self) -> bool:
        """Whether anything was not given back."""
        return bool(self.leaks)


@dataclass(frozen=True, slots=True)
class Program:
    """A command; `callers` are parts of the names of the files whose calls fail."""

    command: list[str]
    shim: Path
    report: Path
    callers: str
    environment: dict[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    owners: str = ""  # whose memory is to be given back, if not the callers'
    roots: str = ""  # whose variables may still point to some of it at the end

    def run(self, fault: Fault) -> Run:
        """Once, with that call failing."""
        leaks = self.report.with_suffix(".leaks")
        self.report.unlink(missing_ok=True)
        leaks.unlink(missing_ok=True)
        self.before()
        environment = {
            "PATH": "/usr/bin:/bin", **self.environment, "LD_PRELOAD": str(self.shim), "FAULT_CALL": fault.call,
            "FAULT_NTH": str(fault.nth), "FAULT_ERRNO": str(fault.number), "FAULT_CALLERS": self.callers,
            "FAULT_REPORT": str(self.report), "FAULT_LEAKS": str(leaks), **({"FAULT_ONWARDS": "1"} if fault.onwards else {}),
            **({"FAULT_OWNERS": self.owners} if self.owners else {}), **({"FAULT_ROOTS": self.roots} if self.roots else {}),
        }  # fmt: skip
        started = time.monotonic()
        done = subprocess.run(
            self.command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
        seconds = time.monotonic() - started
        left = leaks.read_text().splitlines() if leaks.exists() else []
        return Run(fault, self.report.exists(), left, done.returncode, done.stdout, done.stderr, seconds)

    def in_turn(self, call: str, number: int, onwards: bool = False) -> Iterator[Run]:
        """With the first such call failing, the second, and so on, as long as there are any."""
        for nth in range(1, MOST):
            run = self.run(Fault(call, number, nth, onwards))
            if not run.injected:
                return
            yield run
        raise AssertionError(f"more than {MOST} calls of {call}")


def build(folder: str, output: Path, *variables: str) -> None:
    """What that folder of the tree makes, into another one."""
    subprocess.run(["make", "--silent", "-C", str(HERE.parents[1] / folder), f"OUTPUT={output}", *variables], check=True)


def furnish(folder: Path) -> None:
    """What the native plugin looks into: a daemon's folder, a PAM stack, and cgroups within somebody's session."""
    (folder / "run").mkdir(mode=0o755)
    (folder / "cgroup").write_text("0::/jitsudo.slice/S-ZZZZZZZZ.scope\n")
    (folder / "pam.d").mkdir()
    (folder / "pam.d" / "jitsudo-sudo").touch()
