"""The clock: grants are for a time, so a wrong clock refuses people or lets them in too long."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, Check
from jitsudo.host.clock import SLACK_SECONDS

LEDGER: Final = "/var/lib/jitsudo/ledger.db"
MARK: Final = "credible-time"
BUSY_SECONDS: Final = 0.5

UNSYNCHRONISED = Kind("clock-unsynchronised", Severity.WARNING, "nothing keeps the clock right")
ABSURD = Kind("clock-absurd", Severity.PROBLEM, "the clock is behind the making of the files that it is read by")
BEHIND = Kind("clock-behind", Severity.PROBLEM, "the clock was set back: no grant is believed to be in time")


def look_at_synchronised(host: Host) -> Iterator[Seen | str]:
    ran = host.run("/usr/bin/timedatectl", "show", "-p", "NTPSynchronized", "--value")
    said = "" if ran is None else ran.out.strip()
    if said == "no":
        cure = "apt-get install systemd-timesyncd && timedatectl set-ntp true"
        yield UNSYNCHRONISED.found("the clock is not synchronised (timedatectl)", cure)
    if said:
        yield "the clock is synchronised"


def look_at_time(host: Host) -> Iterator[Seen | str]:
    now = host.now()
    made = host.target("/usr/lib/os-release")
    if made is not None and now < made.mtime - 86_400:
        what = f"the clock is {int(made.mtime - now)} s behind the time at which {made.path} was made"
        yield ABSURD.found(what, "hwclock --hctosys", made.path)
    host.require_root(LEDGER)
    credible = _credible(host)
    if credible - SLACK_SECONDS > now:
        cure = "timedatectl set-ntp true   # or, if the clock is right as it is: jitsudo clock accept"
        yield BEHIND.found(f"the clock is {int(credible - now)} s behind a time that was believed before", cure, LEDGER)
    yield "the clock was not set back"


def _credible(host: Host) -> int:
    """What the daemon last believed. Nothing is written: without the daemon's own log, the file is taken as it is."""
    if host.entry(LEDGER) is None:
        return 0
    how = "mode=ro" if host.entry(f"{LEDGER}-shm") is not None else "mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(f"file:{host.at(LEDGER)}?{how}", uri=True, timeout=BUSY_SECONDS)) as ledger:
        row = ledger.execute("SELECT value FROM marks WHERE name = ?", (MARK,)).fetchone()
    return int(row[0]) if row else 0


AREA: Final = Area(
    "clock",
    "whether the clock can be believed",
    (
        Check("clock-synchronised", look_at_synchronised, (UNSYNCHRONISED,)),
        Check("clock", look_at_time, (ABSURD, BEHIND)),
    ),
)
