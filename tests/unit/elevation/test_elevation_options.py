"""What sudo was told becomes typed values, and what is not supported is refused with a sentence."""

from __future__ import annotations

import pytest

from jitsudo.elevation.options import (
    Caller,
    OptionRefused,
    Options,
    asked_options,
    asked_variables,
    check_supported,
    command_timeout,
    parse_settings,
    parse_user_info,
    working_folder,
)
from jitsudo.errors import Denied, InvalidValue
from jitsudo.types import MAX_DURATION_SECONDS, Account, Gid, Uid, UserName

USER_INFO = (
    "user=alice", "uid=1000", "gid=1001", "euid=0", "egid=0", "groups=1001,27", "pid=42", "ppid=41", "pgid=42",
    "tcpgid=42", "sid=40", "cols=80", "lines=24", "cwd=/home/alice", "tty=/dev/pts/0", "host=web1", "umask=022",
)  # fmt: skip


def user_info(**changes: str | None) -> list[str]:
    """USER_INFO with some items changed, or left out where None."""
    kept = [item for item in USER_INFO if item.partition("=")[0] not in changes]
    return kept + [f"{key}={value}" for key, value in changes.items() if value is not None]


def test_user_info_of_sudo_is_read() -> None:
    """Every value that is used, as its type; keys that are not are ignored."""
    assert parse_user_info(USER_INFO) == Caller(
        name=UserName("alice"), uid=Uid(1000), gid=Gid(1001), pid=42, ppid=41, pgid=42, sid=40, tcpgid=42,
        tty="/dev/pts/0", cwd="/home/alice", host="web1", umask=0o022, lines=24, cols=80,
    )  # fmt: skip


def test_caller_without_terminal_and_folder() -> None:
    """cron and services: sudo leaves the items out, or empty, or says -1."""
    for away in (None, "", "-1", "0"):
        caller = parse_user_info(user_info(tcpgid=away or None, tty=None if away is None else "", cwd=None))
        assert (caller.tcpgid, caller.tty, caller.cwd) == (None, None, None)


@pytest.mark.parametrize(
    "key", ["user", "uid", "gid", "pid", "ppid", "pgid", "sid", "host", "umask", "lines", "cols"]
)
def test_missing_or_empty_user_info_is_refused(key: str) -> None:
    """What identifies the caller must be there."""
    for value in (None, ""):
        with pytest.raises(InvalidValue):
            parse_user_info(user_info(**{key: value}))


MALFORMED_USER_INFO = {
    "uid negative": ("uid", "-1"),
    "uid that means no change": ("uid", "4294967295"),
    "uid with a separator": ("uid", "0_0"),
    "uid with a space": ("uid", " 0"),
    "uid in Arabic digits": ("uid", "\u0660"),
    "uid by name": ("uid", "root"),
    "gid with a leading zero": ("gid", "00"),
    "user with a colon": ("user", "a:b"),
    "user of digits": ("user", "0"),
    "pid of nobody": ("pid", "0"),
    "pid too large": ("pid", "4194305"),
    "ppid negative": ("ppid", "-1"),
    "tcpgid below -1": ("tcpgid", "-2"),
    "tcpgid text": ("tcpgid", "x"),
    "tty relative": ("tty", "pts/0"),
    "cwd relative": ("cwd", "."),
    "umask with 8": ("umask", "028"),
    "umask above 0777": ("umask", "01000"),
    "umask negative": ("umask", "-1"),
    "lines too large": ("lines", "2147483648"),
    "cols text": ("cols", "wide"),
    "cols with a newline": ("cols", "80\n"),
}


@pytest.mark.parametrize(("key", "value"), MALFORMED_USER_INFO.values(), ids=MALFORMED_USER_INFO.keys())
def test_malformed_user_info_is_refused(key: str, value: str) -> None:
    """Each value is read strictly."""
    with pytest.raises(InvalidValue):
        parse_user_info(user_info(**{key: value}))


@pytest.mark.parametrize("item", ["uid=0", "uid=1000", "user=root"])
def test_doubled_user_info_is_refused(item: str) -> None:
    """No second value slips in, the same or another."""
    with pytest.raises(InvalidValue, match="twice"):
        parse_user_info([*USER_INFO, item])


@pytest.mark.parametrize("item", ["uid", "=0", "", "x=\0", 7])
def test_item_that_is_not_key_and_value_is_refused(item: str) -> None:
    """In either list."""
    with pytest.raises(InvalidValue):
        parse_user_info([*USER_INFO, item])
    with pytest.raises(InvalidValue):
        parse_settings([item], ())


@pytest.mark.parametrize("umask", ["0", "022", "0022", "777", "0777"])
def test_umask_is_octal(umask: str) -> None:
    """With or without the leading zero."""
    assert parse_user_info(user_info(umask=umask)).umask == int(umask, 8)


def test_plain_command_has_no_options() -> None:
    """What `sudo id` sends."""
    assert parse_settings(("progname=sudo", "network_addrs=10.0.0.1/255.0.0.0"), ()) == Options()


def test_every_option_arrives() -> None:
    """One of each."""
    options = parse_settings(
        (
            "runas_user=bob", "runas_group=#4", "noninteractive=true", "ignore_ticket=true", "update_ticket=false",
            "set_home=true", "askpass=true", "prompt=pw: =", "cmnd_chroot=/c", "cmnd_cwd=/d", "closefrom=5", "timeout=10m",
            "preserve_environment=true", "preserve_groups=true", "remote_host=db1", "selinux_role=r", "selinux_type=t",
            "intercept_ptrace=true", "implied_shell=true", "progname=sudoedit",
        ),
        ("A=b", "C=d"),
    )  # fmt: skip
    assert options == Options(
        runas_user="bob", runas_group="#4", noninteractive=True, ignore_ticket=True, update_ticket=False, set_home=True,
        askpass=True, prompt="pw: =", chroot="/c", cwd="/d", closefrom=5, timeout="10m", preserve_environment=True,
        preserve_groups=True, remote_host="db1", selinux_role="r", selinux_type="t", intercept_ptrace=True,
        implied_shell=True, progname="sudoedit", env_add=("C=d", "A=b"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        ((), "command"),
        (("run_shell=false", "login_shell=false", "sudoedit=false"), "command"),
        (("run_shell=true",), "shell"),
        (("login_shell=true",), "login-shell"),
        (("run_shell=true", "login_shell=true"), "login-shell"),
        (("sudoedit=true",), "edit"),
    ],
)
def test_mode_follows_the_settings(settings: tuple[str, ...], mode: str) -> None:
    """-s, -i, -e and none of them."""
    assert parse_settings(settings, ()).mode == mode


@pytest.mark.parametrize(
    "items",
    [
        ("noninteractive=yes",), ("noninteractive=",), ("noninteractive=TRUE",), ("closefrom=-1",), ("closefrom=3x",),
        ("closefrom=2147483648",), ("runas_user=a", "runas_user=b"), ("set_home=true", "set_home=true"),
    ],
)  # fmt: skip
def test_malformed_setting_is_refused(items: tuple[str, ...]) -> None:
    """Flags are true or false, numbers are numbers, nothing comes twice."""
    with pytest.raises(InvalidValue):
        parse_settings(items, ())


def test_unknown_keys_may_repeat() -> None:
    """sudo passes `debug_flags` once for each line of sudo.conf."""
    assert parse_settings(("debug_flags=a all@debug", "debug_flags=b all@debug"), ()) == Options()


def test_env_add_must_be_text() -> None:
    """NUL would end the string for sudo."""
    with pytest.raises(InvalidValue):
        parse_settings((), ("A=\0",))


SUPPORTED = {
    "a plain command": Options(),
    "-u": Options(runas_user="bob"),
    "-g": Options(runas_group="www"),
    "-n": Options(noninteractive=True),
    "-H": Options(set_home=True),
    "-k CMD": Options(ignore_ticket=True),
    "-N": Options(update_ticket=False),
    "-p, -S, -A": Options(prompt="x", askpass=True),
    "-i": Options(mode="login-shell"),
    "-s": Options(mode="shell"),
    "-e": Options(mode="edit"),
    "-D": Options(cwd="/d"),
    "-D ~": Options(cwd="~"),
    "-D ~/x": Options(cwd="~/x"),
    "-C": Options(closefrom=3),
    "-T": Options(timeout="1m"),
    "-P": Options(preserve_groups=True),
    "-E": Options(preserve_environment=True),
    "VAR=value, --preserve-env=LIST": Options(env_add=("A=b",)),
}


@pytest.mark.parametrize("options", SUPPORTED.values(), ids=SUPPORTED.keys())
def test_supported_option_passes(options: Options) -> None:
    """In a command and in a listing."""
    check_supported(options, listing=False)
    check_supported(options, listing=True)


REFUSED = {
    "-R": Options(chroot="/c"),
    "-r": Options(selinux_role="r"),
    "-t": Options(selinux_type="t"),
    "-C 0": Options(closefrom=0),
    "-C 2": Options(closefrom=2),
    "-R, empty": Options(chroot=""),
    "-D, with -e": Options(mode="edit", cwd="/d"),
    "no command": Options(implied_shell=True),
    "invalid working directory: d": Options(cwd="d"),
    "invalid working directory: ..": Options(cwd=".."),
    "invalid working directory: ~bob": Options(cwd="~bob"),
    "invalid working directory: , empty": Options(cwd=""),
}


@pytest.mark.parametrize(("option", "options"), REFUSED.items(), ids=REFUSED.keys())
def test_unsupported_option_is_refused_by_name(option: str, options: Options) -> None:
    """The sentence says which one, in a command and in a listing."""
    for listing in (False, True):
        with pytest.raises(OptionRefused) as refusal:
            check_supported(options, listing=listing)
        assert isinstance(refusal.value, Denied)
        assert refusal.value.code == "option-refused"
        assert option.split(",")[0].removesuffix(" 0").removesuffix(" 2") in refusal.value.sentence


def test_host_is_for_listing_only() -> None:
    """CVE-2025-32462: a rule for another host never counts here."""
    with pytest.raises(OptionRefused, match="-h HOST"):
        check_supported(Options(remote_host="db1"), listing=False)
    check_supported(Options(remote_host="db1"), listing=True)


def test_root_folder_is_refused_before_everything_else() -> None:
    """CVE-2025-32463: whatever else was asked."""
    with pytest.raises(OptionRefused, match="-R"):
        check_supported(Options(chroot="/c", remote_host="x", mode="edit", implied_shell=True), listing=False)


@pytest.mark.parametrize(
    "variable",
    [
        "LD_PRELOAD=/x", "PATH=/x", "HOME=/x", "USER=x", "LOGNAME=x", "SHELL=/x", "MAIL=x", "SUDO_USER=x", "SUDO_X=y",
        "PYTHONPATH=/x", "IFS=x", "POSIXLY_CORRECT=1", "BASH_FUNC_ls%%=() { id; }", "A=() { :; }; id", "TZ=/etc/passwd",
        "X-Y=1", "1X=1", "A B=1", "\u00e9=1", "A\n=1", "GLIBC_TUNABLES=x", "BASH_ENV=/x",
    ],
)  # fmt: skip
def test_variable_that_steers_a_program_cannot_be_set(variable: str) -> None:
    """Not even where a role admits VAR=value; the sentence names it, harmlessly."""
    with pytest.raises(OptionRefused, match="cannot be set through sudo") as refusal:
        check_supported(Options(env_add=("OK=1", variable)), listing=False)
    assert refusal.value.sentence.isprintable()
    assert "OK" not in refusal.value.sentence


def test_thousands_of_refused_variables_are_one_short_sentence() -> None:
    """The terminal is spared."""
    with pytest.raises(OptionRefused) as refusal:
        check_supported(Options(env_add=tuple(f"LD_{i}=x" for i in range(5000))), listing=False)
    assert len(refusal.value.sentence) < 200


ASKED = {
    "": Options(runas_user="bob", noninteractive=True, mode="login-shell", timeout="0"),
    "-E": Options(preserve_environment=True),
    "-C": Options(closefrom=3),
    "-D": Options(cwd="/d"),
    "-T": Options(timeout="1"),
    "-P": Options(preserve_groups=True),
    "VAR": Options(env_add=("A=b",)),
}


@pytest.mark.parametrize(("option", "options"), ASKED.items(), ids=ASKED.keys())
def test_what_a_role_has_to_admit_is_named(option: str, options: Options) -> None:
    """One each; everything else is everybody's."""
    assert asked_options(options) == ({option} if option else frozenset())


def test_all_gated_options_at_once() -> None:
    """None hides another."""
    options = Options(
        preserve_environment=True, closefrom=3, cwd="/", timeout="1", preserve_groups=True, env_add=("A=b", "B=", "A=c"),
    )  # fmt: skip
    assert asked_options(options) == {"-E", "-C", "-D", "-T", "-P", "VAR"}
    assert asked_variables(options) == {"A", "B"}


def test_a_variable_that_is_kept_anyway_needs_nobody() -> None:
    """sudoers: LANG and DISPLAY may be set by everybody, where harmless."""
    options = Options(env_add=("LANG=C", "DISPLAY=:1", "TZ=UTC", "LC_ALL=C.UTF-8"))
    assert asked_options(options) == frozenset()
    assert asked_variables(Options(env_add=("LANG=/x", "TERM=%s"))) == {"LANG", "TERM"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1), ("1s", 1), ("1S", 1), ("90", 90), ("1m", 60), ("10M", 600), ("1m30", 90), ("1h1s", 3601), ("2d", 172_800),
        ("1d1h1m1s", 90_061), ("007", 7), ("400d", MAX_DURATION_SECONDS), (str(MAX_DURATION_SECONDS), MAX_DURATION_SECONDS),
    ],
)  # fmt: skip
def test_time_out_is_read_as_sudo_does(text: str, seconds: int) -> None:
    """Measured on real sudo."""
    assert command_timeout(Options(timeout=text)) == seconds


@pytest.mark.parametrize("text", [None, "0", "00", "0s", "0d0h0m0s"])
def test_no_time_out_is_no_limit(text: str | None) -> None:
    """0 is none, as for sudo."""
    assert command_timeout(Options(timeout=text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "1x", "-1", "1s1h", "1h1h", "0x10", "1.5", "1 s", " 1", "+1", "1\n", "\u0661", "400d1s", "9999999999",
        "999999999d", str(MAX_DURATION_SECONDS + 1),
    ],
)  # fmt: skip
def test_malformed_time_out_is_refused(text: str) -> None:
    """With a typed error."""
    with pytest.raises(InvalidValue, match="timeout value"):
        command_timeout(Options(timeout=text))
    with pytest.raises(InvalidValue):
        asked_options(Options(timeout=text))


@pytest.mark.parametrize(
    ("given", "folder"), [(None, None), ("/d", "/d"), ("~", "/home/bob"), ("~/a b", "/home/bob/a b"), ("/~", "/~")]
)
def test_folder_of_the_command(given: str | None, folder: str | None) -> None:
    """`~` is the target's home."""
    bob = Account(UserName("bob"), Uid(1), Gid(1), (Gid(1),), "/home/bob", "/bin/sh")
    assert working_folder(Options(cwd=given), bob) == folder
