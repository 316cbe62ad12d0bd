"""Makes and verifies documents on this host: requests, approvals, grants, revocations, signed with the host's key."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from jitsudo.crypto import verify_sshsig
from jitsudo.daemon.people import LookedUp, Who, who_is_there
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import Denied, DocumentRefused, InvalidValue
from jitsudo.grants.envelope import Envelope, Kind, Namespace, Signature
from jitsudo.grants.issue import build_grant
from jitsudo.grants.lifecycle import GrantRecord, RequestRecord, State
from jitsudo.grants.model import (
    NONCE_BYTES,
    Approval,
    HostRef,
    Request,
    Revocation,
    Subject,
    digest,
    grant_id,
    new_nonce,
    parse_approval,
    parse_grant,
    parse_request,
)
from jitsudo.grants.verify import Context, RoleTerms, SignerIdentity, VerifiedGrant, verify_grant
from jitsudo.host.accounts import Accounts
from jitsudo.host.ledger import Entry
from jitsudo.policy.access import ApproverId, approvals_satisfied, may_approve, role_admits, standing_roles_of
from jitsudo.policy.digest import role_digest
from jitsudo.policy.model import Policy, Role
from jitsudo.policy.verdict import Deny, HeldGrant
from jitsudo.types import (
    MAX_DURATION_SECONDS,
    Account,
    Digest,
    Duration,
    GrantId,
    Moment,
    Person,
    Reason,
    RoleName,
    Uid,
    UserName,
)

log = logging.getLogger("jitsudod")
STANDING_REASON: Final = Reason("standing role")
Known = Mapping[Who, Person]
NOBODY: Final[LookedUp] = {}


class Granting:
    """The host as signer and verifier."""

    def __init__(self, state: DaemonState) -> None:
        self._state = state
        self._key = state.identity.key
        self._host = state.identity.key.fingerprint
        self._digests_of: Policy | None = None
        self._digests: dict[RoleName, Digest] = {}
        # The same bytes under the same signature stay valid: what is looked at again at each use is everything else.
        self._check_signature = lru_cache(maxsize=4096)(self._signer)

    def sign(self, namespace: Namespace, payload: bytes) -> Envelope:
        return Envelope(payload, (self._key.signature(namespace, payload),))

    def _signer(self, namespace: Namespace, signature: Signature, payload: bytes) -> SignerIdentity | None:
        try:
            key = verify_sshsig(signature.armoured, namespace, payload)
        except InvalidValue:
            return None
        return SignerIdentity(Kind.HOST, self._host) if key.fingerprint == self._host else None

    # Making.

    def request(
        self, person: Person, role: Role, now: Moment, duration: Duration, reason: Reason, uses: int | None
    ) -> Envelope:
        """A request for a role on this host, signed as recorded here."""
        expires = role.request.expires_after if role.request is not None else duration
        request = Request(
            nonce=new_nonce(secrets.token_bytes(NONCE_BYTES)),
            role=role.name,
            role_digest=self._role_digest(role),
            person=Subject.of(person),
            hosts=(HostRef(self._host, self._state.host.name),),
            run_as=role.run_as.users,
            duration=duration,
            activate_by=now.wall + expires,
            not_before=None,
            uses=uses,
            reason=reason,
            created=now.wall,
        )
        return self.sign(Namespace.REQUEST, request.payload())

    def approval(self, request: RequestRecord, by: Person, now: Moment, max_duration: Duration | None, note: str) -> Envelope:
        """The approval of a person whom this host has just authenticated."""
        approval = Approval(
            request=digest(request.envelope.payload),
            approver=Subject.of(by),
            max_duration=min(request.request.duration, max_duration or request.request.duration),
            max_uses=None,
            note=note,
            created=now.wall,
        )
        return self.sign(Namespace.APPROVAL, approval.payload())

    def revocation(self, grant: GrantRecord, by: Person, now: Moment, reason: Reason) -> Envelope:
        payload = Revocation(grant.digest, Subject.of(by), reason, now.wall).payload()
        return self.sign(Namespace.REVOCATION, payload)

    async def issue(self, request: RequestRecord, now: Moment) -> Entry:
        """The event of the grant that the request has earned; the grant is verified as any other. Raises DocumentRefused."""
        approvals = tuple(envelope for _, envelope, _ in request.approvals)
        envelope = self.sign(Namespace.GRANT, build_grant(request.envelope, approvals, now, self._host).payload())
        approvers = tuple(str(approver) for _, _, approver in request.approvals)
        needed = self._state.approvals_needed(request.id)
        return await self._issued(envelope, now, approvers, standing=False, request=request.id, needed=needed)

    async def _issued(
        self, envelope: Envelope, now: Moment, approvers: tuple[str, ...], *, standing: bool, request: str, needed: int = 0
    ) -> Entry:
        known = await self._known(_subjects(envelope), None)
        verified = self._verify(envelope, now, None, known, uses=0, loaded_at=now, needed=needed)
        return self._state.journal.grant_issued(
            grant=grant_id(envelope.payload),
            request=request,
            subject=verified.request.person.as_json(),
            role=verified.role.name,
            window=(verified.grant.not_before, verified.grant.not_after),
            approvers=approvers,
            envelope=envelope.encode().decode("ascii"),
            standing=standing,
        )

    async def issue_standing(self, person: Person, now: Moment) -> None:
        """Make the grants of the standing roles that this person has and holds no live grant of.

        One that was revoked is not made anew: a revocation stands until the role's meaning changes.
        """
        loaded = self._state.require_policy()
        for role in standing_roles_of(person, loaded.policy, self._state.host, now):
            wanted = self._role_digest(role)
            made = (*self._state.live_grants(), *self._state.revoked_standing())
            mine = (g for g in made if g.standing and self._is_of(g, person))
            if any(g.request.role_digest == wanted for g in mine):
                continue
            until = role.until if role.until is not None else now.wall + MAX_DURATION_SECONDS
            duration = Duration(min(until - now.wall, MAX_DURATION_SECONDS))
            request = self.request(person, role, now, duration, STANDING_REASON, None)
            envelope = self.sign(Namespace.GRANT, build_grant(request, (), now, self._host).payload())
            entry = await self._issued(envelope, now, (), standing=True, request="")
            await self._state.record(now, entry)

    @staticmethod
    def _is_of(grant: GrantRecord, person: Person) -> bool:
        return (grant.request.person.uid, grant.request.person.name) == (person.uid, person.name)

    # Verifying.

    def named_in(self, uid: Uid) -> set[Who]:
        """Everybody whom the live grants of this uid name: who has to be looked up to verify them."""
        return _ids(subject for record in self._of(uid) for subject in _subjects(record.envelope))

    def _of(self, uid: Uid) -> list[GrantRecord]:
        return [record for record in self._state.live_grants() if record.request.person.uid == uid]

    async def held_by(
        self, person: Person, now: Moment, looked_up: LookedUp = NOBODY
    ) -> tuple[list[HeldGrant], list[tuple[GrantId, DocumentRefused]]]:
        """The person's live grants, each verified now; and why others of theirs were refused. `looked_up`: just now."""
        held: list[HeldGrant] = []
        refused: list[tuple[GrantId, DocumentRefused]] = []
        mine = self._of(person.uid)
        if not mine:
            return held, refused
        known = await self._known([subject for record in mine for subject in _subjects(record.envelope)], person, looked_up)
        for record in mine:
            try:
                verified = self._verify_record(record, person, known, now)
            except DocumentRefused as error:
                refused.append((record.id, error))
                continue
            held.append(
                HeldGrant(
                    id=verified.id,
                    role=verified.role.name,
                    run_as=verified.request.run_as,
                    not_after=verified.grant.not_after,
                    uses_left=verified.uses_left,
                    standing=verified.role.standing,
                    approvals=len(verified.approvals),
                )
            )
        return held, refused

    async def verify(self, record: GrantRecord, now: Moment) -> VerifiedGrant:
        """The numbered verification of grants/verify.py, as at load. Raises DocumentRefused."""
        return self._verify_record(record, None, await self._known(_subjects(record.envelope), None), now)

    def _verify_record(self, record: GrantRecord, person: Person | None, known: Known, now: Moment) -> VerifiedGrant:
        needed = 0 if record.request_id is None else self._state.approvals_needed(record.request_id)
        return self._verify(record.envelope, now, person, known, record.uses, self._state.loaded_at[record.id], needed)

    async def _known(self, subjects: Iterable[Subject], person: Person | None, looked_up: LookedUp = NOBODY) -> Known:
        """Everybody whom documents name, as the user database has them now, in one look-up at most."""
        known, missing = dict(who_is_there(looked_up)), _ids(subjects) - looked_up.keys()
        if missing:
            known |= await self._state.people.people(missing)
        if person is not None:
            known[person.uid, person.login_uid] = person
        return known

    def _verify(
        self,
        envelope: Envelope,
        now: Moment,
        person: Person | None,
        known: Known,
        uses: int,
        loaded_at: Moment,
        needed: int,
    ) -> VerifiedGrant:
        return verify_grant(
            envelope.encode(),
            Context(
                host=self._host,
                now=now,
                loaded_at=loaded_at,
                subject=None if person is None else Subject.of(person),
                check_signature=self._check_signature,
                roles=lambda name: self._terms(name, now, known, needed),
                revoked=lambda name: self._is_over(grant_id(envelope.payload), name),
                uses=lambda _: uses,
            ),
        )

    def _is_over(self, grant: GrantId, name: Digest) -> bool:
        """Revoked, returned, or ended otherwise; a grant that is just being issued is not in the book yet."""
        record = self._state.book.grants.get(grant)
        return record is not None and (record.digest != name or record.state is not State.ACTIVE)

    def _role_digest(self, role: Role) -> Digest:
        policy = self._state.require_policy().policy
        if policy is not self._digests_of:
            self._digests_of, self._digests = policy, {}
        if role.name not in self._digests:
            self._digests[role.name] = role_digest(policy, role)
        return self._digests[role.name]

    def _terms(self, name: RoleName, now: Moment, known: Known, needed: int) -> RoleTerms | None:
        """`needed`: the approvals that this request needs at least (`otherwise`)."""
        policy = self._state.require_policy().policy
        role = policy.roles.get(name)
        if role is None:
            return None
        terms = role.request

        def admits(subject: Subject) -> str | None:
            person = known.get((subject.uid, subject.login_uid))
            if person is None or person.name != subject.name:
                return f"{subject.name} is not in the user database any more"
            refusal = role_admits(person, role, policy, self._state.host, now)
            return None if refusal is None else refusal.message

        def count(approvals: tuple[Approval, ...], requester: Subject) -> tuple[bool, str]:
            asking = known.get((requester.uid, requester.login_uid))
            if asking is None:
                return False, f"{requester.name} is not in the user database any more"
            answers = (self.counts_as(_by(approval), asking, role, policy, known) for approval in approvals)
            counted = [answer for answer in answers if answer is not None]
            return approvals_satisfied(role, counted, needed), f"{len({a.name for a in counted})} approvals count"

        return RoleTerms(
            name=role.name,
            digest=self._role_digest(role),
            max_duration=MAX_DURATION_SECONDS if terms is None else terms.max_duration,
            approvals=0 if terms is None else max(terms.approvals, needed),
            standing=role.standing,
            until=role.until,
            admits=admits,
            count_approvers=count,
        )

    @staticmethod
    def counts_as(by: Subject | None, requester: Person, role: Role, policy: Policy, known: Known) -> ApproverId | None:
        """As whose an approval counts for this role now; None if it does not."""
        approver = known.get((by.uid, by.login_uid)) if by is not None else None
        if by is None or approver is None or approver.name != by.name:
            return None
        answer = may_approve(
            approver,
            requester,
            role,
            policy,
            login_name=login_name(approver, known),
            requester_login_name=login_name(requester, known),
        )
        return None if isinstance(answer, Deny) else answer

    async def counted(self, request: RequestRecord, role: Role, policy: Policy) -> list[ApproverId]:
        """As whom each approval on record counts now; those that do not are left out."""
        given = [_by(approval) for approval, _, _ in request.approvals]
        known = await self._known([request.request.person, *(s for s in given if s is not None)], None)
        asking = known.get((request.request.person.uid, request.request.person.login_uid))
        if asking is None:
            return []
        answers = [self.counts_as(by, asking, role, policy, known) for by in given]
        return [answer for answer in answers if answer is not None]

    async def approver_accounts(self, request: RequestRecord) -> list[Account]:
        """The accounts of those who are named as approvers of a request, but the requester's own."""
        policy = self._state.require_policy().policy
        role = policy.roles.get(request.request.role)
        if role is None or role.request is None or role.request.source is None:
            return []
        wanted = role.request.source.principals
        teams = {p.name for p in wanted if p.kind == "team"}
        names = {p.name for p in wanted if p.kind == "user"}
        names |= {name for entry in policy.approvers.values() if teams & set(entry.teams) for name in entry.accounts}
        groups = [p.name for p in wanted if p.kind == "group"]

        def look_up(accounts: Accounts) -> list[Account]:
            found = [accounts.by_name(name) for name in sorted(names)]
            found += [member for group in groups for member in accounts.members(group)]
            return [account for account in found if account is not None]

        return [a for a in await self._state.people.ask(look_up) if a.uid != request.request.person.uid]

    def require_role(self, name: str) -> Role:
        """Raises Denied, InvalidValue."""
        role = self._state.require_policy().policy.roles.get(RoleName(name))
        if role is None:
            raise Denied(f"there is no role {name} in the policy in force", "jitsudo roles shows those that are open to you")
        return role


def login_name(person: Person, known: Known) -> UserName | None:
    """The name behind a person's login uid; None where it is unset or has no account."""
    if person.login_uid is None:
        return None
    behind = known.get((person.login_uid, person.login_uid))
    return None if behind is None else behind.name


def _ids(subjects: Iterable[Subject]) -> set[Who]:
    """What to look up to know the subjects, and whose logins they used."""
    wanted: set[Who] = set()
    for subject in subjects:
        wanted.add((subject.uid, subject.login_uid))
        if subject.login_uid is not None:
            wanted.add((subject.login_uid, subject.login_uid))
    return wanted


def _by(approval: Approval) -> Subject | None:
    return approval.approver if isinstance(approval.approver, Subject) else None


def _subjects(envelope: Envelope) -> list[Subject]:
    """The people in a grant; none where it cannot be parsed, which verification then says."""
    try:
        grant = parse_grant(envelope.payload)
        approvers = [_by(parse_approval(a.payload)) for a in grant.approvals]
        return [parse_request(grant.request.payload).person, *(s for s in approvers if s is not None)]
    except InvalidValue:
        return []
