"""The bound on what one command line may cost."""

from __future__ import annotations

import pytest

from jitsudo.errors import TooMany
from jitsudo.policy.world import Bounded, FileFacts
from jitsudo.types import AbsPath, Account, Gid, Uid, UserName

ALICE = Account(UserName("alice"), Uid(1000), Gid(1000), (Gid(1000),), "/home/alice", "/bin/sh")
FACTS = FileFacts("file", 0, 0, 0o755, 1, 2)


class Known:
    """A world that knows everything."""

    def real_path(self, path: AbsPath) -> AbsPath | None:
        return path

    def facts(self, path: AbsPath) -> FileFacts | None:  # noqa: ARG002
        return FACTS

    def user(self, name: str) -> Account | None:
        return ALICE if name == "alice" else None


def test_a_bounded_world_answers_as_the_world_does_until_it_was_asked_too_much() -> None:
    """Path components count, in all questions together; people do not."""
    world = Bounded(Known(), most=5)
    assert world.real_path(AbsPath("/usr/bin")) == "/usr/bin"
    assert world.facts(AbsPath("/usr")) is FACTS
    assert world.user("alice") is ALICE
    assert world.user("bob") is None
    with pytest.raises(TooMany):
        world.facts(AbsPath("/"))
