"""What one local user does to the daemon's sockets so that others get no answer; each was tried on a lab host first."""

from __future__ import annotations

import array
import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jitsudo.daemon.connection import Connection
from jitsudo.daemon.server import Context, Handler, Interface, Limits, Server
from jitsudo.wire.calls import CONTROL
from jitsudo.wire.framing import Json

LINGER_SECONDS = 5
SOON = 2.0
LIMITS = Limits(max_frame_bytes=65_536, descriptors=0, connections_a_person=8, connections=64, reserved=4)
HELLO = b'{"method":"io.jitsudo.Control.Hello","parameters":{}}\0'


class Hello:
    """An interface that answers at once."""

    def __init__(self) -> None:
        self.handlers: Mapping[str, Handler] = {"Hello": self._hello}

    async def _hello(self, _context: Context) -> Json:
        return {"hello": True}

    def patience(self, connection: Connection) -> float | None:  # noqa: ARG002
        return 10.0

    def ended(self, connection: Connection) -> None:
        pass


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Server]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(64)
    interface: asyncio.Future[Interface] = asyncio.get_running_loop().create_future()
    interface.set_result(Hello())
    server = Server(CONTROL, listener, LIMITS, lambda peer: peer.uid, interface)
    task = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


def lingering() -> tuple[socket.socket, socket.socket]:
    """A TCP socket whose last close(2) waits LINGER_SECONDS, since its other end (the second) reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    sender.setblocking(False)
    try:
        while True:
            sender.send(b"x" * 65_536)
    except BlockingIOError:
        pass
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_SECONDS))
    return sender, receiver


def rights(*descriptors: int) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]


async def answered(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(HELLO)
    frame = await reader.readuntil(b"\0")
    writer.close()
    return frame


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


@pytest.mark.parametrize("sent", [HELLO, HELLO[:9], HELLO * 3], ids=["a call", "half a call", "three calls"])
def test_a_descriptor_whose_closing_takes_long_keeps_nobody_else_waiting(tmp_path: Path, sent: bytes) -> None:
    """A socket with SO_LINGER, sent along with whatever, does not stop the event loop when it is closed."""

    async def attack() -> bytes:
        async with serving(tmp_path / "s"):
            theirs, _peer = lingering()
            attacker = connected(tmp_path / "s")
            attacker.sendmsg([sent], rights(theirs.fileno()))
            theirs.close()
            await asyncio.sleep(0.1)
            attacker.close()
            await asyncio.sleep(0.1)
            return await asyncio.wait_for(answered(tmp_path / "s"), SOON)

    began = time.monotonic()
    assert b"true" in asyncio.run(attack())
    assert time.monotonic() - began < LINGER_SECONDS - 1


def test_descriptors_of_a_refused_connection_keep_nobody_else_waiting(tmp_path: Path) -> None:
    """What was queued on a connection that is one too many is not closed on the event loop either."""

    async def attack() -> bytes:
        async with serving(tmp_path / "s") as server:
            held = [connected(tmp_path / "s") for _ in range(LIMITS.connections_a_person)]
            await asyncio.sleep(0.1)
            theirs, _peer = lingering()
            attacker = connected(tmp_path / "s")
            attacker.sendmsg([HELLO], rights(theirs.fileno()))
            theirs.close()
            await asyncio.sleep(0.1)
            assert b"too many" in attacker.recv(4096)
            for connection in held:
                connection.close()
            await asyncio.sleep(0.1)
            assert server._open.total() == 0
            return await asyncio.wait_for(answered(tmp_path / "s"), SOON)

    began = time.monotonic()
    assert b"true" in asyncio.run(attack())
    assert time.monotonic() - began < LINGER_SECONDS - 1


def test_whoever_makes_closing_wait_has_fewer_connections_meanwhile(tmp_path: Path) -> None:
    """So nobody can make more closings wait than they may have connections."""

    async def attack() -> int:
        async with serving(tmp_path / "s") as server:
            theirs, _peer = lingering()
            attacker = connected(tmp_path / "s")
            attacker.sendmsg([HELLO], rights(theirs.fileno()))
            theirs.close()
            attacker.close()
            await asyncio.sleep(0.3)
            return server._open.total()

    assert asyncio.run(attack()) == 1
