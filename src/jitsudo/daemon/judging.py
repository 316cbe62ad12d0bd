"""From a question to a verdict: the person's grants, what is established of them, and the policy, in this order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from jitsudo.daemon.allowing import Opening
from jitsudo.daemon.asking import Asked
from jitsudo.daemon.connection import Descriptors
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import NOBODY, Granting
from jitsudo.daemon.hints import with_state
from jitsudo.daemon.passed import caller_cwd
from jitsudo.daemon.people import LookedUp
from jitsudo.daemon.server import Context
from jitsudo.daemon.session import Session
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Tickets
from jitsudo.elevation.modes import without_shell
from jitsudo.errors import Denied, DocumentRefused
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.peer import Peer
from jitsudo.host.source import Sources
from jitsudo.host.world import HostWorld
from jitsudo.policy.evaluate import evaluate
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Allow, Circumstances, Deny, HeldGrant, Source, Verdict
from jitsudo.types import GrantId, Moment, Person
from jitsudo.wire.framing import Json

log = logging.getLogger("jitsudod")

READY_SECONDS: Final = 2.0  # for which a decision that was not carried out yet still holds


@dataclass(slots=True)
class Proofs:
    """What the person did for this very question: a password proven, a challenge signed, guardrails confirmed."""

    password: bool = False
    agent: bool = False
    confirmed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict, the grants among which it was found and, for an allow, what was prepared for it.

    `source`: where the caller's login comes from, if it was looked up (a grant's role depends on it) and found.
    """

    verdict: Verdict
    held: Sequence[HeldGrant]
    prepared: Json | None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """An allow that waits for nothing but the state of the account; `at` is the boot clock's time."""

    asked: Asked
    judged: Judged
    policy: Policy
    at: float
    opening: Opening | None = None

    def holds(self, policy: Policy, now: Moment) -> bool:
        """Whether it need not be judged anew: it is as fresh as any decision is when it is carried out. Uses are counted."""
        return policy is self.policy and now.boot - self.at <= READY_SECONDS and not is_counted(self.judged.verdict)


def is_counted(verdict: Verdict) -> bool:
    """Whether another command may use up meanwhile what the verdict rests on."""
    return isinstance(verdict, Allow) and verdict.uses_limited


class Judging:
    """Evaluates the policy for one question."""

    def __init__(
        self, state: DaemonState, granting: Granting, tickets: Tickets, sources: Sources, gate: Gate
    ) -> None:
        self._state = state
        self._granting = granting
        self._tickets = tickets
        self._sources = sources
        self._gate = gate
        self._noted: dict[GrantId, str] = {}

    async def judge(
        self,
        context: Context,
        asked: Asked,
        descriptors: Descriptors,
        proofs: Proofs,
        now: Moment,
        prepare: Callable[[Allow], Json] = lambda _: {},
    ) -> Judged:
        """`prepare` is called for an allow, in the same thread. Raises Denied, Failed, TimedOut, and what `prepare` raises."""
        held, refused = await self.grants(asked.behind.person, asked.behind.session, now, asked.looked_up)
        context.waiting_for = "the command's paths are being looked up"
        circumstances = self._circumstances(asked, proofs, now)
        question = self._question(context.peer, asked, held, circumstances, now, descriptors)

        def run() -> tuple[Verdict, Json | None, str | None]:
            verdict, source = question()
            return verdict, prepare(verdict) if isinstance(verdict, Allow) else None, source.address

        verdict, prepared, source = await self._gate.run(asked.behind.person, run)
        for fault in verdict.faults:
            log.error("evaluation: %s", fault)
        if isinstance(verdict, Deny):
            verdict = with_state(verdict, asked.behind.person, self._state, refused)
            plain = without_shell(asked.invoked) if verdict.code == "shell" else None
            verdict = replace(verdict, hints=(*verdict.hints, *([] if plain is None else [plain])))
        return Judged(verdict, held, prepared, source)

    async def grants(
        self, person: Person, session: Session | None, now: Moment, looked_up: LookedUp = NOBODY
    ) -> tuple[list[HeldGrant], list[DocumentRefused]]:
        """The person's grants that count here, inside `session` or outside of all, and why others do not."""
        await self._granting.issue_standing(person, now)
        held, refused = await self._granting.held_by(person, now, looked_up)
        for grant, error in refused:
            self._note(grant, error, now)
        if session is not None:
            # Inside a session its own grant counts, and no other.
            held = [g for g in held if g.id == session.grant]
        return held, [error for _, error in refused]

    def _note(self, grant: GrantId, error: DocumentRefused, now: Moment) -> None:
        """On record once for each reason: it would be so at each of the person's commands."""
        if self._noted.get(grant) != error.sentence:
            self._noted[grant] = error.sentence
            log.warning("grant %s was refused: step %d: %s", grant, error.step, error.sentence)
            self._state.note(now, self._state.journal.document_refused(grant, error.step, error.sentence))

    def _circumstances(self, asked: Asked, proofs: Proofs, now: Moment) -> Circumstances:
        password = agent = None
        if asked.behind.caller.uid == 0:
            # Root inside a session is not asked again, as sudo does not ask root; what asks afresh still does.
            password = agent = 0
        elif not asked.options.ignore_ticket:
            password = self._tickets.age(asked.place, "password", now)
            agent = self._tickets.age(asked.place, "agent", now)
        return Circumstances(
            authenticated=0 if proofs.password else password,
            agent=0 if proofs.agent else agent,
            proven_now=proofs.password or proofs.agent,
            confirmed=proofs.confirmed,
        )

    def _question(
        self,
        peer: Peer,
        asked: Asked,
        held: Sequence[HeldGrant],
        circumstances: Circumstances,
        now: Moment,
        descriptors: Descriptors,
    ) -> Callable[[], tuple[Verdict, Source]]:
        """The evaluation, for a thread."""
        policy, host, action = self._state.require_policy().policy, self._state.host, asked.action
        roles = [policy.roles[grant.role] for grant in held]
        by_source = any(role.when.source for role in roles)

        def run() -> tuple[Verdict, Source]:
            source = found_source(self._sources, peer) if by_source else UNKNOWN_SOURCE
            with HostWorld(SystemAccounts().by_name, descriptors.get("root"), descriptors.get("cwd")) as world:
                if asked.options.cwd is None and descriptors.get("cwd") is not None and not world.cwd_is(action.cwd):
                    caller_cwd(descriptors)  # says so where it was deleted or cannot be seen
                    # In a chroot of the caller's, say: paths would be looked up elsewhere than where the command opens them.
                    raise Denied("the current directory is not what it is called", "change to it by its full name")
                return evaluate(action, policy, held, host, now, world, replace(circumstances, source=source)), source

        return run


def found_source(sources: Sources, peer: Peer) -> Source:
    """Where the peer's login comes from; unknown where the peer has gone. Blocks."""
    source = sources.find(peer.pid)
    return source if peer.is_alive() else Source(None, "the calling process has ended")
