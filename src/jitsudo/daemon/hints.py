"""The way out of a refusal: the exact `jitsudo request` line that would help, or what it waits for already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from jitsudo.daemon.state import DaemonState
from jitsudo.policy.verdict import Deny
from jitsudo.types import Duration, Person, RoleName

MAX_HINTS = 3
HELPABLE = frozenset({"no-grant", "not-covered"})  # what another role's grant could change


def with_ways_out(verdict: Deny, roles: Iterable[RoleName], person: Person, state: DaemonState) -> Deny:
    """The refusal with a line for each role that would cover the command, at most MAX_HINTS."""
    lines = [line for line in (_line(role, person, state) for role in roles) if line is not None]
    return replace(verdict, hints=(*lines[:MAX_HINTS], *verdict.hints))


def _line(name: RoleName, person: Person, state: DaemonState) -> str | None:
    role = state.require_policy().policy.roles.get(name)
    if role is None or role.request is None:
        return None
    for request in state.open_requests():
        if request.request.role == name and request.request.person.uid == person.uid:
            return f"your request {request.id} for role {name} is waiting for approval: jitsudo status"
    duration = Duration(role.request.default_duration)
    reason = "" if role.request.reason is None else f"    (the reason must match {role.request.reason.text})"
    return f"jitsudo request {name} --for {duration} --reason '…'{reason}"
