"""Calendars that a role's `when` names: text files of days, `2026-12-24` or `2026-12-24..2026-12-26` a line, `#` comments."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

from jitsudo.errors import InvalidValue
from jitsudo.host.checkedfiles import read_checked
from jitsudo.policy.issues import Issue, shown

MAX_RANGES: Final = 10_000
MAX_RANGE_DAYS: Final = 366  # longer is a mistyped year
_DAY: Final = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
_LINE: Final = re.compile(rf"{_DAY}(?:\.\.{_DAY})?")
_FORM: Final = "one day a line, 2026-12-24, or a range, 2026-12-24..2026-12-26; # begins a comment"

Days = tuple[tuple[int, int], ...]  # first and last day of each range (date.toordinal), both included; sorted, apart


class Calendars:
    """Reads calendars for one load of the policy, each file once: `read` is what the parser is given.

    `files` holds what was read, exact bytes by the name that the policy has for it: part of the policy's digest and of the
    kept copy of the last good one. A name without a leading `/` is beside the policy's files.
    """

    def __init__(self, directory: Path, *, check_owner: bool = True) -> None:
        self._directory = directory
        self._check_owner = check_owner
        self.files: dict[str, bytes] = {}

    def read(self, name: str) -> Days:
        """Raises InvalidValue: unreadable, not root's, malformed (then with the line)."""
        if name not in self.files:
            self.files[name] = self._bytes(name)
        return _parse(name, self.files[name])

    def _bytes(self, name: str) -> bytes:
        # Every folder on the way is checked by its own name: a path with links or `..` in it could lead elsewhere tomorrow.
        path = Path(os.path.abspath(self._directory / name))
        issues: list[Issue] = []
        raw = read_checked(path.parent, path.name, issues, check_owner=self._check_owner)
        if issues:
            where = "" if issues[0].file == shown(path.name) else f"{issues[0].file} "
            raise InvalidValue(f"calendar {shown(name)}: {where}{issues[0].message}")
        if raw is None:
            raise InvalidValue(f"calendar {shown(name)}: there is no file {shown(str(path))}")
        return raw


class KeptCalendars:
    """The same from bytes by name, for the kept copy of the last good policy."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, name: str) -> Days:
        """Raises InvalidValue."""
        if name not in self._files:
            raise InvalidValue(f"calendar {shown(name)} was not kept")
        return _parse(name, self._files[name])


def _parse(name: str, raw: bytes) -> Days:
    try:
        return parse_calendar(raw)
    except InvalidValue as error:
        raise InvalidValue(f"calendar {shown(name)}: {error.sentence}", error.hint) from None


def parse_calendar(raw: bytes) -> Days:
    """The days in a calendar's text. Raises InvalidValue naming the line."""
    try:
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidValue(f"line {raw[: error.start].count(10) + 1} is not UTF-8", _FORM) from None
    ranges = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip(" \t\r")
        if text:
            ranges.append(_range(text, number))
    if not ranges:
        # A calendar that was emptied by mistake must not pass for one without closed days.
        raise InvalidValue("there is no day in it", _FORM)
    if len(ranges) > MAX_RANGES:
        raise InvalidValue(f"more than {MAX_RANGES} lines with days", _FORM)
    return _merged(sorted(ranges))


def _range(text: str, number: int) -> tuple[int, int]:
    found = _LINE.fullmatch(text)
    if found is None:
        raise InvalidValue(f"line {number} is not a day: {shown(text[:40])}", _FORM)
    first = _ordinal(found[1], number)
    last = first if found[2] is None else _ordinal(found[2], number)
    if last < first:
        raise InvalidValue(f"line {number}: the range ends before it begins", _FORM)
    if last - first >= MAX_RANGE_DAYS:
        raise InvalidValue(f"line {number}: a range of more than {MAX_RANGE_DAYS} days", _FORM)
    return first, last


def _ordinal(text: str, number: int) -> int:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        raise InvalidValue(f"line {number}: there is no day {text}", _FORM) from None


def _merged(ranges: list[tuple[int, int]]) -> Days:
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)
