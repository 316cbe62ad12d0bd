"""The gate: what asks the file system waits in threads of its own, few at once for each person."""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from waiting import LONG, pass_time

from jitsudo.daemon import gate as module
from jitsudo.daemon.gate import EVALUATIONS_A_PERSON, Gate
from jitsudo.errors import Denied, Failed, TimedOut
from jitsudo.types import Person, Uid, UserName

ALICE, BOB = (Person(Uid(uid), UserName(name), None) for uid, name in ((1000, "alice"), (1001, "bob")))


def story(test: Callable[[Gate], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(100):
            await test(Gate())

    asyncio.run(run())


def test_what_the_work_gives_or_raises_comes_back() -> None:
    """From another thread than the loop's."""

    async def test(gate: Gate) -> None:
        assert await gate.run(ALICE, threading.get_ident) != threading.get_ident()

        def refuse() -> None:
            raise Denied("no")

        with pytest.raises(Denied, match="no"):
            await gate.run(ALICE, refuse)

    story(test)


def test_who_waits_for_a_file_system_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person has two at once; what hangs counts until it is back, even where nobody waits for it any more."""
    monkeypatch.setattr(module, "EVALUATION_SECONDS", 20.0)
    back = threading.Event()

    async def given_up(gate: Gate, *work: Callable[[], object]) -> list[type]:
        running = asyncio.gather(*(gate.run(ALICE, one) for one in work), return_exceptions=True)
        await asyncio.sleep(0)
        pass_time(21)
        return [type(error) for error in await running]

    async def test(gate: Gate) -> None:
        assert await given_up(gate, *[back.wait] * EVALUATIONS_A_PERSON) == [TimedOut, TimedOut]
        assert await given_up(gate, lambda: None) == [TimedOut]
        assert await gate.run(BOB, lambda: "bob") == "bob"
        back.set()
        assert await gate.run(ALICE, lambda: "alice") == "alice"

    story(test)


def test_all_threads_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many people ask."""
    monkeypatch.setattr(module, "EVALUATION_SECONDS", 60.0)
    monkeypatch.setattr(module, "EVALUATION_THREADS", 2)
    running, most, lock = 0, 0, threading.Lock()
    two = threading.Event()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 2:
                two.set()
        two.wait(LONG)
        time.sleep(0.05)  # for a third, if there were one
        with lock:
            running -= 1

    async def test(gate: Gate) -> None:
        people = [Person(Uid(uid), UserName(f"u{uid}"), None) for uid in range(1, 7)]
        await asyncio.gather(*(gate.run(person, work) for person in people))
        assert most == 2

    story(test)


def test_without_threads_nothing_is_looked_at_and_nobody_loses_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused as often as it is tried, and works again when there are threads."""

    def none(*_given: object) -> int:
        raise RuntimeError("can't start new thread")

    async def test(gate: Gate) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(_thread, "start_new_thread", none)
            for _ in range(EVALUATIONS_A_PERSON + 1):
                with pytest.raises(Failed, match="too many threads"):
                    await gate.run(ALICE, lambda: None)
        assert await gate.run(ALICE, lambda: 7) == 7

    story(test)
