"""`jitsudo policy explain`: what a policy says of a command, without a daemon and without looking at this machine."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jitsudo.errors import InvalidValue, NotFound
from jitsudo.offline.cases import THE_GRANT, Case, case_of
from jitsudo.policy.access import role_admits
from jitsudo.policy.explain import Explanation, explain
from jitsudo.policy.model import InlineTest, Policy, Role
from jitsudo.policy.nodes import Pos
from jitsudo.policy.reader import unknown
from jitsudo.types import AbsPath, Person, RoleName, Uid, UserName

_NOWHERE = Pos("command line", 1, 1)


@dataclass(frozen=True, slots=True)
class Question:
    """Who wants to run what. `groups`: those that the person is in; `role`: the one to look at, None for all."""

    user: str
    argv: tuple[str, ...]
    groups: tuple[str, ...] = ()
    role: str | None = None
    run_as: str | None = None
    cwd: str = "/"
    at: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class RoleAnswer:
    """What one role, if it were granted, would say."""

    role: RoleName
    explanation: Explanation


def explain_offline(question: Question, policy: Policy, writable: Sequence[AbsPath] = ()) -> tuple[RoleAnswer, ...]:
    """The answer of each role that is open to the person, as if that role alone were granted.

    Raises NotFound for a role that does not exist, InvalidValue for a question that makes no sense.
    """
    if not question.argv:
        raise InvalidValue("no command was given", "jitsudo policy explain --as USER -- systemctl restart nginx")
    roles = [_named(question.role, policy)] if question.role is not None else list(policy.roles.values())
    answers = []
    for role in roles:
        case = _case(question, role, policy, tuple(writable))
        refused = role_admits(case.action.person, case.policy.roles[role.name], case.policy, case.host, case.now)
        if question.role is None and refused is not None and refused.code == "not-open":
            continue
        answers.append(RoleAnswer(role.name, _explained(case, role.name)))
    return tuple(answers)


def _named(name: str, policy: Policy) -> Role:
    role = next((role for role in policy.roles.values() if role.name == name), None)
    if role is None:
        raise NotFound(f"there is no role {unknown(name, policy.roles, word='')}")
    return role


def _case(question: Question, role: Role, policy: Policy, writable: tuple[AbsPath, ...]) -> Case:
    person = Person(Uid(1000), UserName(question.user), Uid(1000), frozenset(question.groups))
    test = InlineTest(
        run=question.argv,
        expect="allow",
        at=question.at,
        source=question.source,
        cwd=AbsPath(question.cwd),
        pos=_NOWHERE,
    )
    run_as = UserName(question.run_as) if question.run_as is not None else None
    return case_of(test, role, policy, writable, person=person, run_as=run_as)


def _explained(case: Case, role: RoleName) -> Explanation:
    """Only the role in question: of the others, each has an answer of its own."""
    policy = replace(case.policy, roles={role: case.policy.roles[role]})
    found = explain(case.action, policy, case.grants, case.host, case.now, case.world, case.circumstances)
    return Explanation(found.verdict, tuple(_without_grant(line) for line in found.lines))


def _without_grant(line: str) -> str:
    """The grant is made up: nobody holds it."""
    return line.replace(f" (held by grant {THE_GRANT})", "").replace(f", grant {THE_GRANT}", "")


def groups_here(user: str) -> tuple[str, ...]:
    """The groups of an account of this host; none if there is no such account."""
    try:
        account = pwd.getpwnam(user)
        return tuple(grp.getgrgid(gid).gr_name for gid in os.getgrouplist(user, account.pw_gid))
    except (KeyError, OSError, ValueError):
        return ()
