"""SSH keys and signatures: the only module that uses `cryptography`.

Documents are signed by Ed25519 keys alone; a challenge may be signed by RSA, ECDSA and security keys too. A signature is
accepted if OpenSSH's `ssh-keygen -Y verify` accepts it, and it is spelt as `ssh-keygen -Y sign` spells it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from jitsudo.errors import InvalidValue
from jitsudo.grants.envelope import Kind, Namespace, Signature
from jitsudo.grants.sshsig import Reader, Sshsig, armour, fingerprint, parse_sshsig, signed_data, string
from jitsudo.types import HostId

CHALLENGE_NAMESPACE = "jitsudo-challenge@1"
ED25519 = "ssh-ed25519"
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
USER_PRESENT = 0x01  # OpenSSH, PROTOCOL.u2f: the flags of a security key's signature
MAX_KEY_BYTES = 16 * 1024

# RFC 8032, section 5.1: the field, the curve's constant d, the order of the base point.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_L = 2**252 + 27742317777372353535851937790883648493
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)

_Point = tuple[int, int, int, int]  # extended homogeneous coordinates, RFC 8032, section 5.1.4
_IDENTITY: _Point = (0, 1, 1, 0)


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """The key that made a signature which was found valid. Whether it is one that counts here is the caller's question."""

    fingerprint: HostId
    key_type: str


class HostKey:
    """An Ed25519 private key that signs documents: the host's own."""

    __slots__ = ("_private", "_public_blob", "fingerprint")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._private = private
        self._public_blob = _public_blob(raw)
        self.fingerprint: HostId = fingerprint(self._public_blob)

    @classmethod
    def generate(cls) -> HostKey:
        """A new key, from the system's random numbers."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_openssh_private(cls, raw: bytes) -> HostKey:
        """The key in an OpenSSH private key file without a passphrase; raises `InvalidValue`."""
        if len(raw) > MAX_KEY_BYTES:
            raise InvalidValue(f"a private key file may have at most {MAX_KEY_BYTES} bytes")
        try:
            private = load_ssh_private_key(raw, password=None)
        except (ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
            # The library's own text could quote the key.
            raise InvalidValue("not an OpenSSH private key without a passphrase") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise InvalidValue("not an Ed25519 key", "ssh-keygen -t ed25519")
        return cls(private)

    def to_openssh_private(self) -> bytes:
        """The key as ssh-keygen stores it, without a passphrase: for a file that root alone can read."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    def public_line(self, comment: str) -> str:
        """The public key as in `.pub` and `authorized_keys` files (sshd(8)), without a newline."""
        if any(ord(c) < 0x20 or ord(c) == 0x7F for c in comment):
            raise InvalidValue("a key's comment must be one line")
        return f"{ED25519} {base64.b64encode(self._public_blob).decode()} {comment}".rstrip()

    def sign(self, namespace: Namespace, payload: bytes) -> str:
        """An armoured SSHSIG over `payload`."""
        made = self._private.sign(signed_data(namespace, payload))
        return armour(Sshsig(self._public_blob, str(namespace), string(ED25519.encode()) + string(made)))

    def signature(self, namespace: Namespace, payload: bytes) -> Signature:
        """The same, as an envelope carries a host's."""
        return Signature(Kind.HOST, self.sign(namespace, payload))


def verify_sshsig(armoured: str, namespace: Namespace, payload: bytes) -> VerifiedKey:
    """The key whose valid signature over exactly `payload`, in exactly `namespace`, this is; raises `InvalidValue`."""
    sig = parse_sshsig(armoured)
    if sig.namespace != namespace:
        raise InvalidValue(f"an SSH signature is for {sig.namespace!r}, not for '{namespace}'")
    raw = _ed25519_point(sig.public_key)
    reader = Reader(sig.signature)
    key_type, made = reader.string(), reader.string()
    reader.end()
    if key_type != ED25519.encode() or len(made) != 64:
        raise InvalidValue("an SSH signature is not of its key's type")
    # OpenSSL refuses S >= L (RFC 8032, section 5.1.7), so that nobody can make a second spelling of a signature.
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(made, signed_data(namespace, payload))
    except (InvalidSignature, ValueError) as error:
        raise InvalidValue("an SSH signature is not valid for this document") from error
    return VerifiedKey(sig.fingerprint, ED25519)


def challenge_data(nonce: str) -> bytes:
    """What an agent has to sign for a challenge: an SSHSIG over the nonce, which counts as UTF-8."""
    return signed_data(CHALLENGE_NAMESPACE, nonce.encode())


def key_blobs(lines: Sequence[str]) -> frozenset[bytes]:
    """The public keys of lines `type base64 [comment]`, as an approver's are."""
    return frozenset(blob for line in lines if (blob := _blob_of(line)) is not None)


def verify_challenge(key: bytes, signature: bytes, nonce: str, allowed_keys: Sequence[str]) -> VerifiedKey:
    """That `signature` is by `key`, which is among `allowed_keys`, over exactly `nonce`; raises `InvalidValue`.

    Of a security key (`sk-…`), its touch must have been confirmed.
    """
    if key not in key_blobs(allowed_keys):
        raise InvalidValue("an SSH signature is by a key that does not count here")
    sig = Sshsig(key, CHALLENGE_NAMESPACE, signature)
    key_type = Reader(key).string().decode("ascii", "replace")
    check = _CHECKS.get(key_type)
    if check is None:
        raise InvalidValue("an SSH key is of a type that is not supported", "supported are " + ", ".join(_CHECKS))
    try:
        check(sig, challenge_data(nonce))
    except (InvalidSignature, ValueError) as error:
        raise InvalidValue("an SSH signature is not valid for this challenge") from error
    return VerifiedKey(sig.fingerprint, key_type)


def parse_public_line(line: str) -> VerifiedKey:
    """The public key in a line `ssh-ed25519 AAAA… [comment]`, for enrolment; raises `InvalidValue`."""
    words = line.split(None, 2)
    if len(line) > MAX_KEY_BYTES or len(words) < 2 or words[0] != ED25519:
        raise InvalidValue("not a public key line 'ssh-ed25519 AAAA… comment'")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue("a public key is not base64") from error
    if base64.b64encode(blob).decode() != words[1]:
        raise InvalidValue("a public key is not canonical base64")
    _ed25519_point(blob)
    return VerifiedKey(fingerprint(blob), ED25519)


# What an agent's keys sign. Each check raises InvalidValue, InvalidSignature or ValueError.


def _check_ed25519(sig: Sshsig, data: bytes) -> None:
    made = _signature_of(sig, ED25519)
    Ed25519PublicKey.from_public_bytes(_ed25519_point(sig.public_key)).verify(made.string(), data)
    made.end()


def _check_sk_ed25519(sig: Sshsig, data: bytes) -> None:
    key = Reader(sig.public_key)
    key_type, raw, application = key.string(), key.string(), key.string()
    key.end()
    if not is_strong_ed25519_point(raw):
        raise InvalidValue("an Ed25519 public key is weak: not a canonical point of prime order")
    made = _signature_of(sig, key_type.decode())
    proof = made.string()
    Ed25519PublicKey.from_public_bytes(raw).verify(proof, _touched(made, application, data))


def _check_ecdsa(sig: Sshsig, data: bytes) -> None:
    key = Reader(sig.public_key)
    key_type, curve, point = key.string(), key.string().decode("ascii", "replace"), key.string()
    key.end()
    if curve not in _CURVES or key_type != b"ecdsa-sha2-" + curve.encode():
        raise InvalidValue("an ECDSA key is not on the curve of its type")
    made = _signature_of(sig, key_type.decode())
    _verify_ecdsa(curve, point, made.string(), data)
    made.end()


def _check_sk_ecdsa(sig: Sshsig, data: bytes) -> None:
    key = Reader(sig.public_key)
    key_type, curve, point, application = key.string(), key.string(), key.string(), key.string()
    key.end()
    if curve != b"nistp256":
        raise InvalidValue("an ECDSA key is not on the curve of its type")
    made = _signature_of(sig, key_type.decode())
    proof = made.string()
    _verify_ecdsa("nistp256", point, proof, _touched(made, application, data))


def _check_rsa(sig: Sshsig, data: bytes) -> None:
    """RFC 8332, with SHA-2 alone."""
    key = Reader(sig.public_key)
    key.string()
    exponent, modulus = _mpint(key.string()), _mpint(key.string())
    key.end()
    if not MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS:
        raise InvalidValue(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits")
    made = Reader(sig.signature)
    algorithm = {b"rsa-sha2-256": SHA256(), b"rsa-sha2-512": SHA512()}.get(made.string())
    if algorithm is None:
        raise InvalidValue("an SSH signature is not of its key's type")
    proof = made.string()
    made.end()
    rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(proof, data, padding.PKCS1v15(), algorithm)


def _verify_ecdsa(curve: str, point: bytes, proof: bytes, data: bytes) -> None:
    """RFC 5656, sections 3.1 and 3.1.2; the point uncompressed, as OpenSSH demands."""
    if point[:1] != b"\x04":
        raise InvalidValue("an ECDSA key is not an uncompressed point")
    of_curve, algorithm = _CURVES[curve]
    numbers = Reader(proof)
    r, s = _mpint(numbers.string()), _mpint(numbers.string())
    numbers.end()
    key = ec.EllipticCurvePublicKey.from_encoded_point(of_curve, point)
    key.verify(encode_dss_signature(r, s), data, ec.ECDSA(algorithm))


def _touched(made: Reader, application: bytes, data: bytes) -> bytes:
    """What a security key signs in place of `data` (OpenSSH, PROTOCOL.u2f); raises `InvalidValue` where nobody touched it."""
    flags, counter = made.take(1), made.take(4)
    made.end()
    if not flags[0] & USER_PRESENT:
        raise InvalidValue("a security key signed without being touched")
    return hashlib.sha256(application).digest() + flags + counter + hashlib.sha256(data).digest()


def _signature_of(sig: Sshsig, key_type: str) -> Reader:
    """What follows the type in a signature's blob; a signature of another type than its key's is refused."""
    reader = Reader(sig.signature)
    if reader.string() != key_type.encode():
        raise InvalidValue("an SSH signature is not of its key's type")
    return reader


def _mpint(raw: bytes) -> int:
    """RFC 4251, section 5: positive, without superfluous zeros."""
    if not raw or raw[0] & 0x80 or (raw[0] == 0 and (len(raw) == 1 or not raw[1] & 0x80)):
        raise InvalidValue("an SSH key or signature holds a number that is not positive or not in its shortest form")
    return int.from_bytes(raw, "big")


def _blob_of(line: str) -> bytes | None:
    words = line.split(None, 2)
    try:
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else None
    except (binascii.Error, ValueError):
        return None


_CURVES: Final[Mapping[str, tuple[ec.EllipticCurve, HashAlgorithm]]] = {
    "nistp256": (ec.SECP256R1(), SHA256()),
    "nistp384": (ec.SECP384R1(), SHA384()),
    "nistp521": (ec.SECP521R1(), SHA512()),
}
_CHECKS: Final[Mapping[str, Callable[[Sshsig, bytes], None]]] = {
    ED25519: _check_ed25519,
    "ssh-rsa": _check_rsa,
    "ecdsa-sha2-nistp256": _check_ecdsa,
    "ecdsa-sha2-nistp384": _check_ecdsa,
    "ecdsa-sha2-nistp521": _check_ecdsa,
    "sk-ssh-ed25519@openssh.com": _check_sk_ed25519,
    "sk-ecdsa-sha2-nistp256@openssh.com": _check_sk_ecdsa,
}


def _public_blob(raw: bytes) -> bytes:
    return string(ED25519.encode()) + string(raw)


def _ed25519_point(blob: bytes) -> bytes:
    """The 32 bytes of a public key blob (RFC 8709, section 4) whose point is strong."""
    reader = Reader(blob)
    key_type = reader.string()
    if key_type != ED25519.encode():
        raise InvalidValue("an SSH key is not an Ed25519 key; no other type is supported by this version")
    raw = reader.string()
    reader.end()
    if not is_strong_ed25519_point(raw):
        raise InvalidValue("an Ed25519 public key is weak: not a canonical point of prime order")
    return raw


@lru_cache(maxsize=256)  # the check takes a millisecond or two, and a host sees few keys, again and again
def is_strong_ed25519_point(raw: bytes) -> bool:
    """Whether 32 bytes are the canonical encoding of a point of prime order, as every honestly made public key is.

    OpenSSL does not check this, and a key of low order makes one signature valid for many messages ("Taming the many
    EdDSAs", Chalkias, Garillot, Nikolaenko, 2020, section 4).
    """
    point = _decode_point(raw)
    return point is not None and not _is_identity(point) and _is_identity(_multiply(_L, point))


def _decode_point(raw: bytes) -> _Point | None:
    """RFC 8032, section 5.1.3, up to the sign of x; None if that section refuses it, as it does a y not below p."""
    if len(raw) != 32:
        return None
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _SQRT_MINUS_1 % _P
    if v * x * x % _P != u or (x == 0 and sign):
        return None
    # Which of the two x it is does not matter here: a point and its negative have the same order.
    return (x, y, 1, x * y % _P)


def _add(a: _Point, b: _Point) -> _Point:
    """RFC 8032, section 5.1.4; complete, so it doubles too."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    m, n = (y1 - x1) * (y2 - x2) % _P, (y1 + x1) * (y2 + x2) % _P
    c, d = 2 * t1 * t2 * _D % _P, 2 * z1 * z2 % _P
    e, f, g, h = n - m, d - c, d + c, n + m
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _multiply(scalar: int, point: _Point) -> _Point:
    # Not constant in time: only ever used on public values.
    result = _IDENTITY
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _is_identity(point: _Point) -> bool:
    x, y, z, _ = point
    return x % _P == 0 and (y - z) % _P == 0
