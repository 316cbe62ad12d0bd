"""Closes what strangers sent, off the event loop: their descriptors can make close(2) wait for as long as they like.

A TCP socket with SO_LINGER and unsent data does (socket(7)), and so does a file of somebody's own FUSE. Both may come over a
unix socket from anybody who can connect, asked for or not, and the kernel closes what is still in the queue of a socket
together with it. So a connection is shut down, emptied, and closed here at once only if nothing came with it.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import threading
from collections import deque
from typing import Final

MAX_RIGHTS: Final = 253  # the kernel's SCM_MAX_FD: with less room it would close what does not fit, in our thread
ANCILLARY_BYTES: Final = socket.CMSG_SPACE(MAX_RIGHTS * array.array("i").itemsize)
READ_BYTES: Final = 65_536
THREADS: Final = 8  # only those who send what nobody asked for ever wait for one


def rights(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a message."""
    found = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
    return found.tolist()


class Disposal:
    """Threads of its own, which may hang; the daemon does not wait for them when it stops."""

    def __init__(self) -> None:
        self._work: deque[tuple[socket.socket, list[int], asyncio.Future[None]]] = deque()
        self._lock = threading.Lock()
        self._running = 0

    def let_go(self, connection: socket.socket, descriptors: list[int]) -> asyncio.Future[None]:
        """Close a connection, what came with it and what is still in its queue; done when all of it is closed."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        descriptors = [*descriptors, *_rest(connection)]
        if not descriptors:
            connection.close()
            done.set_result(None)
            return done
        with self._lock:
            self._work.append((connection, descriptors, done))
            start = self._running < THREADS
            self._running += start
        if start:
            self._start(loop)
        return done

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            threading.Thread(target=self._close_all, args=(loop,), name="disposal", daemon=True).start()
        except RuntimeError:  # no more threads for now: the next one that starts does this work too
            with self._lock:
                self._running -= 1

    def _close_all(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with self._lock:
                if not self._work:
                    self._running -= 1
                    return
                connection, descriptors, done = self._work.popleft()
            for descriptor in descriptors:
                with contextlib.suppress(OSError):  # the descriptor is gone whatever close(2) says
                    os.close(descriptor)
            connection.close()
            with contextlib.suppress(RuntimeError):  # the daemon has stopped meanwhile
                loop.call_soon_threadsafe(_settle, done)


def _rest(connection: socket.socket) -> list[int]:
    """The descriptors in a connection's queue, to which nobody can add afterwards."""
    found: list[int] = []
    connection.setblocking(False)
    with contextlib.suppress(OSError):  # the peer may have gone; what it sent is still there
        connection.shutdown(socket.SHUT_RD)
    while True:
        try:
            data, ancillary, _, _ = connection.recvmsg(READ_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            continue  # said once, before what is in the queue
        except OSError:
            return found
        found += rights(ancillary)
        if not data and not ancillary:
            return found


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
