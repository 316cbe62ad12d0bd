"""What evaluation needs to know of the machine; `jitsudo.host.world` implements it, tests replace it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from jitsudo.errors import TooMany
from jitsudo.types import AbsPath, Account, Digest

# Some 10 µs each. A command line of 2 MiB would otherwise have a thread walk the file system for minutes, unstoppably.
MAX_STEPS: Final = 100_000

FileKind = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What lstat(2) says of a path; `mode` is the permission bits alone (st_mode & 0o7777)."""

    kind: FileKind
    uid: int
    gid: int
    mode: int
    dev: int
    ino: int

    @property
    def roots_alone(self) -> bool:
        """Whether it is root's and writable by nobody else."""
        return self.uid == 0 and not self.mode & 0o022


class World(Protocol):
    """The file system as the command will see it, and the user database. Any method may raise: that denies."""

    def real_path(self, path: AbsPath) -> AbsPath | None:
        """`path` with `.`, `..` and all symbolic links resolved; a missing last component is fine.

        None if it cannot be established, and also if a folder on the way is not root's or somebody else can write it:
        the answer could then be undone before the program opens the file.
        """

    def facts(self, path: AbsPath) -> FileFacts | None:
        """lstat(2) of `path`; None if there is no such file."""

    def user(self, name: str) -> Account | None:
        """The user database's entry of that name; None if there is none."""

    def group(self, name: str) -> bool:
        """Whether the user database has a group of that name."""

    def digest(self, path: AbsPath) -> Digest | None:
        """The SHA-256 of the file's content; None if it cannot be read, or is too large to."""


class Bounded:
    """A world that answers as long as there is time: beyond MAX_STEPS path components in all, asking raises, which denies."""

    def __init__(self, world: World, most: int = MAX_STEPS) -> None:
        self._world = world
        self._left = most

    def real_path(self, path: AbsPath) -> AbsPath | None:
        """See `World.real_path`."""
        self._count(path)
        return self._world.real_path(path)

    def facts(self, path: AbsPath) -> FileFacts | None:
        """See `World.facts`."""
        self._count(path)
        return self._world.facts(path)

    def user(self, name: str) -> Account | None:
        """See `World.user`."""
        return self._world.user(name)

    def group(self, name: str) -> bool:
        """See `World.group`."""
        return self._world.group(name)

    def digest(self, path: AbsPath) -> Digest | None:
        """See `World.digest`."""
        self._count(path)
        return self._world.digest(path)

    def _count(self, path: AbsPath) -> None:
        self._left -= 1 + path.count("/")
        if self._left < 0:
            raise TooMany("this command line names too many paths to look at")
