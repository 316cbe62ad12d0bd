"""Verification: every step refuses, with its number, and says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import makers
import pytest
from makers import ALICE, BOB, BOB_ADM, CAROL, DAVE, HOST, NOW, OTHER_HOST

from jitsudo import strictjson
from jitsudo.crypto import HostKey
from jitsudo.errors import DocumentRefused
from jitsudo.grants.envelope import Envelope, Kind, Namespace, Signature
from jitsudo.grants.issue import build_grant
from jitsudo.grants.model import Approval, Grant, HostRef, KeyRef, Subject, digest, grant_id, parse_grant
from jitsudo.grants.verify import (
    Context,
    RoleTerms,
    SignerIdentity,
    verify_approval,
    verify_grant,
    verify_request,
    verify_revocation,
)
from jitsudo.types import Digest, Duration, Moment, RoleName, UserName

ASKED = makers.sealed_request()
FINE = makers.granted()
END = FINE.not_after


def verified(grant: Grant | Envelope | bytes, context: Context | None = None) -> Any:
    sealed = makers.sealed_grant(grant) if isinstance(grant, Grant) else grant
    return verify_grant(sealed.encode() if isinstance(sealed, Envelope) else sealed, context or makers.context())


def refused(step: int, grant: Grant | Envelope | bytes, context: Context | None = None, says: str = "") -> None:
    with pytest.raises(DocumentRefused) as caught:
        verified(grant, context)
    assert (caught.value.step, says in caught.value.sentence) == (step, True), caught.value.sentence


def test_a_right_grant_is_verified() -> None:
    """All that a decision needs comes out."""
    result = verified(FINE)
    payload = FINE.payload()
    assert (result.id, result.digest, result.grant) == (grant_id(payload), digest(payload), FINE)
    assert (result.request, result.approvals) == (makers.request(), (makers.approval(ASKED),))
    assert (result.role.name, result.uses_left) == ("web-operator", None)


def test_at_issue_and_load_nobody_uses_it_yet() -> None:
    """Without a subject, the person in the request is the one whom the role must admit."""
    asked: list[Subject] = []

    def admits(person: Subject) -> str | None:
        asked.append(person)
        return None

    assert verified(FINE, makers.context(makers.role(admits=admits), subject=None))
    assert asked == [ALICE]


# Steps 1 to 3: the bytes


def broken(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(makers.sealed_grant(FINE).encode())
    change(value)
    return strictjson.encode(value)


STEP_1 = {
    "nothing": b"",
    "no JSON": b"\x00",
    "no signatures": broken(lambda v: v.update(signatures=[])),
    "an unknown key": broken(lambda v: v.update(x=1)),
    "white space": makers.sealed_grant(FINE).encode() + b"\n",
    "17 signatures": broken(lambda v: v.update(signatures=v["signatures"] * 17)),
    "a payload of 64 KiB and a byte": Envelope(b"x" * 65_537, (Signature(Kind.HOST, "x"),)).encode(),
    "two megabytes": b"{" * 2_000_000,
}


@pytest.mark.parametrize("raw", STEP_1.values(), ids=STEP_1.keys())
def test_step_1_the_envelope_has_one_shape(raw: bytes) -> None:
    """Before anything else is looked at."""
    refused(1, raw)


@pytest.mark.parametrize("namespace", [n for n in Namespace if n is not Namespace.GRANT])
def test_step_2_a_signature_for_another_type_of_document_is_refused(namespace: Namespace) -> None:
    """By this host's own key, over the very bytes."""
    refused(2, makers.sealed(FINE.payload(), namespace), says="another type")


def test_step_2_a_signature_that_is_none_is_refused() -> None:
    """`alg: none` has no spelling here."""
    refused(2, Envelope(FINE.payload(), (Signature(Kind.HOST, ""),)))


def test_step_3_signatures_must_be_over_the_exact_bytes_by_known_keys() -> None:
    """Every one of them."""
    payload, good = FINE.payload(), HOST.signature(Namespace.GRANT, FINE.payload())
    other = replace(FINE, not_after=FINE.not_after - 1).payload()
    stranger = HostKey.generate().signature(Namespace.GRANT, payload)
    refused(3, Envelope(other, (good,)), says="not valid")
    refused(3, Envelope(payload, (stranger,)), says="not valid")
    refused(3, Envelope(payload, (good, stranger)), says="not valid")


def test_step_3_one_signature_twice_is_refused() -> None:
    """A key speaks once (TUF implementations counted one key twice: CVE-2020-6174)."""
    refused(3, makers.sealed_grant(FINE, HOST, HOST), says="twice")


def test_step_3_another_known_host_cannot_sign_for_this_one() -> None:
    """It may sign besides."""
    refused(3, makers.sealed_grant(FINE, OTHER_HOST), says="this host")
    assert verified(makers.sealed_grant(FINE, OTHER_HOST, HOST))


def test_step_3_a_signature_is_of_the_kind_that_it_claims() -> None:
    """A person's key does not pass for a host's."""

    def as_person(*_: object) -> SignerIdentity:
        return SignerIdentity(Kind.SSH, HOST.fingerprint)

    refused(3, FINE, makers.context(check_signature=as_person), says="another kind")


def test_step_3_ssh_signatures_are_known_and_not_supported() -> None:
    """The format has them from the first; this version says so."""

    def as_ssh(payload: bytes, namespace: Namespace) -> Envelope:
        return Envelope(payload, (Signature(Kind.SSH, HOST.sign(namespace, payload)),))

    by_key = makers.approval(ASKED, KeyRef(OTHER_HOST.fingerprint)).payload()
    refused(3, replace(FINE, approvals=(as_ssh(by_key, Namespace.APPROVAL),)), says="ssh approvals are not supported")
    refused(3, as_ssh(FINE.payload(), Namespace.GRANT), says="ssh grants are not supported")


# Step 4: the documents inside


def test_step_4_a_signed_document_is_parsed_strictly() -> None:
    """This host's signature does not make it one."""
    value = json.loads(FINE.payload())
    for wrong in ({**value, "x": 1}, {**value, "v": 2}, {**value, "not_after": True}, {}, {**value, "host": None}):
        refused(4, makers.sealed(strictjson.encode(wrong), Namespace.GRANT))
    refused(4, makers.sealed(FINE.payload() + b" ", Namespace.GRANT), says="canonical")


def test_the_documents_inside_are_verified_as_the_grant_is() -> None:
    """Steps 1 to 4, each for the request and for every approval."""
    approval = FINE.approvals[0]
    for name, inner, namespace in (("request", ASKED, Namespace.REQUEST), ("approvals", approval, Namespace.APPROVAL)):

        def inside(envelope: Envelope, name: str = name) -> Grant:
            return replace(FINE, **{name: envelope if name == "request" else (envelope,)})

        stranger = HostKey.generate()
        refused(2, inside(makers.sealed(inner.payload, Namespace.GRANT)))
        refused(3, inside(makers.sealed(inner.payload, namespace, stranger)))
        refused(3, inside(makers.sealed(inner.payload, namespace, OTHER_HOST)), says="this host")
        refused(3, inside(makers.sealed(inner.payload, namespace, HOST, HOST)), says="twice")
        refused(3, inside(Envelope(inner.payload[:-1], inner.signatures)))
        refused(4, inside(makers.sealed(inner.payload[:-1], namespace)))


def test_step_4_a_host_cannot_vouch_for_a_key() -> None:
    """It identifies persons; a key signs for itself."""
    given = makers.sealed_approval(ASKED, KeyRef(OTHER_HOST.fingerprint))
    refused(4, replace(FINE, approvals=(given,)), says="ssh approvals are not supported")


# Step 5: the host


def test_step_5_a_grant_of_host_b_on_host_a_is_refused() -> None:
    """Though host A knows the key of host B."""
    refused(5, replace(FINE, host=OTHER_HOST.fingerprint), says="another host")
    asked = makers.sealed(
        makers.request(hosts=(HostRef(OTHER_HOST.fingerprint, "b"),)).payload(), Namespace.REQUEST, HOST, OTHER_HOST
    )
    refused(5, makers.granted(asked=asked), says="other hosts")
    at_home = makers.sealed_grant(replace(FINE, host=OTHER_HOST.fingerprint), OTHER_HOST)
    refused(3, at_home)


def test_step_5_a_request_for_several_hosts_is_good_for_each() -> None:
    """The id counts, in any place."""
    hosts = (HostRef(OTHER_HOST.fingerprint, "b"), HostRef(HOST.fingerprint, "a"))
    assert verified(makers.granted(asked=makers.sealed_request(hosts=hosts)))


# Step 6: the person

IMPOSTORS = {
    "another uid": makers.person(1009, "alice", 1000),
    "another name": makers.person(1000, "alice2"),
    "another login uid": makers.person(1000, "alice", 1001),
    "no login uid": makers.person(1000, "alice", None),
    "a login uid of 0": makers.person(1000, "alice", 0),
    "somebody else": BOB,
    "root": makers.person(0, "root"),
}


@pytest.mark.parametrize("subject", IMPOSTORS.values(), ids=IMPOSTORS.keys())
def test_step_6_uid_name_and_login_uid_all_match(subject: Subject) -> None:
    """A renamed or re-created user, a su, a cron job: each is somebody else."""
    refused(6, FINE, makers.context(subject=subject))


def test_step_6_an_unset_login_uid_matches_only_itself() -> None:
    """It may ask and use."""
    nobody = makers.person(1000, "alice", None)
    grant = makers.granted(asked=makers.sealed_request(person=nobody))
    assert verified(grant, makers.context(subject=nobody))
    refused(6, grant, makers.context(subject=ALICE))


def test_step_6_a_standing_grant_matches_uid_and_name_only() -> None:
    """An agent's login uid is whatever started it."""
    agent = makers.person(990, "agent", None)
    asked = makers.sealed_request(person=agent)
    grant = build_grant(asked, [], Moment(NOW, 100.0), HOST.fingerprint)
    standing = makers.role(approvals=0, standing=True)
    for login in (None, 0, 990, 1000):
        assert verified(grant, makers.context(standing, subject=makers.person(990, "agent", login)))
    for impostor in (makers.person(991, "agent"), makers.person(990, "agent2")):
        refused(6, grant, makers.context(standing, subject=impostor))


def test_step_6_uid_0_never_asks() -> None:
    """Root needs no grant."""
    grant = makers.granted(asked=makers.sealed_request(person=makers.person(0, "root")))
    refused(6, grant, makers.context(subject=makers.person(0, "root")), says="uid 0")


# Step 7: the role


def test_step_7_the_role_exists_and_is_the_approved_one() -> None:
    """Widened or narrowed: both need a new request."""
    refused(7, FINE, makers.context(makers.role(name=RoleName("other"))), says="does not exist")
    refused(7, FINE, makers.context(roles=lambda _: makers.role(name=RoleName("other"))), says="does not exist")
    refused(7, FINE, makers.context(makers.role(digest=Digest("sha256:" + "b" * 64))), says="has changed")
    refused(7, FINE, makers.context(roles=lambda _: None, subject=makers.person(1000, "alice")), says="does not exist")


@pytest.mark.parametrize(("until", "step"), [(NOW - 1, 7), (NOW, 7), (NOW + 1, 9), (END - 1, 9), (END, None), (END + 1, None)])
def test_steps_7_and_9_a_role_ends_with_until(until: int, step: int | None) -> None:
    """No window reaches past it, and at that very second it is over."""
    context = makers.context(makers.role(until=until))
    if step is None:
        assert verified(FINE, context)
    else:
        refused(step, FINE, context)


def test_step_7_the_role_admits_the_person_now() -> None:
    """Its sentence is passed on."""
    terms = makers.role(admits=lambda p: f"{p.name} is not in the group web" if p.name == "alice" else None)
    refused(7, FINE, makers.context(terms), says="alice is not in the group web")


# Step 8: the threshold


@pytest.mark.parametrize(
    ("approvers", "needed", "enough"),
    [
        ((BOB,), 1, True),
        ((BOB,), 2, False),
        ((BOB, CAROL), 2, True),
        ((BOB, BOB), 2, False),
        ((BOB, BOB_ADM), 2, False),  # one person with two accounts
        ((BOB, BOB_ADM, CAROL), 2, True),
        ((DAVE,), 1, False),  # not entitled
        ((DAVE, BOB), 1, True),
        ((makers.person(1001, "bob", None),), 1, False),  # nobody
        ((makers.person(0, "root", 1001),), 1, False),
        ((makers.person(1001, "bob", 0),), 1, False),  # from a root shell
        ((ALICE,), 1, False),
        ((ALICE, BOB), 2, False),
        ((makers.person(1000, "bob", 1001),), 1, False),  # the requester's uid
        ((makers.person(1001, "bob", 1000),), 1, False),  # the requester's login uid, after su
        ((makers.person(1009, "alice"),), 1, False),  # the requester's name
        ((makers.person(3000, "alice-adm"),), 1, False),  # the requester's other account
        ((BOB, makers.person(1002, "carol", 1001)), 2, False),  # bob twice, once after su
    ],
)
def test_step_8_distinct_entitled_people_other_than_the_requester(
    approvers: tuple[Subject, ...], needed: int, enough: bool
) -> None:
    """People, not signatures, not accounts, not keys."""
    grant, context = makers.granted(*approvers), makers.context(makers.role(approvals=needed))
    if enough:
        assert verified(grant, context)
    else:
        refused(8, grant, context)


def test_step_8_what_counts_is_the_callers_to_say_and_never_more_than_approvals() -> None:
    """A count that says yes to everything cannot replace the threshold; one that says anything but True refuses."""
    generous = makers.role(approvals=2, count_approvers=lambda *_: (True, ""))
    refused(8, makers.granted(BOB), makers.context(generous), says="1 of 2")
    truthy: Any = 1
    refused(8, FINE, makers.context(makers.role(count_approvers=lambda *_: (truthy, ""))), says="not enough")


def test_step_8_the_count_sees_each_approval_once_and_never_the_requester() -> None:
    """One person with two keys is the count's to recognise: it gets the approvals with all that tells them apart."""
    seen: list[tuple[tuple[Approval, ...], Subject]] = []

    def count(approvals: tuple[Approval, ...], requester: Subject) -> tuple[bool, str]:
        seen.append((approvals, requester))
        return True, ""

    assert verified(makers.granted(ALICE, BOB, BOB, BOB_ADM), makers.context(makers.role(count_approvers=count)))
    assert [[a.approver for a in given] for given, _ in seen] == [[BOB, BOB_ADM]]
    assert seen[0][1] == ALICE


def test_step_8_self_service_needs_nobody() -> None:
    """`approvals: 0`, by the host's signature on the request."""
    grant = build_grant(ASKED, [], Moment(NOW, 100.0), HOST.fingerprint)
    assert verified(grant, makers.context(makers.role(approvals=0)))
    refused(8, grant, makers.context(makers.role(approvals=1)))
    refused(8, grant, makers.context(makers.role(approvals=1, standing=True)), says="cannot be both")
    refused(8, grant, makers.context(makers.role(approvals=-1, count_approvers=lambda *_: (True, ""))), says="threshold")


def test_step_8_an_approval_of_another_request_is_refused() -> None:
    """Even one too many, even of the same person for the same role."""
    other = makers.sealed_approval(makers.sealed_request(nonce="f" * 32), CAROL)
    refused(8, replace(FINE, approvals=(other,)), says="another request")
    refused(8, replace(FINE, approvals=(*FINE.approvals, other)), says="another request")


# Step 9: the duration and where the window lies


def windowed(asked: Envelope, begin: int, end: int, **narrowing: Any) -> Grant:
    return Grant(asked, (makers.sealed_approval(asked, **narrowing),), begin, end, HOST.fingerprint)


@pytest.mark.parametrize(("extra", "fine"), [(-1, True), (0, True), (1, False)])
def test_step_9_the_window_is_no_longer_than_anybody_said(extra: int, fine: bool) -> None:
    """The request, an approval, the role: to the second."""
    cases = [
        (windowed(ASKED, NOW, NOW + 1800 + extra), makers.role()),
        (windowed(ASKED, NOW, NOW + 900 + extra, max_duration=Duration(900)), makers.role()),
        (makers.granted(asked=makers.sealed_request(duration=Duration(1800 + extra))), makers.role(max_duration=1800)),
    ]
    for grant, terms in cases:
        if fine:
            assert verified(grant, makers.context(terms))
        else:
            refused(9, grant, makers.context(terms))


@pytest.mark.parametrize(
    ("begin", "fine"), [(NOW - 1, False), (NOW, True), (NOW + 1, True), (NOW + 59, True), (NOW + 60, True), (NOW + 61, False)]
)
def test_step_9_the_window_begins_where_the_request_allows(begin: int, fine: bool) -> None:
    """From `not_before` to `activate_by`, both included."""
    asked = makers.sealed_request(not_before=NOW, activate_by=NOW + 60)
    grant, context = windowed(asked, begin, begin + 10), makers.context(now=Moment(begin, 100.0))
    if fine:
        assert verified(grant, context)
    else:
        refused(9, grant, context)


@pytest.mark.parametrize(("begin", "fine"), [(NOW - 61, False), (NOW - 60, True)])
def test_step_9_no_window_begins_before_the_request_was_made(begin: int, fine: bool) -> None:
    """A request without `not_before` is no request for the past."""
    grant = windowed(ASKED, begin, begin + 100)
    if fine:
        assert verified(grant)
    else:
        refused(9, grant, says="before the request")


# Step 10: the clocks


@pytest.mark.parametrize(
    ("now", "fine"),
    [(0, False), (NOW - 1, False), (NOW, True), (NOW + 1, True), (END - 1, True), (END, False), (END + 1, False)],
)
def test_step_10_the_wall_clock(now: int, fine: bool) -> None:
    """Inside from the first second, and no more at the very second of the end."""
    context = makers.context(now=Moment(now, 100.0))
    if fine:
        assert verified(FINE, context)
    else:
        refused(10, FINE, context)


@pytest.mark.parametrize(
    ("loaded", "elapsed", "fine"),
    [
        (NOW, 0.0, True),
        (NOW, 1799.9, True),
        (NOW, 1800.0, False),
        (NOW, 1801.0, False),
        (NOW, -0.1, False),  # loaded in another boot
        (NOW, float("nan"), False),
        (NOW, float("inf"), False),
        (NOW + 1000, 799.0, True),
        (NOW + 1000, 800.0, False),
        (END, 0.0, False),
        (END + 1, 0.0, False),
    ],
)
def test_step_10_the_boot_clock(loaded: int, elapsed: float, fine: bool) -> None:
    """A wall clock that stands still or was set back makes no window longer; suspended time counts."""
    context = makers.context(now=Moment(NOW, 100.0 + elapsed), loaded_at=Moment(loaded, 100.0))
    if fine:
        assert verified(FINE, context)
    else:
        refused(10, FINE, context)


def test_step_10_a_window_that_begins_later_is_stored_and_not_used() -> None:
    """At issue and load that is no reason to refuse it."""
    grant = makers.granted(asked=makers.sealed_request(not_before=NOW + 60))
    assert verified(grant, makers.context(subject=None))
    refused(10, grant, makers.context(now=Moment(NOW + 59, 159.0)), says="begins in 1 s")
    assert verified(grant, makers.context(now=Moment(NOW + 60, 160.0)))
    refused(10, FINE, makers.context(subject=None, now=Moment(END, 100.0)), says="expired")


# Steps 11 and 12


def test_step_11_a_revoked_grant_is_refused() -> None:
    """By its digest; anything but False is a revocation."""
    mine = digest(FINE.payload())
    refused(11, FINE, makers.context(revoked=lambda name: name == mine), says="revoked")
    assert verified(FINE, makers.context(revoked=lambda name: name != mine))
    unsure: Any = None
    refused(11, FINE, makers.context(revoked=lambda _: unsure))


@pytest.mark.parametrize(("used", "left"), [(0, 2), (1, 1), (2, None), (3, None), (-1, None)])
def test_step_12_uses_are_counted(used: int, left: int | None) -> None:
    """The minimum of the request's and the approvals'."""
    asked = makers.sealed_request(uses=3)
    grant = windowed(asked, NOW, NOW + 100, max_uses=2)
    context = makers.context(uses=lambda name: used if name == digest(grant.payload()) else 99)
    if left is None:
        refused(12, grant, context, says="used up")
    else:
        assert verified(grant, context).uses_left == left


# Whatever raises


def raising(*_: object) -> Any:
    raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("step", "context"),
    [
        (3, makers.context(check_signature=raising)),
        (7, makers.context(roles=raising)),
        (7, makers.context(makers.role(admits=raising))),
        (8, makers.context(makers.role(count_approvers=raising))),
        (11, makers.context(revoked=raising)),
    ],
)
def test_a_callback_that_raises_refuses_at_its_step(step: int, context: Context) -> None:
    """What cannot be established is not so; the cause is kept, and not shown."""
    with pytest.raises(DocumentRefused) as caught:
        verified(FINE, context)
    assert (caught.value.step, "secret" in caught.value.sentence) == (step, False)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_count_of_uses_that_raises_refuses_at_its_step() -> None:
    """The last step too."""
    refused(12, windowed(makers.sealed_request(uses=1), NOW, NOW + 1), makers.context(uses=raising))


def test_a_callback_may_refuse_in_its_own_words() -> None:
    """A DocumentRefused passes as it is."""

    def no(*_: object) -> RoleTerms | None:
        raise DocumentRefused(7, "the policy is being replaced")

    refused(7, FINE, makers.context(roles=no), says="being replaced")


# Each document by itself, and every field of a grant


def test_each_document_can_be_verified_by_itself() -> None:
    """As it arrives, before it is recorded."""
    revocation = makers.revocation(digest(FINE.payload()))
    sealed = makers.sealed(revocation.payload(), Namespace.REVOCATION)
    assert verify_request(ASKED.encode(), HOST.fingerprint, makers.check_signature) == makers.request()
    approval = makers.sealed_approval(ASKED)
    assert verify_approval(approval.encode(), HOST.fingerprint, makers.check_signature) == makers.approval(ASKED)
    assert verify_revocation(sealed.encode(), HOST.fingerprint, makers.check_signature) == revocation
    for verify in (verify_request, verify_approval, verify_revocation):
        with pytest.raises(DocumentRefused) as caught:
            verify(makers.sealed_grant(FINE).encode(), HOST.fingerprint, makers.check_signature)
        assert caught.value.step == 2


ALTERED = {
    "v": 2,
    "request": ASKED.as_json() | {"payload": "e30="},
    "approvals": [],
    "not_before": NOW - 1,
    "not_after": END + 1,
    "host": OTHER_HOST.fingerprint,
}


@pytest.mark.parametrize("name", ALTERED)
def test_every_field_altered_is_refused(name: str) -> None:
    """Under the old signature at 3; and the host itself could not sign it either."""
    payload = strictjson.encode({**json.loads(FINE.payload()), name: ALTERED[name]})
    refused(3, Envelope(payload, makers.sealed_grant(FINE).signatures))
    with pytest.raises(DocumentRefused):
        verified(makers.sealed(payload, Namespace.GRANT))


def test_narrowing_what_was_approved_needs_its_own_signature() -> None:
    """Whoever carries documents can choose nothing."""
    shorter = replace(parse_grant(FINE.payload()), not_after=END - 1)
    refused(3, Envelope(shorter.payload(), makers.sealed_grant(FINE).signatures))


def test_run_as_and_uses_come_with_the_request() -> None:
    """The result carries what was asked for, as it was signed."""
    asked = makers.sealed_request(run_as=(UserName("postgres"), UserName("nginx")), uses=7)
    result = verified(makers.granted(asked=asked))
    assert (result.request.run_as, result.uses_left) == (("postgres", "nginx"), 7)
