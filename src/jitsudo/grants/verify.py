"""Verifying a grant, in this order, the same at issue, load and use; each step refuses with its number.

     1  size and envelope shape
     2  namespace
     3  signatures over the exact bytes, by keys known here
     4  strict parse
     5  `host` is this host, and in the request's `hosts`
     6  the person: uid, login uid and name all match (a standing grant: uid and name); uid 0 never asks
     7  the role exists, its digest is the approved one, and it still admits the person now
     8  threshold of distinct approvers entitled to this role, the requester excluded
     9  duration within the role's, the request's and every approval's; the window where the request allows it
    10  inside the window by both clocks
    11  not revoked
    12  uses left

The request and the approvals inside go through 1 to 4 themselves, when the grant has passed its own 4. Nothing is
believed before step 3 has passed for the bytes that say it. A callback that raises refuses at its step: what cannot be
established is not so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jitsudo.errors import DocumentRefused, InvalidValue
from jitsudo.grants.envelope import Kind, Namespace, Signature, decode_envelope
from jitsudo.grants.issue import Terms, narrowed
from jitsudo.grants.model import (
    MAX_APPROVAL_BYTES,
    MAX_GRANT_BYTES,
    MAX_REQUEST_BYTES,
    MAX_REVOCATION_BYTES,
    Approval,
    Grant,
    KeyRef,
    Request,
    Revocation,
    Subject,
    digest,
    grant_id,
    parse_approval,
    parse_grant,
    parse_request,
    parse_revocation,
)
from jitsudo.grants.sshsig import parse_sshsig
from jitsudo.types import Digest, GrantId, HostId, Moment, RoleName

T = TypeVar("T")

ASK_AGAIN = "ask again: jitsudo request …"


@dataclass(frozen=True, slots=True)
class SignerIdentity:
    """Whose valid signature it was: a key known here, as that of a host or of a person."""

    kind: Kind
    fingerprint: HostId


# The signer of a valid signature over exactly these bytes in this namespace; None: not valid, or no key known here.
SignatureCheck = Callable[[Namespace, Signature, bytes], SignerIdentity | None]


@dataclass(frozen=True, slots=True)
class RoleTerms:
    """What verification needs to know of a role, as the policy in force has it.

    `approvals` is the threshold, 0 for self-service and standing roles. `until` (Unix seconds) ends a role's grants.
    `admits` says why a person is not admitted now, None if they are. `count_approvers` is given the approvals that may
    count and the requester; it maps them to *people* entitled to this role (one with two keys or accounts is one) and
    answers whether they are enough, with the sentence if not.
    """

    name: RoleName
    digest: Digest
    max_duration: int
    approvals: int
    standing: bool
    until: int | None
    admits: Callable[[Subject], str | None]
    count_approvers: Callable[[tuple[Approval, ...], Subject], tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class Context:
    """This host, this moment (its wall time is the credible one), and what is known here.

    `subject` is who uses the grant; None at issue and load, when there is nobody to compare with and a window that has
    not begun is no reason to refuse. `loaded_at` is when the grant was issued or loaded, in this boot: the boot clock
    runs from there.
    """

    host: HostId
    now: Moment
    loaded_at: Moment
    subject: Subject | None
    check_signature: SignatureCheck
    roles: Callable[[RoleName], RoleTerms | None]
    revoked: Callable[[Digest], bool]
    uses: Callable[[Digest], int]


@dataclass(frozen=True, slots=True)
class VerifiedGrant:
    """A grant that has passed every step, for the moment and the subject of its context and no longer.

    `uses_left` None is unlimited.
    """

    id: GrantId
    digest: Digest
    grant: Grant
    request: Request
    approvals: tuple[Approval, ...]
    role: RoleTerms
    uses_left: int | None


def verify_grant(raw: bytes, context: Context) -> VerifiedGrant:
    """The grant in `raw`, an encoded envelope; raises `DocumentRefused`."""
    payload = _signed_bytes(raw, Namespace.GRANT, MAX_GRANT_BYTES, context.host, context.check_signature)
    grant = _parsed(parse_grant, payload)
    request = verify_request(grant.request.encode(), context.host, context.check_signature)
    approvals = tuple(verify_approval(a.encode(), context.host, context.check_signature) for a in grant.approvals)
    _check_host(grant, request, context)
    role = _ask(7, context.roles, request.role)
    _check_person(request, role, context)
    role = _check_role(request, role, context)
    _check_threshold(grant, request, approvals, role)
    terms = narrowed(request, approvals)
    _check_duration(grant, request, terms, role)
    _check_clocks(grant, context)
    name = digest(payload)
    # (11)
    if _ask(11, context.revoked, name) is not False:
        raise DocumentRefused(11, "the grant was revoked", ASK_AGAIN)
    uses_left = _uses_left(terms, _ask(12, context.uses, name))
    return VerifiedGrant(grant_id(payload), name, grant, request, approvals, role, uses_left)


def verify_request(raw: bytes, host: HostId, check_signature: SignatureCheck) -> Request:
    """The request in `raw`, recorded and signed by this host: steps 1 to 4. It is not judged."""
    return _parsed(parse_request, _signed_bytes(raw, Namespace.REQUEST, MAX_REQUEST_BYTES, host, check_signature))


def verify_approval(raw: bytes, host: HostId, check_signature: SignatureCheck) -> Approval:
    """The approval in `raw`, by a person whom this host authenticated: steps 1 to 4. Whether it counts is step 8."""
    approval = _parsed(
        parse_approval, _signed_bytes(raw, Namespace.APPROVAL, MAX_APPROVAL_BYTES, host, check_signature)
    )
    if isinstance(approval.approver, KeyRef):
        # The host's signature says whom the host identified; a key is something that it cannot have seen.
        raise DocumentRefused(4, "ssh approvals are not supported by this version")
    return approval


def verify_revocation(raw: bytes, host: HostId, check_signature: SignatureCheck) -> Revocation:
    """The revocation in `raw`, signed by this host: steps 1 to 4."""
    return _parsed(
        parse_revocation, _signed_bytes(raw, Namespace.REVOCATION, MAX_REVOCATION_BYTES, host, check_signature)
    )


def _signed_bytes(raw: bytes, namespace: Namespace, most: int, host: HostId, check_signature: SignatureCheck) -> bytes:
    """The payload of the envelope `raw`, signed by this host's key and by no key that is unknown here."""
    # (1)
    try:
        envelope = decode_envelope(raw, most)
    except InvalidValue as error:
        raise DocumentRefused(1, error.sentence, error.hint) from error
    # (2)
    for signature in envelope.signatures:
        if _namespace(signature) != namespace:
            raise DocumentRefused(2, f"a signature is not one for {namespace}: this is another type of document")
    # (3)
    signers = [_signer(namespace, s, envelope.payload, check_signature) for s in envelope.signatures]
    if len({signer.fingerprint for signer in signers}) != len(signers):
        raise DocumentRefused(3, "a document is signed twice by the same key")
    if SignerIdentity(Kind.HOST, host) not in signers:
        raise DocumentRefused(3, "a document is not signed by this host")
    return envelope.payload


def _namespace(signature: Signature) -> str:
    try:
        return parse_sshsig(signature.armoured).namespace
    except InvalidValue as error:
        raise DocumentRefused(2, error.sentence, error.hint) from error


def _signer(namespace: Namespace, signature: Signature, payload: bytes, check: SignatureCheck) -> SignerIdentity:
    if signature.kind is Kind.SSH:
        raise DocumentRefused(3, f"ssh {namespace.split('-')[1]}s are not supported by this version")
    signer = _ask(3, check, namespace, signature, payload)
    if signer is None:
        raise DocumentRefused(3, "a signature is not valid, or not by a key known here")
    if signer.kind is not signature.kind:
        raise DocumentRefused(3, "a signature claims to be of another kind than its key")
    return signer


def _parsed(parse: Callable[[bytes], T], payload: bytes) -> T:
    # (4)
    try:
        return parse(payload)
    except InvalidValue as error:
        raise DocumentRefused(4, error.sentence, error.hint) from error


def _check_host(grant: Grant, request: Request, context: Context) -> None:
    # (5)
    if grant.host != context.host:
        raise DocumentRefused(5, "the grant is for another host")
    if all(host.id != context.host for host in request.hosts):
        raise DocumentRefused(5, "the request is for other hosts", ASK_AGAIN)


def _check_person(request: Request, role: RoleTerms | None, context: Context) -> None:
    # (6)
    person, subject = request.person, context.subject
    if person.uid == 0:
        raise DocumentRefused(6, "uid 0 can hold no grant")
    if subject is None:
        return
    if (subject.uid, subject.name) != (person.uid, person.name):
        raise DocumentRefused(6, f"the grant is {person.name}'s, not {subject.name}'s")
    # Cron jobs and agents have whatever login uid started them. A role that is unknown is refused at 7.
    standing = role is not None and role.standing
    if not standing and subject.login_uid != person.login_uid:
        raise DocumentRefused(6, "the grant was asked for from a login of somebody else's", "log in as yourself and ask")


def _check_role(request: Request, role: RoleTerms | None, context: Context) -> RoleTerms:
    # (7)
    if role is None or role.name != request.role:
        raise DocumentRefused(7, f"the role {request.role} does not exist any more", "jitsudo roles")
    if role.digest != request.role_digest:
        raise DocumentRefused(7, f"the role {request.role} has changed since it was asked for", ASK_AGAIN)
    if role.until is not None and context.now.wall >= role.until:
        raise DocumentRefused(7, f"the role {request.role} has ended")
    why_not = _ask(7, role.admits, context.subject or request.person)
    if why_not is not None:
        raise DocumentRefused(7, why_not)
    return role


def _check_threshold(grant: Grant, request: Request, approvals: tuple[Approval, ...], role: RoleTerms) -> None:
    # (8)
    asked = digest(grant.request.payload)
    if any(approval.request != asked for approval in approvals):
        raise DocumentRefused(8, "an approval is of another request")
    if role.standing and role.approvals:
        raise DocumentRefused(8, f"the role {role.name} is standing and asks for approvals: it cannot be both")
    if role.approvals < 0:
        raise DocumentRefused(8, f"the role {role.name} has no threshold")
    if role.approvals == 0:
        return
    counted: list[Approval] = []
    taken = _identities(request.person)
    for approval in approvals:
        identities = _approver_identities(approval)
        # By uid, login uid and name: one that the requester, or who was counted before, is behind is not another person.
        if identities is not None and not identities & taken:
            counted.append(approval)
            taken |= identities
    enough, why_not = _ask(8, role.count_approvers, tuple(counted), request.person)
    if enough is not True:
        raise DocumentRefused(8, why_not or "the approvals are not enough")
    # Whatever the count of people says: there cannot be more of them than approvals.
    if len(counted) < role.approvals:
        raise DocumentRefused(8, f"{len(counted)} of {role.approvals} approvals by distinct people other than the requester")


def _identities(subject: Subject) -> frozenset[int | str]:
    found: frozenset[int | str] = frozenset((int(subject.uid), str(subject.name)))
    return found if subject.login_uid is None else found | {int(subject.login_uid)}


def _approver_identities(approval: Approval) -> frozenset[int | str] | None:
    """Who an approver is, None if nobody: uid 0, by itself or by its login, and a caller without a login, never approve."""
    if isinstance(approval.approver, KeyRef) or not approval.approver.uid or not approval.approver.login_uid:
        return None
    return _identities(approval.approver)


def _check_duration(grant: Grant, request: Request, terms: Terms, role: RoleTerms) -> None:
    # (9)
    if request.duration > role.max_duration:
        raise DocumentRefused(9, f"the request is for longer than the role {role.name} allows", ASK_AGAIN)
    if grant.not_after - grant.not_before > terms.duration:
        raise DocumentRefused(9, "the window is longer than what was asked for and approved")
    if grant.not_before > request.activate_by:
        raise DocumentRefused(9, "the window begins after the request had lapsed")
    if grant.not_before < max(request.created, request.not_before or 0):
        raise DocumentRefused(9, "the window begins before the request allows")
    if role.until is not None and grant.not_after > role.until:
        raise DocumentRefused(9, f"the window ends after the role {role.name} does")


def _check_clocks(grant: Grant, context: Context) -> None:
    # (10)
    now, loaded = context.now, context.loaded_at
    if now.wall >= grant.not_after:
        raise DocumentRefused(10, "the grant has expired", ASK_AGAIN)
    if context.subject is not None and now.wall < grant.not_before:
        raise DocumentRefused(10, f"the grant begins in {grant.not_before - now.wall} s")
    elapsed = now.boot - loaded.boot
    # A wall clock that was set back does not make the window longer; `not >=` refuses NaN too.
    if not elapsed >= 0 or not elapsed < grant.not_after - loaded.wall:
        raise DocumentRefused(10, "the grant has expired by the time since it was loaded", ASK_AGAIN)


def _uses_left(terms: Terms, used: int) -> int | None:
    # (12)
    if terms.uses is None:
        return None
    if used < 0 or used >= terms.uses:
        raise DocumentRefused(12, "the grant is used up", ASK_AGAIN)
    return terms.uses - used


def _ask(step: int, ask: Callable[..., T], *args: object) -> T:
    try:
        return ask(*args)
    except DocumentRefused:
        raise
    except Exception as error:  # whatever it is, it is not a yes; the cause is kept for operators
        raise DocumentRefused(step, f"step {step} of verifying a document could not be carried out") from error
