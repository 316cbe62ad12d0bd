"""Refusals: how front ends are told of one, and that each is on record, though nobody can flood the record with them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from jitsudo.daemon.rates import Rate, shortened
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import JitsudoError
from jitsudo.host.journal import CommandFacts
from jitsudo.host.ledger import Entry
from jitsudo.host.peer import Peer
from jitsudo.policy.verdict import Deny
from jitsudo.types import Moment, Person, Uid, UserName
from jitsudo.wire.calls import Check
from jitsudo.wire.framing import Json

MAX_ACCOUNT_CHARS: Final = 500  # of what PAM says of an account


@dataclass(frozen=True, slots=True)
class Said:
    """What a person is told of a refusal, where that is not what is on record. `speaker`: sudo itself has these words."""

    message: str
    hints: tuple[str, ...] = ()
    speaker: Literal["sudo"] | None = None


class Refusing:
    """Says no, on record."""

    def __init__(self, state: DaemonState) -> None:
        self._state = state
        self._rate = Rate(burst=100, seconds=10.0)

    def deny(self, facts: CommandFacts, verdict: Deny, now: Moment) -> Json:
        """The reply."""
        self.note(facts, verdict.code, verdict, now)
        return denied(verdict.code, verdict.message, verdict.hints)

    def account(self, facts: CommandFacts, why: str, now: Moment) -> Json:
        """The PAM stack does not admit the caller's account: whatever the policy says, nothing runs."""
        verdict = Deny("error", _one_line(why) or "this account may not be used")
        self.note(facts, "account", verdict, now)
        return denied("account", verdict.message, (), speaker="sudo")

    def note(self, facts: CommandFacts, code: str, verdict: Deny, now: Moment, *before: Entry) -> None:
        """Put a refusal on record, and what led to it `before`; those of a person who is refused all the time are counted."""
        missed = self._rate.admit(facts.person.uid, now.boot)
        if missed is None:
            return
        facts = replace(facts, argv=shortened(tuple(facts.argv)))
        message = verdict.message + (f" ({missed} refusals of theirs before this one were only counted)" if missed else "")
        journal, policy = self._state.journal, self._state.policy_digest
        entries = [*before]
        if verdict.guardrail is not None:
            effect = "limit" if code == "limit" else "deny"
            entries.append(journal.guardrail_fired(facts, verdict.guardrail, verdict.role, effect))
        why = (verdict.role, verdict.rule, verdict.guardrail)
        self._state.note(now, *entries, journal.command_denied(facts, code, message, *why, policy))

    def error(self, facts: CommandFacts, error: JitsudoError, now: Moment) -> None:
        """Record a command that could not be decided on; to a front end the error is a deny."""
        self.note(facts, error.code, Deny("error", error.sentence), now)

    async def misunderstood(self, peer: Peer, check: Check, error: JitsudoError) -> None:
        """A command that was refused before it could be judged is on record too, with what the kernel says of the caller."""
        with contextlib.suppress(JitsudoError):
            uid, login_uid = Uid(peer.credentials.real_uid), peer.credentials.login_uid
            try:
                person = await self._state.people.ask(lambda accounts: accounts.person(uid, login_uid))
            except JitsudoError:  # without the user database, there is the kernel's number at least
                person = Person(uid, UserName(f"(uid {int(uid)})"), login_uid)
            self.error(CommandFacts(person, "?", check.argv, check.command, "?", None), error, self._state.now())


def _one_line(text: str) -> str:
    return text[:MAX_ACCOUNT_CHARS].partition("\n")[0].strip()


def denied(code: str, message: str, hints: Sequence[str], speaker: Literal["sudo"] | None = None) -> Json:
    """A front end's "no"."""
    reply: Json = {"verdict": "deny", "code": code, "message": message, "hints": list(hints)}
    return reply if speaker is None else reply | {"speaker": speaker}
