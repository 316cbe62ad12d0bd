"""The lock-out drill: everything that can happen to a host that jitsudo guards, and the documented way back, with its time.

Run with -rP to see the times. A power loss here is one: what the host had not written to its disk is gone.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from acts import until
from drill import (
    MOST_SECONDS,
    RESTORE,
    by_su,
    deciders,
    enable,
    furnish,
    jitsudo_works,
    mode,
    root_gets_in,
    stock_sudo_works,
    timed,
)
from lab import SCRIPT, Lab

CHANGE_SECONDS = 300  # what the drill itself does to a host may take, on a busy machine
# `jitsudo setup enable`, which stops for good before it begins the step that is named ("done": before it says so).
HELD = """
import sys, time
import jitsudo.setup.enabling as enabling
from jitsudo.cli.main import main

name, write_step, write_state = sys.argv.pop(1), enabling.write_step, enabling.write_state

def hold():
    open("/run/held", "w").close()
    time.sleep(600)

def step(plan, one):
    if one.name == name:
        hold()
    write_step(plan, one)

def state(one, folder):
    if one.step == enabling.DONE == name:
        hold()
    write_state(one, folder)

enabling.write_step, enabling.write_state = step, state
sys.exit(main())
"""
NOTHING_CHANGED_YET = ("watch", "keep")  # what watches may not be on the disk yet; a rollback tidies up
STEPS = ("watch", "keep", "sudo.conf", "sudoers", "drop-ins", "done")
# The same sudo as another package of a higher version, as an update of Debian's would be.
REPACK = r"""
set -e
rm -rf /root/repack; mkdir -p /root/repack/DEBIAN; cd /root/repack
while read -r path; do
    if [ -d "$path" ]; then mkdir -p ".$path"; continue; fi
    [ ! -e "$path" ] && [ ! -L "$path" ] || cp -a "$path" ".$path"
done </var/lib/dpkg/info/sudo.list
for part in /var/lib/dpkg/info/sudo.*; do
    case $part in *.list | *.md5sums) ;; *) cp -a "$part" "DEBIAN/${part##*/sudo.}" ;; esac
done
dpkg-query --status sudo |
    sed '/^Status:/d; /^Conffiles:/,/^[^ ]/{/^Conffiles:/d; /^ /d}; s/^Version: .*/&+lab1/' >DEBIAN/control
cd /root && dpkg-deb -Zgzip -z1 --build repack sudo.deb >/dev/null && rm -rf repack
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One host of this file's own a release: it loses its power many times."""
    from conftest import SUITES

    if "guarded" in metafunc.fixturenames:
        metafunc.parametrize("guarded", SUITES, indirect=True, scope="module")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A host with a disk, and what decided on it before jitsudo did."""

    lab: Lab
    before: str


@pytest.fixture(scope="module")
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """The packages on a host with a disk; sudo is stock's, and alice administers."""
    lab = Lab.up(f"lockout-{os.getpid()}-{request.param}", request.param, "--packages", "--disk")
    try:
        furnish(lab)
        lab.run("jitsudo", "policy", "reload", check=True)
        made = [str(SCRIPT.with_name("lab-root")), "debs", request.param, "libfaketime"]
        for deb in Path(subprocess.run(made, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()).glob("*.deb"):
            lab.put(f"/root/debs/{deb.name}", deb.read_bytes())
        lab.run("sh", "-c", "exec dpkg --install /root/debs/*.deb", timeout=CHANGE_SECONDS, check=True)
        lab.run("sh", "-ec", REPACK + "sync", timeout=CHANGE_SECONDS, check=True)
        yield Guarded(lab, deciders(lab))
    finally:
        lab.down()


@pytest.fixture
def stock(guarded: Guarded) -> Iterator[Guarded]:
    """Stock sudo decides, as at the beginning; a test that fails leaves nothing to the next one."""
    assert mode(guarded.lab) == "off"
    assert deciders(guarded.lab) == guarded.before
    yield guarded
    guarded.lab.run("sh", "-c", f"[ ! -e /etc/jitsudo/kept ] || {RESTORE}", check=True)


@pytest.fixture
def enabled(stock: Guarded) -> Guarded:
    """jitsudo decides, and it was confirmed."""
    enable(stock.lab)
    return stock


def recover(host: Guarded, what: str) -> None:
    """What the guide says: root's password, and one program that needs only a shell."""
    with timed(host.lab, what):
        by_su(host.lab, RESTORE)
        stock_sudo_works(host.lab)
    root_gets_in(host.lab)


def power_cycle(host: Guarded, what: str, *, watched: bool = True) -> None:
    """Without power and back; `watched`: the boot has to put back what was begun."""
    host.lab.crash()
    with timed(host.lab, f"power lost {what}"):
        host.lab.boot()
        stock_sudo_works(host.lab)
    assert deciders(host.lab) == host.before
    if not watched:
        host.lab.run("jitsudo", "setup", "rollback", check=True)
    assert mode(host.lab) == "off"
    assert deciders(host.lab) == host.before
    root_gets_in(host.lab)


@pytest.mark.parametrize("step", STEPS)
def test_power_lost_while_enabling(stock: Guarded, step: str) -> None:
    """Before any step: after the next boot sudo is as it was, to the byte."""
    lab = stock.lab
    with lab.start("python3", "-I", "-c", HELD, step, "setup", "enable", "--front-end", "native") as held:
        try:
            until(lambda: held.poll() is not None or lab.run("test", "-e", "/run/held").returncode == 0, "it is held", 60)
            assert held.poll() is None, held.communicate()
            power_cycle(stock, f"before step {step}", watched=step not in NOTHING_CHANGED_YET)
        finally:
            held.terminate()


def test_power_lost_before_the_confirmation(stock: Guarded) -> None:
    """An enable that nobody confirmed does not outlive a boot."""
    stock.lab.run("jitsudo", "setup", "enable", "--front-end", "native", check=True)
    power_cycle(stock, "before the confirmation")


def test_power_lost_after_the_confirmation(enabled: Guarded) -> None:
    """What was confirmed stays: it is on the disk, the daemon comes up, and grants are given."""
    lab = enabled.lab
    lab.crash()
    with timed(lab, "power lost after the confirmation"):
        lab.boot()
        jitsudo_works(lab)
    assert mode(lab) == "enabled"
    root_gets_in(lab)
    recover(enabled, "put back by hand")
    assert deciders(lab) == enabled.before


@dataclass(frozen=True, slots=True)
class Break:
    """Something that happens to a host, what cures it afterwards, and what alice sees of it in between."""

    name: str
    do: str
    undo: str
    says: str


BREAKS = (
    Break(
        "Python gone",
        # The lab itself comes in by a Python of its own, meanwhile.
        "cp -L /usr/bin/python3 /usr/libexec/lab-python;"
        "sed -i '1s,.*,#!/usr/libexec/lab-python -I,' /usr/libexec/jitsudo-lab-login;"
        "systemctl stop jitsudod.service; mkdir /root/away;"
        "mv /usr/bin/python3* /usr/lib/python3/dist-packages/jitsudo /root/away/",
        "mv /root/away/jitsudo /usr/lib/python3/dist-packages/; mv /root/away/* /usr/bin/; rmdir /root/away;"
        "sed -i '1s,.*,#!/usr/bin/python3 -I,' /usr/libexec/jitsudo-lab-login; systemctl reset-failed;"
        "systemctl restart jitsudod-decide.socket jitsudod-control.socket jitsudo-auth.socket;"
        "systemctl start jitsudod.service",
        "jitsudo",
    ),
    Break(
        "the plugin broken",
        "cd /usr/libexec/sudo; mv jitsudo_native.so /root/; echo nonsense >jitsudo_native.so",
        "mv /root/jitsudo_native.so /usr/libexec/sudo/",
        "jitsudo_native.so",
    ),
    Break(
        "the policy emptied",
        "mv /etc/jitsudo/policy.d /root/; mkdir /etc/jitsudo/policy.d; jitsudo policy reload || systemctl restart jitsudod",
        "rmdir /etc/jitsudo/policy.d; mv /root/policy.d /etc/jitsudo/; jitsudo policy reload",
        "jitsudo",
    ),
    Break(
        "the disk full",
        "fallocate -l $(($(df --output=avail -B1 / | tail -n 1) - 4096)) /root/full; head -c 1G /dev/zero >/root/fuller || :;"
        "! echo more >/etc/more; [ ! -s /etc/more ]; systemctl kill -s KILL jitsudod.service",
        "rm -f /root/full /root/fuller /etc/more; systemctl reset-failed; systemctl restart jitsudod.service",
        "jitsudo",
    ),
    Break(
        "the files removed by force",
        # Without the state nobody can say when sudo.conf was changed before jitsudo took its line out.
        "stat -c %y /etc/jitsudo/kept/sudo.conf >/root/time;"
        "rm -rf /usr/libexec/jitsudo /usr/libexec/sudo/jitsudo_* /usr/lib/python3/dist-packages/jitsudo"
        " /usr/bin/jitsudo /var/lib/jitsudo/setup",
        'touch -d "$(cat /root/time)" /etc/sudo.conf; dpkg --install /root/packages/*.deb; systemctl restart jitsudod.service',
        "jitsudo",
    ),
    Break(  # the daemon's clock alone: a host of the lab has no clock of its own, and sudo asks the daemon
        "the clock in 1970",
        "mkdir -p /run/systemd/system/jitsudod.service.d; cd /run/systemd/system/jitsudod.service.d;"
        "library=$(dpkg -L libfaketime | grep '/libfaketime.so.1$');"
        "echo '[Service]' >clock.conf; echo \"Environment=LD_PRELOAD=$library FAKETIME_DONT_FAKE_MONOTONIC=1\" >>clock.conf;"
        "echo 'Environment=\"FAKETIME=@1970-01-01 00:10:00\"' >>clock.conf;"
        "systemctl daemon-reload; systemctl restart jitsudod.service",
        "rm /run/systemd/system/jitsudod.service.d/clock.conf; systemctl daemon-reload; systemctl restart jitsudod.service",
        "clock was set back",
    ),
    Break(
        "the daemon gone",
        "systemctl stop jitsudod.service jitsudod-decide.socket jitsudod-control.socket",
        "systemctl start jitsudod-decide.socket jitsudod-control.socket jitsudod.service",
        "the daemon is not running",
    ),
)


@pytest.mark.parametrize("happens", BREAKS, ids=lambda one: one.name.replace(" ", "-"))
def test_the_way_back_when(enabled: Guarded, happens: Break) -> None:
    """People are refused, never let in; root's password and a shell give the sudo back that was there."""
    lab = enabled.lab
    lab.run("sh", "-ec", happens.do, timeout=CHANGE_SECONDS, check=True)
    try:
        refused = lab.run("sudo", "-n", "whoami", user="alice")
        assert (refused.returncode, refused.stdout, happens.says in refused.stderr) == (1, "", True), refused.stderr
        recover(enabled, happens.name)
    finally:
        lab.run("sh", "-ec", happens.undo, timeout=CHANGE_SECONDS, check=True)
    until(lambda: lab.run("jitsudo", "setup", "status").returncode == 0, "the cure works", 60)
    assert deciders(lab) == enabled.before


def test_purging_by_force_puts_sudo_back_by_itself(enabled: Guarded) -> None:
    """dpkg --force-all asks nobody, and the packages' own scripts still come first."""
    lab = enabled.lab
    with timed(lab, "packages purged by force"):
        packages = ("jitsudo", "jitsudo-sudo-native", "libpam-jitsudo")
        lab.run("dpkg", "--force-all", "--purge", *packages, timeout=MOST_SECONDS, check=True)
        stock_sudo_works(lab)
    assert deciders(lab) == enabled.before
    root_gets_in(lab)
    lab.run("sh", "-ec", "dpkg --install /root/packages/*.deb", timeout=CHANGE_SECONDS, check=True)
    furnish(lab)
    lab.run("touch", "-d", sudoers_time(enabled.before), "/etc/sudoers.d/90-alice", check=True)
    lab.run("jitsudo", "policy", "reload", check=True)


def sudoers_time(shown: str) -> str:
    """When alice's rules were written at first."""
    return "@" + next(line.split()[4] for line in shown.splitlines() if line.startswith("sudoers.d/90-alice "))


def test_sudo_upgraded_underneath(enabled: Guarded) -> None:
    """Another version of sudo takes the place of the one in use: jitsudo goes on, and is looked at by its trigger."""
    lab = enabled.lab
    with timed(lab, "sudo upgraded underneath"):
        lab.run("dpkg", "--install", "/root/sudo.deb", timeout=MOST_SECONDS, check=True)
        jitsudo_works(lab)
    assert lab.run("dpkg-query", "-W", "-f", "${Version}", "sudo").stdout.endswith("+lab1")
    assert lab.run("jitsudo", "setup", "verify").returncode == 0
    assert mode(lab) == "enabled"
    recover(enabled, "put back after sudo's upgrade")
