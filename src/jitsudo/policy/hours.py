"""Hours: `Mon-Fri 08:00-18:00`, read and compared with one moment."""

from __future__ import annotations

import re
from datetime import datetime

from jitsudo.errors import InvalidValue
from jitsudo.policy.model import Calendar, Hours, Span
from jitsudo.types import Moment

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPAN = re.compile(r"([A-Za-z,-]+) ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_MINUTES_A_DAY = 24 * 60


def read_span(text: str) -> Span:
    """Read `Days HH:MM-HH:MM`; days are `Mon`, `Mon-Fri` or several of these between commas. Else `InvalidValue`."""
    found = _SPAN.fullmatch(text)
    if not found:
        raise InvalidValue(f"not hours: {text!r}", "write e.g. 'Mon-Fri 08:00-18:00'")
    start, end = _minute(found[2], found[3]), _minute(found[4], found[5])
    if start in (end, _MINUTES_A_DAY):
        raise InvalidValue(f"hours that are empty or a whole day: {text!r}", "write 00:00-24:00 for a whole day")
    return Span(tuple(sorted({day for part in found[1].split(",") for day in _days(part)})), start, end)


def _minute(hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _MINUTES_A_DAY:
        raise InvalidValue(f"not a time of day: {hours}:{minutes}")
    return minute


def _days(text: str) -> tuple[int, ...]:
    first, dash, last = text.partition("-")
    if first not in _DAYS or (dash and last not in _DAYS):
        raise InvalidValue(f"not a day or a range of days: {text!r}", "days are " + " ".join(_DAYS))
    start = _DAYS.index(first)
    length = (_DAYS.index(last) - start) % 7 if dash else 0
    return tuple((start + n) % 7 for n in range(length + 1))


def hours_text(hours: Hours) -> str:
    """The spans as a policy would write them, and the time zone."""
    return f"{'; '.join(map(_span_text, hours.spans))} ({hours.timezone})"


def _span_text(span: Span) -> str:
    runs: list[list[int]] = []
    for day in span.days:
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    days = ",".join(_DAYS[run[0]] + (f"-{_DAYS[run[-1]]}" if len(run) > 1 else "") for run in runs)
    return f"{days} {_time_text(span.start)}-{_time_text(span.end)}"


def _time_text(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def hours_hold(hours: Hours, now: Moment) -> bool:
    """Whether `now` lies in one of the spans; a span's end is excluded, and one past midnight belongs to its first day."""
    local = datetime.fromtimestamp(now.wall, hours.zone)
    minute, day = local.hour * 60 + local.minute, local.weekday()
    return any(_holds(span, minute, day) for span in hours.spans)


def is_closed(calendar: Calendar, now: Moment) -> bool:
    """Whether `now` lies on one of the calendar's days."""
    day = datetime.fromtimestamp(now.wall, calendar.zone).toordinal()
    return any(first <= day <= last for first, last in calendar.closed)


def _holds(span: Span, minute: int, day: int) -> bool:
    if span.start < span.end:
        return day in span.days and span.start <= minute < span.end
    return (day in span.days and minute >= span.start) or ((day - 1) % 7 in span.days and minute < span.end)
