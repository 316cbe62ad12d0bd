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
from typing import Final, Protocol, cast

from jitsudo import __version__
from jitsudo.daemon.connection import Connection, Descriptors
from jitsudo.daemon.disposal import Disposal, take_in_order
from jitsudo.daemon.people import ASKING, begin_call
from jitsudo.errors import Internal, InvalidValue, JitsudoError, ProtocolViolation, TooMany
from jitsudo.host.peer import Peer, identify
from jitsudo.wire.calls import SERVICE, Call, error_reply, interface_text, pending, reply
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import PENDING_SECONDS, Json, encode_frame

log = logging.getLogger("jitsudod")
ACCEPT_AGAIN_SECONDS: Final = 0.1  # after a failure
FRAME_SECONDS: Final = 10.0  # for a call to arrive, from the connection or from the reply to the one before


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one person, and everybody together, may hold open."""

    max_frame_bytes: int
    descriptors: int  # that may come with a call
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

    handlers: Mapping[str, Handler]

    def patience(self, connection: Connection) -> float | None:
        """For how many seconds the connection may stay silent; None: for ever (a command runs under it)."""

    def ended(self, connection: Connection) -> None:
        """The connection is gone."""


class _Waiting:
    """Tells a caller each second what is awaited; `give_up` is called where it does not take that."""

    def __init__(self, context: Context, give_up: Callable[[], object]) -> None:
        self._context = context
        self._give_up = give_up
        self._has_ended = False
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PENDING_SECONDS, self._say)

    def _say(self) -> None:
        self._context.connection.start_sending(pending(self._context.waiting_for)).add_done_callback(self._said)

    def _said(self, sending: asyncio.Task[None]) -> None:
        if sending.cancelled() or self._has_ended:
            return
        if sending.exception() is None:
            self._wait()
        else:
            self._give_up()

    def end(self) -> None:
        """Nothing more is begun."""
        self._has_ended = True
        self._timer.cancel()


@dataclass(slots=True)
class Server:
    """Accepts on `listener` until cancelled.

    It serves before what it serves is there: `interface` is done once ledger and policy are loaded, and until then callers
    are told so each second. `person_of` gives the uid to whose limits a connection counts.
    """

    name: str
    listener: socket.socket
    limits: Limits
    person_of: Callable[[Peer], int]
    interface: asyncio.Future[Interface]
    _open: Counter[int] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _again: asyncio.TimerHandle | None = None
    _disposal: Disposal = field(default_factory=Disposal)

    async def run(self) -> None:
        self.listener.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self.listener, self._accept_next)
        try:
            await loop.create_future()
        finally:
            if self._again is not None:
                self._again.cancel()
            loop.remove_reader(self.listener)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept_next(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            accepted, _ = self.listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # too many open files, a connection that is gone already
            log.warning("%s: accept: %s", self.name, error)
            loop.remove_reader(self.listener)
            self._again = loop.call_later(ACCEPT_AGAIN_SECONDS, loop.add_reader, self.listener, self._accept_next)
            return
        self._accept(accepted)

    def _accept(self, accepted: socket.socket) -> None:
        peer: Peer | None = None
        accepted.setblocking(False)
        try:
            take_in_order(accepted)
            peer = identify(accepted)
            person = self.person_of(peer)
            self._check_limits(person)
        except Exception as error:  # noqa: BLE001  whoever cannot be identified gets no further, and nobody else suffers for it
            refusal = error if isinstance(error, JitsudoError) else self._internal(f"{self.name}: accept")
            with contextlib.suppress(OSError):
                accepted.send(encode_frame(error_reply(self.name, refusal)))
            if peer is not None:
                peer.close()
            self._disposal.let_go(accepted, [])
            return
        self._open[person] += 1
        limits = self.limits
        connection = Connection(accepted, peer, limits.max_frame_bytes, limits.descriptors, self._disposal)
        task = asyncio.create_task(self._serve(connection, person))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check_limits(self, person: int) -> None:
        mine, total = self._open[person], self._open.total()
        if mine >= self.limits.connections_a_person:
            raise TooMany("too many connections at once", "wait for some to end, then call again")
        if person == 0:  # whoever has many uids cannot keep root from revoking
            return
        if total >= self.limits.connections:
            raise TooMany("too many connections at once", "wait for some to end, then call again")
        if mine and total >= self.limits.connections - self.limits.reserved:
            raise TooMany("too many connections at once; the last are kept for others", "wait for some to end")

    async def _serve(self, connection: Connection, person: int) -> None:
        ASKING.set(person)
        try:
            while True:
                received = await connection.receive(self._patience(connection))
                if received is None:
                    return
                call, descriptors = received
                try:
                    await self._answer(Context(connection, call, descriptors))
                finally:
                    descriptors.close()
        except ProtocolViolation as error:
            log.info("%s: pid %d: %s", self.name, connection.peer.pid, error.sentence)
            with contextlib.suppress(OSError, TimeoutError):
                await connection.send(error_reply(self.name, error))
        except (OSError, TimeoutError):
            pass  # the peer has gone, or sends nothing; `finally` tells the interface
        finally:
            if self.interface.done() and not self.interface.cancelled():
                self.interface.result().ended(connection)
            # Whoever makes closing wait has one connection fewer meanwhile.
            connection.close().add_done_callback(lambda _: self._closed(person))

    def _closed(self, person: int) -> None:
        self._open[person] -= 1
        if not self._open[person]:
            del self._open[person]

    def _patience(self, connection: Connection) -> float | None:
        return self.interface.result().patience(connection) if self.interface.done() else FRAME_SECONDS

    async def _answer(self, context: Context) -> None:
        """Until there is an answer, the caller hears what is awaited; where nobody is left to hear it, this task ends."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        context.connection.watch(task.cancel)
        waiting = _Waiting(context, task.cancel) if context.call.more else None
        try:
            frame = await self._outcome(context)
        finally:
            context.connection.unwatch()
            if waiting is not None:
                waiting.end()
        await context.connection.send_frame(frame)

    async def _outcome(self, context: Context) -> bytes:
        """The frame to answer with, whatever happens: what cannot be encoded is an error as well."""
        begin_call(context)
        try:
            if not self.interface.done():
                context.waiting_for = "the daemon is starting"
                await asyncio.shield(self.interface)
            handler = self._handler(context.call.method, self.interface.result())
            if handler is None:
                return encode_frame({"error": f"{SERVICE}.MethodNotFound", "parameters": {"method": context.call.method}})
            return encode_frame(reply(await handler(context)))
        except JitsudoError as error:
            return encode_frame(error_reply(self.name, error))
        except Exception:  # noqa: BLE001  whatever it is: the caller gets no allow, operators get the details
            return encode_frame(error_reply(self.name, self._internal(context.call.method)))

    @staticmethod
    def _internal(what: str) -> Internal:
        """To be called while the exception is being handled."""
        reference = secrets.token_hex(4)
        log.exception("internal error, reference %s, in %s", reference, what)
        return Internal(reference)

    def _handler(self, method: str, served: Interface) -> Handler | None:
        interface, _, name = method.rpartition(".")
        if interface == self.name:
            return served.handlers.get(name)
        if interface == SERVICE:
            return {"GetInfo": self._get_info, "GetInterfaceDescription": self._describe}.get(name)
        return None

    async def _get_info(self, context: Context) -> Json:
        Fields(context.call.parameters, "GetInfo").done()
        interfaces = [SERVICE, self.name]
        return {"vendor": "jitsudo", "product": "jitsudod", "version": __version__, "url": "", "interfaces": interfaces}

    async def _describe(self, context: Context) -> Json:
        fields = Fields(context.call.parameters, "GetInterfaceDescription")
        name = fields.text("interface")
        fields.done()
        if name != self.name:
            raise InvalidValue(f"no interface {name} here")
        return {"description": interface_text(name)}
