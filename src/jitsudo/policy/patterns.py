"""Globs and a safe subset of regular expressions, matched in full and in time linear in the text.

Both are compiled for the automaton next door, so no pattern and no text can make matching explode. What the subset
leaves out (anchors, look-around, back references, lazy and possessive repetition, a repetition without limit inside
another) is refused when the policy is loaded.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.policy.automaton import Chars, Choice, Concat, Program, Repeat, Tree, accepts, compile_tree
from jitsudo.types import is_plain_text

MAX_PATTERN_CHARS = 512
MAX_GROUPS_DEEP = 16
MAX_TEXT_CHARS = 4096
MAX_REPEAT = 1000

_PUNCTUATION = frozenset(string.punctuation)
_SPECIAL = frozenset("^$*+?{}|()[]\\.")
_LAST = 0x10FFFF
_CLASSES: dict[str, tuple[tuple[int, int], ...]] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x20, 0x20),),
}
_SLASH = 0x2F


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled glob or regular expression; equal to another of the same kind and text."""

    kind: Literal["glob", "regex"]
    text: str
    program: Program = field(compare=False, repr=False)

    def matches(self, text: str, *, lenient: bool = False) -> bool:
        """Whether the whole of `text` matches. Control characters, bytes that are not UTF-8 and overlong text never do.

        `lenient`, for guardrails: wildcards stand for a leading `-` or `.` too.
        """
        if len(text) > MAX_TEXT_CHARS or not is_plain_text(text):
            return False
        return accepts(self.program, text, lenient=lenient)


def regex(text: str) -> Pattern:
    """Compile a regular expression of the safe subset; `InvalidValue` says what is not in it."""
    return Pattern("regex", text, compile_tree(_RegexReader(_checked(text, "a regular expression")).read()))


def glob(text: str) -> Pattern:
    """Compile a glob: `*` and `?` and `[…]` stay within a path component, `**` does not."""
    return Pattern("glob", text, compile_tree(_read_glob(_checked(text, "a glob"))))


def _checked(text: str, what: str) -> str:
    if not text or len(text) > MAX_PATTERN_CHARS:
        raise InvalidValue(f"{what} must have 1 to {MAX_PATTERN_CHARS} characters")
    if not is_plain_text(text):
        raise InvalidValue(f"{what} may not hold control characters")
    return text


# -- regular expressions ---------------------------------------------------------------------------------------------


class _RegexReader:
    """Recursive descent over one regular expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> Tree:
        tree = self._choice(0)
        if self._at < len(self._text):
            raise self._refuse("')' without '('")
        return tree

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _refuse(self, why: str) -> InvalidValue:
        return InvalidValue(f"regular expression {self._text!r}: {why}, at character {self._at + 1}")

    def _choice(self, depth: int) -> Tree:
        if depth > MAX_GROUPS_DEEP:
            raise self._refuse(f"more than {MAX_GROUPS_DEEP} groups deep")
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self._take()
            branches.append(self._sequence(depth))
        return Choice(tuple(branches))

    def _sequence(self, depth: int) -> Tree:
        parts: list[Tree] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(depth))
        return Concat(tuple(parts))

    def _repeated(self, depth: int) -> Tree:
        body = self._atom(depth)
        if self._peek() not in ("*", "+", "?", "{"):
            return body
        least, most = self._quantifier()
        if self._peek() in ("*", "+", "?", "{"):
            raise self._refuse("lazy, possessive and doubled repetitions are not supported")
        if most is None and _has_unbounded(body):
            raise self._refuse("a repetition without limit inside another")
        return Repeat(body, least, most)

    def _quantifier(self) -> tuple[int, int | None]:
        char = self._take()
        if char != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        end = self._text.find("}", self._at)
        bounds = self._text[self._at : end] if end >= 0 else ""
        low, comma, high = bounds.partition(",")
        if not _is_count(low) or (high and not _is_count(high)):
            raise self._refuse("'{' begins a repetition: {N}, {N,} or {N,M}; write '\\{' for the character")
        self._at = end + 1
        least = int(low)
        most = least if not comma else (int(high) if high else None)
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise self._refuse(f"a repetition runs from less to more, at most {MAX_REPEAT}")
        return least, most

    def _atom(self, depth: int) -> Tree:
        char = self._take()
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._char_class()
        if char == ".":
            return Chars(((0, _LAST),))
        if char == "\\":
            return self._escape()
        if char in _SPECIAL:
            self._at -= 1
            if char in "^$":
                raise self._refuse(f"{char!r} is not supported: the whole text is matched anyway")
            raise self._refuse(f"{char!r} stands alone; write '\\{char}' for the character")
        return _one(char)

    def _group(self, depth: int) -> Tree:
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise self._refuse("only plain groups and '(?:' are supported")
            self._at += 2
        tree = self._choice(depth + 1)
        if self._take() != ")":
            raise self._refuse("'(' without ')'")
        return tree

    def _escape(self) -> Chars:
        char = self._take()
        if char in _PUNCTUATION:
            return _one(char)
        if char and char.lower() in _CLASSES:
            return Chars(_CLASSES[char.lower()], negated=char.isupper())
        raise self._refuse(f"'\\{char}' is not supported")

    def _char_class(self) -> Chars:
        negated = self._peek() == "^"
        if negated:
            self._take()
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]":
            ranges += self._class_item()
        self._take()
        if not ranges:
            raise self._refuse("an empty '[]'")
        return Chars(tuple(ranges), negated)

    def _class_item(self) -> tuple[tuple[int, int], ...]:
        low = self._class_char()
        if low.negated:
            raise self._refuse("a negated class inside '[]'")
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] == "]":
            return low.ranges
        self._take()
        high = self._class_char()
        return (_span(low, high, self._refuse("not a range")),)

    def _class_char(self) -> Chars:
        char = self._take()
        if char == "\\":
            return self._escape()
        if char in ("", "["):
            raise self._refuse("'[' without ']'; write '\\[' for the character")
        return _one(char)


def _one(char: str) -> Chars:
    return Chars(((ord(char), ord(char)),))


def _span(low: Chars, high: Chars, error: InvalidValue) -> tuple[int, int]:
    """The range between two single characters."""
    (start, start_end), *more = low.ranges
    (end, end_end), *others = high.ranges
    if more or others or high.negated or start != start_end or end != end_end or start > end:
        raise error
    return start, end


def _is_count(text: str) -> bool:
    return 0 < len(text) <= 4 and text.isascii() and text.isdigit()


def _has_unbounded(tree: Tree) -> bool:
    if isinstance(tree, Repeat):
        return tree.most is None or _has_unbounded(tree.body)
    if isinstance(tree, Concat):
        return any(map(_has_unbounded, tree.parts))
    return isinstance(tree, Choice) and any(map(_has_unbounded, tree.branches))


# -- globs -----------------------------------------------------------------------------------------------------------

_NOT_SLASH = Chars(((_SLASH, _SLASH),), negated=True, wild=True)
_ANYTHING = Chars(((0, _LAST),), wild=True)


def _read_glob(text: str) -> Tree:
    parts: list[Tree] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "*":
            stars = len(text) - at - len(text[at:].lstrip("*"))
            if stars > 2:
                raise InvalidValue(f"glob {text!r}: more than two '*' in a row")
            parts.append(Repeat(_ANYTHING if stars == 2 else _NOT_SLASH, 0, None))
            at += stars
        elif char == "[":
            chars, at = _glob_class(text, at + 1)
            parts.append(chars)
        elif char == "\\":
            raise InvalidValue(f"glob {text!r}: there are no escapes; write [*] for a literal '*'")
        else:
            parts.append(_NOT_SLASH if char == "?" else _one(char))
            at += 1
    return Concat(tuple(parts))


def _glob_class(text: str, at: int) -> tuple[Chars, int]:
    """The class that begins after the `[` before `at`, and where the text goes on."""
    refuse = InvalidValue(f"glob {text!r}: not a character class; write e.g. [a-z] or [!0-9]")
    end = text.find("]", at)
    negated = text[at : at + 1] in ("!", "^")
    body = text[at + negated : end] if end >= 0 else ""
    if not body or set(body) & set("[\\/"):
        raise refuse
    ranges: list[tuple[int, int]] = []
    i = 0
    while i < len(body):
        if body[i + 1 : i + 2] == "-" and i + 2 < len(body):
            ranges.append(_span(_one(body[i]), _one(body[i + 2]), refuse))
            i += 3
        else:
            ranges.append((ord(body[i]), ord(body[i])))
            i += 1
    # A class stays within a path component whatever its ranges or its negation would admit.
    return _without_slash(tuple(ranges), negated), end + 1


def _without_slash(ranges: tuple[tuple[int, int], ...], negated: bool) -> Chars:
    if negated:
        return Chars((*ranges, (_SLASH, _SLASH)), negated=True, wild=True)
    pieces = [
        piece
        for low, high in ranges
        for piece in ((low, min(high, _SLASH - 1)), (max(low, _SLASH + 1), high))
        if piece[0] <= piece[1]
    ]
    return Chars(tuple(pieces), wild=True)
