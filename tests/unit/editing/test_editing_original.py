"""The file before the edit, and its replacement."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from jitsudo.editing import original as original_module
from jitsudo.editing.original import check_unchanged, install, open_original, read_bounded
from jitsudo.errors import Denied, Failed
from jitsudo.types import AbsPath


def at(path: Path) -> AbsPath:
    return AbsPath(str(path))


def test_a_file_is_read_with_what_has_to_stay(roots: Path) -> None:
    """Content, owner, mode."""
    (roots / "f").write_bytes(b"old\xff")
    os.chown(roots / "f", 7, 8)
    (roots / "f").chmod(0o4640)
    found = open_original(at(roots / "f"))
    assert (found.content, found.uid, found.gid, found.mode, found.is_new) == (b"old\xff", 7, 8, 0o640, False)


def test_a_file_that_does_not_exist_is_new(roots: Path) -> None:
    """Root's, readable by all, as sudoedit makes it."""
    found = open_original(at(roots / "f"))
    assert (found.content, found.uid, found.gid, found.mode, found.is_new) == (b"", 0, 0, 0o644, True)


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def second_name(path: Path) -> None:
    path.write_text("x")
    os.link(path, f"{path}2")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a symbolic link": (link, "symbolic links"),
    "a symbolic link to nowhere": (dangling, "symbolic links"),
    "a hard link": (second_name, "other names"),
    "a folder": (lambda path: path.mkdir(), "not a regular file"),
    "a pipe": (lambda path: os.mkfifo(path), "not a regular file"),
    "a device": (lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)), "not a regular file"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_a_plain_file_is_refused(roots: Path, make: Callable[[Path], object], words: str) -> None:
    """CVE-2015-5602, CVE-2021-23240; and nothing hangs on a pipe."""
    make(roots / "f")
    with pytest.raises(Denied, match=words):
        open_original(at(roots / "f"))


@pytest.mark.parametrize("change", [lambda p: p.chmod(0o775), lambda p: p.chmod(0o757), lambda p: os.chown(p, 65534, 0)])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_folder_that_others_can_write_is_refused(roots: Path, change: Callable[[Path], object], depth: int) -> None:
    """Anywhere on the way: what was judged could be exchanged."""
    folders = [roots / "a", roots / "a" / "b"]
    for folder in folders:
        folder.mkdir(mode=0o755)
    (folders[1] / "f").write_text("x")
    change(folders[depth])
    with pytest.raises(Denied, match="somebody else can write"):
        open_original(at(folders[1] / "f"))


def test_a_linked_folder_is_refused(roots: Path) -> None:
    """The daemon passes resolved paths."""
    (roots / "real").mkdir()
    (roots / "real" / "f").write_text("x")
    (roots / "linked").symlink_to(roots / "real")
    with pytest.raises(Failed):
        open_original(at(roots / "linked" / "f"))


@pytest.mark.parametrize(
    "path", ["/", "/etc/", "//etc/passwd", "/etc//passwd", "/etc/../etc/passwd", "/etc/./passwd", "/etc/.."]
)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    """Nothing is normalized here."""
    with pytest.raises(Denied, match="not the plain path"):
        open_original(AbsPath(path))


def test_a_folder_that_does_not_exist_is_an_error(roots: Path) -> None:
    """Folders are not made."""
    with pytest.raises(Failed, match="No such file"):
        open_original(at(roots / "nowhere" / "f"))


def test_a_name_that_is_too_long_is_an_error(roots: Path) -> None:
    """A typed one."""
    with pytest.raises(Failed, match="too long"):
        open_original(at(roots / ("x" * 300)))


def test_size_is_limited(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """N and N + 1."""
    monkeypatch.setattr(original_module, "MAX_FILE_BYTES", 10)
    (roots / "f").write_bytes(b"x" * 10)
    assert open_original(at(roots / "f")).content == b"x" * 10
    (roots / "f").write_bytes(b"x" * 11)
    with pytest.raises(Failed, match="more than"):
        open_original(at(roots / "f"))


def test_an_endless_file_is_not_read_to_its_end() -> None:
    """/proc and friends may not tell their size."""
    with open("/dev/zero", "rb") as endless, pytest.raises(Failed, match="more than"):
        read_bounded(endless.fileno(), "it")


def test_the_replacement_keeps_owner_mode_and_attributes(roots: Path) -> None:
    """In one step: there is never half a file."""
    (roots / "f").write_text("old")
    os.chown(roots / "f", 7, 8)
    (roots / "f").chmod(0o640)
    attributes = _set_attribute(roots / "f")
    before = (roots / "f").stat().st_ino
    install(open_original(at(roots / "f")), b"new")
    status = (roots / "f").stat()
    assert (roots / "f").read_bytes() == b"new"
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (7, 8, 0o640)
    assert status.st_ino != before
    assert os.listxattr(roots / "f") == attributes
    assert os.listdir(roots) == ["f"]


def _set_attribute(path: Path) -> list[str]:
    try:
        os.setxattr(path, "user.test", b"x")
    except OSError:  # not on every file system
        return os.listxattr(path)
    return ["user.test"]


def test_a_new_file_is_made(roots: Path) -> None:
    """And nothing beside it."""
    install(open_original(at(roots / "f")), b"new")
    assert (roots / "f").read_bytes() == b"new"
    assert stat.S_IMODE((roots / "f").stat().st_mode) == 0o644
    assert os.listdir(roots) == ["f"]


def replaced(path: Path) -> None:
    (path.parent / "other").write_text("old")
    (path.parent / "other").rename(path)


MEANWHILE: dict[str, Callable[[Path], object]] = {
    "changed": lambda path: path.write_text("theirs"),
    "changed and back": lambda path: path.write_text("old"),
    "replaced": replaced,
    "removed": lambda path: path.unlink(),
    "touched": lambda path: os.utime(path, (1, 1)),
    "given away": lambda path: os.chown(path, 7, 7),
}


@pytest.mark.parametrize("change", MEANWHILE.values(), ids=MEANWHILE.keys())
def test_what_somebody_else_changed_meanwhile_is_not_overwritten(roots: Path, change: Callable[[Path], object]) -> None:
    """Nothing is installed, nothing is left behind."""
    (roots / "f").write_text("old")
    os.utime(roots / "f", (5, 5))
    original = open_original(at(roots / "f"))
    check_unchanged(original)
    change(roots / "f")
    before = {path.name: path.read_bytes() for path in roots.iterdir()}
    with pytest.raises(Failed, match="meanwhile"):
        install(original, b"new")
    assert {path.name: path.read_bytes() for path in roots.iterdir()} == before


def test_a_new_file_that_somebody_else_made_meanwhile_stays(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen, or at the very last moment."""
    original = open_original(at(roots / "f"))
    (roots / "f").write_text("theirs")
    with pytest.raises(Failed, match="meanwhile"):
        install(original, b"new")
    monkeypatch.setattr(original_module, "check_unchanged", lambda _: None)
    with pytest.raises(Failed, match="not replaced"):
        install(original, b"new")
    assert (roots / "f").read_text() == "theirs"
    assert os.listdir(roots) == ["f"]
