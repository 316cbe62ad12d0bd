"""Where offline commands read from: the policy's files, the tests beside them, grammars and the table of risks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jitsudo.errors import Failed
from jitsudo.host.calendars import Calendars
from jitsudo.host.checkedfiles import MAX_FILES, file_issue, read_checked, read_folder
from jitsudo.host.grammarfiles import SITE, load_grammars
from jitsudo.host.policyfiles import parse_files
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.grammar import Grammars
from jitsudo.policy.issues import Issue
from jitsudo.policy.lint_risks import NO_RISKS, Risks, parse_risks
from jitsudo.policy.model import Policy
from jitsudo.policy.parse import ParseResult

POLICY_FOLDER: Final = Path("/etc/jitsudo/policy.d")
# Installed for the system, installed into a virtual environment, or run from a checkout.
_SHARED: Final = (
    Path("/usr/share/jitsudo"),
    Path(sys.prefix) / "share" / "jitsudo",
    Path(__file__).resolve().parents[3] / "policies",
)


@dataclass(frozen=True, slots=True)
class Sources:
    """The bytes of a policy: by the names that messages use. `folders`: beside which tests and calendars are looked for."""

    files: dict[str, bytes]
    folders: tuple[Path, ...]
    issues: tuple[Issue, ...] = ()
    check_owner: bool = False


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of programs, whatever a policy says."""

    grammars: Grammars = field(default_factory=dict)
    risks: Risks = NO_RISKS
    issues: tuple[Issue, ...] = ()


def read_sources(names: Sequence[str]) -> Sources:
    """The given files, and the `*.yaml` of given folders, as they are; without any, the policy of this host, as strictly
    as the daemon reads it."""
    if not names:
        issues: list[Issue] = []
        files = read_folder(POLICY_FOLDER, issues)
        return Sources(files, (POLICY_FOLDER,), tuple(issues), check_owner=True)
    return _given(names)


def _given(names: Sequence[str]) -> Sources:
    issues: list[Issue] = []
    files: dict[str, bytes] = {}
    folders: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir() and not path.is_symlink():
            found = read_folder(path, issues, check_owner=False)
            files |= {os.path.join(name, one): raw for one, raw in found.items()}
            folders[path] = None
        else:
            raw = _one(path, issues)
            if raw is not None:
                files[name] = raw
            folders[path.parent] = None
    return Sources(files, tuple(folders), tuple(issues))


def _one(path: Path, issues: list[Issue]) -> bytes | None:
    found: list[Issue] = []
    raw = None
    if path.name and os.path.lexists(path):
        raw = read_checked(path.parent, path.name, found, check_owner=False)
    if raw is None and not found:
        found.append(file_issue(str(path), "there is no such file"))
    issues += (Issue(str(path), one.line, one.column, one.severity, one.message) for one in found)
    return raw


def read_policy(sources: Sources, grammars: Grammars) -> ParseResult:
    """The policy, or every reason why there is none."""
    calendars = Calendars(sources.folders[0] if sources.folders else POLICY_FOLDER, check_owner=sources.check_owner)
    return parse_files(sources.files, list(sources.issues), calendars.read, grammars)


def require_policy(result: ParseResult) -> Policy:
    """The policy of a result that was found to be valid."""
    if result.policy is None:
        raise Failed("the policy is invalid")
    return result.policy


def read_test_files(sources: Sources) -> tuple[dict[str, bytes], tuple[Issue, ...]]:
    """`tests/*.yaml` beside the policy."""
    issues: list[Issue] = []
    files: dict[str, bytes] = {}
    for folder in sources.folders:
        beside = folder / "tests"
        if beside.is_dir():
            found = read_folder(beside, issues, check_owner=sources.check_owner)
            files |= {str(beside / name): raw for name, raw in found.items()}
    if len(files) > MAX_FILES:
        issues.append(file_issue(min(files), f"more than {MAX_FILES} files"))
    return files, tuple(issues)


def shared(name: str) -> Path | None:
    """A file or folder of those that come with jitsudo."""
    return next((folder / name for folder in _SHARED if (folder / name).exists()), None)


def read_knowledge(folders: Sequence[Path] = ()) -> Knowledge:
    """Grammars, those of this host's site and of `folders` last, and the table of risks. `PolicyInvalid` for bad ones."""
    packaged = shared("grammars")
    places = [place for place in (packaged, SITE, *folders) if place is not None]
    grammars, warnings = load_grammars(places, check_owner=False)
    issues = list(warnings)
    risks, path = NO_RISKS, shared("lint/risks.yaml")
    if path is not None:
        node = read_yaml(path.name, path.read_bytes(), issues)
        if node is not None:
            risks, found = parse_risks(node)
            issues += found
    return Knowledge(grammars, risks, tuple(issues))
