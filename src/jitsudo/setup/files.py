"""Writing files so that a crash at any moment leaves the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from jitsudo.errors import Failed


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
