"""The documents: what each field means, its exact JSON, and a parser that accepts nothing else.

Every constructor and parser raises `InvalidValue` alone, and `parse_x(payload).payload() == payload` for every payload that a
parser accepts. Times are Unix seconds. Nothing here is verified: that is `grants.verify`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

from jitsudo import strictjson
from jitsudo.errors import InvalidValue
from jitsudo.grants import fields
from jitsudo.grants.envelope import Envelope, envelope_from_json
from jitsudo.types import Digest, Duration, GrantId, HostId, Person, Reason, RequestId, RoleName, SessionId, Uid, UserName

MAX_REQUEST_BYTES = 8 * 1024
MAX_APPROVAL_BYTES = 8 * 1024
MAX_REVOCATION_BYTES = 8 * 1024
MAX_GRANT_BYTES = 64 * 1024
MAX_HOSTS = 64
MAX_RUN_AS = 32
MAX_APPROVALS = 16
PARSED = 256  # documents kept parsed: the same bytes mean the same, and each use of a grant reads all of its own
NONCE_BYTES = fields.NONCE_DIGITS // 2
SESSION_ENTROPY_BYTES = 5

_REQUEST = (
    "v", "nonce", "role", "role_digest", "person", "hosts", "run_as", "duration", "activate_by", "not_before", "uses",
    "reason", "created",
)
_APPROVAL = ("v", "request", "approver", "max_duration", "max_uses", "note", "created")
_GRANT = ("v", "request", "approvals", "not_before", "not_after", "host")
_REVOCATION = ("v", "grant", "by", "reason", "created")


@dataclass(frozen=True, slots=True)
class Subject:
    """A person in a document. `login_uid` None (the audit login uid is unset) matches only None."""

    uid: Uid
    name: UserName
    login_uid: Uid | None

    @classmethod
    def of(cls, person: Person) -> Subject:
        return cls(person.uid, person.name, person.login_uid)

    def as_json(self) -> dict[str, object]:
        return {"uid": self.uid, "name": self.name, "login_uid": self.login_uid}


@dataclass(frozen=True, slots=True)
class KeyRef:
    """An approver named by their SSH key alone."""

    fingerprint: HostId

    def as_json(self) -> dict[str, object]:
        return {"key": self.fingerprint}


@dataclass(frozen=True, slots=True)
class HostRef:
    """A host: the id counts, the name is for people to read."""

    id: HostId
    name: str

    def as_json(self) -> dict[str, object]:
        return {"id": self.id, "name": self.name}


@dataclass(frozen=True, slots=True)
class Request:
    """A person asks for a role; every term is final. `run_as` is the role's, unless narrowed; `uses` None is unlimited.

    The window may start from `not_before` (None: at once) until `activate_by`.
    """

    nonce: str
    role: RoleName
    role_digest: Digest
    person: Subject
    hosts: tuple[HostRef, ...]
    run_as: tuple[UserName, ...]
    duration: Duration
    activate_by: int
    not_before: int | None
    uses: int | None
    reason: Reason
    created: int

    def payload(self) -> bytes:
        """The exact bytes to sign."""
        return _checked(
            {
                "v": 1,
                "nonce": self.nonce,
                "role": self.role,
                "role_digest": self.role_digest,
                "person": self.person.as_json(),
                "hosts": [host.as_json() for host in self.hosts],
                "run_as": list(self.run_as),
                "duration": int(self.duration),
                "activate_by": self.activate_by,
                "not_before": self.not_before,
                "uses": self.uses,
                "reason": self.reason,
                "created": self.created,
            },
            _request,
            MAX_REQUEST_BYTES,
        )


@dataclass(frozen=True, slots=True)
class Approval:
    """An approver's yes to the one request with the digest `request`, with what they narrowed.

    `max_duration` is the request's where nothing was narrowed.
    """

    request: Digest
    approver: Subject | KeyRef
    max_duration: Duration
    max_uses: int | None
    note: str
    created: int

    def payload(self) -> bytes:
        """The exact bytes to sign."""
        return _checked(
            {
                "v": 1,
                "request": self.request,
                "approver": self.approver.as_json(),
                "max_duration": int(self.max_duration),
                "max_uses": self.max_uses,
                "note": self.note,
                "created": self.created,
            },
            _approval,
            MAX_APPROVAL_BYTES,
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """The document that allows: on `host`, from `not_before`, and no more from `not_after` on."""

    request: Envelope
    approvals: tuple[Envelope, ...]
    not_before: int
    not_after: int
    host: HostId

    def payload(self) -> bytes:
        """The exact bytes to sign."""
        return _checked(
            {
                "v": 1,
                "request": self.request.as_json(),
                "approvals": [approval.as_json() for approval in self.approvals],
                "not_before": self.not_before,
                "not_after": self.not_after,
                "host": self.host,
            },
            _grant,
            MAX_GRANT_BYTES,
        )


@dataclass(frozen=True, slots=True)
class Revocation:
    """The grant with the digest `grant` is void."""

    grant: Digest
    by: Subject
    reason: Reason
    created: int

    def payload(self) -> bytes:
        """The exact bytes to sign."""
        return _checked(
            {
                "v": 1,
                "grant": self.grant,
                "by": self.by.as_json(),
                "reason": self.reason,
                "created": self.created,
            },
            _revocation,
            MAX_REVOCATION_BYTES,
        )


@lru_cache(PARSED)
def parse_request(payload: bytes) -> Request:
    """The request whose payload this is."""
    return _canonical(payload, _request(strictjson.parse_object(payload, MAX_REQUEST_BYTES)))


@lru_cache(PARSED)
def parse_approval(payload: bytes) -> Approval:
    """The approval whose payload this is."""
    return _canonical(payload, _approval(strictjson.parse_object(payload, MAX_APPROVAL_BYTES)))


@lru_cache(PARSED)
def parse_grant(payload: bytes) -> Grant:
    """The grant whose payload this is; the documents inside are envelopes still, neither verified nor parsed."""
    return _canonical(payload, _grant(strictjson.parse_object(payload, MAX_GRANT_BYTES)))


def parse_revocation(payload: bytes) -> Revocation:
    """The revocation whose payload this is."""
    return _canonical(payload, _revocation(strictjson.parse_object(payload, MAX_REVOCATION_BYTES)))


def digest(payload: bytes) -> Digest:
    """The digest by which other documents name the one with this payload."""
    return Digest("sha256:" + hashlib.sha256(payload).hexdigest())


def request_id(payload: bytes) -> RequestId:
    """The id by which people name the request with this payload."""
    return RequestId("R-" + _base32(hashlib.sha256(payload).digest()))


def grant_id(payload: bytes) -> GrantId:
    """The id by which people name the grant with this payload."""
    return GrantId("G-" + _base32(hashlib.sha256(payload).digest()))


def new_session_id(entropy: bytes) -> SessionId:
    """A session's id from 5 random bytes, which the caller draws."""
    if len(entropy) != SESSION_ENTROPY_BYTES:
        raise InvalidValue(f"a session's id takes {SESSION_ENTROPY_BYTES} random bytes")
    return SessionId("S-" + _base32(entropy))


def new_nonce(entropy: bytes) -> str:
    """A request's nonce from 16 random bytes, which the caller draws."""
    if len(entropy) != NONCE_BYTES:
        raise InvalidValue(f"a nonce takes {NONCE_BYTES} random bytes")
    return entropy.hex()


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw[:SESSION_ENTROPY_BYTES]).decode()


class _Document(Protocol):
    def payload(self) -> bytes: ...


D = TypeVar("D", bound=_Document)


def _canonical(payload: bytes, document: D) -> D:
    if document.payload() != payload:
        raise InvalidValue("a document is not in canonical form")
    return document


def _checked(value: dict[str, object], parse: Callable[[object], object], most: int) -> bytes:
    """The bytes of `value`, if they are ones that a reader accepts: nothing is signed that cannot be read again."""
    parse(value)
    payload = strictjson.encode(value)
    if len(payload) > most:
        raise InvalidValue(f"a document of {len(payload)} bytes is too long; at most {most} are accepted")
    return payload


def _request(value: object) -> Request:
    what = "request"
    f = fields.exact_object(what, value, _REQUEST)
    fields.read(what, f, "v", fields.version)
    return Request(
        nonce=fields.read(what, f, "nonce", fields.nonce),
        role=fields.read(what, f, "role", RoleName),
        role_digest=fields.read(what, f, "role_digest", Digest),
        person=fields.read(what, f, "person", _subject),
        hosts=fields.read(what, f, "hosts", _hosts),
        run_as=fields.read(what, f, "run_as", fields.some(UserName, MAX_RUN_AS)),
        duration=fields.read(what, f, "duration", Duration),
        activate_by=fields.read(what, f, "activate_by", fields.time),
        not_before=fields.read(what, f, "not_before", fields.optional(fields.time)),
        uses=fields.read(what, f, "uses", fields.optional(fields.uses)),
        reason=fields.read(what, f, "reason", Reason),
        created=fields.read(what, f, "created", fields.time),
    )


def _approval(value: object) -> Approval:
    what = "approval"
    f = fields.exact_object(what, value, _APPROVAL)
    fields.read(what, f, "v", fields.version)
    return Approval(
        request=fields.read(what, f, "request", Digest),
        approver=fields.read(what, f, "approver", _approver),
        max_duration=fields.read(what, f, "max_duration", Duration),
        max_uses=fields.read(what, f, "max_uses", fields.optional(fields.uses)),
        note=fields.read(what, f, "note", fields.note),
        created=fields.read(what, f, "created", fields.time),
    )


def _grant(value: object) -> Grant:
    what = "grant"
    f = fields.exact_object(what, value, _GRANT)
    fields.read(what, f, "v", fields.version)
    grant = Grant(
        request=fields.read(what, f, "request", lambda v: envelope_from_json(v, MAX_REQUEST_BYTES)),
        approvals=fields.read(what, f, "approvals", _approvals),
        not_before=fields.read(what, f, "not_before", fields.time),
        not_after=fields.read(what, f, "not_after", fields.time),
        host=fields.read(what, f, "host", HostId),
    )
    if grant.not_before >= grant.not_after:
        raise InvalidValue("grant: not_after: the window ends before it begins")
    return grant


def _revocation(value: object) -> Revocation:
    what = "revocation"
    f = fields.exact_object(what, value, _REVOCATION)
    fields.read(what, f, "v", fields.version)
    return Revocation(
        grant=fields.read(what, f, "grant", Digest),
        by=fields.read(what, f, "by", _subject),
        reason=fields.read(what, f, "reason", Reason),
        created=fields.read(what, f, "created", fields.time),
    )


def _subject(value: object) -> Subject:
    f = fields.exact_object("person", value, ("uid", "name", "login_uid"))
    return Subject(
        fields.read("person", f, "uid", Uid),
        fields.read("person", f, "name", UserName),
        fields.read("person", f, "login_uid", fields.optional(Uid)),
    )


def _approver(value: object) -> Subject | KeyRef:
    if isinstance(value, dict) and "key" in value:
        f = fields.exact_object("approver", value, ("key",))
        return KeyRef(fields.read("approver", f, "key", HostId))
    return _subject(value)


def _host(value: object) -> HostRef:
    f = fields.exact_object("host", value, ("id", "name"))
    return HostRef(fields.read("host", f, "id", HostId), fields.read("host", f, "name", fields.host_name))


def _hosts(value: object) -> tuple[HostRef, ...]:
    hosts = fields.some(_host, MAX_HOSTS)(value)
    if len({host.id for host in hosts}) != len(hosts):
        raise InvalidValue("a host is named twice")
    return hosts


def _approvals(value: object) -> tuple[Envelope, ...]:
    if not isinstance(value, list) or len(value) > MAX_APPROVALS:
        raise InvalidValue(f"not a list of at most {MAX_APPROVALS} envelopes")
    return tuple(envelope_from_json(item, MAX_APPROVAL_BYTES) for item in value)
