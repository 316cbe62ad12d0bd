"""The command lines that stand, or may stand, inside one: `env rm -rf /etc`, `find / -exec rm {} ;`, `sh -c 'rm -rf /etc'`.

Looked for where the program is known to run others, where a rule admits a nested command line, where nothing is known of
the program, and in what a shell is given. It is a search for a name, and made for guardrails alone: finding too much is fine.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jitsudo.policy.argv import MAX_ARGUMENTS
from jitsudo.policy.grammar import Grammar, GrammarShape, WayOut
from jitsudo.policy.matching import nested_rules
from jitsudo.policy.paths import Place, on_secure_path, other_spelling
from jitsudo.policy.rules import CommandRule
from jitsudo.policy.verdict import Action
from jitsudo.types import AbsPath

MAX_LINES = 16

_RUNS: frozenset[WayOut] = frozenset({"runs-program", "spawns-shell"})
# What separates words for a shell, its quoting included: `rm`, `"rm"`, `r\m`, `$(rm)` and `exec=rm` are all looked at.
_BETWEEN_WORDS = re.compile(r"[\s;&|()<>`${}=]+")
_QUOTING = re.compile(r"[\\\"']")
_SHELL_MARKS = re.compile(r"[\s;&|()<>`$\"'\\]")


@dataclass(frozen=True, slots=True)
class Line:
    """A command line; `path` None where it is not known which file its first word stands for."""

    path: AbsPath | None
    argv: Sequence[str]


@dataclass(frozen=True, slots=True)
class Lines:
    """An action's own command line, and the words among which others may stand.

    `names`: the base names of the programs that rules admit there. `words`: lists of words, each with the base names in it.
    """

    whole: Line
    names: frozenset[str]
    words: Sequence[tuple[Sequence[str], Sequence[str]]]

    def inside(self, name: str, place: Place) -> list[Line] | None:
        """Those whose program may go by this base name, or is one that rules admit there; None if there are too many."""
        found: list[Line] = []
        for words, bases in self.words:
            if name not in bases and self.names.isdisjoint(bases):
                continue
            for at, base in enumerate(bases):
                if base == name or base in self.names:
                    found.append(Line(_path_of(words[at], place), words[at:]))
                    if len(found) > MAX_LINES:
                        return None
        return found


def lines_of(action: Action, rules: Sequence[CommandRule], place: Place) -> Lines:
    """What guardrails look at. `rules` are those that would allow the action."""
    whole = Line(action.path, action.argv)
    if action.path is not None and action.mode != "command":
        whole = Line(action.path, (posixpath.basename(action.path), *action.argv))
    names = frozenset(posixpath.basename(inner.command) for rule in rules for inner in nested_rules(rule))
    if len(whole.argv) > MAX_ARGUMENTS or not (names or _may_run_others(action, place)):
        return Lines(whole, names, ())
    words = tuple((words, [word.rpartition("/")[2] for word in words]) for words in _word_lists(whole.argv[1:]))
    return Lines(whole, names, words)


def _may_run_others(action: Action, place: Place) -> bool:
    if action.mode != "command":
        return action.mode != "edit"
    grammar = known_grammar(action.path, place)
    return grammar is None or grammar.unreadable or _runs(grammar.shape)


def known_grammar(path: AbsPath | None, place: Place) -> Grammar | None:
    """What is known of the program at this path, if anything is."""
    if path is None:
        return None
    return place.grammars.get(path) or place.grammars.get(other_spelling(path) or "")


def _runs(shape: GrammarShape) -> bool:
    own = shape.leads | shape.operands
    return bool(
        own & _RUNS
        or any(option.leads & _RUNS for option in shape.options)
        or any(_runs(inner) for inner in (shape.subcommands or {}).values())
    )


def _word_lists(arguments: Sequence[str]) -> Iterator[Sequence[str]]:
    """The arguments, and the words of each that a shell might take apart or that hides a value."""
    yield arguments
    for argument in arguments:
        if _SHELL_MARKS.search(argument):
            yield [word for word in _BETWEEN_WORDS.split(_QUOTING.sub("", argument)) if word]
        if "=" in argument:
            yield [argument.partition("=")[2]]


def _path_of(word: str, place: Place) -> AbsPath | None:
    if "/" in word:
        return place.absolute(word)
    return on_secure_path(word, place.world)
