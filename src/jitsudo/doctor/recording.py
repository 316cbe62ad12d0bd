"""What this host offers for interception of sub-commands and for recording of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, Check
from jitsudo.doctor.sudo import version_of
from jitsudo.doctor.sudoconf import PLUGIN_FOLDER, SUDO, plugins

FIRST_TRACING: Final = (1, 9, 12)  # sudo's NEWS: intercept_type=trace, with intercept_verify
IOLOG: Final = "/var/log/sudo-io"

NO_TRACING = Kind("interception-unsupported", Severity.NOTICE, "this sudo cannot check what a shell executes: too old")
NO_SECCOMP = Kind("interception-no-seccomp", Severity.NOTICE, "the kernel cannot stop programs for a tracer by seccomp")
NO_PTRACE = Kind("interception-no-ptrace", Severity.NOTICE, "the kernel forbids tracing altogether")
NO_IOLOG = Kind("recording-unsupported", Severity.NOTICE, "sudo's own recorder is not installed")
OPEN_IOLOG = Kind("recording-readable", Severity.PROBLEM, "recordings of sessions can be read or changed by others than root")


def look_at_interception(host: Host) -> Iterator[Seen | str]:
    if host.exists(SUDO):
        version = version_of(host)
        if version is not None and version < FIRST_TRACING:
            text = ".".join(map(str, version))
            yield NO_TRACING.found(f"sudo is {text}; interception needs 1.9.12", "apt-get install --only-upgrade sudo", SUDO)
    where = "/proc/sys/kernel/seccomp/actions_avail"
    actions = host.read(where)
    if actions is not None and "trace" not in actions.split():
        yield NO_SECCOMP.found(f"{where} has no 'trace'", None, where)
    where = "/proc/sys/kernel/yama/ptrace_scope"
    scope = (host.read(where) or "").strip()
    if scope == "3":
        cure = "grep -rn ptrace_scope /etc/sysctl.conf /etc/sysctl.d   # set it to 2 or less; it takes a reboot"
        yield NO_PTRACE.found(f"{where} is 3: nobody may trace, root neither", cure, where)
    yield "what a shell executes can be intercepted"


def look_at_recording(host: Host) -> Iterator[Seen | str]:
    recorder = f"{PLUGIN_FOLDER}/sudoers.so"
    if host.exists(SUDO) and not host.exists(recorder):
        yield NO_IOLOG.found(f"there is no {recorder}", "apt-get install --reinstall sudo", recorder)
    found = host.entry(IOLOG)
    if found is not None and (found.uid != 0 or found.mode & 0o077):
        cure = f"chown root:root {IOLOG} && chmod 0700 {IOLOG}"
        yield OPEN_IOLOG.found(f"{IOLOG} is of uid {found.uid}, mode {found.mode_text}", cure, IOLOG)
    loaded = any(one.symbol == "sudoers_io" for one in plugins(host))
    yield "sessions can be recorded" + (f", and {IOLOG} is root's" if loaded else "; no line of sudo.conf loads the recorder")


AREA: Final = Area(
    "recording",
    "interception of sub-commands, and recording",
    (
        Check("interception", look_at_interception, (NO_TRACING, NO_SECCOMP, NO_PTRACE)),
        Check("recording", look_at_recording, (NO_IOLOG, OPEN_IOLOG)),
    ),
)
