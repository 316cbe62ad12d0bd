"""Tries what a cage should and should not allow, and prints what came of each attempt, as JSON by its name.

An attempt comes to "done", or to the name of the error (EPERM), or to "signal N". Each runs in a process of its own, which
ends after it. None changes the host for long where it succeeds; those that could have arguments that no kernel takes.

cage_probe.py FOLDER PID: FOLDER the service's own, PID a process of somebody else than root.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
FOLDER, PID = Path(sys.argv[1]), int(sys.argv[2])
NOBODY = 65534
PTRACE_SEIZE, CLONE_NEWUSER, CLONE_NEWNS = 0x4206, 0x10000000, 0x00020000
NO_NANOSECONDS = 2_000_000_000  # a second has fewer: EINVAL where the call comes through


def c(name: str, *arguments: object) -> None:
    """Call a function of the C library's; its failure is an OSError."""
    if getattr(LIBC, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write(folder: str) -> None:
    path = Path(folder) / "cage-probe"
    path.write_text("x")
    path.unlink()


def execute() -> None:
    path = FOLDER / "program"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    subprocess.run([path], check=True)


def map_executable() -> None:
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def map_own_file() -> None:
    path = FOLDER / "library"
    path.write_bytes(b"x" * mmap.PAGESIZE)
    with path.open("rb") as file:
        mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def setuid_file() -> None:
    path = FOLDER / "setuid"
    path.touch()
    try:
        path.chmod(0o4755)
    finally:
        path.unlink()


def give_away() -> None:
    path = FOLDER / "given"
    path.touch()
    try:
        os.chown(path, NOBODY, NOBODY)
    finally:
        path.unlink()


def connect(family: int, address: object) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.connect(address)


def make_device() -> None:
    path = FOLDER / "device"
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    path.unlink()


def system_call(name: str, *arguments: object) -> None:
    """Past the C library, which looks at arguments itself."""
    numbers = {"init_module": (175, 105), "clock_settime": (227, 112)}  # x86-64, arm64
    c("syscall", ctypes.c_long(numbers[name][os.uname().machine == "aarch64"]), *arguments)


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write /etc": lambda: write("/etc"),
    "write /usr": lambda: write("/usr/lib"),
    "write /run": lambda: write("/run"),
    "write /run/jitsudo": lambda: write("/run/jitsudo"),
    "write /run/systemd": lambda: write("/run/systemd/system"),
    "write /root": lambda: write("/root"),
    "write /home": lambda: write("/home/alice"),
    "write /var": lambda: write("/var/spool/cron"),
    "write /tmp": lambda: write("/tmp"),
    "write /dev": lambda: write("/dev"),
    "write /dev/shm": lambda: write("/dev/shm"),
    "write a cgroup": lambda: os.rmdir(os.mkdir("/sys/fs/cgroup/cage-probe") or "/sys/fs/cgroup/cage-probe"),
    "write its own folder": lambda: write(str(FOLDER)),
    "execute what it wrote": execute,
    "map what it wrote to execute it": map_own_file,
    "write memory that is executed": map_executable,
    "make a setuid file": setuid_file,
    "give a file away": give_away,
    "make a device": make_device,
    "load a module": lambda: system_call("init_module", b"", 0, b""),
    "become somebody": lambda: os.setresuid(NOBODY, NOBODY, NOBODY),
    "become a group": lambda: os.setgroups([NOBODY]),
    "mount": lambda: c("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "change root": lambda: os.chroot("/mnt"),
    "a user namespace": lambda: c("unshare", CLONE_NEWUSER),
    "a mount namespace": lambda: c("unshare", CLONE_NEWNS),
    "trace another": lambda: c("ptrace", PTRACE_SEIZE, PID, None, None),
    "set the clock": lambda: system_call("clock_settime", 0, (ctypes.c_long * 2)(0, NO_NANOSECONDS)),
    "set the host's name": lambda: socket.sethostname(socket.gethostname()),
    "run in real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "take more of the processor": lambda: os.setpriority(os.PRIO_PROCESS, 0, -15),
    "another architecture's view": lambda: c("personality", 0x0008),
    "connect over IPv4": lambda: connect(socket.AF_INET, ("127.0.0.1", 22)),
    "connect over IPv6": lambda: connect(socket.AF_INET6, ("::1", 22)),
    "see packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "ask the kernel over netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "connect to D-Bus": lambda: connect(socket.AF_UNIX, "/run/dbus/system_bus_socket"),
    "look at another's descriptors": lambda: os.listdir(f"/proc/{PID}/fd"),
    "see where another is": lambda: os.readlink(f"/proc/{PID}/cwd"),
    "signal another": lambda: os.kill(PID, 0),
}


def attempt(what: Callable[[], object]) -> str:
    """In a child, so that what it changes of itself or dies of is its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            what()
            said = "done"
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, str(error))
        except BaseException as error:  # noqa: BLE001  it is the answer
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return f"signal {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else said


json.dump({name: attempt(what) for name, what in ATTEMPTS.items()}, sys.stdout)
