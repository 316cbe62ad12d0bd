"""Threads for what asks the file system: a path on one that hangs must not stop other people's decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from jitsudo.errors import TimedOut
from jitsudo.types import Person, Uid

T = TypeVar("T")
EVALUATION_SECONDS: Final = 10.0  # for paths on file systems that do not answer
EVALUATION_THREADS: Final = 16
EVALUATIONS_A_PERSON: Final = 2  # at once


class Gate:
    """Nor may one person have all the threads; those that hang count until they are back."""

    def __init__(self) -> None:
        self._turns: dict[Uid, asyncio.Semaphore] = {}
        self._threads = ThreadPoolExecutor(EVALUATION_THREADS, thread_name_prefix="evaluate")

    async def run(self, person: Person, work: Callable[[], T]) -> T:
        """Raises TimedOut, and what the work raises."""
        turn = self._turns.setdefault(person.uid, asyncio.Semaphore(EVALUATIONS_A_PERSON))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(EVALUATION_SECONDS):
                await turn.acquire()
                running = self._threads.submit(work)
                running.add_done_callback(lambda _: loop.call_soon_threadsafe(turn.release))
                return await asyncio.wrap_future(running)
        except TimeoutError:
            raise TimedOut("a path on this command line could not be looked up in time", "is a file system hanging?") from None

    def close(self) -> None:
        """Threads that hang are left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)
