"""Where a path named on a command line leads, and whether anybody but root could change that meanwhile."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from jitsudo.errors import InvalidValue
from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.rules import PathUnder
from jitsudo.policy.world import World
from jitsudo.types import AbsPath

# usr-merge (file-hierarchy(7)): these top-level folders are links into /usr on the hosts that have it.
_MERGED = ("/bin/", "/sbin/", "/lib/", "/lib64/")


MAX_KEPT_CHARS = 128
# What no program takes for anything but a path: `|sh` is a command to psql and strace, `host:x` another host to tar and rsync,
# `a=b` a variable to awk and make. Whoever means a file of such a name writes ./ before it.
_PLAINLY_A_PATH = re.compile(r"/|[\w.\udc80-\udcff][^/:=]*(?:/|\Z)")
SECURE_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True, slots=True)
class Place:
    """The world, the cwd and the person of one evaluation; None as cwd: relative paths mean nothing here.

    Folders of the policy are resolved once, and a rule's program is looked at once.
    """

    world: World
    cwd: AbsPath | None
    person: str = ""
    grammars: Grammars = field(default_factory=lambda: NO_GRAMMARS)
    _resolved: dict[AbsPath, AbsPath | None] = field(default_factory=dict)
    _programs: dict[AbsPath, bool] = field(default_factory=dict)

    def elsewhere(self, folders: Sequence[str], *, placeable: bool) -> Place:
        """This place after changing to `folders`, one after the other; `placeable` False: for a part of the line only."""
        cwd = self.cwd if placeable else None
        for folder in folders:
            here = replace(self, cwd=cwd)
            cwd = here.absolute(folder)
        return self if cwd == self.cwd else replace(self, cwd=cwd)

    def is_roots_program(self, path: AbsPath) -> bool:
        """See the function of that name."""
        if path not in self._programs:
            self._programs[path] = is_roots_program(path, self.world)
        return self._programs[path]

    def folder(self, path: AbsPath) -> AbsPath | None:
        """The real path of a folder or program that policy or action name."""
        if path not in self._resolved:
            self._resolved[path] = self.world.real_path(path)
        return self._resolved[path]

    def absolute(self, text: str) -> AbsPath | None:
        """`text` against the cwd, not normalized; None where it cannot be a path."""
        if not text or (self.cwd is None and not text.startswith("/")):
            return None
        try:
            return AbsPath(text if text.startswith("/") else f"{self.cwd}/{text}")
        except InvalidValue:
            return None


def shortest(path: str) -> str:
    """`path` without `.`, `..`, doubled and trailing slashes, as text alone."""
    return "/" + posixpath.normpath(path).lstrip("/")


def lies_under(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or beneath it; both in their shortest form."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def folders_above(path: str) -> tuple[AbsPath, ...]:
    """Every folder on the way to `path`, from `/` on: nothing is asked about a folder before those above it are safe."""
    # What is kept must be small: callers choose paths, and one of 4 KiB has megabytes of folders above it.
    return _short_folders_above(path) if len(path) <= MAX_KEPT_CHARS else _folders_above(path)


def _folders_above(path: str) -> tuple[AbsPath, ...]:
    ends = [end for end in range(1, len(path)) if path[end] == "/"]
    return (AbsPath("/"), *(AbsPath(path[:end]) for end in ends))


_short_folders_above = lru_cache(maxsize=512)(_folders_above)


def only_root_can_redirect(path: str, world: World) -> bool:
    """Whether every folder above `path` is root's and writable by nobody else.

    A link on the way is as safe as the folder that holds it: links cannot be written, only replaced.
    """
    for folder in folders_above(path):
        facts = world.facts(folder)
        if facts is None or not (facts.kind == "link" or (facts.kind == "directory" and facts.roots_alone)):
            return False
    return True


def both_ways_are_roots(named: str, real: str, world: World) -> bool:
    """Whether root alone can redirect a path, both as it is named and as it is resolved."""
    return only_root_can_redirect(named, world) and (real == named or only_root_can_redirect(real, world))


def path_matches(wanted: PathUnder, text: str, place: Place) -> bool:
    """Whether an argument is a path that the type admits: as named and as resolved, with safe folders on both ways."""
    path = place.absolute(text) if _PLAINLY_A_PATH.match(text) else None
    real = place.world.real_path(path) if path else None
    if path is None or real is None:
        return False
    named = shortest(path)
    if not any(_is_within(wanted, folder, named, real, place) for folder in wanted.under):
        return False
    if not both_ways_are_roots(named, real, place.world):
        return False
    return _is_of_kind(wanted, real, place.world)


def _is_within(wanted: PathUnder, folder: AbsPath, named: str, real: str, place: Place) -> bool:
    real_folder = place.folder(folder)
    if real_folder is None or not lies_under(named, folder) or not lies_under(real, real_folder):
        return False
    if wanted.glob is None:
        return True
    parts = (_beneath(named, folder), _beneath(real, real_folder))
    return all(part and wanted.glob.matches(part) for part in parts)


def _beneath(path: str, folder: str) -> str:
    return path[len(folder.rstrip("/")) + 1 :]


def _is_of_kind(wanted: PathUnder, real: AbsPath, world: World) -> bool:
    if wanted.exists is None and wanted.kind is None:
        return True
    facts = world.facts(real)
    if facts is None:
        return wanted.exists is False and wanted.kind is None
    return wanted.exists is not False and wanted.kind in (None, facts.kind)


def path_may_concern(wanted: PathUnder, text: str, place: Place, *, embedded: bool) -> bool:
    """Whether an argument may lead to what a guardrail protects: beneath its folders, or to a folder that holds them.

    What cannot be resolved may. `embedded`: `text` is part of an argument that may not be a path at all; a relative one
    that cannot be resolved then counts only where it begins with a file that exists.
    """
    path = place.absolute(text)
    if path is None:
        return bool(text)
    real = place.world.real_path(path)
    if real is None:
        first = place.absolute(text.partition("/")[0])
        return not embedded or first is None or place.world.facts(first) is not None
    named = shortest(path)
    return any(_may_lead_to(wanted, folder, named, real, place) for folder in wanted.under)


def _may_lead_to(wanted: PathUnder, folder: AbsPath, named: str, real: str, place: Place) -> bool:
    for way, top in ((named, folder), (real, folder), (real, place.folder(folder) or folder)):
        if lies_under(top, way):
            return True
        if lies_under(way, top) and (wanted.glob is None or wanted.glob.matches(_beneath(way, top), lenient=True)):
            return True
    return False


def on_secure_path(name: str, world: World) -> AbsPath | None:
    """The program that a name without `/` stands for, looked up as sudo does: on a fixed path, whatever the caller's says.

    None as well where somebody else than root could put another in front of it.
    """
    for folder in SECURE_FOLDERS:
        path = AbsPath(f"{folder}/{name}")
        if world.facts(AbsPath(folder)) is None:
            continue
        if not only_root_can_redirect(path, world):
            return None
        if world.facts(path) is not None:
            return path
    return None


def is_same_program(looked_up: AbsPath, wanted: AbsPath, world: World) -> bool:
    """Whether two paths are one but for the usr-merge. Other names of a program are other programs."""
    if looked_up == wanted:
        return True
    if _merged(looked_up) != _merged(wanted):
        return False
    ours, theirs = world.facts(wanted), world.facts(looked_up)
    return ours is not None and theirs is not None and (ours.dev, ours.ino) == (theirs.dev, theirs.ino)


def _merged(path: str) -> str:
    return f"/usr{path}" if path.startswith(_MERGED) else path


def other_spelling(path: AbsPath) -> AbsPath | None:
    """The path under which the usr-merge shows the same file; None where it shows none."""
    if path.startswith(_MERGED):
        return AbsPath(f"/usr{path}")
    return AbsPath(path[4:]) if path.startswith("/usr/") and path[4:].startswith(_MERGED) else None


def nobody_can_place(path: AbsPath, world: World) -> bool:
    """Whether there is no such file, and nobody but root could put one there: a program of a container, say."""
    if world.facts(path) is not None:
        return False
    for folder in folders_above(path):
        facts = world.facts(folder)
        if facts is None:
            return True
        if facts.kind != "directory" or not facts.roots_alone:
            return False
    return True


def is_roots_program(path: AbsPath, world: World) -> bool:
    """Whether `path` is an executable file that root alone can change or replace."""
    real = world.real_path(path)
    facts = world.facts(real) if real else None
    if real is None or facts is None or facts.kind != "file" or not facts.roots_alone or not facts.mode & 0o111:
        return False
    return both_ways_are_roots(path, real, world)
