"""Reads a command line as the program itself would: which options, which values, which sub-command, which operands.

Purely lexical: what may be there is for the rule to say (matching.py). Where the program and this reader could ever differ,
the answer is `Unreadable`, which no rule matches and at which guardrails fire. The meaning is that of glibc's getopt_long(3)
as measured (tests/probe), with less: no abbreviated long options, and no option of which the grammar does not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption, Order
from jitsudo.policy.issues import shown

MAX_ARGUMENTS = 4096  # each may cost a walk through the file system
MAX_FOUND_OPTIONS = 4096  # a bundle of 128 KiB would otherwise be as many options
MAX_BUNDLE_CHARS = 256
MAX_SHOWN_CHARS = 64
_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,8})")


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

    `folders`: the values of options that change folder; relative paths, wherever they stand, are read against the last. Only
    the first of them can be relative, and is then read against the cwd. `placeable` False: an option changes folder for a
    part of the line only, so that relative paths mean nothing. `terminator`: the index of the `--` that ended the options.
    """

    options: tuple[Found, ...] = ()
    subcommand: tuple[Word, ...] = ()
    operands: tuple[Word, ...] = ()
    folders: tuple[str, ...] = ()
    placeable: bool = True
    terminator: int | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The program might read it in a way that nobody foresaw. `index`: of the argument that shows it, if one does.

    `in_own_way`: that argument is known to be something else to the program than to whoever reads the line word by word.
    """

    why: str
    index: int | None = None
    in_own_way: bool = False


class _Refused(Exception):
    """The line cannot be read; never leaves this module."""

    def __init__(self, why: str, index: int | None = None, *, in_own_way: bool = False) -> None:
        super().__init__(why)
        self.unreadable = Unreadable(why, index, in_own_way)


def read_arguments(grammar: Grammar, arguments: Sequence[str]) -> Reading | Unreadable:
    """Read `arguments` (without argv[0]) by a grammar: a rule's own, or a program's. Never raises."""
    try:
        _check_arguments(grammar, arguments)
        line = _Line(grammar, arguments)
        match grammar.syntax:
            case "getopt":
                line.read_getopt()
            case "single-dash":
                line.read_single_dash()
            case "key-value":
                line.read_key_value()
            case _:
                line.take_operands(0)
        return line.reading()
    except _Refused as refused:
        return refused.unreadable


def _check_arguments(grammar: Grammar, arguments: Sequence[str]) -> None:
    if grammar.unreadable:
        raise _Refused("no model describes this program's command line")
    if len(arguments) > MAX_ARGUMENTS:
        raise _Refused(f"more than {MAX_ARGUMENTS} arguments")
    for index, argument in enumerate(arguments):
        if argument.startswith(grammar.refused_arguments) or argument.casefold() in grammar.refused_words:
            raise _Refused(f"the program reads {_shown(argument)} in a way of its own", index, in_own_way=True)
    if grammar.first_is_option and arguments and not arguments[0].startswith("-"):
        raise _Refused(f"the program reads its first argument, {_shown(arguments[0])}, as options", 0)


def _shown(argument: str) -> str:
    short = argument if len(argument) <= MAX_SHOWN_CHARS else argument[:MAX_SHOWN_CHARS] + "…"
    return f"'{shown(short)}'"


@dataclass(slots=True)
class _Line:
    """One command line while it is read."""

    grammar: Grammar
    arguments: Sequence[str]
    shapes: list[GrammarShape] = field(init=False)
    order: Order = field(init=False)
    options: list[Found] = field(default_factory=list)
    subcommand: list[Word] = field(default_factory=list)
    operands: list[Word] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    placeable: bool = True
    terminator: int | None = None
    brackets: int = 0

    def __post_init__(self) -> None:
        self.shapes = [self.grammar.shape]
        self.order = self.grammar.shape.order or self.grammar.order

    def reading(self) -> Reading:
        """All that was read."""
        return Reading(
            tuple(self.options),
            tuple(self.subcommand),
            tuple(self.operands),
            tuple(self.folders),
            self.placeable,
            self.terminator,
        )

    # -- the syntaxes

    def read_getopt(self) -> None:
        """As getopt_long(3) does, from left to right."""
        index = 0
        while index < len(self.arguments):
            argument = self.arguments[index]
            if argument == "--":
                self._terminate(index)
                return
            if argument.startswith("--"):
                index = self._long(argument, index)
            elif argument.startswith("-") and argument != "-":
                index = self._bundle(argument, index)
            elif self._is_last_word(argument, index):
                return
            else:
                index += 1

    def read_single_dash(self) -> None:
        """An option is a whole argument; its value is the next one, whatever that looks like."""
        index = 0
        while index < len(self.arguments):
            argument = self.arguments[index]
            known = self._known(argument)
            if known is not None:
                self._count_bracket(argument, index)
                index = self._add_with_next(known, argument, index)
            elif argument.startswith("-") and argument != "-":
                raise _Refused(f"{_shown(argument)} is not an option that is known", index)
            elif self._is_last_word(argument, index):
                return
            else:
                index += 1

    def _count_bracket(self, argument: str, index: int) -> None:
        """find(1) takes a `)` that closes nothing for a folder to search."""
        self.brackets += {"(": 1, ")": -1}.get(argument, 0)
        if self.brackets < 0:
            raise _Refused("')' closes nothing", index)

    def read_key_value(self) -> None:
        """`key=value`, split at the first sign; what has none is an operand."""
        for index, argument in enumerate(self.arguments):
            if argument.startswith("-"):
                raise _Refused(f"{_shown(argument)} is not a key that is known", index)
            key, equals, value = argument.partition("=")
            if not equals:
                self._add_operand(argument, index)
                continue
            known = self._known(key)
            if known is None:
                raise _Refused(f"{_shown(key)} is not a key that is known", index)
            self._add(known, key, value, index)

    # -- options

    def _known(self, spelling: str) -> tuple[KnownOption, int] | None:
        """The option of that exact spelling, and whose it is: the innermost sub-command's, or a global one from above."""
        innermost = len(self.shapes) - 1
        for depth in range(innermost, -1, -1):
            option = self.shapes[depth].by_spelling.get(spelling)
            if option is not None and (depth == innermost or option.is_global):
                return option, depth
        return None

    def _long(self, argument: str, index: int) -> int:
        name, equals, value = argument.partition("=")
        known = self._known(name)
        if known is None:
            raise _Refused(self._unknown_long(name), index)
        if not equals:
            return self._add_with_next(known, name, index)
        if known[0].value == "none":
            raise _Refused(f"{name} takes no value", index)
        self._add(known, name, value, index)
        return index + 1

    def _unknown_long(self, name: str) -> str:
        """getopt_long(3) accepts any unambiguous beginning of a name, and what is unambiguous changes with the version."""
        for shape in reversed(self.shapes):
            for spelling in shape.by_spelling:
                if spelling.startswith(name) and spelling.startswith("--"):
                    return f"{_shown(name)} is an abbreviation; write {spelling}"
        return f"{_shown(name)} is not an option that is known"

    def _bundle(self, argument: str, index: int) -> int:
        for position in range(1, len(argument)):
            if position > MAX_BUNDLE_CHARS:
                raise _Refused(f"more than {MAX_BUNDLE_CHARS} options in one argument", index)
            spelling = f"-{argument[position]}"
            known = self._known(spelling)
            if known is None:
                raise _Refused(f"{_shown(spelling)} is not an option that is known", index)
            rest = argument[position + 1 :]
            if known[0].value in ("none", "optional-long", "many"):
                self._add(known, spelling, None, index)
            elif rest.startswith("="):
                # getopt(3) takes the sign for a part of the value; argparse, click and pflag (docker, kubectl) do not.
                raise _Refused(f"{spelling} and its value may be read in two ways; write them as two arguments", index)
            elif rest or known[0].value == "optional":
                self._add(known, spelling, rest or None, index)
                break
            else:
                return self._add_with_next(known, spelling, index)
        return index + 1

    def _add_with_next(self, known: tuple[KnownOption, int], spelling: str, index: int) -> int:
        """Add an option that stands alone; if it needs a value, that is the next argument, even `--`."""
        following = self.arguments[index + 1] if index + 1 < len(self.arguments) else None
        if known[0].value == "required" and following is None:
            raise _Refused(f"{spelling} needs a value", index)
        if known[0].value == "number" and following is not None and not _NUMBER.fullmatch(following):
            # `-n abc`, `-n 08`: whether the program takes it for a number, only the program knows; `-n -f` it surely does not.
            if not following.startswith("-") or following[1:2].isdigit():
                raise _Refused(f"{_shown(following)} may be the value of {spelling}; write {spelling}VALUE", index)
            following = None
        if known[0].value not in ("required", "number") or following is None:
            self._add(known, spelling, None, index)
            return index + 1
        self._add(known, spelling, following, index)
        return index + 2

    def _add(self, known: tuple[KnownOption, int], spelling: str, value: str | None, index: int) -> None:
        option, depth = known
        if option.value == "many":
            raise _Refused(f"{spelling} takes a part of the command line that cannot be read", index)
        if len(self.options) == MAX_FOUND_OPTIONS:
            raise _Refused(f"more than {MAX_FOUND_OPTIONS} options", index)
        self.options.append(Found(option, spelling, value, index, depth))
        if option.moves:
            self.placeable = False
        if option.chdir and value is not None:
            # `make -C a -C b` goes to a/b, `env -C a -C b` to b: only an absolute second folder means the same to all.
            if not value or (self.folders and not value.startswith("/")):
                raise _Refused(f"{spelling} {_shown(value)} may be read against more than one folder", index)
            self.folders.append(value)

    # -- words

    def _is_last_word(self, argument: str, index: int) -> bool:
        """Take a word that is no option. True: all that follows was taken with it."""
        shape = self.shapes[-1]
        if shape.subcommands is not None:
            chosen = shape.subcommands.get(argument)
            if chosen is None:
                raise _Refused(f"{_shown(argument)} is not a sub-command that is known", index)
            self.subcommand.append(Word(argument, index, chosen.name or argument))
            self.shapes.append(chosen)
            self.order = chosen.order or self.order
            return False
        if self.order == "posix":
            self.take_operands(index)
            return True
        self._add_operand(argument, index)
        return False

    def _terminate(self, index: int) -> None:
        if self.shapes[-1].subcommands is not None:
            raise _Refused("'--' stands where a sub-command is expected", index)
        self.terminator = index
        self.take_operands(index + 1)

    def take_operands(self, index: int) -> None:
        """Everything from `index` on is an operand."""
        for at in range(index, len(self.arguments)):
            self._add_operand(self.arguments[at], at)

    def _add_operand(self, argument: str, index: int) -> None:
        if self.grammar.refused_operands and argument.startswith(self.grammar.refused_operands):
            raise _Refused(f"the program reads {_shown(argument)} in a way of its own", index, in_own_way=True)
        self.operands.append(Word(argument, index))
