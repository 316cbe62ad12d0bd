"""Calendars: which text is a calendar, which file may be one, and what is kept of it."""

from __future__ import annotations

import itertools
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.errors import InvalidValue
from jitsudo.host.calendars import MAX_RANGE_DAYS, MAX_RANGES, Calendars, KeptCalendars, parse_calendar


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def test_days_ranges_and_comments_are_read() -> None:
    """Blank lines, comments after a day, ends of lines as Windows writes them."""
    text = b"# closed\n\n2026-12-31 # New Year's Eve\r\n  2026-12-24..2026-12-26\n\t2026-05-01"
    expected = (
        (day("2026-05-01"), day("2026-05-01")),
        (day("2026-12-24"), day("2026-12-26")),
        (day("2026-12-31"), day("2026-12-31")),
    )
    assert parse_calendar(text) == expected


def test_ranges_that_touch_or_overlap_are_one() -> None:
    """In whatever order they stand."""
    text = b"2026-12-27\n2026-12-24..2026-12-26\n2026-12-25..2026-12-25\n2026-12-29\n"
    assert parse_calendar(text) == ((day("2026-12-24"), day("2026-12-27")), (day("2026-12-29"), day("2026-12-29")))


MALFORMED = {
    "nothing": (b"", "there is no day in it"),
    "comments alone": (b"# 2026-12-24\n", "there is no day in it"),
    "a day that is none": (b"2026-02-29\n", "line 1: there is no day 2026-02-29"),
    "year 0": (b"0000-01-01\n", "line 1: there is no day 0000-01-01"),
    "another form of date": (b"2026-12-24\n20261225\n", "line 2 is not a day: 20261225"),
    "a week": (b"2026-W52-4\n", "line 1 is not a day: 2026-W52-4"),
    "a time": (b"2026-12-24T00:00\n", "line 1 is not a day: 2026-12-24T00:00"),
    "digits of another script": ("\u0662026-12-24\n".encode(), "line 1 is not a day: \u0662026-12-24"),
    "two days": (b"2026-12-24 2026-12-25\n", "line 1 is not a day: 2026-12-24 2026-12-25"),
    "three dots": (b"2026-12-24...2026-12-25\n", "line 1 is not a day: 2026-12-24...2026-12-25"),
    "an open range": (b"2026-12-24..\n", "line 1 is not a day: 2026-12-24.."),
    "spaces in a range": (b"2026-12-24 .. 2026-12-25\n", "line 1 is not a day: 2026-12-24 .. 2026-12-25"),
    "a range backwards": (b"2026-12-25..2026-12-24\n", "line 1: the range ends before it begins"),
    "a range with a mistyped year": (b"2026-12-24..2062-12-26\n", "line 1: a range of more than 366 days"),
    "no UTF-8": (b"2026-12-24\n2026-12-25 # No\xebl\n", "line 2 is not UTF-8"),
    "NUL": (b"2026-12-24\0\n", "line 1 is not a day: 2026-12-24\\x00"),
    "a mark of byte order": (b"\xef\xbb\xbf2026-12-24\n", "line 1 is not a day: \\ufeff2026-12-24"),
}


@pytest.mark.parametrize(("text", "sentence"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_calendars_are_refused_with_the_line(text: bytes, sentence: str) -> None:
    """Never read as something else."""
    with pytest.raises(InvalidValue) as refused:
        parse_calendar(text)
    assert refused.value.sentence == sentence


def test_limits_hold_at_the_last_and_not_beyond() -> None:
    """The longest range and the most lines."""
    first = date(2026, 1, 1).toordinal()
    longest = date.fromordinal(first + MAX_RANGE_DAYS - 1)
    assert parse_calendar(f"2026-01-01..{longest}".encode()) == ((first, first + MAX_RANGE_DAYS - 1),)
    with pytest.raises(InvalidValue):
        parse_calendar(f"2026-01-01..{date.fromordinal(first + MAX_RANGE_DAYS)}".encode())
    assert parse_calendar(b"2026-01-01\n" * MAX_RANGES) == ((first, first),)
    with pytest.raises(InvalidValue):
        parse_calendar(b"2026-01-01\n" * (MAX_RANGES + 1))


@given(st.binary(max_size=200) | st.text("0123456789-.# \n", max_size=200).map(str.encode))
def test_any_bytes_are_a_calendar_or_refused(raw: bytes) -> None:
    """Days in order, apart from each other; or InvalidValue, and nothing else."""
    try:
        days = parse_calendar(raw)
    except InvalidValue:
        return
    assert days
    assert all(first <= last for first, last in days)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(days))


def test_a_file_beside_the_policy_and_its_kept_copy_are_the_same(tmp_path: Path) -> None:
    """Read once; what was read is what is kept."""
    (tmp_path / "holidays.txt").write_bytes(b"2026-12-24\n")
    calendars = Calendars(tmp_path, check_owner=False)
    days = calendars.read("holidays.txt")
    (tmp_path / "holidays.txt").write_bytes(b"2026-12-25\n")
    assert calendars.read("holidays.txt") == days == KeptCalendars(calendars.files).read("holidays.txt")
    assert calendars.files == {"holidays.txt": b"2026-12-24\n"}


def test_an_absolute_name_is_that_file(tmp_path: Path) -> None:
    """Whatever folder the policy is in."""
    file = tmp_path / "holidays.txt"
    file.write_bytes(b"2026-12-24\n")
    assert Calendars(Path("/nonexistent"), check_owner=False).read(str(file)) == ((day("2026-12-24"), day("2026-12-24")),)


def refused(calendars: Calendars | KeptCalendars, name: str) -> str:
    with pytest.raises(InvalidValue) as error:
        calendars.read(name)
    return error.value.sentence


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A file that is missing, a folder, a link, a FIFO, one that was not kept, one that is malformed: each by its name."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "target").write_bytes(b"2026-12-24\n")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "bad").write_bytes(b"Christmas\n")
    calendars = Calendars(tmp_path, check_owner=False)
    assert refused(calendars, "missing") == f"calendar missing: there is no file {tmp_path}/missing"
    assert refused(calendars, "folder") == "calendar folder: cannot be read: Is a directory"
    assert refused(calendars, "link") == "calendar link: is a link"
    assert "not a regular file" in refused(calendars, "fifo")
    assert refused(calendars, "bad") == "calendar bad: line 1 is not a day: Christmas"
    assert refused(KeptCalendars({}), "bad") == "calendar bad was not kept"
    assert refused(KeptCalendars({"bad": b"x"}), "bad") == "calendar bad: line 1 is not a day: x"


def test_a_file_that_others_could_write_or_replace_is_refused(tmp_path: Path) -> None:
    """As strictly as a policy file: it is root's alone, and so is every folder above it (here one that is everybody's)."""
    (tmp_path / "holidays.txt").write_bytes(b"2026-12-24\n")
    tmp_path.chmod(0o777)
    assert refused(Calendars(tmp_path), "holidays.txt").endswith("can be written by others than root (chmod go-w)")
