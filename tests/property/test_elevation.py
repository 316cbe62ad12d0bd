"""Elevation: a typed value or its own error, and never a command_info that sudo could read otherwise."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from jitsudo.elevation.command_info import build_command_info
from jitsudo.elevation.environment import NEVER_SET, SECURE_PATH, build_environment, tz_is_sane
from jitsudo.elevation.options import Caller, OptionRefused, Options, check_supported, parse_settings, parse_user_info
from jitsudo.elevation.runas import Target, resolve_target
from jitsudo.errors import InvalidValue, JitsudoError
from jitsudo.types import MAX_DURATION_SECONDS, MAX_ID, Account, Gid, Uid, UserName

KEYS = [
    "user", "uid", "gid", "pid", "ppid", "pgid", "sid", "tcpgid", "tty", "cwd", "host", "umask", "lines", "cols",
    "runas_user", "runas_group", "closefrom", "noninteractive", "sudoedit", "run_shell", "login_shell", "cmnd_chroot",
]  # fmt: skip
VALUES = ["", "0", "1", "-1", "022", "true", "false", "root", "/", "#0", "4294967295"]
text = st.text(st.characters(), max_size=12)  # surrogates included
value = st.sampled_from(VALUES) | text
item = st.builds("{}={}".format, st.sampled_from(KEYS), value) | text
items = st.lists(item, max_size=20)
complete = st.builds(lambda chosen: [f"{k}={v}" for k, v in zip(KEYS, chosen, strict=True)], st.tuples(*[value] * len(KEYS)))
ids = st.integers(0, MAX_ID)
names = st.sampled_from([UserName(n) for n in ("root", "bob", "DOM\\user", "svc app", "host$")])
accounts = st.builds(
    lambda name, uid, gid, groups: Account(name, Uid(uid), Gid(gid), tuple(Gid(g) for g in (gid, *groups)), "/h", "/bin/sh"),
    names, ids, ids, st.lists(ids, max_size=8),
)  # fmt: skip
targets = st.builds(lambda account, gid, name: Target(account, Gid(gid), name), accounts, ids, names | st.none())
paths = st.text(st.characters(blacklist_characters="\0"), max_size=20).map("/{}".format)


@given(items | complete)
def test_user_info_is_a_caller_or_invalid(given_items: list[str]) -> None:
    """Nothing else leaves the parser."""
    with contextlib.suppress(InvalidValue):
        assert isinstance(parse_user_info(given_items), Caller)


@given(items, st.lists(text, max_size=3))
def test_settings_are_options_or_invalid(given_items: list[str], env_add: list[str]) -> None:
    """Nothing else leaves the parser, nor the check of what is supported."""
    try:
        options = parse_settings(given_items, env_add)
        check_supported(options, listing=False)
    except (InvalidValue, OptionRefused):
        return
    assert (options.chroot, options.remote_host, options.mode, options.env_add) == (None, None, "command", ())


class Anybody:
    """A user database in which everybody exists."""

    def by_name(self, name: str) -> Account | None:
        return Account(UserName(name), Uid(7), Gid(7), (Gid(7),), "/h", "/bin/sh")

    def by_uid(self, uid: Uid) -> Account | None:
        return Account(UserName("somebody"), uid, Gid(7), (Gid(7),), "/h", "/bin/sh")

    def group_by_name(self, name: str) -> Gid | None:
        return Gid(8) if name else None

    def group_name(self, gid: Gid) -> UserName | None:
        return UserName(f"g{gid}")


CALLER = parse_user_info(
    ["user=a", "uid=9", "gid=9", "pid=1", "ppid=1", "pgid=1", "sid=1", "host=h", "umask=022", "lines=1", "cols=1"]
)
wanted = st.none() | text | text.map("#{}".format) | st.integers(-3, MAX_ID + 3).map("#{}".format)


@given(wanted, wanted)
def test_target_is_exactly_what_was_asked_for(user: str | None, group: str | None) -> None:
    """An id that is accepted is that id, written in the one way there is."""
    try:
        target = resolve_target(Options(runas_user=user, runas_group=group), CALLER, Anybody())
    except JitsudoError:
        return
    if user is not None and user.startswith("#"):
        assert user == f"#{int(target.account.uid)}"
    if group is not None and group.startswith("#"):
        assert group == f"#{int(target.gid)}"


@given(targets, paths, st.none() | paths, st.none() | st.integers(1, MAX_DURATION_SECONDS))
def test_command_info_always_holds_what_keeps_it_safe(target: Target, path: str, cwd: str | None, timeout: int | None) -> None:
    """umask, closefrom, a terminal of its own, and the target's uid: each exactly once."""
    info = build_command_info(target, path, cwd, timeout=timeout)
    keys = [entry.partition("=")[0] for entry in info]
    assert len(keys) == len(set(keys))
    assert {"umask=022", "closefrom=3", "use_pty=true"} <= set(info)
    found = dict(entry.split("=", 1) for entry in info)
    assert found["runas_uid"] == found["runas_euid"] == str(int(target.account.uid))
    assert found["runas_gid"] == found["runas_egid"] == str(int(target.gid))
    groups = found["runas_groups"].split(",")
    assert groups[0] == found["runas_gid"]
    assert set(groups) == {str(int(gid)) for gid in (target.gid, *target.account.groups)}
    assert len(groups) == len(set(groups))


variables = st.sampled_from(["PATH", "LD_PRELOAD", "TERM", "LANG", "LC_ALL", "TZ", "DISPLAY", "POSIXLY_CORRECT", "PS1", "KEPT"])
user_env = st.lists(st.builds("{}={}".format, variables, text) | text, max_size=10)


@given(user_env, st.lists(text, max_size=4), st.lists(variables, max_size=3))
def test_environment_never_holds_what_steers_a_program(entries: list[str], argv: list[str], keep: list[str]) -> None:
    """Whatever the caller sends and the role keeps."""
    try:
        env = build_environment(entries, CALLER, Target(Anybody().by_uid(Uid(7)), Gid(7), None), "/bin/x", argv, keep=keep)  # type: ignore[arg-type]
    except InvalidValue:
        assert any("\0" in argument for argument in argv)
        return
    found = dict(entry.split("=", 1) for entry in env)
    assert len(found) == len(env)
    assert found["PATH"] == SECURE_PATH
    assert found["SUDO_UID"] == "9"
    assert NEVER_SET not in found
    assert "LD_PRELOAD" not in found
    assert not any(kept.startswith("()") for kept in found.values())
    assert tz_is_sane(found.get("TZ", ""))
