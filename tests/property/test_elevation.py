"""Elevation: a typed value or its own error, and never a command_info that sudo could read otherwise."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from jitsudo.elevation.command_info import build_command_info
from jitsudo.elevation.edit import (
    END_OF_WORDS,
    HELPER,
    MAX_FILES,
    Editor,
    checked_edit,
    choose_editor,
    plain_edit,
    read_plan,
    split_words,
)
from jitsudo.elevation.environment import SECURE_PATH, build_environment
from jitsudo.elevation.modes import invoked, launch
from jitsudo.elevation.options import (
    Caller,
    Mode,
    OptionRefused,
    Options,
    asked_options,
    asked_variables,
    check_supported,
    command_timeout,
    parse_settings,
    parse_user_info,
)
from jitsudo.elevation.prompt import expand
from jitsudo.elevation.runas import Target, resolve_target
from jitsudo.elevation.variables import NEVER_SET, OURS, is_never_kept, tz_is_sane
from jitsudo.errors import InvalidValue, JitsudoError
from jitsudo.types import MAX_DURATION_SECONDS, MAX_ID, Account, Gid, Uid, UserName

KEYS = [
    "user", "uid", "gid", "pid", "ppid", "pgid", "sid", "tcpgid", "tty", "cwd", "host", "umask", "lines", "cols",
    "runas_user", "runas_group", "closefrom", "noninteractive", "sudoedit", "run_shell", "login_shell", "cmnd_chroot",
    "timeout", "cmnd_cwd", "preserve_environment", "preserve_groups", "remote_host",
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


@given(items, st.lists(text | st.builds("{}={}".format, text, text), max_size=3))
def test_settings_are_options_or_invalid(given_items: list[str], env_add: list[str]) -> None:
    """Nothing else leaves the parser, nor the check of what is supported, nor what a role is asked to admit."""
    try:
        options = parse_settings(given_items, env_add)
        check_supported(options, listing=False)
        asked = asked_options(options)
    except (InvalidValue, OptionRefused):
        return
    assert (options.chroot, options.remote_host) == (None, None)
    assert ("VAR" in asked) == bool(asked_variables(options))
    assert ("-E" in asked) == options.preserve_environment
    assert not asked_variables(options) & OURS


@given(st.from_regex(r"([0-9]{1,4}[dhmsDHMS]?){1,4}", fullmatch=True) | text)
def test_time_out_is_bounded_or_invalid(given_text: str) -> None:
    """What sudo reads otherwise would be another limit."""
    with contextlib.suppress(InvalidValue):
        seconds = command_timeout(Options(timeout=given_text))
        assert seconds is None or 0 < seconds <= MAX_DURATION_SECONDS


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


NAMES = ["PATH", "LD_PRELOAD", "TERM", "LANG", "LC_ALL", "TZ", "DISPLAY", "POSIXLY_CORRECT", "PS1", "KEPT", "SUDO_UID", "HOME"]
variables = st.sampled_from([*NAMES, "BASH_FUNC_x%%", "BASH_ENV", "SUDO_PS1", "IFS", "X-Y"])
entries = st.lists(st.builds("{}={}".format, variables, text | st.just("() { :; }")) | text, max_size=10)
modes = st.sampled_from(["command", "shell", "login-shell", "edit"])


@given(entries, entries, st.lists(text, max_size=4), st.lists(variables, max_size=3), st.booleans(), modes)
def test_environment_never_holds_what_steers_a_program(
    user_env: list[str], added: list[str], argv: list[str], keep: list[str], keep_all: bool, mode: Mode
) -> None:
    """Whatever the caller sends and sets, the role keeps, and -E asks for."""
    target = Target(Anybody().by_uid(Uid(7)), Gid(7), None)  # type: ignore[arg-type]
    path = HELPER if mode == "edit" else "/bin/x"
    try:
        env = build_environment(user_env, CALLER, target, path, argv, keep=keep, added=added, keep_all=keep_all, mode=mode)
    except InvalidValue:
        assert any("\0" in argument for argument in argv)
        return
    found = dict(entry.split("=", 1) for entry in env)
    assert len(found) == len(env)
    assert (found["PATH"], found["HOME"], found["SUDO_UID"]) == (SECURE_PATH, "/h", "9")
    assert NEVER_SET not in found
    assert not any(is_never_kept(name, value) for name, value in found.items())
    assert all(name.isidentifier() for name in found)
    assert tz_is_sane(found.get("TZ", ""))


@given(st.lists(text, max_size=4), modes, st.sampled_from(["/bin/sh", "/bin/bash", "/tmp/x", ""]), st.none() | st.just("~/x"))
def test_only_a_listed_shell_is_run_as_one(argv: list[str], mode: Mode, shell: str, cwd: str | None) -> None:
    """Whatever the caller's $SHELL and the target's account say."""
    target = Target(Account(UserName("bob"), Uid(7), Gid(7), (Gid(7),), "/h", shell), Gid(7), None)
    options = Options(mode=mode, cwd=cwd)
    try:
        what = invoked(options, target, argv, "/usr/bin/id", {"/bin/sh", "/bin/bash"})
    except OptionRefused:
        return
    run = launch(what, options, target, "/usr/bin/id", ["id"])
    assert what.mode == mode
    assert run.path in ({"/bin/sh", "/bin/bash"} if mode in ("shell", "login-shell") else {"/usr/bin/id"})
    assert mode not in ("shell", "login-shell") or run.argv[len(run.argv) - len(argv) + 1 :] == tuple(argv[1:])


@given(st.text("ab -'\"\\\t", max_size=30) | text)
def test_an_editor_never_brings_a_file_of_its_own(editor: str) -> None:
    """CVE-2023-22809: one `--`, ours, and after it exactly the files that were judged."""
    files = ["/etc/a", "/etc/b"]
    try:
        found = choose_editor([f"EDITOR={editor}"], lambda name: f"/usr/bin/{name}")
    except OptionRefused:
        return
    argv = plain_edit(found, files).argv
    assert argv[argv.index(END_OF_WORDS) + 1 :] == tuple(files)
    assert not editor.strip(" \t\n\v\f\r") or list(found.argv) == split_words(editor)


@given(st.lists(paths, min_size=1, max_size=MAX_FILES), st.lists(text.filter(lambda t: "\0" not in t), min_size=1, max_size=5))
def test_the_helper_reads_the_plan_that_was_made(files: list[str], check: list[str]) -> None:
    """Exactly, whatever the names hold."""
    editor = Editor("/usr/bin/vim", ("vim", *check))
    with contextlib.suppress(InvalidValue):  # a surrogate that stands for no byte is no path
        plan = read_plan(checked_edit(editor, files, check).argv[1])
        assert (plan.editor, list(plan.files), list(plan.check)) == (editor, files, check)


@given(text | st.text("%HhpuUx", max_size=12))
def test_prompt_without_escapes_is_verbatim(template: str) -> None:
    """Ansible looks for its own."""
    shown = expand(template, UserName("alice"), UserName("root"), "web1.example.org")
    assert "%" in template or shown == template
