"""Reads tests of a policy: `{run: "systemctl restart nginx", expect: allow}`, and lists of them that name their role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from jitsudo.policy.issues import Issue
from jitsudo.policy.model import InlineTest
from jitsudo.policy.nodes import Node, Scalar, Sequence
from jitsudo.policy.parse_types import network
from jitsudo.policy.reader import Reader
from jitsudo.types import AbsPath

TEST_KEYS: Final = ("run", "expect", "at", "source", "authenticated", "cwd", "links")
EXPECTED: Final[tuple[Literal["allow", "deny", "challenge"], ...]] = ("allow", "deny", "challenge")


@dataclass(frozen=True, slots=True)
class NamedTest:
    """A test that stands outside its role."""

    role: str
    test: InlineTest


def parse_tests(node: Node) -> tuple[tuple[NamedTest, ...], tuple[Issue, ...]]:
    """Read the root node of a file of tests: a list of `{role, run, expect, …}`. Never raises."""
    reader = Reader()
    if not isinstance(node, Sequence):
        reader.error(node.pos, "a file of tests is a list: - {role: NAME, run: \"COMMAND\", expect: deny}")
        return (), tuple(reader.issues)
    tests = []
    for item in node.items:
        fields = reader.fields(item, "a test", ("role", *TEST_KEYS))
        role = fields.need("role")
        tests.append(NamedTest(reader.text(role, "role") if role else "", read_test(reader, item, ("role",))))
    return tuple(tests), tuple(sorted(set(reader.issues)))


def read_test(reader: Reader, node: Node, beside: tuple[str, ...] = ()) -> InlineTest:
    """One test; `beside`: keys that are the caller's to read."""
    fields = reader.fields(node, "a test", (*beside, *TEST_KEYS))
    run, expect, links = fields.need("run"), fields.need("expect"), fields.get("links")
    return InlineTest(
        run=_run(reader, run) if run else "",
        expect=reader.choice(expect, "expect", EXPECTED) if expect else "deny",
        at=fields.read("at", lambda at: reader.text(at, "at"), None),
        source=fields.read("source", lambda at: reader.value(at, "source", _source, ""), None),
        authenticated=fields.read("authenticated", lambda at: reader.boolean(at, "authenticated"), True),
        cwd=fields.read("cwd", lambda at: reader.path(at, "cwd"), AbsPath("/")),
        links=tuple((k.text, reader.text(v, "links")) for k, v in reader.entries(links, "links")) if links else (),
        pos=node.pos,
    )


def _source(text: str) -> str:
    return text if text in ("local", "unknown") else network(text)


def _run(reader: Reader, node: Node) -> str | tuple[str, ...]:
    """A command line, or argv as a list, which may hold anything: it is what an attacker might type."""
    if not isinstance(node, Sequence):
        return reader.text(node, "run")
    items = [item if _is_empty(item) else reader.scalar(item, "run") for item in node.items]
    return tuple(item.text for item in items if isinstance(item, Scalar))


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and not node.plain and not node.text
