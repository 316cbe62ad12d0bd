"""Whether a guardrail fires. It looks for presence, survives disguise and, in doubt, fires."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from jitsudo.policy.argv import MAX_ARGUMENTS, int_matches
from jitsudo.policy.model import Guardrail
from jitsudo.policy.paths import Place, is_same_program, path_may_concern
from jitsudo.policy.rules import ArgumentType, GlobText, IntRange, LiteralText, OneOf, PathUnder
from jitsudo.policy.verdict import Action
from jitsudo.types import AbsPath, is_plain_text

MAX_BUNDLE_CHARS = 256


@dataclass(frozen=True, slots=True)
class GuardrailFinding:
    """What became of one guardrail; `fault` tells operators what raised."""

    guardrail: Guardrail
    fired: bool
    why: str
    fault: str | None = None

    @property
    def message(self) -> str:
        """What the person reads when it fired."""
        return self.guardrail.unsupported[0] if self.guardrail.unsupported else self.guardrail.message


def check_guardrail(guardrail: Guardrail, action: Action, place: Place) -> GuardrailFinding:
    """Whether `guardrail` fires on the action. Never raises: what raises has fired."""
    try:
        return _check(guardrail, action, place)
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the action must not be let through
        return GuardrailFinding(guardrail, True, "it could not be evaluated", f"guardrail {guardrail.name}: {error!r}")


def _check(guardrail: Guardrail, action: Action, place: Place) -> GuardrailFinding:
    if action.path is None or not _is_command(guardrail.match.command, action.path, action.argv, place):
        return GuardrailFinding(guardrail, False, "another command")
    if guardrail.unsupported:
        return GuardrailFinding(guardrail, True, guardrail.unsupported[0])
    wanted = guardrail.match.any_operand
    if not wanted:
        return GuardrailFinding(guardrail, True, "it binds every use of the command")
    if len(action.argv) > MAX_ARGUMENTS:
        return GuardrailFinding(guardrail, True, "too many arguments to look at")
    for number, argument in enumerate(action.argv[1:], start=1):
        if any(_argument_fires(type_, argument, place) for type_ in wanted):
            return GuardrailFinding(guardrail, True, f"argument {number} is, or may be, what it looks for")
    return GuardrailFinding(guardrail, False, "no argument is what it looks for")


def _is_command(wanted: str, path: AbsPath, argv: tuple[str, ...], place: Place) -> bool:
    """By the path as looked up, by what it resolves to, and for bare names by any name that it goes by."""
    real = place.world.real_path(path)
    if "/" not in wanted:
        return wanted in {posixpath.basename(name) for name in (path, real or path, *argv[:1])}
    target = AbsPath(wanted)
    if is_same_program(path, target, place.world):
        return True
    real_target = place.folder(target) or target
    if real is not None and real in (target, real_target):
        return True
    ours, theirs = place.world.facts(real_target), place.world.facts(real or path)
    return ours is not None and theirs is not None and (ours.dev, ours.ino) == (theirs.dev, theirs.ino)


def _argument_fires(type_: ArgumentType, argument: str, place: Place) -> bool:
    """Whether the argument, or a value hidden in it, is of the type."""
    if argument.startswith("-") and not argument.startswith("--") and len(argument) > MAX_BUNDLE_CHARS:
        return True
    if _text_fires(type_, argument, place, embedded=argument.startswith("-")):
        return True
    return any(_text_fires(type_, part, place, embedded=embedded) for part, embedded in _parts(argument))


def _parts(argument: str) -> Iterator[tuple[str, bool]]:
    """What a program might take for a value: `--root=VALUE`, `of=VALUE`, `-xVALUE`, `-abcVALUE`; and whether that is only
    a guess."""
    name, equals, value = argument.partition("=")
    if equals:
        yield value, not name.startswith("-")
    if argument.startswith("-") and not argument.startswith("--"):
        for start in range(1, len(argument)):
            yield argument[start:], True


def _text_fires(type_: ArgumentType, text: str, place: Place, *, embedded: bool) -> bool:
    if isinstance(type_, LiteralText):
        return text == type_.text
    if isinstance(type_, OneOf):
        return text in type_.texts
    if isinstance(type_, IntRange):
        return int_matches(type_, text)
    if isinstance(type_, GlobText):
        # A glob cannot read such text; whoever writes it does not want to be recognised.
        return not is_plain_text(text) or type_.pattern.matches(text, lenient=True)
    # A type of a later version makes the guardrail `unsupported`, which fires before its operands are looked at.
    return isinstance(type_, PathUnder) and path_may_concern(type_, text, place, embedded=embedded)
