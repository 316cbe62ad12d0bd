"""Who gets on under a policy, of those whom sudoers lets in and of those who were observed; the accounts are Debian's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.clock import read_clocks
from jitsudo.host.policyfiles import load_policy
from jitsudo.policy.verdict import Host
from jitsudo.setup.coverage import Coverage, candidates
from jitsudo.setup.report import Entry
from jitsudo.setup.sudoers import Subject, SudoersFile
from jitsudo.setup.waivers import Waivers
from jitsudo.setup.whom import check_callers, check_files

ROLE = """  {name}:
    description: A role of the test
    who: ["user:{who}"]
    request: {request}
    allow: [{{command: /usr/bin/id}}]
"""
FREE = "{max_duration: 1h, approvals: 0}"
APPROVED = '{max_duration: 1h, approvals: 1, from: ["user:%s"]}'


def covered(folder: Path, *roles: str) -> Coverage:
    (folder / "p.yaml").write_text("version: 1\nroles:\n" + "".join(roles))
    policy = load_policy(folder, check_owner=False, grammars={}).policy
    return Coverage(policy, Host("here"), read_clocks(), SystemAccounts())


def role(name: str, who: str, request: str = FREE) -> str:
    return ROLE.format(name=name, who=who, request=request)


def rules(*subjects: Subject, path: str = "/etc/sudoers.d/x") -> tuple[SudoersFile, ...]:
    return (SudoersFile(path, subjects),)


def test_who_has_no_role_is_named_with_the_file_and_a_waiver(tmp_path: Path) -> None:
    """One of two accounts is mapped."""
    coverage = covered(tmp_path, role("one", "daemon"))
    found = list(check_files(rules(Subject("username", "daemon"), Subject("username", "bin")), coverage, Waivers()))
    ((check, sentence, cure, waiver),) = found
    assert (check, waiver) == ("account", "account:bin")
    assert "/etc/sudoers.d/x" in sentence
    assert "user:bin" in cure


@pytest.mark.parametrize("waiver", ["account:bin", "sudoers:/etc/sudoers.d/x"])
def test_a_waiver_of_the_account_or_of_the_file_covers_it(tmp_path: Path, waiver: str) -> None:
    """And one of another file does not."""
    coverage, files = covered(tmp_path, role("one", "daemon")), rules(Subject("username", "bin"))
    assert not list(check_files(files, coverage, Waivers.parse([waiver])))
    assert list(check_files(files, coverage, Waivers.parse(["sudoers:/etc/sudoers", "account:sys"])))


def test_accounts_that_do_not_exist_and_root_are_nobodys_loss(tmp_path: Path) -> None:
    """A rule that was left behind."""
    coverage = covered(tmp_path, role("one", "daemon"))
    subjects = (Subject("username", "no-such-account"), Subject("usergroup", "root"), Subject("userid", "0"))
    assert not list(check_files(rules(*subjects), coverage, Waivers()))


def test_a_group_that_only_another_system_knows_is_told(tmp_path: Path) -> None:
    """Its members may be anybody."""
    coverage = covered(tmp_path, role("one", "daemon"))
    ((check, sentence, _, waiver),) = check_files(rules(Subject("nonunixgroup", "ad")), coverage, Waivers())
    assert (check, waiver) == ("account", "sudoers:/etc/sudoers.d/x")
    assert "%:ad" in sentence


def test_a_role_that_nobody_can_approve_lets_nobody_in(tmp_path: Path) -> None:
    """The approver does not exist, or is the one who asks."""
    for approver in ("no-such-account", "daemon"):
        coverage = covered(tmp_path, role("one", "daemon", APPROVED % approver))
        assert not list(coverage.ways_in(candidates(coverage)))
    coverage = covered(tmp_path, role("one", "daemon", APPROVED % "bin"))
    assert [(person.name, one.name) for person, one in coverage.ways_in(candidates(coverage))] == [("daemon", "one")]


def test_a_role_for_another_host_lets_nobody_in(tmp_path: Path) -> None:
    """However open it is there."""
    there = role("one", "daemon").replace("    request", "    hosts: {names: [there]}\n    request")
    assert not covered(tmp_path, there).roles_of("daemon")
    assert replace(covered(tmp_path, there), host=Host("there")).roles_of("daemon")


OBSERVED = Entry(
    "agent", 1004, "cron", None, ("cron",), "command", "root", "/usr/bin/id", ("id",), True, "accepted", None, "not-covered",
    None, None, (), (), "no role", 3, 1, 2,
)  # fmt: skip


def test_callers_that_nobody_sits_at_and_that_would_be_refused_are_named() -> None:
    """One line for each, whatever it runs; a waiver is for that caller alone."""
    entries = [OBSERVED, replace(OBSERVED, path="/usr/bin/tr"), replace(OBSERVED, caller="unit", unit="backup.service")]
    found = list(check_callers(entries, Waivers()))
    assert [one[3] for one in found] == ["caller:agent/backup.service", "caller:agent/cron"]
    assert "1 commands more" in found[1][1]
    waived = list(check_callers(entries, Waivers.parse(["caller:agent/cron"])))
    assert [one[3] for one in waived] == ["caller:agent/backup.service"]


def test_people_at_terminals_and_what_goes_on_are_not_named() -> None:
    """Who sits there can ask for a role, and has one, or their account is named."""
    fine = [replace(OBSERVED, caller="person"), replace(OBSERVED, would="standing"), replace(OBSERVED, outcome="rejected")]
    assert not list(check_callers(fine, Waivers()))
