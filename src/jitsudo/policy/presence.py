"""Whether arguments may hold something, however it is written: for programs whose command line nobody has described."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jitsudo.policy.paths import Place
from jitsudo.policy.rules import ArgumentType
from jitsudo.policy.values import may_be

MAX_BUNDLE_CHARS = 256


def any_word_in(arguments: Sequence[str], words: Sequence[str]) -> bool:
    """Whether one of the arguments is one of the words, or may be read from a file."""
    return any(argument in words or argument.startswith("@") for argument in arguments)


def any_option_in(arguments: Sequence[str], wanted: Sequence[Sequence[str]]) -> bool:
    """Whether one of the arguments may be one of the options: in a bundle, abbreviated, with a value, or from a file."""
    spellings = [spelling for one in wanted for spelling in one]
    return any(argument.startswith("@") or _may_hold(argument, spellings) for argument in arguments)


def _may_hold(argument: str, spellings: Sequence[str]) -> bool:
    if not argument.startswith("-") or argument in ("-", "--"):
        # `tar xf`, `ps aux`, `dd if=`: options of some programs have no dash at all.
        return argument.partition("=")[0] in spellings
    given = argument.partition("=")[0]
    for spelling in spellings:
        if spelling.startswith("--"):
            # getopt_long_only(3) takes long options after a single dash as well.
            bare = given.lstrip("-")
            if spelling[2:].startswith(bare) and (argument.startswith("--") or len(bare) > 1):
                return True
        elif len(spelling) == 2 and spelling.startswith("-"):
            if not argument.startswith("--") and spelling[1] in argument[1:]:
                return True
        elif spelling.lstrip("-").startswith(given.lstrip("-")) or given.startswith(spelling):
            return True
    return False


def any_operand_in(arguments: Sequence[str], wanted: Sequence[ArgumentType], place: Place) -> bool:
    """Whether one of the arguments, or a value hidden in one, is of one of the types."""
    return any(_argument_fires(type_, argument, place) for argument in arguments for type_ in wanted)


def _argument_fires(type_: ArgumentType, argument: str, place: Place) -> bool:
    if argument.startswith("@"):
        return True
    if argument.startswith("-") and not argument.startswith("--") and len(argument) > MAX_BUNDLE_CHARS:
        return True
    if may_be(type_, argument, place, embedded=argument.startswith("-")):
        return True
    return any(may_be(type_, part, place, embedded=embedded) for part, embedded in _parts(argument))


def _parts(argument: str) -> Iterator[tuple[str, bool]]:
    """What a program might take for a value: `--root=VALUE`, `of=VALUE`, `-xVALUE`, `-abcVALUE`; and whether that is only
    a guess."""
    name, equals, value = argument.partition("=")
    if equals:
        yield value, not name.startswith("-")
    if argument.startswith("-") and not argument.startswith("--"):
        for start in range(1, len(argument)):
            yield argument[start:], True
