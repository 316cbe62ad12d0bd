"""Admit: may this person come in through a PAM service, by a live grant of a role with `access`? On record, then answered.

Authentication by what was proven before holds in the place where it was proven, for su and its like, and for nobody who logs
in. A session lives in a scope, its own or the one that logind has made for the login, and ends as sudo's sessions do.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from jitsudo.daemon.allowing import Allowing
from jitsudo.daemon.entering import Entering, identify_entering
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.hints import with_state
from jitsudo.daemon.judging import Judging
from jitsudo.daemon.passed import caller_terminal
from jitsudo.daemon.rates import Rate
from jitsudo.daemon.refusing import denied
from jitsudo.daemon.server import Context
from jitsudo.daemon.session import new_session
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Tickets, place_of
from jitsudo.errors import Denied, Failed, JitsudoError
from jitsudo.host.journal import AccessFacts
from jitsudo.host.ledger import Entry
from jitsudo.host.peer import Peer
from jitsudo.host.source import Sources
from jitsudo.policy.admission import CALLED, Admitted, admit, service_named
from jitsudo.policy.model import DEFAULT_WITHIN, AgentProof, Within
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Deny, HeldGrant, Source
from jitsudo.types import Moment, Person, Uid, UserName
from jitsudo.wire.calls import Admit
from jitsudo.wire.framing import Json

log = logging.getLogger("jitsudod")


class Admitting:
    """Answers the PAM module."""

    def __init__(
        self,
        state: DaemonState,
        sessions: Sessions,
        *,
        judging: Judging,
        allowing: Allowing,
        tickets: Tickets,
        sources: Sources,
        gate: Gate,
    ) -> None:
        self._state = state
        self._sessions = sessions
        self._judging = judging
        self._allowing = allowing
        self._tickets = tickets
        self._sources = sources
        self._gate = gate
        self._rate = Rate(burst=100, seconds=10.0)

    async def answer(self, context: Context, call: Admit) -> Json:
        """The reply. Raises Denied, InvalidValue, NotFound, Failed, TimedOut: on record, too."""
        try:
            entering = await identify_entering(context.peer, call, self._state.people, self._sessions)
        except JitsudoError as error:
            await self._misunderstood(context.peer, call, error)
            raise
        if entering.is_root_outside:
            return await self._root(entering)
        try:
            return await self._judge(context, entering)
        except JitsudoError as error:
            self._note(entering.facts, Deny("error", error.sentence), error.code)
            raise

    async def _root(self, entering: Entering) -> Json:
        """Root outside a session comes in, but proves itself by other means than a ticket of ours."""
        if entering.call.phase == "authenticate":
            return self._deny(entering.facts, Deny("root", "root is not authenticated by jitsudo"))
        entry = self._state.journal.access_allowed(entering.facts, None, None, None, self._state.policy_digest)
        try:
            await self._state.record(self._state.now(), entry)  # whatever the clock: it is root who sets it right
        except Failed as error:
            # A full disk must not lock root out.
            log.critical("not recorded (%s): root comes in through %s", error.sentence, entering.call.service)
        return _allowed()

    async def _judge(self, context: Context, entering: Entering) -> Json:
        phase, now = entering.call.phase, self._state.trusted_now()
        if phase == "authenticate" and service_named(entering.call.service) not in CALLED:
            # Whoever is let in sits somewhere else than where anything was proven.
            return self._deny(entering.facts, Deny("error", "nobody logs in by what was proven elsewhere"), "authentication")
        held, verdict = await self._admitted(context, entering, now)
        if isinstance(verdict, Deny):
            return self._deny(entering.facts, verdict)
        grant = next(g for g in held if g.id == verdict.grant)
        full = self._state.counts.refusal(verdict.limits, entering.person.uid, grant.id, now)
        if full is not None:
            return self._deny(entering.facts, full)
        if phase == "session":
            return await self._open(context, entering, verdict, grant)
        if phase == "authenticate" and not self._is_proven(context.peer, entering, verdict, now):
            why = Deny("error", "who you are was not proven here, not lately", ("sudo -v",), role=verdict.role)
            return self._deny(entering.facts, why, "authentication")
        await self._state.record(now, self._entry(entering, verdict))
        return _allowed()

    async def _admitted(
        self, context: Context, entering: Entering, now: Moment
    ) -> tuple[Sequence[HeldGrant], Admitted | Deny]:
        held, refused = await self._judging.grants(entering.person, entering.session, now)
        policy = self._state.require_policy().policy
        by_source = any(policy.roles[grant.role].when.source for grant in held)
        source = await self._gate.run(entering.person, lambda: self._source(context.peer, entering)) if by_source else None
        verdict = admit(entering.entrance, policy, held, self._state.host, now, source or UNKNOWN_SOURCE)
        if isinstance(verdict, Deny):
            for fault in verdict.faults:
                log.error("evaluation: %s", fault)
            return held, with_state(verdict, entering.person, self._state, refused)
        return held, verdict

    def _source(self, peer: Peer, entering: Entering) -> Source:
        """Where the caller's login comes from or, at a login, who is at the door. Blocks."""
        is_inside = entering.session is not None or service_named(entering.call.service) in CALLED
        source = self._sources.find(peer.pid) if is_inside else self._sources.at_the_door(peer.pid)
        return source if peer.is_alive() else Source(None, "the calling process has ended")

    def _is_proven(self, peer: Peer, entering: Entering, verdict: Admitted, now: Moment) -> bool:
        """Whether the person gave the role's proof in this very place, lately; `never` asks for one all the same."""
        wanted = verdict.authenticate
        age = self._tickets.age(
            place_of(entering.person.uid, peer.pid), "agent" if isinstance(wanted, AgentProof) else "password", now
        )
        within = wanted.seconds if isinstance(wanted, Within) else DEFAULT_WITHIN
        return age is not None and 0 <= age <= within

    def _entry(self, entering: Entering, verdict: Admitted, session: str | None = None) -> Entry:
        return self._state.journal.access_allowed(
            entering.facts,
            verdict.grant,
            verdict.role,
            session,
            self._state.policy_digest,
            tuple(terms.name for terms in verdict.limits) if session is not None else (),
        )

    async def _open(self, context: Context, entering: Entering, verdict: Admitted, grant: HeldGrant) -> Json:
        now = self._state.trusted_now()
        if now.wall >= grant.not_after:
            raise Denied("the grant ended just now")
        service, target = entering.call.service, entering.target
        session, token = new_session(
            person=entering.person,
            grant=grant.id,
            role=grant.role,
            run_as=target.name,
            run_as_uid=target.uid,
            command=f"{service} {target.name}",
            pid=context.peer.pid,
            now=now,
            not_after=grant.not_after,
            on_expiry=verdict.on_expiry,
            parent=entering.session.id if entering.session is not None else None,
            longest=self._allowing.renewable(grant),
            service=service,
        )
        # From here to `begin`, in `open`, nothing is awaited: a limit is checked and counted in one step.
        full = self._state.counts.refusal(verdict.limits, entering.person.uid, grant.id, now)
        if full is not None:
            session.close()
            return self._deny(entering.facts, full)
        context.descriptors.name(entering.call.descriptors)
        session.terminal = caller_terminal(context.descriptors)
        journal = self._state.journal
        entries: list[Entry] = []
        if grant.uses_left is not None:
            entries.append(journal.grant_used(grant.id, session.id))
        entries.append(self._entry(entering, verdict, session.id))
        if grant.uses_left == 1:
            entries.append(journal.grant_used_up(grant.id))
        entries.append(journal.session_started(session.person, session.id, grant.id, session.facts()))
        await self._allowing.open(session, entries, now, uses_up=grant.uses_left == 1)
        return {**_allowed(), "session": session.id, "token": token}

    # Refusals.

    def _deny(self, facts: AccessFacts, verdict: Deny, code: str | None = None) -> Json:
        self._note(facts, verdict, code or verdict.code)
        return denied(code or verdict.code, verdict.message, verdict.hints)

    def _note(self, facts: AccessFacts, verdict: Deny, code: str) -> None:
        """On record; those of a person who is refused all the time are counted."""
        now = self._state.now()
        missed = self._rate.admit(facts.person.uid, now.boot)
        if missed is None:
            return
        message = verdict.message + (f" ({missed} refusals of theirs before this one were only counted)" if missed else "")
        entry = self._state.journal.access_denied(facts, code, message, verdict.role, self._state.policy_digest)
        self._state.note(now, entry)

    async def _misunderstood(self, peer: Peer, call: Admit, error: JitsudoError) -> None:
        """Whoever is refused before they are known is on record with what the kernel says of them."""
        uid, login_uid = Uid(peer.credentials.real_uid), peer.credentials.login_uid
        person = Person(uid, UserName(f"(uid {int(uid)})"), login_uid)
        with contextlib.suppress(JitsudoError):
            person = await self._state.people.ask(lambda accounts: accounts.person(uid, login_uid))
        facts = AccessFacts(person, call.phase, call.service, call.user, call.rhost, call.tty)
        self._note(facts, Deny("error", error.sentence), error.code)


def _allowed() -> Json:
    return {"verdict": "allow", "session": None, "token": None}
