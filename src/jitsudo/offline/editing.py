"""`jitsudo policy edit`, as visudo does it: a copy is edited, and nothing invalid is ever installed.

1 lock the folder · 2 copy the file into a private folder beside it · 3 editor · 4 check the whole policy as it would be ·
5 what is wrong is shown, and asked about · 6 install by rename, with the file's owner and mode.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from jitsudo.errors import Ambiguous, Failed, InvalidValue, WrongState
from jitsudo.host.checkedfiles import MAX_FILE_BYTES, read_checked, read_folder
from jitsudo.offline.checking import Checked, check
from jitsudo.offline.sources import Knowledge, Sources
from jitsudo.policy.issues import Issue, shown

NEW_FILE: Final = "# yaml-language-server: $schema=/usr/share/jitsudo/policy.schema.json\nversion: 1\n"
_EDITORS: Final = ("/usr/bin/editor", "/usr/bin/sensible-editor", "/usr/bin/nano", "/usr/bin/vi")

Answer = Literal["edit", "exit", "save"]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """How the person is spoken to: `show` takes what a check found, `ask` returns what now, `tell` takes a sentence."""

    show: Callable[[Checked], None]
    ask: Callable[[], Answer]
    tell: Callable[[str], None]


def editor_command(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The editor: SUDO_EDITOR, VISUAL or EDITOR, split into words and run as it is; or the first of the usual ones."""
    for name in ("SUDO_EDITOR", "VISUAL", "EDITOR"):
        text = environment.get(name, "").strip()
        if text:
            try:
                return tuple(shlex.split(text))
            except ValueError as error:
                raise InvalidValue(f"{name} cannot be split into words: {text!a}") from error
    for path in _EDITORS:
        if os.access(path, os.X_OK):
            return (path,)
    raise Failed("there is no editor", "set EDITOR")


def file_to_edit(folder: Path, name: str | None) -> str:
    """The file's name within the folder: as given, with or without `.yaml`, or the only one there is."""
    if name is not None:
        path = Path(name)
        if path.parent not in (Path(), folder) or not path.name or path.name.startswith("."):
            raise InvalidValue(f"not a policy file's name: {name!a}", f"files of {folder} are edited, e.g. web.yaml")
        return path.name if path.suffix == ".yaml" else f"{path.name}.yaml"
    try:
        found = sorted(one.name for one in folder.glob("*.yaml") if not one.name.startswith("."))
    except OSError as error:
        raise Failed(f"{folder} cannot be read: {error.strerror}") from error
    if len(found) > 1:
        raise Ambiguous(f"there are several files: {shown(', '.join(found))}", "jitsudo policy edit FILE")
    return found[0] if found else "policy.yaml"


def edit(
    folder: Path, name: str, editor: tuple[str, ...], knowledge: Knowledge, dialogue: Dialogue, *, check_owner: bool
) -> bool:
    """Edit one file; whether a new version was installed. Raises Failed, WrongState if somebody else is editing."""
    with _locked(folder), _private_copy(folder, name) as (copy, before):
        while True:
            _run_editor(editor, copy, dialogue)
            after = _read_copy(copy)
            if after == before or (before is None and after == NEW_FILE.encode()):
                dialogue.tell(f"{shown(name)} is unchanged")
                return False
            checked = _check(folder, name, after, knowledge, check_owner=check_owner)
            dialogue.show(checked)
            answer = _what_now(checked, dialogue)
            if answer == "exit":
                dialogue.tell(f"{shown(name)} is unchanged")
                return False
            if answer == "save":
                replace_file(folder, name, before, after)
                return True


def _what_now(checked: Checked, dialogue: Dialogue) -> Answer:
    """A valid policy whose tests pass is saved at once; an invalid one never."""
    if not any(finding.severity == "error" for finding in checked.findings):
        return "save"
    while True:
        answer = dialogue.ask()
        if answer != "save" or checked.policy is not None:
            return answer
        dialogue.tell("an invalid policy is never installed: edit it again, or exit")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Failed(f"{folder} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise WrongState("somebody else is editing the policy", "try again later") from error
    finally:
        os.close(fd)


@contextmanager
def _private_copy(folder: Path, name: str) -> Iterator[tuple[Path, bytes | None]]:
    """A copy in a folder of its own, so that it has the file's name and an editor's swap files are nobody else's."""
    issues: list[Issue] = []
    before = read_checked(folder, name, issues, check_owner=False)
    if before is None and os.path.lexists(folder / name):
        raise Failed(f"{name} cannot be edited: {issues[0].message if issues else 'it cannot be read'}")
    try:
        place = Path(tempfile.mkdtemp(prefix=".edit-", dir=folder))
    except OSError as error:
        raise Failed(f"{folder} cannot be written: {error.strerror}", "edit the policy as root") from error
    try:
        copy = place / name
        copy.write_bytes(NEW_FILE.encode() if before is None else before)
        copy.chmod(0o600)
        yield copy, before
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _run_editor(editor: tuple[str, ...], copy: Path, dialogue: Dialogue) -> None:
    try:
        status = subprocess.run((*editor, str(copy)), check=False).returncode  # noqa: S603  root's own choice of editor
    except (OSError, ValueError) as error:
        raise Failed(f"the editor {shown(editor[0])} cannot be started: {error}", "set EDITOR") from error
    if status:
        dialogue.tell(f"the editor ended with status {status}")


def _read_copy(copy: Path) -> bytes:
    try:
        with copy.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Failed(f"the edited copy cannot be read: {error.strerror}") from error
    return raw


def _check(folder: Path, name: str, after: bytes, knowledge: Knowledge, *, check_owner: bool) -> Checked:
    """The whole policy with the new version in the old one's place."""
    issues: list[Issue] = []
    files = read_folder(folder, issues, check_owner=check_owner)
    if len(after) > MAX_FILE_BYTES:
        issues.append(Issue(shown(name), 1, 1, "error", f"larger than {MAX_FILE_BYTES} bytes"))
    # What is wrong with the file that is replaced is about to be over.
    issues = [issue for issue in issues if issue.file != shown(name) or "larger" in issue.message]
    sources = Sources({**files, name: after}, (folder,), tuple(issues), check_owner)
    return check(sources, knowledge)


def replace_file(folder: Path, name: str, before: bytes | None, after: bytes) -> None:
    """By rename: a reader sees the old file or the new one. Owner and mode are the old one's, root's and 0644 for a new one."""
    target = folder / name
    issues: list[Issue] = []
    if read_checked(folder, name, issues, check_owner=False) != before:
        raise WrongState(f"{name} was changed by somebody else meanwhile; nothing was saved", "edit it again")
    try:
        fd, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(after)
                if before is None:
                    os.fchmod(file.fileno(), 0o644)
                else:
                    found = os.stat(target, follow_symlinks=False)
                    os.fchown(file.fileno(), found.st_uid, found.st_gid)
                    os.fchmod(file.fileno(), found.st_mode & 0o7777)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, target)
        except BaseException:  # interrupted, too: nothing half-written stays; raised again
            os.unlink(temporary)
            raise
        _sync(folder)
    except OSError as error:
        raise Failed(f"{name} could not be saved: {error.strerror}") from error


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
