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
    """The refusal with why grants do not count, if that is so, and its `jitsudo request` lines completed or replaced."""
    hints = tuple(_hint(line, person, state) for line in verdict.hints)
    if verdict.code == "no-grant":
        hints = (*why_not(refused), *hints)
    return replace(verdict, hints=hints)


def why_not(refused: Sequence[DocumentRefused]) -> tuple[str, ...]:
    """A line for each reason why a grant that somebody has does not count."""
    return tuple(dict.fromkeys(f"a grant does not count any more: {error.sentence}" for error in refused))


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
