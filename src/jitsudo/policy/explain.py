"""Why an action is allowed or not: every role, rule and guardrail that was considered, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitsudo.policy.analysis import RoleFinding, analyse
from jitsudo.policy.evaluate import Consideration, consider
from jitsudo.policy.model import Policy
from jitsudo.policy.paths import Place
from jitsudo.policy.rules import where
from jitsudo.policy.verdict import (
    NOTHING_ESTABLISHED,
    Action,
    Allow,
    Challenge,
    Circumstances,
    HeldGrant,
    Host,
    Verdict,
)
from jitsudo.policy.world import Bounded, World
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
    lines = [verdict_line(considered.verdict)]
    for grant, finding in considered.held:
        lines += _role_lines(finding, f"held by grant {grant.id}")
    held = {grant.role for grant, _ in considered.held}
    place = Place(Bounded(world), action.cwd)
    for name in sorted(set(policy.roles) - held):
        role = policy.roles[name]
        lines += _role_lines(analyse(action, role, role.run_as.users, policy, host, now, place), "not held")
    lines += _guardrail_lines(considered)
    return Explanation(considered.verdict, tuple(lines))


def verdict_line(verdict: Verdict) -> str:
    """A verdict in one line."""
    if isinstance(verdict, Allow):
        return f"allowed by role {verdict.role}, {verdict.rule}, grant {verdict.grant}"
    if isinstance(verdict, Challenge):
        return f"challenged ({verdict.kind}): {verdict.message}"
    return f"denied: {verdict.message}"


def _role_lines(finding: RoleFinding, held: str) -> list[str]:
    verdict = "covers it" if finding.covers else "does not cover it"
    lines = [f"role {finding.role.name} ({held}) {verdict}"]
    if finding.gate is not None:
        lines.append(f"  {finding.gate.message}")
    for rule in sorted(finding.rules, key=lambda one: one.rule.pos):
        lines.append(f"  {where(rule.rule.pos)} {'matches' if rule.matched else 'does not match'}: {rule.why}")
    return lines


def _guardrail_lines(considered: Consideration) -> list[str]:
    return [
        f"guardrail {finding.guardrail.name} {'fires' if finding.fired else 'does not fire'}: {finding.why}"
        for finding in considered.guardrails
    ]
