"""Challenges: what a person is asked before there can be an allow, bound to one connection, answered once, on record."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from jitsudo.crypto import challenge_data, key_blobs, verify_challenge
from jitsudo.daemon.agent import Agent, Unproven
from jitsudo.daemon.askpass import has_askpass
from jitsudo.daemon.caller import Behind
from jitsudo.daemon.connection import Connection, Descriptors
from jitsudo.daemon.judging import Proofs, Ready
from jitsudo.daemon.refusing import Refusing, Said, denied
from jitsudo.daemon.server import Context
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Place, Proof, Tickets
from jitsudo.elevation.options import Options
from jitsudo.elevation.prompt import password_prompt
from jitsudo.errors import Denied, InvalidValue, TooMany, WrongState
from jitsudo.host.journal import CommandFacts
from jitsudo.host.ledger import Entry
from jitsudo.policy.model import AgentProof
from jitsudo.policy.verdict import Challenge, Deny
from jitsudo.types import Moment, RoleName, Uid, UserName
from jitsudo.wire.calls import AGENT, Answer
from jitsudo.wire.framing import Json, encode_text

CHALLENGE_SECONDS: Final = 300.0  # for a person to answer
CONNECTION_SECONDS: Final = 2 * CHALLENGE_SECONDS  # for the front end to say what came of it, so that lateness gets a sentence
MAX_ROUNDS: Final = 8  # of one question: a proof, some confirmations, and what changed meanwhile
NONCE_BYTES: Final = 32
MAX_AGENTS: Final = 64  # of one person's that are awaited at once
PAM_SERVICE: Final = "jitsudo-sudo"
PASSWORD_TRIES: Final = 3
NO_ROLE: Final = RoleName("none")  # of a challenge that no role makes: sudo -v

NOT_DONE: Final = {
    "failed": "the proof of who you are failed",
    "declined": "no proof of who you are was given",
    "unavailable": "a proof of who you are is needed, and there was no way to ask for it",
}
TOO_LATE: Final = "the answer came too late"
WENT_ON: Final = "sudo went on without an answer"
NO_PASSWORD: Final = Said("a password is required", speaker="sudo")
NO_ASKPASS: Final = Said("no askpass program specified, try setting SUDO_ASKPASS", speaker="sudo")

ACCOUNT_NOT_LEARNED: Final = "it could not be learned whether this account may be used"


@dataclass(frozen=True, slots=True)
class AccountChallenge:
    """The front end is to ask the PAM stack whether the caller's account may be used. No policy asks for it: it always is."""

    role: RoleName


@dataclass(slots=True)
class Question:
    """One call that goes on once its person has answered. `go_on` judges it anew, with what was proven meanwhile.

    `account_is_good`: the PAM stack was asked about the caller's account, after any proof, and admits it.
    """

    behind: Behind
    options: Options
    target: UserName
    user_env: tuple[str, ...]
    place: Place | None
    facts: CommandFacts
    purpose: str
    descriptors: Descriptors
    go_on: Callable[[Context, Question], Awaitable[Json]]
    proofs: Proofs = field(default_factory=Proofs)
    challenge: Challenge | AccountChallenge | None = None
    account_is_good: bool = False
    ready: Ready | None = None
    asked_at: float = 0.0
    rounds: int = 0

    def close(self) -> None:
        """Let go of what is kept for the answer."""
        self.descriptors.close()
        self.let_go()

    def let_go(self) -> None:
        """What was ready is not any more."""
        ready, self.ready = self.ready, None
        if ready is not None and ready.opening is not None:
            ready.opening.drop()


class Challenging:
    """The challenges that are open."""

    def __init__(self, state: DaemonState, tickets: Tickets, refusing: Refusing) -> None:
        self._state = state
        self._tickets = tickets
        self._refusing = refusing
        self._open: dict[Connection, Question] = {}
        self._agents: Counter[Uid] = Counter()

    def is_open(self, connection: Connection) -> bool:
        """Whether an answer is awaited on this connection."""
        return connection in self._open

    def ask(
        self, connection: Connection, question: Question, challenge: Challenge | AccountChallenge, now: Moment
    ) -> Json:
        """The reply that asks, or the refusal where nobody could answer. Raises Denied where it cannot be asked."""
        question.rounds += 1
        if question.rounds > MAX_ROUNDS:
            raise Denied("too much was asked for one command", "an administrator looks at the guardrails of this command")
        question.challenge, question.asked_at = challenge, now.boot
        said = _unanswerable(question, challenge)
        if said is not None:
            return self._not_done(question, challenge, NOT_DONE["unavailable"], now, said=said)
        asked = self._asked(question, challenge)
        self._open[connection] = question
        return {"verdict": "challenge", "challenge": asked}

    def _asked(self, question: Question, challenge: Challenge | AccountChallenge) -> Json:
        nothing = dict.fromkeys(("service", "user", "prompt", "overrides", "tries"))
        name = question.behind.person.name
        if isinstance(challenge, AccountChallenge):
            message = "the state of the account"
            return {**nothing, "kind": "account", "message": message, "service": PAM_SERVICE, "user": encode_text(name)}
        if challenge.kind == "confirm":
            return {**nothing, "kind": "confirm", "message": challenge.message}
        if isinstance(challenge.proof, AgentProof):
            if not self._keys_of(name):
                hint = f"an administrator enrols a key of {name}'s under `approvers` in the policy"
                raise Denied(f"no SSH key of {name} is enrolled, and this role wants a proof by one", hint)
            return {**nothing, "kind": "agent", "message": challenge.message}
        prompt = password_prompt(question.options, question.user_env, name, question.target, self._state.host.name)
        return {
            "kind": "authenticate",
            "message": challenge.message,
            "service": PAM_SERVICE,
            "user": encode_text(name),
            "prompt": encode_text(prompt),
            "overrides": question.options.prompt is not None,
            "tries": PASSWORD_TRIES,
        }

    def _keys_of(self, name: UserName) -> tuple[str, ...]:
        """The lines of the SSH keys that are enrolled for somebody now."""
        approver = self._state.require_policy().policy.approver_of(name)
        return tuple(key.key for key in approver.keys) if approver is not None else ()

    def take(self, connection: Connection) -> Question:
        """The question that was asked on this connection; it is answered once. Raises WrongState."""
        question = self._open.pop(connection, None)
        if question is None:
            raise WrongState("nobody was asked anything on this connection")
        return question

    async def answered(self, context: Context, question: Question, answer: Answer, now: Moment) -> Json | None:
        """Take the answer in, on record; the refusal where it is not what was asked for. Raises InvalidValue."""
        passed = context.descriptors.take(AGENT)
        agent = None if passed is None else Agent(passed)
        try:
            return await self._answered(context, question, answer, agent, now)
        finally:
            if agent is not None:
                context.connection.let_go(*agent.detach())

    async def _answered(
        self, context: Context, question: Question, answer: Answer, agent: Agent | None, now: Moment
    ) -> Json | None:
        challenge = question.challenge
        if challenge is None:
            raise InvalidValue("Answer: nothing was asked")
        if now.boot - question.asked_at > CHALLENGE_SECONDS:
            return self._not_done(question, challenge, TOO_LATE, now)
        if isinstance(challenge, AccountChallenge):
            return self._account(question, challenge, answer, now)
        if answer.outcome in NOT_DONE:
            return self._not_done(question, challenge, NOT_DONE[answer.outcome], now, tried=answer.outcome == "failed")
        if challenge.kind == "confirm":
            self._confirmed(question, challenge, answer, now)
            return None
        if isinstance(challenge.proof, AgentProof):
            if agent is None:
                raise _no_answer(answer)
            with self._awaited(question.behind.person.uid):
                return await self._ask_agent(context, question, challenge, agent)
        if answer.outcome != "proven":
            raise _no_answer(answer)
        self._proven(question, "password", now, leaves_ticket=answer.account is None)
        if answer.account is not None:
            return self._refusing.account(question.facts, answer.account, now)
        question.account_is_good = True  # the stack checked the account right after the password
        return None

    @contextmanager
    def _awaited(self, uid: Uid) -> Iterator[None]:
        """Counts an agent of this person's. Raises TooMany."""
        if self._agents[uid] >= MAX_AGENTS:
            raise TooMany("too many of your SSH agents are awaited at once", "wait for some to answer")
        self._agents[uid] += 1
        try:
            yield
        finally:
            self._agents -= Counter({uid: 1})  # whoever has none is forgotten

    async def _ask_agent(self, context: Context, question: Question, challenge: Challenge, agent: Agent) -> Json | None:
        """The proof by the caller's agent. Whatever goes wrong with the agent is a refusal, and never a fault of ours."""
        now, nonce, name = self._state.now, secrets.token_hex(NONCE_BYTES), question.behind.person.name
        before = context.waiting_for

        def wait_for(what: str) -> None:
            context.waiting_for = what

        try:
            async with asyncio.timeout(question.asked_at + CHALLENGE_SECONDS - now().boot):
                keys, is_quiet = key_blobs(self._keys_of(name)), question.options.noninteractive
                signed = await agent.prove(keys, challenge_data(nonce), is_quiet=is_quiet, wait_for=wait_for)
            # By a key that is enrolled still: the policy may be another by now.
            verify_challenge(signed.key, signed.signature, nonce, self._keys_of(name))
        except TimeoutError:
            return self._not_done(question, challenge, TOO_LATE, now())
        except Unproven as fault:
            why, said = NOT_DONE["failed" if fault.refused else "unavailable"], Said(fault.message, fault.hints)
            return self._not_done(question, challenge, why, now(), tried=fault.refused, said=said)
        except InvalidValue as error:
            return self._not_done(question, challenge, error.sentence, now(), tried=True)
        except asyncio.CancelledError:
            self._not_done(question, challenge, WENT_ON, now())
            raise
        finally:
            wait_for(before)
        # A signature says nothing of the account: that is asked about next.
        self._proven(question, "agent", now(), leaves_ticket=True)
        return None

    def _account(self, question: Question, challenge: AccountChallenge, answer: Answer, now: Moment) -> Json | None:
        if answer.outcome in NOT_DONE:
            return self._not_done(question, challenge, ACCOUNT_NOT_LEARNED, now)
        if answer.outcome != "proven":
            raise _no_answer(answer)
        if answer.account is not None:
            return self._refusing.account(question.facts, answer.account, now)
        question.account_is_good = True
        return None

    def _confirmed(self, question: Question, challenge: Challenge, answer: Answer, now: Moment) -> None:
        if answer.outcome != "confirmed" or challenge.guardrail is None:
            raise _no_answer(answer)
        question.proofs.confirmed |= {challenge.guardrail}
        self._state.note(
            now, self._state.journal.guardrail_confirmed(question.facts, challenge.guardrail, challenge.role)
        )

    def _proven(self, question: Question, proof: Proof, now: Moment, *, leaves_ticket: bool) -> None:
        if proof == "password":
            question.proofs.password = True
        else:
            question.proofs.agent = True
        options = question.options
        if leaves_ticket and options.update_ticket and not options.ignore_ticket:
            self._tickets.update(question.place, proof, now)
        person = question.behind.person
        self._state.note(now, self._state.journal.authentication_succeeded(person, None, question.purpose, proof))

    def _not_done(
        self,
        question: Question,
        challenge: Challenge | AccountChallenge,
        why: str,
        now: Moment,
        *,
        tried: bool = False,
        said: Said | None = None,
    ) -> Json:
        """On record: that the command was refused for it and, where a proof was tried or a question declined, that too.

        The person is told why, or what is to be `said`.
        """
        journal, facts, person = self._state.journal, question.facts, question.behind.person
        before: list[Entry] = []
        if isinstance(challenge, AccountChallenge):
            code, deny = "account", Deny("error", why, role=None if challenge.role == NO_ROLE else challenge.role)
        elif challenge.kind == "confirm" and challenge.guardrail is not None:
            code, deny = "guardrail", Deny("guardrail", f"{challenge.message} It was not confirmed.", role=challenge.role)
            before.append(journal.guardrail_declined(facts, challenge.guardrail, challenge.role))
        else:
            role = None if challenge.role == NO_ROLE else challenge.role
            code, deny = "authentication", Deny("error", why, role=role)
            if tried:
                before.append(journal.authentication_failed(person, None, why, question.purpose))
        self._refusing.note(facts, code, deny, now, *before)
        said = said or Said(deny.message, deny.hints)
        return denied(code, said.message, said.hints, said.speaker)

    def give_up(self, connection: Connection) -> None:
        """The front end went away, or asks something else, before it answered."""
        question = self._open.pop(connection, None)
        if question is not None and question.challenge is not None:
            self._not_done(question, question.challenge, WENT_ON, self._state.now())
            question.close()

    def close(self) -> None:
        """Let go of what is still open."""
        for question in self._open.values():
            question.close()
        self._open.clear()


def _no_answer(answer: Answer) -> InvalidValue:
    return InvalidValue(f"Answer: {answer.outcome!r} is no answer to what was asked")


def _unanswerable(question: Question, challenge: Challenge | AccountChallenge) -> Said | None:
    """What to say where a person would have to answer, and cannot."""
    options = question.options
    if isinstance(challenge, AccountChallenge) or (challenge.kind != "confirm" and isinstance(challenge.proof, AgentProof)):
        return None
    if options.noninteractive:
        if challenge.kind == "confirm":
            return Said(f"{challenge.message} This has to be confirmed on a terminal, without -n")
        return NO_PASSWORD
    if challenge.kind != "confirm" and options.askpass and not has_askpass(question.user_env):
        return NO_ASKPASS
    return None
