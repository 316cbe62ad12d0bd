"""The lab keeps its word: what the other end-to-end tests rest on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pexpect
import pytest
from acts import PATIENCE, gone, until
from lab import SCRIPT, Lab

WHO = pytest.mark.parametrize("user", [None, "alice"], ids=["root", "alice"])
ODD = ["two words", "", "$HOME ${HOME} $$", "%h %% %n", "line\nbreak", "*", "a'b\"c\\d", "--", "-x", "\udcff", ";id"]


@WHO
@pytest.mark.parametrize("tty", [False, True])
def test_argv_arrives_unchanged(bare_host: Lab, user: str | None, tty: bool) -> None:
    """Spaces, empty words, dollars, percents, newlines and odd bytes are nobody's syntax on the way."""
    script = "import os, sys; os.write(1, repr([os.fsencode(a) for a in sys.argv[1:]]).encode())"
    done = bare_host.run("python3", "-c", script, *ODD, user=user, tty=tty)
    assert (done.returncode, done.stdout) == (0, repr([os.fsencode(a) for a in ODD]))


@WHO
@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_exit_status_is_the_commands(bare_host: Lab, user: str | None, tty: bool, script: str, status: int) -> None:
    """A status passes through; a signal n is 128 + n."""
    assert bare_host.run("sh", "-c", script, user=user, tty=tty).returncode == status


@WHO
def test_a_command_that_is_not_there_is_127(bare_host: Lab, user: str | None) -> None:
    """As in a shell."""
    done = bare_host.run("/no/such/command", user=user)
    assert (done.returncode, "No such file" in done.stderr) == (127, True)


@WHO
def test_streams_carry_bytes_and_stay_apart(bare_host: Lab, user: str | None) -> None:
    """Standard input, output and error are the caller's own; nothing is translated."""
    data = bytes(range(256)) * 1000
    done = bare_host.run("sh", "-c", "cat; echo aside >&2", user=user, input=data.decode(errors="surrogateescape"))
    assert (done.stdout.encode(errors="surrogateescape"), done.stderr) == (data, "aside\n")


def test_a_user_gets_a_real_login_session(bare_host: Lab) -> None:
    """Login uid, groups, home, environment and a logind session, as after a login."""
    script = (
        'cat /proc/self/loginuid; echo; id -un; id -Gn; pwd; echo "$HOME $SHELL $USER $LOGNAME"; '
        "loginctl show-user -P Name alice; cat /proc/self/cgroup"
    )
    lines = bare_host.run("sh", "-c", script, user="alice", check=True).stdout.splitlines()
    uid = bare_host.run("id", "-u", "alice").stdout.strip()
    assert lines[:6] == [uid, "alice", "alice web", "/home/alice", "/home/alice /bin/bash alice alice", "alice"]
    assert any(f"/user-{uid}.slice/session-" in line for line in lines[6:])


def test_the_people_are_who_the_tests_say(bare_host: Lab) -> None:
    """Group membership decides who may ask and who approves."""
    groups = {
        person: set(bare_host.run("id", "-Gn", person, check=True).stdout.split()) - {person}
        for person in ("alice", "bob", "carol", "mallory", "agent")
    }
    leads = {"web", "web-leads"}
    assert groups == {"alice": {"web"}, "bob": leads, "carol": leads, "mallory": set(), "agent": set()}


def test_a_terminal_is_a_controlling_terminal_of_the_user(bare_host: Lab) -> None:
    """sudo finds the terminal in /proc, owned by the person, and /dev/tty opens."""
    done = bare_host.run("sh", "-c", "stat -c %U $(tty) && echo hello >/dev/tty", user="bob", tty=True)
    assert (done.returncode, done.stdout) == (0, "bob\r\nhello\r\n")


def test_a_terminal_can_be_driven(bare_host: Lab) -> None:
    """su asks for a password on the terminal, without echo, and takes it."""
    with bare_host.spawn("mallory", "su", "-c", "id -un; tty", "bob") as su:
        su.expect("Password: ")
        su.sendline("bob")
        su.expect(r"bob\r\n/dev/pts/\d+\r\n")
        su.expect(pexpect.EOF)
    assert su.exitstatus == 0


@WHO
def test_background_children_outlive_exec(bare_host: Lab, user: str | None) -> None:
    """What a command leaves running goes on."""
    mark, go = f"/tmp/outlived-{user}", f"/tmp/go-on-{user}"
    script = f"(until [ -e {go} ]; do sleep 0.1; done; echo yes >{mark}) </dev/null >/dev/null 2>&1 &"
    bare_host.run("sh", "-c", script, user=user, check=True)  # which does not wait for it, or it would wait for ever
    bare_host.run("touch", go, check=True)
    until(lambda: bare_host.run("cat", mark).stdout == "yes\n", "it has gone on")


@WHO
def test_ending_exec_ends_the_command(bare_host: Lab, user: str | None) -> None:
    """A test that gives up leaves nothing behind."""
    process = bare_host.start("sh", "-c", "echo started; exec sleep 12345", user=user)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.terminate()
    process.communicate(timeout=PATIENCE)
    until(lambda: gone(bare_host, "^sleep 12345"), "the command has ended")


def test_put_and_get(bare_host: Lab) -> None:
    """A file arrives with its bytes, mode and owner."""
    bare_host.put("/srv/some folder/file", b"\x00\xff", mode=0o640, owner="alice:web")
    assert bare_host.get("/srv/some folder/file") == "\x00\udcff"
    assert bare_host.run("stat", "-c", "%a %U %G", "/srv/some folder/file").stdout == "640 alice web\n"


def test_the_host_is_whole(bare_host: Lab) -> None:
    """systemd has no failed unit, nginx.service can be restarted and reloaded, the host knows its own name."""
    assert bare_host.run("systemctl", "--failed", "--no-legend", "--plain").stdout == ""
    for verb in ("restart", "reload", "is-active"):
        bare_host.run("systemctl", verb, "nginx.service", check=True)
    assert bare_host.run("hostname").stdout.strip() == bare_host.name
    assert bare_host.run("getent", "hosts", bare_host.name).returncode == 0
    assert bare_host.run("id", "postgres").returncode == 0


def test_the_host_runs_the_distributions_own_sudo(bare_host: Lab) -> None:
    """Root may, by Debian's sudoers; a person may not."""
    assert bare_host.run("sudo", "-u", "postgres", "id", "-un").stdout == "postgres\n"
    assert bare_host.run("sudo", "-n", "true", user="alice").returncode == 1


def test_two_hosts_do_not_meet_and_leave_nothing_behind(bare_host: Lab) -> None:
    """Same suite, two names: own files, own processes, own cgroups; afterwards no trace."""
    name = f"{bare_host.name}-two"
    other = Lab.up(name, bare_host.suite, bare=True)
    try:
        again = subprocess.run([SCRIPT, "up", "--bare", "--name", name], capture_output=True, text=True, check=False)
        assert (again.returncode, "up already" in again.stderr) == (1, True)
        other.put("/etc/only-here", "")
        other.run("systemctl", "stop", "nginx.service", check=True)
        other.run("sh", "-c", "setsid sleep 54321 </dev/null >/dev/null 2>&1 &", user="alice", check=True)
        assert bare_host.run("test", "-e", "/etc/only-here").returncode == 1
        assert bare_host.run("systemctl", "is-active", "nginx.service").stdout == "active\n"
        assert bare_host.run("pgrep", "sleep", "-f", "54321").returncode != 0
    finally:
        other.down()
    assert bare_host.run("systemctl", "is-system-running").stdout == "running\n"
    assert bare_host.run("true", user="alice").returncode == 0
    assert other.run("true").returncode == 1
    left = [p for top in ("/run", "/sys/fs/cgroup", "/var/lib/machines") for p in Path(top).rglob(f"*{name}*")]
    assert left == []
    assert name not in Path("/proc/self/mounts").read_text()
