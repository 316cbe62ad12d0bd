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
    hints = tuple(_hint(line, person, state) for line in verdict.hints)
    message = verdict.message
    if verdict.code == "no-grant" and refused:
        message = "; ".join(dict.fromkeys(f"your grant does not count any more: {error.sentence}" for error in refused))
    return replace(verdict, message=message, hints=hints)


def _hint(line: str, person: Person, state: DaemonState) -> str:
    role = _asked_by(line, state)
    if role is None or role.request is None:
        return line
    for request in state.open_requests():
        if request.request.role == role.name and request.request.person.uid == person.uid:
            return f"your request {request.id} for role {role.name} is waiting for approval: jitsudo status"
    return line if role.request.reason is None else f"{line}    (reason: {role.request.reason.text})"


def _asked_by(line: str, state: DaemonState) -> Role | None:
    """The role that a hint is the `jitsudo request` line of."""
    words = line.split()
    roles = state.require_policy().policy.roles
    role = next((roles[name] for name in roles.keys() & set(words[2:3])), None)
    return role if role is not None and request_line(role) == line else None
