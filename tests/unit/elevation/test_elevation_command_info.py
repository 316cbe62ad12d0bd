"""What sudo is told to run a command with."""

from __future__ import annotations

import pytest

from jitsudo.elevation.command_info import build_command_info
from jitsudo.elevation.runas import Target
from jitsudo.errors import InvalidValue
from jitsudo.types import MAX_DURATION_SECONDS, Account, Gid, Uid, UserName

BOB = Account(UserName("bob"), Uid(1001), Gid(1001), (Gid(27), Gid(1001), Gid(4)), "/home/bob", "/bin/sh")


def test_command_info_of_a_plain_command() -> None:
    """Every key, every time; the effective group first."""
    assert build_command_info(Target(BOB, Gid(1001), UserName("bob")), "/usr/bin/id", None) == (
        "command=/usr/bin/id", "umask=022", "umask_override=true", "closefrom=3", "use_pty=true", "set_utmp=true",
        "rlimit_core=0,0", "runas_uid=1001", "runas_euid=1001",
        "runas_gid=1001", "runas_egid=1001", "runas_groups=1001,4,27", "runas_user=bob", "runas_group=bob",
    )  # fmt: skip


def test_group_of_g_comes_first_and_in_addition() -> None:
    """-g: the target's own groups stay; a group without a name has none."""
    info = build_command_info(Target(BOB, Gid(50), None), "/usr/bin/id", None)
    assert {"runas_gid=50", "runas_egid=50", "runas_groups=50,4,27,1001"} <= set(info)
    assert not any(item.startswith("runas_group=") for item in info)


def test_folder_and_time_out_are_told_where_given() -> None:
    """Absent, sudo keeps the caller's folder and sets no limit."""
    info = build_command_info(Target(BOB, Gid(50), None), "/usr/bin/id", "/srv", timeout=60)
    assert info[-2:] == ("cwd=/srv", "timeout=60")


def test_a_home_that_does_not_exist_is_no_failure() -> None:
    """sudo -i then stays where it is; a folder of -D has to exist."""
    target = Target(BOB, Gid(50), None)
    assert build_command_info(target, "/usr/bin/id", "/h", cwd_optional=True)[-2:] == ("cwd=/h", "cwd_optional=true")
    assert "cwd_optional=true" not in build_command_info(target, "/usr/bin/id", None, cwd_optional=True)
    assert "cwd_optional=true" not in build_command_info(target, "/usr/bin/id", "/h")


def test_options_that_a_role_admitted_are_told() -> None:
    """-C and -P."""
    info = build_command_info(Target(BOB, Gid(50), None), "/usr/bin/id", None, closefrom=7, preserve_groups=True)
    assert "closefrom=7" in info
    assert "closefrom=3" not in info
    assert info[-1] == "preserve_groups=true"


@pytest.mark.parametrize("number", [-1, 0, 2, 2**31])
def test_standard_streams_stay_open(number: int) -> None:
    """-C below 3 would close them."""
    with pytest.raises(InvalidValue):
        build_command_info(Target(BOB, Gid(50), None), "/usr/bin/id", None, closefrom=number)


def test_a_pinned_program_is_executed_by_descriptor() -> None:
    """The front end puts the number of its own descriptor there."""
    assert build_command_info(Target(BOB, Gid(50), None), "/usr/bin/id", None, pinned=True)[-1] == "execfd=command"


def test_sudoedit_never_follows_and_always_looks_at_the_folder() -> None:
    """CVE-2021-23240, CVE-2015-5602: sudo itself refuses links and folders that the person can write."""
    info = build_command_info(Target(BOB, Gid(50), None), "/usr/bin/vi", None, edit_files=2)
    assert info[-4:] == ("sudoedit=true", "sudoedit_nfiles=2", "sudoedit_checkdir=true", "sudoedit_follow=false")
    for number in (0, -1, 2**31):
        with pytest.raises(InvalidValue):
            build_command_info(Target(BOB, Gid(50), None), "/usr/bin/vi", None, edit_files=number)


@pytest.mark.parametrize("path", ["", "id", "./id", "/a\0"])
def test_path_that_is_not_absolute_is_refused(path: str) -> None:
    """For the command and for the folder."""
    target = Target(BOB, Gid(50), None)
    with pytest.raises(InvalidValue):
        build_command_info(target, path, None)
    with pytest.raises(InvalidValue):
        build_command_info(target, "/usr/bin/id", path)


@pytest.mark.parametrize("timeout", [0, -1, MAX_DURATION_SECONDS + 1])
def test_time_out_out_of_range_is_refused(timeout: int) -> None:
    """0 would mean: none."""
    with pytest.raises(InvalidValue):
        build_command_info(Target(BOB, Gid(50), None), "/usr/bin/id", None, timeout=timeout)
