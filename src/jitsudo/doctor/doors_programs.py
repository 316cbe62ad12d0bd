"""Side doors through programs: what becomes root by its mode or its file capabilities, and is not known to do so."""

from __future__ import annotations

import os
import shlex
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.doctor.mounts import mounts
from jitsudo.doctor.registry import Check

WALK_SECONDS: Final = 1.5  # of a check's two
# What Debian 12 and 13 ship with these bits, by path below /usr where they are merged (/bin is /usr/bin).
_SETUID: Final = """
bin/at bin/chfn bin/chsh bin/doas bin/fusermount bin/fusermount3 bin/gpasswd bin/mount bin/newgidmap bin/newgrp
bin/newuidmap bin/ntfs-3g bin/passwd bin/pkexec bin/su bin/sudo bin/umount bin/ksu bin/sg bin/bwrap bin/sudo-rs bin/su-rs
bin/sudo.ws lib/dbus-1.0/dbus-daemon-launch-helper lib/openssh/ssh-keysign lib/polkit-1/polkit-agent-helper-1
lib/eject/dmcrypt-get-device lib/xorg/Xorg.wrap lib/snapd/snap-confine lib/policykit-1/polkit-agent-helper-1
libexec/polkit-agent-helper-1 lib/cargo/bin/sudo lib/cargo/bin/su sbin/exim4 sbin/pppd sbin/mount.cifs sbin/mount.nfs
sbin/unix_chkpwd sbin/postdrop sbin/postqueue lib/chromium/chrome-sandbox libexec/cockpit-session
lib/cockpit/cockpit-session lib/spice-gtk/spice-client-glib-usb-acl-helper lib/qemu/qemu-bridge-helper lib/sudo/sesh
sbin/mount.ecryptfs_private
"""
_SETGID: Final = """
bin/at bin/bsd-write bin/chage bin/crontab bin/dotlockfile bin/expiry bin/locate bin/mlocate bin/plocate bin/screen
bin/ssh-agent bin/wall bin/write bin/write.ul sbin/unix_chkpwd sbin/postdrop sbin/postqueue lib/utempter/utempter
bin/lockfile bin/procmail bin/mail-lock bin/mail-touchlock bin/mail-unlock lib/emacs/movemail sbin/pam_extrausers_chkpwd
"""
KNOWN_SETUID: Final = frozenset(f"/usr/{path}" for path in _SETUID.split())
KNOWN_SETGID: Final = frozenset(f"/usr/{path}" for path in _SETGID.split())
# Each of these is root, or a step away from it (capabilities(7)).
_ROOTLIKE: Final = {
    0: "cap_chown", 1: "cap_dac_override", 2: "cap_dac_read_search", 3: "cap_fowner", 6: "cap_setgid", 7: "cap_setuid",
    8: "cap_setpcap", 16: "cap_sys_module", 17: "cap_sys_rawio", 18: "cap_sys_chroot", 19: "cap_sys_ptrace",
    21: "cap_sys_admin", 27: "cap_mknod", 31: "cap_setfcap", 33: "cap_mac_admin", 38: "cap_perfmon", 39: "cap_bpf",
}  # fmt: skip
KNOWN_CAPABLE: Final = frozenset({"/usr/bin/newuidmap", "/usr/bin/newgidmap", "/usr/lib/snapd/snap-confine"})
_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs", "autofs", "afs", "lustre")
_VIRTUAL: Final = ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "bpf", "mqueue")
# Where such programs are likely: looked at first, should there be no time for everything. What belongs to root comes before
# what people may fill up, and last what is large and holds no programs.
_FIRST: Final = (
    "/usr/bin", "/usr/sbin", "/usr/local", "/usr/libexec", "/opt", "/root", "/srv", "/dev", "/home", "/usr",
    "/var",
)  # fmt: skip
_LAST: Final = (
    "/usr/share", "/usr/src", "/usr/include", "/usr/lib/modules", "/var/lib/docker", "/var/lib/containers", "/var/cache",
)  # fmt: skip

FOREIGN = Kind("setuid-foreign", Severity.PROBLEM, "a program that becomes root and comes from no package")
UNEXPECTED = Kind("setuid-unexpected", Severity.WARNING, "a package's program becomes root that Debian does not ship so")
CAPABLE = Kind("capability-unexpected", Severity.WARNING, "a program has file capabilities that amount to root")
MANY: Final = 10
FIRST_PERSON: Final = 1000  # FIRST_GID of adduser.conf(5)


@dataclass(frozen=True, slots=True)
class _Program:
    path: str
    what: str
    cure: str


def look_at_programs(host: Host) -> Iterator[Seen | str]:
    walk = _Walk(host)
    found = list(walk.programs())
    packaged = _packaged(host, [one.path for one in found])
    for one in found[:MANY]:
        if one.what.startswith("has "):
            yield CAPABLE.found(f"{one.path} {one.what}", one.cure, one.path)
        elif one.path in packaged:
            yield UNEXPECTED.found(f"{one.path} is {one.what}; Debian does not ship it so", one.cure, one.path)
        else:
            yield FOREIGN.found(f"{one.path} is {one.what}, and of no package", one.cure, one.path)
    if len(found) > MANY:
        what = f"{len(found) - MANY} more programs become root unexpectedly"
        yield FOREIGN.found(what, "find / -xdev -perm /6000 -type f -ls")
    if walk.late:
        what = f"{walk.seen} files were looked at in {WALK_SECONDS:g} s, not all of {walk.late}"
        raise Unknown(f"{what}; to see all: find / -xdev -perm /6000 -type f -ls")
    if walk.hidden and not host.is_root:
        raise Unknown(f"needs root: {walk.hidden} folders could not be looked into")
    yield f"none of {walk.seen} files becomes root unexpectedly"


class _Walk:
    """Every file of the file systems of this host on which such bits have an effect."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._end = time.monotonic() + WALK_SECONDS
        self._skipped = {
            mount.point for mount in mounts(host) if mount.kind in (*_NETWORK, *_VIRTUAL) or "nosuid" in mount.options
        }
        self._done: set[str] = set()
        self.seen = 0
        self.hidden = 0
        self.late = ""

    def programs(self) -> Iterator[_Program]:
        for top in (*_FIRST, "/", *_LAST):
            if not self.late and self._host.real(top) == top:
                yield from self._below(top)

    def _below(self, top: str) -> Iterator[_Program]:
        folders = [top]
        while folders:
            folder = folders.pop()
            if folder in self._done or folder in self._skipped or (folder in _LAST and folder != top):
                continue
            self._done.add(folder)
            if time.monotonic() > self._end:
                self.late = top
                return
            try:
                entries = list(os.scandir(self._host.at(folder)))
            except OSError as error:
                self.hidden += isinstance(error, PermissionError)
                continue
            for entry in entries:
                path = f"{folder.rstrip('/')}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif entry.is_file(follow_symlinks=False):
                    self.seen += 1
                    yield from self._judged(path, entry)

    def _judged(self, path: str, entry: os.DirEntry[str]) -> Iterator[_Program]:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            return
        typed = shlex.quote(path)
        known = _plain(path)
        owner = self._host.owner(path, found)
        if found.st_mode & stat.S_ISUID and owner == 0 and known not in KNOWN_SETUID:
            yield _Program(path, f"setuid root (mode {stat.S_IMODE(found.st_mode):04o})", f"chmod u-s {typed}")
        elif found.st_mode & stat.S_ISGID and found.st_mode & stat.S_IXGRP and known not in KNOWN_SETGID | KNOWN_SETUID:
            group = self._host.group(path, found)
            if group < FIRST_PERSON:  # with a group of their own, people may do as they like
                yield _Program(path, f"setgid {group} (mode {stat.S_IMODE(found.st_mode):04o})", f"chmod g-s {typed}")
        if found.st_mode & 0o111 and known not in KNOWN_CAPABLE:
            names = rootlike(self._host.file_capabilities(path))
            if names:
                yield _Program(path, f"has {', '.join(names)}", f"setcap -r {typed}")


def _plain(path: str) -> str:
    """As it is known: below /usr, without the multiarch folder."""
    path = path if path.startswith("/usr/") else f"/usr{path}"
    parts = path.split("/")
    if len(parts) > 3 and parts[2] == "lib" and "-linux-gnu" in parts[3]:
        del parts[3]
    return "/".join(parts)


def rootlike(value: bytes | None) -> list[str]:
    """The names in a security.capability attribute that amount to root (struct vfs_cap_data, linux/capability.h)."""
    if value is None or len(value) < 12:
        return []
    words = struct.unpack(f"<{len(value) // 4}I", value[: len(value) // 4 * 4])
    permitted = words[1] | (words[3] << 32 if len(words) >= 5 else 0)
    return [name for bit, name in _ROOTLIKE.items() if permitted >> bit & 1]


def _packaged(host: Host, paths: Iterable[str]) -> set[str]:
    """Those that dpkg knows; each is asked for in both spellings of a merged /usr."""
    asked = {path: {path, path.removeprefix("/usr")} for path in paths}
    if not asked:
        return set()
    ran = host.run("/usr/bin/dpkg-query", "-S", *sorted(set().union(*asked.values())))
    known = set() if ran is None else {line.rpartition(": ")[2] for line in ran.out.splitlines()}
    return {path for path, spellings in asked.items() if spellings & known}


CHECKS: Final = (Check("doors-programs", look_at_programs, (FOREIGN, UNEXPECTED, CAPABLE)),)
