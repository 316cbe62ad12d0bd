"""Side doors through places: what root runs on its own from where others can write, and root's PATH."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Entry, Host
from jitsudo.doctor.people import group_members
from jitsudo.doctor.registry import Check

CRON_FILES: Final = ("/etc/crontab", "/etc/anacrontab")
CRON_FOLDERS: Final = ("/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly")
ROOTS_CRONTAB: Final = "/var/spool/cron/crontabs/root"
UNIT_FOLDERS: Final = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
OTHER_START: Final = ("/etc/rc.local", "/etc/profile", "/etc/bash.bashrc", "/root/.bashrc", "/root/.profile")
CONFIG: Final = (
    "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/doas.conf", "/etc/nsswitch.conf",
    "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/environment", "/etc/login.defs", "/etc/subuid", "/etc/subgid",
)  # fmt: skip
CONFIG_FOLDERS: Final = (
    "/etc/pam.d", "/etc/security", "/etc/sudoers.d", "/etc/polkit-1/rules.d", "/etc/ld.so.conf.d", "/etc/profile.d",
    "/etc/udev/rules.d", "/etc/modprobe.d", "/etc/ssh", "/etc/ssh/sshd_config.d", "/etc/init.d", "/etc/apt/apt.conf.d",
)  # fmt: skip
MANY: Final = 10
_ABSOLUTE: Final = re.compile(r"(?<![\w/.$~-])(/[A-Za-z0-9_./+@-]+)")
_KERNELS: Final = ("/proc/", "/sys/", "/dev/", "/run/")
_ROOTS: Final = ("root", "0")

JOB_FILE = Kind("door-job-file", Severity.PROBLEM, "others than root can change what root runs on its own (cron, units)")
JOB_PROGRAM = Kind("door-job-program", Severity.PROBLEM, "root runs, on its own, a program that others can change")
CONFIG_FILE = Kind("door-config-file", Severity.PROBLEM, "others than root can change a file that decides who is root")
HASHES = Kind("door-password-hashes", Severity.PROBLEM, "others than root can read everybody's password hashes")
IN_PATH = Kind("door-path-folder", Severity.PROBLEM, "others can put programs where root looks for them")
IN_PATH_FILE = Kind("door-path-program", Severity.PROBLEM, "others can change a program where root looks for it")


@dataclass(frozen=True, slots=True)
class _Weakness:
    """Why others than root can change something: a phrase, and what mends it."""

    why: str
    cure: str

    def __str__(self) -> str:
        return self.why


class _Writers:
    """Who else than root could change a path, any folder above it included; each folder is looked at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, _Weakness | None] = {}
        self._groups: dict[int, bool] = {}

    def reason(self, path: str) -> _Weakness | None:
        """Why others than root can change what is at `path`, the weakest place first; None if nobody can."""
        real = self._host.real(path)
        parts = real.strip("/").split("/")
        for end in range(len(parts) + 1):
            place = "/" + "/".join(parts[:end])
            why = self._weak(place)
            if why:
                return why
        return None

    def _weak(self, place: str) -> _Weakness | None:
        if place not in self._known:
            entry = self._host.entry(place)
            self._known[place] = None if entry is None else self.weakness(entry)
        return self._known[place]

    def weakness(self, entry: Entry) -> _Weakness | None:
        if entry.kind not in ("file", "folder"):
            return None
        if entry.uid != 0:
            return _Weakness(f"{entry.path} belongs to uid {entry.uid}", f"chown root:root {shlex.quote(entry.path)}")
        if entry.kind == "folder" and entry.mode & 0o1000:  # sticky: what is root's in it cannot be replaced
            return None
        if entry.mode & 0o002 or (entry.mode & 0o020 and self._has_members(entry.gid)):
            return _Weakness(f"{entry.path} has mode {entry.mode_text}", f"chmod go-w {shlex.quote(entry.path)}")
        return None

    def _has_members(self, gid: int) -> bool:
        """A group without members, as `staff` is on Debian, writes nothing."""
        if gid not in self._groups:
            name = _group_name(self._host, gid)
            members = group_members(self._host, name).get(name, frozenset()) if name else frozenset({"?"})
            self._groups[gid] = bool(members - {"root"})
        return self._groups[gid]


def _group_name(host: Host, gid: int) -> str | None:
    for line in (host.read("/etc/group") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2] == str(gid):
            return fields[0]
    return None


def look_at_cron(host: Host) -> Iterator[Seen | str]:
    writers = _Writers(host)
    paths = [path for path in CRON_FILES if host.exists(path)]
    for folder in CRON_FOLDERS:
        paths += [folder] if host.exists(folder) else []
        paths += [f"{folder}/{name}" for name in host.names(folder) if not name.startswith(".")]
    if host.is_root and host.exists(ROOTS_CRONTAB):
        paths.append(ROOTS_CRONTAB)
    paths += [path for path in OTHER_START if (host.is_root or not path.startswith("/root/")) and host.exists(path)]
    for path in paths:
        why = writers.reason(path)
        if why:
            yield JOB_FILE.found(f"root runs what {path} says, and {why}", why.cure, path)
    tables = [path for path in paths if path in (*CRON_FILES, ROOTS_CRONTAB) or path.startswith("/etc/cron.d/")]
    for path in tables:
        for line in host.lines(path):
            yield from _programs(host, writers, path, _root_command(line, own=path == ROOTS_CRONTAB))
    host.require_root(ROOTS_CRONTAB)
    yield "what cron runs as root is root's alone to change"


def _root_command(line: str, *, own: bool) -> str:
    """What a line of a crontab(5) runs as root; nothing for a setting, or for somebody else's."""
    fields = line.split(None, 1 if line.startswith("@") else 5)
    if re.match(r"\w+\s*=", line) or len(fields) < 2:
        return ""
    rest = fields[-1]
    if own:
        return rest
    user, _, command = rest.partition(" ")
    return command if user.strip() in _ROOTS else ""


def _programs(host: Host, writers: _Writers, where: str, command: str) -> Iterator[Seen]:
    for path in dict.fromkeys(_ABSOLUTE.findall(command)):
        entry = None if path.startswith(_KERNELS) else host.target(path)
        if entry is None or entry.kind != "file":
            continue
        why = writers.reason(path)
        if why:
            yield JOB_PROGRAM.found(f"{where} runs {path} as root, and {why}", why.cure, path)


def look_at_units(host: Host) -> Iterator[Seen | str]:
    writers = _Writers(host)
    seen: set[str] = set()
    count = 0
    for folder in UNIT_FOLDERS:
        names = host.names(folder)
        for name in names:
            if not name.endswith((".service", ".timer", ".socket", ".path", ".mount", ".service.d", ".conf")) or name in seen:
                continue
            seen.add(name)
            path = f"{folder}/{name}"
            if name.endswith(".d"):
                names += [f"{name}/{one}" for one in host.names(path) if one.endswith(".conf")]
            why = writers.reason(path)
            if why and count < MANY:
                count += 1
                yield JOB_FILE.found(f"root runs what {path} says, and {why}", why.cure, path)
            for command in _commands(_joined(host, path), _whose(host, name)):
                for wrong in _programs(host, writers, path, command):
                    count += 1
                    if count <= MANY:
                        yield wrong
    yield f"what {len(seen)} units run as root is root's alone to change"


def _joined(host: Host, path: str) -> list[str]:
    """The lines of a unit, those that a backslash continues in one."""
    return [line.strip() for line in (host.read(path) or "").replace("\\\n", " ").splitlines()]


def _whose(host: Host, name: str) -> list[str]:
    """The lines of the unit that a drop-in belongs to; nothing for a unit, which says itself whose it is."""
    unit = name.partition(".d/")[0] if name.endswith(".conf") else ""
    return [line for folder in UNIT_FOLDERS for line in _joined(host, f"{folder}/{unit}")] if unit else []


def _commands(lines: list[str], before: list[str]) -> list[str]:
    """What a unit executes as root (systemd.service(5)): nothing if it has another user, but for lines marked with + or !."""
    user = next((line.partition("=")[2].strip() for line in (*lines, *before) if line.startswith("User=")), "root")
    commands = [line.partition("=")[2].strip() for line in lines if re.match(r"Exec\w+\s*=", line)]
    if user not in ("", *_ROOTS):
        commands = [command for command in commands if re.match(r"[-@:|]*[+!]", command)]
    return [command.lstrip("-@:|+!") for command in commands]


def look_at_config(host: Host) -> Iterator[Seen | str]:
    writers = _Writers(host)
    paths = [path for path in CONFIG if host.exists(path)]
    paths += [f"{folder}/{name}" for folder in CONFIG_FOLDERS if host.exists(folder) for name in _shown(host, folder)]
    for path in paths:
        why = writers.reason(path)
        if why:
            yield CONFIG_FILE.found(f"{path} decides who is root, and {why}", why.cure, path)
    for path in ("/etc/shadow", "/etc/gshadow"):
        entry = host.entry(path)
        if entry is not None and entry.mode & 0o007:
            yield HASHES.found(f"{path} has mode {entry.mode_text}", f"chmod o-rwx {path}", path)
    yield "what decides who is root is root's alone to change"


def _shown(host: Host, folder: str) -> list[str]:
    """What a folder holds, and the folder itself; nothing where only root may look, who sees it."""
    try:
        return [".", *host.names(folder)]
    except Unknown:
        return ["."]


def look_at_path(host: Host) -> Iterator[Seen | str]:
    writers = _Writers(host)
    done: set[str] = set()
    count = 0
    for folder in PATH:
        real = host.real(folder)
        if real in done:
            continue
        done.add(real)
        why = writers.reason(folder)
        if why:
            yield IN_PATH.found(f"root looks for programs in {folder}, and {why}", why.cure, folder)
            continue
        for name in host.names(real):
            entry = host.target(posixpath.join(real, name))
            why = None if entry is None else writers.weakness(entry)
            if entry is not None and why and entry.kind == "file" and count < MANY:
                count += 1
                yield IN_PATH_FILE.found(f"root may run {folder}/{name}, and {why}", why.cure, entry.path)
    yield "where root looks for programs, nobody else writes"


CHECKS: Final = (
    Check("doors-cron", look_at_cron, (JOB_FILE, JOB_PROGRAM)),
    Check("doors-units", look_at_units, (JOB_FILE, JOB_PROGRAM)),
    Check("doors-config", look_at_config, (CONFIG_FILE, HASHES)),
    Check("doors-path", look_at_path, (IN_PATH, IN_PATH_FILE)),
)
