"""Tickets: that a person proved who they are a while ago, in one place, for that place alone.

A place is a session of one uid on one terminal (or, without a terminal, below one parent), as the kernel tells. Age is counted
by the boot clock, so that no change of the time makes a ticket younger. Tickets outlive a restart of the daemon in a file
that only root can reach, and never a boot.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from jitsudo import strictjson
from jitsudo.errors import Failed, InvalidValue
from jitsudo.host.peer import read_status
from jitsudo.types import Moment, Uid

Proof = Literal["password", "agent"]

PROOFS: Final[tuple[Proof, ...]] = ("password", "agent")
MAX_TICKETS: Final = 4096
MAX_TICKETS_A_UID: Final = 64
MAX_FILE_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody sits. `terminal` is its device number, 0 without one; only then is there a `parent`: pid and start time.

    `uid` is the uid of the account that proves itself. A session's number may be given to a later session, and a parent's to
    a later process: hence the start times, in clock ticks since boot. `leader_start` is 0 once the leader has ended.
    """

    uid: Uid
    sid: int
    leader_start: int
    terminal: int
    parent: tuple[int, int] = (0, 0)


def place_of(uid: Uid, pid: int) -> Place | None:
    """The place of sudo's process `pid`, from the kernel; None where it has none that could be recognised again."""
    try:
        sudo = read_status(pid)
        start = _leader_start(sudo.session)
        if sudo.terminal:
            return Place(uid, sudo.session, start, sudo.terminal) if start else None
        parent = read_status(sudo.parent)
        # Without a leader (it ended, or is outside our pid namespace), a parent inside the session holds its number.
        if not start and parent.session != sudo.session:
            return None
        return Place(uid, sudo.session, start, 0, (sudo.parent, parent.start_time))
    except (OSError, ValueError):
        return None


def _leader_start(sid: int) -> int:
    """In clock ticks since boot, 0 where there is no leader any more."""
    try:
        leader = read_status(sid)
    except (OSError, ValueError):
        return 0
    return 0 if leader.ended else leader.start_time


class Tickets:
    """All tickets of this boot. Every change is in the file when the call returns; without a path, in memory alone."""

    def __init__(self, path: Path | None, boot: str) -> None:
        """`boot` is the kernel's boot id. A file of another boot, a damaged one, or one not root's alone counts as none."""
        self._path = path
        self._boot = boot
        self._tickets: dict[tuple[Place, Proof], float] = {}
        if path is not None:
            with contextlib.suppress(OSError, InvalidValue):
                self._tickets = _decode(_read(path), boot)

    def age(self, place: Place | None, proof: Proof, now: Moment) -> int | None:
        """Whole seconds since `proof` was last given in `place`, None if it was not."""
        given = None if place is None else self._tickets.get((place, proof))
        # One from the future is none: the file is not the clock's.
        return None if given is None or given > now.boot else int(now.boot - given)

    def update(self, place: Place | None, proof: Proof, now: Moment) -> None:
        """`proof` was given in `place` just now. Where nothing can be recognised again, nothing is kept."""
        if place is None:
            return
        key = (place, proof)
        self._tickets.pop(key, None)
        self._tickets[key] = now.boot
        self._forget_oldest(place.uid)
        with contextlib.suppress(OSError):  # lost, it is asked for again
            self._write()

    def invalidate(self, place: Place | None) -> None:
        """sudo -k: what was proven in `place` has to be proven again. Raises Failed where a restart would undo that."""
        self._drop([key for key in self._tickets if key[0] == place])

    def remove(self, uid: Uid) -> None:
        """sudo -K: what was proven by `uid`, wherever. Raises Failed where a restart would undo that."""
        self._drop([key for key in self._tickets if key[0].uid == uid])

    def _drop(self, keys: list[tuple[Place, Proof]]) -> None:
        for key in keys:
            del self._tickets[key]
        if not keys:
            return
        try:
            self._write()
        except OSError as error:
            # A full disk still lets go of files.
            try:
                self._erase()
            except OSError:
                raise Failed(f"{self._path} cannot be written: {error.strerror}", "have root look at the disk") from None

    def _forget_oldest(self, uid: Uid) -> None:
        # Insertion is in order of age, so the first is the oldest.
        own = [key for key in self._tickets if key[0].uid == uid]
        for key in own[:-MAX_TICKETS_A_UID]:
            del self._tickets[key]
        for key in [*self._tickets][:-MAX_TICKETS]:
            del self._tickets[key]

    def _write(self) -> None:
        """Without fsync: a crash that loses what the kernel has not written begins another boot."""
        if self._path is None:
            return
        temporary = self._path.with_name(f".{self._path.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encode(self._tickets, self._boot))
        temporary.rename(self._path)

    def _erase(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _encode(tickets: Mapping[tuple[Place, Proof], float], boot: str) -> bytes:
    rows = [
        # Milliseconds: strict JSON has no fractions.
        [int(p.uid), p.sid, p.leader_start, p.terminal, *p.parent, PROOFS.index(proof), round(given * 1000)]
        for (p, proof), given in tickets.items()
    ]
    return strictjson.encode({"boot": boot, "tickets": rows})


def _decode(raw: bytes, boot: str) -> dict[tuple[Place, Proof], float]:
    """Raises InvalidValue."""
    document = strictjson.parse_object(raw, MAX_FILE_BYTES)
    rows = document.get("tickets")
    if document.keys() != {"boot", "tickets"} or document["boot"] != boot or not isinstance(rows, list):
        raise InvalidValue("not the tickets of this boot")
    return dict(_row(row) for row in rows)


def _row(row: object) -> tuple[tuple[Place, Proof], float]:
    if not isinstance(row, list) or len(row) != 8 or not all(type(n) is int and n >= 0 for n in row) or row[6] >= len(PROOFS):
        raise InvalidValue("not a ticket")
    return (Place(Uid(row[0]), row[1], row[2], row[3], (row[4], row[5])), PROOFS[row[6]]), row[7] / 1000


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if facts.st_uid != os.geteuid() or not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
            raise InvalidValue(f"{path} is not a file that root alone can read")
        return file.read(MAX_FILE_BYTES + 1)
