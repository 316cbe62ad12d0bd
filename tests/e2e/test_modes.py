"""Shells, login shells and the options that a role admits, on real hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pexpect
import pytest
from acts import Journal, assert_refused, extra_policy, sudo
from lab import UNTIL, Lab

TERMS = """
    who: ["user:alice"]
    request: none
    until: UNTIL
    authenticate: never
""".replace("UNTIL", UNTIL)
PLAIN = f"""
version: 1
roles:
  plain:
    description: Commands, and nothing else
    {TERMS}
    allow:
      - {{command: /usr/bin/id, options: {{"-u": flag, "-G": flag}}}}
      - {{command: /usr/bin/env}}
      - {{command: /usr/bin/cat, operands: [{{path: {{under: /srv/modes/logs}}}}]}}
      - {{command: /usr/bin/sleep, operands: any}}
"""
OPTIONS = PLAIN.replace("    allow:", "    sudo_options: [-E, -C, -D, -T, -P, VAR]\n    allow:")
SHELLS = f"""
version: 1
roles:
  shells:
    description: Root with a witness
    {TERMS}
    root_equivalent: true
    run_as: {{users: [root, bob, messagebus]}}
    allow: [{{shell: {{intercept: false}}}}]
"""


@pytest.fixture
def files(clean: Lab) -> Iterator[Lab]:
    clean.put("/srv/modes/logs/f", "a log\n")
    clean.put("/srv/modes/f", "a secret\n")
    yield clean
    clean.run("rm", "-rf", "/srv/modes", check=True)


@pytest.fixture
def plain(files: Lab) -> Iterator[Lab]:
    """alice may run a few commands."""
    with extra_policy(files, PLAIN):
        yield files


@pytest.fixture
def options(files: Lab) -> Iterator[Lab]:
    """The same, with all options that a role can admit."""
    with extra_policy(files, OPTIONS):
        yield files


@pytest.fixture
def shells(clean: Lab) -> Iterator[Lab]:
    """alice may have a shell."""
    with extra_policy(clean, SHELLS):
        yield clean


REFUSED = {
    "-E": ["-E", "id"], "-C": ["-C", "5", "id"], "-D": ["-D", "/", "id"], "-T": ["-T", "5", "id"], "-P": ["-P", "id"],
    "FOO": ["FOO=bar", "id"],
}  # fmt: skip


@pytest.mark.parametrize(("option", "argv"), REFUSED.items(), ids=REFUSED.keys())
def test_what_the_role_does_not_admit_is_refused_by_name(plain: Lab, option: str, argv: list[str]) -> None:
    """And nothing runs."""
    assert_refused(sudo(plain, *argv), option)


def test_what_is_kept_anyway_may_be_set(plain: Lab) -> None:
    """As with sudoers."""
    assert "LANG=C.UTF-8\n" in sudo(plain, "LANG=C.UTF-8", "env").stdout


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "HOME", "SUDO_UID", "PYTHONPATH", "BASH_ENV", "POSIXLY_CORRECT"])
def test_no_role_admits_a_variable_that_steers_programs(options: Lab, name: str) -> None:
    """VAR or not."""
    assert_refused(sudo(options, f"{name}=/tmp/x", "env"), f"cannot be set through sudo: {name}")


def test_admitted_options_do_what_they_do(options: Lab) -> None:
    """Variables, -E, -P and -T."""
    found = sudo(options, "FOO=bar", "env").stdout
    assert "FOO=bar\n" in found
    done = options.run("env", "FOO=kept", "LD_BIND_NOW=1", "PYTHONPATH=/tmp", "sudo", "-E", "env", user="alice")
    lines = done.stdout.splitlines()
    assert {"FOO=kept", "HOME=/root", "USER=root"} <= set(lines)
    assert not any(line.startswith(("LD_", "PYTHON")) for line in lines)
    mine = options.run("id", "-G", user="alice").stdout.split()
    assert set(sudo(options, "-P", "id", "-G").stdout.split()) == {"0", *mine}
    assert sudo(options, "-T", "1", "sleep", "30").returncode != 0


def test_operands_are_judged_in_the_folder_of_dash_d(options: Lab) -> None:
    """Otherwise the name of a log would open a secret."""

    def cat(cwd: str, folder: str) -> str:
        return options.run("sh", "-c", 'cd "$1" && exec sudo -D "$2" cat f', "x", cwd, folder, user="alice").stdout

    assert cat("/srv/modes/logs", "/srv/modes/logs") == "a log\n"
    assert cat("/", "/srv/modes/logs") == "a log\n"
    assert cat("/", "/srv/modes/../modes/logs") == "a log\n"
    assert cat("/srv/modes/logs", "/srv/modes") == ""
    assert cat("/srv/modes/logs", "~") == ""


def test_a_shell_needs_a_rule_for_shells(plain: Lab) -> None:
    """With a command, too; the way out is to name the command alone."""
    for argv in (["-i"], ["-s"]):
        assert_refused(sudo(plain, *argv), "shell")
    for argv in (["-i", "id", "-u"], ["-s", "id", "-u"]):
        done = sudo(plain, *argv)
        assert_refused(done, "shell")
        assert "sudo id -u" in done.stderr
    assert sudo(plain, "id", "-u").stdout == "0\n"


def test_a_login_shell_is_one(shells: Lab) -> None:
    """argv0, home, environment; typed into on a terminal, and on record."""
    journal = Journal.from_now(shells)
    terminal = shells.spawn("alice", "env", "FOO=bar", "SHELL=/bin/dash", "sudo", "-i")
    terminal.expect_exact("# ")
    terminal.sendline("echo [$0] [$PWD] [$HOME] [$SHELL] [$FOO] [$(id -u)] [$SUDO_USER]; shopt -q login_shell && echo login")
    terminal.expect_exact("[-bash] [/root] [/root] [/bin/bash] [] [0] [alice]")
    terminal.expect_exact("\nlogin")
    terminal.sendline("exit 7")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 7
    assert journal.expect("command.allowed", role="shells")["JITSUDO_COMMAND"] == "/bin/bash"


def test_a_login_shell_runs_a_command(shells: Lab) -> None:
    """Words stay words."""
    done = sudo(shells, "-i", "-u", "bob", "printf", "%s|", "a b", "$HOME", "'x'", "*", ";")
    assert (done.returncode, done.stdout) == (0, "a b|/home/bob|'x'|*|;|")
    assert sudo(shells, "-i", "exit", "5").returncode == 5


def test_a_shell_is_the_callers(shells: Lab) -> None:
    """-s: $SHELL, where it is one, in the caller's folder."""
    done = shells.run("env", "SHELL=/bin/sh", "sudo", "-s", "echo", "$0", "$PWD", "$HOME", "$SHELL", user="alice")
    assert done.stdout == "/bin/sh /home/alice /root /bin/sh\n"
    shells.put("/home/alice/evil", "#!/bin/sh\nid\n", mode=0o755)
    for shell in ("/home/alice/evil", "evil", "/bin/../bin/sh"):
        assert_refused(shells.run("env", f"SHELL={shell}", "sudo", "-s", user="alice"), "is not a shell of this host")


def test_an_account_without_a_shell_stays_without(shells: Lab) -> None:
    """nologin is no login shell."""
    assert_refused(sudo(shells, "-i", "-u", "messagebus"), "messagebus has no login shell")


def test_a_shell_role_is_no_command_role(shells: Lab) -> None:
    """Though the shell could run it: what is on record is what was allowed."""
    assert_refused(sudo(shells, "id"), "covers")
    assert_refused(sudo(shells, "-u", "postgres", "-i"), "not as postgres")


PINNED = f"""
version: 1
roles:
  pinned:
    description: Exactly these programs
    {TERMS}
    allow:
      - {{command: /usr/local/bin/pinned-script, digest: "sha256:SCRIPT", operands: [{{glob: "*", count: "0.."}}]}}
      - {{command: /usr/local/bin/pinned-copy, digest: "sha256:COPY"}}
"""


def test_a_pinned_program_is_the_one_that_was_read(clean: Lab) -> None:
    """A program and a script run by their descriptor; another content under the name does not."""
    clean.put("/usr/local/bin/pinned-script", '#!/bin/sh\necho "script $*"\n', mode=0o755)
    clean.run("cp", "/usr/bin/whoami", "/usr/local/bin/pinned-copy", check=True)
    digests = {
        word: clean.run("sha256sum", f"/usr/local/bin/pinned-{word.lower()}", check=True).stdout.split()[0]
        for word in ("SCRIPT", "COPY")
    }
    with extra_policy(clean, PINNED.replace("SCRIPT", digests["SCRIPT"]).replace("COPY", digests["COPY"])):
        assert sudo(clean, "pinned-script", "a", "b").stdout == "script a b\n"
        assert sudo(clean, "pinned-copy").stdout == "root\n"
        clean.run("cp", "/usr/bin/id", "/usr/local/bin/pinned-copy", check=True)
        assert_refused(sudo(clean, "pinned-copy"), "digest")
        clean.run("sh", "-c", "echo echo evil >>/usr/local/bin/pinned-script", check=True)
        assert_refused(sudo(clean, "pinned-script", "a"), "digest")
    clean.run("rm", "/usr/local/bin/pinned-script", "/usr/local/bin/pinned-copy", check=True)


# Thousands of variables, functions, loader variables; not from a shell, which would not pass them on.
HOSTILE = """
import os
env = {f"VAR_{i}": "x" * 50 for i in range(5000)}
env |= {f"BASH_FUNC_f{i}%%": "() { id; }" for i in range(500)}
env |= {"LD_PRELOAD": "/tmp/x.so", "LD_DEBUG": "all", "PYTHONPATH": "/tmp", "BASH_ENV": "/tmp/x", "ENV": "/tmp/x"}
env |= {"PATH": "/tmp", "HOME": "/tmp", "SHELL": "/tmp/x", "TERM": "../../x", "LANG": "/tmp", "TZ": "/etc/shadow"}
env |= {"DISPLAY": "() { id; }", "IFS": "x"}
env |= {"POSIXLY_CORRECT": "1", "SUDO_UID": "0", "SUDO_USER": "root", "A B": "x", "LC_ALL": "%n%n", "EDITOR": "x"}
os.execve("/usr/bin/sudo", ["sudo", *OPTIONS, "env"], env)
"""


@pytest.mark.parametrize("given", ["[]", "['-E']"])
def test_a_hostile_environment_does_not_arrive(options: Lab, given: str) -> None:
    """With -E the thousands do, which the role admits; what steers a program does not."""
    options.put("/srv/modes/hostile.py", HOSTILE.replace("OPTIONS", given))
    done = options.run("python3", "-I", "/srv/modes/hostile.py", user="alice")
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    ours = {"HOME", "LOGNAME", "MAIL", "PATH", "SHELL", "TERM", "USER"}
    ours |= {"SUDO_COMMAND", "SUDO_GID", "SUDO_HOME", "SUDO_UID", "SUDO_USER"}
    many = {f"VAR_{i}" for i in range(5000)} | {"EDITOR"} if given == "['-E']" else set()
    assert set(found) == ours | many
    assert (found["HOME"], found["SHELL"], found["TERM"], found["SUDO_USER"]) == ("/root", "/bin/bash", "unknown", "alice")
