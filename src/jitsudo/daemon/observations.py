"""What `jitsudo setup report` shows: what was observed, added up, and what the policy in force now would say of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final

from jitsudo.daemon.gate import Gate
from jitsudo.daemon.observing import EVENT, Tally, recorded_action, settled
from jitsudo.daemon.state import LEDGER_FILE, DaemonState
from jitsudo.daemon.supposing import Supposed, suppose
from jitsudo.errors import JitsudoError
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.ledger import read_events
from jitsudo.host.world import HostWorld
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import Source
from jitsudo.types import Moment, Person, Uid, shown_plainly
from jitsudo.wire.framing import Json, encode_text

MAX_ROWS: Final = 100_000
MAX_SHOWN: Final = 1000
EVALUATED_AT_ONCE: Final = 50
SUPPOSED_SOURCE: Final = Source("local")  # where each of them will come from next time, nobody knows

Body = Mapping[str, object]


@dataclass(slots=True)
class Group:
    """What is one thing to whoever reads the report; `body` is its last record."""

    body: Body
    first: int
    last: int
    times: int = 0
    parents: dict[str, None] = field(default_factory=dict)
    variables: dict[str, None] = field(default_factory=dict)

    def add(self, time: int, body: Body) -> None:
        self.first, self.last = min(self.first, time), max(self.last, time)
        self.times += _number(body, "times")
        self.body = body
        self.parents |= dict.fromkeys(_texts(body, "parents"))
        self.variables |= dict.fromkeys(_texts(body, "variables"))


def grouped(observed: Iterable[tuple[int, Body]]) -> list[Group]:
    """The most frequent first."""
    groups: dict[tuple[object, ...], Group] = {}
    for time, body in observed:
        group = groups.setdefault(_key(body), Group(body, time, time))
        group.add(time, body)
    return sorted(groups.values(), key=lambda group: (-group.times, group.first))


def _key(body: Body) -> tuple[object, ...]:
    names = ("uid", "user", "caller", "mode", "runas_user", "command", "outcome")
    unit = settled(str(body.get("unit") or "")) if body.get("caller") in ("unit", "cron") else ""
    return (*(body.get(name) for name in names), unit, tuple(settled(word) for word in _texts(body, "argv")))


class Observations:
    """Answers Observed."""

    def __init__(self, state: DaemonState, gate: Gate, tally: Tally) -> None:
        self._state = state
        self._gate = gate
        self._tally = tally

    async def since(self, time: int, root: Person) -> Json:
        """Raises Failed, TimedOut."""
        path = self._state.folder / LEDGER_FILE
        rows = await asyncio.to_thread(read_events, path, EVENT, time, MAX_ROWS)
        counted = [(last, entry.body) for last, entry in self._tally.unrecorded() if last >= time]
        groups = grouped([*((row.time, row.content()) for row in rows), *counted])
        left, supposed = iter(groups[:MAX_SHOWN]), []
        people = await self._people(groups[:MAX_SHOWN])
        while part := tuple(islice(left, EVALUATED_AT_ONCE)):
            # Not all in one go: a report must not keep a thread for longer than a decision may.
            supposed += await self._gate.run(root, partial(self._supposed, part, people))
        infos = [_info(group, now) for group, now in zip(groups, supposed, strict=False)]
        return {"observed": infos, "left_out": len(groups) - len(infos)}

    async def _people(self, groups: Iterable[Group]) -> Mapping[tuple[Uid, Uid | None], Person]:
        return await self._state.people.people({ids for group in groups if (ids := _ids(group.body)) is not None})

    def _supposed(
        self, groups: Iterable[Group], people: Mapping[tuple[Uid, Uid | None], Person]
    ) -> list[Supposed | None]:
        """What the policy in force now says; None where what is on record is not enough to say it. Blocks."""
        policy = self._state.policy
        if policy is None:
            return [Supposed("no-policy", "no policy is in force") for _ in groups]
        now = self._state.now()
        with HostWorld(SystemAccounts().by_name) as world:
            return [self._of(group.body, people, policy.policy, now, world) for group in groups]

    def _of(
        self, body: Body, people: Mapping[tuple[Uid, Uid | None], Person], policy: Policy, now: Moment, world: HostWorld
    ) -> Supposed | None:
        ids = _ids(body)
        person = None if ids is None else people.get(ids)
        if body.get("literal") is not True or body.get("would") in ("refused", "unknown"):
            return None
        if person is None or person.name != body.get("user"):
            return Supposed("unknown", f"{body.get('user')} is not in the user database any more")
        try:
            action = recorded_action(body, person)
        except JitsudoError:
            return None
        return suppose(action, policy, self._state.host, now, world, SUPPOSED_SOURCE)


def _info(group: Group, now: Supposed | None) -> Json:
    body = group.body
    then = (body.get("would"), body.get("role"), body.get("guardrail"), body.get("asks"), body.get("why"))
    would, role, guardrail, asks, why = then if now is None else (now.would, now.role, now.guardrail, list(now.asks), now.why)
    return {
        "person": _plain(body.get("user")),
        "uid": body.get("uid"),
        "caller": body.get("caller"),
        "unit": settled(str(body["unit"])) if body.get("unit") else None,
        "parents": list(islice(group.parents, 8)),
        "mode": body.get("mode"),
        "run_as": body.get("runas_user"),
        "path": _plain(body.get("command")),
        "argv": [encode_text(settled(word)) for word in _texts(body, "argv")],
        "literal": body.get("literal") is True,
        "outcome": body.get("outcome"),
        "reason": _plain(body.get("reason")),
        "would": would,
        "role": role,
        "guardrail": guardrail,
        "asks": asks,
        "variables": [shown_plainly(name) for name in sorted(group.variables)],
        "why": _plain(why),
        "times": group.times,
        "first": group.first,
        "last": group.last,
    }


def _plain(value: object) -> str | None:
    return None if value is None else shown_plainly(str(value))


def _ids(body: Body) -> tuple[Uid, Uid | None] | None:
    try:
        login_uid = body.get("login_uid")
        return Uid(body.get("uid")), None if login_uid is None else Uid(login_uid)
    except JitsudoError:
        return None


def _number(body: Body, name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) else 1


def _texts(body: Body, name: str) -> list[str]:
    value = body.get(name)
    return [str(item) for item in value] if isinstance(value, list) else []
