"""Where the person works: copies of their own in a folder of their own, read back with their own rights."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Final, Self

from jitsudo.editing.original import Original, read_bounded
from jitsudo.editing.person import Editing
from jitsudo.elevation.edit import Editor
from jitsudo.errors import Failed

FOLDER: Final = "/var/tmp"  # noqa: S108 - as sudo's own: what is kept after a failure survives a restart


class Desk:
    """Copies of some files for one person. On leaving they are removed, unless `keep` was called."""

    def __init__(self, person: Editing, originals: Sequence[Original], folder: str = FOLDER) -> None:
        self._person = person
        self._folders: list[tuple[str, int]] = []
        self._names = [original.name for original in originals]
        self._kept = False
        for original in originals:
            path = tempfile.mkdtemp(prefix="sudoedit-", dir=folder)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._folders.append((path, descriptor))
            self._lay_out(descriptor, original)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for path, descriptor in self._folders:
            os.close(descriptor)
            if not self._kept:
                with self._person.acting():
                    shutil.rmtree(path, ignore_errors=True)

    def _lay_out(self, folder: int, original: Original) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(original.name, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(original.content)
            os.fchown(file.fileno(), self._person.uid, self._person.gid)
        os.fchown(folder, self._person.uid, self._person.gid)  # last: from here on it is the person's

    @property
    def paths(self) -> tuple[str, ...]:
        """The copies, in the order of the files."""
        return tuple(f"{folder}/{name}" for (folder, _), name in zip(self._folders, self._names, strict=True))

    def keep(self) -> tuple[str, ...]:
        """Leave the copies where they are: somebody's work is not thrown away because it could not be installed."""
        self._kept = True
        return self.paths

    def run(self, editor: Editor, environment: Mapping[str, str]) -> int:
        """Run the editor as the person, on their terminal, and return its exit status (negative: the signal)."""
        person = self._person
        with _interrupts_are_the_editors():
            try:
                running = subprocess.Popen(  # noqa: S603 - any program will do: it runs as the person
                    [*editor.argv, *self.paths],
                    executable=editor.path,
                    env=dict(environment),
                    user=int(person.uid),
                    group=int(person.gid),
                    extra_groups=list(person.groups),
                    umask=0o077,
                    restore_signals=True,
                )
            except OSError as error:
                raise Failed(f"{editor.path}: {error.strerror}", "set SUDO_EDITOR to an editor of this host") from None
            running.returncode = _ended(running.pid)
        return running.returncode

    def read_back(self) -> tuple[bytes, ...]:
        """What the copies hold now. Raises Failed for what is no longer a plain file of theirs."""
        return tuple(self._read(descriptor, name) for (_, descriptor), name in zip(self._folders, self._names, strict=True))

    def _read(self, folder: int, name: str) -> bytes:
        with self._person.acting():
            try:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise Failed(f"your copy of {name} is gone: {error.strerror}", "edit it again") from None
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise Failed(f"your copy of {name} is not a regular file any more", "edit it again")
                return read_bounded(file, f"your copy of {name}")
            finally:
                os.close(file)


def _ended(editor: int) -> int:
    """Wait for the editor. Where it stops itself (^Z in vi), it cannot stop us, who are root: sudo would go on waiting."""
    while True:
        _, status = os.waitpid(editor, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        os.kill(os.getpid(), signal.SIGTSTP)
        os.kill(editor, signal.SIGCONT)


@contextlib.contextmanager
def _interrupts_are_the_editors() -> Iterator[None]:
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which the editor would inherit."""
