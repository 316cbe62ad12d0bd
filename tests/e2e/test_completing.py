"""Completions on a host: what the daemon knows, asked as each person, at once, and in silence when it cannot be asked."""

from __future__ import annotations

from acts import approve, ask, request_of
from lab import Lab
from timing import timed

HELPER = "/usr/libexec/jitsudo/jitsudo-complete"
SOCKETS = ["jitsudod-control.socket", "jitsudod-decide.socket"]
# What bash offers for the words that follow, the last of which is being typed.
OFFERED = """
. /usr/share/bash-completion/completions/jitsudo
COMP_WORDS=(jitsudo "$@") COMP_CWORD=$#
_jitsudo
printf '%s\\n' "${COMPREPLY[@]}"
"""
MOST_SECONDS = 3.0


def offered(host: Lab, person: str, *words: str) -> list[str]:
    done = host.run("bash", "-c", OFFERED, "bash", *words, user=person, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_everybody_is_offered_what_is_theirs(clean: Lab) -> None:
    """Roles to ask for; to bob the request that waits for him; to alice her request, then her grant; to mallory nothing."""
    assert "web-operator" in offered(clean, "alice", "request", "")
    assert offered(clean, "mallory", "request", "web") == []
    request = ask(clean, "web-operator")["id"]
    assert offered(clean, "bob", "approve", "") == [request]
    assert offered(clean, "alice", "cancel", "R") == [request]
    assert offered(clean, "mallory", "approve", "") == offered(clean, "alice", "approve", "") == []
    approve(clean, request)
    grant = request_of(clean, request)["grant"]
    assert offered(clean, "alice", "return", "") == [grant]
    assert offered(clean, "bob", "revoke", "G-") == [grant]
    assert offered(clean, "bob", "approve", "") == offered(clean, "bob", "return", "") == []


def test_it_is_fast(clean: Lab) -> None:
    """A person waits for it at each tab."""
    done, seconds = timed(clean, HELPER, "roles", user="alice")
    assert done.stdout
    assert seconds < MOST_SECONDS


def test_without_the_daemon_there_is_nothing_and_no_word(clean: Lab) -> None:
    """Neither an error on the line that is being typed, nor a wait."""
    clean.run("systemctl", "stop", "jitsudod.service", *SOCKETS, check=True)
    try:
        done, seconds = timed(clean, HELPER, "roles", user="alice")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert seconds < MOST_SECONDS
        assert offered(clean, "alice", "requ") == ["request", "requests"]
    finally:
        clean.run("systemctl", "start", *SOCKETS, "jitsudod.service", check=True)
