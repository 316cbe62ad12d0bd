"""Waiting for the state that matters, on a machine of which nobody knows how busy it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["LONG", "pass_time", "until", "wait_until"]

LONG: Final = 30.0  # seconds, for what takes none on a machine that has nothing else to do


async def until(holds: Callable[[], object]) -> None:
    """Let the event loop go on until it does."""
    async with asyncio.timeout(LONG):
        while not holds():
            await asyncio.sleep(0.005)


def wait_until(holds: Callable[[], object]) -> None:
    """The same without an event loop."""
    deadline = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def pass_time(seconds: float) -> None:
    """As if the event loop had slept for so long: what is due by then is due in its next turn."""
    loop: Any = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds
