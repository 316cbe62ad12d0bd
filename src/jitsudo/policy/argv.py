"""Reads a command line as the program itself would: which options, which values, which sub-command, which operands.

Purely lexical: what may be there is for the rule to say (matching.py). Where the program and this reader could ever differ,
the answer is `Unreadable`, which no rule matches and at which guardrails fire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitsudo.policy.grammar import Grammar, KnownOption
from jitsudo.policy.paths import Place, path_matches
from jitsudo.policy.rules import ArgumentType, GlobText, IntRange, LiteralText, OneOf, Operand, PathUnder
from jitsudo.types import is_plain_text

MAX_ARGUMENTS = 4096  # each may cost a walk through the file system
MAX_INT_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Found:
    """One option of a command line. `option` is the grammar's entry; `spelling` is how it was given.

    `value` None: it was given without one. `index`: of the argument that names it, 0 being the first after the program.
    `depth`: whose option it is: 0 the program's, 1 its sub-command's, and so on.
    """

    option: KnownOption
    spelling: str
    value: str | None
    index: int
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Word:
    """One operand, or one word that selects a sub-command; `name` is the sub-command's first name (`stop` of `condstop`)."""

    text: str
    index: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A command line as the program reads it, everything in the order of the line.

    `folders`: the values of options that change folder; each is read against the one before, the first against the cwd, and
    relative paths (wherever they stand) against the last. `placeable` False: an option changes folder for a part of the line
    only, so that relative paths mean nothing. `terminator`: the index of the `--` that ended the options, if one did.
    """

    options: tuple[Found, ...] = ()
    subcommand: tuple[Word, ...] = ()
    operands: tuple[Word, ...] = ()
    folders: tuple[str, ...] = ()
    placeable: bool = True
    terminator: int | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The program might read it in a way that nobody foresaw. `index`: of the argument that shows it, if one does."""

    why: str
    index: int | None = None


def read_arguments(grammar: Grammar, arguments: Sequence[str]) -> Reading | Unreadable:
    """Read `arguments` (without argv[0]) by a grammar: a rule's own, or a program's. Never raises."""
    return Unreadable(f"{grammar.program} is read later")


def argument_matches(type_: ArgumentType, text: str, place: Place) -> bool:
    """Whether one argument is of this type. What begins with `-` is an option, unless a rule names it word by word."""
    if isinstance(type_, LiteralText):
        return text == type_.text
    if isinstance(type_, OneOf):
        return text in type_.texts and is_plain_text(text)
    if text.startswith("-"):
        return False
    if isinstance(type_, IntRange):
        return int_matches(type_, text)
    if isinstance(type_, GlobText):
        return type_.pattern.matches(text)
    # Every other type belongs to a later version; the rule that uses it never gets here (its `unsupported` says why).
    return isinstance(type_, PathUnder) and path_matches(type_, text, place)


def int_matches(type_: IntRange, text: str) -> bool:
    """Plain ASCII digits within the range."""
    if not (0 < len(text) <= MAX_INT_DIGITS and text.isascii() and text.isdigit()):
        return False
    return type_.least <= int(text) and (type_.most is None or int(text) <= type_.most)


def operands_match(operands: Sequence[Operand], arguments: Sequence[str], place: Place) -> bool:
    """Whether the arguments, all of them, are these operands in this order.

    One pass for each operand over the places where it may begin: time grows with operands times arguments, never faster.
    """
    if "--" in arguments or len(arguments) > MAX_ARGUMENTS:
        return False
    begins = [True] + [False] * len(arguments)
    for operand in operands:
        begins = _ends(operand, begins, arguments, place)
    return begins[-1]


def _ends(operand: Operand, begins: list[bool], arguments: Sequence[str], place: Place) -> list[bool]:
    """Where the operand may end (and the next begin), given where it may begin."""
    before = [0]
    for begin in begins:
        before.append(before[-1] + begin)
    ends = [False] * len(begins)
    run = 0  # how many arguments up to here are of the type, without a gap
    for end in range(len(begins)):
        # Looking is worth its cost only where some beginning can be reached without a gap.
        if end:
            wanted = before[end] > before[end - 1 - run]
            run = run + 1 if wanted and argument_matches(operand.type, arguments[end - 1], place) else 0
        longest = run if operand.most is None else min(run, operand.most)
        if operand.least <= longest:
            ends[end] = before[end - operand.least + 1] > before[end - longest]
    return ends
