"""The public entry: examine a host, all of it or some areas. `jitsudo doctor` shows it, `jitsudo setup` heeds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jitsudo.doctor.findings import Finding
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, examine_areas, select

AREAS: Final[tuple[Area, ...]] = ()


def examine(host: Host, areas: Sequence[str] = ()) -> list[Finding]:
    """Every finding of these areas (all without), the worst first. `InvalidValue` for an area that does not exist.

    It changes nothing, takes at most ten seconds, and does not raise for what it meets on the host.
    """
    return examine_areas(host, select(AREAS, areas))
