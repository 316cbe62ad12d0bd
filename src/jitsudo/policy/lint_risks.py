"""What leads to root when its arguments are free: several hundred programs, places that hold commands, writable folders.

The table is `policies/lint/risks.yaml`. A program has ways out, and each is opened by something: running it at all, running it
without operands, an operand, an option or a sub-command of the caller's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, get_args

from jitsudo.policy.grammar import WayOut
from jitsudo.policy.issues import Issue
from jitsudo.policy.nodes import Mapping as MappingNode
from jitsudo.policy.nodes import Node, Scalar
from jitsudo.policy.reader import Reader
from jitsudo.types import AbsPath

WAYS: Final[tuple[WayOut, ...]] = get_args(WayOut)


@dataclass(frozen=True, slots=True)
class Way:
    """One way out of a program. `always`: whoever runs it has it; `empty`: without operands (an interpreter's prompt).

    `operands`: by an operand of the caller's choice; `options` and `subcommands`: by one of these. `how` says how.
    """

    way: WayOut
    how: str
    always: bool = False
    empty: bool = False
    operands: bool = False
    options: tuple[str, ...] = ()
    subcommands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Risk:
    """One program's ways out, and what to write instead."""

    name: str
    ways: tuple[Way, ...]
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder that is more than it seems: what it holds."""

    path: AbsPath
    why: str


@dataclass(frozen=True, slots=True)
class Risks:
    """The table: programs by name, places not to be written, secrets not to be read, folders where others than root write.

    `tame`: programs that lead nowhere, whatever their arguments are.
    """

    programs: Mapping[str, Risk] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    secrets: tuple[Place, ...] = ()
    writable: tuple[AbsPath, ...] = ()
    tame: frozenset[str] = frozenset()


NO_RISKS: Final = Risks()


def parse_risks(node: Node) -> tuple[Risks, tuple[Issue, ...]]:
    """Read the root node of the table. Never raises; the table holds what could be read."""
    reader = Reader()
    fields = reader.fields(node, "the table of risks", ("version", "programs", "places", "secrets", "writable", "tame"))
    version = fields.need("version")
    if version is not None and not (isinstance(version, Scalar) and version.text == "1"):
        reader.error(version.pos, "version must be 1")
    risks = Risks(
        fields.read("programs", lambda at: _programs(reader, at), {}),
        fields.read("places", lambda at: _places(reader, at), ()),
        fields.read("secrets", lambda at: _places(reader, at), ()),
        fields.read("writable", lambda at: tuple(reader.path(item, "writable") for item in reader.items(at, "writable")), ()),
        fields.read("tame", lambda at: frozenset(reader.texts(at, "tame")), frozenset()),
    )
    return risks, tuple(sorted(reader.issues))


def _programs(reader: Reader, node: Node) -> dict[str, Risk]:
    """By each of the names that a key lists: `vim, vi, view`."""
    found: dict[str, Risk] = {}
    for key, value in reader.entries(node, "programs"):
        fields = reader.fields(value, f"program {key.text!a}", (*WAYS, "cure"))
        ways = tuple(way for word in WAYS if (at := fields.get(word)) for way in _ways(reader, word, at))
        cure = fields.read("cure", lambda at: reader.prose(at, "cure"), "")
        if not ways:
            reader.error(key.pos, f"program {key.text!a} has no way out")
        for name in (part.strip() for part in key.text.split(",")):
            if name in found:
                reader.error(key.pos, f"program {name!a} stands here twice")
            found[name] = Risk(name, ways, cure)
    return found


def _ways(reader: Reader, word: WayOut, node: Node) -> tuple[Way, ...]:
    return tuple(_way(reader, word, item) for item in reader.items(node, word))


def _way(reader: Reader, word: WayOut, node: Node) -> Way:
    """Text alone says how, and that running the program is enough."""
    if not isinstance(node, MappingNode):
        return Way(word, reader.prose(node, word), always=True)
    fields = reader.fields(node, word, ("how", "empty", "operands", "options", "subcommands"))
    how = fields.need("how")
    way = Way(
        word,
        reader.prose(how, "how") if how else "",
        empty=fields.read("empty", lambda at: reader.boolean(at, "empty"), False),
        operands=fields.read("operands", lambda at: reader.boolean(at, "operands"), False),
        options=fields.read("options", lambda at: reader.texts(at, "options"), ()),
        subcommands=fields.read("subcommands", lambda at: reader.texts(at, "subcommands"), ()),
    )
    if not (way.empty or way.operands or way.options or way.subcommands):
        reader.error(node.pos, f"{word}: nothing opens this way; text alone means that running the program does")
    return way


def _places(reader: Reader, node: Node) -> tuple[Place, ...]:
    return tuple(
        Place(reader.path(Scalar(key.pos, key.text), "a place"), reader.prose(value, "a place"))
        for key, value in reader.entries(node, "places")
    )
