"""A host that was planted: a healthy tree in a temporary folder, with owners, programs and clocks as a test tells them."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from jitsudo import __version__
from jitsudo.doctor.daemon import LISTENING, SOCKETS
from jitsudo.doctor.examination import AREAS
from jitsudo.doctor.findings import Finding
from jitsudo.doctor.host import Entry, Host, Ran
from jitsudo.doctor.registry import examine_areas

NOW = 1_800_000_000.0
SUDO_V = f"Sudo version 1.9.16p2\njitsudo policy plugin for sudo, version {__version__}\n"
EXPOSURE = "→ Overall exposure level for jitsudod.service: 2.3 OK :-)\n"
POLICY = """
version: 1
timezone: UTC
approvers:
  bob: {accounts: [bob], teams: [leads]}
roles:
  web:
    description: Keep the web tier running
    who: ["group:web"]
    authenticate: never
    request: {max_duration: 1h, approvals: 1, from: ["team:leads"]}
    allow: [{command: /usr/bin/true}]
"""
PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
alice:x:1001:1001::/home/alice:/bin/bash
bob:x:1002:1002::/home/bob:/bin/bash
"""
GROUP = "root:x:0:\nsudo:x:27:\nstaff:x:50:\ndocker:x:998:\nadm:x:4:\nweb:x:1000:alice,bob\nalice:x:1001:\nbob:x:1002:\n"
SHADOW = "root:$y$hash:20000:0:99999:7:::\nalice:$y$hash:20000:0:99999:7:::\n"
AUTH = "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n"
ACCOUNT = "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\n"
MODULES = ("pam_unix", "pam_deny", "pam_permit", "pam_limits", "pam_jitsudo", "pam_systemd", "pam_succeed_if")
MOUNTS = "/dev/sda1 / ext4 rw,relatime 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\nproc /proc proc rw,nosuid 0 0\n"
Answer = Ran | Exception | Callable[[Sequence[str]], Ran]


class Planted(Host):
    """Everything is root's unless `owners` says otherwise; a program that is not in `programs` is not installed."""

    def __init__(self, root: Path, *, uid: int = 0) -> None:
        super().__init__(root, runner=self._answer, uid=uid, machine="x86_64")
        self.owners: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self.package = "/usr/lib/python3/dist-packages/jitsudo"
        self.ctimes: dict[str, float] = {}
        self.capabilities: dict[str, bytes] = {}
        self.programs: dict[str, Answer] = {}
        self.wall, self.monotonic, self.free = NOW, 5000.0, 10 << 30
        self.ran: list[tuple[str, ...]] = []

    # -- what a check sees -----------------------------------------------------------------------------------------------

    def owner(self, path: str, found: os.stat_result) -> int:
        del found
        return self.owners.get(path, 0)

    def group(self, path: str, found: os.stat_result) -> int:
        del found
        return self.groups.get(path, 0)

    def entry(self, path: str) -> Entry | None:
        found = super().entry(path)
        return found if found is None else replace(found, ctime=self.ctimes.get(path, found.mtime))

    def now(self) -> float:
        return self.wall

    def uptime(self) -> float:
        return self.monotonic

    def free_bytes(self, path: str) -> int:
        del path
        return self.free

    def file_capabilities(self, path: str) -> bytes | None:
        return self.capabilities.get(path)

    def _answer(self, argv: Sequence[str], seconds: float, text: str) -> Ran:
        del seconds, text
        self.ran.append(tuple(argv))
        line = " ".join(argv)
        known = [name for name in self.programs if line == name or line.startswith(f"{name} ")]
        if not known:
            raise FileNotFoundError(argv[0])
        answer = self.programs[max(known, key=len)]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Ran) else answer(argv)

    # -- how a test plants -----------------------------------------------------------------------------------------------

    def put(self, path: str, text: str = "", mode: int = 0o644) -> None:
        place = self.at(path)
        self.folder(path.rpartition("/")[0] or "/")
        place.write_text(text)
        place.chmod(mode)
        os.utime(place, (NOW - 10_000, NOW - 10_000))

    def folder(self, path: str, mode: int | None = None) -> None:
        place = self.root
        for part in filter(None, path.split("/")):
            place = place / part
            if not place.exists():
                place.mkdir()
                place.chmod(0o755)
        if mode is not None:
            place.chmod(mode)

    def append(self, path: str, text: str) -> None:
        self.put(path, (self.read(path) or "") + text)

    def chmod(self, path: str, mode: int) -> None:
        self.at(path).chmod(mode)

    def remove(self, path: str) -> None:
        place = self.at(path)
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()

    def symlink(self, path: str, target: str) -> None:
        self.folder(path.rpartition("/")[0] or "/")
        self.at(path).symlink_to(target)

    def socket(self, path: str, mode: int) -> None:
        self.folder(path.rpartition("/")[0])
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.at(path)))
        self.at(path).chmod(mode)

    def ctime(self, path: str, when: float) -> None:
        """A change that nobody can date back: told, as owners are."""
        self.ctimes[path] = when

    def skip(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def says(self, command: str, out: str, status: int = 0, err: str = "") -> None:
        self.programs[command] = Ran(status, out, err)

    def ledger(self, credible: int) -> None:
        self.folder("/var/lib/jitsudo", 0o700)
        with sqlite3.connect(self.at("/var/lib/jitsudo/ledger.db")) as ledger:
            ledger.execute("CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
            ledger.execute("INSERT OR REPLACE INTO marks VALUES ('credible-time', ?)", (credible,))
        ledger.close()
        self.chmod("/var/lib/jitsudo/ledger.db", 0o600)

    def findings(self, *checks: str) -> list[Finding]:
        """What these checks find; all areas' checks that are named so, run as `examine` runs them."""
        wanted = [
            type(area)(area.name, area.meaning, tuple(check for check in area.checks if check.name in checks)) for area in AREAS
        ]
        assert {check.name for area in wanted for check in area.checks} == set(checks)
        return examine_areas(self, wanted, check_seconds=60)  # how fast this machine is now is not what is tested


def plant(root: Path, *, uid: int = 0) -> Planted:
    """A host on which nothing is wrong: native front end, enabled by setup, one role for two people."""
    host = Planted(root, uid=uid)
    _sudo(host)
    _product(host)
    _system(host)
    return host


def _sudo(host: Planted) -> None:
    host.put("/usr/bin/sudo", "ELF", 0o4755)
    host.put("/etc/sudo.conf", "# comment\nPlugin jitsudo_native jitsudo_native.so\n")
    for name in ("sudoers.so", "jitsudo_native.so"):
        host.put(f"/usr/libexec/sudo/{name}", "ELF")
    host.put("/etc/sudoers", "Defaults env_reset\n", 0o440)
    host.says("/usr/bin/sudo -V", SUDO_V)
    host.says("/usr/bin/cvtsudoers", '{"Defaults": []}')
    host.says("/usr/bin/python3", "")


def _product(host: Planted) -> None:
    host.put("/etc/jitsudo/policy.d/web.yaml", POLICY)
    for path in ("/usr/bin/jitsudo", "/usr/sbin/jitsudod", "/usr/libexec/jitsudo/jitsudo-edit"):
        host.put(path, "#!/usr/bin/python3 -I\n", 0o755)
    host.put("/usr/libexec/jitsudo/jitsudo-restore", "#!/bin/sh\n", 0o755)
    host.put("/usr/libexec/jitsudo/jitsudo_sudo_plugin.py", "")
    host.put("/usr/libexec/jitsudo/__pycache__/jitsudo_sudo_plugin.cpython-311.pyc", "")
    host.put("/usr/lib/python3/dist-packages/jitsudo/__init__.py", "")
    host.put("/usr/share/jitsudo/policy.schema.json", "{}")
    for unit in ("jitsudod.service", "jitsudo-auth@.service"):
        host.put(f"/usr/lib/systemd/system/{unit}", "[Service]\nExecStart=/usr/sbin/jitsudod\n")
    for unit in ("jitsudod-decide.socket", "jitsudod-control.socket", "jitsudo-auth.socket"):
        host.put(f"/usr/lib/systemd/system/{unit}", "[Socket]\n")
    rows = "Num RefCount Protocol Flags Type St Inode Path\n"
    for name, mode in SOCKETS.items():
        host.socket(f"/run/jitsudo/{name}", mode)
        rows += f"0000: 00000002 00000000 {LISTENING} 0001 01 123 /run/jitsudo/{name}\n"
    host.put("/proc/net/unix", rows)
    host.ledger(int(NOW) - 60)
    for name in ("host_key", "redaction_key"):
        host.put(f"/var/lib/jitsudo/{name}", "secret", 0o600)
    host.put("/var/lib/jitsudo/host_key.pub", "ssh-ed25519 AAAA host", 0o600)
    host.says("/usr/bin/ssh-keygen -y", "ssh-ed25519 AAAA\n")
    host.put("/var/lib/jitsudo/setup/state", "mode enabled\nfront_end native\nstep none\n", 0o600)
    host.chmod("/var/lib/jitsudo/setup", 0o700)
    host.put("/etc/pam.d/common-auth", AUTH)
    host.put("/etc/pam.d/common-account", ACCOUNT)
    host.put("/etc/pam.d/jitsudo", "@include common-auth\n@include common-account\n")
    host.put("/etc/pam.d/jitsudo-sudo", "session required pam_limits.so\n@include common-auth\n@include common-account\n")
    host.put("/etc/pam.d/su", "auth sufficient pam_rootok.so\naccount required pam_jitsudo.so\n@include common-account\n")
    for name in (*MODULES, "pam_rootok"):
        host.put(f"/usr/lib/x86_64-linux-gnu/security/{name}.so", "ELF")


def _system(host: Planted) -> None:
    host.put("/etc/passwd", PASSWD)
    host.put("/etc/group", GROUP)
    host.put("/etc/shadow", SHADOW, 0o640)
    host.put("/etc/nsswitch.conf", "passwd: files\ngroup: files\n")
    host.put("/proc/self/mounts", MOUNTS)
    host.put("/proc/sys/kernel/seccomp/actions_avail", "kill_process trap errno trace log allow\n")
    host.put("/proc/sys/kernel/yama/ptrace_scope", "1\n")
    host.folder("/run/systemd/system")
    host.socket("/run/systemd/journal/socket", 0o666)
    host.folder("/var/log/journal")
    host.put("/usr/lib/os-release", "ID=debian\n")
    host.put("/usr/lib/polkit-1/polkitd", "ELF", 0o755)
    host.put("/usr/sbin/sshd", "ELF", 0o755)
    host.put("/etc/ssh/sshd_config", "PermitRootLogin prohibit-password\n")
    host.folder("/root", 0o700)
    host.put("/usr/bin/doas", "ELF", 0o4755)
    host.put("/etc/crontab", "PATH=/usr/bin\n17 * * * * root cd / && /usr/bin/true\n5 5 * * * alice /home/alice/own\n")
    host.put("/etc/cron.d/known", "@daily root /usr/bin/true\n")
    host.put("/usr/bin/true", "ELF", 0o755)
    host.put("/home/alice/own", "", 0o777)
    host.says("/usr/bin/getent", "", 2)
    host.says("/usr/bin/systemctl --version", "systemd 252 (252.1)\n")
    host.says("/usr/bin/systemctl is-enabled", "enabled\n")
    host.says("/usr/bin/systemctl is-active", "active\n")
    host.says("/usr/bin/systemctl show jitsudod.service -p NRestarts", "0\n")
    host.says("/usr/bin/systemctl show jitsudod.service -p ExecMainStartTimestampMonotonic", "4000000000\n")
    host.says("/usr/bin/systemctl show jitsudod.service -p LogRateLimitIntervalUSec", "0\n")
    host.says("/usr/bin/systemd-analyze", EXPOSURE)
    host.says("/usr/bin/systemd-detect-virt", "none\n", 1)
    host.says("/usr/bin/timedatectl show", "yes\n")
    host.says("/usr/sbin/sshd -T", "permitrootlogin prohibit-password\nauthorizedkeysfile .ssh/authorized_keys\n")
    host.says("/usr/bin/dpkg-query -S", "", 1, "dpkg-query: no path found\n")
