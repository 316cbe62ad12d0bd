"""What sudo was told becomes typed values, and what is not supported is refused with a sentence."""

from __future__ import annotations

import pytest

from jitsudo.elevation.options import Caller, OptionRefused, Options, check_supported, parse_settings, parse_user_info
from jitsudo.errors import Denied, InvalidValue
from jitsudo.types import Gid, Uid, UserName

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
        implied_shell=True, progname="sudoedit", env_add=("A=b", "C=d"),
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
}


@pytest.mark.parametrize("options", SUPPORTED.values(), ids=SUPPORTED.keys())
def test_supported_option_passes(options: Options) -> None:
    """In a command and in a listing."""
    check_supported(options, listing=False)
    check_supported(options, listing=True)


REFUSED = {
    "-R": Options(chroot="/c"),
    "-i": Options(mode="login-shell"),
    "-s": Options(mode="shell"),
    "-e": Options(mode="edit"),
    "-D": Options(cwd="/d"),
    "-C": Options(closefrom=4),
    "-T": Options(timeout="1m"),
    "-P": Options(preserve_groups=True),
    "-E": Options(preserve_environment=True),
    "VAR=value": Options(env_add=("A=b",)),
    "--preserve-env=LIST": Options(env_add=("A=b",)),
    "-r": Options(selinux_role="r"),
    "-t": Options(selinux_type="t"),
    "-C 0": Options(closefrom=0),
    "-R, empty": Options(chroot=""),
    "no command": Options(implied_shell=True),
}


@pytest.mark.parametrize(("option", "options"), REFUSED.items(), ids=REFUSED.keys())
def test_unsupported_option_is_refused_by_name(option: str, options: Options) -> None:
    """The sentence says which one, in a command and in a listing."""
    for listing in (False, True):
        with pytest.raises(OptionRefused) as refusal:
            check_supported(options, listing=listing)
        assert isinstance(refusal.value, Denied)
        assert refusal.value.code == "option-refused"
        assert option.split(",")[0].removesuffix(" 0") in refusal.value.sentence


def test_host_is_for_listing_only() -> None:
    """CVE-2025-32462: a rule for another host never counts here."""
    with pytest.raises(OptionRefused, match="-h HOST"):
        check_supported(Options(remote_host="db1"), listing=False)
    check_supported(Options(remote_host="db1"), listing=True)


def test_root_folder_is_refused_before_everything_else() -> None:
    """CVE-2025-32463: whatever else was asked."""
    with pytest.raises(OptionRefused, match="-R"):
        check_supported(Options(chroot="/c", remote_host="x", mode="edit", implied_shell=True), listing=False)
