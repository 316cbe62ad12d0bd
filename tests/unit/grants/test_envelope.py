"""Envelopes and armour: one spelling, everything else refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import makers
import pytest

from jitsudo import strictjson
from jitsudo.errors import InvalidValue
from jitsudo.grants.envelope import (
    MAX_SIGNATURES,
    Envelope,
    Kind,
    Namespace,
    Signature,
    decode_envelope,
    envelope_from_json,
)
from jitsudo.grants.sshsig import MAX_ARMOURED_CHARS, Reader, Sshsig, armour, parse_sshsig, string

ENVELOPE = makers.sealed(b'{"v":1}', Namespace.REQUEST)
RAW = ENVELOPE.encode()
ONE = {"kind": "host", "signature": ENVELOPE.signatures[0].armoured}


def other(**changes: Any) -> bytes:
    return strictjson.encode({**ENVELOPE.as_json(), **changes})


REFUSED = {
    "white space": RAW.replace(b":", b": "),
    "a newline at the end": RAW + b"\n",
    "keys in another order": strictjson.encode({"signatures": [ONE], "payload": "eyJ2IjoxfQ=="}),
    "a signature's keys in another order": other(signatures=[dict(reversed(ONE.items()))]),
    "an escaped character": RAW.replace(b"host", b"\\u0068ost"),
    "an escaped slash": RAW.replace(b'"payload":"', b'"payload":"\\/'),
    "an unknown key": other(x=1),
    "no payload": strictjson.encode({"signatures": [ONE]}),
    "no signatures key": strictjson.encode({"payload": "eyJ2IjoxfQ=="}),
    "no signatures": other(signatures=[]),
    "signatures that are no list": other(signatures=ONE),
    "too many signatures": other(signatures=[ONE] * (MAX_SIGNATURES + 1)),
    "a payload that is no text": other(payload=1),
    "a payload that is no base64": other(payload="!!!!"),
    "a payload that is not ASCII": other(payload="é==="),
    "a payload with a newline": other(payload="eyJ2\nIjoxfQ=="),
    "a payload without padding": other(payload="eyJ2IjoxfQ"),
    "a payload with spare bits set": other(payload="eyJ2IjoxfR=="),
    "a payload in the alphabet for URLs": other(payload=base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode()),
    "a payload that is too long": other(payload=base64.b64encode(b"x" * 1001).decode()),
    "a signature that is no object": other(signatures=["x"]),
    "a signature with an unknown key": other(signatures=[{**ONE, "x": 1}]),
    "a signature without a kind": other(signatures=[{"signature": "x"}]),
    "a signature of an unknown kind": other(signatures=[{**ONE, "kind": "none"}]),
    "a signature whose kind is a list": other(signatures=[{**ONE, "kind": ["host"]}]),
    "a signature that is no text": other(signatures=[{**ONE, "signature": None}]),
    "a signature that is too long": other(signatures=[{**ONE, "signature": "x" * (MAX_ARMOURED_CHARS + 1)}]),
    "a list": b"[]",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_every_other_spelling_is_refused(raw: bytes) -> None:
    """An envelope is what `encode` writes, byte for byte."""
    with pytest.raises(InvalidValue):
        decode_envelope(raw, 1000)


def test_an_envelope_is_read_as_it_was_written() -> None:
    """The round trip, alone and inside another document."""
    assert decode_envelope(RAW, 1000) == ENVELOPE
    assert envelope_from_json(json.loads(RAW), 1000) == ENVELOPE


def test_the_limits_are_exact() -> None:
    """The largest payload with the most and longest signatures is read; one byte or one signature more is not."""
    longest = Signature(Kind.SSH, "x" * (MAX_ARMOURED_CHARS - 60) + "\n" * 60)
    largest = Envelope(b"x" * 1000, (longest,) * MAX_SIGNATURES)
    assert decode_envelope(largest.encode(), 1000) == largest
    with pytest.raises(InvalidValue, match="too long"):
        decode_envelope(largest.encode(), 999)
    with pytest.raises(InvalidValue, match="1 to 16"):
        Envelope(b"", (longest,) * (MAX_SIGNATURES + 1))
    with pytest.raises(InvalidValue, match="1 to 16"):
        Envelope(b"", ())


def blob(magic: bytes = b"SSHSIG", version: int = 1, namespace: bytes = b"n", reserved: bytes = b"",
         algorithm: bytes = b"sha512", end: bytes = b"") -> str:
    parts = string(b"key") + string(namespace) + string(reserved) + string(algorithm) + string(b"sig")
    return armoured(magic + version.to_bytes(4, "big") + parts + end)


def armoured(raw: bytes, columns: int = 70) -> str:
    text = base64.b64encode(raw).decode()
    lines = [text[i : i + columns] for i in range(0, len(text), columns)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


GOOD = ENVELOPE.signatures[0].armoured
BAD_ARMOUR = {
    "nothing": "",
    "no newline at the end": GOOD[:-1],
    "a newline more": GOOD + "\n",
    "text before it": " " + GOOD,
    "carriage returns": GOOD.replace("\n", "\r\n"),
    "another label": GOOD.replace("SSH SIG", "PGP SIG"),
    "the first and last line sharing a newline": "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
    "an empty blob": armoured(b""),
    "lines of 64": armoured(base64.b64decode("".join(GOOD.splitlines()[1:-1])), 64),
    "an empty line": GOOD.replace("\n", "\n\n", 1),
    "a character outside base64": GOOD.replace("U1NI", "U1N*", 1),
    "a character outside ASCII": GOOD.replace("U1NI", "U1Né", 1),
    "too long": "x" * (MAX_ARMOURED_CHARS + 1),
    "another magic": blob(magic=b"SSHSIH"),
    "another version": blob(version=2),
    "a reserved field": blob(reserved=b"x"),
    "sha256": blob(algorithm=b"sha256"),
    "a namespace that is not ASCII": blob(namespace=b"\xff"),
    "something after the end": blob(end=b"x"),
    "a truncated blob": armoured(b"SSHSIG\x00\x00\x00\x01\x00\x00"),
    "a length past the end": armoured(b"SSHSIG\x00\x00\x00\x01\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("text", BAD_ARMOUR.values(), ids=BAD_ARMOUR.keys())
def test_every_other_armour_is_refused(text: str) -> None:
    """A signature has one spelling, that of ssh-keygen."""
    with pytest.raises(InvalidValue):
        parse_sshsig(text)


def test_armour_is_read_as_it_was_written() -> None:
    """The round trip, and the fields in their places."""
    sig = Sshsig(b"key", "some-namespace", b"signature" * 30)
    assert parse_sshsig(armour(sig)) == sig
    assert parse_sshsig(blob()) == Sshsig(b"key", "n", b"sig")


def test_the_longest_armour_is_read() -> None:
    """4,096 characters are; 4,097 are too long, whatever they say."""
    size = max(n for n in range(2700, 3100) if len(armour(Sshsig(b"key", "n", b"x" * n))) <= MAX_ARMOURED_CHARS)
    sig = Sshsig(b"key", "n", b"x" * size)
    assert parse_sshsig(armour(sig)) == sig
    with pytest.raises(InvalidValue, match="at most"):
        parse_sshsig(armour(Sshsig(b"key", "n", b"x" * (size + 3))))
    with pytest.raises(InvalidValue, match="not an armoured"):
        parse_sshsig("x" * MAX_ARMOURED_CHARS)


def test_a_reader_takes_exactly_what_is_there() -> None:
    """Not a byte less, not a byte more."""
    reader = Reader(string(b"ab") + b"\x00\x00\x00\x07")
    assert (reader.string(), reader.uint32()) == (b"ab", 7)
    reader.end()
    with pytest.raises(InvalidValue, match="truncated"):
        reader.take(1)
