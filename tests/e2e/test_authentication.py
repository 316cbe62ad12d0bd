"""How people prove who they are to sudo: passwords, tickets, PAM stacks, accounts, SSH agents, the word yes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from acts import END, ENDING, LEDGER, Journal, extra_policy, obtain, restart_daemon, until
from lab import FRONT_END, Lab

ASKED = "[sudo] password for alice: "
STACK = "/etc/pam.d/jitsudo-sudo"
# What the front end cannot do without: the native one is in one piece.
PARTS = [STACK] + ["/usr/libexec/jitsudo/jitsudo_sudo_proof.py"] * (FRONT_END == "python")
# Whether sudo reads from a terminal: a signal between its question and that would be lost, in any sudo (tgetpass.c).
IS_READING = """
for pid in $(pgrep -x sudo); do
    read -r number file rest 2>/dev/null </proc/$pid/syscall || continue
    case $number in 0 | 63) case $(readlink /proc/$pid/fd/$((file))) in /dev/pts/* | /dev/tty) exit 0 ;; esac ;; esac
done
exit 1"""
# Whether sudo keeps ^C for later: between two questions.
IS_PENDING = "for pid in $(pgrep -x sudo); do grep -q '^SigBlk:.*[2367abef]$' /proc/$pid/status && exit 0; done; exit 1"
REQUEST = "request: {max_duration: 1h, approvals: 0}"
POLICY = f"""
version: 1
approvers:
  alice: {{accounts: [alice], keys: ["KEY"]}}
roles:
  proof:
    description: What needs a password
    who: ["group:web"]
    {REQUEST}
    allow: [{{command: /usr/bin/id}}, {{command: /usr/bin/cat}}, {{command: /usr/bin/env}}, {{command: /usr/local/bin/inside}}]
  brief-proof:
    description: What needs a password of the last six seconds
    who: ["group:web"]
    {REQUEST}
    authenticate: {{within: 6s}}
    allow: [{{command: /usr/bin/nproc}}]
  no-proof:
    description: What needs none
    who: ["group:web"]
    {REQUEST}
    authenticate: never
    allow: [{{command: /usr/bin/true}}]
  agent-proof:
    description: What needs an SSH agent
    who: ["group:web"]
    {REQUEST}
    authenticate: agent
    allow: [{{command: /usr/bin/whoami}}]
  confirmed:
    description: What has to be confirmed
    who: ["group:web"]
    {REQUEST}
    authenticate: never
    allow: [{{command: /usr/bin/hostname}}]
    guardrails: [think-twice]
guardrails:
  think-twice:
    match: {{command: /usr/bin/hostname}}
    then: confirm
    message: This takes a production service down.
"""
NOBODYS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFK6JTSra5tleux8qh+5q1ocKz52RMFbjBak2J1uYYr"
ROLES = ("proof", "brief-proof", "no-proof", "agent-proof", "confirmed")


@pytest.fixture
def asked(clean: Lab) -> Iterator[Lab]:
    """A host where alice holds a role of each kind."""
    with extra_policy(clean, POLICY.replace("KEY", NOBODYS_KEY)):
        for role in ROLES:
            obtain(clean, role)
        yield clean


@contextmanager
def stack(host: Lab, script: str) -> Iterator[None]:
    """The PAM stack as `script` (sed's) makes it, for a while."""
    before = host.get(STACK)
    host.run("sed", "-i", "-e", script, STACK, check=True)
    try:
        yield
    finally:
        host.put(STACK, before)


@contextmanager
def account(host: Lab, change: tuple[str, ...], back: tuple[str, ...]) -> Iterator[None]:
    """An account changed for a while, and its password what it was."""
    host.run(*change, check=True)
    try:
        yield
    finally:
        host.run(*back, check=True)
        host.run("chpasswd", input="alice:alice\n", check=True)


def await_reading(host: Lab) -> None:
    until(lambda: host.run("bash", "-c", IS_READING).returncode == 0, "sudo reads from the terminal")


def all_of(terminal: pexpect.spawn[str]) -> str:
    """What the terminal has shown since, of a script that ends with ENDING."""
    terminal.expect_exact(END)
    shown: str = terminal.before
    terminal.sendline("")
    terminal.expect(pexpect.EOF)
    terminal.close()
    return shown


def at_terminal(host: Lab, script: str, *steps: tuple[str, str | None]) -> str:
    """What alice's terminal shows of a script: after each of the texts she types a line, None being ^C."""
    terminal = host.spawn("alice", "bash", "-c", f"{script}\n{ENDING}")
    seen = ""
    for text, line in steps:
        terminal.expect_exact(text)
        seen += terminal.before + terminal.after
        if line is None:
            if text == ASKED:
                await_reading(host)
            terminal.sendcontrol("c")
        else:
            terminal.sendline(line)
    return (seen + all_of(terminal)).replace("\r\n", "\n")


# Passwords.


def test_the_right_password_runs_the_command(asked: Lab) -> None:
    """Asked once, on a line of its own."""
    shown = at_terminal(asked, "sudo id; echo status $?", (ASKED, "alice"))
    assert shown.startswith(ASKED)
    assert "uid=0(root)" in shown
    assert shown.endswith("status 0\n")


def test_a_wrong_password_is_asked_for_again(asked: Lab) -> None:
    """In sudo's own words."""
    shown = at_terminal(asked, "sudo id; echo status $?", (ASKED, "wrong"), (ASKED, "alice"))
    assert f"{ASKED}\nSorry, try again.\n{ASKED}\nuid=0(root)" in shown


def test_three_wrong_passwords_are_enough(asked: Lab) -> None:
    """As sudo does, and the record says that the proof failed."""
    journal = Journal.from_now(asked)
    shown = at_terminal(asked, "sudo id; echo status $?", *[(ASKED, "wrong")] * 3)
    assert shown.endswith("\nsudo: 3 incorrect password attempts\nstatus 1\n")
    assert "uid=0" not in shown
    journal.expect("authentication.failed")
    journal.expect("command.denied", code="authentication")


@pytest.mark.parametrize(
    ("typed", "words"),
    [([], "sudo: a password is required"), (["wrong"], "sudo: 1 incorrect password attempt")],
)
def test_interrupting_the_question_ends_it(asked: Lab, typed: list[str], words: str) -> None:
    """^C leaves a clean line, a working terminal, status 1."""
    steps = [(ASKED, line) for line in [*typed, None]]
    shown = at_terminal(asked, "sudo id; echo status $?; stty -a | grep -o -w -e -*echo", *steps)
    assert shown.endswith(f"\n{words}\nstatus 1\necho\n")


def test_a_stopped_question_is_asked_again(asked: Lab) -> None:
    """^Z, fg."""
    terminal = asked.spawn("alice", "bash", "--norc", "--noediting", "-i")
    terminal.expect_exact("$ ")
    terminal.sendline("sudo id")
    terminal.expect_exact(ASKED)
    await_reading(asked)
    terminal.sendcontrol("z")
    terminal.expect_exact("Stopped")
    terminal.sendline("fg")
    terminal.expect_exact(ASKED)
    terminal.sendline("alice")
    terminal.expect_exact("uid=0(root)")
    terminal.close(force=True)


def test_a_question_in_the_background_waits_for_the_foreground(asked: Lab) -> None:
    """`sudo id &` stops until fg."""
    terminal = asked.spawn("alice", "bash", "--norc", "--noediting", "-i")
    terminal.expect_exact("$ ")
    terminal.sendline("sudo id &")
    until(lambda: "T" in asked.run("ps", "-C", "sudo", "-o", "stat=").stdout, "sudo is stopped")
    terminal.sendline("fg")
    terminal.expect_exact(ASKED)
    terminal.sendline("alice")
    terminal.expect_exact("uid=0(root)")
    terminal.close(force=True)


def test_an_interrupt_while_pam_delays_its_answer(asked: Lab) -> None:
    """^C after a wrong password: no other question follows."""
    with stack(asked, "1i auth optional pam_faildelay.so delay=8000000"):
        terminal = asked.spawn("alice", "bash", "-c", f"sudo id; echo status $?; {ENDING}")
        terminal.expect_exact(ASKED)
        await_reading(asked)
        terminal.sendline("wrong")
        until(lambda: asked.run("bash", "-c", IS_PENDING).returncode == 0, "the answer was read")
        terminal.sendcontrol("c")
        shown = all_of(terminal)
    assert "sudo: 1 incorrect password attempt\r\nstatus 1\r\n" in shown
    assert ASKED not in shown


def test_a_terminal_that_goes_away_ends_the_question(asked: Lab) -> None:
    """Nothing of sudo stays behind."""
    terminal = asked.spawn("alice", "bash", "-c", "sudo id; sleep 0.5")
    terminal.expect_exact(ASKED)
    terminal.close(force=True)
    until(lambda: asked.run("pgrep", "-x", "sudo").returncode == 1, "sudo has gone")


def test_noninteractive_never_asks(asked: Lab) -> None:
    """With the very words that programs wait for."""
    for argv in (["sudo", "-n", "id"], ["sudo", "-n", "-v"], ["sudo", "-n", "-S", "id"]):
        done = asked.run(*argv, user="alice", input="alice\n")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "sudo: a password is required\n"), argv


def test_without_a_terminal_it_says_what_to_do(asked: Lab) -> None:
    """No -S, no askpass, no terminal."""
    done = asked.run("sudo", "id", user="alice", input="alice\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sudo: a terminal is required to read the password; either use")
    assert done.stderr.endswith("\nsudo: a password is required\n")


def test_password_on_standard_input(asked: Lab) -> None:
    """-S takes one line, the command gets the rest, the question goes to standard error."""
    done = asked.run("sudo", "-S", "cat", user="alice", input="alice\nthe rest\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the rest\n", ASKED)
    done = asked.run("sudo", "-S", "id", user="alice", input="wrong\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{ASKED}Sorry, try again.\n{ASKED}\nsudo: no password was provided\nsudo: 1 incorrect password attempt\n"
    )


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("[sudo via ansible, key=abc] password:", "[sudo via ansible, key=abc] password:"),
        ("%p %u %U %% %x:", "alice alice root % %x:"),
    ],
)
def test_the_callers_own_prompt(asked: Lab, prompt: str, shown: str) -> None:
    """-p and SUDO_PROMPT: escapes expanded, the rest verbatim, at the start of its line."""
    done = asked.run("sudo", "-S", "-p", prompt, "id", user="alice", input="alice\n")
    assert (done.returncode, done.stderr) == (0, shown)
    done = asked.run("env", f"SUDO_PROMPT={prompt}", "sudo", "-S", "id", user="alice", input="alice\n")
    assert (done.returncode, done.stderr) == (0, shown)


def test_askpass(asked: Lab) -> None:
    """-A: the program runs as the caller, gets the prompt, and its failure is a refusal."""
    asked.put("/usr/local/bin/ask", '#!/bin/sh\necho "$(id -un): $1" >&2\necho alice\n', mode=0o755)
    done = asked.run("env", "SUDO_ASKPASS=/usr/local/bin/ask", "sudo", "-A", "id", user="alice")
    assert (done.returncode, done.stderr) == (0, f"alice: {ASKED}\n")
    done = asked.run("env", "SUDO_ASKPASS=/bin/false", "sudo", "-A", "id", user="alice")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("sudo: a password is required\n")
    done = asked.run("sudo", "-A", "id", user="alice")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sudo: no askpass program specified, try setting SUDO_ASKPASS\n"


def test_the_password_is_in_no_record(asked: Lab) -> None:
    """Neither right nor wrong, in journal, ledger or state folder."""
    wrong = "zebra-typed-here"
    asked.run("sudo", "-S", "id", user="alice", input=f"{wrong}\n{wrong}\n{wrong}\n")
    asked.run("sync", check=True)
    assert asked.run("sh", "-c", f"journalctl -o json | grep -c {wrong}").stdout == "0\n"
    assert asked.run("grep", "-c", "-a", "-r", wrong, LEDGER, f"{LEDGER}-wal").returncode == 1


# Tickets.


def test_a_ticket_holds_for_its_terminal_alone(asked: Lab) -> None:
    """Proven once, it is not asked for again there; elsewhere it is."""
    shown = at_terminal(asked, "sudo id; sudo -n id; setsid -w sudo -n id </dev/null", (ASKED, "alice"))
    assert shown.count("uid=0(root)") == 2
    assert shown.endswith("sudo: a password is required\n")
    assert asked.run("sudo", "-n", "id", user="alice").returncode == 1


def test_a_ticket_without_a_terminal_holds_below_its_parent(asked: Lab) -> None:
    """As sudo's tickets do: for the same script, not for another one in the same session."""
    script = "sudo -S id; sudo -n id; bash -c 'sudo -n id; true'; true"
    done = asked.run("bash", "-c", script, user="alice", input="alice\n")
    assert done.stdout.count("uid=0(root)") == 2
    assert done.stderr == f"{ASKED}sudo: a password is required\n"


@pytest.mark.parametrize("option", ["-k", "-K"])
def test_tickets_can_be_given_back(asked: Lab, option: str) -> None:
    """-k and -K, without a password."""
    shown = at_terminal(asked, f"sudo id; sudo {option}; echo status $?; sudo -n id", (ASKED, "alice"))
    assert shown.endswith("status 0\nsudo: a password is required\n")


def test_all_tickets_can_be_given_back_from_elsewhere(asked: Lab) -> None:
    """-K, not -k."""
    terminal = asked.spawn("alice", "bash", "-c", "sudo -v; echo made; read x; sudo -n id; read x; sudo -n id; read x")
    terminal.expect_exact(ASKED)
    terminal.sendline("alice")
    terminal.expect_exact("made")
    asked.run("sudo", "-k", user="alice", check=True)
    terminal.sendline("")
    terminal.expect_exact("uid=0(root)")
    asked.run("sudo", "-K", user="alice", check=True)
    terminal.sendline("")
    terminal.expect_exact("a password is required")
    terminal.close(force=True)


def test_a_ticket_can_be_ignored_and_not_made(asked: Lab) -> None:
    """-k COMMAND asks in spite of one; -N leaves none."""
    shown = at_terminal(asked, "sudo id; sudo -k id; sudo -n id", (ASKED, "alice"), (ASKED, "alice"))
    assert shown.count("uid=0(root)") == 3
    shown = at_terminal(asked, "sudo -N id; sudo -n id", (ASKED, "alice"))
    assert shown.endswith("sudo: a password is required\n")


def test_validate_makes_a_ticket_and_asks_only_if_there_is_none(asked: Lab) -> None:
    """-v."""
    shown = at_terminal(asked, "sudo -v; echo status $?; sudo -n -v; echo status $?; sudo -n id", (ASKED, "alice"))
    assert shown.startswith(f"{ASKED}\nstatus 0\nstatus 0\nuid=0(root)")


def test_a_ticket_expires(asked: Lab) -> None:
    """The role says after how long."""
    shown = at_terminal(asked, "sudo nproc >/dev/null; sudo -n nproc; sleep 7.1; sudo -n nproc", (ASKED, "alice"))
    assert re.search(r"\n[0-9]+\nsudo: a password is required\n$", shown)


def test_tickets_survive_a_restart_of_the_daemon(asked: Lab) -> None:
    """And are root's alone to read."""
    terminal = asked.spawn("alice", "bash", "-c", "sudo -v; echo made; read x; sudo -n id; read x")
    terminal.expect_exact(ASKED)
    terminal.sendline("alice")
    terminal.expect_exact("made")
    restart_daemon(asked)
    terminal.sendline("")
    terminal.expect_exact("uid=0(root)")
    terminal.close(force=True)
    assert asked.run("stat", "-c", "%a %U", "/var/lib/jitsudo/tickets").stdout == "600 root\n"


# Accounts.


def while_logged_in(host: Lab, script: str, change: tuple[str, ...], *steps: tuple[str, str | None]) -> str:
    """What alice's terminal shows of a script once her account has been changed under her."""
    terminal = host.spawn("alice", "bash", "-c", f"read x; {script}; {ENDING}")
    until(lambda: host.run("pgrep", "-u", "alice", "-f", "read x").returncode == 0, "her shell")
    host.run(*change, check=True)
    terminal.sendline("")
    seen = ""
    for text, line in steps:
        terminal.expect_exact(text)
        seen += terminal.before + terminal.after
        terminal.sendline(line or "")
    return (seen + all_of(terminal)).replace("\r\n", "\n")


def test_an_expired_account_may_do_nothing(asked: Lab) -> None:
    """With a password or without, and it is on record as that."""
    journal = Journal.from_now(asked)
    expire, back = ("usermod", "-e", "1", "alice"), ("usermod", "-e", "", "alice")
    words = "sudo: account validation failure, is your account locked?\nstatus 1\n"
    with account(asked, ("true",), back):
        assert while_logged_in(asked, "sudo -n true; echo status $?", expire).endswith(words)
    with account(asked, ("true",), back):
        assert while_logged_in(asked, "sudo id; echo status $?", expire, (ASKED, "alice")).endswith(words)
    until(lambda: len(journal.find("command.denied", code="account")) == 2, "two events")
    assert [e for e in journal.find("command.allowed") if e["JITSUDO_USER"] == "alice"] == []


def test_an_expired_password_has_to_be_changed(asked: Lab) -> None:
    """In the same conversation; and afterwards it is the new one."""
    hashed = asked.run("getent", "shadow", "alice").stdout.split(":")[1]
    with account(asked, ("true",), ("chage", "-d", "20000", "alice")):
        steps = [(ASKED, "alice"), ("urrent password: ", "alice"), *[("ew password: ", "Xq7!kkla9")] * 2]
        shown = while_logged_in(asked, "sudo id; echo status $?", ("chage", "-d", "0", "alice"), *steps)
        assert "sudo: Account or password is expired, reset your password and try again\n" in shown
        assert "uid=0(root)" in shown
        assert shown.endswith("status 0\n")
        assert asked.run("getent", "shadow", "alice").stdout.split(":")[1] != hashed


def test_an_expired_password_does_not_matter_where_none_is_asked_for(asked: Lab) -> None:
    """As with sudo's NOPASSWD: agents and cron jobs go on."""
    with account(asked, ("chage", "-d", "0", "agent"), ("chage", "-d", "20000", "agent")):
        assert asked.run("sudo", "-n", "true", user="agent").returncode == 0


def test_root_is_not_locked_out_by_its_own_account(asked: Lab) -> None:
    """Hardened hosts expire root's account; its cron jobs go on."""
    with account(asked, ("usermod", "-e", "1", "root"), ("usermod", "-e", "", "root")):
        done = asked.run("sh", "-c", "sudo -n id -u; sudo -n -u postgres id -un")
    assert (done.returncode, done.stdout) == (0, "0\npostgres\n")


# PAM stacks.


def test_as_many_questions_as_the_stack_asks(asked: Lab) -> None:
    """A second factor with a question of its own; the caller's prompt is for the password."""
    with stack(asked, "s/^@include common-auth/auth required pam_unix.so\\nauth required pam_ftp.so users=alice/"):
        second = "Guest login ok"
        shown = at_terminal(asked, "sudo id; echo status $?", (ASKED, "alice"), (second, "a@b"))
        assert "uid=0(root)" in shown
        assert shown.index(ASKED) < shown.index(second)
        shown = at_terminal(asked, "sudo id; echo status $?", (ASKED, "wrong"), (second, "a@b"), (ASKED, None))
        assert shown.endswith("sudo: 1 incorrect password attempt\nstatus 1\n")


def test_faillock_counts_each_wrong_password_once(asked: Lab) -> None:
    """And neither a question that is broken off nor a refused command resets the count."""
    script = (
        "1i auth required pam_faillock.so preauth deny=3\n"
        "s/^@include common-auth/auth [success=1 default=ignore] pam_unix.so\\n"
        "auth [default=die] pam_faillock.so authfail deny=3\\nauth required pam_faillock.so authsucc deny=3/\n"
        "s/^@include common-account/account required pam_faillock.so\\n@include common-account/"
    )
    asked.run("faillock", "--user", "alice", "--reset", check=True)
    with stack(asked, script):

        def tries() -> int:
            return asked.run("faillock", "--user", "alice").stdout.count(" V\n")

        done = asked.run("sudo", "-S", "id", user="alice", input="wrong\nalice\n")
        assert done.returncode == 0  # and it counts anew
        at_terminal(asked, "sudo id", *[(ASKED, "wrong")] * 3)
        assert tries() == 3
        assert asked.run("sudo", "-n", "id", user="alice").returncode == 1
        assert asked.run("sudo", "-n", "ls", user="alice").returncode == 1
        assert tries() == 3
        shown = at_terminal(asked, "sudo id; echo status $?", *[(ASKED, "alice")] * 3)
        assert shown.endswith("sudo: 3 incorrect password attempts\nstatus 1\n")
        asked.run("faillock", "--user", "alice", "--reset", check=True)
        assert "uid=0(root)" in at_terminal(asked, "sudo id", (ASKED, "alice"))


def test_limits_and_environment_of_the_pam_session(asked: Lab) -> None:
    """pam_limits holds for the command; pam_env adds, but takes no variable's place and sets none that we never allow."""
    asked.put("/etc/security/limits.d/zz-test.conf", "root - nofile 333\n")
    asked.put("/srv/pam-env", "FROM_PAM=yes\nHOME=/evil\nPATH=/evil\nPOSIXLY_CORRECT=1\n")
    asked.put("/srv/inside.sh", "ulimit -n; env\n")
    try:
        with stack(asked, "$a session required pam_env.so envfile=/srv/pam-env"):
            done = asked.run("sudo", "-S", "inside", user="alice", input="alice\n", check=True)
    finally:
        asked.run("rm", "/etc/security/limits.d/zz-test.conf", check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "333"
    assert {"FROM_PAM=yes", "HOME=/root"} <= set(lines)
    assert not [line for line in lines if "/evil" in line or line.startswith("POSIXLY_CORRECT")]


def test_the_session_is_opened_and_closed_for_the_target(asked: Lab) -> None:
    """Once each, whatever the command's status, and not by pam_systemd."""
    assert "pam_systemd" not in asked.run("grep", "-v", "^#", STACK).stdout
    journal = Journal.from_now(asked)
    with stack(asked, "s/pam_unix.so quiet/pam_unix.so/"):
        assert asked.run("sudo", "-n", "true", user="alice").returncode == 0
        journal.expect("session.ended")

    def logged() -> list[str]:
        return [line.partition(" by ")[0] for line in journal.logged_by("sudo") if "pam_unix" in line]

    until(lambda: len(logged()) >= 2, "both are in the log")
    assert logged() == [
        "pam_unix(jitsudo-sudo:session): session opened for user root(uid=0)",
        "pam_unix(jitsudo-sudo:session): session closed for user root",
    ]


def test_a_session_that_cannot_be_opened_refuses_people_and_not_root(asked: Lab) -> None:
    """A broken stack locks nobody out who could repair it; a module that merely fails is no obstacle to sudo either."""
    with stack(asked, "$a session required pam_no_such_module.so"):
        done = asked.run("sudo", "-n", "true", user="alice")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("sudo: pam_open_session: Module is unknown\n")
        done = asked.run("sudo", "-n", "id", "-u")
        assert (done.returncode, done.stdout) == (0, "0\n")
    with stack(asked, "$a session required pam_deny.so"):
        assert asked.run("sudo", "-n", "true", user="alice").returncode == 0


@pytest.mark.parametrize("file", PARTS)
def test_a_missing_part_refuses_people_and_not_root(asked: Lab, file: str) -> None:
    """Neither libpam's own fallback nor silence takes its place."""
    asked.run("mv", file, "/srv/kept", check=True)
    try:
        for argv in (["sudo", "-n", "true"], ["sudo", "-S", "id"]):
            done = asked.run(*argv, user="alice", input="alice\n")
            assert (done.returncode, done.stdout) == (1, ""), argv
            assert "reinstall jitsudo" in done.stderr, argv
        assert asked.run("sudo", "-n", "id", "-u").stdout == "0\n"
    finally:
        asked.run("mv", "/srv/kept", file, check=True)


# SSH agents.


AGENT = 'eval "$(ssh-agent)" >/dev/null; trap "ssh-agent -k >/dev/null" EXIT; '


KINDS = {"proof": "ed25519", "proof-rsa": "rsa", "proof-ecdsa": "ecdsa"}


@pytest.fixture
def keyed(clean: Lab) -> Iterator[Lab]:
    """As `asked`, with a key of alice's of each kind enrolled."""
    make = "mkdir -p .ssh && rm -f .ssh/proof* .ssh/other* && cd .ssh"
    for name, kind in {**KINDS, "other": "ed25519"}.items():
        make += f" && ssh-keygen -q -t {kind} -N '' -f {name}"
    clean.run("bash", "-c", make, user="alice", check=True)
    keys = [clean.get(f"/home/alice/.ssh/{name}.pub").strip() for name in KINDS]
    with extra_policy(clean, POLICY.replace("KEY", '", "'.join(keys))):
        obtain(clean, "agent-proof")
        yield clean


@pytest.mark.parametrize("name", KINDS)
def test_an_agent_proves_who_it_is(keyed: Lab, name: str) -> None:
    """No password, no question, not even with -n."""
    journal = Journal.from_now(keyed)
    done = keyed.run("bash", "-c", f"{AGENT}ssh-add -q .ssh/other .ssh/{name}; sudo -n whoami", user="alice")
    assert (done.returncode, done.stdout, done.stderr) == (0, "root\n", "")
    until(lambda: journal.find("authentication.succeeded"), "an event")


def test_who_waits_for_an_agent_can_give_up(keyed: Lab) -> None:
    """^C while it hangs: at once, on record, and nothing of the agent's is left open in the daemon."""
    pid = keyed.run("systemctl", "show", "-P", "MainPID", "jitsudod", check=True).stdout.strip()
    count = ("bash", "-c", f"ls -l /proc/{pid}/fd | grep -c socket:")
    before, journal = keyed.run(*count).stdout, Journal.from_now(keyed)
    stopped = f"{AGENT}ssh-add -q .ssh/proof; kill -STOP $SSH_AGENT_PID; trap : INT"
    shown = at_terminal(keyed, f"{stopped}; sudo whoami; echo status $?; kill -CONT $SSH_AGENT_PID", ("awaited", None))
    assert shown.startswith("jitsudo: your SSH agent's answer is awaited\n")
    assert shown.endswith("jitsudo: interrupted\nstatus 1\n")
    journal.expect("command.denied", reason="sudo went on without an answer")
    until(lambda: int(keyed.run(*count).stdout) <= int(before), "the connection's end")


REFUSED_AGENTS = {
    "none": ("sudo -n whoami", "SSH_AUTH_SOCK is not set"),
    "empty": (AGENT + "sudo -n whoami", "none of the keys"),
    "another key": (AGENT + "ssh-add -q .ssh/other; sudo -n whoami", "none of the keys"),
    "a socket of root's": ("SSH_AUTH_SOCK=/run/jitsudo/decide sudo -n whoami", "cannot be reached"),
    "the daemon itself": ("SSH_AUTH_SOCK=/run/jitsudo/control sudo -n whoami", "SSH agent"),
    "a folder": ("SSH_AUTH_SOCK=/tmp sudo -n whoami", "cannot be reached"),
    "a file": ("SSH_AUTH_SOCK=/etc/passwd sudo -n whoami", "cannot be reached"),
    "too long": ("SSH_AUTH_SOCK=/$(printf %0500d 0) sudo -n whoami", "cannot be reached"),
    "locked": (AGENT + "ssh-add -q .ssh/proof; printf 'x\\nx\\n' | ssh-add -q -x; sudo -n whoami", "none of the keys"),
    "stopped": (AGENT + "ssh-add -q .ssh/proof; kill -STOP $SSH_AGENT_PID; sudo -n whoami; s=$?;"
                " kill -CONT $SSH_AGENT_PID; exit $s", "did not answer in time"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_AGENTS)
def test_an_agent_that_cannot_prove_it_is_refused(keyed: Lab, name: str) -> None:
    """With a sentence that says why, in time."""
    script, words = REFUSED_AGENTS[name]
    done = keyed.run("bash", "-c", script, user="alice")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


HOSTILE = Path(__file__).parent / "data" / "hostile_agent.py"
HOSTILE_WORDS = {"flood": "not understood", "dribble": "did not answer in time", "descriptors": "not understood"}


@pytest.mark.parametrize("kind", HOSTILE_WORDS)
def test_a_hostile_agent_holds_up_nobody(keyed: Lab, kind: str) -> None:
    """It proves nothing, and the daemon serves others meanwhile: also while what it sent is being closed."""
    keyed.put("/srv/hostile.py", HOSTILE.read_text())
    script = (
        f"cd $(mktemp -d); python3 /srv/hostile.py {kind} $PWD/agent > began & while ! [ -s began ]; do sleep 0.1; done\n"
        "SSH_AUTH_SOCK=$PWD/agent sudo -n whoami & sudo=$!; s=$(date +%s%N); sleep 0.5; sudo -n -l > listed; e=$(date +%s%N)\n"
        "wait $sudo; r=$?; kill %1; [ -s listed ] || exit 9; echo $(( (e - s) / 1000000 )); exit $r"
    )
    done = keyed.run("bash", "-c", script, user="alice")
    assert done.returncode == 1, done.stderr
    assert HOSTILE_WORDS[kind] in done.stderr
    assert int(done.stdout) < 4000


# The word yes.


def test_what_has_to_be_confirmed(asked: Lab) -> None:
    """Yes goes on; anything else, ^C included, does not."""
    question = "This takes a production service down.\nType yes to go on: "
    name = asked.run("hostname").stdout
    assert at_terminal(asked, "sudo hostname", ("go on: ", "yes")) == f"{question}yes\n{name}"
    for line in ("y", "no", "", "yes please", None):
        shown = at_terminal(asked, "sudo hostname; echo status $?", ("go on: ", line))
        assert shown.endswith("\njitsudo: not confirmed\nstatus 1\n"), line


BY_SCRIPT = ["sudo -n hostname", "sudo hostname", "sudo -S hostname", "SUDO_ASKPASS=/bin/yes sudo -A hostname"]


@pytest.mark.parametrize("script", BY_SCRIPT)
def test_a_script_confirms_nothing(asked: Lab, script: str) -> None:
    """Neither standard input nor a program says yes."""
    done = asked.run("bash", "-c", script, user="alice", input="yes\nyes\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "has to be confirmed on a terminal" in done.stderr
