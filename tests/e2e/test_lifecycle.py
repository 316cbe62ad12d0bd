"""A host's whole life with jitsudo's packages: from installed to purged, with a way to root at every step, and nothing left."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acts import ask, until
from drill import RESTORE, by_su, deciders, enable, furnish, jitsudo_works, mode, root_gets_in, stock_sudo_works
from lab import SCRIPT, Lab

OLDER = "0.0.1"
DPKG_SECONDS = 300
SEEN = ("--waive", "caller:alice/session-*.scope")
NOT_LISTED = ("/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/srv", "/home")
NOT_LISTED += ("/var/log", "/var/tmp", "/var/lib/dpkg", "/var/cache")
# What Debian knows of that a package may leave behind; and all files, but for what runs and what logs.
TRACES = r"""
PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo "# users"; cut -d : -f 1,3 /etc/passwd /etc/group | sort
echo "# units"; systemctl list-unit-files --no-legend | awk '{print $1, $2}' | sort
echo "# links"; find /etc/systemd/system -type l -printf '%p %l\n' | sort
echo "# alternatives"; update-alternatives --get-selections
echo "# profiles"; ls /usr/share/pam-configs
echo "# changed"; dpkg --verify | grep -v /usr/share/ || true
echo "# half-done"; dpkg --audit
echo "# diversions"; dpkg-divert --list; dpkg-statoverride --list || true
echo "# unwritten"; find /etc -name '*.dpkg-*' -o -name '*.new' -o -name '*jitsudo*'
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One host of this file's own a release."""
    from conftest import SUITES

    if "living" in metafunc.fixturenames:
        metafunc.parametrize("living", SUITES, indirect=True, scope="module")


@pytest.fixture(scope="module")
def living(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A host without jitsudo, with the packages of today and of an older version in reach of root."""
    lab = Lab.up(f"life-{os.getpid()}-{request.param}", request.param, bare=True)
    try:
        for folder, version in (("/root/older", (OLDER,)), ("/srv/packages", ())):
            made = [str(SCRIPT.with_name("lab-root")), "packages", request.param, *version]
            built = subprocess.run(made, stdout=subprocess.PIPE, text=True, check=True, timeout=900).stdout.strip()
            for deb in Path(built).glob("*.deb"):
                lab.put(f"{folder}/{deb.name}", deb.read_bytes())
        yield lab
    finally:
        lab.down()


def files(lab: Lab) -> set[str]:
    entries = [word for path in NOT_LISTED for word in ("-path", path, "-o")][:-1]
    found = lab.run("find", "/", "-xdev", "(", *entries, ")", "-prune", "-o", "-printf", r"%p %y %m %u:%g\n", check=True)
    return set(found.stdout.splitlines())


def what_decides(lab: Lab) -> str:
    """Without sudo.conf's time of change: observing edits it and takes its line out again, and that is another time."""
    return re.sub(r"(?m)^(sudo\.conf .*) [0-9]+\.[0-9]+ ", r"\1 ", deciders(lab))


def traces(lab: Lab) -> str:
    return lab.run("sh", "-c", TRACES, check=True).stdout


def installed_version(lab: Lab) -> str:
    return lab.run("dpkg-query", "-W", "-f", "${Version}", "jitsudo", check=True).stdout


def test_from_installing_to_purging(living: Lab) -> None:
    """Each step leaves a sudo that works, stock's or jitsudo's, and root's two ways in; the last one leaves the ledger."""
    lab = living
    lab.run("usermod", "--append", "--groups", "sudo", "alice", check=True)
    lab.put("/etc/sudoers.d/90-alice", "alice ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    before, all_files, all_traces = what_decides(lab), files(lab), traces(lab)
    stock_sudo_works(lab)

    # install
    lab.run("sh", "-c", "exec dpkg --install /root/older/*.deb", timeout=DPKG_SECONDS, check=True)
    assert what_decides(lab) == before
    stock_sudo_works(lab)
    root_gets_in(lab)

    # observe
    lab.run("jitsudo", "setup", "observe", check=True)
    stock_sudo_works(lab)
    assert mode(lab) == "observe"
    until(lambda: "/usr/bin/whoami" in lab.run("jitsudo", "setup", "report").stdout, "the report knows the call", 30)

    # enable, use, confirm
    rules = lab.get("/etc/sudoers.d/90-alice")
    furnish_policy(lab)
    enable(lab, *SEEN)  # the observed call is one that jitsudo will refuse, and the checks know that
    assert mode(lab) == "enabled"
    jitsudo_works(lab)
    root_gets_in(lab)

    # upgrade, from inside a jitsudo session
    ask(lab, "admin")
    done = lab.run("sh", "-c", "exec sudo -n dpkg --install /srv/packages/*.deb", user="alice", timeout=DPKG_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert installed_version(lab) != OLDER
    assert mode(lab) == "enabled"
    jitsudo_works(lab)
    root_gets_in(lab)

    # break, and roll back
    lab.run("sh", "-ec", "cd /usr/libexec/sudo; mv jitsudo_native.so /root/; echo nonsense >jitsudo_native.so", check=True)
    assert lab.run("sudo", "-n", "whoami", user="alice").returncode == 1
    by_su(lab, RESTORE)
    lab.run("mv", "/root/jitsudo_native.so", "/usr/libexec/sudo/", check=True)
    assert what_decides(lab) == before
    stock_sudo_works(lab)
    root_gets_in(lab)
    lab.run("jitsudo", "setup", "enable", "--front-end", "native", *SEEN, check=True)
    lab.run("jitsudo", "setup", "rollback", check=True)
    assert what_decides(lab) == before
    stock_sudo_works(lab)

    # disable
    enable(lab, *SEEN)
    done = lab.run("sudo", "-n", "jitsudo", "setup", "disable", user="alice")
    assert done.returncode == 0, done.stderr
    assert mode(lab) == "off"
    assert what_decides(lab) == before
    assert lab.get("/etc/sudoers.d/90-alice") == rules
    stock_sudo_works(lab)

    # remove, while enabled
    enable(lab, *SEEN)
    lab.run("dpkg", "--remove", "jitsudo", "jitsudo-sudo-native", "libpam-jitsudo", timeout=DPKG_SECONDS, check=True)
    assert "jitsudo" not in lab.get("/etc/sudo.conf")
    stock_sudo_works(lab)
    root_gets_in(lab)

    # purge: what is left is the record alone
    lab.run("dpkg", "--purge", "jitsudo", "jitsudo-sudo-native", "libpam-jitsudo", timeout=DPKG_SECONDS, check=True)
    stock_sudo_works(lab)
    root_gets_in(lab)
    assert what_decides(lab) == before
    left = {line for line in files(lab) - all_files if not line.startswith("/var/backups/jitsudo-ledger-")}
    assert left == set()
    assert all_files - files(lab) == set()
    assert traces(lab) == all_traces


def furnish_policy(lab: Lab) -> None:
    """The policy alone: alice's rules are there already, and their times count."""
    rules = lab.run("stat", "-c", "%y", "/etc/sudoers.d/90-alice", check=True).stdout.strip()
    furnish(lab)
    lab.run("touch", "-d", rules, "/etc/sudoers.d/90-alice", check=True)
    lab.run("jitsudo", "policy", "reload", check=True)
