"""The Debian packages, on a host that had none of jitsudo: installed, upgraded under load, removed and purged."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acts import until
from lab import SCRIPT, Lab

SOON = 30  # seconds for what is there in a moment, on a busy machine, too
DPKG_SECONDS = 300
TREE = Path(__file__).resolve().parents[2]
PACKAGES = ("jitsudo", "jitsudo-sudo-native", "libpam-jitsudo")
INSTALL = "umask 000; exec dpkg --install /root/packages/*.deb"  # the umask of whoever calls apt must not matter
POLICY = """\
version: 1
roles:
  packages:
    description: Upgrade packages
    who: ["user:alice"]
    authenticate: never
    request: {max_duration: 1h, approvals: 0}
    allow:
      - command: /usr/bin/dpkg
        options: {"--install": flag}
        operands: [{path: {under: /srv/packages}, count: "1.."}]
      - {command: /usr/bin/sleep, operands: [{int: {max: 600}}]}
"""
# What decides about sudo and PAM, to the byte; and everything there is, but for what runs and what logs.
DECIDERS = (
    "find /etc/sudo.conf /etc/sudoers /etc/sudoers.d /etc/pam.d -type f"
    " -exec stat -c '%n %U %G %a %Y' {} + -exec sha256sum {} +"
)
NOT_LISTED = ("/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/srv", "/home")
NOT_LISTED += ("/var/log", "/var/tmp", "/var/lib/dpkg", "/var/cache")
NOT_ENTERED = [word for path in NOT_LISTED for word in ("-path", path, "-o")][:-1]
ALL_FILES = ["find", "/", "-xdev", "(", *NOT_ENTERED, ")", "-prune", "-o", "-printf", r"%y:%m:%u:%g:%p\n"]


def make(*argv: str | Path) -> str:
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=900).stdout.strip()


@pytest.fixture(scope="module")
def fresh(bare_host: Lab) -> Iterator[Lab]:
    """A host of these tests' own, with the packages ready to be installed."""
    lab = Lab.up(f"{bare_host.name}-packages", bare_host.suite, bare=True)
    try:
        for deb in Path(make(SCRIPT.with_name("lab-root"), "packages", lab.suite)).glob("*.deb"):
            lab.put(f"/root/packages/{deb.name}", deb.read_bytes())
        for test in ("installed", "round-trip"):
            lab.put(f"/root/tests/{test}", (TREE / "debian/tests" / test).read_bytes(), mode=0o755)
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module")
def untouched(fresh: Lab) -> str:
    """All files of the host before anything was installed."""
    return fresh.run(*ALL_FILES, check=True).stdout


@pytest.fixture(scope="module")
def deciders(fresh: Lab) -> str:
    """What decides about sudo and PAM before anything was installed."""
    return fresh.run("sh", "-c", DECIDERS, check=True).stdout


@pytest.fixture(scope="module")
def installed(fresh: Lab, untouched: str, deciders: str) -> Lab:
    """The host with the packages."""
    assert untouched
    assert deciders
    fresh.run("sh", "-c", INSTALL, timeout=DPKG_SECONDS, check=True)
    return fresh


@pytest.fixture
def enabled(installed: Lab) -> Lab:
    """The host with sudo in jitsudo's hands."""
    installed.put("/etc/jitsudo/policy.d/packages.yaml", POLICY)
    installed.run("jitsudo", "policy", "reload", check=True)
    if "unconfirmed" not in installed.run("jitsudo", "setup", "status", check=True).stdout:
        installed.run("jitsudo", "setup", "enable", "--front-end", "native", check=True)
    return installed


def test_packages_are_without_fault_and_the_same_when_built_again(bare_host: Lab, tmp_path: Path) -> None:
    """lintian has nothing to say at warning level, and two builds in different places give the same bytes."""
    make(SCRIPT.with_name("build-deb"), "--output", tmp_path, "--lintian", "--check", bare_host.suite)
    assert sorted(deb.name.partition("_")[0] for deb in tmp_path.iterdir()) == sorted(PACKAGES)


def test_installing_changes_nothing_about_sudo_and_pam(installed: Lab, deciders: str) -> None:
    """All of it is as before but for two PAM services of our own; and what was installed is whole."""
    now = installed.run("sh", "-c", DECIDERS, check=True).stdout
    ours = {line for line in now.splitlines() if "/etc/pam.d/jitsudo" in line}
    assert set(now.splitlines()) - ours == set(deciders.splitlines())
    installed.run("/root/tests/installed", check=True)


def test_a_round_trip_on_a_fresh_host(installed: Lab) -> None:
    """A request, a grant, sudo by the native plugin, and back: what Debian's autopkgtest would run."""
    installed.run("/root/tests/round-trip", check=True)


def test_an_upgrade_from_inside_a_session_disturbs_neither_it_nor_others(enabled: Lab) -> None:
    """`sudo dpkg --install` of jitsudo itself ends well, what ran goes on, and sudo works before, during and after."""
    enabled.run("sh", "-c", "mkdir -p /srv/packages && cp /root/packages/*.deb /srv/packages/", check=True)
    enabled.run("jitsudo", "request", "packages", "--for", "30m", "--reason", "upgrade", user="alice", check=True)
    daemon = enabled.run("systemctl", "show", "--property", "MainPID", "jitsudod.service", check=True).stdout
    other = enabled.start("sudo", "sleep", "600", user="alice")
    try:
        until(lambda: enabled.run("pgrep", "-f", "^sleep 600").returncode == 0, "the other one runs", SOON)
        watch = "while [ ! -e /run/upgraded ]; do [ -d /usr/libexec/jitsudo/__pycache__ ] || echo away; : >/run/watched; done"
        folder = enabled.start("sh", "-c", watch)
        until(lambda: enabled.run("test", "-e", "/run/watched").returncode == 0, "the folder is watched", SOON)
        upgrade = "umask 000; exec sudo dpkg --install /srv/packages/*.deb"
        done = enabled.run("sh", "-c", upgrade, user="alice", timeout=DPKG_SECONDS)
        enabled.run("touch", "/run/upgraded", check=True)
        assert done.returncode == 0, done.stderr
        assert enabled.run("systemctl", "show", "--property", "MainPID", "jitsudod.service", check=True).stdout != daemon
        assert enabled.run("sudo", "sleep", "0", user="alice").returncode == 0
        # Were it away for a moment, a sudo with umask 0 would make it, for everybody to write to.
        assert folder.communicate(timeout=SOON)[0] == ""
        assert other.poll() is None
        enabled.run("pkill", "-f", "^sleep 600", check=True)
        assert other.wait(timeout=SOON) == 128 + signal.SIGTERM  # and what becomes of it is still passed on
    finally:
        other.kill()
    enabled.run("/bin/sh", "-c", "grep -q jitsudo_native /etc/sudo.conf", check=True)


def test_a_plugin_that_no_longer_loads_is_found_when_sudo_is_upgraded(enabled: Lab) -> None:
    """The trigger puts sudo back, and the upgrade itself does not fail."""
    break_it = "cd /usr/libexec/sudo && mv jitsudo_native.so /root/ && echo nonsense >jitsudo_native.so"
    enabled.run("sh", "-c", break_it, check=True)
    try:
        enabled.run("dpkg-trigger", "--by-package=sudo", "/usr/bin/sudo", check=True)
        done = enabled.run("dpkg", "--triggers-only", "--pending", check=True)
        assert "everything was put back" in done.stderr
        assert "off" in enabled.run("jitsudo", "setup", "status", check=True).stdout
        assert enabled.run("sudo", "-n", "true", check=True).returncode == 0
    finally:
        enabled.run("mv", "/root/jitsudo_native.so", "/usr/libexec/sudo/jitsudo_native.so", check=True)


def test_a_module_that_a_stack_names_is_not_removed(installed: Lab) -> None:
    """PAM would let nobody in; the removal says which stack it is, and does nothing."""
    kept = installed.get("/etc/pam.d/su")
    installed.put("/etc/pam.d/su", f"{kept}account required pam_jitsudo.so\n")
    try:
        done = installed.run("dpkg", "--remove", "libpam-jitsudo")
        assert done.returncode == 1
        assert "/etc/pam.d/su" in done.stderr
        assert installed.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "libpam-jitsudo").stdout == "installed"
    finally:
        installed.put("/etc/pam.d/su", kept)


@pytest.mark.parametrize("package", ["jitsudo-sudo-native", "jitsudo"])
def test_a_half_installed_package_is_removed_without_breaking_sudo(enabled: Lab, package: str) -> None:
    """dpkg runs no prerm of what was unpacked and never configured; sudo is put back all the same."""
    others = PACKAGES if package == "jitsudo" else (package,)
    enabled.run("sh", "-c", f"dpkg --unpack /root/packages/{package}_*.deb", check=True)
    enabled.run("dpkg", "--remove", *others, timeout=DPKG_SECONDS, check=True)
    assert "jitsudo_" not in enabled.get("/etc/sudo.conf")
    assert enabled.run("sudo", "-n", "true").returncode == 0
    assert enabled.run("cat", "/etc/sudoers").stdout.count("%sudo")
    enabled.run("sh", "-c", INSTALL, timeout=DPKG_SECONDS, check=True)


def test_removing_puts_sudo_back_and_purging_leaves_the_ledger(enabled: Lab, untouched: str, deciders: str) -> None:
    """While jitsudo is enabled, too; and what is left is the record, in a place that is said."""
    enabled.run("dpkg", "--remove", *PACKAGES, timeout=DPKG_SECONDS, check=True)
    now = enabled.run("sh", "-c", DECIDERS, check=True).stdout
    assert {line for line in now.splitlines() if "/etc/pam.d/" not in line} == {
        line for line in deciders.splitlines() if "/etc/pam.d/" not in line
    }
    assert enabled.run("sudo", "-n", "true").returncode == 0
    done = enabled.run("dpkg", "--purge", "jitsudo", check=True)
    left = set(enabled.run(*ALL_FILES, check=True).stdout.splitlines()) - set(untouched.splitlines())
    kept = sorted(line.rpartition(":")[2] for line in left)
    assert kept[0].startswith("/var/backups/jitsudo-ledger-")
    assert kept[0] in done.stdout
    assert [path.removeprefix(kept[0]) for path in kept] == ["", "/host_key.pub", "/ledger.db"]
    units = ("systemctl", "list-units", "--all", "--no-legend", "jitsudo*.service", "jitsudo*.socket")
    until(lambda: enabled.run(*units).stdout == "", "systemd has forgotten the units", SOON)
