"""Who may come in through a PAM service, by which grant, and what those are told who may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import ALICE, BOB, HOST, NOW, act, held, load, world
from jitsudo.policy import admission
from jitsudo.policy.admission import Admitted, Entrance, admit, service_named
from jitsudo.policy.describe import describe_role
from jitsudo.policy.explain import explain
from jitsudo.policy.model import Limits, Policy
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Deny, ExpiryTerms, HeldGrant, LimitTerms, Source
from jitsudo.types import GrantId, Moment, Person, RoleName, UserName

ROOT, POSTGRES = UserName("root"), UserName("postgres")


def role(access: str = "{services: [su]}", more: str = "", name: str = "r", request: str = "") -> str:
    terms = request or "{max_duration: 1h, default_duration: 20m, approvals: 0}"
    return f"""  {name}:
    description: x
    who: ["user:alice"]
    request: {terms}
    access: {access}
""" + "".join(f"    {line}\n" for line in more.splitlines())


def policy(*roles: str) -> Policy:
    return load("version: 1\nroles:\n" + "".join(roles or (role(),)))


def enter(
    rules: Policy,
    *grants: HeldGrant,
    service: str = "su",
    user: UserName | None = ROOT,
    person: Person = ALICE,
    now: Moment = NOW,
    source: Source = UNKNOWN_SOURCE,
) -> Admitted | Deny:
    return admit(Entrance(person, service, user), rules, grants or (held(),), HOST, now, source)


def code(found: Admitted | Deny) -> str:
    return found.code if isinstance(found, Deny) else "admitted"


def test_a_grant_of_a_role_with_access_lets_in_on_the_roles_terms() -> None:
    """How it ends is what the role says of shells; limits are the role's own."""
    rules = policy(role(more="on_expiry: {shells: finish, grace: 5m}\nlimits: {uses: 2}\nauthenticate: {within: 5m}"))
    found = enter(rules, held(uses=3))
    assert found == Admitted(
        grant=held().id,
        role=RoleName("r"),
        authenticate=rules.roles[RoleName("r")].authenticate,
        on_expiry=ExpiryTerms("finish", 300),
        uses_limited=True,
        limits=(LimitTerms("role r", Limits(uses=2)),),
    )
    plain = enter(policy())
    assert isinstance(plain, Admitted)
    assert (plain.limits, plain.uses_limited) == ((), False)


@pytest.mark.parametrize(
    ("services", "service", "expected"),
    [
        ("[su]", "su", "admitted"),
        ("[su]", "su-l", "admitted"),
        ("[su-l]", "su", "admitted"),
        ("[sudo]", "sudo-i", "admitted"),
        ("[su]", "sudo", "not-covered"),
        ("[su]", "suu", "not-covered"),
        ("[sshd]", "su", "not-covered"),
        ("[sshd, su]", "su", "admitted"),
    ],
)
def test_a_role_is_for_the_services_that_it_names(services: str, service: str, expected: str) -> None:
    """`su` covers `su-l` and `sudo` covers `sudo-i`, and nothing covers anything else."""
    assert code(enter(policy(role(f"{{services: {services}}}")), service=service)) == expected


def test_a_role_without_access_lets_nobody_in() -> None:
    """Whatever commands it has."""
    rules = load(
        """version: 1
roles:
  r:
    description: x
    who: ["user:alice"]
    request: {max_duration: 1h, approvals: 0}
    allow: [{command: /usr/bin/id}]
"""
    )
    found = enter(rules)
    assert isinstance(found, Deny)
    assert (found.code, found.message) == ("not-covered", "no grant of alice (r) is for su to root")


@pytest.mark.parametrize("grant", [held(until=NOW.wall), held(uses=0), held(role="gone")])
def test_only_live_grants_count(grant: HeldGrant) -> None:
    """Not one that is over, used up, or of a role that is no more; the way out is named."""
    found = enter(policy(), grant)
    assert isinstance(found, Deny)
    assert (found.code, found.message) == ("no-grant", "alice holds no grant on this host")
    assert found.hints == ("jitsudo request r --for 20m --reason '…'",)


def test_the_target_user_is_one_of_the_roles_and_of_the_grants() -> None:
    """Of both: a role that was widened since does not widen what was asked for."""
    rules = policy(role(more="run_as: {users: [postgres, backup]}"))
    both = held(run_as=("postgres", "backup"))
    assert code(enter(rules, both, user=POSTGRES)) == "admitted"
    refused = enter(rules, both)
    assert isinstance(refused, Deny)
    assert (refused.code, refused.message) == ("run-as", "role r is for postgres or backup, not for root")
    assert code(enter(rules, held(run_as=("backup",)), user=POSTGRES)) == "run-as"
    nobody = enter(rules, held(run_as=("nobody",)), user=POSTGRES)
    assert isinstance(nobody, Deny)
    assert nobody.message == "role r is for nobody here, not for postgres"


def test_while_the_target_user_is_not_known_a_grant_for_somebody_is_enough() -> None:
    """sudo-rs says as whom only when the session begins; a grant for nobody is none."""
    rules = policy(role("{services: [sudo]}"))
    assert code(enter(rules, service="sudo", user=None)) == "admitted"
    found = enter(rules, held(run_as=("nobody",)), service="sudo", user=None)
    assert isinstance(found, Deny)
    assert found.message == "role r is for nobody here, not for anybody"
    other = enter(policy(), service="sudo", user=None)
    assert isinstance(other, Deny)
    assert other.message == "no grant of alice (r) is for sudo"


def test_to_log_in_as_oneself_takes_no_target_user() -> None:
    """As somebody else it does; and su to oneself is no login."""
    rules = policy(role("{services: [sshd, su]}"))
    assert code(enter(rules, service="sshd", user=ALICE.name)) == "admitted"
    assert code(enter(rules, service="sshd", user=POSTGRES)) == "run-as"
    assert code(enter(rules, service="su", user=ALICE.name)) == "run-as"
    assert Entrance(ALICE, "sshd", ALICE.name).is_login
    assert not Entrance(ALICE, "su-l", ALICE.name).is_login


def test_the_role_must_be_open_to_the_person_at_this_hour_and_from_there() -> None:
    """As for commands."""
    assert code(enter(policy(), person=BOB)) == "not-open"
    strict = role(more='when: {hours: {at: "Tue 06:00-06:01", strict: true}}')
    strict = load("version: 1\ntimezone: UTC\nroles:\n" + strict)
    minute = Moment(NOW.wall // 3600 * 3600, 0)
    assert code(enter(strict, now=minute)) == "admitted"
    assert code(enter(strict, held(until=NOW.wall + 9999), now=Moment(minute.wall + 60, 0))) == "hours"
    near = policy(role(more="when: {source: [local]}"))
    assert code(enter(near, source=Source("local"))) == "admitted"
    assert code(enter(near)) == "source"


def test_a_key_that_is_not_in_force_yet_lets_nobody_in() -> None:
    """As for commands."""
    assert code(enter(policy(role(more="residue: true")))) == "unsupported"


def test_of_several_grants_the_one_that_costs_least_lets_in() -> None:
    """Without a use limit, then the one that lasts longest."""
    first, second, third = (GrantId(f"G-{letter * 8}") for letter in "ABC")
    grants = [replace(held(uses=5), id=first), replace(held(until=NOW.wall + 5), id=second), replace(held(), id=third)]
    found = enter(policy(), *grants)
    assert isinstance(found, Admitted)
    assert found.grant == third


def test_the_most_telling_reason_is_told_and_other_roles_are_named() -> None:
    """Up to three that can be asked for now and would let in: not those that are held, standing, closed or for others."""
    rules = policy(
        role("{services: [sshd]}", name="held"),
        role(more="run_as: {users: [postgres]}", name="other-user"),
        *(role(name=f"way-{n}") for n in "abcd"),
        role("{services: [sshd]}", name="elsewhere"),
        role(name="standing", request="none", more="until: 2027-06-30"),
        role(name="closed", more="hosts: {names: [db-*]}"),
        role(name="more-people", more="when: {source: [local], otherwise: {approvals: 2}}",
             request='{max_duration: 1h, approvals: 1, from: "user:bob"}'),
    )  # fmt: skip
    found = enter(rules, held(role="held"))
    assert isinstance(found, Deny)
    assert found.code == "not-covered"
    assert found.hints == (
        "jitsudo request more-people --for 30m --reason '…'",
        "jitsudo request way-a --for 20m --reason '…'",
        "jitsudo request way-b --for 20m --reason '…'",
    )
    both = enter(rules, held(role="held"), replace(held(role="other-user"), id=GrantId("G-BBBBBBBB")))
    assert code(both) == "run-as"


def test_what_raises_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators are told what it was."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(admission, "role_admits", broken)
    found = enter(policy())
    assert isinstance(found, Deny)
    assert (found.code, found.faults) == ("error", ("RuntimeError('broken')",))


def test_services_have_one_name_in_roles() -> None:
    """And names that are nobody's stay as they are."""
    assert [service_named(name) for name in ("su-l", "sudo-i", "runuser-l", "sshd")] == ["su", "sudo", "runuser", "sshd"]


def test_a_role_says_what_it_lets_in_through() -> None:
    """In listings, and when a command is explained."""
    rules = policy(role("{services: [sshd, login]}"))
    (one,) = rules.roles.values()
    assert describe_role(one) == ["access through login, sshd"]
    lines = explain(act("id"), rules, (held(),), HOST, NOW, world()).lines
    assert lines[1:] == ("role r (held by grant G-AAAAAAAA) does not cover it", "  access through login, sshd is no command")
