"""What each role, rule by rule, says of one action: the one analysis that deciding, suggesting and explaining share."""

from __future__ import annotations

from dataclasses import dataclass

from jitsudo.policy.access import role_admits
from jitsudo.policy.argv import operands_match
from jitsudo.policy.hours import hours_hold
from jitsudo.policy.model import Policy, Role
from jitsudo.policy.paths import Place, is_roots_program, is_same_program
from jitsudo.policy.rules import CommandRule, Rule, where
from jitsudo.policy.verdict import Action, Deny, DenyCode, Host
from jitsudo.types import Moment, UserName


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What became of one rule; `code` says what kept it from matching, `fault` tells operators what raised."""

    rule: Rule
    matched: bool
    why: str
    code: DenyCode = "not-covered"
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class RoleFinding:
    """What became of one role: `gate` is what refuses it whatever its rules say; None if nothing does."""

    role: Role
    gate: Deny | None
    rules: tuple[RuleFinding, ...]

    @property
    def match(self) -> CommandRule | None:
        """The rule that covers the action; of several, the first by place, though which makes no difference."""
        rules = [f.rule for f in self.rules if f.matched and isinstance(f.rule, CommandRule)]
        return min(rules, key=lambda rule: rule.pos) if rules else None

    @property
    def covers(self) -> bool:
        """Whether the role allows the action, guardrails aside."""
        return self.gate is None and self.match is not None

    @property
    def refusal(self) -> Deny:
        """Why not, for a role that does not cover the action."""
        rule = self.match
        if rule is not None and self.gate is not None:
            return self.gate
        for code in ("writable-command", "unsupported"):
            for finding in self.rules:
                if finding.code == code and not finding.matched:
                    return Deny(finding.code, finding.why, role=self.role.name, rule=where(finding.rule.pos))
        return Deny("not-covered", f"role {self.role.name} does not cover this command", role=self.role.name)


def analyse(
    action: Action, role: Role, run_as: tuple[UserName, ...], policy: Policy, host: Host, now: Moment, place: Place
) -> RoleFinding:
    """Put the action to a role that is held for the users `run_as`. Never raises."""
    rules = tuple(_check_rule(rule, action, place) for rule in role.rules)
    try:
        gate = _gate(action, role, run_as, policy, host, now)
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the role must not count
        gate = Deny("error", f"role {role.name} could not be evaluated", role=role.name, faults=(f"{role.name}: {error!r}",))
    return RoleFinding(role, gate, rules)


def _gate(
    action: Action, role: Role, run_as: tuple[UserName, ...], policy: Policy, host: Host, now: Moment
) -> Deny | None:
    if refused := role_admits(action.person, role, policy, host, now):
        return refused
    if role.when.hours is not None and role.when.hours.strict and not hours_hold(role.when.hours, now):
        return Deny("hours", f"role {role.name} cannot be used at this hour", role=role.name)
    users = [user for user in role.run_as.users if user in run_as]
    if action.run_as not in users:
        allowed = " or ".join(users) or "nobody here"
        return Deny("run-as", f"role {role.name} runs as {allowed}, not as {action.run_as}", role=role.name)
    if action.run_as_group is not None and action.run_as_group not in role.run_as.groups:
        return Deny("run-as", f"role {role.name} does not run as the group {action.run_as_group}", role=role.name)
    return None


def _check_rule(rule: Rule, action: Action, place: Place) -> RuleFinding:
    """Never raises: what raises does not match."""
    try:
        return _rule_finding(rule, action, place)
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the rule must not match
        return RuleFinding(rule, False, "it could not be evaluated", fault=f"{where(rule.pos)}: {error!r}")


def _rule_finding(rule: Rule, action: Action, place: Place) -> RuleFinding:
    if not isinstance(rule, CommandRule):
        return RuleFinding(rule, False, rule.unsupported[0], "unsupported" if _is_about(rule, action) else "not-covered")
    if action.mode != "command" or action.path is None or not action.argv:
        return RuleFinding(rule, False, "it is about a command")
    if not is_same_program(action.path, rule.command, place.world):
        return RuleFinding(rule, False, "another command")
    if rule.unsupported:
        return RuleFinding(rule, False, rule.unsupported[0], "unsupported")
    if not operands_match(rule.shape.operands or (), action.argv[1:], place):
        return RuleFinding(rule, False, "the arguments are not those of the rule")
    if not is_roots_program(rule.command, place.world):
        why = f"{rule.command} is not an executable file that root alone can change"
        return RuleFinding(rule, False, why, "writable-command")
    return RuleFinding(rule, True, "command and arguments are those of the rule")


def _is_about(rule: Rule, action: Action) -> bool:
    return type(rule).__name__ == {"edit": "EditRule", "shell": "ShellRule"}.get(action.mode)
