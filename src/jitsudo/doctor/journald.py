"""Where the record goes besides the ledger: whether journald runs, keeps what it gets, and takes all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, Check

SOCKET: Final = "/run/systemd/journal/socket"
PLACES: Final = ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd")

DOWN = Kind("journald-down", Severity.PROBLEM, "journald does not run: the record stays on this host, in the ledger alone")
VOLATILE = Kind("journald-volatile", Severity.WARNING, "what journald has is gone after a reboot; the ledger remains")
OFF = Kind("journald-off", Severity.PROBLEM, "journald throws away what it gets; the record is in the ledger alone")
RATE = Kind("journald-rate-limited", Severity.WARNING, "journald drops events when there are many")


def look_at_running(host: Host) -> Iterator[Seen | str]:
    cure = "systemctl start systemd-journald.socket systemd-journald.service"
    if host.entry(SOCKET) is None:
        yield DOWN.found(f"there is no {SOCKET}", cure, SOCKET)
        return
    ran = host.run("/usr/bin/systemctl", "is-active", "systemd-journald.service")
    if ran is not None and ran.status == 3:  # systemctl(1): not active; anything else is not journald's fault
        yield DOWN.found(f"systemd-journald is {ran.out.strip()}", cure, "systemd-journald.service")
    yield "journald runs"


def look_at_storage(host: Host) -> Iterator[Seen | str]:
    storage = settings(host).get("Storage", "auto")
    where = "/var/log/journal"
    keep = "mkdir -p /etc/systemd/journald.conf.d && printf '[Journal]\\nStorage=persistent\\n'"
    keep += " > /etc/systemd/journald.conf.d/zz-persistent.conf && systemctl restart systemd-journald && journalctl --flush"
    if storage == "none":
        yield OFF.found("journald is told to store nothing (Storage=none)", keep, "/etc/systemd/journald.conf")
    elif storage == "volatile":
        yield VOLATILE.found("journald keeps its messages in memory (Storage=volatile)", keep, "/etc/systemd/journald.conf")
    elif storage == "auto" and not host.exists(where):
        cure = f"mkdir -p {where} && systemd-tmpfiles --create --prefix {where} && journalctl --flush"
        yield VOLATILE.found(f"journald keeps its messages in memory: there is no {where}", cure, where)
    yield "journald keeps what it gets"


def look_at_rate(host: Host) -> Iterator[Seen | str]:
    if host.entry("/run/systemd/system") is None:
        return
    ran = host.run("/usr/bin/systemctl", "show", "jitsudod.service", "-p", "LogRateLimitIntervalUSec", "--value")
    limit = "" if ran is None else ran.out.strip()
    if limit not in ("", "0", "infinity"):
        cure = "systemctl revert jitsudod.service && systemctl restart jitsudod"
        yield RATE.found(f"jitsudod's messages are limited (LogRateLimitIntervalSec={limit})", cure, "jitsudod.service")
    yield "journald takes every event"


def settings(host: Host) -> dict[str, str]:
    """journald.conf(5) with its drop-ins: the last assignment counts."""
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    for place in PLACES:
        for name in host.names(f"{place}/journald.conf.d"):
            names[name] = f"{place}/journald.conf.d/{name}"
    main = [f"{place}/journald.conf" for place in PLACES if host.exists(f"{place}/journald.conf")]
    for path in (*main[-1:], *(names[name] for name in sorted(names) if name.endswith(".conf"))):
        for line in host.lines(path):
            key, sign, value = line.partition("=")
            if sign:
                found[key.strip()] = value.strip()
    return found


AREA: Final = Area(
    "journald",
    "where the record goes besides the ledger",
    (
        Check("journald", look_at_running, (DOWN,)),
        Check("journald-storage", look_at_storage, (OFF, VOLATILE)),
        Check("journald-rate", look_at_rate, (RATE,)),
    ),
)
