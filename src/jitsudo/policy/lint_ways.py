"""The ways out that a rule leaves open: by its program's entry in the table of risks, and by its grammar."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace

from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption, WayOut
from jitsudo.policy.lint_risks import Risk, Way
from jitsudo.policy.lint_types import is_free, operands_of, shapes
from jitsudo.policy.rules import CommandRule, Flag, LiteralText, OneOf, Option, Shape


@dataclass(frozen=True, slots=True)
class Opening:
    """One way out of a rule. `by`: the option, sub-command or operands that open it, empty where running it is enough.

    `chosen`: an argument that the rule leaves to the caller opens it.
    """

    way: WayOut
    by: str = ""
    how: str = ""
    chosen: bool = False


def openings(rule: CommandRule, grammar: Grammar | None, risk: Risk | None) -> tuple[Opening, ...]:
    """One for each kind of way out: what the table says of it, and what the grammar says of options.

    The table lumps programs together: where there is a grammar, its word on options counts.
    """
    # Of an unreadable program rules spell every word out; what it leads to all the same, the table knows.
    readable = grammar if grammar is not None and not grammar.unreadable else None
    found: dict[WayOut, Opening] = {}
    for opening in (*_of_risk(rule, risk, with_options=readable is None), *_of_grammar(rule, readable, risk)):
        found.setdefault(opening.way, opening)
    return tuple(found.values())


# -- by the table of risks -------------------------------------------------------------------------------------------


def _of_risk(rule: CommandRule, risk: Risk | None, *, with_options: bool) -> Iterator[Opening]:
    for way in risk.ways if risk is not None else ():
        by = _opened_by(way, rule.shape, with_options=with_options)
        if by is not None:
            yield Opening(way.way, by, way.how, chosen=by.startswith(("by -", "by its operands")))


def _opened_by(way: Way, shape: Shape, *, with_options: bool) -> str | None:
    """What opens the way; None if nothing in the rule does."""
    if way.always:
        return ""
    if way.empty and _may_be_empty(shape):
        return "without operands"
    if way.operands and any(is_free(operand.type) for operand in operands_of(shape)):
        return "by its operands"
    for one in shapes(shape) if with_options else ():
        for option in one.options or ():
            if spelling := _spelling(option, way.options):
                return f"by {spelling}"
    words = _first_words(shape)
    for word in way.subcommands:
        if words is None or word in words:
            return f"by {word}"
    return None


def _spelling(option: Option, dangerous: tuple[str, ...]) -> str | None:
    """How the table spells the option, if the rule leaves its value to the caller or it has none."""
    if not (isinstance(option.type, Flag) or option.attached_only or is_free(option.type)):
        return None
    return next((spelling for spelling in dangerous if spelling in option.spellings), None)


def _may_be_empty(shape: Shape) -> bool:
    return shape.subcommands is None and all(operand.least == 0 for operand in shape.operands or ())


def _first_words(shape: Shape) -> frozenset[str] | None:
    """The sub-commands that a rule admits, written as such or as its first operand; None: any."""
    if shape.subcommands is not None:
        return frozenset(word for sub in shape.subcommands for word in sub.words)
    first = shape.operands[0].type if shape.operands else OneOf(())
    if isinstance(first, OneOf):
        return frozenset(first.texts)
    if isinstance(first, LiteralText):
        return frozenset({first.text})
    return None if is_free(first) else frozenset()


# -- by the program's grammar ----------------------------------------------------------------------------------------


def _of_grammar(rule: CommandRule, grammar: Grammar | None, risk: Risk | None) -> Iterator[Opening]:
    if grammar is None:
        return
    hows = {way.way: way.how for way in (risk.ways if risk is not None else ())}
    for opening in _of_shape(rule.shape, grammar.shape, posixpath.basename(rule.command)):
        yield replace(opening, how=hows.get(opening.way, ""))


def _of_shape(shape: Shape, known: GrammarShape, name: str, inherited: tuple[KnownOption, ...] = ()) -> Iterator[Opening]:
    yield from (Opening(way, f"by {name}") for way in sorted(known.leads))
    options = (*inherited, *known.options)
    dangerous = {spelling: one.leads for one in options for spelling in one.spellings}
    for option in shape.options or ():
        for spelling in option.spellings:
            if spelling in dangerous and _spelling(option, (spelling,)):
                yield from (Opening(way, f"by {spelling}", chosen=True) for way in sorted(dangerous[spelling]))
    if known.operands and any(is_free(operand.type) for operand in shape.operands or ()):
        yield from (Opening(way, f"by the operands of {name}", chosen=True) for way in sorted(known.operands))
    inherited = tuple(one for one in options if one.is_global)
    for word, inner in (known.subcommands or {}).items():
        sub = next((sub.shape for sub in shape.subcommands or () if word in sub.words), None)
        if sub is not None:
            yield from _of_shape(sub, inner, word, inherited)
        elif shape.subcommands is None and shape.operands:
            words = _first_words(shape)
            if words is None or word in words:
                yield from _of_shape(Shape(operands=shape.operands[1:]), inner, word, inherited)
