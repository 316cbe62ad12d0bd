"""Accounts and groups as the host's files and its name service say."""

from __future__ import annotations

from dataclasses import dataclass

from jitsudo.doctor.host import Host


@dataclass(frozen=True, slots=True)
class LocalUser:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def local_users(host: Host) -> list[LocalUser]:
    """Those of /etc/passwd; lines that are not of its form are left out (pwck(8) is for them)."""
    found = []
    for line in (host.read("/etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit() and fields[3].isdigit():
            found.append(LocalUser(fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6]))
    return found


def user_exists(host: Host, name: str) -> bool:
    """In the files or, asked for by name, in the name service."""
    if any(user.name == name for user in local_users(host)):
        return True
    ran = host.run("/usr/bin/getent", "passwd", name)
    return ran is not None and ran.status == 0 and ran.out.startswith(f"{name}:")


def group_members(host: Host, *names: str) -> dict[str, frozenset[str]]:
    """The members of those groups that exist, whose primary group it is included; the name service is asked by name."""
    lines = (host.read("/etc/group") or "").splitlines()
    ran = host.run("/usr/bin/getent", "group", *names) if names else None
    if ran is not None:
        lines += ran.out.splitlines()
    users = local_users(host)
    found: dict[str, frozenset[str]] = {}
    for line in lines:
        fields = line.split(":")
        if len(fields) == 4 and fields[0] in names and fields[2].isdigit():
            listed = {member for member in fields[3].split(",") if member}
            primary = {user.name for user in users if user.gid == int(fields[2])}
            found[fields[0]] = found.get(fields[0], frozenset()) | listed | primary
    return found


def listed(names: frozenset[str] | list[str], most: int = 5) -> str:
    """Names for a sentence: all, or the first of them and how many more there are."""
    shown = sorted(names)
    more = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {more} more" if more > 0 else "")
