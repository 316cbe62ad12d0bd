"""From the nodes of grammar files to what is known of programs, or to every reason why not.

The format is described in policies/grammars/README.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from jitsudo.policy.grammar import Grammar, Grammars, GrammarShape, KnownOption, Order, Syntax, ValueKind, WayOut
from jitsudo.policy.issues import Issue
from jitsudo.policy.nodes import Node, Pos, Scalar
from jitsudo.policy.parse_shapes import read_spellings
from jitsudo.policy.reader import Fields, Reader, unknown
from jitsudo.types import AbsPath

_FILE_KEYS = ("version", "programs")
_SHAPE_KEYS = ("options", "subcommands", "operands", "leads", "order", "global")
_PROGRAM_KEYS = (
    "also", "syntax", "unreadable", "uninterruptible", "refused_operands", "refused_arguments", "refused_words",
    "first_is_option", *_SHAPE_KEYS,
)  # fmt: skip
_SYNTAXES: tuple[Syntax, ...] = get_args(Syntax)
_ORDERS: tuple[Order, ...] = get_args(Order)
_WAYS_OUT: tuple[WayOut, ...] = get_args(WayOut)
_VALUES: Mapping[str, ValueKind] = {
    "flag": "none",
    "value": "required",
    "optional": "optional",
    "optional-long": "optional-long",
    "number": "number",
    "many": "many",
}
_EVERYWHERE: tuple[ValueKind, ...] = ("none", "required", "many")
_WORDS = (*_VALUES, "global", "harmless", "chdir", "moves", "secret", *_WAYS_OUT)
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class GrammarsResult:
    """The grammars, or None if any issue is an error; the issues in the order of the files."""

    grammars: Grammars | None
    issues: tuple[Issue, ...]


def parse_grammars(files: Iterable[Node]) -> GrammarsResult:
    """Read the root nodes of grammar files. A later file's program replaces an earlier one's. Never raises."""
    reader = _GrammarReader()
    for node in files:
        reader.file(node)
    issues = tuple(sorted(set(reader.issues)))
    if any(issue.severity == "error" for issue in issues):
        return GrammarsResult(None, issues)
    return GrammarsResult(reader.grammars, issues)


class _GrammarReader:
    """What the files said so far."""

    def __init__(self) -> None:
        self._reader = Reader()
        self.grammars: dict[str, Grammar] = {}

    @property
    def issues(self) -> list[Issue]:
        return self._reader.issues

    def file(self, node: Node) -> None:
        """Take in one file."""
        fields = self._reader.fields(node, "a grammar file", _FILE_KEYS)
        version = fields.need("version")
        if version is not None and not (isinstance(version, Scalar) and version.plain and version.text == "1"):
            self._reader.error(version.pos, "version must be 1")
        programs = fields.need("programs")
        here: dict[str, Pos] = {}
        for key, value in self._reader.entries(programs, "programs") if programs else []:
            grammar = self._program(key, value)
            for path in (grammar.program, *grammar.also):
                if path in here:
                    self._reader.error(key.pos, f"{path} is described twice, first in line {here[path].line}")
                here[path] = key.pos
                self.grammars[path] = grammar

    def _program(self, key: Scalar, node: Node) -> Grammar:
        reader = self._reader
        fields = reader.fields(node, "a program", _PROGRAM_KEYS)
        syntax: Syntax = fields.read("syntax", lambda at: reader.choice(at, "syntax", _SYNTAXES), "getopt")
        unreadable = self._flag(fields, "unreadable")
        for word in ("syntax", "order", "options", "subcommands") if unreadable else ():
            if word in fields:
                reader.error(fields.pos, f"an unreadable program has no {word}")
        shape = self._shape(fields, syntax)
        return Grammar(
            program=reader.path(key, "a program"),
            shape=replace(shape, order=None),
            syntax=syntax,
            order=shape.order or "permute",
            unreadable=unreadable,
            uninterruptible=self._flag(fields, "uninterruptible"),
            also=fields.read("also", self._paths, ()),
            refused_operands=fields.read("refused_operands", lambda at: reader.texts(at, "refused_operands"), ()),
            refused_arguments=fields.read("refused_arguments", lambda at: reader.texts(at, "refused_arguments"), ()),
            refused_words=fields.read("refused_words", self._refused_words, frozenset()),
            first_is_option=self._flag(fields, "first_is_option"),
            file=key.pos.file,
        )

    def _flag(self, fields: Fields, key: str) -> bool:
        return fields.read(key, lambda at: self._reader.boolean(at, key), False)

    def _refused_words(self, node: Node) -> frozenset[str]:
        return frozenset(word.casefold() for word in self._reader.texts(node, "refused_words"))

    def _paths(self, node: Node) -> tuple[AbsPath, ...]:
        return tuple(self._reader.path(item, "also") for item in self._reader.items(node, "also"))

    # -- shapes

    def _shape(self, fields: Fields, syntax: Syntax, depth: int = 0) -> GrammarShape:
        reader = self._reader
        options = fields.read("options", lambda at: self._options(at, syntax), ())
        if self._flag(fields, "global"):
            options = tuple(replace(option, is_global=True) for option in options)
        return GrammarShape(
            options=options,
            subcommands=fields.read("subcommands", lambda at: self._subcommands(at, syntax, depth), None),
            operands=fields.read("operands", lambda at: self._ways_out(at, "operands"), frozenset()),
            leads=fields.read("leads", lambda at: self._ways_out(at, "leads"), frozenset()),
            order=fields.read("order", lambda at: reader.choice(at, "order", _ORDERS), None),
        )

    def _ways_out(self, node: Node, what: str) -> frozenset[WayOut]:
        return frozenset(self._reader.choice(item, what, _WAYS_OUT) for item in self._reader.items(node, what, least=0))

    def _subcommands(self, node: Node, syntax: Syntax, depth: int) -> Mapping[str, GrammarShape]:
        found: dict[str, GrammarShape] = {}
        if depth == MAX_DEPTH or syntax in ("key-value", "literal"):
            why = f"stand more than {MAX_DEPTH} deep" if depth == MAX_DEPTH else f"do not go with syntax: {syntax}"
            self._reader.error(node.pos, f"subcommands {why}")
            return found
        for key, value in self._reader.entries(node, "subcommands"):
            shape = self._shape(self._reader.fields(value, "a subcommand", _SHAPE_KEYS), syntax, depth + 1)
            for same in key.text.split("|"):
                names = [name.strip() for name in same.split(",")]
                for name in names:
                    if not name or name.startswith("-"):
                        self._reader.error(key.pos, 'a subcommand is a word; "a|b" are two, and "a, b" is one with two names')
                    elif name in found:
                        self._reader.error(key.pos, f"subcommands: {unknown(name, (), word='')} stands here twice")
                    found[name] = replace(shape, name=names[0])
        return found

    # -- options

    def _options(self, node: Node, syntax: Syntax) -> tuple[KnownOption, ...]:
        options = []
        seen: set[str] = set()
        for key, value in self._reader.entries(node, "options"):
            spellings = read_spellings(self._reader, key, syntax)
            for spelling in spellings:
                if spelling in seen:
                    self._reader.error(key.pos, f"options: '{spelling}' stands here twice")
                seen.add(spelling)
            options.append(self._option(spellings, value, syntax))
        return tuple(options)

    def _option(self, spellings: tuple[str, ...], node: Node, syntax: Syntax) -> KnownOption:
        words = [self._reader.choice(item, "an option", _WORDS) for item in self._reader.items(node, "an option")]
        kinds = [word for word in words if word in _VALUES]
        kind = _VALUES[kinds[0]] if kinds else "none"
        if len(kinds) != 1 or len(set(words)) != len(words):
            message = f"an option is exactly one of {', '.join(_VALUES)}; and each word stands once"
            self._reader.error(node.pos, message)
        elif (syntax != "getopt" and kind not in _EVERYWHERE) or (syntax == "key-value" and kind == "none"):
            self._reader.error(node.pos, f"{kinds[0]} does not go with syntax: {syntax}")
        if kind == "none" and ("chdir" in words or "secret" in words):
            self._reader.error(node.pos, "chdir and secret are about a value, and a flag has none")
        return KnownOption(
            spellings=spellings,
            value=kind,
            is_global="global" in words,
            harmless="harmless" in words,
            chdir="chdir" in words,
            moves="moves" in words,
            secret="secret" in words,
            leads=frozenset(way for way in _WAYS_OUT if way in words),
        )
