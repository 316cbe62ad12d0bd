"""When and whence a role may be asked for and used, and at what price otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import ALICE, HOST, NOW, PROVEN, act, held, load, role, role_text, world
from jitsudo.errors import InvalidValue, PolicyInvalid
from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.policy.access import approvals_needed, approvals_satisfied, may_approve, may_request, roles_open_to
from jitsudo.policy.conditions import source_holds
from jitsudo.policy.evaluate import Allow, Deny, evaluate, suggest
from jitsudo.policy.grammar import NO_GRAMMARS
from jitsudo.policy.model import Policy
from jitsudo.policy.parse_terms import no_calendars
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Circumstances, Source
from jitsudo.types import Moment, Person, RoleName, Uid, UserName

R = RoleName("r")
OFFICE, HOME, CONSOLE = Source("10.20.0.5"), Source("192.0.2.7"), Source("local")
LATER = Moment(NOW.wall + 4 * 3600, 5000.0)  # 10:00 UTC, within hours


def used(policy: Policy, source: Source, now: Moment = NOW, approvals: int = 0) -> str:
    grant = replace(held(until=now.wall + 60), approvals=approvals)
    verdict = evaluate(act("true"), policy, (grant,), HOST, now, world(), replace(PROVEN, source=source))
    return verdict.code if isinstance(verdict, Deny) else type(verdict).__name__


@pytest.mark.parametrize(
    ("wanted", "address"),
    [(("10.20.0.0/16",), "10.20.0.5"), (("192.0.2.0/24", "10.20.0.0/16"), "10.20.0.5"),
     (("10.20.0.5/32",), "10.20.0.5"),
     (("10.20.0.0/16",), "::ffff:10.20.0.5"), (("fd00::/8",), "fd00::1"), (("local",), "local"),
     (("10.0.0.0/8", "local"), "local")],
)  # fmt: skip
def test_a_source_holds(wanted: tuple[str, ...], address: str) -> None:
    """A network that holds the address, or the console."""
    assert source_holds(wanted, Source(address))


@pytest.mark.parametrize(
    ("wanted", "address"),
    [(("10.20.0.0/16",), "10.21.0.5"), (("10.20.0.0/16",), "local"), (("local",), "10.20.0.5"),
     (("local",), "127.0.0.1"),
     (("10.20.0.0/16",), None), (("local",), None), (("10.20.0.0/16",), "x"), (("0.0.0.0/0",), "fd00::1"),
     (("10.20.0.0/16",), "")],
)  # fmt: skip
def test_a_source_does_not_hold(wanted: tuple[str, ...], address: str | None) -> None:
    """Another network or family, a loopback that is no console, unknown, or no address at all."""
    assert not source_holds(wanted, Source(address))


def test_source_binds_asking_and_each_command() -> None:
    """And the refusal says why it is not known."""
    policy = role("when: {source: 10.20.0.0/16}")
    assert may_request(ALICE, policy.roles[R], policy, HOST, NOW, OFFICE) is None
    assert roles_open_to(ALICE, policy, HOST, NOW, OFFICE) == (policy.roles[R],)
    assert roles_open_to(ALICE, policy, HOST, NOW) == ()
    assert used(policy, OFFICE) == "Allow"
    assert [used(policy, source) for source in (HOME, CONSOLE, UNKNOWN_SOURCE)] == ["source"] * 3
    messages = {}
    for name, source in (("home", HOME), ("console", CONSOLE), ("unknown", Source(None, "no session")),
    ("silent", Source(None))):
        refused = may_request(ALICE, policy.roles[R], policy, HOST, NOW, source)
        assert refused is not None
        messages[name] = refused.message
    assert messages == {
        "home": "role r is for logins from 10.20.0.0/16, not from 192.0.2.7",
        "console": "role r is for logins from 10.20.0.0/16, not from this host's console",
        "unknown": "role r depends on where you log in from, and that is not known (no session)",
        "silent": "role r depends on where you log in from, and that is not known",
    }


def test_suggestions_know_where_the_person_is() -> None:
    """A role that cannot be asked for from there is no way out."""
    policy = role("when: {source: 10.20.0.0/16}")
    assert suggest(act("true"), policy, HOST, NOW, world(), Circumstances(source=OFFICE)) == (R,)
    assert suggest(act("true"), policy, HOST, NOW, world(), Circumstances(source=HOME)) == ()


def test_a_role_that_cannot_be_asked_for_now_is_no_suggestion() -> None:
    """Though a grant of it could be used; a standing role needs no asking."""
    policy = role('when: {hours: "Mon-Fri 08:00-18:00"}', "timezone: UTC")
    assert suggest(act("true"), policy, HOST, NOW, world()) == ()
    assert suggest(act("true"), policy, HOST, LATER, world()) == (R,)
    standing = role("request: none\nuntil: 2027-01-01")
    assert suggest(act("true"), standing, HOST, NOW, world()) == (R,)


PRICE = """
when: {hours: {at: "Mon-Fri 08:00-18:00", strict: true}, source: [10.20.0.0/16], otherwise: {approvals: 2}}
request: {max_duration: 1h, approvals: 1, from: "group:leads"}
"""


def test_otherwise_asks_for_more_approvals() -> None:
    """Outside hours or from elsewhere; within, the usual number does."""
    policy = role(PRICE, "timezone: UTC")
    one = policy.roles[R]
    assert approvals_needed(one, LATER, OFFICE) == 1
    assert approvals_needed(one, NOW, OFFICE) == 2
    assert approvals_needed(one, LATER, HOME) == 2
    assert may_request(ALICE, one, policy, HOST, NOW, HOME) is None
    assert approvals_needed(role("").roles[R], NOW, HOME) == 0
    assert approvals_needed(role("request: none\nuntil: 2027-01-01").roles[R], NOW, HOME) == 0


def test_a_grant_is_used_where_it_was_paid_for() -> None:
    """One approval is for hours and office alone, two for everywhere."""
    policy = role(PRICE, "timezone: UTC")
    assert used(policy, OFFICE, LATER, approvals=1) == "Allow"
    assert used(policy, HOME, LATER, approvals=1) == "source"
    assert used(policy, OFFICE, NOW, approvals=1) == "hours"
    assert used(policy, HOME, NOW, approvals=2) == "Allow"
    assert suggest(act("true"), policy, HOST, NOW, world(), Circumstances(source=HOME)) == (R,)


def test_as_many_approvals_as_were_needed_satisfy() -> None:
    """Never fewer than the role's own number."""
    policy = role(PRICE, "timezone: UTC")
    one = policy.roles[R]

    def approver(name: str, uid: int) -> object:
        person = Person(Uid(uid), UserName(name), Uid(uid), frozenset({"leads"}))
        return may_approve(person, ALICE, one, policy, login_name=None, requester_login_name=None)

    bob, carol = approver("bob", 1001), approver("carol", 1002)
    assert approvals_satisfied(one, [bob])  # type: ignore[list-item]
    assert approvals_satisfied(one, [bob], 0)  # type: ignore[list-item]
    assert not approvals_satisfied(one, [bob, bob], 2)  # type: ignore[list-item]
    assert approvals_satisfied(one, [bob, carol], 2)  # type: ignore[list-item]
    assert not approvals_satisfied(role("").roles[R], [], 1)


@pytest.mark.parametrize(
    ("request_", "message"),
    [("{max_duration: 1h, approvals: 0}", "`otherwise` needs a `request` with `from`"),
     ("none\nuntil: 2027-01-01", "`otherwise` needs a `request` with `from`"),
     ('{max_duration: 1h, approvals: 2, from: "group:leads"}', "`otherwise` asks for 2 approvals, no more than")],
)  # fmt: skip
def test_otherwise_must_cost_something(request_: str, message: str) -> None:
    """A price that nobody could pay, or that is none, is a mistake."""
    with pytest.raises(PolicyInvalid) as caught:
        role(f"request: {request_}\nwhen: {{source: local, otherwise: {{approvals: 2}}}}")
    assert message in str(caught.value.issues)


def closed(days: str, hours: str = "") -> Policy:
    text = role_text(f"when: {{calendar: {{file: holidays.txt}}{hours}}}", head="timezone: Europe/Berlin")
    return load_policy_bytes({"p.yaml": text.encode()}, {"holidays.txt": days.encode()}, grammars=NO_GRAMMARS).policy


def test_a_closed_day_cannot_be_asked_on() -> None:
    """In the policy's own time zone; a range holds both its ends."""
    today = closed("2026-11-24\n")
    one = today.roles[R]
    why = "role r cannot be asked for today, which is one of the closed days in holidays.txt"
    assert may_request(ALICE, one, today, HOST, NOW) == Deny("hours", why, role=R)
    assert used(today, OFFICE) == "Allow"
    midnight = Moment(1_795_561_200, 0.0)  # 2026-11-25 00:00 in Berlin
    assert may_request(ALICE, one, today, HOST, midnight) is None
    assert may_request(ALICE, one, today, HOST, Moment(midnight.wall - 1, 0.0)) is not None
    other = closed("2026-12-24\n")
    assert may_request(ALICE, other.roles[R], other, HOST, NOW) is None


def test_a_closed_day_binds_each_command_where_hours_are_strict() -> None:
    """As the hours do."""
    policy = closed("2026-11-24\n", ', hours: {at: "Mon-Sun 00:00-24:00", strict: true}')
    assert used(policy, OFFICE) == "hours"
    assert isinstance(evaluate(act("true"), role(""), (held(),), HOST, NOW, world(), PROVEN), Allow)


def test_a_refusal_says_which_hours_there_are() -> None:
    """When asking and, where they are strict, when using; on a closed day, that it is one."""
    when = 'hours: {at: ["Mon-Fri 08:00-18:00", "Sat 22:00-02:00"], strict: true}'
    policy = role(f"when: {{{when}}}", head="timezone: Europe/Berlin")
    night = Moment(NOW.wall - NOW.wall % 86400 + 2 * 3600, 0.0)  # 03:00 in Berlin
    said = "at this hour, only Mon-Fri 08:00-18:00; Sat 22:00-02:00 (Europe/Berlin)"
    refused = may_request(ALICE, policy.roles[R], policy, HOST, night)
    assert refused == Deny("hours", f"role r cannot be asked for {said}", role=R)
    verdict = evaluate(act("true"), policy, (held(until=night.wall + 60),), HOST, night, world(), PROVEN)
    assert isinstance(verdict, Deny)
    assert verdict.message == f"role r cannot be used {said}"
    shut = closed("2026-11-24\n", ', hours: {at: "Mon-Fri 08:00-18:00"}')
    refused = may_request(ALICE, shut.roles[R], shut, HOST, night)
    assert refused is not None
    assert refused.message.endswith("today, which is one of the closed days in holidays.txt")


def test_a_calendar_needs_a_time_zone_and_a_file() -> None:
    """Which day it is depends on where one is."""
    for head, message in (("", "a calendar needs the file's `timezone`"), ("timezone: UTC", "holidays")):
        with pytest.raises(PolicyInvalid) as caught:
            load(role_text("when: {calendar: {file: holidays.txt}}", head=head))
        assert message in str(caught.value.issues)


def test_whoever_has_no_calendars_cannot_read_any() -> None:
    """A policy that names one is refused there."""
    with pytest.raises(InvalidValue, match="no calendars can be read here"):
        no_calendars("holidays.txt")
