"""The role digest: what changes it, and what does not."""

from __future__ import annotations

import pytest

from bench import load
from jitsudo.policy.digest import role_digest
from jitsudo.types import RoleName

BASE = """
version: 1
timezone: UTC
approvers:
  bob: {accounts: [bob, bob-adm], teams: [leads]}
  zoe: {accounts: [zoe], teams: [others]}
roles:
  r:
    description: Text
    who: ["group:web", "user:alice"]
    request: {max_duration: 1h, approvals: 1, from: ["team:leads"]}
    when: {hours: "Mon 08:00-09:00"}
    allow:
      - {command: /usr/bin/a, operands: [{one_of: [x, u]}, int]}
      - {command: /usr/bin/b}
    guardrails: [one]
    tests: [{run: x, expect: deny}]
guardrails:
  one: {match: {command: a}, then: deny, message: M}
  all: {always: true, match: {command: b}, then: deny, message: M}
  other: {match: {command: c}, then: deny, message: M}
"""


def digest(text: str) -> str:
    policy = load(text)
    return role_digest(policy, policy.roles[RoleName("r")])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("description: Text", "description: Other"),
        ("message: M", "message: Other"),
        ("[x, u]", "[u, x]"),
        ('["group:web", "user:alice"]', '["user:alice", "group:web"]'),
        ("[bob, bob-adm]", "[bob-adm, bob]"),
        ("version: 1", "# a comment\n\nversion: 1"),
        ("expect: deny", "expect: allow"),
        ("approvals: 1,", "default_duration: 30m, approvals: 1,"),
        ("{command: c}", "{command: d}"),
        ("accounts: [zoe]", "accounts: [zoe, zed]"),
        ("    when:", "    run_as: {users: [root]}\n    when:"),
    ],
)
def test_what_carries_no_meaning_does_not_change_it(old: str, new: str) -> None:
    """Prose, places, order, tests, defaults written out, other people, other guardrails."""
    assert old in BASE
    assert digest(BASE) == digest(BASE.replace(old, new))


def test_the_order_of_rules_does_not_change_it() -> None:
    """No rule's effect depends on its position."""
    first = "      - {command: /usr/bin/a, operands: [{one_of: [x, u]}, int]}\n"
    second = "      - {command: /usr/bin/b}\n"
    assert digest(BASE) == digest(BASE.replace(first + second, second + first))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[x, u]", "[x, u, z]"),
        ("[{one_of: [x, u]}, int]", "[int, {one_of: [x, u]}]"),
        ('"user:alice"', '"user:carol"'),
        ("max_duration: 1h", "max_duration: 2h"),
        ("approvals: 1", "approvals: 2"),
        ("08:00-09:00", "08:00-09:01"),
        ("timezone: UTC", "timezone: Europe/Berlin"),
        ("{command: a}", "{command: aa}"),
        ("{command: b}", "{command: bb}"),
        ("always: true", "always: false"),
        ("[bob, bob-adm]", "[bob]"),
        ("teams: [others]", "teams: [leads]"),
        ("    guardrails: [one]\n", ""),
        ("    when:", "    authenticate: never\n    when:"),
        ("    when:", "    on_expiry: kill\n    when:"),
        ("    when:", "    hosts: {names: a}\n    when:"),
        ("    when:", "    until: 2027-01-01\n    when:"),
        ("    when:", "    run_as: {users: [www]}\n    when:"),
    ],
)
def test_every_change_of_meaning_changes_it(old: str, new: str) -> None:
    """Wider or narrower."""
    assert old in BASE
    assert digest(BASE) != digest(BASE.replace(old, new))


def test_an_approver_by_name_or_group_is_part_of_it() -> None:
    """Who is one human matters wherever people are counted."""
    for source in ("user:zoe", "group:ops"):
        text = BASE.replace("team:leads", source)
        assert digest(text) != digest(text.replace("accounts: [zoe]", "accounts: [zoe, zed]"))


def test_a_standing_role_has_one_too() -> None:
    """Without approvers."""
    text = BASE.replace('{max_duration: 1h, approvals: 1, from: ["team:leads"]}', "none\n    until: 2027-01-01")
    assert digest(text) == digest(text.replace("[bob, bob-adm]", "[bob]"))
