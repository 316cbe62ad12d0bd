"""What decisions look up, made once a policy: a decision's cost must not grow with roles that are not the person's.

By person: which roles name them, their groups or their teams. By program: which roles have a rule about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from jitsudo.policy.model import Policy, Principal, Role
from jitsudo.policy.paths import other_spelling
from jitsudo.policy.rules import CommandRule, EditRule, Rule, ShellRule
from jitsudo.policy.verdict import Action
from jitsudo.types import AbsPath, Person, RoleName

K = TypeVar("K")
_EDIT, _SHELL = "edit", "shell"


@dataclass(frozen=True, slots=True)
class Index:
    """The look-ups of one policy. `by_program` has paths as its keys, and `edit` and `shell`."""

    by_who: Mapping[Principal, frozenset[RoleName]]
    by_program: Mapping[str, frozenset[RoleName]]

    def admitting(self, person: Person, policy: Policy) -> Iterator[Role]:
        """The roles whose `who` names the person, by name."""
        return (policy.roles[name] for name in sorted(self._open_to(person, policy)))

    def helpful(self, person: Person, action: Action, policy: Policy) -> Iterator[Role]:
        """Those of them that have a rule about the action's program, or of its kind, by name."""
        mine = self._open_to(person, policy)
        names = {name for key in _keys(action) if key in self.by_program for name in mine & self.by_program[key]}
        return (policy.roles[name] for name in sorted(names))

    def _open_to(self, person: Person, policy: Policy) -> frozenset[RoleName]:
        entry = policy.approver_of(person.name)
        principals = [Principal("user", person.name), *(Principal("group", group) for group in person.groups)]
        principals += [Principal("team", team) for team in (entry.teams if entry else ())]
        found = [self.by_who[principal] for principal in principals if principal in self.by_who]
        return found[0].union(*found[1:]) if found else frozenset()


def index_of(policy: Policy) -> Index:
    """The policy's index, made at the first use and kept beside it."""
    for compiled in policy.compiled:
        if isinstance(compiled, Index):
            return compiled
    index = _build(policy)
    policy.compiled.append(index)
    return index


def _build(policy: Policy) -> Index:
    by_who: dict[Principal, set[RoleName]] = {}
    by_program: dict[str, set[RoleName]] = {}
    for role in policy.roles.values():
        for principal in role.who:
            by_who.setdefault(principal, set()).add(role.name)
        for rule in role.rules:
            by_program.setdefault(_key(rule), set()).add(role.name)
    return Index(_frozen(by_who), _frozen(by_program))


def _frozen(sets: dict[K, set[RoleName]]) -> dict[K, frozenset[RoleName]]:
    return {key: frozenset(names) for key, names in sets.items()}


def _key(rule: Rule) -> str:
    if isinstance(rule, CommandRule):
        return rule.command
    return _EDIT if isinstance(rule, EditRule) else _SHELL


def _keys(action: Action) -> tuple[str, ...]:
    if action.mode != "command":
        return (_EDIT if action.mode == "edit" else _SHELL,)
    return _spellings(action.path) if action.path is not None else ()


def _spellings(path: AbsPath) -> tuple[str, ...]:
    other = other_spelling(path)
    return (path, other) if other is not None else (path,)


def rules_about(action: Action, role: Role) -> list[Rule]:
    """The role's rules that can match at all: of the action's kind and, for commands, about a program of that path."""
    if action.mode == "command":
        paths = _keys(action)
        return [rule for rule in role.rules if isinstance(rule, CommandRule) and rule.command in paths]
    kind = EditRule if action.mode == "edit" else ShellRule
    return [rule for rule in role.rules if isinstance(rule, kind)]
