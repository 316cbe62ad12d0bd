"""Lint: each finding on the policy that deserves it, and silence on the one that does not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.findings import Finding, of_issue
from jitsudo.policy.grammar import Grammars
from jitsudo.policy.issues import Issue
from jitsudo.policy.lint import lint
from jitsudo.policy.lint_risks import Risks, parse_risks
from jitsudo.policy.parse_grammars import parse_grammars

TABLE = """
version: 1
programs:
  "vim, vi": {spawns-shell: "`:!sh`", cure: "an `edit` rule"}
  "bash": {spawns-shell: {how: "it is a shell", empty: true, operands: true}}
  "python3": {runs-program: {how: "an interpreter", empty: true, operands: true, options: ["-c"]}}
  "cat": {reads-file: {how: "with root's eyes", operands: true}}
  "cp": {writes-file: {how: "with root's hand", operands: true}, reads-file: {how: "what it copies", operands: true}}
  "tar":
    runs-program: [{how: "checkpoints", options: ["--checkpoint-action", "-I"]}]
    writes-file: {how: "it unpacks", options: ["-x"]}
  "svc": {loads-code: {how: "any unit", subcommands: [link, enable]}}
  "env": {runs-program: {how: "what follows", operands: true}}
places: {/etc/nginx: "load_module", /etc/passwd: "accounts"}
secrets: {/etc/shadow: "hashes"}
writable: [/home, /tmp]
tame: [sleep]
"""
GRAMMAR = """
version: 1
programs:
  /usr/bin/ctl:
    options: {"-q": [flag, harmless], "-H, --host": [value, global, runs-program], "-C": [value, loads-code]}
    subcommands:
      "edit": {leads: [spawns-shell]}
      "show": {operands: [reads-file], options: {"-o": [value, writes-file]}}
      "plain": {}
  /usr/bin/awkward: {unreadable: true, leads: [runs-program]}
  /usr/bin/tar: {options: {"-x": flag, "-I": [value, runs-program], "-z": flag}}
  /usr/bin/wrap: {order: posix, leads: [runs-program], options: {"-o": [value, loads-code]}}
  /usr/bin/dump: {operands: [reads-file], leads: [loads-code]}
"""


def table() -> Risks:
    node = read_yaml("risks.yaml", TABLE.encode(), [])
    assert node is not None
    risks, issues = parse_risks(node)
    assert issues == ()
    return risks


def grammars() -> Grammars:
    node = read_yaml("g.yaml", GRAMMAR.encode(), [])
    assert node is not None
    found = parse_grammars([node])
    assert found.grammars is not None, found.issues
    return found.grammars


RISKS, GRAMMARS = table(), grammars()


def findings(
    rules: str, *, role: str = "", rest: str = "", who: str = '["group:web"]', request: str = ""
) -> tuple[Finding, ...]:
    """What lint says of a role with these rules."""
    request = request or "{max_duration: 1h, approvals: 0}"
    text = f"""
version: 1
{rest}
roles:
  r:
    description: d
    who: {who}
    request: {request}
    {role}
    allow:
{rules}
"""
    policy = load_policy_bytes({"p.yaml": text.encode()}, grammars=GRAMMARS).policy
    return lint(policy, GRAMMARS, RISKS)


def codes(found: Iterable[Finding]) -> list[str]:
    return [one.code for one in found]


CASES = {
    "an editor": ("- {command: /usr/bin/vim, operands: [{literal: /etc/motd}]}", ["spawns-shell"]),
    "a shell without arguments": ("- {command: /bin/bash}", ["bare-shell"]),
    "a shell with a script of root's": ("- {command: /bin/bash, operands: [{literal: /usr/local/bin/x}]}", []),
    "an interpreter with any script": ("- {command: /usr/bin/python3, operands: [any]}", ["runs-program"]),
    "an interpreter with -c": (
        '- {command: /usr/bin/python3, options: {"-c": any}, operands: [{literal: x}]}',
        ["runs-program"],
    ),
    "an interpreter with one -c": (
        '- {command: /usr/bin/python3, options: {"-c": {literal: a}}, operands: [{literal: x}]}',
        [],
    ),
    "any file": ("- {command: /bin/cat, operands: [any]}", ["reads-file"]),
    "any file of the whole tree": ("- {command: /bin/cat, operands: [{path: {under: /}}]}", ["reads-file"]),
    "files of one folder": ("- {command: /bin/cat, operands: [{path: {under: /var/log}}]}", []),
    "files of a folder with a secret": ("- {command: /bin/cat, operands: [{path: {under: /etc}}]}", ["reads-file"]),
    "files of that folder, not the secret": ('- {command: /bin/cat, operands: [{path: {under: /etc, glob: "*.conf"}}]}', []),
    "the secret by name": ("- {command: /bin/cat, operands: [{one_of: [/etc/shadow]}]}", ["reads-file"]),
    "everything but": ("- {command: /bin/cat, operands: [{not: {literal: /etc/shadow}}]}", ["reads-file"]),
    "a broad glob": ('- {command: /bin/cat, operands: [{glob: "**"}]}', ["broad-pattern", "reads-file"]),
    "a broad regex": ('- {command: /bin/cat, operands: [{regex: ".*"}]}', ["broad-pattern", "reads-file"]),
    "a narrow glob": ('- {command: /bin/cat, operands: [{glob: "a-*"}]}', []),
    "a copy into the configuration": (
        "- {command: /bin/cp, operands: [{path: {under: /srv}}, {path: {under: /etc/nginx/sites}}]}",
        ["edits-executable-config"],
    ),
    "numbers": ("- {command: /bin/cat, operands: [int]}", []),
    "any package": ("- {command: /bin/cat, operands: [package]}", ["reads-file"]),
    "named packages": ("- {command: /bin/cat, operands: [{package: [nginx]}]}", []),
    "a folder of others": ("- {command: /bin/cat, operands: [{path: {under: /home/alice}}]}", ["writable-path"]),
    "a program of others": ("- {command: /home/alice/x}", ["unknown-program", "writable-path"]),
    "an unknown program": ("- {command: /opt/x, operands: [{literal: a}]}", ["unknown-program"]),
    "a program that leads nowhere": ("- {command: /bin/sleep, operands: [any]}", []),
    "a way that an option opens": ('- {command: /usr/bin/tar, options: {"-I": any}}', ["runs-program"]),
    "an option with one value": ('- {command: /usr/bin/tar, options: {"-I": {literal: zstd}}}', []),
    "an option that the grammar calls harmless enough": ('- {command: /usr/bin/tar, options: {"-z": flag}}', []),
    "an option where there is no grammar": ('- {command: /opt/tar, options: {"-x": flag}}', ["writes-file"]),
    "an attached value": ('- {command: /opt/tar, options: {"-x": {optional: {literal: a}}}}', ["writes-file"]),
    "a harmless option where there is no grammar": ('- {command: /opt/tar, options: {"-y": flag}}', []),
    "a sub-command of the table": ("- {command: /bin/svc, operands: [{one_of: [link, start]}]}", ["loads-code"]),
    "another sub-command": ("- {command: /bin/svc, operands: [{literal: start}]}", []),
    "the sub-command by name": ("- {command: /bin/svc, operands: [{literal: enable}]}", ["loads-code"]),
    "any sub-command": ("- {command: /bin/svc, operands: [any]}", ["loads-code"]),
    "no sub-command": ("- {command: /bin/svc}", []),
    "a number for a sub-command": ("- {command: /bin/svc, operands: [int]}", []),
    "written as sub-commands": ("- {command: /bin/svc, subcommands: {enable: {}}}", ["loads-code"]),
    "a shell by a sub-command": ("- {command: /usr/bin/ctl, subcommands: {edit: {}}}", ["spawns-shell"]),
    "a harmless sub-command": ("- {command: /usr/bin/ctl, subcommands: {plain: {}}}", []),
    "a sub-command's operands": ("- {command: /usr/bin/ctl, subcommands: {show: {operands: [any]}}}", ["reads-file"]),
    "a sub-command's option": ('- {command: /usr/bin/ctl, subcommands: {show: {options: {"-o": any}}}}', ["writes-file"]),
    "an option above": ('- {command: /usr/bin/ctl, options: {"-H": any}, subcommands: {plain: {}}}', ["runs-program"]),
    "a global option": ('- {command: /usr/bin/ctl, subcommands: {plain: {options: {"-H": any}}}}', ["runs-program"]),
    "a sub-command as an operand": ("- {command: /usr/bin/ctl, operands: [{one_of: [edit, plain]}]}", ["spawns-shell"]),
    "another sub-command as an operand": ("- {command: /usr/bin/ctl, operands: [{literal: plain}]}", []),
    "a command line inside one that runs anything": (
        "- {command: /usr/bin/wrap, operands: [{command: {command: /bin/cat}}]}",
        [],
    ),
    "a command line beside a free option": (
        '- {command: /usr/bin/wrap, options: {"-o": any}, operands: [{command: {command: /bin/cat}}]}',
        ["loads-code"],
    ),
    "an unreadable program": ("- {command: /usr/bin/awkward, syntax: literal, operands: [{literal: a}]}", []),
    "a program that leads somewhere": (
        "- {command: /usr/bin/dump, operands: [{path: {under: /etc}}]}",
        ["loads-code", "reads-file"],
    ),
    "a command line inside": ("- {command: /bin/env, operands: [{command: {command: /usr/bin/vim}}]}", ["spawns-shell"]),
    "the same rule twice": ("- {command: /bin/cat}\n      - {command: /bin/cat}", ["dead-rule"]),
    "the same edit twice": ("- edit: [{literal: /srv/a}]\n      - edit: [{literal: /srv/a}]", ["dead-rule"]),
    "an edit of configuration": ("- edit: [{path: {under: /etc/nginx}}]", ["edits-executable-config"]),
    "an edit of accounts": ("- edit: [{literal: /etc/passwd}]", ["edits-executable-config"]),
    "an edit by pattern": ('- edit: [{glob: "/srv/*"}]', []),
    "an edit elsewhere": ("- edit: [{path: {under: /srv}}]", []),
    "an unwatched shell": ("- shell: {intercept: false}", ["bare-shell"]),
    "a watched shell": ("- shell: {intercept: true}", ["bare-shell", "not-enforced"]),
    "a listed shell": ("- shell: {intercept: false, only: listed}", ["not-enforced", "root-equivalent"]),
    "a shell twice": (
        "- shell: {intercept: false}\n      - shell: {intercept: false}",
        ["bare-shell", "bare-shell", "dead-rule"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "expected"), CASES.values(), ids=CASES.keys())
def test_a_rule_gets_the_findings_that_it_deserves(rules: str, expected: list[str]) -> None:
    """And no others."""
    assert sorted(codes(findings("      " + rules))) == sorted(expected)


def test_any_operands_are_told() -> None:
    """Beside what they open."""
    assert codes(findings("      - {command: /bin/cat, operands: any}")) == ["any-operands", "reads-file"]


def test_a_role_that_says_it_is_root_is_believed() -> None:
    """What leads to root is no news then; what never matches still is."""
    rules = "      - {command: /usr/bin/vim}\n      - shell: {intercept: false}\n      - edit: [{path: {under: /etc/nginx}}]"
    assert findings(rules, role="root_equivalent: true") == ()


def test_what_leads_to_another_user_only_is_a_note() -> None:
    """A shell of postgres is not root's."""
    found = findings("      - {command: /usr/bin/vim}", role="run_as: {users: [postgres]}")
    assert [(one.code, one.severity) for one in found] == [("spawns-shell", "note")]
    assert "as postgres" in found[0].message


def test_an_unknown_program_with_free_arguments_is_a_warning() -> None:
    """With spelled-out ones it is a note."""
    free = findings("      - {command: /opt/x, operands: [any]}")
    fixed = findings("      - {command: /opt/x}")
    assert [one.severity for one in (*free, *fixed)] == ["warning", "note"]


def test_the_message_says_what_opens_the_way_and_the_cure_what_to_write() -> None:
    """From the table where it knows the program."""
    (found,) = findings("      - {command: /usr/bin/vim, operands: [{literal: a}]}")
    assert str(found) == "p.yaml:11:9: warning: vim opens a shell: `:!sh`; as root (an `edit` rule) [spawns-shell]"
    (found,) = findings("      - {command: /bin/cat, operands: [any]}")
    assert found.cure == "say which: {path: {under: FOLDER}}"
    assert (found.role, found.program) == ("r", "/bin/cat")


def test_guardrails_that_deny_all_that_a_rule_allows_make_it_dead() -> None:
    """By the whole command, or by all of its sub-commands; not by a part, and not where they only ask."""
    def dead(match: str, then: str = "deny", rule: str = "{command: /bin/svc, subcommands: {start: {}, stop: {}}}") -> bool:
        rest = f"guardrails: {{g: {{match: {match}, then: {then}, message: m}}}}"
        return "dead-rule" in codes(findings(f"      - {rule}", role="guardrails: [g]", rest=rest))

    assert dead("{command: /bin/svc}")
    assert dead("{command: svc}")
    assert dead('{command: svc, subcommand: "start|stop"}')
    assert not dead("{command: svc, subcommand: start}")
    assert not dead("{command: svc}", "confirm")
    assert not dead("{command: other}")
    assert not dead('{command: svc, any_option: ["-x"]}')
    assert not dead('{command: svc, subcommand: "start|stop", any_option: ["-x"]}')


def test_a_guardrail_that_nobody_lists_is_idle() -> None:
    """Unless it binds every role."""
    rule = "      - {command: /bin/cat}"
    idle = "guardrails: {g: {match: {command: rm}, then: deny, message: m}}"
    assert codes(findings(rule, rest=idle)) == ["dead-rule"]
    assert findings(rule, rest=idle.replace("then", "always: true, then")) == ()
    assert findings(rule, rest=idle, role="guardrails: [g]") == ()


def test_what_this_version_does_not_enforce_is_told() -> None:
    """Of roles and guardrails, too: it would refuse only when it is used."""
    rest = "guardrails: {g: {always: true, match: {command: rm}, then: record, message: m}}"
    found = findings("      - {command: /bin/cat}", role="record: true", rest=rest)
    assert codes(found) == ["not-enforced", "not-enforced"]
    for key in ("auditors: ['group:audit']", "notify: {mail: [a@b]}"):
        assert codes(findings("      - {command: /bin/cat}", rest=key)) == ["not-enforced"]
    assert findings("      - {command: /bin/cat}", rest="redact: ['tok_[a-z]+']") == ()
    assert "role r uses `record`" in found[1].message


def test_whoever_may_ask_and_approve_is_told() -> None:
    """The same principal, or the same person under another account."""
    rule, request = "      - {command: /bin/cat}", '{max_duration: 1h, approvals: 1, from: ["group:web"]}'
    (found,) = findings(rule, request=request)
    assert (found.code, found.severity) == ("self-approval", "warning")
    team = '{max_duration: 1h, approvals: 1, from: ["team:leads"]}'
    people = "approvers: {bob: {accounts: [bob], teams: [leads]}, eve: {accounts: [eve], teams: [leads]}}"
    (found,) = findings(rule, request=team, rest=people, who='["user:bob"]')
    assert (found.code, found.severity) == ("self-approval", "note")
    assert findings(rule, request=team, rest=people) == ()
    assert findings(rule, request="none", role="until: 2027-01-01") == ()


def test_what_the_parser_says_becomes_a_finding() -> None:
    """Errors are `invalid`, warnings the parser's."""
    assert of_issue(Issue("f", 2, 3, "error", "m")).code == "invalid"
    assert of_issue(Issue("f", 2, 3, "warning", "m")).code == "parser-warning"
    assert str(of_issue(Issue("f", 2, 3, "error", "m"))) == "f:2:3: error: m [invalid]"


BAD_TABLES = {
    "another version": ("version: 2", "version must be 1"),
    "no version": ("programs: {}", "'version' is missing"),
    "a program without ways": ("version: 1\nprograms: {x: {}}", "has no way out"),
    "a program twice": ("version: 1\nprograms: {x: {reads-file: a}, \"y, x\": {reads-file: b}}", "stands here twice"),
    "a way that nothing opens": ("version: 1\nprograms: {x: {reads-file: {how: a}}}", "nothing opens this way"),
    "a way without how": ("version: 1\nprograms: {x: {reads-file: {empty: true}}}", "'how' is missing"),
    "an unknown way": ("version: 1\nprograms: {x: {reads-fil: a}}", "unknown key 'reads-fil'"),
    "a relative place": ("version: 1\nplaces: {etc: a}", "not an absolute path"),
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_a_bad_table_is_told(text: str, message: str) -> None:
    """With what is wrong."""
    node = read_yaml("t.yaml", text.encode(), [])
    assert node is not None
    assert any(message in issue.message for issue in parse_risks(node)[1])


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (["access: {services: [su-l, sshd]}"], ["root-equivalent"]),
        (["access: {services: [su]}", "root_equivalent: true"], []),
        (["access: {services: [su]}", "run_as: {users: [postgres]}"], []),
        (["access: {services: [sshd, login]}"], []),
    ],
)
def test_whoever_may_become_root_by_su_is_root(role: list[str], expected: list[str]) -> None:
    """A role that gives that has to say so; logins as oneself, and other users, are nothing of the kind."""
    assert codes(findings("      - edit: [{path: {under: /srv}}]", role="\n    ".join(role))) == expected
