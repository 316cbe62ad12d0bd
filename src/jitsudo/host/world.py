"""The file system as a caller's command will see it, resolved below the caller's own root."""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from jitsudo.policy.world import FileFacts, FileKind
from jitsudo.types import AbsPath, Account, Digest

MAX_LINKS = 40  # as the kernel: path_resolution(7)
MAX_STEPS = 4096  # components, those of links included

MAX_DIGEST_BYTES = 256 << 20
MAX_KEPT_DIGESTS = 1024
SETTLED_SECONDS = 2.0  # a file that changed later might change again without its times showing it: they are coarse

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class _Unestablished(Exception):
    """The path cannot be followed, or not safely."""


class HostWorld:
    """Implements `policy.world.World` on an O_PATH descriptor of the caller's root (default: this process's own).

    `user` is the account look-up, `group` says whether there is such a group (default: this host's). The descriptors stay
    the caller's to close, but for the one opened by default, which `close` (or `with`) closes.

    Every component is opened without following it and then asked what it is, so that nothing can be swapped between the
    question and the step; `..` and absolute links never lead above the caller's root.
    """

    def __init__(
        self,
        user: Callable[[str], Account | None],
        root_fd: int | None = None,
        cwd_fd: int | None = None,
        *,
        group: Callable[[str], bool] | None = None,
    ) -> None:
        self._user = user
        self._group = group or _is_group
        self._own_root = os.open("/", _LOOK | os.O_DIRECTORY) if root_fd is None else None
        self._root = self._own_root if self._own_root is not None else root_fd
        self._cwd = cwd_fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened here."""
        if self._own_root is not None:
            os.close(self._own_root)
            self._own_root = self._root = None

    def real_path(self, path: AbsPath) -> AbsPath | None:
        """See `World.real_path`."""
        try:
            with _Walk(self._root, trusting_root_alone=True) as walk:
                walk.go(path, follow_last=True)
                return AbsPath("/" + "/".join(walk.names))
        except (OSError, _Unestablished):
            return None

    def facts(self, path: AbsPath) -> FileFacts | None:
        """See `World.facts`."""
        try:
            with _Walk(self._root) as walk:
                found = walk.go(path, follow_last=False)
        except _Unestablished:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None
            raise
        return _facts(found) if found else None

    def user(self, name: str) -> Account | None:
        """See `World.user`."""
        return self._user(name)

    def group(self, name: str) -> bool:
        """See `World.group`."""
        return self._group(name)

    def digest(self, path: AbsPath) -> Digest | None:
        """See `World.digest`: of the file that the path leads to, read by its descriptor, MAX_DIGEST_BYTES at most."""
        try:
            with _Walk(self._root, trusting_root_alone=True) as walk:
                walk.go(path, follow_last=True)
                return _digest(walk.open_last())
        except (OSError, _Unestablished):
            return None

    def cwd_is(self, path: AbsPath) -> bool:
        """Whether `path` names the directory that the caller's cwd descriptor holds."""
        if self._cwd is None:
            return False
        try:
            with _Walk(self._root) as walk:
                found = walk.go(path, follow_last=True)
        except (OSError, _Unestablished):
            return False
        return found is not None and os.path.samestat(found, os.fstat(self._cwd))


class _Walk:
    """One walk from the root; `names` is where it stands, without links."""

    def __init__(self, root: int | None, *, trusting_root_alone: bool = False) -> None:
        if root is None:
            raise _Unestablished
        self._careful = trusting_root_alone
        self._folders = [os.dup(root)]
        self.names: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for fd in self._folders:
            os.close(fd)

    def go(self, path: str, *, follow_last: bool) -> os.stat_result | None:
        """Walk; what stands at the end, or None if its last component does not exist."""
        todo = deque(path.split("/"))
        links = steps = 0
        found: os.stat_result | None = os.fstat(self._folders[0])
        while todo:
            steps += 1
            if steps > MAX_STEPS or len(self._folders) <= len(self.names):
                # Too long, or something other than a folder is to be walked through: `file/..`, `missing/x`.
                raise _Unestablished
            name = todo.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                found = self._up()
                continue
            found, target = self._step(name, last=not any(todo) and not follow_last)
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise _Unestablished
                if target.startswith("/"):
                    self._restart()
                todo.extendleft(reversed(target.split("/")))
        return found

    def _step(self, name: str, *, last: bool) -> tuple[os.stat_result | None, str | None]:
        """Look at one component: what it is, and where it leads if it is a link to be followed."""
        folder = self._folders[-1]
        if self._careful:
            above = os.fstat(folder)
            if above.st_uid != 0 or above.st_mode & 0o022:
                raise _Unestablished
        try:
            fd = os.open(name, _LOOK, dir_fd=folder)
        except FileNotFoundError:
            self.names.append(name)
            return None, None
        keep = False
        try:
            found = os.fstat(fd)
            if stat.S_ISLNK(found.st_mode) and not last:
                return found, os.readlink("", dir_fd=fd)
            keep = stat.S_ISDIR(found.st_mode)
            self.names.append(name)
            if keep:
                self._folders.append(fd)
            return found, None
        finally:
            if not keep:
                os.close(fd)

    def open_last(self) -> int:
        """A descriptor to read the file at which the walk ended."""
        if not self.names or len(self._folders) != len(self.names):
            raise _Unestablished
        # O_NONBLOCK: a FIFO must not hang the daemon.
        return os.open(
            self.names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folders[-1]
        )

    def _up(self) -> os.stat_result:
        if self.names:
            self.names.pop()
            os.close(self._folders.pop())
        return os.fstat(self._folders[-1])

    def _restart(self) -> None:
        while self.names:
            self._up()


def _is_group(name: str) -> bool:
    """Whether the name service knows a group by this very name."""
    try:
        return grp.getgrnam(name).gr_name == name
    except KeyError:
        return False


def _facts(found: os.stat_result) -> FileFacts:
    kinds: dict[int, FileKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return FileFacts(
        kind=kinds.get(stat.S_IFMT(found.st_mode), "other"),
        uid=found.st_uid,
        gid=found.st_gid,
        mode=stat.S_IMODE(found.st_mode),
        dev=found.st_dev,
        ino=found.st_ino,
    )


class _Digests:
    """Digests of files that have not changed since: by device, inode, both times and size."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], Digest] = {}
        self._lock = threading.Lock()

    def of(self, key: tuple[int, ...]) -> Digest | None:
        with self._lock:
            return self._kept.get(key)

    def keep(self, key: tuple[int, ...], digest: Digest) -> None:
        with self._lock:
            if len(self._kept) >= MAX_KEPT_DIGESTS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = digest


_DIGESTS = _Digests()


def _digest(fd: int) -> Digest | None:
    """The digest of a regular file's content; closes `fd`. None if it is too large, or changed while it was read."""
    with open(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_DIGEST_BYTES:
            return None
        key = _identity(found)
        if (kept := _DIGESTS.of(key)) is not None:
            return kept
        state = hashlib.sha256()
        left = MAX_DIGEST_BYTES + 1
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            state.update(chunk)
            left -= len(chunk)
        if left <= 0 or _identity(os.fstat(fd)) != key:
            return None
    digest = Digest("sha256:" + state.hexdigest())
    if time.time() - found.st_ctime > SETTLED_SECONDS:
        _DIGESTS.keep(key, digest)
    return digest


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
