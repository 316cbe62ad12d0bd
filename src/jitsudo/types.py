"""Validated values: each is checked where it is made, so that later code cannot hold an unchecked one.

Every constructor raises `InvalidValue` and nothing else. Text that came from bytes (arguments, paths, environment) is held
as `str` with surrogateescape (PEP 383), as Python and sudo's Python plugins do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from jitsudo.errors import InvalidValue

MAX_NAME_BYTES = 256
MAX_PATH_BYTES = 4096  # PATH_MAX, limits.h
MAX_REASON_CHARS = 500
MAX_DURATION_SECONDS = 400 * 86_400
MAX_ID = 0xFFFF_FFFE  # 0xFFFFFFFF is (uid_t)-1, "no change" to setresuid(2): CVE-2019-14287

_ROLE = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_DIGITS = re.compile(r"[0-9]{1,10}")
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+")
_DURATION_PART = re.compile(r"([0-9]+)([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_SHORT_ID = re.compile(r"[A-Z2-7]{8}")
# Control characters, surrogates (bytes that were not UTF-8), bidirectional controls and line separators: what a terminal or
# an editor may show otherwise than it is, or obey (CVE-2021-42574).
_NOT_PLAIN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)

_UNWRITABLE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def is_plain_text(text: str) -> bool:
    """Whether `text` can be shown and logged as it is: no control characters, surrogates or bidirectional overrides."""
    return _NOT_PLAIN.search(text) is None


def shown_plainly(text: str) -> str:
    """The text on one line, with control characters, text-direction marks and invalid bytes written out, never obeyed."""
    if is_plain_text(text):
        return text
    return "".join(c if is_plain_text(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def _check_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise InvalidValue(f"{what} is not text")
    # Surrogates that do not stand for a byte (PEP 383) cannot be written anywhere.
    if not value.isascii() and _UNWRITABLE.search(value):
        raise InvalidValue(f"{what} is not text")
    return value


class UserName(str):
    """A user's or group's name as the system's databases give it: `alice`, `DOM\\user`, `a.b@c`, `svc app`, `host$`."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        text = _check_text(value, "a user or group name")
        if not text or len(text.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
            raise InvalidValue(f"a user or group name must have 1 to {MAX_NAME_BYTES} bytes")
        if not is_plain_text(text) or text != text.strip() or set(text) & set(":,/") or text[0] in "-#+~%":
            raise InvalidValue(f"not a user or group name: {text!r}")
        if _DIGITS.fullmatch(text):
            raise InvalidValue(f"a name may not consist of digits alone: {text!r}")
        return super().__new__(cls, text)


class RoleName(str):
    """A role's name: lower-case letters, digits, `-` and `_`, at most 64."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        text = _check_text(value, "a role's name")
        if not _ROLE.fullmatch(text):
            raise InvalidValue(f"not a role's name: {text!r}", "lower-case letters, digits, '-' and '_', at most 64")
        return super().__new__(cls, text)


class _Id(int):
    """A uid or gid in range. `parse` reads text: plain ASCII digits and nothing else (CVE-2019-14287)."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ID:
            raise InvalidValue(f"not a {cls.__name__.lower()}: {value!r}")
        return super().__new__(cls, value)

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not _DIGITS.fullmatch(text) or (text[0] == "0" and text != "0"):
            raise InvalidValue(f"not a {cls.__name__.lower()}: {text!r}")
        return cls(int(text))


class Uid(_Id):
    """A user id, 0 to 4294967294."""

    __slots__ = ()


class Gid(_Id):
    """A group id, 0 to 4294967294."""

    __slots__ = ()


class AbsPath(str):
    """An absolute path without NUL, at most PATH_MAX bytes. It is kept as given: nothing is normalized."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        text = _check_text(value, "a path")
        if not text.startswith("/") or "\0" in text:
            raise InvalidValue(f"not an absolute path: {text!r}")
        if len(text.encode("utf-8", "surrogateescape")) >= MAX_PATH_BYTES:
            raise InvalidValue(f"a path may have at most {MAX_PATH_BYTES - 1} bytes")
        return super().__new__(cls, text)


class Reason(str):
    """Why somebody asks: one line of plain text, 1 to 500 characters, as the approver will read it."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        text = _check_text(value, "a reason")
        if not text.strip():
            raise InvalidValue("a reason is required", "say why, e.g. --reason 'INC-4711 nginx is down'")
        if len(text) > MAX_REASON_CHARS:
            raise InvalidValue(f"a reason may have at most {MAX_REASON_CHARS} characters")
        if not is_plain_text(text):
            raise InvalidValue("a reason must be one line without control characters or text-direction marks")
        return super().__new__(cls, text)


class Duration(int):
    """A positive number of seconds, at most 400 days. `parse` reads `([0-9]+[smhd])+`, e.g. `30m`, `1h30m`."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_DURATION_SECONDS:
            raise InvalidValue(f"not a duration: {value!r}", "more than 0 s and at most 400d")
        return super().__new__(cls, value)

    @classmethod
    def parse(cls, text: object) -> Self:
        if not isinstance(text, str) or not _DURATION.fullmatch(text):
            raise InvalidValue(f"not a duration: {text!r}", "write e.g. 30m, 2h or 1h30m")
        seconds = sum(int(n) * _UNIT_SECONDS[u] for n, u in _DURATION_PART.findall(text))
        if not 0 < seconds <= MAX_DURATION_SECONDS:
            raise InvalidValue(f"not a duration: {text!r}", "more than 0 s and at most 400d")
        return cls(seconds)

    def __str__(self) -> str:
        seconds, parts = int(self), []
        for unit in "dhms":
            n, seconds = divmod(seconds, _UNIT_SECONDS[unit])
            if n:
                parts.append(f"{n}{unit}")
        return "".join(parts)


class Digest(str):
    """`sha256:` and 64 lower-case hexadecimal digits."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        text = _check_text(value, "a digest")
        if not _SHA256.fullmatch(text):
            raise InvalidValue(f"not a digest: {text!r}")
        return super().__new__(cls, text)


class HostId(str):
    """A host's id: the OpenSSH fingerprint of its key, `SHA256:` and 43 base64 characters (ssh-keygen(1))."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        text = _check_text(value, "a host id")
        if not _FINGERPRINT.fullmatch(text):
            raise InvalidValue(f"not a host id: {text!r}")
        return super().__new__(cls, text)


class _ShortId(str):
    """A letter, `-` and 8 base32 characters (RFC 4648)."""

    __slots__ = ()
    prefix = ""

    def __new__(cls, value: object) -> Self:
        text = _check_text(value, "an id")
        if not text.startswith(cls.prefix) or not _SHORT_ID.fullmatch(text[2:]):
            raise InvalidValue(f"not an id of the form {cls.prefix}XXXXXXXX: {text!r}")
        return super().__new__(cls, text)


class RequestId(_ShortId):
    """`R-` and the first 8 base32 characters of the SHA-256 of the request's payload."""

    __slots__ = ()
    prefix = "R-"


class GrantId(_ShortId):
    """`G-` and the first 8 base32 characters of the SHA-256 of the grant's payload."""

    __slots__ = ()
    prefix = "G-"


class SessionId(_ShortId):
    """`S-` and 8 random base32 characters."""

    __slots__ = ()
    prefix = "S-"


@dataclass(frozen=True, slots=True)
class Account:
    """An entry of the user database with its groups: `groups` are all gids, `gid` among them."""

    name: UserName
    uid: Uid
    gid: Gid
    groups: tuple[Gid, ...]
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Person:
    """A human or service account as the kernel shows it: the uid and the audit login uid behind it.

    `login_uid` is None where it is unset (cron, services); such a person may ask and use, never approve.
    `groups` are the names of all groups of the account, from the user database at the time of use.
    """

    uid: Uid
    name: UserName
    login_uid: Uid | None
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of the clocks, pinned for a whole operation: `wall` in Unix seconds, `boot` in seconds since boot."""

    wall: int
    boot: float
