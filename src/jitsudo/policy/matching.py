"""Whether a command line is one that a rule allows: every option named, every operand of its type, nothing left over.

1 read as the program reads it (argv.py), by what is known of the program and what the rule says of it · 2 the sub-command
selects the part of the rule · 3 every option is admitted by that part, its value of its type, none twice, none missing ·
4 the operands, all of them, are those of that part. Where the line holds something that begins with `-` and cannot be read
so, a rule that names every such argument word by word is compared as a list.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from jitsudo.policy.argv import MAX_ARGUMENTS, Found, Reading, Unreadable, Word, read_arguments
from jitsudo.policy.paths import Place, is_same_program, nobody_can_place, on_secure_path
from jitsudo.policy.rules import CommandLine, CommandRule, Flag, LiteralText, OneOf, Operand, Option, Shape
from jitsudo.policy.values import argument_matches
from jitsudo.types import AbsPath

MAX_NESTED_STARTS = 8  # at how many places of one line the same nested command may begin

MATCHES = "command and arguments are those of the rule"
NOT_THOSE = "the arguments are not those of the rule"
OTHER_SUBCOMMAND = "the sub-command is not one of the rule's"


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments as a list; `texts[i]` stands at `indices[i]` of `line`, the rest of which a nested command would get."""

    line: Sequence[str]
    texts: Sequence[str]
    indices: Sequence[int]
    dashes: bool = False

    def rest(self, start: int) -> Sequence[str] | None:
        """All from there to the end of the line; None if something of it was read as the outer program's own."""
        index = self.indices[start]
        whole = list(self.indices[start:]) == list(range(index, len(self.line)))
        return self.line[index:] if whole else None


def refusal_of(rule: CommandRule, arguments: Sequence[str], place: Place) -> str | None:
    """Why the arguments (without argv[0]) are not the rule's; None if they are."""
    if len(arguments) > MAX_ARGUMENTS:
        return "more arguments than are looked at"
    if rule.shape.syntax == "literal":
        return None if _listed(rule.shape, arguments, place) else NOT_THOSE
    reading = read_arguments(rule.grammar, arguments)
    if isinstance(reading, Unreadable) and reading.in_own_way:
        return reading.why
    why = reading.why if isinstance(reading, Unreadable) else _refusal_of_reading(rule, reading, arguments, place)
    if why is None or (_names_dashes(rule.shape, arguments) and _listed(rule.shape, arguments, place)):
        return None
    return why


# -- as a list -------------------------------------------------------------------------------------------------------


def _names_dashes(shape: Shape, arguments: Sequence[str]) -> bool:
    """Whether a rule without options has literal operands that look like some, and the line has such arguments."""
    plain = shape.subcommands is None and all(option.harmless for option in shape.options or ())
    return plain and any(a.startswith("-") for a in arguments) and any(map(_is_dashed, shape.operands or ()))


def _is_dashed(operand: Operand) -> bool:
    texts: tuple[str, ...] = ()
    if isinstance(operand.type, LiteralText):
        texts = (operand.type.text,)
    elif isinstance(operand.type, OneOf):
        texts = operand.type.texts
    return any(text.startswith("-") for text in texts)


def _listed(shape: Shape, arguments: Sequence[str], place: Place) -> bool:
    """The arguments one by one. What an unread option may do to relative paths is not known: they do not count."""
    listed = Arguments(arguments, arguments, range(len(arguments)), dashes=True)
    return operands_match(shape.operands or (), listed, place.elsewhere((), placeable=False))


# -- as the program reads it -----------------------------------------------------------------------------------------


def _refusal_of_reading(rule: CommandRule, reading: Reading, line: Sequence[str], place: Place) -> str | None:
    shapes = _selected(rule.shape, reading.subcommand)
    if shapes is None:
        return OTHER_SUBCOMMAND
    if reading.terminator is not None and not rule.grammar_known and all(shape.options is None for shape in shapes):
        # To a program of which nobody says that it has options, `--` may be an operand like any other.
        return "the rule does not say that '--' may stand there"
    here = place.elsewhere(reading.folders, placeable=reading.placeable)
    if why := _refusal_of_options(shapes, reading, place, here):
        return why
    # Words that the grammar takes for sub-commands and the rule does not are operands to the rule.
    words, rest = reading.operands, reading.subcommand[len(shapes) - 1 :]
    if rest:
        words = tuple(sorted((*rest, *words), key=lambda word: word.index))
    operands = Arguments(line, [word.text for word in words], [word.index for word in words])
    return None if operands_match(shapes[-1].operands or (), operands, here) else NOT_THOSE


def _selected(shape: Shape, words: Sequence[Word]) -> list[Shape] | None:
    """The shapes of the rule that the sub-commands select, outermost first; None if one is not the rule's."""
    shapes = [shape]
    while shapes[-1].subcommands is not None:
        if len(words) < len(shapes):
            return None
        word = words[len(shapes) - 1]
        found = next((s for s in shapes[-1].subcommands if word.text in s.words or (word.name and word.name in s.words)), None)
        if found is None:
            return None
        shapes.append(found.shape)
    return shapes


def _refusal_of_options(shapes: Sequence[Shape], reading: Reading, place: Place, here: Place) -> str | None:
    seen: set[tuple[int, str]] = set()
    given: list[Option] = []
    for found in reading.options:
        option = _admitting(shapes, found)
        if option is None:
            return f"the option {found.spelling} is not one of the rule's"
        # By whichever spelling: `-n 5 --lines=5` is one option twice.
        if (one := (found.depth, found.option.spellings[0])) in seen and not option.repeat:
            return f"the option {found.spelling} is given twice"
        seen.add(one)
        given.append(option)
        # The folder that one option changes to is itself read against the cwd; of several, absolute ones are meant.
        at = place.elsewhere((), placeable=len(reading.folders) == 1) if found.option.chdir else here
        if not _value_matches(option, found, at):
            return f"the value of {found.spelling} is not of the rule's type"
    for option in (option for shape in shapes for option in shape.options or ()):
        if option.required and not any(option is admitted for admitted in given):
            return f"the option {option.spellings[-1]} is missing"
    return None


def _admitting(shapes: Sequence[Shape], found: Found) -> Option | None:
    """The rule's entry for an option that the command, or a sub-command, was given; only the spellings that it names."""
    for depth, shape in enumerate(shapes):
        for option in shape.options or ():
            own = depth == found.depth or (option.inherited and depth > found.depth)
            if own and found.spelling in option.spellings:
                return option
    return None


def _value_matches(option: Option, found: Found, place: Place) -> bool:
    if found.value is None:
        return isinstance(option.type, Flag) or option.attached_only
    return not isinstance(option.type, Flag) and argument_matches(option.type, found.value, place)


# -- operands --------------------------------------------------------------------------------------------------------


def operands_match(operands: Sequence[Operand], arguments: Arguments, place: Place) -> bool:
    """Whether the arguments, all of them, are these operands in this order.

    One pass for each operand over the places where it may begin: time grows with operands times arguments, never faster.
    """
    if all(operand.least == operand.most == 1 and not isinstance(operand.type, CommandLine) for operand in operands):
        same = len(operands) == len(arguments.texts)
        return same and all(_operand_matches(operand, arguments, at, place) for at, operand in enumerate(operands))
    begins = [True] + [False] * len(arguments.texts)
    for number, operand in enumerate(operands, start=1):
        if isinstance(operand.type, CommandLine):
            return number == len(operands) and _nested_matches(operand.type.rule, begins, arguments, place)
        begins = _ends(operand, begins, arguments, place)
    return begins[-1]


def _ends(operand: Operand, begins: list[bool], arguments: Arguments, place: Place) -> list[bool]:
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
            run = run + 1 if wanted and _operand_matches(operand, arguments, end - 1, place) else 0
        longest = run if operand.most is None else min(run, operand.most)
        if operand.least <= longest:
            ends[end] = before[end - operand.least + 1] > before[end - longest]
    return ends


def _operand_matches(operand: Operand, arguments: Arguments, at: int, place: Place) -> bool:
    text = arguments.texts[at]
    # After `--` even `-1` is an operand: `kill -- -1` is not the `kill -1` that a rule may name as a list.
    if text.startswith("-") and not arguments.dashes:
        return False
    return argument_matches(operand.type, text, place)


# -- nested command lines --------------------------------------------------------------------------------------------


def _nested_matches(rule: CommandRule, begins: list[bool], arguments: Arguments, place: Place) -> bool:
    name = posixpath.basename(rule.command)
    starts = [at for at, text in enumerate(arguments.texts) if begins[at] and posixpath.basename(text) == name]
    if len(starts) > MAX_NESTED_STARTS:
        return False
    return any(_is_nested(rule, arguments.rest(start), place) for start in starts)


def _is_nested(rule: CommandRule, line: Sequence[str] | None, place: Place) -> bool:
    """Whether a command line inside another is the rule's: its program by path, or by a name that can mean nothing else."""
    if not line or rule.unsupported or not _names_program(rule, line[0], place):
        return False
    if refusal_of(rule, line[1:], place) is not None:
        return False
    if rule.digest is not None and place.world.digest(rule.command) != rule.digest:
        return False
    # A program that is not on this host is one of a container's; here nobody else may be able to put it there.
    return place.is_roots_program(rule.command) or ("/" in line[0] and nobody_can_place(rule.command, place.world))


def _names_program(rule: CommandRule, text: str, place: Place) -> bool:
    path = on_secure_path(text, place.world) if "/" not in text else AbsPath(text) if text.startswith("/") else None
    return path is not None and is_same_program(path, rule.command, place.world)


def nested_rules(rule: CommandRule) -> tuple[CommandRule, ...]:
    """The rules of command lines that the rule admits inside its own, to any depth."""
    return tuple(inner for shape in _shapes(rule.shape) for inner in _nested_of(shape))


def _shapes(shape: Shape) -> list[Shape]:
    return [shape, *(inner for sub in shape.subcommands or () for inner in _shapes(sub.shape))]


def _nested_of(shape: Shape) -> list[CommandRule]:
    rules = [o.type.rule for o in shape.operands or () if isinstance(o.type, CommandLine)]
    return [each for rule in rules for each in (rule, *nested_rules(rule))]
