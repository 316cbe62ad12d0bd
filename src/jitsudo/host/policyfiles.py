"""Reads the policy's files: who owns them, what YAML they are allowed to be, and where each piece of them stands."""

from __future__ import annotations

import gc
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from jitsudo.errors import PolicyInvalid
from jitsudo.host.calendars import Calendars, KeptCalendars
from jitsudo.host.checkedfiles import MAX_FILE_BYTES, MAX_FILES, file_issue, read_checked, read_folder
from jitsudo.host.grammarfiles import load_grammars
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.grammar import Grammars
from jitsudo.policy.issues import Issue, shown
from jitsudo.policy.model import Policy
from jitsudo.policy.nodes import Node
from jitsudo.policy.parse import ParseResult, parse
from jitsudo.policy.parse_terms import CalendarLookup
from jitsudo.types import Digest

__all__ = [
    "MAX_FILES",
    "MAX_FILE_BYTES",
    "LoadedPolicy",
    "load_policy",
    "load_policy_bytes",
    "parse_files",
    "read_checked",
    "read_folder",
]

_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:/[A-Za-z0-9_+-]{1,64}){0,2}")
_HINT = "correct the files, then: jitsudo policy reload"


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy in force: `files` are the exact bytes by name, `calendars` those of the calendars by the name that the policy
    has for them, `digest` is over names and bytes of both, `issues` are warnings."""

    policy: Policy
    digest: Digest
    files: Mapping[str, bytes]
    issues: tuple[Issue, ...] = ()
    calendars: Mapping[str, bytes] = field(default_factory=dict)


def load_policy(directory: Path, *, check_owner: bool = True, grammars: Grammars | None = None) -> LoadedPolicy:
    """Read `*.yaml` of `directory`, each once, and the calendars that they name. `grammars`: those of this host if None.

    Raises `PolicyInvalid` with every issue, and nothing else.
    """
    issues: list[Issue] = []
    files = read_folder(directory, issues, check_owner=check_owner)
    calendars = Calendars(directory, check_owner=check_owner)
    found = _grammars(grammars, issues, check_owner=check_owner)
    return _load(files, parse_files(files, issues, calendars.read, found), calendars.files)


def load_policy_bytes(
    files: Mapping[str, bytes], calendars: Mapping[str, bytes] | None = None, *, grammars: Grammars | None = None
) -> LoadedPolicy:
    """The same from bytes by file name, for the kept copy of the last good policy."""
    larger = [name for name, raw in files.items() if len(raw) > MAX_FILE_BYTES]
    issues = [file_issue(name, f"larger than {MAX_FILE_BYTES} bytes") for name in larger]
    kept = calendars or {}
    return _load(files, parse_files(files, issues, KeptCalendars(kept).read, _grammars(grammars, issues)), kept)


def _grammars(given: Grammars | None, issues: list[Issue], *, check_owner: bool = True) -> Grammars:
    """Without its grammars a policy would mean something else: errors in them refuse it."""
    if given is not None:
        return given
    found, warnings = load_grammars(check_owner=check_owner)
    issues += warnings
    return found


def parse_files(
    files: Mapping[str, bytes], issues: list[Issue], calendars: CalendarLookup, grammars: Grammars
) -> ParseResult:
    """One policy from bytes by file name, unless `issues` says already that they could not be read. Never raises."""
    if len(files) > MAX_FILES:
        issues.append(file_issue(min(files), f"more than {MAX_FILES} files"))
    unreadable = any(issue.severity == "error" for issue in issues)
    with _collecting_later():
        result = parse(() if unreadable else _nodes(files, issues), _zone, calendars, grammars)
    found = tuple(sorted({*issues, *result.issues}))
    return ParseResult(None if any(issue.severity == "error" for issue in found) else result.policy, found)


def _load(files: Mapping[str, bytes], result: ParseResult, calendars: Mapping[str, bytes]) -> LoadedPolicy:
    if result.policy is None:
        raise PolicyInvalid("the policy was refused", _HINT, issues=tuple(str(issue) for issue in result.issues))
    return LoadedPolicy(result.policy, _digest({**files, **calendars}), files, result.issues, calendars)


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


def _digest(files: Mapping[str, bytes]) -> Digest:
    """Over names and bytes, each with its length in front, so that no two sets of files look alike."""
    state = hashlib.sha256()
    for name in sorted(files):
        for part in (os.fsencode(name), files[name]):
            state.update(len(part).to_bytes(8, "big") + part)
    return Digest("sha256:" + state.hexdigest())


def _zone(name: str) -> tzinfo | None:
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
