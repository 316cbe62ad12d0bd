"""The one decision: may this action happen, under which grant and on what terms?

1 the program exists · 2 live grants · 3 each grant's role, rule by rule · 4 guardrails of every role that covers the
action, and those that bind all · 5 of the grants that allow, the one that asks least of the person.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitsudo.policy.access import (
    ApproverId,
    approvals_satisfied,
    may_approve,
    may_request,
    role_admits,
    roles_open_to,
    standing_roles_of,
)
from jitsudo.policy.analysis import RoleFinding, analyse
from jitsudo.policy.guardrails import GuardrailFinding, check_guardrail
from jitsudo.policy.issues import shown
from jitsudo.policy.model import Never, Policy, Role
from jitsudo.policy.paths import Place
from jitsudo.policy.rules import CommandRule, where
from jitsudo.policy.verdict import (
    NOTHING_ESTABLISHED,
    Action,
    Allow,
    Challenge,
    Circumstances,
    Deny,
    DenyCode,
    ExpiryTerms,
    HeldGrant,
    Host,
    Verdict,
)
from jitsudo.policy.world import Bounded, World
from jitsudo.types import Moment, RoleName

__all__ = [
    "Action",
    "Allow",
    "ApproverId",
    "Challenge",
    "Consideration",
    "Deny",
    "ExpiryTerms",
    "HeldGrant",
    "Host",
    "Verdict",
    "approvals_satisfied",
    "consider",
    "evaluate",
    "may_approve",
    "may_request",
    "roles_open_to",
    "standing_roles_of",
    "suggest",
]

MAX_HINTS = 3
# Which reason a person is told where several grants refuse: the most telling first.
_TELLING: tuple[DenyCode, ...] = ("writable-command", "run-as", "hours", "unsupported", "error", "not-open", "not-covered")


@dataclass(frozen=True, slots=True)
class Consideration:
    """A verdict and everything that led to it."""

    verdict: Verdict
    held: tuple[tuple[HeldGrant, RoleFinding], ...] = ()
    guardrails: tuple[GuardrailFinding, ...] = ()


def evaluate(
    action: Action,
    policy: Policy,
    grants: Sequence[HeldGrant],
    host: Host,
    now: Moment,
    world: World,
    circumstances: Circumstances = NOTHING_ESTABLISHED,
) -> Verdict:
    """Decide. Never raises: what raises inside denies, and stands in the verdict's `faults` for operators."""
    return consider(action, policy, grants, host, now, world, circumstances).verdict


def consider(
    action: Action,
    policy: Policy,
    grants: Sequence[HeldGrant],
    host: Host,
    now: Moment,
    world: World,
    circumstances: Circumstances = NOTHING_ESTABLISHED,
) -> Consideration:
    """Decide, and keep all that was considered. Never raises."""
    try:
        return _consider(action, policy, grants, host, now, Place(Bounded(world), action.cwd))
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the answer is no
        return Consideration(Deny("error", "the policy could not be evaluated", faults=(repr(error),)))


def _consider(
    action: Action, policy: Policy, grants: Sequence[HeldGrant], host: Host, now: Moment, place: Place
) -> Consideration:
    # (1)
    if action.mode == "command" and (action.path is None or not action.argv):
        name = shown(action.argv[0]) if action.argv else "nothing"
        return Consideration(Deny("unknown-command", f"{name}: command not found"))
    # (2)
    live = [g for g in grants if now.wall < g.not_after and (g.uses_left is None or g.uses_left > 0)]
    live = sorted((g for g in live if g.role in policy.roles), key=lambda g: g.id)
    if not live:
        message = f"{action.person.name} holds no grant on this host"
        return Consideration(Deny("no-grant", message, _request_hints(action, policy, (), host, now, place)))
    # (3)
    held = tuple((g, analyse(action, policy.roles[g.role], g.run_as, policy, host, now, place)) for g in live)
    covering = [(g, finding) for g, finding in held if finding.covers]
    # (4)
    roles = [finding.role for _, finding in covering or held]
    names = sorted({guardrail.name for role in roles for guardrail in policy.guardrails_of(role)})
    guardrails = tuple(check_guardrail(policy.guardrails[name], action, place) for name in names)
    fired = next((finding for finding in guardrails if finding.fired), None)
    # (5)
    if fired is not None:
        verdict: Verdict = _guardrail_deny(fired, covering)
    elif covering:
        verdict = _allow(action, *min(covering, key=_least_asked))
    else:
        verdict = _not_covered(action, policy, held, host, now, place)
    return Consideration(_with_faults(verdict, held, guardrails), held, guardrails)


def _least_asked(covering: tuple[HeldGrant, RoleFinding]) -> tuple[int, int, int, str]:
    """The fewest human obligations, then without a use limit, then the latest end."""
    grant, finding = covering
    asks = 0 if isinstance(finding.role.authenticate, Never) else 1
    return asks, 0 if grant.uses_left is None else 1, -grant.not_after, grant.id


def _allow(action: Action, grant: HeldGrant, finding: RoleFinding) -> Verdict:
    rule, role = finding.match, finding.role
    assert isinstance(rule, CommandRule)  # noqa: S101  `covers` says so; anything else is a deny, by `consider`
    return Allow(
        grant=grant.id,
        role=role.name,
        rule=where(rule.pos),
        path=rule.command,
        argv=(posixpath.basename(rule.command), *action.argv[1:]),
        authenticate=role.authenticate,
        on_expiry=ExpiryTerms(role.on_expiry.commands, int(role.on_expiry.grace)),
        uses_limited=grant.uses_left is not None,
    )


def _guardrail_deny(fired: GuardrailFinding, covering: list[tuple[HeldGrant, RoleFinding]]) -> Deny:
    role = covering[0][1].role.name if covering else None
    return Deny("guardrail", fired.message, role=role, guardrail=fired.guardrail.name)


def _not_covered(
    action: Action,
    policy: Policy,
    held: tuple[tuple[HeldGrant, RoleFinding], ...],
    host: Host,
    now: Moment,
    place: Place,
) -> Deny:
    refusals = sorted((finding.refusal for _, finding in held), key=lambda deny: _TELLING.index(deny.code))
    best = refusals[0]
    names = tuple(sorted({grant.role for grant, _ in held}))
    hints = _request_hints(action, policy, names, host, now, place)
    if best.code == "not-covered":
        message = f"no grant of {action.person.name} ({', '.join(names)}) covers {_subject(action, held)}"
        return Deny("not-covered", message, hints, role=best.role)
    if best.code == "run-as" and best.role is not None:
        hints = (*_run_as_hints(action, policy.roles[best.role]), *hints)
    return replace(best, hints=hints)


def _subject(action: Action, held: tuple[tuple[HeldGrant, RoleFinding], ...]) -> str:
    """What is not covered: the program, its arguments, or the user it is to run as."""
    as_user = "" if action.run_as == "root" else f" as {action.run_as}"
    if action.path is None:
        return f"a {action.mode}{as_user}"
    rules = [finding.rule for _, role in held for finding in role.rules]
    known = any(isinstance(rule, CommandRule) and rule.command == action.path for rule in rules)
    return shown(action.path) + (" with these arguments" if known and not as_user else "") + as_user


def _with_faults(
    verdict: Verdict, held: tuple[tuple[HeldGrant, RoleFinding], ...], guardrails: tuple[GuardrailFinding, ...]
) -> Verdict:
    faults = [fault for _, finding in held if finding.gate for fault in finding.gate.faults]
    faults += [rule.fault for _, finding in held for rule in finding.rules if rule.fault]
    faults += [finding.fault for finding in guardrails if finding.fault]
    return replace(verdict, faults=tuple(dict.fromkeys((*verdict.faults, *faults))))


def _run_as_hints(action: Action, role: Role) -> tuple[str, ...]:
    if action.run_as in role.run_as.users:
        return ()
    line = shlex.join(("sudo", "-u", role.run_as.users[0], *action.argv))
    return (line,) if shown(line) == line else ()


def _request_hints(
    action: Action, policy: Policy, held: tuple[RoleName, ...], host: Host, now: Moment, place: Place
) -> tuple[str, ...]:
    roles = [policy.roles[name] for name in _suggest(action, policy, host, now, place) if name not in held]
    return tuple(request_line(role) for role in roles if role.request)[:MAX_HINTS]


def request_line(role: Role) -> str:
    """The command that asks for a role."""
    duration = f" --for {role.request.default_duration}" if role.request else ""
    return f"jitsudo request {role.name}{duration} --reason '…'"


def suggest(action: Action, policy: Policy, host: Host, now: Moment, world: World) -> tuple[RoleName, ...]:
    """The roles whose rules would cover the action and that the person may ask for (or has standing), by name.

    Never raises.
    """
    try:
        return _suggest(action, policy, host, now, Place(Bounded(world), action.cwd))
    except Exception:  # noqa: BLE001  a suggestion is a courtesy; the verdict does not depend on it
        return ()


def _suggest(action: Action, policy: Policy, host: Host, now: Moment, place: Place) -> tuple[RoleName, ...]:
    return tuple(name for name in sorted(policy.roles) if _would_help(policy.roles[name], action, policy, host, now, place))


def _would_help(role: Role, action: Action, policy: Policy, host: Host, now: Moment, place: Place) -> bool:
    """Whether holding the role would allow the action."""
    refuse = role_admits if role.standing else may_request
    if refuse(action.person, role, policy, host, now):
        return False
    if not analyse(action, role, role.run_as.users, policy, host, now, place).covers:
        return False
    return not any(check_guardrail(g, action, place).fired for g in policy.guardrails_of(role))
