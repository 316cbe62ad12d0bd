"""From the nodes of all files to one policy, or to every reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import TypeVar

from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.issues import Issue
from jitsudo.policy.model import Approver, Guardrail, Policy, Principal, Role
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar, Sequence
from jitsudo.policy.parse_people import PeopleReader
from jitsudo.policy.parse_roles import RoleReader
from jitsudo.policy.parse_rules import RuleReader, later
from jitsudo.policy.parse_terms import CalendarLookup, no_calendars
from jitsudo.policy.parse_types import NOTHING
from jitsudo.policy.patterns import Pattern, regex
from jitsudo.policy.reader import MAX_DEPTH, Fields, Reader, unknown
from jitsudo.types import RoleName

_T = TypeVar("_T")
ZoneLookup = Callable[[str], tzinfo | None]

FILE_KEYS = ("version", "timezone", "approvers", "auditors", "redact", "notify", "guardrails", "roles")
# Keys of a file that this version cannot keep: rather than break their promise silently, no role can be used.
_LATER = ("auditors", "notify")


@dataclass(frozen=True, slots=True)
class ParseResult:
    """The policy, or None if any issue is an error; the issues in the order of the files."""

    policy: Policy | None
    issues: tuple[Issue, ...]


def parse(
    files: Iterable[Node],
    zones: ZoneLookup,
    calendars: CalendarLookup = no_calendars,
    grammars: Grammars = NO_GRAMMARS,
) -> ParseResult:
    """Read the root nodes of all files as one policy. Never raises.

    `zones` finds a time zone by its name, `calendars` a calendar's closed days. The policy carries the `grammars`.
    """
    parser = _Parser(zones, calendars, grammars)
    for node in files:
        parser.file(node)
    return parser.result()


class _Parser:
    """What the files said so far."""

    def __init__(self, zones: ZoneLookup, calendars: CalendarLookup, grammars: Grammars) -> None:
        self._zones = zones
        self._calendars = calendars
        self._grammars = grammars
        self._reader = Reader()
        self._people = PeopleReader(self._reader)
        self._rules = RuleReader(self._reader, self._people, grammars)
        self._roles: dict[RoleName, Role] = {}
        self._guardrails: dict[str, Guardrail] = {}
        self._approvers: dict[str, tuple[Pos, Approver]] = {}
        self._auditors: tuple[Principal, ...] = ()
        self._redact: tuple[Pattern, ...] = ()
        self._listed: list[tuple[Pos, str]] = []
        self._later: list[str] = []

    def file(self, node: Node) -> None:
        """Take in one file."""
        if _is_too_deep(node):
            self._reader.error(node.pos, f"nested more than {MAX_DEPTH} levels deep")
            return
        fields = self._reader.fields(node, "a policy file", FILE_KEYS)
        version = fields.need("version")
        if version is not None and not (isinstance(version, Scalar) and version.plain and version.text == "1"):
            self._reader.error(version.pos, "version must be 1")
        self._later += [key for key in _LATER if key in fields]
        self._auditors += fields.read("auditors", lambda at: self._people.principals(at, "auditors"), ())
        self._redact += fields.read("redact", self._patterns, ())
        fields.read("notify", self._notify, None)
        for key, value in self._entries(fields, "approvers"):
            self._add_approver(key, self._people.approver(key, value))
        for key, value in self._entries(fields, "guardrails"):
            self._add_guardrail(key, self._rules.guardrail(key, value))
        self._add_roles(fields)

    def _entries(self, fields: Fields, key: str) -> list[tuple[Scalar, Node]]:
        node = fields.get(key)
        return self._reader.entries(node, key) if node is not None else []

    def _patterns(self, node: Node) -> tuple[Pattern, ...]:
        items = self._reader.items(node, "redact")
        return tuple(self._reader.value(item, "redact", regex, NOTHING) for item in items)

    def _notify(self, node: Node) -> None:
        for _, value in self._reader.entries(node, "notify"):
            self._reader.texts(value, "notify")

    def _add_approver(self, key: Scalar, approver: Approver) -> None:
        """The same name in several files is one human: accounts, keys and teams are united."""
        if approver.name in self._approvers:
            pos, known = self._approvers[approver.name]
            approver = Approver(
                approver.name,
                _united(known.accounts, approver.accounts),
                _united(known.keys, approver.keys),
                _united(known.teams, approver.teams),
            )
            self._approvers[approver.name] = pos, approver
        else:
            self._approvers[approver.name] = key.pos, approver

    def _add_guardrail(self, key: Scalar, guardrail: Guardrail) -> None:
        self._reader.value(key, "a guardrail", RoleName, RoleName("none"))
        if key.text in self._guardrails:
            self._twice("guardrail", key, self._guardrails[key.text].pos)
        self._guardrails[key.text] = guardrail

    def _add_roles(self, fields: Fields) -> None:
        roles = RoleReader(self._reader, self._people, self._rules, self._zone(fields), self._calendars)
        for key, value in self._entries(fields, "roles"):
            role = roles.role(key, value)
            if role.name in self._roles:
                self._twice("role", key, self._roles[role.name].pos)
            self._roles[role.name] = role
        self._listed += roles.guardrails

    def _twice(self, what: str, key: Scalar, first: Pos) -> None:
        self._reader.error(key.pos, f"{what} {key.text!a} exists already, in {first.file}:{first.line}")

    def _zone(self, fields: Fields) -> tuple[str, tzinfo] | None:
        node = fields.get("timezone")
        if node is None:
            return None
        name = self._reader.text(node, "timezone")
        zone = UTC if name == "UTC" else self._zones(name)
        if zone is None:
            self._reader.error(node.pos, f"unknown time zone {name!a} (is tzdata installed?)")
        return (name, zone or UTC)

    def result(self) -> ParseResult:
        """Look up what names what, and close the books."""
        self._check_references()
        self._check_approvers()
        self._check_thresholds()
        issues = tuple(sorted(set(self._reader.issues)))
        if any(issue.severity == "error" for issue in issues):
            return ParseResult(None, issues)
        policy = Policy(
            roles={name: self._with_later(self._roles[name]) for name in sorted(self._roles)},
            guardrails={name: self._guardrails[name] for name in sorted(self._guardrails)},
            approvers={name: self._approvers[name][1] for name in sorted(self._approvers)},
            auditors=self._auditors,
            redact=self._redact,
            grammars=self._grammars,
        )
        return ParseResult(policy, issues)

    def _with_later(self, role: Role) -> Role:
        return replace(role, unsupported=(*role.unsupported, *later("the policy", self._later, "no role can be used")))

    def _check_references(self) -> None:
        teams = {team for _, approver in self._approvers.values() for team in approver.teams}
        for pos, team in self._people.teams:
            if team not in teams:
                self._reader.error(pos, f"nobody under `approvers` is in the team {unknown(team, teams, word='')}")
        for pos, name in self._listed:
            if name not in self._guardrails:
                self._reader.error(pos, f"there is no guardrail {unknown(name, self._guardrails, word='')}")

    def _check_approvers(self) -> None:
        """No account and no key may stand for two people: each would count twice."""
        owners: dict[str, str] = {}
        for name, (pos, approver) in sorted(self._approvers.items()):
            marks = [f"account {account!a}" for account in approver.accounts]
            marks += [f"key {key.key[:48]!a}…" for key in approver.keys]
            for mark, identity in zip(marks, (*approver.accounts, *(key.key for key in approver.keys)), strict=True):
                if identity in owners:
                    self._reader.error(pos, f"approver {name!a}: {mark} stands twice, first under {owners[identity]!a}")
                owners[identity] = name

    def _check_thresholds(self) -> None:
        for role in self._roles.values():
            source = role.request.source if role.request else None
            if role.request is None or source is None or any(p.kind == "group" for p in source.principals):
                continue
            teams = {p.name for p in source.principals if p.kind == "team"}
            users = {p.name for p in source.principals if p.kind == "user"}
            entries = [a for _, a in self._approvers.values() if teams & set(a.teams) or users & set(a.accounts)]
            people = len(entries) + len(users - {str(account) for a in entries for account in a.accounts})
            needed = max(role.request.approvals, len(source.principals) if source.all_of else 0)
            if people < needed:
                self._reader.warning(role.pos, f"role {role.name} needs {needed} approvers, and there are {people}")


def _united(first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return (*first, *(item for item in second if item not in first))


def _is_too_deep(node: Node) -> bool:
    """Checked before anything recurses, level by level."""
    level: list[Node] = [node]
    for _ in range(MAX_DEPTH):
        below: list[Node] = []
        for one in level:
            if type(one) is Mapping:
                below += [child for _, child in one.entries if type(child) is not Scalar]
            elif type(one) is Sequence:
                below += [child for child in one.items if type(child) is not Scalar]
        if not below:
            return False
        level = below
    return True
