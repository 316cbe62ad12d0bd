"""Whether one argument is of a type: strictly, for what a rule allows, and in doubt yes, for what a guardrail looks for."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from functools import lru_cache

from jitsudo.errors import InvalidValue
from jitsudo.policy.paths import Place, path_matches, path_may_concern
from jitsudo.policy.patterns import MAX_TEXT_CHARS, Pattern
from jitsudo.policy.rules import (
    AnyValue,
    ArgumentType,
    CommandLine,
    GlobText,
    IntRange,
    LiteralText,
    NamedType,
    NotType,
    OneOf,
    PathUnder,
    RegexText,
)
from jitsudo.types import Duration, UserName, is_plain_text

MAX_INT_DIGITS = 18
MAX_PORT = 65_535

_UNIT_KINDS = (
    ".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target", ".path", ".timer", ".slice", ".scope",
)  # fmt: skip
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,255}")
# deb-src-control(5), Package; apt reads a trailing `+` or `-` as an order of its own, so that such a name has to be listed.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,126}[a-z0-9.]")
_PACKAGE_END = re.compile(r"[=:/^].*\Z|[+-]\Z", re.DOTALL)
_PATTERN_CHARS = frozenset("*?[]^$|()\\")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_SIZE = re.compile(r"(0|[1-9][0-9]{0,14})([KMGT]?)")
# A number that begins with 0 is octal to some programs: 010 is 8 to ip(8), 10 to others.
_DIGITS = re.compile(r"0|[1-9][0-9]{0,17}")
# A network mask means what its bits say, to iptables(8) also where they have gaps; to others 0.0.0.255 is 255.255.255.0.
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+(?:/(?:0|[1-9][0-9]{0,2}))?")
# What inet_aton(3) and its kin may take for an address or a network: `10/8`, `0/0`, `0x0a.1`.
_MAYBE_NETWORK = re.compile(r"[0-9][0-9A-Fa-fxX]*[./][0-9A-Fa-fxX./]*")


def argument_matches(type_: ArgumentType, text: str, place: Place) -> bool:
    """Whether one argument is of this type. What begins with `-` is an option, unless a rule names it word by word."""
    if isinstance(type_, LiteralText):
        return text == type_.text
    if isinstance(type_, OneOf):
        return text in type_.texts and is_plain_text(text)
    if text.startswith("-"):
        return False
    if isinstance(type_, GlobText | RegexText):
        return type_.pattern.matches(text)
    if isinstance(type_, PathUnder):
        return path_matches(type_, text, place)
    if isinstance(type_, IntRange):
        return int_matches(type_, text)
    if isinstance(type_, NotType):
        # Only what is surely something else: the opposite of what makes a guardrail fire, not of what a rule allows.
        return is_plain_text(text) and not may_be(type_.type, text, place)
    if isinstance(type_, NamedType):
        return _named_matches(type_, text, place)
    return isinstance(type_, AnyValue)


def int_matches(type_: IntRange, text: str) -> bool:
    """Plain ASCII digits within the range, in their shortest form."""
    if not _DIGITS.fullmatch(text):
        return False
    return type_.least <= int(text) and (type_.most is None or int(text) <= type_.most)


def _named_matches(type_: NamedType, text: str, place: Place) -> bool:
    if not text or not is_plain_text(text):
        return False
    match type_.word:
        case "user" | "group":
            return _is_account(type_.word, text, place) and (not type_.names or text in type_.names)
        case "self":
            return text == place.person
        case "host":
            return is_host(text) and (not type_.names or text.lower() in {name.lower() for name in type_.names})
        case "cidr":
            return _lies_in(text, type_.names)
        case "port":
            return int_matches(IntRange(max(1, type_.least or 1), min(MAX_PORT, type_.most or MAX_PORT)), text)
        case "unit":
            unit = unit_name(text)
            return unit is not None and (not type_.names or unit in _unit_names(type_.names))
        case "package":
            return text in type_.names if type_.names else bool(_PACKAGE.fullmatch(text)) and not text.endswith(".deb")
        case "duration":
            return _within(type_, seconds(text))
        case "size":
            return _within(type_, size(text))
    return False


def _is_account(word: str, text: str, place: Place) -> bool:
    """Whether the user database knows this very name: directories often answer to other spellings, programs may not."""
    try:
        name = UserName(text)
    except InvalidValue:
        return False
    if word == "group":
        return place.world.group(name)
    account = place.world.user(name)
    return account is not None and account.name == text


def is_host(text: str) -> bool:
    """A host name (RFC 1123, `_` tolerated) or an IP address; nothing that inet_aton(3) alone takes for an address."""
    try:
        return ipaddress.ip_address(text) is not None and "%" not in text
    except ValueError:
        labels = text.split(".")
        last = labels[-1].lower()
        numeric = last.isdigit() or (last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]))
        return len(text) <= 253 and not numeric and all(_LABEL.fullmatch(label) for label in labels)


def _lies_in(text: str, names: tuple[str, ...]) -> bool:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return False
    if not _NETWORK.fullmatch(text):
        return False
    return not names or any(_is_within(network, ipaddress.ip_network(name)) for name in names)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network):
        return isinstance(outer, ipaddress.IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, ipaddress.IPv6Network) and inner.subnet_of(outer)


def unit_name(text: str) -> str | None:
    """A unit's full name: `nginx` is `nginx.service` (systemctl(1)). None for paths, globs and what is no unit's name."""
    if not _UNIT.fullmatch(text):
        return None
    return text if text.endswith(_UNIT_KINDS) and text not in _UNIT_KINDS else text + ".service"


@lru_cache(maxsize=4096)
def _unit_names(names: tuple[str, ...]) -> frozenset[str | None]:
    return frozenset(map(unit_name, names))


def seconds(text: str) -> int | None:
    """`90`, `30s`, `1h30m` in seconds; None if it is not a duration."""
    if text.isascii() and text.isdigit():
        return int(text) if _DIGITS.fullmatch(text) else None
    if text.startswith("0"):
        return None
    try:
        return int(Duration.parse(text))
    except InvalidValue:
        return None


def size(text: str) -> int | None:
    """`512`, `64K`, `10M` in bytes, by powers of 1024; None if it is not a size."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) << 10 * (" KMGT".index(found[2]) if found[2] else 0) if found else None


def _within(type_: NamedType, value: int | None) -> bool:
    return value is not None and (type_.least or 0) <= value and (type_.most is None or value <= type_.most)


# -- guardrails ------------------------------------------------------------------------------------------------------


def may_be(type_: ArgumentType, text: str, place: Place, *, embedded: bool = False) -> bool:
    """Whether a text is, or may be read by some program as, what the type describes. `embedded`: see `path_may_concern`."""
    match type_:
        case LiteralText(wanted):
            return text == wanted
        case OneOf(texts):
            return text in texts
        case IntRange():
            return _may_be_number(type_, text)
        case NotType(inner):
            return not argument_matches(inner, text, place)
        case GlobText(pattern) | RegexText(pattern):
            return _pattern_may_match(pattern, text)
        case PathUnder():
            return path_may_concern(type_, text, place, embedded=embedded)
        case NamedType():
            return _named_may_be(type_, text, place)
        case CommandLine(rule):
            return posixpath.basename(text) == posixpath.basename(rule.command)
    return True


def _pattern_may_match(pattern: Pattern, text: str) -> bool:
    # A pattern cannot read such text; whoever writes it does not want to be recognised.
    return not is_plain_text(text) or len(text) > MAX_TEXT_CHARS or pattern.matches(text, lenient=True)


def _may_be_number(type_: IntRange, text: str) -> bool:
    """Decimal, signed, padded, octal or hexadecimal: as strtol(3) might read it."""
    digits = text.strip().lstrip("+")
    for base in (10, 8, *([16] if digits[:2].lower() == "0x" else [])):
        try:
            value = int(digits, base) if len(digits) <= MAX_INT_DIGITS else None
        except ValueError:
            continue
        if value is not None and type_.least <= value and (type_.most is None or value <= type_.most):
            return True
    return False


def _named_may_be(type_: NamedType, text: str, place: Place) -> bool:
    if type_.word in ("port", "duration", "size"):
        plain = _may_be_number(IntRange(type_.least or 0, type_.most), text)
        return plain or _named_matches(type_, text, place) or (text[:1].isdigit() and not text.isdigit())
    if type_.word == "self":
        return text == place.person or _is_uid_of(place.person, text, place)
    if not type_.names:
        return not text.startswith("-")
    return text in type_.names or _is_another_name(type_, text, place)


def _is_another_name(type_: NamedType, text: str, place: Place) -> bool:
    """Whether a program may take the text for one of the names though it is written otherwise."""
    match type_.word:
        case "user":
            return any(_is_uid_of(name, text, place) for name in type_.names)
        case "group":
            return text.lstrip("+#").isdigit()
        case "host":
            return text.lower().rstrip(".") in {name.lower() for name in type_.names}
        case "unit":
            return bool(_PATTERN_CHARS & set(text)) or unit_name(text) in _unit_names(type_.names)
        case "package":
            return _may_be_package(text, type_.names)
    return _overlaps(text, type_.names)


def _is_uid_of(name: str, text: str, place: Place) -> bool:
    digits = text.lstrip("+#")
    if not digits.isdigit() or not digits.isascii():
        return False
    account = place.world.user(name)
    return account is not None and int(account.uid) == int(digits)


def _may_be_package(text: str, names: tuple[str, ...]) -> bool:
    """apt takes versions, releases, architectures, orders, and patterns, which it searches for in names (apt-get(8))."""
    base = _PACKAGE_END.sub("", text)
    if base in names or _PATTERN_CHARS & set(text):
        return True
    return "." in base and any(_dots_occur(base, name) for name in names)


def _dots_occur(pattern: str, name: str) -> bool:
    starts = range(len(name) - len(pattern) + 1)
    return any(all(p in (".", c) for p, c in zip(pattern, name[start:], strict=False)) for start in starts)


def _overlaps(text: str, names: tuple[str, ...]) -> bool:
    plain = text.partition("%")[0]
    try:
        network = ipaddress.ip_network(plain, strict=False)
    except ValueError:
        return bool(_MAYBE_NETWORK.fullmatch(plain))
    if not _NETWORK.fullmatch(plain):
        return True
    others = (ipaddress.ip_network(name) for name in names)
    return any(network.version == other.version and network.overlaps(other) for other in others)
