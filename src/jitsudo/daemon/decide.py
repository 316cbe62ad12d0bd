"""The decide interface: what front ends ask, answered from grants, policy and guardrails, on record before it takes effect.

A Check reads: who, and what (asking) → what is established, and the verdict (judging) → proof or confirmation (challenging) →
limits, record, scope (allowing) → what sudo is told (launching).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from jitsudo.daemon.admitting import Admitting
from jitsudo.daemon.allowing import Allowing, prepared
from jitsudo.daemon.asking import Asked, Asking
from jitsudo.daemon.caller import identify_caller
from jitsudo.daemon.challenging import CONNECTION_SECONDS, AccountChallenge, Challenging, Question
from jitsudo.daemon.connection import Connection
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.judging import Judged, Judging, Ready, is_counted
from jitsudo.daemon.listing import Listing
from jitsudo.daemon.observing import Observing
from jitsudo.daemon.refreshing import Refreshing
from jitsudo.daemon.refusing import Refusing, denied
from jitsudo.daemon.server import FRAME_SECONDS, Context, Handler
from jitsudo.daemon.session import Session
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Tickets
from jitsudo.elevation.environment import SECURE_PATH
from jitsudo.errors import Denied, JitsudoError
from jitsudo.grants.lifecycle import State
from jitsudo.host import scopes
from jitsudo.host.accounts import Accounts
from jitsudo.host.source import Sources
from jitsudo.policy.verdict import Allow, Challenge, Deny, HeldGrant
from jitsudo.types import Moment
from jitsudo.wire.calls import Admit, Answer, Check, Edited, Invalidate, ListCommands, SessionCall, Validate
from jitsudo.wire.framing import Json

SEEN_SECONDS: Final = 0.1  # for which somebody who was just found in the user database is there without being looked up again
MAX_PURPOSE_CHARS: Final = 500  # of a command line, where it is said what somebody proved who they are for


class Decide:
    """io.jitsudo.Decide, for one server."""

    def __init__(
        self,
        state: DaemonState,
        granting: Granting,
        sessions: Sessions,
        *,
        tickets: Tickets,
        sources: Sources,
        gate: Gate,
    ) -> None:
        self._state = state
        self._sessions = sessions
        self._of_connection: dict[Connection, Session] = {}
        self._refusing = Refusing(state)
        self._asking = Asking(state, granting, sessions, gate)
        self._judging = Judging(state, granting, tickets, sources, gate)
        self._challenging = Challenging(state, tickets, self._refusing)
        self._allowing = Allowing(state, sessions, gate)
        self._admitting = Admitting(
            state,
            sessions,
            judging=self._judging,
            allowing=self._allowing,
            tickets=tickets,
            sources=sources,
            gate=gate,
        )
        self._listing = Listing(state, sessions, self._asking, self._judging)
        self._refreshing = Refreshing(state, sessions, tickets, self._judging, self._challenging, self._refusing)
        self.observing = Observing(state, sources, gate)
        self.handlers: Mapping[str, Handler] = {
            "Check": self._check,
            "Answer": self._answer,
            "Started": self._started,
            "Close": self._close,
            "Edited": self._edited,
            "Admit": self._admit,
            "List": self._list,
            "Validate": self._validate,
            "Invalidate": self._invalidate,
            "Observe": self.observing.observe,
        }

    def patience(self, connection: Connection) -> float | None:
        """For ever while a command runs, long while a person is asked."""
        if connection in self._of_connection:
            return None
        return CONNECTION_SECONDS if self._challenging.is_open(connection) else FRAME_SECONDS

    def ended(self, connection: Connection) -> None:
        """sudo has gone, or lost its connection; its pidfd tells which."""
        self._challenging.give_up(connection)
        session = self._of_connection.pop(connection, None)
        if session is not None:
            self._sessions.disconnected(session, connection)

    def close(self) -> None:
        """Let go of what is kept for answers."""
        self._challenging.close()

    # May this command run?

    async def _check(self, context: Context) -> Json:
        check = Check.parse(context.call.parameters)
        context.descriptors.name(check.descriptors)
        self._challenging.give_up(context.connection)
        try:
            asked = await self._asking.understand(context.peer, check, context.descriptors)
        except JitsudoError as error:
            await self._refusing.misunderstood(context.peer, check, error)
            raise
        line = self._state.journal.command_line(asked.facts.argv, asked.secrets)
        question = Question(
            behind=asked.behind,
            options=asked.options,
            target=asked.target.account.name,
            user_env=check.invocation.user_env,
            place=asked.place,
            facts=asked.facts,
            purpose=f"run {line[:MAX_PURPOSE_CHARS]} as {asked.target.account.name}",
            descriptors=context.descriptors.move(),
            go_on=lambda context, question: self._judge(context, question, asked),
        )
        reply = await self._go_on(context, question)
        question.go_on = lambda context, question: self._judge_anew(context, question, check)
        return reply

    async def _judge_anew(self, context: Context, question: Question, check: Check) -> Json:
        """The same command, some time later: accounts and groups are those of now."""
        ready = question.ready
        if ready is not None and ready.holds(self._state.require_policy().policy, self._state.now()):
            return await self._allow(context, question, ready.asked, ready.judged)
        question.let_go()
        return await self._judge(
            context, question, await self._asking.understand(context.peer, check, question.descriptors)
        )

    async def _answer(self, context: Context) -> Json:
        question = self._challenging.take(context.connection)
        try:
            answer = Answer.parse(context.call.parameters)
            context.descriptors.name(answer.descriptors)
        except JitsudoError as error:
            question.close()
            self._refusing.error(question.facts, error, self._state.now())
            raise
        return await self._go_on(context, question, answer)

    async def _go_on(self, context: Context, question: Question, answer: Answer | None = None) -> Json:
        """To the verdict, or to the next challenge: until then, what the front end passed on stays open."""
        now = self._state.now()
        try:
            refusal = None if answer is None else await self._challenging.answered(context, question, answer, now)
            return refusal or await question.go_on(context, question)
        except JitsudoError as error:
            self._refusing.error(question.facts, error, now)
            raise
        finally:
            if not self._challenging.is_open(context.connection):
                question.close()

    async def _judge(self, context: Context, question: Question, asked: Asked) -> Json:
        if asked.behind.is_root_outside:
            return await self._root(asked, question)
        now = self._state.trusted_now()
        if asked.check.account is not None:
            return self._refusing.account(asked.facts, asked.check.account, now)
        descriptors = question.descriptors
        judged = await self._judging.judge(
            context, asked, descriptors, question.proofs, now, lambda allow: prepared(asked, allow, descriptors)
        )
        verdict, asked = judged.verdict, replace(asked, source=judged.source)
        question.facts = asked.facts
        if isinstance(verdict, Allow):
            # A command of an account that is locked must never have been allowed, not even for a moment, on record.
            # Root inside a session is not asked: an expired root must not stop what runs there.
            if question.account_is_good or asked.behind.caller.uid == 0:
                return await self._allow(context, question, asked, judged)
            question.ready = self._ready(context, asked, judged, verdict, now)
            return self._challenging.ask(context.connection, question, AccountChallenge(verdict.role), now)
        if isinstance(verdict, Challenge):
            return self._challenging.ask(context.connection, question, verdict, now)
        return self._refusing.deny(asked.facts, verdict, now)

    def _ready(self, context: Context, asked: Asked, judged: Judged, verdict: Allow, now: Moment) -> Ready:
        opening = None
        if not is_counted(verdict):  # else it is judged anew, and may come out otherwise
            opening = self._allowing.prepare(asked, verdict, _granted(judged, verdict), context.peer.pid, now)
        return Ready(asked, judged, self._state.require_policy().policy, now.boot, opening)

    async def _allow(self, context: Context, question: Question, asked: Asked, judged: Judged) -> Json:
        verdict = judged.verdict
        if not isinstance(verdict, Allow) or judged.prepared is None:
            raise Denied("the decision could not be prepared")
        allowed = await self._allowing.allow(
            asked,
            verdict,
            _granted(judged, verdict),
            context.peer.pid,
            question.descriptors,
            judged.prepared,
            None if question.ready is None else question.ready.opening,
        )
        if isinstance(allowed, Deny):
            return self._refusing.deny(asked.facts, allowed, self._state.now())
        session, reply = allowed
        self._follow(context.connection, session)
        return reply

    def _follow(self, connection: Connection, session: Session) -> None:
        self._of_connection[connection] = session
        session.connection = connection

    async def _root(self, asked: Asked, question: Question) -> Json:
        now = self._state.now()  # whatever the clock: it is root who sets it right
        if asked.action.path is None and asked.invoked.mode != "edit":
            message = f"{asked.check.argv[0]}: command not found"
            return self._refusing.deny(
                asked.facts, Deny("unknown-command", message, (f"looked for on {SECURE_PATH}",)), now
            )
        return await self._allowing.root(asked, question.descriptors, now)

    # The session's life.

    async def _started(self, context: Context) -> Json:
        call = SessionCall.parse(context.call.parameters, closing=False)
        session = self._sessions.prove(call.session, call.token)
        if not scopes.is_inside(session.id, context.peer.pid):
            reason = "sudo left its scope before the command started: does a PAM stack of sudo's contain pam_systemd?"
            self._sessions.end(session, reason)
            return denied("scope", reason, ("grep pam_systemd /etc/pam.d/sudo /etc/pam.d/common-session*",))
        is_seen = self._state.now().boot - session.seen_at <= SEEN_SECONDS
        gone = None if is_seen else await self._who_is_gone(session)
        # A sudo that its caller stopped (SIGSTOP) after the allow must not start its command when the time is over.
        grant = self._state.book.grants[session.grant]
        is_over = grant.state not in (State.ACTIVE, State.USED_UP) or self._state.now().wall >= session.not_after
        if is_over or session.ending is not None:
            reason = f"grant {session.grant} ended before the command started"
            self._sessions.end(session, reason)
            return denied("no-grant", reason, ())
        if gone is not None:
            reason = f"{gone} is not in the user database any more"
            self._sessions.end(session, reason)
            return denied("account", reason, ("getent passwd",))
        if context.peer.pid != session.pid:
            self._sessions.follow(session, context.peer.pid)
        self._follow(context.connection, session)
        return {"verdict": "allow"}

    async def _who_is_gone(self, session: Session) -> str | None:
        """The account, the person's or the target's, that was deleted or made anew between check and start.

        Where sudo went on without delay, the answer of a moment ago is the answer of now.
        """
        wanted = [(session.person.name, session.person.uid), (session.run_as, session.run_as_uid)]

        def look_up(accounts: Accounts) -> str | None:
            for name, uid in wanted:
                account = accounts.by_name(name)
                if account is None or (uid is not None and account.uid != uid):
                    return name
            return None

        return await self._state.people.ask(look_up)

    async def _close(self, context: Context) -> Json:
        call = SessionCall.parse(context.call.parameters, closing=True)
        session = self._sessions.prove(call.session, call.token)
        if context.peer.pid != session.pid:
            raise Denied("only the session's own sudo can close it")
        if session.service is not None:
            session.outcome = f"{session.service} closed it"
        else:
            self._sessions.closed(session, call.wait_status or 0, call.errno or 0)
        return {}

    async def _admit(self, context: Context) -> Json:
        return await self._admitting.answer(context, Admit.parse(context.call.parameters))

    async def _edited(self, context: Context) -> Json:
        call = Edited.parse(context.call.parameters)
        session = self._sessions.around(context.peer.pid)
        if session is None or context.peer.uid != 0 or call.path not in session.edits:
            raise Denied("only the helper of a checked edit, inside its session, may say what it installed")
        entry = self._state.journal.edit_installed(
            session.person, session.id, session.grant, call.path, call.before, call.after, call.diff
        )
        await self._state.record(self._state.now(), entry)
        return {}

    # sudo -l, -v, -k.

    async def _list(self, context: Context) -> Json:
        return await self._listing.answer(context, ListCommands.parse(context.call.parameters))

    async def _validate(self, context: Context) -> Json:
        call = Validate.parse(context.call.parameters)
        self._challenging.give_up(context.connection)
        return await self._go_on(context, await self._refreshing.question(context, call))

    async def _invalidate(self, context: Context) -> Json:
        call = Invalidate.parse(context.call.parameters)
        behind = await identify_caller(context.peer, call.invocation, self._state.people, self._sessions)
        self._refreshing.forget(behind, context.peer.pid, everywhere=call.remove)
        return {}


def _granted(judged: Judged, verdict: Allow) -> HeldGrant:
    return next(grant for grant in judged.held if grant.id == verdict.grant)
