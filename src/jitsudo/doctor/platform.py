"""The ground that jitsudo stands on: architecture, systemd, cgroups, container, room on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.mounts import mount_of, mounts
from jitsudo.doctor.registry import Area, Check

SUPPORTED: Final = ("x86_64", "aarch64")
OLDEST_SYSTEMD: Final = 252  # Debian 12's, the oldest that jitsudo is tested with
LEAST_FREE_BYTES: Final = 64 << 20
STATE: Final = "/var/lib"

ARCHITECTURE = Kind("architecture-unsupported", Severity.PROBLEM, "jitsudo is not made for this kind of machine")
NO_SYSTEMD = Kind("systemd-missing", Severity.PROBLEM, "systemd is not what runs this host; sessions cannot be contained")
OLD_SYSTEMD = Kind("systemd-old", Severity.WARNING, "systemd is older than any that jitsudo was tested with")
CGROUP = Kind("cgroup-v1", Severity.PROBLEM, "cgroups are not of version 2 (unified); sessions cannot be ended whole")
CONTAINER = Kind("container", Severity.NOTICE, "this is a container: who governs the machine around it is root in it")
READ_ONLY = Kind("etc-read-only", Severity.WARNING, "/etc cannot be written: nothing can be set up or rolled back here")
DISK = Kind("disk-full", Severity.PROBLEM, "there is hardly any room for the record; without it, people are refused")


def look_at_architecture(host: Host) -> Iterator[Seen | str]:
    if host.machine not in SUPPORTED:
        yield ARCHITECTURE.found(f"this machine is {host.machine}; jitsudo is made for {' and '.join(SUPPORTED)}")
    yield f"{host.machine} is supported"


def look_at_systemd(host: Host) -> Iterator[Seen | str]:
    if host.entry("/run/systemd/system") is None:  # sd_booted(3)
        yield NO_SYSTEMD.found(
            "this host was not booted with systemd (there is no /run/systemd/system)",
            "apt-get install systemd-sysv   # then reboot; where that cannot be, jitsudo cannot be used here",
        )
        return
    ran = host.run("/usr/bin/systemctl", "--version")
    words = [] if ran is None else ran.out.split()
    version = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    if version is not None and version < OLDEST_SYSTEMD:
        yield OLD_SYSTEMD.found(f"systemd is {version}; jitsudo is tested with {OLDEST_SYSTEMD} and later")
    yield "systemd runs this host" if version is None else f"systemd {version} runs this host"


def look_at_cgroups(host: Host) -> Iterator[Seen | str]:
    kinds = {mount.point: mount.kind for mount in mounts(host)}
    kind = kinds.get("/sys/fs/cgroup")
    if kind != "cgroup2":
        what = f"of type {kind}" if kind else "not mounted"
        yield CGROUP.found(
            f"/sys/fs/cgroup is {what}, not cgroup2",
            r"""sed -i 's/^GRUB_CMDLINE_LINUX="/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub; update-grub""",
        )
    yield "cgroups are of version 2"


def look_at_container(host: Host) -> Iterator[Seen | str]:
    ran = host.run("/usr/bin/systemd-detect-virt", "--container")
    if ran is not None and ran.status == 0 and ran.out.strip() not in ("", "none"):
        yield CONTAINER.found(f"this is a container ({ran.out.strip()}): root outside is root here, past jitsudo")
    yield "this is no container"


def look_at_disk(host: Host) -> Iterator[Seen | str]:
    etc = mount_of(host, "/etc")
    if etc is not None and "ro" in etc.options:
        yield READ_ONLY.found(f"{etc.point} is mounted read-only", f"mount -o remount,rw {etc.point}")
    place = "/var/lib/jitsudo" if host.is_root and host.exists("/var/lib/jitsudo") else STATE
    free = host.free_bytes(place)
    if free < LEAST_FREE_BYTES:
        yield DISK.found(f"{free >> 20} MiB are left for {place}", "journalctl --vacuum-size=100M; apt-get clean", place)
    yield f"{free >> 20} MiB are left for the record"


AREA: Final = Area(
    "host",
    "architecture, systemd, cgroups, container, disk",
    (
        Check("architecture", look_at_architecture, (ARCHITECTURE,)),
        Check("systemd", look_at_systemd, (NO_SYSTEMD, OLD_SYSTEMD)),
        Check("cgroups", look_at_cgroups, (CGROUP,)),
        Check("container-or-not", look_at_container, (CONTAINER,)),
        Check("disk", look_at_disk, (READ_ONLY, DISK)),
    ),
)
