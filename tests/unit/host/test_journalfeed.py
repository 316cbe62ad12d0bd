"""The feed: journald is never waited for, and misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import LONG

from jitsudo.host.journalfeed import CURSOR, JournalFeed
from jitsudo.host.ledger import Entry, Ledger, quarantine

pytestmark = pytest.mark.usefixtures("uncollected")

BOOT = "b" * 32


class FakeJournald:
    """A datagram socket where journald's would be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def receive(self) -> list[dict[str, str]]:
        found = []
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return found
            if ancillary:
                data = self._from_file(struct.unpack("i", ancillary[0][2])[0])
            found.append(parse(data))

    @staticmethod
    def _from_file(descriptor: int) -> bytes:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        assert seals & fcntl.F_SEAL_WRITE
        assert seals & fcntl.F_SEAL_SHRINK
        with os.fdopen(descriptor, "rb") as file:
            return os.pread(file.fileno(), 1 << 24, 0)

    def seqs(self) -> list[int]:
        return [int(event["JITSUDO_SEQ"]) for event in self.receive()]


def parse(data: bytes) -> dict[str, str]:
    """The native protocol, as journald reads it."""
    found: dict[str, str] = {}
    while data:
        name, _, data = data.partition(b"\n")
        assert b"=" not in name
        (length,) = struct.unpack("<Q", data[:8])
        assert data[8 + length : 9 + length] == b"\n"
        found[name.decode("ascii")] = data[8 : 8 + length].decode("utf-8")
        data = data[9 + length :]
    return found


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[FakeJournald]:
    fake = FakeJournald(tmp_path / "socket")
    yield fake
    fake.socket.close()


def opened(path: Path) -> Ledger:
    ledger = Ledger(path)
    list(ledger.load())
    return ledger


async def add(ledger: Ledger, count: int, **body: object) -> None:
    await asyncio.gather(*(ledger.append(1, BOOT, [Entry("heartbeat", body)]) for _ in range(count)))


def feed_of(ledger: Ledger, fake: FakeJournald) -> JournalFeed:
    return JournalFeed(lambda: ledger, str(fake.path))


def test_every_event_is_sent_once_and_in_order(tmp_path: Path, journald: FakeJournald) -> None:
    """The cursor moves with what was taken."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        feed = feed_of(ledger, journald)
        await add(ledger, 5)
        assert feed.backlog == 5
        assert feed.send_pending()
        assert journald.seqs() == [1, 2, 3, 4, 5]
        assert feed.backlog == 0
        assert feed.send_pending()
        assert journald.seqs() == []
        feed.close()
        ledger.close()

    asyncio.run(run())


def test_a_stopped_journald_loses_nothing_and_delays_nothing(tmp_path: Path, journald: FakeJournald) -> None:
    """Its socket is full (EAGAIN): the feed returns at once, and goes on where it was."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        feed = feed_of(ledger, journald)
        await add(ledger, 3000)
        began = time.monotonic()
        assert not feed.send_pending()
        assert time.monotonic() - began < 5
        assert 0 < feed.backlog < 3000
        got = []
        while len(got) < 3000:
            got += journald.seqs()
            feed.send_pending()
        assert got == list(range(1, 3001))
        feed.close()
        ledger.close()

    asyncio.run(run())


def test_a_journald_that_is_not_there_is_caught_up_when_it_comes(tmp_path: Path, journald: FakeJournald) -> None:
    """No socket, or nobody at it."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        journald.path.unlink()
        feed = feed_of(ledger, journald)
        await add(ledger, 3)
        assert not feed.send_pending()
        back = FakeJournald(journald.path)
        assert feed.send_pending()
        assert back.seqs() == [1, 2, 3]
        back.socket.close()
        feed.close()
        ledger.close()

    asyncio.run(run())


def test_a_restart_resumes_at_the_cursor(tmp_path: Path, journald: FakeJournald) -> None:
    """After an orderly stop nothing is sent twice, the very last event included."""

    async def run(expected: list[int]) -> None:
        ledger = opened(tmp_path / "l.db")
        feed = feed_of(ledger, journald)
        await add(ledger, 2)
        ledger.flush()
        feed.close()  # sends what is left after the last event was written, as the daemon does
        ledger.close()
        assert journald.seqs() == expected

    asyncio.run(run([1, 2]))
    asyncio.run(run([3, 4]))


def test_a_crash_repeats_events_rather_than_losing_them(tmp_path: Path, journald: FakeJournald) -> None:
    """The cursor was not durable yet."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        await add(ledger, 4)
        ledger.mark(CURSOR, 2)
        ledger.close()

    asyncio.run(run())
    ledger = opened(tmp_path / "l.db")
    feed = feed_of(ledger, journald)
    assert feed.send_pending()
    assert journald.seqs() == [3, 4]


def test_an_event_too_long_for_a_datagram_goes_as_a_sealed_file(tmp_path: Path, journald: FakeJournald) -> None:
    """2 MiB of arguments are one entry too."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        await add(ledger, 1, argv=["x" * 2_000_000], user="alice")
        await add(ledger, 1)
        feed = feed_of(ledger, journald)
        before = len(os.listdir("/proc/self/fd"))
        assert feed.send_pending()
        assert len(os.listdir("/proc/self/fd")) == before
        first, second = journald.receive()
        assert len(first["JITSUDO_ARGV_JSON"]) == 2_000_004
        assert first["JITSUDO_USER"] == "alice"
        assert second["JITSUDO_SEQ"] == "2"
        feed.close()
        ledger.close()

    asyncio.run(run())


def test_the_feed_follows_to_a_ledger_that_was_opened_anew(tmp_path: Path, journald: FakeJournald) -> None:
    """After a damaged ledger was put aside, numbers begin at 1 again: these events are no less to be sent."""

    async def run() -> None:
        path = tmp_path / "l.db"
        current = [opened(path)]
        feed = JournalFeed(lambda: current[0], str(journald.path))
        await add(current[0], 5)
        assert feed.send_pending()
        assert journald.seqs() == [1, 2, 3, 4, 5]
        current[0].close()
        quarantine(path, 1)
        current[0] = opened(path)
        await add(current[0], 2)
        assert feed.send_pending()
        assert journald.seqs() == [1, 2]
        feed.close()
        current[0].close()

    asyncio.run(run())


def test_a_ledger_that_cannot_be_read_does_not_end_the_feed(tmp_path: Path, journald: FakeJournald) -> None:
    """Closed, or on a disk that fails: later is soon enough."""
    ledger = opened(tmp_path / "l.db")
    feed = feed_of(ledger, journald)
    ledger.close()
    assert not feed.send_pending()


def test_the_running_feed_sends_as_events_come_and_retries(tmp_path: Path, journald: FakeJournald) -> None:
    """Woken by each commit; after a refusal it tries again by itself."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        task = asyncio.create_task(feed_of(ledger, journald).run())
        got: list[int] = []
        for number in range(1, 4):
            await add(ledger, 1)
            async with asyncio.timeout(LONG):
                while len(got) < number:
                    got += journald.seqs()
                    await asyncio.sleep(0.01)
        journald.path.unlink()
        await add(ledger, 1)
        await asyncio.sleep(0.05)
        back = FakeJournald(journald.path)
        async with asyncio.timeout(LONG):
            while len(got) < 4:
                got += back.seqs()
                await asyncio.sleep(0.01)
        back.socket.close()
        assert got == [1, 2, 3, 4]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        ledger.close()

    asyncio.run(run())
