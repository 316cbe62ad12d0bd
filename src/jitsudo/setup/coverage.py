"""Who gets in under the policy, compared with whom sudoers let in: accounts, and the roles that are open to them."""

from __future__ import annotations

import contextlib
import grp
import pwd
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jitsudo.errors import InvalidValue, JitsudoError
from jitsudo.host.accounts import Accounts
from jitsudo.policy.access import ApproverId, approvals_satisfied, may_approve, role_admits
from jitsudo.policy.admission import service_named
from jitsudo.policy.index import index_of
from jitsudo.policy.model import Policy, Role
from jitsudo.policy.verdict import Host
from jitsudo.setup.sudoers import Subject
from jitsudo.types import Moment, Person, Uid, UserName

FIRST_PERSON_UID: Final = 1000  # UID_MIN of login.defs(5), in Debian
NOBODY_UID: Final = 65534
_NO_LOGIN: Final = ("nologin", "false", "sync")


@dataclass(frozen=True, slots=True)
class Coverage:
    """The policy on this host, now; `accounts` says who exists."""

    policy: Policy
    host: Host
    now: Moment
    accounts: Accounts

    def roles_of(self, name: str, service: str | None = None) -> tuple[Role, ...]:
        """The roles that are open to an account, standing ones too, at any hour; with access to `service`, if given."""
        person = self.person(name)
        if person is None or person.uid == 0:
            return ()
        admitting = index_of(self.policy).admitting(person, self.policy)
        mine = (role for role in admitting if role_admits(person, role, self.policy, self.host, self.now) is None)
        return tuple(role for role in mine if service is None or service in map(service_named, role.services))

    def person(self, name: str) -> Person | None:
        """The account, as it would log in."""
        with contextlib.suppress(JitsudoError):
            account = self.accounts.by_name(name)
            return None if account is None else self.accounts.person(account.uid, account.uid)
        return None

    def approvable_by(self, role: Role, requester: Person, approvers: Iterable[Person]) -> bool:
        """Whether those who exist are enough to approve this role for this person."""
        if role.request is None:
            return True
        ids = []
        for approver in approvers:
            login, other = UserName(approver.name), UserName(requester.name)
            answer = may_approve(approver, requester, role, self.policy, login_name=login, requester_login_name=other)
            if isinstance(answer, ApproverId):
                ids.append(answer)
        return approvals_satisfied(role, ids)

    def ways_in(self, candidates: Sequence[Person]) -> Iterator[tuple[Person, Role]]:
        """Who can get which role, with the approval of others among the candidates where it takes one."""
        for person in candidates:
            for role in self.roles_of(person.name):
                if self.approvable_by(role, person, candidates):
                    yield person, role


def candidates(coverage: Coverage) -> list[Person]:
    """Everybody who may matter: those whom the user database lists, and those whom the policy names."""
    names: dict[str, None] = {}
    for entry in pwd.getpwall():
        names[entry.pw_name] = None
    for role in coverage.policy.roles.values():
        for principal in role.who:
            if principal.kind == "user":
                names[principal.name] = None
            elif principal.kind == "group":
                names |= dict.fromkeys(members_of(principal.name))
    for approver in coverage.policy.approvers.values():
        names |= dict.fromkeys(approver.accounts)
    people = (coverage.person(name) for name in names)
    return [person for person in people if person is not None and person.uid != 0]


def members_of(group: str) -> list[str]:
    """The accounts of a group: listed ones, and those that have it as their own."""
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return []
    return [*entry.gr_mem, *(one.pw_name for one in pwd.getpwall() if one.pw_gid == entry.gr_gid)]


def accounts_of(subject: Subject, netgroup: Callable[[str], list[str]]) -> list[str] | None:
    """The accounts that a subject of sudoers stands for; None where that cannot be known here."""
    if subject.is_everybody:
        return people()
    try:
        if subject.kind == "username":
            return [subject.name]
        if subject.kind == "userid":
            return [pwd.getpwuid(Uid.parse(subject.name)).pw_name]
        if subject.kind == "usergroup":
            return members_of(subject.name)
        if subject.kind == "usergid":
            return members_of(grp.getgrgid(int(subject.name)).gr_name)
    except (KeyError, ValueError, InvalidValue):
        return []
    return netgroup(subject.name) if subject.kind == "netgroup" else None


def people() -> list[str]:
    """The accounts of people, as far as the user database lists them: a person's uid, and a shell."""
    return [one.pw_name for one in pwd.getpwall() if _is_a_person(one)]


def _is_a_person(entry: pwd.struct_passwd) -> bool:
    can_log_in = entry.pw_shell.rpartition("/")[2] not in _NO_LOGIN
    return entry.pw_uid >= FIRST_PERSON_UID and entry.pw_uid != NOBODY_UID and can_log_in
