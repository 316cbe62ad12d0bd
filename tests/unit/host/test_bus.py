"""systemd over D-Bus: a call that is given up, or a bus that goes away, spoils nothing for the calls after it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from jeepney import Message, Parser, new_method_return
from jeepney.io.asyncio import DBusConnection

from jitsudo.errors import Failed
from jitsudo.host import scopes
from jitsudo.host.scopes import SystemManager
from jitsudo.types import SessionId

SESSION = SessionId("S-AAAAAAAA")


class Bus:
    """Takes calls; a test says when they are answered. `connections`: how often somebody connected."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[Message] = asyncio.Queue()
        self.connections = 0
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections, self._writer = self.connections + 1, writer
        parser = Parser()
        while data := await reader.read(4096):
            parser.add_data(data)
            while (message := parser.get_next_message()) is not None:
                self.calls.put_nowait(message)
        writer.close()

    def answer(self, call: Message) -> None:
        assert self._writer is not None
        self._writer.write(new_method_return(call).serialise(1000))

    def hang_up(self) -> None:
        assert self._writer is not None
        self._writer.close()


def story(monkeypatch: pytest.MonkeyPatch, test: Callable[[SystemManager, Bus], Awaitable[None]]) -> None:
    async def run(folder: str) -> None:
        bus, manager = Bus(), SystemManager()

        async def connect(_bus: str) -> DBusConnection:
            return DBusConnection(*await asyncio.open_unix_connection(f"{folder}/bus"))

        monkeypatch.setattr(scopes, "open_dbus_connection", connect)
        async with asyncio.timeout(60), await asyncio.start_unix_server(bus.serve, f"{folder}/bus"):
            await test(manager, bus)
            await manager.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(folder))


async def works(manager: SystemManager, bus: Bus) -> None:
    call = asyncio.create_task(manager.stop_scope(SESSION))
    bus.answer(await bus.calls.get())
    await call


def test_an_answer_for_somebody_who_just_gave_up_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if it arrives in the very turn in which they do."""

    async def test(manager: SystemManager, bus: Bus) -> None:
        given_up = asyncio.create_task(manager.stop_scope(SESSION))
        asked = await bus.calls.get()
        answer = Parser()
        answer.add_data(new_method_return(asked).serialise(1000))
        given_up.cancel()
        router: Any = manager._router
        router._dispatch(answer.get_next_message())
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await works(manager, bus)
        assert bus.connections == 1

    story(monkeypatch, test)


def test_a_bus_that_went_away_is_a_failure_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an answer is awaited, and before a call; the next call connects anew."""

    async def test(manager: SystemManager, bus: Bus) -> None:
        waiting = asyncio.create_task(manager.stop_scope(SESSION))
        await bus.calls.get()
        bus.hang_up()
        with pytest.raises(Failed, match="does not answer over D-Bus"):
            await waiting
        await works(manager, bus)
        bus.hang_up()
        receiving: Any = manager._router
        await asyncio.wait([receiving._rcv_task])
        with pytest.raises(Failed, match="does not answer over D-Bus"):
            await manager.stop_scope(SESSION)
        await works(manager, bus)
        assert bus.connections == 3

    story(monkeypatch, test)


def test_whoever_learns_late_that_a_connection_is_of_no_use_spares_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else has given it up meanwhile, and another call is under way on a new one."""
    monkeypatch.setattr(scopes, "BUS_SECONDS", 0.5)

    async def test(manager: SystemManager, bus: Bus) -> None:
        late = asyncio.create_task(manager.stop_scope(SESSION))
        await bus.calls.get()
        monkeypatch.setattr(scopes, "BUS_SECONDS", 20)
        given_up, manager._router = manager._router, None
        under_way = asyncio.create_task(manager.stop_scope(SESSION))
        call = await bus.calls.get()
        with pytest.raises(Failed, match="does not answer over D-Bus"):
            await late
        bus.answer(call)
        await under_way
        assert bus.connections == 2
        assert given_up is not None
        await given_up.__aexit__(None, None, None)

    story(monkeypatch, test)
