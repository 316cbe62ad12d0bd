"""Command lines made to cost more than they may."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.host.world import HostWorld
from jitsudo.policy.evaluate import evaluate
from jitsudo.policy.verdict import Action, Allow, Circumstances, Deny, HeldGrant, Host, Verdict
from jitsudo.types import AbsPath, GrantId, Moment, Person, RoleName, Uid, UserName

POLICY = b"""
version: 1
roles:
  look:
    description: Look at logs
    who: ["user:alice"]
    request: {max_duration: 1h, approvals: 0}
    allow: [{command: /usr/bin/tail, operands: [{path: {under: /var/log}, count: "1.."}]}]
guardrails:
  no-wipe:
    always: true
    match: {command: rm, any_operand: [{path: {under: [/etc, /boot, /usr, /var/lib]}}]}
    then: deny
    message: No.
"""
LETTERS = "qwertyuiopasdfghjklzxcvbnm"
COSTLY = {
    "bundles for a guardrail": ("rm", *(f"-{LETTERS * 9}{n}" for n in range(4000))),
    "paths that go up and down": ("rm", *["/etc/" + "../etc/" * 500 + "x"] * 400),
    "paths for a rule": ("tail", *["/var/log/" + "../log/" * 500] * 400),
}
HONEST = ("tail", *(f"/var/log/{n}.log" for n in range(1500)))
SECONDS = 15.0  # of this thread; without a bound the first takes a minute


@pytest.mark.parametrize("argv", COSTLY.values(), ids=COSTLY)
def test_no_command_line_costs_more_than_a_moment(argv: tuple[str, ...]) -> None:
    """It is denied once it has cost what one may cost."""
    began = time.thread_time()
    assert isinstance(decide(argv), Deny)
    assert time.thread_time() - began < SECONDS


def test_many_files_are_not_too_many() -> None:
    """A role for logs still takes more of them than anybody has."""
    assert isinstance(decide(HONEST), Allow)


def decide(argv: tuple[str, ...]) -> Verdict:
    program = Path("/usr/bin", argv[0])
    if not program.exists():
        pytest.skip(f"no {program} here")
    policy = load_policy_bytes({"p.yaml": POLICY}).policy
    alice = Person(Uid(1000), UserName("alice"), Uid(1000))
    action = Action(alice, UserName("root"), None, "command", AbsPath(str(program)), argv, AbsPath("/"))
    held = [HeldGrant(GrantId("G-AAAAAAAA"), RoleName("look"), (UserName("root"),), 2_000_000_000, None)]
    with HostWorld(lambda _: None) as world:
        return evaluate(action, policy, held, Host("h"), Moment(1_900_000_000, 1.0), world, Circumstances(authenticated=0))
