"""The daemon's state: the fold of the ledger, the policy in force, and the clock that can be believed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jitsudo.daemon.identity import Identity
from jitsudo.daemon.limits import Counts
from jitsudo.daemon.people import People
from jitsudo.errors import Denied, Failed, InvalidValue, LedgerDamaged, WrongState
from jitsudo.grants.lifecycle import Book, Event, GrantRecord, RequestRecord, State
from jitsudo.host.clock import CredibleClock, boot_id, read_clocks
from jitsudo.host.journal import Journal
from jitsudo.host.journalfeed import CURSOR
from jitsudo.host.ledger import Entry, Ledger, Row, quarantine
from jitsudo.host.policyfiles import LoadedPolicy
from jitsudo.policy.verdict import Host
from jitsudo.types import GrantId, Moment, RequestId, Uid

log = logging.getLogger("jitsudod")
LEDGER_FILE: Final = "ledger.db"
CREDIBLE_MARK: Final = "credible-time"
RECORD_SECONDS: Final = 5.0
REMEMBERED_SECONDS: Final = 30 * 86_400  # what ended is shown for that long
OPEN_STATES: Final = frozenset({State.REQUESTED, State.APPROVED})


@dataclass(slots=True)
class Folded:
    """What the ledger's rows add up to: requests and grants, those that are alive, and sessions that were started."""

    book: Book = field(default_factory=Book)
    open_requests: set[RequestId] = field(default_factory=set)
    live_grants: set[GrantId] = field(default_factory=set)
    revoked_standing: set[GrantId] = field(default_factory=set)
    started: dict[str, dict[str, object]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    decided: dict[RequestId, set[object]] = field(default_factory=dict)  # the uids of those who approved or denied
    needed: dict[RequestId, int] = field(default_factory=dict)  # approvals, where a request needs more than its role says

    def apply(self, seq: int, time: int, boot: str, entry: Entry) -> None:
        """Raises WrongState, InvalidValue; nothing has changed then."""
        self.book.apply(Event(seq, time, boot, entry.type, entry.body))
        self.counts.apply(time, entry)
        if entry.type == "request.created" and isinstance(needed := entry.body.get("approvals_needed"), int):
            self.needed[RequestId(entry.body["request"])] = needed
        if entry.type in ("approval.given", "request.denied"):
            self.decided.setdefault(RequestId(entry.body["request"]), set()).add(entry.body.get("uid"))
        if entry.type.startswith(("request.", "approval.", "grant.")):
            self._index(entry)
        elif entry.type == "session.started":
            self.started[str(entry.body["session"])] = dict(entry.body)
        elif entry.type == "session.continued":
            self.started[str(entry.body["session"])] |= {"grant": entry.body["grant"], "state": entry.body["state"]}
        elif entry.type == "session.ended":
            self.started.pop(str(entry.body["session"]), None)

    def forget(self, before: int, used: Collection[GrantId]) -> frozenset[str]:
        """See `Book.forget`."""
        gone = self.book.forget(before, used)
        for name in gone:
            if name.startswith(RequestId.prefix):
                self.needed.pop(RequestId(name), None)
                self.decided.pop(RequestId(name), None)
        return gone

    def _index(self, entry: Entry) -> None:
        request = self.book.requests.get(RequestId(entry.body["request"])) if entry.body.get("request") else None
        if request is not None:
            (self.open_requests.add if request.state in OPEN_STATES else self.open_requests.discard)(request.id)
        grant = self.book.grants.get(GrantId(entry.body["grant"])) if "grant" in entry.body else None
        if grant is not None:
            (self.live_grants.add if grant.state is State.ACTIVE else self.live_grants.discard)(grant.id)
            if grant.standing and grant.state is State.REVOKED:
                self.revoked_standing.add(grant.id)


class DaemonState:
    """Everything that decisions are made from. All changes go through `record`."""

    def __init__(self, folder: Path, identity: Identity, journal: Journal, people: People, host: Host) -> None:
        self.folder = folder
        self.identity = identity
        self.journal = journal
        self.people = people
        self.host = host
        self.policy: LoadedPolicy | None = None
        self.policy_problem: str | None = None
        self.boot = boot_id()
        self.loaded_at: dict[GrantId, Moment] = {}
        self._folded = Folded()
        self._waiting: set[asyncio.Future[None]] = set()
        self.ledger, self.clock = self._open()

    def _open(self) -> tuple[Ledger, CredibleClock]:
        """Open the ledger and fold it; a damaged one is put aside, and nothing that it said is believed."""
        path, now = self.folder / LEDGER_FILE, read_clocks()
        try:
            ledger = self._fold(Ledger(path))
        except LedgerDamaged as damage:
            aside = quarantine(path, now.wall)
            log.error("%s; it was put aside as %s: every grant has to be asked for again", damage.sentence, aside)
            self._damage: str | None = f"{damage.sentence}; put aside as {aside.name}"
            ledger = self._fold(Ledger(path))
        else:
            self._damage = None
        self.loaded_at = dict.fromkeys(self._folded.book.grants, now)
        return ledger, CredibleClock(ledger.marked(CREDIBLE_MARK), now)

    def _fold(self, ledger: Ledger) -> Ledger:
        folded = Folded()
        try:
            for row in ledger.load():
                self._apply_row(folded, row)
            if ledger.marked(CURSOR) > ledger.size:
                raise LedgerDamaged(ledger.size + 1, f"rows after {ledger.size} of the ledger are missing: journald got them")
        except (LedgerDamaged, Failed):
            ledger.close()
            raise
        self._folded = folded
        return ledger

    @staticmethod
    def _apply_row(folded: Folded, row: Row) -> None:
        try:
            folded.apply(row.seq, row.time, row.boot, Entry(row.type, row.content()))
        except (WrongState, InvalidValue, KeyError, ValueError) as error:
            raise LedgerDamaged(row.seq, f"row {row.seq} of the ledger ({row.type}) makes no sense: {error}") from None

    def take_damage(self) -> str | None:
        """What was wrong with the ledger at the last opening, once."""
        damage, self._damage = self._damage, None
        return damage

    def reopen(self) -> None:
        """After a failure to write: what was not durable is forgotten. Raises what opening raises."""
        failed = self.ledger
        failed.flush()
        self.ledger, self.clock = self._open()
        failed.close()
        failed.appended.set()  # whoever waits there looks for the new one

    # The clock.

    def now(self) -> Moment:
        """One reading of the clocks."""
        now = read_clocks()
        self.clock.observe(now)
        return now

    def trusted_now(self) -> Moment:
        """One reading of the clocks, for a decision. Raises Denied when the wall clock is behind."""
        now = self.now()
        self.clock.check(now)
        return now

    # The book.

    @property
    def book(self) -> Book:
        return self._folded.book

    @property
    def counts(self) -> Counts:
        """How often limits were used."""
        return self._folded.counts

    def approvals_needed(self, request: RequestId) -> int:
        """How many approvals a request needs at least, whatever its role says."""
        return self._folded.needed.get(request, 0)

    def has_decided(self, uid: Uid, request: RequestId) -> bool:
        """Whether this account approved or denied the request."""
        return uid in self._folded.decided.get(request, ())

    def live_grants(self) -> list[GrantRecord]:
        return [self.book.grants[key] for key in sorted(self._folded.live_grants)]

    def revoked_standing(self) -> list[GrantRecord]:
        """Grants of standing roles that somebody took away: they are not made anew."""
        return [self.book.grants[key] for key in sorted(self._folded.revoked_standing)]

    def open_requests(self) -> list[RequestRecord]:
        return [self.book.requests[key] for key in sorted(self._folded.open_requests)]

    def started_sessions(self) -> dict[str, dict[str, object]]:
        """Sessions that were started and not said to have ended, by id: what to adopt after a restart."""
        return dict(self._folded.started)

    def forget_old(self, now: Moment, used: Collection[GrantId]) -> None:
        """Let go of what ended long ago, but for the grants that are `used`; the ledger keeps it."""
        for name in self._folded.forget(now.wall - REMEMBERED_SECONDS, used):
            if name.startswith(GrantId.prefix):
                self.loaded_at.pop(GrantId(name), None)

    def require_policy(self) -> LoadedPolicy:
        """Raises Denied while no policy has ever been valid."""
        if self.policy is None:
            raise Denied(
                f"no policy is in force: {self.policy_problem or 'none was found'}",
                "an administrator repairs /etc/jitsudo/policy.d, then: jitsudo policy reload (as root)",
            )
        return self.policy

    @property
    def policy_digest(self) -> str | None:
        """The digest of the policy in force, if there is one."""
        return None if self.policy is None else self.policy.digest

    # The record.

    async def record(self, now: Moment, *entries: Entry) -> None:
        """In force at once, on record when this returns. Raises Failed if it cannot be recorded, WrongState if impossible."""
        await self.durable(self.begin(now, entries))

    @staticmethod
    async def durable(done: asyncio.Future[None]) -> None:
        """Wait for what `begin` began. Raises Failed; a disk that hangs is one that fails."""
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await done
        except TimeoutError:
            raise Failed(f"the record was not written within {RECORD_SECONDS:.0f} s", "is the disk hanging?") from None

    def begin(self, now: Moment, entries: Iterable[Entry]) -> asyncio.Future[None]:
        """As `record`, for those who have something else to do until the future is done."""
        if self.ledger.failure is not None:
            raise self.ledger.failure
        applied: list[Entry] = []
        try:
            for entry in entries:
                self._folded.apply(self.ledger.size + len(applied) + 1, now.wall, self.boot, entry)
                applied.append(entry)
                if entry.type == "grant.issued":
                    self.loaded_at[GrantId(entry.body["grant"])] = now
        finally:
            # Also where a later one is impossible: what is in force must be on record.
            done = self.ledger.append(now.wall, self.boot, applied, {CREDIBLE_MARK: self.clock.credible})
            self._wake()
        return done

    def note(self, now: Moment, *entries: Entry) -> None:
        """Record what nothing waits for; a failure shows in `ledger.failure`."""
        try:
            self.begin(now, entries)
        except Failed as error:
            log.error("not recorded: %s", error.sentence)

    # Waiting for change.

    async def change(self) -> None:
        """Returns after the next change of anything recorded."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
