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
from typing import Final

from jitsudo.setup.report import Effect, Entry
from jitsudo.types import is_plain_text

STANDING_DAYS: Final = 180
MAX_RULES: Final = 200  # of one role
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")
_HEAD: Final = """\
# What was observed and would break, word by word (jitsudo setup report). Read it, and narrow it: make several lines one rule
# with types (docs: jitsudo-policy(5)), take out what nobody should run. Then: jitsudo policy check, jitsudo policy reload.
version: 1
roles:"""


@dataclass(frozen=True, slots=True)
class _Of:
    """Whose role it is: one a person, target user, and kind of caller."""

    person: str
    run_as: str
    unattended: bool

    @property
    def name(self) -> str:
        words = ["observed", self.person] + ([] if self.run_as == "root" else ["as", self.run_as])
        words += ["unattended"] if self.unattended else []
        return _NOT_IN_NAMES.sub("-", "-".join(words).lower()).strip("-")[:60].strip("-")


def suggest_policy(entries: Iterable[Entry], today: date | None = None) -> str | None:
    """A policy file's text; None where nothing that a rule could help with would break."""
    wanted: dict[_Of, dict[str, tuple[str, ...]]] = {}
    root_equivalent: set[_Of] = set()
    for entry in entries:
        if entry.effect is not Effect.BREAKS or entry.would in ("deny", "refused", "unknown"):
            continue
        of = _Of(entry.person, entry.run_as, entry.is_unattended or entry.caller == "login")
        rule, is_root = _rule(entry)
        if rule:
            wanted.setdefault(of, {})["\n".join(rule)] = rule
            root_equivalent |= {of} if is_root else set()
    if not wanted:
        return None
    until = (today or datetime.now(UTC).date()) + timedelta(days=STANDING_DAYS)
    lines = [_HEAD]
    names: set[str] = set()
    for of, rules in sorted(wanted.items(), key=lambda one: (one[0].person, one[0].run_as, one[0].unattended)):
        name = of.name
        while name in names:
            name += "-2"
        names.add(name)
        lines += _role(of, name, list(rules.values()), until, is_root=of in root_equivalent)
    return "\n".join(lines) + "\n"


def _role(of: _Of, name: str, rules: Sequence[Sequence[str]], until: date, *, is_root: bool) -> Iterator[str]:
    yield f"  {name}:"
    what = "without anybody there to ask" if of.unattended else "at a terminal"
    yield f"    description: {_text(f'What {of.person} ran by sudo as {of.run_as}, {what}')}"
    yield f"    who: [{_text(f'user:{of.person}')}]"
    if of.run_as != "root":
        yield f"    run_as: {{users: [{_text(of.run_as)}]}}"
    if is_root:
        yield "    root_equivalent: true"
    if of.unattended:
        yield f"    request: none\n    until: {until.isoformat()}\n    authenticate: never"
    else:
        yield "    request: {max_duration: 8h, approvals: 0}  # better: approvals: 1, from: [...]"
    yield "    allow:"
    for rule in rules[:MAX_RULES]:
        yield from (f"      {line}" for line in rule)
    if len(rules) > MAX_RULES:
        yield f"      # and {len(rules) - MAX_RULES} more"


def _rule(entry: Entry) -> tuple[tuple[str, ...], bool]:
    """The lines of a rule, none where none can be written; and whether whoever has it is root."""
    if entry.mode in ("shell", "login-shell"):
        return ("# a shell does anything: better to name the commands", "- shell: {intercept: false}"), True
    words = entry.argv[1:]
    if entry.path is None or not is_plain_text(entry.path) or not entry.literal or not all(map(is_plain_text, words)):
        return (), False
    if entry.mode == "edit":
        files = [word for word in words if word.startswith("/")]
        rule = f"- edit: [{{one_of: [{', '.join(map(_text, files))}]}}]"
        return ((rule,) if len(files) == len(words) else ()), False
    if entry.caller == "ansible":
        operands = f"[{{literal: {_text('-c')}}}, any]"
        comment = "# Ansible's become runs anything through a shell"
        return (comment, f"- {{command: {_text(entry.path)}, operands: {operands}}}"), True
    if not words:
        return (f"- command: {_text(entry.path)}",), False
    literals = ", ".join(f"{{literal: {_text(word)}}}" for word in words)
    return (f"- command: {_text(entry.path)}", "  syntax: literal", f"  operands: [{literals}]"), False


def _text(text: str) -> str:
    """A YAML scalar in double quotes: of plain text, JSON's is one (YAML 1.2, 1.3)."""
    return json.dumps(text, ensure_ascii=False)
