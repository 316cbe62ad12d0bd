"""The life of requests and grants: the table, and the fold over it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import makers
import pytest

from jitsudo.errors import Ambiguous, InvalidValue, NotFound, WrongState
from jitsudo.grants.envelope import Envelope, Namespace
from jitsudo.grants.issue import build_grant, narrowed
from jitsudo.grants.lifecycle import TRANSITIONS, Book, Event, State
from jitsudo.grants.model import Grant, digest, grant_id, request_id
from jitsudo.types import Duration, Moment

ASKED = makers.sealed_request()
RID = request_id(ASKED.payload)
APPROVED = makers.sealed_approval(ASKED)
GRANT = makers.sealed_grant(build_grant(ASKED, [APPROVED], Moment(makers.NOW, 1.0), makers.HOST.fingerprint))
GID = grant_id(GRANT.payload)
REVOKED = makers.sealed(makers.revocation(digest(GRANT.payload)).payload(), Namespace.REVOCATION)


def text(envelope: Envelope) -> str:
    return envelope.encode().decode()


BODIES: dict[str, dict[str, object]] = {
    "request.created": {"envelope": text(ASKED)},
    "approval.given": {"request": RID, "envelope": text(APPROVED), "approver": "bob"},
    "request.denied": {"request": RID, "by": "bob", "reason": "not today"},
    "request.cancelled": {"request": RID, "by": {"uid": 1000, "name": "alice", "login_uid": 1000}},
    "request.timed_out": {"request": RID},
    "grant.issued": {"envelope": text(GRANT), "standing": False},
    "grant.used": {"grant": GID, "session": "S-AAAAAAAA"},
    "grant.used_up": {"grant": GID},
    "grant.expired": {"grant": GID},
    "grant.returned": {"grant": GID, "by": "alice"},
    "grant.revoked": {"grant": GID, "by": "bob", "reason": "done with it", "envelope": text(REVOKED)},
}
# How to come to each state.
ROADS: dict[State | None, list[str]] = {
    None: [],
    State.REQUESTED: ["request.created"],
    State.APPROVED: ["request.created", "approval.given"],
    State.DENIED: ["request.created", "request.denied"],
    State.CANCELLED: ["request.created", "request.cancelled"],
    State.TIMED_OUT: ["request.created", "request.timed_out"],
    State.ACTIVE: ["request.created", "approval.given", "grant.issued"],
    State.EXPIRED: ["request.created", "approval.given", "grant.issued", "grant.expired"],
    State.RETURNED: ["request.created", "approval.given", "grant.issued", "grant.returned"],
    State.REVOKED: ["request.created", "approval.given", "grant.issued", "grant.revoked"],
    State.USED_UP: ["request.created", "approval.given", "grant.issued", "grant.used_up"],
}


def event(kind: str, body: Mapping[str, object] | None = None, **changes: object) -> Event:
    return Event(1, makers.NOW, "boot", kind, {**(BODIES.get(kind, {}) if body is None else body), **changes})


def book_of(*events: str | Event) -> Book:
    book = Book()
    for item in events:
        book.apply(event(item) if isinstance(item, str) else item)
    return book


def contents(book: Book) -> Any:
    return copy.deepcopy((book.requests, book.grants, book._nonces))


def refuses(book: Book, wrong: Event, error: type[Exception], match: str | None = None) -> None:
    """The event is refused, and the book is as it was."""
    before = contents(book)
    with pytest.raises(error, match=match):
        book.apply(wrong)
    assert contents(book) == before


@pytest.mark.parametrize("state", ROADS)
@pytest.mark.parametrize("kind", BODIES)
def test_the_table_says_what_can_happen_in_every_state(state: State | None, kind: str) -> None:
    """Every state with every event: what is not in the table changes nothing."""
    book = book_of(*ROADS[state])
    wanted = TRANSITIONS.get((state, kind))
    if (state, kind) == (None, "grant.issued"):
        wanted = None  # this one is for standing grants alone
    again = event(kind, approver="carol") if kind == "approval.given" else event(kind)
    if wanted is None:
        refuses(book, again, WrongState)
    else:
        if (state, kind) == (State.REQUESTED, "grant.issued"):
            again = event(kind, envelope=text(makers.sealed_grant(Grant(ASKED, (), 1, 2, makers.HOST.fingerprint))))
        book.apply(again)
        assert book.requests[RID].state is wanted
        assert {g.state for g in book.grants.values()} <= {wanted}


def test_every_state_is_reached_and_every_event_is_in_the_table() -> None:
    """Nothing is declared and never used."""
    assert set(TRANSITIONS.values()) == set(State) == {s for s in ROADS if s}
    assert {kind for _, kind in TRANSITIONS} == set(BODIES)


def test_other_events_are_ignored() -> None:
    """The ledger holds much more than requests and grants."""
    book = book_of("request.created", Event(2, 0, "b", "approval.refused", {}), Event(3, 0, "b", "heartbeat", {"x": 1}))
    assert list(book.requests) == [RID]


def test_a_record_holds_the_documents() -> None:
    """From asking to the end."""
    book = book_of("request.created", "approval.given", "grant.issued", "grant.used", "grant.used", "grant.returned")
    asked, grant = book.requests[RID], book.grants[GID]
    assert (asked.request, asked.envelope, asked.created) == (makers.request(), ASKED, makers.NOW)
    assert asked.approvals == ((makers.approval(ASKED), APPROVED, "bob"),)
    assert (asked.grant, asked.state, asked.outcome) == (GID, State.RETURNED, "returned by alice")
    assert (grant.request, grant.request_id, grant.envelope) == (makers.request(), RID, GRANT)
    assert (grant.digest, grant.standing, grant.issued) == (digest(GRANT.payload), False, makers.NOW)
    assert (grant.uses, grant.uses_allowed, grant.outcome) == (2, None, "returned by alice")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    {
        "request.denied": "denied by bob: not today",
        "request.cancelled": "cancelled by alice",
        "request.timed_out": "timed out: nobody decided in time",
        "grant.issued": f"granted: {GID}",
        "grant.returned": "returned by alice",
        "grant.revoked": "revoked by bob: done with it",
        "grant.used_up": "used up",
        "grant.expired": "expired",
    }.items(),
)
def test_the_requester_learns_the_outcome(kind: str, sentence: str) -> None:
    """A sentence for each way in which it can go."""
    state = TRANSITIONS.get((State.REQUESTED, kind)) or TRANSITIONS[State.ACTIVE, kind]
    assert book_of(*ROADS[state]).requests[RID].outcome == sentence


def test_a_nonce_is_accepted_once() -> None:
    """Another request with the nonce of the first, whatever became of that one."""
    again = makers.sealed_request(created=makers.NOW)
    book = book_of("request.created", "request.denied")
    refuses(book, event("request.created", envelope=text(again)), WrongState, "nonce")


def test_a_standing_grant_has_no_request_and_takes_its_nonce() -> None:
    """The host made it; it cannot be made twice from one nonce, nor requested after."""
    standing = event("grant.issued", standing=True)
    book = book_of(standing, "grant.used", "grant.expired")
    record = book.grants[GID]
    assert (record.standing, record.request_id, record.uses, record.state) == (True, None, 1, State.EXPIRED)
    assert book.requests == {}
    refuses(book, standing, WrongState, "already")
    refuses(book, event("request.created"), WrongState, "nonce")
    other = Grant(ASKED, (APPROVED,), 1, 2, makers.HOST.fingerprint)
    refuses(book, event("grant.issued", envelope=text(makers.sealed_grant(other)), standing=True), WrongState, "nonce")


def test_standing_and_asked_for_exclude_each_other() -> None:
    """Neither passes for the other."""
    refuses(book_of(), event("grant.issued"), WrongState, "nobody asked")
    refuses(book_of("request.created"), event("grant.issued", standing=True), WrongState, "somebody asked")


def test_an_approver_counts_once() -> None:
    """The second yes of the same person is refused, under any account that the policy knows as theirs."""
    second = makers.sealed_approval(ASKED, makers.BOB_ADM)
    refuses(book_of("request.created", "approval.given"), event("approval.given", envelope=text(second)), WrongState, "bob")


def test_an_approval_of_another_request_is_refused() -> None:
    """The digest in it is what was signed."""
    other = makers.sealed_approval(makers.sealed_request(created=1))
    refuses(book_of("request.created"), event("approval.given", envelope=text(other)), WrongState, "another request")


def test_a_grant_embeds_what_is_on_record() -> None:
    """Neither another envelope of the request nor an approval that nobody recorded."""
    resigned = makers.sealed(ASKED.payload, Namespace.REQUEST, makers.OTHER_HOST)
    unknown = makers.sealed_approval(ASKED, makers.CAROL)
    for asked, approval in ((resigned, APPROVED), (ASKED, unknown)):
        grant = makers.sealed_grant(Grant(asked, (approval,), 1, 2, makers.HOST.fingerprint))
        wrong = event("grant.issued", envelope=text(grant))
        refuses(book_of("request.created", "approval.given"), wrong, WrongState, "on record")


def test_a_second_grant_for_a_request_is_refused() -> None:
    """One nonce, one grant."""
    second = makers.sealed_grant(Grant(ASKED, (APPROVED,), 1, 2, makers.HOST.fingerprint))
    book = book_of("request.created", "approval.given", "grant.issued")
    refuses(book, event("grant.issued", envelope=text(second)), WrongState, "is active")
    refuses(book, event("grant.issued"), WrongState, "already")


def test_a_revocation_of_another_grant_is_refused() -> None:
    """The digest in it is what was signed."""
    other = makers.sealed(makers.revocation(digest(b"x")).payload(), Namespace.REVOCATION)
    book = book_of("request.created", "approval.given", "grant.issued")
    refuses(book, event("grant.revoked", envelope=text(other)), WrongState, "another grant")


def test_uses_are_counted_to_the_limit() -> None:
    """The minimum of the request's and every approval's."""
    asked = makers.sealed_request(uses=3)
    given = makers.sealed_approval(asked, max_uses=2)
    grant = makers.sealed_grant(build_grant(asked, [given], Moment(makers.NOW, 1.0), makers.HOST.fingerprint))
    gid = grant_id(grant.payload)
    book = book_of(
        event("request.created", envelope=text(asked)),
        event("approval.given", request=request_id(asked.payload), envelope=text(given)),
        event("grant.issued", envelope=text(grant)),
        event("grant.used", grant=gid),
        event("grant.used", grant=gid),
    )
    assert (book.grants[gid].uses_allowed, book.grants[gid].uses) == (2, 2)
    refuses(book, event("grant.used", grant=gid), WrongState, "no uses left")


MALFORMED = {
    "no envelope": event("request.created", {}),
    "an envelope that is no text": event("request.created", envelope=1),
    "an envelope with a lone surrogate": event("request.created", envelope="\udc80"),
    "an envelope that is none": event("request.created", envelope="{}"),
    "an approval for a request": event("request.created", envelope=text(APPROVED)),
    "no request": event("request.timed_out", {}),
    "a request that is no id": event("request.timed_out", request="R-1"),
    "no approver": event("approval.given", approver=None),
    "nobody who denied": event("request.denied", by=None),
    "a number that denied": event("request.denied", by=1000),
    "a person without a name that denied": event("request.denied", by={"uid": 1}),
    "no reason": event("request.denied", reason=None),
    "a standing that is a number": event("grant.issued", standing=1),
}


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_body_is_refused(wrong: Event) -> None:
    """With the ledger's own error, never a KeyError."""
    refuses(book_of("request.created"), wrong, InvalidValue)


def test_a_use_names_its_session() -> None:
    """A session's id, and nothing else."""
    book = book_of("request.created", "approval.given", "grant.issued")
    refuses(book, event("grant.used", session="x"), InvalidValue, "S-X")


@pytest.mark.parametrize("prefix", [RID, RID[:5], RID[2:], RID[2:4].lower(), RID.lower()])
def test_a_request_is_found_by_any_unambiguous_prefix(prefix: str) -> None:
    """With or without `R-`, in any case."""
    assert book_of("request.created").find_request(prefix).id == RID


def test_a_grant_is_found_by_its_own_letter() -> None:
    """Not by a request's."""
    book = book_of("request.created", "approval.given", "grant.issued")
    assert book.find_grant(GID[:6]).id == GID
    with pytest.raises(NotFound):
        book.find_grant(RID)


@pytest.mark.parametrize("prefix", ["", "R-", "r-", "R-1", "G-", RID + "A", "-", "R-R-"])
def test_what_fits_nothing_is_not_found(prefix: str) -> None:
    """An empty prefix fits nothing, even where there is only one."""
    with pytest.raises(NotFound):
        book_of("request.created").find_request(prefix)


def test_an_ambiguous_prefix_names_what_it_fits() -> None:
    """Among those that this person may see."""
    book, seen = Book(), dict[str, list[str]]()
    for n in range(33):  # more than there are first characters
        envelope = makers.sealed_request(nonce=f"{n:032x}")
        book.apply(event("request.created", envelope=text(envelope)))
        rid = request_id(envelope.payload)
        seen.setdefault(rid[2], []).append(rid)
    first, ids = next((c, ids) for c, ids in seen.items() if len(ids) > 1)
    with pytest.raises(Ambiguous, match=ids[0]):
        book.find_request(first)
    assert book.find_request(first, lambda record: record.id == ids[1]).id == ids[1]
    with pytest.raises(NotFound):
        book.find_request(ids[0], lambda _: False)


def test_the_terms_are_the_minimum_of_all_that_was_narrowed() -> None:
    """Of the request and of every approval; no limit where nobody set one."""
    half = makers.approval(ASKED, max_duration=Duration(900), max_uses=None)
    once = makers.approval(ASKED, makers.CAROL, max_duration=Duration(3600), max_uses=5)
    assert narrowed(makers.request(), []).uses is None
    assert narrowed(makers.request(), [half, once]).duration == 900
    assert narrowed(makers.request(uses=9), [half, once]).uses == 5
    assert narrowed(makers.request(uses=2), [half, once]).uses == 2


@pytest.mark.parametrize(
    ("now", "not_before", "begins"),
    [
        (makers.NOW, None, makers.NOW),
        (makers.NOW, makers.NOW - 1, makers.NOW),
        (makers.NOW, makers.NOW + 60, makers.NOW + 60),
        (makers.NOW + 3600, None, makers.NOW + 3600),
    ],
)
def test_the_window_begins_now_or_when_it_was_asked_for(now: int, not_before: int | None, begins: int) -> None:
    """The host fixes the start, and the narrowed duration the end."""
    asked = makers.sealed_request(not_before=not_before)
    given = makers.sealed_approval(asked, max_duration=Duration(900))
    grant = build_grant(asked, [given], Moment(now, 1.0), makers.HOST.fingerprint)
    assert (grant.not_before, grant.not_after, grant.host) == (begins, begins + 900, makers.HOST.fingerprint)


def test_nothing_is_built_after_activate_by() -> None:
    """Not a second."""
    with pytest.raises(WrongState, match="in time"):
        build_grant(ASKED, [], Moment(makers.NOW + 3601, 1.0), makers.HOST.fingerprint)
    with pytest.raises(WrongState, match="in time"):
        build_grant(makers.sealed_request(not_before=makers.NOW + 3601), [], Moment(0, 1.0), makers.HOST.fingerprint)


LATER = makers.NOW + 100 * 86_400


@pytest.mark.parametrize("state", [s for s in ROADS if s is not None])
def test_what_ended_long_ago_is_forgotten_and_what_goes_on_is_not(state: State) -> None:
    """Ended requests and grants go, together; open and live ones stay; nothing goes before its time."""
    book = book_of(*ROADS[state])
    assert book.forget(makers.NOW) == frozenset()
    gone = book.forget(LATER)
    if state in (State.REQUESTED, State.APPROVED, State.ACTIVE):
        assert gone == frozenset()
        assert book.requests
    else:
        assert RID in gone
        assert not book.requests
        assert not book.grants
        refuses(book, event("request.created"), WrongState, "already")


def test_a_forgotten_id_is_not_given_again() -> None:
    """Otherwise the ledger would hold two documents of one id, and could not be read again."""
    book = book_of(*ROADS[State.EXPIRED])
    book.forget(LATER)
    book.requests.update(book_of(*ROADS[State.APPROVED]).requests)
    refuses(book, event("grant.issued"), WrongState, "already")


def test_a_grant_under_which_something_runs_is_not_forgotten() -> None:
    """Nor its request: whoever gives it back ends what runs."""
    book = book_of(*ROADS[State.EXPIRED])
    assert book.forget(LATER, used={GID}) == frozenset()
    assert book.forget(LATER) == {GID, RID}


def test_a_revoked_standing_grant_is_remembered() -> None:
    """A revocation stands until the role's meaning changes, however long that takes."""
    standing = makers.sealed_grant(build_grant(ASKED, [], Moment(makers.NOW, 1.0), makers.HOST.fingerprint))
    gid = grant_id(standing.payload)
    revoked = makers.sealed(makers.revocation(digest(standing.payload)).payload(), Namespace.REVOCATION)
    issued = event("grant.issued", {"envelope": text(standing), "standing": True})
    ended = event("grant.revoked", {"grant": gid, "by": "bob", "reason": "enough", "envelope": text(revoked)})
    assert book_of(issued, ended).forget(LATER) == frozenset()
    expired = event("grant.expired", {"grant": gid})
    assert book_of(issued, expired).forget(LATER) == {gid}
