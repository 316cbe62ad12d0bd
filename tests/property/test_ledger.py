"""The state is the fold of the ledger: whatever happened in whatever order, a restart ends where the daemon was."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jitsudo.crypto import HostKey
from jitsudo.daemon.identity import Identity
from jitsudo.daemon.people import People
from jitsudo.daemon.state import OPEN_STATES, DaemonState
from jitsudo.errors import InvalidValue, WrongState
from jitsudo.grants.envelope import Envelope, Namespace
from jitsudo.grants.issue import build_grant
from jitsudo.grants.lifecycle import State
from jitsudo.grants.model import Approval, HostRef, Request, Revocation, Subject, digest, grant_id, request_id
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.journal import Journal
from jitsudo.host.ledger import Entry
from jitsudo.host.redaction import Redactor
from jitsudo.policy.verdict import Host
from jitsudo.types import Digest, Duration, Moment, Person, Reason, RoleName, Uid, UserName

NOW = 1_795_500_000
KEY = HostKey.generate()
ALICE = Person(Uid(1000), UserName("alice"), Uid(1000))
BOB = Person(Uid(1001), UserName("bob"), Uid(1001))
CAROL = Person(Uid(1002), UserName("carol"), Uid(1002))
JOURNAL = Journal(Redactor(b"k" * 32))


def sealed(namespace: Namespace, payload: bytes) -> Envelope:
    return Envelope(payload, (KEY.signature(namespace, payload),))


def text(envelope: Envelope) -> str:
    return envelope.encode().decode("ascii")


class Story:
    """One request with all that can happen to it. `uses` None is without a limit; a standing one is never asked for."""

    def __init__(self, number: int, uses: int | None, standing: bool = False) -> None:
        request = Request(
            nonce=f"{number:032x}", role=RoleName("web"), role_digest=Digest("sha256:" + "a" * 64), person=Subject.of(ALICE),
            hosts=(HostRef(KEY.fingerprint, "h"),), run_as=(UserName("root"),), duration=Duration(1800),
            activate_by=NOW + 3600, not_before=None, uses=uses, reason=Reason("x"), created=NOW,
        )  # fmt: skip
        asked = sealed(Namespace.REQUEST, request.payload())
        rid = request_id(asked.payload)
        approvals = {
            person: sealed(
                Namespace.APPROVAL,
                Approval(digest(asked.payload), Subject.of(person), Duration(1800), None, "", NOW).payload(),
            )
            for person in (BOB, CAROL)
        }
        self.events: list[Callable[[], Entry]] = []
        add = self.events.append
        if not standing:
            add(lambda: JOURNAL.request_created(rid, ALICE, "web", "x", text(asked)))
            add(lambda: JOURNAL.request_denied(rid, BOB, "no"))
            add(lambda: JOURNAL.request_cancelled(rid, ALICE))
            add(lambda: JOURNAL.request_timed_out(rid))
            for person, envelope in approvals.items():
                add(lambda p=person, e=envelope: JOURNAL.approval_given(rid, p, p.name, text(e)))
        for given_by in ([], [BOB], [BOB, CAROL]):
            made = build_grant(asked, [approvals[p] for p in given_by], Moment(NOW, 1.0), KEY.fingerprint)
            grant = sealed(Namespace.GRANT, made.payload())
            gid, name = grant_id(grant.payload), digest(grant.payload)
            revocation = sealed(Namespace.REVOCATION, Revocation(name, Subject.of(BOB), Reason("x"), NOW).payload())
            self._grant(gid, text(grant), text(revocation), "" if standing else rid, standing)
            if standing:
                break

    def _grant(self, gid: str, grant: str, revocation: str, rid: str, standing: bool) -> None:
        subject, session = Subject.of(ALICE).as_json(), "S-" + gid[2:]
        self.events += [
            lambda: JOURNAL.grant_issued(gid, rid, subject, "web", (NOW, NOW + 1800), [], grant, standing),
            lambda: JOURNAL.grant_used(gid, session),
            lambda: JOURNAL.grant_used_up(gid),
            lambda: JOURNAL.grant_expired(gid),
            lambda: JOURNAL.grant_returned(gid, ALICE),
            lambda: JOURNAL.grant_revoked(gid, BOB, "x", revocation),
            lambda: JOURNAL.session_started(ALICE, session, gid, {"pid": 1}),
            lambda: JOURNAL.session_ended(session, gid, "exit status 0", 0),
        ]


EVENTS = [event for story in (Story(1, None), Story(2, 2), Story(3, None, standing=True)) for event in story.events]
# Beginnings that lead somewhere, since most random orders end at once.
ASKED, APPROVED = [0], [0, 4]
SEQUENCES = st.lists(
    st.one_of(st.integers(0, len(EVENTS) - 1).map(lambda n: [n]), st.sampled_from([ASKED, APPROVED, [0, 4, 14], [0, 6]])),
    max_size=25,
).map(lambda parts: [n for part in parts for n in part])


def opened(folder: Path) -> DaemonState:
    return DaemonState(folder, Identity(KEY, b"k" * 32), JOURNAL, People(SystemAccounts()), Host("h", {}))


def seen(state: DaemonState) -> tuple[Any, ...]:
    folded = state._folded
    return (folded.book.requests, folded.book.grants, folded.open_requests, folded.live_grants, folded.started)


def snapshot(state: DaemonState) -> tuple[Any, ...]:
    return tuple(part.copy() for part in seen(state))


def check_indexes(state: DaemonState) -> None:
    """What is kept beside the book says what the book says."""
    assert state._folded.open_requests == {r.id for r in state.book.requests.values() if r.state in OPEN_STATES}
    assert state._folded.live_grants == {g.id for g in state.book.grants.values() if g.state is State.ACTIVE}


@settings(max_examples=60, deadline=None)
@given(SEQUENCES)
def test_a_restart_ends_where_the_daemon_was(sequence: list[int]) -> None:
    """Fold of the ledger == live state; an event that is impossible changes nothing and is not on record."""

    async def run(folder: Path) -> None:
        state = opened(folder)
        recorded = 0
        for number in sequence:
            before = snapshot(state)
            try:
                await state.record(Moment(NOW, 1.0), EVENTS[number]())
            except (WrongState, InvalidValue):
                assert snapshot(state) == before
            else:
                recorded += 1
            check_indexes(state)
        assert state.ledger.size == recorded
        state.ledger.close()
        again = opened(folder)
        assert seen(again) == seen(state)
        assert again.take_damage() is None
        again.ledger.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@settings(max_examples=30, deadline=None)
@given(SEQUENCES, st.integers(0, 100), st.sampled_from(["time", "type", "body", "hash", "prev", "boot"]))
def test_any_altered_row_is_quarantined_and_nothing_of_it_believed(sequence: list[int], where: int, column: str) -> None:
    """No grant survives a ledger that was tampered with."""

    async def run(folder: Path) -> None:
        state = opened(folder)
        for number in [0, 4, *sequence]:
            try:
                await state.record(Moment(NOW, 1.0), EVENTS[number]())
            except (WrongState, InvalidValue):
                continue
        size, path = state.ledger.size, state.ledger.path
        state.ledger.close()
        tamper(path, column, 1 + where % size)
        again = opened(folder)
        damage = again.take_damage()
        assert damage is not None
        assert f"row {1 + where % size} " in damage
        assert not again.book.grants
        assert not again.book.requests
        assert list(folder.glob("ledger.db.damaged-*"))
        again.ledger.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


def tamper(path: Path, column: str, seq: int) -> None:
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER no_update")
    change = "time + 1" if column == "time" else f"'!' || {column}"
    connection.execute(f"UPDATE events SET {column} = {change} WHERE seq = ?", (seq,))  # noqa: S608
    connection.close()
