"""The life of requests and grants: every transition in one table, and the fold of the ledger over it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from jitsudo.errors import Ambiguous, InvalidValue, NotFound, WrongState
from jitsudo.grants.envelope import Envelope, decode_envelope
from jitsudo.grants.issue import narrowed
from jitsudo.grants.model import (
    MAX_APPROVAL_BYTES,
    MAX_GRANT_BYTES,
    MAX_REQUEST_BYTES,
    MAX_REVOCATION_BYTES,
    Approval,
    Grant,
    Request,
    digest,
    grant_id,
    parse_approval,
    parse_grant,
    parse_request,
    parse_revocation,
    request_id,
)
from jitsudo.types import Digest, GrantId, RequestId, SessionId


class State(StrEnum):
    """Where a request, or the grant that it became, is."""

    REQUESTED = "requested"
    APPROVED = "approved"
    ACTIVE = "active"
    EXPIRED = "expired"
    RETURNED = "returned"
    REVOKED = "revoked"
    USED_UP = "used-up"
    DENIED = "denied"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed-out"


# Every transition there is; None: there is no such request or grant yet. A request has the state of its grant.
TRANSITIONS: Mapping[tuple[State | None, str], State] = {
    (None, "request.created"): State.REQUESTED,
    (State.REQUESTED, "approval.given"): State.APPROVED,
    (State.APPROVED, "approval.given"): State.APPROVED,
    (State.REQUESTED, "request.denied"): State.DENIED,
    (State.APPROVED, "request.denied"): State.DENIED,
    (State.REQUESTED, "request.cancelled"): State.CANCELLED,
    (State.APPROVED, "request.cancelled"): State.CANCELLED,
    (State.REQUESTED, "request.timed_out"): State.TIMED_OUT,
    (State.APPROVED, "request.timed_out"): State.TIMED_OUT,
    (State.REQUESTED, "grant.issued"): State.ACTIVE,  # a role with `approvals: 0`
    (State.APPROVED, "grant.issued"): State.ACTIVE,
    (None, "grant.issued"): State.ACTIVE,  # a standing role: nobody asked
    (State.ACTIVE, "grant.used"): State.ACTIVE,
    (State.ACTIVE, "grant.used_up"): State.USED_UP,
    (State.ACTIVE, "grant.expired"): State.EXPIRED,
    (State.ACTIVE, "grant.returned"): State.RETURNED,
    (State.ACTIVE, "grant.revoked"): State.REVOKED,
    # A command may outlive the window or be the last use; whoever revokes or gives back means to end that too.
    (State.USED_UP, "grant.returned"): State.RETURNED,
    (State.USED_UP, "grant.revoked"): State.REVOKED,
    (State.EXPIRED, "grant.returned"): State.RETURNED,
    (State.EXPIRED, "grant.revoked"): State.REVOKED,
}


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the ledger: `time` in Unix seconds, `boot` the boot's id."""

    seq: int
    time: int
    boot: str
    type: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as the ledger has it. `approvals` in order, each with its envelope and the approver's id in the policy."""

    id: RequestId
    request: Request
    envelope: Envelope
    state: State
    created: int
    approvals: tuple[tuple[Approval, Envelope, str], ...] = ()
    grant: GrantId | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class GrantRecord:
    """A grant as the ledger has it. `request_id` is None for a standing one; `uses_allowed` None is unlimited."""

    id: GrantId
    digest: Digest
    grant: Grant
    request: Request
    request_id: RequestId | None
    envelope: Envelope
    state: State
    issued: int
    standing: bool
    uses_allowed: int | None
    uses: int = 0
    outcome: str | None = None


class Book:
    """The requests and grants to which the ledger's events add up. Signatures are not looked at here."""

    def __init__(self) -> None:
        self.requests: dict[RequestId, RequestRecord] = {}
        self.grants: dict[GrantId, GrantRecord] = {}
        self._nonces: set[str] = set()
        self._gone: set[str] = set()

    def apply(self, event: Event) -> None:
        """Take one event in; those that are not about requests or grants are ignored.

        Raises `WrongState` if the table does not allow it, `InvalidValue` if its body is malformed; either way nothing has
        changed.
        """
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)

    def forget(self, before: int, used: Collection[GrantId] = ()) -> frozenset[str]:
        """Let go of requests and grants whose time was up by `before` (Unix seconds); the ids of those that went.

        Their ids and nonces stay known, so that no other document gets them. Grants that are `used` stay, and revoked standing
        ones: they say that no other is to be made.
        """
        gone: set[str] = set()
        for grant in [*self.grants.values()]:
            stays = grant.id in used or (grant.standing and grant.state is State.REVOKED)
            if grant.state is not State.ACTIVE and grant.grant.not_after < before and not stays:
                del self.grants[grant.id]
                gone.add(grant.id)
        for request in [*self.requests.values()]:
            is_over = request.state not in (State.REQUESTED, State.APPROVED) and request.request.activate_by < before
            if request.grant in gone or (request.grant is None and is_over):
                del self.requests[request.id]
                gone.add(request.id)
        self._gone |= gone
        return frozenset(gone)

    def find_request(self, prefix: str, visible: Callable[[RequestRecord], bool] | None = None) -> RequestRecord:
        """The request whose id begins with `prefix`, among those that are `visible`."""
        return _find(self.requests, "R-", prefix, visible)

    def find_grant(self, prefix: str, visible: Callable[[GrantRecord], bool] | None = None) -> GrantRecord:
        """The grant whose id begins with `prefix`, among those that are `visible`."""
        return _find(self.grants, "G-", prefix, visible)

    def _request_created(self, event: Event) -> None:
        envelope = _envelope(event, MAX_REQUEST_BYTES)
        request, rid = parse_request(envelope.payload), request_id(envelope.payload)
        _require_own(event, "request", rid)
        self._require_new(rid)
        known = self.requests.get(rid)
        state = _next(known.state if known else None, event, rid)
        self._claim(request.nonce)
        self.requests[rid] = RequestRecord(rid, request, envelope, state, event.time)

    def _approval_given(self, event: Event) -> None:
        record, state = self._request(event)
        envelope = _envelope(event, MAX_APPROVAL_BYTES)
        approval, approver = parse_approval(envelope.payload), _text(event, "approver")
        if approval.request != digest(record.envelope.payload):
            raise WrongState(f"the approval is of another request than {record.id}")
        if any(approver == other for _, _, other in record.approvals):
            raise WrongState(f"{approver} has already approved {record.id}")
        approvals = (*record.approvals, (approval, envelope, approver))
        self.requests[record.id] = replace(record, state=state, approvals=approvals)

    def _request_ended(self, event: Event) -> None:
        record, state = self._request(event)
        self.requests[record.id] = replace(record, state=state, outcome=_outcome(event))

    def _grant_issued(self, event: Event) -> None:
        envelope = _envelope(event, MAX_GRANT_BYTES)
        grant, gid = parse_grant(envelope.payload), grant_id(envelope.payload)
        _require_own(event, "grant", gid)
        self._require_new(gid)
        if gid in self.grants:
            raise WrongState(f"there is a grant {gid} already")
        request, rid = parse_request(grant.request.payload), request_id(grant.request.payload)
        asked = self.requests.get(rid)
        standing = _flag(event, "standing")
        if standing != (asked is None):
            raise WrongState(f"a grant for {rid}, which " + ("somebody asked for" if standing else "nobody asked for"))
        state = _next(asked.state if asked else None, event, rid)
        if asked is not None:
            recorded = [envelope for _, envelope, _ in asked.approvals]
            if asked.envelope != grant.request or any(a not in recorded for a in grant.approvals):
                raise WrongState(f"the grant holds another request or approval than {rid} has on record")
        terms = narrowed(request, (parse_approval(approval.payload) for approval in grant.approvals))
        if asked is None:
            self._claim(request.nonce)
        else:
            self.requests[rid] = replace(asked, state=state, grant=gid, outcome=f"granted: {gid}")
        self.grants[gid] = GrantRecord(
            gid, digest(envelope.payload), grant, request, None if standing else rid, envelope, state, event.time, standing,
            terms.uses,
        )

    def _grant_used(self, event: Event) -> None:
        record, state = self._grant(event)
        SessionId(_text(event, "session"))
        if record.uses_allowed is not None and record.uses >= record.uses_allowed:
            raise WrongState(f"{record.id} has no uses left")
        self.grants[record.id] = replace(record, state=state, uses=record.uses + 1)

    def _grant_ended(self, event: Event) -> None:
        record, state = self._grant(event)
        if event.type == "grant.revoked":
            revocation = parse_revocation(_envelope(event, MAX_REVOCATION_BYTES).payload)
            if revocation.grant != record.digest:
                raise WrongState(f"the revocation is of another grant than {record.id}")
        outcome = _outcome(event)
        if record.request_id is not None:
            asked = self.requests[record.request_id]
            self.requests[asked.id] = replace(asked, state=state, outcome=outcome)
        self.grants[record.id] = replace(record, state=state, outcome=outcome)

    def _request(self, event: Event) -> tuple[RequestRecord, State]:
        rid = RequestId(_text(event, "request"))
        record = self.requests.get(rid)
        if record is None:
            raise WrongState(f"there is no request {rid}")
        return record, _next(record.state, event, rid)

    def _grant(self, event: Event) -> tuple[GrantRecord, State]:
        gid = GrantId(_text(event, "grant"))
        record = self.grants.get(gid)
        if record is None:
            raise WrongState(f"there is no grant {gid}")
        return record, _next(record.state, event, gid)

    def _require_new(self, document: str) -> None:
        if document in self._gone:
            raise WrongState(f"there was a {document} already", "ask again: jitsudo request …")

    def _claim(self, nonce: str) -> None:
        if nonce in self._nonces:
            raise WrongState("the request's nonce was used before", "ask again: jitsudo request …")
        self._nonces.add(nonce)


_HANDLERS: Mapping[str, Callable[[Book, Event], None]] = {
    "request.created": Book._request_created,
    "approval.given": Book._approval_given,
    "request.denied": Book._request_ended,
    "request.cancelled": Book._request_ended,
    "request.timed_out": Book._request_ended,
    "grant.issued": Book._grant_issued,
    "grant.used": Book._grant_used,
    "grant.used_up": Book._grant_ended,
    "grant.expired": Book._grant_ended,
    "grant.returned": Book._grant_ended,
    "grant.revoked": Book._grant_ended,
}

R = TypeVar("R", RequestRecord, GrantRecord)
Id = TypeVar("Id", bound=str)


def _next(state: State | None, event: Event, name: str) -> State:
    try:
        return TRANSITIONS[state, event.type]
    except KeyError:
        raise WrongState(f"{name} is {state}: {event.type} is not possible any more, or not yet") from None


def _outcome(event: Event) -> str:
    """The sentence that tells the requester how it ended."""
    match event.type:
        case "request.denied":
            return f"denied by {_by(event)}: {_text(event, 'reason')}"
        case "request.cancelled":
            return f"cancelled by {_by(event)}"
        case "request.timed_out":
            return "timed out: nobody decided in time"
        case "grant.returned":
            return f"returned by {_by(event)}"
        case "grant.revoked":
            return f"revoked by {_by(event)}: {_text(event, 'reason')}"
        case "grant.used_up":
            return "used up"
        case _:
            return "expired"


def _by(event: Event) -> str:
    """Who did it: a name, or a person as documents write one."""
    by = event.body.get("by")
    name = by.get("name") if isinstance(by, Mapping) else by
    if not isinstance(name, str):
        raise InvalidValue(f"event {event.seq}: {event.type}: 'by' names nobody")
    return name


def _text(event: Event, name: str) -> str:
    value = event.body.get(name)
    if not isinstance(value, str):
        raise InvalidValue(f"event {event.seq}: {event.type}: {name!r} is missing or not text")
    return value


def _require_own(event: Event, name: str, document: str) -> None:
    """Where the event says which document it is about, it is the one that it holds."""
    if event.body.get(name, document) != document:
        raise WrongState(f"the document is {document}, not the {name} that the event names")


def _flag(event: Event, name: str) -> bool:
    value = event.body.get(name)
    if not isinstance(value, bool):
        raise InvalidValue(f"event {event.seq}: {event.type}: {name!r} is missing or not true or false")
    return value


def _envelope(event: Event, max_payload: int) -> Envelope:
    try:
        raw = _text(event, "envelope").encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"event {event.seq}: {event.type}: the envelope is not text") from error
    return decode_envelope(raw, max_payload)


def _find(records: Mapping[Id, R], letter: str, prefix: str, visible: Callable[[R], bool] | None) -> R:
    wanted = prefix.upper().removeprefix(letter)
    found = [
        record
        for key, record in records.items()
        if wanted and key[2:].startswith(wanted) and (visible is None or visible(record))
    ]
    if not found:
        raise NotFound(f"there is no {letter}{wanted}" if wanted else "no id was given", "jitsudo status; jitsudo requests")
    if len(found) > 1:
        raise Ambiguous(f"{prefix} fits {', '.join(sorted(record.id for record in found))}", "write more of the id")
    return found[0]
