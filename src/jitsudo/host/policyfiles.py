"""Reads the policy's files: who owns them, what YAML they are allowed to be, and where each piece of them stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jitsudo.policy.issues import Issue
from jitsudo.policy.model import Policy
from jitsudo.types import Digest


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy in force: `files` are the exact bytes by name, `digest` is over names and bytes, `issues` are warnings."""

    policy: Policy
    digest: Digest
    files: Mapping[str, bytes]
    issues: tuple[Issue, ...] = ()


def load_policy(directory: Path, *, check_owner: bool = True) -> LoadedPolicy:
    """Read `*.yaml` of `directory`, each once. Raises `PolicyInvalid` with every issue, and nothing else."""
    raise NotImplementedError


def load_policy_bytes(files: Mapping[str, bytes]) -> LoadedPolicy:
    """The same from bytes by file name, for the kept copy of the last good policy."""
    raise NotImplementedError
