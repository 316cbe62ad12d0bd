"""From the nodes of all files to one policy, or to every reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import tzinfo

from jitsudo.policy.issues import Issue
from jitsudo.policy.model import Policy
from jitsudo.policy.nodes import Node

ZoneLookup = Callable[[str], tzinfo | None]


@dataclass(frozen=True, slots=True)
class ParseResult:
    """The policy, or None if any issue is an error; the issues in the order of the files."""

    policy: Policy | None
    issues: tuple[Issue, ...]


def parse(files: Iterable[Node], zones: ZoneLookup) -> ParseResult:
    """Read the root nodes of all files as one policy. `zones` finds a time zone by its name. Never raises."""
    raise NotImplementedError
