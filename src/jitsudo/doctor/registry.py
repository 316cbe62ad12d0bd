"""Which checks there are, and running them: each in time, none of them able to break the examination."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from jitsudo.doctor.findings import Finding, Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.errors import InvalidValue

CHECK_SECONDS: Final = 2.0
WHOLE_SECONDS: Final = 9.0
AT_ONCE: Final = 4  # most checks wait for somebody: a program, the disk, the user database

Looks = Callable[[Host], Iterator[Seen | str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One question. `look` yields what is wrong, and at the end, or instead, a sentence (str) on what is right.

    It may raise Unknown. `kinds` is all that it can find.
    """

    name: str
    look: Looks
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Area:
    """Checks that are asked for together, by `--only NAME`."""

    name: str
    meaning: str
    checks: tuple[Check, ...]


@dataclass(slots=True)
class _Run:
    area: str
    check: Check
    found: list[Finding] = field(default_factory=list)
    started: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)


def select(areas: Sequence[Area], names: Sequence[str]) -> tuple[Area, ...]:
    """The areas of these names, in their own order; all without names. `InvalidValue` for a name that is none."""
    known = {area.name for area in areas}
    for name in names:
        if name not in known:
            raise InvalidValue(f"there is no area {name!a}", f"areas: {', '.join(sorted(known))}")
    return tuple(area for area in areas if not names or area.name in names)


def examine_areas(host: Host, areas: Sequence[Area], check_seconds: float = CHECK_SECONDS) -> list[Finding]:
    """Run every check, some at once, and report all of them, the worst first and else in the order of the registry."""
    runs = [_Run(area.name, check) for area in areas for check in area.checks]
    room = threading.Semaphore(AT_ONCE)
    end = time.monotonic() + WHOLE_SECONDS
    threading.Thread(target=_start_all, args=(host, runs, room), daemon=True).start()
    found: list[Finding] = []
    for run in runs:
        found += _await(run, check_seconds, end, room)
    return sorted(found, key=lambda one: one.severity.rank)


def _await(run: _Run, check_seconds: float, end: float, room: threading.Semaphore) -> list[Finding]:
    """What a check found, or that it took too long; the thread of one that hangs is left behind and dies with the process."""
    while not run.done.wait(0.01 if not run.started else max(0.0, min(run.started + check_seconds, end) - time.monotonic())):
        now = time.monotonic()
        if now >= end or (run.started and now >= run.started + check_seconds):
            why = f"not done within {WHOLE_SECONDS:g} s, with all that came before"
            if now < end:
                why = f"took longer than {check_seconds:g} s"
                room.release()  # another may begin in its place
            return [Finding(run.check.name, Severity.UNKNOWN, run.area, why)]
    return run.found


def _start_all(host: Host, runs: Sequence[_Run], room: threading.Semaphore) -> None:
    for run in runs:
        room.acquire()
        run.started = time.monotonic()
        threading.Thread(target=_run, args=(host, run, room), daemon=True).start()


def _run(host: Host, run: _Run, room: threading.Semaphore) -> None:
    try:
        run.found = list(_findings(host, run))
    finally:
        run.done.set()
        room.release()


def _findings(host: Host, run: _Run) -> Iterator[Finding]:
    wrong = False
    try:
        for seen in run.check.look(host):
            if isinstance(seen, str):
                if not wrong:
                    yield Finding(run.check.name, Severity.OK, run.area, seen)
                continue
            wrong = True
            yield seen.finding(run.area)
    except Unknown as unknown:
        yield Finding(run.check.name, Severity.UNKNOWN, run.area, str(unknown))
    except Exception as error:  # noqa: BLE001  one check that falls over must not hide what the others see
        yield Finding(run.check.name, Severity.UNKNOWN, run.area, f"the check failed: {type(error).__name__}: {error}")
