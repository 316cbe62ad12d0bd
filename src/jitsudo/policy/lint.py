"""What is dangerous, useless or suspicious in a policy that is valid. It never stops a load."""

from __future__ import annotations

from collections.abc import Iterator

from jitsudo.policy.findings import Finding
from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.lint_risks import NO_RISKS, Risks
from jitsudo.policy.lint_roles import lint_role
from jitsudo.policy.model import Policy


def lint(policy: Policy, grammars: Grammars = NO_GRAMMARS, risks: Risks = NO_RISKS) -> tuple[Finding, ...]:
    """Every finding, by place. `risks` is the table of programs that lead to root."""
    found = [finding for role in policy.roles.values() for finding in lint_role(role, policy, grammars, risks)]
    found += _idle_guardrails(policy)
    found += _not_enforced(policy)
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: (finding.pos, finding.code, finding.message)))


def _idle_guardrails(policy: Policy) -> Iterator[Finding]:
    listed = {name for role in policy.roles.values() for name in role.guardrails}
    for guardrail in policy.guardrails.values():
        if not guardrail.always and guardrail.name not in listed:
            message = f"no role lists the guardrail {guardrail.name}, and it is not `always: true`: it never fires"
            yield Finding(guardrail.pos, "dead-rule", "warning", message, "list it in a role, or set `always: true`")


def _not_enforced(policy: Policy) -> Iterator[Finding]:
    """What is parsed, explained and tested, and refuses at run time in this version."""
    cure = "leave it out until a version that enforces it is installed"
    for role in policy.roles.values():
        for message in role.unsupported:
            yield Finding(role.pos, "not-enforced", "warning", message, cure, str(role.name))
        for rule in role.rules:
            for message in rule.unsupported:
                yield Finding(rule.pos, "not-enforced", "warning", message, cure, str(role.name))
    for guardrail in policy.guardrails.values():
        for message in guardrail.unsupported:
            yield Finding(guardrail.pos, "not-enforced", "warning", message, cure)
