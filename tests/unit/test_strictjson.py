"""Strict JSON: one reading or a refusal."""

from __future__ import annotations

import time

import pytest

from jitsudo import strictjson
from jitsudo.errors import InvalidValue

REFUSED = {
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, once escaped": b'{"a":1,"\\u0061":2}',
    "a key twice, further in": b'{"x":[{"a":1,"a":2}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "a float": b'{"a":1.0}',
    "an exponent": b'{"a":1e2}',
    "an integer past 2^53": b'{"a":9007199254740993}',
    "an integer of 5000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "minus zero": b'{"a":-0}',
    "a leading zero": b'{"a":01}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a lone surrogate in a key": b'{"\\udfff":1}',
    "a lone surrogate in a list": b'{"a":["\\udbff"]}',
    "a surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
    "Latin-1": b'{"a":"\xe9"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "something after it": b'{"a":1}{}',
    "a NUL after it": b'{"a":1}\x00',
    "a list": b"[1]",
    "a number": b"1",
    "null": b"null",
    "nothing": b"",
    "half of it": b'{"a":',
    "single quotes": b"{'a':1}",
    "a trailing comma": b'{"a":1,}',
    "a comment": b'{"a":1/**/}',
    "a control character in a text": b'{"a":"\x01"}',
    "nine levels": b'{"a":' + b"[" * 8 + b"]" * 8 + b"}",
    "a hundred thousand levels": b"[" * 100_000,
    "a hundred thousand objects": b'{"a":' * 20_000,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_what_readers_could_differ_about_is_refused(raw: bytes) -> None:
    """No two programs may read a document of ours differently."""
    with pytest.raises(InvalidValue):
        strictjson.parse_object(raw, 200_000)


def test_a_plain_document_is_read() -> None:
    """Every type that documents use."""
    raw = '{"a":[1,-5,true,null],"é":{"b":"x\\n\\"[[[[[[[[["},"n":9007199254740992}'.encode()
    expected = {"a": [1, -5, True, None], "é": {"b": 'x\n"[[[[[[[[['}, "n": 2**53}
    assert strictjson.parse_object(raw, 200) == expected


def test_integers_reach_to_2_to_the_53_on_both_sides() -> None:
    """N and N + 1, where a double stops being exact."""
    for fine in (2**53, -(2**53)):
        assert strictjson.parse_object(b'{"n":%d}' % fine, 100) == {"n": fine}
    for wrong in (2**53 + 1, -(2**53) - 1):
        with pytest.raises(InvalidValue, match="out of range"):
            strictjson.parse_object(b'{"n":%d}' % wrong, 100)


def test_a_surrogate_pair_is_one_character() -> None:
    """Escaped characters beyond the basic plane are no lone surrogates."""
    assert strictjson.parse_object(b'{"a":"\\ud83d\\ude00"}', 100) == {"a": "\U0001f600"}


def test_the_size_limit_is_exact() -> None:
    """N bytes are read, N + 1 are not."""
    raw = b'{"a":"xyz"}'
    assert strictjson.parse_object(raw, len(raw)) == {"a": "xyz"}
    with pytest.raises(InvalidValue, match="too long"):
        strictjson.parse_object(raw, len(raw) - 1)


def test_the_depth_limit_is_exact() -> None:
    """Eight levels are read, nine are not."""
    raw = b'{"a":' + b"[" * 7 + b"]" * 7 + b"}"
    assert strictjson.parse_object(raw, 100)
    with pytest.raises(InvalidValue, match="nested"):
        strictjson.parse_object(raw, 100, max_depth=7)


def test_an_unclosed_text_of_escaped_quotes_takes_linear_time() -> None:
    """Scanning for depth must not be a way to stall the daemon."""
    began = time.thread_time()
    with pytest.raises(InvalidValue):
        strictjson.parse_object(b'{"' + b'\\"' * 500_000, 2_000_000)
    assert time.thread_time() - began < 2
