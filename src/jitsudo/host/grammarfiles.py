"""Reads the grammar files of this host: the packaged ones, then the site's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from jitsudo.errors import PolicyInvalid
from jitsudo.host.checkedfiles import read_folder
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.grammar import Grammars
from jitsudo.policy.issues import Issue, shown
from jitsudo.policy.parse_grammars import parse_grammars

PACKAGED = Path("/usr/share/jitsudo/grammars")
SITE = Path("/etc/jitsudo/grammars.d")

_HINT = "correct the files, then: jitsudo policy reload"


def load_grammars(
    directories: Sequence[Path] = (PACKAGED, SITE), *, check_owner: bool = True
) -> tuple[Grammars, tuple[Issue, ...]]:
    """Read `*.yaml` of the folders that exist; a later folder's program replaces an earlier one's.

    Warnings are returned. Raises `PolicyInvalid` with every error, and nothing else.
    """
    issues: list[Issue] = []
    nodes = []
    for directory in directories:
        if not os.path.lexists(directory):
            continue
        files = read_folder(directory, issues, check_owner=check_owner)
        nodes += [read_yaml(shown(str(directory / name)), files[name], issues) for name in sorted(files)]
    result = parse_grammars(node for node in nodes if node is not None)
    issues = sorted({*issues, *result.issues})
    if result.grammars is None or any(issue.severity == "error" for issue in issues):
        raise PolicyInvalid("the program grammars were refused", _HINT, issues=tuple(str(issue) for issue in issues))
    return result.grammars, tuple(issues)

