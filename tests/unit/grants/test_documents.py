"""The documents: exact JSON, and nothing else is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import makers
import pytest

from jitsudo import strictjson
from jitsudo.errors import InvalidValue
from jitsudo.grants.envelope import Namespace
from jitsudo.grants.model import (
    MAX_APPROVALS,
    MAX_REQUEST_BYTES,
    Grant,
    HostRef,
    KeyRef,
    Subject,
    digest,
    grant_id,
    new_nonce,
    new_session_id,
    parse_approval,
    parse_grant,
    parse_request,
    parse_revocation,
    request_id,
)
from jitsudo.types import Duration, Person, Reason, Uid, UserName

ASKED = makers.sealed_request()
REQUEST = makers.request().payload()
APPROVAL = makers.approval(ASKED).payload()
GRANT = makers.granted().payload()
REVOCATION = makers.revocation(digest(GRANT)).payload()
PARSERS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "request": (REQUEST, parse_request),
    "approval": (APPROVAL, parse_approval),
    "grant": (GRANT, parse_grant),
    "revocation": (REVOCATION, parse_revocation),
}
FIELDS = [(kind, name) for kind, (payload, _) in PARSERS.items() for name in json.loads(payload)]
EVERY_TYPE: list[object] = [None, True, False, 0, -1, 2**53, "", "x", [], [1], {}, {"x": 1}, ["root", "root"]]
FINE = {  # what of that is of the right type after all
    ("request", "not_before"): [None, 0],
    ("request", "uses"): [None],
    ("request", "activate_by"): [0],
    ("request", "created"): [0],
    ("request", "reason"): ["x"],
    ("request", "role"): ["x"],
    ("approval", "max_uses"): [None],
    ("approval", "note"): ["", "x"],
    ("approval", "created"): [0],
    ("grant", "not_before"): [0],
    ("grant", "approvals"): [[]],
    ("revocation", "reason"): ["x"],
    ("revocation", "created"): [0],
}


def test_a_request_is_written_exactly_so() -> None:
    """The bytes that are signed, spelt out."""
    assert REQUEST.decode() == (
        '{"v":1,"nonce":"0123456789abcdef0123456789abcdef","role":"web-operator","role_digest":"sha256:' + "a" * 64 + '",'
        '"person":{"uid":1000,"name":"alice","login_uid":1000},'
        '"hosts":[{"id":"' + makers.HOST.fingerprint + '","name":"web-01"}],"run_as":["root"],"duration":1800,'
        '"activate_by":1795503600,"not_before":null,"uses":null,"reason":"INC-4711 nginx is down","created":1795499940}'
    )


def test_an_approval_a_grant_and_a_revocation_are_written_exactly_so() -> None:
    """The bytes that are signed, spelt out."""
    by = '{"uid":1001,"name":"bob","login_uid":1001}'
    assert APPROVAL.decode() == (
        '{"v":1,"request":"' + digest(REQUEST) + '","approver":' + by + ',"max_duration":1800,"max_uses":null,"note":"",'
        '"created":1795499990}'
    )
    assert list(json.loads(GRANT)) == ["v", "request", "approvals", "not_before", "not_after", "host"]
    assert json.loads(GRANT)["request"] == ASKED.as_json()
    assert REVOCATION.decode() == (
        '{"v":1,"grant":"' + digest(GRANT) + '","by":' + by + ',"reason":"done with it","created":1795500000}'
    )


@pytest.mark.parametrize("kind", PARSERS)
def test_every_document_is_read_as_it_was_written(kind: str) -> None:
    """The round trip."""
    payload, parse = PARSERS[kind]
    assert parse(payload).payload() == payload


def test_unusual_but_right_values_are_read() -> None:
    """Everything optional present, text beyond ASCII, a login uid that is unset, a key as approver, no approval."""
    asked = makers.request(
        not_before=makers.NOW, uses=3, reason=Reason('né "\\ 日本 \U0001f600'), person=makers.person(1, "é", None)
    )
    assert parse_request(asked.payload()) == asked
    given = makers.approval(ASKED, KeyRef(makers.OTHER_HOST.fingerprint), max_uses=1, note="for once")
    assert parse_approval(given.payload()) == given
    self_service = Grant(ASKED, (), 0, 1, makers.HOST.fingerprint)
    assert parse_grant(self_service.payload()) == self_service


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_that_is_missing_is_named(kind: str, name: str) -> None:
    """Nothing has a default."""
    payload, parse = PARSERS[kind]
    value = json.loads(payload)
    del value[name]
    with pytest.raises(InvalidValue, match=f"{kind}: the field '{name}' is missing"):
        parse(strictjson.encode(value))


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_of_another_type_or_out_of_range_is_named(kind: str, name: str) -> None:
    """A Boolean is no integer, null is not nothing."""
    payload, parse = PARSERS[kind]
    for wrong in EVERY_TYPE:
        raw = strictjson.encode({**json.loads(payload), name: wrong})
        if any(wrong is fine or (type(wrong), wrong) == (type(fine), fine) for fine in FINE.get((kind, name), [])):
            assert parse(raw)
        else:
            with pytest.raises(InvalidValue, match=f"^{kind}: {name}: "):
                parse(raw)


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_that_is_there_twice_is_refused(kind: str, name: str) -> None:
    """Neither the first nor the last one wins."""
    payload, parse = PARSERS[kind]
    twice = b"{" + strictjson.encode({name: json.loads(payload)[name]})[1:-1] + b"," + payload[1:]
    with pytest.raises(InvalidValue, match="twice"):
        parse(twice)


@pytest.mark.parametrize("kind", PARSERS)
def test_unknown_fields_other_orders_and_white_space_are_refused(kind: str) -> None:
    """What a person saw is what was signed."""
    payload, parse = PARSERS[kind]
    value = json.loads(payload)
    for raw in (
        strictjson.encode({**value, "x": 1}),
        strictjson.encode(dict(reversed(value.items()))),
        json.dumps(value).encode(),
        payload + b" ",
        payload[:-1],
        strictjson.encode([value]),
        strictjson.encode({}),
    ):
        with pytest.raises(InvalidValue):
            parse(raw)


@pytest.mark.parametrize("kind", PARSERS)
def test_no_document_is_read_as_another(kind: str) -> None:
    """Their fields alone tell them apart, before any namespace does."""
    for other, (payload, _) in PARSERS.items():
        if other != kind:
            with pytest.raises(InvalidValue):
                PARSERS[kind][1](payload)


PERSONS: dict[str, object] = {
    "no object": 1000,
    "no name": {"uid": 1, "login_uid": 1},
    "no login uid": {"uid": 1, "name": "a"},
    "an unknown field": {"uid": 1, "name": "a", "login_uid": 1, "gid": 1},
    "a uid as text": {"uid": "1", "name": "a", "login_uid": 1},
    "a uid of -1": {"uid": -1, "name": "a", "login_uid": 1},
    "a uid of 2^32 - 1": {"uid": 2**32 - 1, "name": "a", "login_uid": 1},
    "a login uid of 2^32 - 1": {"uid": 1, "name": "a", "login_uid": 2**32 - 1},
    "a Boolean as uid": {"uid": True, "name": "a", "login_uid": 1},
    "a name of digits": {"uid": 1, "name": "1000", "login_uid": 1},
    "a name with a newline": {"uid": 1, "name": "a\nb", "login_uid": 1},
    "a key beside a person": {"uid": 1, "name": "a", "login_uid": 1, "key": makers.HOST.fingerprint},
}
APPROVERS: dict[str, object] = {
    **PERSONS,
    "a key of another form": {"key": "MD5:00"},
    "a key that is no text": {"key": 1},
}


@pytest.mark.parametrize("wrong", PERSONS.values(), ids=PERSONS.keys())
def test_a_person_is_uid_name_and_login_uid(wrong: object) -> None:
    """All three, of their types."""
    with pytest.raises(InvalidValue, match="request: person: "):
        parse_request(strictjson.encode({**json.loads(REQUEST), "person": wrong}))


@pytest.mark.parametrize("wrong", APPROVERS.values(), ids=APPROVERS.keys())
def test_an_approver_is_a_person_or_a_key(wrong: object) -> None:
    """Not both, not something else."""
    with pytest.raises(InvalidValue, match="approval: approver: "):
        parse_approval(strictjson.encode({**json.loads(APPROVAL), "approver": wrong}))


HOSTS: dict[str, object] = {
    "no hosts": [],
    "a host that is no object": ["web-01"],
    "a host without a name": [{"id": makers.HOST.fingerprint}],
    "a host without an id": [{"name": "web-01"}],
    "an id that is no fingerprint": [{"id": "web-01", "name": "web-01"}],
    "an empty name": [{"id": makers.HOST.fingerprint, "name": ""}],
    "a name that is no text": [{"id": makers.HOST.fingerprint, "name": 1}],
    "a name with a space": [{"id": makers.HOST.fingerprint, "name": "web 01"}],
    "a name with an escape character": [{"id": makers.HOST.fingerprint, "name": "web\x1b[2J"}],
    "a name of 254 characters": [{"id": makers.HOST.fingerprint, "name": "x" * 254}],
    "a host twice": [{"id": makers.HOST.fingerprint, "name": "a"}] * 2,
    "a host under two names": [{"id": makers.HOST.fingerprint, "name": name} for name in ("a", "b")],
    "65 hosts": [{"id": makers.some_host(n), "name": f"h{n}"} for n in range(65)],
}


@pytest.mark.parametrize("wrong", HOSTS.values(), ids=HOSTS.keys())
def test_hosts_are_ids_with_names(wrong: object) -> None:
    """At least one."""
    with pytest.raises(InvalidValue, match="request: hosts: "):
        parse_request(strictjson.encode({**json.loads(REQUEST), "hosts": wrong}))


def test_the_longest_host_name_is_read() -> None:
    """253 characters (RFC 1123); 254 are refused above."""
    asked = makers.request(hosts=(HostRef(makers.HOST.fingerprint, "x" * 253),))
    assert parse_request(asked.payload()) == asked


NONCES = ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32, "\u0660" * 32, 0]


@pytest.mark.parametrize("wrong", NONCES)
def test_a_nonce_is_32_hexadecimal_digits(wrong: object) -> None:
    """Lower case, ASCII."""
    with pytest.raises(InvalidValue, match="request: nonce: "):
        parse_request(strictjson.encode({**json.loads(REQUEST), "nonce": wrong}))


@pytest.mark.parametrize(("uses", "right"), [(0, False), (1, True), (1_000_000, True), (1_000_001, False)])
def test_uses_have_a_range(uses: int, right: bool) -> None:
    """N and N + 1 at both ends."""
    raw = strictjson.encode({**json.loads(REQUEST), "uses": uses})
    if right:
        assert parse_request(raw).uses == uses
    else:
        with pytest.raises(InvalidValue, match="request: uses: "):
            parse_request(raw)


def test_times_end_with_the_year_9999() -> None:
    """N and N + 1."""
    assert makers.request(created=253_402_300_799).payload()
    with pytest.raises(InvalidValue, match="request: created: "):
        makers.request(created=253_402_300_800).payload()


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    """An empty one too."""
    for end in (makers.NOW - 1, makers.NOW):
        with pytest.raises(InvalidValue, match="ends before it begins"):
            Grant(ASKED, (), makers.NOW, end, makers.HOST.fingerprint).payload()


def test_a_grant_embeds_envelopes_and_at_most_16_approvals() -> None:
    """Their shape is checked with the grant's."""
    value = json.loads(GRANT)
    given = value["approvals"][0]
    assert parse_grant(strictjson.encode({**value, "approvals": [given] * MAX_APPROVALS}))
    broken: dict[str, tuple[str, object]] = {
        "too many": ("approvals", [given] * (MAX_APPROVALS + 1)),
        "no envelope": ("approvals", ["x"]),
        "no object": ("request", "x"),
        "no signature": ("request", {**value["request"], "signatures": []}),
        "keys of the envelope in another order": ("request", dict(reversed(value["request"].items()))),
    }
    for name, wrong in broken.values():
        with pytest.raises(InvalidValue):
            parse_grant(strictjson.encode({**value, name: wrong}))


def test_nothing_is_written_that_could_not_be_read() -> None:
    """What is out of range or too long fails before it is signed."""
    with pytest.raises(InvalidValue, match="request: hosts"):
        makers.request(hosts=()).payload()
    with pytest.raises(InvalidValue, match="approval: note"):
        makers.approval(ASKED, note="a\nb").payload()
    long_names = tuple(HostRef(makers.some_host(n), f"{n:02}" + "é" * 240) for n in range(64))
    with pytest.raises(InvalidValue, match=f"at most {MAX_REQUEST_BYTES}"):
        makers.request(hosts=long_names).payload()


def test_the_size_limit_is_exact() -> None:
    """8 KiB are read, a byte more is not."""
    hosts = [HostRef(makers.some_host(n), f"{n:02}") for n in range(64)]
    room = MAX_REQUEST_BYTES - len(makers.request(hosts=tuple(hosts)).payload())
    for n in range(64):
        more = min(room, 250)
        hosts[n] = HostRef(makers.some_host(n), f"{n:02}" + "x" * more)
        room -= more
    payload = makers.request(hosts=tuple(hosts)).payload()
    assert (len(payload), room) == (MAX_REQUEST_BYTES, 0)
    assert parse_request(payload).payload() == payload
    hosts[63] = HostRef(hosts[63].id, hosts[63].name + "x")
    with pytest.raises(InvalidValue, match="too long"):
        makers.request(hosts=tuple(hosts)).payload()
    with pytest.raises(InvalidValue, match="too long"):
        parse_request(payload + b" ")


def test_ids_are_the_beginning_of_the_hash() -> None:
    """`R-`, `G-` and 8 base32 characters; the whole hash where documents name each other."""
    assert digest(b"x") == "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert request_id(b"x") == "R-FVYRMQVX"
    assert grant_id(b"x") == "G-FVYRMQVX"


def test_session_ids_and_nonces_take_exactly_their_entropy() -> None:
    """The caller draws it; too little is refused."""
    assert new_session_id(b"\0\1\2\3\4") == "S-AAAQEAYE"
    assert new_nonce(bytes(range(16))) == "000102030405060708090a0b0c0d0e0f"
    for size in (0, 4, 6):
        with pytest.raises(InvalidValue):
            new_session_id(b"\0" * size)
    for size in (0, 15, 17):
        with pytest.raises(InvalidValue):
            new_nonce(b"\0" * size)


def test_a_subject_is_a_person_without_groups() -> None:
    """Groups are looked up when they matter."""
    alice = Person(Uid(1), UserName("a"), None, frozenset({"web"}))
    assert Subject.of(alice) == Subject(Uid(1), UserName("a"), None)


def test_the_namespaces_are_those_of_the_specification() -> None:
    """They are signed: changing one would orphan every document."""
    assert [n.value for n in Namespace] == [
        "jitsudo-request-v1", "jitsudo-approval-v1", "jitsudo-grant-v1", "jitsudo-revocation-v1",
        "jitsudo-break-glass-v1", "jitsudo-checkpoint-v1",
    ]
    assert Duration(1800) == 1800
