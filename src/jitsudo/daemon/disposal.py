"""Closes what strangers sent, off the event loop: their descriptors can make close(2) wait for as long as they like.

A TCP socket with SO_LINGER and unsent data does (socket(7)), and so does a file of somebody's own FUSE. Both may come over a
unix socket from anybody who can connect, asked for or not, and the kernel closes what is still in the queue of a socket
together with it. So a connection is shut down, emptied, and closed here at once only if nothing came with it. Nor are those in
its queue taken before they are closed: a connection that waits for a thread is one descriptor here. Where all threads are kept
waiting, a process takes over what is more: the kernel waits for nobody on behalf of one that is killed.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import threading
from collections import deque
from typing import Final

MAX_RIGHTS: Final = 253  # the kernel's SCM_MAX_FD: with less room it would close what does not fit, in our thread
ANCILLARY_BYTES: Final = socket.CMSG_SPACE(MAX_RIGHTS * array.array("i").itemsize)
MAX_WAITING: Final = 64  # connections, for a thread
SLEEP: Final = ("/usr/bin/sleep", "60")
REAP_SECONDS: Final = 1.0
READ_BYTES: Final = 65_536
THREADS: Final = 8  # only those who send what nobody asked for ever wait for one

log = logging.getLogger("jitsudod")
Work = tuple[socket.socket, list[int], asyncio.Future[None]]


def take_in_order(connection: socket.socket) -> None:
    """Urgent data counts as any other: the kernel would drop it on the way, and close what came with it, in our thread."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


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
        self._work: deque[Work] = deque()
        self._lock = threading.Lock()
        self._running = 0
        self._killed: list[subprocess.Popen[bytes]] = []

    def let_go(self, connection: socket.socket, descriptors: list[int]) -> asyncio.Future[None]:
        """Close a connection, what came with it and what is still in its queue; done when all of it is closed."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        _shut(connection)
        if not descriptors and _is_emptied(connection):
            connection.close()
            done.set_result(None)
            return done
        with self._lock:
            self._work.append((connection, descriptors, done))
            start = self._running < THREADS
            self._running += start
            work = [] if start or len(self._work) < MAX_WAITING else [self._work.popleft() for _ in range(MAX_WAITING)]
        if start:
            self._start(loop)
        if work:
            self._hand_over(work, loop)
        return done

    def _hand_over(self, work: list[Work], loop: asyncio.AbstractEventLoop) -> None:
        """Have them in another process as well when they are closed here, which waits for nobody then; and kill it."""
        held = [one for connection, descriptors, _ in work for one in (connection.fileno(), *descriptors)]
        self._killed = [process for process in self._killed if process.poll() is None]
        try:
            process = subprocess.Popen(SLEEP, pass_fds=held, stdin=subprocess.DEVNULL, env={}, cwd="/")  # noqa: S603  a program and nothing else
        except OSError as error:
            log.warning("what strangers sent cannot be closed: %s", error)
            with self._lock:
                self._work.extendleft(reversed(work))
            return
        self._killed.append(process)
        for connection, descriptors, done in work:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            connection.close()
            _settle(done)
        process.kill()
        loop.call_later(REAP_SECONDS, process.poll)

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
            while descriptors or (descriptors := _next(connection)):
                with contextlib.suppress(OSError):  # the descriptor is gone whatever close(2) says
                    os.close(descriptors.pop())
            connection.close()
            with contextlib.suppress(RuntimeError):  # the daemon has stopped meanwhile
                loop.call_soon_threadsafe(_settle, done)


def _shut(connection: socket.socket) -> None:
    """Nobody can add to its queue any more."""
    connection.setblocking(False)
    with contextlib.suppress(OSError):  # the peer may have gone; what it sent is still there
        connection.shutdown(socket.SHUT_RD)


def _is_emptied(connection: socket.socket) -> bool:
    """Take what is in a connection's queue, if no descriptors are; False at the first of them, which stays there."""
    while True:
        try:
            data, _, flags, _ = connection.recvmsg(READ_BYTES, 0, socket.MSG_PEEK)
            if flags & socket.MSG_CTRUNC:
                return False
            if not data:
                return True
            connection.recv(len(data))
        except ConnectionResetError:
            continue  # said once, before what is in the queue
        except OSError:
            return True


def _next(connection: socket.socket) -> list[int]:
    """The next descriptors in a connection's queue, none where there are no more."""
    while True:
        try:
            data, ancillary, _, _ = connection.recvmsg(READ_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            continue
        except OSError:
            return []
        found = rights(ancillary)
        if found or not data:
            return found


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
