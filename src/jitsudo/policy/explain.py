"""Why an action is allowed or not: every role, rule and guardrail that was considered, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitsudo.policy.analysis import Holder, RoleFinding, analyse, other_rule
from jitsudo.policy.evaluate import Consideration, consider, place_of
from jitsudo.policy.model import Policy
from jitsudo.policy.rules import where
from jitsudo.policy.verdict import (
    NOTHING_ESTABLISHED,
    Action,
    Allow,
    Challenge,
    Circumstances,
    Deny,
    HeldGrant,
    Host,
    Verdict,
)
from jitsudo.policy.world import World
from jitsudo.types import Moment


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict, as `evaluate` gives it, and its reasons, one a line."""

    verdict: Verdict
    lines: tuple[str, ...]


def explain(
    action: Action,
    policy: Policy,
    grants: Sequence[HeldGrant],
    host: Host,
    now: Moment,
    world: World,
    circumstances: Circumstances = NOTHING_ESTABLISHED,
) -> Explanation:
    """Decide as `evaluate` does, and say why. Roles that are not held are explained as if they were. Never raises."""
    considered = consider(action, policy, grants, host, now, world, circumstances)
    lines = [_about_root(considered.verdict) if action.person.uid == 0 else verdict_line(considered.verdict)]
    place = place_of(action, policy, world)
    for grant, finding in considered.held:
        holder = Holder(grant.run_as, circumstances.source, grant.approvals)
        found = analyse(action, finding.role, holder, policy, host, now, place, thorough=True)
        lines += _role_lines(found, action, f"held by grant {grant.id}")
    if isinstance(considered.verdict, Deny) and considered.verdict.code == "unknown-command":
        return Explanation(considered.verdict, (*lines, "no rule was looked at: rules are about programs of this host"))
    held = {grant.role for grant, _ in considered.held}
    for name in sorted(set(policy.roles) - held):
        role = policy.roles[name]
        holder = Holder(role.run_as.users, circumstances.source, role.when.otherwise_approvals or 0)
        lines += _role_lines(analyse(action, role, holder, policy, host, now, place, thorough=True), action, "not held")
    lines += _guardrail_lines(considered)
    return Explanation(considered.verdict, tuple(lines))


def verdict_line(verdict: Verdict) -> str:
    """A verdict in one line."""
    if isinstance(verdict, Allow):
        return f"allowed by role {verdict.role}, {verdict.rule}, grant {verdict.grant}"
    if isinstance(verdict, Challenge):
        return f"challenged ({verdict.kind}): {verdict.message}"
    return f"denied: {verdict.message}"


def _about_root(verdict: Verdict) -> str:
    inside = f"by a grant of root's own: {verdict_line(verdict)}"
    return f"root outside a session needs no grant: what it runs is allowed and on record ({inside})"


def _role_lines(finding: RoleFinding, action: Action, held: str) -> list[str]:
    verdict = "covers it" if finding.covers else "does not cover it"
    lines = [f"role {finding.role.name} ({held}) {verdict}"]
    if finding.gate is not None:
        lines.append(f"  {finding.gate.message}")
    about = {id(one.rule): one for one in finding.rules}
    findings = [about.get(id(rule)) or other_rule(rule, action) for rule in finding.role.rules]
    for rule in sorted(findings, key=lambda one: one.rule.pos):
        lines.append(f"  {where(rule.rule.pos)} {'matches' if rule.matched else 'does not match'}: {rule.why}")
    if finding.role.services:
        lines.append(f"  access through {', '.join(sorted(finding.role.services))} is no command")
    return lines


def _guardrail_lines(considered: Consideration) -> list[str]:
    return [
        f"guardrail {finding.guardrail.name} {'fires' if finding.fired else 'does not fire'}: {finding.why}"
        for finding in considered.guardrails
    ]
