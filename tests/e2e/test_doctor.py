"""`jitsudo doctor` on a real host: clean while all is well; then things are broken one by one, found, and cured by its cure."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from lab import FRONT_END, Lab
from timing import FIRST, first, timed

WHOLE_SECONDS = 10
# What remains on a healthy host of the lab: nothing sets its clock, it is a container, its policy is for tests (a role of it
# takes any argument), and scripts/install put the front end in place.
REMAINS = {"clock-unsynchronised", "container", "policy-risky", "setup-by-hand"}
REMAINS_BY_SUITE = {"bookworm": set(), "trixie": {"sudo-other"}}  # Debian 13's lab has sudo-rs beside sudo
REMAINS_BY_FRONT_END = {"native": set(), "python": {"front-end-other-recommended"}}


def findings(host: Lab, *options: str, user: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """What doctor finds, by code; what is in order is left out."""
    return problems(first(host, "jitsudo", "doctor", "--json", *options, user=user))


def problems(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    """What doctor says, by code; what is in order is left out."""
    assert done.stderr == ""
    shown = json.loads(done.stdout)
    worst = [one for one in shown["findings"] if one["severity"] == "problem"]
    assert done.returncode == bool(worst), worst
    found: dict[str, list[dict[str, Any]]] = {}
    for one in shown["findings"]:
        if one["severity"] != "ok":
            found.setdefault(one["code"], []).append(one)
    return found


def remaining(host: Lab) -> set[str]:
    return REMAINS | REMAINS_BY_SUITE[host.suite] | REMAINS_BY_FRONT_END[FRONT_END]


@pytest.fixture(scope="module")
def well(own_host: Lab) -> Iterator[Lab]:
    """A host that doctor finds afterwards as it found it before."""
    before = findings(own_host)
    yield own_host
    assert findings(own_host).keys() == before.keys()


def test_a_healthy_host_is_clean(well: Lab) -> None:
    """As root nothing is unknown, nothing is a problem, and what remains is known."""
    found = findings(well)
    assert {code: found[code] for code in found.keys() - remaining(well)} == {}
    assert remaining(well) == found.keys()


def test_text_fits_a_terminal_and_ends_with_the_front_end_and_a_summary(well: Lab) -> None:
    """80 columns, but for cures; colours on a terminal alone."""
    done = first(well, "jitsudo", "doctor", "--all")
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and "cure: " not in line] == []
    assert any(line.startswith("Front end for this host: native, because this sudo ships no Python plugins") for line in lines)
    assert lines[-1].startswith("0 problems, ")
    assert "\033" not in done.stdout
    clock = ("jitsudo", "doctor", "--only", "clock")
    assert "\033[" in well.run(*clock, tty=True).stdout
    assert "\033[" not in well.run("env", "NO_COLOR=1", *clock, tty=True).stdout


def test_strict_is_not_content_with_warnings(well: Lab) -> None:
    """The clock of the lab is not synchronised: a warning."""
    assert well.run("jitsudo", "doctor", "--only", "clock").returncode == 0
    assert well.run("jitsudo", "doctor", "--only", "clock", "--strict").returncode == 1


# What is broken, and what doctor has to call it. The cure is the one that it gives, and nothing else.
BREAKS: dict[str, tuple[str, str, str]] = {
    "a socket that anybody may ask": ("chmod 0666 /run/jitsudo/decide", "sockets", "socket-unsafe"),
    "a socket that is gone": ("rm /run/jitsudo/control", "sockets", "socket-missing"),
    "a folder of the policy that others write": ("chmod 0777 /etc/jitsudo/policy.d", "files", "file-writable"),
    "a file of the policy that is alice's": ("chown alice /etc/jitsudo/policy.d/web.yaml", "files", "file-owner"),
    "a key that others read": ("chmod 0644 /var/lib/jitsudo/host_key", "keys", "key-unsafe"),
    "a public key of another key": ("echo ssh-ed25519 AAAA x > /var/lib/jitsudo/host_key.pub", "keys", "key-mismatch"),
    "the state, open to others": ("chmod 0755 /var/lib/jitsudo", "files", "file-readable"),
    "a folder above that others write": ("chmod 0777 /usr/libexec", "files", "folder-above-unsafe"),
    "a drop-in that opens the cage": (
        "mkdir -p /etc/systemd/system/jitsudod.service.d && printf '[Service]\\nProtectSystem=no\\n' >"
        " /etc/systemd/system/jitsudod.service.d/open.conf && systemctl daemon-reload", "units", "unit-changed"),
    "a unit in the place of ours": (
        "sed /Capability/d /usr/lib/systemd/system/jitsudod.service > /etc/systemd/system/jitsudod.service &&"
        " systemctl daemon-reload", "units", "unit-replaced"),
    "a daemon that is not started at boot": ("systemctl disable jitsudod.service", "daemon", "daemon-not-at-boot"),
    "a daemon that is stuck": ("systemctl kill --kill-whom=main -s STOP jitsudod.service", "daemon", "daemon-silent"),
    "a daemon of before": (
        "sleep 1.1; touch /usr/lib/python3/dist-packages/jitsudo/__init__.py", "daemon", "daemon-outdated"),
    "a journal that forgets": (
        "mkdir -p /etc/systemd/journald.conf.d && printf '[Journal]\\nStorage=volatile\\n' >"
        " /etc/systemd/journald.conf.d/10-forget.conf && systemctl restart systemd-journald", "journald", "journald-volatile"),
    "a shell that is root": ("install -m 4755 /bin/dash /var/tmp/shell", "side-doors", "setuid-foreign"),
    "a package's program that is root": ("chmod u+s /usr/bin/tail", "side-doors", "setuid-unexpected"),
    "alice in docker's group": ("groupadd -f docker && gpasswd -a alice docker", "side-doors", "door-group"),
    "bob in a group that reads logs": ("gpasswd -a bob adm", "side-doors", "door-group-reads"),
    "root's SSH keys": (
        "install -d -m 0700 /root/.ssh && echo 'ssh-ed25519 AAAA me' > /root/.ssh/authorized_keys", "side-doors",
        "door-ssh-root-keys"),
    "root's password over SSH": (
        "echo 'PermitRootLogin yes' > /etc/ssh/sshd_config.d/99-test.conf", "side-doors", "door-ssh-root-password"),
    "an administrator of polkit's": (
        "mkdir -p /usr/lib/polkit-1 && touch /usr/lib/polkit-1/polkitd && gpasswd -a alice sudo && echo 'polkit.addAdminRule("
        'function(action, subject) { return ["unix-group:sudo"]; });\' > /usr/share/polkit-1/rules.d/50-default.rules',
        "side-doors", "door-polkit-admin"),
    "doas": ("echo 'permit nopass alice' > /etc/doas.conf", "side-doors", "door-doas"),
    "rules of a directory": ("echo 'sudoers: files sss' >> /etc/nsswitch.conf", "side-doors", "door-sudoers-directory"),
    "a job from where others write": (
        "install -m 0777 /bin/true /usr/local/bin/job && echo '1 1 * * * root /usr/local/bin/job' > /etc/cron.d/job",
        "side-doors", "door-job-program"),
    "a table of jobs that is alice's": (
        "echo '1 1 * * * root /bin/true' > /etc/cron.d/own && chown alice /etc/cron.d/own", "side-doors", "door-job-file"),
    "a folder of root's PATH that others write": ("chmod 0777 /usr/local/sbin", "side-doors", "door-path-folder"),
    "another sudo before sudo": ("install -m 0755 /bin/true /usr/local/bin/sudo", "sudo", "sudo-shadowed"),
    "a sudo that is not setuid": ("chmod u-s /usr/bin/sudo", "sudo", "sudo-not-setuid"),
    "a sudo.conf that others write": ("chmod 0666 /etc/sudo.conf", "front-end", "sudo-conf-unsafe"),
    "a second policy plugin": (
        "echo 'Plugin sudoers_policy sudoers.so' >> /etc/sudo.conf", "front-end", "front-end-conflict"),
    "a Python plugin without its guard": (
        "echo 'Plugin python_audit python_plugin.so ModulePath=/x.py' >> /etc/sudo.conf", "front-end", "front-end-unguarded"),
    "a second account of root": ("useradd -o -u 0 -M toor", "accounts", "account-uid-zero"),
    "an account without a password": ("passwd -d agent", "accounts", "account-no-password"),
    "a PAM module that is not there": (
        "echo 'account required pam_gone.so' >> /etc/pam.d/chsh", "pam", "pam-module-missing"),
    "pam_systemd in our stack": (
        "echo 'session optional pam_systemd.so' >> /etc/pam.d/jitsudo-sudo", "pam", "pam-systemd-in-scope"),
    "our module where its no does not count": (
        "echo 'account optional pam_jitsudo.so' >> /etc/pam.d/chfn", "pam", "pam-jitsudo-not-required"),
    "recordings that others read": ("install -d -m 0755 /var/log/sudo-io", "recording", "recording-readable"),
}  # fmt: skip
# What the cure leaves, as it should, and the next test does not want.
AFTERWARDS = (
    "rm -f /root/.ssh/authorized_keys /etc/ssh/sshd_config.d/00-jitsudo.conf /etc/ssh/sshd_config.d/99-test.conf /etc/doas.conf"
    " /usr/lib/polkit-1/polkitd /usr/share/polkit-1/rules.d/50-default.rules /etc/polkit-1/rules.d/00-jitsudo.rules; rm -f"
    " /etc/cron.d/job /etc/cron.d/own /usr/local/bin/job /var/tmp/shell /etc/systemd/journald.conf.d/*.conf;"
    " sed -i /pam_gone/d /etc/pam.d/chsh; sed -i /pam_jitsudo/d /etc/pam.d/chfn; groupdel -f docker 2>/dev/null;"
    " rmdir /var/log/sudo-io 2>/dev/null; usermod -p '!' agent; gpasswd -d alice sudo"
)


# Breaks one thing, looks, pastes the cures of its code, looks again, then the next: on the host itself, and in one process,
# since each way there and each start take their time.
TRY = """
import json, subprocess, sys
sys.path.insert(0, "/usr/lib/python3/dist-packages")
from jitsudo.doctor.examination import examine
from jitsudo.doctor.host import Host
breaks, afterwards = json.load(sys.stdin)
def shell(command, option="-c"):
    return subprocess.run(["sh", option, command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
def look(area):
    return [[one.code, one.cure] for one in examine(Host(), [area]) if one.severity != "ok"]
for what, (breaking, area, code) in breaks.items():
    broke = shell(breaking, "-ec")
    found = look(area)
    cured = [shell(cure) for seen, cure in found if seen == code]
    after = look(area)
    shell(afterwards)
    said = [broke.stdout + broke.stderr, *(one.stdout + one.stderr for one in cured)]
    print(json.dumps([what, broke.returncode, [seen for seen, _ in found], [seen for seen, _ in after], said]), flush=True)
"""


@pytest.fixture(scope="module")
def tried(well: Lab) -> dict[str, list[Any]]:
    """By what was broken: how the breaking ended, what was found then, what after the cure, and what the shell said."""
    text = json.dumps([BREAKS, AFTERWARDS])
    done = well.run(*FIRST, "/usr/bin/python3", "-I", "-c", TRY, input=text, timeout=400)
    assert done.returncode == 0, done.stderr
    return {what: rest for what, *rest in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_broken_is_found_and_its_cure_cures_it(what: str, tried: dict[str, list[Any]], well: Lab) -> None:
    """The cure is pasted as it is."""
    code = BREAKS[what][2]
    status, found, after, said = tried[what]
    assert code not in remaining(well)
    assert status == 0, said
    assert code in found
    assert code not in after, said


def test_a_cache_of_the_python_plugin_that_others_write_is_found_and_cured(well: Lab) -> None:
    """Who writes there becomes root at the next sudo; the native plugin has no cache, and nothing is said of it there."""
    folder = "/usr/libexec/jitsudo"
    for breaking in (f"chmod 0777 {folder}/__pycache__", f"rm -r {folder}/__pycache__"):
        well.run("sh", "-ec", breaking, check=True)
        found = findings(well, "--only", "front-end")
        assert ("python-plugin-cache" in found) == (FRONT_END == "python")
        cures = [one["cure"] for one in found.get("python-plugin-cache", [])]
        undo = f"umask 022; python3 -I -m compileall -q {folder}; chmod -R go-w {folder}"
        well.run("sh", "-ec", cures[0] if cures else undo, check=True)
        assert "python-plugin-cache" not in findings(well, "--only", "front-end")


def test_a_front_end_that_does_not_load_is_found_and_sudo_is_given_back(well: Lab) -> None:
    """sudo -V is asked, and what it says is passed on; the cure needs nothing of what is broken."""
    file = f"/usr/libexec/sudo/jitsudo_{FRONT_END}.so"
    well.run("sh", "-ec", f"cp -p /etc/sudo.conf {file} /root; echo cut off > {file}.new; mv {file}.new {file}", check=True)
    try:
        found = findings(well, "--only", "front-end")["front-end-broken"][0]
        assert found["severity"] == "problem"
        assert "jitsudo_" in found["found"]
        assert well.run("sudo", "true").returncode != 0
        well.run("sh", "-ec", found["cure"], check=True)
        assert "front-end-broken" not in findings(well, "--only", "front-end")
        well.run("sudo", "true", check=True)
    finally:
        well.run("sh", "-ec", f"mv /root/jitsudo_{FRONT_END}.so {file}; mv /root/sudo.conf /etc/sudo.conf", check=True)
    assert "front-end-broken" not in findings(well, "--only", "front-end")


def test_a_broken_policy_is_found_with_its_place(well: Lab) -> None:
    """File, line and column, as policy check says."""
    well.put("/etc/jitsudo/policy.d/zz.yaml", "version: 1\nroles: [1]\n")
    try:
        found = findings(well, "--only", "policy")["policy-invalid"][0]
        assert "zz.yaml:2:" in found["found"]
    finally:
        well.run("rm", "/etc/jitsudo/policy.d/zz.yaml", check=True)


def test_rules_that_remain_in_sudoers_are_found_by_person(well: Lab) -> None:
    """They count as soon as jitsudo's line is gone from sudo.conf."""
    well.put("/etc/sudoers.d/old", "User_Alias OPS = alice, %web\nOPS ALL=(ALL) ALL\n", mode=0o440)
    try:
        found = [one["found"] for one in findings(well, "--only", "side-doors")["door-sudoers"]]
        assert found == ["/etc/sudoers has a rule for %web (alice, bob, carol)", "/etc/sudoers has a rule for alice"]
    finally:
        well.run("rm", "/etc/sudoers.d/old", check=True)


# -- where little is there, or may be seen ---------------------------------------------------------------------------


def in_time(host: Lab, *options: str, user: str | None = None) -> dict[str, list[dict[str, Any]]]:
    done, seconds = timed(host, "jitsudo", "doctor", "--json", *options, user=user)
    assert seconds < WHOLE_SECONDS
    return problems(done)


def test_people_see_what_they_may_and_the_rest_is_unknown(well: Lab) -> None:
    """Nothing is called a problem that is only hidden from them."""
    found = in_time(well, user="alice")
    unknown = {code for code, ones in found.items() if ones[0]["severity"] == "unknown"}
    assert unknown >= {"files", "keys", "clock", "accounts", "doors-sudoers"}
    assert all(ones[0]["found"].startswith("needs root") for code, ones in found.items() if code in unknown)
    assert found.keys() - unknown <= remaining(well)


def test_without_the_daemon_all_else_is_examined(well: Lab) -> None:
    """Its absence is one finding of many."""
    sockets = ("jitsudod-decide.socket", "jitsudod-control.socket", "jitsudo-auth.socket")
    well.run("systemctl", "stop", *sockets, "jitsudod.service", check=True)
    try:
        found = in_time(well)
        assert {"daemon-silent", "socket-dead"} <= found.keys()
        for one in (*found["socket-dead"], *found["daemon-silent"]):
            well.run("sh", "-c", one["cure"])
        assert not {"daemon-silent", "socket-dead"} & findings(well).keys()
    finally:
        well.run("systemctl", "start", *sockets, "jitsudod.service", check=True)


STUCK = (
    "printf '#!/bin/sh\\nsleep 60\\n' > /run/stuck; chmod 755 /run/stuck;"
    " for program in getent sudo cvtsudoers dpkg-query systemctl timedatectl systemd-analyze; do"
    " mount --bind /run/stuck /usr/bin/$program; done; exec jitsudo doctor --json"
)


def elsewhere(host: Lab, *argv: str) -> dict[str, list[dict[str, Any]]]:
    """What doctor finds in surroundings that `argv` makes, in time."""
    done, seconds = timed(host, *argv)
    shown = json.loads(done.stdout)
    assert seconds < WHOLE_SECONDS + 1  # with making them
    found: dict[str, list[dict[str, Any]]] = {}
    for one in shown["findings"]:
        found.setdefault(one["code"], []).append(one)
    assert not [one for ones in found.values() for one in ones if "check failed" in one["found"]]
    return found


@pytest.mark.parametrize(
    ("surroundings", "code", "severity"),
    [
        ("mount -t tmpfs tmpfs /run/systemd", "systemd-missing", "problem"),
        ("mount --bind /etc /etc && mount -o remount,ro,bind /etc", "etc-read-only", "warning"),
        ("mount -t tmpfs tmpfs /usr/libexec/jitsudo", "file-missing", "problem"),  # half installed
        ("mount -t tmpfs tmpfs /sys/fs/cgroup", "cgroup-v1", "problem"),
    ],
)
def test_in_bad_surroundings_it_says_so(surroundings: str, code: str, severity: str, well: Lab) -> None:
    """And examines all else."""
    found = elsewhere(well, "unshare", "--mount", "sh", "-ec", f"{surroundings}; exec jitsudo doctor --json")
    assert found[code][0]["severity"] == severity
    assert "folders-above" in found


def test_on_another_kind_of_machine_it_says_so(well: Lab) -> None:
    """By what the kernel says of itself."""
    found = elsewhere(well, "setarch", "i686", "jitsudo", "doctor", "--json")
    assert found["architecture-unsupported"][0]["severity"] == "problem"


def test_it_ends_in_time_though_every_program_hangs(well: Lab) -> None:
    """What could not be asked is unknown; what needs no program is examined all the same."""
    found = elsewhere(well, "unshare", "--mount", "sh", "-c", STUCK)
    assert found["users-stuck"][0]["severity"] == "problem"
    assert found["folders-above"][0]["severity"] == "ok"
    assert found["sudo-version"][0]["severity"] == "unknown"


def test_it_changes_nothing(well: Lab) -> None:
    """No file below these folders is newer afterwards, by anybody's clock."""
    mark = "touch /run/mark; sleep 0.1; jitsudo doctor >/dev/null; sleep 0.1"
    where = "/etc /usr /var/lib/jitsudo /root /home /var/spool /opt /srv"
    changed = well.run("sh", "-c", f"{mark}; find {where} -xdev -cnewer /run/mark ! -name 'ledger.db*'").stdout
    assert changed == ""
