"""Strict JSON: one reading for one sequence of bytes, or `InvalidValue`.

What lenient parsers differ about is refused: duplicate keys, NaN and Infinity, floats, integers that a double cannot hold
(RFC 8259, section 6; RFC 7493), lone surrogates, a byte order mark, encodings other than UTF-8, anything after the value.
"""

from __future__ import annotations

import json
import re

from jitsudo.errors import InvalidValue

MAX_DEPTH = 8
MAX_INTEGER = 2**53

# Possessive and with the closing quote optional: linear on any input, an unclosed string of escaped quotes included.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse(raw: bytes, max_bytes: int, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """The object that `raw` is, at most `max_bytes` long and `max_depth` levels deep."""
    if len(raw) > max_bytes:
        raise InvalidValue(f"a document of {len(raw)} bytes is too long; at most {max_bytes} are accepted")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidValue("a document is not UTF-8") from error
    # Before json.loads, which recurses once a level.
    _check_depth(text, max_depth)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_refuse_number,
            parse_int=_integer,
            parse_constant=_refuse_number,
        )
    except json.JSONDecodeError as error:
        raise InvalidValue(f"a document is not JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(value, dict):
        raise InvalidValue("a document is not a JSON object")
    _check_surrogates(value)
    return value


def encode(value: object) -> bytes:
    """The canonical bytes of `value`: no white space, UTF-8, keys in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token.group()[0]
        if first in "[{":
            depth += 1
        elif first in "]}":
            depth -= 1
        if depth > max_depth:
            raise InvalidValue(f"a document is nested more than {max_depth} levels deep")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise InvalidValue(f"the key {key!r} appears twice")
        result[key] = value
    return result


def _integer(digits: str) -> int:
    # The length first: converting a long number takes quadratic time, and past 4,300 digits a ValueError of its own.
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER or digits == "-0":
        raise InvalidValue("a number is out of range")
    return int(digits)


def _refuse_number(text: str) -> object:
    raise InvalidValue(f"not an integer: {text[:20]}")


def _check_surrogates(value: object) -> None:
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise InvalidValue("a text contains a lone surrogate")
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
