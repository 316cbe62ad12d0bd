"""What a front end passed on by descriptor, since a name could be another thing's by now."""

from __future__ import annotations

import contextlib
import os
import stat
import termios

from jitsudo.daemon.connection import Descriptors
from jitsudo.elevation.environment import SECURE_PATH
from jitsudo.errors import Denied
from jitsudo.host.terminal import Terminal
from jitsudo.types import AbsPath


def cwd_by_name(descriptors: Descriptors) -> AbsPath | None:
    """The name that the kernel has for the caller's current directory; None where it may have been deleted.

    No file system is asked, so nobody waits; nor is it known then whether the directory can still be seen.
    """
    descriptor = descriptors.get("cwd")
    with contextlib.suppress(OSError):
        path = "" if descriptor is None else os.readlink(f"/proc/self/fd/{descriptor}")
        if path.startswith("/") and not path.endswith(" (deleted)"):
            return AbsPath(path)
    return None


def caller_cwd(descriptors: Descriptors) -> AbsPath:
    """The caller's current directory, by the descriptor: a name in a message could be another folder's. Raises Denied."""
    descriptor = descriptors.get("cwd")
    with contextlib.suppress(OSError):  # a file system that is gone, or that shows itself to nobody but its owner
        if descriptor is not None and os.fstat(descriptor).st_nlink > 0:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if path.startswith("/"):
                return AbsPath(path)
    raise Denied("the current directory was deleted or cannot be seen", "change to one that exists: cd /")


def check_same_file(path: str, looked_up: str | None, descriptors: Descriptors) -> None:
    """The file that sudo found is the rule's: /bin/x and /usr/bin/x may be one, a file swapped meanwhile is another."""
    descriptor, root = descriptors.get("command"), descriptors.get("root")
    if descriptor is None or looked_up is None:
        raise Denied("sudo did not pass on the command that it found")
    there = os.stat(path.lstrip("/"), dir_fd=root, follow_symlinks=True) if root is not None else os.stat(path)
    found = os.fstat(descriptor)
    if (there.st_dev, there.st_ino) != (found.st_dev, found.st_ino):
        raise Denied(f"{looked_up} changed while it was looked at", "try again")


def find_program(name: str, root: int | None) -> str | None:
    """A program by name on the fixed secure path, or by absolute path, below the caller's root; None: there is none. Blocks."""
    candidates = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in SECURE_PATH.split(":")]
    for path in candidates if name and ("/" not in name or name.startswith("/")) else ():
        try:
            mode = (os.stat(path) if root is None else os.stat(path.lstrip("/") or ".", dir_fd=root)).st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return path
    return None


def caller_terminal(descriptors: Descriptors) -> Terminal | None:
    descriptor = descriptors.take("terminal")
    if descriptor is None:
        return None
    try:
        return Terminal(descriptor)
    except (OSError, termios.error):
        os.close(descriptor)
        return None
