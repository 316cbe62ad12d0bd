"""Whether a guardrail fires. It looks for presence, survives disguise and, in doubt, fires.

Looked at are the command line itself and every one that stands, or may stand, inside it. With a grammar of the program, a
line is looked at as the program reads it, and one that cannot be read fires; without one, every way of writing counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitsudo.policy.argv import MAX_ARGUMENTS, Reading, Unreadable, read_arguments
from jitsudo.policy.inside import Line, Lines, known_grammar
from jitsudo.policy.model import Effect, Guardrail
from jitsudo.policy.paths import Place
from jitsudo.policy.presence import any_operand_in, any_option_in, any_word_in
from jitsudo.policy.rules import Match
from jitsudo.policy.values import may_be
from jitsudo.types import AbsPath

# What these ask for is not there yet; to go on without it would break the guardrail's promise.
_NOT_YET: frozenset[Effect] = frozenset({"approve", "record"})


@dataclass(frozen=True, slots=True)
class GuardrailFinding:
    """What became of one guardrail; `fault` tells operators what raised."""

    guardrail: Guardrail
    fired: bool
    why: str
    fault: str | None = None

    @property
    def denies(self) -> bool:
        """Whether, having fired, it forbids the action."""
        rail = self.guardrail
        return rail.then == "deny" or rail.then in _NOT_YET or bool(rail.unsupported) or self.fault is not None

    @property
    def message(self) -> str:
        """What the person reads when it fired."""
        rail = self.guardrail
        if rail.unsupported:
            return rail.unsupported[0]
        if rail.then in _NOT_YET:
            return f"guardrail {rail.name} asks for `{rail.then}`, which this version does not do yet: it denies"
        return rail.message


def check_guardrail(guardrail: Guardrail, lines: Lines, place: Place) -> GuardrailFinding:
    """Whether `guardrail` fires on the action whose lines these are. Never raises: what raises has fired."""
    try:
        why = _why(guardrail, lines, place)
        return GuardrailFinding(guardrail, why is not None, why or "what it looks for is not there")
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the action must not be let through
        return GuardrailFinding(guardrail, True, "it could not be evaluated", f"guardrail {guardrail.name}: {error!r}")


def _why(guardrail: Guardrail, lines: Lines, place: Place) -> str | None:
    match, whole = guardrail.match, lines.whole
    if whole.argv and _is_command(match.command, whole, place):
        if guardrail.unsupported:
            return guardrail.unsupported[0]
        if why := _present(match, whole, place):
            return why
    if len(whole.argv) > MAX_ARGUMENTS:
        return "too many arguments to look at"
    inside = lines.inside(match.command.rpartition("/")[2], place)
    if inside is None:
        return "too many commands inside this one to look at"
    # What runs it may have changed folder (`env -C`, `cd`), so that its relative paths may be anything.
    somewhere = place.elsewhere((), placeable=False)
    for line in inside:
        if _is_command(match.command, line, place) and (guardrail.unsupported or _present(match, line, somewhere)):
            return "a command inside this one is, or may be, what it looks for"
    return None


def _is_command(wanted: str, line: Line, place: Place) -> bool:
    """By the path as looked up, by what it resolves to, and for bare names by any name that it goes by."""
    path = line.path
    if path is None:
        return line.argv[0].rpartition("/")[2] == wanted.rpartition("/")[2]
    if path == wanted:
        return True
    real = place.folder(path)
    if "/" not in wanted:
        return any(name.rpartition("/")[2] == wanted for name in (path, real or path, *line.argv[:1]))
    target = wanted if isinstance(wanted, AbsPath) else AbsPath(wanted)
    real_target = place.folder(target) or target
    if real is not None and real in (target, real_target):
        return True
    ours = place.world.facts(real_target)
    theirs = place.world.facts(real or path) if ours is not None else None
    return ours is not None and theirs is not None and (ours.dev, ours.ino) == (theirs.dev, theirs.ino)


def _present(match: Match, line: Line, place: Place) -> str | None:
    """Why the line is what the guardrail looks for; None if it is not."""
    if not (match.subcommands or match.any_option or match.any_operand):
        return "it binds every use of the command"
    if len(line.argv) > MAX_ARGUMENTS:
        return "too many arguments to look at"
    arguments = line.argv[1:]
    grammar = known_grammar(line.path, place)
    if grammar is None or grammar.unreadable:
        return _maybe_present(match, arguments, place)
    reading = read_arguments(grammar, arguments)
    if isinstance(reading, Unreadable):
        return f"the command line cannot be read: {reading.why}"
    return "the command line holds what it looks for" if _is_present(match, reading, arguments, place) else None


def _is_present(match: Match, reading: Reading, arguments: Sequence[str], place: Place) -> bool:
    if match.subcommands and not _selects(match.subcommands, reading, arguments):
        return False
    given = [set(found.option.spellings) for found in reading.options]
    if match.any_option and not any(not spellings.isdisjoint(wanted) for wanted in match.any_option for spellings in given):
        return False
    if not match.any_operand:
        return True
    here = place.elsewhere(reading.folders, placeable=reading.placeable)
    texts = [word.text for word in (*reading.subcommand, *reading.operands)]
    texts += [found.value for found in reading.options if found.value is not None]
    return any(may_be(type_, text, here) for text in texts for type_ in match.any_operand)


def _selects(wanted: Sequence[str], reading: Reading, arguments: Sequence[str]) -> bool:
    """Whether one of the words selects the sub-command; for a grammar that knows of none, any argument may."""
    if not reading.subcommand:
        return any_word_in(arguments, wanted)
    return any(word.text in wanted or word.name in wanted for word in reading.subcommand)


def _maybe_present(match: Match, arguments: Sequence[str], place: Place) -> str | None:
    if match.subcommands and not any_word_in(arguments, match.subcommands):
        return None
    if match.any_option and not any_option_in(arguments, match.any_option):
        return None
    if match.any_operand and not any_operand_in(arguments, match.any_operand, place):
        return None
    return "an argument is, or may be, what it looks for"
