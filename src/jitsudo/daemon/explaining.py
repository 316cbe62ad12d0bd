"""`jitsudo explain`: why a person may, or may not, run a command now, by the same analysis as a decision."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import replace

from jitsudo.daemon.state import DaemonState
from jitsudo.elevation.environment import SECURE_PATH
from jitsudo.errors import DocumentRefused, InvalidValue
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.world import HostWorld
from jitsudo.policy.access import role_admits
from jitsudo.policy.explain import Explanation, explain
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import Action, Allow, Challenge, Deny, HeldGrant
from jitsudo.types import AbsPath, Moment, Person, UserName
from jitsudo.wire.framing import Json, encode_text


async def explain_to(
    person: Person,
    argv: Sequence[str],
    run_as: str | None,
    cwd: AbsPath,
    held: Sequence[HeldGrant],
    refused: Sequence[DocumentRefused],
    state: DaemonState,
    now: Moment,
) -> Json:
    """The verdict and every rule considered; nothing is recorded, since nothing happens."""
    if not argv or not argv[0]:
        raise InvalidValue("no command was given", "jitsudo explain -- systemctl restart nginx.service")
    policy = _seen_by(person, held, state, now)
    action = Action(
        person=person,
        run_as=UserName(run_as or "root"),
        run_as_group=None,
        mode="command",
        path=_look_up(argv[0]),
        argv=tuple(argv),
        cwd=cwd,
    )

    def run() -> Explanation:
        with HostWorld(SystemAccounts().by_name) as world:
            return explain(action, policy, held, state.host, now, world)

    explanation = await asyncio.to_thread(run)
    notes = [f"a grant of yours was refused at step {error.step}: {error.sentence}" for error in refused]
    match explanation.verdict:
        case Allow():
            verdict = "allow"
        case Deny():
            verdict = "deny"
        case Challenge():
            verdict = "challenge"
    return {"verdict": verdict, "text": encode_text("\n".join([*explanation.lines, *notes]))}


def _seen_by(person: Person, held: Sequence[HeldGrant], state: DaemonState, now: Moment) -> Policy:
    """The policy without the roles that are neither open to the person nor held: how those are made is not theirs to see."""
    policy = state.require_policy().policy
    mine = {grant.role for grant in held}
    shown = {
        name: role
        for name, role in policy.roles.items()
        if name in mine or role_admits(person, role, policy, state.host, now) is None
    }
    return replace(policy, roles=shown)


def _look_up(name: str) -> AbsPath | None:
    """As front ends look a command up; by name alone, since the daemon does not see what a person's folder holds."""
    if "/" in name:
        return AbsPath(name) if name.startswith("/") else None
    for folder in SECURE_PATH.split(":"):
        path = f"{folder}/{name}"
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return AbsPath(path)
    return None
