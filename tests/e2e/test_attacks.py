"""What a skilled local user tries: other spellings of what is denied, floods, stopped and killed sudos, odd descriptors."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from acts import (
    LEDGER,
    REASON,
    Journal,
    ask,
    assert_refused,
    go_on,
    obtain,
    restart_daemon,
    stopped_before_it_runs,
    sudo,
    until,
)
from lab import Lab
from timing import timed

TRY_ALL = Path(__file__).parent / "data" / "try_all.py"
LOG = "/var/log/nginx/access.log"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of sudo that must not run anything."""

    argv: list[str]
    cwd: str = "/"
    sudo: str = "/usr/bin/sudo"
    env: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {"argv": self.argv, "cwd": self.cwd, "sudo": self.sudo, "env": self.env}


# alice may run `id`, `sleep N` up to 100000, `tail` of files beneath /var/log/nginx, and systemctl
# restart or status of nginx.service.
PROGRAMS = {
    "a link of one's own to the program": Attempt(["/home/alice/id"]),
    "a copy of the program": Attempt(["/home/alice/myid"]),
    "a relative link": Attempt(["./id"], "/home/alice"),
    "a folder of one's own that is a link to /usr": Attempt(["bin/bin/id"], "/home/alice"),
    "through /proc/self/root": Attempt(["/proc/self/root/usr/bin/id"]),
    "through /proc/self/cwd": Attempt(["/proc/self/cwd/id"], "/usr/bin"),
    "two slashes in front": Attempt(["//usr/bin/id"]),
    "two slashes within": Attempt(["/usr/bin//id"]),
    "a dot": Attempt(["/usr/bin/./id"]),
    "up and down again": Attempt(["/usr/bin/../bin/id"]),
    "a dot before the folder": Attempt(["/usr/./bin/id"]),
    "relative to its own folder": Attempt(["./id"], "/usr/bin"),
    "a slash behind": Attempt(["/usr/bin/id/"]),
    "up and down in the merged folder": Attempt(["/bin/../bin/id"]),
    "a newline behind the name": Attempt(["id\n"]),
    "a space before the name": Attempt([" id"]),
    "capitals": Attempt(["ID"]),
    "an empty argument": Attempt(["id", ""]),
    "an option": Attempt(["id", "-u"]),
    "a byte that is not UTF-8 as argument": Attempt(["id", "\udcff"]),
    "a byte that is not UTF-8 in the name": Attempt(["/usr/bin/id\udcff"]),
    "an empty command": Attempt([""]),
    "the dynamic linker": Attempt(["/lib64/ld-linux-x86-64.so.2", "/usr/bin/id"]),
    "env": Attempt(["env", "id"]),
    "nice": Attempt(["nice", "id"]),
    "setsid": Attempt(["setsid", "id"]),
}
PATHS = {
    "through a link of root's to elsewhere": Attempt(["tail", "/var/log/nginx/etc/shadow"]),
    "through a link and up again": Attempt(["tail", "/var/log/nginx/etc/../shadow"]),
    "through a folder of one's own": Attempt(["tail", "/var/log/nginx/alices/s"]),
    "a file of a folder that anybody can write": Attempt(["tail", "/var/log/nginx/sticky/x"]),
    "up and out": Attempt(["tail", "/var/log/nginx/../../../etc/shadow"]),
    "the second of two": Attempt(["tail", LOG, "/etc/shadow"]),
    "a folder whose name only begins so": Attempt(["tail", "/var/log/nginxx"]),
    "a newline behind": Attempt(["tail", f"{LOG}\n"]),
    "a byte that is not UTF-8": Attempt(["tail", "/var/log/nginx/\udcff"]),
    "an option": Attempt(["tail", "-n5", LOG]),
    "an option behind": Attempt(["tail", LOG, "-f"]),
    "a long option": Attempt(["tail", "--follow", LOG]),
    "a file that is named like an option": Attempt(["tail", "-n5"], "/var/log/nginx"),
    "a dash": Attempt(["tail", "-"]),
    "behind the end of options": Attempt(["tail", "--", LOG, "/etc/shadow"]),
    "an empty path": Attempt(["tail", ""]),
    "standard input as a path": Attempt(["tail", "/dev/stdin"]),
    "a descriptor as a path": Attempt(["tail", "/proc/self/fd/0"]),
    "through /proc/self/root": Attempt(["tail", f"/proc/self/root{LOG}"]),
    "the folder above": Attempt(["tail", "/var/log"]),
    "a file as a folder": Attempt(["tail", f"{LOG}/../../../../etc/shadow"]),
    "a link of one's own into the folder": Attempt(["tail", "/home/alice/logs/access.log"]),
    "through a loop of links": Attempt(["tail", "/var/log/nginx/loop/x"]),
    "relative, from a link of root's": Attempt(["tail", "shadow"], "/var/log/nginx/etc"),
    "relative, from a folder of one's own": Attempt(["tail", "s"], "/var/log/nginx/alices"),
    "relative, from a folder with a newline": Attempt(["tail", "access.log"], "/home/alice/new\nline"),
    "nothing": Attempt(["tail"]),
}
NUMBERS = {
    f"{text!r} for a number": Attempt(["sleep", text])
    for text in ("infinity", "1e3", "0x10", "1.5", "5s", "+5", "-5", "٥", "5 ", "\n5", "100001", "9" * 20, "", "--help")  # noqa: RUF001
} | {"two numbers": Attempt(["sleep", "0", "0"]), "no number": Attempt(["sleep"])}
USERS = {
    f"as {' '.join(options)!r}": Attempt([*options, "id"])
    for options in (
        ["-u", "#00"], ["-u", "#0x0"], ["-u", "# 0"], ["-u", "#+0"], ["-u", "#٠"], ["-u", "#"], ["-u", "Root"],  # noqa: RUF001
        ["-u", "root "], ["-u", ""], ["-u", "alice"], ["-u", "#1000"], ["-u", "root", "-g", "#0 "], ["-g", "root"],
        ["-u", "root", "-g", "shadow"],
    )
}  # fmt: skip
OPTIONS = {
    f"with {' '.join(options)!r}": Attempt([*options, "id"])
    for options in (
        ["-h", "localhost"], ["-T", "1"], ["-D", "/"], ["-C", "4"], ["-R", "/"], ["-E"], ["-P"], ["-i"], ["-s"],
        ["-r", "x"], ["-e"], ["PATH=/tmp"], ["BASH_ENV=/x"], ["HOME=/tmp"], ["A=1"],
    )
} | {
    "with a variable that is to be preserved": Attempt(["--preserve-env=ATTACK", "id"], env={"ATTACK": "1"}),
    "under the name of sudoedit": Attempt(["/etc/passwd"], sudo="/home/alice/sudoedit"),
    "what bob may do": Attempt(["-l", "-U", "bob"]),
    "whether bob may do it": Attempt(["-l", "-U", "bob", "id"]),
    "whether something that is denied would be allowed": Attempt(["-l", "systemctl", "stop", "ssh"]),
}  # fmt: skip
UNITS = {
    f"systemctl {' '.join(words)}": Attempt(["systemctl", *words])
    for words in (
        ["restart", "nginx"], ["restart", "nginx.service", "--now"], ["-H", "x", "restart", "nginx.service"],
        ["--root=/", "restart", "nginx.service"], ["restart", "nginx.service/"], ["restart", "./nginx.service"],
        ["restart", "nginx*"], ["status", "nginx.service", "-Hother"], ["rest", "nginx.service"], ["reload", "nginx.service"],
        ["poweroff"], [],
    )
}  # fmt: skip
ATTEMPTS = {
    f"{kind}: {name}": attempt
    for kind, table in {
        "program": PROGRAMS, "path": PATHS, "number": NUMBERS, "user": USERS, "option": OPTIONS, "unit": UNITS,
    }.items()
    for name, attempt in table.items()
}  # fmt: skip

TRAPS = """
install -d -o alice /var/log/nginx/alices
install -d -m 1777 /var/log/nginx/sticky
ln -sfn /etc /var/log/nginx/etc
ln -sfn loop /var/log/nginx/loop
cp /var/log/nginx/access.log ./-n5; mv ./-n5 /var/log/nginx/
cd /home/alice
runuser -u alice -- sh -euc '
ln -sfn /usr/bin/id id; cp /usr/bin/id myid; ln -sfn /usr bin; ln -sfn /var/log/nginx logs
ln -sfn /etc/shadow /var/log/nginx/alices/s; mkdir -p "$(printf "new\\nline")"; ln -sfn /usr/bin/sudo sudoedit'
"""


def test_no_spelling_of_what_is_denied_is_allowed(clean: Lab) -> None:
    """Each way around the lab's policy ends in a refusal, on record, without output of the command's."""
    clean.run("sh", "-euc", TRAPS, check=True)
    clean.put("/usr/libexec/try_all.py", TRY_ALL.read_text())
    obtain(clean)
    obtain(clean, "brief", duration="5m")
    assert sudo(clean, "id").returncode == sudo(clean, "tail", LOG).returncode == 0
    tried = json.dumps([attempt.as_json() for attempt in ATTEMPTS.values()])
    done = clean.run("python3", "-I", "/usr/libexec/try_all.py", user="alice", input=tried, check=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"{len(results)} ways around the policy were tried")  # noqa: T201
    assert len(results) == len(ATTEMPTS)
    through = {
        name: result
        for name, result in zip(ATTEMPTS, results, strict=True)
        if result[:2] != [1, ""] or "Traceback" in result[2] or "internal error" in result[2]
    }
    assert through == {}


def test_a_sudo_that_was_stopped_starts_nothing_after_the_end(clean: Lab) -> None:
    """SIGSTOP after the allow, SIGCONT after the grant has expired: no command, though the role lets running ones finish."""
    journal = Journal.from_now(clean)
    grant = obtain(clean, "patient", duration="15s")
    with stopped_before_it_runs(clean, "sleep", "91010") as command:
        journal.expect("command.allowed", grant_id=grant)
        until(lambda: journal.find("grant.expired", grant_id=grant), "the grant expires")
        go_on(clean, "sleep", "91010")
        assert command.wait(timeout=30) == 1
        assert clean.run("pgrep", "-f", "^sleep 91010").returncode == 1
    journal.expect("session.ended", grant_id=grant)


KILLED = """
import random, subprocess, time
for _ in range(60):
    p = subprocess.Popen(["sudo", "id"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(0.04, 0.12))
    p.kill()
    p.wait()
"""
DESCRIPTORS = "ls /proc/$(systemctl show -P MainPID jitsudod)/fd | wc -l"
NO_SCOPES = "! ls -d /sys/fs/cgroup/jitsudo.slice/*.scope"


def test_killing_sudo_at_any_moment_leaves_nothing_behind(clean: Lab) -> None:
    """Neither scopes nor descriptors of the daemon's; and what was allowed is on record as begun and ended."""
    obtain(clean, "brief", duration="5m")
    assert sudo(clean, "id").returncode == 0

    def descriptors() -> int:
        return int(clean.run("sh", "-c", DESCRIPTORS, check=True).stdout)

    def has_no_scopes() -> bool:
        return clean.run("sh", "-c", NO_SCOPES).returncode == 0

    def sessions(event: str) -> set[str]:
        return {e["JITSUDO_SESSION_ID"] for e in journal.find(event)}

    until(has_no_scopes, "the scope of the first is gone")
    before, journal = descriptors(), Journal.from_now(clean)
    clean.run("python3", "-Ic", KILLED, user="alice", check=True)
    until(has_no_scopes, "scopes are as before")
    until(lambda: descriptors() <= before, "descriptors are as before")
    until(lambda: sessions("command.allowed") == sessions("session.ended"), "all that were allowed have ended")


def test_a_revoked_standing_grant_stays_revoked(clean: Lab) -> None:
    """The next command does not bring another, nor does a restart; a role that says something else does."""
    try:
        assert sudo(clean, "-n", "true", user="agent").returncode == 0
        live = json.loads(clean.run("jitsudo", "status", "--json", check=True).stdout)["grants"]
        grant = next(g["id"] for g in live if g["person"] == "agent")
        clean.run("jitsudo", "revoke", grant, "--reason", "the agent is broken", check=True)
        assert_refused(sudo(clean, "-n", "true", user="agent"), "holds no grant")
        restart_daemon(clean)
        assert_refused(sudo(clean, "-n", "true", user="agent"), "holds no grant")
    finally:
        policy, tomorrow = "/etc/jitsudo/policy.d/web.yaml", (datetime.now(UTC) + timedelta(days=1)).date()
        clean.run("sed", "-i", f"s/until: .*/until: {tomorrow}/", policy, check=True)
        clean.run("jitsudo", "policy", "reload", check=True)
    assert sudo(clean, "-n", "true", user="agent").returncode == 0


LINGER = """
import array, contextlib, socket, struct, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
theirs = []

def rights(one):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno()]))]

def lingering():  # a socket whose closing closes another, which waits for half a minute
    ours = socket.create_connection(listener.getsockname())
    theirs.append(listener.accept())
    ours.setblocking(False)
    try:
        while True:
            ours.send(b"x" * 65536)
    except BlockingIOError:
        pass
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    one, other = socket.socketpair()
    one.sendmsg([b"x"], rights(ours))
    ours.close()
    return other

sent = 0
for _ in range(12):  # more than one person may have connections: one too many may be closed before anything is sent
    hidden, control = lingering(), socket.socket(socket.AF_UNIX)
    control.connect("/run/jitsudo/control")
    with contextlib.suppress(ConnectionError):
        control.sendmsg([b"{}"], rights(hidden), int(sys.argv[1]))
        sent += 1
    threading.Thread(target=hidden.close, daemon=True).start()  # it waits itself, where nobody else has it any more
print("sent" if sent >= 8 else sent, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("flags", [0, socket.MSG_OOB], ids=["in order", "with urgent data"])
def test_a_descriptor_that_cannot_be_closed_stops_nobody(clean: Lab, flags: int) -> None:
    """mallory sends sockets with SO_LINGER; alice and bob get their answers as fast as ever."""
    obtain(clean, "brief", duration="5m")
    attack = clean.start("python3", "-Ic", LINGER, str(int(flags)), user="mallory")
    assert attack.stdin is not None
    assert attack.stdout is not None
    try:
        assert attack.stdout.readline() == "sent\n"
        time.sleep(0.3)
        for argv, user in (("sudo", "id"), "alice"), (("jitsudo", "status"), "bob"):
            done, seconds = timed(clean, *argv, user=user, ahead=False)
            assert done.returncode == 0
            assert seconds < 2  # each of them makes who closes it wait for thirty
    finally:
        attack.stdin.close()  # its own end waits for what it sent, too
        attack.kill()
        attack.wait(timeout=30)


def test_costly_command_lines_are_their_senders_own_loss(clean: Lab) -> None:
    """Six of alice's at once, each made to be looked up for minutes: bob is answered in a moment."""
    obtain(clean, "inside")
    words = " ".join("-" + "qwertyuiopasdfghjklzxcvbnm" * 9 + str(n) for n in range(3000))
    script = f"for i in 1 2 3 4 5 6; do sudo rm {words} & done; wait"
    clean.put("/srv/costly.sh", script)
    attack = clean.start("sh", "/srv/costly.sh", user="alice")
    try:
        time.sleep(1)
        done, seconds = timed(clean, "sudo", "id", user="bob", ahead=False)
        assert_refused(done, "holds no grant")
        assert seconds < 4
    finally:
        attack.communicate(timeout=180)


def test_a_person_holds_so_many_grants_and_no_more(clean: Lab) -> None:
    """Each is verified at each command; the fifty-first is refused, and what they have goes on working."""
    loop = f"for i in $(seq 51); do jitsudo request true-only --reason '{REASON}' >/dev/null || exit $i; done"
    ended = clean.run("sh", "-c", loop, user="alice", timeout=300)
    assert ended.returncode == 51, ended.stderr
    assert "you hold 50 grants" in ended.stderr
    assert sudo(clean, "true").returncode == 0


def test_refusals_do_not_fill_the_disk(clean: Lab) -> None:
    """A command line of a megabyte leaves a few kilobytes; a flood of refusals is counted after the first hundred."""
    journal = Journal.from_now(clean)
    size = f"cat {LEDGER}* | wc -c"
    before = int(clean.run("sh", "-c", size).stdout)
    flood = """
sudo true $(yes aaaaaaaaaaaaaaa | head -n 60000) 2>/dev/null
for i in $(seq 130); do sudo true $i 2>/dev/null; done
exit 0"""
    done, seconds = timed(clean, "sh", "-c", flood, user="mallory", timeout=300, ahead=False)
    assert done.returncode == 0
    denied = until(lambda: len(found := journal.find("command.denied", user="mallory")) >= 100 and found, "a hundred refusals")
    assert len(denied) <= 101 + seconds / 10  # one more each ten seconds
    assert any("more arguments left out" in event["JITSUDO_ARGV_JSON"] for event in denied)
    assert int(clean.run("sh", "-c", size).stdout) - before < 2_000_000


def test_how_others_requests_ended_is_not_told(clean: Lab) -> None:
    """mallory learns neither ids nor reasons by guessing; with the whole id, that it is not for her to decide."""
    request = ask(clean, "web-operator")["id"]
    clean.run("jitsudo", "deny", request, "--reason", "a private matter", user="bob", check=True)
    grant = obtain(clean)
    for line in (["approve", request], ["deny", request, "--reason", "x"], ["revoke", grant, "--reason", "x"]):
        done = clean.run("jitsudo", *line, user="mallory")
        assert done.returncode == 3, done.stderr
        assert "private" not in done.stderr
        line[1] = line[1][:4]
        done = clean.run("jitsudo", *line, user="mallory")
        assert done.returncode == 2
        assert "there is no" in done.stderr


BEHIND = f"""
import sqlite3, sys
with sqlite3.connect("{LEDGER}") as ledger:
    ledger.execute("UPDATE marks SET value = value + ? WHERE name = 'credible-time'", (int(sys.argv[1]),))
"""  # noqa: S608  the name of a file, and a number


def test_a_clock_that_is_behind_stops_people_and_not_root(clean: Lab) -> None:
    """No grant counts while the clock is behind what was believed; root, who sets it right, goes on."""

    def shift(seconds: int) -> None:
        clean.run("systemctl", "stop", "jitsudod.service", "jitsudod-decide.socket", "jitsudod-control.socket", check=True)
        clean.run("python3", "-Ic", BEHIND, str(seconds), check=True)
        clean.run("systemctl", "start", "jitsudod-decide.socket", "jitsudod-control.socket", "jitsudod.service", check=True)

    obtain(clean, "brief", duration="5m")
    shift(3600)
    try:
        assert_refused(sudo(clean, "id"), "clock was set back")
        assert sudo(clean, "-u", "postgres", "id", "-un", user=None).stdout == "postgres\n"
    finally:
        clean.run("jitsudo", "clock", "accept", check=True)
    assert sudo(clean, "id").returncode == 0
