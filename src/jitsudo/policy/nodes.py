"""What a policy file is made of before it means anything: scalars, sequences and mappings, each with its place.

Named tuples, because a large policy has millions of these, and a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from typing import NamedTuple


class Pos(NamedTuple):
    """A place in a policy file; line and column count from 1."""

    file: str
    line: int
    column: int


class Scalar(NamedTuple):
    """One piece of text. `plain` is true where it was written without quotes: only then can it be a boolean or null."""

    pos: Pos
    text: str
    plain: bool = True


class Sequence(NamedTuple):
    """A list."""

    pos: Pos
    items: tuple[Node, ...]


class Mapping(NamedTuple):
    """Keys and values in the order of the file. Keys are always text, whatever YAML 1.1 would make of them."""

    pos: Pos
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping
