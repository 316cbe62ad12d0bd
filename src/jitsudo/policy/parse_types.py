"""Reads the types of arguments: `int`, `{one_of: [restart, reload]}`, `{path: {under: /var/log}, count: "1.."}`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.policy.nodes import Mapping, Node, Scalar
from jitsudo.policy.patterns import Pattern, glob, regex
from jitsudo.policy.reader import Fields, Reader, unknown
from jitsudo.policy.rules import (
    AnyValue,
    ArgumentType,
    CommandLine,
    CommandRule,
    Flag,
    GlobText,
    IntRange,
    LiteralText,
    NamedType,
    NotType,
    OneOf,
    Operand,
    PathUnder,
    RegexText,
)
from jitsudo.policy.values import is_host, unit_name
from jitsudo.types import Duration, UserName

MAX_COUNT = 100_000
NOTHING = Pattern("glob", "", ())

_BARE = ("any", "flag", "int", "user", "group", "self", "host", "cidr", "port", "unit", "package", "duration", "size")
_WITH_ARGUMENTS = ("literal", "one_of", "not", "glob", "regex", "path", "command")
TYPE_WORDS = (*_BARE, *_WITH_ARGUMENTS)
_NAMES = frozenset({"user", "group", "host", "cidr", "unit", "package"})
_RANGES = frozenset({"port", "duration", "size"})
_KINDS: tuple[Literal["file", "directory"], ...] = ("file", "directory")
_COUNT = re.compile(r"([0-9]{1,6})(\.\.([0-9]{1,6})?)?")
ReadRule = Callable[[Node], CommandRule]

# As it is to be typed: with a version, a release or an architecture if the rule wants it so.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(?:[=:/][A-Za-z0-9.+:~_-]+)*")
_WORDS = frozenset(TYPE_WORDS)


@lru_cache(maxsize=16)
def _known(extras: tuple[str, ...]) -> frozenset[str]:
    return _WORDS.union(extras)


class TypeReader:
    """Reads types; `read_rule` reads the rule inside `{command: RULE}`."""

    def __init__(self, reader: Reader, read_rule: ReadRule) -> None:
        self._reader = reader
        self._read_rule = read_rule

    def argument_type(self, node: Node, extras: tuple[str, ...] = ()) -> tuple[ArgumentType, Fields]:
        """A type and the fields beside its word that `extras` admits."""
        if isinstance(node, Mapping):
            fields = self._reader.fields(node, "a type", _known(extras))
            words = [word for word in fields if word in _WORDS]
            if len(words) == 1:
                argument = fields.need(words[0])
                return (self._reader.same(self._with_argument(words[0], argument)) if argument else AnyValue()), fields
            self._reader.error(node.pos, "a type has one word, e.g. {int: {max: 100}} or {one_of: [a, b]}")
            return AnyValue(), fields
        return self._bare(node), Fields(self._reader, node.pos, {}, "a type")

    def operand(self, node: Node) -> Operand:
        """One entry of `operands`."""
        type_, fields = self.argument_type(node, ("count",))
        if isinstance(type_, Flag):
            self._reader.error(node.pos, "an operand cannot be a flag: only options can")
        least, most = fields.read("count", self._count, (1, 1))
        return self._reader.same(Operand(type_, least, most))

    def _count(self, node: Node) -> tuple[int, int | None]:
        text = self._reader.scalar(node, "count")
        found = _COUNT.fullmatch(text.text) if text else None
        if not found:
            if text:
                self._reader.error(node.pos, "count is N, \"N..\" or \"N..M\"")
            return 1, 1
        least = int(found[1])
        most = None if found[2] == ".." else int(found[3] or least)
        if most is not None and not 0 < max(least, 1) <= most <= MAX_COUNT:
            self._reader.error(node.pos, f"count runs from less to more, at most {MAX_COUNT}")
        return least, most

    def _bare(self, node: Node) -> ArgumentType:
        scalar = self._reader.scalar(node, "a type")
        if scalar is None:
            return AnyValue()
        word = scalar.text
        if word in _WITH_ARGUMENTS:
            self._reader.error(scalar.pos, f"the type '{word}' needs its argument: {{{word}: …}}")
        elif word not in _BARE:
            self._reader.error(scalar.pos, f"unknown type {unknown(word, TYPE_WORDS, word='')}; text is {{literal: …}}")
        return self._plain_type(word)

    def _plain_type(self, word: str) -> ArgumentType:
        if word == "flag":
            return Flag()
        if word == "int":
            return IntRange()
        return NamedType(word) if word in _BARE and word != "any" else AnyValue()

    def _with_argument(self, word: str, node: Node) -> ArgumentType:
        reader = self._reader
        if word in _BARE and isinstance(node, Scalar) and node.plain and node.text == "true":
            return self._plain_type(word)
        match word:
            case "any" | "flag" | "self":
                reader.error(node.pos, f"the type '{word}' has no arguments: write {word}, or {{{word}: true}}")
                return self._plain_type(word)
            case "literal":
                return LiteralText(self._argument_text(node, word))
            case "one_of":
                return OneOf(tuple(self._argument_text(item, word) for item in reader.items(node, word)))
            case "int":
                least, most = self._range(node, word, 0)
                return IntRange(least or 0, most)
            case "not":
                return NotType(self.argument_type(node)[0])
            case "glob":
                return GlobText(reader.value(node, word, glob, NOTHING))
            case "regex":
                return RegexText(reader.value(node, word, regex, NOTHING))
            case "path":
                return self._path(node)
            case "command":
                return CommandLine(self._read_rule(node))
        if word in _RANGES:
            least, most = self._range(node, word, 0)
            return NamedType(word, least=least, most=most)
        return NamedType(word, tuple(self._name(item, word) for item in reader.items(node, word)))

    def _argument_text(self, node: Node, word: str) -> str:
        """The text of an argument; quoted, it may also be empty."""
        if isinstance(node, Scalar) and not node.plain and not node.text:
            return ""
        return self._reader.text(node, word)

    def _name(self, node: Node, word: str) -> str:
        return self._reader.value(node, word, _NAME_READERS[word], "")

    def _range(self, node: Node, word: str, floor: int) -> tuple[int | None, int | None]:
        fields = self._reader.fields(node, word, ("min", "max"))
        number = _seconds if word == "duration" else (_bytes if word == "size" else None)

        def bound(at: Node) -> int:
            if number and isinstance(at, Scalar) and not at.text.isdigit():
                return self._reader.value(at, word, number, floor)
            return self._reader.number(at, word, floor)

        low = bound(at) if (at := fields.get("min")) else None
        high = bound(at) if (at := fields.get("max")) else None
        if low is not None and high is not None and low > high:
            self._reader.error(node.pos, f"{word}: min is greater than max")
        return low, high

    def _path(self, node: Node) -> PathUnder:
        reader = self._reader
        fields = reader.fields(node, "path", ("under", "glob", "exists", "kind"))
        under = fields.need("under")
        kind = fields.get("kind")
        return PathUnder(
            under=tuple(reader.path(item, "under") for item in reader.items(under, "under")) if under else (),
            glob=fields.read("glob", self._relative_glob, None),
            exists=fields.read("exists", lambda at: reader.boolean(at, "exists"), None),
            kind=reader.choice(kind, "kind", _KINDS) if kind else None,
        )

    def _relative_glob(self, node: Node) -> Pattern | None:
        pattern = self._reader.value(node, "glob", glob, NOTHING)
        if pattern.text.startswith("/"):
            self._reader.error(node.pos, "glob: it is matched relative to the folder, so it does not begin with '/'")
        return pattern


def network(text: str) -> str:
    """An IP network or address in its normal form."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InvalidValue(f"not a network: {text!r}", "write e.g. 10.20.0.0/16, without bits beyond the prefix") from error


def _unit(text: str) -> str:
    if unit_name(text) is None:
        raise InvalidValue(f"not the name of a unit: {text!a}", "name each one; patterns are not understood here")
    return text


def _host(text: str) -> str:
    if not is_host(text):
        raise InvalidValue(f"not a host's name or address: {text!a}", "name each one; for networks there is cidr")
    return text


def _package(text: str) -> str:
    if not _PACKAGE.fullmatch(text):
        raise InvalidValue(f"not the name of a package: {text!a}", "name each one; patterns are not understood here")
    return text


_NAME_READERS: dict[str, Callable[[str], str]] = {
    "user": UserName, "group": UserName, "host": _host, "cidr": network, "unit": _unit, "package": _package,
}  # fmt: skip


def _seconds(text: str) -> int:
    return int(Duration.parse(text))


_SIZE = re.compile(r"([0-9]{1,12})([KMGT])")


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if not found:
        raise InvalidValue(f"not a size: {text!r}", "write e.g. 512, 64K or 10M")
    return int(found[1]) << 10 * ("KMGT".index(found[2]) + 1)
