"""What time brings: requests that lapse, grants that expire, sessions that have to end, the watchdog, the heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Final

import systemd.daemon

from jitsudo.daemon.approving import Approving
from jitsudo.daemon.background import Background
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.session import Session
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import JitsudoError
from jitsudo.grants.lifecycle import GrantRecord, State
from jitsudo.host.scopes import SystemManager
from jitsudo.types import Moment, SessionId

log = logging.getLogger("jitsudod")
LONGEST_SLEEP: Final = 1.0  # seconds; also how soon a clock that was set is noticed
SHORTEST_SLEEP: Final = 0.1  # however much happens; every time that something ends at is in whole seconds
GATHER_SECONDS: Final = 0.01  # after a change: whoever waits for it is answered first
HEARTBEAT_SECONDS: Final = 300.0
SYNC_SECONDS: Final = 30.0  # between questions whether the clock is synchronised


class Timers:
    """One loop, the daemon's own: as long as it turns, the daemon is alive to systemd's watchdog."""

    def __init__(
        self, state: DaemonState, granting: Granting, sessions: Sessions, approving: Approving, manager: SystemManager
    ) -> None:
        self._state = state
        self._granting = granting
        self._sessions = sessions
        self._approving = approving
        self._manager = manager
        self._heartbeat_due = 0.0
        self._sync_due = 0.0
        self._background = Background()
        self._looking: set[SessionId] = set()

    async def run(self) -> None:
        while True:
            now = self._state.now()
            try:
                await self._turn(now)
            except JitsudoError as error:
                log.error("%s", error.sentence)
            except Exception:  # whatever it is, what else time brings must go on: expiry above all
                log.exception("internal error in the timers")
            systemd.daemon.notify("WATCHDOG=1")
            await asyncio.sleep(SHORTEST_SLEEP)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._state.change(), self._until_next())
                await asyncio.sleep(GATHER_SECONDS)

    async def _turn(self, now: Moment) -> None:
        await self._mend()
        await self._look_at_clock(now)
        self._lapse(now)
        self._expire(now)
        self._end_what_was_taken_back()
        for session in self._sessions.due(now):
            self._end_or_go_on(session, now)
        self._sessions.reap_all()
        if now.boot >= self._heartbeat_due:
            self._heartbeat_due = now.boot + HEARTBEAT_SECONDS
            self._state.note(now, self._state.journal.heartbeat())
            self._state.forget_old(now, {session.grant for session in self._sessions.all()})

    async def _mend(self) -> None:
        """After a failure to write: try again, from what is durable."""
        if self._state.ledger.failure is not None:
            failure = self._state.ledger.failure
            await asyncio.sleep(LONGEST_SLEEP)
            self._state.reopen()
            self._state.note(self._state.now(), self._state.journal.daemon_degraded(failure.sentence))
            if (damage := self._state.take_damage()) is not None:
                self._state.note(self._state.now(), self._state.journal.ledger_quarantined(damage))
            log.warning("the ledger was opened again after a failure to write")

    def _end_what_was_taken_back(self) -> None:
        """Sessions of grants that are on record as revoked or returned, by somebody who then went away, or before a restart."""
        for session in self._sessions.all():
            grant = self._state.book.grants.get(session.grant)
            if grant is not None and grant.state in (State.REVOKED, State.RETURNED):
                self._sessions.end(session, f"grant {grant.id} was {grant.outcome}")

    def _end_or_go_on(self, session: Session, now: Moment) -> None:
        """The end of one grant never ends what another of the same person and role covers: the session goes on under that."""
        others = self._others(session, now)
        if not others:
            self._sessions.end(session, f"grant {session.grant} has expired")
        elif session.id not in self._looking:
            # Aside: the user database is asked, which may take longer than the watchdog bears.
            self._looking.add(session.id)
            self._background.start(self._end_unless_covered(session, others, now))

    def _others(self, session: Session, now: Moment) -> list[GrantRecord]:
        """The grants that may cover the session, the one that ends last first."""
        person, run_as, found = session.person, session.run_as, []
        for grant in self._state.live_grants():
            asked = grant.request
            same = (asked.person.uid, asked.role) == (person.uid, session.role)
            same = same and (session.is_login or run_as in asked.run_as)
            if same and session.longest > 0 and grant.grant.not_after > max(now.wall, session.not_after):
                found.append(grant)
        return sorted(found, key=lambda grant: -grant.grant.not_after)

    async def _end_unless_covered(self, session: Session, others: Sequence[GrantRecord], now: Moment) -> None:
        is_covered = False
        try:
            for grant in others:
                if await self._verifies(grant, now) and session.ending is None:
                    self._sessions.go_on_under(session, grant.id, grant.grant.not_after, now)
                    is_covered = True
                    return
        finally:
            self._looking.discard(session.id)
            if not is_covered:
                self._sessions.end(session, f"grant {session.grant} has expired")

    async def _verifies(self, grant: GrantRecord, now: Moment) -> bool:
        try:
            await self._granting.verify(grant, now)
        except JitsudoError:
            return False
        return self._state.book.grants[grant.id].state is State.ACTIVE

    async def _look_at_clock(self, now: Moment) -> None:
        if self._state.clock.is_far_ahead(now) and now.boot >= self._sync_due:
            self._sync_due = now.boot + SYNC_SECONDS
            if await self._manager.clock_is_synchronised():
                self._state.clock.observe(now, synchronised=True)

    def _lapse(self, now: Moment) -> None:
        for request in self._state.open_requests():
            if now.wall > request.request.activate_by:
                self._state.note(now, self._state.journal.request_timed_out(request.id))
                lapsed = self._state.book.requests[request.id]
                if lapsed.state is State.TIMED_OUT:  # not where it could not be recorded: that is tried again
                    self._approving.tell_requester(lapsed)

    def _expire(self, now: Moment) -> None:
        for grant in self._state.live_grants():
            loaded = self._state.loaded_at[grant.id]
            by_boot = now.boot - loaded.boot >= grant.grant.not_after - loaded.wall
            if now.wall >= grant.grant.not_after or by_boot:
                self._state.note(now, self._state.journal.grant_expired(grant.id))

    def _until_next(self) -> float:
        """Seconds until the next thing that time brings; what became due since the last turn is late already."""
        wall = time.time()  # to the fraction: everything ends as a second begins
        ends = [grant.grant.not_after for grant in self._state.live_grants()]
        session = self._sessions.next_end()
        if session is not None:
            ends.append(session)
        return max(0.01, min([LONGEST_SLEEP, *(end - wall for end in ends)]))
