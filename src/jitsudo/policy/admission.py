"""May this person come in: through su, a login or another PAM service, by a role with `access`?

1 live grants · 2 those whose role names the service · 3 the role's person, host, hours and source · 4 the target user · 5 of
those that admit, the one that costs least. Guardrails are about commands and have no say here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from jitsudo.policy.access import may_request, role_admits
from jitsudo.policy.conditions import refuses_use
from jitsudo.policy.evaluate import MAX_HINTS, MAX_SUGGESTIONS, request_line
from jitsudo.policy.index import index_of
from jitsudo.policy.issues import shown
from jitsudo.policy.model import Authentication, Policy, Role
from jitsudo.policy.verdict import Deny, DenyCode, ExpiryTerms, HeldGrant, Host, LimitTerms, Source
from jitsudo.types import GrantId, Moment, Person, RoleName, UserName

# Services that are one under two names: what a role says of the one holds for the other.
ALIASES = {"su-l": "su", "runuser-l": "runuser", "sudo-i": "sudo"}
# Those that somebody who is logged in calls to become somebody else. All others let somebody in.
CALLED = frozenset({"su", "sudo", "doas", "runuser"})

_TELLING: tuple[DenyCode, ...] = ("run-as", "hours", "source", "unsupported", "error", "not-open", "not-covered")


def service_named(name: str) -> str:
    """The name under which roles know a PAM service."""
    return ALIASES.get(name, name)


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who wants in, through which PAM service, as whom.

    `user` is None while it is not known yet: sudo-rs and doas name the target user to PAM only when the session begins.
    """

    person: Person
    service: str
    user: UserName | None

    @property
    def is_login(self) -> bool:
        """Whether the person logs in as themselves, which is no other user's access."""
        return service_named(self.service) not in CALLED and self.user == self.person.name


@dataclass(frozen=True, slots=True)
class Admitted:
    """May come in, on these terms."""

    grant: GrantId
    role: RoleName
    authenticate: Authentication
    on_expiry: ExpiryTerms
    uses_limited: bool
    limits: tuple[LimitTerms, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    entrance: Entrance
    policy: Policy
    host: Host
    now: Moment
    source: Source


def admit(
    entrance: Entrance, policy: Policy, grants: Sequence[HeldGrant], host: Host, now: Moment, source: Source
) -> Admitted | Deny:
    """Decide. Never raises: what raises inside denies, and stands in `faults` for operators."""
    try:
        return _admit(_Case(entrance, policy, host, now, source), grants)
    except Exception as error:  # noqa: BLE001  whatever goes wrong in here, nobody comes in
        return Deny("error", "the policy could not be evaluated", faults=(repr(error),))


def _admit(case: _Case, grants: Sequence[HeldGrant]) -> Admitted | Deny:
    person, roles = case.entrance.person, case.policy.roles
    # (1)
    live = [g for g in grants if case.now.wall < g.not_after and (g.uses_left is None or g.uses_left > 0)]
    live = sorted((g for g in live if g.role in roles), key=lambda g: g.id)
    if not live:
        return Deny("no-grant", f"{person.name} holds no grant on this host", _hints(case, ()))
    # (2) (3) (4)
    looked_at = [(g, _refusal(case, roles[g.role], g.run_as, g.approvals)) for g in live]
    admitting = [g for g, refused in looked_at if refused is None]
    if admitting:
        # (5)
        grant = min(admitting, key=lambda g: (g.uses_left is not None, -g.not_after, g.id))
        return _admitted(grant, roles[grant.role])
    best = min((refused for _, refused in looked_at if refused is not None), key=lambda deny: _TELLING.index(deny.code))
    held = tuple(sorted({g.role for g in live}))
    if best.code == "not-covered":
        best = replace(best, message=f"no grant of {person.name} ({', '.join(held)}) is for {_subject(case.entrance)}")
    return replace(best, hints=(*best.hints, *_hints(case, held)))


def _refusal(case: _Case, role: Role, run_as: Sequence[UserName], approvals: int) -> Deny | None:
    """Why the role, held like this, does not admit; None if it does."""
    entrance = case.entrance
    if service_named(entrance.service) not in {service_named(name) for name in role.services}:
        return Deny("not-covered", f"role {role.name} is not for {_subject(entrance)}", role=role.name)
    if refused := role_admits(entrance.person, role, case.policy, case.host, case.now):
        return refused
    if refused := refuses_use(role, case.now, case.source, approvals):
        return refused
    if entrance.is_login:
        return None
    users = [user for user in role.run_as.users if user in run_as]
    if not users or (entrance.user is not None and entrance.user not in users):
        allowed, wanted = " or ".join(users) or "nobody here", entrance.user or "anybody"
        return Deny("run-as", f"role {role.name} is for {allowed}, not for {wanted}", role=role.name)
    return None


def _admitted(grant: HeldGrant, role: Role) -> Admitted:
    return Admitted(
        grant=grant.id,
        role=role.name,
        authenticate=role.authenticate,
        on_expiry=ExpiryTerms(role.on_expiry.shells, int(role.on_expiry.grace)),
        uses_limited=grant.uses_left is not None,
        limits=(LimitTerms(f"role {role.name}", role.limits),) if role.limits else (),
    )


def _subject(entrance: Entrance) -> str:
    if entrance.is_login or entrance.user is None:
        return shown(entrance.service)
    return f"{shown(entrance.service)} to {entrance.user}"


def _hints(case: _Case, held: tuple[RoleName, ...]) -> tuple[str, ...]:
    return tuple(request_line(role) for role in islice(_helpful(case, held), MAX_HINTS))


def _helpful(case: _Case, held: tuple[RoleName, ...]) -> Iterator[Role]:
    """Roles that this person may ask for now, and that would admit them."""
    person = case.entrance.person
    mine = (role for role in index_of(case.policy).admitting(person, case.policy) if role.services and role.name not in held)
    for role in islice(mine, MAX_SUGGESTIONS):
        if role.standing or may_request(person, role, case.policy, case.host, case.now, case.source) is not None:
            continue
        if _refusal(case, role, role.run_as.users, role.when.otherwise_approvals or 0) is None:
            yield role
