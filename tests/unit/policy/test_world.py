"""The bound on what one command line may cost."""

from __future__ import annotations

import tracemalloc

import pytest

from bench import world
from jitsudo.errors import TooMany
from jitsudo.policy.paths import Place, folders_above, other_spelling
from jitsudo.policy.rules import NamedType, PathUnder
from jitsudo.policy.values import argument_matches
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


def test_what_callers_choose_is_not_kept() -> None:
    """Hundreds of long paths and arguments leave next to nothing behind."""
    place = Place(world(), AbsPath("/"))
    unit, path = NamedType("unit", ("nginx",)), PathUnder((AbsPath("/etc"),))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(200):
            argument_matches(unit, f"{number}{'u' * 4000}", place)
            folders_above(f"/{number}" + "/a" * 2000)
            other_spelling(AbsPath(f"/usr/bin/{number}{'p' * 4000}"))
            argument_matches(path, f"/{number}{'p' * 4000}", place)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000
