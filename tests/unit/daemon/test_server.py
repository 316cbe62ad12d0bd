"""The server: limits, silence, descriptors and errors; nothing that a peer does gets an allow or stops others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import LONG, until

from jitsudo.daemon import server as server_module
from jitsudo.daemon.connection import Connection
from jitsudo.daemon.server import Context, Limits, Server
from jitsudo.errors import Denied
from jitsudo.host.peer import Peer
from jitsudo.wire.calls import CONTROL, MAX_DESCRIPTORS
from jitsudo.wire.framing import Json

pytestmark = pytest.mark.usefixtures("uncollected")

LIMITS = Limits(max_frame_bytes=65_536, descriptors=MAX_DESCRIPTORS, connections_a_person=8, connections=20, reserved=2)
FLOOD = "x" * 4_000_000  # more than a socket holds
Test = Callable[["Bench"], Awaitable[None]]


class Served:
    """What the server serves here."""

    def __init__(self) -> None:
        self.handlers = {
            "Echo": self.echo, "Fail": self.fail, "Refuse": self.refuse, "Wait": self.wait, "Take": self.take, "Odd": self.odd,
            "Name": self.name, "Hold": self.hold, "Flood": self.flood,
        }  # fmt: skip
        self.gone: list[Connection] = []
        self.awaited = 0
        self.begins: Callable[[Context], object] = lambda _context: None
        self.cancelled = 0
        self.kept: set[Connection] = set()
        self.release = asyncio.Event()

    def patience(self, connection: Connection) -> float | None:
        return None if connection in self.kept else server_module.FRAME_SECONDS

    def ended(self, connection: Connection) -> None:
        self.gone.append(connection)

    async def echo(self, context: Context) -> Json:
        return dict(context.call.parameters)

    async def fail(self, _context: Context) -> Json:
        raise RuntimeError("the secret is hunter2")

    async def refuse(self, _context: Context) -> Json:
        raise Denied("no", "ask")

    async def wait(self, context: Context) -> Json:
        return await self._until_released(context, "the event")

    async def flood(self, context: Context) -> Json:
        return await self._until_released(context, FLOOD)

    async def _until_released(self, context: Context, what: str) -> Json:
        context.waiting_for = what
        self.awaited += 1
        self.begins(context)
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"done": True}

    async def take(self, context: Context) -> Json:
        context.descriptors.name(["root", "cwd"])
        taken = context.descriptors.take("root")
        assert taken is not None
        os.close(taken)
        return {"cwd": context.descriptors.get("cwd") is not None}

    async def name(self, context: Context) -> Json:
        context.descriptors.name(context.call.parameters["names"])  # type: ignore[arg-type]
        return {}

    async def odd(self, _context: Context) -> Json:
        return {"text": "\ud800"}

    async def hold(self, context: Context) -> Json:
        self.kept.add(context.connection)
        return {}


class Bench:
    """A server on a socket of its own, and clients of it."""

    def __init__(self, path: str, served: Served, server: Server) -> None:
        self.path, self.served, self.server = path, served, server

    def connect(self) -> Client:
        return Client(self.path)

    async def open_connections(self) -> int:
        return self.server._open.total()

    async def settled(self, count: int) -> None:
        await until(lambda: self.server._open.total() == count)


class Client:
    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.setblocking(False)
        self.buffer = b""

    async def send(self, raw: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, raw)

    async def read(self) -> dict[str, Any] | None:
        """The next frame, None at the end."""
        async with asyncio.timeout(LONG):
            while b"\0" not in self.buffer:
                try:
                    data = await asyncio.get_running_loop().sock_recv(self.socket, 65_536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self.buffer += data
        frame, _, self.buffer = self.buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(frame)
        return found

    async def call(self, method: str, **message: object) -> dict[str, Any] | None:
        name = method if "." in method else f"{CONTROL}.{method}"
        await self.send(json.dumps({"method": name, **message}).encode() + b"\0")
        return await self.read()

    async def rest(self) -> list[dict[str, Any]]:
        found = []
        while (frame := await self.read()) is not None:
            found.append(frame)
        return found

    def close(self) -> None:
        self.socket.close()


def bench(test: Test, *, person_of: Callable[[Peer], int] = lambda peer: peer.uid, limits: Limits = LIMITS) -> None:
    """Run a test against a server; nothing may be left open afterwards."""

    @contextlib.asynccontextmanager
    async def served() -> AsyncIterator[Bench]:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            Path(folder).chmod(0o755)
            listener.bind(f"{folder}/s")
            Path(f"{folder}/s").chmod(0o777)
            listener.listen(100)
            interface = Served()
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.set_result(interface)
            server = Server(CONTROL, listener, limits, person_of, future)
            task = asyncio.create_task(server.run())
            try:
                yield Bench(f"{folder}/s", interface, server)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def run() -> None:
        async with served() as made:
            await test(made)

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_call_is_answered_and_the_connection_stays() -> None:
    """One after the other, also when both came in one piece."""

    async def test(b: Bench) -> None:
        client = b.connect()
        assert await client.call("Echo", parameters={"a": 1}) == {"parameters": {"a": 1}}
        twice = json.dumps({"method": f"{CONTROL}.Echo", "parameters": {"b": 2}}).encode() + b"\0"
        await client.send(twice * 2)
        assert [await client.read(), await client.read()] == [{"parameters": {"b": 2}}] * 2
        client.close()
        await b.settled(0)
        assert len(b.served.gone) == 1

    bench(test)


def test_a_handler_that_raises_is_an_internal_error_and_never_an_allow(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets a reference, operators the details; the connection goes on."""

    async def test(b: Bench) -> None:
        client = b.connect()
        answer = await client.call("Fail")
        assert answer is not None
        assert answer["error"] == f"{CONTROL}.Refused"
        assert answer["parameters"]["code"] == "internal"
        assert "hunter2" not in json.dumps(answer)
        assert "verdict" not in json.dumps(answer)
        reference = answer["parameters"]["message"].rpartition(" ")[2]
        assert reference in caplog.text
        assert "hunter2" in caplog.text
        assert await client.call("Echo") == {"parameters": {}}
        client.close()

    bench(test)


def test_an_answer_that_cannot_be_written_is_an_internal_error() -> None:
    """A lone surrogate from somewhere inside must not end in silence."""

    async def test(b: Bench) -> None:
        client = b.connect()
        answer = await client.call("Odd")
        assert answer is not None
        assert answer["parameters"]["code"] == "internal"
        client.close()

    bench(test)


def test_a_refusal_has_its_code_sentence_and_hint() -> None:
    """Errors of ours go out as they are."""

    async def test(b: Bench) -> None:
        client = b.connect()
        answer = await client.call("Refuse")
        expected = {"code": "denied", "message": "no", "hint": "ask"}
        assert answer == {"error": f"{CONTROL}.Refused", "parameters": expected}
        client.close()

    bench(test)


UNKNOWN = ["Nothing", "io.jitsudo.Decide.Echo", "echo", "org.varlink.service.Nothing", "org.varlink.service", f"{CONTROL}.",
           ".", f"{CONTROL}.__init__", "Echo.Echo"]  # fmt: skip


@pytest.mark.parametrize("method", UNKNOWN)
def test_an_unknown_method_is_said_to_be_unknown(method: str) -> None:
    """Names are looked up in a table, never on an object."""

    async def test(b: Bench) -> None:
        client = b.connect()
        answer = await client.call(method if "." in method else f"{CONTROL}.{method}")
        assert answer is not None
        assert answer["error"] == "org.varlink.service.MethodNotFound"
        client.close()

    bench(test)


def test_the_service_describes_itself() -> None:
    """GetInfo and GetInterfaceDescription, strictly."""

    async def test(b: Bench) -> None:
        client = b.connect()
        info = await client.call("org.varlink.service.GetInfo")
        assert info is not None
        assert info["parameters"]["interfaces"] == ["org.varlink.service", CONTROL]
        described = await client.call("org.varlink.service.GetInterfaceDescription", parameters={"interface": CONTROL})
        assert described is not None
        assert "interface io.jitsudo.Control" in described["parameters"]["description"]
        wrong: list[tuple[str, dict[str, object]]] = [
            ("GetInfo", {"x": 1}),
            ("GetInterfaceDescription", {}),
            ("GetInterfaceDescription", {"interface": "../../etc/passwd"}),
            ("GetInterfaceDescription", {"interface": "io.jitsudo.Decide"}),
            ("GetInterfaceDescription", {"interface": {"base64": "/w=="}}),
        ]
        for method, parameters in wrong:
            answer = await client.call(f"org.varlink.service.{method}", parameters=parameters)
            assert answer is not None
            assert answer["parameters"]["code"] == "invalid-value"
        client.close()

    bench(test)


VIOLATIONS = {
    "half an object": b'{"method":\0',
    "a list": b"[]\0",
    "NULs": b"\0" * 100_000,
    "noise": bytes(range(1, 256)) + b"\0",
    "a frame of one byte too many": b"x" * 65_537,
    "too deep": b'{"method":"a.b","parameters":' + b"[" * 60_000 + b"\0",
    "a reply": b'{"parameters":{}}\0',
    "an HTTP request": b"GET / HTTP/1.1\r\n\r\n\0",
}


@pytest.mark.parametrize("raw", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_what_is_not_the_protocol_ends_the_connection_with_a_reason(raw: bytes) -> None:
    """And only that connection."""

    async def test(b: Bench) -> None:
        other, client = b.connect(), b.connect()
        with contextlib.suppress(ConnectionError):
            await client.send(raw)
        answers = await client.rest()
        assert [a["parameters"]["code"] for a in answers] in (["protocol-violation"], [])
        await b.settled(1)
        assert await other.call("Echo") == {"parameters": {}}
        client.close()
        other.close()

    bench(test)


def test_half_a_frame_and_an_end_is_a_violation() -> None:
    """Whoever dies in the middle of a sentence has said nothing."""

    async def test(b: Bench) -> None:
        client = b.connect()
        await client.send(b'{"method":"io.jits')
        client.socket.shutdown(socket.SHUT_WR)
        answers = await client.rest()
        assert [a["parameters"]["code"] for a in answers] == ["protocol-violation"]
        client.close()

    bench(test)


def test_a_silent_connection_is_dropped_and_a_slow_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not keep it; a whole call has to arrive in the time."""
    monkeypatch.setattr(server_module, "FRAME_SECONDS", 0.3)

    async def test(b: Bench) -> None:
        silent, slow = b.connect(), b.connect()
        for byte in b'{"method":':
            with contextlib.suppress(ConnectionError):
                await slow.send(bytes([byte]))
            await asyncio.sleep(0.05)
        await b.settled(0)
        assert await silent.read() is None
        assert await slow.read() is None
        silent.close()
        slow.close()

    bench(test)


def test_a_connection_that_is_kept_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command runs under it."""
    monkeypatch.setattr(server_module, "FRAME_SECONDS", 0.1)

    async def test(b: Bench) -> None:
        client = b.connect()
        assert await client.call("Hold") == {"parameters": {}}
        await asyncio.sleep(0.4)
        assert await client.call("Echo") == {"parameters": {}}
        client.close()

    bench(test)


def test_the_ninth_connection_of_one_person_is_refused() -> None:
    """And there is room again when one has ended."""

    async def test(b: Bench) -> None:
        clients = [b.connect() for _ in range(8)]
        await b.settled(8)
        ninth = b.connect()
        answer = await ninth.read()
        assert answer is not None
        assert answer["parameters"]["code"] == "too-many"
        assert await ninth.read() is None
        clients.pop().close()
        await b.settled(7)
        again = b.connect()
        assert await again.call("Echo") == {"parameters": {}}
        for client in (*clients, ninth, again):
            client.close()

    bench(test)


def test_the_last_connections_are_for_people_who_have_none() -> None:
    """Those who have one cannot shut the others out."""
    people = iter([1, 1, 1, 2, 2, 3, 4, 5])

    async def test(b: Bench) -> None:
        clients, refused = [], []
        for number in range(8):
            client = b.connect()
            answer = await client.call("Echo")
            (refused if answer is None or "error" in answer else clients).append(number)
            b.clients = [*getattr(b, "clients", []), client]  # type: ignore[attr-defined]
        # 5 at most, 2 of them reserved: person 1 gets three, person 2 the fourth and no fifth, person 3 the fifth.
        assert clients == [0, 1, 2, 3, 5]
        for client in b.clients:  # type: ignore[attr-defined]
            client.close()

    bench(test, person_of=lambda _peer: next(people), limits=Limits(65_536, 0, 8, 5, 2))


def test_pending_is_said_each_second_to_those_who_asked_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of silence always mean a fault, so there are none."""
    order: list[str] = []
    start_sending = Connection.start_sending

    def noted(connection: Connection, message: Json) -> asyncio.Task[None]:
        order.append("pending")
        return start_sending(connection, message)

    monkeypatch.setattr(Connection, "start_sending", noted)

    async def test(b: Bench) -> None:
        patient, plain = b.connect(), b.connect()
        loop = asyncio.get_running_loop()
        began = loop.time()
        # Timers go off in their order, however late they all are on a busy machine.
        b.served.begins = lambda context: context.call.more and loop.call_later(1.5, order.append, "1.5 seconds")
        await plain.send(json.dumps({"method": f"{CONTROL}.Wait"}).encode() + b"\0")
        first = await patient.call("Wait", more=True)
        assert first == {"parameters": {"pending": "the event"}, "continues": True}
        assert loop.time() - began > 0.9
        assert await patient.read() == first
        assert order[:2] == ["pending", "1.5 seconds"]
        assert loop.time() - began > 1.9
        b.served.release.set()
        assert await patient.read() == {"parameters": {"done": True}}
        assert await plain.read() == {"parameters": {"done": True}}
        patient.close()
        plain.close()

    bench(test)


def test_the_answer_comes_after_what_is_still_being_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that reads slowly gets one whole frame after the other."""
    monkeypatch.setattr(server_module, "PENDING_SECONDS", 0.05)

    async def test(b: Bench) -> None:
        client = b.connect()
        await client.send(json.dumps({"method": f"{CONTROL}.Flood", "more": True}).encode() + b"\0")
        await until(lambda: select.select([client.socket], [], [], 0)[0])
        b.served.release.set()
        await asyncio.sleep(0.1)
        assert await client.read() == {"parameters": {"pending": FLOOD}, "continues": True}
        assert await client.read() == {"parameters": {"done": True}}
        assert await client.call("Echo") == {"parameters": {}}
        client.close()

    bench(test)


def test_a_caller_that_does_not_hear_what_is_awaited_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is its call gone on with."""
    monkeypatch.setattr(server_module, "PENDING_SECONDS", 0.05)
    monkeypatch.setattr("jitsudo.daemon.connection.SEND_SECONDS", 0.2)

    async def test(b: Bench) -> None:
        client = b.connect()
        await client.send(json.dumps({"method": f"{CONTROL}.Flood", "more": True}).encode() + b"\0")
        await b.settled(1)
        await b.settled(0)
        assert b.served.cancelled == 1
        client.close()

    bench(test)


def test_callers_are_told_to_wait_while_the_daemon_starts() -> None:
    """It answers before it has loaded anything, and serves the call once it has."""

    async def test(b: Bench) -> None:
        interface = b.server.interface
        b.server.interface = asyncio.get_running_loop().create_future()
        client = b.connect()
        answer = await client.call("Echo", more=True)
        assert answer == {"parameters": {"pending": "the daemon is starting"}, "continues": True}
        b.server.interface.set_result(interface.result())
        assert await client.read() is not None
        client.close()
        await b.settled(0)

    # What was asked for before is answered from the future that was waited for.
    bench(test)


def test_a_caller_that_ends_in_mid_call_ends_its_call() -> None:
    """Nobody is left to hear the answer."""

    async def test(b: Bench) -> None:
        client = b.connect()
        await client.send(json.dumps({"method": f"{CONTROL}.Wait"}).encode() + b"\0")
        await until(lambda: b.served.awaited)
        client.close()
        await b.settled(0)
        assert b.served.cancelled == 1

    bench(test)


def send_with(client: Client, message: dict[str, object], descriptors: list[int]) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))
    client.socket.sendmsg([json.dumps(message).encode() + b"\0"], [rights])


async def same_number_of_descriptors(act: Callable[[], Awaitable[None]]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    await act()
    await until(lambda: len(os.listdir("/proc/self/fd")) == before)


def test_descriptors_are_named_taken_and_otherwise_closed() -> None:
    """None is left, whoever took which."""

    async def test(b: Bench) -> None:
        with open("/dev/null", "rb") as null:

            async def act() -> None:
                client = b.connect()
                send_with(client, {"method": f"{CONTROL}.Take"}, [null.fileno()] * 2)
                assert await client.read() == {"parameters": {"cwd": True}}
                client.close()
                await b.settled(0)

            await same_number_of_descriptors(act)

    bench(test)


@pytest.mark.parametrize("names", [[], ["root"], ["root", "cwd", "command"]])
def test_descriptors_named_wrongly_are_closed(names: list[str]) -> None:
    """As many as were announced, or none at all."""

    async def test(b: Bench) -> None:
        with open("/dev/null", "rb") as null:

            async def act() -> None:
                client = b.connect()
                send_with(client, {"method": f"{CONTROL}.Name", "parameters": {"names": names}}, [null.fileno()] * 2)
                answer = await client.read()
                assert answer is not None
                assert answer["parameters"]["code"] == "invalid-value"
                client.close()
                await b.settled(0)

            await same_number_of_descriptors(act)

    bench(test)


CARELESS: dict[str, tuple[bytes, int]] = {
    "too many": (json.dumps({"method": f"{CONTROL}.Echo"}).encode() + b"\0", MAX_DESCRIPTORS + 1),
    "far too many": (json.dumps({"method": f"{CONTROL}.Echo"}).encode() + b"\0", 200),
    "with what is no call": (b"nonsense\0", 2),
    "with half a call": (b'{"method"', 2),
    "with a call of an unknown method": (json.dumps({"method": "a.B"}).encode() + b"\0", 2),
    "with a call that fails": (json.dumps({"method": f"{CONTROL}.Fail"}).encode() + b"\0", 2),
}


@pytest.mark.parametrize(("raw", "count"), CARELESS.values(), ids=CARELESS.keys())
def test_descriptors_never_leak(raw: bytes, count: int) -> None:
    """A careless or a hostile caller cannot use up the daemon's."""

    async def test(b: Bench) -> None:
        with open("/dev/null", "rb") as null:

            async def act() -> None:
                client = b.connect()
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{count}i", *[null.fileno()] * count))
                client.socket.sendmsg([raw], [rights])
                await asyncio.sleep(0.05)
                client.close()
                await b.settled(0)

            await same_number_of_descriptors(act)

    bench(test)


def test_descriptors_sent_in_several_pieces_count_together() -> None:
    """One a byte is no way round the limit."""

    async def test(b: Bench) -> None:
        with open("/dev/null", "rb") as null:

            async def act() -> None:
                client = b.connect()
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", null.fileno()))
                with contextlib.suppress(ConnectionError):
                    for _ in range(MAX_DESCRIPTORS + 1):
                        client.socket.sendmsg([b" "], [rights])
                        await asyncio.sleep(0.02)
                assert [a["parameters"]["code"] for a in await client.rest()] == ["protocol-violation"]
                client.close()
                await b.settled(0)

            await same_number_of_descriptors(act)

    bench(test)


def test_a_caller_that_dies_with_its_descriptors_under_way_leaves_none() -> None:
    """kill -9 in mid-call."""

    async def test(b: Bench) -> None:
        with open("/dev/null", "rb") as null:

            async def act() -> None:
                client = b.connect()
                send_with(client, {"method": f"{CONTROL}.Wait"}, [null.fileno()] * 2)
                await until(lambda: b.served.awaited)
                client.close()
                await b.settled(0)

            await same_number_of_descriptors(act)

    bench(test)


def test_a_caller_that_takes_no_answer_is_dropped_and_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks and asks and never reads."""
    monkeypatch.setattr("jitsudo.daemon.connection.SEND_SECONDS", 0.3)

    async def test(b: Bench) -> None:
        greedy, other = b.connect(), b.connect()
        frame = json.dumps({"method": f"{CONTROL}.Echo", "parameters": {"x": "y" * 60_000}}).encode() + b"\0"
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(5):
                for _ in range(100):
                    await greedy.send(frame)
                    assert await other.call("Echo") == {"parameters": {}}
        await b.settled(1)
        greedy.close()
        other.close()

    bench(test)


def test_a_caller_that_ended_before_it_was_accepted_is_refused_and_nobody_suffers() -> None:
    """The pid that connected could be anybody's by now."""

    async def test(b: Bench) -> None:
        code = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b'x')"
        await asyncio.to_thread(subprocess.run, [sys.executable, "-I", "-c", code, b.path], check=True)
        client = b.connect()
        assert await client.call("Echo") == {"parameters": {}}
        client.close()

    bench(test)
