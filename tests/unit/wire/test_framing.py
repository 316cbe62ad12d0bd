"""Framing: any bytes in, frames or ProtocolViolation out, every limit exact."""

from __future__ import annotations

import time

import pytest

from jitsudo.errors import InvalidValue, ProtocolViolation
from jitsudo.wire.framing import MAX_DEPTH, FrameReader, decode_frame, decode_text, encode_frame, encode_text

NOT_FRAMES = {
    "nothing": b"",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "half an object": b'{"method":"a"',
    "two objects": b"{}{}",
    "NaN": b'{"a":NaN}',
    "a float": b'{"a":1.5}',
    "a key twice": b'{"method":"a","method":"b"}',
    "a key twice, once escaped": b'{"method":"a","\\u006dethod":"b"}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "Latin-1": b'{"a":"\xe9"}',
    "a hundred thousand levels": b'{"a":' + b"[" * 100_000,
    "an integer past 2^53": b'{"a":9007199254740993}',
}


@pytest.mark.parametrize("frame", NOT_FRAMES.values(), ids=NOT_FRAMES.keys())
def test_what_is_not_one_strict_object_is_a_violation(frame: bytes) -> None:
    """Two programs must never read one frame differently."""
    with pytest.raises(ProtocolViolation):
        decode_frame(frame)


def test_frames_are_cut_wherever_the_bytes_arrive() -> None:
    """The stream's pieces are the network's business, not the protocol's."""
    reader, stream, found = FrameReader(100), b'{"a":1}\0{"b":2}\0', []
    for index in range(len(stream)):
        found += reader.feed(stream[index : index + 1])
    assert found == [b'{"a":1}', b'{"b":2}']
    assert not reader.pending


def test_half_a_frame_is_pending_and_nothing_more() -> None:
    """What has no end yet is not given out."""
    reader = FrameReader(100)
    assert reader.feed(b'{"a"') == []
    assert reader.pending


def test_a_frame_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    """N and N + 1, with and without the NUL."""
    assert FrameReader(10).feed(b"x" * 10 + b"\0") == [b"x" * 10]
    assert FrameReader(10).feed(b"x" * 10) == []
    for over in (b"x" * 11, b"x" * 11 + b"\0", b"x\0" + b"x" * 11):
        with pytest.raises(ProtocolViolation, match="more than 10 bytes"):
            FrameReader(10).feed(over)


def test_bytes_without_an_end_are_refused_at_the_limit_not_kept() -> None:
    """4 GiB without a NUL never get past the limit: memory stays bounded."""
    reader, piece = FrameReader(65_536), b"x" * 65_536
    assert reader.feed(piece) == []
    for _ in range(3):
        with pytest.raises(ProtocolViolation):
            reader.feed(piece)


def test_a_storm_of_nuls_takes_linear_time() -> None:
    """Each NUL is an empty frame, and an empty frame is a violation; finding them must not be a way to stall."""
    began = time.thread_time()
    frames = FrameReader(10).feed(b"\0" * 200_000)
    assert len(frames) == 200_000
    assert time.thread_time() - began < 2


def test_a_slow_sender_costs_linear_time() -> None:
    """What was searched for a NUL once is not searched again."""
    reader, began = FrameReader(1 << 20), time.thread_time()
    for _ in range(20_000):
        reader.feed(b"x" * 50)
    assert reader.feed(b"\0") == [b"x" * 1_000_000]
    assert time.thread_time() - began < 2


def test_a_message_survives_the_wire() -> None:
    """What is encoded is one frame that decodes to the same."""
    message = {"method": "a.B", "parameters": {"x": ["é", "\n", None, True, -1]}, "more": True}
    frames = FrameReader(1000).feed(encode_frame(message))
    assert [decode_frame(f) for f in frames] == [message]


def test_depth_is_limited_exactly() -> None:
    """Sixteen levels are read, seventeen are not."""
    levels = MAX_DEPTH - 1
    assert decode_frame(b'{"a":' + b"[" * levels + b"]" * levels + b"}")
    with pytest.raises(ProtocolViolation, match="nested"):
        decode_frame(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")


def test_bytes_that_are_not_utf8_travel_as_base64() -> None:
    """PEP 383 on both ends; the wire itself stays UTF-8."""
    assert encode_text("plain é") == "plain é"
    assert encode_text("a\udcffb") == {"base64": "Yf9i"}
    assert decode_text({"base64": "Yf9i"}, "x") == "a\udcffb"


NOT_TEXT = {
    "a number": 1,
    "true": True,
    "null": None,
    "a list": ["a"],
    "an empty object": {},
    "base64 beside another key": {"base64": "YQ==", "x": 1},
    "base64 of a number": {"base64": 1},
    "another key": {"hex": "61"},
    "characters outside the alphabet": {"base64": "Y\nQ=="},
    "no padding": {"base64": "YQ"},
    "letters outside ASCII": {"base64": "é"},
    "NUL": "a\0b",
    "NUL in base64": {"base64": "AA=="},
}


@pytest.mark.parametrize("value", NOT_TEXT.values(), ids=NOT_TEXT.keys())
def test_what_is_not_text_is_refused_by_name(value: object) -> None:
    """Strings for execve(2) have no NUL, and nothing else than two forms is text."""
    with pytest.raises(InvalidValue, match="argv"):
        decode_text(value, "argv")
