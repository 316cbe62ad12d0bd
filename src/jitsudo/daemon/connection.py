"""One connection of one peer: frames and descriptors in, frames out, nothing that the peer does can block others."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

from jitsudo.daemon.disposal import ANCILLARY_BYTES, Disposal, rights
from jitsudo.errors import InvalidValue, ProtocolViolation
from jitsudo.host.peer import Peer
from jitsudo.wire.calls import Call
from jitsudo.wire.framing import FrameReader, Json, decode_frame, encode_frame

READ_BYTES = 262_144
SEND_SECONDS = 10.0  # for a peer to take a reply


class Descriptors:
    """Descriptors that came with a call. What nobody takes is closed."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._unnamed = list(descriptors)
        self._named: dict[str, int] = {}

    def name(self, names: Sequence[str]) -> None:
        """Raises InvalidValue unless there are exactly as many as names."""
        if len(names) != len(self._unnamed):
            raise InvalidValue(f"{len(names)} descriptors were announced, {len(self._unnamed)} came")
        self._named, self._unnamed = dict(zip(names, self._unnamed, strict=True)), []

    def get(self, name: str) -> int | None:
        return self._named.get(name)

    def take(self, name: str) -> int | None:
        """The caller closes it from now on."""
        return self._named.pop(name, None)

    def move(self) -> Descriptors:
        """All of them under a new owner, who closes them."""
        moved = Descriptors(self._unnamed)
        moved._named = self._named
        self._unnamed, self._named = [], {}
        return moved

    def close(self) -> None:
        for descriptor in (*self._unnamed, *self._named.values()):
            os.close(descriptor)
        self._unnamed, self._named = [], {}


class Connection:
    """Takes the socket over. `max_descriptors` is for all calls that are not answered yet."""

    def __init__(
        self, connection: socket.socket, peer: Peer, max_frame_bytes: int, max_descriptors: int, disposal: Disposal
    ) -> None:
        connection.setblocking(False)
        self.peer = peer
        self._max_descriptors = max_descriptors
        self._disposal = disposal
        self._socket = connection
        self._reader = FrameReader(max_frame_bytes)
        self._frames: list[bytes] = []
        self._descriptors: list[int] = []
        self._let_go: list[asyncio.Future[None]] = []
        self._sending: asyncio.Task[None] | None = None

    async def receive(self, seconds: float | None) -> tuple[Call, Descriptors] | None:
        """The next call, None at the end. Raises ProtocolViolation, TimeoutError (from `seconds` of waiting for it)."""
        async with asyncio.timeout(seconds):
            while not self._frames:
                data = await self._read()
                if not data:
                    if self._reader.pending:
                        raise ProtocolViolation("the connection ended within a frame")
                    return None
                self._frames += self._reader.feed(data)
        descriptors, self._descriptors = Descriptors(self._descriptors), []
        try:
            return Call.parse(decode_frame(self._frames.pop(0))), descriptors
        except BaseException:  # whatever it is, descriptors must not leak; raised again
            descriptors.close()
            raise

    async def _read(self) -> bytes:
        while True:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(
                    READ_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
                break
            except BlockingIOError:
                await self._readable()
            except ConnectionError:
                return b""
        self._descriptors += rights(ancillary)
        if flags & socket.MSG_CTRUNC or len(self._descriptors) > self._max_descriptors:
            raise ProtocolViolation(f"more than {self._max_descriptors} descriptors")
        return data

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._socket, _settle, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._socket)

    def watch(self, gone: Callable[[], object]) -> None:
        """Until `unwatch`, call `gone` when the peer has gone; never while it has sent something that is still to be read."""
        asyncio.get_running_loop().add_reader(self._socket, self._look, gone)

    def unwatch(self) -> None:
        """Whether `gone` was called or not."""
        asyncio.get_running_loop().remove_reader(self._socket)

    def _look(self, gone: Callable[[], object]) -> None:
        try:
            has_more = bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return
        except ConnectionError:
            has_more = False
        self.unwatch()
        if not has_more:
            gone()

    def start_sending(self, message: Json) -> asyncio.Task[None]:
        """Send a message meanwhile; what `send` is given next goes after it."""
        self._sending = asyncio.get_running_loop().create_task(self._send_all(encode_frame(message)))
        return self._sending

    async def send(self, message: Json) -> None:
        """Raises ConnectionError, TimeoutError."""
        await self.send_frame(encode_frame(message))

    async def send_frame(self, frame: bytes) -> None:
        """As `send`, for a message that was encoded already."""
        before, self._sending = self._sending, None
        if before is not None:
            await before
        await self._send_all(frame)

    async def _send_all(self, frame: bytes) -> None:
        try:
            sent = self._socket.send(frame)  # nearly always all of it; whoever waits for it is not kept waiting for a timer
        except BlockingIOError:
            sent = 0
        if sent < len(frame):
            async with asyncio.timeout(SEND_SECONDS):
                await asyncio.get_running_loop().sock_sendall(self._socket, frame[sent:])

    def let_go(self, passed: socket.socket, descriptors: list[int]) -> None:
        """Close a socket that was passed on by a call, and what came over it: `close` is not done before that is."""
        self._let_go.append(self._disposal.let_go(passed, descriptors))

    def close(self) -> asyncio.Future[list[None]]:
        """Done when everything is closed, which is up to the peer if it sent descriptors."""
        descriptors, self._descriptors = self._descriptors, []
        if self._sending is not None:
            self._sending.cancel()
        self.peer.close()
        return asyncio.gather(self._disposal.let_go(self._socket, descriptors), *self._let_go)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
