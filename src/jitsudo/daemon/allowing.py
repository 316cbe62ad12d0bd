"""What follows a verdict of "allow": limits and record in one step, the scope, and a second look before the answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from jitsudo.daemon.asking import Asked
from jitsudo.daemon.connection import Descriptors
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.launching import launched, root_terms, terms_of
from jitsudo.daemon.passed import caller_terminal, check_same_file
from jitsudo.daemon.session import Session, new_session
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import Denied, Failed
from jitsudo.grants.lifecycle import State
from jitsudo.host import scopes
from jitsudo.host.ledger import Entry
from jitsudo.policy.verdict import Allow, Deny, HeldGrant
from jitsudo.types import Moment
from jitsudo.wire.framing import Json

log = logging.getLogger("jitsudod")


def prepared(asked: Asked, verdict: Allow, descriptors: Descriptors) -> Json:
    """What sudo is told, once the file that it found is seen to be the rule's. Blocks. Raises Denied, InvalidValue."""
    # Of a login shell, which the database names, the front end has no descriptor; of an editor's, the edit is what counts.
    if asked.invoked.mode in ("command", "shell"):
        check_same_file(verdict.path, asked.check.command, descriptors)
    return launched(asked, terms_of(verdict), descriptors.get("root"))


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that is prepared, and the token that will prove it."""

    session: Session
    token: str
    sessions: Sessions

    def drop(self) -> None:
        """Unless it was opened meanwhile."""
        self.sessions.drop(self.session)


class Allowing:
    """Carries an allow out."""

    def __init__(self, state: DaemonState, sessions: Sessions, gate: Gate) -> None:
        self._state = state
        self._sessions = sessions
        self._gate = gate

    async def root(self, asked: Asked, descriptors: Descriptors, now: Moment) -> Json:
        """Root outside a session: allowed, on record if that is possible at all."""
        path = asked.action.path or asked.check.argv[0]
        reply = await self._gate.run(
            asked.behind.person, lambda: launched(asked, root_terms(asked, path), descriptors.get("root"))
        )
        entry = self._state.journal.command_allowed(asked.facts, None, None, None, None, self._state.policy_digest)
        try:
            await self._state.record(now, entry)
        except Failed as error:
            # A full disk must not stop root's own cron jobs: root outside a session is allowed, daemon up or down.
            log.critical("not recorded (%s): root runs %s", error.sentence, asked.facts.path)
        return {"verdict": "allow", "session": None, "token": None, **reply}

    def prepare(self, asked: Asked, verdict: Allow, grant: HeldGrant, pid: int, now: Moment) -> Opening:
        """Begin with what takes longest, before the allow. Raises Failed."""
        session, token = self._new_session(asked, verdict, grant, pid, now)
        self._sessions.prepare(session, now)
        return Opening(session, token, self._sessions)

    async def allow(
        self,
        asked: Asked,
        verdict: Allow,
        grant: HeldGrant,
        pid: int,
        descriptors: Descriptors,
        reply: Json,
        opening: Opening | None,
    ) -> tuple[Session, Json] | Deny:
        """The session and the reply, which was prepared; Deny where a limit is reached. Raises Failed, Denied."""
        now = self._state.trusted_now()  # what was looked up may have taken its time
        if now.wall >= grant.not_after:
            raise Denied("the grant ended just now")
        session, token = (
            (opening.session, opening.token)
            if opening is not None
            else self._new_session(asked, verdict, grant, pid, now)
        )
        # From here to `begin`, in `open`, nothing is awaited: a limit is checked and counted in one step.
        full = self._state.counts.refusal(verdict.limits, asked.behind.person.uid, grant.id, now)
        if full is not None:
            session.close()
            return full
        session.terminal = caller_terminal(descriptors)
        entries = self._entries(asked, verdict, grant, session)
        await self.open(session, entries, now, uses_up=grant.uses_left == 1)
        return session, {"verdict": "allow", "session": session.id, "token": token, **reply}

    def _new_session(
        self, asked: Asked, verdict: Allow, grant: HeldGrant, pid: int, now: Moment
    ) -> tuple[Session, str]:
        return new_session(
            person=asked.behind.person,
            grant=grant.id,
            role=grant.role,
            run_as=asked.target.account.name,
            run_as_uid=asked.target.account.uid,
            command=self._state.journal.command_line(asked.facts.argv, asked.secrets),
            pid=pid,
            now=now,
            not_after=grant.not_after,
            on_expiry=verdict.on_expiry,
            parent=asked.behind.session.id if asked.behind.session is not None else None,
            edits=verdict.files if verdict.check else (),
            longest=self.renewable(grant),
            seen_at=asked.seen_at,
        )

    def renewable(self, grant: HeldGrant) -> int:
        """For how many seconds another grant of the role could cover the session after this one."""
        terms = self._state.require_policy().policy.roles[grant.role].request
        return 0 if terms is None else int(terms.max_duration)

    def _entries(self, asked: Asked, verdict: Allow, grant: HeldGrant, session: Session) -> list[Entry]:
        journal, facts = self._state.journal, asked.facts
        entries = [journal.guardrail_fired(facts, name, grant.role, "log") for name in verdict.guardrails]
        if verdict.uses_limited or grant.uses_left is not None:
            entries.append(journal.grant_used(grant.id, session.id))
        policy, limits = self._state.policy_digest, tuple(terms.name for terms in verdict.limits)
        entries.append(journal.command_allowed(facts, grant.id, grant.role, verdict.rule, session.id, policy, limits))
        if grant.uses_left == 1:
            entries.append(journal.grant_used_up(grant.id))
        entries.append(journal.session_started(session.person, session.id, grant.id, session.facts()))
        return entries

    async def open(self, session: Session, entries: list[Entry], now: Moment, *, uses_up: bool) -> None:
        """Scope and record, side by side; then look again whether everything still holds. Raises Failed, Denied."""
        try:
            recorded = self._state.begin(now, entries)
            await self._sessions.open(session, now)
            await self._state.durable(recorded)
            where = session.login_scope
            if not (scopes.is_in(where, session.pid) if where else scopes.is_inside(session.id, session.pid)):
                raise Failed(f"{session.service or 'sudo'} is not in its scope", "systemctl status jitsudo.slice")
            still = State.USED_UP if uses_up else State.ACTIVE
            if self._state.book.grants[session.grant].state is not still or session.ending is not None:
                raise Denied("the grant ended just now")
        except BaseException as error:  # cancelled, too: nothing is allowed, and the record says so; raised again
            self._sessions.abandon(session, f"not allowed after all: {error}")
            raise
