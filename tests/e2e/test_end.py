"""The end of a grant: what runs under it ends, detached children included; the terminal comes back; people are told why."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest
from acts import Journal, assert_refused, gone, grants_of, obtain, sudo, until
from lab import Lab

SLEEPERS = "^sleep 9100[123]$"  # what longjob leaves running
AT_ONCE = 2.0  # seconds
# Once none of these processes runs any more, says when that was.
WATCH = """
import os, select, sys, time
pidfds = [os.pidfd_open(int(pid)) for pid in sys.argv[1:]]
print("watching", flush=True)
while pidfds:
    pidfds = [pidfd for pidfd in pidfds if pidfd not in select.select(pidfds, [], [])[0]]
print(time.time())
"""


@contextmanager
def running(host: Lab, *argv: str, sleepers: str = SLEEPERS, count: int = 3) -> Iterator[subprocess.Popen[str]]:
    """`sudo ARGV` of alice's, up and with all its children; gone afterwards, whatever happens."""
    command = host.start("sudo", *argv, user="alice")
    try:
        until(lambda: len(host.run("pgrep", "-f", sleepers).stdout.split()) == count, f"{count} processes {sleepers}")
        yield command
    finally:
        command.terminate()
        host.run("pkill", "-KILL", "-f", sleepers)
        command.communicate(timeout=10)


def watched(host: Lab, sleepers: str = SLEEPERS) -> subprocess.Popen[str]:
    """What says when none of them runs any more, by the host's clock; it looks already."""
    pids = host.run("pgrep", "-f", sleepers, check=True).stdout.split()
    watch = host.start("python3", "-I", "-c", WATCH, *pids)
    assert watch.stdout is not None
    assert watch.stdout.readline() == "watching\n"
    return watch


@pytest.mark.parametrize("by", ["bob", "root", "alice"])
def test_what_runs_ends_with_the_grant(clean: Lab, by: str) -> None:
    """Revoked by bob or root, or given back: the command and its setsid and nohup children are gone within 2 s."""
    grant = obtain(clean)
    journal = Journal.from_now(clean)
    with running(clean, "longjob") as command:
        session = journal.expect("session.started")["JITSUDO_SESSION_ID"]
        (shown,) = grants_of(clean, "alice")[0]["sessions"]
        assert (shown["id"], shown["command"]) == (session, "longjob")
        watch = watched(clean)
        if by == "alice":
            clean.run("jitsudo", "return", user="alice", check=True)
        else:
            clean.run("jitsudo", "revoke", grant, "--reason", "stop it", user=None if by == "root" else by, check=True)
        assert gone(clean, SLEEPERS)
        ended = journal.expect("grant.returned" if by == "alice" else "grant.revoked", grant_id=grant)
        assert float(watch.communicate(timeout=30)[0]) - int(ended["__REALTIME_TIMESTAMP"]) / 1e6 < AT_ONCE
        assert command.wait(timeout=30) != 0
    if by == "alice":
        assert ended["JITSUDO_BY"] == "alice"
    else:
        assert (ended["JITSUDO_BY"], ended["JITSUDO_REASON"]) == (by, "stop it")
    assert journal.expect("session.killed", session_id=session)["JITSUDO_GRANT_ID"] == grant
    assert journal.expect("session.ended", session_id=session)["JITSUDO_OUTCOME"] == "killed by signal 15"
    assert not journal.find("session.escaped")
    assert_refused(sudo(clean, "longjob"), "alice holds no grant")


def test_giving_back_from_inside_ends_oneself(clean: Lab) -> None:
    """`jitsudo return` inside the session ends it; what follows in the script does not run."""
    grant = obtain(clean, "inside")
    journal = Journal.from_now(clean)
    clean.put("/srv/inside.sh", f"trap '' TERM HUP; jitsudo return {grant}; sleep 5; touch /run/went-on\n")
    done = sudo(clean, "inside")
    assert done.returncode != 0
    journal.expect("grant.returned", grant_id=grant)
    assert clean.run("test", "-e", "/run/went-on").returncode == 1
    assert grants_of(clean, "alice") == []


@pytest.mark.parametrize("killed", [False, True], ids=["sudo restores it", "sudo was killed"])
def test_the_terminal_comes_back_and_says_why(clean: Lab, killed: bool) -> None:
    """After a program in raw mode was ended, the settings are what they were, and the person reads why."""
    grant = obtain(clean, "inside")
    clean.put("/srv/inside.sh", "stty raw -echo; setsid sleep 91004 & echo ready; sleep 91004\n")
    show = 'echo "[$(stty -g)]"'
    with clean.spawn("alice", "sh", "-c", f"{show}; sudo inside; head -n 1; {show}; head -n 1") as shell:
        shell.expect(r"\[([0-9a-f:]{20,})\]")
        before = shell.match[1]
        shell.expect("ready")
        if killed:
            clean.run("pkill", "-KILL", "-f", "^sudo inside", check=True)
        clean.run("jitsudo", "revoke", grant, "--reason", "the incident is over", check=True)
        shell.expect(f"jitsudo: grant {grant} was revoked by root: the incident is over; the session has ended")
        shell.sendline("go on")
        shell.expect(r"\[([0-9a-f:]{20,})\]")
        assert shell.match[1] == before
        shell.sendline("")
        shell.expect(pexpect.EOF)
    assert gone(clean, "^sleep 91004")


def test_a_grant_expires_in_mid_command(clean: Lab) -> None:
    """`on_expiry: kill`: as soon as the grant's time is over, the command is gone and sudo refuses."""
    journal = Journal.from_now(clean)
    grant = obtain(clean, "brief", duration="12s")
    end = int(journal.expect("grant.issued", grant_id=grant)["JITSUDO_NOT_AFTER"])
    with running(clean, "longjob") as command:
        watch = watched(clean)
        assert command.wait(timeout=60) != 0
        assert 0 <= float(watch.communicate(timeout=30)[0]) - end < AT_ONCE
        assert gone(clean, SLEEPERS)
        assert_refused(sudo(clean, "id"), "alice holds no grant")
    journal.expect("grant.expired", grant_id=grant)
    assert f"grant {grant} has expired" in journal.expect("session.killed", grant_id=grant)["JITSUDO_REASON"]


def test_sudo_is_denied_from_the_very_second_of_expiry(clean: Lab) -> None:
    """Every allow is before the grant's end, every refusal at or after it."""
    journal = Journal.from_now(clean)
    request = "jitsudo request brief --for 4s --reason x || exit; e=$((EPOCHSECONDS + 6))"
    script = f"{request}; while ((EPOCHSECONDS < e)); do sudo -n id; sleep 0.05; done; sudo -n id"
    clean.run("bash", "-c", script, user="alice")
    end = int(journal.expect("grant.issued")["JITSUDO_NOT_AFTER"])
    allowed = [int(e["JITSUDO_TIME"]) for e in journal.find("command.allowed")]
    denied = [int(e["JITSUDO_TIME"]) for e in journal.find("command.denied")]
    assert allowed
    assert denied
    assert max(allowed) < end <= min(denied)


def test_what_may_finish_goes_on_past_expiry(clean: Lab) -> None:
    """`on_expiry: finish`: no new command starts, the one that runs is left alone, still shown, and can be revoked."""
    journal = Journal.from_now(clean)
    grant = obtain(clean, "patient", duration="10s")
    sleeper = "^sleep 91005$"
    with running(clean, "sleep", "91005", sleepers=sleeper, count=1) as command:
        journal.expect("grant.expired", grant_id=grant)
        assert_refused(sudo(clean, "sleep", "1"), "alice holds no grant")
        time.sleep(1)
        assert command.poll() is None
        assert not gone(clean, sleeper)
        assert not journal.find("session.killed")
        (shown,) = grants_of(clean, None)
        assert (shown["id"], shown["state"], shown["sessions"][0]["command"]) == (grant, "expired", "sleep 91005")
        clean.run("jitsudo", "revoke", grant, "--reason", "enough", check=True)
        assert gone(clean, sleeper)
    assert grants_of(clean, None) == []


def test_a_sudo_that_its_caller_kills_leaves_nothing_uncontrolled(clean: Lab) -> None:
    """alice kills her own sudo with SIGKILL: what it started stays in its session, is shown, and ends with the grant."""
    grant = obtain(clean)
    journal = Journal.from_now(clean)
    with running(clean, "longjob"):
        clean.run("sh", "-c", "kill -9 $(pgrep -o -f '^sudo longjob')", user="alice", check=True)
        until(lambda: gone(clean, "^sudo longjob"), "sudo is gone")
        assert not gone(clean, "^sleep 91001$")
        (shown,) = grants_of(clean, "alice")
        assert [s["command"] for s in shown["sessions"]] == ["longjob"]
        clean.run("jitsudo", "revoke", grant, "--reason", "x", check=True)
        assert gone(clean, SLEEPERS)
    journal.expect("session.ended", grant_id=grant)


def test_the_end_of_one_grant_leaves_the_others_sessions_alone(clean: Lab) -> None:
    """Two grants, a session under each: revoking one ends its own session only."""
    journal = Journal.from_now(clean)
    first, second = obtain(clean), obtain(clean, "inside")
    clean.put("/srv/inside.sh", "exec sleep 91006\n")
    with running(clean, "longjob"), running(clean, "inside", sleepers="^sleep 91006$", count=1) as other:
        clean.run("jitsudo", "revoke", first, "--reason", "x", check=True)
        assert gone(clean, SLEEPERS)
        assert other.poll() is None
        assert not gone(clean, "^sleep 91006$")
        journal.expect("session.killed", grant_id=first)
        assert not journal.find("session.killed", grant_id=second)
        clean.run("jitsudo", "revoke", second, "--reason", "x", check=True)
        assert gone(clean, "^sleep 91006$")


def test_a_session_inside_a_session_ends_with_it(clean: Lab) -> None:
    """sudo within sudo: both sessions' processes go."""
    grant = obtain(clean, "web-operator")
    obtain(clean, "inside")
    journal = Journal.from_now(clean)
    clean.put("/srv/inside.sh", "sudo inside-not-covered; exec sleep 91007\n")
    with running(clean, "inside", sleepers="^sleep 91007$", count=1):
        assert len(grants_of(clean, "alice")) == 2
        clean.run("jitsudo", "revoke", grant, "--reason", "x", check=True)
        assert not gone(clean, "^sleep 91007$")
        clean.run("jitsudo", "return", user="alice", check=True)
        assert gone(clean, "^sleep 91007$")
    journal.expect("session.killed")


ENDED = {
    "setsid": "setsid sleep 9200",
    "nohup": "nohup sleep 9200 >/dev/null",
    "double fork": "( ( setsid sleep 9200 & ) & )",
    "ignores SIGTERM and SIGHUP": "trap '' TERM HUP; sleep 9200",
    "another user": "su postgres -c 'sleep 9200'",
    "a login session by su -": "su - bob -c 'sleep 9200'",
    "detached in a login session": "su - bob -c '(setsid sleep 9200 & ) ; sleep 9201'",
    "a scope by systemd-run": "systemd-run -q --scope sleep 9200",
    "a cgroup of its own": "mkdir -p /sys/fs/cgroup/mine; echo $BASHPID >/sys/fs/cgroup/mine/cgroup.procs; sleep 9200",
    "orphaned in a cgroup of its own": (
        "mkdir -p /sys/fs/cgroup/mine; ( echo $BASHPID >/sys/fs/cgroup/mine/cgroup.procs; setsid sleep 9200 & )"
    ),
    "orphaned in a login session": "su - bob -c 'setsid sleep 9200 >/dev/null 2>&1 </dev/null & '",
}
ESCAPED = {
    "a service by systemd-run": "systemd-run -q sleep 9200",
    "orphaned as another login": (
        "mkdir -p /sys/fs/cgroup/mine; ( echo 0 >/proc/self/loginuid; "
        "echo $BASHPID >/sys/fs/cgroup/mine/cgroup.procs; setsid sleep 9200 & )"
    ),
}


ORPHANED = """read -r pid < <(pgrep -f '(^|/)sleep 9200$') && [ "$(ps -o ppid= -p "$pid")" -eq 1 ]"""


def leave_running(host: Lab, script: str, *, orphaned: bool) -> str:
    """A session in which this runs in the background while something else goes on; the grant is revoked; is it gone?"""
    grant = obtain(host, "inside")
    host.put("/srv/inside.sh", f"( {script} ) </dev/null >/dev/null 2>&1 &\nsleep 91008\nexit\n")
    try:
        with running(host, "inside", sleepers="(^|/)sleep 9200$", count=1):
            if orphaned:
                until(lambda: host.run("bash", "-c", ORPHANED).returncode == 0, "its parent is gone")
            host.run("jitsudo", "revoke", grant, "--reason", "x", check=True)
            assert gone(host, "^sleep 91008")
            return host.run("pgrep", "-f", "(^|/)sleep 920[01]$").stdout
    finally:
        host.run("pkill", "-KILL", "-f", "sleep 920")


@pytest.mark.parametrize("name", ENDED)
def test_what_tries_to_leave_the_session_is_ended(clean: Lab, name: str) -> None:
    """What detaches itself, ignores signals or was moved elsewhere is found by scope, descent or login."""
    journal = Journal.from_now(clean)
    assert leave_running(clean, ENDED[name], orphaned=name.startswith(("orphaned", "double fork"))) == ""
    until(lambda: journal.find("session.ended"), "the session's end")
    assert not journal.find("session.escaped")


@pytest.mark.parametrize("name", ESCAPED)
def test_what_escapes_is_known(clean: Lab, name: str) -> None:
    """What root inside hands to another manager, or orphans outside the scope, lives on: the list in the documents is true."""
    left = leave_running(clean, ESCAPED[name], orphaned=True)
    assert re.fullmatch(r"\d+\n", left)


def test_status_shows_what_runs(clean: Lab) -> None:
    """root sees alice's session and its command; mallory sees nothing."""
    obtain(clean)
    with running(clean, "longjob"):
        (grant,) = grants_of(clean, None)
        assert [s["command"] for s in grant["sessions"]] == ["longjob"]
        assert json.loads(clean.run("jitsudo", "status", "--json", user="mallory").stdout)["grants"] == []
        assert "web-operator" in clean.run("jitsudo", "status", "--short", user="alice").stdout
