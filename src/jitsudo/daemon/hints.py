"""The ways out of a refusal, with what only the daemon knows: what was asked for already, what a reason must look like."""

from __future__ import annotations

from dataclasses import replace

from jitsudo.daemon.state import DaemonState
from jitsudo.policy.evaluate import request_line
from jitsudo.policy.model import Role
from jitsudo.policy.verdict import Deny
from jitsudo.types import Person


def with_state(verdict: Deny, person: Person, state: DaemonState) -> Deny:
    """The refusal, its `jitsudo request` lines completed or, where the person has asked already, replaced."""
    by_line = {request_line(role): role for role in state.require_policy().policy.roles.values()}
    hints = (_hint(line, by_line.get(line), person, state) for line in verdict.hints)
    return replace(verdict, hints=tuple(hints))


def _hint(line: str, role: Role | None, person: Person, state: DaemonState) -> str:
    if role is None or role.request is None:
        return line
    for request in state.open_requests():
        if request.request.role == role.name and request.request.person.uid == person.uid:
            return f"your request {request.id} for role {role.name} is waiting for approval: jitsudo status"
    return line if role.request.reason is None else f"{line}    (reason: {role.request.reason.text})"
