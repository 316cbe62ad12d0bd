"""How a YAML file is laid out, beyond what it says: styles, where each piece begins and ends, comments, blank lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from jitsudo.errors import InvalidValue
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.issues import Issue

_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#")


@dataclass(slots=True)
class Piece:
    """A scalar or collection with its place: lines and columns from 0, the end excluded.

    Scalars have `text` and `style`; collections `flow`, and `entries` (mappings) or `items` (lists).
    """

    kind: Literal["scalar", "mapping", "list"]
    line: int
    column: int
    end_line: int = 0
    end_column: int = 0
    text: str = ""
    style: str = ""
    flow: bool = False
    entries: list[tuple[Piece, Piece]] = field(default_factory=list)
    items: list[Piece] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment with its `#`; `own`: nothing else stands on its line."""

    line: int
    column: int
    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """One file: its root, its comments in order, and the lines that are blank."""

    root: Piece
    comments: tuple[Comment, ...]
    blank: frozenset[int]
    lines: tuple[str, ...]


def read_layout(name: str, raw: bytes) -> Layout:
    """Raises InvalidValue for what policies may not be made of."""
    issues: list[Issue] = []
    if read_yaml(name, raw, issues) is None or issues:
        raise InvalidValue(str(issues[0]))
    text = raw.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    builder = _Builder()
    events: Iterator[Any] = iter(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    for event in events:
        builder.take(event)
    lines = tuple(text.split("\n"))
    spans = _spans(builder.scalars, lines)
    blank = frozenset(n for n, line in enumerate(lines) if not line.strip() and n not in spans)
    return Layout(builder.root, tuple(_comments(lines, spans)), blank, lines)


class _Builder:
    """From events to pieces."""

    def __init__(self) -> None:
        self.root = Piece("scalar", 0, 0)
        self.scalars: list[Piece] = []
        self._open: list[Piece] = []
        self._keys: list[Piece | None] = []

    def take(self, event: Any) -> None:
        """One event; what is no node is of no interest."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            piece = self._begun("scalar", event)
            piece.text, piece.style = event.value, event.style or ""
            self._end(piece, event)
            self.scalars.append(piece)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            piece = self._begun("mapping" if kind is yaml.MappingStartEvent else "list", event)
            piece.flow = bool(event.flow_style)
            self._open.append(piece)
            self._keys.append(None)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._end(self._open.pop(), event)
            self._keys.pop()

    def _begun(self, kind: Literal["scalar", "mapping", "list"], event: Any) -> Piece:
        piece = Piece(kind, event.start_mark.line, event.start_mark.column)
        self._add(piece)
        return piece

    def _end(self, piece: Piece, event: Any) -> None:
        piece.end_line, piece.end_column = event.end_mark.line, event.end_mark.column

    def _add(self, piece: Piece) -> None:
        if not self._open:
            self.root = piece
        elif self._open[-1].kind == "list":
            self._open[-1].items.append(piece)
        elif self._keys[-1] is None:
            self._keys[-1] = piece
        else:
            self._open[-1].entries.append((self._keys[-1], piece))
            self._keys[-1] = None


def _spans(scalars: list[Piece], lines: tuple[str, ...]) -> dict[int, list[tuple[int, int]]]:
    """By line, the columns that belong to scalars. A block scalar's first line holds its header only."""
    spans: dict[int, list[tuple[int, int]]] = {}
    for piece in scalars:
        if piece.style in ("|", ">"):
            _trim_block(piece, lines)
            for number in range(piece.line + 1, piece.end_line):
                spans.setdefault(number, []).append((0, len(lines[number]) + 1))
            continue
        for number in range(piece.line, piece.end_line + 1):
            start = piece.column if number == piece.line else 0
            end = piece.end_column if number == piece.end_line else len(lines[number]) + 1
            spans.setdefault(number, []).append((start, end))
    return spans


def _trim_block(piece: Piece, lines: tuple[str, ...]) -> None:
    """Where the scalar's text really ends: the parser's mark may lie behind blank lines and comments that follow it."""
    first = next((line for line in lines[piece.line + 1 :] if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    end = piece.line + 1
    for number in range(piece.line + 1, len(lines)):
        line = lines[number]
        if line.strip() and len(line) - len(line.lstrip(" ")) < indent:
            break
        if line.strip():
            end = number + 1
    piece.end_line, piece.end_column = end, 0


def _comments(lines: tuple[str, ...], spans: dict[int, list[tuple[int, int]]]) -> list[Comment]:
    found = []
    for number, line in enumerate(lines):
        for match in _COMMENT.finditer(line):
            at = match.start()
            if not any(start <= at < end for start, end in spans.get(number, ())):
                found.append(Comment(number, at, line[at:].rstrip(), own=not line[:at].strip()))
                break
    return found
