"""The PAM module in real programs: su, sshd, login, doas, sudo-rs, and pamtester for the return code of each entry point.

Each works without the module first, so that what the module changes is the module's doing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest
from acts import END, Journal, ask, extra_policy, gone, held, obtain, restart_daemon, until
from lab import Lab

POLICY = """
version: 1
roles:
  become-root:
    description: Root by su and the like
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    on_expiry: kill
    access: [{services: [su, sudo, doas]}]
  come-in:
    description: Log in
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    on_expiry: kill
    access: [{services: [sshd, login]}, {services: jt-test}]
  nearby:
    description: Log in at the console, or over ssh from a network that nobody has
    who: ["user:carol"]
    request: {max_duration: 1h, approvals: 0, from: ["user:bob"]}
    when: {source: [local], otherwise: {approvals: 1}}
    access: [{services: [sshd, login]}]
  use-sudo:
    description: A command by sudo
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    allow: [{command: /usr/bin/id}]
"""
MODULE = "pam_jitsudo.so"
TRUSTING = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
SSH = f"ssh -i /root/pam_key {TRUSTING} -o PreferredAuthentications={{}} {{}}@localhost"
REFUSED = "jitsudo: alice holds no grant on this host"


def logged_in(host: Lab) -> set[str]:
    lines = host.run("loginctl", "list-sessions", "--no-legend", check=True).stdout.splitlines()
    return {line.split()[2] for line in lines}


@contextmanager
def gated(host: Lab) -> Iterator[None]:
    """Roles that have access, and a key of root's own that lets alice and carol in over ssh, for a while."""
    host.run(
        "sh",
        "-euc",
        """rm -f /root/pam_key*; ssh-keygen -q -t ed25519 -N '' -f /root/pam_key
        for who in alice carol; do
            install -d -m 0700 -o $who -g $who /home/$who/.ssh
            install -m 0600 -o $who -g $who /root/pam_key.pub /home/$who/.ssh/authorized_keys
        done
        install -d -m 0700 /root/.ssh; install -m 0600 /root/pam_key.pub /root/.ssh/authorized_keys""",
        check=True,
    )
    with extra_policy(host, POLICY):
        yield
    host.run("sh", "-c", "rm -f /root/pam_key* /root/.ssh/authorized_keys /home/alice/.ssh/authorized_keys")
    host.run("sh", "-c", "rm -f /home/carol/.ssh/authorized_keys; loginctl terminate-user alice carol")
    # What ends later may not be mixed up with what the next test begins.
    until(lambda: not {"alice", "carol"} & logged_in(host), "they are logged out")


@pytest.fixture
def gate(clean: Lab) -> Iterator[Lab]:
    """A host with roles that have access, and with a key that lets people in over ssh."""
    with gated(clean):
        yield clean


@contextmanager
def stack(host: Lab, service: str, *, auth: bool = False, arguments: str = "") -> Iterator[None]:
    """The service's stack as docs/pam-stacks.md has it, for a while."""
    path = f"/etc/pam.d/{service}"
    before = host.get(path)
    text = before.replace("@include common-account", f"account required {MODULE} {arguments}\n@include common-account")
    if auth:
        text = text.replace("@include common-auth", f"auth sufficient {MODULE} {arguments}\n@include common-auth")
    host.put(path, f"{text}\nsession required {MODULE} {arguments}\n")
    try:
        yield
    finally:
        host.put(path, before)


@contextmanager
def no_daemon(host: Lab) -> Iterator[None]:
    host.run("systemctl", "stop", "jitsudod.service", "jitsudod-decide.socket", "jitsudod-control.socket", check=True)
    try:
        yield
    finally:
        host.run("systemctl", "start", "jitsudod-decide.socket", "jitsudod-control.socket", "jitsudod.service", check=True)


def su(host: Lab, command: str, *, typed: str = "root") -> subprocess.CompletedProcess[str]:
    return host.run("su", "-c", command, "root", user="alice", input=f"{typed}\n")


def ssh(host: Lab, command: str, *, user: str = "alice") -> subprocess.CompletedProcess[str]:
    return host.run("sh", "-c", f"exec {SSH.format('publickey', user)} -- {command}")


def proven_shell(host: Lab) -> pexpect.spawn[str]:
    """A shell of alice's in which she has just proved who she is."""
    shell = host.spawn("alice", "/bin/bash", "--norc")
    shell.expect(r"\$ ")
    shell.sendline("PS1='ready> '; sudo -v")
    shell.expect("password for alice: ")
    shell.sendline("alice")
    shell.expect("ready> $")
    return shell


def id_of(done: subprocess.CompletedProcess[str], account: str) -> bool:
    return done.returncode == 0 and f"({account})" in done.stdout


# su.


def test_su_takes_a_grant(gate: Lab) -> None:
    """Refused without one, with the way out; admitted with one, in a scope, on record before it begins."""
    assert id_of(su(gate, "id"), "root")
    with stack(gate, "su"):
        journal = Journal.from_now(gate)
        refused = su(gate, "id")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert REFUSED in refused.stderr
        assert "jitsudo request become-root --for 30m --reason" in refused.stderr
        event = journal.expect("access.denied", service="su", user="alice", runas_user="root", code="no-grant")
        assert event["JITSUDO_PHASE"] == "account"
        grant = obtain(gate, "become-root")
        admitted = su(gate, "id; cat /proc/self/cgroup")
        assert id_of(admitted, "root")
        assert "/jitsudo.slice/jitsudo-S-" in admitted.stdout
        session = journal.expect("access.allowed", phase="session", grant_id=grant, role="become-root")
        started = journal.expect("session.started", session_id=session["JITSUDO_SESSION_ID"])
        ended = journal.expect("session.ended", session_id=started["JITSUDO_SESSION_ID"])
        assert ended["JITSUDO_OUTCOME"] == "su closed it"


def test_su_is_for_the_target_users_of_the_role(gate: Lab) -> None:
    """A grant for root is none for bob; a wrong password stays wrong."""
    with stack(gate, "su"):
        obtain(gate, "become-root")
        other = gate.run("su", "-c", "id", "bob", user="alice", input="bob\n")
        assert other.returncode == 1
        assert "role become-root is for root, not for bob" in other.stderr
        wrong = su(gate, "id", typed="wrong")
        assert (wrong.returncode, wrong.stdout) == (1, "")


def test_root_uses_su_as_before_whether_there_is_a_daemon_or_not(gate: Lab) -> None:
    """Only root; alice is told that nobody can be asked."""
    obtain(gate, "become-root")
    with stack(gate, "su"):
        assert id_of(gate.run("su", "-c", "id", "alice"), "alice")
        journal = Journal.from_now(gate)
        with no_daemon(gate):
            assert id_of(gate.run("su", "-c", "id", "alice"), "alice")
            refused = su(gate, "id")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "jitsudo:" in refused.stderr
        words = "root comes in through su without a decision"
        until(lambda: words in " ".join(journal.logged_by("su")), "it is logged")


def test_su_ends_with_its_grant(gate: Lab) -> None:
    """Expired, all that runs in it is ended, what left its terminal included; revoked as well."""
    with stack(gate, "su"):
        obtain(gate, "become-root", duration="12s")
        command = gate.spawn("alice", "su", "-c", "setsid sleep 92001 & sleep 92002", "root")
        command.expect("Password: ")
        command.sendline("root")
        until(lambda: not gone(gate, "^sleep 92002"), "it runs")
        until(lambda: gone(gate, "^sleep 9200[12]"), "it is ended")
        command.expect(["has expired", pexpect.EOF])
        grant = obtain(gate, "become-root")
        command = gate.spawn("alice", "su", "-", "root")
        command.expect("Password: ")
        command.sendline("root")
        command.expect("# ")
        command.sendline("sleep 92003")
        until(lambda: not gone(gate, "^sleep 92003"), "it runs")
        gate.run("jitsudo", "revoke", grant, "--reason", "the test wants it", check=True)
        until(lambda: gone(gate, "^sleep 92003"), "it is ended")


def test_what_root_does_inside_su_is_done_under_the_grant(gate: Lab) -> None:
    """sudo in there knows whose grant it is, and gives no more than that; nor does another su, nor a dead daemon."""
    with stack(gate, "su"):
        obtain(gate, "become-root")
        obtain(gate, "use-sudo")
        inside = su(gate, "sudo -n id; su -c id bob")
        assert "uid=" not in inside.stdout
        assert "no grant of alice (become-root) covers /usr/bin/id" in inside.stderr
        assert "role become-root is for root, not for bob" in inside.stderr
        down = "systemctl stop jitsudod.service jitsudod-decide.socket jitsudod-control.socket; su -c id bob"
        try:
            assert "uid=" not in su(gate, down).stdout
        finally:
            gate.run("systemctl", "start", "jitsudod-decide.socket", "jitsudod-control.socket", "jitsudod.service", check=True)


def test_a_ticket_of_the_same_place_spares_the_password(gate: Lab) -> None:
    """Where sudo asked a moment ago su asks no more, with a grant; in another session it does, and without a grant always."""
    with stack(gate, "su", auth=True):
        grant = obtain(gate, "become-root")
        shell = proven_shell(gate)
        shell.sendline("su -c 'echo i-am-$(id -un)' root")
        assert shell.expect(["i-am-root", "Password: "]) == 0
        other = gate.spawn("alice", "su", "-c", "id", "root")
        assert other.expect(["uid=", "Password: "]) == 1
        other.close()
        gate.run("jitsudo", "revoke", grant, "--reason", "the test wants it", check=True)
        shell.sendline("su -c 'echo i-am-$(id -un)' root")
        assert shell.expect(["i-am-root", "Password: "]) == 1
        shell.close()


# ssh.


def test_a_login_over_ssh_with_a_key_takes_a_grant(gate: Lab) -> None:
    """Refused without one, told why; admitted with one, in logind's scope, and it is nothing that sudo goes by."""
    assert id_of(ssh(gate, "id"), "alice")
    with stack(gate, "sshd"):
        refused = ssh(gate, "id")
        assert (refused.returncode, refused.stdout) == (255, "")
        assert REFUSED in refused.stderr
        assert "jitsudo request come-in" in refused.stderr
        journal = Journal.from_now(gate)
        obtain(gate, "come-in")
        admitted = ssh(gate, "'id; cat /proc/self/cgroup; jitsudo status'")
        assert id_of(admitted, "alice")
        assert "/user.slice/user-" in admitted.stdout
        assert "sshd alice" in admitted.stdout
        event = journal.expect("access.allowed", phase="session", service="sshd", runas_user="alice")
        assert event["JITSUDO_RHOST"] in ("::1", "127.0.0.1")
        obtain(gate, "use-sudo")
        proven = gate.spawn(None, *held("sh", "-c", f"exec {SSH.format('publickey', 'alice')} -tt sudo id"))
        proven.expect("password for alice: ")
        proven.sendline("alice")
        assert proven.expect([r"uid=0\(root\)", "no grant"]) == 0
        proven.close()


def test_a_login_over_ssh_with_a_password_takes_a_grant(gate: Lab) -> None:
    """A right password is not enough."""

    def try_it() -> int:
        login = gate.spawn(None, *held("sh", "-c", f"exec {SSH.format('password', 'alice')} id"))
        login.expect("password: ")
        login.sendline("alice")
        found: int = login.expect([r"uid=[0-9]+\(alice\)", "Connection closed", "Permission denied", END])
        login.close()
        return found

    assert try_it() == 0
    with stack(gate, "sshd"):
        assert try_it() != 0
        obtain(gate, "come-in")
        assert try_it() == 0


def test_a_login_over_ssh_ends_with_its_grant(gate: Lab) -> None:
    """Expired or revoked: the connection is closed, and what it left running ends, too."""
    with stack(gate, "sshd"):
        obtain(gate, "come-in", duration="12s")
        login = gate.spawn(None, "sh", "-c", f"exec {SSH.format('publickey', 'alice')} -tt 'setsid sleep 93001 & sleep 93002'")
        until(lambda: not gone(gate, "^sleep 93002"), "it runs")
        login.expect(["closed", pexpect.EOF])
        until(lambda: gone(gate, "^sleep 9300[12]"), "it is ended")
        grant = obtain(gate, "come-in")
        left = ssh(gate, "'setsid sleep 93003 >/dev/null 2>&1 </dev/null &'")
        assert left.returncode == 0
        until(lambda: not gone(gate, "^sleep 93003"), "it goes on after the connection")
        gate.run("jitsudo", "revoke", grant, "--reason", "the test wants it", check=True)
        until(lambda: gone(gate, "^sleep 93003"), "it is ended")


def test_a_login_outlives_the_daemon_and_still_ends_with_its_grant(gate: Lab) -> None:
    """The session is taken up again after a restart."""
    with stack(gate, "sshd"):
        grant = obtain(gate, "come-in")
        login = gate.spawn(None, "sh", "-c", f"exec {SSH.format('publickey', 'alice')} -tt sleep 93004")
        until(lambda: not gone(gate, "^sleep 93004"), "it runs")
        restart_daemon(gate)
        assert not gone(gate, "^sleep 93004")
        gate.run("jitsudo", "revoke", grant, "--reason", "the test wants it", check=True)
        until(lambda: gone(gate, "^sleep 93004"), "it is ended")
        login.close()


def test_nobody_but_root_logs_in_without_a_daemon(gate: Lab) -> None:
    """alice does not, whatever she holds."""
    obtain(gate, "come-in")
    with stack(gate, "sshd"), no_daemon(gate):
        assert ssh(gate, "id").returncode == 255
        assert id_of(ssh(gate, "id", user="root"), "root")


def test_a_ticket_lets_nobody_log_in_over_ssh(gate: Lab) -> None:
    """Even where a stack asks the module first: alice's own ssh, from the shell in which she proved herself."""
    with stack(gate, "sshd", auth=True):
        obtain(gate, "come-in")
        obtain(gate, "use-sudo")
        shell = proven_shell(gate)
        ways = "-o NumberOfPasswordPrompts=1 -o PreferredAuthentications=password,keyboard-interactive"
        shell.sendline(f"ssh {TRUSTING} {ways} alice@localhost id")
        shell.expect("assword: ")
        shell.sendline("wrong")
        assert shell.expect([r"uid=[0-9]+\(alice\)", "Permission denied"]) == 1
        shell.close()


def test_a_role_for_the_console_is_none_for_the_network(gate: Lab) -> None:
    """Who is at the door comes from where the kernel says; a login over loopback hides that, and is not a console."""
    with stack(gate, "sshd"):
        request = ask(gate, "nearby", user="carol")
        done = gate.run("jitsudo", "approve", "-S", request["id"], user="bob", input="bob\n")
        assert done.returncode == 0, done.stderr
        assert id_of(ssh(gate, "id", user="carol"), "carol")  # with the approval that coming from elsewhere takes
        with extra_policy(gate, POLICY.replace(", otherwise: {approvals: 1}", "")):
            assert ssh(gate, "id", user="carol").returncode == 255  # and the role has another meaning now


# login.


def log_in(host: Lab, user: str, password: str) -> int:
    """0: came in; 1: was asked again; 2: was thrown out."""
    # On a terminal that somebody else keeps open: login hangs up whatever it is started on, and what it writes first is lost.
    console = host.spawn(None, "script", "-qec", "login", "/dev/null")
    console.expect("login: ")
    console.sendline(user)
    console.expect("assword: ")
    console.sendline(password)
    console.sendline("echo i-am-$(id -un)")
    found: int = console.expect([f"i-am-{user}", "incorrect", "Permission denied", pexpect.EOF])
    console.close()
    return found


def test_login_takes_a_grant_and_roots_console_stays_open(gate: Lab) -> None:
    """With the daemon and without it."""
    assert log_in(gate, "alice", "alice") == 0
    grant = obtain(gate, "come-in")
    with stack(gate, "login"):
        assert log_in(gate, "alice", "alice") == 0
        gate.run("jitsudo", "revoke", grant, "--reason", "the test wants it", check=True)
        assert log_in(gate, "alice", "alice") != 0
        assert log_in(gate, "root", "root") == 0
        with no_daemon(gate):
            assert log_in(gate, "alice", "alice") != 0
            assert log_in(gate, "root", "root") == 0


# sudo-rs and doas.


@pytest.mark.parametrize("program", ["sudo-rs", "doas"])
def test_what_else_makes_root_of_people_takes_a_grant(gate: Lab, program: str) -> None:
    """It works without the module; with it, by a grant and until its end, and not without a daemon."""
    if gate.run("sh", "-c", f"command -v {program}").returncode:
        pytest.skip(f"{gate.suite} has no {program}")
    service = "doas" if program == "doas" else "sudo"
    gate.put("/etc/doas.conf", "permit alice\n", mode=0o400)
    gate.put("/etc/sudoers-rs", "alice ALL=(ALL:ALL) ALL\n", mode=0o440)

    def use(*command: str) -> pexpect.spawn[str]:
        shell = gate.spawn("alice", *held(program, *command))
        shell.expect("assword: ")
        shell.sendline("alice")
        return shell

    came, thrown = r"uid=0\(root\)", END
    assert use("id").expect([came, thrown]) == 0
    with stack(gate, service):
        assert use("id").expect([came, thrown]) == 1
        obtain(gate, "become-root", duration="15s")
        assert use("id").expect([came, thrown]) == 0
        command = use("sleep", "94001")
        until(lambda: not gone(gate, "^sleep 94001"), "it runs")
        until(lambda: gone(gate, "^sleep 94001"), "it is ended", 60)
        command.close()
        grant = obtain(gate, "become-root")
        with no_daemon(gate):
            assert use("id").expect([came, thrown]) == 1
        gate.run("jitsudo", "revoke", grant, "--reason", "the test wants it", check=True)


def test_a_session_that_is_refused_is_none(gate: Lab) -> None:
    """The account may have been let in a moment before; doas without a password, too."""
    gate.put("/etc/doas.conf", "permit nopass alice\n", mode=0o400)
    assert id_of(gate.run("doas", "id", user="alice"), "root")
    saved = {name: gate.get(f"/etc/pam.d/{name}") for name in ("su", "sshd", "doas")}
    for name, text in saved.items():
        gate.put(f"/etc/pam.d/{name}", f"{text}\nsession required {MODULE}\n")
    try:
        for refused in (su(gate, "id"), ssh(gate, "id"), gate.run("doas", "id", user="alice")):
            assert refused.returncode != 0
            assert "uid=" not in refused.stdout
        obtain(gate, "become-root")
        assert id_of(gate.run("doas", "id", user="alice"), "root")
    finally:
        for name, text in saved.items():
            gate.put(f"/etc/pam.d/{name}", text)


def test_the_profile_gates_su_and_ssh_and_leaves_the_console_and_cron_alone(gate: Lab) -> None:
    """sudo with its plugin, too; taken out again, everything is as before."""
    gate.run("pam-auth-update", "--enable", "jitsudo", check=True)
    try:
        assert su(gate, "id").returncode == 1
        assert ssh(gate, "id").returncode == 255
        assert log_in(gate, "alice", "alice") == 0
        gate.put("/etc/cron.d/jt", "* * * * * bob touch /tmp/cron-ran\n")
        obtain(gate, "use-sudo")
        sudo = gate.spawn("alice", *held("sudo", "id"))
        sudo.expect("password for alice: ")
        sudo.sendline("alice")
        assert sudo.expect([r"uid=0\(root\)", END]) == 0
        obtain(gate, "become-root")
        obtain(gate, "come-in")
        assert id_of(su(gate, "id"), "root")
        admitted = ssh(gate, "'id; jitsudo status'")
        assert id_of(admitted, "alice")
        assert "sshd alice" in admitted.stdout
        until(lambda: gate.run("test", "-e", "/tmp/cron-ran").returncode == 0, "bob's cron job has run", 150)
    finally:
        gate.run("pam-auth-update", "--disable", "jitsudo", check=True)
        gate.run("rm", "-f", "/etc/cron.d/jt", "/tmp/cron-ran", check=True)
    assert id_of(su(gate, "id"), "root")


# Each entry point.

ENTRY_POINTS = {
    "acct_mgmt": "Permission denied",
    "authenticate": "Authentication failure",
    "open_session": "Cannot make/remove an entry for the specified session",
    "close_session": "Cannot make/remove an entry for the specified session",
    "chauthtok": "Authentication token manipulation error",
}


def pamtester(host: Lab, user: str, *operations: str) -> subprocess.CompletedProcess[str]:
    return host.run("pamtester", "jt-test", user, *operations)


@contextmanager
def alone(host: Lab, arguments: str = "") -> Iterator[None]:
    """A stack with nothing but the module."""
    lines = [f"{kind} required {MODULE} {arguments}" for kind in ("auth", "account", "session", "password")]
    host.put("/etc/pam.d/jt-test", "\n".join(lines) + "\n")
    yield
    host.run("rm", "/etc/pam.d/jt-test", check=True)


def test_each_entry_point_refuses_with_the_code_that_pam_has_for_it(gate: Lab) -> None:
    """Without a grant, without a daemon, with an argument that nobody knows; the account of somebody who is not there."""
    with alone(gate):
        for operation, code in ENTRY_POINTS.items():
            done = pamtester(gate, "alice", operation)
            assert (done.returncode, code in done.stderr) == (1, True), (operation, done.stderr)
        assert "Permission denied" in pamtester(gate, "nobody-there", "acct_mgmt").stderr
        assert "Permission denied" in pamtester(gate, "x" * 4096, "acct_mgmt").stderr
        assert "Authentication failure" in pamtester(gate, "root", "authenticate").stderr
        obtain(gate, "come-in")
        with no_daemon(gate):
            for operation, code in ENTRY_POINTS.items():
                done = pamtester(gate, "alice", operation)
                assert (done.returncode, code in done.stderr) == (1, True), (operation, done.stderr)
    with alone(gate, "no-such-argument"):
        for operation, code in {**ENTRY_POINTS, "setcred": "Failure setting user credentials"}.items():
            for user in ("alice", "root"):
                done = pamtester(gate, user, operation)
                assert (done.returncode, code in done.stderr) == (1, True), (operation, user, done.stderr)


def test_each_entry_point_admits_by_a_grant(gate: Lab) -> None:
    """Account, credentials and session; root without a grant. But for nobody does it prove anything, or change a password."""
    with alone(gate):
        grant = obtain(gate, "come-in")
        journal = Journal.from_now(gate)
        done = pamtester(gate, "alice", "acct_mgmt", "setcred", "open_session", "close_session")
        assert done.returncode == 0, done.stderr
        journal.expect("session.started", grant_id=grant)
        journal.expect("session.ended", grant_id=grant, outcome="jt-test closed it")
        assert "Authentication failure" in pamtester(gate, "alice", "authenticate").stderr
        assert pamtester(gate, "root", "acct_mgmt", "setcred", "open_session", "close_session").returncode == 0
        with no_daemon(gate):
            assert pamtester(gate, "root", "acct_mgmt", "open_session", "close_session").returncode == 0


def test_what_the_person_is_told_can_be_kept_to_the_log(gate: Lab) -> None:
    """quiet; and debug says in the log what was decided."""
    journal = Journal.from_now(gate)
    with alone(gate, "quiet debug timeout=5 socket=/run/jitsudo/decide"):
        done = pamtester(gate, "alice", "acct_mgmt")
        assert "jitsudo:" not in done.stdout + done.stderr
        obtain(gate, "come-in")
        assert pamtester(gate, "alice", "acct_mgmt").returncode == 0
    for words in ("refused: alice holds no grant on this host", "account: admitted"):
        until(lambda words=words: words in " ".join(journal.logged_by("pamtester")), "it is in the log")


def test_what_is_not_roots_lets_nobody_in(gate: Lab) -> None:
    """A socket of alice's own, and a program of hers that says it is sshd."""
    program = "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('/tmp/decide')\ns.listen()\n"
    program += "print('listening', flush=True)\nwhile True: s.accept()\n"
    planted = gate.start("python3", "-c", program, user="alice")
    try:
        assert planted.stdout is not None
        assert planted.stdout.readline() == "listening\n"
        with alone(gate, "socket=/tmp/decide"):
            assert "Permission denied" in pamtester(gate, "alice", "acct_mgmt").stderr
    finally:
        planted.terminate()
        planted.communicate(timeout=30)
        gate.run("rm", "-f", "/tmp/decide")
    with alone(gate):
        obtain(gate, "come-in")
        done = gate.run("pamtester", "jt-test", "alice", "acct_mgmt", user="alice")
        assert done.returncode == 1  # only root reaches the socket
