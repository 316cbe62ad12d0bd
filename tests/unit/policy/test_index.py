"""What decisions look up: roles by person and by program, made once."""

from __future__ import annotations

from dataclasses import replace

from bench import ALICE, HOST, NOW, act, load, role_text, world
from jitsudo.policy.evaluate import MAX_SUGGESTIONS, roles_open_to, suggest
from jitsudo.policy.index import index_of, rules_about
from jitsudo.types import RoleName

TEAM = "approvers:\n  a: {accounts: [alice], teams: [ops]}\n"
POLICY = load(
    role_text("", "by-name"),
    b=role_text("who: ['group:web']\nallow: [{edit: [{literal: /etc/hosts}]}, {shell: {intercept: false}}]", "by-group"),
    c=role_text("who: ['team:ops']\nallow: [{command: /bin/id}]", "by-team", head=TEAM),
    d=role_text("who: ['user:bob']", "bobs"),
    e=role_text("who: ['group:nobody']", "nobodys"),
)


def test_roles_are_found_by_name_group_and_team() -> None:
    """And nobody else's are looked at."""
    names = [role.name for role in index_of(POLICY).admitting(ALICE, POLICY)]
    assert names == ["by-group", "by-name", "by-team"]
    stranger = replace(ALICE, name=ALICE.name.__class__("mallory"), groups=frozenset())
    assert list(index_of(POLICY).admitting(stranger, POLICY)) == []
    assert [role.name for role in roles_open_to(ALICE, POLICY, HOST, NOW)] == names


def test_roles_are_found_by_what_they_are_about() -> None:
    """A program by either of its paths, an edit, a shell."""

    def helpful(action: object) -> list[str]:
        return [role.name for role in index_of(POLICY).helpful(ALICE, action, POLICY)]  # type: ignore[arg-type]

    assert helpful(act("true")) == ["by-name"]
    assert helpful(act("id")) == ["by-team"]
    assert helpful(act("/bin/id")) == ["by-team"]
    assert helpful(act("/sbin/id")) == []
    assert helpful(act("/opt/id")) == []
    assert helpful(replace(act("x", mode="edit"), path=None)) == ["by-group"]
    assert helpful(act("bash", mode="shell")) == ["by-group"]
    assert helpful(act("bash", mode="login-shell")) == ["by-group"]
    assert helpful(replace(act("x"), path=None)) == []
    group = POLICY.roles[RoleName("by-group")]
    assert len(rules_about(act("bash", mode="shell"), group)) == 1
    assert rules_about(act("true"), group) == []


def test_it_is_made_once_a_policy() -> None:
    """Another policy has its own."""
    policy = replace(POLICY)
    policy.compiled.append("somebody else's")
    assert index_of(policy) is index_of(policy)
    fewer = replace(policy, roles={})
    assert index_of(fewer) is not index_of(policy)
    assert list(index_of(fewer).admitting(ALICE, fewer)) == []


def test_not_every_role_is_tried_for_a_hint() -> None:
    """A person to whom a thousand are open has enough to choose from."""
    names = [f"r{number:03d}" for number in range(MAX_SUGGESTIONS + 3)]
    policy = load("version: 1\n", **{name: role_text("", name) for name in names})
    assert suggest(act("true"), policy, HOST, NOW, world()) == tuple(names[:MAX_SUGGESTIONS])
