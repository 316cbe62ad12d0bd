"""The cage of the units: what drop-ins take away from it, and what systemd makes of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, Check

SERVICES: Final = ("jitsudod.service", "jitsudo-auth@.service")
OURS: Final = (*SERVICES, "jitsudod-decide.socket", "jitsudod-control.socket", "jitsudo-auth.socket")
SHIPPED: Final = "/usr/lib/systemd/system"
PLACES: Final = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
MOST_EXPOSED: Final = 2.4  # systemd-analyze security, as the unit is shipped or better
_OVERALL: Final = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
_CAGE: Final = re.compile(
    r"(Protect|Private|Restrict|System[Cc]all|Capability|Ambient|Device|IPAddress|NoNewPrivileges|LockPersonality|Memory|Keyring"
    r"|RemoveIPC|UMask|User|Group|Supplementary|ReadWrite|Bind|Root|Exec|Environment|PAMName|Watchdog|Restart|SocketMode"
    r"|SocketUser|SocketGroup|ListenStream|ListenSequentialPacket)\w*\s*="
)

REPLACED = Kind("unit-replaced", Severity.PROBLEM, "another unit file stands in the place of jitsudo's")
WEAKENED = Kind("unit-changed", Severity.WARNING, "a drop-in changes what jitsudo's units run, may do, or let in")
EXPOSED = Kind("unit-exposed", Severity.WARNING, "the daemon's unit is caged less than as it is shipped")


def look_at_dropins(host: Host) -> Iterator[Seen | str]:
    for unit in OURS:
        for place in PLACES:
            path = f"{place}/{unit}"
            if host.entry(path) is not None and host.real(path) != f"{SHIPPED}/{unit}":
                cure = f"rm {path}; systemctl daemon-reload; systemctl restart {unit.replace('@.', '@*.')}"
                yield REPLACED.found(f"{path} stands in the place of {SHIPPED}/{unit}", cure, path)
        for folder in _dropin_folders(unit):
            for name in host.names(folder):
                if name.endswith(".conf"):
                    yield from _dropin(host, f"{folder}/{name}")
    yield "nothing changes jitsudo's units"


def _dropin_folders(unit: str) -> Iterator[str]:
    """systemd.unit(5): also those of all units of a kind (service.d), and of names cut at each dash."""
    stem, _, kind = unit.rpartition(".")
    cut = [f"{stem[: match.end()]}.{kind}.d" for match in re.finditer("-", stem)]
    for place in (*PLACES, SHIPPED):
        for folder in (f"{unit}.d", *cut, f"{kind}.d"):
            yield f"{place}/{folder}"


def _dropin(host: Host, path: str) -> Iterator[Seen]:
    keys = sorted({line.partition("=")[0].strip() for line in host.lines(path) if _CAGE.match(line)})
    if keys:
        cure = f"rm {shlex.quote(path)}; systemctl daemon-reload; systemctl restart jitsudod"
        yield WEAKENED.found(f"{path} sets {', '.join(keys)}", cure, path)


def look_at_exposure(host: Host) -> Iterator[Seen | str]:
    if host.entry("/run/systemd/system") is None:
        return
    ran = host.run("/usr/bin/systemd-analyze", "--no-pager", "security", "jitsudod.service")
    match = _OVERALL.search("" if ran is None else ran.out)
    if match is None:
        return
    level = float(match[1])
    if level > MOST_EXPOSED:
        what = f"systemd-analyze security jitsudod.service says {level:g}; it is shipped with {MOST_EXPOSED:g} or less"
        yield EXPOSED.found(what, "systemctl revert jitsudod.service && systemctl restart jitsudod", "jitsudod.service")
    yield f"the daemon is caged (exposure {level:g})"


AREA: Final = Area(
    "units",
    "whether something weakens the cage of the daemon",
    (
        Check("units", look_at_dropins, (REPLACED, WEAKENED)),
        Check("units-exposure", look_at_exposure, (EXPOSED,)),
    ),
)
