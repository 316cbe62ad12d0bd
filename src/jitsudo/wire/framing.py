"""Varlink framing: one JSON object a frame, each frame ended by a NUL byte (https://varlink.org, "Protocol").

Sans-I/O: bytes go in, frames come out. A peer that exceeds a limit or sends what is not one JSON object gets
`ProtocolViolation`, after which the connection is of no further use.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from jitsudo.errors import InvalidValue, ProtocolViolation
from jitsudo.strictjson import encode, parse_object

CONTROL_MAX_FRAME_BYTES: Final = 64 * 1024
DECIDE_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024  # argv and environment together may have 2 MiB; base64 and JSON swell them
MAX_DEPTH: Final = 16
SILENCE_SECONDS: Final = 2.0  # longer silence than this is a fault
PENDING_SECONDS: Final = 1.0  # how often a side that makes the other wait says so

Json = dict[str, object]


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._max = max_frame_bytes
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, without their NUL. Raises ProtocolViolation past the limit."""
        self._buffer += data
        frames = []
        while (end := self._buffer.find(b"\0", self._searched)) >= 0:
            self._check_size(end)
            frames.append(bytes(self._buffer[:end]))
            del self._buffer[: end + 1]
            self._searched = 0
        self._searched = len(self._buffer)
        self._check_size(len(self._buffer))
        return frames

    @property
    def pending(self) -> bool:
        """Whether part of a frame has arrived."""
        return bool(self._buffer)

    def _check_size(self, size: int) -> None:
        if size > self._max:
            raise ProtocolViolation(f"a frame of more than {self._max} bytes")


def encode_frame(message: Json) -> bytes:
    """The frame for one message, NUL included."""
    return encode(message) + b"\0"


def decode_frame(frame: bytes) -> Json:
    """The object in a frame. Raises ProtocolViolation."""
    try:
        return parse_object(frame, max_bytes=DECIDE_MAX_FRAME_BYTES, max_depth=MAX_DEPTH)
    except InvalidValue as error:
        raise ProtocolViolation(f"not a frame: {error.sentence}") from None


def encode_text(text: str) -> object:
    """Text for the wire: a string, or {"base64": ...} where its bytes (surrogateescape) are not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")}
    return text


def decode_text(value: object, what: str) -> str:
    """Text from the wire, without NUL. Raises InvalidValue."""
    if isinstance(value, dict) and value.keys() == {"base64"} and isinstance(value["base64"], str):
        try:
            raw = base64.b64decode(value["base64"], validate=True)
        except (binascii.Error, ValueError):
            raise InvalidValue(f"{what}: not base64") from None
        value = raw.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise InvalidValue(f"{what}: not text")
    if "\0" in value:
        raise InvalidValue(f"{what}: contains NUL")
    return value
