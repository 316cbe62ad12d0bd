"""The one decision: may this action happen, under which grant and on what terms?

1 the program exists · 2 live grants · 3 each grant's role, rule by rule · 4 guardrails of every role that covers the
action, and those that bind all · 5 of the grants that allow, the one that asks least of the person · 6 what the person
has to do first: prove who they are, confirm what guardrails ask.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from jitsudo.policy.access import (
    ApproverId,
    approvals_satisfied,
    may_approve,
    may_request,
    role_admits,
    roles_open_to,
    standing_roles_of,
)
from jitsudo.policy.analysis import OTHER_COMMAND, Holder, RoleFinding, analyse
from jitsudo.policy.demands import challenge, is_proven
from jitsudo.policy.forms import as_edit, edit_line, shell_line
from jitsudo.policy.guardrails import GuardrailFinding, check_guardrail
from jitsudo.policy.index import index_of
from jitsudo.policy.inside import lines_of
from jitsudo.policy.issues import shown
from jitsudo.policy.matching import NOT_THOSE, OTHER_SUBCOMMAND
from jitsudo.policy.model import Never, Policy, Role
from jitsudo.policy.paths import Place
from jitsudo.policy.rules import CommandRule, EditRule, where
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
    LimitTerms,
    Verdict,
)
from jitsudo.policy.world import Bounded, World
from jitsudo.types import AbsPath, Moment, RoleName

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
MAX_SUGGESTIONS = 32  # roles that are tried for a hint, of those that are open to the person and about the program
SUDOEDIT = AbsPath("/usr/bin/sudoedit")

# Which reason a person is told where several grants refuse: the most telling first.
_TELLING: tuple[DenyCode, ...] = (
    "writable-command",
    "digest",
    "run-as",
    "sudo-option",
    "hours",
    "source",
    "unsupported",
    "error",
    "not-open",
    "not-covered",
)


@dataclass(frozen=True, slots=True)
class Consideration:
    """A verdict and everything that led to it."""

    verdict: Verdict
    held: tuple[tuple[HeldGrant, RoleFinding], ...] = ()
    guardrails: tuple[GuardrailFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything about one evaluation that does not change while it lasts."""

    action: Action
    policy: Policy
    host: Host
    now: Moment
    place: Place
    circumstances: Circumstances

    def analyse(self, role: Role, holder: Holder) -> RoleFinding:
        return analyse(self.action, role, holder, self.policy, self.host, self.now, self.place)


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
        return _consider(_Case(action, policy, host, now, place_of(action, policy, world), circumstances), grants)
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, the answer is no
        return Consideration(Deny("error", "the policy could not be evaluated", faults=(repr(error),)))


def place_of(action: Action, policy: Policy, world: World) -> Place:
    """The place at which the action is looked at."""
    return Place(Bounded(world), action.cwd, action.person.name, policy.grammars)


def _consider(case: _Case, grants: Sequence[HeldGrant]) -> Consideration:
    action, policy = case.action, case.policy
    # (1)
    if action.mode == "command" and (action.path is None or not action.argv):
        name = shown(action.argv[0]) if action.argv else "nothing"
        return Consideration(Deny("unknown-command", f"{name}: command not found"))
    # (2)
    live = [g for g in grants if case.now.wall < g.not_after and (g.uses_left is None or g.uses_left > 0)]
    live = sorted((g for g in live if g.role in policy.roles), key=lambda g: g.id)
    if not live:
        message = f"{action.person.name} holds no grant on this host"
        return Consideration(Deny("no-grant", message, _request_hints(case, ())))
    # (3)
    source = case.circumstances.source
    held = tuple((g, case.analyse(policy.roles[g.role], Holder(g.run_as, source, g.approvals))) for g in live)
    covering = [(g, finding) for g, finding in held if finding.covers]
    # (4)
    guardrails = _check_guardrails(case, [finding for _, finding in covering or held])
    fired = [finding for finding in guardrails if finding.fired]
    denying = next((finding for finding in fired if finding.denies), None)
    # (5) (6)
    if denying is not None:
        verdict: Verdict = _guardrail_deny(denying, covering)
    elif covering:
        grant, finding = min(covering, key=lambda one: _least_asked(one[0], one[1], case.circumstances))
        asked = challenge(finding.role, fired, case.circumstances)
        verdict = asked if asked is not None else _allow(action, fired, grant, finding)
    else:
        verdict = _not_covered(case, held)
    return Consideration(_with_faults(verdict, held, guardrails), held, guardrails)


def _check_guardrails(case: _Case, findings: Sequence[RoleFinding]) -> tuple[GuardrailFinding, ...]:
    """Those of these roles and those that bind all, by name."""
    bound = {g.name: g for finding in findings for g in case.policy.guardrails_of(finding.role)}
    rules = tuple(finding.match for finding in findings if isinstance(finding.match, CommandRule))
    lines = lines_of(case.action, rules, case.place)
    return tuple(check_guardrail(bound[name], lines, case.place) for name in sorted(bound))


def _least_asked(grant: HeldGrant, finding: RoleFinding, circumstances: Circumstances) -> tuple[int, int, int, str]:
    """The fewest human obligations, then without a use limit, then the latest end."""
    proof = finding.role.authenticate
    asks = 0 if isinstance(proof, Never) else (1 if is_proven(proof, circumstances) else 2)
    return asks, 0 if grant.uses_left is None else 1, -grant.not_after, grant.id


def _allow(action: Action, fired: Sequence[GuardrailFinding], grant: HeldGrant, finding: RoleFinding) -> Allow:
    found, role = finding.best, finding.role
    assert found is not None  # noqa: S101  `covers` says so; anything else is a deny, by `consider`
    rule = found.rule
    path, argv = _what_runs(action, rule, found.files)
    is_command = isinstance(rule, CommandRule | EditRule)
    return Allow(
        grant=grant.id,
        role=role.name,
        rule=where(rule.pos),
        path=path,
        argv=argv,
        authenticate=role.authenticate,
        on_expiry=ExpiryTerms(role.on_expiry.commands if is_command else role.on_expiry.shells, int(role.on_expiry.grace)),
        uses_limited=grant.uses_left is not None,
        mode=action.mode,
        digest=rule.digest if isinstance(rule, CommandRule) else None,
        environment=role.environment,
        limits=_limits(role, fired),
        files=found.files,
        check=rule.check if isinstance(rule, EditRule) else (),
        keep_environment="-E" in action.sudo_options,
        guardrails=tuple(one.guardrail.name for one in fired if one.guardrail.then == "log"),
    )


def _what_runs(action: Action, rule: object, files: Sequence[AbsPath]) -> tuple[AbsPath, tuple[str, ...]]:
    if isinstance(rule, CommandRule):
        return rule.command, (posixpath.basename(rule.command), *action.argv[1:])
    if isinstance(rule, EditRule):
        return SUDOEDIT, ("sudoedit", *files)
    assert action.path is not None  # noqa: S101  no rule about shells matches without one
    login = "-" if action.mode == "login-shell" else ""
    return action.path, (login + posixpath.basename(action.path), *action.argv)


def _limits(role: Role, fired: Sequence[GuardrailFinding]) -> tuple[LimitTerms, ...]:
    own = (LimitTerms(f"role {role.name}", role.limits),) if role.limits else ()
    return own + tuple(
        LimitTerms(f"guardrail {one.guardrail.name}", one.guardrail.limits) for one in fired if one.guardrail.limits
    )


def _guardrail_deny(fired: GuardrailFinding, covering: Sequence[tuple[HeldGrant, RoleFinding]]) -> Deny:
    role = covering[0][1].role.name if covering else None
    return Deny("guardrail", fired.message, role=role, guardrail=fired.guardrail.name)


def _not_covered(case: _Case, held: tuple[tuple[HeldGrant, RoleFinding], ...]) -> Deny:
    refusals = sorted((finding.refusal for _, finding in held), key=lambda deny: _TELLING.index(deny.code))
    best = refusals[0]
    names = tuple(sorted({grant.role for grant, _ in held}))
    hints = _request_hints(case, names)
    if best.code == "not-covered":
        message = f"no grant of {case.action.person.name} ({', '.join(names)}) covers {_subject(case.action, held)}"
        return Deny(_uncovered_code(case.action), message, (*_other_forms(case, held), *hints), role=best.role)
    if best.code == "run-as" and best.role is not None:
        hints = (*_run_as_hints(case.action, case.policy.roles[best.role]), *hints)
    return replace(best, hints=(*best.hints, *hints))


def _other_forms(case: _Case, held: tuple[tuple[HeldGrant, RoleFinding], ...]) -> tuple[str, ...]:
    """What a held role has instead of what was typed."""
    edit = as_edit(case.action)
    for grant, finding in held:
        if finding.gate is not None:
            continue
        if lines := shell_line(case.action, finding.role):
            return lines
        holder = Holder(grant.run_as, case.circumstances.source, grant.approvals)
        if edit is not None and replace(case, action=edit).analyse(finding.role, holder).covers:
            return edit_line(edit)
    return ()


def _uncovered_code(action: Action) -> DenyCode:
    return "shell" if action.mode in ("shell", "login-shell") else "not-covered"


def _subject(action: Action, held: tuple[tuple[HeldGrant, RoleFinding], ...]) -> str:
    """What is not covered: the program, its arguments, or the user it is to run as."""
    as_user = "" if action.run_as == "root" else f" as {action.run_as}"
    if action.mode == "edit":
        return f"editing {shown(' '.join(action.argv[1:4]))}{as_user}"
    if action.mode != "command" or action.path is None:
        return f"a shell{as_user}"
    known = any(finding.rules for _, finding in held)
    if as_user or not known:
        return shown(action.path) + as_user
    why = _why_not_these(held)
    return f"{shown(action.path)} with these arguments{f': {why}' if why else ''}"


def _why_not_these(held: tuple[tuple[HeldGrant, RoleFinding], ...]) -> str | None:
    """What the rules about the program have against its arguments, if they agree; those of another sub-command do not count."""
    whys = {rule.why for _, finding in held for rule in finding.rules if rule.why != OTHER_COMMAND}
    if NOT_THOSE in whys:  # a rule to which all else was right, and which would say only that these are not its arguments
        return None
    whys = whys - {OTHER_SUBCOMMAND} or whys
    return min(whys) if len(whys) == 1 else None


def _with_faults(
    verdict: Verdict, held: tuple[tuple[HeldGrant, RoleFinding], ...], guardrails: tuple[GuardrailFinding, ...]
) -> Verdict:
    faults = [fault for _, finding in held if finding.gate for fault in finding.gate.faults]
    faults += [rule.fault for _, finding in held for rule in finding.rules if rule.fault]
    faults += [finding.fault for finding in guardrails if finding.fault]
    return replace(verdict, faults=tuple(dict.fromkeys((*verdict.faults, *faults)))) if faults else verdict


def _run_as_hints(action: Action, role: Role) -> tuple[str, ...]:
    if action.run_as in role.run_as.users or action.mode != "command":
        return ()
    line = shlex.join(("sudo", "-u", role.run_as.users[0], *action.argv))
    return (line,) if shown(line) == line else ()


def _request_hints(case: _Case, held: tuple[RoleName, ...]) -> tuple[str, ...]:
    return tuple(request_line(role) for role in islice(_helpful(case, held), MAX_HINTS) if role.request)


def request_line(role: Role) -> str:
    """The command that asks for a role."""
    duration = f" --for {role.request.default_duration}" if role.request else ""
    return f"jitsudo request {role.name}{duration} --reason '…'"


def suggest(
    action: Action,
    policy: Policy,
    host: Host,
    now: Moment,
    world: World,
    circumstances: Circumstances = NOTHING_ESTABLISHED,
) -> tuple[RoleName, ...]:
    """Roles whose rules would cover the action and that the person may ask for (or has standing), by name.

    Of the first MAX_SUGGESTIONS that come into question. Never raises.
    """
    try:
        case = _Case(action, policy, host, now, place_of(action, policy, world), circumstances)
        return tuple(role.name for role in _helpful(case))
    except Exception:  # noqa: BLE001  a suggestion is a courtesy; the verdict does not depend on it
        return ()


def _helpful(case: _Case, held: tuple[RoleName, ...] = ()) -> Iterator[Role]:
    roles = index_of(case.policy).helpful(case.action.person, case.action, case.policy)
    others = (role for role in roles if role.name not in held)
    return (role for role in islice(others, MAX_SUGGESTIONS) if _would_help(role, case))


def _would_help(role: Role, case: _Case) -> bool:
    """Whether holding the role would allow the action, or have it challenged."""
    person, source = case.action.person, case.circumstances.source
    if role.standing:
        refused = role_admits(person, role, case.policy, case.host, case.now)
    else:
        refused = may_request(person, role, case.policy, case.host, case.now, source)
    if refused:
        return False
    finding = case.analyse(role, Holder(role.run_as.users, source, role.when.otherwise_approvals or 0))
    return finding.covers and not any(found.fired and found.denies for found in _check_guardrails(case, [finding]))
