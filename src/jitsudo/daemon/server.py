"""Serves one Varlink interface on one listening socket: limits, dispatch, errors, `pending` while somebody waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from jitsudo import __version__
from jitsudo.daemon.connection import Connection, Descriptors
from jitsudo.errors import Internal, InvalidValue, JitsudoError, ProtocolViolation, TooMany
from jitsudo.host.peer import Peer, identify
from jitsudo.wire.calls import SERVICE, Call, error_reply, interface_text, pending, reply
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import PENDING_SECONDS, Json, encode_frame

log = logging.getLogger("jitsudod")
FRAME_SECONDS: Final = 10.0  # for a call to arrive, from the connection or from the reply to the one before


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one person, and everybody together, may hold open."""

    max_frame_bytes: int
    connections_a_person: int
    connections: int
    reserved: int  # of `connections`: only for people who have none yet


@dataclass(slots=True)
class Context:
    """One call under way. A handler that waits says for what in `waiting_for`."""

    connection: Connection
    call: Call
    descriptors: Descriptors
    waiting_for: str = "the daemon is working on it"

    @property
    def peer(self) -> Peer:
        return self.connection.peer


Handler = Callable[[Context], Awaitable[Json]]


class Interface(Protocol):
    """What a server serves."""

    name: str
    handlers: Mapping[str, Handler]

    def person_of(self, peer: Peer) -> int:
        """The uid to whose limits a connection counts."""

    def keeps(self, connection: Connection) -> bool:
        """Whether the connection may stay silent (a command runs under it)."""

    def ended(self, connection: Connection) -> None:
        """The connection is gone."""


@dataclass(slots=True)
class Server:
    """Accepts on `listener` until cancelled."""

    listener: socket.socket
    interface: Interface
    limits: Limits
    _open: Counter[int] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        self.listener.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(self.listener)
                except OSError as error:  # too many open files, a connection that is gone already
                    log.warning("%s: accept: %s", self.interface.name, error)
                    await asyncio.sleep(0.1)
                    continue
                self._accept(accepted)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, accepted: socket.socket) -> None:
        peer: Peer | None = None
        try:
            peer = identify(accepted)
            person = self.interface.person_of(peer)
            self._check_limits(person)
        except JitsudoError as error:
            accepted.setblocking(False)
            with contextlib.suppress(OSError):
                accepted.send(encode_frame(error_reply(self.interface.name, error)))
            if peer is not None:
                peer.close()
            accepted.close()
            return
        self._open[person] += 1
        task = asyncio.create_task(self._serve(Connection(accepted, peer, self.limits.max_frame_bytes), person))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_limits(self, person: int) -> None:
        mine, total = self._open[person], self._open.total()
        if mine >= self.limits.connections_a_person or total >= self.limits.connections:
            raise TooMany("too many connections at once", "wait for some to end, then call again")
        if mine and total >= self.limits.connections - self.limits.reserved:
            raise TooMany("too many connections at once; the last are kept for others", "wait for some to end")

    async def _serve(self, connection: Connection, person: int) -> None:
        try:
            while True:
                received = await connection.receive(None if self.interface.keeps(connection) else FRAME_SECONDS)
                if received is None:
                    return
                call, descriptors = received
                try:
                    await self._answer(Context(connection, call, descriptors))
                finally:
                    descriptors.close()
        except ProtocolViolation as error:
            log.info("%s: pid %d: %s", self.interface.name, connection.peer.pid, error.sentence)
            with contextlib.suppress(OSError, TimeoutError):
                await connection.send(error_reply(self.interface.name, error))
        except (OSError, TimeoutError):
            pass  # the peer has gone, or sends nothing; `finally` tells the interface
        finally:
            self._open[person] -= 1
            if not self._open[person]:
                del self._open[person]
            self.interface.ended(connection)
            connection.close()

    async def _answer(self, context: Context) -> None:
        handler = self._handler(context.call.method)
        work = asyncio.ensure_future(self._outcome(handler, context))
        gone = asyncio.ensure_future(context.connection.ended())
        try:
            while True:
                done, _ = await asyncio.wait({work, gone}, timeout=PENDING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if work in done:
                    return await context.connection.send(work.result())
                if gone in done:
                    return None  # nobody is left to hear the answer
                if context.call.more:
                    await context.connection.send(pending(context.waiting_for))
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _outcome(self, handler: Handler | None, context: Context) -> Json:
        if handler is None:
            return {"error": f"{SERVICE}.MethodNotFound", "parameters": {"method": context.call.method}}
        try:
            return reply(await handler(context))
        except JitsudoError as error:
            return error_reply(self.interface.name, error)
        except Exception:  # whatever it is: the caller gets no allow, operators get the details
            reference = secrets.token_hex(4)
            log.exception("internal error, reference %s, in %s", reference, context.call.method)
            return error_reply(self.interface.name, Internal(reference))

    def _handler(self, method: str) -> Handler | None:
        interface, _, name = method.rpartition(".")
        if interface == self.interface.name:
            return self.interface.handlers.get(name)
        if interface == SERVICE:
            return {"GetInfo": self._get_info, "GetInterfaceDescription": self._describe}.get(name)
        return None

    async def _get_info(self, context: Context) -> Json:
        Fields(context.call.parameters, "GetInfo").done()
        interfaces = [SERVICE, self.interface.name]
        return {"vendor": "jitsudo", "product": "jitsudod", "version": __version__, "url": "", "interfaces": interfaces}

    async def _describe(self, context: Context) -> Json:
        fields = Fields(context.call.parameters, "GetInterfaceDescription")
        name = fields.text("interface")
        fields.done()
        if name != self.interface.name:
            raise InvalidValue(f"no interface {name} here")
        return {"description": interface_text(name)}
