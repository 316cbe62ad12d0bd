"""What a person has to do first: prove who they are, then confirm, one question at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import HOST, NOW, PROVEN, act, held, load, role, role_text, world
from jitsudo.policy.evaluate import Allow, Challenge, Deny, Verdict, evaluate
from jitsudo.policy.model import AgentProof, Limits, Policy, Within
from jitsudo.policy.verdict import NOTHING_ESTABLISHED, Circumstances, HeldGrant, LimitTerms
from jitsudo.types import RoleName

R = RoleName("r")


def decide(policy: Policy, circumstances: Circumstances = NOTHING_ESTABLISHED, *grants: HeldGrant) -> Verdict:
    return evaluate(act("true"), policy, grants or (held(),), HOST, NOW, world(), circumstances)


def guarded(then: str, role_body: str = "", more: str = "") -> Policy:
    rails = f"guardrails:\n  g: {{match: {{command: 'true'}}, then: {then}, message: Really?{more}}}\n"
    return load(role_text(f"guardrails: [g]\n{role_body}", head=rails))


def test_a_role_asks_who_is_there() -> None:
    """A password by default, and within fifteen minutes: that second is still in time, the next is not."""
    policy = role("")
    asked = Challenge("authenticate", "role r asks who you are", R, Within(900))
    assert decide(policy) == asked
    assert isinstance(decide(policy, Circumstances(authenticated=900)), Allow)
    assert decide(policy, Circumstances(authenticated=901)) == asked
    assert decide(policy, Circumstances(authenticated=-1)) == asked
    assert decide(policy, Circumstances(agent=0, proven_now=True)) == asked


def test_a_role_may_ask_an_agent_or_nobody() -> None:
    """One proof does not stand for the other."""
    agent = role("authenticate: agent")
    asked = Challenge("authenticate", "role r asks who you are", R, AgentProof())
    assert decide(agent, Circumstances(authenticated=0, proven_now=True)) == asked
    assert isinstance(decide(agent, Circumstances(agent=900)), Allow)
    assert decide(agent, Circumstances(agent=901)) == asked
    assert decide(agent, Circumstances(agent=-1)) == asked
    assert isinstance(decide(role("authenticate: never")), Allow)


def test_of_two_grants_the_one_that_is_proven_asks_less() -> None:
    """And one that asks for nothing asks least."""
    policy = load(role_text("authenticate: agent", "a"), b=role_text("", "b"), c=role_text("authenticate: never", "c"))
    a, b, c = held("a"), held("b", id="G-BBBBBBBB"), held("c", id="G-CCCCCCCC")
    for circumstances, grants, role_ in (
        (Circumstances(agent=1), (a, b), "a"),
        (Circumstances(authenticated=1), (a, b), "b"),
        (Circumstances(agent=1), (a, b, c), "c"),
    ):
        verdict = decide(policy, circumstances, *grants)
        assert isinstance(verdict, Allow)
        assert verdict.role == role_


def test_a_guardrail_may_ask_who_is_there_for_this_very_command() -> None:
    """A proof made earlier does not count, nor one of another kind."""
    policy = guarded("authenticate")
    fresh = Challenge("authenticate", "Really?", R, Within(900), fresh=True, guardrail="g")
    assert decide(policy, Circumstances(authenticated=0)) == fresh
    assert isinstance(decide(policy, Circumstances(authenticated=0, proven_now=True)), Allow)
    assert decide(policy, Circumstances(agent=0, proven_now=True)) == fresh
    by_agent = guarded("authenticate", "authenticate: agent")
    assert decide(by_agent) == replace(fresh, proof=AgentProof())
    silent = guarded("authenticate", "authenticate: never")
    assert decide(silent) == fresh
    assert isinstance(decide(silent, Circumstances(authenticated=0, proven_now=True)), Allow)


def test_questions_come_one_at_a_time_after_the_proof() -> None:
    """By the guardrails' names; each answered for this very command."""
    rails = "guardrails:\n" + "".join(
        f"  {name}: {{match: {{command: 'true'}}, then: {then}, message: '{name}?'}}\n"
        for name, then in (("b", "confirm"), ("a", "confirm"), ("z", "authenticate"), ("l", "log"))
    )
    policy = load(role_text("guardrails: [b, a, z, l]", head=rails))
    asked = decide(policy)
    assert isinstance(asked, Challenge)
    assert (asked.kind, asked.guardrail) == ("authenticate", "z")
    assert decide(policy, PROVEN) == Challenge("confirm", "a?", R, guardrail="a")
    assert decide(policy, replace(PROVEN, confirmed=frozenset("a"))) == Challenge("confirm", "b?", R, guardrail="b")
    verdict = decide(policy, replace(PROVEN, confirmed=frozenset("ab")))
    assert isinstance(verdict, Allow)
    assert verdict.guardrails == ("l",)


def test_a_deny_is_not_asked_about() -> None:
    """Nobody has to prove anything to be refused."""
    assert decide(guarded("deny")) == Deny("guardrail", "Really?", role=R, guardrail="g")


@pytest.mark.parametrize(("then", "more"), [("approve", ", from: 'user:bob'"), ("record", "")])
def test_what_a_guardrail_cannot_do_yet_denies_with_a_sentence(then: str, more: str) -> None:
    """Also where only the effect says so."""
    policy = guarded(then, more=more)
    verdict = decide(policy, PROVEN)
    assert isinstance(verdict, Deny)
    assert verdict.message == f"guardrail g uses `then: {then}`, which this version does not enforce yet: it denies"
    bare = replace(policy, guardrails={"g": replace(policy.guardrails["g"], unsupported=())})
    verdict = decide(bare, PROVEN)
    assert isinstance(verdict, Deny)
    assert verdict.message == f"guardrail g asks for `{then}`, which this version does not do yet: it denies"


def test_limits_of_role_and_guardrail_are_passed_on() -> None:
    """The daemon counts them, in one step with the record."""
    policy = guarded("limit", "limits: {uses: 3}", ", limits: {per_hour: 2}")
    verdict = decide(policy, PROVEN)
    assert isinstance(verdict, Allow)
    assert verdict.limits == (LimitTerms("role r", Limits(uses=3)), LimitTerms("guardrail g", Limits(per_hour=2)))
