"""What one local user does to the daemon's sockets so that others get no answer; each was tried on a lab host first."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import select
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from waiting import until

from jitsudo.daemon.agent import Agent, Unproven
from jitsudo.daemon.connection import Connection
from jitsudo.daemon.disposal import MAX_WAITING, THREADS, Disposal
from jitsudo.daemon.server import Context, Handler, Interface, Limits, Server
from jitsudo.wire.calls import CONTROL
from jitsudo.wire.framing import Json

LINGER_SECONDS = 40
SOON = 20.0
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
            await until(lambda: server._open.total() == len(held))
            theirs, _peer = lingering()
            attacker = connected(tmp_path / "s")
            attacker.sendmsg([HELLO], rights(theirs.fileno()))
            theirs.close()
            await until(lambda: select.select([attacker], [], [], 0)[0])
            assert b"too many" in attacker.recv(4096, socket.MSG_DONTWAIT)
            for connection in held:
                connection.close()
            await until(lambda: server._open.total() == 0)
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
            await until(lambda: server._disposal._running)
            await asyncio.sleep(0.3)
            return server._open.total()

    assert asyncio.run(attack()) == 1


def sunk(descriptor: int) -> int:
    """A socket in whose queue alone that descriptor is from now on: whoever closes the last of it closes both."""
    ours, kept = socket.socketpair()
    ours.sendmsg([b"x"], rights(descriptor))
    ours.close()
    return kept.detach()


def as_urgent(connection: socket.socket, descriptor: int) -> None:
    """Send a descriptor, which is closed here, along with urgent data (unix(7), Linux 5.15)."""
    try:
        connection.sendmsg([b"x"], rights(descriptor), socket.MSG_OOB)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("a kernel without CONFIG_AF_UNIX_OOB, where this attack does not exist")
    finally:
        os.close(descriptor)


def test_a_descriptor_that_comes_with_urgent_data_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    """Reading past urgent data, the kernel would close what came with it on the event loop."""

    async def attack() -> bytes:
        async with serving(tmp_path / "s"):
            theirs, _peer = lingering()
            hidden = sunk(theirs.fileno())
            theirs.close()
            attacker = connected(tmp_path / "s")
            as_urgent(attacker, hidden)
            await asyncio.sleep(0.2)
            attacker.close()
            return await asyncio.wait_for(answered(tmp_path / "s"), SOON)

    began = time.monotonic()
    assert b"true" in asyncio.run(attack())
    assert time.monotonic() - began < LINGER_SECONDS - 1


def test_an_agents_urgent_data_keeps_nobody_waiting() -> None:
    """The same, of a caller's SSH agent."""

    async def attack() -> str:
        ours, theirs = socket.socketpair()
        lingers, _peer = lingering()
        hidden = sunk(lingers.fileno())
        lingers.close()
        as_urgent(theirs, hidden)
        agent = Agent(ours.detach())
        with pytest.raises(Unproven) as refusal:
            await agent.prove([b""], b"", is_quiet=True, wait_for=lambda _: None)
        Disposal().let_go(*agent.detach())
        theirs.close()
        return refusal.value.message

    began = time.monotonic()
    assert "not understood" in asyncio.run(attack())
    assert time.monotonic() - began < LINGER_SECONDS - 1


def held_of(path: Path) -> int:
    """How many descriptors of that file this process holds."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}") == str(path)
    return found


def test_descriptors_in_a_queue_do_not_pile_up_while_one_is_closed(tmp_path: Path) -> None:
    """Thousands behind one that takes long would leave the daemon without any for others."""

    async def attack() -> int:
        ours, theirs = socket.socketpair()
        lingers, _peer = lingering()
        theirs.sendmsg([b"x"], rights(lingers.fileno()))
        lingers.close()
        with (tmp_path / "sent").open("wb") as sent:
            for _ in range(12):
                theirs.sendmsg([b"x"], rights(*[sent.fileno()] * 253))
        Disposal().let_go(ours, [])
        await asyncio.sleep(0.3)
        held = held_of(tmp_path / "sent")
        theirs.close()
        return held

    assert asyncio.run(attack()) <= 253


def test_connections_that_wait_to_be_closed_hold_one_descriptor_each(tmp_path: Path) -> None:
    """However many come after those that keep all the threads waiting."""

    async def attack() -> int:
        disposal, peers = Disposal(), []
        for _ in range(THREADS):
            ours, theirs = socket.socketpair()
            lingers, peer = lingering()
            theirs.sendmsg([b"x"], rights(lingers.fileno()))
            lingers.close()
            disposal.let_go(ours, [])
            peers += [theirs, peer]
        await asyncio.sleep(0.3)
        with (tmp_path / "sent").open("wb") as sent:
            for _ in range(5):
                ours, theirs = socket.socketpair()
                theirs.sendmsg([b"x"], rights(*[sent.fileno()] * 100))
                theirs.close()
                disposal.let_go(ours, [])
        return held_of(tmp_path / "sent")

    assert asyncio.run(attack()) == 0


def test_what_lies_in_a_queue_without_descriptors_is_let_go_at_once() -> None:
    """Nobody who sends only bytes waits for a thread."""

    async def let_go() -> bool:
        ours, theirs = socket.socketpair()
        theirs.sendall(b"x" * 100_000)
        return Disposal().let_go(ours, []).done() and ours.fileno() == -1

    assert asyncio.run(let_go())


def test_connections_that_wait_to_be_closed_do_not_pile_up() -> None:
    """Not even where all threads wait: what is more is closed by a process, which is ended, and waits for nobody."""

    async def attack() -> tuple[int, bool]:
        disposal, peers, connections, letting_go = Disposal(), [], [], []
        for number in range(THREADS + 3 * MAX_WAITING):
            ours, theirs = socket.socketpair()
            if number < THREADS + 3:
                lingers, peer = lingering()
                peers.append(peer)
            theirs.sendmsg([b"x"], rights(lingers.fileno()))
            if number < THREADS + 2:
                lingers.close()
            theirs.close()
            if number == THREADS:
                await asyncio.sleep(0.3)
            connections.append(ours)
            letting_go.append(disposal.let_go(ours, []))
        lingers.close()
        for process in disposal._killed:
            process.wait(SOON)
        return sum(one.fileno() >= 0 for one in connections), letting_go[THREADS + 1].done()

    began = time.monotonic()
    held, is_done = asyncio.run(attack())
    assert held < THREADS + MAX_WAITING
    assert is_done
    assert time.monotonic() - began < LINGER_SECONDS - 1
