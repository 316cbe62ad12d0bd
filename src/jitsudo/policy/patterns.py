"""Globs and a safe subset of regular expressions, matched in full and in time linear in the text.

Both are compiled to one small program of characters and branches that is run as a set of states (Thompson 1968), so no
pattern and no text can make matching explode. What the subset leaves out (anchors, look-around, back references, lazy
and possessive repetition, a repetition without limit inside another) is refused when the policy is loaded.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.types import is_plain_text

MAX_PATTERN_CHARS = 512
MAX_PROGRAM = 1024  # instructions; also bounds the memory that `{n,m}` can ask for
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
class _Chars:
    """One character of (or, negated, outside) these ranges. A `wild` one never stands for a leading `-` or `.`."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False
    wild: bool = False

    def has(self, code: int) -> bool:
        return any(low <= code <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Tree, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    branches: tuple[_Tree, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    body: _Tree
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class _Fork:
    """Go on at both places."""

    first: int
    second: int


_Tree = _Chars | _Sequence | _Choice | _Repeat
_Program = tuple[_Chars | _Fork, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled glob or regular expression; equal to another of the same kind and text."""

    kind: Literal["glob", "regex"]
    text: str
    program: _Program = field(compare=False, repr=False)

    def matches(self, text: str, *, lenient: bool = False) -> bool:
        """Whether the whole of `text` matches. Control characters, bytes that are not UTF-8 and overlong text never do.

        `lenient`, for guardrails: wildcards stand for a leading `-` or `.` too.
        """
        if len(text) > MAX_TEXT_CHARS or not is_plain_text(text):
            return False
        states = self._closure([0])
        leading = True
        for char in text:
            code = ord(char)
            shy = leading and char in "-." and not lenient
            reached = (at + 1 for at, chars in self._chars(states) if chars.has(code) and not (shy and chars.wild))
            states = self._closure(list(reached))
            if not states:
                return False
            leading = char == "/"
        return len(self.program) in states

    def _chars(self, states: set[int]) -> Iterator[tuple[int, _Chars]]:
        for at in states:
            if at < len(self.program):
                step = self.program[at]
                if isinstance(step, _Chars):
                    yield at, step

    def _closure(self, starts: list[int]) -> set[int]:
        seen: set[int] = set()
        todo = starts
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            if at < len(self.program):
                step = self.program[at]
                if isinstance(step, _Fork):
                    todo += [step.first, step.second]
        return seen


def regex(text: str) -> Pattern:
    """Compile a regular expression of the safe subset; `InvalidValue` says what is not in it."""
    return Pattern("regex", text, _compile(_RegexReader(_checked(text, "a regular expression")).read()))


def glob(text: str) -> Pattern:
    """Compile a glob: `*` and `?` and `[…]` stay within a path component, `**` does not."""
    return Pattern("glob", text, _compile(_read_glob(_checked(text, "a glob"))))


def _checked(text: str, what: str) -> str:
    if not text or len(text) > MAX_PATTERN_CHARS:
        raise InvalidValue(f"{what} must have 1 to {MAX_PATTERN_CHARS} characters")
    if not is_plain_text(text):
        raise InvalidValue(f"{what} may not hold control characters")
    return text


# -- programs --------------------------------------------------------------------------------------------------------


def _compile(tree: _Tree) -> _Program:
    program: list[_Chars | _Fork] = []
    _emit(tree, program)
    return tuple(program)


def _emit(tree: _Tree, program: list[_Chars | _Fork]) -> None:
    if len(program) > MAX_PROGRAM:
        raise InvalidValue("the pattern is too large: its repetitions ask for too many characters")
    if isinstance(tree, _Chars):
        program.append(tree)
    elif isinstance(tree, _Sequence):
        for part in tree.parts:
            _emit(part, program)
    elif isinstance(tree, _Choice):
        _emit_choice(tree.branches, program)
    else:
        _emit_repeat(tree, program)


def _emit_choice(branches: tuple[_Tree, ...], program: list[_Chars | _Fork]) -> None:
    if len(branches) == 1:
        _emit(branches[0], program)
        return
    fork = len(program)
    program.append(_Fork(fork, fork))
    _emit(branches[0], program)
    jump = len(program)
    program.append(_Fork(jump, jump))
    program[fork] = _Fork(fork + 1, len(program))
    _emit_choice(branches[1:], program)
    program[jump] = _Fork(len(program), len(program))


def _emit_repeat(tree: _Repeat, program: list[_Chars | _Fork]) -> None:
    for _ in range(tree.least):
        _emit(tree.body, program)
    if tree.most is None:
        loop = len(program)
        program.append(_Fork(loop, loop))
        _emit(tree.body, program)
        program.append(_Fork(loop, loop))
        program[loop] = _Fork(loop + 1, len(program))
        return
    forks = []
    for _ in range(tree.most - tree.least):
        forks.append(len(program))
        program.append(_Fork(0, 0))
        _emit(tree.body, program)
    for fork in forks:
        program[fork] = _Fork(fork + 1, len(program))


# -- regular expressions ---------------------------------------------------------------------------------------------


class _RegexReader:
    """Recursive descent over one regular expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> _Tree:
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

    def _choice(self, depth: int) -> _Tree:
        if depth > MAX_GROUPS_DEEP:
            raise self._refuse(f"more than {MAX_GROUPS_DEEP} groups deep")
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self._take()
            branches.append(self._sequence(depth))
        return _Choice(tuple(branches))

    def _sequence(self, depth: int) -> _Tree:
        parts: list[_Tree] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(depth))
        return _Sequence(tuple(parts))

    def _repeated(self, depth: int) -> _Tree:
        body = self._atom(depth)
        if self._peek() not in ("*", "+", "?", "{"):
            return body
        least, most = self._quantifier()
        if self._peek() in ("*", "+", "?", "{"):
            raise self._refuse("lazy, possessive and doubled repetitions are not supported")
        if most is None and _has_unbounded(body):
            raise self._refuse("a repetition without limit inside another")
        return _Repeat(body, least, most)

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

    def _atom(self, depth: int) -> _Tree:
        char = self._take()
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._char_class()
        if char == ".":
            return _Chars(((0, _LAST),))
        if char == "\\":
            return self._escape()
        if char in _SPECIAL:
            self._at -= 1
            if char in "^$":
                raise self._refuse(f"{char!r} is not supported: the whole text is matched anyway")
            raise self._refuse(f"{char!r} stands alone; write '\\{char}' for the character")
        return _one(char)

    def _group(self, depth: int) -> _Tree:
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise self._refuse("only plain groups and '(?:' are supported")
            self._at += 2
        tree = self._choice(depth + 1)
        if self._take() != ")":
            raise self._refuse("'(' without ')'")
        return tree

    def _escape(self) -> _Chars:
        char = self._take()
        if char in _PUNCTUATION:
            return _one(char)
        if char and char.lower() in _CLASSES:
            return _Chars(_CLASSES[char.lower()], negated=char.isupper())
        raise self._refuse(f"'\\{char}' is not supported")

    def _char_class(self) -> _Chars:
        negated = self._peek() == "^"
        if negated:
            self._take()
        ranges: list[tuple[int, int]] = []
        while self._peek() != "]":
            ranges += self._class_item()
        self._take()
        if not ranges:
            raise self._refuse("an empty '[]'")
        return _Chars(tuple(ranges), negated)

    def _class_item(self) -> tuple[tuple[int, int], ...]:
        low = self._class_char()
        if low.negated:
            raise self._refuse("a negated class inside '[]'")
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] == "]":
            return low.ranges
        self._take()
        high = self._class_char()
        return (_span(low, high, self._refuse("not a range")),)

    def _class_char(self) -> _Chars:
        char = self._take()
        if char == "\\":
            return self._escape()
        if char in ("", "["):
            raise self._refuse("'[' without ']'; write '\\[' for the character")
        return _one(char)


def _one(char: str) -> _Chars:
    return _Chars(((ord(char), ord(char)),))


def _span(low: _Chars, high: _Chars, error: InvalidValue) -> tuple[int, int]:
    """The range between two single characters."""
    (start, start_end), *more = low.ranges
    (end, end_end), *others = high.ranges
    if more or others or high.negated or start != start_end or end != end_end or start > end:
        raise error
    return start, end


def _is_count(text: str) -> bool:
    return 0 < len(text) <= 4 and text.isascii() and text.isdigit()


def _has_unbounded(tree: _Tree) -> bool:
    if isinstance(tree, _Repeat):
        return tree.most is None or _has_unbounded(tree.body)
    if isinstance(tree, _Sequence):
        return any(map(_has_unbounded, tree.parts))
    return isinstance(tree, _Choice) and any(map(_has_unbounded, tree.branches))


# -- globs -----------------------------------------------------------------------------------------------------------

_NOT_SLASH = _Chars(((_SLASH, _SLASH),), negated=True, wild=True)
_ANYTHING = _Chars(((0, _LAST),), wild=True)


def _read_glob(text: str) -> _Tree:
    parts: list[_Tree] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "*":
            stars = len(text) - at - len(text[at:].lstrip("*"))
            if stars > 2:
                raise InvalidValue(f"glob {text!r}: more than two '*' in a row")
            parts.append(_Repeat(_ANYTHING if stars == 2 else _NOT_SLASH, 0, None))
            at += stars
        elif char == "[":
            chars, at = _glob_class(text, at + 1)
            parts.append(chars)
        elif char == "\\":
            raise InvalidValue(f"glob {text!r}: there are no escapes; write [*] for a literal '*'")
        else:
            parts.append(_NOT_SLASH if char == "?" else _one(char))
            at += 1
    return _Sequence(tuple(parts))


def _glob_class(text: str, at: int) -> tuple[_Chars, int]:
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


def _without_slash(ranges: tuple[tuple[int, int], ...], negated: bool) -> _Chars:
    if negated:
        return _Chars((*ranges, (_SLASH, _SLASH)), negated=True, wild=True)
    pieces = [
        piece
        for low, high in ranges
        for piece in ((low, min(high, _SLASH - 1)), (max(low, _SLASH + 1), high))
        if piece[0] <= piece[1]
    ]
    return _Chars(tuple(pieces), wild=True)
