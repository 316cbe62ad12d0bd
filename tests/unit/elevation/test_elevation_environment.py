"""The environment that a command gets."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jitsudo.elevation.edit import HELPER
from jitsudo.elevation.environment import MAX_SUDO_COMMAND_ARGS_BYTES, SECURE_PATH, build_environment
from jitsudo.elevation.options import Mode, parse_user_info
from jitsudo.elevation.runas import Target
from jitsudo.elevation.variables import KEPT, NEVER_KEPT, OURS, is_settable, tz_is_sane
from jitsudo.errors import InvalidValue
from jitsudo.types import Account, Gid, Uid, UserName

ALICE = Account(UserName("alice"), Uid(1000), Gid(1001), (Gid(1001),), "/home/alice", "/bin/zsh")
ROOT = Target(Account(UserName("root"), Uid(0), Gid(0), (Gid(0),), "/root", "/bin/bash"), Gid(0), UserName("root"))
EXPECTED = {
    "HOME": "/root", "LOGNAME": "root", "MAIL": "/var/mail/root", "PATH": SECURE_PATH, "SHELL": "/bin/bash",
    "SUDO_COMMAND": "/usr/bin/id -u", "SUDO_GID": "1001", "SUDO_HOME": "/home/alice",
    "SUDO_UID": "1000", "SUDO_USER": "alice", "USER": "root",
    "TERM": "unknown",
}  # fmt: skip


def built(*user_env: str, argv: tuple[str, ...] = ("id", "-u"), keep: tuple[str, ...] = (), **set_: str) -> dict[str, str]:
    items = build_environment(user_env, ALICE, ROOT, "/usr/bin/id", argv, keep=keep, set_=set_)
    assert list(items) == sorted(items, key=lambda item: item.partition("=")[0])
    found = dict(item.split("=", 1) for item in items)
    assert len(found) == len(items)
    return found


def added(*entries: str, **given: Any) -> dict[str, str]:
    items = build_environment(given.pop("user_env", ()), ALICE, ROOT, "/usr/bin/id", ("id", "-u"), added=entries, **given)
    return dict(item.split("=", 1) for item in items)


def test_empty_environment_gets_ours() -> None:
    """All that identifies target and caller."""
    assert built() == EXPECTED


@pytest.mark.parametrize("name", sorted(KEPT))
def test_listed_variable_is_kept_as_it_is(name: str) -> None:
    """sudoers' env_keep."""
    assert built(f"{name}=a/b%c")[name] == "a/b%c"
    assert built(f"{name}=")[name] == ""


@pytest.mark.parametrize("name", ["COLORTERM", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_", "LINGUAS", "TERM"])
def test_checked_variable_is_kept_where_harmless(name: str) -> None:
    """sudoers' env_check: no slash, no percent sign."""
    assert built(f"{name}=xterm-256color")[name] == "xterm-256color"
    for value in ("/tmp/x", "a/b", "%n", "a%sb"):
        assert built(f"{name}={value}") == EXPECTED


def dropped_names() -> list[str]:
    return [pattern.replace("*", "X") for pattern in NEVER_KEPT] + [p[:-1] for p in NEVER_KEPT if p.endswith("*")]


@pytest.mark.parametrize("name", dropped_names())
def test_dangerous_variable_is_dropped_even_where_a_role_keeps_it(name: str) -> None:
    """Each makes some program load or run what it names."""
    assert built(f"{name}=x", keep=(name,)) == EXPECTED


@pytest.mark.parametrize("name", ["EDITOR", "PAGER", "http_proxy", "DBUS_SESSION_BUS_ADDRESS", "lang", "LANGX"])
def test_other_variables_are_dropped(name: str) -> None:
    """Nothing is kept that is not named."""
    assert built(f"{name}=x") == EXPECTED


def test_role_keeps_and_sets() -> None:
    """A role's `environment`."""
    found = built("HTTPS_PROXY=http://p:1/", "NO_PROXY=x", keep=("HTTPS_PROXY",), SYSTEMD_PAGER="", LANG="C")
    assert found == EXPECTED | {"HTTPS_PROXY": "http://p:1/", "SYSTEMD_PAGER": "", "LANG": "C"}


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"TERM"}))
def test_ours_cannot_be_replaced(name: str) -> None:
    """Neither by the caller, nor by a role."""
    assert built(f"{name}=evil", keep=(name,)) == EXPECTED
    assert built(**{name: "evil"}) == EXPECTED


def test_posixly_correct_never_arrives() -> None:
    """With it, programs read the arguments otherwise than they were judged."""
    assert built("POSIXLY_CORRECT=1", keep=("POSIXLY_CORRECT",)) == EXPECTED
    assert built(POSIXLY_CORRECT="1") == EXPECTED


@pytest.mark.parametrize("name", ["DISPLAY", "LANG", "BASH_FUNC_x%%", "HTTPS_PROXY"])
def test_function_is_dropped(name: str) -> None:
    """CVE-2014-6271."""
    assert built(f"{name}=() {{ :; }}; id", keep=("HTTPS_PROXY",)) == EXPECTED


@pytest.mark.parametrize(
    "entry", ["DISPLAY", "=x", "", "DISPLAY=\0", "\0DISPLAY=x", "DIS PLAY=x", "LC_\n=x", "LC_%=x", "LC_\u00e9=x"]
)
def test_malformed_entry_is_dropped(entry: str) -> None:
    """What is not NAME=value is not passed on."""
    assert built(entry, keep=("DIS PLAY",)) == EXPECTED


def test_first_of_two_counts() -> None:
    """As for getenv(3), whether it is kept or not."""
    assert built("LANG=C", "LANG=de_DE")["LANG"] == "C"
    assert built("LANG=/x", "LANG=C") == EXPECTED


def test_value_may_hold_equals() -> None:
    """Only the first one separates."""
    assert built("PS1=a=b")["PS1"] == "a=b"


SANE = [
    "UTC", ":UTC", "Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin", ":/usr/share/zoneinfo/UTC", "CET-1CEST", "", "a..b",
    "..a/b..",
]  # fmt: skip
INSANE = [
    "/etc/passwd", ":/etc/passwd", "/usr/share/zoneinfo", "/usr/share/zoneinfoX/a", "/usr/share/zoneinfo/../../x", "..", "../x",
    "a/../b", "a/..", "U TC", "UTC\n", "UT\tC", "\u00e9", "\x7f", "a" * 4096,
]  # fmt: skip


@pytest.mark.parametrize("value", SANE)
def test_time_zone_is_kept(value: str) -> None:
    """sudoers(5): a name, or a path inside the zoneinfo folder."""
    assert tz_is_sane(value)
    assert built(f"TZ={value}")["TZ"] == value


@pytest.mark.parametrize("value", INSANE)
def test_time_zone_that_is_a_file_of_the_callers_is_dropped(value: str) -> None:
    """CVE-2014-9680; a role's `keep` does not change the rule."""
    assert not tz_is_sane(value)
    assert built(f"TZ={value}", keep=("TZ",)) == EXPECTED


def test_command_without_arguments() -> None:
    """No trailing space; an empty argv is borne."""
    assert built(argv=("id",))["SUDO_COMMAND"] == "/usr/bin/id"
    assert built(argv=())["SUDO_COMMAND"] == "/usr/bin/id"


@pytest.mark.parametrize(("letter", "size"), [("a", 1), ("\u00e9", 2), ("\u20ac", 3), ("\udcff", 1), (chr(0xD800), 1)])
def test_sudo_command_is_cut_at_a_whole_character(letter: str, size: int) -> None:
    """The limit is one of bytes."""
    limit = MAX_SUDO_COMMAND_ARGS_BYTES // size
    for count in (limit, limit + 1, 10 * limit):
        assert built(argv=("id", letter * count))["SUDO_COMMAND"] == "/usr/bin/id " + letter * min(count, limit)


@pytest.mark.parametrize("set_", [{"": "x"}, {"A=B": "x"}, {"A": "x\0"}, {"A\0": "x"}])
def test_role_cannot_set_what_is_no_variable(set_: dict[str, str]) -> None:
    """A typed error, not a damaged environment."""
    with pytest.raises(InvalidValue):
        build_environment((), ALICE, ROOT, "/usr/bin/id", ("id",), set_=set_)


def test_argument_with_nul_is_refused() -> None:
    """It could not be executed either."""
    with pytest.raises(InvalidValue):
        build_environment((), ALICE, ROOT, "/usr/bin/id", ("id", "\0"))


def test_admitted_variables_are_set() -> None:
    """VAR=value and --preserve-env=LIST; what the role sets wins, the first of two counts."""
    assert added("FOO=a b", "BAR=", "FOO=2", "LANG=C") == EXPECTED | {"FOO": "a b", "BAR": "", "LANG": "C"}
    assert added("PAGER=/tmp/x", set_={"PAGER": "cat"})["PAGER"] == "cat"
    assert added("LANG=C", user_env=("LANG=de",))["LANG"] == "C"


@pytest.mark.parametrize("name", [*dropped_names(), *sorted(OURS), "SUDO_UID", "SUDO_X", "POSIXLY_CORRECT", "X-Y", ""])
def test_variable_that_cannot_be_set_is_not_set(name: str) -> None:
    """Though it was refused before: a second lock."""
    assert not is_settable(name, "x")
    assert added(f"{name}=x") == EXPECTED


def test_dash_e_keeps_all_but_what_steers_a_program() -> None:
    """Our own stay ours: HOME is the target's, and nothing of an outer sudo is left."""
    env = (
        "FOO=x", "EDITOR=vi", "HOME=/home/alice", "PATH=/tmp", "USER=alice", "MAIL=/x", "SHELL=/bin/zsh", "LD_PRELOAD=/x",
        "PYTHONPATH=/x", "SUDO_PROMPT=x", "SUDO_ASKPASS=/x", "X-Y=1", "F=() { :; }", "LANG=/x", "TZ=/etc/x", "DISPLAY=:0",
        "POSIXLY_CORRECT=1",
    )  # fmt: skip
    assert added(user_env=env, keep_all=True) == EXPECTED | {"FOO": "x", "EDITOR": "vi", "DISPLAY": ":0"}


@pytest.mark.parametrize("name", dropped_names())
def test_dash_e_never_keeps_a_dangerous_variable(name: str) -> None:
    """As for a role's `keep`."""
    assert added(user_env=(f"{name}=x",), keep_all=True) == EXPECTED


def test_prompt_of_a_root_shell() -> None:
    """sudo(8), SUDO_PS1."""
    assert built("SUDO_PS1=# ", "PS1=$ ") == EXPECTED | {"PS1": "# "}
    assert built("SUDO_PS1=() { :; }", "PS1=$ ") == EXPECTED | {"PS1": "$ "}
    assert built("SUDO_PS1=") == EXPECTED


@pytest.mark.parametrize(
    ("mode", "argv", "told"),
    [
        ("shell", ("/bin/zsh",), "/bin/zsh"),
        ("shell", ("/bin/zsh", "-c", "show a\\ b $FOO x\\'y \\-\\-"), "/bin/zsh -c show a\\ b $FOO x'y --"),
        ("login-shell", ("-zsh",), "/bin/zsh"),
        ("login-shell", ("-zsh", "--login", "-c", "id\\;"), "/bin/zsh -c id;"),
        ("login-shell", ("-zsh", "-c", "id"), "/bin/zsh -c id"),
    ],
)  # fmt: skip
def test_environment_of_a_shell(mode: Mode, argv: tuple[str, ...], told: str) -> None:
    """SHELL is what runs; SUDO_COMMAND is what was typed, as sudo writes it."""
    items = build_environment((), ALICE, ROOT, "/bin/zsh", argv, mode=mode)
    assert dict(item.split("=", 1) for item in items) == EXPECTED | {"SHELL": "/bin/zsh", "SUDO_COMMAND": told}


def test_a_long_line_for_a_shell_costs_little() -> None:
    """2 MiB of backslashes; what is told of it is what would be told of the whole."""
    started = time.monotonic()
    items = build_environment((), ALICE, ROOT, "/bin/sh", ("/bin/sh", "-c", "\\a" * 1_000_000), mode="shell")
    told = next(item for item in items if item.startswith("SUDO_COMMAND="))
    assert told == "SUDO_COMMAND=/bin/sh " + ("-c " + "a" * MAX_SUDO_COMMAND_ARGS_BYTES)[:MAX_SUDO_COMMAND_ARGS_BYTES]
    assert time.monotonic() - started < 0.5


def test_editor_gets_the_environment_of_the_person_it_runs_as() -> None:
    """sudoedit: the editor is the caller's own process."""
    env = ("PATH=/home/alice/bin", "LD_PRELOAD=/x", "HOME=/home/alice", "PATH=/2", "X%%=() { :; }", "junk", "=x", "N=\0")
    assert build_environment(env, ALICE, ROOT, "/usr/bin/vi", ("vi", "--", "/etc/x"), mode="edit") == (
        "HOME=/home/alice", "LD_PRELOAD=/x", "PATH=/home/alice/bin", "X%%=() { :; }",
    )  # fmt: skip


def test_root_helper_of_checked_edits_never_gets_the_persons_environment() -> None:
    """It is root's own process: LD_PRELOAD would be obeyed."""
    env = ("PATH=/home/alice/bin", "LD_PRELOAD=/x", "FOO=x")
    items = build_environment(env, ALICE, ROOT, HELPER, ("jitsudo-edit", "{}"), mode="edit")
    assert dict(item.split("=", 1) for item in items) == EXPECTED | {"SUDO_COMMAND": f"{HELPER} {{}}"}


def test_caller_that_only_sudo_described_has_no_home_to_tell() -> None:
    """SUDO_HOME comes from the user database."""
    told = "user=alice uid=1000 gid=1001 pid=2 ppid=1 pgid=1 sid=1 host=h umask=022 lines=1 cols=1"
    items = build_environment((), parse_user_info(told.split()), ROOT, "/usr/bin/id", ("id", "-u"))
    assert dict(item.split("=", 1) for item in items) == {k: v for k, v in EXPECTED.items() if k != "SUDO_HOME"}


def test_a_hostile_environment_is_small_in_the_end() -> None:
    """Thousands of variables, bytes that are not UTF-8, functions, loader variables."""
    env = [f"LD_{i}=x" for i in range(5000)] + [f"BASH_FUNC_f{i}%%=() {{ id; }}" for i in range(5000)]
    env += ["LC_\udcff=x", "DISPLAY=\udcff", "LANG=\udcff\udcfe", "\udcff=1"]
    assert built(*env) == EXPECTED | {"DISPLAY": "\udcff", "LANG": "\udcff\udcfe"}
