"""Signed documents: parsers are total, one document has one spelling, no changed byte goes unnoticed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitsudo import strictjson
from jitsudo.crypto import HostKey, parse_public_line, verify_sshsig
from jitsudo.errors import DocumentRefused, InvalidValue, WrongState
from jitsudo.grants.envelope import Envelope, Kind, Namespace, Signature, decode_envelope
from jitsudo.grants.issue import build_grant
from jitsudo.grants.lifecycle import TRANSITIONS, Book, Event
from jitsudo.grants.model import (
    MAX_GRANT_BYTES,
    Approval,
    HostRef,
    Request,
    Subject,
    digest,
    parse_approval,
    parse_grant,
    parse_request,
    parse_revocation,
)
from jitsudo.grants.sshsig import parse_sshsig
from jitsudo.grants.verify import Context, RoleTerms, SignerIdentity, verify_grant
from jitsudo.types import Digest, Duration, Moment, Reason, RoleName, Uid, UserName, is_plain_text

NOW = 1_795_500_000
KEY = HostKey.generate()
HOST = KEY.fingerprint
ALICE = Subject(Uid(1000), UserName("alice"), Uid(1000))
BOB = Subject(Uid(1001), UserName("bob"), None)
ROLE = RoleTerms(
    RoleName("web"), Digest("sha256:" + "a" * 64), 3600, 0, False, None, lambda _: None, lambda *_: (False, "nobody")
)


def seal(payload: bytes, namespace: Namespace) -> Envelope:
    return Envelope(payload, (KEY.signature(namespace, payload),))


REQUEST = Request(
    nonce="0" * 32,
    role=ROLE.name,
    role_digest=ROLE.digest,
    person=ALICE,
    hosts=(HostRef(HOST, "web-01"),),
    run_as=(UserName("root"),),
    duration=Duration(1800),
    activate_by=NOW + 60,
    not_before=None,
    uses=1,
    reason=Reason("because"),
    created=NOW,
)
ASKED = seal(REQUEST.payload(), Namespace.REQUEST)
GRANT = build_grant(ASKED, [], Moment(NOW, 1.0), HOST)
RAW = seal(GRANT.payload(), Namespace.GRANT).encode()
APPROVAL = Approval(digest(ASKED.payload), ALICE, Duration(60), None, "", NOW)


def check_signature(namespace: Namespace, signature: Signature, payload: bytes) -> SignerIdentity | None:
    try:
        return SignerIdentity(Kind.HOST, verify_sshsig(signature.armoured, namespace, payload).fingerprint)
    except InvalidValue:
        return None


CONTEXT = Context(
    host=HOST,
    now=Moment(NOW, 1.0),
    loaded_at=Moment(NOW, 1.0),
    subject=ALICE,
    check_signature=check_signature,
    roles=lambda _: ROLE,
    revoked=lambda _: False,
    uses=lambda _: 0,
)
PARSERS: list[Callable[[bytes], Any]] = [parse_request, parse_approval, parse_grant, parse_revocation]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_the_grant_is_right_before_anything_is_changed() -> None:
    """Otherwise the next tests would prove nothing."""
    assert verify_grant(RAW, CONTEXT).uses_left == 1


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    """At some step, by the document's own error."""
    raw = bytearray(RAW)
    raw[position] ^= change
    with pytest.raises(DocumentRefused):
        verify_grant(bytes(raw), CONTEXT)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(RAW)), st.binary(max_size=3), st.integers(0, 3))
def test_any_inserted_or_missing_byte_is_refused(position: int, inserted: bytes, missing: int) -> None:
    """Wherever it is."""
    raw = RAW[:position] + inserted + RAW[position + missing :]
    if raw != RAW:
        with pytest.raises(DocumentRefused):
            verify_grant(raw, CONTEXT)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
def test_every_reader_of_bytes_is_total(raw: bytes) -> None:
    """A value or its own error, nothing else; and a value is written as it was read."""
    for parse in PARSERS:
        with contextlib.suppress(InvalidValue):
            assert parse(raw).payload() == raw
    with contextlib.suppress(InvalidValue):
        assert decode_envelope(raw, MAX_GRANT_BYTES).encode() == raw
    with pytest.raises(DocumentRefused):
        verify_grant(raw, CONTEXT)
    with contextlib.suppress(InvalidValue):
        assert strictjson.parse_object(raw, 1000) == json.loads(raw)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda b: b.decode("latin-1")))
def test_every_reader_of_text_is_total(text: str) -> None:
    """Armour and key lines."""
    for parse in (parse_sshsig, parse_public_line):
        with pytest.raises(InvalidValue):
            parse(text)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 3))
def test_a_damaged_private_key_has_its_own_error(noise: bytes, position: int, missing: int) -> None:
    """The library's many exceptions stay inside."""
    pem = KEY.to_openssh_private()
    for raw in (noise, pem[:position] + noise[:3] + pem[position + missing :]):
        with contextlib.suppress(InvalidValue):
            HostKey.from_openssh_private(raw)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([REQUEST, APPROVAL, GRANT]), st.data())
def test_any_field_with_any_value_is_read_strictly(document: Request | Approval, data: st.DataObject) -> None:
    """What is accepted is written back to the byte."""
    value = json.loads(document.payload())
    value[data.draw(st.sampled_from(sorted(value)))] = data.draw(JSON)
    raw = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    for parse in PARSERS:
        with contextlib.suppress(InvalidValue):
            assert parse(raw).payload() == raw


PLAIN = st.text(min_size=1, max_size=500).filter(lambda text: is_plain_text(text) and text.strip())
TIMES = st.integers(0, 253_402_300_799)


@settings(max_examples=100, deadline=None)
@given(PLAIN, st.integers(1, 34_560_000), TIMES, st.none() | TIMES, st.none() | st.integers(1, 1_000_000), TIMES)
def test_every_request_that_can_be_made_is_read_as_it_was_made(
    reason: str, duration: int, activate_by: int, not_before: int | None, uses: int | None, created: int
) -> None:
    """The round trip."""
    made = Request(
        REQUEST.nonce, REQUEST.role, REQUEST.role_digest, BOB, REQUEST.hosts, REQUEST.run_as, Duration(duration), activate_by,
        not_before, uses, Reason(reason), created,
    )
    assert parse_request(made.payload()) == made


@settings(max_examples=200, deadline=None)
@given(st.integers(-5, 1805), st.floats(-5, 1805), st.integers(-5, 5))
def test_neither_clock_alone_keeps_a_grant_alive(wall: int, elapsed: float, loaded: int) -> None:
    """Whichever says "over" first wins, wherever in the window it was loaded."""
    context = Context(
        host=HOST,
        now=Moment(NOW + wall, 1.0 + elapsed),
        loaded_at=Moment(NOW + loaded, 1.0),
        subject=ALICE,
        check_signature=check_signature,
        roles=CONTEXT.roles,
        revoked=CONTEXT.revoked,
        uses=CONTEXT.uses,
    )
    alive = 0 <= wall < 1800 and 0 <= (1.0 + elapsed) - 1.0 < 1800 - loaded
    try:
        verify_grant(RAW, context)
        assert alive
    except DocumentRefused:
        assert not alive


EVENTS = sorted({kind for _, kind in TRANSITIONS} | {"heartbeat"})
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "envelope": st.sampled_from([ASKED.encode().decode(), RAW.decode(), "", "{}"]),
        "request": st.sampled_from(["R-AAAAAAAA", "x", 1]),
        "grant": st.sampled_from(["G-AAAAAAAA", "x", None]),
        "standing": st.booleans() | JSON,
        "approver": JSON,
        "by": JSON,
        "reason": JSON,
        "session": st.sampled_from(["S-AAAAAAAA", "x"]),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), BODIES), max_size=8))
def test_the_fold_is_total(events: list[tuple[str, dict[str, object]]]) -> None:
    """Any event changes the book as the table says or not at all; a nonce makes at most one grant."""
    book = Book()
    for seq, (kind, body) in enumerate(events):
        before = dict(book.requests), dict(book.grants)
        try:
            book.apply(Event(seq, NOW, "boot", kind, body))
        except (InvalidValue, WrongState):
            assert (book.requests, book.grants) == before
    assert len(book.grants) <= 1
