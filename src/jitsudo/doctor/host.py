"""The host as checks see it: files below a root folder, programs by absolute path, nothing that waits for ever."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from jitsudo.doctor.findings import Unknown

PROGRAM_SECONDS: Final = 1.5
MAX_READ_BYTES: Final = 1 << 20
MAX_LINKS: Final = 40  # as the kernel (path_resolution(7))

EntryKind = Literal["file", "folder", "link", "socket", "other"]
_KINDS: Final[dict[int, EntryKind]] = {
    stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFSOCK: "socket",
}  # fmt: skip
# Never the caller's: neither PATH nor what changes the language of an answer or the libraries of a program.
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/", "SYSTEMD_COLORS": "0"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What lstat says; `mode` are the permission bits."""

    path: str
    kind: EntryKind
    mode: int
    uid: int
    gid: int
    size: int = 0
    mtime: float = 0.0
    ctime: float = 0.0

    @property
    def mode_text(self) -> str:
        return f"{self.mode:04o}"

    @property
    def others_write(self) -> bool:
        return self.kind != "link" and bool(self.mode & 0o022)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended and what it said."""

    status: int
    out: str
    err: str = ""


Runner = Callable[[Sequence[str], float, str], Ran]


def run_program(argv: Sequence[str], seconds: float, text: str = "") -> Ran:
    """Run a program in a session of its own, and end all of it when its time is over: raises TimeoutError."""
    with subprocess.Popen(  # noqa: S603  absolute paths of checks of ours, no shell, an environment of our own
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=_ENVIRONMENT, cwd="/", start_new_session=True,
    ) as program:  # fmt: skip
        try:
            out, err = program.communicate(text.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            raise TimeoutError(f"{argv[0]} did not end within {seconds:g} s") from None
    return Ran(program.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _read(fd: int, limit: int) -> bytes:
    """A file of /proc comes in pieces."""
    found = b""
    while len(found) < limit and (piece := os.read(fd, limit - len(found))):
        found += piece
    return found


class Host:
    """One host. Paths are absolute and resolved below `root`; links do not lead out of it.

    `package`: where the jitsudo lies that examines. What the examiner may not see raises Unknown, which `examine` turns into a
    finding of that severity.
    """

    def __init__(
        self, root: Path = Path("/"), *, runner: Runner = run_program, uid: int | None = None, machine: str | None = None
    ) -> None:
        self.root = root
        self.uid = os.geteuid() if uid is None else uid
        self.package = str(Path(__file__).resolve().parents[1])
        self.machine = os.uname().machine if machine is None else machine
        self._runner = runner
        self._asked: dict[tuple[str, ...], Ran | Unknown | None] = {}
        self._asking = threading.Lock()

    @property
    def is_root(self) -> bool:
        return self.uid == 0

    # -- files -----------------------------------------------------------------------------------------------------------

    def entry(self, path: str) -> Entry | None:
        """What is at `path` itself, None if nothing is; a link is not followed."""
        try:
            found = os.lstat(self.at(path))
        except OSError as error:
            self._absent(error, path)
            return None
        return self._entry(path, found)

    def target(self, path: str) -> Entry | None:
        """What is at the end of the links at `path`; its `path` says where that is."""
        return self.entry(self.real(path))

    def exists(self, path: str) -> bool:
        return self.target(path) is not None

    def read(self, path: str, limit: int = MAX_READ_BYTES) -> str | None:
        """The text of a regular file, at most `limit` bytes of it; None if there is none."""
        try:
            fd = os.open(self.at(self.real(path)), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return None
                return _read(fd, limit).decode(errors="surrogateescape")
            finally:
                os.close(fd)
        except OSError as error:
            self._absent(error, path)
            return None

    def lines(self, path: str) -> list[str]:
        """The lines of a configuration file that say something: no comments, no empty ones, stripped."""
        stripped = (line.strip() for line in (self.read(path) or "").splitlines())
        return [line for line in stripped if line and not line.startswith("#")]

    def names(self, folder: str) -> list[str]:
        """What a folder holds, sorted; nothing if there is no such folder."""
        try:
            return sorted(os.listdir(self.at(self.real(folder))))
        except OSError as error:
            self._absent(error, folder)
            return []

    def link(self, path: str) -> str | None:
        """Where the link at `path` leads, as it is written; None if it is none."""
        try:
            return os.readlink(self.at(path))
        except OSError as error:
            if error.errno != errno.EINVAL:
                self._absent(error, path)
            return None

    def real(self, path: str) -> str:
        """`path` with every link followed, as far as it exists."""
        parts, found, links = path.strip("/").split("/"), "", 0
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                found = found.rpartition("/")[0]
                continue
            led = self._led(f"{found}/{part}")
            if led is None:
                found = f"{found}/{part}"
                continue
            links += 1
            if links > MAX_LINKS:
                raise Unknown(f"{path} is a circle of links")
            parts = [*led.split("/"), *parts]
            found = "" if led.startswith("/") else found
        return found or "/"

    def at(self, path: str) -> Path:
        """Where `path` really lies, for what has to be opened or walked."""
        return self.root / path.lstrip("/")

    def owner(self, path: str, found: os.stat_result) -> int:
        """Whose it is. `path`: for a tree that was planted, whose owners are told and not those of the files."""
        del path
        return found.st_uid

    def group(self, path: str, found: os.stat_result) -> int:
        """As `owner`."""
        del path
        return found.st_gid

    def _led(self, path: str) -> str | None:
        try:
            return os.readlink(self.at(path))
        except OSError:
            return None

    def _entry(self, path: str, found: os.stat_result) -> Entry:
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "other")
        mode = stat.S_IMODE(found.st_mode)
        uid, gid = self.owner(path, found), self.group(path, found)
        return Entry(path, kind, mode, uid, gid, found.st_size, found.st_mtime, found.st_ctime)

    def _absent(self, error: OSError, path: str) -> None:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        if isinstance(error, PermissionError):
            raise Unknown(f"needs root: {path}") from None
        raise Unknown(f"{path} cannot be read: {error.strerror}") from None

    # -- what the kernel says -------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The wall clock."""
        return time.time()

    def uptime(self) -> float:
        """Seconds since boot, suspend not counted: what systemd calls monotonic."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def free_bytes(self, path: str) -> int:
        """What root may still write where `path` lies."""
        found = os.statvfs(self.at(self.real(path)))
        return found.f_bfree * found.f_frsize

    def file_capabilities(self, path: str) -> bytes | None:
        """The attribute security.capability as it is (capabilities(7)), None if there is none."""
        try:
            return os.getxattr(self.at(path), "security.capability", follow_symlinks=False)
        except OSError:
            return None

    # -- programs ---------------------------------------------------------------------------------------------------------

    def run(self, *argv: str, seconds: float = PROGRAM_SECONDS, text: str = "") -> Ran | None:
        """Run a program by its absolute path; None if it is not installed. Unknown if it does not end in time."""
        try:
            return self._runner(argv, seconds, text)
        except FileNotFoundError:
            return None
        except TimeoutError as error:
            raise Unknown(str(error)) from None
        except OSError as error:
            raise Unknown(f"{argv[0]} cannot be run: {error.strerror}") from None

    def once(self, *argv: str) -> Ran | None:
        """As `run`, for what several checks want to know: asked once, and not waited for again if no answer came."""
        with self._asking:
            if argv not in self._asked:
                try:
                    self._asked[argv] = self.run(*argv)
                except Unknown as unknown:
                    self._asked[argv] = unknown
            answer = self._asked[argv]
        if isinstance(answer, Unknown):
            raise answer
        return answer

    def require_root(self, what: str) -> None:
        """Raises Unknown for anybody but root."""
        if not self.is_root:
            raise Unknown(f"needs root: {what}")
