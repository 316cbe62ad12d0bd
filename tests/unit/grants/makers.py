"""A host, four people, and documents that are right in every way, for tests to change one thing about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jitsudo.crypto import HostKey, verify_sshsig
from jitsudo.errors import InvalidValue
from jitsudo.grants.envelope import Envelope, Kind, Namespace, Signature
from jitsudo.grants.issue import build_grant
from jitsudo.grants.model import Approval, Grant, HostRef, KeyRef, Request, Revocation, Subject, digest
from jitsudo.grants.sshsig import fingerprint
from jitsudo.grants.verify import Context, RoleTerms, SignerIdentity
from jitsudo.types import Digest, Duration, HostId, Moment, Reason, RoleName, Uid, UserName

NOW = 1_795_500_000
HOST = HostKey.generate()
OTHER_HOST = HostKey.generate()
KNOWN = {HOST.fingerprint: Kind.HOST, OTHER_HOST.fingerprint: Kind.HOST}

ROLE_DIGEST = Digest("sha256:" + "a" * 64)


def person(uid: int, name: str, login_uid: int | None = -1) -> Subject:
    login = uid if login_uid == -1 else login_uid
    return Subject(Uid(uid), UserName(name), None if login is None else Uid(login))


ALICE, BOB, CAROL, DAVE = person(1000, "alice"), person(1001, "bob"), person(1002, "carol"), person(1003, "dave")
BOB_ADM = person(2001, "bob-adm")
PEOPLE = {"bob": "bob", "bob-adm": "bob", "carol": "carol", "alice-adm": "alice"}


def request(**changes: Any) -> Request:
    fine = Request(
        nonce="0123456789abcdef0123456789abcdef",
        role=RoleName("web-operator"),
        role_digest=ROLE_DIGEST,
        person=ALICE,
        hosts=(HostRef(HOST.fingerprint, "web-01"),),
        run_as=(UserName("root"),),
        duration=Duration(1800),
        activate_by=NOW + 3600,
        not_before=None,
        uses=None,
        reason=Reason("INC-4711 nginx is down"),
        created=NOW - 60,
    )
    return replace(fine, **changes)


def approval(asked: Envelope, approver: Subject | KeyRef = BOB, **changes: Any) -> Approval:
    fine = Approval(digest(asked.payload), approver, Duration(1800), None, "", NOW - 10)
    return replace(fine, **changes)


def revocation(name: Digest) -> Revocation:
    return Revocation(name, BOB, Reason("done with it"), NOW)


def some_host(n: int) -> HostId:
    return fingerprint(bytes([n]))


def sealed(payload: bytes, namespace: Namespace, *keys: HostKey) -> Envelope:
    return Envelope(payload, tuple(key.signature(namespace, payload) for key in keys or (HOST,)))


def sealed_request(**changes: Any) -> Envelope:
    return sealed(request(**changes).payload(), Namespace.REQUEST)


def sealed_approval(asked: Envelope, approver: Subject | KeyRef = BOB, **changes: Any) -> Envelope:
    return sealed(approval(asked, approver, **changes).payload(), Namespace.APPROVAL)


def sealed_grant(grant: Grant, *keys: HostKey) -> Envelope:
    return sealed(grant.payload(), Namespace.GRANT, *keys)


def granted(*approvers: Subject, asked: Envelope | None = None, now: int = NOW) -> Grant:
    """alice's grant, approved by bob unless somebody else is named."""
    asked = asked or sealed_request()
    given = [sealed_approval(asked, approver) for approver in approvers or (BOB,)]
    return build_grant(asked, given, Moment(now, 100.0), HOST.fingerprint)


def check_signature(namespace: Namespace, signature: Signature, payload: bytes) -> SignerIdentity | None:
    try:
        key = verify_sshsig(signature.armoured, namespace, payload)
    except InvalidValue:
        return None
    kind = KNOWN.get(key.fingerprint)
    return None if kind is None else SignerIdentity(kind, key.fingerprint)


def count_people(needed: int) -> Any:
    def count(approvals: tuple[Approval, ...], requester: Subject) -> tuple[bool, str]:
        people = {PEOPLE.get(str(a.approver.name)) for a in approvals if isinstance(a.approver, Subject)}
        people -= {None, PEOPLE.get(requester.name, str(requester.name))}
        return len(people) >= needed, f"{len(people)} of {needed} approvals"

    return count


def role(approvals: int = 1, **changes: Any) -> RoleTerms:
    fine = RoleTerms(
        name=RoleName("web-operator"),
        digest=ROLE_DIGEST,
        max_duration=7200,
        approvals=approvals,
        standing=False,
        until=None,
        admits=lambda _: None,
        count_approvers=count_people(approvals),
    )
    return replace(fine, **changes)


def context(terms: RoleTerms | None = None, **changes: Any) -> Context:
    terms = terms or role()
    fine = Context(
        host=HostId(HOST.fingerprint),
        now=Moment(NOW, 100.0),
        loaded_at=Moment(NOW, 100.0),
        subject=ALICE,
        check_signature=check_signature,
        roles=lambda name: terms if name == terms.name else None,
        revoked=lambda _: False,
        uses=lambda _: 0,
    )
    return replace(fine, **changes)
