"""The ledger: the durable, hash-chained record of every event, in one SQLite file.

    events(seq, time, boot, type, body, prev, hash)     hash = SHA-256(prev ‖ canonical row)

Rows get their place in the chain in the caller's thread, in the order of the calls; a thread of the ledger's own commits
them, and one fsync serves all that waited (group commit). WAL mode with synchronous=FULL: what a commit acknowledged
survives a crash (https://sqlite.org/pragma.html#pragma_synchronous).

After any failure to write nothing more is accepted: the caller must open the ledger anew, which verifies the chain.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import queue
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jitsudo.errors import Failed, LedgerDamaged

GENESIS: Final = "0" * 64
BUSY_SECONDS: Final = 1.0
# What SQLite says when a file that may be as good as ever is out of reach just now (https://sqlite.org/rescode.html).
_OUT_OF_REACH: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, boot TEXT NOT NULL, type TEXT NOT NULL,
    body TEXT NOT NULL, prev TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that is to be recorded."""

    type: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """An event on record. `time` is in Unix seconds, `body` JSON text as it was hashed."""

    seq: int
    time: int
    boot: str
    type: str
    body: str
    prev: str
    hash: str

    @classmethod
    def after(cls, prev: str, seq: int, time: int, boot: str, entry: Entry) -> Row:
        body = json.dumps(entry.body, separators=(",", ":"), sort_keys=True)
        return cls(seq, time, boot, entry.type, body, prev, _hash(prev, seq, time, boot, entry.type, body))

    def content(self) -> dict[str, object]:
        """Raises ValueError if the body is no object: it was not written here."""
        value = json.loads(self.body)
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return value

    def fits(self, prev: str, seq: int) -> bool:
        return (self.prev, self.seq) == (prev, seq) and self.hash == _hash(
            prev, seq, self.time, self.boot, self.type, self.body
        )


def _hash(prev: str, seq: int, time: int, boot: str, kind: str, body: str) -> str:
    canonical = json.dumps([seq, time, boot, kind, body], separators=(",", ":")).encode("ascii")
    return hashlib.sha256(bytes.fromhex(prev) + canonical).hexdigest()


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: Sequence[Row]
    marks: Mapping[str, int]
    done: asyncio.Future[None] | None


class Ledger:
    """Use it from one event loop. `load` must have been consumed once before the first `append`."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file (0600 by the caller's umask). Raises Failed, LedgerDamaged."""
        self.path = path
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._head, self._seq = GENESIS, 0
        self._failure: Failed | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.appended = asyncio.Event()
        try:
            self._reader = self._connect()
            self._reader.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise self._trouble(error, 0, f"{path} is not a readable ledger") from None

    def _trouble(self, error: sqlite3.Error, seq: int, what: str) -> Failed | LedgerDamaged:
        """A full or failing disk must not pass for a damaged ledger: that would be put aside, and all it says forgotten."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _OUT_OF_REACH:
            return Failed(f"{self.path} cannot be read now: {error}", f"repair the disk under {self.path.parent}")
        return LedgerDamaged(seq, f"{what}: {error}")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def load(self) -> Iterator[Row]:
        """Every row, each verified against the chain before it is given out. Raises LedgerDamaged naming the row, Failed."""
        prev, seq = GENESIS, 0
        try:
            for values in self._reader.execute("SELECT * FROM events ORDER BY seq"):
                seq += 1
                row = Row(*values)
                if not row.fits(prev, seq):
                    raise LedgerDamaged(seq, f"row {seq} of the ledger does not fit the chain: it was altered")
                prev = row.hash
                yield row
        except sqlite3.DatabaseError as error:
            raise self._trouble(error, seq + 1, f"row {seq + 1} of the ledger cannot be read") from None
        except (TypeError, ValueError) as error:  # a table of another shape, values of other types
            raise LedgerDamaged(seq, f"row {seq} of the ledger is not one that was written here: {error}") from None
        self._head, self._seq = prev, seq

    @property
    def size(self) -> int:
        return self._seq

    @property
    def failure(self) -> Failed | None:
        """Why nothing more can be recorded, if so."""
        return self._failure

    def append(
        self, time: int, boot: str, entries: Sequence[Entry], marks: Mapping[str, int] | None = None
    ) -> asyncio.Future[None]:
        """Give the entries their place now; the future is done when they are durable. Raises Failed at once, or through it."""
        if self._failure is not None:
            raise self._failure
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._start(loop)
        rows = []
        for entry in entries:
            row = Row.after(self._head, self._seq + 1, time, boot, entry)
            self._head, self._seq = row.hash, row.seq
            rows.append(row)
        done: asyncio.Future[None] = loop.create_future()
        done.add_done_callback(_retrieved)
        self._queue.put(_Batch(rows, marks or {}, done))
        return done

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            thread = threading.Thread(target=self._write, args=(self._connect(),), name="ledger", daemon=True)
            thread.start()
        except (sqlite3.Error, RuntimeError) as error:
            raise self._fail(error) from None
        self._loop, self._thread = loop, thread

    def mark(self, name: str, value: int) -> None:
        """Keep a number beside the events (a cursor); not chained, durable with the next commit."""
        batch = _Batch((), {name: value}, None)
        if self._failure is not None:
            return
        if self._thread is not None:
            self._queue.put(batch)
        elif error := _commit(self._reader, [batch]):
            self._fail(error)

    def marked(self, name: str) -> int:
        """Raises Failed."""
        found = self._read("SELECT value FROM marks WHERE name = ?", (name,))
        return int(found[0][0]) if found else 0

    def after(self, seq: int, limit: int) -> list[Row]:
        """Durable rows with a higher number, in order. Raises Failed."""
        return [Row(*v) for v in self._read("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))]

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise Failed(f"the record cannot be read: {error}", f"repair the disk under {self.path.parent}") from None

    def flush(self) -> None:
        """Write what is queued; nothing more can be appended afterwards."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        self.flush()
        self._reader.close()

    def _write(self, writer: sqlite3.Connection) -> None:
        stopping = False
        while not stopping:
            first = self._queue.get()
            batches = [first]
            while not self._queue.empty():
                batches.append(self._queue.get())
            stopping = None in batches
            work = [batch for batch in batches if batch is not None]
            self._report(work, _commit(writer, work) if self._failure is None else self._failure)
        writer.close()

    def _report(self, batches: list[_Batch], error: Exception | None) -> None:
        if error is not None:
            self._fail(error)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve, batches, self._failure)

    def _fail(self, error: Exception) -> Failed:
        """From now on nothing more is accepted."""
        if self._failure is None:
            self._failure = Failed(
                f"the record cannot be written ({error}), so nothing is allowed",
                f"free space or repair the disk under {self.path.parent}; the daemon tries again by itself",
            )
        return self._failure

    def _resolve(self, batches: list[_Batch], failure: Failed | None) -> None:
        for batch in batches:
            if batch.done is not None and not batch.done.done():
                if failure is None:
                    batch.done.set_result(None)
                else:
                    batch.done.set_exception(failure)
        self.appended.set()


def _commit(writer: sqlite3.Connection, batches: list[_Batch]) -> Exception | None:
    rows = [row for batch in batches for row in batch.rows]
    marks = {name: value for batch in batches for name, value in batch.marks.items()}
    try:
        writer.execute("BEGIN IMMEDIATE")
        if rows:
            last = writer.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone() or (0, GENESIS)
            if last != (rows[0].seq - 1, rows[0].prev):
                raise LedgerDamaged(rows[0].seq - 1, f"the ledger was changed under the daemon after row {rows[0].seq - 1}")
        writer.executemany(
            "INSERT INTO events VALUES (?,?,?,?,?,?,?)",
            [(r.seq, r.time, r.boot, r.type, r.body, r.prev, r.hash) for r in rows],
        )
        writer.executemany("INSERT OR REPLACE INTO marks VALUES (?,?)", marks.items())
        writer.execute("COMMIT")
        return None
    except Exception as error:  # noqa: BLE001  whatever it is, nothing was recorded, and those who wait must hear of it
        with contextlib.suppress(sqlite3.Error):
            writer.rollback()
        return error


def _retrieved(done: asyncio.Future[None]) -> None:
    """A caller that was cancelled does not ask for its outcome; that is no error of its own."""
    if not done.cancelled():
        done.exception()


def read_events(path: Path, kind: str, since: int, limit: int) -> list[Row]:
    """The latest durable rows of one type, in order, for any thread: by a connection of its own. Blocks. Raises Failed."""
    query = "SELECT * FROM (SELECT * FROM events WHERE type = ? AND time >= ? ORDER BY seq DESC LIMIT ?) ORDER BY seq"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as reader:
            return [Row(*values) for values in reader.execute(query, (kind, since, limit))]
    except sqlite3.Error as error:
        raise Failed(f"the record cannot be read: {error}", f"repair the disk under {path.parent}") from None


def quarantine(path: Path, time: int) -> Path:
    """Put a damaged ledger aside, under a name that says when; what depends on it is refused from then on."""
    names = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    aside = next(a for n in names if not (a := path.with_name(f"{path.name}.damaged-{time}{n}")).exists())
    for suffix in ("-wal", "-shm", ""):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside
