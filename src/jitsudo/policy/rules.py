"""What a rule says of one command line: the types of arguments, options and operands, and the rules made of them.

Fields marked ASIDE carry no meaning (places, prose, what this version cannot do yet) and stay out of a role's digest;
in fields marked UNORDERED the order carries none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jitsudo.policy.grammar import Grammar
from jitsudo.policy.nodes import Pos
from jitsudo.policy.patterns import Pattern
from jitsudo.types import AbsPath, Digest

ASIDE: Mapping[str, bool] = {"aside": True}
UNORDERED: Mapping[str, bool] = {"unordered": True}

UNKNOWN_PROGRAM = Grammar(AbsPath("/"))


# -- argument types --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnyValue:
    """Any argument."""


@dataclass(frozen=True, slots=True)
class Flag:
    """An option without a value."""


@dataclass(frozen=True, slots=True)
class LiteralText:
    """Exactly this text."""

    text: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Exactly one of these texts."""

    texts: tuple[str, ...] = field(metadata=UNORDERED)


@dataclass(frozen=True, slots=True)
class IntRange:
    """Plain ASCII digits whose value lies between `least` and `most`, both included."""

    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class NotType:
    """Whatever does not match `type`."""

    type: ArgumentType


@dataclass(frozen=True, slots=True)
class GlobText:
    """Text that a glob matches."""

    pattern: Pattern


@dataclass(frozen=True, slots=True)
class RegexText:
    """Text that a regular expression matches in full."""

    pattern: Pattern


@dataclass(frozen=True, slots=True)
class PathUnder:
    """A path that lies under one of `under`, as named and as resolved; `glob` matches it relative to that folder."""

    under: tuple[AbsPath, ...] = field(metadata=UNORDERED)
    glob: Pattern | None = None
    exists: bool | None = None
    kind: Literal["file", "directory"] | None = None


@dataclass(frozen=True, slots=True)
class NamedType:
    """A type known by its word alone (user, group, self, host, cidr, port, unit, package, duration, size)."""

    word: str
    names: tuple[str, ...] = field(default=(), metadata=UNORDERED)
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The remaining arguments are a command line of their own."""

    rule: CommandRule


ArgumentType = (
    AnyValue | Flag | LiteralText | OneOf | IntRange | NotType | GlobText | RegexText | PathUnder | NamedType | CommandLine
)


# -- rules -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operand:
    """One entry of `operands`: between `least` and `most` arguments of this type; most None: any number."""

    type: ArgumentType
    least: int = 1
    most: int | None = 1


@dataclass(frozen=True, slots=True)
class Option:
    """One entry of `options`: the spellings of one option and its value's type; `attached_only`: `{optional: TYPE}`.

    `harmless`: no rule names it, the grammar adds it. `inherited`: it is an option of a command above this sub-command, and
    allowed with this sub-command only.
    """

    spellings: tuple[str, ...] = field(metadata=UNORDERED)
    type: ArgumentType
    attached_only: bool = False
    repeat: bool = False
    required: bool = False
    harmless: bool = False
    inherited: bool = field(default=False, metadata=ASIDE)


@dataclass(frozen=True, slots=True)
class Subcommand:
    """One entry of `subcommands`: the words that select it, and what may follow."""

    words: tuple[str, ...] = field(metadata=UNORDERED)
    shape: Shape


@dataclass(frozen=True, slots=True)
class Shape:
    """What arguments a command may get. None: the key is absent, and none are allowed."""

    syntax: Literal["getopt", "single-dash", "key-value", "literal"] = "getopt"
    order: Literal["permute", "posix"] = "permute"
    options: tuple[Option, ...] | None = field(default=None, metadata=UNORDERED)
    subcommands: tuple[Subcommand, ...] | None = field(default=None, metadata=UNORDERED)
    operands: tuple[Operand, ...] | None = None
    harmless: bool = True


@dataclass(frozen=True, slots=True)
class CommandRule:
    """This program with these arguments. `unsupported` names the keys that this version cannot enforce: no match.

    `grammar` is what its arguments are read by: all that is known of the program, and all that the rule says of it.
    `grammar_known`: there is a grammar of the program, so that the rule's word is not all there is.
    """

    command: AbsPath
    shape: Shape
    digest: Digest | None = None
    pos: Pos = field(kw_only=True, metadata=ASIDE)
    grammar: Grammar = field(default=UNKNOWN_PROGRAM, kw_only=True, repr=False, compare=False, metadata=ASIDE)
    grammar_known: bool = field(default=False, kw_only=True, metadata=ASIDE)
    unsupported: tuple[str, ...] = field(default=(), kw_only=True, metadata=ASIDE)


@dataclass(frozen=True, slots=True)
class EditRule:
    """These files through sudoedit, and only through it."""

    files: tuple[ArgumentType, ...] = field(metadata=UNORDERED)
    check: tuple[str, ...] = ()
    pos: Pos = field(kw_only=True, metadata=ASIDE)
    unsupported: tuple[str, ...] = field(default=(), kw_only=True, metadata=ASIDE)


@dataclass(frozen=True, slots=True)
class ShellRule:
    """A shell (sudo -i, sudo -s)."""

    intercept: bool
    record: bool = False
    only_listed: bool = False
    pos: Pos = field(kw_only=True, metadata=ASIDE)
    unsupported: tuple[str, ...] = field(default=(), kw_only=True, metadata=ASIDE)


Rule = CommandRule | EditRule | ShellRule


def where(pos: Pos) -> str:
    """How a rule is named in verdicts and records: `web.yaml:31`."""
    return f"{pos.file}:{pos.line}"


@dataclass(frozen=True, slots=True)
class Match:
    """What a guardrail looks for; `command` is a path or a bare name."""

    command: str
    subcommands: tuple[str, ...] = field(default=(), metadata=UNORDERED)
    any_option: tuple[tuple[str, ...], ...] = field(default=(), metadata=UNORDERED)
    any_operand: tuple[ArgumentType, ...] = field(default=(), metadata=UNORDERED)
