"""Brings together what a rule says of a command line and what is known of the program.

The result is the rule's shape, with the options that the grammar calls harmless, and the grammar by which its arguments are
read: the program's own, with what only the rule knows. Where the two contradict each other, that is an issue.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption, Order, Syntax, ValueKind, grammar_of
from jitsudo.policy.nodes import Pos
from jitsudo.policy.reader import Reader, unknown
from jitsudo.policy.rules import AnyValue, CommandLine, Flag, LiteralText, OneOf, Operand, Option, Shape, Subcommand
from jitsudo.types import AbsPath

MAX_KEPT_GRAMMARS = 100_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A shape as the rule has it, with the places of what may be contradicted. None: the rule does not say."""

    pos: Pos
    order: tuple[Pos, Order] | None = None
    options: tuple[tuple[Pos, Option], ...] | None = None
    subcommands: tuple[tuple[Pos, str, Draft], ...] | None = None
    operands: tuple[Operand, ...] | None = None
    harmless: bool | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """The rule's shape and what its arguments are read by."""

    shape: Shape
    grammar: Grammar
    known: bool


@dataclass(slots=True)
class _Level:
    """One command or sub-command while it is merged. `known` None: nothing is known of it."""

    known: GrammarShape | None
    order: Order
    harmless: bool
    named: set[KnownOption] = field(default_factory=set)


class Merger:
    """Merges the rules of one policy; every contradiction becomes an issue of `reader`."""

    def __init__(self, reader: Reader, grammars: Mapping[str, Grammar]) -> None:
        self._reader = reader
        self._grammars = grammars
        self._kept: dict[object, Grammar] = {}
        self._passing: dict[int, tuple[Option, ...]] = {}
        self._name = ""
        self._syntax: Syntax = "getopt"

    def syntax(self, command: AbsPath, said: tuple[Pos, Syntax] | None) -> Syntax:
        """The syntax of a rule on `command`."""
        grammar = grammar_of(self._grammars, command)
        if grammar is None:
            return said[1] if said else "getopt"
        if said is None or said[1] in ("literal", grammar.syntax):
            return said[1] if said else grammar.syntax
        name = posixpath.basename(command)
        message = f"syntax: {name} reads its arguments as {grammar.syntax}; leave `syntax` out, or say literal"
        self._reader.error(said[0], message)
        return grammar.syntax

    def merge(self, command: AbsPath, syntax: Syntax, draft: Draft) -> Merged:
        """The rule's shape and grammar."""
        grammar = grammar_of(self._grammars, command)
        self._name = posixpath.basename(command)
        self._syntax = syntax
        if grammar is not None and grammar.unreadable and syntax != "literal":
            if draft.options or draft.subcommands or draft.operands:
                message = f"no model describes the command line of {self._name}: only rules with `syntax: literal` can allow it"
                self._reader.error(draft.pos, message)
            # What is wrong is said; without arguments a rule is literal enough.
            return self._literal(command, Draft(draft.pos, harmless=draft.harmless), known=True)
        if syntax == "literal":
            return self._literal(command, draft, known=grammar is not None)
        known = grammar.shape if grammar else None
        order: Order = (known.order or grammar.order) if grammar and known else "permute"
        shape, read_by = self._shape(draft, known, order, [], harmless=True)
        read_whole = self._grammar(command, syntax, grammar, shape, read_by)
        return Merged(replace(shape, syntax=syntax), read_whole, grammar is not None)

    def _grammar(
        self, command: AbsPath, syntax: Syntax, grammar: Grammar | None, shape: Shape, read_by: GrammarShape
    ) -> Grammar:
        """Rules that add nothing to what is known share the program's grammar, and equal ones share one of their own."""
        if grammar is not None:
            return grammar if read_by is grammar.shape else replace(grammar, shape=read_by)
        made = Grammar(command, read_by, syntax, shape.order)
        if read_by.subcommands is not None or len(self._kept) >= MAX_KEPT_GRAMMARS:
            return made
        return self._kept.setdefault((command, syntax, shape.order, read_by.options), made)

    def _literal(self, command: AbsPath, draft: Draft, *, known: bool) -> Merged:
        for key, said in (("order", draft.order), ("options", draft.options), ("subcommands", draft.subcommands)):
            if said is not None:
                self._reader.error(draft.pos, f"syntax: literal compares word by word, without {key}")
        if not all(isinstance(operand.type, LiteralText | OneOf) for operand in draft.operands or ()):
            message = "syntax: literal compares word by word: its operands are {literal: …} or {one_of: […]}"
            self._reader.error(draft.pos, message)
        shape = Shape("literal", operands=draft.operands, harmless=draft.harmless is not False)
        return Merged(shape, self._grammar(command, "literal", None, shape, GrammarShape()), known)

    # -- one command or sub-command

    def _shape(
        self, draft: Draft, known: GrammarShape | None, order: Order, above: list[_Level], *, harmless: bool
    ) -> tuple[Shape, GrammarShape]:
        order = self._order(draft, known, order)
        level = _Level(known, order, harmless if draft.harmless is None else draft.harmless)
        options: list[Option] = []
        added: list[KnownOption] = []
        for pos, option in draft.options or ():
            one, new = self._option(pos, option, level, above)
            options.append(one)
            added += [new] if new else []
        subcommands, grammars = self._subcommands(draft, level, above)
        passing = self._harmless(level)
        self._check_nested(draft, level)
        shape = Shape(
            order=order,
            options=(*options, *passing) if options else (passing or (None if draft.options is None else ())),
            subcommands=subcommands,
            operands=draft.operands,
            harmless=draft.harmless is not False,
        )
        return shape, _extended(known, added, grammars, order)

    def _order(self, draft: Draft, known: GrammarShape | None, above: Order) -> Order:
        order: Order = (known.order if known else None) or above
        if draft.order is None:
            return order
        pos, said = draft.order
        if known is not None and said != order:
            self._reader.error(pos, f"order: the grammar of {self._name} says {order}; leave `order` out")
        return said

    def _option(
        self, pos: Pos, option: Option, level: _Level, above: list[_Level]
    ) -> tuple[Option, KnownOption | None]:
        """The option, marked where it belongs to a command above; and its entry where only the rule knows it."""
        kind = _kind(option)
        self._check_syntax(pos, option)
        if level.known is None:
            return option, KnownOption(option.spellings, kind)
        owner, known = _owner(option.spellings, level, above)
        if known is None:
            self._check_unknown(pos, option, level, above)
            return option, KnownOption(option.spellings, kind)
        for spelling in option.spellings:
            if spelling not in known.spellings:
                names = ", ".join(known.spellings)
                self._reader.error(pos, f"'{spelling}' is not a spelling of {self._name}'s option {names}")
        self._check_kind(pos, option, known)
        owner.named.add(known)
        return replace(option, inherited=owner is not level), None

    def _check_kind(self, pos: Pos, option: Option, known: KnownOption) -> None:
        said = _kind(option)
        cures: dict[tuple[ValueKind, ValueKind], str] = {
            ("none", "optional"): "takes no value: write flag",
            ("none", "required"): "takes no value: write flag",
            ("required", "none"): "takes a value: write its type instead of flag, e.g. int, or any",
            ("required", "optional"): "always takes a value: write its type without `optional`",
            ("optional", "required"): "takes its value attached, if any: write {optional: TYPE}, or flag",
            ("optional-long", "required"): "takes its value attached, if any: write {optional: TYPE}, or flag",
        }
        cure = cures.get((known.value, said))
        if known.value == "many":
            cure = "takes a part of the command line that cannot be read: no rule can allow it"
        if cure:
            self._reader.error(pos, f"{self._name} {option.spellings[0]} {cure}")

    def _check_unknown(self, pos: Pos, option: Option, level: _Level, above: list[_Level]) -> None:
        names = [spelling for one in (*above, level) if one.known for spelling in one.known.by_spelling]
        for spelling in option.spellings:
            whole = next((name for name in names if spelling.startswith("--") and name.startswith(spelling)), spelling)
            if whole != spelling:
                self._reader.error(pos, f"'{spelling}' is an abbreviation; write {whole}")
            elif spelling in names:
                self._reader.error(pos, f"'{spelling}' stands before the sub-command: name it there")
            else:
                guess = unknown(spelling, names, word="")
                self._reader.warning(pos, f"the grammar of {self._name} has no option {guess}; it is read as the rule says")

    def _check_syntax(self, pos: Pos, option: Option) -> None:
        kind = _kind(option)
        if kind == "optional" and self._syntax != "getopt":
            self._reader.error(pos, f"`optional` belongs to syntax: getopt, and {self._name} is read as {self._syntax}")
        if kind == "none" and self._syntax == "key-value":
            self._reader.error(pos, f"'{option.spellings[0]}' has a value: write its type instead of flag")

    def _harmless(self, level: _Level) -> tuple[Option, ...]:
        """What the grammar lets pass and the rule does not name, here or for one sub-command."""
        if not level.harmless or level.known is None:
            return ()
        if level.named:
            return tuple(_as_harmless(one) for one in level.known.options if one.harmless and one not in level.named)
        # Most rules name none of them, and share one tuple. The grammars outlive this merger, so that an id is a key.
        key = id(level.known)
        if key not in self._passing:
            self._passing[key] = tuple(_as_harmless(known) for known in level.known.options if known.harmless)
        return self._passing[key]

    def _check_nested(self, draft: Draft, level: _Level) -> None:
        nested = any(isinstance(operand.type, CommandLine) for operand in draft.operands or ())
        if nested and level.known is None and level.order == "permute" and draft.order is None and self._syntax == "getopt":
            message = f"does {self._name} pass options behind the command on? Then write order: posix, otherwise order: permute"
            self._reader.warning(draft.pos, message)

    # -- sub-commands

    def _subcommands(
        self, draft: Draft, level: _Level, above: list[_Level]
    ) -> tuple[tuple[Subcommand, ...] | None, Mapping[str, GrammarShape] | None]:
        """The rule's sub-commands, and those of the grammar that the rule changes; None where the rule has none."""
        if draft.subcommands is None:
            return None, None
        if self._syntax == "key-value" or (level.known is not None and level.known.subcommands is None):
            self._reader.error(draft.pos, f"{self._name} has no sub-commands here: write operands")
        words: dict[tuple[Shape, Pos], list[str]] = {}
        grammars: dict[str, GrammarShape] = {}
        names: dict[str, tuple[str, Pos]] = {}
        for pos, word, inner in draft.subcommands:
            known = self._known_subcommand(pos, word, level)
            other, place = names.setdefault(known.name if known and known.name else word, (word, pos))
            if place != pos:
                self._reader.error(pos, f"'{word}' is another name of {self._name}'s '{other}': let one entry name both")
            shape, read_by = self._shape(inner, known, level.order, [*above, level], harmless=level.harmless)
            words.setdefault((shape, inner.pos), []).append(word)
            if read_by is not known:
                grammars[word] = read_by
        return tuple(Subcommand(tuple(same), shape) for (shape, _), same in words.items()), grammars

    def _known_subcommand(self, pos: Pos, word: str, level: _Level) -> GrammarShape | None:
        names = (level.known.subcommands if level.known else None) or {}
        if level.known is not None and level.known.subcommands is not None and word not in names:
            guess = unknown(word, names, word="")
            self._reader.warning(pos, f"the grammar of {self._name} has no sub-command {guess}; it is read as the rule says")
        return names.get(word)


def _extended(
    known: GrammarShape | None, added: list[KnownOption], grammars: Mapping[str, GrammarShape] | None, order: Order
) -> GrammarShape:
    """What is known and what the rule adds to it; the very same where it adds nothing."""
    if known is None:
        return GrammarShape(tuple(added), grammars, order=order)
    if not added and not grammars:
        return known
    subcommands = known.subcommands if not grammars else {**(known.subcommands or {}), **grammars}
    return replace(known, options=(*known.options, *added), subcommands=subcommands)


def _owner(spellings: Iterable[str], level: _Level, above: list[_Level]) -> tuple[_Level, KnownOption | None]:
    """Whose option it is: this level's, or one above where it is global."""
    for one in (level, *reversed(above)):
        for spelling in spellings:
            known = one.known.by_spelling.get(spelling) if one.known else None
            if known is not None and (one is level or known.is_global):
                return one, known
    return level, None


def _kind(option: Option) -> ValueKind:
    if option.attached_only:
        return "optional"
    return "none" if isinstance(option.type, Flag) else "required"


def _as_harmless(known: KnownOption) -> Option:
    return Option(
        known.spellings,
        Flag() if known.value == "none" else AnyValue(),
        attached_only=known.value not in ("none", "required"),
        repeat=True,
        harmless=True,
    )
