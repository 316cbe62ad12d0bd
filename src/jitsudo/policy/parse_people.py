"""Reads people: principals (`group:web`), who approves (`from`), and the entries of `approvers`."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.policy.model import ApprovalSource, Approver, ApproverKey, Principal
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar
from jitsudo.policy.reader import Reader, unknown
from jitsudo.types import UserName

MAX_ALL_OF = 16
KEY_TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ecdsa-sha2-nistp256",
    "ssh-rsa",
)

_KINDS: tuple[Literal["user", "group", "team"], ...] = ("user", "group", "team")
_NOBODY = UserName("nobody")
_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class PeopleReader:
    """Reads people, and remembers which teams were named where, so that they can be looked up when all files are read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.teams: list[tuple[Pos, str]] = []

    def principals(self, node: Node, what: str) -> tuple[Principal, ...]:
        """A list of `user:NAME`, `group:NAME`, `team:NAME`."""
        return tuple(self._principal(item, what) for item in self._reader.items(node, what))

    def _principal(self, node: Node, what: str) -> Principal:
        principal = self._reader.value(node, what, principal_of, Principal("user", "nobody"))
        if principal.kind == "team":
            self.teams.append((node.pos, principal.name))
        return principal

    def source(self, node: Node) -> ApprovalSource:
        """`from`: principals, or `{all_of: principals}`."""
        if not isinstance(node, Mapping):
            return ApprovalSource(self.principals(node, "from"))
        every = self._reader.fields(node, "from", ("all_of",)).need("all_of")
        # An empty `all_of` would be met by nobody's approval (vacuous truth); `principals` refuses an empty list.
        principals = self.principals(every, "all_of") if every else ()
        if len(set(principals)) != len(principals) or len(principals) > MAX_ALL_OF:
            self._reader.error(node.pos, f"all_of names each of its principals once, at most {MAX_ALL_OF}")
        return ApprovalSource(principals, all_of=True)

    def approver(self, key: Scalar, node: Node) -> Approver:
        """One entry of `approvers`."""
        reader = self._reader
        name = reader.value(key, "an approver", UserName, _NOBODY)
        fields = reader.fields(node, f"approver {key.text!a}", ("accounts", "keys", "teams"))
        accounts = fields.need("accounts")
        return Approver(
            name=name,
            accounts=tuple(self._account(item) for item in reader.items(accounts, "accounts")) if accounts else (),
            keys=fields.read("keys", lambda at: tuple(self._key(item) for item in reader.items(at, "keys")), ()),
            teams=fields.read("teams", lambda at: tuple(self._team(item) for item in reader.items(at, "teams")), ()),
        )

    def _account(self, node: Node) -> UserName:
        account = self._reader.value(node, "accounts", UserName, _NOBODY)
        if account == "root":
            self._reader.error(node.pos, "accounts: root never approves")
        return account

    def _team(self, node: Node) -> str:
        return self._reader.value(node, "teams", _team_name, "nobody")

    def _key(self, node: Node) -> ApproverKey:
        reader = self._reader
        if not isinstance(node, Mapping):
            return ApproverKey(reader.value(node, "keys", public_key, ""))
        fields = reader.fields(node, "a key", ("key", "forwarded"))
        text = fields.need("key")
        return ApproverKey(
            key=reader.value(text, "key", public_key, "") if text else "",
            forwarded=fields.read("forwarded", lambda at: reader.boolean(at, "forwarded"), False),
        )


def principal_of(text: str) -> Principal:
    """Read `user:NAME`, `group:NAME` or `team:NAME`. Else `InvalidValue`."""
    word, colon, name = text.partition(":")
    for kind in _KINDS:
        if colon and word == kind:
            return Principal(kind, _team_name(name) if kind == "team" else str(UserName(name)))
    raise InvalidValue(f"{text!a} is not a person or group", "write user:NAME, group:NAME or team:NAME")


def _team_name(text: str) -> str:
    if not _TEAM.fullmatch(text):
        raise InvalidValue(f"not a team's name: {text!r}")
    return text


def public_key(text: str) -> str:
    """An SSH public key as `type base64`: its comment dropped, its blob in the one canonical spelling."""
    kind, _, rest = text.strip().partition(" ")
    if kind not in KEY_TYPES:
        raise InvalidValue(f"key type {unknown(kind, KEY_TYPES, word='')}", "supported are " + ", ".join(KEY_TYPES))
    blob = rest.strip().partition(" ")[0]
    try:
        raw = b64decode(blob, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue("the key's base64 is damaged") from error
    name = kind.encode()
    # RFC 4253 6.6: the blob itself begins with the name of its type.
    if not raw.startswith(len(name).to_bytes(4, "big") + name) or len(raw) == len(name) + 4:
        raise InvalidValue(f"the key is not of the type {kind}")
    return f"{kind} {binascii.b2a_base64(raw, newline=False).decode()}"
