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
        "command=/usr/bin/id", "umask=022", "closefrom=3", "use_pty=true", "runas_uid=1001", "runas_euid=1001",
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
