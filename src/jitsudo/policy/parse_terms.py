"""Reads on what terms a role may be had: `request` and `when`."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from datetime import tzinfo
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.policy.conditions import LOCAL
from jitsudo.policy.hours import read_span
from jitsudo.policy.model import (
    DEFAULT_DURATION,
    DEFAULT_EXPIRES_AFTER,
    ApprovalSource,
    Calendar,
    Escalation,
    Hours,
    RequestTerms,
    Review,
    Span,
    When,
)
from jitsudo.policy.nodes import Mapping, Node, Scalar
from jitsudo.policy.parse_people import PeopleReader
from jitsudo.policy.parse_types import NOTHING, network
from jitsudo.policy.patterns import regex
from jitsudo.policy.reader import Fields, Reader
from jitsudo.types import Duration

MAX_APPROVALS = 16
CalendarLookup = Callable[[str], tuple[tuple[int, int], ...]]
"""From a calendar's name in the policy to its closed days, as in `model.Calendar`; `InvalidValue` if it cannot be read."""

MAX_RENEWALS = 1000

REQUEST_KEYS = (
    "max_duration",
    "approvals",
    "from",
    "default_duration",
    "expires_after",
    "renewals",
    "reason",
    "inline",
    "review",
    "escalate",
    "approve_with",
)
_WAYS: tuple[Literal["key", "password"], ...] = ("key", "password")


class TermsReader:
    """Reads `request` and `when`; `used` gathers the keys that are not enforced yet."""

    def __init__(
        self, reader: Reader, people: PeopleReader, zone: tuple[str, tzinfo] | None, calendars: CalendarLookup
    ) -> None:
        self._reader = reader
        self._people = people
        self._zone = zone
        self._calendars = calendars

    def request(self, node: Node, used: list[str]) -> RequestTerms | None:
        """The terms; None for `request: none`."""
        reader = self._reader
        if isinstance(node, Scalar) and node.plain and node.text == "none":
            return None
        if not isinstance(node, Mapping):
            reader.error(node.pos, "request is none, or a mapping with max_duration and approvals")
            return None
        fields = reader.fields(node, "request", REQUEST_KEYS)
        longest, needed = fields.need("max_duration"), fields.need("approvals")
        maximum = reader.duration(longest, "max_duration") if longest else DEFAULT_DURATION
        approvals = reader.number(needed, "approvals", 0, MAX_APPROVALS) if needed else 0
        if approvals:
            fields.need("from")
        terms = RequestTerms(
            max_duration=maximum,
            default_duration=self._default_duration(fields, maximum),
            approvals=approvals,
            source=fields.read("from", self._people.source, None),
            expires_after=fields.read("expires_after", lambda at: reader.duration(at, "expires_after"), DEFAULT_EXPIRES_AFTER),
            renewals=fields.read("renewals", lambda at: reader.number(at, "renewals", 0, MAX_RENEWALS), 0),
            reason=fields.read("reason", lambda at: reader.value(at, "reason", regex, NOTHING), None),
            inline=fields.read("inline", lambda at: reader.boolean(at, "inline"), None),
            review=fields.read("review", self._review, None),
            escalate=fields.read("escalate", self._escalate, ()),
            approve_with=fields.read("approve_with", lambda at: reader.choice(at, "approve_with", _WAYS), None),
        )
        used += self._later(terms, fields)
        return terms

    def _later(self, terms: RequestTerms, fields: Fields) -> list[str]:
        used = [key for key in ("review", "escalate") if key in fields]
        if terms.renewals:
            used.append("renewals")
        if terms.inline:
            used.append("inline: true")
        if terms.approve_with == "key":
            used.append("approve_with: key")
        return [f"request: {key}" for key in used]

    def _default_duration(self, fields: Fields, maximum: Duration) -> Duration:
        node = fields.get("default_duration")
        if node is None:
            return min(DEFAULT_DURATION, maximum)
        duration = self._reader.duration(node, "default_duration")
        if duration > maximum:
            self._reader.error(node.pos, "default_duration is longer than max_duration")
        return duration

    def _review(self, node: Node) -> Review:
        fields = self._reader.fields(node, "review", ("within", "from"))
        within, source = fields.need("within"), fields.need("from")
        return Review(
            self._reader.duration(within, "within") if within else DEFAULT_DURATION,
            self._people.source(source) if source else ApprovalSource(()),
        )

    def _escalate(self, node: Node) -> tuple[Escalation, ...]:
        return tuple(self._escalation(item) for item in self._reader.items(node, "escalate"))

    def _escalation(self, node: Node) -> Escalation:
        fields = self._reader.fields(node, "escalate", ("after", "to"))
        after, to = fields.need("after"), fields.need("to")
        return Escalation(
            self._reader.duration(after, "after") if after else DEFAULT_DURATION,
            self._people.principals(to, "to") if to else (),
        )

    def when(self, node: Node | None) -> When:
        """The conditions; none where the key is absent."""
        if node is None:
            return When()
        reader = self._reader
        fields = reader.fields(node, "when", ("hours", "source", "otherwise", "calendar"))
        if not list(fields):
            reader.error(node.pos, "when is empty")
        source = fields.get("source")
        return When(
            hours=fields.read("hours", self._hours, None),
            source=tuple(reader.value(at, "source", _whence, "") for at in reader.items(source, "source")) if source else (),
            otherwise_approvals=fields.read("otherwise", self._otherwise, None),
            calendar=fields.read("calendar", self._calendar, None),
        )

    def _otherwise(self, node: Node) -> int:
        approvals = self._reader.fields(node, "otherwise", ("approvals",)).need("approvals")
        return self._reader.number(approvals, "approvals", 1, MAX_APPROVALS) if approvals else 1

    def _calendar(self, node: Node) -> Calendar | None:
        file = self._reader.fields(node, "calendar", ("file",)).need("file")
        if file is None:
            return None
        name = self._reader.value(file, "file", _file, "")
        if self._zone is None:
            self._reader.error(node.pos, "a calendar needs the file's `timezone`, e.g. timezone: Europe/Berlin")
        if not name or self._zone is None:
            return None
        closed: tuple[tuple[int, int], ...] = ()
        return Calendar(name, self._reader.value(file, "file", self._calendars, closed), zone=self._zone[1])

    def _hours(self, node: Node) -> Hours | None:
        reader = self._reader
        strict = False
        spans: Node | None = node
        if isinstance(node, Mapping):
            fields = reader.fields(node, "hours", ("at", "strict"))
            strict = fields.read("strict", lambda at: reader.boolean(at, "strict"), False)
            spans = fields.need("at")
        items = reader.items(spans, "hours") if spans else ()
        read = tuple(reader.value(at, "hours", read_span, Span((), 0, 1)) for at in items)
        if self._zone is None:
            reader.error(node.pos, "hours need the file's `timezone`, e.g. timezone: Europe/Berlin")
            return None
        return Hours(read, self._zone[0], strict, zone=self._zone[1])


def no_calendars(name: str) -> tuple[tuple[int, int], ...]:
    """The look-up of whoever has none."""
    raise InvalidValue(f"no calendars can be read here: {name!a}")


def _whence(text: str) -> str:
    return text if text == LOCAL else network(text)


def _file(text: str) -> str:
    if posixpath.normpath(text) != text or text.startswith(".."):
        raise InvalidValue(f"not a file: {text!a}")
    return text
