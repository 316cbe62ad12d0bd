"""A small program of characters and branches that is run as a set of states (Thompson 1968).

No program and no text can make it explode: a step costs at most the length of the program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jitsudo.errors import InvalidValue

MAX_STEPS = 4096  # that a search remembers
MAX_PROGRAM = 1024  # instructions; also bounds the memory that `{n,m}` can ask for


@dataclass(frozen=True, slots=True)
class Chars:
    """One character of (or, negated, outside) these ranges. A `wild` one never stands for a leading `-` or `.`."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False
    wild: bool = False

    def has(self, code: int) -> bool:
        """Whether the character with this code point is one of them."""
        return any(low <= code <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class Concat:
    """One after the other."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them."""

    branches: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`body`, from `least` to `most` times; None: any number."""

    body: Tree
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Fork:
    """Go on at both places; a `wild` one, before a wildcard that may stand for nothing, not at a leading `-` or `.`."""

    first: int
    second: int
    wild: bool = False


Tree = Chars | Concat | Choice | Repeat
Program = tuple[Chars | Fork, ...]


def accepts(program: Program, text: str, *, lenient: bool) -> bool:
    """Whether the program matches the whole of `text`; `lenient`: wildcards stand for a leading `-` or `.` too."""
    starts = [0]
    leading = True
    for char in text:
        code = ord(char)
        shy = leading and char in "-." and not lenient
        starts = [at + 1 for at, chars in _chars(program, starts, shy) if chars.has(code) and not (shy and chars.wild)]
        if not starts:
            return False
        leading = char == "/"
    return len(program) in _closure(program, starts, shy=False)


class Search:
    """Looks for what the program matches anywhere in a text. Remembers the steps that it took, which come again and again."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._start = frozenset(_closure(program, [0], shy=False))
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def finds(self, text: str) -> bool:
        """Whether it occurs, at any place."""
        end, at = len(self._program), self._start
        for char in text:
            if end in at:
                return True
            at = self._step(at, char)
        return end in at

    def _step(self, at: frozenset[int], char: str) -> frozenset[int]:
        known = self._steps.get((at, char))
        if known is None:
            if len(self._steps) >= MAX_STEPS:
                self._steps.clear()
            taken = [i + 1 for i, chars in _chars(self._program, list(at), shy=False) if chars.has(ord(char))]
            known = self._steps[at, char] = self._start.union(_closure(self._program, taken, shy=False))
        return known


def _chars(program: Program, starts: list[int], shy: bool) -> Iterator[tuple[int, Chars]]:
    for at in _closure(program, starts, shy):
        step = program[at] if at < len(program) else None
        if isinstance(step, Chars):
            yield at, step


def _closure(program: Program, starts: list[int], shy: bool) -> set[int]:
    """Every place that can be reached without a character; `shy`: the next one is a leading `-` or `.`."""
    seen: set[int] = set()
    todo = starts
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        step = program[at] if at < len(program) else None
        if isinstance(step, Fork) and not (shy and step.wild):
            todo += [step.first, step.second]
    return seen


def compile_tree(tree: Tree) -> Program:
    """The program that matches what the tree describes. `InvalidValue` if it would be too large."""
    program: list[Chars | Fork] = []
    _emit(tree, program)
    return tuple(program)


def _emit(tree: Tree, program: list[Chars | Fork]) -> None:
    if len(program) > MAX_PROGRAM:
        raise InvalidValue("the pattern is too large: its repetitions ask for too many characters")
    if isinstance(tree, Chars):
        program.append(tree)
    elif isinstance(tree, Concat):
        for part in tree.parts:
            _emit(part, program)
    elif isinstance(tree, Choice):
        _emit_choice(tree.branches, program)
    else:
        _emit_repeat(tree, program)


def _emit_choice(branches: tuple[Tree, ...], program: list[Chars | Fork]) -> None:
    if len(branches) == 1:
        _emit(branches[0], program)
        return
    fork = len(program)
    program.append(Fork(fork, fork))
    _emit(branches[0], program)
    jump = len(program)
    program.append(Fork(jump, jump))
    program[fork] = Fork(fork + 1, len(program))
    _emit_choice(branches[1:], program)
    program[jump] = Fork(len(program), len(program))


def _emit_repeat(tree: Repeat, program: list[Chars | Fork]) -> None:
    for _ in range(tree.least):
        _emit(tree.body, program)
    if tree.most is None:
        loop = len(program)
        program.append(Fork(loop, loop))
        _emit(tree.body, program)
        program.append(Fork(loop, loop))
        # In `*.conf` the `*` stands for nothing before `.conf`, but that name is hidden all the same.
        wild = isinstance(tree.body, Chars) and tree.body.wild
        program[loop] = Fork(loop + 1, len(program), wild)
        return
    forks = []
    for _ in range(tree.most - tree.least):
        forks.append(len(program))
        program.append(Fork(0, 0))
        _emit(tree.body, program)
    for fork in forks:
        program[fork] = Fork(fork + 1, len(program))
