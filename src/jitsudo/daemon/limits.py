"""How often and how many at once: what `limits` count, folded from the ledger, so that a restart forgets nothing.

| limit | counts | for |
| --- | --- | --- |
| uses | commands allowed, and sessions of those who came in | the grant and the name of the limit |
| concurrent | sessions that have not ended | the person's uid and the name of the limit |
| per_hour | commands allowed in the last 3600 seconds of wall clock | the person's uid and the name of the limit |

The name is `role NAME` or `guardrail NAME` (LimitTerms.name). An allow's `command.allowed` event names in `limits` those that
it counts for. `refusal`, then `DaemonState.begin` with that event: with no `await` between the two, the check and the count
are one step. `apply` is part of the fold of the ledger. An allow that came to nothing (its scope could not be made) has
been counted all the same: it is on record as an allow. Where somebody sets the clock back and has it accepted, what was
counted after that time counts as of then: no limit lasts longer than an hour by it, and none is shorter.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from jitsudo.errors import InvalidValue
from jitsudo.host.ledger import Entry
from jitsudo.policy.verdict import Deny, LimitTerms
from jitsudo.types import GrantId, Moment, RoleName, Uid

HOUR: Final = 3600
KEPT: Final = 2 * HOUR  # the wall clock may go back a little without anybody's leave
MAX_NAMES: Final = 256  # limits of one allow
_GRANT_ENDS: Final = frozenset({"grant.expired", "grant.returned", "grant.revoked", "grant.used_up"})


@dataclass(slots=True)
class Counts:
    """What has been used. Folded: `DaemonState` feeds it every event, at load and live."""

    _uses: dict[GrantId, Counter[str]] = field(default_factory=dict)
    _times: dict[tuple[int, str], deque[int]] = field(default_factory=dict)
    _running: Counter[tuple[int, str]] = field(default_factory=Counter)
    _sessions: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)

    def apply(self, time: int, entry: Entry) -> None:
        """Take an event into account; `time` is the event's, in Unix seconds. Raises InvalidValue; nothing has changed then."""
        if entry.type in ("command.allowed", "access.allowed"):
            self._allowed(time, entry)
        elif entry.type == "session.ended":
            for key in self._sessions.pop(str(entry.body.get("session")), ()):
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]
        elif entry.type == "clock.accepted":
            for times in self._times.values():
                times.extend([min(times.popleft(), time) for _ in range(len(times))])
        elif entry.type in _GRANT_ENDS and entry.body.get("grant"):
            self._uses.pop(GrantId(entry.body["grant"]), None)

    def _allowed(self, time: int, entry: Entry) -> None:
        body = entry.body
        names = body.get("limits") or ()
        if not names:
            return
        uid, session = body.get("uid"), body.get("session")
        if not isinstance(names, list) or len(names) > MAX_NAMES or not all(isinstance(name, str) for name in names):
            raise InvalidValue(f"{entry.type}: limits is not a list of names")
        if not isinstance(uid, int) or not isinstance(session, str) or session in self._sessions:
            raise InvalidValue(f"{entry.type}: limits without a person and a session of its own")
        uses = self._uses.setdefault(GrantId(body.get("grant")), Counter())
        keys = tuple((uid, name) for name in dict.fromkeys(names))
        for key in keys:
            uses[key[1]] += 1
            self._running[key] += 1
            times = self._times.setdefault(key, deque())
            times.append(time)
            while times[0] <= time - KEPT:
                times.popleft()
        self._sessions[session] = keys

    def refusal(self, terms: Sequence[LimitTerms], uid: Uid, grant: GrantId, now: Moment) -> Deny | None:
        """None: one more fits into each of these limits. Otherwise which is reached, how much it is, and when the next fits."""
        return next((deny for one in terms if (deny := self._reached(one, uid, grant, now)) is not None), None)

    def _reached(self, one: LimitTerms, uid: Uid, grant: GrantId, now: Moment) -> Deny | None:
        limits, key = one.limits, (int(uid), one.name)
        used = self._uses.get(grant, Counter())[one.name]
        if limits.uses is not None and used >= limits.uses:
            return _deny(one, f"{_times(limits.uses)} under one grant, which {grant} has had", "ask for a new grant")
        if limits.concurrent is not None and self._running[key] >= limits.concurrent:
            some = "one command" if limits.concurrent == 1 else f"{limits.concurrent} commands"
            return _deny(one, f"{some} at once, as many as you have running now", "wait until one has ended")
        if limits.per_hour is not None:
            return self._too_often(one, limits.per_hour, key, now)
        return None

    def _too_often(self, one: LimitTerms, most: int, key: tuple[int, str], now: Moment) -> Deny | None:
        times = self._times.get(key, deque())
        if len(times) < most or times[-most] <= now.wall - HOUR:  # `most` is at least 1, the parser sees to that
            return None
        free = times[-most] + HOUR
        at = datetime.fromtimestamp(free, UTC)
        hint = f"the next is possible at {at:%H:%M:%S} UTC, in {_span(free - now.wall)}"
        return _deny(one, f"{_times(most)} an hour, and you have had that", hint)


def _deny(one: LimitTerms, what: str, hint: str) -> Deny:
    kind, _, name = one.name.partition(" ")
    role, guardrail = (RoleName(name), None) if kind == "role" else (None, name)
    return Deny("limit", f"{one.name} allows {what}", (hint,), role=role, guardrail=guardrail)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _span(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    return f"{(seconds + 59) // 60} min"
