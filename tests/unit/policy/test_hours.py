"""Hours: what is read, and every boundary to the minute."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from jitsudo.errors import InvalidValue
from jitsudo.policy.hours import hours_hold, hours_text, read_span
from jitsudo.policy.model import Hours, Span
from jitsudo.types import Moment


def at(text: str) -> Moment:
    return Moment(int(datetime.fromisoformat(text).timestamp()), 0.0)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("Mon-Fri 08:00-18:00", Span((0, 1, 2, 3, 4), 480, 1080)),
        ("Sat,Sun 00:00-24:00", Span((5, 6), 0, 1440)),
        ("Fri-Mon 22:00-06:00", Span((0, 4, 5, 6), 1320, 360)),
        ("Tue 23:59-00:00", Span((1,), 1439, 0)),
    ],
)
def test_hours_are_read(text: str, span: Span) -> None:
    """Days, ranges that run over Sunday, ends past midnight."""
    assert read_span(text) == span


@pytest.mark.parametrize(
    ("text", "said"),
    [("Mon-Fri 08:00-18:00", "Mon-Fri 08:00-18:00"), ("Sat,Sun 00:00-24:00", "Sat-Sun 00:00-24:00"),
     ("Fri-Mon 22:05-06:00", "Mon,Fri-Sun 22:05-06:00"), ("Tue 23:59-00:00", "Tue 23:59-00:00"),
     ("Mon,Wed,Fri 08:00-18:00", "Mon,Wed,Fri 08:00-18:00")],
)  # fmt: skip
def test_hours_are_said_as_a_policy_writes_them(text: str, said: str) -> None:
    """So that who is refused knows when to come back; and the same is read from it again."""
    assert hours_text(Hours((read_span(text),), "UTC", zone=UTC)) == f"{said} (UTC)"
    assert read_span(said) == read_span(text)


@pytest.mark.parametrize(
    "text",
    ["", "08:00-18:00", "Mon 8:00-18:00", "Mon 08:00-18", "mon 08:00-18:00", "Mon-Foo 08:00-18:00", "Mon- 08:00-18:00",
     "Mon 08:00-08:00", "Mon 24:00-08:00", "Mon 08:60-09:00", "Mon 08:00-24:01", "Mon 08:00-18:00\n", "Mon  08:00-18:00"],
)  # fmt: skip
def test_other_hours_are_refused(text: str) -> None:
    """Anything else is an error, not a guess."""
    with pytest.raises(InvalidValue):
        read_span(text)


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-24T07:59:59+00:00", False),
        ("2026-11-24T08:00:00+00:00", True),
        ("2026-11-24T17:59:59+00:00", True),
        ("2026-11-24T18:00:00+00:00", False),
        ("2026-11-28T12:00:00+00:00", False),
    ],
)
def test_the_end_is_excluded(moment: str, holds: bool) -> None:
    """Mon-Fri 08:00-18:00, to the second."""
    hours = Hours((read_span("Mon-Fri 08:00-18:00"),), "UTC", zone=UTC)
    assert hours_hold(hours, at(moment)) is holds


@pytest.mark.parametrize(
    ("moment", "holds"),
    [
        ("2026-11-27T21:59:59+00:00", False),
        ("2026-11-27T22:00:00+00:00", True),
        ("2026-11-28T05:59:59+00:00", True),
        ("2026-11-28T06:00:00+00:00", False),
        ("2026-11-27T03:00:00+00:00", False),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, holds: bool) -> None:
    """Fri 22:00-06:00 is Friday night and Saturday morning, not Friday morning."""
    assert hours_hold(Hours((read_span("Fri 22:00-06:00"),), "UTC", zone=UTC), at(moment)) is holds


def test_hours_are_local() -> None:
    """08:00 in Berlin is 07:00 UTC in winter."""
    zone = ZoneInfo("Europe/Berlin")
    hours = Hours((read_span("Tue 08:00-09:00"),), "Europe/Berlin", zone=zone)
    assert hours_hold(hours, at("2026-11-24T07:00:00+00:00"))
    assert not hours_hold(hours, at("2026-11-24T08:00:00+00:00"))
