"""Owners and modes of everything that is jitsudo's, and of all folders above it: who writes there becomes root."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Entry, Host
from jitsudo.doctor.registry import Area, Check

PACKAGED: Final = "/usr/lib/python3/dist-packages/jitsudo"
MOST_FILES: Final = 5_000
MOST_FINDINGS: Final = 10


@dataclass(frozen=True, slots=True)
class Tree:
    """A file or folder of ours. `secret`: nobody but root may read it. `whole`: with all that is in it."""

    path: str
    needed: bool = True
    secret: bool = False
    whole: bool = True


TREES: Final = (
    Tree("/etc/jitsudo"),
    Tree("/etc/jitsudo/policy.d"),
    Tree("/etc/pam.d/jitsudo"),
    Tree("/etc/pam.d/jitsudo-sudo"),
    Tree("/usr/bin/jitsudo"),
    Tree("/usr/sbin/jitsudod"),
    Tree("/usr/libexec/jitsudo"),
    Tree("/usr/libexec/jitsudo/jitsudo-restore"),
    Tree("/usr/libexec/sudo", needed=False),
    Tree("/usr/share/jitsudo"),
    Tree("/run/jitsudo", whole=False),
    Tree("/var/lib/jitsudo", secret=True),
    *(Tree(f"/usr/lib/systemd/system/{name}") for name in ("jitsudod.service", "jitsudo-auth@.service")),
    *(Tree(f"/usr/lib/systemd/system/jitsudo{name}.socket") for name in ("d-decide", "d-control", "-auth")),
)

MISSING = Kind("file-missing", Severity.PROBLEM, "something of jitsudo's is not there: half installed, or removed by hand")
OWNER = Kind("file-owner", Severity.PROBLEM, "something of jitsudo's belongs to somebody else than root")
WRITABLE = Kind("file-writable", Severity.PROBLEM, "something of jitsudo's can be written by others than root")
SECRET = Kind("file-readable", Severity.PROBLEM, "something that is for root alone can be read by others")
ABOVE = Kind("folder-above-unsafe", Severity.PROBLEM, "a folder above something of jitsudo's is not root's alone to write")
SHADOWED = Kind("package-shadowed", Severity.PROBLEM, "Python finds another jitsudo before the one that is installed")
UNSEEN = Kind("files-many", Severity.NOTICE, "there are more files than could be looked at")


def look_at_files(host: Host) -> Iterator[Seen | str]:
    hidden: list[str] = []
    seen: set[str] = set()
    for tree in (*TREES, Tree(host.package)):
        try:
            top = host.entry(tree.path)
            if top is None:
                if tree.needed:
                    yield MISSING.found(f"there is no {tree.path}", _restoring(tree.path), tree.path)
                continue
            found = 0
            for entry in _below(host, top, whole=tree.whole):
                if entry.path in seen:
                    continue
                seen.add(entry.path)
                if len(seen) > MOST_FILES:
                    yield UNSEEN.found(f"only the first {MOST_FILES} files were looked at, up to {entry.path}")
                    return
                for wrong in _judged(entry, secret=tree.secret):
                    found += 1
                    if found <= MOST_FINDINGS:
                        yield wrong
            if found > MOST_FINDINGS:
                cure = f"chown -hR root:root {tree.path}; chmod -R go-w {tree.path}"
                what = f"{found - MOST_FINDINGS} more files below {tree.path} have a wrong owner or mode"
                yield OWNER.found(what, cure, tree.path)
        except Unknown as unknown:
            hidden.append(str(unknown))
    if hidden:
        raise Unknown(hidden[0])
    yield f"{len(seen)} files are root's, and nobody else writes them"


def _restoring(path: str) -> str:
    if path.startswith("/run/"):
        return "systemd-tmpfiles --create jitsudo.conf"
    if path in ("/etc/jitsudo", "/etc/jitsudo/policy.d"):
        return f"install -d -o root -g root -m 0755 {path}"
    if path == "/var/lib/jitsudo":
        return f"install -d -o root -g root -m 0700 {path}"
    return "apt-get install --reinstall -o DPkg::Options::=--force-confmiss jitsudo"


def _below(host: Host, top: Entry, *, whole: bool) -> Iterator[Entry]:
    yield top
    if top.kind != "folder" or not whole:
        return
    for name in host.names(top.path):
        entry = host.entry(f"{top.path}/{name}")
        if entry is not None:
            yield from _below(host, entry, whole=True)


def _judged(entry: Entry, *, secret: bool) -> Iterator[Seen]:
    path = entry.path
    typed = shlex.quote(path)
    if entry.uid != 0:
        yield OWNER.found(f"{path} belongs to uid {entry.uid}", f"chown -h root:root {typed}", path)
    if entry.kind in ("link", "socket"):
        return
    if entry.others_write:
        yield WRITABLE.found(f"{path} has mode {entry.mode_text}", f"chmod go-w {typed}", path)
    if secret and entry.mode & 0o044:
        yield SECRET.found(f"{path} has mode {entry.mode_text}", f"chmod go-rwx {typed}", path)


def look_above(host: Host) -> Iterator[Seen | str]:
    trees = (*TREES, Tree(host.package))
    done: set[str] = {tree.path for tree in trees}
    for tree in trees:
        folder = posixpath.dirname(tree.path)
        while folder not in done:
            done.add(folder)
            yield from _above(host, folder)
            folder = posixpath.dirname(folder)
    yield "every folder above them is root's alone to write"


def look_at_package(host: Host) -> Iterator[Seen | str]:
    """/usr/local comes before /usr on the sys.path of Debian's Python, also with -I."""
    for version in host.names("/usr/local/lib") if host.exists(PACKAGED) else ():
        path = f"/usr/local/lib/{version}/dist-packages/jitsudo"
        if version.startswith("python3") and host.exists(path):
            yield SHADOWED.found(f"{path} is found before {PACKAGED}", f"rm -r {shlex.quote(path)}", path)
    yield "Python finds the jitsudo that is installed"


def _above(host: Host, folder: str) -> Iterator[Seen]:
    entry = host.target(folder)
    if entry is None:
        return
    if entry.uid != 0:
        yield ABOVE.found(f"{folder} belongs to uid {entry.uid}", f"chown root:root {entry.path}", folder)
    if entry.others_write:
        yield ABOVE.found(f"{folder} has mode {entry.mode_text}", f"chmod go-w {entry.path}", folder)


# -- keys ------------------------------------------------------------------------------------------------------------

STATE: Final = "/var/lib/jitsudo"
KEYS: Final = ("host_key", "redaction_key")
NO_KEY = Kind("key-missing", Severity.NOTICE, "this host has no signing key yet: the daemon makes it at its first start")
KEY_OPEN = Kind("key-unsafe", Severity.PROBLEM, "a key of this host is not for root alone; grants can be forged with it")
KEY_OTHER = Kind("key-mismatch", Severity.WARNING, "the public key beside the host's key is another one's")


def look_at_keys(host: Host) -> Iterator[Seen | str]:
    host.require_root(f"{STATE}/host_key")
    for name in KEYS:
        path = f"{STATE}/{name}"
        entry = host.entry(path)
        if entry is None:
            yield NO_KEY.found(f"there is no {path}", "systemctl start jitsudod", path)
        elif entry.uid != 0 or entry.mode & 0o077 or entry.kind != "file":
            what = f"{path} is a {entry.kind} of uid {entry.uid}, mode {entry.mode_text}"
            yield KEY_OPEN.found(what, f"chown root:root {path}; chmod 0600 {path}", path)
    public = (host.read(f"{STATE}/host_key.pub") or "").split()
    if len(public) >= 2:
        ran = host.run("/usr/bin/ssh-keygen", "-y", "-P", "", "-f", f"{STATE}/host_key")
        if ran is not None and ran.status == 0 and ran.out.split()[:2] != public[:2]:
            cure = f"ssh-keygen -y -f {STATE}/host_key > {STATE}/host_key.pub"
            yield KEY_OTHER.found(f"{STATE}/host_key.pub is not that of {STATE}/host_key", cure, f"{STATE}/host_key.pub")
    yield "the host's keys are for root alone"


FILES: Final = Area(
    "files",
    "owners and modes of what is jitsudo's, and of the folders above",
    (
        Check("files", look_at_files, (MISSING, OWNER, WRITABLE, SECRET, UNSEEN)),
        Check("package", look_at_package, (SHADOWED,)),
        Check("folders-above", look_above, (ABOVE,)),
    ),
)
KEYS_AREA: Final = Area("keys", "the host's own keys", (Check("keys", look_at_keys, (NO_KEY, KEY_OPEN, KEY_OTHER)),))
