"""The wire: every text survives, every parser is total."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jitsudo.errors import InvalidValue, ProtocolViolation
from jitsudo.wire.calls import Call, Check, ListCommands, SessionCall
from jitsudo.wire.framing import FrameReader, decode_frame, decode_text, encode_frame, encode_text

BYTES = st.binary(max_size=60).map(lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "base64", "argv"]), inner),
    max_leaves=8,
)
NAMES = ["invocation", "argv", "env_add", "command", "descriptors", "sub_command", "session", "token", "wait_status", "errno",
         "front_end", "user_info", "settings", "user_env", "verbose", "user", "method", "parameters", "more"]  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5), max_size=8)


@given(BYTES)
def test_every_argument_survives_the_wire(text: str) -> None:
    """decode(encode(x)) == x for whatever bytes execve(2) takes, through a whole frame."""
    assert decode_text(encode_text(text), "x") == text
    frames = FrameReader(10_000).feed(encode_frame({"x": encode_text(text)}))
    assert [decode_text(decode_frame(f)["x"], "x") for f in frames] == [text]


@given(st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"")), max_size=6), st.data())
def test_frames_do_not_depend_on_how_the_stream_is_cut(frames: list[bytes], data: st.DataObject) -> None:
    """Every cut gives the same frames in the same order."""
    stream, reader, found = b"".join(f + b"\0" for f in frames), FrameReader(20), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert found == frames


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_a_violation(raw: bytes) -> None:
    """A typed error or a value, nothing else."""
    with contextlib.suppress(ProtocolViolation):
        for frame in FrameReader(200).feed(raw):
            Call.parse(decode_frame(frame))


@given(OBJECTS)
def test_any_object_is_a_call_or_a_typed_error(value: dict[str, object]) -> None:
    """Every reader of parameters refuses with its own error, or gives a typed value."""
    for read in (Check.parse, ListCommands.parse, lambda v: SessionCall.parse(v, closing=True), Call.parse):
        with contextlib.suppress(InvalidValue, ProtocolViolation):
            read(value)


@given(OBJECTS)
def test_encoding_is_one_line_of_utf8_without_nul(value: dict[str, object]) -> None:
    """Nothing in a message can end its frame early."""
    frame = encode_frame(value)
    assert frame.count(b"\0") == 1
    assert json.loads(frame[:-1].decode("utf-8")) == value
