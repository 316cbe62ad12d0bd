"""Each thing that can be wrong is planted on a healthy host and found, with a cure; a healthy host has nothing wrong."""

from __future__ import annotations

import itertools
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_daemon import FakeDaemon, ok, pending
from planted import NOW, POLICY, SUDO_V, Planted, plant

from jitsudo import __version__
from jitsudo.doctor import doors_programs, files
from jitsudo.doctor.examination import AREAS, examine, kinds
from jitsudo.doctor.findings import Finding, Severity, Unknown
from jitsudo.doctor.host import Host, Ran
from jitsudo.doctor.policy import read_host_policy
from jitsudo.doctor.recommend import recommend
from jitsudo.doctor.registry import Check, examine_areas

INFO = ok(version=__version__)
FINE = ok(grants=[], requests=[], problems=[])
SHELL_JOB = "9 * * * * root /usr/local/bin/job\n"
CHECKS = {check.name: check for area in AREAS for check in area.checks}
WEB = "/etc/jitsudo/policy.d/web.yaml"


@pytest.fixture
def host() -> Iterator[Planted]:
    folder = tempfile.mkdtemp(prefix="d", dir="/tmp")  # short: a socket's path has 108 bytes at most
    Path(folder).chmod(0o755)
    yield plant(Path(folder))
    shutil.rmtree(folder)


def no_action(host: Planted) -> None:
    """What is there is enough."""


def rust(host: Planted) -> None:
    host.says("/usr/bin/sudo -V", "sudo-rs 0.2.5\n")
    host.put("/etc/sudo.conf", "")


def python_front_end(host: Planted) -> None:
    module = "/usr/libexec/jitsudo/jitsudo_sudo_plugin.py"
    host.put("/etc/sudo.conf", f"Plugin jitsudo_python jitsudo_python.so ModulePath={module} ClassName=JitsudoPolicy\n")
    for name in ("jitsudo_python.so", "python_plugin.so"):
        host.put(f"/usr/libexec/sudo/{name}", "ELF")


def without_cache(host: Planted) -> None:
    python_front_end(host)
    host.remove("/usr/libexec/jitsudo/__pycache__")


def newer_sudo(host: Planted) -> None:
    python_front_end(host)
    host.put("/var/lib/dpkg/info/sudo.list", "/usr/bin/sudo")
    host.ctime("/var/lib/dpkg/info/sudo.list", NOW + 5)
    host.ctime("/usr/libexec/sudo/python_plugin.so", NOW)


def polkit_rules(host: Planted) -> None:
    host.put("/usr/share/polkit-1/rules.d/50-default.rules",
             'polkit.addAdminRule(function(action, subject) {\n    return ["unix-group:sudo"]; // unix-user:nobody\n});\n')
    host.append("/etc/group", "sudo:x:27:alice\n")


def setup(text: str) -> Callable[[Planted], None]:
    return lambda host: host.put("/var/lib/jitsudo/setup/state", text, 0o600)


def setup_by_hand(host: Planted) -> None:
    host.remove("/var/lib/jitsudo/setup/state")


def observing(host: Planted) -> None:
    host.put("/etc/sudo.conf", "")
    host.put("/var/lib/jitsudo/setup/state", "mode observe\n", 0o600)


def sudoers_of(*users: str) -> Callable[[Planted], None]:
    listed = ", ".join(f'{{"{"usergroup" if user.startswith("%") else "username"}": "{user.lstrip("%")}"}}' for user in users)
    return lambda host: host.says("/usr/bin/cvtsudoers", f'{{"User_Specs": [{{"User_List": [{listed}]}}]}}')


def sudoers_in_force(host: Planted) -> None:
    host.put("/etc/sudo.conf", "")
    sudoers_of("alice")(host)


def policy(text: str) -> Callable[[Planted], None]:
    return lambda host: host.put(WEB, text)


def changed(old: str, new: str) -> Callable[[Planted], None]:
    assert old in POLICY
    return policy(POLICY.replace(old, new))


def capable(host: Planted) -> None:
    host.put("/usr/local/bin/tool", "ELF", 0o755)
    host.capabilities["/usr/local/bin/tool"] = struct.pack("<5I", 0x02000001, 1 << 7, 0, 0, 0)  # cap_setuid=ep


def packaged(host: Planted) -> None:
    host.put("/usr/bin/find", "ELF", 0o4755)
    host.says("/usr/bin/dpkg-query -S", "findutils: /usr/bin/find\n")


def job(host: Planted) -> None:
    host.append("/etc/crontab", SHELL_JOB)
    host.put("/usr/local/bin/job", "", 0o757)


def unit_job(host: Planted) -> None:
    host.put("/etc/systemd/system/own.service", "[Service]\nExecStart=-/opt/own/run --now\n")
    host.put("/opt/own/run", "", 0o755)
    host.chmod("/opt/own", 0o777)


def continued_job(host: Planted) -> None:
    unit_job(host)
    host.put("/etc/systemd/system/own.service", "[Service]\nExecStart=/bin/sh -c \\\n  '/opt/own/run'\n")


def dropin_job(host: Planted) -> None:
    unit_job(host)
    host.remove("/etc/systemd/system/own.service")
    host.put("/usr/lib/systemd/system/their.service", "[Service]\nExecStart=/usr/bin/true\n")
    host.put("/etc/systemd/system/their.service.d/x.conf", "[Service]\nExecStartPre=+/opt/own/run\n")


def dropin_of_others(host: Planted) -> None:
    dropin_job(host)
    host.append("/usr/lib/systemd/system/their.service", "User=alice\n")
    host.put("/etc/systemd/system/their.service.d/x.conf", "[Service]\nExecStartPre=/opt/own/run\n")


def slow(host: Planted) -> None:
    def answer(_argv: object) -> Ran:
        host.skip(0.6)
        return Ran(2, "")

    host.programs["/usr/bin/getent"] = answer


def ssh_keys(host: Planted) -> None:
    host.put("/root/.ssh/authorized_keys", "# mine\nssh-ed25519 AAAA me\n", 0o600)


# code: where to plant it, in which check it has to be seen, what the sentence names
Planting = tuple[str, Callable[[Planted], None], str, str]
PLANTINGS: list[Planting] = [
    ("sudo-missing", lambda h: h.remove("/usr/bin/sudo"), "sudo-variant", "/usr/bin/sudo"),
    ("sudo-rs", rust, "sudo-variant", "sudo-rs"),
    ("sudo-rs-ungated", lambda h: h.says("/usr/bin/sudo -V", "sudo-rs 0.2.5\n"), "sudo-variant", "sudo.conf"),
    ("sudo-shadowed", lambda h: h.put("/usr/local/bin/sudo", "", 0o755), "sudo-variant", "/usr/local/bin/sudo"),
    ("sudo-other", lambda h: h.put("/usr/lib/cargo/bin/sudo", "", 0o4755), "sudo-variant", "/usr/lib/cargo/bin/sudo"),
    ("sudo-too-old", lambda h: h.says("/usr/bin/sudo -V", "Sudo version 1.8.31p1\n"), "sudo-version", "1.8.31"),
    ("sudo-not-setuid", lambda h: h.chmod("/usr/bin/sudo", 0o755), "sudo-rights", "0755"),
    ("sudo-not-setuid", lambda h: h.owners.update({"/usr/bin/sudo": 5}), "sudo-rights", "uid 5"),
    ("sudo-writable", lambda h: h.chmod("/usr/bin/sudo", 0o4777), "sudo-rights", "4777"),
    ("sudo-nosuid", lambda h: h.append("/proc/self/mounts", "/dev/sdb /usr ext4 rw,nosuid 0 0\n"), "sudo-rights", "/usr"),
    ("architecture-unsupported", lambda h: setattr(h, "machine", "s390"), "architecture", "s390"),
    ("systemd-missing", lambda h: h.remove("/run/systemd/system"), "systemd", "/run/systemd/system"),
    ("systemd-old", lambda h: h.says("/usr/bin/systemctl --version", "systemd 247 (247.3)\n"), "systemd", "247"),
    ("cgroup-v1", lambda h: h.put("/proc/self/mounts", "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n"), "cgroups", "tmpfs"),
    ("container", lambda h: h.says("/usr/bin/systemd-detect-virt", "lxc\n"), "container-or-not", "lxc"),
    ("etc-read-only", lambda h: h.put("/proc/self/mounts", "/dev/sda1 / ext4 ro,relatime 0 0\n"), "disk", "read-only"),
    ("disk-full", lambda h: setattr(h, "free", 5 << 20), "disk", "5 MiB"),
    ("front-end-none", lambda h: h.put("/etc/sudo.conf", ""), "front-end", "/etc/sudo.conf"),
    ("front-end-conflict", lambda h: h.append("/etc/sudo.conf", "plugin sudoers_policy \\\n sudoers.so\n"), "front-end",
     "sudoers_policy"),
    ("front-end-unguarded", lambda h: h.append("/etc/sudo.conf", "Plugin python_audit python_plugin.so ModulePath=x\n"),
     "front-end", "PATH"),
    ("sudo-conf-unsafe", lambda h: h.chmod("/etc/sudo.conf", 0o666), "sudo-conf", "0666"),
    ("front-end-broken", lambda h: h.says("/usr/bin/sudo -V", "", 1, "sudo: x/jitsudo_native.so: bad\nsudo: fatal error\n"),
     "front-end-loads", "jitsudo_native.so: bad"),
    ("front-end-broken", lambda h: h.says("/usr/bin/sudo -V", "Sudo version 1.9.16p2\nSudoers policy plugin\n"),
     "front-end-loads", "native"),
    ("front-end-broken", lambda h: h.says("/usr/bin/sudo -V", "", -7), "front-end-loads", "was ended by SIGBUS"),
    ("front-end-broken", lambda h: h.remove("/usr/libexec/sudo/jitsudo_native.so") or h.says("/usr/bin/sudo -V", "", 1),
     "front-end-loads", "there is no /usr/libexec/sudo/jitsudo_native.so"),
    ("front-end-spare-broken", lambda h: (python_front_end(h), h.says("/usr/bin/python3", "", 1, "wrong ELF class")),
     "front-end-loads", "wrong ELF class"),
    ("front-end-outdated", lambda h: h.says("/usr/bin/sudo -V", SUDO_V.replace(__version__, "0.0.9")),
     "front-end-loads", "0.0.9"),
    ("python-plugin-outdated", newer_sudo, "front-end-python", "python_plugin.so"),
    ("python-plugin-cache", without_cache, "front-end-python", "__pycache__"),
    ("python-plugin-cache", lambda h: (python_front_end(h), h.chmod("/usr/libexec/jitsudo/__pycache__", 0o777)),
     "front-end-python", "0777"),
    ("python-plugin-cache", lambda h: (python_front_end(h), h.chmod(
        "/usr/libexec/jitsudo/__pycache__/jitsudo_sudo_plugin.cpython-311.pyc", 0o666)), "front-end-python", "0666"),
    ("python-plugin-cache", lambda h: (python_front_end(h), h.remove(
        "/usr/libexec/jitsudo/__pycache__/jitsudo_sudo_plugin.cpython-311.pyc")), "front-end-python", "no compiled"),
    ("front-end-other-recommended", python_front_end, "front-end-for-this-host", "native"),
    ("file-missing", lambda h: h.remove("/usr/sbin/jitsudod"), "files", "/usr/sbin/jitsudod"),
    ("file-owner", lambda h: h.owners.update({WEB: 1001}), "files", "uid 1001"),
    ("file-writable", lambda h: h.chmod("/usr/libexec/jitsudo", 0o775), "files", "/usr/libexec/jitsudo"),
    ("file-readable", lambda h: h.chmod("/var/lib/jitsudo/ledger.db", 0o644), "files", "ledger.db"),
    ("package-shadowed", lambda h: h.put("/usr/local/lib/python3.11/dist-packages/jitsudo/__init__.py"), "package",
     "/usr/local/lib/python3.11"),
    ("folder-above-unsafe", lambda h: h.chmod("/usr/lib/python3", 0o777), "folders-above", "/usr/lib/python3"),
    ("folder-above-unsafe", lambda h: h.owners.update({"/etc": 7}), "folders-above", "uid 7"),
    ("key-missing", lambda h: h.remove("/var/lib/jitsudo/host_key"), "keys", "host_key"),
    ("key-unsafe", lambda h: h.chmod("/var/lib/jitsudo/host_key", 0o640), "keys", "0640"),
    ("key-mismatch", lambda h: h.says("/usr/bin/ssh-keygen -y", "ssh-ed25519 BBBB\n"), "keys", "host_key.pub"),
    ("socket-missing", lambda h: h.remove("/run/jitsudo/decide"), "sockets", "/run/jitsudo/decide"),
    ("socket-missing", lambda h: (h.remove("/run/jitsudo/auth"), h.put("/run/jitsudo/auth")), "sockets", "no socket"),
    ("socket-unsafe", lambda h: h.chmod("/run/jitsudo/decide", 0o666), "sockets", "0666"),
    ("socket-unsafe", lambda h: h.owners.update({"/run/jitsudo/control": 9}), "sockets", "uid 9"),
    ("socket-dead", lambda h: h.put("/proc/net/unix", "Num RefCount\n"), "sockets", "nobody listens"),
    ("daemon-not-at-boot", lambda h: h.says("/usr/bin/systemctl is-enabled jitsudod.service", "masked\n", 1),
     "daemon-units",
     "masked"),
    ("daemon-restarting", lambda h: h.says("/usr/bin/systemctl show jitsudod.service -p NRestarts", "17\n"),
     "daemon-units", "17"),
    ("daemon-silent", no_action, "daemon", "jitsudo's daemon"),
    ("daemon-outdated", lambda h: h.ctime("/usr/lib/python3/dist-packages/jitsudo/__init__.py", NOW - 900),
     "daemon-age", "100 s"),
    ("journald-down", lambda h: h.remove("/run/systemd/journal/socket"), "journald", "/run/systemd/journal/socket"),
    ("journald-down", lambda h: h.says("/usr/bin/systemctl is-active", "failed\n", 3), "journald", "failed"),
    ("journald-off", lambda h: h.put("/etc/systemd/journald.conf", "[Journal]\nStorage=none\n"),
     "journald-storage", "none"),
    ("journald-volatile", lambda h: h.remove("/var/log/journal"), "journald-storage", "/var/log/journal"),
    ("journald-volatile", lambda h: h.put("/etc/systemd/journald.conf.d/a.conf", "Storage = volatile\n"),
     "journald-storage",
     "volatile"),
    ("journald-rate-limited", lambda h: h.says(
        "/usr/bin/systemctl show jitsudod.service -p LogRateLimitIntervalUSec", "30s\n"), "journald-rate", "30s"),
    ("clock-unsynchronised", lambda h: h.says("/usr/bin/timedatectl show", "no\n"), "clock-synchronised", "timedatectl"),
    ("clock-absurd", lambda h: setattr(h, "wall", 0.0), "clock", "os-release"),
    ("clock-behind", lambda h: h.ledger(int(NOW) + 3600), "clock", "3600 s"),
    ("policy-invalid", policy("version: 1\nroles: [\n"), "policy", "web.yaml"),
    ("policy-empty", policy("version: 1\n"), "policy", "no role"),
    ("policy-test-failed", changed("bin/true}]", "bin/true}]\n    tests: [{run: /usr/bin/false, expect: allow}]"),
     "policy", "1 of 1"),
    ("policy-risky", changed("/usr/bin/true}", "/usr/bin/vim, syntax: literal}"), "policy", "warning"),
    ("policy-not-for-this-host", changed("authenticate:", "hosts: {names: [elsewhere]}\n    authenticate:"),
     "host-labels", "1 roles"),
    ("host-labels-missing", changed("authenticate:", "hosts: {labels: {env: prod}}\n    authenticate:"),
     "host-labels", "env"),
    ("host-file-invalid", lambda h: h.put("/etc/jitsudo/host.yaml", "nonsense: 1\n"), "host-labels", "host.yaml"),
    ("role-for-nobody", changed('"group:web"', '"user:gone"'), "policy-people", "gone"),
    ("role-unknown-account", changed('"group:web"', '"group:web", "group:gone"'), "policy-people", "group:gone"),
    ("role-unknown-target", changed("authenticate:", "run_as: {users: [postgres]}\n    authenticate:"),
     "policy-people", "postgres"),
    ("role-no-approver", changed("accounts: [bob]", "accounts: [gone]"), "policy-people", "0 people"),
    ("role-no-approver", changed("approvals: 1", "approvals: 2"), "policy-people", "1 people"),
    ("interception-unsupported", lambda h: h.says("/usr/bin/sudo -V", "Sudo version 1.9.5p2\n"), "interception", "1.9.5"),
    ("interception-no-seccomp", lambda h: h.put("/proc/sys/kernel/seccomp/actions_avail", "kill allow\n"),
     "interception", "trace"),
    ("interception-no-ptrace", lambda h: h.put("/proc/sys/kernel/yama/ptrace_scope", "3\n"),
     "interception", "ptrace_scope"),
    ("recording-unsupported", lambda h: h.remove("/usr/libexec/sudo/sudoers.so"), "recording", "sudoers.so"),
    ("recording-readable", lambda h: h.folder("/var/log/sudo-io", 0o755), "recording", "0755"),
    ("pam-service-missing", lambda h: h.remove("/etc/pam.d/jitsudo"), "pam-services", "/etc/pam.d/jitsudo"),
    ("pam-systemd-in-scope", lambda h: (h.put("/etc/pam.d/common-session", "session optional pam_systemd.so\n"),
     h.append("/etc/pam.d/jitsudo-sudo", "@include common-session\n")), "pam-services", "common-session"),
    ("pam-permits-all", lambda h: h.put("/etc/pam.d/jitsudo-sudo", "auth required pam_permit.so\n"),
     "pam-services", "jitsudo-sudo"),
    ("pam-permits-all", lambda h: h.put("/etc/pam.d/jitsudo", "account required pam_unix.so\n"),
     "pam-services", "/jitsudo"),
    ("pam-module-missing", lambda h: h.append("/etc/pam.d/su", "auth required pam_gone.so\n"),
     "pam-modules", "pam_gone.so"),
    ("pam-jitsudo-bypassed", lambda h: h.put("/etc/pam.d/su",
     "account sufficient pam_unix.so\naccount required pam_jitsudo.so\n"),
     "pam-jitsudo", "pam_unix"),
    ("pam-jitsudo-bypassed", lambda h: h.put(
        "/etc/pam.d/su", "account [success=1 default=ignore] pam_unix.so\naccount required pam_jitsudo.so\n"),
        "pam-jitsudo", "pam_unix"),
    ("pam-jitsudo-not-required", lambda h: h.put("/etc/pam.d/su", "account optional pam_jitsudo.so\n"),
     "pam-jitsudo", "optional"),
    ("unit-replaced", lambda h: h.put("/etc/systemd/system/jitsudod.service", "[Service]\n"),
     "units", "/etc/systemd/system"),
    ("unit-changed", lambda h: h.put("/etc/systemd/system/jitsudod.service.d/x.conf", "[Service]\nProtectSystem=no\n"),
     "units",
     "ProtectSystem"),
    ("unit-changed", lambda h: h.put("/etc/systemd/system/service.d/x.conf", "[Service]\nNoNewPrivileges=no\n"), "units",
     "NoNewPrivileges"),
    ("unit-exposed", lambda h: h.says("/usr/bin/systemd-analyze",
     "→ Overall exposure level for jitsudod.service: 9.6 UNSAFE\n"),
     "units-exposure", "9.6"),
    ("users-stuck", lambda h: h.programs.update({"/usr/bin/getent": TimeoutError("late")}), "users", "getent"),
    ("users-slow", slow, "users", "0.6 s"),
    ("account-uid-zero", lambda h: h.append("/etc/passwd", "toor:x:0:0::/:/bin/sh\n"), "accounts", "toor"),
    ("account-no-password", lambda h: h.append("/etc/shadow", "bob::20000::::::\n"), "accounts", "bob"),
    ("root-locked", lambda h: h.put("/etc/shadow", "root:!:20000::::::\n"), "root-way-in", "locked"),
    ("root-no-console", lambda h: h.put("/etc/passwd", "root:x:0:0::/root:/usr/sbin/nologin\n"), "root-way-in", "nologin"),
    ("root-no-console", lambda h: h.put("/etc/securetty", ""), "root-way-in", "securetty"),
    ("setup-unconfirmed", setup("mode unconfirmed\nfront_end native\nstep none\n"), "setup", "second session"),
    ("setup-no-timer", lambda h: (setup("mode unconfirmed\nfront_end native\n")(h),
     h.says("/usr/bin/systemctl is-active jitsudo-rollback.timer", "inactive\n", 3)), "setup", "inactive"),
    ("setup-state-damaged", setup("mode enabled\nmode off\n"), "setup", "setup/state"),
    ("setup-undone", lambda h: h.put("/etc/sudo.conf", ""), "setup", "native"),
    ("setup-by-hand", setup_by_hand, "setup", "native"),
    ("setup-not-observing", observing, "setup", "no line"),
    ("setup-interrupted", setup("mode enabled\nfront_end native\nstep sudo-conf\n"), "setup", "sudo-conf"),
    ("door-polkit-admin", polkit_rules, "doors-polkit", "alice"),
    ("door-polkit-rule", lambda h: h.put("/etc/polkit-1/rules.d/10-x.rules", "return polkit.Result.YES;\n"),
     "doors-polkit", "10-x"),
    ("door-polkit-rule", lambda h: h.put("/etc/polkit-1/localauthority/50-local.d/a.pkla",
     "[x]\nIdentity=unix-user:alice\nAction=*\nResultActive=yes\n"), "doors-polkit", "unix-user:alice"),
    ("door-group", lambda h: h.append("/etc/group", "docker:x:998:alice\n"), "doors-groups", "docker"),
    ("door-group", lambda h: h.append("/etc/passwd", "carl:x:1003:998::/:/bin/sh\n"), "doors-groups", "carl"),
    ("door-group-reads", lambda h: h.append("/etc/group", "adm:x:4:alice\n"), "doors-groups", "adm"),
    ("door-ssh-root-keys", ssh_keys, "doors-ssh", "authorized_keys"),
    ("door-ssh-root-password", lambda h: h.says("/usr/sbin/sshd -T", "permitrootlogin yes\n"),
     "doors-ssh", "PermitRootLogin"),
    ("door-sudoers", sudoers_of("alice"), "doors-sudoers", "alice"),
    ("sudoers-in-force", sudoers_in_force, "doors-sudoers", "alice"),
    ("sudoers-invalid", lambda h: h.says("/usr/bin/cvtsudoers", "", 1, "/etc/sudoers:3: syntax error\n"),
     "doors-sudoers", "syntax"),
    ("door-sudoers-directory", lambda h: h.append("/etc/nsswitch.conf", "sudoers: files sss\n"), "doors-directory", "sss"),
    ("door-doas", lambda h: h.put("/etc/doas.conf", "# x\npermit nopass alice\n"), "doors-doas", "alice"),
    ("setuid-foreign", lambda h: h.put("/var/tmp/sh", "ELF", 0o4755), "doors-programs", "/var/tmp/sh"),
    ("setuid-foreign", lambda h: h.put("/opt/x", "ELF", 0o2755), "doors-programs", "setgid"),
    ("setuid-unexpected", packaged, "doors-programs", "/usr/bin/find"),
    ("capability-unexpected", capable, "doors-programs", "cap_setuid"),
    ("door-job-file", lambda h: h.chmod("/etc/cron.d", 0o777), "doors-cron", "/etc/cron.d"),
    ("door-job-file", lambda h: h.owners.update({"/usr/lib/systemd/system/jitsudod.service": 3}), "doors-units", "uid 3"),
    ("door-job-program", job, "doors-cron", "/usr/local/bin/job"),
    ("door-job-program", unit_job, "doors-units", "/opt/own"),
    ("door-job-program", continued_job, "doors-units", "/opt/own"),
    ("door-job-program", dropin_job, "doors-units", "/opt/own"),
    ("door-config-file", lambda h: (h.put("/etc/profile.d/x.sh"), h.chmod("/etc/profile.d/x.sh", 0o666)), "doors-config",
     "/etc/profile.d/x.sh"),
    ("door-config-file", lambda h: h.owners.update({"/etc/pam.d": 1001}), "doors-config", "uid 1001"),
    ("door-password-hashes", lambda h: h.chmod("/etc/shadow", 0o644), "doors-config", "0644"),
    ("door-path-folder", lambda h: h.folder("/usr/local/sbin", 0o777), "doors-path", "/usr/local/sbin"),
    ("door-path-program", lambda h: h.owners.update({"/usr/bin/true": 44}), "doors-path", "uid 44"),
]  # fmt: skip


# What no command changes.
NO_CURE = {"architecture-unsupported", "systemd-old", "container", "interception-no-seccomp"}


@pytest.mark.parametrize(("code", "planting", "check", "names"), PLANTINGS, ids=[f"{p[0]}-{n}" for n,
p in enumerate(PLANTINGS)])
def test_what_is_planted_is_found_by_its_check(
    code: str, planting: Callable[[Planted], object], check: str, names: str, host: Planted
) -> None:
    """With its code, its severity, and a sentence that names the file or value."""
    planting(host)
    found = [one for one in host.findings(check) if one.code == code]
    assert found, host.findings(check)
    assert found[0].severity is kinds()[code][1].severity
    assert any(names in one.found for one in found), found
    assert kinds()[code][0].name == found[0].area
    assert [one.cure is None for one in found] == [code in NO_CURE] * len(found), found


ELSEWHERE = {"daemon-silent", "daemon-version", "daemon-complains", "files-many"}  # in tests of their own, below


def test_a_busy_machine_makes_no_daemon_outdated(host: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the check is kept from the processor between two looks at a clock."""
    def look() -> float:
        host.wall, host.monotonic = host.wall + 60, host.monotonic + 60
        return host.wall

    def uptime() -> float:
        look()
        return host.monotonic

    host.ctime("/usr/lib/python3/dist-packages/jitsudo/__init__.py", NOW - 1010)  # the daemon started 1000 s ago
    monkeypatch.setattr(host, "now", look)
    monkeypatch.setattr(host, "uptime", uptime)
    assert "daemon-outdated" not in {one.code for one in examine(host, ["daemon"])}


def test_everything_that_can_be_found_is_planted() -> None:
    """A kind without a planting would be a check that nobody has seen working."""
    assert set(kinds()) == {planting[0] for planting in PLANTINGS} | ELSEWHERE


def test_codes_are_unique() -> None:
    """Each code, of a kind or of a check, means one thing; a kind belongs to one area."""
    names = [check.name for area in AREAS for check in area.checks]
    assert len(names) == len(set(names))
    owners = {(kind.code, area.name) for area in AREAS for check in area.checks for kind in check.kinds}
    assert len({code for code, _ in owners}) == len(owners)
    assert not set(names) & {code for code, _ in owners}
    everything = {kind for area in AREAS for check in area.checks for kind in check.kinds}
    assert len({kind.code for kind in everything}) == len(everything)


def test_a_healthy_host_has_nothing_wrong(host: Planted) -> None:
    """Each check says so in a sentence; the daemon is the one thing that is not there."""
    found = host.findings(*(name for name in CHECKS if name != "daemon"))
    assert [one for one in found if one.severity is not Severity.OK] == []
    assert {one.code for one in found} >= set(CHECKS) - {"daemon", "front-end-python"}


def test_a_healthy_host_with_the_python_front_end_has_its_cache_in_order(host: Planted) -> None:
    """Root's, 0755, with the compiled plugin in it."""
    python_front_end(host)
    assert [(one.code, one.severity) for one in host.findings("front-end-python")] == [("front-end-python", Severity.OK)]


def test_more_files_than_can_be_looked_at_are_said_to_be_so(host: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """An examination ends, whatever somebody has put into a folder of ours."""
    monkeypatch.setattr(files, "MOST_FILES", 7)
    assert [one.code for one in host.findings("files")] == ["files-many"]


# -- with a daemon ---------------------------------------------------------------------------------------------------


def with_daemon(host: Planted, *replies: object) -> list[Finding]:
    with FakeDaemon(*replies) as daemon:
        host.remove("/run/jitsudo/control")
        host.symlink("/run/jitsudo/control", daemon.path)
        return host.findings("daemon")


def test_a_daemon_that_answers_is_fine(host: Planted) -> None:
    """As this version, without complaints."""
    assert [one.severity for one in with_daemon(host, INFO, FINE)] == [Severity.OK]


def test_a_daemon_of_another_version_is_a_problem(host: Planted) -> None:
    """Half of an upgrade."""
    found = with_daemon(host, ok(version="0.0.1"), FINE)
    assert [(one.code, "0.0.1" in one.found) for one in found] == [("daemon-version", True)]


def test_what_the_daemon_complains_of_is_passed_on(host: Planted) -> None:
    """Each a finding."""
    found = with_daemon(host, INFO, ok(grants=[], requests=[], problems=["policy: web.yaml:3", "the disk is full"]))
    assert [(one.code, one.found) for one in found] == [
        ("daemon-complains", "the daemon says: policy: web.yaml:3"),
        ("daemon-complains", "the daemon says: the disk is full"),
    ]


def test_a_daemon_that_only_waits_is_silent(host: Planted) -> None:
    """It says each second that it is alive; that is no answer."""
    found = with_daemon(host, [pending("the ledger")] * 50)
    assert [one.code for one in found] == ["daemon-silent"]


# -- what is not wrong -----------------------------------------------------------------------------------------------

HARMLESS: list[tuple[str, Callable[[Planted], object], str]] = [
    ("a rule of sudoers for root", sudoers_of("root"), "doors-sudoers"),
    ("a rule of sudoers for a group without members", sudoers_of("%sudo"), "doors-sudoers"),
    ("doas for root", lambda h: h.put("/etc/doas.conf", "permit nopass root\n"), "doors-doas"),
    ("a system account in adm", lambda h: h.append("/etc/group", "adm:x:4:daemon\n"), "doors-groups"),
    ("root's keys where root may not log in", lambda h: (ssh_keys(h), h.says("/usr/sbin/sshd -T", "permitrootlogin no\n")),
     "doors-ssh"),
    ("a first rule of polkit's that names root", lambda h: (polkit_rules(h), h.put(
        "/etc/polkit-1/rules.d/00-jitsudo.rules", 'polkit.addAdminRule(function(a, s) { return ["unix-user:0"]; });\n')),
     "doors-polkit"),
    ("a group-writable folder of a group without members", lambda h: (h.put("/usr/local/bin/x"),
     h.chmod("/usr/local/bin", 0o2775)),
     "doors-path"),
    ("setuid where it has no effect", lambda h: (h.put("/srv/x/sh", "ELF", 0o4755),
     h.append("/proc/self/mounts", "/dev/sdc /srv/x ext4 rw,nosuid 0 0\n")), "doors-programs"),
    ("setuid for somebody else", lambda h: (h.put("/opt/x", "ELF", 0o4755), h.owners.update({"/opt/x": 1001})),
     "doors-programs"),
    ("setgid for people of a group of their own", lambda h: (h.put("/home/alice/x", "ELF", 0o2755),
     h.groups.update({"/home/alice/x": 1001})), "doors-programs"),
    ("a jitsudo of pip's, alone", lambda h: (h.put("/usr/local/lib/python3.11/dist-packages/jitsudo/__init__.py"),
     h.remove("/usr/lib/python3/dist-packages/jitsudo")), "package"),
    ("a capability that is none of root's", lambda h: (h.put("/usr/bin/ping", "ELF", 0o755), h.capabilities.update(
        {"/usr/bin/ping": struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)})), "doors-programs"),
    ("a job of somebody else's from where others write", lambda h: h.append("/etc/crontab", "1 1 * * * bob /home/alice/own\n"),
     "doors-cron"),
    ("a unit with a user of its own", lambda h: (unit_job(h), h.append("/etc/systemd/system/own.service", "User=alice\n")),
     "doors-units"),
    ("a drop-in for a unit with a user of its own", dropin_of_others, "doors-units"),
    ("a drop-in that changes no cage", lambda h: h.put("/etc/systemd/system/jitsudod.service.d/x.conf", "[Unit]\nAfter=a\n"),
     "units"),
    ("an optional module that is missing", lambda h: h.append("/etc/pam.d/su", "-session optional pam_gone.so\n"),
     "pam-modules"),
    ("the clock a minute behind", lambda h: h.ledger(int(NOW) + 60), "clock"),
    ("no daemon's state before its first start", lambda h: h.remove("/var/lib/jitsudo/ledger.db"), "clock"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "planting", "check"), HARMLESS, ids=[one[0] for one in HARMLESS])
def test_what_is_harmless_is_not_reported(
    what: str, planting: Callable[[Planted], object], check: str, host: Planted
) -> None:
    """A finding that is wrong teaches people not to read them."""
    planting(host)
    assert [one.severity for one in host.findings(check)] == [Severity.OK], what


# -- what keeps an examination from failing --------------------------------------------------------------------------


def test_on_an_empty_host_nothing_falls_over() -> None:
    """Nothing at all is installed: findings and what is unknown, no check that failed."""
    folder = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    host = Planted(folder)
    found = host.findings(*CHECKS)
    shutil.rmtree(folder)
    assert [one for one in found if "check failed" in one.found] == []
    assert {"sudo-missing", "systemd-missing", "file-missing"} <= {one.code for one in found}


def test_what_needs_root_is_said_to_be_unknown() -> None:
    """Not left out, and not called right."""
    folder = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    host = plant(folder, uid=1001)
    found = {one.code: one for one in host.findings(*CHECKS)}
    shutil.rmtree(folder)
    for check in ("keys", "accounts", "root-way-in", "doors-sudoers", "doors-cron", "setup", "doors-ssh", "clock"):
        assert (found[check].severity, found[check].found.partition(":")[0]) == (Severity.UNKNOWN, "needs root")


def test_an_examination_changes_nothing(host: Planted) -> None:
    """Every file is as it was: content, mode, times."""

    def picture() -> dict[str, tuple[int, int, float, bytes]]:
        seen = {}
        for path in sorted(host.root.rglob("*")):
            found = path.lstat()
            seen[str(path)] = (found.st_mode, found.st_size, found.st_mtime, path.read_bytes() if path.is_file() else b"")
        return seen

    before = picture()
    examine(host)
    assert picture() == before


def test_no_program_is_run_that_changes_anything(host: Planted) -> None:
    """Each is known to look only; and by its absolute path."""
    looking = {
        "/usr/bin/sudo -V", "/usr/bin/systemctl --version", "/usr/bin/systemctl is-enabled", "/usr/bin/systemctl is-active",
        "/usr/bin/systemctl show", "/usr/bin/systemd-analyze --no-pager", "/usr/bin/systemd-detect-virt --container",
        "/usr/bin/timedatectl show", "/usr/sbin/sshd -T", "/usr/bin/dpkg-query -S", "/usr/bin/getent passwd",
        "/usr/bin/getent group",
        "/usr/bin/cvtsudoers -f", "/usr/bin/ssh-keygen -y", "/usr/bin/python3 -I", "/usr/bin/rpm -qf",
    }  # fmt: skip
    capable(host)
    examine(host)
    assert {" ".join(argv[:2]) for argv in host.ran} <= looking
    assert len(host.ran) > 15


def test_a_check_that_raises_is_unknown_with_the_reason(host: Planted) -> None:
    """What the others see is not lost."""

    def falls(_host: Host) -> Iterator[str]:
        yield "never seen"
        raise ZeroDivisionError("by zero")

    area = type(AREAS[0])("x", "", (Check("bad", falls, ()), CHECKS["architecture"]))
    found = examine_areas(host, [area])
    assert (found[0].code, found[0].severity) == ("bad", Severity.UNKNOWN)
    assert found[0].found == "the check failed: ZeroDivisionError: by zero"
    assert (found[-1].code, found[-1].severity) == ("architecture", Severity.OK)


def test_what_was_found_before_a_check_lost_sight_is_kept(host: Planted) -> None:
    """A problem that was seen is reported beside what could not be."""
    kind = kinds()["file-owner"][1]

    def half(_host: Host) -> Iterator[object]:
        yield kind.found("x belongs to y")
        raise Unknown("needs root: z")

    area = type(AREAS[0])("x", "", (Check("half", half, (kind,)),))  # type: ignore[arg-type]
    assert [one.severity for one in examine_areas(host, [area])] == [Severity.PROBLEM, Severity.UNKNOWN]


def test_a_policy_whose_files_others_own_can_still_be_judged(host: Planted) -> None:
    """The owner is a finding of its own, in the area of files."""
    host.owners[WEB] = 1001
    found = read_host_policy(host)
    assert found is not None
    assert list(found.roles) == ["web"]


def test_a_name_that_a_shell_would_run_is_quoted_in_the_cure(host: Planted) -> None:
    """Whoever can write a folder must not write what root pastes."""
    host.put("/opt/$(reboot); x", "ELF", 0o4755)
    cures = [one.cure for one in host.findings("doors-programs")]
    assert cures == ["chmod u-s '/opt/$(reboot); x'"]


def test_a_name_with_a_newline_has_no_cure(host: Planted) -> None:
    """It could not be pasted as one line."""
    host.put("/opt/a\nreboot", "ELF", 0o4755)
    found = host.findings("doors-programs")
    assert [(one.code, one.cure) for one in found] == [("setuid-foreign", None)]


def test_every_finding_is_in_the_documentation() -> None:
    """docs/doctor.md has a row for each code, with severity and meaning, below its area, and names each check."""
    text = (Path(__file__).resolve().parents[3] / "docs" / "doctor.md").read_text()
    sections = {part.partition(":")[0]: part for part in text.partition("## What it can find")[2].split("\n### ")[1:]}
    assert list(sections) == [area.name for area in AREAS]
    for area in AREAS:
        part = sections[area.name]
        assert part.splitlines()[0] == f"{area.name}: {area.meaning}"
        rows = [line for line in part.splitlines() if line.startswith("| `")]
        every = dict.fromkeys(kind for check in area.checks for kind in check.kinds)
        assert rows == [f"| `{kind.code}` | {kind.severity} | {kind.meaning} |" for kind in every]
        assert f"Checks: {', '.join(f'`{check.name}`' for check in area.checks)}." in part


# -- what is read in more than one way -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("account include gate\n", "pam-jitsudo-not-required"),
        ("account substack gate\n", "pam-jitsudo-not-required"),
        ("@include gate\n", "pam-jitsudo-not-required"),
        ("account [success=ok default=ignore] pam_jitsudo.so\n", "pam-jitsudo-not-required"),
        ("account [success=done default=ignore] pam_permit.so\naccount required pam_jitsudo.so\n", "pam-jitsudo-bypassed"),
        ("account sufficient pam_permit.so\naccount include strict\n", "pam-jitsudo-bypassed"),
    ],
)
def test_pam_stacks_are_read_as_pam_reads_them(lines: str, code: str, host: Planted) -> None:
    """pam.conf(5): includes of one kind and of all, controls as a word and in brackets."""
    host.put("/etc/pam.d/gate", "account optional pam_jitsudo.so\n")
    host.put("/etc/pam.d/strict", "account required pam_jitsudo.so\n")
    host.put("/etc/pam.d/su", lines)
    host.put("/etc/pam.d/loop", "@include loop\n")
    found = {(one.code, "su" in one.found) for one in host.findings("pam-jitsudo")}
    assert (code, True) in found


SPECS = """{
  "User_Aliases": {"OPS": [{"username": "alice"}, {"useralias": "MORE"}], "MORE": [{"usergroup": "web"}, {"useralias": "OPS"}]},
  "User_Specs": [
    {"User_List": [{"useralias": "OPS"}, {"userid": 1005}, {"usergid": 27}, {"netgroup": "admins"}]},
    {"User_List": [{"username": "alice"}, {"username": "bob", "negated": true}, {"username": "ALL"}, {"userid": 0}]}
  ]
}"""


def test_users_of_sudoers_are_found_behind_aliases_and_in_each_notation(host: Planted) -> None:
    """In the notation of sudoers; who is excluded and root are not."""
    host.says("/usr/bin/cvtsudoers", SPECS)
    found = {one.subject: one.found for one in host.findings("doors-sudoers")}
    assert set(found) == {"alice", "%web (alice, bob)", "#1005", "%#27", "+admins", "ALL"}
    assert found["alice"] == "/etc/sudoers has 2 rules for alice"


def test_sudoers_that_cannot_be_converted_is_unknown_without_the_converter(host: Planted) -> None:
    """Nothing is guessed."""
    del host.programs["/usr/bin/cvtsudoers"]
    assert [(one.severity, one.found) for one in host.findings("doors-sudoers")] == [
        (Severity.UNKNOWN, "there is no /usr/bin/cvtsudoers")
    ]


@pytest.mark.parametrize(
    ("planting", "front_end", "why"),
    [
        (no_action, "native", "ships no Python plugins"),
        (rust, "pam", "sudo-rs"),
        (lambda h: h.remove("/usr/bin/sudo"), "pam", "no sudo"),
        (lambda h: (h.remove("/usr/bin/sudo"), h.put("/usr/lib/cargo/bin/sudo", "", 0o4755),
                    h.symlink("/usr/bin/sudo", "/usr/lib/cargo/bin/sudo")), "pam", "sudo-rs"),
        (python_front_end, "native", "ships no Python plugins"),  # built here, of no package
        (lambda h: (python_front_end(h), h.says("/usr/bin/dpkg-query -S", "sudo-python: x\n")), "native", "two interpreters"),
        (lambda h: (python_front_end(h), h.says("/usr/bin/dpkg-query -S", "sudo-python: x\n"),
                    h.remove("/usr/libexec/sudo/jitsudo_native.so")), "python", "native one is not installed"),
        (lambda h: (python_front_end(h), h.programs.pop("/usr/bin/dpkg-query -S"), h.says("/usr/bin/rpm -qf", "sudo-python\n"),
                    h.remove("/usr/libexec/sudo/jitsudo_native.so")), "python", "native one is not installed"),
    ],
)  # fmt: skip
def test_the_front_end_that_is_recommended_follows_the_host(
    planting: Callable[[Planted], object], front_end: str, why: str, host: Planted
) -> None:
    """docs/front-ends.md has the table."""
    planting(host)
    best = recommend(host)
    assert (best.front_end, why in best.why) == (front_end, True), best


def test_polkit_of_before_has_its_administrators_in_key_files(host: Planted) -> None:
    """AdminIdentities; the last file counts (pklocalauthority(8))."""
    host.put("/etc/polkit-1/localauthority.conf.d/50-a.conf", "[Configuration]\nAdminIdentities=unix-user:0\n")
    text = "[Configuration]\nAdminIdentities=unix-user:alice;unix-group:web\n"
    host.put("/etc/polkit-1/localauthority.conf.d/60-b.conf", text)
    assert [one.subject for one in host.findings("doors-polkit")] == ["alice", "web"]


def test_a_key_file_that_is_none_is_passed_over(host: Planted) -> None:
    """Polkit does not read it either."""
    host.put("/var/lib/polkit-1/localauthority/50-local.d/a.pkla", "no section = here\n")
    assert [one.severity for one in host.findings("doors-polkit")] == [Severity.OK]


def test_sshd_that_does_not_say_is_read_from_its_files(host: Planted) -> None:
    """The first value counts, and drop-ins come first."""
    host.says("/usr/sbin/sshd -T", "", 255)
    host.put("/etc/ssh/sshd_config.d/a.conf", "PermitRootLogin=yes\n")
    assert [one.code for one in host.findings("doors-ssh")] == ["door-ssh-root-password"]
    host.put("/etc/ssh/sshd_config.d/a.conf", "PermitRootLogin no\n")
    assert [one.severity for one in host.findings("doors-ssh")] == [Severity.OK]


def test_the_cure_of_a_slow_directory_is_that_directorys(host: Planted) -> None:
    """By nsswitch.conf."""
    host.programs["/usr/bin/getent"] = TimeoutError("late")
    for services, cure in (("files sss", "sssctl"), ("files ldap", "nslcd"), ("files", "nsswitch.conf")):
        host.put("/etc/nsswitch.conf", f"passwd: {services}\n")
        assert all(cure in (one.cure or "") for one in host.findings("users"))


def test_a_sudo_that_says_no_version_is_unknown(host: Planted) -> None:
    """Another program under its name, or one that fails."""
    host.says("/usr/bin/sudo -V", "", 1, "sudo: no new privileges\n")
    found = host.findings("sudo-version")
    assert [(one.severity, "no new privileges" in one.found) for one in found] == [(Severity.UNKNOWN, True)]


def test_where_there_is_no_time_for_every_file_it_says_where_it_stopped(host: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found until then is kept; the rest is unknown, with the command that sees all."""
    host.put("/usr/local/bin/sh", "ELF", 0o4755)
    for n in range(30):
        host.put(f"/home/mallory/{n}/x")
    ticks = itertools.count()  # a tenth of a second for each folder
    monkeypatch.setattr(doors_programs, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 10))
    found = host.findings("doors-programs")
    assert [(one.code, one.severity) for one in found] == [
        ("setuid-foreign", Severity.PROBLEM), ("doors-programs", Severity.UNKNOWN),
    ]  # fmt: skip
    assert "not all of /home; to see all: find / -xdev -perm /6000" in found[-1].found


def test_folders_without_programs_are_looked_at_last(host: Planted) -> None:
    """But they are."""
    host.put("/usr/share/x/sh", "ELF", 0o4755)
    host.put("/srv/sh", "ELF", 0o4755)
    assert [one.subject for one in host.findings("doors-programs")] == ["/srv/sh", "/usr/share/x/sh"]


def test_more_than_can_be_listed_are_counted(host: Planted) -> None:
    """Ten of a kind are enough to read, and none is kept back."""
    for n in range(13):
        host.put(f"/opt/sh{n:02}", "ELF", 0o4755)
        host.put(f"/etc/jitsudo/policy.d/{n:02}.txt", "", 0o666)
    assert [one.found for one in host.findings("doors-programs")][10:] == ["3 more programs become root unexpectedly"]
    found = host.findings("files")
    assert [one.found for one in found][10:] == ["3 more files below /etc/jitsudo have a wrong owner or mode"]


@pytest.mark.parametrize("harm", [lambda h, f: h.owners.update({f: 1001}), lambda h, f: h.chmod(f, 0o666)])
def test_a_plugin_that_others_could_have_written_is_not_loaded_to_try_it(
    harm: Callable[[Planted, str], object], host: Planted
) -> None:
    """Whoever examines as root would run it as root."""
    python_front_end(host)
    harm(host, "/usr/libexec/sudo/jitsudo_native.so")
    host.findings("front-end-loads")
    assert [argv for argv in host.ran if argv[0] == "/usr/bin/python3"] == []
    host.owners.clear()
    host.chmod("/usr/libexec/sudo/jitsudo_native.so", 0o644)
    host.findings("front-end-loads")
    assert [argv[-2:] for argv in host.ran if argv[0] == "/usr/bin/python3"] == [
        ("/usr/libexec/sudo/jitsudo_native.so", "jitsudo_native")
    ]
