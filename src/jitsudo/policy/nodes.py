"""What a policy file is made of before it means anything: scalars, sequences and mappings, each with its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Pos:
    """A place in a policy file; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """One piece of text. `plain` is true where it was written without quotes: only then can it be a boolean or null."""

    pos: Pos
    text: str
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    pos: Pos
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order of the file. Keys are always text, whatever YAML 1.1 would make of them."""

    pos: Pos
    entries: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping
