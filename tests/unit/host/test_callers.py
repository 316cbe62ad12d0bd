"""Who called sudo, by what the kernel says of the process."""

from __future__ import annotations

import os

import pytest

from jitsudo.host.callers import Surroundings, classify, surroundings, unit_of

SESSION = "/user.slice/user-1000.slice/session-3.scope"
BECOME = ("/bin/sh", "-c", "echo BECOME-SUCCESS-abcdef ; /usr/bin/python3 x.py")


@pytest.mark.parametrize(
    ("found", "argv", "kind"),
    [
        (Surroundings(SESSION, ("bash", "sshd"), True, 3), ("id",), "person"),
        (Surroundings(SESSION, ("bash", "sshd"), False, 3), ("id",), "login"),
        (Surroundings("/system.slice/ssh.service", ("bash", "sshd"), True, None), ("id",), "person"),
        (Surroundings("/system.slice/getty@tty1.service", ("bash", "login"), True, None), ("id",), "person"),
        (Surroundings("/system.slice/cron.service", ("sh", "cron"), False, 4), ("id",), "cron"),
        (Surroundings(SESSION, ("sh", "CRON"), False, 4), ("id",), "cron"),
        (Surroundings("/system.slice/atd.service", ("sh",), False, None), ("id",), "cron"),
        (Surroundings("/system.slice/backup.service", ("sh", "systemd"), False, None), ("id",), "unit"),
        (Surroundings("/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", (), False, 3), ("id",), "unit"),
        (Surroundings("/user.slice/user-1000.slice/user@1000.service/init.scope", (), False, 3), ("id",), "login"),
        (Surroundings(SESSION, ("python3", "sshd"), False, 3), BECOME, "ansible"),
        (Surroundings("/system.slice/awx.service", (), False, None), BECOME, "ansible"),
        (Surroundings(SESSION, (), True, 3), ("echo", "-c", "BECOME-SUCCESS-abcdef"), "person"),
        (Surroundings("/", ("sh",), True, None), ("id",), "other"),
        (Surroundings("", (), False, None), (), "other"),
    ],
)
def test_callers_are_told_apart(found: Surroundings, argv: tuple[str, ...], kind: str) -> None:
    """By unit, login, terminal and ancestors; Ansible by how it calls."""
    assert classify(found, argv).kind == kind


def test_the_innermost_unit_counts() -> None:
    """A slice says nothing, and what would steer a terminal is written out."""
    assert unit_of("/user.slice/user-1.slice/user@1.service/app.slice/a.service") == "a.service"
    assert unit_of("/system.slice") is None
    assert unit_of("/system.slice/a\x1b.service") == "a\\x1b.service"


def test_a_process_that_lives_can_be_looked_at() -> None:
    """This one; one that there is not says so."""
    found = surroundings(os.getpid())
    assert found.parents
    assert len(classify(found, ("id",)).parents) <= 8
    with pytest.raises(ProcessLookupError):
        surroundings(2**22 + 1)
