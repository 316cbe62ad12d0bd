"""What an invocation is about to run, in each of sudo's modes."""

from __future__ import annotations

import pytest

from jitsudo.elevation.modes import Invoked, Launch, invoked, launch, unescaped, without_shell
from jitsudo.elevation.options import OptionRefused, Options
from jitsudo.elevation.runas import Target
from jitsudo.types import Account, Gid, Uid, UserName

SHELLS = frozenset({"/bin/sh", "/bin/bash", "/bin/zsh"})
S, LOGIN, EDIT, COMMAND = Options(mode="shell"), Options(mode="login-shell"), Options(mode="edit"), Options()


def target(shell: str = "/bin/bash") -> Target:
    return Target(Account(UserName("bob"), Uid(1), Gid(1), (Gid(1),), "/home/bob", shell), Gid(1), None)


def asked(options: Options, *argv: str, its: str = "/bin/bash") -> Invoked:
    return invoked(options, target(its), argv, "/usr/bin/id", SHELLS)


def run(options: Options, *argv: str, its: str = "/bin/bash") -> Launch:
    return launch(asked(options, *argv, its=its), options, target(its), "/usr/bin/id", ("id", "-u"))


def test_a_command_is_what_was_looked_up() -> None:
    """And what is executed is the allow's."""
    assert asked(COMMAND, "id", "-u") == Invoked("command", "/usr/bin/id", ("id", "-u"))
    assert run(COMMAND, "/bin/id", "x") == Launch("/usr/bin/id", ("id", "-u"))
    assert run(Options(cwd="~/x"), "id") == Launch("/usr/bin/id", ("id", "-u"), "/home/bob/x")


@pytest.mark.parametrize("name", ["sudoedit", "/usr/bin/sudoedit", "./sudoedit"])
def test_sudoedit_is_not_run_by_sudo(name: str) -> None:
    """It would be another sudo, as root; sudo(8) has its own way."""
    with pytest.raises(OptionRefused, match="doesn't need to be run via sudo"):
        asked(COMMAND, name, "f")


def test_an_edit_is_its_files_as_typed() -> None:
    """No program is looked up yet."""
    assert asked(EDIT, "sudoedit", "a", "/b") == Invoked("edit", None, ("sudoedit", "a", "/b"))


def test_shell_is_the_callers() -> None:
    """-s: sudo puts $SHELL into argv; no matter what the target's is."""
    assert asked(S, "/bin/zsh", its="/usr/sbin/nologin") == Invoked("shell", "/bin/zsh", ())
    assert run(S, "/bin/zsh") == Launch("/bin/zsh", ("/bin/zsh",))
    assert run(S, "/bin/bash", "-c", "id") == Launch("/bin/bash", ("/bin/bash", "-c", "id"))
    assert run(Options(mode="shell", cwd="/d"), "/bin/sh").cwd == "/d"


def test_login_shell_is_the_targets() -> None:
    """-i: whatever $SHELL says; in the target's home, where there is one."""
    assert asked(LOGIN, "/tmp/evil", its="/bin/zsh") == Invoked("login-shell", "/bin/zsh", ())
    assert run(LOGIN, "/tmp/evil", its="/bin/zsh") == Launch("/bin/zsh", ("-zsh",), "/home/bob", cwd_optional=True)
    assert run(LOGIN, "/tmp/evil") == Launch("/bin/bash", ("-bash",), "/home/bob", cwd_optional=True)


def test_bash_has_to_be_told_that_it_is_a_login_shell() -> None:
    """With -c it does not look at its name."""
    assert run(LOGIN, "x", "-c", "id").argv == ("-bash", "--login", "-c", "id")
    assert run(LOGIN, "x", "-c", "id", its="/bin/zsh").argv == ("-zsh", "-c", "id")


def test_folder_of_dash_d_goes_before_home() -> None:
    """It has to exist, then."""
    assert run(Options(mode="login-shell", cwd="/d"), "x") == Launch("/bin/bash", ("-bash",), "/d")


def test_an_account_without_a_shell_has_sh() -> None:
    """passwd(5)."""
    assert asked(LOGIN, "x", its="") == Invoked("login-shell", "/bin/sh", ())


def test_bin_and_usr_bin_are_one() -> None:
    """Debian 13 lists /usr/bin/dash alone, and accounts have /bin/dash."""
    shells = {"/usr/bin/dash", "/bin/sh", "/opt/bin/x"}
    for shell in ("/bin/dash", "/usr/bin/dash", "/bin/sh", "/usr/bin/sh", "/opt/bin/x"):
        assert invoked(S, target(), [shell], None, shells) == Invoked("shell", shell, ())
    for shell in ("/usr/opt/bin/x", "/dash", "/usr/usr/bin/dash", "/usr/bin/bin/sh", "/bin/bin/dash", "usr/bin/dash"):
        with pytest.raises(OptionRefused):
            invoked(S, target(), [shell], None, shells)


@pytest.mark.parametrize("shell", ["/tmp/evil", "bash", "", "/bin/bash ", "/bin/../bin/bash", "/usr/sbin/nologin"])
def test_what_is_not_listed_is_no_shell(shell: str) -> None:
    """A program of the caller's choosing does not become one by $SHELL."""
    with pytest.raises(OptionRefused, match="/etc/shells") as refusal:
        asked(S, shell)
    assert refusal.value.hint == "SHELL=/bin/sh sudo -s"


def test_a_service_account_stays_without_login() -> None:
    """A command as that account is another matter."""
    with pytest.raises(OptionRefused, match="bob has no login shell") as refusal:
        asked(LOGIN, "/bin/bash", its="/usr/sbin/nologin")
    assert refusal.value.hint == "sudo -u bob COMMAND"


@pytest.mark.parametrize("options", [COMMAND, S, LOGIN, EDIT])
def test_an_empty_argv_is_no_command(options: Options) -> None:
    """CVE-2021-4034: never index into nothing."""
    with pytest.raises(OptionRefused, match="no command was given"):
        asked(options)


def test_line_without_the_shell() -> None:
    """What to type where the role covers the command, but no shell."""
    assert without_shell(asked(S, "/bin/bash", "-c", "systemctl restart nginx\\;")) == "sudo systemctl restart nginx;"
    assert without_shell(asked(LOGIN, "/bin/bash", "-c", "id")) == "sudo id"
    assert len(without_shell(asked(S, "/bin/bash", "-c", "x" * 100_000)) or "") == 500
    assert without_shell(asked(S, "/bin/bash")) is without_shell(asked(LOGIN, "x")) is None
    assert without_shell(asked(COMMAND, "id", "-u", "-n")) is without_shell(asked(EDIT, "sudoedit", "x", "y")) is None


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("", ""), ("a\\ b", "a\\ b"), ("\\$x", "$x"), ("a\\\\b", "a\\b"), ("a\\", "a\\"),
        ("a\\\nb", "a\\\nb"), ("\\\u00e9", "\u00e9"),
    ],
)  # fmt: skip
def test_backslashes_of_sudo_are_taken_out(line: str, typed: str) -> None:
    """But for those before white space, as sudo logs it."""
    assert unescaped(line) == typed
