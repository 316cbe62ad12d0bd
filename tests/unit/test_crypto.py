"""SSH keys and signatures, against OpenSSH itself."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from jitsudo.crypto import (
    CHALLENGE_NAMESPACE,
    HostKey,
    VerifiedKey,
    challenge_data,
    is_strong_ed25519_point,
    parse_public_line,
    verify_challenge,
    verify_sshsig,
)
from jitsudo.errors import InvalidValue
from jitsudo.grants.envelope import Kind, Namespace, Signature
from jitsudo.grants.sshsig import Sshsig, armour, fingerprint, parse_sshsig, string

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
KEY = HostKey.generate()
MESSAGE = b'{"v":1}'


def keygen(*argv: str, message: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *argv], input=message, capture_output=True, check=False)


def openssh_accepts(folder: Path, line: str, namespace: str, armoured: str, message: bytes) -> bool:
    (folder / "signers").write_text(f'web-01 namespaces="jitsudo-*" {line}\n')
    (folder / "sig").write_text(armoured)
    where = ["-f", str(folder / "signers"), "-I", "web-01", "-n", namespace, "-s", str(folder / "sig")]
    return keygen("-Y", "verify", *where, message=message).returncode == 0


def test_ssh_keygen_verifies_what_we_sign(tmp_path: Path) -> None:
    """Any document can be checked without this program; and not as another document."""
    armoured = KEY.sign(Namespace.GRANT, MESSAGE)
    line = KEY.public_line("web-01")
    assert openssh_accepts(tmp_path, line, "jitsudo-grant-v1", armoured, MESSAGE)
    assert not openssh_accepts(tmp_path, line, "jitsudo-request-v1", armoured, MESSAGE)
    assert not openssh_accepts(tmp_path, line, "jitsudo-grant-v1", armoured, MESSAGE + b" ")
    assert not openssh_accepts(tmp_path, HostKey.generate().public_line("x"), "jitsudo-grant-v1", armoured, MESSAGE)


def test_we_verify_what_ssh_keygen_signs(tmp_path: Path) -> None:
    """With a key that ssh-keygen made; the armour is the same to the byte."""
    path = tmp_path / "key"
    assert keygen("-q", "-t", "ed25519", "-N", "", "-C", "c", "-f", str(path)).returncode == 0
    made = keygen("-Y", "sign", "-f", str(path), "-n", "jitsudo-approval-v1", message=MESSAGE).stdout.decode()
    key = HostKey.from_openssh_private(path.read_bytes())
    assert verify_sshsig(made, Namespace.APPROVAL, MESSAGE) == VerifiedKey(key.fingerprint, "ssh-ed25519")
    assert key.sign(Namespace.APPROVAL, MESSAGE) == made
    assert key.public_line("c") == path.with_suffix(".pub").read_text().strip()
    assert key.fingerprint in keygen("-l", "-f", str(path)).stdout.decode()


def test_a_key_survives_its_file_and_ssh_keygen_reads_it(tmp_path: Path) -> None:
    """The round trip."""
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(KEY.to_openssh_private())
    assert HostKey.from_openssh_private(path.read_bytes()).fingerprint == KEY.fingerprint
    assert keygen("-y", "-f", str(path)).stdout.decode().split()[:2] == KEY.public_line("").split()


PRIVATE = ed25519.Ed25519PrivateKey.generate()
OPENSSH = PrivateFormat.OpenSSH
PEM = KEY.to_openssh_private()
BAD_FILES = {
    "nothing": b"",
    "text": b"hello",
    "half of it": PEM[: len(PEM) // 2],
    "no end": PEM[:-20],
    "an empty body": b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n",
    "zeros": b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + b"A" * 68 + b"\n-----END OPENSSH PRIVATE KEY-----\n",
    "PKCS 8": PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "a public key": KEY.public_line("x").encode(),
    "an ECDSA key": ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, OPENSSH, NoEncryption()),
    "too long": PEM + b"\n" * 20_000,
}


@pytest.mark.parametrize("raw", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_other_private_key_files_are_refused(raw: bytes) -> None:
    """With our own error, which does not quote them."""
    with pytest.raises(InvalidValue) as caught:
        HostKey.from_openssh_private(raw)
    assert "BEGIN" not in caught.value.sentence


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    """Nobody is there to type it."""
    path = tmp_path / "key"
    keygen("-q", "-t", "ed25519", "-N", "secret", "-f", str(path))
    with pytest.raises(InvalidValue, match="without a passphrase"):
        HostKey.from_openssh_private(path.read_bytes())


def test_a_comment_is_one_line() -> None:
    """It ends up in files of one key a line."""
    assert KEY.public_line("").split() == KEY.public_line("x").split()[:2]
    for comment in ("a\nssh-ed25519 AAAA", "a\x7f", "\x1b"):
        with pytest.raises(InvalidValue):
            KEY.public_line(comment)


def test_a_host_signature_goes_into_an_envelope() -> None:
    """With its kind."""
    assert KEY.signature(Namespace.GRANT, b"x") == Signature(Kind.HOST, KEY.sign(Namespace.GRANT, b"x"))


def test_a_signature_is_for_one_namespace_and_one_message() -> None:
    """Every namespace against every other."""
    for namespace in Namespace:
        armoured = KEY.sign(namespace, MESSAGE)
        for other in Namespace:
            if other is namespace:
                assert verify_sshsig(armoured, other, MESSAGE).fingerprint == KEY.fingerprint
                with pytest.raises(InvalidValue, match="not valid"):
                    verify_sshsig(armoured, other, MESSAGE + b"\n")
            else:
                with pytest.raises(InvalidValue, match="is for"):
                    verify_sshsig(armoured, other, MESSAGE)


def forged(public_key: bytes | None = None, signature: bytes | None = None) -> str:
    """A signature by KEY with something else in place of its key or its own bytes."""
    sig = parse_sshsig(KEY.sign(Namespace.GRANT, MESSAGE))
    return armour(Sshsig(public_key or sig.public_key, sig.namespace, signature or sig.signature))


GOOD = parse_sshsig(KEY.sign(Namespace.GRANT, MESSAGE))
R, S = GOOD.signature[-64:-32], int.from_bytes(GOOD.signature[-32:], "little")
TYPE = string(b"ssh-ed25519")
POINT = GOOD.public_key[-32:]
FORGED = {
    "another key": forged(public_key=TYPE + string(PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))),
    "a key of another type": forged(public_key=string(b"ssh-rsa") + string(POINT)),
    "a key that needs a touch": forged(public_key=string(b"sk-ssh-ed25519@openssh.com") + string(POINT) + string(b"ssh:")),
    "a key of 31 bytes": forged(public_key=TYPE + string(POINT[:-1])),
    "a key of 33 bytes": forged(public_key=TYPE + string(POINT + b"x")),
    "a key with something after it": forged(public_key=GOOD.public_key + b"x"),
    "a truncated key": forged(public_key=GOOD.public_key[:-1]),
    "the key of the identity": forged(public_key=TYPE + string(b"\x01" + b"\0" * 31)),
    "a signature of another type": forged(signature=string(b"ssh-rsa") + string(R + S.to_bytes(32, "little"))),
    "a signature of 63 bytes": forged(signature=TYPE + string(GOOD.signature[-63:])),
    "a signature of 65 bytes": forged(signature=TYPE + string(GOOD.signature[-64:] + b"x")),
    "a signature with something after it": forged(signature=GOOD.signature + b"x"),
    "a signature that is changed": forged(signature=TYPE + string(R + (S ^ 1).to_bytes(32, "little"))),
    "a signature of zeros": forged(signature=TYPE + string(b"\0" * 64)),
    "the second spelling of a signature, S + L": forged(signature=TYPE + string(R + (S + L).to_bytes(32, "little"))),
    "no armour": "x",
}


@pytest.mark.parametrize("armoured", FORGED.values(), ids=FORGED.keys())
def test_a_forged_signature_is_refused(armoured: str) -> None:
    """Whatever is wrong about it."""
    with pytest.raises(InvalidValue):
        verify_sshsig(armoured, Namespace.GRANT, MESSAGE)


# The points of small order, canonical and not: "Taming the many EdDSAs" (2020), table 6; also in libsodium.
ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
ORDER_8_TOO = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
# An honest key plus a point of order 8: on the curve, of order 8 L.
WEAK = {
    "0, of order 4": b"\0" * 32,
    "0 with a sign": b"\0" * 31 + b"\x80",
    "the identity": b"\x01" + b"\0" * 31,
    "the identity with a sign": b"\x01" + b"\0" * 30 + b"\x80",
    "-1, of order 2": (P - 1).to_bytes(32, "little"),
    "of order 8": ORDER_8,
    "of order 8 with a sign": ORDER_8[:31] + bytes([ORDER_8[31] | 0x80]),
    "of order 8, another": ORDER_8_TOO,
    "of order 8, another with a sign": ORDER_8_TOO[:31] + bytes([ORDER_8_TOO[31] | 0x80]),
    "p, which is 0": P.to_bytes(32, "little"),
    "p + 1, which is the identity": (P + 1).to_bytes(32, "little"),
    "2^255 - 1": (2**255 - 1).to_bytes(32, "little"),
    "2^256 - 1": b"\xff" * 32,
    "nothing": b"",
    "31 bytes": b"\x58" + b"\x66" * 30,
    "33 bytes": b"\x58" + b"\x66" * 32,
}


@pytest.mark.parametrize("raw", WEAK.values(), ids=WEAK.keys())
def test_weak_points_are_refused(raw: bytes) -> None:
    """A key of small order makes one signature valid for any message."""
    assert is_strong_ed25519_point(raw) is False


def test_points_that_are_not_on_the_curve_are_refused() -> None:
    """About every second y has no x."""
    off = [y for y in range(2, 40) if pow((y * y - 1) * pow(_d() * y * y + 1, -1, P), (P - 1) // 2, P) == P - 1]
    assert off
    assert not any(is_strong_ed25519_point(y.to_bytes(32, "little")) for y in off)


def _d() -> int:
    return -121665 * pow(121666, -1, P) % P


def _sum(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """The affine addition law (RFC 8032, section 5.1), written independently of the module under test."""
    (x1, y1), (x2, y2) = a, b
    k = _d() * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def test_a_point_of_mixed_order_is_refused() -> None:
    """The base point is fine; with the point of order 2 added it is on the curve and of order 2 L."""
    base_y = 4 * pow(5, -1, P) % P
    base_x = 15112221349535400772501151409588531511454012693041857206046113283949847762202
    assert is_strong_ed25519_point(base_y.to_bytes(32, "little")) is True
    x, y = _sum((base_x, base_y), (0, P - 1))
    assert is_strong_ed25519_point((y | (x & 1) << 255).to_bytes(32, "little")) is False


def test_honest_keys_are_strong() -> None:
    """Of the test vectors of RFC 8032, section 7.1, and new ones."""
    for text in (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    ):
        assert is_strong_ed25519_point(bytes.fromhex(text)) is True
    for _ in range(5):
        raw = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        assert is_strong_ed25519_point(raw) is True


def test_a_public_line_is_enrolled_by_its_fingerprint() -> None:
    """The comment, absent or with spaces, does not matter."""
    wanted = VerifiedKey(KEY.fingerprint, "ssh-ed25519")
    for comment in ("", "alice@laptop", "two words"):
        assert parse_public_line(KEY.public_line(comment)) == wanted
    assert fingerprint(GOOD.public_key) == KEY.fingerprint


ENCODED = base64.b64encode(GOOD.public_key).decode()
BAD_LINES = {
    "nothing": "",
    "a type alone": "ssh-ed25519",
    "another type": f"ssh-rsa {ENCODED}",
    "a type that is not the key's": "ssh-ed25519 " + base64.b64encode(string(b"ssh-rsa") + string(POINT)).decode(),
    "options before it": f'command="x" ssh-ed25519 {ENCODED}',
    "no base64": "ssh-ed25519 !!!!",
    "not ASCII": "ssh-ed25519 é===",
    "spare bits set": f"ssh-ed25519 {base64.b64encode(GOOD.public_key + b'x').decode()[:-3]}B==",
    "a weak key": "ssh-ed25519 " + base64.b64encode(TYPE + string(b"\x01" + b"\0" * 31)).decode(),
    "too long": f"ssh-ed25519 {ENCODED} " + "x" * 20_000,
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_other_public_lines_are_refused(line: str) -> None:
    """At enrolment, not at first use."""
    with pytest.raises(InvalidValue):
        parse_public_line(line)


# Challenges.


NONCE = "5f" * 32
OPENSSH_KEYS = {
    "ed25519": ["-t", "ed25519"],
    "ecdsa 256": ["-t", "ecdsa", "-b", "256"],
    "ecdsa 384": ["-t", "ecdsa", "-b", "384"],
    "ecdsa 521": ["-t", "ecdsa", "-b", "521"],
    "rsa": ["-t", "rsa", "-b", "2048"],
}


def made_by_openssh(folder: Path, options: list[str], nonce: str, namespace: str = CHALLENGE_NAMESPACE) -> tuple[str, str]:
    """A new key's public line, and its signature over the nonce."""
    path = folder / "key"
    if not path.exists():
        assert keygen("-q", *options, "-N", "", "-C", "c", "-f", str(path)).returncode == 0
    made = keygen("-Y", "sign", "-f", str(path), "-n", namespace, message=nonce.encode()).stdout.decode()
    return path.with_suffix(".pub").read_text().strip(), made


@pytest.mark.parametrize("kind", OPENSSH_KEYS)
def test_a_challenge_signed_by_openssh_is_met(kind: str, tmp_path: Path) -> None:
    """By each type of key, and by no other key, over no other nonce, in no other namespace."""
    line, made = made_by_openssh(tmp_path, OPENSSH_KEYS[kind], NONCE)
    other = HostKey.generate().public_line("x")
    sig, elsewhere = parse_sshsig(made), made_by_openssh(tmp_path, OPENSSH_KEYS[kind], NONCE, "jitsudo-approval-v1")[1]
    key = verify_challenge(sig.public_key, sig.signature, NONCE, [other, line])
    assert key.key_type == line.split()[0]
    assert key.fingerprint in keygen("-l", "-f", str(tmp_path / "key")).stdout.decode()
    for signature, nonce, keys in (
        (sig.signature, NONCE + "0", [line]),
        (sig.signature, "", [line]),
        (sig.signature, NONCE, [other]),
        (sig.signature, NONCE, []),
        (parse_sshsig(elsewhere).signature, NONCE, [line]),
        (sig.signature[:-1], NONCE, [line]),
        (b"", NONCE, [line]),
    ):
        with pytest.raises(InvalidValue):
            verify_challenge(sig.public_key, signature, nonce, keys)


def test_every_changed_byte_of_a_challenges_signature_is_noticed(tmp_path: Path) -> None:
    """Whatever part of it is changed, for each type of key: refused, in our own words."""
    for kind, options in OPENSSH_KEYS.items():
        folder = tmp_path / kind
        folder.mkdir()
        line, made = made_by_openssh(folder, options, NONCE)
        sig = parse_sshsig(made)
        for index in range(len(sig.signature)):
            changed = bytearray(sig.signature)
            changed[index] ^= 1
            with pytest.raises(InvalidValue):
                verify_challenge(sig.public_key, bytes(changed), NONCE, [line])


def security_key(kind: str, flags: int = 0x01, application: bytes = b"ssh:") -> tuple[str, Sshsig]:
    """What a security key would be and sign (OpenSSH, PROTOCOL.u2f), made in software."""
    data = challenge_data(NONCE)
    tail = bytes([flags]) + (7).to_bytes(4, "big")
    message = hashlib.sha256(application).digest() + tail + hashlib.sha256(data).digest()
    name = f"{kind}@openssh.com".encode()
    if kind == "sk-ssh-ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        blob, proof = string(name) + string(raw) + string(application), private.sign(message)
    else:
        curve = ec.generate_private_key(ec.SECP256R1())
        point = curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        blob = string(name) + string(b"nistp256") + string(point) + string(application)
        r, s = decode_dss_signature(curve.sign(message, ec.ECDSA(SHA256())))
        proof = mpint(r) + mpint(s)
    made = Sshsig(blob, CHALLENGE_NAMESPACE, string(name) + string(proof) + tail)
    return f"{name.decode()} {base64.b64encode(blob).decode()}", made


def mpint(number: int) -> bytes:
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


@pytest.mark.parametrize("kind", ["sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256"])
def test_a_security_key_must_have_been_touched(kind: str, tmp_path: Path) -> None:
    """OpenSSH takes what we take; without user presence neither a PIN nor anything else helps."""
    line, made = security_key(kind)
    assert verify_challenge(made.public_key, made.signature, NONCE, [line]).key_type == f"{kind}@openssh.com"
    (tmp_path / "signers").write_text(f"alice {line}\n")
    (tmp_path / "sig").write_text(armour(made))
    where = ["-f", str(tmp_path / "signers"), "-I", "alice", "-n", CHALLENGE_NAMESPACE, "-s", str(tmp_path / "sig")]
    assert keygen("-Y", "verify", *where, message=NONCE.encode()).returncode == 0
    for flags in (0x00, 0x04, 0xFE):
        line, made = security_key(kind, flags)
        with pytest.raises(InvalidValue, match="touched"):
            verify_challenge(made.public_key, made.signature, NONCE, [line])
    line, made = security_key(kind)
    other, _ = security_key(kind)
    with pytest.raises(InvalidValue, match="does not count"):
        verify_challenge(made.public_key, made.signature, NONCE, [other])
    good = made.signature
    for changed in (good[:-1], good + b"x", good[:-5] + b"\x05" + good[-4:]):
        with pytest.raises(InvalidValue):
            verify_challenge(made.public_key, changed, NONCE, [line])


def ecdsa_blob(key_type: bytes, curve: bytes, point: bytes) -> bytes:
    return string(key_type) + string(curve) + string(point)


POINT = ec.generate_private_key(ec.SECP256R1()).public_key()
FULL_POINT = POINT.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
MODULUS = b"\0" + b"\xff" * 256
P256 = b"ecdsa-sha2-nistp256"
SK_P256 = b"sk-ecdsa-sha2-nistp256@openssh.com"
GOOD_PAIR = string(mpint(1) + mpint(1))
ODD_KEYS: dict[str, tuple[bytes, bytes]] = {
    "an unknown type": (string(b"ssh-dss") + string(b"x"), string(b"ssh-dss") + string(b"x")),
    "a type that is not text": (string(b"\xff"), string(b"\xff") + string(b"x")),
    "a certificate": (string(b"ssh-ed25519-cert-v01@openssh.com"), string(b"ssh-ed25519") + string(b"x" * 64)),
    "another curve": (ecdsa_blob(P256, b"nistp384", FULL_POINT), string(P256) + GOOD_PAIR),
    "an unknown curve": (ecdsa_blob(P256, b"nistp1", FULL_POINT), string(P256) + GOOD_PAIR),
    "a compressed point": (
        ecdsa_blob(P256, b"nistp256", POINT.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)),
        string(P256) + GOOD_PAIR,
    ),
    "no point of the curve": (ecdsa_blob(P256, b"nistp256", b"\x04" + b"\1" * 64), string(P256) + GOOD_PAIR),
    "something after the key": (ecdsa_blob(P256, b"nistp256", FULL_POINT) + b"x", string(P256) + GOOD_PAIR),
    "a signature of another type": (ecdsa_blob(P256, b"nistp256", FULL_POINT), string(b"ssh-ed25519") + GOOD_PAIR),
    "r that is zero": (ecdsa_blob(P256, b"nistp256", FULL_POINT), string(P256) + string(string(b"") + mpint(1))),
    "r with a zero in front": (
        ecdsa_blob(P256, b"nistp256", FULL_POINT), string(P256) + string(string(b"\0\1") + mpint(1))
    ),
    "r that is negative": (ecdsa_blob(P256, b"nistp256", FULL_POINT), string(P256) + string(string(b"\x80") + mpint(1))),
    "a wrong pair": (ecdsa_blob(P256, b"nistp256", FULL_POINT), string(P256) + GOOD_PAIR),
    "a security key of another curve": (
        string(SK_P256) + string(b"nistp384") + string(FULL_POINT) + string(b"ssh:"),
        string(SK_P256) + GOOD_PAIR + b"\1\0\0\0\0",
    ),
    "a weak security key": (
        string(b"sk-ssh-ed25519@openssh.com") + string(b"\1" + bytes(31)) + string(b"ssh:"),
        string(b"sk-ssh-ed25519@openssh.com") + string(bytes(64)) + b"\1\0\0\0\0",
    ),
    "a short RSA key": (
        string(b"ssh-rsa") + string(b"\1\0\1") + string(b"\0" + b"\xff" * 255),
        string(b"rsa-sha2-512") + string(bytes(255)),
    ),
    "RSA with SHA-1": (
        string(b"ssh-rsa") + string(b"\1\0\1") + string(MODULUS), string(b"ssh-rsa") + string(bytes(256))
    ),
    "an RSA exponent of one": (
        string(b"ssh-rsa") + string(b"\1") + string(MODULUS), string(b"rsa-sha2-512") + string(bytes(256))
    ),
    "a wrong RSA signature": (
        string(b"ssh-rsa") + string(b"\1\0\1") + string(MODULUS), string(b"rsa-sha2-512") + string(bytes(256))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_KEYS)
def test_odd_keys_meet_no_challenge(name: str) -> None:
    """Even where they are enrolled: refused, in our own words."""
    blob, signature = ODD_KEYS[name]
    line = f"x {base64.b64encode(blob).decode()}"
    with pytest.raises(InvalidValue):
        verify_challenge(blob, signature, NONCE, [line])


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 %", "ssh-ed25519 AAAA"])
def test_a_damaged_enrolled_key_is_passed_over(line: str) -> None:
    """It is nobody's, and stops nobody else."""
    key, made = key_with_signature()
    with pytest.raises(InvalidValue, match="does not count"):
        verify_challenge(key, made, NONCE, [line])
    assert verify_challenge(key, made, NONCE, [line, public_line(key)]).key_type == "ssh-ed25519"


def key_with_signature() -> tuple[bytes, bytes]:
    """A new key, and what it signs for the challenge."""
    private = ed25519.Ed25519PrivateKey.generate()
    key = string(b"ssh-ed25519") + string(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    return key, string(b"ssh-ed25519") + string(private.sign(challenge_data(NONCE)))


def public_line(key: bytes) -> str:
    return f"ssh-ed25519 {base64.b64encode(key).decode()} x"
