"""sudo, su, sshd and pamtester under valgrind, with the front ends as they are installed: nothing to report, nothing lost.

The programs are the distribution's. Under valgrind nothing is set-uid, so sudo and su are copies without that bit, which a
set-uid helper starts as the kernel would have started them: the person's real uid, effective uid 0, in their login session.
The daemon sees what it always sees.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from acts import POLICY as POLICIES
from acts import obtain, return_everything, until
from lab import Lab
from test_authentication import AGENT
from test_authentication import POLICY as PROOFS
from test_pam import REFUSED, alone, gated, no_daemon, stack

TREE = Path(__file__).parents[2]
PLUGIN = "/usr/libexec/sudo/jitsudo_native.so"
MODULE = "/usr/lib/x86_64-linux-gnu/security/pam_jitsudo.so"
PLACE = "/usr/local/libexec/valgrind"
LOGS = "/run/valgrind"
FOUND = 66
# valgrind itself: the distribution puts a shell script in front of it, and shells give set-uid privileges up.
VALGRIND = (
    "valgrind.bin", f"--error-exitcode={FOUND}", "--leak-check=full", "--errors-for-leak-kinds=definite",
    "--keep-debuginfo=yes", "--vgdb=no", f"--suppressions={PLACE}/suppressions", f"--log-file={LOGS}/%p.log",
)  # fmt: skip
SUDO = (f"{PLACE}/as-root", *VALGRIND, f"{PLACE}/sudo")
SU = (f"{PLACE}/as-root", *VALGRIND, f"{PLACE}/su")
PAMTESTER = (*VALGRIND, "pamtester", "jt-test")
PORT = 2022
# What it starts for other purposes is not watched; a set-uid helper of pam_unix cannot be.
ELSEWHERE = "--trace-children-skip=/bin/*,/usr/bin/*,*/unix_chkpwd"
SSHD = (*VALGRIND, "--trace-children=yes", ELSEWHERE, "/usr/sbin/sshd", "-D", "-p", str(PORT))
SSH = f"ssh -i /root/pam_key -p {PORT} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null alice@localhost id"
NO_TEXT = b"\xff".decode(errors="surrogateescape")


def made(*words: str) -> Path:
    """The folder that scripts/lab-root makes."""
    done = subprocess.run([str(TREE / "scripts" / "lab-root"), *words], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def equip(host: Lab) -> None:
    """valgrind, the programs without their set-uid bits, the helper, and the native plugin whatever sudo had."""
    for package in made("debs", host.suite, "valgrind").glob("*.deb"):
        host.put(f"/root/valgrind/{package.name}", package.read_bytes())
    host.run("sh", "-ec", "dpkg --install /root/valgrind/*.deb", check=True)
    host.put(f"{PLACE}/suppressions", (TREE / "tests/valgrind/suppressions").read_bytes())
    host.put(f"{PLACE}/unconfined.so", (made("planted", host.suite) / "unconfined.so").read_bytes())
    host.run("install", "-m", "0755", "/usr/bin/sudo", "/usr/bin/su", PLACE, check=True)
    host.run("install", "-m", "4755", "/usr/bin/env", f"{PLACE}/as-root", check=True)
    host.run("install", "-d", "-m", "1777", LOGS, check=True)
    host.put(PLUGIN, (made("artifacts", host.suite, "native") / "jitsudo_native.so").read_bytes())
    host.put("/etc/sudo.conf", "Plugin jitsudo_native jitsudo_native.so\n")


@pytest.fixture(scope="module")
def equipped(own_host: Lab) -> Iterator[Lab]:
    """A host with what the tests need."""
    equip(own_host)
    with gated(own_host):
        yield own_host


@pytest.fixture
def watched(equipped: Lab) -> Iterator[Lab]:
    """The same, without grants and logs of other tests."""
    equipped.run("sh", "-c", f"rm -f {LOGS}/*", check=True)
    yield equipped
    return_everything(equipped)


@contextmanager
def planted(host: Lab) -> Iterator[None]:
    """Module and plugin are those that have mistakes, for a while."""
    saved = {path: host.run("cat", path, check=True).stdout for path in (PLUGIN, MODULE)}
    for path in saved:
        host.put(path, (made("planted", host.suite) / Path(path).name).read_bytes())
    try:
        yield
    finally:
        for path, content in saved.items():
            host.put(path, content)


@contextmanager
def sshd(host: Lab) -> Iterator[None]:
    """Another sshd than the host's, under valgrind; what it started has ended in the end."""
    unit = "valgrind-sshd"
    preload = f"LD_PRELOAD={PLACE}/unconfined.so"
    host.run("systemd-run", "--quiet", "--collect", f"--unit={unit}", "-E", preload, *SSHD, check=True)
    try:
        until(lambda: host.run("sh", "-c", f"ss -Hltn | grep -q ':{PORT} '").returncode == 0, "sshd listens")
        yield
        until(lambda: host.run("pgrep", "-c", "^memcheck").stdout.strip() == "1", "its sessions have ended")
    finally:
        host.run("systemctl", "stop", unit)


def reports(host: Lab, processes: int) -> list[str]:
    """What valgrind wrote of each process that did not become another program; there are as many as that, or more.

    Whoever started them may be told of their end before valgrind has written what it found.
    """
    until(lambda: host.run("pgrep", "^memcheck").returncode == 1, "all of them have ended")
    everything = host.run("sh", "-c", f"cd {LOGS} && for log in *; do cat $log; printf '\\f'; done", check=True).stdout
    ended = [log for log in everything.split("\f") if "ERROR SUMMARY" in log]
    assert len(ended) >= processes, everything
    return ended


def findings(host: Lab, processes: int) -> list[str]:
    """What valgrind found in those, each with the functions that led there."""
    return [block for log in reports(host, processes) for block in log.split("== \n") if "==    at 0x" in block]


def nothing_to_report(host: Lab, processes: int) -> None:
    """At least so many processes were watched to their end, and none had anything to say."""
    assert "\n".join(findings(host, processes)) == ""
    assert all("ERROR SUMMARY: 0 errors" in log for log in reports(host, processes))


def mistakes_are_found(host: Lab, file: str) -> None:
    """Both kinds of what was planted in that file."""
    ours = [block for block in findings(host, 1) if f"/{file})" in block]
    assert any("Invalid read" in block for block in ours), ours
    assert any("definitely lost" in block for block in ours), ours


def as_alice(host: Lab, *command: str, typed: str = "root") -> subprocess.CompletedProcess[str]:
    """In her own login session."""
    return host.run(*command, user="alice", input=f"{typed}\n")


def test_sudo_has_nothing_to_report(watched: Lab) -> None:
    """Refused, listed, allowed after a password on a terminal, with arguments that are no text; without a daemon; root."""
    refused = as_alice(watched, *SUDO, "-n", "id")
    assert (refused.returncode, "jitsudo: alice holds no grant on this host" in refused.stderr) == (1, True)
    obtain(watched, "use-sudo")
    session = watched.spawn("alice", *SUDO, "id")
    session.expect("password for alice: ")
    session.sendline("wrong")
    session.expect("password for alice: ")
    session.sendline("alice")
    session.expect(r"uid=0\(root\)")
    session.expect(pexpect.EOF)
    session.close()
    nothing_to_report(watched, 1)
    assert session.exitstatus == 0
    asked = as_alice(watched, *SUDO, "-S", "id", typed="alice")
    assert (asked.returncode, "uid=0(root)" in asked.stdout) == (0, True)
    assert as_alice(watched, *SUDO, "-n", "id", NO_TEXT).returncode == 1
    assert as_alice(watched, *SUDO, "-l").returncode == 0
    assert as_alice(watched, *SUDO, "-k").returncode == 0
    with no_daemon(watched):
        assert as_alice(watched, *SUDO, "-n", "id").returncode == 1
        assert watched.run(*VALGRIND, f"{PLACE}/sudo", "id", "-u").stdout == "0\n"
    nothing_to_report(watched, 8)


@contextmanager
def proofs(host: Lab) -> Iterator[None]:
    """Roles that want an agent's signature or the word yes, and alice's key, for a while."""
    path = f"{POLICIES}/zy-proofs.yaml"
    make = "mkdir -p .ssh && rm -f .ssh/proof* && ssh-keygen -q -t ed25519 -N '' -f .ssh/proof"
    host.run("bash", "-c", make, user="alice", check=True)
    host.put(path, PROOFS.replace("KEY", host.get("/home/alice/.ssh/proof.pub").strip()))
    try:
        host.run("jitsudo", "policy", "reload", check=True)
        yield
    finally:
        host.run("sh", "-c", f"rm {path} /home/alice/.ssh/proof*; jitsudo policy reload", check=True)


def test_agents_and_confirmations_give_nothing_to_report(watched: Lab) -> None:
    """An agent that signs, one without keys, none; the word yes, another one, nobody to say it."""
    whoami = " ".join([*SUDO, "-n", "whoami"])
    with proofs(watched):
        obtain(watched, "agent-proof")
        obtain(watched, "confirmed")
        signed = as_alice(watched, "bash", "-c", f"{AGENT}ssh-add -q .ssh/proof; {whoami}")
        assert (signed.returncode, signed.stdout) == (0, "root\n")
        for words in (f"{AGENT}{whoami}", f"SSH_AUTH_SOCK=/nowhere {whoami}", whoami):
            assert as_alice(watched, "bash", "-c", words).returncode == 1
        assert as_alice(watched, *SUDO, "hostname").returncode == 1
        for word, status in (("yes", 0), ("no", 1)):
            session = watched.spawn("alice", *SUDO, "hostname")
            session.expect("Type yes to go on: ")
            session.sendline(word)
            session.expect(pexpect.EOF)
            session.close()
            assert session.exitstatus == status
    nothing_to_report(watched, 7)


def test_su_has_nothing_to_report(watched: Lab) -> None:
    """Refused, admitted, closed; without a daemon."""
    with stack(watched, "su", auth=True):
        refused = as_alice(watched, *SU, "-c", "id", "root")
        assert (refused.returncode, REFUSED in refused.stderr) == (1, True)
        obtain(watched, "become-root")
        admitted = as_alice(watched, *SU, "-c", "id", "root")
        assert (admitted.returncode, "uid=0(root)" in admitted.stdout) == (0, True)
        with no_daemon(watched):
            assert as_alice(watched, *SU, "-c", "id", "root").returncode == 1
    nothing_to_report(watched, 3)


def test_sshd_has_nothing_to_report(watched: Lab) -> None:
    """Refused, admitted, closed; without a daemon."""
    with stack(watched, "sshd"), sshd(watched):
        refused = watched.run("sh", "-c", SSH)
        assert (refused.returncode, REFUSED in refused.stderr) == (255, True)
        obtain(watched, "come-in")
        admitted = watched.run("sh", "-c", SSH)
        assert (admitted.returncode, "(alice)" in admitted.stdout) == (0, True)
        with no_daemon(watched):
            assert watched.run("sh", "-c", SSH).returncode == 255
    nothing_to_report(watched, 7)


def test_pamtester_has_nothing_to_report(watched: Lab) -> None:
    """Each entry point: refused and admitted; without a daemon; a password is not changed."""
    with alone(watched):
        for operation in ("authenticate", "acct_mgmt", "open_session", "close_session", "chauthtok"):
            assert watched.run(*PAMTESTER, "alice", operation).returncode == 1
        obtain(watched, "come-in")
        assert watched.run(*PAMTESTER, "alice", "acct_mgmt", "setcred", "open_session", "close_session").returncode == 0
        with no_daemon(watched):
            assert watched.run(*PAMTESTER, "alice", "acct_mgmt").returncode == 1
            assert watched.run(*PAMTESTER, "root", "acct_mgmt", "open_session", "close_session").returncode == 0
    nothing_to_report(watched, 8)


def by_sudo(host: Lab) -> None:
    as_alice(host, *SUDO, "-n", "id")


def by_su(host: Lab) -> None:
    with stack(host, "su"):
        as_alice(host, *SU, "-c", "id", "root")


def by_sshd(host: Lab) -> None:
    with stack(host, "sshd"), sshd(host):
        host.run("sh", "-c", SSH)


def by_pamtester(host: Lab) -> None:
    with alone(host):
        host.run(*PAMTESTER, "alice", "acct_mgmt")


@pytest.mark.parametrize(
    ("use", "file"),
    [(by_sudo, PLUGIN), (by_su, MODULE), (by_sshd, MODULE), (by_pamtester, MODULE)],
    ids=["sudo", "su", "sshd", "pamtester"],
)
def test_mistakes_would_be_found(watched: Lab, use: Callable[[Lab], None], file: str) -> None:
    """With builds of module and plugin that read what was given back, and lose memory."""
    with planted(watched):
        use(watched)
    mistakes_are_found(watched, Path(file).name)
