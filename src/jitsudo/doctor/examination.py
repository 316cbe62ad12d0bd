"""The public entry: examine a host, all of it or some areas. `jitsudo doctor` shows it, `jitsudo setup` heeds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jitsudo.doctor import (
    accounts,
    clock,
    daemon,
    doors,
    doors_jobs,
    doors_programs,
    doors_rules,
    files,
    frontend,
    journald,
    pam,
    platform,
    policy,
    recording,
    setupstate,
    sudo,
    units,
)
from jitsudo.doctor.findings import Finding, Kind
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, examine_areas, select

SIDE_DOORS: Final = Area(
    "side-doors",
    "ways to root that jitsudo does not govern",
    (*doors.CHECKS, *doors_rules.CHECKS, *doors_programs.CHECKS, *doors_jobs.CHECKS),
)
AREAS: Final[tuple[Area, ...]] = (
    sudo.AREA,
    platform.AREA,
    frontend.AREA,
    files.FILES,
    files.KEYS_AREA,
    daemon.SOCKETS_AREA,
    daemon.DAEMON_AREA,
    journald.AREA,
    clock.AREA,
    policy.AREA,
    recording.AREA,
    pam.AREA,
    units.AREA,
    accounts.AREA,
    setupstate.AREA,
    SIDE_DOORS,
)


def examine(host: Host, areas: Sequence[str] = ()) -> list[Finding]:
    """Every finding of these areas (all without), the worst first. `InvalidValue` for an area that does not exist.

    It changes nothing, takes at most ten seconds, and does not raise for what it meets on the host.
    """
    return examine_areas(host, select(AREAS, areas))


def kinds() -> dict[str, tuple[Area, Kind]]:
    """Everything that can be found, by its code."""
    return {kind.code: (area, kind) for area in AREAS for check in area.checks for kind in check.kinds}
