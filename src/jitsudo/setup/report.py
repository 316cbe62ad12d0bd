"""`jitsudo setup report`: of what was observed, what would be different with jitsudo, for whom, and what helps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jitsudo.client import Client
from jitsudo.errors import InvalidValue, ProtocolViolation, Unreachable
from jitsudo.types import is_plain_text, shown_plainly
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import Json

# Who can neither ask for a role beforehand nor answer a question; before a play of Ansible's somebody can ask.
UNATTENDED: Final = frozenset({"cron", "unit", "other"})
_WHO: Final = {
    "person": "at a terminal",
    "login": "without a terminal",
    "cron": "from cron",
    "ansible": "by Ansible",
    "other": "from elsewhere",
}


class Effect(StrEnum):
    """What becomes of it with jitsudo, by the policy in force. REFUSED: sudo does not let it through today, either."""

    BREAKS = "breaks"
    ASKS = "asks"
    SAME = "same"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody asked of sudo, as often as they did (io.jitsudo.Control, ObservedInfo)."""

    person: str
    uid: int
    caller: str
    unit: str | None
    parents: tuple[str, ...]
    mode: str
    run_as: str
    path: str | None
    argv: tuple[str, ...]
    literal: bool
    outcome: str
    reason: str | None
    would: str
    role: str | None
    guardrail: str | None
    asks: tuple[str, ...]
    variables: tuple[str, ...]
    why: str
    times: int
    first: int
    last: int

    @classmethod
    def read(cls, value: object) -> Entry:
        """Raises InvalidValue."""
        fields = Fields(value, "ObservedInfo")
        entry = cls(
            person=fields.text("person"),
            uid=fields.integer("uid"),
            caller=fields.text("caller"),
            unit=fields.optional_text("unit"),
            parents=fields.texts("parents"),
            mode=fields.text("mode"),
            run_as=fields.text("run_as"),
            path=fields.optional_text("path"),
            argv=fields.texts("argv"),
            literal=fields.boolean("literal"),
            outcome=fields.text("outcome"),
            reason=fields.optional_text("reason"),
            would=fields.text("would"),
            role=fields.optional_text("role"),
            guardrail=fields.optional_text("guardrail"),
            asks=fields.texts("asks"),
            variables=fields.texts("variables"),
            why=fields.text("why"),
            times=fields.integer("times"),
            first=fields.integer("first"),
            last=fields.integer("last"),
        )
        fields.done()
        return entry

    @property
    def is_unattended(self) -> bool:
        return self.caller in UNATTENDED

    @property
    def effect(self) -> Effect:
        if self.outcome != "accepted":
            return Effect.REFUSED
        if self.would == "root":
            return Effect.SAME
        if self.would not in ("standing", "request"):
            return Effect.BREAKS
        if self.is_unattended and (self.would == "request" or self.asks):
            return Effect.BREAKS
        if self.caller != "person" and self.asks:
            return Effect.BREAKS  # nobody can be asked without a terminal
        return Effect.SAME if self.would == "standing" and not self.asks else Effect.ASKS

    @property
    def line(self) -> str:
        """The command, as one would type it."""
        if self.mode in ("shell", "login-shell"):
            option = "-s" if self.mode == "shell" else "-i"
            return shown_plainly(" ".join(("sudo", option, *self.argv[2:])))
        words = self.argv if self.mode == "edit" else (self.path or "?", *self.argv[1:])
        return shown_plainly(shlex.join(words))

    @property
    def who(self) -> str:
        """The caller in words."""
        if self.caller == "unit":
            return f"in {self.unit}"
        return _WHO.get(self.caller, self.caller)

    @property
    def is_root_equivalent(self) -> bool:
        """Whether a rule for it would let whoever has it run anything."""
        return self.mode in ("shell", "login-shell") or self.caller == "ansible"

    @property
    def has_rule(self) -> bool:
        """Whether it can be written as a rule, word by word: nothing redacted or left out, no bytes that a rule cannot hold."""
        if self.mode in ("shell", "login-shell"):
            return True
        words = self.argv[1:]
        if self.mode == "edit" and not all(word.startswith("/") for word in words):
            return False
        path = self.path or ""
        return self.literal and (path.startswith("/") or self.mode == "edit") and all(map(is_plain_text, (path, *words)))

    @property
    def helps(self) -> str | None:
        """What makes it work; None where it does."""
        if self.effect in (Effect.SAME, Effect.REFUSED):
            return None
        if self.effect is Effect.ASKS:
            first = [f"jitsudo request {self.role}"] if self.would == "request" else []
            if first and self.caller == "ansible":
                first = [f"{first[0]}, before the play"]
            return "; ".join(first + ([f"asks for: {', '.join(self.asks)}"] if self.asks else []))
        if self.would == "request" or self.asks:
            wanted = ["a standing role (request: none)"] if self.would == "request" and self.is_unattended else []
            wanted += ["authenticate: never"] if {"password", "agent"} & set(self.asks) else []
            wanted += [f"no `then: confirm` in guardrail {self.guardrail}"] if "confirm" in self.asks else []
            return f"role {self.role} covers it, but nobody is there to be asked: {', '.join(wanted)}"
        if self.would == "deny":
            return f"guardrail {self.guardrail} forbids it: change the guardrail, or the job"
        if self.would == "refused":
            return "jitsudo does not do this at all: another way has to be found"
        if self.would == "unknown":
            return "it cannot be told from the record: try it with `jitsudo policy explain`"
        if self.is_root_equivalent and self.is_unattended:
            return "name the commands: who may do this with nobody there is root"
        return "a rule, as below" if self.has_rule else "a rule of your own: its arguments are not on record as they were"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything observed, the most frequent first; `left_out`: how many kinds more there are."""

    entries: tuple[Entry, ...]
    left_out: int

    def having(self, effect: Effect) -> tuple[Entry, ...]:
        """Of one effect, by person, caller and command."""
        found = [entry for entry in self.entries if entry.effect is effect]
        return tuple(sorted(found, key=lambda e: (e.person, e.caller, e.unit or "", e.line, e.run_as)))


def read_report(since: int | None = None) -> Report:
    """By the daemon's word, for root alone. Raises Denied, Unreachable, Failed."""
    with Client() as client:
        reply = client.call("Observed", since=since)
    try:
        return parse_report(reply)
    except InvalidValue as error:
        raise Unreachable(f"jitsudo's daemon is not understood: {error.sentence}", "is it of the same version?") from None


def parse_report(reply: Json) -> Report:
    """Raises InvalidValue, ProtocolViolation."""
    observed, left_out = reply.get("observed"), reply.get("left_out")
    if not isinstance(observed, list) or not isinstance(left_out, int):
        raise ProtocolViolation("a report without what was observed")
    return Report(tuple(Entry.read(one) for one in observed), left_out)


def breaking(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """What has to be mapped, or waived, before jitsudo decides."""
    return tuple(entry for entry in entries if entry.effect is Effect.BREAKS)
