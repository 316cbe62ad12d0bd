"""Which editor runs on which files, and what the helper of checked edits is told."""

from __future__ import annotations

import json

import pytest

from jitsudo.elevation.edit import (
    DEFAULT_EDITORS,
    HELPER,
    MAX_EDITOR_WORDS,
    MAX_FILES,
    Editor,
    EditPlan,
    checked_edit,
    choose_editor,
    plain_edit,
    read_plan,
    split_words,
)
from jitsudo.elevation.modes import Launch
from jitsudo.elevation.options import OptionRefused
from jitsudo.errors import InvalidValue
from jitsudo.types import AbsPath

VIM = Editor("/usr/bin/vim", ("vim", "-n"))


def chosen(*user_env: str, here: tuple[str, ...] = ("vim", "nano", "/opt/ed", "/usr/bin/editor")) -> Editor:
    return choose_editor(user_env, lambda name: (name if name[:1] == "/" else f"/usr/bin/{name}") if name in here else None)


def test_editor_of_the_person_in_sudos_order() -> None:
    """SUDO_EDITOR, VISUAL, EDITOR; the first of two entries of one name counts."""
    assert chosen("EDITOR=nano", "VISUAL=vim -n", "X=y") == VIM
    assert chosen("EDITOR=nano", "VISUAL=vim", "SUDO_EDITOR=/opt/ed") == Editor("/opt/ed", ("/opt/ed",))
    assert chosen("EDITOR=nano", "EDITOR=vim").path == "/usr/bin/nano"


@pytest.mark.parametrize("first", ["nonexistent", "nonexistent -x", "   ", "", "''"])
def test_editor_that_is_not_there_gives_way_to_the_next(first: str) -> None:
    """As for sudo."""
    assert chosen(f"SUDO_EDITOR={first}", "VISUAL=vim -n") == VIM


@pytest.mark.parametrize("last", ["nonexistent", "a\x1b[2Jb", " ", "x" * 5000])
def test_editor_that_is_nowhere_is_named(last: str) -> None:
    """The host's own would be a surprise to somebody who set one."""
    with pytest.raises(OptionRefused, match="command not found") as refusal:
        chosen(f"EDITOR={last}")
    assert refusal.value.sentence.isprintable()
    assert len(refusal.value.sentence) < 300


def test_editor_of_the_host_where_none_is_set() -> None:
    """The first there is."""
    assert chosen() == Editor("/usr/bin/editor", ("/usr/bin/editor",))
    assert chosen("EDITOR=", here=("/usr/bin/vi",)) == Editor("/usr/bin/vi", ("/usr/bin/vi",))
    with pytest.raises(OptionRefused, match="no editor found") as refusal:
        chosen(here=("/bin/ed",))
    assert all(name in refusal.value.sentence for name in DEFAULT_EDITORS)


@pytest.mark.parametrize(
    "editor",
    ["vim -- /etc/shadow", "vim '--' /etc/shadow", 'vim "--"', "vim \\-\\-", "vim -\\-", "--", "vim\t--\tx", "vim ''--"],
)
@pytest.mark.parametrize("name", ["SUDO_EDITOR", "VISUAL", "EDITOR"])
def test_editor_cannot_name_files(name: str, editor: str) -> None:
    """CVE-2023-22809: however the two dashes are written."""
    with pytest.raises(OptionRefused, match="may not contain") as refusal:
        chosen(f"{name}={editor}")
    assert name in (refusal.value.hint or "")


def test_an_editor_has_a_reasonable_number_of_words() -> None:
    """N and N + 1."""
    assert len(chosen("EDITOR=vim" + " x" * (MAX_EDITOR_WORDS - 1)).argv) == MAX_EDITOR_WORDS
    with pytest.raises(OptionRefused):
        chosen("EDITOR=vim" + " x" * MAX_EDITOR_WORDS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []), ("  ", []), (" vim  -n ", ["vim", "-n"]), ("vim\tx\ny", ["vim", "x", "y"]),
        ("vim 'a b' \"c d\" e\\ f", ["vim", "a b", "c d", "e f"]), ("'vim' x", ["vim", "x"]), ("vim 'open", ["vim", "'open"]),
        ("vim \"-\"- x", ["vim", "-", "-", "x"]), ("vim a'b c'", ["vim", "a'b", "c'"]), ("vim ''", ["vim", ""]),
        ("vim '\\'x", ["vim", "\\", "x"]), ("vim \\\\", ["vim", "\\"]), ("vim a\\", ["vim", "a\\"]),
        ("\\'x", ["'x"]), ("'", ["'"]),
        ("vim\u00a0x", ["vim\u00a0x"]),
    ],
)  # fmt: skip
def test_words_are_split_as_sudo_splits_them(text: str, words: list[str]) -> None:
    """Measured on real sudo."""
    assert split_words(text) == words


def test_plain_edit_is_sudos_own() -> None:
    """The files follow the two dashes."""
    assert plain_edit(VIM, ["/etc/a", "/etc/b"]) == Launch("/usr/bin/vim", ("vim", "-n", "--", "/etc/a", "/etc/b"))


def test_checked_edit_is_the_helper_with_a_plan() -> None:
    """Which reads it back exactly, whatever the names hold."""
    files, check = ["/etc/ngin\u00e9x/a b.conf", "/etc/--", "/etc/\udcff"], ["visudo", "-c", "-f", "{}", ""]
    run = checked_edit(VIM, files, check)
    assert (run.path, run.argv[0], len(run.argv), run.cwd) == (HELPER, "jitsudo-edit", 2, None)
    assert run.argv[1].isascii()
    assert read_plan(run.argv[1]) == EditPlan(VIM, tuple(map(AbsPath, files)), tuple(check))


@pytest.mark.parametrize("number", [0, MAX_FILES + 1])
def test_number_of_files_is_limited(number: int) -> None:
    """None and too many."""
    files = [f"/etc/{i}" for i in range(number)]
    for start in (lambda: plain_edit(VIM, files), lambda: checked_edit(VIM, files, ["true"])):
        with pytest.raises(OptionRefused, match="file"):
            start()
    assert len(plain_edit(VIM, [f"/etc/{i}" for i in range(MAX_FILES)]).argv) == MAX_FILES + 3


GOOD = {"editor": "/usr/bin/vim", "argv": ["vim"], "files": ["/etc/a"], "check": ["true"]}
BAD_PLANS = {
    "not JSON": "{",
    "deep": "[" * 100_000,
    "a list": "[]",
    "a key missing": json.dumps({k: v for k, v in GOOD.items() if k != "check"}),
    "a key too many": json.dumps(GOOD | {"x": 1}),
    "editor no text": json.dumps(GOOD | {"editor": 1}),
    "editor relative": json.dumps(GOOD | {"editor": "vim"}),
    "no words": json.dumps(GOOD | {"argv": []}),
    "words no list": json.dumps(GOOD | {"argv": "vim"}),
    "a word no text": json.dumps(GOOD | {"argv": ["vim", 1]}),
    "NUL": json.dumps(GOOD | {"check": ["a\0"]}),
    "no check": json.dumps(GOOD | {"check": []}),
    "a file relative": json.dumps(GOOD | {"files": ["a"]}),
    "no files": json.dumps(GOOD | {"files": []}),
}


@pytest.mark.parametrize("text", BAD_PLANS.values(), ids=BAD_PLANS.keys())
def test_helper_takes_nothing_but_a_plan(text: str) -> None:
    """A typed error for everything else."""
    with pytest.raises(InvalidValue):
        read_plan(text)
