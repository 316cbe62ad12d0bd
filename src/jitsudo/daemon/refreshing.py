"""sudo -v, -k and -K: tickets for what is run later."""

from __future__ import annotations

from jitsudo.daemon.caller import Behind, identify_caller
from jitsudo.daemon.challenging import NO_ROLE, AccountChallenge, Challenging, Question
from jitsudo.daemon.judging import Judging
from jitsudo.daemon.refusing import Refusing
from jitsudo.daemon.server import Context
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Tickets, place_of
from jitsudo.elevation.options import parse_settings
from jitsudo.errors import JitsudoError
from jitsudo.host.journal import CommandFacts
from jitsudo.policy.model import DEFAULT_WITHIN, AgentProof, Authentication, Never, Within
from jitsudo.policy.verdict import Challenge
from jitsudo.types import Moment, UserName
from jitsudo.wire.calls import Validate
from jitsudo.wire.framing import Json


class Refreshing:
    """Asks for a proof ahead of time, and forgets proofs."""

    def __init__(
        self,
        state: DaemonState,
        sessions: Sessions,
        tickets: Tickets,
        judging: Judging,
        challenging: Challenging,
        refusing: Refusing,
    ) -> None:
        self._state = state
        self._sessions = sessions
        self._tickets = tickets
        self._judging = judging
        self._challenging = challenging
        self._refusing = refusing

    async def question(self, context: Context, call: Validate) -> Question:
        """What `sudo -v` asks. Raises Denied, InvalidValue, Failed."""
        behind = await identify_caller(context.peer, call.invocation, self._state.people, self._sessions)
        return Question(
            behind=behind,
            options=parse_settings(call.invocation.settings, ()),
            target=UserName("root"),
            user_env=call.invocation.user_env,
            place=place_of(behind.person.uid, context.peer.pid),
            facts=CommandFacts(behind.person, "root", ("sudo", "-v"), None, "?", behind.caller.tty),
            purpose="refresh the ticket (sudo -v)",
            descriptors=context.descriptors.move(),
            go_on=lambda context, question: self._refresh(context, question, call.account),
        )

    async def _refresh(self, context: Context, question: Question, account: str | None) -> Json:
        now, behind = self._state.now(), question.behind
        if behind.is_root_outside:
            return {"verdict": "allow"}
        if account is not None:
            return self._refusing.account(question.facts, account, now)
        if behind.caller.uid == 0:
            return {"verdict": "allow"}
        wanted = await self._strictest(behind)
        challenge: Challenge | AccountChallenge = AccountChallenge(NO_ROLE)
        if not isinstance(wanted, Never) and not self._is_proven(question, wanted, now):
            challenge = Challenge("authenticate", "prove who you are", NO_ROLE, wanted)
        elif question.account_is_good:
            return {"verdict": "allow"}
        return self._challenging.ask(context.connection, question, challenge, now)

    def _is_proven(self, question: Question, wanted: Within | AgentProof, now: Moment) -> bool:
        if question.proofs.password or question.proofs.agent:
            return True
        age = self._tickets.age(question.place, "agent" if isinstance(wanted, AgentProof) else "password", now)
        within = wanted.seconds if isinstance(wanted, Within) else DEFAULT_WITHIN
        return age is not None and age < within and not question.options.ignore_ticket

    async def _strictest(self, behind: Behind) -> Authentication:
        """What the roles that the person holds now ask for; never, if none of them asks. Without a grant: the default."""
        try:
            held, _ = await self._judging.grants(behind.person, behind.session, self._state.trusted_now())
            roles = self._state.require_policy().policy.roles
        except JitsudoError:
            return Within(DEFAULT_WITHIN)
        asked = [roles[grant.role].authenticate for grant in held]
        spans = [one for one in asked if isinstance(one, Within)]
        if spans or not asked:
            return min(spans, key=lambda one: one.seconds, default=Within(DEFAULT_WITHIN))
        return next((one for one in asked if isinstance(one, AgentProof)), asked[0])

    def forget(self, behind: Behind, pid: int, *, everywhere: bool) -> None:
        """`sudo -k`: what was proven here; `sudo -K`: wherever. Raises Failed."""
        if everywhere:
            self._tickets.remove(behind.person.uid)
        else:
            self._tickets.invalidate(place_of(behind.person.uid, pid))
