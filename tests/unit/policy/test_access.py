"""Who may ask, who may approve, and when there are enough approvals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import ALICE, BOB, HOST, NOW, ROOT, load, role_text
from jitsudo.policy.access import (
    ApproverId,
    approvals_satisfied,
    may_approve,
    may_request,
    roles_open_to,
    standing_roles_of,
)
from jitsudo.policy.evaluate import Deny, Host
from jitsudo.policy.model import Policy, Principal, Role
from jitsudo.types import Moment, Person, RoleName, Uid, UserName

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNn9kY2pQb0Jm3m0mF4m0vO8o3tq1m9cH3h2n5k3m3b"
APPROVERS = """
approvers:
  bob: {accounts: [bob, bob-adm], teams: [leads]}
  carol: {accounts: [carol], teams: [leads, security]}
  alice: {accounts: [alice, alice-adm], teams: [leads]}
"""
BOB_ADM = Person(Uid(2001), UserName("bob-adm"), Uid(2001))
CAROL = Person(Uid(1002), UserName("carol"), Uid(1002))
DAVE = Person(Uid(1003), UserName("dave"), Uid(1003), frozenset({"ops"}))
LEADS = Principal("team", "leads")


def asking(approvals: int = 1, source: str = "team:leads", more: str = "", head: str = APPROVERS) -> tuple[Role, Policy]:
    terms = f"approvals: {approvals}" + (f", from: {source}" if source else "") + more
    policy = load(role_text(f"request: {{max_duration: 1h, {terms}}}", head=head))
    return policy.roles[RoleName("r")], policy


def approve(
    approver: Person, role_and_policy: tuple[Role, Policy], requester: Person = ALICE, **names: UserName | None
) -> ApproverId | Deny:
    return may_approve(
        approver,
        requester,
        *role_and_policy,
        login_name=names.get("login", approver.name),
        requester_login_name=names.get("requester_login", requester.name),
    )


def refusal(found: ApproverId | Deny | None) -> str:
    assert isinstance(found, Deny)
    return found.code


# -- asking ----------------------------------------------------------------------------------------------------------


def test_a_role_is_open_by_user_group_or_team() -> None:
    """And to nobody else."""
    for who in ("user:dave", "group:ops"):
        policy = load(role_text(f"who: ['{who}']", head=APPROVERS))
        role = policy.roles[RoleName("r")]
        assert may_request(DAVE, role, policy, HOST, NOW) is None
        assert refusal(may_request(BOB, role, policy, HOST, NOW)) == "not-open"
    policy = load(role_text("who: ['team:security']", head=APPROVERS))
    role = policy.roles[RoleName("r")]
    assert may_request(CAROL, role, policy, HOST, NOW) is None
    assert refusal(may_request(BOB, role, policy, HOST, NOW)) == "not-open"
    assert refusal(may_request(DAVE, role, policy, HOST, NOW)) == "not-open"


def test_root_never_asks() -> None:
    """Whatever the policy says."""
    policy = load(role_text("who: ['user:root']"))
    role = policy.roles[RoleName("r")]
    assert refusal(may_request(ROOT, role, policy, HOST, NOW)) == "root"
    assert roles_open_to(ROOT, policy, HOST, NOW) == ()


def test_hours_bind_asking() -> None:
    """Strict or not."""
    policy = load(role_text("when: {hours: 'Tue 06:00-06:01'}", head="timezone: UTC"))
    role = policy.roles[RoleName("r")]
    minute = Moment(NOW.wall // 60 * 60, 0)
    start = Moment(minute.wall - (minute.wall % 3600), 0)
    assert may_request(ALICE, role, policy, HOST, start) is None
    assert refusal(may_request(ALICE, role, policy, HOST, Moment(start.wall + 60, 0))) == "hours"
    assert refusal(may_request(ALICE, role, policy, HOST, Moment(start.wall - 1, 0))) == "hours"


def test_roles_open_to_a_person_and_standing_ones() -> None:
    """By name; a standing role is not asked for, an unsupported one is not open."""
    policy = load(
        role_text("", "b"),
        b=role_text("", "a"),
        c=role_text("request: none\nuntil: 2026-12-01", "standing"),
        d=role_text("record: true", "recorded"),
        e=role_text("request: none\nuntil: 2026-12-01\nwho: ['user:root']", "roots"),
    )
    assert [role.name for role in roles_open_to(ALICE, policy, HOST, NOW)] == ["a", "b"]
    assert [role.name for role in standing_roles_of(ALICE, policy, HOST, NOW)] == ["standing"]
    assert standing_roles_of(ROOT, policy, HOST, NOW) == ()
    assert refusal(may_request(ALICE, policy.roles[RoleName("standing")], policy, HOST, NOW)) == "standing"
    assert refusal(may_request(ALICE, policy.roles[RoleName("recorded")], policy, HOST, NOW)) == "unsupported"


def test_a_standing_role_ends_within_400_days() -> None:
    """To the end of the 400th day."""
    near = load(role_text("request: none\nuntil: 2027-12-29"))
    far = load(role_text("request: none\nuntil: 2027-12-30"))
    assert standing_roles_of(ALICE, near, HOST, NOW)
    assert standing_roles_of(ALICE, far, HOST, NOW) == ()


def test_hosts_by_name_and_label() -> None:
    """Both, where both are given."""
    policy = load(role_text("hosts: {names: [db-*, web-*]}"))
    assert roles_open_to(ALICE, policy, Host("web-01"), NOW)
    assert not roles_open_to(ALICE, policy, Host("mail"), NOW)


# -- approving -------------------------------------------------------------------------------------------------------


def test_an_approver_is_a_person_not_an_account() -> None:
    """Two accounts of one entry are one; an account without an entry stands for itself."""
    both = asking(source="['team:leads', 'user:dave', 'group:ops']")
    assert approve(BOB, both) == ApproverId("bob")
    assert approve(BOB_ADM, both) == ApproverId("bob")
    assert approve(DAVE, both) == ApproverId("user:dave")
    found = approve(DAVE, both)
    assert isinstance(found, ApproverId)
    assert found.principals == {Principal("user", "dave"), Principal("group", "ops")}
    assert str(found) == "user:dave"
    assert refusal(approve(DAVE, asking())) == "not-approver"
    assert refusal(approve(DAVE, asking(source="{all_of: ['team:leads', 'team:security']}"))) == "not-approver"


@pytest.mark.parametrize(
    ("approver", "requester", "names"),
    [
        (ALICE, ALICE, {}),
        (replace(BOB, uid=Uid(1000)), ALICE, {}),
        (replace(BOB, login_uid=Uid(1000)), ALICE, {"login": UserName("alice")}),
        (Person(Uid(2000), UserName("alice-adm"), Uid(2000)), ALICE, {}),
        (BOB, replace(ALICE, login_uid=Uid(1001)), {"requester_login": UserName("bob")}),
        (BOB_ADM, replace(ALICE, login_uid=Uid(1001)), {"requester_login": UserName("bob")}),
        (replace(BOB, name=UserName("alice")), ALICE, {}),
        (BOB, replace(ALICE, login_uid=Uid(1077)), {"requester_login": None}),
        (BOB, replace(ALICE, login_uid=Uid(1077)), {"requester_login": UserName("bob")}),
    ],
)
def test_the_requester_never_approves(approver: Person, requester: Person, names: dict[str, UserName | None]) -> None:
    """By uid, login uid, name, another account; nor where it is not known who is behind the request."""
    assert refusal(approve(approver, asking(), requester, **names)) == "not-approver"


def test_a_request_without_a_login_can_be_approved() -> None:
    """Cron may ask."""
    assert approve(BOB, asking(), replace(ALICE, login_uid=None), requester_login=None) == ApproverId("bob")
    other = replace(ALICE, login_uid=Uid(1099))
    assert approve(BOB, asking(), other, requester_login=UserName("eve")) == ApproverId("bob")


def test_who_logged_in_must_be_who_approves() -> None:
    """A shell of another account counts only if both are one human's."""
    assert refusal(approve(replace(BOB, login_uid=None), asking())) == "not-approver"
    assert refusal(approve(replace(BOB, login_uid=Uid(1003)), asking(), login=UserName("dave"))) == "not-approver"
    assert refusal(approve(replace(DAVE, login_uid=Uid(1001)), asking(), login=UserName("bob"))) == "not-approver"
    assert refusal(approve(replace(BOB, login_uid=Uid(2001)), asking(), login=None)) == "not-approver"
    assert approve(replace(BOB, login_uid=Uid(2001)), asking(), login=UserName("bob-adm")) == ApproverId("bob")


def test_root_never_approves() -> None:
    """By uid or by login."""
    assert refusal(approve(ROOT, asking())) == "root"
    assert refusal(approve(replace(BOB, login_uid=Uid(0)), asking(), login=UserName("root"))) == "root"


def test_roles_that_nobody_approves() -> None:
    """Standing, self-service, unsupported."""
    policy = load(role_text("request: none\nuntil: 2026-12-01", head=APPROVERS))
    assert refusal(approve(BOB, (policy.roles[RoleName("r")], policy))) == "not-approver"
    assert refusal(approve(BOB, asking(0, ""))) == "not-approver"
    assert refusal(approve(BOB, asking(more=", renewals: 1"))) == "unsupported"


def test_a_password_does_not_count_where_keys_are_enrolled() -> None:
    """Unless the role says that it does."""
    head = f"approvers:\n  bob: {{accounts: bob, teams: leads, keys: '{KEY}'}}"
    assert refusal(approve(BOB, asking(head=head))) == "not-approver"
    assert approve(BOB, asking(head=head, more=", approve_with: password")) == ApproverId("bob")


# -- enough ----------------------------------------------------------------------------------------------------------


def who(name: str, *teams: str) -> ApproverId:
    return ApproverId(name, frozenset(Principal("team", team) for team in teams))


def test_the_threshold_counts_people() -> None:
    """Not approvals, and none that is not entitled."""
    role, _ = asking(2)
    assert not approvals_satisfied(role, [])
    assert not approvals_satisfied(role, [who("bob", "leads"), who("bob", "leads")])
    assert not approvals_satisfied(role, [who("bob", "leads"), who("eve")])
    assert not approvals_satisfied(role, [who("bob", "leads"), who("eve", "others")])
    assert approvals_satisfied(role, [who("bob", "leads"), who("carol", "leads")])


def test_all_of_needs_another_person_for_each() -> None:
    """One who is in both teams is still one."""
    role, _ = asking(1, "{all_of: ['team:leads', 'team:security']}")
    carol, bob, dora = who("carol", "leads", "security"), who("bob", "leads"), who("dora", "security")
    assert not approvals_satisfied(role, [carol])
    assert not approvals_satisfied(role, [bob])
    assert not approvals_satisfied(role, [bob, who("rob", "leads")])
    assert approvals_satisfied(role, [carol, bob])
    assert approvals_satisfied(role, [bob, carol])
    assert approvals_satisfied(role, [carol, dora])
    assert approvals_satisfied(role, [dora, carol])
    assert not approvals_satisfied(asking(3, "{all_of: ['team:leads', 'team:security']}")[0], [carol, bob])


def test_self_service_needs_nobody_and_a_standing_role_is_never_approved() -> None:
    """No threshold, no approval."""
    assert approvals_satisfied(asking(0, "")[0], [])
    assert approvals_satisfied(asking(0)[0], [])
    assert approvals_satisfied(asking(0, "{all_of: ['team:leads']}")[0], [])
    standing = load(role_text("request: none\nuntil: 2026-12-01")).roles[RoleName("r")]
    assert not approvals_satisfied(standing, [who("bob", "leads")])
    assert not approvals_satisfied(replace(asking()[0], request=replace(asking()[0].request, source=None)), [])  # type: ignore[type-var]
