"""The SSH signature format (OpenSSH, PROTOCOL.sshsig) as bytes: parsed, made, armoured. No cryptography.

    blob    byte[6] "SSHSIG", uint32 1, string public key, string namespace, string reserved, string hash algorithm,
            string signature
    signed  byte[6] "SSHSIG", string namespace, string reserved, string hash algorithm, string H(message)

Armour is accepted only as ssh-keygen writes it (base64 in lines of 70 characters), so that one signature has one spelling.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache

from jitsudo.errors import InvalidValue
from jitsudo.types import HostId

MAGIC = b"SSHSIG"
VERSION = 1
HASH_ALGORITHM = b"sha512"
MAX_ARMOURED_CHARS = 4096  # an RSA key and signature of 8192 bits take about 3,000

PARSED = 256  # signatures kept parsed: the same text means the same, and each use of a grant reads all of its own

_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_COLUMNS = 70  # sshbuf_dtob64() of OpenSSH


@dataclass(frozen=True, slots=True)
class Sshsig:
    """A parsed signature: `public_key` and `signature` are blobs in SSH wire format (RFC 4253, 6.6; RFC 8709)."""

    public_key: bytes
    namespace: str
    signature: bytes

    @property
    def fingerprint(self) -> HostId:
        return fingerprint(self.public_key)


class Reader:
    """Takes fields off a blob in SSH wire format (RFC 4251, section 5); raises `InvalidValue` where it does not fit."""

    __slots__ = ("_at", "_blob")

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if len(self._blob) < end:
            raise InvalidValue("an SSH key or signature is truncated")
        taken, self._at = self._blob[self._at : end], end
        return taken

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.uint32())

    def end(self) -> None:
        if self._at < len(self._blob):
            raise InvalidValue("an SSH key or signature has something after its end")


def string(value: bytes) -> bytes:
    """`value` as an SSH string: its length in four bytes, then itself."""
    return len(value).to_bytes(4, "big") + value


def fingerprint(public_key: bytes) -> HostId:
    """OpenSSH's fingerprint of a public key blob: `SHA256:` and unpadded base64 (ssh-keygen(1))."""
    return HostId("SHA256:" + base64.b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("="))


def signed_data(namespace: str, message: bytes) -> bytes:
    """What is really signed when `message` is."""
    digest = hashlib.sha512(message).digest()
    return MAGIC + string(namespace.encode()) + string(b"") + string(HASH_ALGORITHM) + string(digest)


def armour(sig: Sshsig) -> str:
    """The armoured text of `sig`, as ssh-keygen writes it."""
    blob = (
        MAGIC
        + VERSION.to_bytes(4, "big")
        + string(sig.public_key)
        + string(sig.namespace.encode())
        + string(b"")
        + string(HASH_ALGORITHM)
        + string(sig.signature)
    )
    text = base64.b64encode(blob).decode()
    lines = [text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END, ""])


@lru_cache(PARSED)
def parse_sshsig(armoured: str) -> Sshsig:
    """The signature in `armoured`; raises `InvalidValue` for anything that `armour` would not write."""
    if len(armoured) > MAX_ARMOURED_CHARS:
        raise InvalidValue(f"an SSH signature may have at most {MAX_ARMOURED_CHARS} characters")
    if not armoured.startswith(_BEGIN + "\n") or not armoured.endswith("\n" + _END + "\n"):
        raise InvalidValue("not an armoured SSH signature")
    body = armoured[len(_BEGIN) : -len(_END) - 1].replace("\n", "")
    try:
        blob = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue("an SSH signature is not base64") from error
    sig = _parse_blob(blob)
    if armour(sig) != armoured:
        raise InvalidValue("an SSH signature is not written as ssh-keygen writes it")
    return sig


def _parse_blob(blob: bytes) -> Sshsig:
    reader = Reader(blob)
    if reader.take(len(MAGIC)) != MAGIC or reader.uint32() != VERSION:
        raise InvalidValue("not an SSH signature of version 1")
    public_key, namespace, reserved, algorithm, signature = (reader.string() for _ in range(5))
    reader.end()
    if reserved or algorithm != HASH_ALGORITHM:
        raise InvalidValue("an SSH signature uses another hash than sha512, or a reserved field")
    if not namespace.isascii():
        raise InvalidValue("an SSH signature's namespace is not ASCII")
    return Sshsig(public_key, namespace.decode("ascii"), signature)
