"""Writing files so that a crash at any moment leaves the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jitsudo.errors import Failed, WrongState

LOCK_SECONDS: Final = 15.0  # the timer looks every few seconds, for as long as a busy machine takes to start sh
LOCK_PAUSE_SECONDS: Final = 0.05


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Write beside PATH, make it durable, rename over PATH, make that durable. Owner: who runs this. Raises Failed."""
    beside = path.with_name(f".{path.name}.jitsudo-new")
    try:
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)  # after the content, and whatever the caller's umask is
            os.fsync(descriptor)
        os.rename(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise Failed(f"{path} cannot be written: {error.strerror}", f"is {path.parent} writable, is the disk full?") from None


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in FOLDER durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """One change at a time, of this program's and of jitsudo-restore's: flock(2) on FOLDER, which is made if need be.

    Raises WrongState where somebody else has been at it for SECONDS, Failed.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failed(f"{folder} cannot be made: {error.strerror}", "is the disk full, or mounted read-only?") from None
    try:
        _lock(descriptor, time.monotonic() + seconds)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise WrongState("another setup is at work on this host", "wait for it to end: jitsudo setup status") from None
            time.sleep(LOCK_PAUSE_SECONDS)
