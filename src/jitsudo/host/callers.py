"""What kind of caller stands behind a process: somebody at a terminal, cron, a unit, Ansible … by what the kernel says of it.

For showing alone: a process chooses its name (comm) itself, and nothing is ever allowed by any of this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from jitsudo.host.peer import ancestry, read_cgroup
from jitsudo.host.processes import audit_session
from jitsudo.types import shown_plainly

Kind = Literal["person", "login", "cron", "unit", "ansible", "other"]
MAX_PARENTS: Final = 8  # that are named
MAX_SEEN: Final = 64
CRON_UNITS: Final = frozenset(f"{name}.service" for name in ("cron", "crond", "cronie", "anacron", "atd", "fcron"))
CRON_PROGRAMS: Final = frozenset({"cron", "crond", "CRON", "anacron", "atd", "fcron"})
# Where people log in; a shell that stays in such a unit (without pam_systemd) is not what the unit is for.
LOGIN_UNITS: Final = re.compile(
    r"(?:sshd?|getty|serial-getty|console-getty|container-getty|dropbear|gdm|sddm|lightdm|user)(?:@.*)?\.service"
)
LOGIN_PROGRAMS: Final = frozenset({"sshd", "sshd-session", "login", "dropbear", "mosh-server", "tmux: server", "screen", "su"})
# How Ansible calls sudo (become): a shell that says so before it does what is wanted.
BECOME: Final = re.compile(r"echo (?:\\ )?[\"']?BECOME-SUCCESS-")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the kernel says of a process. `parents`: the names of those that started it, the nearest first."""

    cgroup: str
    parents: tuple[str, ...]
    has_terminal: bool
    session: int | None


@dataclass(frozen=True, slots=True)
class Calling:
    """Who called, for people to read. `unit`: the systemd unit around the caller, if it is one that says something."""

    kind: Kind
    unit: str | None
    parents: tuple[str, ...]


def surroundings(pid: int) -> Surroundings:
    """Of a process that lives. Raises ProcessLookupError."""
    parents = [_name(process.pid) for process in islice(ancestry(pid), 1, MAX_SEEN)]
    return Surroundings(read_cgroup(pid), tuple(name for name in parents if name), _terminal(pid) != 0, audit_session(pid))


def classify(found: Surroundings, argv: Sequence[str]) -> Calling:
    """`argv` is what sudo was asked to run."""
    unit, parents = unit_of(found.cgroup), frozenset(found.parents)
    return Calling(_kind(found, argv, unit, parents), unit, found.parents[:MAX_PARENTS])


def _kind(found: Surroundings, argv: Sequence[str], unit: str | None, parents: frozenset[str]) -> Kind:
    if len(argv) > 2 and argv[1] == "-c" and BECOME.search(argv[2]):
        return "ansible"
    if unit in CRON_UNITS or parents & CRON_PROGRAMS:
        return "cron"
    if unit is not None and unit.endswith(".service") and not LOGIN_UNITS.fullmatch(unit):
        return "unit"
    is_login = (unit or "").startswith("session-") or found.session is not None or bool(parents & LOGIN_PROGRAMS)
    if found.has_terminal and is_login:
        return "person"
    return "login" if is_login else "other"


def unit_of(cgroup: str) -> str | None:
    """The innermost unit of a cgroup's path: `session-3.scope`, `backup.service`; a slice says nothing."""
    names = (name for name in reversed(cgroup.split("/")) if name.endswith((".service", ".scope")))
    name = next(names, None)
    return None if name is None else shown_plainly(name)[:256]


def _name(pid: int) -> str:
    try:
        return shown_plainly(Path(f"/proc/{pid}/comm").read_text("utf-8", "surrogateescape").rstrip("\n"))
    except OSError:  # it has ended meanwhile
        return ""


def _terminal(pid: int) -> int:
    """The device of the controlling terminal, 0 without one (proc_pid_stat(5) field 7)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        raise ProcessLookupError(f"no process {pid}") from None
    return int(stat[stat.rindex(b")") + 2 :].split()[4])
