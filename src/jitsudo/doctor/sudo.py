"""Which sudo this is: whose, which version, whether it can become root, and whether people get another one instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.doctor.mounts import mount_of
from jitsudo.doctor.registry import Area, Check
from jitsudo.doctor.sudoconf import SUDO, active_front_end

OLDEST: Final = (1, 9, 0)  # the first with this plugin API (sudo_plugin(5), "Plugin API changelog": 1.15 came with 1.9.0)
_VERSION: Final = re.compile(r"^Sudo version (\d+)\.(\d+)\.(\d+)(p\d+)?", re.MULTILINE)
_BEFORE: Final = ("/usr/local/sbin/sudo", "/usr/local/bin/sudo")  # searched before /usr/bin in every PATH of Debian's
_OTHERS: Final = ("/usr/bin/sudo-rs", "/usr/lib/cargo/bin/sudo", "/usr/bin/sudo.ws")

MISSING = Kind("sudo-missing", Severity.PROBLEM, "there is no sudo")
RUST = Kind("sudo-rs", Severity.WARNING, "sudo is sudo-rs, which loads no plugins: PAM is the front end there")
RUST_UNGATED = Kind("sudo-rs-ungated", Severity.PROBLEM, "sudo.conf names a front end, but sudo is sudo-rs, which ignores it")
SHADOWED = Kind("sudo-shadowed", Severity.PROBLEM, "another program named sudo is found before Debian's")
OTHER = Kind("sudo-other", Severity.WARNING, "a second sudo is installed, which the front end does not govern")
TOO_OLD = Kind("sudo-too-old", Severity.PROBLEM, "sudo is older than any that jitsudo works with")
NOT_SETUID = Kind("sudo-not-setuid", Severity.PROBLEM, "sudo is not root's, or not setuid")
WRITABLE = Kind("sudo-writable", Severity.PROBLEM, "others than root can replace sudo")
NOSUID = Kind("sudo-nosuid", Severity.PROBLEM, "sudo lies on a file system where setuid has no effect")


def version_of(host: Host) -> tuple[int, int, int] | None:
    """The version that /usr/bin/sudo says it is; None for another variant. Unknown if it does not say."""
    ran = host.once(SUDO, "-V")
    text = "" if ran is None else ran.out + ran.err
    match = _VERSION.search(text)
    if match is not None:
        return int(match[1]), int(match[2]), int(match[3])
    if "sudo-rs" in text:
        return None
    raise Unknown(f"{SUDO} -V does not say its version: {text.strip().splitlines()[0] if text.strip() else 'no answer'}")


def is_rust(host: Host) -> bool:
    """Whether `sudo` is sudo-rs, by where its links lead or by what it says."""
    where = host.real(SUDO)
    if "sudo-rs" in where or "/cargo/" in where:
        return True
    ran = host.once(SUDO, "-V")
    return ran is not None and ran.out.startswith("sudo-rs")


def look_at_variant(host: Host) -> Iterator[Seen | str]:
    if not host.exists(SUDO):
        yield MISSING.found(f"there is no {SUDO}", "apt-get install sudo", SUDO)
        return
    for path in _BEFORE:
        if host.exists(path):
            yield SHADOWED.found(f"{path} is found before {SUDO}: people who type sudo get that", f"rm {path}", path)
    if is_rust(host):
        where = host.real(SUDO)
        if active_front_end(host):
            yield RUST_UNGATED.found(
                f"{SUDO} is sudo-rs ({where}): it reads /etc/sudoers and no /etc/sudo.conf",
                "update-alternatives --config sudo   # choose the other one, or gate sudo-rs through PAM: docs/pam-stacks.md",
                SUDO,
            )
        else:
            yield RUST.found(
                f"{SUDO} is sudo-rs ({where}), which loads no plugins",
                "pam-auth-update --enable jitsudo   # read docs/pam-stacks.md first",
                SUDO,
            )
        return
    others = {found.path for path in _OTHERS if (found := host.target(path)) is not None and found.mode & 0o4000}
    for path in sorted(others - {host.real(SUDO)}):
        yield OTHER.found(f"{path} is a second sudo, which decides by /etc/sudoers alone", f"chmod u-s {path}", path)
    yield f"{SUDO} is Todd Miller's sudo"


def look_at_version(host: Host) -> Iterator[Seen | str]:
    if not host.exists(SUDO):
        return
    version = version_of(host)
    if version is None:
        return
    text = ".".join(map(str, version))
    if version < OLDEST:
        yield TOO_OLD.found(f"sudo is {text}; jitsudo needs 1.9.0 or later", "apt-get install --only-upgrade sudo", SUDO)
    yield f"sudo is {text}"


def look_at_rights(host: Host) -> Iterator[Seen | str]:
    found = host.target(SUDO)
    if found is None:
        return
    if found.uid != 0 or not found.mode & 0o4000:
        yield NOT_SETUID.found(
            f"{found.path} belongs to uid {found.uid} and has mode {found.mode_text}",
            f"chown root:root {found.path} && chmod 4755 {found.path}",
            found.path,
        )
    elif found.others_write:
        yield WRITABLE.found(f"{found.path} has mode {found.mode_text}", f"chmod 4755 {found.path}", found.path)
    mount = mount_of(host, found.path)
    if mount is not None and "nosuid" in mount.options:
        yield NOSUID.found(f"{mount.point} is mounted nosuid", f"mount -o remount,suid {mount.point}", found.path)
    yield f"{found.path} is root's and setuid"


AREA: Final = Area(
    "sudo",
    "which sudo this is",
    (
        Check("sudo-variant", look_at_variant, (MISSING, RUST, RUST_UNGATED, SHADOWED, OTHER)),
        Check("sudo-version", look_at_version, (TOO_OLD,)),
        Check("sudo-rights", look_at_rights, (NOT_SETUID, WRITABLE, NOSUID)),
    ),
)
