"""What tests that may lock somebody out share: the ways in, what decides about them, the time that a way back takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
from acts import ask
from lab import Lab

MOST_SECONDS = 300  # what a documented recovery may take
RULES = "alice ALL=(ALL) NOPASSWD: ALL\n"
POLICY = """version: 1
roles:
  admin:
    description: Set jitsudo up, upgrade it, and look around
    who: ["group:sudo"]
    authenticate: never
    request: {max_duration: 1h, approvals: 0}
    run_as: {users: [root]}
    root_equivalent: true
    allow:
      - command: /usr/bin/jitsudo
        operands: [{literal: setup}, {one_of: [enable, confirm, status, disable, rollback]}]
        options: {"--front-end": {one_of: [python, native]}}
      - command: /usr/bin/dpkg
        options: {"--install": flag}
        operands: [{path: {under: /srv/packages}, count: "1.."}]
      - command: /usr/bin/id
"""
RESTORE = "sh /etc/jitsudo/kept/jitsudo-restore"
# Every file that decides who becomes root: type, mode, owner, time of change, content; folders without their times.
DECIDERS = r"""
cd /etc
find sudo.conf sudoers sudoers.d pam.d \( -type d -printf '%p %y %m %U:%G\n' \) -o -printf '%p %y %m %U:%G %T@ %s %l\n' | sort
find sudo.conf sudoers sudoers.d pam.d -type f -print0 | sort -z | xargs -0 sha256sum
"""


def deciders(lab: Lab) -> str:
    """Equal before and after if nothing that decides has changed; the services of the package's own are not part of it."""
    shown = lab.run("sh", "-c", DECIDERS, check=True).stdout
    return "\n".join(line for line in shown.splitlines() if "pam.d/jitsudo" not in line)


def furnish(lab: Lab) -> None:
    """alice administers: member of group sudo, with a file of rules of her own, and a policy that lets her."""
    lab.put("/etc/sudoers.d/90-alice", RULES, mode=0o440)
    lab.put("/etc/jitsudo/policy.d/admin.yaml", POLICY)
    lab.run("usermod", "--append", "--groups", "sudo", "alice", check=True)


def stock_sudo_works(lab: Lab) -> None:
    """sudoers decides, for alice and for root."""
    done = lab.run("sudo", "-n", "whoami", user="alice")
    assert (done.returncode, done.stdout) == (0, "root\n"), done.stderr
    assert lab.run("sudo", "-n", "whoami").stdout == "root\n"


def jitsudo_works(lab: Lab) -> None:
    """What no role names is refused, what a grant covers runs, and root needs none."""
    done = lab.run("sudo", "-n", "whoami", user="alice")
    assert (done.returncode, done.stdout, "jitsudo:" in done.stderr) == (1, "", True), done.stderr
    ask(lab, "admin")
    done = lab.run("sudo", "-n", "id", "-u", user="alice")
    assert "jitsudo:" in done.stderr or done.returncode == 0, done.stderr
    assert lab.run("sudo", "-n", "id", user="alice").stdout.startswith("uid=0(root)")
    assert lab.run("sudo", "-n", "whoami").stdout == "root\n"


def by_su(lab: Lab, command: str) -> str:
    """What a command prints that alice runs by root's password; it ends well."""
    with lab.spawn("alice", "su", "-", "-c", f"{command} && echo well-$((40 + 2))", timeout=60) as terminal:
        terminal.expect("Password: ")
        terminal.sendline("root")
        terminal.expect("well-42")
        return str(terminal.before)


def root_gets_in(lab: Lab) -> None:
    """By root's password, at a console through PAM's login, and by su."""
    assert "uid=0(root)" in by_su(lab, "id")
    with lab.spawn(None, "/bin/login", timeout=60) as console:
        console.expect("login: ")
        console.sendline("root")
        console.expect("Password: ")
        console.sendline("root")
        console.expect("# ")
        console.sendline("echo in-$((40 + 2)); exit")
        console.expect("in-42")
        console.expect(pexpect.EOF)


def enable(lab: Lab, *options: str) -> None:
    """Enabled and confirmed, as an administrator does it from two logins."""
    done = lab.run("sudo", "-n", "jitsudo", "setup", "enable", "--front-end", "native", *options, user="alice")
    assert done.returncode == 0, done.stdout + done.stderr
    ask(lab, "admin")
    done = lab.run("sudo", "-n", "jitsudo", "setup", "confirm", user="alice")
    assert done.returncode == 0, done.stdout + done.stderr


def mode(lab: Lab) -> str:
    """The first line of `jitsudo setup status`: off, enabled, ..."""
    line = lab.run("jitsudo", "setup", "status").stdout.splitlines()[0]
    return line.split()[1].rstrip(":")


@contextmanager
def timed(lab: Lab, what: str) -> Iterator[None]:
    """Print how long a way back took, and let it take no longer than what is promised."""
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    print(f"\nlock-out drill, {lab.suite}, {what}: {took:.1f} s")  # noqa: T201  the times are what the drill is for
    assert took < MOST_SECONDS
