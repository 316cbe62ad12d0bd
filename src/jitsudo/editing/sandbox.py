"""The check of an edit: a command that sees the edited files in their places, and can change nothing outside.

It runs as root, with few capabilities, in namespaces of its own: every file system read-only, an empty and private /tmp,
/run, /var/log and /var/cache (their folders are there, so that pid files and logs can be opened), a /dev of five devices, no
other process in sight, no terminal. The network is the host's: what a configuration names has to be resolvable.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from jitsudo.editing import syscalls
from jitsudo.editing.original import Original
from jitsudo.elevation.environment import SECURE_PATH
from jitsudo.errors import Failed

CHECK_SECONDS: Final = 60.0
MAX_OUTPUT_BYTES: Final = 65_536
SIGNALLED: Final = 128  # and the signal's number, as a shell says it
SCRATCH_DEPTH: Final = 3
MAX_SCRATCH_FOLDERS: Final = 2_000
MAX_ENTRIES: Final = 5_000  # of a folder that has to be put together anew
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": SECURE_PATH, "HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh", "LANG": "C.UTF-8",
}  # fmt: skip

_SCRATCH: Final = ("/tmp", "/var/tmp", "/run", "/var/log", "/var/cache")  # noqa: S108 - mounted over, not written to
_EMPTY: Final = ("/tmp", "/var/tmp")  # noqa: S108
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS: Final = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_STAGE: Final = "/tmp"  # noqa: S108
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT (capabilities(7)): what daemons do when
# they look at their configuration. None of them undoes a mount, sees a process or reaches a device. Not DAC_READ_SEARCH: with
# it, open_by_handle_at(2) finds what is hidden beneath a mount.
_CAPABILITIES: Final = frozenset({0, 1, 3, 4, 6, 7, 10, 18})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the check said: `passed` is exit status 0 and nothing else; `output` is what it wrote, shortened."""

    passed: bool
    output: bytes
    how: str


def run_check(argv: Sequence[str], edited: Sequence[tuple[Original, bytes]], seconds: float = CHECK_SECONDS) -> Outcome:
    """Run one command on the edited files. Raises Failed where it could not be run, or not confined."""
    program = _find(argv[0])
    output, output_end = os.pipe2(os.O_CLOEXEC)
    trouble, trouble_end = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    we = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        _become(lambda: _confine(program, argv, edited, output_end, we), trouble_end)
    os.close(we)
    os.close(output_end)
    os.close(trouble_end)
    try:
        written, in_time = _drain(output, child, seconds)
        _, status = os.waitpid(child, 0)
        problem = os.read(trouble, 1000).decode(errors="replace")
    finally:
        os.close(output)
        os.close(trouble)
    if problem:
        raise Failed(f"the check could not be run: {problem}")
    code = os.waitstatus_to_exitcode(status)
    if not in_time:
        return Outcome(False, written, f"it took more than {seconds:.0f} s")
    return Outcome(code == 0, written, f"exit status {code}")


def _find(name: str) -> str:
    places = (name,) if "/" in name else tuple(f"{folder}/{name}" for folder in SECURE_PATH.split(":"))
    for path in places:
        if path.startswith("/") and os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    raise Failed(f"the check could not be run: {name}: command not found", "have the role's `check` corrected")


def _drain(output: int, child: int, seconds: float) -> tuple[bytes, bool]:
    """What is written until everybody has closed the pipe; the child is killed when time is up."""
    written, end = b"", time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        # Time may be up only because it was long until we looked: a check that has ended by then has ended in time.
        if (left <= 0 or not select.select([output], [], [], left)[0]) and not _has_ended(child):
            os.kill(child, signal.SIGKILL)
            return written, False
        chunk = os.read(output, MAX_OUTPUT_BYTES)
        if not chunk:
            return written, True
        written = (written + chunk)[:MAX_OUTPUT_BYTES]


def _has_ended(child: int) -> bool:
    """And with it, whatever it started: nobody else holds the pipe then."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _become(work: Callable[[], NoReturn], trouble: int) -> NoReturn:
    """Do the work and nothing else: what goes wrong is told through `trouble`, and no exception leaves this process."""
    try:
        work()
    except BaseException as fault:  # noqa: BLE001 - after fork(2), whatever it is: never back into the caller's code
        with contextlib.suppress(OSError):
            os.write(trouble, str(fault).encode(errors="replace")[:1000] or b"?")
    os._exit(125)


def _die_with(parent: int) -> None:
    """End when the parent does, whose pidfd this is: from now on, and if it has ended already."""
    syscalls.die_with_parent(signal.SIGKILL)
    if select.select([parent], [], [], 0)[0]:
        os._exit(SIGNALLED + signal.SIGKILL)


def _confine(
    program: str, argv: Sequence[str], edited: Sequence[tuple[Original, bytes]], output: int, parent: int
) -> NoReturn:
    os.setsid()
    _die_with(parent)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.set_mount_attributes(
        "/", syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV, recursive=True
    )
    for folder in _SCRATCH:
        _scratch(folder)
    _put_in_place(edited)
    _scratch(_STAGE)
    _devices()
    outer = os.pidfd_open(os.getpid())
    inner = os.fork()  # the first process of the new process namespace
    if inner == 0:
        _die_with(outer)
        flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", "proc", flags)
        # Not the check itself: the first process ignores signals that would end another (abort(3), say). When it ends, all do.
        check = os.fork()
        if check == 0:
            _execute(program, argv, output)
        os._exit(_status_of(check))
    os._exit(_status_of(inner))


def _status_of(child: int) -> int:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else SIGNALLED - code


def _execute(program: str, argv: Sequence[str], output: int) -> NoReturn:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    null = os.open("/dev/null", os.O_RDWR)
    for standard, descriptor in enumerate((null, output, output)):
        os.dup2(descriptor, standard)
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    syscalls.keep_capabilities(_CAPABILITIES, last)
    os.execve(program, list(argv), dict(ENVIRONMENT))  # noqa: S606 - the policy's own command


def _scratch(folder: str) -> None:
    """An empty file system over the folder, with the same folders in it."""
    if not os.path.isdir(folder) or os.path.islink(folder):
        return
    mode = stat.S_IMODE(os.stat(folder).st_mode)
    inner = [] if folder in _EMPTY else _folders_below(folder)
    syscalls.mount("tmpfs", folder, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, f"mode={mode:o},size=64m")
    for path, status in inner:
        os.mkdir(path, stat.S_IMODE(status.st_mode))
        os.chown(path, status.st_uid, status.st_gid)


def _folders_below(folder: str) -> list[tuple[str, os.stat_result]]:
    """The uppermost ones first, and not all there may be: enough for pid files and logs."""
    found: list[tuple[str, os.stat_result]] = []
    level = [folder]
    for _ in range(SCRATCH_DEPTH):
        inner = []
        for path in level:
            with contextlib.suppress(OSError), os.scandir(path) as entries:
                inner += [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries if _is_folder(entry)]
            if len(found) + len(inner) > MAX_SCRATCH_FOLDERS:
                return found
        found += inner
        level = [path for path, _ in inner]
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _put_in_place(edited: Sequence[tuple[Original, bytes]]) -> None:
    """Each edited text where its file is; a folder that gets a new file is put together anew, entry by entry."""
    for number, folder in enumerate(sorted({_folder(original) for original, _ in edited if original.is_new})):
        new = {original.name for original, _ in edited if original.is_new and _folder(original) == folder}
        _rebuild(folder, f"{_STAGE}/folder-{number}", new)
    for number, (original, content) in enumerate(edited):
        staged = f"{_STAGE}/file-{number}"
        with open(staged, "xb") as file:
            file.write(content)
            os.fchown(file.fileno(), original.uid, original.gid)
            os.fchmod(file.fileno(), original.mode)
        _bind(staged, original.path)


def _folder(original: Original) -> str:
    return original.path.rpartition("/")[0] or "/"


def _rebuild(folder: str, staged: str, new: set[str]) -> None:
    status, names = os.stat(folder), os.listdir(folder)
    if len(names) > MAX_ENTRIES:
        raise Failed(f"{folder} has too many entries for a new one to be checked")
    os.mkdir(staged)
    for name in names:
        source, target = f"{folder}/{name}", f"{staged}/{name}"
        kind = os.lstat(source)
        if stat.S_ISLNK(kind.st_mode):
            os.symlink(os.readlink(source), target)
            continue
        if stat.S_ISDIR(kind.st_mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        syscalls.mount(source, target, None, syscalls.MS_BIND | syscalls.MS_REC)
    for name in new:
        os.close(os.open(f"{staged}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.chown(staged, status.st_uid, status.st_gid)
    os.chmod(staged, stat.S_IMODE(status.st_mode))
    _bind(staged, folder)


def _bind(source: str, target: str) -> None:
    syscalls.mount(source, target, None, syscalls.MS_BIND | syscalls.MS_REC)
    syscalls.set_mount_attributes(target, syscalls.MOUNT_ATTR_RDONLY, recursive=True)


def _devices() -> None:
    sources = {name: os.open(f"/dev/{name}", os.O_PATH) for name in _DEVICES}
    syscalls.mount("tmpfs", "/dev", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "mode=755,size=4m")
    for name, source in sources.items():
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        syscalls.mount(f"/proc/self/fd/{source}", f"/dev/{name}", None, syscalls.MS_BIND)
        syscalls.set_mount_attributes(f"/dev/{name}", 0, syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_RDONLY)
        os.close(source)
    for name, leads_to in _DEVICE_LINKS.items():
        os.symlink(f"/proc/self/{leads_to}", f"/dev/{name}")
    os.mkdir("/dev/shm")  # noqa: S108
    os.chmod("/dev/shm", 0o1777)  # noqa: S103, S108
