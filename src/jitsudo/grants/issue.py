"""What a request and its approvals come to: the terms after all narrowing, and the grant with its window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jitsudo.errors import WrongState
from jitsudo.grants.envelope import Envelope
from jitsudo.grants.model import Approval, Grant, Request, parse_approval, parse_request
from jitsudo.types import Duration, HostId, Moment


@dataclass(frozen=True, slots=True)
class Terms:
    """The minimum of all that was asked and narrowed: seconds, and uses (None: unlimited)."""

    duration: Duration
    uses: int | None


def narrowed(request: Request, approvals: Iterable[Approval]) -> Terms:
    """The terms of a request with these approvals."""
    given = tuple(approvals)
    limits = [n for n in (request.uses, *(a.max_uses for a in given)) if n is not None]
    return Terms(min([request.duration, *(a.max_duration for a in given)]), min(limits, default=None))


def build_grant(request_envelope: Envelope, approvals: Sequence[Envelope], now: Moment, host: HostId) -> Grant:
    """The grant for a request whose threshold is reached now; its window starts now, or at the request's `not_before`.

    Nothing is verified here: the caller signs the payload and has `verify_grant` judge the result before anything else.
    Raises `WrongState` once `activate_by` has passed, `InvalidValue` for what is no document.
    """
    request = parse_request(request_envelope.payload)
    not_before = max(now.wall, request.not_before or 0)
    if not_before > request.activate_by:
        raise WrongState("the request was not approved in time", "ask again: jitsudo request …")
    terms = narrowed(request, (parse_approval(approval.payload) for approval in approvals))
    return Grant(request_envelope, tuple(approvals), not_before, not_before + terms.duration, host)
