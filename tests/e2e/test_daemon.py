"""The daemon stopped, hung, killed, flooded, without journald, with a broken policy: nothing is allowed or lost by it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from acts import (
    POLICY,
    REASON,
    Journal,
    approve,
    ask,
    assert_refused,
    gone,
    grants_of,
    kill_daemon,
    obtain,
    request_of,
    restart_daemon,
    sudo,
    until,
)
from lab import Lab
from timing import timed

UNITS = ["jitsudod.service", "jitsudod-decide.socket", "jitsudod-control.socket"]
SLEEPERS = "^sleep 9100[123]$"


def main_pid(host: Lab, unit: str) -> str:
    return host.run("systemctl", "show", "-P", "MainPID", unit, check=True).stdout.strip()


@contextmanager
def frozen(host: Lab, unit: str) -> Iterator[None]:
    """The unit's main process is stopped by SIGSTOP for a while."""
    pid = main_pid(host, unit)
    host.run("kill", "-STOP", pid, check=True)
    try:
        yield
    finally:
        host.run("kill", "-CONT", pid)


def test_a_daemon_that_is_stopped_stops_people_and_not_root(clean: Lab) -> None:
    """alice is refused with a sentence, root is not and is logged; started again, the grant still holds."""
    grant = obtain(clean, "true-only")
    journal = Journal.from_now(clean)
    clean.run("systemctl", "stop", *UNITS, check=True)
    try:
        refused, seconds = timed(clean, "sudo", "true", user="alice")
        assert_refused(refused, "the daemon is not running")
        assert seconds < 3
        assert sudo(clean, "-u", "postgres", "id", "-un", user=None).stdout == "postgres\n"
        done = clean.run("jitsudo", "status", user="alice")
        assert (done.returncode, done.stdout) == (5, "")
        assert "systemctl status jitsudod" in done.stderr
        words = "root ran '/usr/bin/id -un' as postgres without a decision"
        until(lambda: words in " ".join(journal.logged_by("jitsudo", _UID="0")), "it is logged")
    finally:
        clean.run("systemctl", "start", *UNITS, check=True)
    assert sudo(clean, "true").returncode == 0
    assert [g["id"] for g in grants_of(clean, "alice")] == [grant]
    journal.expect("daemon.stopped")
    journal.expect("daemon.started")


def test_a_daemon_that_hangs_is_a_refusal_after_two_seconds(clean: Lab) -> None:
    """Two seconds of silence deny, with a sentence; root goes on; once it answers again the grant holds."""
    obtain(clean, "true-only")
    with frozen(clean, "jitsudod.service"):
        refused, seconds = timed(clean, "sudo", "true", user="alice")
        assert_refused(refused, "the daemon did not answer for 2 seconds")
        assert 2 <= seconds < 3.5
        assert sudo(clean, "id", "-un", user=None).stdout == "root\n"
    assert sudo(clean, "true").returncode == 0


def test_the_socket_starts_the_daemon(clean: Lab) -> None:
    """With its sockets up, a stopped daemon is started by the first who calls, and answers."""
    obtain(clean, "true-only")
    clean.run("systemctl", "stop", "jitsudod.service", check=True)
    assert sudo(clean, "true").returncode == 0


@pytest.mark.parametrize("stage", ["asked", "approved", "revoked", "denied", "returned"])
def test_what_was_acknowledged_survives_kill_9(clean: Lab, stage: str) -> None:
    """SIGKILL right after the acknowledgement: the request, approval, revocation is still there."""
    request = ask(clean, "web-operator")["id"]
    if stage in ("approved", "revoked", "returned"):
        assert approve(clean, request).returncode == 0
    if stage == "revoked":
        clean.run("jitsudo", "revoke", request_of(clean, request)["grant"], "--reason", "x", user="bob", check=True)
    elif stage == "returned":
        clean.run("jitsudo", "return", user="alice", check=True)
    elif stage == "denied":
        clean.run("jitsudo", "deny", request, "--reason", "x", user="bob", check=True)
    kill_daemon(clean)
    expected = {"asked": "requested", "approved": "active"}.get(stage, stage)
    assert request_of(clean, request)["state"] == expected
    assert sudo(clean, "systemctl", "restart", "nginx.service").returncode == (0 if stage == "approved" else 1)


def test_no_allow_is_lost_when_the_daemon_is_killed_again_and_again(clean: Lab) -> None:
    """Each command that ran is on record, though the daemon died three times meanwhile; the chain holds."""
    obtain(clean, "true-only")
    journal = Journal.from_now(clean)
    loop = "for i in $(seq 40); do sudo -n true 2>/dev/null && echo ran; done"
    commands = clean.start("sh", "-c", loop, user="alice")
    for _ in range(3):
        time.sleep(0.5)
        kill_daemon(clean)
    ran = commands.communicate(timeout=300)[0].count("ran")
    assert ran > 5
    until(lambda: len(journal.find("command.allowed", user="alice")) >= ran, "every command's event")
    assert not journal.find("ledger.quarantined")
    numbers = [int(e["JITSUDO_SEQ"]) for e in journal.events()]
    assert sorted(set(numbers)) == list(range(min(numbers), max(numbers) + 1))


@pytest.mark.parametrize("how", [kill_daemon, restart_daemon], ids=["killed", "restarted"])
def test_a_running_session_is_adopted_again(clean: Lab, how: object) -> None:
    """The command goes on over the daemon's own restart, and a revocation afterwards ends it."""
    assert callable(how)
    grant = obtain(clean)
    command = clean.start("sudo", "longjob", user="alice")
    try:
        until(lambda: len(clean.run("pgrep", "-f", SLEEPERS).stdout.split()) == 3, "the command runs")
        how(clean)
        assert command.poll() is None
        (shown,) = grants_of(clean, "alice")
        assert [s["command"] for s in shown["sessions"]] == ["longjob"]
        clean.run("jitsudo", "revoke", grant, "--reason", "x", check=True)
        assert gone(clean, SLEEPERS)
    finally:
        command.terminate()
        command.communicate(timeout=30)


def test_the_end_of_a_command_is_known_after_a_restart(clean: Lab) -> None:
    """The command started before the daemon was killed, and its exit status is on record all the same."""
    obtain(clean, "inside")
    clean.run("rm", "-f", "/run/daemon-is-back", check=True)
    clean.put("/srv/inside.sh", "echo runs; until [ -e /run/daemon-is-back ]; do sleep 0.1; done\n")
    journal = Journal.from_now(clean)
    command = clean.start("sudo", "inside", user="alice")
    assert command.stdout is not None
    assert command.stdout.readline() == "runs\n"
    session = journal.expect("session.started")["JITSUDO_SESSION_ID"]
    kill_daemon(clean)
    clean.run("touch", "/run/daemon-is-back", check=True)
    command.communicate(timeout=30)
    assert command.returncode == 0
    assert journal.expect("session.ended", session_id=session)["JITSUDO_EXIT_STATUS"] == "0"


def test_sessions_end_while_the_daemon_is_down(clean: Lab) -> None:
    """What ended meanwhile is recorded as ended at the next start, and is not shown as running."""
    obtain(clean)
    journal = Journal.from_now(clean)
    command = clean.start("sudo", "sleep", "91010", user="alice")
    session = journal.expect("session.started")["JITSUDO_SESSION_ID"]
    until(lambda: not gone(clean, "^sleep 91010$"), "the command runs")
    clean.run("systemctl", "stop", *UNITS, check=True)
    try:
        clean.run("pkill", "-f", "^sleep 91010", check=True)
        command.communicate(timeout=30)
    finally:
        clean.run("systemctl", "start", *UNITS, check=True)
    assert "while the daemon was not running" in journal.expect("session.ended", session_id=session)["JITSUDO_OUTCOME"]
    assert grants_of(clean, "alice")[0]["sessions"] == []


BROKEN = {
    "writable by a group": ("chmod g+w {0}", "can be written by others than root"),
    "somebody else's": ("chown bob {0}", "must be root"),
    "broken YAML": ("printf 'roles: [\\n' >>{0}", "zz-broken.yaml:"),
    "an unknown key": ("printf 'version: 1\\nrolls: {{}}\\n' >{0}", "zz-broken.yaml:2:1: "),
    "a symbolic link": ("ln -sf /home/alice/policy.yaml {0}", ""),
    "bytes that are not UTF-8": ("printf '\\377' >>{0}", "zz-broken.yaml"),
}


@pytest.mark.parametrize(("damage", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_policy_leaves_the_last_good_one_in_force(clean: Lab, damage: str, words: str) -> None:
    """Reload: exit status 6 with the errors, and systemctl's reload fails; what was in force stays so, across a restart."""
    obtain(clean, "true-only")
    journal = Journal.from_now(clean)
    path = f"{POLICY}/zz-broken.yaml"
    clean.put("/home/alice/policy.yaml", "version: 1\n", owner="alice:alice")
    clean.put(path, "version: 1\n")
    clean.run("sh", "-c", damage.format(path), check=True)
    try:
        done = clean.run("jitsudo", "policy", "reload")
        assert (done.returncode, done.stdout) == (6, "")
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert clean.run("systemctl", "reload", "jitsudod.service").returncode != 0
        assert until(lambda: journal.find("policy.refused"), "policy.refused")
        assert sudo(clean, "true").returncode == 0
        restart_daemon(clean)
        assert sudo(clean, "true").returncode == 0
        assert "problem: policy: " in clean.run("jitsudo", "status").stderr
    finally:
        clean.run("rm", "-f", path, check=True)
        clean.run("systemctl", "reload", "jitsudod.service", check=True)
    assert "problem" not in clean.run("jitsudo", "status").stderr


@pytest.mark.parametrize("how", ["frozen", "stopped"])
def test_journald_away_loses_and_delays_nothing(clean: Lab, how: str) -> None:
    """Commands run as fast as ever; when journald is back every event arrives, in order and without a gap."""
    obtain(clean, "true-only")
    loop = "for i in $(seq 10); do sudo -n true || exit 1; done"
    _, before = timed(clean, "sh", "-c", loop, user="alice", ahead=False)
    journal = Journal.from_now(clean)
    journald = ["systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"]
    if how == "stopped":
        clean.run("systemctl", "stop", *journald)
    else:
        clean.run("systemctl", "kill", "-s", "STOP", "--kill-whom=main", journald[0], check=True)
    try:
        done, seconds = timed(clean, "sh", "-c", loop, user="alice", ahead=False)
    finally:
        if how == "stopped":
            clean.run("systemctl", "start", *journald, check=True)
        else:
            clean.run("systemctl", "kill", "-s", "CONT", "--kill-whom=main", journald[0], check=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert seconds < 3 * before + 5
    until(lambda: len(journal.find("session.ended")) == 10, "all events")
    events = journal.events()
    assert len([e for e in events if e["JITSUDO_EVENT"] == "command.allowed"]) == 10
    numbers = [int(e["JITSUDO_SEQ"]) for e in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for before, after in itertools.pairwise(events):
        assert after["JITSUDO_PREV_HASH"] == before["JITSUDO_HASH"]


# Garbage, then connections with half a frame each; prints what became of the former. What the daemon closes is opened again.
FLOOD = """
import select, socket, sys
def connect():
    s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect("/run/jitsudo/control"); return s
def answer(s):
    try:
        return s.recv(65536).split(bytes(1))[0].decode() or "closed"
    except OSError as error:
        return type(error).__name__
def half():
    s = connect()
    s.sendall(b'{"method":')
    return s
for data in (b"x" * 1_000_000, bytes(1_000), b"[" * 60_000 + bytes(1)):
    with connect() as s:
        try:
            s.sendall(data)
        except OSError:
            pass
        print(answer(s), flush=True)
held, is_full = set(), False
while True:
    while len(held) < 8:
        try:
            held.add(half())
        except OSError:  # what was closed before still counts
            break
    ready = select.select([*held, sys.stdin], [], [], 0.2)[0]
    if sys.stdin in ready:
        break
    for s in ready:
        held.discard(s)
        s.close()
    if not is_full and not ready and len(held) == 8:
        with connect() as s:
            said = answer(s)
        is_full = "too-many" in said
        if is_full:
            print(said, "flooding", sep="\\n", flush=True)
"""


def test_a_flood_on_the_control_socket_stays_its_senders_own(clean: Lab) -> None:
    """mallory's garbage is refused, the ninth connection too; alice asks, is approved and runs as ever."""
    _, before = timed(clean, "jitsudo", "status", user="alice", ahead=False)
    flood = clean.start("python3", "-I", "-c", FLOOD, user="mallory")
    try:
        assert flood.stdout is not None
        answers = []
        while (line := flood.stdout.readline().strip()) != "flooding":
            assert line, flood.communicate()
            answers.append(line)
        assert "too-many" in answers[-1]
        assert "Traceback" not in "".join(answers)
        assert timed(clean, "jitsudo", "status", user="alice", ahead=False)[1] < 3 * before + 5
        obtain(clean)
        assert sudo(clean, "systemctl", "restart", "nginx.service").returncode == 0

        def is_refused() -> bool:
            refused = clean.run("jitsudo", "status", user="mallory")
            return (refused.returncode, "too many connections at once" in refused.stderr) == (1, True)

        until(is_refused, "mallory may not call")
    finally:
        flood.terminate()
        flood.communicate(timeout=30)
    until(lambda: clean.run("jitsudo", "status", user="mallory").returncode == 0, "mallory may call again")


CHECK = """
import json, os, socket, sys
uid, pid = sys.argv[1], int(sys.argv[2]) or os.getpid()
s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect("/run/jitsudo/decide")
user_info = [f"pid={pid}", f"ppid={os.getppid()}", f"pgid={os.getpgrp()}", "tcpgid=-1", f"sid={os.getsid(0)}", f"uid={uid}",
    f"euid=0", f"gid={uid}", f"egid={uid}", "groups=" + uid, "user=" + sys.argv[3], "cwd=/", "tty=", "host=x", "lines=24",
    "cols=80", "umask=022"]
invocation = {"front_end": "sudo-python", "user_info": user_info, "settings": ["progname=sudo"], "user_env": []}
rights = [os.open("/", os.O_PATH), os.open("/", os.O_PATH), os.open("/usr/bin/true", os.O_PATH)]
check = {"invocation": invocation, "argv": ["true"], "env_add": [], "command": "/usr/bin/true",
    "descriptors": ["root", "cwd", "command"], "sub_command": False}
frame = json.dumps({"method": "io.jitsudo.Decide.Check", "parameters": check}).encode() + bytes(1)
socket.send_fds(s, [frame], rights)
print(s.recv(65536).split(bytes(1))[0].decode())
"""


def test_the_decide_socket_is_roots_and_believes_the_kernel(clean: Lab) -> None:
    """mallory cannot connect; a root process that claims to be somebody else, or to be another process, is denied."""
    obtain(clean, "true-only")
    refused = clean.run("python3", "-I", "-c", CHECK, "1003", "0", "mallory", user="mallory")
    assert "PermissionError" in refused.stderr
    for uid, pid, name in (("1000", "0", "alice"), ("0", "1", "root"), ("0", "0", "alice")):
        answer = json.loads(clean.run("python3", "-I", "-c", CHECK, uid, pid, name, check=True).stdout)
        assert answer.get("error") == "io.jitsudo.Decide.Refused" or answer["parameters"]["verdict"] == "deny", answer
    answer = json.loads(clean.run("python3", "-I", "-c", CHECK, "0", "0", "root", check=True).stdout)
    assert answer["parameters"]["verdict"] == "allow"


def test_too_many_open_requests(clean: Lab) -> None:
    """Fifty are open at most; the next is refused, and bob's are not affected."""
    script = f"for i in $(seq 50); do jitsudo request web-operator --reason '{REASON}' >/dev/null 2>&1 || exit 9; done"
    assert clean.run("sh", "-c", script, user="alice", timeout=300).returncode == 0
    done = clean.run("jitsudo", "request", "web-operator", "--reason", REASON, user="alice")
    assert done.returncode == 1
    assert "50 open requests" in done.stderr
    assert ask(clean, "web-operator", user="bob")["state"] == "requested"
