"""The machine that a policy's tests presume: programs and paths exist and are root's, unless the test says otherwise."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Final

from jitsudo.errors import InvalidValue
from jitsudo.policy.paths import SECURE_FOLDERS
from jitsudo.policy.world import FileFacts
from jitsudo.types import AbsPath, Account, Digest, Gid, Uid, UserName

MAX_LINKS: Final = 40  # as the kernel: path_resolution(7)
_SOMEBODY: Final = 1000
_MERGED: Final = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}  # file-hierarchy(7)


class PresumedWorld:
    """Implements `policy.world.World` without looking at this machine.

    `links`: symbolic links by their place. `programs`: executable files. `folders`: what is a folder for certain; so is all
    that lies above a path that is asked about. `writable`: where others than root write. `digests`: of programs whose
    content a rule pins. `leaves`: what a path is of which nothing else is known.
    """

    def __init__(
        self,
        *,
        links: Mapping[str, str] | None = None,
        programs: Iterable[str] = (),
        folders: Iterable[str] = (),
        writable: Iterable[str] = (),
        digests: Mapping[str, Digest] | None = None,
        leaves_are_folders: bool = False,
    ) -> None:
        self._links = {**_MERGED, **{_shortest(place): target for place, target in (links or {}).items()}}
        self._programs = frozenset(self._resolved(path) for path in programs)
        self._writable = tuple(writable)
        self._digests = dict(digests or {})
        self._leaves_are_folders = leaves_are_folders
        self._folders: set[str] = {"/", *folders}
        self._numbers: dict[str, int] = {}
        for folder in SECURE_FOLDERS:
            self._folders.add(self._resolved(folder))
        for path in (*self._programs, *self._folders, *self._links):
            self._folders.update(_above(path))

    def real_path(self, path: AbsPath) -> AbsPath | None:
        """See `World.real_path`."""
        found = self._resolve(path)
        if found is None or any(_lies_under(folder, other) for folder in found[1] for other in self._writable):
            return None
        self._folders.update(found[1])
        return AbsPath(found[0])

    def facts(self, path: AbsPath) -> FileFacts | None:
        """See `World.facts`."""
        folder, _, last = _shortest(path).rpartition("/")
        above = self._resolve(folder)
        if above is None:
            return None
        name = posixpath.join(above[0], last) if last else "/"
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        if name in self._links:
            return FileFacts("link", 0, 0, 0o777, 1, number)
        owner = _SOMEBODY if any(name != folder and _lies_under(name, folder) for folder in self._writable) else 0
        if name in self._programs:
            return FileFacts("file", owner, owner, 0o755, 1, number)
        if above[0] in SECURE_FOLDERS:  # only the programs that the policy knows: any other name is free
            return None
        if name in self._folders or self._leaves_are_folders:
            return FileFacts("directory", owner, owner, 0o1777 if name in self._writable else 0o755, 1, number)
        return FileFacts("file", owner, owner, 0o644, 1, number)

    def _resolved(self, path: str) -> str:
        found = self._resolve(path)
        return found[0] if found else path

    def _resolve(self, path: str) -> tuple[str, tuple[str, ...]] | None:
        """Where the path leads, and every folder on the way; None if its links go in a circle."""
        todo, at, links, way = path.split("/")[::-1], "/", 0, ["/"]
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            way.append(at)
            if part == "..":
                at = posixpath.dirname(at)
                continue
            step = posixpath.join(at, part)
            target = self._links.get(step)
            if target is None:
                at = step
                continue
            links += 1
            if links > MAX_LINKS:
                return None
            at = "/" if target.startswith("/") else at
            todo += target.split("/")[::-1]
        return at, tuple(way)

    def user(self, name: str) -> Account | None:
        """See `World.user`: every name that can be one is one."""
        try:
            uid = 0 if name == "root" else _SOMEBODY
            home = "/root" if name == "root" else f"/home/{name}"
            return Account(UserName(name), Uid(uid), Gid(uid), (Gid(uid),), home, "/bin/bash")
        except InvalidValue:
            return None

    def group(self, name: str) -> bool:
        """See `World.group`: likewise."""
        return self.user(name) is not None

    def digest(self, path: AbsPath) -> Digest | None:
        """See `World.digest`: what the rule under test pins."""
        return self._digests.get(_shortest(path))

def _lies_under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _shortest(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _above(path: str) -> list[str]:
    found = []
    while path != "/":
        path = posixpath.dirname(path)
        found.append(path)
    return found
