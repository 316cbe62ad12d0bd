"""What people do on a lab host, and what the journal says of it, in the words that the end-to-end tests use."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab import Lab

REASON = "INC-4711 nginx is down"
PATIENCE = 30.0  # seconds for what happens soon, but not at once: on a busy machine, too
DELIVERY_SECONDS = 5.0  # for journald to have what is on record; a test may keep it from that
POLICY = "/etc/jitsudo/policy.d"
LEDGER = "/var/lib/jitsudo/ledger.db"

# Every grant that somebody asked for is revoked, every open request denied; standing ones stay. One may end by
# itself meanwhile.
_RETURN_EVERYTHING = """
import contextlib
from jitsudo.client import Client
from jitsudo.errors import JitsudoError

def left(client):
    status = client.call("Status")
    grants = [("Revoke", {"grant": grant["id"]}) for grant in status["grants"] if not grant["standing"]]
    return grants + [("Deny", {"request": request["id"]}) for request in status["requests"]]

with Client() as client:
    for method, what in left(client):
        with contextlib.suppress(JitsudoError):
            client.call(method, **what, reason="the test is over")
    if still := left(client):
        raise SystemExit(f"still there: {still}")
"""


def return_everything(host: Lab) -> None:
    """Leave no grant that was asked for and no open request."""
    host.run("python3", "-I", "-c", _RETURN_EVERYTHING, check=True)


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`, asked again until then, and once more after the last moment."""
    deadline = time.monotonic() + seconds
    while True:
        is_late = time.monotonic() >= deadline
        if value := condition():
            return value
        assert not is_late, f"not within {seconds} s: {what}"
        time.sleep(0.05)


# Asking, approving, ending.


def ask(host: Lab, role: str, *, user: str = "alice", duration: str = "10m", reason: str = REASON) -> dict[str, Any]:
    """The request, or with a role that needs no approval the granted one, as `jitsudo request --json` shows it."""
    done = host.run("jitsudo", "request", role, "--for", duration, "--reason", reason, "--json", user=user, check=True)
    shown: dict[str, Any] = json.loads(done.stdout)["request"]
    return shown


def approve(
    host: Lab, request: str, *, by: str = "bob", password: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`jitsudo approve`, the password on standard input."""
    return host.run("jitsudo", "approve", "-S", request, user=by, input=f"{password or by}\n")


def obtain(host: Lab, role: str = "web-operator", *, user: str = "alice", duration: str = "10m") -> str:
    """The id of a live grant: asked for, and approved by bob where the role wants that."""
    request = ask(host, role, user=user, duration=duration)
    if request["state"] == "requested":
        done = approve(host, request["id"])
        assert done.returncode == 0, done.stderr
        request = request_of(host, request["id"])
    assert request["state"] == "active"
    return str(request["grant"])


def request_of(host: Lab, name: str) -> dict[str, Any]:
    """A request as root sees it."""
    found = json.loads(host.run("jitsudo", "requests", "--all", "--json", check=True).stdout)["requests"]
    return next(r for r in found if r["id"] == name)


def grants_of(host: Lab, user: str | None) -> list[dict[str, Any]]:
    """The grants that were asked for, as `jitsudo status --json` shows them."""
    found = json.loads(host.run("jitsudo", "status", "--json", user=user, check=True).stdout)["grants"]
    return [grant for grant in found if not grant["standing"]]


def sudo(host: Lab, *argv: str, user: str | None = "alice", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return host.run("sudo", *argv, user=user, timeout=timeout)


def assert_refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    """sudo refused, with these words, and ran nothing."""
    assert (done.returncode, done.stdout) == (1, ""), (done.stdout, done.stderr)
    assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def gone(host: Lab, pattern: str) -> bool:
    """Whether no process's command line matches."""
    return host.run("pgrep", "-f", pattern).returncode == 1


# On a terminal. The end of a session's leader throws away what its terminal has not passed on yet: it waits until it was read.

END = "<that is all>"
ENDING = f"printf %s '{END}'; read -r _"


def held(*argv: str) -> list[str]:
    """The same for a terminal, on which END follows; then it waits for a line."""
    return ["sh", "-c", f'"$@"; s=$?; {ENDING}; exit $s', "held", *argv]


# The daemon.


def restart_daemon(host: Lab) -> None:
    host.run("systemctl", "restart", "jitsudod.service", check=True)


def kill_daemon(host: Lab) -> None:
    """SIGKILL, then wait until systemd has started it again."""
    pid = host.run("systemctl", "show", "-P", "MainPID", "jitsudod.service").stdout.strip()
    host.run("kill", "-9", pid, check=True)

    def is_another() -> bool:
        shown = host.run("systemctl", "show", "-P", "MainPID", "-P", "ActiveState", "jitsudod.service").stdout.split()
        return pid not in shown and "active" in shown

    until(is_another, "the daemon starts again")


@contextmanager
def extra_policy(host: Lab, text: str) -> Iterator[Callable[[str], None]]:
    """Another policy file in force for a while; gives a function that puts another text in its place."""

    def put(content: str) -> None:
        host.put(f"{POLICY}/zz-test.yaml", content)
        host.run("jitsudo", "policy", "reload", check=True)

    try:
        put(text)
        yield put
    finally:
        host.run("rm", "-f", f"{POLICY}/zz-test.yaml", check=True)
        host.run("jitsudo", "policy", "reload", check=True)


# Between the decision and the command.

PAM_SERVICE = "/etc/pam.d/jitsudo-sudo"
PAUSE = """#!/bin/sh
[ "$PAM_TYPE" = open_session ] || exit 0
echo $PPID >/run/pausing
mv /run/pausing /run/paused
kill -STOP $PPID
"""
IS_PAUSED = "read -r pid </run/paused && grep -q '^State:.T' /proc/$pid/status"


@contextmanager
def stopped_before_it_runs(host: Lab, *argv: str, user: str = "alice") -> Iterator[subprocess.Popen[str]]:
    """A `sudo -n ARGV` that was allowed and is stopped while it opens the PAM session; `go_on` lets it continue."""
    before = host.get(PAM_SERVICE)
    host.put("/usr/local/libexec/pause", PAUSE, mode=0o755)
    host.put(PAM_SERVICE, f"session optional pam_exec.so quiet seteuid /usr/local/libexec/pause\n{before}")
    host.run("rm", "-f", "/run/paused", check=True)
    command = host.start("sudo", "-n", *argv, user=user)
    try:
        until(lambda: host.run("sh", "-c", IS_PAUSED).returncode == 0, "sudo has stopped")
        yield command
    finally:
        host.put(PAM_SERVICE, before)
        host.run("pkill", "-KILL", "-f", f"^sudo -n {argv[0]}")
        command.communicate(timeout=PATIENCE)


def go_on(host: Lab, *argv: str) -> None:
    """Continue the sudo that `stopped_before_it_runs` stopped."""
    host.run("pkill", "-CONT", "-f", "^sudo -n " + " ".join(argv), check=True)


# The journal.

# What journalctl shows with these options, once it has what was on record when this began.
_SHOW = f"""
import contextlib, sqlite3, subprocess, sys, time
journalctl, last = ["journalctl", "-q", "-o", "json", "--all"], None
with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect("file:{LEDGER}?mode=ro", uri=True)) as ledger:
    last = ledger.execute("SELECT hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
deadline = time.monotonic() + {DELIVERY_SECONDS}
while last and time.monotonic() < deadline:
    if subprocess.run([*journalctl, "-n", "1", f"JITSUDO_HASH={{last[0]}}"], capture_output=True).stdout:
        break
    time.sleep(0.02)
sys.exit(subprocess.run([*journalctl, *sys.argv[1:]]).returncode)
"""  # noqa: S608  the name of a file, and a number
Event = dict[str, str]
OURS = {"_SYSTEMD_UNIT": "jitsudod.service", "_UID": "0", "SYSLOG_IDENTIFIER": "jitsudo"}


@dataclass(frozen=True, slots=True)
class Journal:
    """The daemon's events in journald from one moment on."""

    host: Lab
    cursor: str

    @classmethod
    def from_now(cls, host: Lab) -> Journal:
        """What is on record by now is not among them, even if journald gets it only now."""
        last = host.run("python3", "-I", "-c", _SHOW, "-n", "1", check=True).stdout
        return cls(host, json.loads(last)["__CURSOR"])

    def _entries(self, wanted: dict[str, str]) -> list[Event]:
        # Filtered here: with matches, journalctl of systemd 252 leaves out the first entry after the cursor.
        done = self.host.run("python3", "-I", "-c", _SHOW, f"--after-cursor={self.cursor}", check=True)
        return [e for e in map(json.loads, done.stdout.splitlines()) if wanted.items() <= e.items()]

    def events(self) -> list[Event]:
        """All on record, in the journal's order; only the daemon's own, since any local user can write what looks like it."""
        return self._entries(OURS)

    def logged_by(self, program: str, **fields: str) -> list[str]:
        """What a program has logged by now."""
        return [str(entry["MESSAGE"]) for entry in self._entries({"SYSLOG_IDENTIFIER": program, **fields})]

    def find(self, event: str, **fields: str | None) -> list[Event]:
        """The events of this type whose JITSUDO_ fields have these values; None: the field is absent."""
        wanted = {f"JITSUDO_{name.upper()}": value for name, value in {"event": event, **fields}.items()}
        return [e for e in self.events() if all(e.get(name) == value for name, value in wanted.items())]

    def expect(self, event: str, **fields: str | None) -> Event:
        """The one event of this type with these fields, waited for."""
        try:
            found = until(lambda: self.find(event, **fields), f"{event} {fields}")
        except AssertionError as error:
            seen = [{k: v for k, v in e.items() if k.startswith("JITSUDO_") or k == "MESSAGE"} for e in self.events()]
            raise AssertionError(f"{error}; seen: {json.dumps(seen, indent=1)}") from None
        assert len(found) == 1, found
        one: Event = found[0]
        return one
