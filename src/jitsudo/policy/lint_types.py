"""How much a type leaves to the caller: everything, files that hold commands, folders in which others write."""

from __future__ import annotations

from collections.abc import Iterator

from jitsudo.policy.lint_risks import Place
from jitsudo.policy.patterns import Pattern
from jitsudo.policy.rules import (
    AnyValue,
    ArgumentType,
    CommandLine,
    GlobText,
    LiteralText,
    NamedType,
    NotType,
    OneOf,
    Operand,
    PathUnder,
    RegexText,
    Shape,
)
from jitsudo.types import AbsPath

# Words and paths that no task has in common: a pattern that takes several of them takes nearly everything.
_STRANGERS = ("zq7", "x.y.z", "etc-passwd", "/etc/shadow", "/root/.ssh/id_rsa", "../../etc/shadow", "a b c")
_BROAD = 3
# What a caller may choose at will without choosing a file or a command, whatever the names.
_HARMLESS_WORDS = frozenset({"int", "self", "cidr", "port", "duration", "size", "user", "group", "host", "unit"})


def is_free(type_: ArgumentType) -> bool:
    """Whether the caller chooses the value, near enough."""
    match type_:
        case AnyValue() | NotType():
            return True
        case GlobText(pattern) | RegexText(pattern):
            return is_broad(pattern)
        case PathUnder(under):
            return "/" in under
        case NamedType(word, names):
            return word not in _HARMLESS_WORDS and not names
    return False


def is_broad(pattern: Pattern) -> bool:
    """Whether the pattern takes words that have nothing in common."""
    return sum(pattern.matches(text) for text in _STRANGERS) >= _BROAD


def shapes(shape: Shape) -> Iterator[Shape]:
    """The shape and those of its sub-commands, to any depth."""
    yield shape
    for sub in shape.subcommands or ():
        yield from shapes(sub.shape)


def operands_of(shape: Shape) -> Iterator[Operand]:
    """The operands of the shape and of its sub-commands."""
    for one in shapes(shape):
        yield from one.operands or ()


def types_of(shape: Shape) -> Iterator[ArgumentType]:
    """All types that stand for a value in the shape and its sub-commands; those inside a nested command line are its own."""
    for one in shapes(shape):
        yield from (option.type for option in one.options or ())
        yield from (operand.type for operand in one.operands or ())


def nested(shape: Shape) -> Iterator[CommandLine]:
    """The command lines that the shape's arguments hold."""
    return (type_ for type_ in types_of(shape) if isinstance(type_, CommandLine))


def is_within(path: str, folder: str) -> bool:
    """Whether `path` is `folder`, or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def reached(type_: ArgumentType, places: tuple[Place, ...]) -> Place | None:
    """The first of the places at which a path of this type may lie."""
    return next((place for place in places if _reaches(type_, place.path)), None)


def _reaches(type_: ArgumentType, place: AbsPath) -> bool:
    match type_:
        case LiteralText(text):
            return is_within(text, place)
        case OneOf(texts):
            return any(is_within(text, place) for text in texts)
        case PathUnder(under, pattern):
            return any(is_within(folder, place) or _leads_to(folder, pattern, place) for folder in under)
    return False


def _leads_to(folder: AbsPath, pattern: Pattern | None, place: AbsPath) -> bool:
    if not is_within(place, folder):
        return False
    rest = place[len(folder.rstrip("/")) + 1 :]
    return pattern is None or any(pattern.matches(rest + below) for below in ("", "/x", "/x.conf"))


def unusable_folder(type_: ArgumentType, writable: tuple[AbsPath, ...]) -> AbsPath | None:
    """The folder below which no path ever matches, since others than root write there."""
    if not isinstance(type_, PathUnder):
        return None
    return next((folder for folder in type_.under if any(is_within(folder, other) for other in writable)), None)
