"""Explanations say what the decision says, and why."""

from __future__ import annotations

from dataclasses import replace

from bench import HOST, NOW, PROVEN, ROOT, act, held, load, role_text, world
from jitsudo.policy.evaluate import Action, Challenge, Deny, evaluate
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


def test_what_does_not_exist_is_not_explained_rule_by_rule() -> None:
    """No rule can be about it; which grants are held has nothing to do with that."""
    found = explain(replace(act("nosuch"), path=None), POLICY, (held(),), HOST, NOW, world(), PROVEN)
    assert found.lines == ("denied: nosuch: command not found", "no rule was looked at: rules are about programs of this host")


def test_root_is_told_that_no_grant_is_needed() -> None:
    """Outside a session; roles are explained all the same, as a session of root's would be judged."""
    found = explain(act("true", person=ROOT), POLICY, (), HOST, NOW, world(), PROVEN)
    said = "root outside a session needs no grant: what it runs is allowed and on record"
    assert found.lines[0] == f"{said} (by a grant of root's own: denied: root holds no grant on this host)"


def test_every_rule_is_explained_whatever_it_is_about() -> None:
    """Edits, shells and other commands as well."""
    rules = "{command: /usr/bin/true}, {command: /usr/bin/id}, {edit: [{literal: /etc/hosts}]}, {shell: {intercept: false}}"
    policy = load(role_text(f"allow: [{rules}]"))

    def lines(action: Action) -> list[str]:
        found = explain(action, policy, (held(),), HOST, NOW, world(), PROVEN)
        return [line.partition(": ")[2] for line in found.lines if line.startswith("  web.yaml")]

    other, edit, shell, command = "another command", "it is about editing", "it is about a shell", "it is about a command"
    assert lines(act("true")) == ["command and arguments are those of the rule", other, edit, shell]
    asked = replace(act("sudoedit", "/etc/none", mode="edit"), path=None)
    assert lines(asked) == [command, command, "/etc/none is not one of the rule's files", shell]
    why = "/usr/bin/bash is not an executable file that root alone can change"
    assert lines(act("bash", mode="shell")) == [command, command, edit, why]


def test_a_rule_that_raises_is_explained_and_reported() -> None:
    """It does not match."""
    on = world()
    on.broken = True
    found = explain(act("true"), load(role_text("")), (held(),), HOST, NOW, on, PROVEN)
    assert "  web.yaml:8 does not match: it could not be evaluated" in found.lines
    assert isinstance(found.verdict, Deny)
    assert found.verdict.faults == ("web.yaml:8: OSError('broken')",)
