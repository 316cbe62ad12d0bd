"""Reads nodes as typed values and collects every error on the way, so that all of them can be reported at once.

A value that is wrong is reported and replaced by a harmless one of its type: a policy with an error is never used.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Hashable, Iterator
from difflib import get_close_matches
from typing import Literal, TypeVar, cast

from jitsudo.errors import InvalidValue
from jitsudo.policy.issues import Issue, shown
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar, Sequence
from jitsudo.types import AbsPath, Duration, is_plain_text

T = TypeVar("T")
A = TypeVar("A")
W = TypeVar("W", bound=str)
H = TypeVar("H", bound=Hashable)

MAX_DEPTH = 32
MAX_NUMBER_DIGITS = 15

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# What YAML 1.1 readers take for booleans: `off` must not be a text here and a boolean in the reader's mind.
_AMBIGUOUS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false"})


class Fields:
    """The known keys of one mapping."""

    def __init__(self, reader: Reader, pos: Pos, values: dict[str, Node], what: str) -> None:
        self._reader = reader
        self._values = values
        self._what = what
        self.pos = pos

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, key: str) -> Node | None:
        """The key's value, None if the key is absent."""
        return self._values.get(key)

    def need(self, key: str) -> Node | None:
        """The same; an absent key is an error."""
        if key not in self._values:
            self._reader.error(self.pos, f"{self._what}: '{key}' is missing")
        return self._values.get(key)

    def read(self, key: str, how: Callable[[Node], T], absent: A) -> T | A:
        """The key's value as `how` reads it, or `absent`."""
        node = self._values.get(key)
        return absent if node is None else how(node)


class Reader:
    """Typed access to nodes; every complaint becomes an issue."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []
        self._fine: set[str] = set()
        self._paths: dict[str, AbsPath] = {}
        self._same: dict[Hashable, object] = {}

    def same(self, value: H) -> H:
        """An equal value that was read before, or else this one: a large policy says the same things again and again."""
        return cast(H, self._same.setdefault(value, value))

    def error(self, pos: Pos, message: str) -> None:
        """Report what makes the policy unusable."""
        self.issues.append(Issue.at(pos, message))

    def warning(self, pos: Pos, message: str) -> None:
        """Report what is probably not meant."""
        self.issues.append(Issue.at(pos, message, "warning"))

    def scalar(self, node: Node, what: str) -> Scalar | None:
        """A scalar that holds a value; None (reported) for lists, mappings and nothing."""
        if not isinstance(node, Scalar):
            self.error(node.pos, f"{what} must be a single value, not a {type(node).__name__.lower()}")
            return None
        if node.plain and node.text in _NULLS:
            self.error(node.pos, f"{what}: a value is missing")
            return None
        return node

    def text(self, node: Node, what: str) -> str:
        """One line of text; unquoted booleans are not text."""
        if isinstance(node, Scalar) and node.text in self._fine:
            return node.text
        scalar = self.scalar(node, what)
        if scalar is None:
            return ""
        before = len(self.issues)
        if scalar.plain and scalar.text.lower() in _AMBIGUOUS:
            self.error(scalar.pos, f"{what}: write '{scalar.text}' in quotes if the text is meant")
        elif scalar.plain and ":" in scalar.text and scalar.text.replace(":", "").isdigit():
            self.error(scalar.pos, f"{what}: write '{scalar.text}' in quotes (some YAML readers see a number)")
        elif not scalar.text or not is_plain_text(scalar.text):
            self.error(scalar.pos, f"{what} must be text on one line, without control characters")
        if scalar.plain and len(self.issues) == before:
            self._fine.add(scalar.text)
        return scalar.text

    def prose(self, node: Node, what: str) -> str:
        """Text for people; several lines become one."""
        scalar = self.scalar(node, what)
        if scalar is None:
            return ""
        return self.text(Scalar(scalar.pos, " ".join(scalar.text.split()), scalar.plain), what)

    def boolean(self, node: Node, what: str) -> bool:
        """`true` or `false`, unquoted, and nothing else."""
        if not isinstance(node, Scalar) or not node.plain or node.text not in ("true", "false"):
            self.error(node.pos, f"{what} must be true or false")
        return isinstance(node, Scalar) and node.text == "true"

    def number(self, node: Node, what: str, least: int = 0, most: int = 10**MAX_NUMBER_DIGITS) -> int:
        """Plain ASCII digits."""
        text = node.text if isinstance(node, Scalar) else ""
        if not (0 < len(text) <= MAX_NUMBER_DIGITS and text.isascii() and text.isdigit()):
            self.error(node.pos, f"{what} must be a whole number")
            return least
        if not least <= int(text) <= most:
            self.error(node.pos, f"{what} must lie between {least} and {most}")
        return int(text)

    def value(self, node: Node, what: str, make: Callable[[str], T], instead: T) -> T:
        """Text that `make` accepts; `instead` where its `InvalidValue` was reported."""
        before = len(self.issues)
        text = self.text(node, what)
        if len(self.issues) > before:
            return instead
        try:
            return make(text)
        except InvalidValue as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.error(node.pos, f"{what}: {error.sentence}{hint}")
            return instead

    def duration(self, node: Node, what: str) -> Duration:
        """A duration such as `30m`."""
        return self.value(node, what, Duration.parse, Duration(1))

    def path(self, node: Node, what: str) -> AbsPath:
        """An absolute path in its shortest form: what is compared as text must have one spelling."""
        if isinstance(node, Scalar) and node.text in self._paths:
            return self._paths[node.text]
        before = len(self.issues)
        path = self.value(node, what, clean_path, AbsPath("/"))
        if len(self.issues) == before:
            self._paths[path] = path
        return path

    def choice(self, node: Node, what: str, words: tuple[W, ...]) -> W:
        """One of these words."""
        scalar = self.scalar(node, what)
        if scalar is not None:
            for word in words:
                if scalar.text == word:
                    return word
            self.error(scalar.pos, f"{what}: {unknown(scalar.text, words)}; it is one of {', '.join(words)}")
        return words[0]

    def items(self, node: Node, what: str, least: int = 1) -> tuple[Node, ...]:
        """The items of a list; anything else stands for a list of one."""
        items = node.items if isinstance(node, Sequence) else (node,)
        if len(items) < least:
            self.error(node.pos, f"{what} is empty")
        return items

    def texts(self, node: Node, what: str, least: int = 1) -> tuple[str, ...]:
        """A list of texts, or one."""
        return tuple(self.text(item, what) for item in self.items(node, what, least))

    def entries(self, node: Node, what: str) -> list[tuple[Scalar, Node]]:
        """The entries of a mapping with free keys; a key that stands twice is an error."""
        if not isinstance(node, Mapping):
            self.error(node.pos, f"{what} must be a mapping")
            return []
        seen: dict[str, Scalar] = {}
        entries = []
        for key, value in node.entries:
            if key.text in seen:
                self.error(key.pos, f"{what}: '{shown(key.text)}' stands here twice, first in line {seen[key.text].pos.line}")
                continue
            seen[key.text] = key
            # Keys are always text: an approver may be called `no`.
            entries.append((Scalar(key.pos, key.text, plain=False), value))
        return entries

    def fields(self, node: Node, what: str, known: Collection[str]) -> Fields:
        """The fields of a mapping whose keys are known; an unknown one is an error."""
        values: dict[str, Node] = {}
        if isinstance(node, Mapping) and len({key.text for key, _ in node.entries}) == len(node.entries):
            entries = node.entries
        else:
            entries = tuple(self.entries(node, what))
        for key, value in entries:
            if key.text in known:
                values[key.text] = value
            else:
                self.error(key.pos, f"unknown key {unknown(key.text, known, word='')}")
        return Fields(self, node.pos, values, what)


def clean_path(text: str) -> AbsPath:
    """An absolute path without `.`, `..`, doubled or trailing slashes."""
    path = AbsPath(text)
    if posixpath.normpath(path) != path or path.startswith("//"):
        raise InvalidValue(f"not the shortest form of a path: {text!r}", posixpath.normpath("/" + text.lstrip("/")))
    return path


def unknown(text: str, known: Collection[str], word: Literal["", "unknown "] = "unknown ") -> str:
    """`unknown 'operand' (did you mean 'operands'?)`."""
    close = get_close_matches(text[:64], known, n=1)
    guess = f" (did you mean '{close[0]}'?)" if close else ""
    return f"{word}'{shown(text[:64])}'{guess}"
