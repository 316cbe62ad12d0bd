"""Reads the grammar files of this host: the packaged ones, then the site's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.issues import Issue

PACKAGED = Path("/usr/share/jitsudo/grammars")
SITE = Path("/etc/jitsudo/grammars.d")


def load_grammars(
    directories: Sequence[Path] = (PACKAGED, SITE), *, check_owner: bool = True
) -> tuple[Grammars, tuple[Issue, ...]]:
    """Read `*.yaml` of the folders that exist; a later folder's program replaces an earlier one's.

    Warnings are returned. Raises `PolicyInvalid` with every error, and nothing else.
    """
    del directories, check_owner
    return NO_GRAMMARS, ()
