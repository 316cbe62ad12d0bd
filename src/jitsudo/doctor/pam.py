"""PAM stacks: those of ours, and those that name our module (pam.d(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, Check

FOLDER: Final = "/etc/pam.d"
SERVICES: Final = {"jitsudo": "how approvers prove who they are", "jitsudo-sudo": "what sudo demands of people"}
KINDS: Final = ("auth", "account", "password", "session")
MAX_DEPTH: Final = 10
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./+-]+")
_LINE: Final = re.compile(r"(-?)(auth|account|password|session)\s+(\[[^\]]*\]|\S+)\s+(\S+)(.*)")

NO_SERVICE = Kind("pam-service-missing", Severity.PROBLEM, "a PAM service of jitsudo's is missing; `other` takes its place")
SYSTEMD = Kind("pam-systemd-in-scope", Severity.PROBLEM, "pam_systemd would move sudo out of its scope: commands are refused")
NO_MODULE = Kind("pam-module-missing", Severity.PROBLEM, "a stack names a module that does not exist: nobody gets through it")
LATE = Kind("pam-jitsudo-bypassed", Severity.PROBLEM, "pam_jitsudo comes after a module whose success ends the stack")
WEAK = Kind("pam-jitsudo-not-required", Severity.PROBLEM, "pam_jitsudo is optional or sufficient: its refusal does not count")
PERMITS = Kind("pam-permits-all", Severity.PROBLEM, "a stack of jitsudo's asks for no proof at all")


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it counts, includes followed: `file` is where it is written."""

    kind: str
    control: str
    module: str
    file: str
    lenient: bool


def stack(host: Host, service: str, depth: int = 0) -> Iterator[Line]:
    """The lines of a service, in order; `@include`, `include` and `substack` are followed."""
    path = service if service.startswith("/") else f"{FOLDER}/{service}"
    if depth > MAX_DEPTH:
        return
    for text in host.lines(path):
        words = text.split()
        if words[0] == "@include" and len(words) > 1:
            yield from stack(host, words[1], depth + 1)
            continue
        match = _LINE.match(text)
        if match is None:
            continue
        dash, kind, control, module = match[1], match[2], match[3], match[4]
        if control in ("include", "substack"):
            yield from (line for line in stack(host, module, depth + 1) if line.kind == kind)
        else:
            yield Line(kind, control, module, path, bool(dash))


def look_at_services(host: Host) -> Iterator[Seen | str]:
    for service, what in SERVICES.items():
        path = f"{FOLDER}/{service}"
        if not host.exists(path):
            cure = "apt-get install --reinstall -o DPkg::Options::=--force-confmiss jitsudo"
            yield NO_SERVICE.found(f"there is no {path} ({what})", cure, path)
            continue
        lines = list(stack(host, service))
        for line in lines:
            if line.kind == "session" and _is(line, "pam_systemd") and service == "jitsudo-sudo":
                what = f"{line.file} brings pam_systemd into {path}"
                yield SYSTEMD.found(what, f"sed -i -E '/pam_systemd|common-session/d' {path}", path)
        asking = [line for line in lines if line.kind == "auth"]
        if not asking or _lets_all(asking):
            yield PERMITS.found(f"{path} lets everybody through without a proof", "pam-auth-update --force", path)
    yield "jitsudo's own PAM services are in order"


def _lets_all(lines: list[Line]) -> bool:
    """Whether the first module that has a say is pam_permit. Debian ends common-auth with it: that one is only reached."""
    first = next((line for line in lines if not _is(line, "pam_faildelay")), None)
    return first is not None and _is(first, "pam_permit")


def look_at_modules(host: Host) -> Iterator[Seen | str]:
    folders = _module_folders(host)
    for service in host.names(FOLDER):
        path = f"{FOLDER}/{service}"
        for text in host.lines(path):
            match = _LINE.match(text)
            if match is None or match[1] or match[3] in ("include", "substack"):
                continue
            module = match[4]
            places = [module] if module.startswith("/") else [f"{folder}/{module}" for folder in folders]
            if places and not any(host.exists(place) for place in places):
                cure = f"sed -i 's|^[^#].*{module}|# &|' {path}   # or install the package that has it"
                cure = cure if _PLAIN.fullmatch(module) else f"editor {path}"
                yield NO_MODULE.found(f"{path} names {module}, which is not installed", cure, path)
    yield "the modules that PAM's stacks name are there"


def _module_folders(host: Host) -> list[str]:
    found = [f"/usr/lib/{name}/security" for name in host.names("/usr/lib") if name.endswith(("-gnu", "-gnueabihf"))]
    return [folder for folder in (*found, "/usr/lib64/security", "/usr/lib/security", "/lib/security") if host.exists(folder)]


def look_at_ours(host: Host) -> Iterator[Seen | str]:
    gated: list[str] = []
    for service in host.names(FOLDER):
        if service.startswith("common-"):  # seen where it is included
            continue
        for kind in ("account", "auth"):
            lines = [line for line in stack(host, service) if line.kind == kind]
            at = next((n for n, line in enumerate(lines) if _is(line, "pam_jitsudo")), None)
            if at is None:
                continue
            gated.append(service)
            yield from _placed(service, kind, lines, at)
    yield f"pam_jitsudo is in the stacks of {', '.join(sorted(set(gated)))}" if gated else "no PAM stack names pam_jitsudo"


def _placed(service: str, kind: str, lines: list[Line], at: int) -> Iterator[Seen]:
    ours = lines[at]
    path = f"{FOLDER}/{service}"
    if kind == "account" and _may_be_ignored(ours.control):
        what = f"{ours.file} has pam_jitsudo as {ours.control} in the account stack of {service}"
        change = r"s/^(account[[:space:]]+)([^[:space:]]+|\[.*\])([[:space:]]+pam_jitsudo)/\1required\3/"
        yield WEAK.found(what, f"sed -i -E '{change}' {ours.file}", path)
    if kind == "account":
        before = next((line for n, line in enumerate(lines[:at]) if _passes(line.control, at - n)), None)
        if before is not None:
            what = f"in {service}, {before.module} ({before.control}, {before.file}) comes before pam_jitsudo and passes it by"
            yield LATE.found(what, f"editor {ours.file}   # move the line of pam_jitsudo above that one", path)


def _may_be_ignored(control: str) -> bool:
    if control.startswith("["):
        return "default=ignore" in control.replace(" ", "") or "default=done" in control.replace(" ", "")
    return control in ("optional", "sufficient")


def _passes(control: str, distance: int) -> bool:
    """Whether success of a module ends the stack, or jumps over the one that is `distance` lines below."""
    match = re.search(r"success=(done|[0-9]+)", control) if control.startswith("[") else None
    if match is None:
        return control == "sufficient"
    return match[1] == "done" or int(match[1]) >= distance


def _is(line: Line, module: str) -> bool:
    return line.module.rpartition("/")[2] == f"{module}.so"


AREA: Final = Area(
    "pam",
    "PAM's stacks: ours, and those with pam_jitsudo",
    (
        Check("pam-services", look_at_services, (NO_SERVICE, SYSTEMD, PERMITS)),
        Check("pam-modules", look_at_modules, (NO_MODULE,)),
        Check("pam-jitsudo", look_at_ours, (LATE, WEAK)),
    ),
)
