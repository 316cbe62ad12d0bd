"""Reads what a command may get: its options, sub-commands and operands, as a rule has them."""

from __future__ import annotations

import re
from typing import Literal

from jitsudo.policy.grammar import Order, Syntax
from jitsudo.policy.merging import Draft
from jitsudo.policy.nodes import Node, Pos, Scalar, Sequence
from jitsudo.policy.parse_types import TypeReader
from jitsudo.policy.reader import Fields, Reader, unknown
from jitsudo.policy.rules import Operand, Option

MAX_OPERANDS = 64
SHAPE_KEYS = ("order", "options", "subcommands", "operands", "harmless")

_ORDERS: tuple[Order, ...] = ("posix", "permute")
# getopt(3): a letter is any graphic character but `-`, `:` and `;`; a comma separates spellings here.
_GETOPT = re.compile(r"-[!-+./0-9<-~]|--[A-Za-z0-9][A-Za-z0-9._+-]*")
_SINGLE_DASH = re.compile(r"--?[A-Za-z0-9?#][A-Za-z0-9._+:=-]*|[!()]")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHAPES = {"getopt": _GETOPT, "single-dash": _SINGLE_DASH, "key-value": _KEYWORD, "literal": _SINGLE_DASH}
_EXAMPLES = {"getopt": '"-n, --lines"', "single-dash": '"-name"', "key-value": '"of"', "literal": '"-n, --lines"'}


def read_spellings(reader: Reader, key: Scalar, syntax: Syntax | Literal["any"]) -> tuple[str, ...]:
    """The spellings of one option: `-n, --lines`. `any`: the program's syntax is not known."""
    spellings = reader.same(tuple(part.strip() for part in key.text.split(",")))
    for spelling in spellings:
        shapes = [_GETOPT, _SINGLE_DASH, _KEYWORD] if syntax == "any" else [_SHAPES[syntax]]
        if any(shape.fullmatch(spelling) for shape in shapes):
            continue
        if syntax == "getopt" and _SINGLE_DASH.fullmatch(spelling) and spelling.startswith("-"):
            message = f"'{spelling}' has one dash and several letters: write -{spelling}, or syntax: single-dash"
            reader.error(key.pos, message)
        else:
            example = _EXAMPLES.get(syntax, _EXAMPLES["getopt"])
            reader.error(key.pos, f"not an option: {unknown(spelling, (), word='')}; write e.g. {example}")
    return spellings


def read_words(reader: Reader, at: Scalar, seen: set[str]) -> tuple[str, ...]:
    """The words of `restart|reload`; `seen` gathers those that stand beside it."""
    words = tuple(at.text.split("|"))
    for word in words:
        if not word.strip() or word != word.strip() or word.startswith("-"):
            reader.error(at.pos, 'a subcommand is a word, or several: "restart|reload"')
        elif word in seen:
            reader.error(at.pos, f"subcommands: {unknown(word, (), word='')} stands here twice")
        seen.add(word)
    return words


class ShapeReader:
    """Reads shapes; `types` reads the types of their arguments."""

    def __init__(self, reader: Reader, types: TypeReader) -> None:
        self._reader = reader
        self._types = types

    def draft(self, fields: Fields, syntax: Syntax) -> Draft:
        """What may follow the command that `fields` describe."""
        reader = self._reader
        order = fields.get("order")
        return Draft(
            fields.pos,
            order=(order.pos, reader.choice(order, "order", _ORDERS)) if order else None,
            options=fields.read("options", lambda at: self._options(at, syntax), None),
            subcommands=fields.read("subcommands", lambda at: self._subcommands(at, syntax), None),
            operands=fields.read("operands", self._operands, None),
            harmless=fields.read("harmless", lambda at: reader.boolean(at, "harmless"), None),
        )

    def _operands(self, node: Node) -> tuple[Operand, ...]:
        items = self._reader.items(node, "operands", least=0)
        if len(items) > MAX_OPERANDS:
            self._reader.error(node.pos, f"operands has more than {MAX_OPERANDS} entries")
        operands = [self._types.operand(item) for item in items[:MAX_OPERANDS]]
        if isinstance(node, Scalar) and node.text == "any":
            # `operands: any`, written alone, is any number of anything; in a list it is one of anything.
            return tuple(Operand(operand.type, 0, None) for operand in operands)
        return tuple(operands)

    def _options(self, node: Node, syntax: Syntax) -> tuple[tuple[Pos, Option], ...]:
        options = []
        seen: set[str] = set()
        for key, value in self._reader.entries(node, "options"):
            spellings = read_spellings(self._reader, key, syntax)
            for spelling in spellings:
                if spelling in seen:
                    self._reader.error(key.pos, f"options: '{spelling}' stands here twice")
                seen.add(spelling)
            options.append((key.pos, self._option(spellings, value)))
        return tuple(options)

    def _option(self, spellings: tuple[str, ...], node: Node) -> Option:
        reader = self._reader
        extras = ("repeat", "required")
        inner = _optional_type(node)
        if inner is None:
            type_, fields = self._types.argument_type(node, extras)
        else:
            type_, fields = self._types.argument_type(inner)[0], reader.fields(node, "an option", ("optional", *extras))
        option = Option(
            spellings,
            type_,
            attached_only=inner is not None,
            repeat=fields.read("repeat", lambda at: reader.boolean(at, "repeat"), False),
            required=fields.read("required", lambda at: reader.boolean(at, "required"), False),
        )
        return reader.same(option)

    def _subcommands(self, node: Node, syntax: Syntax) -> tuple[tuple[Pos, str, Draft], ...]:
        found = []
        seen: set[str] = set()
        for key, value in self._reader.entries(node, "subcommands"):
            words = read_words(self._reader, key, seen)
            draft = self.draft(self._reader.fields(value, "a subcommand", SHAPE_KEYS), syntax)
            found += [(key.pos, word, draft) for word in words]
        return tuple(found)


def _optional_type(node: Node) -> Node | None:
    """The TYPE of `{optional: TYPE}`."""
    if isinstance(node, Scalar | Sequence):
        return None
    return next((value for key, value in node.entries if key.text == "optional"), None)
