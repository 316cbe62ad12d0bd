"""Feeds journald from the ledger, from a persisted cursor, without ever waiting for it.

journal.send() of libsystemd blocks when journald is stopped and its socket is full; here a send that would block is tried
again later. An event may arrive twice after a crash (JITSUDO_SEQ tells), never not at all.
Protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from jitsudo.errors import Failed
from jitsudo.host.journal import fields
from jitsudo.host.ledger import Ledger

SOCKET: Final = "/run/systemd/journal/socket"
CURSOR: Final = "journal"
BATCH: Final = 64
RETRY_SECONDS: Final = 0.25
GATHER_SECONDS: Final = 0.005  # whoever waits for what was recorded is answered first, and several events go in one turn
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def serialize(items: Sequence[tuple[str, str]]) -> bytes:
    """One entry in the native protocol; every value is written with its length, so none can add a field."""
    parts = []
    for name, value in items:
        raw = value.encode("utf-8", "surrogateescape")
        parts.append(name.encode("ascii") + b"\n" + struct.pack("<Q", len(raw)) + raw + b"\n")
    return b"".join(parts)


class JournalFeed:
    """Sends what the ledger holds past the cursor, in order."""

    def __init__(self, ledger: Callable[[], Ledger], path: str = SOCKET) -> None:
        """`ledger` gives the ledger that is open now: it is opened anew after a failure."""
        self._current = ledger
        self._path = path
        self._fed = ledger()
        self._cursor = self._fed.marked(CURSOR)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    @property
    def backlog(self) -> int:
        """Events on record that journald has not taken yet."""
        return self._current().size - self._cursor

    async def run(self) -> None:
        while True:
            ledger = self._current()
            ledger.appended.clear()
            if self.send_pending():
                await ledger.appended.wait()
                await asyncio.sleep(GATHER_SECONDS)
            else:
                await asyncio.sleep(RETRY_SECONDS)

    def send_pending(self) -> bool:
        """Send until there is nothing left (true), or journald takes no more or the ledger cannot be read for now (false)."""
        try:
            return self._send_all(self._current())
        except Failed:
            return False

    def _send_all(self, ledger: Ledger) -> bool:
        if ledger is not self._fed:
            # Opened anew, and counting from 1 again if the one before was damaged.
            self._fed, self._cursor = ledger, ledger.marked(CURSOR)
        while rows := ledger.after(self._cursor, BATCH):
            sent = self._cursor
            for row in rows:
                if not self._send(serialize(fields(row))):
                    break
                sent = row.seq
            if sent != self._cursor:
                self._cursor = sent
                ledger.mark(CURSOR, sent)
            if sent != rows[-1].seq:
                return False
        return True

    def _send(self, entry: bytes) -> bool:
        try:
            try:
                self._socket.sendto(entry, self._path)
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):  # too long for a datagram
                    raise
                self._send_as_file(entry)
        except OSError:
            return False
        return True

    def _send_as_file(self, entry: bytes) -> None:
        descriptor = os.memfd_create("jitsudo-event", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            view = memoryview(entry)
            while view:
                view = view[os.write(descriptor, view) :]
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))
            self._socket.sendmsg([], [rights], 0, self._path)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.send_pending()
        self._socket.close()
