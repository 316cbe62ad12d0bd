"""Reading a document's fields: each is there, of its type and in range, or `InvalidValue` names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from jitsudo.errors import InvalidValue
from jitsudo.types import Reason, is_plain_text

T = TypeVar("T")

MAX_TIME = 253_402_300_799  # the last second of the year 9999
MAX_USES = 1_000_000
MAX_HOST_NAME_CHARS = 253  # RFC 1123; Linux itself allows 64
NONCE_DIGITS = 32


def exact_object(what: str, value: object, names: tuple[str, ...]) -> dict[str, object]:
    """`value`, an object with exactly the fields `names`."""
    if not isinstance(value, dict):
        raise InvalidValue(f"{what}: not an object")
    for name in names:
        if name not in value:
            raise InvalidValue(f"{what}: the field '{name}' is missing")
    for name in value:
        if name not in names:
            raise InvalidValue(f"{what}: unknown field {name!r}")
    return value


def read(what: str, fields: dict[str, object], name: str, parse: Callable[[object], T]) -> T:
    """The field `name`, parsed; an error names the document and the field."""
    try:
        return parse(fields[name])
    except InvalidValue as error:
        raise InvalidValue(f"{what}: {name}: {error.sentence}", error.hint) from error


def optional(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    """A parser of null or what `parse` takes."""
    return lambda value: None if value is None else parse(value)


def some(parse: Callable[[object], T], most: int) -> Callable[[object], tuple[T, ...]]:
    """A parser of a list of 1 to `most`, no two equal."""

    def parse_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise InvalidValue(f"not a list of 1 to {most}")
        items = tuple(parse(item) for item in value)
        if len(set(items)) != len(items):
            raise InvalidValue("a list names something twice")
        return items

    return parse_list


def version(value: object) -> int:
    """1, the only version."""
    return integer(value, 1, 1)


def time(value: object) -> int:
    """Unix seconds."""
    return integer(value, 0, MAX_TIME)


def uses(value: object) -> int:
    """A number of uses."""
    return integer(value, 1, MAX_USES)


def integer(value: object, least: int, most: int) -> int:
    """An integer in a range; a Boolean is none, though Python counts it as one."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidValue(f"not an integer from {least} to {most}")
    return value


def nonce(value: object) -> str:
    """16 random bytes in lower-case hexadecimal."""
    if not isinstance(value, str) or len(value) != NONCE_DIGITS or not set(value) <= set("0123456789abcdef"):
        raise InvalidValue(f"not {NONCE_DIGITS} hexadecimal digits")
    return value


def host_name(value: object) -> str:
    """A host's name, for people to read; the id is what counts."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_HOST_NAME_CHARS:
        raise InvalidValue(f"a host's name must have 1 to {MAX_HOST_NAME_CHARS} characters")
    if not is_plain_text(value) or set(value) & set(" \t/"):
        raise InvalidValue(f"not a host's name: {value!r}")
    return value


def note(value: object) -> str:
    """An approver's note: empty, or as a reason."""
    return "" if value == "" else Reason(value)
