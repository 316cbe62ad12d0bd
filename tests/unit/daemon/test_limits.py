"""Limits: what counts, for whom, across restarts, and what a refusal says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from jitsudo.daemon.limits import HOUR, KEPT, MAX_NAMES, Counts
from jitsudo.errors import InvalidValue
from jitsudo.host.ledger import Entry, Ledger
from jitsudo.policy.model import Limits
from jitsudo.policy.verdict import Deny, LimitTerms
from jitsudo.types import GrantId, Moment, Uid

ALICE, BOB = Uid(1000), Uid(1001)
GRANT, OTHER = GrantId("G-AAAAAAAA"), GrantId("G-BBBBBBBB")
NOON = 1_795_521_600  # 2026-11-24 12:00:00 UTC
ROLE = "role web-operator"


def at(wall: int) -> Moment:
    return Moment(wall, float(wall))


def terms(name: str = ROLE, **limits: int) -> tuple[LimitTerms, ...]:
    return (LimitTerms(name, Limits(**limits)),)


def allowed(session: int, *names: str, uid: int = ALICE, grant: str = GRANT) -> Entry:
    body = {"uid": uid, "grant": grant, "session": f"S-{session}", "limits": list(names or (ROLE,))}
    return Entry("command.allowed", body)


def ended(session: int) -> Entry:
    return Entry("session.ended", {"session": f"S-{session}", "grant": GRANT, "outcome": "exited", "exit_status": 0})


def counted(*events: tuple[int, Entry]) -> Counts:
    counts = Counts()
    for time, entry in events:
        counts.apply(time, entry)
    return counts


def refusal(counts: Counts, what: tuple[LimitTerms, ...], wall: int = NOON, uid: Uid = ALICE, grant: GrantId = GRANT) -> Deny:
    found = counts.refusal(what, uid, grant, at(wall))
    assert found is not None
    return found


def test_nothing_used_is_no_refusal() -> None:
    """A limit of one admits the first."""
    assert Counts().refusal(terms(uses=1, concurrent=1, per_hour=1), ALICE, GRANT, at(NOON)) is None


def test_uses_are_counted_for_each_grant() -> None:
    """The last use is admitted, the next is not; another grant of the same role begins anew."""
    counts = counted((NOON, allowed(1)), (NOON, ended(1)))
    assert counts.refusal(terms(uses=2), ALICE, GRANT, at(NOON)) is None
    counts.apply(NOON, allowed(2))
    found = refusal(counts, terms(uses=2))
    assert ("limit", f"role web-operator allows 2 times under one grant, which {GRANT} has had") == (found.code, found.message)
    assert found.hints == ("ask for a new grant",)
    assert counts.refusal(terms(uses=2), ALICE, OTHER, at(NOON)) is None


def test_a_limit_of_a_guardrail_is_counted_apart_from_the_roles() -> None:
    """Only commands on which the guardrail fired count for it."""
    counts = counted((NOON, allowed(1)), (NOON, allowed(2, ROLE, "guardrail few-restarts")))
    assert counts.refusal(terms("guardrail few-restarts", uses=2), ALICE, GRANT, at(NOON)) is None
    by_guardrail, by_role = refusal(counts, terms("guardrail few-restarts", uses=1)), refusal(counts, terms(uses=2))
    assert (by_guardrail.role, by_guardrail.guardrail) == (None, "few-restarts")
    assert (by_role.role, by_role.guardrail) == ("web-operator", None)


def test_the_first_limit_that_is_reached_refuses() -> None:
    """All limits of an allow bind, in whatever order they stand."""
    counts = counted((NOON, allowed(1, ROLE, "guardrail g")))
    both = (*terms(uses=5), *terms("guardrail g", uses=1))
    assert refusal(counts, both).message == "guardrail g allows once under one grant, which G-AAAAAAAA has had"
    assert "guardrail g" in refusal(counts, both[::-1]).message


def test_concurrent_is_for_the_person_whatever_the_grant() -> None:
    """Two grants of one role do not double it; the end of a session makes room; another person is not concerned."""
    counts = counted((NOON, allowed(1)), (NOON, allowed(2, grant=OTHER)))
    found = refusal(counts, terms(concurrent=2))
    assert found.message == "role web-operator allows 2 commands at once, as many as you have running now"
    assert found.hints == ("wait until one has ended",)
    assert counts.refusal(terms(concurrent=2), BOB, GRANT, at(NOON)) is None
    counts.apply(NOON, ended(1))
    assert counts.refusal(terms(concurrent=2), ALICE, GRANT, at(NOON)) is None
    assert "allows one command at once" in refusal(counts, terms(concurrent=1)).message


def test_a_session_that_ends_twice_makes_room_once() -> None:
    """The record may hold a second end; nobody gains by it."""
    counts = counted((NOON, allowed(1)), (NOON, allowed(2)), (NOON, ended(1)), (NOON, ended(1)))
    refusal(counts, terms(concurrent=1))


def test_an_hour_is_over_at_the_very_second() -> None:
    """A command counts for 3600 seconds, and the refusal says when the next is possible."""
    counts = counted((NOON, allowed(1)), (NOON + 100, allowed(2)))
    found = refusal(counts, terms(per_hour=2), NOON + 200)
    assert found.message == "role web-operator allows 2 times an hour, and you have had that"
    assert found.hints == ("the next is possible at 13:00:00 UTC, in 57 min",)
    assert refusal(counts, terms(per_hour=2), NOON + HOUR - 1).hints == ("the next is possible at 13:00:00 UTC, in 1 s",)
    assert counts.refusal(terms(per_hour=2), ALICE, GRANT, at(NOON + HOUR)) is None


def test_the_next_is_possible_when_enough_have_left_the_hour() -> None:
    """With more in the hour than the limit (it was lowered), the first to leave does not make room."""
    counts = counted(*((NOON + 60 * n, allowed(n)) for n in range(4)))
    assert refusal(counts, terms(per_hour=2), NOON + 200).hints == ("the next is possible at 13:02:00 UTC, in 59 min",)


def test_per_hour_is_for_the_person_whatever_the_grant() -> None:
    """A new grant does not begin a new hour."""
    counts = counted((NOON, allowed(1)))
    refusal(counts, terms(per_hour=1), grant=OTHER)
    assert counts.refusal(terms(per_hour=1), BOB, GRANT, at(NOON)) is None


def test_a_clock_that_goes_back_frees_nobody() -> None:
    """What lies in the future still counts; once the clock is accepted, it counts as of then and for an hour at most."""
    counts = counted((NOON, allowed(1)), (NOON + 500, allowed(2)))
    refusal(counts, terms(per_hour=1), NOON - 86_400)
    counts.apply(NOON - 86_400, Entry("clock.accepted", {}))
    refusal(counts, terms(per_hour=2), NOON - 86_400 + HOUR - 1)
    assert counts.refusal(terms(per_hour=1), ALICE, GRANT, at(NOON - 86_400 + HOUR)) is None


def test_accepting_a_clock_that_went_forward_changes_nothing() -> None:
    """What was counted keeps its time."""
    counts = counted((NOON, allowed(1)), (NOON + 10, Entry("clock.accepted", {})))
    refusal(counts, terms(per_hour=1), NOON + HOUR - 1)
    assert counts.refusal(terms(per_hour=1), ALICE, GRANT, at(NOON + HOUR)) is None


def test_what_is_long_past_is_not_kept() -> None:
    """Memory does not grow with the age of the record."""
    counts = counted(*((NOON + n, allowed(n)) for n in range(100)), (NOON + KEPT + 99, allowed(100)))
    assert [list(times) for times in counts._times.values()] == [[NOON + KEPT + 99]]


@pytest.mark.parametrize("kind", ["grant.expired", "grant.returned", "grant.revoked", "grant.used_up"])
def test_the_end_of_a_grant_forgets_its_uses_and_nothing_else(kind: str) -> None:
    """No command is allowed under it any more; hours and running sessions are the person's."""
    counts = counted((NOON, allowed(1)), (NOON, Entry(kind, {"grant": GRANT})))
    assert counts._uses == {}
    refusal(counts, terms(concurrent=1))
    refusal(counts, terms(per_hour=1))


def test_an_allow_without_limits_counts_for_none() -> None:
    """Root's own commands, and those of roles without limits; records of versions that knew no limits."""
    none = Entry("command.allowed", {"uid": 0, "grant": None, "session": None, "limits": []})
    old = Entry("command.allowed", {"uid": ALICE, "grant": GRANT, "session": "S-1"})
    counts = counted((NOON, none), (NOON, old))
    assert counts.refusal(terms(uses=1, concurrent=1, per_hour=1), ALICE, GRANT, at(NOON)) is None


def test_a_name_counts_once_for_a_command() -> None:
    """However often the event names it."""
    counts = counted((NOON, allowed(1, ROLE, ROLE)))
    assert counts.refusal(terms(uses=2, concurrent=2, per_hour=2), ALICE, GRANT, at(NOON)) is None


MALFORMED = {
    "limits that are no list": {"limits": "role x"},
    "a name that is no text": {"limits": [1]},
    "too many names": {"limits": [f"guardrail {n}" for n in range(MAX_NAMES + 1)]},
    "no person": {"uid": None},
    "no session": {"session": None},
    "the session of another command": {"session": "S-1"},
    "no grant": {"grant": None},
}


@pytest.mark.parametrize("wrong", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_event_is_refused_and_changes_nothing(wrong: dict[str, object]) -> None:
    """The ledger that holds it is damaged; what was counted before stands."""
    counts = counted((NOON, allowed(1)))
    good = allowed(2)
    with pytest.raises(InvalidValue):
        counts.apply(NOON, Entry(good.type, {**good.body, **wrong}))
    for what in (terms(uses=2), terms(concurrent=2), terms(per_hour=2)):
        assert counts.refusal(what, ALICE, GRANT, at(NOON)) is None


async def append(ledger: Ledger, events: Iterable[tuple[int, Entry]]) -> None:
    for time, entry in events:
        await ledger.append(time, "boot", [entry])


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What the ledger adds up to is what was counted live: uses, running sessions, the hour."""
    events = [(NOON, allowed(1)), (NOON + 1, allowed(2)), (NOON + 2, ended(1)), (NOON + 3, allowed(3, uid=BOB, grant=OTHER))]

    async def write() -> None:
        ledger = Ledger(tmp_path / "ledger.db")
        list(ledger.load())
        await append(ledger, events)
        ledger.close()

    asyncio.run(write())
    ledger = Ledger(tmp_path / "ledger.db")
    again = counted(*((row.time, Entry(row.type, row.content())) for row in ledger.load()))
    ledger.close()
    assert counted(*events) == again
    refusal(again, terms(uses=2))
    refusal(again, terms(concurrent=1))
    assert again.refusal(terms(concurrent=2), ALICE, GRANT, at(NOON + 3)) is None
    refusal(again, terms(per_hour=1), NOON + 3, BOB)
