"""The control interface: what people ask of the daemon. Each handler: who → may they → do → show."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from jitsudo.daemon.approving import Approving, Authenticating
from jitsudo.daemon.authz import Asker, approver_answer, identify_asker, is_mine
from jitsudo.daemon.background import Background
from jitsudo.daemon.connection import Connection
from jitsudo.daemon.explaining import Explained, explain_to, seen_by
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.observations import Observations
from jitsudo.daemon.policyloading import PolicyLoading
from jitsudo.daemon.requesting import Requesting
from jitsudo.daemon.server import FRAME_SECONDS, Context, Handler
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import OPEN_STATES, DaemonState
from jitsudo.daemon.views import grant_info, request_info, role_info
from jitsudo.errors import Ambiguous, AuthenticationFailed, Denied, DocumentRefused, InvalidValue, NotFound, WrongState
from jitsudo.grants.lifecycle import GrantRecord, RequestRecord, State
from jitsudo.host.pamauth import Prompt
from jitsudo.host.peer import read_cwd
from jitsudo.host.source import Sources
from jitsudo.policy.access import ApproverId, approvals_needed, may_request
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Deny
from jitsudo.types import Duration, Reason, is_plain_text
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import Json

MAX_NOTE_CHARS: Final = 500


@dataclass(slots=True)
class Approval:
    """An approval that waits for its approver's authentication, bound to one connection."""

    asker: Asker
    request: RequestRecord
    approver: ApproverId
    max_duration: Duration | None
    note: str
    authenticating: Authenticating


class Control:
    """io.jitsudo.Control, for one server."""

    def __init__(
        self,
        state: DaemonState,
        granting: Granting,
        sessions: Sessions,
        approving: Approving,
        loading: PolicyLoading,
        *,
        sources: Sources,
        gate: Gate,
        observations: Observations,
    ) -> None:
        self._state = state
        self._granting = granting
        self._sessions = sessions
        self._approving = approving
        self._loading = loading
        self._sources = sources
        self._gate = gate
        self._observations = observations
        self._approvals: dict[Connection, Approval] = {}
        self._background = Background()
        self._requesting = Requesting(state, granting, approving, sources, gate, self._background)
        answers: Mapping[str, Callable[[Context, Asker, Fields], Awaitable[Json]]] = {
            "Request": self._requesting.request,
            "Await": self._await,
            "Requests": self._requests,
            "Approve": self._approve,
            "Answer": self._answer,
            "Deny": self._deny,
            "Cancel": self._cancel,
            "Status": self._status,
            "Return": self._return,
            "Revoke": self._revoke,
            "Roles": self._roles,
            "Explain": self._explain,
            "Reload": self._reload,
            "AcceptClock": self._accept_clock,
            "Observed": self._observed,
            "NoteSetup": self._note_setup,
        }
        self.handlers: Mapping[str, Handler] = {name: self._asked(name, answer) for name, answer in answers.items()}

    def _asked(self, name: str, answer: Callable[[Context, Asker, Fields], Awaitable[Json]]) -> Handler:
        async def handle(context: Context) -> Json:
            asker = await identify_asker(context.peer, self._state.people, self._sessions)
            return await answer(context, asker, Fields(context.call.parameters, name))

        return handle

    def patience(self, connection: Connection) -> float | None:
        """An approver may take their time to type a password; PAM's side has a time of its own."""
        return None if connection in self._approvals else FRAME_SECONDS

    def ended(self, connection: Connection) -> None:
        approval = self._approvals.pop(connection, None)
        if approval is not None:
            self._background.start(approval.authenticating.close())

    # Requests.

    async def _await(self, context: Context, asker: Asker, fields: Fields) -> Json:
        record = await self._visible_request(asker, fields.text("request"))
        fields.done()
        while record.state in OPEN_STATES:
            context.waiting_for = f"{record.id} is waiting for approval"
            await self._state.change()
            record = self._state.book.requests[record.id]
        return {"request": self._request_info(record, asker, may_approve=False)}

    async def _requests(self, context: Context, asker: Asker, fields: Fields) -> Json:
        everything = fields.boolean("all")
        fields.done()
        records = list(self._state.book.requests.values()) if everything else self._state.open_requests()
        shown = []
        for record in records:
            may_approve = record.state in OPEN_STATES and await self._may_approve(asker, record)
            decided = asker.session is None and self._state.has_decided(asker.person.uid, record.id)
            if asker.is_root or is_mine(asker, record) or may_approve or decided:
                shown.append(self._request_info(record, asker, may_approve=may_approve))
        return {"requests": shown}

    # Deciding.

    async def _approve(self, context: Context, asker: Asker, fields: Fields) -> Json:
        name, seconds = fields.text("request"), fields.optional_integer("max_duration")
        note = fields.optional_text("note") or ""
        fields.done()
        if not is_plain_text(note) or len(note) > MAX_NOTE_CHARS:
            raise InvalidValue(f"a note is one line of at most {MAX_NOTE_CHARS} characters")
        duration = None if seconds is None else Duration(seconds)
        request = await self._decidable(asker, name)
        approver = await self._approving.entitled(asker, request)
        await self._drop(context.connection)
        authenticating = self._approving.authenticate(asker, None)
        self._approvals[context.connection] = Approval(asker, request, approver, duration, note, authenticating)
        context.waiting_for = "authentication"
        return await self._step(context, authenticating.start())

    async def _answer(self, context: Context, asker: Asker, fields: Fields) -> Json:
        answers = fields.texts("answers")
        fields.done()
        approval = self._approvals.get(context.connection)
        if approval is None:
            raise WrongState("nobody was asked anything on this connection")
        context.waiting_for = "the answer is being checked"
        return await self._step(context, approval.authenticating.answer(answers))

    async def _step(self, context: Context, prompting: Awaitable[tuple[Prompt, ...] | None]) -> Json:
        approval = self._approvals[context.connection]
        try:
            prompts = await prompting
        except BaseException as error:  # cancelled, too: the approval is dropped, never counted; raised again
            await self._drop(context.connection)
            if isinstance(error, AuthenticationFailed):
                self._approving.authentication_failed(approval.asker, approval.request, error)
                again = f"try again: jitsudo approve {approval.request.id}"
                raise AuthenticationFailed(f"{approval.asker.person.name}: {error.sentence}", again) from None
            raise
        if prompts is not None:
            return {"prompts": [{"style": p.style, "text": p.text} for p in prompts]}
        await self._drop(context.connection)
        approver = await self._approving.entitled(approval.asker, approval.request)
        record = await self._background.finish(
            self._approving.approve(approval.asker, approval.request, approver, approval.max_duration, approval.note)
        )
        return {"request": self._request_info(record, approval.asker, may_approve=False)}

    async def _drop(self, connection: Connection) -> None:
        approval = self._approvals.pop(connection, None)
        if approval is not None:
            await approval.authenticating.close()

    async def _deny(self, context: Context, asker: Asker, fields: Fields) -> Json:
        name, reason = fields.text("request"), Reason(fields.text("reason"))
        fields.done()
        record = await self._decidable(asker, name)
        record = await self._approving.deny(asker, record, reason)
        return {"request": self._request_info(record, asker, may_approve=False)}

    async def _cancel(self, context: Context, asker: Asker, fields: Fields) -> Json:
        record = await self._visible_request(asker, fields.text("request"))
        fields.done()
        record = await self._approving.cancel(asker, record)
        return {"request": self._request_info(record, asker, may_approve=False)}

    # Grants.

    async def _status(self, context: Context, asker: Asker, fields: Fields) -> Json:
        everything = fields.boolean("all", default=False)
        fields.done()
        grants, requests = [], []
        for grant in self._shown_grants():
            if asker.is_root or is_mine(asker, grant) or (everything and await self._may_revoke(asker, grant)):
                grants.append(await self._live_grant_info(grant))
        for request in self._state.open_requests():
            may_approve = everything and await self._may_approve(asker, request)
            if asker.is_root or is_mine(asker, request) or may_approve:
                requests.append(self._request_info(request, asker, may_approve=may_approve))
        return {"grants": grants, "requests": requests, "problems": self._problems()}

    def _shown_grants(self) -> list[GrantRecord]:
        """Those that are live, and those under which something still runs: it can be ended. In the order of the record."""
        shown = {grant.id for grant in self._state.live_grants()} | {session.grant for session in self._sessions.all()}
        return [record for key, record in self._state.book.grants.items() if key in shown]

    async def _live_grant_info(self, record: GrantRecord) -> Json:
        info = self._grant_info(record)
        if record.state is not State.ACTIVE:
            return info
        try:
            await self._granting.verify(record, self._state.now())
        except DocumentRefused as error:
            info["state"] = f"refused: {error.sentence}"
        return info

    def _problems(self) -> list[str]:
        problems = []
        if self._state.policy_problem is not None:
            problems.append(f"policy: {self._state.policy_problem}")
        if self._state.ledger.failure is not None:
            problems.append(self._state.ledger.failure.sentence)
        try:
            self._state.trusted_now()
        except Denied as error:
            problems.append(error.sentence)
        return problems

    async def _return(self, context: Context, asker: Asker, fields: Fields) -> Json:
        name, everything = fields.optional_text("grant"), fields.boolean("all")
        fields.done()
        mine = [g for g in self._state.live_grants() if is_mine(asker, g) and not g.standing]
        if name is not None:
            chosen = [self._state.book.find_grant(name, lambda g: is_mine(asker, g))]
        elif everything or len(mine) == 1:
            chosen = mine
        elif not mine:
            raise NotFound("you hold no grant", "jitsudo status")
        else:
            listed = ", ".join(f"{g.id} ({g.request.role})" for g in mine)
            raise Ambiguous(f"you hold {len(mine)} grants: {listed}", "jitsudo return G-… or --all")
        now = self._state.now()
        await self._state.record(now, *(self._state.journal.grant_returned(g.id, asker.person) for g in chosen))
        await self._end_sessions(chosen, f"{asker.person.name} gave the grant back", context)
        return {"grants": [self._grant_info(self._state.book.grants[g.id]) for g in chosen]}

    async def _revoke(self, context: Context, asker: Asker, fields: Fields) -> Json:
        name, reason = fields.text("grant"), Reason(fields.text("reason"))
        fields.done()
        asker.require_outside("revoke")
        record = await self._revocable(asker, name)
        if not asker.is_root and not await self._may_revoke(asker, record):
            if is_mine(asker, record):
                raise Denied("grants are revoked by root and the role's approvers", f"jitsudo return {record.id}")
            raise Denied("grants are revoked by root and the role's approvers, and you are neither", "jitsudo status --all")
        now = self._state.now()
        envelope = self._granting.revocation(record, asker.person, now, reason).encode().decode("ascii")
        await self._state.record(now, self._state.journal.grant_revoked(record.id, asker.person, reason, envelope))
        why = f"grant {record.id} was revoked by {asker.person.name}: {reason}"
        await self._end_sessions([record], why, context)
        return {"grant": self._grant_info(self._state.book.grants[record.id])}

    async def _end_sessions(self, grants: list[GrantRecord], why: str, context: Context) -> None:
        context.waiting_for = "running sessions are being ended"
        # What calls from inside a session that it gives back is ended with it, and gets no answer.
        ending = [self._sessions.end(s, why) for g in grants for s in self._sessions.under(g.id)]
        await asyncio.gather(*(asyncio.shield(task) for task in ending))

    # Roles, rules, policy, clock.

    async def _roles(self, context: Context, asker: Asker, fields: Fields) -> Json:
        fields.done()
        now, policy, host = self._state.now(), self._policy(), self._state.host
        by_source = any(role.when.source for role in policy.roles.values())
        source = await self._requesting.source(context, asker) if by_source else UNKNOWN_SOURCE
        shown = []
        for name in sorted(policy.roles):
            role = policy.roles[name]
            refusal = may_request(asker.person, role, policy, host, now, source)
            if refusal is None or refusal.code in {"hours", "source", "standing", "unsupported"} or asker.is_root:
                not_now = None if refusal is None or refusal.code == "standing" else refusal
                shown.append(role_info(role, not_now, approvals_needed(role, now, source)))
        return {"roles": shown}

    async def _explain(self, context: Context, asker: Asker, fields: Fields) -> Json:
        argv, run_as = fields.texts("argv"), fields.optional_text("run_as")
        fields.done()
        person = asker.person if asker.session is None else asker.session.person
        now = self._state.trusted_now()
        await self._granting.issue_standing(person, now)
        held, refused = await self._granting.held_by(person, now)
        cwd, state = read_cwd(context.peer.pid), self._state
        policy = seen_by(person, held, state, now)
        by_source = any(role.when.source for role in policy.roles.values())
        source = await self._requesting.source(context, asker) if by_source else UNKNOWN_SOURCE
        explanation = Explained(person, argv, run_as, cwd, held, [error for _, error in refused], source)
        return await self._gate.run(person, lambda: explain_to(explanation, policy, state, now))

    async def _reload(self, context: Context, asker: Asker, fields: Fields) -> Json:
        fields.done()
        asker.require_root("load a policy")
        loaded = await self._loading.reload(asker.person)
        return {"policy": loaded.digest, "roles": len(loaded.policy.roles)}

    async def _accept_clock(self, context: Context, asker: Asker, fields: Fields) -> Json:
        fields.done()
        asker.require_root("accept the clock")
        now = self._state.now()
        self._state.clock.accept(now)
        await self._state.record(now, self._state.journal.clock_accepted(asker.person))
        return {"time": now.wall}

    async def _note_setup(self, context: Context, asker: Asker, fields: Fields) -> Json:
        event, front_end, reason = fields.text("event"), fields.text("front_end"), fields.text("reason")
        fields.done()
        # From inside a session, too: that is where an enabling is confirmed from. It puts on record, and does nothing.
        if asker.person.uid != 0:
            raise Denied("only root may say what setup did")
        journal = self._state.journal
        notes = {
            "setup.enabled": journal.setup_enabled,
            "setup.confirmed": journal.setup_confirmed,
            "setup.rolled_back": journal.setup_rolled_back,
            "setup.disabled": journal.setup_disabled,
            "setup.verify_failed": journal.setup_verify_failed,
        }
        if event not in notes or not all(is_plain_text(text) and len(text) <= MAX_NOTE_CHARS for text in (front_end, reason)):
            raise InvalidValue("not an event of setup's, or its text is not plain, or too long")
        by = asker.person if asker.session is None else asker.session.person
        await self._state.record(self._state.now(), notes[event](by, front_end, reason))
        return {}

    async def _observed(self, context: Context, asker: Asker, fields: Fields) -> Json:
        since = fields.optional_integer("since")
        fields.done()
        asker.require_root("read what was observed")
        context.waiting_for = "what was observed is being looked at"
        return await self._observations.since(since or 0, asker.person)

    # Finding and showing.

    def _policy(self) -> Policy:
        return self._state.require_policy().policy

    async def _decidable(self, asker: Asker, name: str) -> RequestRecord:
        """By part of its id an open one that concerns the asker; by the whole id any, which they may then not decide."""
        known = set()
        for record in self._state.open_requests():
            if is_mine(asker, record) or await self._may_approve(asker, record):
                known.add(record.id)
        return self._state.book.find_request(name, lambda r: asker.is_root or r.id in known or r.id == name.upper())

    async def _revocable(self, asker: Asker, name: str) -> GrantRecord:
        """As `_decidable`: of the grants that are live, or that something still runs under."""
        found = (self._state.book.grants.get(session.grant) for session in self._sessions.all())
        known = set()
        for record in {*self._state.live_grants(), *(grant for grant in found if grant is not None)}:
            if is_mine(asker, record) or await self._may_revoke(asker, record):
                known.add(record.id)
        return self._state.book.find_grant(name, lambda g: asker.is_root or g.id in known or g.id == name.upper())

    async def _visible_request(self, asker: Asker, name: str) -> RequestRecord:
        return self._state.book.find_request(name, lambda r: asker.is_root or is_mine(asker, r))

    async def _may_approve(self, asker: Asker, record: RequestRecord) -> bool:
        if self._state.policy is None:
            return False
        return not isinstance(await approver_answer(asker, record, self._policy(), self._state.people), Deny)

    async def _may_revoke(self, asker: Asker, record: GrantRecord) -> bool:
        request = self._state.book.requests.get(record.request_id) if record.request_id is not None else None
        return request is not None and await self._may_approve(asker, request)

    def _request_info(self, record: RequestRecord, asker: Asker, *, may_approve: bool) -> Json:
        policy = self._state.policy.policy if self._state.policy is not None else None
        needed = self._state.approvals_needed(record.id)
        return request_info(record, policy, needed, mine=is_mine(asker, record), may_approve=may_approve)

    def _grant_info(self, record: GrantRecord) -> Json:
        request = self._state.book.requests.get(record.request_id) if record.request_id is not None else None
        return grant_info(record, request, self._sessions.under(record.id))
