"""When and whence a role may be asked for and used: hours, closed days, and where the login comes from."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from jitsudo.policy.hours import hours_hold, hours_text, is_closed
from jitsudo.policy.issues import shown
from jitsudo.policy.model import Role
from jitsudo.policy.verdict import Deny, Source
from jitsudo.types import Moment

LOCAL = "local"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def refuses_asking(role: Role, now: Moment, source: Source) -> Deny | None:
    """What speaks against asking for the role now and from there; None if nothing does. `otherwise` is not looked at."""
    if why := _out_of_hours(role, now):
        return Deny("hours", f"role {role.name} cannot be asked for {why}", role=role.name)
    return _refuses_source(role, source)


def refuses_use(role: Role, now: Moment, source: Source, approvals: int) -> Deny | None:
    """What speaks against using a grant of the role now and from there, given how many people approved it."""
    if role.when.otherwise_approvals is not None and approvals >= role.when.otherwise_approvals:
        return None
    if role.when.hours is not None and role.when.hours.strict and (why := _out_of_hours(role, now)):
        return Deny("hours", f"role {role.name} cannot be used {why}", role=role.name)
    return _refuses_source(role, source)


def approvals_needed(role: Role, now: Moment, source: Source) -> int:
    """How many people have to approve a request that is made now and from there."""
    usual = role.request.approvals if role.request else 0
    if role.when.otherwise_approvals is None or refuses_asking(role, now, source) is None:
        return usual
    return max(usual, role.when.otherwise_approvals)


def _out_of_hours(role: Role, now: Moment) -> str | None:
    """What keeps the role closed now: of a closed day, the calendar, since waiting for the hour would not help."""
    hours, calendar = role.when.hours, role.when.calendar
    if calendar is not None and is_closed(calendar, now):
        return f"today, which is one of the closed days in {shown(calendar.file)}"
    if hours is not None and not hours_hold(hours, now):
        return f"at this hour, only {hours_text(hours)}"
    return None


def _refuses_source(role: Role, source: Source) -> Deny | None:
    if not role.when.source or source_holds(role.when.source, source):
        return None
    if source.address is None:
        why = f" ({source.why_unknown})" if source.why_unknown else ""
        message = f"role {role.name} depends on where you log in from, and that is not known{why}"
        return Deny("source", message, role=role.name)
    whence = "this host's console" if source.address == LOCAL else source.address
    message = f"role {role.name} is for logins from {' or '.join(role.when.source)}, not from {whence}"
    return Deny("source", message, role=role.name)


def source_holds(wanted: tuple[str, ...], source: Source) -> bool:
    """Whether a login comes from one of these networks or, for the word `local`, from a console. Unknown: no."""
    if source.address is None:
        return False
    if source.address == LOCAL:
        return LOCAL in wanted
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(source.address)
    except ValueError:
        return False
    # What arrives at a socket of both families is written as an IPv6 address, and comes from an IPv4 one.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in _network(text) for text in wanted if text != LOCAL)


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text)
