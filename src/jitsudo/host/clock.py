"""The clocks: wall time, time since boot, and the highest wall time that can be believed.

Setting the clock back must not revive a grant, and a wrong clock must not end up as the measure of all others: the believed
time advances with time since boot plus some slack, further only when the clock is synchronised (grants.md, "Clocks").
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from jitsudo.errors import Denied
from jitsudo.types import Moment

SLACK_SECONDS: Final = 120


def read_clocks() -> Moment:
    """One reading. CLOCK_BOOTTIME counts through suspend (clock_gettime(2))."""
    return Moment(wall=int(time.time()), boot=time.clock_gettime(time.CLOCK_BOOTTIME))


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip().replace("-", "")


class CredibleClock:
    """The highest credible wall time, kept across restarts by whoever owns the ledger."""

    def __init__(self, credible: int, now: Moment) -> None:
        """`credible` is the last one kept, 0 on a new host, whose clock is believed as it is."""
        self._credible = float(credible or now.wall)
        self._boot = now.boot

    @property
    def credible(self) -> int:
        return int(self._credible)

    def observe(self, now: Moment, *, synchronised: bool = False) -> None:
        """Let the believed time advance to `now`, as far as it may."""
        bound = self._credible + (now.boot - self._boot) + SLACK_SECONDS
        if synchronised or now.wall <= bound:
            self._credible = max(self._credible, float(now.wall))
            self._boot = now.boot

    def is_far_ahead(self, now: Moment) -> bool:
        """Whether the wall clock is further ahead than can be believed without synchronisation."""
        return now.wall > self._credible + (now.boot - self._boot) + SLACK_SECONDS

    def check(self, now: Moment) -> None:
        """Raises Denied when the wall clock is behind what was believed."""
        if now.wall < self._credible - SLACK_SECONDS:
            behind = int(self._credible) - now.wall
            raise Denied(
                f"this host's clock was set back by {behind} s, so no grant can be trusted to be in time",
                "an administrator sets the clock right, or accepts it as it is: jitsudo clock accept (as root)",
            )

    def accept(self, now: Moment) -> None:
        self._credible = float(now.wall)
        self._boot = now.boot
