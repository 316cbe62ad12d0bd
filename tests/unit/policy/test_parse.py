"""The parser: every key known, every mistake found, all of them at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import load, role_text
from jitsudo.errors import PolicyInvalid
from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.policy import rules
from jitsudo.policy.model import (
    AgentProof,
    ApprovalSource,
    Escalation,
    Guardrail,
    HostSelector,
    Limits,
    Never,
    OnExpiry,
    Principal,
    RequestTerms,
    Review,
    Role,
    Within,
)
from jitsudo.policy.nodes import Mapping, Pos, Scalar, Sequence
from jitsudo.policy.parse import parse
from jitsudo.policy.patterns import glob
from jitsudo.types import AbsPath, Digest, Duration, RoleName, UserName

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJNn9kY2pQb0Jm3m0mF4m0vO8o3tq1m9cH3h2n5k3m3b"
REPOSITORY = Path(__file__).resolve().parents[3]
TEAM = "approvers:\n  bob: {accounts: bob, teams: [web-leads, security]}\n  carol: {accounts: carol, teams: web-leads}"


def issues(text: str, **more: str) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        load(text, **more)
    return list(caught.value.issues)


def one_role(body: str, head: str = "") -> Role:
    return load(role_text(body, head=head)).roles[RoleName("r")]


def one_type(text: str) -> rules.ArgumentType:
    return one_operand(text).type


def one_operand(text: str) -> rules.Operand:
    rule = one_role(f"allow: [{{command: /bin/x, operands: [{text}]}}]").rules[0]
    assert isinstance(rule, rules.CommandRule)
    assert rule.shape.operands
    return rule.shape.operands[0]


def one_rule(text: str) -> rules.Rule:
    return one_role(f"allow: [{text}]").rules[0]


def one_guardrail(text: str, head: str = "") -> Guardrail:
    return load(f"version: 1\n{head}\nguardrails:\n  g: {text}\n").guardrails["g"]


# -- everything that is understood -----------------------------------------------------------------------------------


def test_a_whole_request_is_read() -> None:
    """Every key of `request`."""
    role = one_role(
        """
request:
  max_duration: 2h
  default_duration: 1h30m
  reason: "INC-[0-9]+"
  approvals: 2
  from: {all_of: ["team:web-leads", "team:security"]}
  expires_after: 10m
  renewals: 2
  inline: true
  review: {within: 1d, from: "group:audit"}
  escalate: [{after: 5m, to: ["user:dave"]}]
  approve_with: key
""",
        TEAM,
    )
    leads, security = Principal("team", "web-leads"), Principal("team", "security")
    assert role.request is not None
    assert role.request.reason is not None
    assert role.request == RequestTerms(
        max_duration=Duration(7200),
        default_duration=Duration(5400),
        approvals=2,
        source=ApprovalSource((leads, security), all_of=True),
        expires_after=Duration(600),
        renewals=2,
        reason=role.request.reason,
        inline=True,
        review=Review(Duration(86400), ApprovalSource((Principal("group", "audit"),))),
        escalate=(Escalation(Duration(300), (Principal("user", "dave"),)),),
        approve_with="key",
    )
    keys = ("review", "escalate", "renewals", "inline: true", "approve_with: key")
    assert [sentence.split("`")[1] for sentence in role.unsupported] == [f"request: {key}" for key in keys]


def test_the_defaults_of_a_role() -> None:
    """What is not written down."""
    role = one_role("request: {max_duration: 10m, approvals: 1, from: 'user:bob', approve_with: password, inline: false}")
    assert role.request is not None
    assert role.request.default_duration == 600
    assert role.request.expires_after == 3600
    assert role.unsupported == ()
    assert role.hosts == HostSelector()
    assert role.run_as.users == ("root",)
    assert role.authenticate == Within(900)
    assert role.on_expiry == OnExpiry("finish", "kill", Duration(14400))
    assert not role.standing


def test_the_rest_of_a_role_is_read() -> None:
    """Every key of a role that stands beside the request."""
    role = one_role(
        """
hosts: {labels: {env: prod}, names: "web-*"}
run_as: {users: [postgres], groups: [adm]}
authenticate: never
when: {hours: {at: "Mon 08:00-09:00", strict: true}, source: [10.0.0.1, local], otherwise: {approvals: 2}}
request: {max_duration: 1h, approvals: 1, from: "user:bob"}
on_expiry: {commands: kill, shells: finish, grace: 1h, warn: 5m, leftovers: keep}
access: [{services: [su, sshd]}, {services: login}]
limits: {uses: 1, concurrent: 2, per_hour: 3}
environment: {keep: [HTTPS_PROXY, "LC_*"], set: {PAGER: "", LANG: C}}
sudo_options: ["-E", VAR]
record: true
residue: true
root_equivalent: true
rescue: true
journal_every: 1h
until: 2027-01-01
tests:
  - {run: "x y", expect: deny, at: "Mon 08:00", source: 10.0.0.0/8, authenticated: false, cwd: /srv, links: {/a: /b}}
  - {run: [x, "", y], expect: allow}
""",
        "timezone: UTC",
    )
    assert role.hosts == HostSelector((("env", ("prod",)),), (glob("web-*"),))
    assert role.run_as.groups == ("adm",)
    assert role.authenticate == Never()
    assert role.when.hours is not None
    assert role.when.hours.strict
    assert role.when.source == ("10.0.0.1/32", "local")
    assert role.when.otherwise_approvals == 2
    assert role.on_expiry == OnExpiry("kill", "finish", Duration(3600), Duration(300), "keep")
    assert role.services == ("su", "sshd", "login")
    assert role.limits == Limits(1, 2, 3)
    assert role.environment is not None
    assert role.environment.set == (("PAGER", ""), ("LANG", "C"))
    assert role.sudo_options == ("-E", "VAR")
    assert role.journal_every == 3600
    assert role.until == 1_798_848_000
    assert role.tests[1].run == ("x", "", "y")
    assert role.tests[0].links == (("/a", "/b"),)
    assert {sentence.split("`")[1] for sentence in role.unsupported} == {
        "journal_every", "record", "residue", "rescue", "on_expiry: warn", "on_expiry: leftovers",
    }  # fmt: skip


def test_an_expiry_in_one_word_is_for_commands_and_shells() -> None:
    """`kill` kills."""
    assert one_role("on_expiry: kill").on_expiry == OnExpiry("kill", "kill")
    assert one_role("on_expiry: {grace: 1m}").on_expiry == OnExpiry("finish", "kill", Duration(60))


def test_agent_is_a_proof() -> None:
    """In force."""
    role = one_role("authenticate: agent")
    assert role.authenticate == AgentProof()
    assert role.unsupported == ()


def test_until_ends_with_the_day_in_the_files_time_zone() -> None:
    """Midnight in Berlin is an hour before midnight UTC."""
    body = "request: none\nuntil: 2027-01-01"
    assert one_role(body).until == 1_798_848_000
    assert one_role(body, "timezone: Europe/Berlin").until == 1_798_848_000 - 3600
    assert one_role(body).standing


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("any", rules.AnyValue()),
        ("{any: true}", rules.AnyValue()),
        ("int", rules.IntRange()),
        ("{int: {max: 5}}", rules.IntRange(0, 5)),
        ("{literal: x}", rules.LiteralText("x")),
        ("{one_of: x}", rules.OneOf(("x",))),
        ("{not: {literal: x}}", rules.NotType(rules.LiteralText("x"))),
        ("user", rules.NamedType("user")),
        ("{group: [a, b]}", rules.NamedType("group", ("a", "b"))),
        ("self", rules.NamedType("self")),
        ("{host: web}", rules.NamedType("host", ("web",))),
        ("{cidr: 10.0.0.0/8}", rules.NamedType("cidr", ("10.0.0.0/8",))),
        ("{port: {min: 1024}}", rules.NamedType("port", least=1024)),
        ("{unit: nginx}", rules.NamedType("unit", ("nginx",))),
        ("package", rules.NamedType("package")),
        ("{duration: {max: 2h, min: 5}}", rules.NamedType("duration", least=5, most=7200)),
        ("{size: {max: 2K}}", rules.NamedType("size", most=2048)),
        ("{path: {under: /a, glob: '*', exists: true, kind: file}}",
         rules.PathUnder((AbsPath("/a"),), glob("*"), True, "file")),
    ],
)  # fmt: skip
def test_every_type_is_read(text: str, type_: rules.ArgumentType) -> None:
    """Bare where it has no arguments, as a mapping where it has."""
    assert one_type(text) == type_


def test_types_that_hold_patterns_or_rules_are_read() -> None:
    """glob, regex, command."""
    assert isinstance(one_type('{glob: "*"}'), rules.GlobText)
    assert isinstance(one_type('{regex: "a+"}'), rules.RegexText)
    inner = one_type("{command: {command: /bin/y, operands: [int]}}")
    assert isinstance(inner, rules.CommandLine)
    assert inner.rule.command == "/bin/y"


@pytest.mark.parametrize(
    ("count", "least", "most"), [("3", 3, 3), ('"1.."', 1, None), ('"0..2"', 0, 2), ('"2..2"', 2, 2)]
)
def test_counts_are_read(count: str, least: int, most: int | None) -> None:
    """N, "N..", "N..M"."""
    operand = one_operand(f"{{int: true, count: {count}}}")
    assert (operand.least, operand.most) == (least, most)


def test_options_and_subcommands_are_read() -> None:
    """To any depth."""
    rule = one_rule(
        '{command: /bin/x, order: posix, digest: "sha256:' + "0" * 64 + '", options: {"-n, --lines": {int: true, '
        'repeat: true, required: true}, "--color": {optional: {one_of: [a]}, repeat: true}, "-f": flag}, '
        'subcommands: {"a|b": {subcommands: {c: {operands: [int]}}, options: {}}}}'
    )
    assert isinstance(rule, rules.CommandRule)
    assert rule.digest == Digest("sha256:" + "0" * 64)
    assert rule.shape.order == "posix"
    assert rule.shape.options == (
        rules.Option(("-n", "--lines"), rules.IntRange(), repeat=True, required=True),
        rules.Option(("--color",), rules.OneOf(("a",)), attached_only=True, repeat=True),
        rules.Option(("-f",), rules.Flag()),
    )
    assert rule.shape.subcommands is not None
    assert rule.shape.subcommands[0].words == ("a", "b")
    deeper = rule.shape.subcommands[0].shape.subcommands
    assert deeper is not None
    assert deeper[0].shape.operands == (rules.Operand(rules.IntRange()),)
    assert rule.unsupported == ()


@pytest.mark.parametrize(("syntax", "option"), [("key-value", "of"), ("single-dash", "-name"), ("single-dash", "!")])
def test_options_of_other_syntaxes_are_read(syntax: str, option: str) -> None:
    """Spelled as their programs do."""
    rule = one_rule(f'{{command: /bin/x, syntax: {syntax}, options: {{"{option}": int}}}}')
    assert isinstance(rule, rules.CommandRule)
    assert rule.shape.syntax == syntax


def test_edit_and_shell_rules_are_read() -> None:
    """With their own keys."""
    edit = one_rule("{edit: [{path: {under: /etc}}, {literal: /etc/x}], check: [nginx, '-t']}")
    assert isinstance(edit, rules.EditRule)
    assert (len(edit.files), edit.check) == (2, ("nginx", "-t"))
    shell = one_rule("{shell: {intercept: true, record: true, only: listed}}")
    assert isinstance(shell, rules.ShellRule)
    assert (shell.intercept, shell.record, shell.only_listed) == (True, True, True)
    assert [sentence.split("`")[1] for sentence in shell.unsupported] == ["intercept", "record", "only"]
    plain = one_rule("{shell: {intercept: false, record: false}}")
    assert isinstance(plain, rules.ShellRule)
    assert (edit.unsupported, plain.unsupported) == ((), ())


def test_guardrails_are_read() -> None:
    """Every key of a guardrail."""
    guardrail = one_guardrail(
        '{match: {command: /bin/x, subcommand: "stop|mask", any_option: ["-H, --host"], any_operand: [int, user]}, '
        "then: limit, limits: {per_hour: 3}, always: true, message: 'Two\n\n      lines.'}"
    )
    assert guardrail.match.subcommands == ("stop", "mask")
    assert guardrail.match.any_option == (("-H", "--host"),)
    assert guardrail.limits == Limits(per_hour=3)
    assert guardrail.message == "Two lines."
    assert guardrail.unsupported == ()
    approve = one_guardrail("{match: {command: x}, then: approve, from: 'user:bob', message: M}")
    assert approve.source == ApprovalSource((Principal("user", "bob"),))
    assert approve.unsupported == ("guardrail g uses `then: approve`, which this version does not enforce yet: it denies",)


def test_files_are_one_policy() -> None:
    """A role may use what another file defines; an approver's entries are united."""
    policy = load(
        role_text("guardrails: [g]\nrequest: {max_duration: 1h, approvals: 1, from: 'team:a'}"),
        b="version: 1\nguardrails:\n  g: {match: {command: x}, then: deny, message: M}\n",
        c=f"version: 1\napprovers:\n  bob: {{accounts: [bob], teams: [a], keys: '{KEY} bob@laptop'}}\n",
        d="version: 1\napprovers:\n  bob: {accounts: [bob, bob-adm], teams: [b], keys: [{key: '" + KEY + "'}]}\n",
    )
    bob = policy.approvers["bob"]
    assert bob.accounts == (UserName("bob"), UserName("bob-adm"))
    assert bob.teams == ("a", "b")
    assert [key.key for key in bob.keys] == [KEY]
    assert policy.approver_of("bob-adm") is bob
    assert policy.approver_of("alice") is None


def test_keys_are_always_text() -> None:
    """A role called `on`, an approver called `no`."""
    policy = load(role_text("", "on", head="approvers:\n  no: {accounts: bob}"))
    assert set(policy.roles) == {"on"}
    assert "no" in policy.approvers


def test_a_files_later_keys_refuse_every_role() -> None:
    """A promise is not broken silently; `redact` is in force."""
    policy = load(
        role_text("", head='redact: ["tok_[a-z]+"]\nauditors: "group:audit"\nnotify: {mail: [a@b, c@d]}'), b=role_text("", "s")
    )
    assert policy.redact[0].matches("tok_a")
    assert policy.auditors == (Principal("group", "audit"),)
    for role in policy.roles.values():
        assert [sentence.split("`")[1] for sentence in role.unsupported] == ["auditors", "notify"]


# -- everything that is wrong ----------------------------------------------------------------------------------------

BAD_ROLES = {
    "a misspelt key": ("alow: []", "unknown key 'alow' (did you mean 'allow'?)"),
    "an unknown principal": ("who: [alice]", "who: 'alice' is not a person or group (write user:NAME"),
    "an unknown kind of principal": ("who: ['host:a']", "is not a person or group"),
    "a bad name": ("who: ['user:a,b']", "not a user or group name"),
    "an empty who": ("who: []", "who is empty"),
    "an unknown team": ("who: ['team:none']", "nobody under `approvers` is in the team 'none'"),
    "a bad team": ("who: ['team:a b']", "not a team's name"),
    "no rule at all": ("allow: []", "allow is empty"),
    "request in a word": ("request: some", "request is none, or a mapping with max_duration and approvals"),
    "a quoted none": ("request: 'none'", "request is none, or a mapping"),
    "no until": ("request: none", "a standing role (`request: none`) needs `until`"),
    "no from": ("request: {max_duration: 1h, approvals: 1}", "request: 'from' is missing"),
    "no maximum": ("request: {approvals: 0}", "request: 'max_duration' is missing"),
    "no approvals": ("request: {max_duration: 1h}", "request: 'approvals' is missing"),
    "too many approvals": ("request: {max_duration: 1h, approvals: 17, from: 'user:a'}", "between 0 and 16"),
    "approvals in letters": ("request: {max_duration: 1h, approvals: one, from: 'user:a'}", "must be a whole number"),
    "negative approvals": ("request: {max_duration: 1h, approvals: -1, from: 'user:a'}", "must be a whole number"),
    "a list of approvals": ("request: {max_duration: 1h, approvals: [], from: 'user:a'}", "must be a whole number"),
    "a bad duration": ("request: {max_duration: 1 hour, approvals: 0}", "max_duration: not a duration: '1 hour' (write"),
    "a default above the maximum": (
        "request: {max_duration: 1h, default_duration: 2h, approvals: 0}", "default_duration is longer than max_duration"),
    "a bad regex": ("request: {max_duration: 1h, approvals: 0, reason: '(a+)+'}", "a repetition without limit inside"),
    "an empty all_of": ("request: {max_duration: 1h, approvals: 1, from: {all_of: []}}", "all_of is empty"),
    "no all_of": ("request: {max_duration: 1h, approvals: 1, from: {}}", "from: 'all_of' is missing"),
    "a repeated all_of": (
        "request: {max_duration: 1h, approvals: 1, from: {all_of: ['user:a', 'user:a']}}", "all_of names each"),
    "a review without from": ("request: {max_duration: 1h, approvals: 0, review: {}}", "review: 'from' is missing"),
    "an escalation to nobody": ("request: {max_duration: 1h, approvals: 0, escalate: {}}", "escalate: 'to' is missing"),
    "another way": ("request: {max_duration: 1h, approvals: 0, approve_with: pin}", "unknown 'pin'; it is one of key"),
    "hosts without anything": ("hosts: {}", "hosts is empty"),
    "empty labels": ("hosts: {labels: {}}", "labels is empty"),
    "empty names": ("hosts: {names: []}", "names is empty"),
    "a bad glob": ("hosts: {names: '***'}", "more than two '*' in a row"),
    "run_as without users": ("run_as: {groups: adm}", "run_as: 'users' is missing"),
    "a numeric user": ("run_as: {users: '0'}", "a name may not consist of digits alone"),
    "no way to authenticate": ("authenticate: {}", "authenticate: 'within' is missing"),
    "another authentication": ("authenticate: always", "unknown 'always'"),
    "an empty when": ("when: {}", "when is empty"),
    "hours without a zone": ("when: {hours: 'Mon 08:00-09:00'}", "hours need the file's `timezone`"),
    "bad hours": ("when: {hours: 'sometimes'}", "not hours: 'sometimes'"),
    "strict hours without at": ("when: {hours: {strict: true}}", "hours: 'at' is missing"),
    "a bad network": ("when: {source: 10.0.0.1/8}", "not a network: '10.0.0.1/8'"),
    "otherwise nothing": ("when: {otherwise: {}}", "otherwise: 'approvals' is missing"),
    "no calendar": ("when: {calendar: {}}", "calendar: 'file' is missing"),
    "a calendar elsewhere": ("when: {calendar: {file: ../x}}", "not a file: '../x'"),
    "an unknown guardrail": ("guardrails: [g]", "there is no guardrail 'g'"),
    "a guardrail twice": ("guardrails: [g, g]", "guardrails: 'g' stands here twice"),
    "a list for a word": ("on_expiry: []", "on_expiry must be a single value, not a sequence"),
    "a list for a principal": ("who: [[a]]", "who must be a single value, not a sequence"),
    "an unknown expiry": ("on_expiry: stop", "unknown 'stop'; it is one of finish, kill"),
    "empty limits": ("limits: {}", "limits is empty"),
    "a zero limit": ("limits: {uses: 0}", "uses must lie between 1 and"),
    "a bad variable": ("environment: {keep: ['A B']}", "not the name of a variable"),
    "a null in set": ("environment: {set: {A: }}", "set: a value is missing"),
    "a sudo option": ("sudo_options: ['-R']", "unknown '-R'"),
    "a quoted boolean": ("record: 'true'", "record must be true or false"),
    "a boolean of YAML 1.1": ("record: yes", "record must be true or false"),
    "a list for a boolean": ("record: [true]", "record must be true or false"),
    "a bad date": ("until: 2027-02-30", "not a date: '2027-02-30'"),
    "a compact date": ("until: 20270101", "not a date"),
    "the last date": ("until: 9999-12-31", "not a date"),
    "a test without expect": ("tests: [{run: x}]", "a test: 'expect' is missing"),
    "a test without run": ("tests: [{expect: deny}]", "a test: 'run' is missing"),
    "a nested argument in a test": ("tests: [{run: [[x]], expect: deny}]", "run must be a single value, not a sequence"),
    "no services": ("access: {}", "access: 'services' is missing"),
    "a bad service": ("access: {services: a/b}", "not the name of a PAM service"),
    "a boolean as text": ("description: on", "description: write 'on' in quotes") ,
    "a description that is a list": ("description: [a]", "description must be a single value"),
    "a control character": ('description: "a\\x1b"', "without control characters"),
    "a sexagesimal": ("tests: [{run: 1:30, expect: deny}]", "some YAML readers see a number"),
    "an unquoted boolean in a text": ("tests: [{run: true, expect: deny}]", "write 'true' in quotes"),
    "a rule without command": ("allow: [{}]", "a rule: 'command' is missing"),
    "a rule that is text": ("allow: [x]", "a rule must be a mapping"),
    "a bare command": ("allow: [{command: rm}]", "command: not an absolute path: 'rm'"),
    "a long path": ("allow: [{command: /usr/../bin/x}]", "not the shortest form of a path: '/usr/../bin/x' (/bin/x)"),
    "a doubled slash": ("allow: [{command: //bin/x}]", "not the shortest form"),
    "a trailing slash": ("allow: [{command: /bin/x/}]", "not the shortest form"),
    "shell and command": ("allow: [{command: /bin/x, shell: {intercept: true}}]", "unknown key 'command'"),
    "a shell without intercept": ("allow: [{shell: {}}]", "shell: 'intercept' is missing"),
    "edit what is no file": ("allow: [{edit: int}]", "edit takes files"),
    "a bad digest": ("allow: [{command: /bin/x, digest: abc}]", "not a digest"),
    "an option twice": ('allow: [{command: /bin/x, options: {"-x": flag, "-y, -x": flag}}]', "'-x' stands here twice"),
    "no option": ('allow: [{command: /bin/x, options: {x: flag}}]', "not an option: 'x'"),
    "a subcommand twice": ('allow: [{command: /bin/x, subcommands: {"a|a": {}}}]', "'a' stands here twice"),
    "an empty subcommand": ('allow: [{command: /bin/x, subcommands: {"a|": {}}}]', "a subcommand is a word"),
    "too many operands": (f"allow: [{{command: /bin/x, operands: [{'int, ' * 65}]}}]", "more than 64 entries"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "message"), BAD_ROLES.values(), ids=BAD_ROLES.keys())
def test_a_bad_role_is_refused(body: str, message: str) -> None:
    """With a message that says what is wrong, and its place."""
    found = issues(role_text(body))
    assert any(message in issue for issue in found), found
    assert all(issue.startswith("web.yaml:") for issue in found)


BAD_TYPES = {
    "an unknown word": ("uint", "unknown type 'uint' (did you mean 'int'?)"),
    "text as a type": ("nginx", "text is {literal: …}"),
    "a type that needs more": ("glob", "the type 'glob' needs its argument: {glob: …}"),
    "two words": ("{int: true, user: true}", "a type has one word"),
    "no word": ("{count: 2}", "a type has one word"),
    "a list": ("[int]", "a type must be a single value"),
    "an argument too many": ("{self: x}", "the type 'self' has no arguments"),
    "a flag": ("flag", "an operand cannot be a flag"),
    "an unknown argument": ("{int: {maximum: 3}}", "unknown key 'maximum'"),
    "min above max": ("{int: {min: 3, max: 2}}", "min is greater than max"),
    "a bad size": ("{size: {max: 3X}}", "not a size: '3X'"),
    "no folder": ("{path: {glob: '*'}}", "path: 'under' is missing"),
    "a relative folder": ("{path: {under: etc}}", "not an absolute path"),
    "an absolute glob": ("{path: {under: /etc, glob: '/*'}}", "matched relative to the folder"),
    "an empty one_of": ("{one_of: []}", "one_of is empty"),
    "a boolean in one_of": ("{one_of: [on]}", "write 'on' in quotes"),
    "an empty plain literal": ("{literal: }", "literal: a value is missing"),
    "a bad count": ("{int: true, count: many}", "count is N"),
    "a count of nothing": ("{int: true, count: 0}", "count runs from less to more"),
    "a count backwards": ("{int: true, count: '3..2'}", "count runs from less to more"),
    "a count as a list": ("{int: true, count: [1]}", "count must be a single value"),
    "repeat on an operand": ("{int: true, repeat: true}", "unknown key 'repeat'"),
    "a bad network": ("{cidr: 10.0.0.0/33}", "not a network"),
}


@pytest.mark.parametrize(("text", "message"), BAD_TYPES.values(), ids=BAD_TYPES.keys())
def test_a_bad_type_is_refused(text: str, message: str) -> None:
    """Nothing is ever guessed."""
    found = issues(role_text(f"allow: [{{command: /bin/x, operands: [{text}]}}]"))
    assert any(message in issue for issue in found), found


BAD_FILES = {
    "no version": ("roles: {}", "a policy file: 'version' is missing"),
    "another version": ("version: 2", "version must be 1"),
    "a quoted version": ("version: '1'", "version must be 1"),
    "a list": ("[]", "a policy file must be a mapping"),
    "an unknown zone": ("version: 1\ntimezone: Europe/Bonn", "unknown time zone 'Europe/Bonn'"),
    "a zone that is a path": ("version: 1\ntimezone: ../../etc/passwd", "unknown time zone"),
    "a zone that is a folder": ("version: 1\ntimezone: Europe", "unknown time zone"),
    "a bad role name": ("version: 1\nroles: {A: {}}", "not a role's name: 'A'"),
    "a bad guardrail name": ("version: 1\nguardrails: {A b: {}}", "not a role's name"),
    "an empty guardrail": ("version: 1\nguardrails: {g: {}}", "guardrail 'g': 'match' is missing"),
    "a match without command": (
        "version: 1\nguardrails: {g: {match: {}, then: deny, message: M}}", "match: 'command' is missing"),
    "an odd program name": (
        "version: 1\nguardrails: {g: {match: {command: ..}, then: deny, message: M}}", "not the name of a program"),
    "an empty any_operand": (
        "version: 1\nguardrails: {g: {match: {command: x, any_operand: []}, then: deny, message: M}}", "any_operand is empty"),
    "limits without limit": (
        "version: 1\nguardrails: {g: {match: {command: x}, then: deny, message: M, limits: {uses: 1}}}",
        "'limits' belongs to `then: limit`"),
    "limit without limits": (
        "version: 1\nguardrails: {g: {match: {command: x}, then: limit, message: M}}", "`then: limit` needs 'limits'"),
    "an approver without accounts": ("version: 1\napprovers: {bob: {}}", "approver 'bob': 'accounts' is missing"),
    "root as an approver": ("version: 1\napprovers: {bob: {accounts: root}}", "root never approves"),
    "one account of two people": (
        "version: 1\napprovers: {bob: {accounts: b}, rob: {accounts: b}}", "account 'b' stands twice, first under 'bob'"),
    "one key of two people": (
        f"version: 1\napprovers: {{bob: {{accounts: b, keys: '{KEY} x'}}, rob: {{accounts: r, keys: '{KEY} y'}}}}",
        "stands twice, first under 'bob'"),
    "an unknown key type": ("version: 1\napprovers: {b: {accounts: b, keys: ssh-dss AAAA}}", "key type 'ssh-dss'"),
    "a damaged key": ("version: 1\napprovers: {b: {accounts: b, keys: ssh-ed25519 A!}}", "base64 is damaged"),
    "a key of another type": ("version: 1\napprovers: {b: {accounts: b, keys: ssh-rsa " + KEY[12:] + "}}", "not of the type"),
    "a key without text": ("version: 1\napprovers: {b: {accounts: b, keys: {forwarded: true}}}", "a key: 'key' is missing"),
    "a bad redaction": ("version: 1\nredact: ['(']", "'(' without ')'"),
    "a role twice": ("version: 1\nroles: {a: {}, a: {}}", "'a' stands here twice, first in line 2"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_refused(text: str, message: str) -> None:
    """As a whole."""
    found = issues(text)
    assert any(message in issue for issue in found), found


def test_names_are_unique_across_files() -> None:
    """The second is told where the first is."""
    guard = "guardrails:\n  g: {match: {command: x}, then: deny, message: M}\n"
    found = issues(role_text("") + guard, zz=role_text("") + guard)
    assert any("zz.yaml:4:3: role 'r' exists already, in web.yaml:4" in issue for issue in found), found
    assert any("guardrail 'g' exists already, in web.yaml:10" in issue for issue in found), found


def test_all_errors_are_reported_at_once_with_their_places() -> None:
    """File, line and column, in order."""
    text = "version: 1\nroles:\n  r:\n    description: D\n    who: []\n    allow: [{command: /bin/x, operand: [int]}]\n"
    assert issues(text) == [
        "web.yaml:4:5: role 'r': 'request' is missing",
        "web.yaml:5:10: who is empty",
        "web.yaml:6:31: unknown key 'operand' (did you mean 'operands'?)",
    ]


def test_a_threshold_that_nobody_can_reach_is_a_warning() -> None:
    """It loads: it fails closed."""
    body = "request: {{max_duration: 1h, approvals: {}, from: {}}}"

    def warnings(approvals: int, source: str) -> list[str]:
        text = role_text(body.format(approvals, source), head=TEAM)
        return [str(issue) for issue in load_policy_bytes({"w.yaml": text.encode()}).issues]

    assert warnings(2, "'team:web-leads'") == []
    assert warnings(3, "'team:web-leads'") == ["w.yaml:6:3: role r needs 3 approvers, and there are 2"]
    assert warnings(3, "['team:web-leads', 'user:dave']") == []
    assert warnings(3, "['team:web-leads', 'user:bob']") != []
    assert warnings(9, "'group:any'") == []
    assert warnings(1, "{all_of: ['team:security', 'user:bob']}") != []


def test_a_tree_that_is_too_deep_is_refused_before_anything_recurses() -> None:
    """However deep."""
    pos = Pos("a.yaml", 1, 1)
    node: Scalar | Sequence | Mapping = Scalar(pos, "x")
    for _ in range(5000):
        node = Sequence(pos, (node,))
    result = parse([node], lambda _: None)
    assert result.policy is None
    assert [issue.message for issue in result.issues] == ["nested more than 32 levels deep"]


@pytest.mark.parametrize("folder", ["policies", "tests/e2e/data/policy.d"])
def test_our_own_policies_load_without_a_warning_and_work_in_this_version(folder: str) -> None:
    """Examples must be good ones."""
    files = {path.name: path.read_bytes() for path in (REPOSITORY / folder).glob("*.yaml")}
    assert files
    loaded = load_policy_bytes(files)
    assert loaded.issues == ()
    for role in loaded.policy.roles.values():
        assert role.unsupported == ()
        assert all(rule.unsupported == () for rule in role.rules)
    assert all(guardrail.unsupported == () for guardrail in loaded.policy.guardrails.values())
