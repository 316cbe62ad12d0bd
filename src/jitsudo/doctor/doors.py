"""Side doors through accounts: polkit's administrators, groups that amount to root, root's own SSH keys."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.people import group_members, listed, local_users
from jitsudo.doctor.registry import Check

# -- polkit ----------------------------------------------------------------------------------------------------------

RULES: Final = tuple(f"{place}/polkit-1/rules.d" for place in ("/etc", "/run", "/usr/local/share", "/usr/share"))
LOCAL_AUTHORITY: Final = ("/etc/polkit-1/localauthority", "/var/lib/polkit-1/localauthority")
OUR_RULE: Final = "/etc/polkit-1/rules.d/00-jitsudo.rules"
POLKITD: Final = ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd")
_IDENTITY: Final = re.compile(r"unix-(user|group|netgroup):([A-Za-z0-9_.+-]+)")

POLKIT_ADMIN = Kind("door-polkit-admin", Severity.WARNING, "people who become root by pkexec or run0, with their own password")
POLKIT_RULE = Kind("door-polkit-rule", Severity.WARNING, "a rule of polkit's that was made here lets people do things as root")


def look_at_polkit(host: Host) -> Iterator[Seen | str]:
    if not any(host.exists(path) for path in POLKITD):
        yield "polkit is not installed"
        return
    source, identities = _administrators(host)
    groups = group_members(host, *(name for kind, name in identities if kind == "group"))
    for kind, name in identities:
        members = groups.get(name, frozenset()) if kind == "group" else frozenset({name})
        members -= {"root"}
        if name in ("0", "root") or not members:
            continue
        who = f"{listed(members)} (group {name})" if kind == "group" else name
        cure = (
            "install -d -m 0755 /etc/polkit-1/rules.d && echo 'polkit.addAdminRule(function(action, subject) "
            f'{{ return ["unix-user:0"]; }});\' > {OUR_RULE} && chmod 0644 {OUR_RULE}'
        )
        yield POLKIT_ADMIN.found(f"{who} can become root by pkexec: administrators of polkit ({source})", cure, name)
    yield from _local_rules(host)
    yield from _local_authority(host)
    yield "polkit has no administrators but root"


def _administrators(host: Host) -> tuple[str, list[tuple[str, str]]]:
    """The first rule that names administrators counts (polkit(8)); the same name in a folder further left hides others."""
    for _, path in _rule_files(host):
        text = _without_comments(host.read(path) or "")
        at = text.find("addAdminRule")
        if at >= 0:
            return path, _IDENTITY.findall(text[at : _end_of_call(text, at)])
    # Before polkit 0.106, key files; and without any, polkit asks for root's own password.
    for folder in ("/etc/polkit-1/localauthority.conf.d",):
        for name in reversed(host.names(folder)):
            for line in host.lines(f"{folder}/{name}"):
                if line.startswith("AdminIdentities"):
                    return f"{folder}/{name}", _IDENTITY.findall(line)
    return "built in", []


def _rule_files(host: Host) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for folder in reversed(RULES):
        found |= {name: f"{folder}/{name}" for name in host.names(folder) if name.endswith(".rules")}
    return sorted(found.items())


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", text, flags=re.DOTALL)


def _end_of_call(text: str, start: int) -> int:
    """Where the bracket that opens after `start` closes."""
    depth = 0
    for at in range(text.find("(", start), len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return len(text)


def _local_rules(host: Host) -> Iterator[Seen]:
    for folder in (RULES[0], RULES[2]):
        for name in host.names(folder):
            path = f"{folder}/{name}"
            text = _without_comments(host.read(path) or "") if name.endswith(".rules") else ""
            if re.search(r"Result\.YES|['\"]yes['\"]", text):
                yield POLKIT_RULE.found(
                    f"{path} lets people do things without any proof (polkit.Result.YES)",
                    f"less {shlex.quote(path)}   # if it is not wanted: rm {shlex.quote(path)}",
                    path,
                )


def _local_authority(host: Host) -> Iterator[Seen]:
    for top in LOCAL_AUTHORITY:
        for folder in host.names(top):
            for name in host.names(f"{top}/{folder}"):
                path = f"{top}/{folder}/{name}"
                parser = configparser.ConfigParser(interpolation=None, strict=False)
                try:
                    parser.read_string(host.read(path) or "")
                except configparser.Error:
                    continue
                for section in parser.sections():
                    results = [value for key, value in parser[section].items() if key.startswith("result")]
                    if "yes" in results:
                        who = parser[section].get("identity", "somebody")
                        what = f"{path} lets {who} do {parser[section].get('action', 'things')} without any proof"
                        yield POLKIT_RULE.found(what, f"rm {shlex.quote(path)}   # if it is not wanted", path)


# -- groups ----------------------------------------------------------------------------------------------------------

GROUPS: Final = {
    "docker": "starts containers that see the whole disk as root",
    "lxd": "starts containers that see the whole disk as root",
    "incus": "may reach the container manager, which is root",
    "incus-admin": "starts containers that see the whole disk as root",
    "libvirt": "starts machines with any disk, as root",
    "disk": "reads and writes the disk itself",
    "kmem": "reads the memory of the kernel",
    "shadow": "reads everybody's password hashes",
    "root": "writes what is writable for root's group",
    "staff": "writes /usr/local, where programs come from",
}
READERS: Final = {
    "adm": "reads the logs of the system",
    "systemd-journal": "reads the journal, with every command line in it",
}
GROUP = Kind("door-group", Severity.WARNING, "a group that amounts to root, or nearly so, has members")
READER = Kind("door-group-reads", Severity.NOTICE, "a group that reads what was recorded has members")


def look_at_groups(host: Host) -> Iterator[Seen | str]:
    members = group_members(host, *GROUPS, *READERS)
    system = {user.name for user in local_users(host) if user.uid < 1000}
    for name, meaning in (GROUPS | READERS).items():
        people = members.get(name, frozenset()) - system
        if people:
            kind = GROUP if name in GROUPS else READER
            cure = "; ".join(f"gpasswd -d {shlex.quote(person)} {name}" for person in sorted(people)[:5])
            yield kind.found(f"{listed(people)} in group {name}, which {meaning}", cure, name)
    yield "no group that amounts to root has members"


# -- SSH -------------------------------------------------------------------------------------------------------------

SSHD: Final = "/usr/sbin/sshd"
SSHD_CONFIG: Final = "/etc/ssh/sshd_config"
SSH_KEYS: Final = Kind("door-ssh-root-keys", Severity.WARNING, "who holds one of root's SSH keys is root, past jitsudo")
SSH_PASSWORD: Final = Kind("door-ssh-root-password", Severity.WARNING, "root may log in over SSH with a password")
_NO_ROOT: Final = (
    "printf 'PermitRootLogin no\\n' > /etc/ssh/sshd_config.d/00-jitsudo.conf && systemctl try-reload-or-restart ssh"
)


def look_at_ssh(host: Host) -> Iterator[Seen | str]:
    if not host.exists(SSHD):
        yield "sshd is not installed"
        return
    permit, keys = _ssh_settings(host)
    if permit == "yes":
        yield SSH_PASSWORD.found("sshd lets root log in with a password (PermitRootLogin yes)", _NO_ROOT, SSHD_CONFIG)
    if permit == "no":
        yield "root may not log in over SSH"
        return
    host.require_root("/root/.ssh")
    home = next((user.home for user in local_users(host) if user.uid == 0), "/root")
    for name in keys:
        path = name.replace("%h", home).replace("%u", "root").replace("%%", "%")
        path = path if path.startswith("/") else f"{home}/{path}"
        count = len(host.lines(path))
        if count:
            many = "a key" if count == 1 else f"{count} keys"
            what = f"{path} has {many}, and sshd lets root in by it (PermitRootLogin {permit})"
            yield SSH_KEYS.found(what, _NO_ROOT, path)
    yield "root has no SSH keys"


def _ssh_settings(host: Host) -> tuple[str, list[str]]:
    """PermitRootLogin and AuthorizedKeysFile: as sshd itself says (root only), else as its files do."""
    ran = host.run(SSHD, "-T", "-C", "user=root,host=localhost,addr=127.0.0.1") if host.is_root else None
    lines = [] if ran is None or ran.status != 0 else ran.out.splitlines()
    if not lines:
        lines = host.lines(SSHD_CONFIG)
        for name in host.names("/etc/ssh/sshd_config.d"):
            lines = [*host.lines(f"/etc/ssh/sshd_config.d/{name}"), *lines]
    found: dict[str, list[str]] = {}
    for line in lines:
        words = line.replace("=", " ").split()
        if words:
            found.setdefault(words[0].lower(), words[1:])  # the first value counts (sshd_config(5))
    permit = (found.get("permitrootlogin") or ["prohibit-password"])[0]
    return permit, found.get("authorizedkeysfile") or [".ssh/authorized_keys", ".ssh/authorized_keys2"]


CHECKS: Final = (
    Check("doors-polkit", look_at_polkit, (POLKIT_ADMIN, POLKIT_RULE)),
    Check("doors-groups", look_at_groups, (GROUP, READER)),
    Check("doors-ssh", look_at_ssh, (SSH_KEYS, SSH_PASSWORD)),
)
