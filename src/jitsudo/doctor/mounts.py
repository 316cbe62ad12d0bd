"""What is mounted where (proc(5), /proc/self/mounts)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jitsudo.doctor.host import Host


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mounts."""

    point: str
    kind: str
    options: frozenset[str]


def mounts(host: Host) -> list[Mount]:
    found = []
    for line in host.lines("/proc/self/mounts"):
        words = line.split()
        if len(words) >= 4:
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[1])
            found.append(Mount(point, words[2], frozenset(words[3].split(","))))
    return found


def mount_of(host: Host, path: str) -> Mount | None:
    """On which mount `path` lies: the longest point above it, the last one where several cover it."""
    best: Mount | None = None
    for mount in mounts(host):
        above = mount.point == "/" or path == mount.point or path.startswith(f"{mount.point}/")
        if above and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best
