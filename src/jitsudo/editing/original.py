"""A file as it is before the edit, and its replacement: by rename, with owner, mode and attributes kept."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jitsudo.errors import Denied, Failed
from jitsudo.types import AbsPath

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
NEW_MODE: Final = 0o644
_PERMISSIONS: Final = 0o1777  # a set-user-id bit was earned by the old content
# These speak of the content; the kernel or the administrator sets them anew.
_NOT_COPIED: Final = ("security.ima", "security.evm", "security.capability")


@dataclass(frozen=True, slots=True)
class Original:
    """One file: its folder (a descriptor), its name in it, and what was read. `descriptor` None: there is no file yet."""

    path: AbsPath
    folder: int
    name: str
    descriptor: int | None
    content: bytes
    uid: int
    gid: int
    mode: int
    seen: tuple[int, ...]

    @property
    def is_new(self) -> bool:
        """Whether the edit would create the file."""
        return self.descriptor is None


def open_original(path: AbsPath) -> Original:
    """The file, by no link, in folders that are root's alone: what is replaced is what the policy judged.

    Raises Denied for what must not be edited this way, Failed where it cannot be read.
    """
    folder, name = _folder_of(path)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return Original(path, folder, name, None, b"", 0, 0, NEW_MODE, ())
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Denied(f"{path}: editing symbolic links is not permitted", "name the file that it leads to") from None
        raise Failed(f"{path}: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Denied(f"{path}: not a regular file")
    if status.st_nlink > 1:
        raise Denied(f"{path}: has other names (hard links), which would keep the old content")
    content = read_bounded(descriptor, path)
    mode = stat.S_IMODE(status.st_mode) & _PERMISSIONS
    return Original(path, folder, name, descriptor, content, status.st_uid, status.st_gid, mode, _identity(status))


def read_bounded(descriptor: int, what: str) -> bytes:
    """The content, if it is not too much to keep in memory. Raises Failed."""
    content = b""
    while chunk := os.read(descriptor, MAX_FILE_BYTES + 1 - len(content)):
        content += chunk
        if len(content) > MAX_FILE_BYTES:
            raise Failed(f"{what}: more than {MAX_FILE_BYTES // (1024 * 1024)} MiB")
    return content


def check_unchanged(original: Original) -> None:
    """Raises Failed where somebody else changed, replaced, created or removed the file meanwhile."""
    try:
        now: tuple[int, ...] = _identity(os.stat(original.name, dir_fd=original.folder, follow_symlinks=False))
    except FileNotFoundError:
        now = ()
    if now != original.seen:
        raise Failed(f"{original.path} was changed by somebody else meanwhile", "look at it, then edit it again")


def install(original: Original, content: bytes) -> None:
    """Put the content in the file's place, whole or not at all. Raises Failed."""
    temporary = f".jitsudo-{secrets.token_hex(8)}"  # a dot, no suffix: what includes *.conf or a whole folder leaves it out
    try:
        _write(original, temporary, content)
        check_unchanged(original)
        if original.is_new:
            os.link(temporary, original.name, src_dir_fd=original.folder, dst_dir_fd=original.folder)
        else:
            os.rename(temporary, original.name, src_dir_fd=original.folder, dst_dir_fd=original.folder)
        os.fsync(original.folder)
    except OSError as error:
        raise Failed(f"{original.path} was not replaced: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=original.folder)


def _write(original: Original, name: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=original.folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(descriptor, original.uid, original.gid)
        for attribute, value in _attributes(original):
            os.setxattr(descriptor, attribute, value)
        os.fchmod(descriptor, original.mode)
        os.fsync(descriptor)


def _attributes(original: Original) -> Iterator[tuple[str, bytes]]:
    if original.descriptor is None:
        return
    try:
        names = os.listxattr(original.descriptor)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return
    for name in names:
        if name not in _NOT_COPIED:
            yield name, os.getxattr(original.descriptor, name)


def _folder_of(path: AbsPath) -> tuple[int, str]:
    *folders, name = path.split("/")[1:]
    if not name or any(part in ("", ".", "..") for part in (*folders, name)):
        raise Denied(f"{path}: not the plain path of a file")
    folder, at = _step("/", None, "/"), ""
    for part in folders:
        at = f"{at}/{part}"
        inner = _step(part, folder, at)
        os.close(folder)
        folder = inner
    return folder, name


def _step(part: str, inside: int | None, at: str) -> int:
    try:
        folder = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    except OSError as error:
        raise Failed(f"{at}: {error.strerror}") from None
    status = os.fstat(folder)
    if status.st_uid != 0 or status.st_mode & 0o022:
        os.close(folder)
        raise Denied(f"{at}: editing files in a folder that somebody else can write is not permitted")
    return folder


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
