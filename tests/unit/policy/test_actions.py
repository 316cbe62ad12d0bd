"""Edits, shells, pinned programs, and what sudo's own options ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import HOST, NOW, PROVEN, MemoryWorld, act, held, role, world
from jitsudo.policy.evaluate import Action, Allow, Deny, Verdict, evaluate
from jitsudo.policy.model import Environment, Policy
from jitsudo.policy.rules import ShellRule
from jitsudo.policy.verdict import ExpiryTerms, HeldGrant, SudoOption
from jitsudo.types import AbsPath, Digest, RoleName, UserName


def decide(action: Action, policy: Policy, on: MemoryWorld | None = None) -> Verdict:
    return evaluate(action, policy, (held(),), HOST, NOW, on or world(), PROVEN)


def code(action: Action, policy: Policy, on: MemoryWorld | None = None) -> str:
    verdict = decide(action, policy, on)
    return verdict.code if isinstance(verdict, Deny) else type(verdict).__name__


# -- edit ------------------------------------------------------------------------------------------------------------

SITES = """
allow:
  - edit: [{path: {under: /etc/nginx/sites-available, glob: "*.conf"}}, {literal: /etc/hosts}]
    check: [nginx, "-t"]
"""


def edit(*files: str, cwd: str = "/") -> Action:
    return replace(act("sudoedit", *files, mode="edit", cwd=cwd), path=None)


def disk() -> MemoryWorld:
    made = world().plant("/etc/hosts").plant("/etc/nginx/sites-available/dir.conf", "directory")
    made.link("/etc/nginx/sites-available/evil.conf", "/etc/shadow").link("/etc/resolv.conf", "/run/resolv.conf")
    return made.plant("/run/resolv.conf").link("/etc/nginx/mine", "/home/alice")


def test_an_edit_is_of_the_files_as_resolved() -> None:
    """In the order asked for, however they were named, with the check that must accept each."""
    verdict = decide(edit("sites-available/../sites-available/a.conf", "/etc//hosts", cwd="/etc/nginx"), role(SITES), disk())
    assert isinstance(verdict, Allow)
    assert verdict.mode == "edit"
    assert verdict.files == ("/etc/nginx/sites-available/a.conf", "/etc/hosts")
    assert (verdict.path, verdict.argv) == ("/usr/bin/sudoedit", ("sudoedit", *verdict.files))
    assert verdict.check == ("nginx", "-t")
    assert verdict.on_expiry == ExpiryTerms("finish", 14400)
    assert code(edit("/etc/nginx/sites-available/new.conf"), role(SITES), disk()) == "Allow"


@pytest.mark.parametrize(
    "files",
    [(), ("/etc/shadow",), ("/etc/hosts", "/etc/shadow"), ("/etc/nginx/sites-available/evil.conf",), ("-u",), ("",),
     ("/etc/nginx/sites-available/dir.conf",), ("/etc/hosts/",), ("hosts",), ("/etc/nginx/mine/a.conf",),
     ("/home/alice/x",),
     ("/etc/nginx/sites-available/a.txt",), ("--", "/etc/hosts"), ("/etc/nginx/sites-available/a.conf\n",),
     ("/etc/HOSTS",)],
)  # fmt: skip
def test_other_files_are_not_edited(files: tuple[str, ...]) -> None:
    """Every one must be the rule's, a file, and in folders that root alone can write."""
    assert code(edit(*files), role(SITES), disk()) == "not-covered"


def test_files_may_be_named_by_other_types() -> None:
    """All compared by their full names."""
    policy = role('allow: [{edit: [{one_of: [/etc/hosts]}, {glob: "/srv/app/*"}, {regex: "/etc/resolv[.]conf"}]}]')
    assert code(edit("/etc/hosts"), policy, disk()) == "Allow"
    assert code(edit("x", cwd="/srv/app"), policy, disk()) == "Allow"
    verdict = decide(edit("/etc/resolv.conf"), policy, disk())
    assert isinstance(verdict, Allow)
    assert verdict.files == ("/run/resolv.conf",)


def test_an_edit_is_no_side_effect_of_an_editor() -> None:
    """Nor a command of an edit rule; the refusal says what was asked for."""
    policy = role("allow: [{command: /usr/bin/vim, operands: any}, {command: /usr/bin/sudoedit, operands: any}]")
    verdict = decide(edit("/etc/hosts"), policy, disk())
    assert isinstance(verdict, Deny)
    assert verdict.message == "no grant of alice (r) covers editing /etc/hosts"
    assert code(act("sudoedit", "/etc/hosts"), role(SITES), disk()) == "not-covered"


def test_a_guardrail_binds_sudoedit_by_its_name() -> None:
    """And by the files."""
    match = "{command: sudoedit, any_operand: [{path: {under: /etc}}]}"
    rail = f"guardrails:\n  g: {{always: true, match: {match}, then: deny, message: No.}}\n"
    policy = role('allow: [{edit: [{path: {under: /}}]}]', rail)
    assert code(edit("/etc/hosts"), policy, disk()) == "guardrail"
    assert code(edit("/srv/app/x"), policy, disk()) == "Allow"


# -- shell -----------------------------------------------------------------------------------------------------------

SHELL = "allow: [{shell: {intercept: false}}]\non_expiry: {shells: kill, grace: 1m}"


def shell(*argv: str, mode: str = "shell", path: str | None = "/usr/bin/bash") -> Action:
    return replace(act("x", mode=mode), path=AbsPath(path) if path else None, argv=argv)


def shells() -> MemoryWorld:
    return world().plant("/usr/bin/bash").plant("/home/alice/bin/sh", uid=1000)


def test_a_shell_is_the_one_that_was_asked_for() -> None:
    """With what it is to run, on the terms of shells; a login shell's name begins with a dash."""
    verdict = decide(shell("-c", "id"), role(SHELL), shells())
    assert isinstance(verdict, Allow)
    assert (verdict.mode, verdict.path, verdict.argv) == ("shell", "/usr/bin/bash", ("bash", "-c", "id"))
    assert verdict.on_expiry == ExpiryTerms("kill", 60)
    verdict = decide(shell(mode="login-shell"), role(SHELL), shells())
    assert isinstance(verdict, Allow)
    assert (verdict.mode, verdict.argv) == ("login-shell", ("-bash",))


def test_a_shell_must_be_roots() -> None:
    """Whoever can change it would be root; without one there is nothing to allow."""
    assert code(shell(path="/home/alice/bin/sh"), role(SHELL), shells()) == "writable-command"
    assert code(shell(path=None), role(SHELL), shells()) == "shell"


def test_a_role_without_a_shell_has_none() -> None:
    """Not even where it has the shell's program."""
    verdict = decide(shell(), role("allow: [{command: /usr/bin/bash, operands: any}]"), shells())
    assert isinstance(verdict, Deny)
    assert (verdict.code, verdict.message) == ("shell", "no grant of alice (r) covers a shell")
    assert code(act("bash"), role(SHELL), shells()) == "not-covered"


@pytest.mark.parametrize("terms", ["intercept: true", "intercept: false, record: true", "intercept: false, only: listed"])
def test_a_shell_that_is_to_be_watched_is_not_there_yet(terms: str) -> None:
    """Also where only the terms say so."""
    policy = role(f"allow: [{{shell: {{{terms}}}}}]")
    assert code(shell(), policy, shells()) == "unsupported"
    one = policy.roles[RoleName("r")]
    rules = tuple(replace(rule, unsupported=()) for rule in one.rules)
    assert isinstance(rules[0], ShellRule)
    assert code(shell(), replace(policy, roles={one.name: replace(one, rules=rules)}), shells()) == "unsupported"


@pytest.mark.parametrize(
    "command",
    ["rm -rf /etc",
     "rm\\ -rf\\ /etc", "cd /; rm -rf etc", "x=$(rm -r /etc)", "'rm' -rf /etc", "echo a|rm -R /etc", "/bin/rm -rf /etc",
     "r\\m -rf /etc", "env rm -rf /etc", "sudo rm -rf /etc"],
)  # fmt: skip
def test_guardrails_look_into_what_a_shell_is_given(command: str) -> None:
    """Best effort: what stands there, not what it computes."""
    rail = """guardrails:
  g:
    always: true
    match: {command: rm, any_option: ["-r, -R, --recursive"], any_operand: [{path: {under: /etc}}]}
    then: deny
    message: No.
"""
    policy = role(SHELL, rail)
    assert code(shell("-c", command), policy, shells()) == "guardrail"
    assert code(shell("-c", "rm /srv/app/x"), policy, shells()) == "Allow"


# -- pinned programs -------------------------------------------------------------------------------------------------


def test_a_pinned_program_is_executed_by_its_content_alone() -> None:
    """Another content, or one that cannot be read, is refused with its own code."""
    one, two = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)
    policy = role(f"allow: [{{command: /usr/bin/true, digest: '{one}'}}]")
    on = world()
    assert code(act("true"), policy, on) == "digest"
    on.digests["/usr/bin/true"] = two
    verdict = decide(act("true"), policy, on)
    assert isinstance(verdict, Deny)
    assert verdict.message == "/usr/bin/true is not the program whose digest the rule pins"
    assert verdict.rule == "web.yaml:8"
    on.digests["/usr/bin/true"] = one
    verdict = decide(act("true"), policy, on)
    assert isinstance(verdict, Allow)
    assert verdict.digest == one


# -- sudo's own options ----------------------------------------------------------------------------------------------


def asking(*options: SudoOption, variables: tuple[str, ...] = ()) -> Action:
    return replace(act("true"), sudo_options=frozenset(options), variables=frozenset(variables))


@pytest.mark.parametrize("option", ["-E", "-C", "-D", "-T", "-P"])
def test_an_option_of_sudos_needs_the_role_to_admit_it(option: SudoOption) -> None:
    """Each by itself."""
    verdict = decide(asking(option), role(""))
    assert verdict == Deny(
        "sudo-option", f"role r does not admit sudo's option {option}", ("leave the option out",), role=RoleName("r")
    )
    others = [one for one in ("-E", "-C", "-D", "-T", "-P", "VAR") if one != option]
    assert code(asking(option), role(f"sudo_options: [{', '.join(others)}]")) == "sudo-option"
    verdict = decide(asking(option), role(f"sudo_options: ['{option}']"))
    assert isinstance(verdict, Allow)
    assert verdict.keep_environment == (option == "-E")


def test_a_variable_needs_the_role_to_keep_it_or_to_admit_any() -> None:
    """`VAR` admits any; `environment: keep` those that it names; -E is no substitute."""
    asked = asking("VAR", variables=("HTTPS_PROXY", "LC_ALL"))
    verdict = decide(asked, role(""))
    assert isinstance(verdict, Deny)
    assert verdict.message == "role r does not admit the variable HTTPS_PROXY on sudo's command line"
    assert code(asked, role("sudo_options: [VAR]")) == "Allow"
    assert code(asked, role("sudo_options: ['-E']")) == "sudo-option"
    assert code(asked, role("environment: {keep: [HTTPS_PROXY, 'LC_*']}")) == "Allow"
    assert code(asked, role("environment: {keep: [HTTPS_PROXY, LC_]}")) == "sudo-option"
    assert code(asked, role("environment: {keep: [HTTPS_PROXY]}")) == "sudo-option"
    assert code(asking("VAR"), role("")) == "Allow"


def test_the_roles_environment_is_passed_on() -> None:
    """As it is written."""
    verdict = decide(act("true"), role('environment: {keep: [HTTPS_PROXY], set: {PAGER: ""}}'))
    assert isinstance(verdict, Allow)
    assert verdict.environment == Environment(("HTTPS_PROXY",), (("PAGER", ""),))


def test_root_equivalent_is_no_obstacle() -> None:
    """It says what a role is; lint asks for it."""
    assert code(act("true"), role("root_equivalent: true")) == "Allow"


# -- what was probably wanted ----------------------------------------------------------------------------------------


def hints(action: Action, policy: Policy, *grants: HeldGrant) -> tuple[str, ...]:
    on = disk()
    for name in ("vim", "su", "bash"):
        on.plant(f"/usr/bin/{name}")
    verdict = evaluate(action, policy, grants or (held(run_as=("root", "postgres")),), HOST, NOW, on, PROVEN)
    assert isinstance(verdict, Deny)
    return verdict.hints


def test_an_editor_on_a_file_of_an_edit_rule_is_answered_with_sudoedit() -> None:
    """Its own options left out; as another user if so asked; never with what could steer a terminal."""
    file = "/etc/nginx/sites-available/a.conf"
    assert hints(act("vim", "-R", "+5", file), role(SITES)) == (f"sudoedit {file}",)
    assert hints(act("vim", "/etc/hosts", file), role(SITES)) == (f"sudoedit /etc/hosts {file}",)
    assert hints(act("vim", file, run_as="postgres"), role(f"run_as: {{users: [postgres]}}\n{SITES}")) == (
        f"sudoedit -u postgres {file}",
    )
    assert hints(act("vim", "/etc/shadow"), role(SITES)) == ()
    assert hints(act("vim"), role(SITES)) == ()
    assert hints(act("vim", *[file] * 9), role(SITES)) == ()
    assert hints(act("cat", file), role(SITES)) == ()
    assert hints(act("vim", "/a\u2028b"), role("allow: [{edit: [{path: {under: /}}]}]")) == ()
    assert hints(act("vim", file), role(SITES + "when: {source: 10.0.0.0/8}")) == ()
    assert hints(act("su"), role("allow: [{shell: {intercept: false}}]\nwhen: {source: 10.0.0.0/8}")) == ()
    assert hints(replace(act("vim", file), run_as_group=UserName("adm")), role(SITES)) == ()


def test_a_shell_by_its_own_name_is_answered_with_sudo_i() -> None:
    """Where the role has a shell."""
    assert hints(act("su", "-"), role(SHELL)) == ("sudo -i",)
    assert hints(act("bash"), role(SHELL)) == ("sudo -i",)
    assert hints(act("su", run_as="postgres"), role(f"run_as: {{users: [postgres]}}\n{SHELL}")) == ("sudo -u postgres -i",)
    assert hints(act("su", "bob"), role(SHELL)) == ()
    assert hints(act("bash", "-c", "id"), role(SHELL)) == ()
    assert hints(act("su"), role("")) == ()
    assert hints(act("su"), role("allow: [{shell: {intercept: true}}]")) == ()
    assert hints(shell(), role("")) == ()
