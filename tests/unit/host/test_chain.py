"""The ledger: what was acknowledged is on disk and chained; what was altered is named; what fails, fails closed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jitsudo.errors import Failed, LedgerDamaged
from jitsudo.host.ledger import GENESIS, Entry, Ledger, quarantine

SRC = Path(__file__).resolve().parents[3] / "src"
BOOT = "b" * 32


def opened(path: Path) -> Ledger:
    ledger = Ledger(path)
    list(ledger.load())
    return ledger


def write(path: Path, count: int) -> None:
    """`count` events, each durable before the next."""

    async def run() -> None:
        ledger = opened(path)
        for number in range(count):
            await ledger.append(1000 + number, BOOT, [Entry("heartbeat", {"n": number})])
        ledger.close()

    asyncio.run(run())


@contextlib.contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection as anybody with the file has one."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def rows(path: Path) -> list[tuple[int, str]]:
    with raw(path) as connection:
        return connection.execute("SELECT seq, body FROM events ORDER BY seq").fetchall()


def test_a_row_is_visible_to_others_when_its_future_is_done(tmp_path: Path) -> None:
    """Acknowledged means committed, not queued."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        for number in range(1, 6):
            await ledger.append(1, BOOT, [Entry("heartbeat", {}), Entry("heartbeat", {})])
            assert len(rows(tmp_path / "l.db")) == 2 * number
        ledger.close()

    asyncio.run(run())


def test_many_waiters_are_served_by_few_commits_in_the_order_of_their_calls(tmp_path: Path) -> None:
    """Group commit keeps the order of the chain."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        await asyncio.gather(*(ledger.append(1, BOOT, [Entry("heartbeat", {"n": n})]) for n in range(300)))
        assert ledger.size == 300
        ledger.close()

    asyncio.run(run())
    assert [json.loads(body)["n"] for _, body in rows(tmp_path / "l.db")] == list(range(300))
    assert len(list(Ledger(tmp_path / "l.db").load())) == 300


def test_the_chain_begins_at_genesis_and_each_row_holds_the_hash_before_it(tmp_path: Path) -> None:
    """hash = SHA-256(prev ‖ canonical row)."""
    write(tmp_path / "l.db", 3)
    found = list(Ledger(tmp_path / "l.db").load())
    assert [row.prev for row in found] == [GENESIS, found[0].hash, found[1].hash]
    assert len({row.hash for row in found}) == 3


def test_whatever_a_body_holds_comes_back(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, NUL, surrogates: nothing that a person sends can break a row."""
    body = {"argv": ["\udcff", "\0", "\n", "\u202e", "é", "\ud800"], "n": None, "x": {"y": [1, True]}}

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        await ledger.append(1, BOOT, [Entry("heartbeat", body)])
        ledger.close()

    asyncio.run(run())
    assert [row.content() for row in Ledger(tmp_path / "l.db").load()] == [body]


def test_rows_cannot_be_changed_or_deleted_by_accident(tmp_path: Path) -> None:
    """Append-only by trigger."""
    write(tmp_path / "l.db", 3)
    with raw(tmp_path / "l.db") as connection:
        for statement in ("UPDATE events SET time = 5 WHERE seq = 2", "DELETE FROM events WHERE seq = 3"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def tamper(path: Path, *statements: str) -> None:
    with raw(path) as connection:
        connection.execute("DROP TRIGGER no_update")
        connection.execute("DROP TRIGGER no_delete")
        for statement in statements:
            connection.execute(statement)


CHANGES = {
    "time": "time + 1",
    "boot": "'c' || substr(boot, 2)",
    "type": "'daemon.started'",
    "body": "replace(body, '{', '{ ')",
    "prev": "CASE substr(prev, 1, 1) WHEN '1' THEN '2' ELSE '1' END || substr(prev, 2)",
    "hash": "CASE substr(hash, 1, 1) WHEN '1' THEN '2' ELSE '1' END || substr(hash, 2)",
}


@pytest.mark.parametrize("seq", [1, 3, 5])
@pytest.mark.parametrize("column", CHANGES)
def test_a_change_of_any_column_of_any_row_is_found_and_named(tmp_path: Path, column: str, seq: int) -> None:
    """The one who reads knows where to look."""
    write(tmp_path / "l.db", 5)
    tamper(tmp_path / "l.db", f"UPDATE events SET {column} = {CHANGES[column]} WHERE seq = {seq}")  # noqa: S608
    with pytest.raises(LedgerDamaged, match=f"row {seq} ") as caught:
        list(Ledger(tmp_path / "l.db").load())
    assert caught.value.seq == seq


REWRITES = {
    "a row left out": ("DELETE FROM events WHERE seq = 3", 3),
    "the first row left out": ("DELETE FROM events WHERE seq = 1", 1),
    "a row moved": ("UPDATE events SET seq = 9 WHERE seq = 2", 2),
    "two rows swapped": ("UPDATE events SET seq = CASE seq WHEN 2 THEN -3 WHEN 3 THEN -2 ELSE seq END", 1),
    "a row added": ("INSERT INTO events SELECT 6, time, boot, type, body, hash, hash FROM events WHERE seq = 5", 6),
    "a row before the first": ("INSERT INTO events SELECT 0, time, boot, type, body, prev, hash FROM events WHERE seq = 1", 1),
    "bytes instead of text": ("UPDATE events SET body = CAST(x'ff' AS TEXT) WHERE seq = 4", 4),
}


@pytest.mark.parametrize(("statement", "seq"), REWRITES.values(), ids=REWRITES.keys())
def test_rows_left_out_moved_or_added_are_found(tmp_path: Path, statement: str, seq: int) -> None:
    """An edit, a reorder, a gap."""
    write(tmp_path / "l.db", 5)
    tamper(tmp_path / "l.db", statement)
    with pytest.raises(LedgerDamaged) as caught:
        list(Ledger(tmp_path / "l.db").load())
    assert caught.value.seq == seq


def test_a_table_of_another_shape_is_damage_not_a_traceback(tmp_path: Path) -> None:
    """Somebody replaced the table by one with looser types."""
    write(tmp_path / "l.db", 2)
    looser = "CREATE TABLE t (seq, time, boot, type, body, prev, hash)"
    tamper(tmp_path / "l.db", looser, "INSERT INTO t SELECT * FROM events", "DROP TABLE events",
           "ALTER TABLE t RENAME TO events", "UPDATE events SET body = x'00' WHERE seq = 2")  # fmt: skip
    with pytest.raises(LedgerDamaged) as caught:
        list(Ledger(tmp_path / "l.db").load())
    assert caught.value.seq == 2
    with raw(tmp_path / "l.db") as connection:
        connection.execute("ALTER TABLE events ADD COLUMN more")
    with pytest.raises(LedgerDamaged):
        list(Ledger(tmp_path / "l.db").load())


def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    """Overwritten, or only its beginning."""
    (tmp_path / "l.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(LedgerDamaged):
        Ledger(tmp_path / "l.db")


def test_a_page_overwritten_is_damage(tmp_path: Path) -> None:
    """What a failing disk gives back."""
    write(tmp_path / "l.db", 400)
    with raw(tmp_path / "l.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray((tmp_path / "l.db").read_bytes())
    content[5 * 4096 :] = os.urandom(len(content) - 5 * 4096)
    (tmp_path / "l.db").write_bytes(content)
    with pytest.raises(LedgerDamaged):
        list(Ledger(tmp_path / "l.db").load())


def test_a_ledger_that_cannot_be_opened_is_a_failure_not_damage(tmp_path: Path) -> None:
    """What is only out of reach must never be put aside as damaged: all that it says would be forgotten."""
    with pytest.raises(Failed):
        Ledger(tmp_path / "no-such-folder" / "l.db")


def test_a_ledger_that_another_process_locks_is_a_failure_not_damage(tmp_path: Path) -> None:
    """A backup that holds the lock damages nothing."""
    write(tmp_path / "l.db", 2)
    with raw(tmp_path / "l.db") as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Failed):
            list(Ledger(tmp_path / "l.db").load())


@pytest.mark.parametrize("interference", ["truncate", "append", "alter"])
def test_a_change_under_the_daemon_is_noticed_and_nothing_accepted_after(tmp_path: Path, interference: str) -> None:
    """Rows cut off, put in or altered at the end while the ledger is open."""
    statements = {
        "truncate": "DELETE FROM events WHERE seq >= 2",
        "append": "INSERT INTO events SELECT 4, time, boot, type, body, prev, hash FROM events WHERE seq = 3",
        "alter": "UPDATE events SET hash = prev WHERE seq = 3",
    }

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        for _ in range(3):
            await ledger.append(1, BOOT, [Entry("heartbeat", {})])
        tamper(tmp_path / "l.db", statements[interference])
        with pytest.raises(Failed, match="changed under the daemon"):
            await ledger.append(1, BOOT, [Entry("heartbeat", {})])
        assert ledger.failure is not None
        with pytest.raises(Failed, match="nothing is allowed"):
            ledger.append(1, BOOT, [Entry("heartbeat", {})])
        ledger.close()

    asyncio.run(run())


def test_what_was_queued_behind_a_failure_fails_too(tmp_path: Path) -> None:
    """No row of a broken chain is ever acknowledged."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        await ledger.append(1, BOOT, [Entry("heartbeat", {})])
        with raw(tmp_path / "l.db") as blocker:
            blocker.execute("BEGIN IMMEDIATE")  # the writer waits for BUSY_SECONDS, then fails
            waiting = [ledger.append(1, BOOT, [Entry("heartbeat", {"n": n})]) for n in range(5)]
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            blocker.execute("ROLLBACK")
        assert all(isinstance(outcome, Failed) for outcome in outcomes)
        ledger.close()

    asyncio.run(run())
    again = opened(tmp_path / "l.db")
    assert again.size == 1


def test_a_writer_that_cannot_open_the_file_fails_with_a_sentence(tmp_path: Path) -> None:
    """Descriptors used up between opening and the first event: a failure like any other."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, limits[1]))
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            with pytest.raises(Failed, match="cannot be written"):
                ledger.append(1, BOOT, [Entry("heartbeat", {})])
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert ledger.failure is not None
        ledger.close()

    asyncio.run(run())


FILLER = """
import asyncio, sys
from pathlib import Path
from jitsudo.errors import Failed
from jitsudo.host.ledger import Entry, Ledger

async def main():
    ledger = Ledger(Path(sys.argv[1]))
    list(ledger.load())
    done = 0
    try:
        while True:
            await ledger.append(1, "b" * 32, [Entry("heartbeat", {"n": done, "x": "y" * 4000})])
            done += 1
    except Failed as error:
        print(done, error.sentence, flush=True)
    try:
        ledger.append(1, "b" * 32, [Entry("heartbeat", {})])
    except Failed:
        print("still refused", flush=True)
    ledger.close()
    again = Ledger(Path(sys.argv[1]))
    print(sum(1 for _ in again.load()), flush=True)
    sys.stdin.readline()  # room was made
    await again.append(1, "b" * 32, [Entry("heartbeat", {})])
    print("recorded", again.size, flush=True)

asyncio.run(main())
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


@needs_root
def test_a_full_disk_ends_in_a_sentence_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """ENOSPC on a file system of 1 MiB; after room was made the same file goes on."""
    script = tmp_path / "fill.py"
    script.write_text(FILLER)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {disk} && head -c 200000 /dev/zero >{disk}/ballast"
    inside = f'{mount} && exec "$0" {script} {disk}/l.db'
    child = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", inside, sys.executable],
        env={**os.environ, "PYTHONPATH": str(SRC)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        acknowledged, sentence = child.stdout.readline().split(" ", 1)
        assert sentence.startswith("the record cannot be written")
        assert child.stdout.readline() == "still refused\n"
        kept = int(child.stdout.readline())
        assert kept >= int(acknowledged) > 0
        Path(f"/proc/{child.pid}/root{disk}/ballast").unlink()
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == f"recorded {kept + 1}\n"
    finally:
        child.kill()
        child.communicate()


WRITER = """
import asyncio, sys
from pathlib import Path
from jitsudo.host.ledger import Entry, Ledger

async def main():
    ledger = Ledger(Path(sys.argv[1]))
    list(ledger.load())
    while True:
        waiting = [ledger.append(1, "b" * 32, [Entry("heartbeat", {"n": n})]) for n in range(3)]
        await asyncio.gather(*waiting)
        print(ledger.size, flush=True)

asyncio.run(main())
"""


def test_kill_9_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Every row that was acknowledged is there, in a chain that holds, however often it happens."""
    path, acknowledged, random_ = tmp_path / "l.db", 0, random.Random(20)  # noqa: S311
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, path], env={**os.environ, "PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        acknowledged = int(child.stdout.readline())
        time.sleep(random_.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        for line in child.communicate()[0].split("\n"):
            if line.isdigit():
                acknowledged = int(line)
        ledger = opened(path)
        assert ledger.size >= acknowledged
        ledger.close()
    assert acknowledged > 10


def test_marks_are_kept_beside_the_events(tmp_path: Path) -> None:
    """A number by name, 0 where there is none; with an event or by itself, even after the last."""

    async def run() -> None:
        ledger = opened(tmp_path / "l.db")
        assert ledger.marked("cursor") == 0
        await ledger.append(1, BOOT, [Entry("heartbeat", {})], {"time": 7})
        ledger.mark("cursor", 1)
        ledger.flush()
        assert (ledger.marked("time"), ledger.marked("cursor")) == (7, 1)
        ledger.mark("cursor", 2)
        ledger.close()

    asyncio.run(run())
    assert opened(tmp_path / "l.db").marked("cursor") == 2


def test_rows_after_a_number_are_given_in_order_and_no_more_than_asked_for(tmp_path: Path) -> None:
    """What the journal is fed from."""
    write(tmp_path / "l.db", 5)
    ledger = opened(tmp_path / "l.db")
    assert [row.seq for row in ledger.after(2, 2)] == [3, 4]
    assert ledger.after(5, 10) == []


def test_quarantine_puts_every_file_of_a_damaged_ledger_aside(tmp_path: Path) -> None:
    """The write-ahead log belongs to the evidence; the new ledger starts empty."""
    path = tmp_path / "l.db"
    write(path, 2)
    with raw(path) as connection:
        connection.execute("CREATE TABLE x (y)")
        aside = quarantine(path, 77)
    assert aside == tmp_path / "l.db.damaged-77"
    assert aside.exists()
    assert not list(tmp_path.glob("l.db-*"))
    assert opened(path).size == 0


def test_a_second_quarantine_in_the_same_second_overwrites_nothing(tmp_path: Path) -> None:
    """Evidence is never written over."""
    path = tmp_path / "l.db"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        quarantine(path, 77)
    assert sorted(p.read_bytes() for p in tmp_path.iterdir()) == [b"one", b"two"]


def test_nobody_who_stops_waiting_disturbs_the_record(tmp_path: Path) -> None:
    """A caller that was cancelled has its event on record all the same."""

    async def run(note: Callable[[dict[str, object]], None]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: note(context))
        ledger = opened(tmp_path / "l.db")
        waiting = asyncio.ensure_future(ledger.append(1, BOOT, [Entry("heartbeat", {})]))
        waiting.cancel()
        await ledger.append(1, BOOT, [Entry("heartbeat", {})])
        assert len(rows(tmp_path / "l.db")) == 2
        ledger.close()

    complaints: list[dict[str, object]] = []
    asyncio.run(run(complaints.append))
    assert complaints == []
