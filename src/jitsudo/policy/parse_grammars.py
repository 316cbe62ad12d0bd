"""From the nodes of grammar files to what is known of programs, or to every reason why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.issues import Issue
from jitsudo.policy.nodes import Node


@dataclass(frozen=True, slots=True)
class GrammarsResult:
    """The grammars, or None if any issue is an error; the issues in the order of the files."""

    grammars: Grammars | None
    issues: tuple[Issue, ...]


def parse_grammars(files: Iterable[Node]) -> GrammarsResult:
    """Read the root nodes of grammar files. A later file's program replaces an earlier one's. Never raises."""
    return GrammarsResult(NO_GRAMMARS, tuple(Issue.at(node.pos, "not read") for node in files))
