"""Deciding requests: approvals after PAM re-authentication, the grant at the threshold, denials, and who is told."""

from __future__ import annotations

import logging

from jitsudo.daemon.authz import Asker, approver_answer, is_mine
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.people import People
from jitsudo.daemon.rates import Rate
from jitsudo.daemon.state import OPEN_STATES, DaemonState
from jitsudo.errors import AuthenticationFailed, Denied, DocumentRefused, JitsudoError, WrongState
from jitsudo.grants.lifecycle import RequestRecord
from jitsudo.host.ledger import Entry
from jitsudo.host.pamauth import Conversation, Prompt, authentication
from jitsudo.host.terminal import notify
from jitsudo.policy.access import ApproverId, approvals_satisfied
from jitsudo.policy.verdict import Deny
from jitsudo.types import Duration, Moment, Person, Reason, UserName

log = logging.getLogger("jitsudod")


class Approving:
    """Approve and deny, for the control interface."""

    def __init__(self, state: DaemonState, granting: Granting, auth_socket: str) -> None:
        self._state = state
        self._granting = granting
        self._auth_socket = auth_socket
        self._refusals = Rate(burst=100, seconds=10.0)

    @property
    def _people(self) -> People:
        return self._state.people

    async def entitled(self, asker: Asker, request: RequestRecord) -> ApproverId:
        """As whom the asker may approve. Raises Denied (on record: somebody tried), WrongState."""
        asker.require_outside("approve")
        answer = await approver_answer(asker, request, self._state.require_policy().policy, self._people)
        if isinstance(answer, Deny):
            refusal = self._state.journal.approval_refused(request.id, asker.person, answer.code, answer.message)
            self._note_refusal(asker, refusal)
            raise Denied(answer.message, *answer.hints[:1])
        self._require_open(request)  # afterwards: how a request ended is for those whom it concerns
        if any(approver == answer.name for _, _, approver in request.approvals):
            raise WrongState(f"you have approved {request.id} already; another person is needed")
        return answer

    def _require_open(self, request: RequestRecord) -> None:
        if request.state not in OPEN_STATES:
            outcome = request.outcome or "it was decided"
            raise WrongState(f"{request.id} is {request.state}: {outcome}", "jitsudo requests --all")

    def authenticate(self, asker: Asker, terminal: str | None) -> Authenticating:
        return Authenticating(self, asker.person.name, terminal, self._auth_socket)

    def authentication_failed(self, asker: Asker, request: RequestRecord, error: AuthenticationFailed) -> None:
        self._note_refusal(asker, self._state.journal.authentication_failed(asker.person, request.id, error.sentence))

    def _note_refusal(self, asker: Asker, entry: Entry) -> None:
        """On record, unless the person is refused all the time."""
        now = self._state.now()
        if self._refusals.admit(asker.person.uid, now.boot) is not None:
            self._state.note(now, entry)

    async def approve(
        self, asker: Asker, request: RequestRecord, approver: ApproverId, max_duration: Duration | None, note: str
    ) -> RequestRecord:
        """The asker was authenticated just now: record the approval and, at the threshold, the grant."""
        now = self._state.trusted_now()
        request = self._state.book.requests[request.id]
        self._require_open(request)
        envelope = self._granting.approval(request, asker.person, now, max_duration, note)
        journal = self._state.journal
        await self._state.record(
            now,
            journal.authentication_succeeded(asker.person, request.id),
            journal.approval_given(request.id, asker.person, str(approver), envelope.encode().decode("ascii")),
        )
        await self.issue_if_earned(request, now)
        return self._state.book.requests[request.id]

    async def issue_if_earned(self, request: RequestRecord, now: Moment) -> None:
        """Make the grant once the approvals on record are enough. Raises DocumentRefused, Failed."""
        request = self._state.book.requests[request.id]
        policy = self._state.require_policy().policy
        role = policy.roles.get(request.request.role)
        if role is None or not await self._is_satisfied(request):
            return
        try:
            entry = await self._granting.issue(request, now)
        except DocumentRefused as error:
            log.error("request %s: no grant: step %d: %s", request.id, error.step, error.sentence)
            raise
        if self._state.book.requests[request.id].state in OPEN_STATES:
            await self._state.record(now, entry)
            if request.approvals:  # otherwise it was granted in the very call that asked
                self.tell_requester(self._state.book.requests[request.id])

    async def finish_interrupted(self) -> None:
        """After a restart: grants whose approvals were on record when the daemon died, but which were not made yet."""
        if self._state.policy is None:
            return
        for request in self._state.open_requests():
            try:
                await self.issue_if_earned(request, self._state.trusted_now())
            except JitsudoError as error:
                log.error("request %s: no grant: %s", request.id, error.sentence)

    async def _is_satisfied(self, request: RequestRecord) -> bool:
        policy = self._state.require_policy().policy
        role = policy.roles[request.request.role]
        needed = self._state.approvals_needed(request.id)
        if role.request is not None and role.request.approvals == needed == 0:
            return True
        return approvals_satisfied(role, await self._granting.counted(request, role, policy), needed)

    async def deny(self, asker: Asker, request: RequestRecord, reason: Reason) -> RequestRecord:
        asker.require_outside("deny")
        if not asker.is_root:
            await self.entitled(asker, request)
        self._require_open(request)
        await self._state.record(
            self._state.now(), self._state.journal.request_denied(request.id, asker.person, reason)
        )
        self.tell_requester(self._state.book.requests[request.id])
        return self._state.book.requests[request.id]

    async def cancel(self, asker: Asker, request: RequestRecord) -> RequestRecord:
        asker.require_outside("cancel")
        if not is_mine(asker, request):
            raise Denied("only the person who asked can cancel", f"jitsudo deny {request.id} --reason …")
        self._require_open(request)
        await self._state.record(self._state.now(), self._state.journal.request_cancelled(request.id, asker.person))
        return self._state.book.requests[request.id]

    # Telling.

    def tell_requester(self, request: RequestRecord) -> None:
        """A notice on each of the requester's terminals."""
        asked = request.request
        notify(asked.person.uid, f"jitsudo: your request {request.id} for role {asked.role}: {request.outcome}")

    async def tell_approvers(self, request: RequestRecord, requester: Person) -> None:
        """A notice on the terminals of everybody logged in who may approve."""
        asked = request.request
        text = (
            f"jitsudo: {requester.name} asks for role {asked.role} for {asked.duration}: {asked.reason}"
            f"  —  jitsudo approve {request.id}"
        )
        for account in await self._granting.approver_accounts(request):
            notify(account.uid, text)


class Authenticating:
    """One approver's authentication, prompt by prompt, between two calls of the control interface."""

    def __init__(self, owner: Approving, user: UserName, terminal: str | None, path: str) -> None:
        self.owner = owner
        self._manager = authentication(user, terminal, path)
        self._conversation: Conversation | None = None

    async def start(self) -> tuple[Prompt, ...] | None:
        """The first prompts; None if the stack asks nothing and is content. Raises AuthenticationFailed, Failed."""
        self._conversation = await self._manager.__aenter__()
        return await self._conversation.next()

    async def answer(self, answers: tuple[str, ...]) -> tuple[Prompt, ...] | None:
        """As `start`, after answers."""
        if self._conversation is None:
            raise WrongState("nobody was asked anything")
        await self._conversation.answer(answers)
        return await self._conversation.next()

    async def close(self) -> None:
        if self._conversation is not None:
            await self._manager.__aexit__(None, None, None)
            self._conversation = None
