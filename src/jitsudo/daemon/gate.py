"""Threads for what asks the file system: a path on one that hangs must not stop other people's decisions."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from jitsudo.errors import Failed, TimedOut
from jitsudo.types import Person, Uid

T = TypeVar("T")
EVALUATION_SECONDS: Final = 10.0  # for paths on file systems that do not answer
EVALUATION_THREADS: Final = 16
EVALUATIONS_A_PERSON: Final = 2  # at once


class Gate:
    """Nor may one person have all the threads; those that hang count until they are back."""

    def __init__(self) -> None:
        self._turns: dict[Uid, asyncio.Semaphore] = {}
        self._rooms = asyncio.Semaphore(EVALUATION_THREADS)

    async def run(self, person: Person, work: Callable[[], T]) -> T:
        """Raises TimedOut, Failed where no thread can be started, and what the work raises."""
        turn = self._turns.setdefault(person.uid, asyncio.Semaphore(EVALUATIONS_A_PERSON))
        held: list[asyncio.Semaphore] = []
        try:
            async with asyncio.timeout(EVALUATION_SECONDS):
                for room in (turn, self._rooms):
                    await room.acquire()
                    held.append(room)
                answer = self._start(work, tuple(held))
                held.clear()  # free again when the thread is back
                return await answer
        except TimeoutError:
            raise TimedOut("a path on this command line could not be looked up in time", "is a file system hanging?") from None
        finally:
            _leave(held)

    @staticmethod
    def _start(work: Callable[[], T], rooms: tuple[asyncio.Semaphore, ...]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            settle: Callable[[], None]
            try:
                settle = partial(answer.set_result, work())
            except BaseException as error:  # noqa: BLE001  whatever it is, it is raised where the answer is awaited
                settle = partial(answer.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the daemon has stopped meanwhile
                loop.call_soon_threadsafe(back, settle)

        def back(settle: Callable[[], None]) -> None:
            _leave(rooms)
            if not answer.done():
                settle()

        try:
            # As in `People`: of a pool, it would be waited for at the end, and every hand-over to one costs more than a thread.
            _thread.start_new_thread(run, ())
        except RuntimeError:
            raise Failed("the command cannot be looked at: too many threads", "systemctl status jitsudod") from None
        return answer


def _leave(rooms: list[asyncio.Semaphore] | tuple[asyncio.Semaphore, ...]) -> None:
    for room in rooms:
        room.release()
