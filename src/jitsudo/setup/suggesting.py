"""A policy for what was observed and would break: each command line, word by word, for whoever ran it.

It is a beginning to be read and narrowed, not a policy that anybody thought about; as it stands it allows what sudoers allowed
to these callers, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final

from jitsudo.setup.report import Effect, Entry

STANDING_DAYS: Final = 180
MAX_RULES: Final = 200  # of one role
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")
_HEAD: Final = """\
# What was observed and would break, word by word (jitsudo setup report). Read it, and narrow it: make several lines one rule
# with types (docs: jitsudo-policy(5)), take out what nobody should run. Then: jitsudo policy check, jitsudo policy reload.
version: 1
roles:"""


@dataclass(frozen=True, slots=True, order=True)
class _Of:
    """Whose role it is: one a person, target user, and kind of caller. `proves`: somebody is there to type a password."""

    person: str
    run_as: str
    standing: bool
    proves: bool

    @classmethod
    def entry(cls, entry: Entry) -> _Of:
        return cls(entry.person, entry.run_as, entry.is_unattended, entry.caller == "person")

    @property
    def name(self) -> str:
        words = ["observed", self.person] + ([] if self.run_as == "root" else ["as", self.run_as])
        words += ["unattended"] if self.standing else [] if self.proves else ["no-terminal"]
        return _NOT_IN_NAMES.sub("-", "-".join(words).lower()).strip("-")[:60].strip("-")


def suggest_policy(entries: Iterable[Entry], today: date | None = None) -> str | None:
    """A policy file's text; None where nothing that a rule could help with would break."""
    wanted: dict[_Of, list[Entry]] = {}
    for entry in entries:
        is_wanted = entry.effect is Effect.BREAKS and entry.would not in ("deny", "refused", "unknown") and entry.has_rule
        # Never root for whoever comes when nobody is there: that would be worse than what sudoers has.
        if is_wanted and not (entry.is_unattended and entry.is_root_equivalent):
            wanted.setdefault(_Of.entry(entry), []).append(entry)
    if not wanted:
        return None
    until = (today or datetime.now(UTC).date()) + timedelta(days=STANDING_DAYS)
    lines, names = [_HEAD], set[str]()
    for of, of_role in sorted(wanted.items(), key=lambda one: one[0]):
        name = of.name
        while name in names:
            name += "-2"
        names.add(name)
        lines += _role(of, name, of_role, until)
    return "\n".join(lines) + "\n"


def _role(of: _Of, name: str, entries: Sequence[Entry], until: date) -> Iterator[str]:
    where = "with nobody there" if of.standing else "at a terminal" if of.proves else "without a terminal"
    yield f"  {name}:"
    yield f"    description: {_text(f'What {of.person} ran by sudo as {of.run_as}, {where}')}"
    yield f"    who: [{_text(f'user:{of.person}')}]"
    if of.run_as != "root":
        yield f"    run_as: {{users: [{_text(of.run_as)}]}}"
    if of.standing:
        yield "    request: none  # so the person may do it at a terminal, too, without asking"
        yield f"    until: {until.isoformat()}"
    else:
        yield "    request: {max_duration: 8h, approvals: 0}  # better: approvals: 1, and from whom"
    if not of.proves:
        yield "    authenticate: never"
    rules = dict.fromkeys(_rule(entry) for entry in entries)
    if any(entry.is_root_equivalent for entry in entries):
        yield "    root_equivalent: true"
    yield "    allow:"
    for rule in islice(rules, MAX_RULES):
        yield from (f"      {line}" for line in rule)
    if len(rules) > MAX_RULES:
        yield f"      # and {len(rules) - MAX_RULES} more"


def _rule(entry: Entry) -> tuple[str, ...]:
    """The lines of a rule for exactly this."""
    if entry.mode in ("shell", "login-shell"):
        return "# a shell does anything: better to name the commands", "- shell: {intercept: false}"
    words, command = entry.argv[1:], _text(entry.path or "")
    if entry.mode == "edit":
        return (f"- edit: [{{one_of: [{', '.join(map(_text, words))}]}}]",)
    if entry.caller == "ansible":
        operands = f"[{{literal: {_text('-c')}}}, any]"
        return "# Ansible runs anything through a shell", f"- {{command: {command}, operands: {operands}}}"
    if not words:
        return (f"- command: {command}",)
    literals = ", ".join(f"{{literal: {_text(word)}}}" for word in words)
    return f"- command: {command}", "  syntax: literal", f"  operands: [{literals}]"


def _text(text: str) -> str:
    """A YAML scalar in double quotes: of plain text, JSON's is one (YAML 1.2, 1.3)."""
    return json.dumps(text, ensure_ascii=False)
