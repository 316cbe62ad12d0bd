"""What only the daemon knows of a refusal: what was asked for already, which grants do not count any more, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jitsudo.daemon.state import DaemonState
from jitsudo.errors import DocumentRefused
from jitsudo.policy.evaluate import request_line
from jitsudo.policy.model import Role
from jitsudo.policy.verdict import Deny
from jitsudo.types import Person


def with_state(verdict: Deny, person: Person, state: DaemonState, refused: Sequence[DocumentRefused] = ()) -> Deny:
    """The refusal with the real reason where grants were refused, and its `jitsudo request` lines completed or replaced."""
    by_line = {request_line(role): role for role in state.require_policy().policy.roles.values()}
    hints = tuple(_hint(line, by_line.get(line), person, state) for line in verdict.hints)
    message = verdict.message
    if verdict.code == "no-grant" and refused:
        message = "; ".join(dict.fromkeys(f"your grant does not count any more: {error.sentence}" for error in refused))
    return replace(verdict, message=message, hints=hints)


def _hint(line: str, role: Role | None, person: Person, state: DaemonState) -> str:
    if role is None or role.request is None:
        return line
    for request in state.open_requests():
        if request.request.role == role.name and request.request.person.uid == person.uid:
            return f"your request {request.id} for role {role.name} is waiting for approval: jitsudo status"
    return line if role.request.reason is None else f"{line}    (reason: {role.request.reason.text})"
