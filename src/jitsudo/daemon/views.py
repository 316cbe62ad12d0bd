"""Requests, grants, sessions and roles as the control interface shows them (io.jitsudo.Control.varlink)."""

from __future__ import annotations

from collections.abc import Sequence

from jitsudo.daemon.session import Session
from jitsudo.grants.lifecycle import GrantRecord, RequestRecord
from jitsudo.policy.describe import describe_role
from jitsudo.policy.model import Guardrail, Policy, Role
from jitsudo.policy.verdict import Deny
from jitsudo.wire.framing import Json, encode_text


def request_info(
    record: RequestRecord, policy: Policy | None, needed: int, *, mine: bool, may_approve: bool
) -> Json:
    """`needed`: the approvals that it needs at least, whatever its role says."""
    request = record.request
    role = policy.roles.get(request.role) if policy is not None else None
    usual = role.request.approvals if role is not None and role.request is not None else 0
    guardrails = policy.guardrails_of(role) if policy is not None and role is not None else ()
    return {
        "id": record.id,
        "state": str(record.state),
        "role": request.role,
        "person": request.person.name,
        "reason": request.reason,
        "duration": int(request.duration),
        "run_as": list(request.run_as),
        "commands": describe_role(role) if role is not None else [],
        "services": sorted(role.services) if role is not None else [],
        "created": request.created,
        "activate_by": request.activate_by,
        "approvals": [approver for _, _, approver in record.approvals],
        "approvals_needed": max(usual, needed),
        "uses": request.uses,
        "guardrails": [guardrail_text(guardrail) for guardrail in guardrails],
        "outcome": record.outcome,
        "grant": record.grant,
        "mine": mine,
        "may_approve": may_approve,
    }


def grant_info(record: GrantRecord, request: RequestRecord | None, sessions: Sequence[Session]) -> Json:
    left = None if record.uses_allowed is None else record.uses_allowed - record.uses
    return {
        "id": record.id,
        "state": str(record.state),
        "role": record.request.role,
        "person": record.request.person.name,
        "reason": record.request.reason,
        "run_as": list(record.request.run_as),
        "not_before": record.grant.not_before,
        "not_after": record.grant.not_after,
        "uses_left": left,
        "standing": record.standing,
        "approvers": [approver for _, _, approver in request.approvals] if request is not None else [],
        "sessions": [session_info(session) for session in sessions],
    }


def session_info(session: Session) -> Json:
    return {
        "id": session.id,
        "person": session.person.name,
        "run_as": session.run_as,
        "command": encode_text(session.command),
        "started": session.started,
        "ends": session.ends,
    }


def guardrail_text(guardrail: Guardrail) -> str:
    """`confirm-stop (confirm): This takes a production service down.`"""
    return f"{guardrail.name} ({guardrail.then})" + (f": {guardrail.message}" if guardrail.message else "")


def role_info(role: Role, not_now: Deny | None, needed: int) -> Json:
    terms = role.request
    return {
        "name": role.name,
        "description": role.description,
        "standing": role.standing,
        "default_duration": int(terms.default_duration) if terms is not None else None,
        "max_duration": int(terms.max_duration) if terms is not None else None,
        "approvals": needed if terms is not None else None,
        "run_as": list(role.run_as.users),
        "commands": describe_role(role),
        "not_now": not_now.message if not_now is not None else None,
    }
