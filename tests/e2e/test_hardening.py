"""The cages of the daemon and of PAM: what they allow is seen from inside, and everything works that has to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from acts import (
    LEDGER,
    POLICY,
    Journal,
    approve,
    ask,
    extra_policy,
    gone,
    obtain,
    restart_daemon,
    return_everything,
    sudo,
    until,
)
from lab import UNTIL, Lab

DAEMON, AUTH = "jitsudod.service", "jitsudo-auth@.service"
UNITS = "/usr/lib/systemd/system"
CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_KILL": 5, "CAP_SYS_PTRACE": 19}
PROBE = Path(__file__).parent / "data" / "cage_probe.py"
PRIVATE = "/home/alice/private/deeper"
KEY = "/root/hardening_key"
SOON = 30  # seconds for what is there in a moment, on a busy machine, too
CAGE_POLICY = """
version: 1
timezone: UTC
roles:
  cage:
    description: Whatever the tests of the cage run
    who: ["user:alice"]
    authenticate: never
    request: {max_duration: 1h, approvals: 0}
    allow:
      - command: /usr/bin/true
      - {command: /usr/bin/tail, operands: [{path: {under: /var/log/nginx}}]}
      - edit: [{path: {under: /srv/cage}}]
        check: [/usr/bin/grep, -q, good, "{}"]
  holiday:
    description: Not today
    who: ["user:alice"]
    authenticate: never
    request: {max_duration: 1h, approvals: 0}
    when: {calendar: {file: days.txt}}
    allow: [{command: /usr/bin/true}]
  from-far:
    description: From a network that nobody is in
    who: ["user:alice"]
    authenticate: never
    request: none
    until: UNTIL
    when: {source: [192.0.2.0/24]}
    allow: [{command: /usr/bin/uptime}]
""".replace("UNTIL", UNTIL)


@pytest.fixture(scope="module")
def caged(furnished: Lab) -> Iterator[Lab]:
    """The host with a policy, folders and a key for these tests."""
    setup = f"""
        install -d -m 0700 -o alice -g alice /home/alice/private {PRIVATE} /home/alice/.ssh
        ssh-keygen -q -t ed25519 -N '' -f {KEY} </dev/null
        install -m 0600 -o alice -g alice {KEY}.pub /home/alice/.ssh/authorized_keys
        mkdir -p /srv/cage
        date -u +%F >{POLICY}/days.txt
        date -u -d tomorrow +%F >>{POLICY}/days.txt
    """
    furnished.run("sh", "-ec", setup, check=True)
    furnished.put("/usr/local/bin/cage-editor", '#!/bin/sh\ncat /srv/text >"$1"\n', mode=0o755)
    try:
        with extra_policy(furnished, CAGE_POLICY):
            yield furnished
    finally:
        return_everything(furnished)
        furnished.run("rm", "-rf", "/home/alice/private", "/home/alice/.ssh", KEY, f"{KEY}.pub", "/srv/cage", check=True)
        furnished.run("rm", "-f", f"{POLICY}/days.txt", check=True)


@contextmanager
def drop_in(host: Lab, unit: str, text: str) -> Iterator[None]:
    """Other settings of a unit for a while."""
    folder = f"/run/systemd/system/{unit}.d"
    host.put(f"{folder}/zz-test.conf", f"[Service]\n{text}\n")
    try:
        host.run("systemctl", "daemon-reload", check=True)
        yield
    finally:
        host.run("rm", "-rf", folder, check=True)
        host.run("systemctl", "daemon-reload", check=True)


def main_pid(host: Lab) -> str:
    return host.run("systemctl", "show", "-P", "MainPID", DAEMON, check=True).stdout.strip()


# What systemd and the kernel say.


@pytest.mark.parametrize(("unit", "most"), [(DAEMON, 2.4), (AUTH, 3.0)])
def test_exposure_is_low(furnished: Lab, unit: str, most: float) -> None:
    """As `systemd-analyze security` counts."""
    shown = furnished.run("systemd-analyze", "security", "--no-pager", unit, check=True).stdout
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", shown)
    assert exposure is not None, shown
    assert float(exposure[1]) <= most, shown


def test_systemd_understands_every_line_of_our_units(furnished: Lab) -> None:
    """A setting that this release does not know would be skipped with no more than a warning."""
    units = furnished.run("sh", "-c", f"ls {UNITS}/jitsudo*").stdout.split()
    assert f"{UNITS}/{DAEMON}" in units
    said = furnished.run("systemd-analyze", "verify", "--man=no", *units).stderr
    assert "jitsudo" not in said, said


def test_the_running_daemon_has_three_capabilities(furnished: Lab) -> None:
    """And neither it nor what it might start gets more; its calls are filtered."""
    status = dict(re.findall(r"^(\w+):\t(.*)$", furnished.get(f"/proc/{main_pid(furnished)}/status"), re.MULTILINE))
    wanted = f"{sum(1 << number for number in CAPABILITIES.values()):016x}"
    assert [status[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [wanted] * 3
    assert status["CapInh"] in (wanted, "0" * 16)  # systemd 257 and 252
    assert status["CapAmb"] == "0" * 16
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert furnished.run("getent", "group", status["Groups"].strip()).stdout.startswith("tty:")


def test_nothing_of_ours_listens_on_a_network(furnished: Lab) -> None:
    """Neither the daemon nor systemd for it: every listening socket but sshd's is a path on this host."""
    listening = furnished.run("ss", "-Hlntuwp", check=True).stdout.splitlines()
    assert listening, "sshd listens: otherwise this would look at nothing"
    assert all('(("sshd",' in line for line in listening), listening
    for family in ("inet", "link", "vsock"):
        assert f"pid={main_pid(furnished)}," not in furnished.run("ss", "-Hap", "-f", family).stdout
    words = furnished.run("ss", "-Hlxp", check=True).stdout.split()
    ours = {word for word in words if "jitsudo" in word and word.startswith(("/", "@"))}
    assert ours == {"/run/jitsudo/auth", "/run/jitsudo/control", "/run/jitsudo/decide"}


# What is tried from inside.

DONE, READ_ONLY, REFUSED = "done", "EROFS", "EPERM"
# (outside the cage, the daemon's, PAM's). Outside: what root of the lab gets, so that a refusal is the cage's.
BARS: dict[str, tuple[str, str, str]] = {
    "write /etc": (DONE, READ_ONLY, DONE),
    "write /usr": (DONE, READ_ONLY, READ_ONLY),
    "write /run": (DONE, READ_ONLY, DONE),
    "write /run/jitsudo": (DONE, READ_ONLY, DONE),
    "write /run/systemd": (DONE, READ_ONLY, DONE),
    "write /root": (DONE, READ_ONLY, DONE),
    "write /home": (DONE, READ_ONLY, DONE),
    "write /var": (DONE, READ_ONLY, DONE),
    "write /tmp": (DONE, READ_ONLY, DONE),  # PAM's is its own
    "write /dev": (DONE, READ_ONLY, DONE),
    "write /dev/shm": (DONE, READ_ONLY, DONE),
    "write a cgroup": (DONE, READ_ONLY, READ_ONLY),
    "write its own folder": (DONE, DONE, DONE),
    "execute what it wrote": (DONE, "EACCES", DONE),
    "map what it wrote to execute it": (DONE, REFUSED, DONE),
    "write memory that is executed": (DONE, REFUSED, REFUSED),
    "make a setuid file": (DONE, REFUSED, REFUSED),
    "give a file away": (DONE, REFUSED, DONE),
    "make a device": (DONE, REFUSED, REFUSED),
    "load a module": ("ENOSYS", REFUSED, REFUSED),  # the lab has no modules
    "become somebody": (DONE, REFUSED, DONE),
    "become a group": (DONE, REFUSED, DONE),
    "mount": (DONE, REFUSED, REFUSED),
    "change root": (DONE, REFUSED, REFUSED),
    "a user namespace": (DONE, REFUSED, REFUSED),
    "a mount namespace": (DONE, REFUSED, REFUSED),
    "trace another": (DONE, REFUSED, REFUSED),
    "set the clock": ("EINVAL", REFUSED, REFUSED),
    "set the host's name": (DONE, REFUSED, REFUSED),
    "run in real time": (DONE, REFUSED, REFUSED),
    "take more of the processor": (DONE, REFUSED, REFUSED),
    "another architecture's view": (DONE, REFUSED, REFUSED),
    "connect over IPv4": (DONE, "EAFNOSUPPORT", DONE),
    "connect over IPv6": (DONE, "EAFNOSUPPORT", DONE),
    "see packets": (DONE, "EAFNOSUPPORT", "EAFNOSUPPORT"),
    "ask the kernel over netlink": (DONE, DONE, DONE),
    "connect to D-Bus": (DONE, DONE, DONE),
    "look at another's descriptors": (DONE, DONE, "ENOENT"),
    "see where another is": (DONE, DONE, "ENOENT"),
    "signal another": (DONE, DONE, REFUSED),
}
# What the probe is started with in place of the service's own; everything else of the unit is its cage.
PROBES_OWN = {
    "ExecStart", "ExecReload", "Type", "WatchdogSec", "Restart", "RestartSec", "RuntimeMaxSec", "SyslogIdentifier",
    "StandardInput", "StandardOutput", "StandardError", "StateDirectory",
}  # fmt: skip


def in_cage_of(host: Lab, unit: str, pid: str) -> dict[str, str]:
    """What comes of the probe's attempts under the settings of an installed unit."""
    service = host.get(f"{UNITS}/{unit}").split("[Service]\n")[1].split("\n[")[0]
    cage = [line for line in service.splitlines() if re.match(r"\w+=", line) and line.split("=")[0] not in PROBES_OWN]
    own = [
        "[Service]", "Type=oneshot", "StateDirectory=jitsudo-probe", "StandardOutput=truncate:/run/cage-probe.json",
        f"ExecStart=/usr/bin/python3 -I /srv/cage_probe.py /var/lib/jitsudo-probe {pid}",
    ]  # fmt: skip
    text = "\n".join([*own, *cage, ""]).replace("/var/lib/jitsudo\n", "/var/lib/jitsudo-probe\n")
    host.put("/run/systemd/system/jitsudo-probe.service", text)
    host.run("systemctl", "daemon-reload", check=True)
    host.run("systemctl", "start", "jitsudo-probe.service", check=True)
    came: dict[str, str] = json.loads(host.get("/run/cage-probe.json"))
    return came


@pytest.fixture(scope="module")
def came_of_it(caged: Lab) -> Iterator[tuple[dict[str, str], dict[str, str], dict[str, str]]]:
    """The attempts' results: outside, in the daemon's cage, in PAM's."""
    caged.put("/srv/cage_probe.py", PROBE.read_text())
    other = caged.start("sleep", "91900", user="alice")
    try:
        find = ("pgrep", "-u", "alice", "-f", "^sleep 91900")
        pid = until(lambda: caged.run(*find).stdout.strip(), "a process of alice's", SOON)
        caged.run("mkdir", "-p", "/var/lib/jitsudo-probe", check=True)
        outside = json.loads(caged.run("python3", "-I", "/srv/cage_probe.py", "/var/lib/jitsudo-probe", pid, check=True).stdout)
        yield outside, in_cage_of(caged, DAEMON, pid), in_cage_of(caged, AUTH, pid)
    finally:
        other.terminate()
        other.wait(timeout=SOON)
        left = ["/srv/cage_probe.py", "/run/cage-probe.json", "/run/systemd/system/jitsudo-probe.service"]
        caged.run("rm", "-rf", "/var/lib/jitsudo-probe", *left, check=True)
        caged.run("systemctl", "daemon-reload", check=True)


@pytest.mark.parametrize("name", BARS)
def test_what_a_cage_lets_through(came_of_it: tuple[dict[str, str], ...], name: str) -> None:
    """From inside a service with the unit's settings, and from outside to see that it would work there."""
    seen = tuple(results[name] for results in came_of_it)
    # Memory that is both is refused by seccomp on the one release and by the kernel itself on the other.
    assert BARS[name] == tuple(REFUSED if name == "write memory that is executed" and s == "EACCES" else s for s in seen)


def test_nothing_is_tried_in_vain(came_of_it: tuple[dict[str, str], ...]) -> None:
    """Each attempt of the probe has its line above."""
    assert {frozenset(results) for results in came_of_it} == {frozenset(BARS)}


# What works inside. Each is called with the host, and asserts. All other end-to-end tests run in the cages as well.


def it_decides(host: Lab) -> None:
    """Of a program, and of an operand whose path is followed, from within folders that only their owner may enter."""
    for command in ("true", "tail /var/log/nginx/access.log"):
        done = host.run("sh", "-c", f"cd {PRIVATE} && sudo -n {command}", user="alice")
        assert done.returncode == 0, done.stderr
    assert sudo(host, "-n", "tail", "/etc/shadow").returncode == 1


def it_explains(host: Lab) -> None:
    """For which it looks at the folder of a process of the person's."""
    done = host.run("sh", "-c", f"cd {PRIVATE} && jitsudo explain -- true", user="alice")
    assert (done.returncode, "allowed by role cage" in done.stdout) == (0, True), done.stderr


def it_tells_people_on_their_terminals(host: Lab) -> None:
    """The approver of the request, and then alice of the approval, which bob's password made count."""
    with host.spawn("bob", "sh", "-c", "mesg y; echo ready; sleep 60") as bob, \
            host.spawn("alice", "sh", "-c", "mesg y; echo ready; sleep 60") as alice:  # fmt: skip
        bob.expect("ready")
        alice.expect("ready")
        request = ask(host, "web-operator")
        bob.expect(request["id"])
        done = approve(host, request["id"])
        assert done.returncode == 0, done.stderr
        alice.expect(rf"jitsudo: your request {request['id']}")
        assert approve(host, ask(host, "web-operator", user="carol")["id"], password="wrong").returncode == 3


def it_ends_what_runs(host: Lab) -> None:
    """The session's scope, by systemd, and what left it and became somebody else, by a signal of its own."""
    grant = obtain(host, "inside")
    stray = "setsid setpriv --reuid postgres --regid postgres --clear-groups sleep 92900"
    leave = f"mkdir -p /sys/fs/cgroup/mine; ( echo $BASHPID >/sys/fs/cgroup/mine/cgroup.procs; {stray} & )"
    host.put("/srv/inside.sh", f"{leave}\nsleep 92901\n")
    command = host.start("sudo", "inside", user="alice")
    try:
        until(lambda: host.run("pgrep", "-c", "-f", "^sleep 9290[01]$").stdout.strip() == "2", "both run", SOON)
        host.run("jitsudo", "revoke", grant, "--reason", "x", check=True)
        assert gone(host, "^sleep 9290[01]$")
    finally:
        host.run("pkill", "-KILL", "-f", "^sleep 9290[01]$")
        command.communicate(timeout=SOON)


def it_reads_policy_and_calendars(host: Lab) -> None:
    """On reload, and refuses what is broken; the calendar closes a role today."""
    host.run("systemctl", "reload", DAEMON, check=True)
    closed = host.run("jitsudo", "request", "holiday", "--for", "5m", "--reason", "x", user="alice")
    assert (closed.returncode, "holiday" in closed.stderr) == (3, True), closed.stderr
    host.put(f"{POLICY}/zzz-broken.yaml", "version: 1\nroles: 7\n")
    try:
        assert host.run("jitsudo", "policy", "reload").returncode == 6
    finally:
        host.run("rm", f"{POLICY}/zzz-broken.yaml", check=True)
    host.run("jitsudo", "policy", "reload", check=True)


def it_records_a_checked_edit(host: Lab) -> None:
    """What the helper of the edit installed, and not what did not pass."""
    host.put("/srv/cage/f", "old\n")
    journal = Journal.from_now(host)
    for text, status in (("bad\n", 1), ("good\n", 0)):
        host.put("/srv/text", text)
        done = host.run("env", "EDITOR=cage-editor", "sudoedit", "/srv/cage/f", user="alice")
        assert done.returncode == status, done.stderr
    assert host.get("/srv/cage/f") == "good\n"
    journal.expect("edit.installed", path="/srv/cage/f", user="alice")


def it_finds_out_where_a_login_comes_from(host: Lab) -> None:
    """From sshd's socket and the kernel's routes, over netlink."""
    ssh = ["ssh", "-i", KEY, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "alice@localhost"]
    done = host.run(*ssh, "sudo -n uptime")
    assert "an address of this host itself" in done.stderr, done.stderr


def it_keeps_a_ledger_and_a_journal(host: Lab) -> None:
    """Both hold the decision of just now; SQLite's files are root's alone, and whole."""
    journal = Journal.from_now(host)
    assert sudo(host, "-n", "true").returncode == 0
    journal.expect("command.allowed", command="/usr/bin/true")
    ask_ledger = (
        "import sqlite3, sys; l = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True);"
        "print(l.execute('pragma integrity_check').fetchone()[0],"
        " l.execute(\"select count(*) from events where type = 'command.allowed'\").fetchone()[0] > 0)"
    )
    assert host.run("python3", "-I", "-c", ask_ledger, LEDGER, check=True).stdout == "ok True\n"
    owners = host.run("sh", "-c", f"stat -c '%U:%G %a' {LEDGER} {LEDGER}-wal", check=True).stdout.splitlines()
    assert owners == ["root:root 600"] * 2


def it_knows_tickets(host: Lab) -> None:
    """They are a file of its own, replaced whole."""
    assert host.run("sudo", "-K", user="alice").returncode == 0


FUNCTIONS: list[Callable[[Lab], None]] = [
    it_decides, it_explains, it_tells_people_on_their_terminals, it_ends_what_runs, it_reads_policy_and_calendars,
    it_records_a_checked_edit, it_finds_out_where_a_login_comes_from, it_keeps_a_ledger_and_a_journal, it_knows_tickets,
]  # fmt: skip
# The bars as they are, but that a call that they hold is the end of who makes it (SIGSYS) instead of an error that might go
# unseen. fchown is SQLite's, which makes do without; setfsuid is how ncurses asks whether it may read a file, and
# Debian 13's pyroute2 loads that with half of Python's library.
DEADLY = "SystemCallErrorNumber=\nLimitCORE=0"
DEADLY_BUT_FOR_LIBRARIES = f"{DEADLY}\nSystemCallFilter=fchown setfsuid"


def deaths(host: Lab) -> str:
    """Who died of a call, as systemd tells it. --sync: what it has told journald is read there a moment later."""
    script = "journalctl --sync; exec journalctl -q -b --grep status=31/SYS _PID=1 --no-pager"
    return host.run("sh", "-c", script).stdout


def as_it_was(host: Lab) -> None:
    """Start again whatever systemd gave up on."""
    host.run("systemctl", "reset-failed", DAEMON)
    restart_daemon(host)


@pytest.fixture(scope="module")
def deadly(caged: Lab) -> Iterator[Lab]:
    """The host with both cages deadly; alice holds the role for these tests."""
    with drop_in(caged, DAEMON, DEADLY_BUT_FOR_LIBRARIES), drop_in(caged, AUTH, DEADLY):
        as_it_was(caged)
        obtain(caged, "cage")
        yield caged
    as_it_was(caged)
    caged.run("jitsudo", "return", user="alice")


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_a_full_use_touches_no_bar(deadly: Lab, function: Callable[[Lab], None]) -> None:
    """Everything works, and neither the daemon nor PAM makes a single call that its filter holds."""
    before, pid = deaths(deadly), main_pid(deadly)
    function(deadly)
    assert (deaths(deadly), main_pid(deadly)) == (before, pid)


def test_sqlite_bears_that_it_may_not_give_files_away(caged: Lab) -> None:
    """It does try: a deadly filter without the exception kills the daemon at its start. The real one gives it an error."""
    before = deaths(caged)
    with drop_in(caged, DAEMON, DEADLY):
        caged.run("systemctl", "restart", "--no-block", DAEMON, check=True)
        until(lambda: deaths(caged) != before, "the daemon dies of fchown", SOON)
    as_it_was(caged)
    it_keeps_a_ledger_and_a_journal(caged)


WITHOUT: dict[str, tuple[Callable[[Lab], None], ...]] = {
    "CAP_DAC_READ_SEARCH": (it_decides,),
    "CAP_SYS_PTRACE": (it_explains, it_finds_out_where_a_login_comes_from),
    "CAP_KILL": (it_ends_what_runs,),
}


@pytest.mark.parametrize("name", CAPABILITIES)
def test_each_capability_is_needed(caged: Lab, name: str) -> None:
    """Without it, what its comment in the unit says does not work."""
    rest = " ".join(CAPABILITIES.keys() - {name})
    with drop_in(caged, DAEMON, f"CapabilityBoundingSet=\nCapabilityBoundingSet={rest}"):
        as_it_was(caged)
        for function in WITHOUT[name]:
            with pytest.raises(AssertionError):
                function(caged)
    as_it_was(caged)


def test_faillock_counts_in_the_cage(caged: Lab) -> None:
    """A module that gives files away and opens them again as root: a third wrong password locks bob's approvals."""
    stack = "/etc/pam.d/jitsudo"
    before = caged.get(stack)
    faillock = "pam_faillock.so {} deny=2 unlock_time=600 nodelay"
    lines = [
        f"auth required {faillock.format('preauth')}",
        "auth [success=1 default=ignore] pam_unix.so nodelay",
        f"auth [default=die] {faillock.format('authfail')}",
        f"auth sufficient {faillock.format('authsucc')}",
        "account required pam_unix.so",
    ]
    with drop_in(caged, AUTH, DEADLY):
        caged.put(stack, "\n".join([*lines, ""]))
        try:
            request = ask(caged, "web-operator")["id"]
            assert approve(caged, request, password="wrong").returncode == 3
            assert approve(caged, request, password="wrong").returncode == 3
            assert "bob" in caged.run("stat", "-c", "%U", "/run/faillock/bob").stdout
            assert approve(caged, request).returncode == 3
            caged.run("faillock", "--user", "bob", "--reset", check=True)
            assert approve(caged, request).returncode == 0
        finally:
            caged.put(stack, before)
            caged.run("faillock", "--user", "bob", "--reset")
            caged.run("sh", "-c", "jitsudo return 2>/dev/null; true", user="alice")


def test_a_module_that_needs_the_network_and_etc_gets_them(caged: Lab) -> None:
    """In place of pam_ldap and pam_oath: a stack whose module connects, becomes the person, writes into /etc and home."""
    stack, helper = "/etc/pam.d/jitsudo", "/usr/local/libexec/pam-helper"
    before = caged.get(stack)
    script = """
        exec 2>&1 </dev/null
        exec 3<>/dev/tcp/127.0.0.1/22 && read -r banner <&3 && echo "$banner" >/etc/cage-helper
        setpriv --reuid bob --regid bob --clear-groups sh -c 'id -un >~bob/cage-helper'
    """
    caged.put(helper, f"#!/bin/bash -e\n{script}", mode=0o755)
    caged.put(stack, f"auth required pam_exec.so quiet {helper}\n{before}")
    try:
        request = ask(caged, "web-operator")["id"]
        done = approve(caged, request)
        assert done.returncode == 0, done.stderr
        assert caged.get("/etc/cage-helper").startswith("SSH-2.0-")
        assert caged.get("/home/bob/cage-helper") == "bob\n"
    finally:
        caged.put(stack, before)
        caged.run("rm", "-f", helper, "/etc/cage-helper", "/home/bob/cage-helper", check=True)
        caged.run("sh", "-c", "jitsudo return 2>/dev/null; true", user="alice")
