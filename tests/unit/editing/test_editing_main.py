"""The seven steps of a checked edit: nothing is installed that was not checked and recorded."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, ok, refused

from jitsudo.editing import desk as desk_module
from jitsudo.editing import main as main_module
from jitsudo.editing.main import main, printable, uninterrupted
from jitsudo.editing.original import Original
from jitsudo.editing.sandbox import Outcome
from jitsudo.elevation.edit import Editor, checked_edit
from jitsudo.errors import Failed

NOBODY = 65534


class Stage:
    """Files of root's, an editor that writes what it is told to, a check that looks for the word bad, a daemon."""

    def __init__(self, roots: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.roots, self.shared = roots, shared
        self.checked: list[list[str]] = []
        self.editor_does = 'cat "$(dirname "$0")/text" >"$1"'
        monkeypatch.setattr(main_module, "run_check", self.check)
        monkeypatch.setattr(main_module, "TERMINAL", str(shared / "no-terminal"))
        monkeypatch.setattr(desk_module.Desk.__init__, "__defaults__", (str(shared),))
        monkeypatch.setenv("SUDO_UID", str(NOBODY))
        self.monkeypatch = monkeypatch

    def check(self, argv: Sequence[str], edited: Sequence[tuple[Original, bytes]]) -> Outcome:
        self.checked.append(list(argv))
        passed = not any(b"bad" in text for _, text in edited)
        return Outcome(passed, b"no bad\x1b[2J words\r\n\n", "exit status 0" if passed else "exit status 1")

    def edit(self, text: str, *names: str, check: Sequence[str] = ("test", "{}")) -> int:
        (self.shared / "text").write_text(text)
        editor = self.shared / "editor"
        editor.write_text(f"#!/bin/sh\n{self.editor_does}\n")
        editor.chmod(0o755)
        files = [str(self.roots / name) for name in names or ("f",)]
        return main(checked_edit(Editor(str(editor), ("editor",)), files, check).argv[1:])

    def with_daemon(self, text: str, *names: str, answers: Sequence[object] = (ok(),)) -> tuple[int, list[dict[str, object]]]:
        with FakeDaemon(*answers) as daemon:
            self.monkeypatch.setattr(main_module, "SOCKET", daemon.path)
            return self.edit(text, *names), daemon.calls

    def left(self) -> list[str]:
        return sorted(set(os.listdir(self.shared)) - {"text", "editor"})


@pytest.fixture
def stage(roots: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    (roots / "f").write_text("old\n")
    return Stage(roots, shared, monkeypatch)


def test_a_good_edit_is_recorded_and_installed(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon is told what, from what, to what."""
    status, calls = stage.with_daemon("new\n")
    assert (status, (stage.roots / "f").read_text(), stage.left()) == (0, "new\n", [])
    path = str(stage.roots / "f")
    assert stage.checked == [["test", path]]
    assert calls == [
        {
            "method": "io.jitsudo.Decide.Edited",
            "parameters": {
                "path": path,
                "before": f"sha256:{hashlib.sha256(b'old' + bytes([10])).hexdigest()}",
                "after": f"sha256:{hashlib.sha256(b'new' + bytes([10])).hexdigest()}",
                "diff": f"--- a{path}\n+++ b{path}\n@@ -1,2 +1,2 @@\n-old\n+new\n \n",
            },
            "more": True,
        }
    ]
    assert capsys.readouterr().err == f"sudoedit: {path} installed\n"


def test_a_new_file_has_no_before(stage: Stage) -> None:
    """And is there afterwards."""
    status, calls = stage.with_daemon("new\n", "g")
    assert (status, (stage.roots / "g").read_text()) == (0, "new\n")
    assert "before" not in calls[0]["parameters"]  # type: ignore[operator]


def test_a_bad_edit_is_never_installed(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is nobody to edit again; what the check said is shown, and steers nothing."""
    assert stage.edit("bad\n") == 1
    assert ((stage.roots / "f").read_text(), stage.left()) == ("old\n", [])
    assert capsys.readouterr().err == (
        f"sudoedit: the check does not pass: test {stage.roots / 'f'} (exit status 1)\n"
        "  no bad\\x1b[2J words\nsudoedit: nothing was installed\n"
    )


@pytest.mark.parametrize(("answers", "asked", "status", "content"), [
    ("e\n", 1, 0, "good\n"), ("x\n", 1, 1, "old\n"), ("?\n\nyes\nE\n", 4, 0, "good\n"), ("\x04", 1, 1, "old\n"),
])  # fmt: skip
def test_the_person_may_edit_again(stage: Stage, answers: str, asked: int, status: int, content: str) -> None:
    """On the terminal; what is no answer is asked again, an end of input gives up."""
    stage.editor_does = 'if [ -s "$1" ] && grep -q bad "$1"; then echo good >"$1"; else echo bad >"$1"; fi'
    ours, theirs = pty.openpty()
    stage.monkeypatch.setattr(main_module, "TERMINAL", os.ttyname(theirs))
    os.write(ours, answers.encode())
    assert stage.with_daemon("")[0] == status
    assert (stage.roots / "f").read_text() == content
    assert _shown_on(ours).count(b"What now?") == asked
    os.close(ours)
    os.close(theirs)


def _shown_on(terminal: int) -> bytes:
    shown = b""
    while select.select([terminal], [], [], 0.3)[0]:
        shown += os.read(terminal, 10_000)
    return shown


def test_what_is_unchanged_is_left_alone(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """No check, no record; nor is an empty file made."""
    assert stage.edit("old\n") == 0
    assert stage.edit("", "g") == 0
    assert (stage.checked, os.listdir(stage.roots), stage.left()) == ([], ["f"], [])
    assert capsys.readouterr().err == "sudoedit: unchanged\n" * 2


def test_a_file_may_be_emptied(stage: Stage) -> None:
    """If the check says so."""
    assert stage.with_daemon("")[0] == 0
    assert (stage.roots / "f").read_text() == ""


def test_an_editor_that_fails_installs_nothing(stage: Stage) -> None:
    """vim's :cq."""
    stage.editor_does = 'echo new >"$1"; exit 7'
    assert stage.edit("") == 1
    assert ((stage.roots / "f").read_text(), stage.checked, stage.left()) == ("old\n", [], [])


def test_several_files_are_checked_together(stage: Stage) -> None:
    """Each check sees all of them; only changed ones count; a check without {} runs once."""
    (stage.roots / "g").write_text("old\n")
    stage.editor_does = 'echo new >"$1"; echo new >"$2"'
    status, calls = stage.with_daemon("", "f", "g", "h", answers=(ok(), ok()))
    assert (status, len(calls), stage.checked) == (0, 2, [["test", str(stage.roots / n)] for n in ("f", "g")])
    stage.editor_does, stage.checked = 'echo bad >"$1"; echo fine >"$2"', []
    assert stage.edit("", "f", "g", check=("nginx", "-t")) == 1
    assert stage.checked == [["nginx", "-t"]]
    assert (stage.roots / "g").read_text() == "new\n"


def test_the_place_of_the_path_may_be_part_of_a_word(stage: Stage) -> None:
    """--file={}."""
    assert stage.edit("bad\n", check=("check", "--file={}", "{}:{}")) == 1
    path = str(stage.roots / "f")
    assert stage.checked == [["check", f"--file={path}", f"{path}:{path}"]]


@pytest.mark.parametrize("answer", [refused("denied", "not in a session"), None, b"nonsense\0"])
def test_what_is_not_recorded_is_not_installed(stage: Stage, answer: object, capsys: pytest.CaptureFixture[str]) -> None:
    """But the work is kept, and the person is told where."""
    status, _ = stage.with_daemon("new\n", answers=(answer,))
    assert (status, (stage.roots / "f").read_text()) == (1, "old\n")
    (kept,) = stage.left()
    assert (stage.shared / kept / "f").read_text() == "new\n"
    assert f"kept in:\n  {stage.shared / kept / 'f'}\n" in capsys.readouterr().err


def test_a_check_that_cannot_be_run_installs_nothing(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """And keeps the work."""

    def fails(argv: Sequence[str], edited: object) -> Outcome:
        raise Failed(f"{argv[0]} with {edited is not None}: no namespaces here")

    stage.monkeypatch.setattr(main_module, "run_check", fails)
    assert stage.edit("new\n") == 1
    assert (stage.roots / "f").read_text() == "old\n"
    assert len(stage.left()) == 1
    assert "no namespaces here" in capsys.readouterr().err


def test_somebody_elses_change_is_not_overwritten(stage: Stage) -> None:
    """Nor recorded as ours."""
    target = stage.roots / "f"

    def check(argv: Sequence[str], edited: object) -> Outcome:
        target.write_text(f"theirs, meanwhile, {len(argv)} {edited is not None}")
        return Outcome(True, b"", "")

    stage.monkeypatch.setattr(main_module, "run_check", check)
    status, calls = stage.with_daemon("new\n")
    assert (status, calls, target.read_text()) == (1, [], "theirs, meanwhile, 2 True")


def test_an_interrupted_edit_installs_nothing(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """^C while it is checked."""

    def check(argv: Sequence[str], edited: object) -> Outcome:
        raise KeyboardInterrupt(argv, edited)

    stage.monkeypatch.setattr(main_module, "run_check", check)
    assert stage.edit("new\n") == 1
    assert (stage.roots / "f").read_text() == "old\n"
    assert "interrupted: nothing was installed" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["{}"], ["x", "y"], ["-h"]])
def test_it_is_not_for_people(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """sudo runs it, with a plan."""
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("sudoedit: ")


def test_it_does_nothing_without_root(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Installed programs can be run by anybody."""
    stage.monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert stage.edit("new\n") == 1
    assert "edited as root, through sudo" in capsys.readouterr().err


def test_an_interrupt_waits_for_the_install() -> None:
    """It comes afterwards, not never."""
    seen: list[bool] = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(True))
    try:
        with uninterrupted():
            # To this thread: the helper has no other, and one that an earlier test left would take what this one does not.
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert seen == []
        assert seen == [True]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_output_is_harmless() -> None:
    """Whatever bytes a check writes."""
    assert printable(b"a\tb\r\n\x1b]0;x\x07\n\xff\n\n\xe2\x80\xae") == ["  a\tb", "  \\x1b]0;x\\x07", "  \\xff", "  \\u202e"]
