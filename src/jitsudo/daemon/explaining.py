"""`jitsudo explain`: why a person may, or may not, run a command now, by the same analysis as a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitsudo.daemon.passed import find_program
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import DocumentRefused, InvalidValue
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.world import HostWorld
from jitsudo.policy.access import role_admits
from jitsudo.policy.explain import explain
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import Action, Allow, Challenge, Circumstances, Deny, HeldGrant, Source
from jitsudo.types import AbsPath, Moment, Person, UserName
from jitsudo.wire.framing import Json, encode_text


@dataclass(frozen=True, slots=True)
class Explained:
    """What is to be explained, and to whom."""

    person: Person
    argv: Sequence[str]
    run_as: str | None
    cwd: AbsPath
    held: Sequence[HeldGrant]
    refused: Sequence[DocumentRefused]
    source: Source


def explain_to(asked: Explained, policy: Policy, state: DaemonState, now: Moment) -> Json:
    """The verdict and every rule considered; nothing is recorded, since nothing happens. Blocks. Raises InvalidValue."""
    if not asked.argv or not asked.argv[0]:
        raise InvalidValue("no command was given", "jitsudo explain -- systemctl restart nginx.service")
    is_edit = asked.argv[0] == "sudoedit"
    path = None if is_edit else find_program(asked.argv[0], None)
    action = Action(
        person=asked.person,
        run_as=UserName(asked.run_as or "root"),
        run_as_group=None,
        mode="edit" if is_edit else "command",
        path=None if path is None else AbsPath(path),
        argv=tuple(asked.argv),
        cwd=asked.cwd,
    )
    with HostWorld(SystemAccounts().by_name) as world:
        explanation = explain(action, policy, asked.held, state.host, now, world, Circumstances(source=asked.source))
    notes = [f"a grant of yours was refused at step {error.step}: {error.sentence}" for error in asked.refused]
    match explanation.verdict:
        case Allow():
            verdict = "allow"
        case Deny():
            verdict = "allow" if asked.person.uid == 0 else "deny"  # root outside a session needs no grant
        case Challenge():
            verdict = "challenge"
    return {"verdict": verdict, "text": encode_text("\n".join([*explanation.lines, *notes]))}


def seen_by(person: Person, held: Sequence[HeldGrant], state: DaemonState, now: Moment) -> Policy:
    """The policy without the roles that are neither open to the person nor held: how those are made is not theirs to see."""
    policy = state.require_policy().policy
    mine = {grant.role for grant in held}
    shown = {
        name: role
        for name, role in policy.roles.items()
        if name in mine or role_admits(person, role, policy, state.host, now) is None
    }
    return replace(policy, roles=shown)
