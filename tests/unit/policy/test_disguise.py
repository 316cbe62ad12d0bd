"""Guardrails on options and sub-commands, with and without a grammar, and on commands inside others."""

from __future__ import annotations

import pytest

from bench import HOST, NOW, PROVEN, MemoryWorld, act, grammars, held, load, role, world
from jitsudo.policy.argv import MAX_ARGUMENTS
from jitsudo.policy.evaluate import Allow, Deny, evaluate
from jitsudo.policy.guardrails import check_guardrail
from jitsudo.policy.inside import MAX_LINES, lines_of
from jitsudo.policy.paths import Place
from jitsudo.types import AbsPath

KNOWN = """
/usr/bin/systemctl:
  options: {"-H, --host": [value, global], "--root": value, "--no-pager": [flag, harmless, global]}
  subcommands: {"stop, condstop": {options: {"--now": flag}}, restart: {}, status: {}}
/usr/bin/rm:
  options: {"-r, -R, --recursive": flag, "-f, --force": flag, "-i": flag}
/usr/bin/env:
  order: posix
  options: {"-i": flag, "-u": value, "-C": [value, chdir]}
  operands: [runs-program]
/usr/bin/find:
  unreadable: true
/usr/bin/cat:
  options: {"-n": flag}
  operands: [reads-file]
/usr/bin/git:
  options: {"-c": [value, loads-code]}
  subcommands: {status: {}, run: {leads: [runs-program]}}
/usr/bin/xargs:
  order: posix
  options: {"-I": [value, runs-program]}
"""


def on() -> MemoryWorld:
    made = world()
    for name in ("env", "git", "xargs", "tool", "sh"):
        made.plant(f"/usr/bin/{name}")
    return made


def fires(match: str, *argv: str, known: str = "", cwd: str = "/") -> bool:
    policy = load(f"version: 1\nguardrails:\n  g: {{match: {match}, then: deny, message: No.}}\n")
    place = Place(on(), AbsPath(cwd), "alice", grammars(known) if known else {})
    found = check_guardrail(policy.guardrails["g"], lines_of(act(*argv, cwd=cwd), (), place), place)
    assert found.fault is None
    return found.fired


HOSTS = '{command: /usr/bin/systemctl, any_option: ["-H, --host", "--root"]}'
RECURSIVE = '{command: rm, any_option: ["-r, -R, --recursive"], any_operand: [{path: {under: /etc}}]}'
STOPS = '{command: systemctl, subcommand: "stop|mask"}'


@pytest.mark.parametrize("known", ["", KNOWN])
@pytest.mark.parametrize(
    ("match", "argv"),
    [
        (HOSTS, ("systemctl", "-H", "db", "status")), (HOSTS, ("systemctl", "-Hdb", "status")),
        (HOSTS, ("systemctl", "--host=db", "status")), (HOSTS, ("systemctl", "status", "--host", "db")),
        (HOSTS, ("systemctl", "--ho=db", "status")), (HOSTS, ("systemctl", "--roo=/x", "status")),
        (HOSTS, ("systemctl", "-qHdb", "status")), (HOSTS, ("systemctl", "@file")),
        (RECURSIVE, ("rm", "-r", "/etc")), (RECURSIVE, ("rm", "-fR", "/etc")),
        (RECURSIVE, ("rm", "/etc", "--recursive")),
        (RECURSIVE, ("rm", "--rec", "/etc")), (RECURSIVE, ("rm", "-fr", "--", "/etc/nginx")),
        (RECURSIVE, ("rm", "-r", "/")),
        (STOPS, ("systemctl", "stop", "x")), (STOPS, ("systemctl", "--no-pager", "stop", "x")),
        (STOPS, ("systemctl", "-H", "a", "stop")),
        (STOPS, ("systemctl", "mask", "x")), (STOPS, ("systemctl", "--weird", "mask")),
    ],
)  # fmt: skip
def test_it_fires_however_it_is_written(match: str, argv: tuple[str, ...], known: str) -> None:
    """As options go, bundled, attached, abbreviated; with a grammar and without."""
    assert fires(match, *argv, known=known)


@pytest.mark.parametrize("known", ["", KNOWN])
@pytest.mark.parametrize(
    ("match", "argv"),
    [
        (HOSTS, ("systemctl", "status", "nginx")), (HOSTS, ("systemctl", "--no-pager", "status")),
        (HOSTS, ("systemctl",)),
        (RECURSIVE, ("rm", "-f", "/etc/hosts")), (RECURSIVE, ("rm", "-r", "/srv/app")),
        (RECURSIVE, ("rm", "/etc/nginx")),
        (RECURSIVE, ("cat", "-n", "/etc/hosts")),
        (STOPS, ("systemctl", "status", "x")), (STOPS, ("systemctl", "restart", "x")),
    ],
)  # fmt: skip
def test_it_lets_other_lines_be(match: str, argv: tuple[str, ...], known: str) -> None:
    """Another option, another place, another sub-command."""
    assert not fires(match, *argv, known=known)


@pytest.mark.parametrize(
    ("match", "argv"),
    [(STOPS, ("systemctl", "condstop", "x")), (STOPS, ("systemctl", "nosuch")),
     (HOSTS, ("systemctl", "--nosuch", "status")),
     (RECURSIVE, ("rm", "-z", "/srv")), (STOPS, ("systemctl", "sto", "x")), (RECURSIVE, ("rm", "--force=x"))],
)  # fmt: skip
def test_with_a_grammar_a_line_that_cannot_be_read_fires(match: str, argv: tuple[str, ...]) -> None:
    """And another name of the same sub-command is seen through."""
    assert fires(match, *argv, known=KNOWN)
    assert not fires(match, *argv)


def test_with_a_grammar_nothing_is_guessed() -> None:
    """`-o` of `--root=-H` is a value; a unit called stop is no sub-command."""
    assert fires(HOSTS, "systemctl", "status", "-xH")
    assert not fires('{command: systemctl, any_option: ["-H"]}', "systemctl", "--root=-H", "status", known=KNOWN)
    assert not fires(STOPS, "systemctl", "status", "stop", known=KNOWN)
    assert fires(STOPS, "systemctl", "status", "stop")
    assert fires('{command: rm, subcommand: x}', "rm", "x", known=KNOWN)
    assert not fires('{command: rm, subcommand: x}', "rm", "y", known=KNOWN)


def test_values_of_options_are_looked_at_too() -> None:
    """As operands are."""
    match = "{command: systemctl, any_operand: [{path: {under: /etc}}]}"
    assert fires(match, "systemctl", "--root=/etc", "status", known=KNOWN)
    assert fires(match, "systemctl", "--root", "etc", "status", known=KNOWN)
    assert not fires(match, "systemctl", "--root", "/srv", "restart", "/srv/app", known=KNOWN)


def test_options_of_other_kinds_are_seen() -> None:
    """Single-dash words, keys, and options without a dash."""
    assert fires('{command: tool, any_option: ["-exec"]}', "tool", "-exec", "x")
    assert fires('{command: tool, any_option: ["-exec"]}', "tool", "-exe")
    assert fires('{command: tool, any_option: ["-exec"]}', "tool", "-exec=x")
    assert not fires('{command: tool, any_option: ["-exec"]}', "tool", "-name")
    assert not fires('{command: tool, any_option: ["--exec"]}', "tool", "-", "--", "x")
    assert fires('{command: tool, any_option: ["--exec"]}', "tool", "-exec")
    assert not fires('{command: tool, any_option: ["-x"]}', "tool", "--y=x")
    assert not fires('{command: tool, any_option: ["--exec"]}', "tool", "-e")
    assert fires('{command: tool, any_option: ["--exec"]}', "tool", "--e")
    assert fires("{command: tool, any_operand: [{literal: x}]}", "tool", "@file")


def test_too_many_arguments_fire() -> None:
    """Unless the guardrail is about another program, in which none runs others."""
    assert fires(HOSTS, "systemctl", *["x"] * MAX_ARGUMENTS)
    assert fires(HOSTS, "tool", *["x"] * MAX_ARGUMENTS)
    assert fires(RECURSIVE, "tool", *["rm"] * (MAX_LINES + 1))
    assert not fires(RECURSIVE, "tool", *["rm"] * MAX_LINES)


# -- inside others ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "argv"),
    [
        (KNOWN, ("env", "rm", "-rf", "/etc")), (KNOWN, ("env", "A=b", "/bin/rm", "-rf", "/etc")),
        (KNOWN, ("env", "env", "rm", "-r", "/etc")),
        (KNOWN, ("find", "/", "-exec", "rm", "-r", "/etc", ";")), (KNOWN, ("git", "run", "rm", "-r", "/etc")),
        (KNOWN, ("xargs", "-I", "{}", "rm", "-r", "/etc")),
        ("", ("tool", "rm", "-r", "/etc")), ("", ("sh", "-c", "rm -rf /etc")), ("", ("sh", "-c", "true;rm -r /etc")),
        (KNOWN, ("env", "sh", "-c", "rm -rf /etc")), ("", ("sh", "-c", "r\"m\" -rf /etc")),
        ("", ("tool", "/opt/rm", "-r", "/etc")), ("", ("tool", "--action=exec=rm -r /etc")),
    ],
)  # fmt: skip
def test_a_command_inside_another_is_seen(known: str, argv: tuple[str, ...]) -> None:
    """Wherever a program runs others, or nobody knows that it does not."""
    assert fires(RECURSIVE, *argv, known=known)


@pytest.mark.parametrize(
    "argv",
    [
        ("env", "-C", "/etc", "rm", "-r", "."),
        ("env", "env", "-C", "/", "rm", "-r", "etc"),
        ("sh", "-c", "cd /etc; rm -r nginx"),
    ],
)
def test_a_relative_path_inside_may_be_anywhere(argv: tuple[str, ...]) -> None:
    """What runs the command may have changed folder first."""
    assert fires(RECURSIVE, *argv, known=KNOWN, cwd="/srv/app")
    assert not fires(RECURSIVE, "rm", "-r", argv[-1].rpartition(" ")[2], known=KNOWN, cwd="/srv/app")


@pytest.mark.parametrize("argv", [("cat", "rm"), ("cat", "/usr/bin/rm"), ("git", "status", "rm")])
def test_a_name_is_no_command_where_nothing_runs_it(argv: tuple[str, ...]) -> None:
    """Reading a file is no use of the program of that name; `git` is one that may run others."""
    assert fires("{command: rm}", *argv, known=KNOWN) == (argv[0] == "git")


def test_a_value_may_be_a_command() -> None:
    """As `--rsh=ssh` is."""
    assert fires("{command: ssh}", "tool", "--rsh=ssh")
    assert not fires("{command: /usr/bin/ssh}", "tool", "--rsh=/opt/none/ssh")
    assert fires("{command: /usr/bin/rm}", "tool", "--x=rm")


def test_where_a_rule_admits_a_command_inside_guardrails_look_at_it() -> None:
    """By whatever name it goes, and with the grammar of its own program."""
    rail = f"guardrails:\n  g: {{always: true, match: {RECURSIVE}, then: deny, message: No.}}\n"
    rail += "  h: {always: true, match: {command: /usr/bin/systemctl}, then: deny, message: Never.}\n"
    policy = role(
        "allow: [{command: /usr/bin/cat, operands: [{literal: x}, {command: {command: /usr/bin/rm, "
        "options: {'-r': flag, '-f': flag}, operands: any}}]}, "
        "{command: /usr/bin/cat, operands: [{command: {command: /usr/sbin/poweroff}}]}]",
        rail,
        KNOWN,
    )

    def decided(*argv: str) -> str:
        verdict = evaluate(act(*argv), policy, (held(),), HOST, NOW, on(), PROVEN)
        return verdict.code if isinstance(verdict, Deny) else type(verdict).__name__

    assert decided("cat", "x", "rm", "-r", "/srv/app") == "not-covered"  # cat takes -r for its own
    assert decided("cat", "x", "rm", "/srv/app/x") == "Allow"
    assert decided("cat", "/usr/sbin/poweroff") == "guardrail"
    assert decided("cat", "x", "rm", "--", "/etc") == "not-covered"


def test_env_with_a_rule_for_rm_does_not_get_past_a_guardrail_on_rm() -> None:
    """The line that was asked about."""
    rail = f"guardrails:\n  g: {{always: true, match: {RECURSIVE}, then: deny, message: No.}}\n"
    rm = "{command: /usr/bin/rm, options: {'-r, -R': flag, '-f': flag}, operands: any}"
    body = f"allow: [{{command: /usr/bin/env, operands: [{{command: {rm}}}]}}]"
    for known in (KNOWN, KNOWN.replace("operands: [runs-program]", "")):
        policy = role(body, rail, known)
        verdict = evaluate(act("env", "rm", "-rf", "/etc"), policy, (held(),), HOST, NOW, on(), PROVEN)
        assert isinstance(verdict, Deny)
        assert verdict.guardrail == "g"
        assert isinstance(evaluate(act("env", "rm", "-rf", "/srv/app"), policy, (held(),), HOST, NOW, on(), PROVEN), Allow)
