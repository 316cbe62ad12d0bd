"""What each role, rule by rule, says of one action: the one analysis that deciding, suggesting and explaining share."""

from __future__ import annotations

from dataclasses import dataclass, field

from jitsudo.policy.access import role_admits
from jitsudo.policy.argv import MAX_ARGUMENTS
from jitsudo.policy.conditions import refuses_use
from jitsudo.policy.index import rules_about
from jitsudo.policy.issues import shown
from jitsudo.policy.matching import MATCHES, refusal_of
from jitsudo.policy.model import Policy, Role
from jitsudo.policy.nodes import Pos
from jitsudo.policy.paths import Place, both_ways_are_roots, is_same_program, shortest
from jitsudo.policy.rules import CommandRule, EditRule, Rule, ShellRule, where
from jitsudo.policy.values import argument_matches
from jitsudo.policy.verdict import Action, Deny, DenyCode, Host, Source
from jitsudo.types import AbsPath, Moment, UserName

OTHER_COMMAND = "another command"
_OTHER_MODE = {CommandRule: "it is about a command", EditRule: "it is about editing", ShellRule: "it is about a shell"}


@dataclass(frozen=True, slots=True)
class Holder:
    """How a role is held, or would be: for which users, approved by how many people, used from where."""

    run_as: tuple[UserName, ...]
    source: Source
    approvals: int = 0


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What became of one rule; `code` says what kept it from matching, `fault` tells operators what raised.

    `files`: those that an edit rule admits, as resolved.
    """

    rule: Rule
    matched: bool
    why: str
    code: DenyCode = "not-covered"
    fault: str | None = None
    files: tuple[AbsPath, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleFinding:
    """What became of one role: `gate` is what refuses it whatever its rules say; None if nothing does.

    `rules` are those about this program or this kind of action, by place, up to the first that matches; unless all were asked
    for. The others cannot match, or cannot matter.
    """

    role: Role
    gate: Deny | None
    rules: tuple[RuleFinding, ...]
    best: RuleFinding | None = field(init=False)

    def __post_init__(self) -> None:
        # Of several, the first by place, though which makes no difference.
        object.__setattr__(self, "best", next((finding for finding in self.rules if finding.matched), None))

    @property
    def match(self) -> Rule | None:
        """The rule that covers the action."""
        return self.best.rule if self.best else None

    @property
    def covers(self) -> bool:
        """Whether the role allows the action, guardrails aside."""
        return self.gate is None and self.best is not None

    @property
    def refusal(self) -> Deny:
        """Why not, for a role that does not cover the action."""
        if self.best is not None and self.gate is not None:
            return self.gate
        for code in ("writable-command", "digest", "unsupported"):
            for finding in self.rules:
                if finding.code == code and not finding.matched:
                    return Deny(finding.code, finding.why, role=self.role.name, rule=where(finding.rule.pos))
        return Deny("not-covered", f"role {self.role.name} does not cover this command", role=self.role.name)


def analyse(
    action: Action,
    role: Role,
    holder: Holder,
    policy: Policy,
    host: Host,
    now: Moment,
    place: Place,
    *,
    thorough: bool = False,
) -> RoleFinding:
    """Put the action to a role that is held like this; `thorough`: to every rule about it. Never raises."""
    rules: list[RuleFinding] = []
    for rule in sorted(rules_about(action, role), key=_place_of):
        rules.append(_check_rule(rule, action, place))
        if rules[-1].matched and not thorough:
            break
    try:
        gate = _gate(action, role, holder, policy, host, now)
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the role must not count
        gate = Deny("error", f"role {role.name} could not be evaluated", role=role.name, faults=(f"{role.name}: {error!r}",))
    return RoleFinding(role, gate, tuple(rules))


def _place_of(rule: Rule) -> Pos:
    return rule.pos


def _gate(action: Action, role: Role, holder: Holder, policy: Policy, host: Host, now: Moment) -> Deny | None:
    if refused := role_admits(action.person, role, policy, host, now):
        return refused
    if refused := refuses_use(role, now, holder.source, holder.approvals):
        return refused
    users = [user for user in role.run_as.users if user in holder.run_as]
    if action.run_as not in users:
        allowed = " or ".join(users) or "nobody here"
        return Deny("run-as", f"role {role.name} runs as {allowed}, not as {action.run_as}", role=role.name)
    if action.run_as_group is not None and action.run_as_group not in role.run_as.groups:
        return Deny("run-as", f"role {role.name} does not run as the group {action.run_as_group}", role=role.name)
    return _refuses_options(action, role)


def _refuses_options(action: Action, role: Role) -> Deny | None:
    """sudo's own options, as far as a role has to admit them; a variable also by `environment: keep`."""
    for option in sorted(action.sudo_options - {"VAR"}):
        if option not in role.sudo_options:
            message = f"role {role.name} does not admit sudo's option {option}"
            return Deny("sudo-option", message, ("leave the option out",), role=role.name)
    if "VAR" in role.sudo_options:
        return None
    keep = role.environment.keep if role.environment else ()
    for name in sorted(action.variables):
        if not any(name == kept or (kept.endswith("*") and name.startswith(kept[:-1])) for kept in keep):
            message = f"role {role.name} does not admit the variable {shown(name)} on sudo's command line"
            return Deny("sudo-option", message, ("leave the variable out",), role=role.name)
    return None


def other_rule(rule: Rule, action: Action) -> RuleFinding:
    """What became of a rule that is not about this action at all."""
    about = {"command": CommandRule, "edit": EditRule}.get(action.mode, ShellRule)
    return RuleFinding(rule, False, OTHER_COMMAND if isinstance(rule, about) else _OTHER_MODE[type(rule)])


def _check_rule(rule: Rule, action: Action, place: Place) -> RuleFinding:
    """Never raises: what raises does not match."""
    try:
        if rule.unsupported:
            return RuleFinding(rule, False, rule.unsupported[0], "unsupported")
        if isinstance(rule, CommandRule):
            return _command_finding(rule, action, place)
        return _edit_finding(rule, action, place) if isinstance(rule, EditRule) else _shell_finding(rule, action, place)
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the rule must not match
        return RuleFinding(rule, False, "it could not be evaluated", fault=f"{where(rule.pos)}: {error!r}")


def _command_finding(rule: CommandRule, action: Action, place: Place) -> RuleFinding:
    if action.path is None or not action.argv or not is_same_program(action.path, rule.command, place.world):
        return RuleFinding(rule, False, OTHER_COMMAND)
    if why := refusal_of(rule, action.argv[1:], place):
        return RuleFinding(rule, False, why)
    if not place.is_roots_program(rule.command):
        why = f"{rule.command} is not an executable file that root alone can change"
        return RuleFinding(rule, False, why, "writable-command")
    if rule.digest is not None and place.world.digest(rule.command) != rule.digest:
        return RuleFinding(rule, False, f"{rule.command} is not the program whose digest the rule pins", "digest")
    return RuleFinding(rule, True, MATCHES)


# -- edit ------------------------------------------------------------------------------------------------------------


def _edit_finding(rule: EditRule, action: Action, place: Place) -> RuleFinding:
    names = action.argv[1:]
    if not 0 < len(names) <= MAX_ARGUMENTS:
        return RuleFinding(rule, False, "no file is named, or too many are")
    files: list[AbsPath] = []
    for name in names:
        real = _editable(rule, name, place)
        if real is None:
            return RuleFinding(rule, False, f"{shown(name)} is not one of the rule's files")
        files.append(real)
    return RuleFinding(rule, True, "every file is one of the rule's", files=tuple(files))


def _editable(rule: EditRule, name: str, place: Place) -> AbsPath | None:
    """Where the file is, if it is one of the rule's, by its full name, and nobody but root could exchange it."""
    path = place.absolute(name)
    real = place.world.real_path(path) if path and not name.startswith("-") and not name.endswith("/") else None
    if path is None or real is None or not any(argument_matches(type_, shortest(path), place) for type_ in rule.files):
        return None
    facts = place.world.facts(real)
    if facts is not None and facts.kind != "file":
        return None
    return real if both_ways_are_roots(shortest(path), real, place.world) else None


# -- shell -----------------------------------------------------------------------------------------------------------


def _shell_finding(rule: ShellRule, action: Action, place: Place) -> RuleFinding:
    if rule.intercept or rule.record or rule.only_listed:
        return RuleFinding(rule, False, "shells that are watched are not there yet", "unsupported")
    if action.path is None:
        return RuleFinding(rule, False, "there is no shell to run", "shell")
    if not place.is_roots_program(action.path):
        why = f"{shown(action.path)} is not an executable file that root alone can change"
        return RuleFinding(rule, False, why, "writable-command")
    return RuleFinding(rule, True, "the role has a shell")
