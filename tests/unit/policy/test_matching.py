"""Command lines against rules: options, sub-commands, folders, nested commands; with and without a grammar."""

from __future__ import annotations

import pytest

from bench import HOST, NOW, PROVEN, MemoryWorld, act, held, role, world
from jitsudo.policy.argv import MAX_ARGUMENTS
from jitsudo.policy.evaluate import Allow, Deny, evaluate
from jitsudo.policy.matching import MAX_NESTED_STARTS
from jitsudo.types import Digest

KNOWN = """
/usr/bin/systemctl:
  options: {"-H, --host": [value, global], "--no-pager": [flag, harmless, global], "-q, --quiet": [flag, global]}
  subcommands:
    "stop, condstop": {options: {"--now": flag}}
    restart: {}
    list-units: {options: {"-a, --all": flag}}
/usr/bin/make:
  options: {"-C, --directory": [value, chdir], "-j": optional, "-f, --file": value}
/usr/bin/tail:
  options: {"-n, --lines": value, "-f": flag, "-q": [flag, harmless]}
  refused_operands: ["+"]
/usr/bin/tar:
  options: {"-C": [value, moves], "-x": flag, "-f": value}
/usr/bin/env:
  order: posix
  options: {"-i": flag, "-u": value}
  operands: [runs-program]
/usr/bin/timeout:
  order: posix
  options: {"-k": value}
  operands: [runs-program]
"""


def here() -> MemoryWorld:
    made = world()
    for name in ("make", "tar", "env", "timeout", "kill", "docker"):
        made.plant(f"/usr/bin/{name}")
    for folder in ("/usr/local/sbin", "/usr/local/bin"):
        made.plant(folder, "directory")
    return made.plant("/srv/build/Makefile").plant("/srv/build/sub/x").plant("/srv/other/x")


def allowed(rule: str, *argv: str, cwd: str = "/", known: str = KNOWN, on: MemoryWorld | None = None) -> bool:
    policy = role(f"allow: [{rule}]", known=known)
    verdict = evaluate(act(*argv, cwd=cwd), policy, (held(),), HOST, NOW, on or here(), PROVEN)
    assert isinstance(verdict, Deny) or verdict.argv == argv
    assert verdict.faults == ()
    return isinstance(verdict, Allow)


# -- options ---------------------------------------------------------------------------------------------------------

def test_groups_are_the_worlds() -> None:
    """As users are."""
    on = here()
    on.groups.add("adm")
    assert allowed("{command: /usr/bin/kill, operands: [group]}", "kill", "adm", on=on)
    assert not allowed("{command: /usr/bin/kill, operands: [group]}", "kill", "web", on=on)


TAIL = """{command: /usr/bin/tail, options: {"-n, --lines": {int: {max: 100}}, "-f": flag},
  operands: [{path: {under: /var/log}}]}"""
LOG = "/var/log/nginx/access.log"


@pytest.mark.parametrize("known", [KNOWN, ""])
@pytest.mark.parametrize(
    "arguments",
    [(LOG,), ("-n", "50", LOG), ("-n50", LOG), (LOG, "-n50"), ("-fn50", LOG), ("--lines=50", LOG),
     ("--lines", "50", LOG),
     ("-f", "--", LOG), ("-n", "50", "-f", LOG)],
)  # fmt: skip
def test_options_stand_where_and_as_getopt_takes_them(arguments: tuple[str, ...], known: str) -> None:
    """Before and after operands, bundled, attached and apart."""
    assert allowed(TAIL, "tail", *arguments, known=known)


@pytest.mark.parametrize("known", [KNOWN, ""])
@pytest.mark.parametrize(
    "arguments",
    [("-n", "500", LOG), ("-n", LOG), ("-n50", "-n5", LOG), ("-f", "-f", LOG), ("-ff", LOG), ("--li=5", LOG),
     ("-x", LOG),
     ("-n", "-5", LOG), ("-n-5", LOG), ("-5", LOG), ("--lines=", LOG), ("--lines", LOG, "5"),
     ("-f", "--", "-n5", LOG), ("-fx", LOG),
     ("--", "--", LOG), ("-", LOG), ("--lines=50", "--", "/etc/shadow"), ("-n50\n", LOG),
     ("--lines=50", "-f", "--version")],
)  # fmt: skip
def test_other_options_are_refused(arguments: tuple[str, ...], known: str) -> None:
    """Another value, twice, abbreviated, unknown, or hiding an operand."""
    assert not allowed(TAIL, "tail", *arguments, known=known)


def test_a_harmless_option_needs_no_rule() -> None:
    """Unless the rule will have none, or nobody knows that it is harmless."""
    rule = "{command: /usr/bin/tail, operands: [{path: {under: /var/log}}]}"
    assert allowed(rule, "tail", "-q", LOG)
    assert not allowed(rule, "tail", "-q", LOG, known="")
    assert not allowed(rule.replace("operands", "harmless: false, operands"), "tail", "-q", LOG)


def test_what_a_program_reads_in_its_own_way_is_refused() -> None:
    """`tail +5` is no operand; a rule that has any operands does not change that."""
    assert not allowed("{command: /usr/bin/tail, operands: any}", "tail", "+5")
    assert allowed("{command: /usr/bin/tail, operands: any}", "tail", "5")


def test_an_option_may_be_repeated_or_required_where_the_rule_says_so() -> None:
    """By any of its spellings."""
    rule = '{command: /usr/bin/tail, options: {"-n, --lines": {int: true, repeat: true, required: true}}}'
    assert allowed(rule, "tail", "-n1", "--lines=2")
    assert not allowed(rule, "tail")


def test_an_optional_value_is_attached_or_absent() -> None:
    """`-j4` and `-j`, and never `-j 4`, whose 4 is an operand."""
    rule = '{command: /usr/bin/make, options: {"-j": {optional: {int: {max: 8}}}}}'
    assert allowed(rule, "make", "-j4")
    assert allowed(rule, "make", "-j")
    assert not allowed(rule, "make", "-j9")
    assert not allowed(rule, "make", "-j", "4")
    assert allowed('{command: /usr/bin/make, options: {"-j": flag}}', "make", "-j")
    assert not allowed('{command: /usr/bin/make, options: {"-j": flag}}', "make", "-j4")


# -- sub-commands ----------------------------------------------------------------------------------------------------

SYSTEMCTL = """{command: /usr/bin/systemctl, subcommands: {
  stop: {options: {"--now": flag, "-q": flag}, operands: [{unit: [nginx]}]}, list-units: {}}}"""


@pytest.mark.parametrize(
    "arguments",
    [("stop", "nginx"), ("condstop", "nginx.service"), ("stop", "--now", "nginx"), ("stop", "nginx", "--now"),
     ("list-units",),
     ("--no-pager", "stop", "nginx"), ("stop", "nginx", "--no-pager"), ("stop", "-q", "nginx"),
     ("-q", "stop", "nginx")],
)  # fmt: skip
def test_a_subcommand_selects_what_may_follow(arguments: tuple[str, ...]) -> None:
    """By any of its names; with global options before and after it."""
    assert allowed(SYSTEMCTL, "systemctl", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [(), ("restart", "nginx"), ("stop",), ("stop", "ssh"), ("stop", "nginx", "ssh"), ("list-units", "--now"),
     ("list-units", "-q"),
     ("-q", "list-units"), ("--now", "stop", "nginx"), ("-H", "db", "stop", "nginx"), ("stop", "-Hdb", "nginx"),
     ("sto", "nginx"),
     ("nginx", "stop"), ("list-units", "stop"), ("stop", "stop", "nginx"), ("--", "stop", "-q", "nginx")],
)  # fmt: skip
def test_other_subcommands_and_their_options_are_refused(arguments: tuple[str, ...]) -> None:
    """None, another, a part of one; an option of another one, or of the program."""
    assert not allowed(SYSTEMCTL, "systemctl", *arguments)


def test_a_rule_without_subcommands_sees_them_as_operands() -> None:
    """As rules for programs that nobody has described are written."""
    rule = "{command: /usr/bin/systemctl, operands: [{one_of: [restart, stop]}, {unit: [nginx]}]}"
    for known in (KNOWN, ""):
        assert allowed(rule, "systemctl", "restart", "nginx", known=known)
        assert not allowed(rule, "systemctl", "nginx", "restart", known=known)


def test_subcommands_go_to_any_depth() -> None:
    """Without a grammar as well."""
    rule = '{command: /usr/bin/docker, subcommands: {container: {subcommands: {"stop|kill": {operands: [{literal: web}]}}}}}'
    assert allowed(rule, "docker", "container", "stop", "web", known="")
    assert not allowed(rule, "docker", "container", "web", known="")
    assert not allowed(rule, "docker", "container", known="")
    assert not allowed(rule, "docker", "container", "rm", "web", known="")


# -- folders ---------------------------------------------------------------------------------------------------------


def test_paths_are_read_against_the_folder_that_an_option_changes_to() -> None:
    """And the folder itself against the cwd."""
    rule = """{command: /usr/bin/make, options: {"-C": {path: {under: /srv/build}, repeat: true},
      "-f": {path: {under: /srv/build}}},
      operands: [{path: {under: /srv/build/sub}, count: "0.."}]}"""
    assert allowed(rule, "make", "-C", "build", "sub/x", cwd="/srv")
    assert allowed(rule, "make", "sub/x", "-Cbuild", cwd="/srv")
    assert allowed(rule, "make", "-C", "/srv/build", "-f", "Makefile")
    assert not allowed(rule, "make", "-C", "/srv/build", "-f", "../other/x")
    assert not allowed(rule, "make", "-C", "/srv/build", "x", cwd="/srv/build/sub")
    assert not allowed(rule, "make", "-C", "../other", cwd="/srv/build")
    assert allowed(rule, "make", "-C", "/srv/build", "-C", "/srv/build/sub", "x")
    assert not allowed(rule, "make", "-C", "/srv/build", "-C", "sub", "x")
    assert not allowed(rule, "make", "-C", "\udcff" * 4096)


def test_relative_paths_beside_an_option_that_moves_mean_nothing() -> None:
    """`tar -C` holds for what follows it; absolute paths are what they are."""
    rule = '{command: /usr/bin/tar, options: {"-C": {path: {under: /srv}}, "-x": flag, "-f": {path: {under: /srv}}}}'
    assert allowed(rule, "tar", "-x", "-f", "/srv/other/x", "-C", "/srv/build")
    assert not allowed(rule, "tar", "-x", "-f", "other/x", "-C", "/srv/build", cwd="/srv")
    assert allowed(rule, "tar", "-x", "-f", "other/x", cwd="/srv")


# -- as a list -------------------------------------------------------------------------------------------------------


def test_a_rule_may_name_its_arguments_word_by_word() -> None:
    """`kill -HUP 300`, for which no options have to be described; and nothing else that looks like it."""
    rule = '{command: /usr/bin/kill, operands: [{one_of: ["-HUP", "-1"]}, {int: {min: 300}}]}'
    assert allowed(rule, "kill", "-HUP", "300")
    harmless = KNOWN + '/usr/bin/kill:\n  syntax: single-dash\n  options: {"-HUP": flag, "-q": [flag, harmless]}\n'
    assert allowed(rule, "kill", "-HUP", "300", known=harmless)
    assert not allowed(rule, "kill", "-HUP", "-300")
    assert not allowed(rule, "kill", "300", "-HUP")
    assert not allowed(rule, "kill", "--", "-1", "300")
    assert not allowed(rule, "kill", "-HUP", "--", "300")
    assert not allowed(rule, "kill", "-9", "300")


def test_after_two_dashes_a_word_that_looks_like_an_option_is_an_operand() -> None:
    """`kill -- -1` ends every process there is; `kill -1`, as a list in a rule, sends a signal."""
    known = KNOWN + '/usr/bin/kill:\n  options: {"-1": flag, "-q": flag}\n'
    rule = '{command: /usr/bin/kill, operands: [{literal: "-1"}, {int: {min: 300}}]}'
    assert allowed(rule, "kill", "-1", "300", known=known)
    assert not allowed(rule, "kill", "--", "-1", "300", known=known)
    assert not allowed(rule, "kill", "--", "-1", known=known)
    assert not allowed('{command: /usr/bin/kill, operands: [{literal: "-1"}]}', "kill", "--", "-1", known=known)


def test_a_rule_with_options_names_none_among_its_operands() -> None:
    """One way to say it is enough; a list of words says nothing of an option beside it."""
    rule = '{command: /usr/bin/kill, options: {"-q": flag}, operands: [{literal: "-HUP"}]}'
    assert not allowed(rule, "kill", "-HUP")
    assert not allowed(rule, "kill", "-q", "-HUP")
    subcommands = '{command: /usr/bin/kill, subcommands: {x: {}}, operands: [{literal: "-HUP"}]}'
    assert not allowed(subcommands, "kill", "-HUP")


def test_a_list_does_not_admit_what_the_program_reads_in_a_way_of_its_own() -> None:
    """Word by word it would be of the type; the program takes it for the value of what stands before it."""
    known = '/usr/bin/tail: {options: {"-q": flag}, refused_words: ["no"], refused_operands: ["+"]}'
    rule = '{command: /usr/bin/tail, operands: [{literal: "-q"}, {any: true, count: "1.."}]}'
    assert allowed(rule, "tail", "-q", "a", "b", known=known)
    assert not allowed(rule, "tail", "-q", "no", "b", known=known)
    assert not allowed(rule, "tail", "-q", "+no", "b", known=known)


def test_a_list_with_options_in_it_has_no_relative_paths() -> None:
    """What an option that nobody has described does to them is not known."""
    rule = '{command: /usr/bin/kill, operands: [{literal: "-C"}, {path: {under: /srv}, count: 2}]}'
    assert allowed(rule, "kill", "-C", "/srv/build", "/srv/build/sub/x")
    assert not allowed(rule, "kill", "-C", "/srv/build", "sub/x", cwd="/srv/build")


def test_literal_syntax_compares_word_by_word() -> None:
    """Also what a grammar would read otherwise."""
    assert allowed("{command: /usr/bin/tail, syntax: literal, operands: [{literal: +5}]}", "tail", "+5")
    rule = '{command: /usr/bin/tail, syntax: literal, operands: [{literal: "-n"}, {one_of: ["+5", "+6"]}]}'
    assert allowed(rule, "tail", "-n", "+5")
    assert not allowed(rule, "tail", "-n+5")
    assert not allowed(rule, "tail", "-n", "+7")


def test_more_arguments_than_are_looked_at_are_refused() -> None:
    """Also where they would be compared as a list; as many as the limit are not."""
    rule = '{command: /usr/bin/tail, syntax: literal, operands: [{literal: a, count: "1.."}]}'
    assert allowed(rule, "tail", *["a"] * MAX_ARGUMENTS)
    assert not allowed(rule, "tail", *["a"] * (MAX_ARGUMENTS + 1))


def test_a_dash_dash_is_an_operand_to_programs_that_nobody_has_described() -> None:
    """Unless the rule says that they have options."""
    assert not allowed("{command: /usr/bin/kill, operands: any}", "kill", "--", "5")
    assert allowed('{command: /usr/bin/kill, options: {"-x": flag}, operands: any}', "kill", "--", "5")
    assert allowed("{command: /usr/bin/tail, operands: any}", "tail", "--", "5")


# -- nested commands -------------------------------------------------------------------------------------------------

TIMEOUT = """{command: /usr/bin/timeout, options: {"-k": duration},
  operands: [{duration: {max: 1h}}, {command: {command: /usr/bin/tail,
    options: {"-f": flag}, operands: [{path: {under: /var/log}}]}}]}"""


@pytest.mark.parametrize(
    "arguments",
    [("5", "tail", LOG), ("5", "/usr/bin/tail", "-f", LOG), ("-k", "9", "5", "tail", LOG, "-f"),
     ("5", "/bin/tail", LOG),
     ("--", "5", "tail", LOG)],
)  # fmt: skip
def test_the_rest_may_be_a_command_line_of_its_own(arguments: tuple[str, ...]) -> None:
    """With its own options; its program by path, or by a name that the secure path knows."""
    assert allowed(TIMEOUT, "timeout", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [("5",), ("5", "tail"), ("5", "tail", "/etc/shadow"), ("5", "rm", LOG), ("5", "./tail", LOG),
     ("5", "tail", "-n5", LOG),
     ("5", "-f", "tail", LOG), ("2h", "tail", LOG), ("5", "--", "tail", LOG), ("5", "bin/tail", LOG),
     ("5", "/tmp/tail", LOG),
     ("tail", LOG), ("5", "5", "tail", LOG), ("5", "tail", LOG, "x"), ("5", "", LOG), ("5", "/usr/bin/", LOG)],
)  # fmt: skip
def test_another_command_inside_is_refused(arguments: tuple[str, ...]) -> None:
    """Another program, other arguments, or none."""
    assert not allowed(TIMEOUT, "timeout", *arguments)


def test_what_precedes_a_nested_command_may_vary() -> None:
    """At a few places; more are too many to look at."""
    rule = """{command: /usr/bin/env, operands: [{glob: "*", count: "0.."},
      {command: {command: /usr/bin/tail, operands: [{path: {under: /var/log}}]}}]}"""
    assert allowed(rule, "env", "LANG=C", "A=b", "tail", LOG)
    assert allowed(rule, "env", *["tail"] * (MAX_NESTED_STARTS - 1), "tail", LOG)
    assert not allowed(rule, "env", *["tail"] * MAX_NESTED_STARTS, "tail", LOG)
    assert not allowed(rule, "env", "-i", "tail", LOG)


def test_nothing_may_follow_a_nested_command_in_a_rule() -> None:
    """It takes the rest, whatever the rule says."""
    rule = "{command: /usr/bin/env, operands: [{command: {command: /usr/bin/true}}, {literal: x, count: '0..1'}]}"
    assert not allowed(rule, "env", "true")
    assert not allowed(rule, "env", "true", "x")


def test_a_nested_command_reads_every_argument_that_follows() -> None:
    """Where the outer program would take some of them for its own, nothing matches."""
    rule = """{command: /usr/bin/docker, order: permute, options: {"-t": flag}, operands: [{literal: web},
      {command: {command: /usr/bin/tail, options: {"-f": flag}, operands: any}}]}"""
    assert allowed(rule, "docker", "-t", "web", "tail", "x", known="")
    assert not allowed(rule, "docker", "web", "tail", "x", "-t", known="")
    assert not allowed(rule, "docker", "web", "tail", "-f", "x", known="")


def test_a_nested_program_must_be_roots_or_be_none_of_this_host() -> None:
    """A container's program is not here, and nobody may be able to put one there."""

    def inside(path: str, on: MemoryWorld) -> bool:
        rule = f"{{command: /usr/bin/env, operands: [{{command: {{command: {path}}}}}]}}"
        return allowed(rule, "env", path, on=on) or allowed(rule, "env", path.rpartition("/")[2], on=on)

    assert inside("/app/bin/migrate", here())
    assert inside("/usr/bin/migrate", here())
    assert not inside("/home/alice/bin/tool", here())
    assert not inside("/home/alice/bin/none", here())
    assert not inside("/etc/shadow/x", here())
    assert not inside("/usr/bin/mine", here().plant("/usr/bin/mine", uid=1000))


def test_a_bare_name_is_looked_up_where_sudo_does() -> None:
    """In order; where somebody else could put another program in front, it means nothing."""
    rule = "{command: /usr/bin/env, operands: [{command: {command: /usr/bin/true}}]}"
    assert allowed(rule, "env", "true")
    assert not allowed(rule, "env", "true", on=here().plant("/usr/local/bin/true"))
    assert not allowed(rule, "env", "true", on=here().plant("/usr/local/bin", "directory", mode=0o775))
    assert allowed(rule, "env", "/usr/bin/true", on=here().plant("/usr/local/bin", "directory", mode=0o775))
    assert not allowed("{command: /usr/bin/env, operands: [{command: {command: /opt/none}}]}", "env", "none")


def test_a_nested_program_may_be_pinned() -> None:
    """By its content."""
    digest = "sha256:" + "0" * 64
    rule = f"{{command: /usr/bin/env, operands: [{{command: {{command: /usr/bin/true, digest: '{digest}'}}}}]}}"
    on = here()
    assert not allowed(rule, "env", "true", on=on)
    on.digests["/usr/bin/true"] = Digest(digest)
    assert allowed(rule, "env", "true", on=on)
