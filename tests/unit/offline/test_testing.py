"""A policy's tests: run through the evaluator, in a world that presumes what the test does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from jitsudo.errors import ExitStatus, InvalidValue
from jitsudo.offline.cases import words_of
from jitsudo.offline.checking import Checked, check
from jitsudo.offline.sources import Knowledge, read_knowledge, read_sources
from jitsudo.offline.world import PresumedWorld
from jitsudo.types import AbsPath, Digest

KNOWLEDGE = read_knowledge()
HEAD = """version: 1
timezone: Europe/Berlin
approvers: {bob: {accounts: [bob-adm], teams: [leads]}}
"""


def checked(tmp_path: Path, role: str, *, rest: str = "", beside: str = "", knowledge: Knowledge = KNOWLEDGE) -> Checked:
    """The result for one role, whose text is indented by four."""
    text = f"{HEAD}{rest}\nroles:\n  r:\n    description: d\n{role}"
    if "who:" not in role:
        text += '\n    who: ["group:web"]'
    if "request:" not in role:
        text += "\n    request: {max_duration: 1h, approvals: 0}"
    (tmp_path / "p.yaml").write_text(text + "\n")
    if beside:
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "t.yaml").write_text(beside)
    found = check(read_sources([str(tmp_path / "p.yaml")]), knowledge, with_lint=False)
    assert found.policy is not None, found.findings
    return found


def outcomes(tmp_path: Path, rules: str, tests: list[str], **more: str) -> list[str | None]:
    lines = "\n".join(f"      - {{{test}, expect: allow}}" for test in tests)
    extra = f"    {more.pop('role')}\n" if "role" in more else ""
    found = checked(tmp_path, f"{extra}    allow:\n      - {rules}\n    tests:\n{lines}", **more)  # type: ignore[arg-type]
    return [one.outcome for one in found.tests]


SYSTEMCTL = '{command: /usr/bin/systemctl, subcommands: {"restart|status": {operands: [{unit: [nginx]}]}}}'
TAIL = "{command: /usr/bin/tail, operands: [{path: {under: /var/log/nginx}}]}"


def test_a_bare_name_is_the_policys_command_of_that_name(tmp_path: Path) -> None:
    """A path is itself; what no rule names is looked for where programs are."""
    tests = ['run: "systemctl restart nginx"', "run: /usr/bin/systemctl restart nginx", "run: /opt/systemctl restart nginx"]
    assert outcomes(tmp_path, SYSTEMCTL, [*tests, "run: whoami", "run: ./systemctl restart nginx"]) == [
        "allow",
        "allow",
        "deny",
        "deny",
        "deny",
    ]


def test_the_merged_folders_are_one(tmp_path: Path) -> None:
    """/bin is /usr/bin on the hosts of today."""
    assert outcomes(tmp_path, SYSTEMCTL, ["run: /bin/systemctl restart nginx"]) == ["allow"]


def test_paths_are_presumed_to_be_roots_unless_everybody_knows_better(tmp_path: Path) -> None:
    """And links are where the test puts them."""
    tests = [
        "run: tail /var/log/nginx/a.log",
        'run: "tail a.log", cwd: /var/log/nginx',
        'run: "tail /var/log/nginx/a.log", links: {/var/log/nginx/a.log: /etc/shadow}',
        'run: "tail /var/log/nginx/a.log", links: {/var/log/nginx/a.log: b.log}',
        'run: "tail /var/log/nginx/a.log", links: {/var/log/nginx: /tmp/x}',
        'run: "tail /var/log/nginx/a", links: {/var/log/nginx/a: b, /var/log/nginx/b: a}',
    ]
    assert outcomes(tmp_path, TAIL, tests) == ["allow", "allow", "deny", "allow", "deny", "deny"]


def test_a_path_is_of_the_kind_that_the_role_asks_for(tmp_path: Path) -> None:
    """Nothing of this machine is looked at."""
    for number, kind in enumerate(("file", "directory")):
        where = tmp_path / str(number)
        where.mkdir()
        rule = f"{{command: /usr/bin/ls, operands: [{{path: {{under: /srv, kind: {kind}}}}}]}}"
        assert outcomes(where, rule, ["run: ls /srv/a"]) == ["allow"]


def test_conditions_are_met_unless_the_test_says_otherwise(tmp_path: Path) -> None:
    """Hours, where the login comes from, and whether a password was given."""
    role = 'when: {hours: {at: "Tue 22:00-04:00", strict: true}, source: [10.0.0.0/8]}'
    tests = [
        "run: tail /var/log/nginx/a",
        'run: tail /var/log/nginx/a, at: "Wed 03:59"',
        'run: tail /var/log/nginx/a, at: "Wed 04:00"',
        'run: tail /var/log/nginx/a, at: "2026-12-29 23:00"',
        'run: tail /var/log/nginx/a, at: "2026-12-29T23:00+09:00"',
        "run: tail /var/log/nginx/a, source: 192.168.0.1",
        "run: tail /var/log/nginx/a, source: local",
        "run: tail /var/log/nginx/a, source: unknown",
        "run: tail /var/log/nginx/a, authenticated: false",
    ]
    expected = ["allow", "allow", "deny", "allow", "deny", "deny", "deny", "deny", "challenge"]
    assert outcomes(tmp_path, TAIL, tests, role=role) == expected


def test_a_standing_roles_tests_run_before_its_end(tmp_path: Path) -> None:
    """Whenever that is."""
    role = 'who: ["user:mon"]\n    request: none\n    until: 2020-02-29\n    authenticate: never'
    assert outcomes(tmp_path, TAIL, ["run: tail /var/log/nginx/a"], role=role) == ["allow"]


def test_the_role_is_open_to_whoever_asks(tmp_path: Path) -> None:
    """By user, group or team, and on this host."""
    for number, who in enumerate(("user:alice", "group:web", "team:leads")):
        where = tmp_path / str(number)
        where.mkdir()
        role = f'who: ["{who}"]\n    hosts: {{names: ["db-*"]}}'
        assert outcomes(where, TAIL, ["run: tail /var/log/nginx/a"], role=role) == ["allow"]


def test_shells_edits_and_other_users_are_asked_for_as_with_sudo(tmp_path: Path) -> None:
    """`sudo` itself may be left out."""
    role = "run_as: {users: [www-data, root]}"
    rules = f"{TAIL}\n      - edit: [{{path: {{under: /etc/nginx}}}}]\n      - shell: {{intercept: false}}"
    tests = [
        "run: sudoedit /etc/nginx/a",
        "run: sudo -e /etc/nginx/a",
        "run: sudo -e /etc/shadow",
        "run: sudo -i",
        "run: sudo -s id",
        "run: sudo -u root tail /var/log/nginx/a",
        "run: sudo -u bob -- tail /var/log/nginx/a",
        "run: sudo tail /var/log/nginx/a",
    ]
    expected = ["allow", "allow", "deny", "allow", "allow", "allow", "deny", "allow"]
    assert outcomes(tmp_path, rules, tests, role=role) == expected


def test_command_lines_inside_others_are_looked_up_as_the_program_does(tmp_path: Path) -> None:
    """By bare name on the secure path, where only the policy's programs are."""
    rule = "{command: /usr/bin/env, operands: [{command: {command: /usr/bin/id, operands: [user]}}]}"
    tests = ["run: env id root", "run: env /usr/bin/id root", "run: env id -u root", "run: env ls root", "run: env A=b id root"]
    assert outcomes(tmp_path, rule, tests) == ["allow", "allow", "deny", "deny", "deny"]


def test_pinned_programs_are_presumed_to_be_the_pinned_ones(tmp_path: Path) -> None:
    """A digest is the host's business."""
    rule = f"{{command: /opt/x, digest: sha256:{'0' * 64}}}"
    assert outcomes(tmp_path, rule, ["run: /opt/x", "run: x"]) == ["allow", "allow"]


def test_what_is_not_enforced_yet_is_tested_as_if_it_were(tmp_path: Path) -> None:
    """A policy is written for the day that it is."""
    assert outcomes(tmp_path, TAIL, ["run: tail /var/log/nginx/a"], role="record: true") == ["allow"]


def test_guardrails_ask_and_deny_in_tests_too(tmp_path: Path) -> None:
    """A question is a challenge."""
    rest = "guardrails: {g: {match: {command: systemctl, subcommand: restart}, then: confirm, message: m}}"
    tests = ["run: systemctl restart nginx", "run: systemctl status nginx"]
    assert outcomes(tmp_path, SYSTEMCTL, tests, role="guardrails: [g]", rest=rest) == ["challenge", "allow"]


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ('run: "tail \'", expect: deny', "no closing quotation"),
        ('run: [""], expect: deny', "there is no command"),
        ("run: sudo -i -u, expect: deny", "-u"),
        ("run: sudo -b ls, expect: deny", "tests know -u, -i, -s and -e"),
        ("run: sudo -u root, expect: deny", "there is no command after sudo"),
        ('run: ls, at: "25:00", expect: deny', "not a moment"),
        ('run: ls, at: "Mon 25:00", expect: deny', "not a time of day"),
    ],
)
def test_a_test_that_makes_no_sense_fails(tmp_path: Path, test: str, message: str) -> None:
    """Whatever it expects: a denial that nobody evaluated proves nothing."""
    found = checked(tmp_path, f"    allow: [{TAIL}]\n    tests: [{{{test}}}]")
    if message == "-u":
        assert found.tests[0].outcome is not None
        return
    assert found.tests[0].outcome is None
    assert message in found.tests[0].why[0]
    assert found.exit_status(strict=False) == ExitStatus.FAILED


def test_a_failed_test_says_where_what_and_why(tmp_path: Path) -> None:
    """With the status of a failure."""
    found = checked(tmp_path, f'    allow: [{TAIL}]\n    tests: [{{run: "tail /etc/shadow", expect: allow}}]')
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.pos.line) == ("test-failed", "error", 9)
    assert finding.message.startswith("test 'tail /etc/shadow': expected allow, got deny: denied: ")
    assert found.exit_status(strict=False) == ExitStatus.FAILED


def test_tests_beside_the_policy_are_run_too(tmp_path: Path) -> None:
    """Those of a role that does not exist fail; a file that cannot be read makes the policy invalid."""
    beside = "- {role: r, run: tail /var/log/nginx/a, expect: allow}\n- {role: s, run: tail, expect: deny}\n"
    found = checked(tmp_path, f"    allow: [{TAIL}]", beside=beside)
    assert [one.passed for one in found.tests] == [True, False]
    assert "there is no role 's'" in found.tests[1].why[0]
    (tmp_path / "tests" / "t.yaml").write_text("- {role: r}")
    again = check(read_sources([str(tmp_path / "p.yaml")]), KNOWLEDGE)
    assert again.exit_status(strict=False) == ExitStatus.POLICY_INVALID
    assert any("t.yaml:1:3" in str(one) for one in again.findings)


def test_only_one_roles_tests_are_run_on_demand(tmp_path: Path) -> None:
    """The others are left alone."""
    checked(tmp_path, f"    allow: [{TAIL}]\n    tests: [{{run: tail, expect: allow}}]")
    sources = read_sources([str(tmp_path)])
    assert len(check(sources, KNOWLEDGE, only="r").tests) == 1
    assert check(sources, KNOWLEDGE, only="other").tests == ()


def test_words_are_split_as_a_shell_would_and_nothing_is_expanded() -> None:
    """Variables, globs and operators are text."""
    assert words_of("""a 'b c' "d $HOME" *.x \\; #e""") == ("a", "b c", "d $HOME", "*.x", ";", "#e")
    assert words_of(("a", "")) == ("a", "")
    with pytest.raises(InvalidValue):
        words_of(("a\0",))


def test_the_presumed_world_knows_people_and_what_is_pinned() -> None:
    """Names that cannot be names are nobody's."""
    digest = Digest("sha256:" + "0" * 64)
    world = PresumedWorld(digests={"/opt/x": digest}, writable=["/tmp"], programs=["/usr/bin/x"])
    assert world.user("root") is not None
    assert world.user("a:b") is None
    assert world.group("adm")
    assert not world.group("a:b")
    assert world.digest(AbsPath("/opt/x")) == digest
    assert world.digest(AbsPath("/opt/y")) is None
    assert world.facts(AbsPath("/usr/bin/y")) is None
    folder, file = world.facts(AbsPath("/tmp/..")), world.facts(AbsPath("/tmp/a"))
    assert folder is not None
    assert folder.kind == "directory"
    assert file is not None
    assert not file.roots_alone
    assert world.real_path(AbsPath("/tmp/a")) is None
