"""Explanations say what the decision says, and why."""

from __future__ import annotations

from bench import HOST, NOW, PROVEN, act, held, load, role_text, world
from jitsudo.policy.evaluate import Challenge, evaluate
from jitsudo.policy.explain import explain, verdict_line
from jitsudo.types import RoleName

POLICY = load(
    role_text("guardrails: [g]\nallow: [{command: /usr/bin/true}, {command: /usr/bin/id}]")
    + "guardrails:\n  g: {match: {command: id}, then: deny, message: No.}\n",
    b=role_text("who: ['user:bob']", "s"),
)


def test_an_allow_is_explained() -> None:
    """The rule that matches, those that do not, roles that are not held, guardrails."""
    found = explain(act("true"), POLICY, (held(),), HOST, NOW, world(), PROVEN)
    assert found.verdict == evaluate(act("true"), POLICY, (held(),), HOST, NOW, world(), PROVEN)
    assert found.lines == (
        "allowed by role r, web.yaml:9, grant G-AAAAAAAA",
        "role r (held by grant G-AAAAAAAA) covers it",
        "  web.yaml:9 matches: command and arguments are those of the rule",
        "  web.yaml:9 does not match: another command",
        "role s (not held) does not cover it",
        "  role s is not open to alice",
        "  b.yaml:7 matches: command and arguments are those of the rule",
        "guardrail g does not fire: what it looks for is not there",
    )


def test_a_deny_is_explained() -> None:
    """With the guardrail that fired."""
    found = explain(act("id"), POLICY, (held(),), HOST, NOW, world(), PROVEN)
    assert found.lines[0] == "denied: No."
    assert "guardrail g fires: it binds every use of the command" in found.lines


def test_a_challenge_has_a_line_too() -> None:
    """For the version that makes them."""
    assert verdict_line(Challenge("confirm", "Sure?", RoleName("r"))) == "challenged (confirm): Sure?"
