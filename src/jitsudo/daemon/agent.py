"""Speaks with a caller's SSH agent (draft-ietf-sshm-ssh-agent) over a connection that the front end made as the caller.

The agent is the caller's own program: nothing that it says is believed, and nothing that it does holds up anybody else. It may
send descriptors, which nobody asked for and which can make close(2) wait: they are kept for somebody else to close.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from jitsudo.daemon.disposal import ANCILLARY_BYTES, rights, take_in_order
from jitsudo.errors import InvalidValue
from jitsudo.grants.sshsig import Reader, string

ANSWER_SECONDS: Final = 5.0  # for what no person is asked for
TOUCH_SECONDS: Final = 60.0  # for a person to find the security key, or to answer the agent's own question
PIECE_SECONDS: Final = 0.05  # from one piece of a message to the next: an agent that sends it byte by byte keeps nobody busy
MAX_MESSAGE_BYTES: Final = 256 * 1024  # what OpenSSH's own agent sends at most
MAX_IDENTITIES: Final = 2048  # as many as OpenSSH takes
IDENTITIES, IDENTITIES_ANSWER, SIGN, SIGN_RESPONSE = 11, 12, 13, 14
RSA_SHA2_512: Final = 4  # as a flag of SIGN

WAITING: Final = "your SSH agent's answer is awaited"
TOUCH: Final = "confirm on your security key"
NOT_UNDERSTOOD: Final = "the SSH agent's answer was not understood"
CLOSED: Final = "your SSH agent closed the connection"


class Unproven(Exception):
    """The agent proves nothing; the message and the hints are for the person. `refused`: it was asked to sign and would not."""

    def __init__(self, message: str, *hints: str, refused: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Signed:
    """What the agent says is the signature of the key `key`; both are blobs in SSH wire format."""

    key: bytes
    signature: bytes


class Agent:
    """The connection. `detach` is to be called in the end, whatever happens."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over. Raises InvalidValue unless it is that of a Unix stream socket, and closes it then."""
        try:
            self._socket = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            raise InvalidValue("Answer: the agent's descriptor is not a socket") from None
        kind = [self._socket.getsockopt(socket.SOL_SOCKET, what) for what in (socket.SO_DOMAIN, socket.SO_TYPE)]
        if kind != [socket.AF_UNIX, socket.SOCK_STREAM]:
            self._socket.close()
            raise InvalidValue("Answer: the agent's descriptor is not a Unix stream socket")
        self._socket.setblocking(False)
        take_in_order(self._socket)
        self._received: list[int] = []

    def detach(self) -> tuple[socket.socket, list[int]]:
        """The socket, and the descriptors that the agent sent: both for the caller to close."""
        received, self._received = self._received, []
        return self._socket, received

    async def prove(
        self, keys: Collection[bytes], data: bytes, *, is_quiet: bool, wait_for: Callable[[str], None]
    ) -> Signed:
        """One of `keys` over `data`. Raises Unproven. `is_quiet`: nobody is there to touch anything.

        `wait_for` is told what is awaited.
        """
        try:
            wait_for(WAITING)
            held = [key for key in await self._identities() if key in keys and not (is_quiet and _is_touched(key))]
            for key in held:
                wait_for(TOUCH if _is_touched(key) else WAITING)
                signature = await self._sign(key, data)
                if signature is not None:
                    return Signed(key, signature)
        except InvalidValue:
            raise Unproven(NOT_UNDERSTOOD) from None
        except OSError:
            raise Unproven(CLOSED) from None
        if held:
            raise Unproven("your SSH agent refused to sign", refused=True)
        raise Unproven("your SSH agent holds none of the keys that are enrolled for you", "ssh-add -l")

    async def _identities(self) -> list[bytes]:
        """The public keys that it says it has, each once; none where it does not say, as one that is locked."""
        answer = Reader(await self._call(bytes([IDENTITIES]), ANSWER_SECONDS))
        if answer.take(1)[0] != IDENTITIES_ANSWER:
            return []
        count = answer.uint32()
        if count > MAX_IDENTITIES:
            raise Unproven(NOT_UNDERSTOOD)
        found: dict[bytes, None] = {}
        for _ in range(count):
            found[answer.string()] = None
            answer.string()  # its comment
        answer.end()
        return [*found]

    async def _sign(self, key: bytes, data: bytes) -> bytes | None:
        """The signature, None where the agent, or the person whom it asked, refuses."""
        flags = RSA_SHA2_512 if Reader(key).string() == b"ssh-rsa" else 0
        request = bytes([SIGN]) + string(key) + string(data) + flags.to_bytes(4, "big")
        answer = Reader(await self._call(request, TOUCH_SECONDS))
        if answer.take(1)[0] != SIGN_RESPONSE:
            return None
        signature = answer.string()
        answer.end()
        return signature

    async def _call(self, request: bytes, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                await self._send(string(request))
                size = int.from_bytes(await self._receive(4), "big")
                if not 0 < size <= MAX_MESSAGE_BYTES:
                    raise Unproven(NOT_UNDERSTOOD)
                return await self._receive(size)
        except TimeoutError:
            raise Unproven("your SSH agent did not answer in time") from None

    async def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            await self._ready(to_send=True)
            try:
                sent = self._socket.send(rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                continue
            rest = rest[sent:]

    async def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            if data:
                await asyncio.sleep(PIECE_SECONDS)
            await self._ready(to_send=False)
            flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            try:
                piece, ancillary, _, _ = self._socket.recvmsg(size - len(data), ANCILLARY_BYTES, flags)
            except BlockingIOError:
                continue
            self._received += rights(ancillary)
            if self._received:
                raise Unproven(NOT_UNDERSTOOD)
            if not piece:
                raise Unproven(CLOSED)
            data += piece
        return bytes(data)

    async def _ready(self, *, to_send: bool) -> None:
        loop = asyncio.get_running_loop()
        add, remove = (loop.add_writer, loop.remove_writer) if to_send else (loop.add_reader, loop.remove_reader)
        ready: asyncio.Future[None] = loop.create_future()
        add(self._socket, _settle, ready)
        try:
            await ready
        finally:
            remove(self._socket)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _is_touched(key: bytes) -> bool:
    """Whether it is a security key's."""
    return Reader(key).string().startswith(b"sk-")
