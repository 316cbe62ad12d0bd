"""Who may ask for a role, whose approval counts, and when there are enough of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from jitsudo.policy.conditions import approvals_needed, refuses_asking
from jitsudo.policy.index import index_of
from jitsudo.policy.model import MAX_STANDING_SECONDS, ApprovalSource, Approver, HostSelector, Policy, Principal, Role
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Deny, Host, Source
from jitsudo.types import Moment, Person, UserName

__all__ = [
    "ApproverId",
    "approvals_needed",
    "approvals_satisfied",
    "may_approve",
    "may_request",
    "role_admits",
    "roles_open_to",
    "standing_roles_of",
]


@dataclass(frozen=True, slots=True)
class ApproverId:
    """One distinct human: an entry's name under `approvers:`, or `user:bob` for an account that has none.

    `principals` are those of the role's `from` for which this approval counts.
    """

    name: str
    principals: frozenset[Principal] = field(default=frozenset(), compare=False)

    def __str__(self) -> str:
        return self.name


def admits(principal: Principal, name: str, groups: frozenset[str], policy: Policy) -> bool:
    """Whether a principal covers the account `name` with these groups."""
    if principal.kind == "user":
        return name == principal.name
    if principal.kind == "group":
        return principal.name in groups
    entry = policy.approver_of(name)
    return entry is not None and principal.name in entry.teams


def selects(selector: HostSelector, host: Host) -> bool:
    """Whether a role's `hosts` covers this host."""
    named = not selector.names or any(pattern.matches(host.name) for pattern in selector.names)
    return named and all(host.labels.get(label) in values for label, values in selector.labels)


def role_admits(person: Person, role: Role, policy: Policy, host: Host, now: Moment) -> Deny | None:
    """What role, person, host and date say whatever the action; None if nothing speaks against it."""
    if role.unsupported:
        return Deny("unsupported", role.unsupported[0], role=role.name)
    if not any(admits(principal, person.name, person.groups, policy) for principal in role.who):
        return Deny("not-open", f"role {role.name} is not open to {person.name}", role=role.name)
    if not selects(role.hosts, host):
        return Deny("not-open", f"role {role.name} is not for this host ({host.name})", role=role.name)
    if role.until is not None and now.wall >= role.until:
        return Deny("not-open", f"role {role.name} is over: its `until` has passed", role=role.name)
    if role.standing and role.until is not None and role.until - now.wall > MAX_STANDING_SECONDS:
        return Deny("not-open", f"role {role.name}: its `until` is more than 400 days ahead", role=role.name)
    return None


def may_request(
    person: Person, role: Role, policy: Policy, host: Host, now: Moment, source: Source = UNKNOWN_SOURCE
) -> Deny | None:
    """Whether this person may ask for this role here, now, and from there; None if so. `approvals_needed` says at what
    price."""
    if person.uid == 0:
        return Deny("root", "root does not ask for roles", role=role.name)
    if refused := role_admits(person, role, policy, host, now):
        return refused
    if role.request is None:
        return Deny("standing", f"role {role.name} is standing: nobody asks for it, just use it", role=role.name)
    return None if role.when.otherwise_approvals is not None else refuses_asking(role, now, source)


def roles_open_to(
    person: Person, policy: Policy, host: Host, now: Moment, source: Source = UNKNOWN_SOURCE
) -> tuple[Role, ...]:
    """The roles that this person may ask for now, by name."""
    roles = index_of(policy).admitting(person, policy)
    return tuple(role for role in roles if may_request(person, role, policy, host, now, source) is None)


def standing_roles_of(person: Person, policy: Policy, host: Host, now: Moment) -> tuple[Role, ...]:
    """The standing roles that this person has now, by name: the host makes their grants itself."""
    if person.uid == 0:
        return ()
    roles = index_of(policy).admitting(person, policy)
    return tuple(role for role in roles if role.standing and role_admits(person, role, policy, host, now) is None)


def may_approve(
    approver: Person,
    requester: Person,
    role: Role,
    policy: Policy,
    *,
    login_name: UserName | None,
    requester_login_name: UserName | None,
) -> ApproverId | Deny:
    """Whether the approval that `approver` gives on this host counts, and as whose.

    `login_name` and `requester_login_name` are the user database's names of the two login uids; None where the login uid
    is unset or has no account.
    """

    def no(why: str) -> Deny:
        return Deny("not-approver", f"{approver.name} cannot approve this: {why}", role=role.name)

    if approver.uid == 0 or approver.login_uid == 0:
        return Deny("root", "root does not approve requests", role=role.name)
    if approver.login_uid is None:
        return no("it is not known who logged in")
    if role.unsupported:
        return Deny("unsupported", role.unsupported[0], role=role.name)
    if role.request is None or role.request.source is None:
        return no("nobody approves this role")
    entry = policy.approver_of(approver.name)
    if approver.login_uid != approver.uid and not (entry and login_name in entry.accounts):
        return no("the person who logged in is somebody else")
    if _same_human(approver, requester, requester_login_name, entry):
        return no("requests are never approved by the person who made them")
    if requester.login_uid not in (None, requester.uid) and requester_login_name is None:
        return no("it is not known who is behind the request")
    if entry and entry.keys and role.request.approve_with != "password":
        return no(f"{entry.name} has keys enrolled, so a password does not count; keys are not supported yet")
    held = frozenset(p for p in role.request.source.principals if _speaks_for(p, approver, entry))
    if not held:
        return no("the role asks for " + _sources(role.request.source))
    return ApproverId(entry.name if entry else f"user:{approver.name}", held)


def _speaks_for(principal: Principal, approver: Person, entry: Approver | None) -> bool:
    """Whether this person's approval counts for this principal."""
    if principal.kind == "user":
        return principal.name == approver.name
    if principal.kind == "group":
        return principal.name in approver.groups
    return entry is not None and principal.name in entry.teams


def _same_human(
    approver: Person, requester: Person, requester_login: UserName | None, entry: Approver | None
) -> bool:
    """By uid, by login uid, by name, or by an entry under `approvers:` that unites their accounts."""
    requester_uids = {requester.uid, requester.login_uid} - {None}
    if {approver.uid, approver.login_uid} & requester_uids:
        return True
    names = {requester.name} if requester_login is None else {requester.name, requester_login}
    return approver.name in names or (entry is not None and not names.isdisjoint(entry.accounts))


def _sources(source: ApprovalSource) -> str:
    return (" and " if source.all_of else " or ").join(str(p) for p in source.principals)


def approvals_satisfied(role: Role, approvers: Iterable[ApproverId], needed: int | None = None) -> bool:
    """Whether these approvals are enough: enough distinct people and, for `all_of`, a different one for each principal.

    `needed`: what `approvals_needed` said when the request was made, if that is more than the role's own number.
    """
    terms = role.request
    if terms is None:
        return False
    needed = max(terms.approvals, needed or 0)
    people: dict[str, frozenset[Principal]] = {}
    for one in approvers:
        people[one.name] = people.get(one.name, frozenset()) | one.principals
    if terms.source is None:
        return needed == 0
    people = {name: held & frozenset(terms.source.principals) for name, held in people.items()}
    people = {name: held for name, held in people.items() if held}
    if len(people) < needed:
        return False
    return not terms.source.all_of or needed == 0 or _each_by_another(terms.source.principals, people)


def _each_by_another(principals: tuple[Principal, ...], people: dict[str, frozenset[Principal]]) -> bool:
    """Whether every principal can be given a person of its own (augmenting paths: Kuhn 1955)."""
    given: dict[str, Principal] = {}

    def give(principal: Principal, tried: set[str]) -> bool:
        for name, held in people.items():
            if principal in held and name not in tried:
                tried.add(name)
                if name not in given or give(given[name], tried):
                    given[name] = principal
                    return True
        return False

    return all(give(principal, set()) for principal in principals)
