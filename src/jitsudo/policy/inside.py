"""The command lines that stand, or may stand, inside one: `env rm -rf /etc`, `find / -exec rm {} ;`, `sh -c 'rm -rf /etc'`.

Looked for where the program is known to run others, where a rule admits a nested command line, where nothing is known of
the program, and in what a shell is given. It is a search for a name, and made for guardrails alone: finding too much is fine.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jitsudo.policy.grammar import Grammar, GrammarShape, WayOut
from jitsudo.policy.matching import nested_rules
from jitsudo.policy.paths import Place, on_secure_path, other_spelling
from jitsudo.policy.rules import CommandRule
from jitsudo.policy.verdict import Action
from jitsudo.types import AbsPath

MAX_LINES = 16

_RUNS: frozenset[WayOut] = frozenset({"runs-program", "spawns-shell"})
# What separates words for a shell, its quoting included: `rm`, `"rm"`, `r\m` and `$(rm)` are all looked at.
_BETWEEN_WORDS = re.compile(r"[\s;&|()<>`${}]+")
_QUOTING = re.compile(r"[\\\"']")
_SHELL_MARKS = re.compile(r"[\s;&|()<>`$\"'\\]")


@dataclass(frozen=True, slots=True)
class Line:
    """A command line; `path` None where it is not known which file its first word stands for."""

    path: AbsPath | None
    argv: Sequence[str]


def whole_line(action: Action) -> Line:
    """The action's own command line, with a first word in the shell modes as well."""
    if action.path is None or action.mode == "command":
        return Line(action.path, action.argv)
    return Line(action.path, (posixpath.basename(action.path), *action.argv))


def lines_inside(action: Action, name: str, rules: Sequence[CommandRule], place: Place) -> list[Line] | None:
    """Those whose program may go by this base name, or is one that the rules admit there; None if there are too many."""
    if not _may_run_others(action, rules, place):
        return []
    names = {name, *(posixpath.basename(inner.command) for rule in rules for inner in nested_rules(rule))}
    found: list[Line] = []
    for words in _word_lists(whole_line(action).argv[1:]):
        for at, word in enumerate(words):
            if posixpath.basename(word) in names:
                found.append(Line(_path_of(word, place), words[at:]))
                if len(found) > MAX_LINES:
                    return None
    return found


def _may_run_others(action: Action, rules: Sequence[CommandRule], place: Place) -> bool:
    if action.mode != "command" or any(nested_rules(rule) for rule in rules):
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
