"""Accounts: how fast the user database answers, who else is root by number, and whether root can still come in."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.doctor.people import local_users
from jitsudo.doctor.registry import Area, Check

SLOW_SECONDS: Final = 0.5
SECURETTY: Final = "/etc/securetty"
LOOK_UP_SECONDS: Final = 0.8
NAMES: Final = ("root", "no-such-account-jitsudo")  # who is not there is asked for in every service

SLOW = Kind("users-slow", Severity.WARNING, "the user database is slow: every sudo waits for it")
STUCK = Kind("users-stuck", Severity.PROBLEM, "the user database does not answer")
UID_ZERO = Kind("account-uid-zero", Severity.PROBLEM, "another account than root has uid 0")
NO_PASSWORD = Kind("account-no-password", Severity.PROBLEM, "an account has an empty password")
LOCKED = Kind("root-locked", Severity.WARNING, "root has no password: if all else fails, nobody comes in at the console")
NO_CONSOLE = Kind("root-no-console", Severity.WARNING, "root has a password, but no console on which to use it")


def look_at_speed(host: Host) -> Iterator[Seen | str]:
    for name in NAMES:
        begun = time.monotonic()
        try:
            ran = host.run("/usr/bin/getent", "passwd", name, seconds=LOOK_UP_SECONDS)
        except Unknown:
            yield STUCK.found(f"getent passwd {name} did not answer within {LOOK_UP_SECONDS:g} s", _cure(host), name)
            continue
        if ran is None:
            return
        took = time.monotonic() - begun
        if took > SLOW_SECONDS:
            yield SLOW.found(f"getent passwd {name} took {took:.1f} s", _cure(host), name)
    yield "the user database is fast"


def _cure(host: Host) -> str:
    """Who is behind the name service, by nsswitch.conf(5)."""
    text = " ".join(line for line in host.lines("/etc/nsswitch.conf") if line.startswith(("passwd", "group")))
    if "sss" in text.split():
        return "sssctl domain-status --online; systemctl restart sssd"
    if "ldap" in text.split():
        return "systemctl restart nslcd"
    return "grep -E '^(passwd|group)' /etc/nsswitch.conf   # who is asked there?"


def look_at_roots(host: Host) -> Iterator[Seen | str]:
    for user in local_users(host):
        if user.uid == 0 and user.name != "root":
            name = shlex.quote(user.name)
            yield UID_ZERO.found(f"{user.name} has uid 0 in /etc/passwd", f"userdel -f {name}   # it is root's uid", user.name)
    shadow = _shadow(host)
    for name, password in shadow.items():
        if password == "":
            yield NO_PASSWORD.found(f"{name} has an empty password in /etc/shadow", f"passwd -l {shlex.quote(name)}", name)
    yield "root alone has uid 0, and no password is empty"


def look_at_way_in(host: Host) -> Iterator[Seen | str]:
    password = _shadow(host).get("root", "!")
    if password.startswith(("!", "*")):
        yield LOCKED.found("root's password is locked in /etc/shadow", "passwd root   # keep it in a safe", "root")
        return
    shell = next((user.shell for user in local_users(host) if user.name == "root"), "/bin/sh")
    if shell.endswith(("/nologin", "/false")):
        yield NO_CONSOLE.found(f"root's shell is {shell}", "chsh -s /bin/bash root", "root")
    terminals = host.entry(SECURETTY)
    if terminals is not None and terminals.size == 0:  # securetty(5)
        yield NO_CONSOLE.found(f"{SECURETTY} is empty, so root may log in on no terminal", f"rm {SECURETTY}", SECURETTY)
    yield "root has a password for the console"


def _shadow(host: Host) -> dict[str, str]:
    host.require_root("/etc/shadow")
    rows = [line.split(":") for line in (host.read("/etc/shadow") or "").splitlines()]
    return {row[0]: row[1] for row in rows if len(row) > 1}


AREA: Final = Area(
    "accounts",
    "the user database, and root's own way in",
    (
        Check("users", look_at_speed, (SLOW, STUCK)),
        Check("accounts", look_at_roots, (UID_ZERO, NO_PASSWORD)),
        Check("root-way-in", look_at_way_in, (LOCKED, NO_CONSOLE)),
    ),
)
