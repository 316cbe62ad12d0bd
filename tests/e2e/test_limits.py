"""Limits: how often and how many at once, across grants and restarts, and what the refusal says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from acts import Journal, assert_refused, extra_policy, gone, kill_daemon, obtain, restart_daemon, sudo, until
from lab import Lab

POLICY = """
version: 1
roles:
  twice:
    description: Two uses of a grant
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: never
    limits: {uses: 2}
    allow: [{command: /usr/bin/true}]
  hourly:
    description: Three an hour
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: never
    limits: {per_hour: 3}
    allow: [{command: /usr/bin/false}]
  one-at-a-time:
    description: One at a time
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: never
    limits: {concurrent: 1}
    allow: [{command: /usr/bin/sleep, operands: [int]}]
  guarded:
    description: Anything with echo, but hello only once
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: never
    allow: [{command: /usr/bin/echo, operands: any}]
    guardrails: [one-hello]
  flooded:
    description: Ten at once
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: never
    limits: {uses: 10}
    allow: [{command: /usr/bin/id, options: {"-u, --user": flag}}]
guardrails:
  one-hello:
    match: {command: /usr/bin/echo, any_operand: [{literal: hello}]}
    then: limit
    limits: {uses: 1}
    message: Once is enough.
"""


@pytest.fixture
def limited(clean: Lab) -> Iterator[Lab]:
    with extra_policy(clean, POLICY):
        yield clean


def assert_allowed(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, ""), done


def test_uses_are_those_of_one_grant(limited: Lab) -> None:
    """The third is refused, on record, also after a restart; a new grant has two of its own."""
    grant = obtain(limited, "twice")
    for _ in range(2):
        assert_allowed(sudo(limited, "true"))
    journal = Journal.from_now(limited)
    words = f"role twice allows 2 times under one grant, which {grant} has had"
    assert_refused(sudo(limited, "true"), words)
    assert journal.expect("command.denied", user="alice", code="limit", role="twice")["JITSUDO_REASON"] == words
    restart_daemon(limited)
    assert_refused(sudo(limited, "true"), words)
    limited.run("jitsudo", "return", grant, user="alice", check=True)
    obtain(limited, "twice")
    assert_allowed(sudo(limited, "true"))


def test_an_hour_is_the_persons_whatever_the_grant(limited: Lab) -> None:
    """A new grant does not begin a new one, nor does a daemon that was killed; the refusal says when the next is possible."""
    grant = obtain(limited, "hourly")
    for _ in range(3):
        assert sudo(limited, "false").stderr == ""
    done = sudo(limited, "false")
    assert_refused(done, "role hourly allows 3 times an hour, and you have had that")
    assert re.search(r"the next is possible at \d\d:\d\d:\d\d UTC, in (5\d|60) min", done.stderr), done.stderr
    limited.run("jitsudo", "return", grant, user="alice", check=True)
    kill_daemon(limited)
    obtain(limited, "hourly")
    assert_refused(sudo(limited, "false"), "role hourly allows 3 times an hour")
    obtain(limited, "hourly", user="bob")
    assert sudo(limited, "false", user="bob").stderr == ""


def test_one_at_a_time_is_one_that_runs(limited: Lab) -> None:
    """Until it ends, also if the daemon was restarted meanwhile, and whether it ended well or was killed."""
    obtain(limited, "one-at-a-time")
    running = limited.start("sudo", "sleep", "88001", user="alice")
    until(lambda: not gone(limited, "^sleep 88001$"), "it runs")
    words = "role one-at-a-time allows one command at once, as many as you have running now"
    assert_refused(sudo(limited, "sleep", "0"), words)
    restart_daemon(limited)
    assert_refused(sudo(limited, "sleep", "0"), words)
    limited.run("pkill", "-9", "-f", "^sleep 88001$", check=True)
    running.communicate(timeout=30)
    until(lambda: sudo(limited, "sleep", "0").returncode == 0, "there is room again")


def test_a_command_that_ended_while_the_daemon_was_down_makes_room(limited: Lab) -> None:
    """Nobody saw it end."""
    obtain(limited, "one-at-a-time")
    running = limited.start("sudo", "sleep", "88002", user="alice")
    until(lambda: not gone(limited, "^sleep 88002$"), "it runs")
    limited.run("systemctl", "stop", "jitsudod.socket", "jitsudod-decide.socket", "jitsudod-control.socket", "jitsudod.service")
    limited.run("pkill", "-9", "-f", "^sleep 88002$", check=True)
    running.communicate(timeout=30)
    limited.run("systemctl", "start", "jitsudod-decide.socket", "jitsudod-control.socket", "jitsudod.service", check=True)
    assert_allowed(sudo(limited, "sleep", "0"))


def test_a_guardrail_counts_what_it_fires_on(limited: Lab) -> None:
    """And nothing else."""
    obtain(limited, "guarded")
    for word in ("world", "hello", "world"):
        assert sudo(limited, "echo", word).stdout == f"{word}\n"
    done = sudo(limited, "echo", "world", "hello")
    assert_refused(done, "guardrail one-hello allows once under one grant")
    assert sudo(limited, "echo", "world").stdout == "world\n"


def test_many_at_once_are_counted_one_by_one(limited: Lab) -> None:
    """Thirty start together; exactly ten are allowed, and that many are on record."""
    grant = obtain(limited, "flooded")
    journal = Journal.from_now(limited)
    many = "for n in $(seq 30); do sudo id -u & done; wait"
    done = limited.run("bash", "-c", many, user="alice")
    assert done.stdout == "0\n" * 10
    assert done.stderr.count("role flooded allows 10 times under one grant") == 20
    until(lambda: len(journal.find("command.allowed", grant_id=grant)) == 10, "ten events")
    assert len(journal.find("command.denied", code="limit")) == 20
