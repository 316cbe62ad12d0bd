"""sudo, su and sshd themselves under AddressSanitizer and UBSan, with the C front ends built for it: nothing to report.

A preloaded library that is setuid and lies where the linker looks first is taken by setuid programs, too (ld.so(8)).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from acts import obtain
from lab import Lab
from test_pam import gate, ssh, stack  # noqa: F401  a fixture

TREE = Path(__file__).parents[2]
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
PLUGIN = "/usr/libexec/sudo/jitsudo_native.so"
MODULE = f"{LIBRARIES}/security/pam_jitsudo.so"
REPORTS = "/run/sanitizers"
# verbosity: so that there is a file for each process that was looked at. Leaks of sudo and sshd are not ours; those of the
# front ends are looked for in tests/fault.
SETTINGS = f"detect_leaks=0:verbosity=1:log_path={REPORTS}/log"
# The sanitizer wraps crypt(3), and finds what it wraps only if that is there from the start.
PRELOADED = "libasan.so.8 libcrypt.so.1"
WATCHED = ("env", f"LD_PRELOAD={PRELOADED}", f"ASAN_OPTIONS={SETTINGS}", f"UBSAN_OPTIONS={SETTINGS}")
# systemd starts nothing six times in ten seconds, unless it is told that this is meant.
RESTART = "systemctl daemon-reload; systemctl reset-failed ssh.service; systemctl restart ssh.service"
UNIT = "/run/systemd/system/ssh.service.d/sanitizers.conf"


def built(suite: str) -> dict[str, Path]:
    """What goes onto a host of that release: by the path there."""
    command = [str(TREE / "scripts" / "lab-root"), "sanitized", suite]
    made = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return {
        PLUGIN: made / "jitsudo_native.so",
        MODULE: made / "pam_jitsudo.so",
        f"{LIBRARIES}/libasan.so.8": made / "libasan.so",
        f"{LIBRARIES}/libubsan.so.1": made / "libubsan.so",
    }


@pytest.fixture
def watched(gate: Lab) -> Iterator[Lab]:  # noqa: F811
    """A host whose front ends are those that were built for the sanitizers; sshd runs under them."""
    saved = ("/etc/sudo.conf", PLUGIN, MODULE)
    preloaded = [f"{LIBRARIES}/{name}" for name in PRELOADED.split()]
    gate.run("sh", "-c", 'for file; do [ ! -e "$file" ] || cp -p "$file" "$file.saved"; done', "save", *saved, check=True)
    for path, file in built(gate.suite).items():
        gate.put(path, file.read_bytes())
    gate.run("chmod", "u+s", *preloaded, check=True)
    gate.put("/etc/sudo.conf", "Plugin jitsudo_native jitsudo_native.so\n")
    gate.run("install", "-d", "-m", "1777", REPORTS, check=True)
    gate.put(UNIT, f'[Service]\nEnvironment="LD_PRELOAD={PRELOADED}" "ASAN_OPTIONS={SETTINGS}" "UBSAN_OPTIONS={SETTINGS}"\n')
    gate.run("sh", "-ec", RESTART, check=True)
    try:
        yield gate
    finally:
        gate.run("rm", "-rf", UNIT, REPORTS)
        gate.run("sh", "-ec", RESTART, check=True)
        back = 'for file; do rm -f "$file"; [ ! -e "$file.saved" ] || mv "$file.saved" "$file"; done'
        gate.run("sh", "-c", back, "back", *saved)
        gate.run("chmod", "u-s", *preloaded)


def nothing_to_report(host: Lab, processes: int) -> None:
    """At least so many processes were looked at, and none has anything to say."""
    seen = host.run("sh", "-c", f"ls {REPORTS} | wc -l", check=True).stdout
    assert int(seen) >= processes
    found = host.run("grep", "-rhE", "-A30", "ERROR: |runtime error|SUMMARY", REPORTS).stdout
    assert found == ""


def test_sudo_has_nothing_to_report(watched: Lab) -> None:
    """Refused, listed, allowed after a password, with arguments that are no text; and without a daemon."""
    refused = watched.run(*WATCHED, "sudo", "-n", "id", user="alice")
    assert "jitsudo: alice holds no grant on this host" in refused.stderr
    obtain(watched, "use-sudo")
    session = watched.spawn("alice", *WATCHED, "sudo", "id")
    session.expect("password for alice: ")
    session.sendline("alice")
    session.expect(r"uid=0\(root\)")
    session.expect(pexpect.EOF)
    odd = watched.run(*WATCHED, "sudo", "-n", "id", b"\xff".decode(errors="surrogateescape"), user="alice")
    assert odd.returncode == 1
    listed = watched.run(*WATCHED, "sudo", "-n", "-l", user="alice")
    assert listed.returncode in {0, 1}
    assert "AddressSanitizer" not in refused.stderr + listed.stderr
    watched.run(*WATCHED, "sudo", "-k", user="alice")
    assert watched.run(*WATCHED, "sudo", "id", "-u").stdout == "0\n"
    nothing_to_report(watched, 5)


def test_su_has_nothing_to_report(watched: Lab) -> None:
    """Refused, admitted, closed."""
    with stack(watched, "su", auth=True):
        refused = watched.run(*WATCHED, "su", "-c", "id", "root", user="alice", input="root\n")
        assert "jitsudo: alice holds no grant on this host" in refused.stderr
        obtain(watched, "become-root")
        admitted = watched.run(*WATCHED, "su", "-c", "id", "root", user="alice", input="root\n")
        assert "uid=0(root)" in admitted.stdout
    nothing_to_report(watched, 2)


def test_sshd_has_nothing_to_report(watched: Lab) -> None:
    """Refused, admitted, closed."""
    with stack(watched, "sshd"):
        assert ssh(watched, "id").returncode == 255
        obtain(watched, "come-in")
        assert "(alice)" in ssh(watched, "id").stdout
    nothing_to_report(watched, 3)
