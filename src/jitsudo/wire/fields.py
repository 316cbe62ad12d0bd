"""Reads the parameters of a call, field by field, strictly: wrong types and unknown fields are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from jitsudo.errors import InvalidValue
from jitsudo.wire.framing import Json, decode_text

T = TypeVar("T")
MAX_ITEMS = 65_536  # of a list of texts: ARG_MAX bounds what execve(2) takes anyway


class Fields:
    """The fields of one object; every accessor takes its field away, `done` refuses what is left."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise InvalidValue(f"{what}: not an object")
        self._left: Json = dict(value)
        self._what = what

    def _take(self, name: str) -> object:
        return self._left.pop(name, None)

    def _is_absent(self, name: str) -> bool:
        """Whether the field is missing or null; a null is taken away."""
        if self._left.get(name) is not None:
            return False
        self._left.pop(name, None)
        return True

    def _required(self, name: str) -> object:
        value = self._take(name)
        if value is None:
            raise InvalidValue(f"{self._what}: {name} is missing")
        return value

    def text(self, name: str) -> str:
        return decode_text(self._required(name), f"{self._what}: {name}")

    def optional_text(self, name: str) -> str | None:
        value = self._take(name)
        return None if value is None else decode_text(value, f"{self._what}: {name}")

    def integer(self, name: str) -> int:
        value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidValue(f"{self._what}: {name} is not an integer")
        return value

    def optional_integer(self, name: str) -> int | None:
        return None if self._is_absent(name) else self.integer(name)

    def boolean(self, name: str, default: bool | None = None) -> bool:
        value = self._take(name) if default is not None else self._required(name)
        if value is None:
            value = default
        if not isinstance(value, bool):
            raise InvalidValue(f"{self._what}: {name} is not a boolean")
        return value

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        if default is not None and self._is_absent(name):
            return default
        value = self._required(name)
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise InvalidValue(f"{self._what}: {name} is not a list of at most {MAX_ITEMS} texts")
        return tuple(decode_text(item, f"{self._what}: {name}") for item in value)

    def nested(self, name: str, read: Callable[[Fields], T]) -> T:
        inner = Fields(self._required(name), f"{self._what}: {name}")
        value = read(inner)
        inner.done()
        return value

    def done(self) -> None:
        if self._left:
            raise InvalidValue(f"{self._what}: unknown field {min(self._left)!r}")
