"""Reads the policy's files: who owns them, what YAML they are allowed to be, and where each piece of them stands."""

from __future__ import annotations

import gc
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from jitsudo.errors import PolicyInvalid
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.issues import Issue, shown
from jitsudo.policy.model import Policy
from jitsudo.policy.nodes import Node
from jitsudo.policy.parse import parse
from jitsudo.types import Digest

MAX_FILE_BYTES = 1 << 20
MAX_FILES = 1000

_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:/[A-Za-z0-9_+-]{1,64}){0,2}")
_HINT = "correct the files, then: jitsudo policy reload"


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy in force: `files` are the exact bytes by name, `digest` is over names and bytes, `issues` are warnings."""

    policy: Policy
    digest: Digest
    files: Mapping[str, bytes]
    issues: tuple[Issue, ...] = ()


def load_policy(directory: Path, *, check_owner: bool = True) -> LoadedPolicy:
    """Read `*.yaml` of `directory`, each once. Raises `PolicyInvalid` with every issue, and nothing else."""
    issues: list[Issue] = []
    if check_owner:
        issues += _folder_issues(directory)
    files: dict[str, bytes] = {}
    if not issues:
        files = _read_files(directory, issues, check_owner)
    return _load(files, issues)


def load_policy_bytes(files: Mapping[str, bytes]) -> LoadedPolicy:
    """The same from bytes by file name, for the kept copy of the last good policy."""
    issues = [_issue(name, f"larger than {MAX_FILE_BYTES} bytes") for name, raw in files.items() if len(raw) > MAX_FILE_BYTES]
    return _load(dict(files), issues)


def read_checked(directory: Path, name: str, issues: list[Issue], *, check_owner: bool = True) -> bytes | None:
    """One file of a folder, as strictly as a policy file; None, without an issue, if it does not exist."""
    if not (directory / name).exists():
        return None
    if check_owner:
        issues += _folder_issues(directory)
    files: dict[str, bytes] = {}
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        issues.append(_issue(str(directory), f"cannot be read: {error.strerror}"))
        return None
    try:
        _read_file(folder, name, files, issues, check_owner)
    finally:
        os.close(folder)
    return files.get(name)


def _load(files: dict[str, bytes], issues: list[Issue]) -> LoadedPolicy:
    if len(files) > MAX_FILES:
        issues.append(_issue(min(files), f"more than {MAX_FILES} files"))
    unreadable = any(issue.severity == "error" for issue in issues)
    with _collecting_later():
        result = parse(() if unreadable else _nodes(files, issues), _zone)
    issues = sorted({*issues, *result.issues})
    if result.policy is None or any(issue.severity == "error" for issue in issues):
        errors = tuple(str(issue) for issue in issues)
        raise PolicyInvalid("the policy was refused", _HINT, issues=errors)
    return LoadedPolicy(result.policy, _digest(files), files, tuple(issues))


def _nodes(files: Mapping[str, bytes], issues: list[Issue]) -> Iterator[Node]:
    """One file's at a time: those of a large policy would together take more memory than the policy."""
    for name in sorted(files):
        node = read_yaml(shown(name), files[name], issues)
        if node is not None:
            yield node


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Without the search for reference cycles, which takes half the time of loading: what is read has none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _issue(name: str, message: str) -> Issue:
    return Issue(shown(name), 1, 1, "error", message)


def _digest(files: Mapping[str, bytes]) -> Digest:
    """Over names and bytes, each with its length in front, so that no two sets of files look alike."""
    state = hashlib.sha256()
    for name in sorted(files):
        for part in (os.fsencode(name), files[name]):
            state.update(len(part).to_bytes(8, "big") + part)
    return Digest("sha256:" + state.hexdigest())


def _folder_issues(directory: Path) -> list[Issue]:
    """The folder and every folder above it must be root's, writable by nobody else, and no links."""
    absolute = Path(os.path.abspath(directory))
    issues = []
    for folder in (absolute, *absolute.parents):
        try:
            refused = _refusal(os.lstat(folder), stat.S_IFDIR, "folder")
        except OSError as error:
            refused = f"cannot be read: {error.strerror}"
        if refused:
            issues.append(_issue(str(folder), refused))
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
        issues.append(_issue(str(directory), f"cannot be read: {error.strerror}"))
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
        issues.append(_issue(name, f"cannot be read: {error.strerror}"))
        return
    if len(raw) > MAX_FILE_BYTES:
        refused = f"larger than {MAX_FILE_BYTES} bytes"
    if refused:
        issues.append(_issue(name, refused))
    else:
        files[name] = raw


def _zone(name: str) -> tzinfo | None:
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
