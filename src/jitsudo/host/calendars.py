"""Calendars that a role's `when` names: text files of days, `2026-12-24` or `2026-12-24..2026-12-26` a line, `#` comments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from jitsudo.errors import InvalidValue

Days = tuple[tuple[date, date], ...]  # first and last day of each range, both included; sorted, merged


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
        raise InvalidValue(f"{name} cannot be read")


class KeptCalendars:
    """The same from bytes by name, for the kept copy of the last good policy."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, name: str) -> Days:
        """Raises InvalidValue."""
        if name not in self._files:
            raise InvalidValue(f"{name} was not kept")
        return parse_calendar(self._files[name])


def parse_calendar(raw: bytes) -> Days:
    """The days in a calendar's text. Raises InvalidValue naming the line."""
    raise InvalidValue("line 1: not a day")
