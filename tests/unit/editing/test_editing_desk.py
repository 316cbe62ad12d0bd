"""Where the person works, and as whom."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from jitsudo.editing import original as original_module
from jitsudo.editing.desk import Desk
from jitsudo.editing.original import Original, open_original
from jitsudo.editing.person import Editing, person_behind
from jitsudo.elevation.edit import Editor
from jitsudo.errors import Denied, Failed
from jitsudo.types import AbsPath


@pytest.fixture
def originals(roots: Path) -> list[Original]:
    (roots / "f.conf").write_text("old")
    (roots / "f.conf").chmod(0o600)
    return [open_original(AbsPath(str(roots / name))) for name in ("f.conf", "new")]


def script(shared: Path, text: str) -> Editor:
    path = shared / "editor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Editor(str(path), ("editor", "-x"))


def test_the_copies_are_the_persons_own(person: Editing, originals: list[Original], shared: Path) -> None:
    """Under the files' names, so that an editor knows their kind; for nobody else to read; gone afterwards."""
    with Desk(person, originals, str(shared)) as desk:
        assert [Path(path).name for path in desk.paths] == ["f.conf", "new"]
        for path in desk.paths:
            for checked in (Path(path), Path(path).parent):
                status = checked.stat()
                assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode) & 0o077) == (person.uid, person.gid, 0)
        assert desk.read_back() == (b"old", b"")
    assert os.listdir(shared) == []


def test_the_editor_runs_as_the_person(person: Editing, originals: list[Original], shared: Path) -> None:
    """All ids, all groups, its own words, the environment it is given, the copies' paths, and no descriptor of ours."""
    editor = script(shared, 'echo "$0 $* $(id -u) $(id -ru) $(id -G) $FOO $(umask)" >"$2"; ls /proc/self/fd >"$3"; exit 3')
    with Desk(person, originals, str(shared)) as desk:
        assert desk.run(editor, {"FOO": "bar", "PATH": "/usr/bin:/bin"}) == 3
        told, descriptors = desk.read_back()
        groups = " ".join(str(gid) for gid in person.groups)
        expected = f"{editor.path} -x {' '.join(desk.paths)} {person.uid} {person.uid} {groups} bar 0077\n"
        assert told.decode() == expected
        assert set(descriptors.split()) <= {b"0", b"1", b"2", b"3"}


def test_an_editor_that_cannot_be_run_is_an_error(person: Editing, originals: list[Original], shared: Path) -> None:
    """A typed one, and the copies are removed."""
    with Desk(person, originals, str(shared)) as desk, pytest.raises(Failed, match="No such file"):
        desk.run(Editor("/nonexistent", ("x",)), {})
    assert os.listdir(shared) == []


def test_an_interrupt_is_the_editors(person: Editing, originals: list[Original], shared: Path) -> None:
    """^C in an editor must not end the helper; the editor gets it as usual."""
    editor = script(shared, 'kill -INT $PPID; kill -QUIT $PPID; echo survived >"$2"; kill -INT $$; echo not >"$2"')
    with Desk(person, originals, str(shared)) as desk:
        assert desk.run(editor, {"PATH": "/usr/bin:/bin"}) == -2
        assert desk.read_back()[0] == b"survived\n"


def test_an_editor_that_stops_gives_the_terminal_back(
    person: Editing, originals: list[Original], shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """^Z in vi: we stop as well, for sudo to see, and both go on together."""
    sent: list[tuple[int, int]] = []
    kill = os.kill

    def record(pid: int, number: int) -> None:
        sent.append((pid, number))
        if pid != os.getpid():
            kill(pid, number)

    monkeypatch.setattr(os, "kill", record)
    editor = script(shared, 'kill -STOP $$; kill -STOP $$; echo "$$" >"$2"')
    with Desk(person, originals, str(shared)) as desk:
        assert desk.run(editor, {"PATH": "/usr/bin:/bin"}) == 0
        pid = int(desk.read_back()[0])
    assert sent == [(os.getpid(), signal.SIGTSTP), (pid, signal.SIGCONT)] * 2


def to_shadow(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/shadow")


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o666)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    os.chown(path, 65534, 65534)


def of_root(path: Path) -> None:
    path.unlink()
    path.write_text("secret")
    path.chmod(0o600)


SWAPS: dict[str, Callable[[Path], object]] = {
    "a link": to_shadow,
    "a pipe": as_pipe,
    "a folder": as_folder,
    "a file that they may not read": of_root,
    "nothing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS.keys())
def test_only_a_plain_file_of_theirs_is_read_back(
    person: Editing, originals: list[Original], shared: Path, swap: Callable[[Path], object]
) -> None:
    """CVE-2021-23240: no link of the person's leads root anywhere, and nothing hangs."""
    with Desk(person, originals, str(shared)) as desk:
        swap(Path(desk.paths[0]))
        with pytest.raises(Failed, match=r"your copy of f\.conf"):
            desk.read_back()
        assert os.geteuid() == 0


def test_what_is_read_back_is_limited(
    person: Editing, originals: list[Original], shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the file itself is."""
    monkeypatch.setattr(original_module, "MAX_FILE_BYTES", 2)
    with Desk(person, originals, str(shared)) as desk, pytest.raises(Failed, match="more than"):
        desk.read_back()


def test_work_can_be_kept(person: Editing, originals: list[Original], shared: Path) -> None:
    """Where it could not be installed."""
    with Desk(person, originals, str(shared)) as desk:
        kept = desk.keep()
    assert Path(kept[0]).read_text() == "old"


def test_what_is_removed_is_removed_with_the_persons_rights(
    person: Editing, originals: list[Original], shared: Path, roots: Path
) -> None:
    """A folder exchanged for a link costs nobody anything."""
    (roots / "precious").mkdir()
    with Desk(person, originals, str(shared)) as desk:
        folder = Path(desk.paths[0]).parent
        folder.rename(shared / "moved")
        folder.symlink_to(roots / "precious")
    assert (roots / "precious").is_dir()


def test_acting_as_the_person_ends(person: Editing) -> None:
    """Also by an error."""
    before = (os.geteuid(), os.getegid(), os.getgroups())
    with contextlib.suppress(ZeroDivisionError), person.acting():
        assert (os.geteuid(), os.getegid(), sorted(os.getgroups())) == (person.uid, person.gid, sorted(person.groups))
        raise ZeroDivisionError
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before


def test_the_editors_environment_says_who_the_person_is(person: Editing) -> None:
    """Nothing of root's, nothing of sudo's; the rest was judged."""
    roots = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "MAIL": "x", "SHELL": "/bin/bash"}
    own = roots | {"SUDO_UID": "1", "SUDO_COMMAND": "x", "TERM": "vt100", "PATH": "/bin"}
    assert person.environment(own) == {
        "HOME": person.home, "USER": "nobody", "LOGNAME": "nobody", "SHELL": person.shell, "MAIL": "/var/mail/nobody",
        "TERM": "vt100", "PATH": "/bin",
    }  # fmt: skip


@pytest.mark.parametrize("uid", [None, "", "x", "-1", "4294967295", "01", "4000000001"])
def test_nobody_edits_for_somebody_unknown(uid: str | None) -> None:
    """Without sudo's caller there is nobody to run an editor as."""
    with pytest.raises(Denied, match="not known who edits"):
        person_behind({} if uid is None else {"SUDO_UID": uid})
