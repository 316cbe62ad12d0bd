"""Asking for a role: whether it is open now and from here, on what terms, and how many have to approve."""

from __future__ import annotations

from typing import Final

from jitsudo.daemon.approving import Approving
from jitsudo.daemon.authz import Asker
from jitsudo.daemon.background import Background
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.judging import found_source
from jitsudo.daemon.rates import Rate
from jitsudo.daemon.server import Context
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.views import request_info
from jitsudo.errors import Denied, InvalidValue, TooMany
from jitsudo.grants.model import request_id
from jitsudo.host.source import Sources
from jitsudo.policy.access import approvals_needed, may_request
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Source
from jitsudo.types import Duration, Moment, Reason
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import Json

MAX_OPEN_REQUESTS: Final = 50  # a person
MAX_LIVE_GRANTS: Final = 50  # a person, standing ones aside
MAX_USES: Final = 1_000_000


class Requesting:
    """Request, for the control interface."""

    def __init__(
        self,
        state: DaemonState,
        granting: Granting,
        approving: Approving,
        sources: Sources,
        gate: Gate,
        background: Background,
    ) -> None:
        self._state = state
        self._granting = granting
        self._approving = approving
        self._sources = sources
        self._gate = gate
        self._background = background
        self._asking = Rate(burst=300, seconds=10.0)

    async def request(self, context: Context, asker: Asker, fields: Fields) -> Json:
        name, seconds, text = fields.text("role"), fields.optional_integer("duration"), fields.optional_text("reason")
        uses = fields.optional_integer("uses")
        fields.done()
        asker.require_outside("ask for a role")
        now, policy = self._state.trusted_now(), self._state.require_policy().policy
        role = self._granting.require_role(name)
        source = await self.source(context, asker) if role.when.source else UNKNOWN_SOURCE
        if refusal := may_request(asker.person, role, policy, self._state.host, now, source):
            raise Denied(refusal.message, next(iter(refusal.hints), None))
        terms = role.request
        if terms is None:
            raise Denied(f"role {name} is standing: nobody asks for it, just use it")
        duration = Duration(seconds if seconds is not None else int(terms.default_duration))
        if duration > terms.max_duration:
            raise Denied(f"role {name} is given for at most {terms.max_duration}", f"--for {terms.max_duration}")
        reason = Reason(text if text is not None else "")
        if terms.reason is not None and not terms.reason.matches(reason):
            raise Denied(f"role {name} wants a reason of the form {terms.reason.text}")
        if uses is not None and not 0 < uses <= MAX_USES:
            raise InvalidValue(f"uses must be 1 to {MAX_USES}")
        self._check_rates(asker, now)
        envelope = self._granting.request(asker.person, role, now, duration, reason, uses)
        made = request_id(envelope.payload)
        needed = approvals_needed(role, now, source)
        text = envelope.encode().decode("ascii")
        more = needed if needed > terms.approvals else None
        entry = self._state.journal.request_created(made, asker.person, name, reason, text, more, source.address)
        await self._state.record(now, entry)
        record = self._state.book.requests[made]
        if needed == 0:
            await self._background.finish(self._approving.issue_if_earned(record, now))
        else:
            await self._approving.tell_approvers(record, asker.person)
        info = request_info(self._state.book.requests[made], policy, needed, mine=True, may_approve=False)
        return {"request": info}

    async def source(self, context: Context, asker: Asker) -> Source:
        """Where the asker's login comes from, by the kernel."""
        context.waiting_for = "where you are logged in from is being looked up"
        return await self._gate.run(asker.person, lambda: found_source(self._sources, context.peer))

    def _check_rates(self, asker: Asker, now: Moment) -> None:
        """Raises TooMany. All live grants of a person are verified at each of their commands, and all is kept for ever."""
        person = asker.person
        mine = [r for r in self._state.open_requests() if r.request.person.uid == person.uid]
        if len(mine) >= MAX_OPEN_REQUESTS:
            raise TooMany(f"you have {len(mine)} open requests", "jitsudo cancel R-…")
        live = [g for g in self._state.live_grants() if g.request.person.uid == person.uid and not g.standing]
        if len(live) >= MAX_LIVE_GRANTS:
            raise TooMany(f"you hold {len(live)} grants", "jitsudo return G-… or --all")
        if self._asking.admit(person.uid, now.boot) is None:
            raise TooMany("you have asked too often", "wait a while")
