"""The envelope: the exact bytes that were signed, and the signatures over them, in one canonical spelling.

    {"payload":"<base64>","signatures":[{"kind":"host"|"ssh","signature":"<armoured SSHSIG>"}]}

An envelope that is not byte for byte what `encode` writes is refused, so that no changed byte goes unnoticed.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from jitsudo import strictjson
from jitsudo.errors import InvalidValue
from jitsudo.grants.sshsig import MAX_ARMOURED_CHARS

MAX_SIGNATURES = 16
DECODED = 256  # envelopes kept decoded: the same bytes mean the same, and each use of a grant reads all of its own

# A signature in JSON: its text with every newline written as two characters, its kind, the keys and punctuation.
_MAX_SIGNATURE_BYTES = MAX_ARMOURED_CHARS + MAX_ARMOURED_CHARS // 70 + 64
_FRAME_BYTES = 64


class Namespace(StrEnum):
    """The SSHSIG namespace of each type of document: no document is ever taken for another."""

    REQUEST = "jitsudo-request-v1"
    APPROVAL = "jitsudo-approval-v1"
    GRANT = "jitsudo-grant-v1"
    REVOCATION = "jitsudo-revocation-v1"
    BREAK_GLASS = "jitsudo-break-glass-v1"
    CHECKPOINT = "jitsudo-checkpoint-v1"


class Kind(StrEnum):
    """Whose key signed: a host's, or a person's own SSH key."""

    HOST = "host"
    SSH = "ssh"


@dataclass(frozen=True, slots=True)
class Signature:
    """An armoured SSHSIG and whose key it claims to be of; `kind` is outside what is signed and must be checked."""

    kind: Kind
    armoured: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with 1 to 16 signatures. Nothing about it is verified."""

    payload: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise InvalidValue(f"an envelope must have 1 to {MAX_SIGNATURES} signatures")

    def as_json(self) -> dict[str, object]:
        """The envelope as a JSON value, to stand inside another document."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "signatures": [{"kind": s.kind.value, "signature": s.armoured} for s in self.signatures],
        }

    def encode(self) -> bytes:
        """The envelope's only spelling."""
        return strictjson.encode(self.as_json())


@lru_cache(DECODED)
def decode_envelope(raw: bytes, max_payload: int) -> Envelope:
    """The envelope in `raw`, whose payload may have `max_payload` bytes; raises `InvalidValue`."""
    max_bytes = _FRAME_BYTES + (max_payload + 2) // 3 * 4 + MAX_SIGNATURES * _MAX_SIGNATURE_BYTES
    envelope = envelope_from_json(strictjson.parse_object(raw, max_bytes), max_payload)
    if envelope.encode() != raw:
        raise InvalidValue("an envelope is not in canonical form")
    return envelope


def envelope_from_json(value: object, max_payload: int) -> Envelope:
    """The envelope that a JSON value is; raises `InvalidValue`. The order of keys is the caller's to check."""
    if not isinstance(value, dict) or set(value) != {"payload", "signatures"}:
        raise InvalidValue("an envelope must be an object of 'payload' and 'signatures'")
    signatures = value["signatures"]
    if not isinstance(signatures, list):
        raise InvalidValue("an envelope's signatures must be a list")
    return Envelope(_payload(value["payload"], max_payload), tuple(_signature(item) for item in signatures))


def _payload(value: object, max_payload: int) -> bytes:
    if not isinstance(value, str):
        raise InvalidValue("an envelope's payload must be base64 text")
    try:
        payload = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue("an envelope's payload is not base64") from error
    # Base64 of one or two last bytes has spare bits that decoders ignore (RFC 4648, section 3.5).
    if base64.b64encode(payload).decode() != value:
        raise InvalidValue("an envelope's payload is not canonical base64")
    if len(payload) > max_payload:
        raise InvalidValue(f"a document of {len(payload)} bytes is too long; at most {max_payload} are accepted")
    return payload


def _signature(value: object) -> Signature:
    if not isinstance(value, dict) or set(value) != {"kind", "signature"}:
        raise InvalidValue("a signature must be an object of 'kind' and 'signature'")
    kind, armoured = value["kind"], value["signature"]
    if kind not in ("host", "ssh") or not isinstance(armoured, str):
        raise InvalidValue("a signature's kind must be 'host' or 'ssh', and the signature text")
    if len(armoured) > MAX_ARMOURED_CHARS:
        raise InvalidValue(f"an SSH signature may have at most {MAX_ARMOURED_CHARS} characters")
    return Signature(Kind(kind), armoured)
