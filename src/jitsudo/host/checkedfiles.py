"""Reads configuration that decides who becomes root: files and folders that nobody but root could have written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from jitsudo.policy.issues import Issue, shown

MAX_FILE_BYTES: Final = 1 << 20
MAX_FILES: Final = 1000


def read_folder(directory: Path, issues: list[Issue], *, check_owner: bool = True) -> dict[str, bytes]:
    """The `*.yaml` of a folder by name, each read once; what keeps one from being read is an issue."""
    if check_owner:
        found = folder_issues(directory)
        issues += found
        if found:
            return {}
    return _read_files(directory, issues, check_owner)


def file_issue(name: str, message: str) -> Issue:
    """An error that concerns a file as a whole."""
    return Issue(shown(name), 1, 1, "error", message)


def read_checked(directory: Path, name: str, issues: list[Issue], *, check_owner: bool = True) -> bytes | None:
    """One file of a folder, as strictly as a policy file; None, without an issue, if it does not exist."""
    if not (directory / name).exists():
        return None
    if check_owner:
        issues += folder_issues(directory)
    files: dict[str, bytes] = {}
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        issues.append(file_issue(str(directory), f"cannot be read: {error.strerror}"))
        return None
    try:
        _read_file(folder, name, files, issues, check_owner)
    finally:
        os.close(folder)
    return files.get(name)


def folder_issues(directory: Path) -> list[Issue]:
    """The folder and every folder above it must be root's, writable by nobody else, and no links."""
    absolute = Path(os.path.abspath(directory))
    issues = []
    for folder in (absolute, *absolute.parents):
        try:
            refused = _refusal(os.lstat(folder), stat.S_IFDIR, "folder")
        except OSError as error:
            refused = f"cannot be read: {error.strerror}"
        if refused:
            issues.append(file_issue(str(folder), refused))
    return issues


def _refusal(found: os.stat_result, kind: int, what: str) -> str | None:
    if stat.S_IFMT(found.st_mode) != kind:
        return f"is not a {what}"
    if found.st_uid != 0:
        return f"belongs to uid {found.st_uid}; it must be root's (chown root)"
    if found.st_mode & 0o022:
        return "can be written by others than root (chmod go-w)"
    return None


def _read_files(directory: Path, issues: list[Issue], check_owner: bool) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        issues.append(file_issue(str(directory), f"cannot be read: {error.strerror}"))
        return files
    try:
        for name in sorted(os.listdir(folder)):
            if name.startswith("."):
                continue
            if name.endswith(".yaml"):
                _read_file(folder, name, files, issues, check_owner)
            elif name.endswith(".yml"):
                issues.append(Issue(shown(name), 1, 1, "warning", "not read: policy files end in .yaml"))
            if len(files) > MAX_FILES:
                break
    finally:
        os.close(folder)
    return files


def _read_file(folder: int, name: str, files: dict[str, bytes], issues: list[Issue], check_owner: bool) -> None:
    """Open once, ask the descriptor who may write it, read it: nothing can be swapped in between."""
    try:
        # O_NONBLOCK: a FIFO must not hang the daemon.
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb") as file:
            found = os.fstat(fd)
            refused = _refusal(found, stat.S_IFREG, "regular file") if check_owner else None
            if not check_owner and not stat.S_ISREG(found.st_mode):
                refused = "is not a regular file"
            raw = b"" if refused else file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        # O_NOFOLLOW says ELOOP of every link.
        why = "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        issues.append(file_issue(name, why))
        return
    if len(raw) > MAX_FILE_BYTES:
        refused = f"larger than {MAX_FILE_BYTES} bytes"
    if refused:
        issues.append(file_issue(name, refused))
    else:
        files[name] = raw
