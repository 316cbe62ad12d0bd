"""The environment that a command gets."""

from __future__ import annotations

import pytest

from jitsudo.elevation.environment import (
    KEPT,
    MAX_SUDO_COMMAND_ARGS_BYTES,
    NEVER_KEPT,
    SECURE_PATH,
    build_environment,
    tz_is_sane,
)
from jitsudo.elevation.runas import Target
from jitsudo.errors import InvalidValue
from jitsudo.types import Account, Gid, Uid, UserName

ALICE = Account(UserName("alice"), Uid(1000), Gid(1001), (Gid(1001),), "/home/alice", "/bin/zsh")
ROOT = Target(Account(UserName("root"), Uid(0), Gid(0), (Gid(0),), "/root", "/bin/bash"), Gid(0), UserName("root"))
OURS = {
    "HOME": "/root", "LOGNAME": "root", "MAIL": "/var/mail/root", "PATH": SECURE_PATH, "SHELL": "/bin/bash",
    "SUDO_COMMAND": "/usr/bin/id -u", "SUDO_GID": "1001", "SUDO_UID": "1000", "SUDO_USER": "alice", "USER": "root",
    "TERM": "unknown",
}  # fmt: skip


def built(*user_env: str, argv: tuple[str, ...] = ("id", "-u"), keep: tuple[str, ...] = (), **set_: str) -> dict[str, str]:
    items = build_environment(user_env, ALICE, ROOT, "/usr/bin/id", argv, keep=keep, set_=set_)
    assert list(items) == sorted(items, key=lambda item: item.partition("=")[0])
    found = dict(item.split("=", 1) for item in items)
    assert len(found) == len(items)
    return found


def test_empty_environment_gets_ours() -> None:
    """All that identifies target and caller."""
    assert built() == OURS


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
        assert built(f"{name}={value}") == OURS


def dropped_names() -> list[str]:
    return [pattern.replace("*", "X") for pattern in NEVER_KEPT] + [p[:-1] for p in NEVER_KEPT if p.endswith("*")]


@pytest.mark.parametrize("name", dropped_names())
def test_dangerous_variable_is_dropped_even_where_a_role_keeps_it(name: str) -> None:
    """Each makes some program load or run what it names."""
    assert built(f"{name}=x", keep=(name,)) == OURS


@pytest.mark.parametrize("name", ["EDITOR", "PAGER", "http_proxy", "DBUS_SESSION_BUS_ADDRESS", "lang", "LANGX"])
def test_other_variables_are_dropped(name: str) -> None:
    """Nothing is kept that is not named."""
    assert built(f"{name}=x") == OURS


def test_role_keeps_and_sets() -> None:
    """A role's `environment`."""
    found = built("HTTPS_PROXY=http://p:1/", "NO_PROXY=x", keep=("HTTPS_PROXY",), SYSTEMD_PAGER="", LANG="C")
    assert found == OURS | {"HTTPS_PROXY": "http://p:1/", "SYSTEMD_PAGER": "", "LANG": "C"}


@pytest.mark.parametrize("name", sorted(set(OURS) - {"TERM"}))
def test_ours_cannot_be_replaced(name: str) -> None:
    """Neither by the caller, nor by a role."""
    assert built(f"{name}=evil", keep=(name,)) == OURS
    assert built(**{name: "evil"}) == OURS


def test_posixly_correct_never_arrives() -> None:
    """With it, programs read the arguments otherwise than they were judged."""
    assert built("POSIXLY_CORRECT=1", keep=("POSIXLY_CORRECT",)) == OURS
    assert built(POSIXLY_CORRECT="1") == OURS


@pytest.mark.parametrize("name", ["DISPLAY", "LANG", "BASH_FUNC_x%%", "HTTPS_PROXY"])
def test_function_is_dropped(name: str) -> None:
    """CVE-2014-6271."""
    assert built(f"{name}=() {{ :; }}; id", keep=("HTTPS_PROXY",)) == OURS


@pytest.mark.parametrize(
    "entry", ["DISPLAY", "=x", "", "DISPLAY=\0", "\0DISPLAY=x", "DIS PLAY=x", "LC_\n=x", "LC_%=x", "LC_\u00e9=x"]
)
def test_malformed_entry_is_dropped(entry: str) -> None:
    """What is not NAME=value is not passed on."""
    assert built(entry, keep=("DIS PLAY",)) == OURS


def test_first_of_two_counts() -> None:
    """As for getenv(3), whether it is kept or not."""
    assert built("LANG=C", "LANG=de_DE")["LANG"] == "C"
    assert built("LANG=/x", "LANG=C") == OURS


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
    assert built(f"TZ={value}", keep=("TZ",)) == OURS


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
