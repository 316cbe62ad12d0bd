"""`policy edit`: nothing invalid is installed, and nobody else's change is lost."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jitsudo.errors import Ambiguous, Failed, InvalidValue, WrongState
from jitsudo.offline import editing
from jitsudo.offline.checking import Checked
from jitsudo.offline.editing import Answer, Dialogue, edit, editor_command, file_to_edit, replace_file
from jitsudo.offline.sources import Knowledge

OLD = "version: 1\n# old\n"
NEW = "version: 1\n# new\n"
BAD = "version: 2\n"
FAILING = """version: 1
roles:
  r:
    description: d
    who: ["user:a"]
    request: {max_duration: 1h, approvals: 0}
    allow: [{command: /bin/ls}]
    tests: [{run: ls, expect: deny}]
"""


class Editor:
    """An editor that writes these texts, one at each start; and what the person answers and is told."""

    def __init__(self, tmp_path: Path, *texts: str, answers: tuple[Answer, ...] = ()) -> None:
        self.folder = tmp_path / "policy.d"
        self.folder.mkdir(exist_ok=True)
        (self.folder / "web.yaml").write_text(OLD)
        self.script = tmp_path / "editor"
        self.count = tmp_path / "count"
        self.count.write_text("")
        for number, text in enumerate(texts):
            (tmp_path / f"text{number}").write_text(text)
        self.script.write_text(f'#!/bin/sh\nn=$(wc -c <{self.count}); printf x >>{self.count}\ncat {tmp_path}/text$n >"$1"\n')
        self.script.chmod(0o755)
        self.answers: Iterator[Answer] = iter(answers)
        self.told: list[str] = []
        self.shown: list[Checked] = []

    def run(self, name: str = "web.yaml") -> bool:
        dialogue = Dialogue(self.shown.append, lambda: next(self.answers), self.told.append)
        return edit(self.folder, name, (str(self.script),), Knowledge(), dialogue, check_owner=False)

    @property
    def text(self) -> str:
        assert [one for one in os.listdir(self.folder) if one.startswith(".")] == [], "something was left behind"
        return (self.folder / "web.yaml").read_text()


def test_a_valid_change_is_installed_with_the_files_mode(tmp_path: Path) -> None:
    """By rename, so that a reader sees the old file or the new one."""
    editor = Editor(tmp_path, NEW)
    target = editor.folder / "web.yaml"
    target.chmod(0o640)
    before = target.stat().st_ino
    assert editor.run()
    assert editor.text == NEW
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_ino != before) == (0o640, True)


def test_an_unchanged_file_is_left_alone(tmp_path: Path) -> None:
    """Its inode, too."""
    editor = Editor(tmp_path, OLD)
    before = (editor.folder / "web.yaml").stat().st_ino
    assert not editor.run()
    assert (editor.folder / "web.yaml").stat().st_ino == before
    assert editor.told == ["web.yaml is unchanged"]


def test_an_invalid_file_is_edited_again_or_given_up_never_saved(tmp_path: Path) -> None:
    """Whatever is answered."""
    editor = Editor(tmp_path, BAD, BAD, NEW, answers=("save", "edit", "edit"))
    assert editor.run()
    assert editor.text == NEW
    assert any("never installed" in line for line in editor.told)
    (tmp_path / "second").mkdir()
    given_up = Editor(tmp_path / "second", BAD, answers=("exit",))
    assert not given_up.run()
    assert given_up.text == OLD


def test_a_policy_whose_tests_fail_is_saved_only_on_demand(tmp_path: Path) -> None:
    """It is valid, after all."""
    assert not Editor(tmp_path, FAILING, answers=("exit",)).run()
    editor = Editor(tmp_path, FAILING, answers=("save",))
    assert editor.run()
    assert editor.text == FAILING


def test_the_whole_policy_counts(tmp_path: Path) -> None:
    """A role that stands in another file already is an error here."""
    role = FAILING.replace("expect: deny", "expect: allow")
    editor = Editor(tmp_path, role, answers=("exit",))
    (editor.folder / "other.yaml").write_text(role)
    assert not editor.run()
    assert "exists already" in editor.shown[0].findings[0].message


def test_a_new_file_begins_with_a_template(tmp_path: Path) -> None:
    """Left as it is, it is not created."""
    editor = Editor(tmp_path, editing.NEW_FILE, NEW)
    assert not editor.run("new.yaml")
    assert not (editor.folder / "new.yaml").exists()
    assert editor.run("new.yaml")
    assert stat.S_IMODE((editor.folder / "new.yaml").stat().st_mode) == 0o644


def test_two_do_not_edit_at_once(tmp_path: Path) -> None:
    """The second is told."""
    editor = Editor(tmp_path, NEW)
    with editing._locked(editor.folder), pytest.raises(WrongState, match="somebody else is editing"):
        editor.run()
    assert editor.text == OLD


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Nor is what they removed."""
    editor = Editor(tmp_path, NEW)
    editor.script.write_text(f'#!/bin/sh\necho "version: 1" >{editor.folder}/web.yaml\necho "version: 1 # mine" >"$1"\n')
    with pytest.raises(WrongState, match="changed by somebody else"):
        editor.run()
    assert editor.text == "version: 1\n"


def test_links_and_folders_are_not_edited(tmp_path: Path) -> None:
    """The policy is not read from there either."""
    editor = Editor(tmp_path, NEW)
    (editor.folder / "link.yaml").symlink_to("web.yaml")
    (editor.folder / "sub.yaml").mkdir()
    for name in ("link.yaml", "sub.yaml"):
        with pytest.raises(Failed, match="cannot be edited"):
            editor.run(name)


def test_an_editor_that_fails_is_told_of(tmp_path: Path) -> None:
    """What it wrote is looked at all the same, as visudo does."""
    editor = Editor(tmp_path, NEW)
    editor.script.write_text('#!/bin/sh\nexit 3\n')
    assert not editor.run()
    assert editor.told[0] == "the editor ended with status 3"
    editor.script.unlink()
    with pytest.raises(Failed, match="cannot be started"):
        editor.run()


def test_a_copy_that_is_gone_or_huge_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is installed."""
    editor = Editor(tmp_path, NEW, answers=("exit",))
    editor.script.write_text('#!/bin/sh\nrm "$1"\n')
    with pytest.raises(Failed, match="cannot be read"):
        editor.run()
    monkeypatch.setattr(editing, "MAX_FILE_BYTES", 10)
    editor.script.write_text('#!/bin/sh\nprintf "version: 1\\n#" >"$1"\n')
    assert not editor.run()
    assert "larger than 10 bytes" in editor.shown[0].findings[0].message


def test_the_editor_is_the_persons(monkeypatch: pytest.MonkeyPatch) -> None:
    """SUDO_EDITOR, VISUAL, EDITOR, in this order, split into words; else the first that is installed."""
    assert editor_command({"EDITOR": "a", "VISUAL": "b -x 'c d'"}) == ("b", "-x", "c d")
    assert editor_command({"SUDO_EDITOR": "s", "VISUAL": "b"}) == ("s",)
    with pytest.raises(InvalidValue):
        editor_command({"EDITOR": "a '"})
    monkeypatch.setattr(editing, "_EDITORS", ("/nowhere/editor", "/bin/sh"))
    assert editor_command({"EDITOR": " "}) == ("/bin/sh",)
    monkeypatch.setattr(editing, "_EDITORS", ())
    with pytest.raises(Failed, match="there is no editor"):
        editor_command({})


def test_a_file_is_named_or_the_only_one(tmp_path: Path) -> None:
    """With or without its ending, never one elsewhere."""
    assert file_to_edit(tmp_path, None) == "policy.yaml"
    (tmp_path / "a.yaml").touch()
    (tmp_path / ".b.yaml").touch()
    assert file_to_edit(tmp_path, None) == "a.yaml"
    assert file_to_edit(tmp_path, "web") == "web.yaml"
    assert file_to_edit(tmp_path, str(tmp_path / "web.yaml")) == "web.yaml"
    (tmp_path / "c.yaml").touch()
    with pytest.raises(Ambiguous, match=r"a.yaml, c.yaml"):
        file_to_edit(tmp_path, None)
    for name in ("/etc/passwd", "../web.yaml", ".b.yaml", ""):
        with pytest.raises(InvalidValue):
            file_to_edit(tmp_path, name)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Before an editor is started."""
    editor = Editor(tmp_path, NEW)
    editor.folder = tmp_path / "none"
    with pytest.raises(Failed, match="cannot be opened"):
        editor.run()
    with pytest.raises(Failed, match="could not be saved"):
        replace_file(tmp_path / "none", "x.yaml", None, b"")
