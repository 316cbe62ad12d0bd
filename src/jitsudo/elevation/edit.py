"""sudoedit: which editor is run on which files (sudo(8), `-e`), and how an edit is checked before it is installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jitsudo.elevation.modes import Launch
from jitsudo.elevation.options import OptionRefused
from jitsudo.errors import InvalidValue
from jitsudo.types import AbsPath

EDITOR_VARIABLES = ("SUDO_EDITOR", "VISUAL", "EDITOR")
DEFAULT_EDITORS = ("/usr/bin/editor", "/usr/bin/nano", "/usr/bin/vi")
HELPER = "/usr/libexec/jitsudo/jitsudo-edit"
END_OF_WORDS = "--"
MAX_EDITOR_WORDS = 100
MAX_FILES = 100

_SPACE = " \t\n\v\f\r"  # isspace(3) in the C locale, where sudo splits


@dataclass(frozen=True, slots=True)
class Editor:
    """An editor that exists: its path, and its words as the person wrote them."""

    path: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What the root helper of checked edits is to do: these files, by this editor, each accepted by `check`.

    `{}` in a word of `check` stands for a file's path; a check without it is run once, and sees all files in place.
    """

    editor: Editor
    files: tuple[AbsPath, ...]
    check: tuple[str, ...]


def choose_editor(user_env: Sequence[str], find: Callable[[str], str | None]) -> Editor:
    """The editor that the person wants, by SUDO_EDITOR, VISUAL, EDITOR, else this host's.

    `find` looks a name up on the secure path, or says whether an absolute path is a program; None: there is none. It runs as
    the person, so any program will do. Raises OptionRefused where no editor is found, or one holds `--`: sudo takes what
    follows it for files (CVE-2023-22809).
    """
    wanted = _wanted(user_env)
    if not wanted:
        for default in DEFAULT_EDITORS:
            path = find(default)
            if path is not None:
                return Editor(path, (default,))
        raise OptionRefused(f"no editor found (none of {', '.join(DEFAULT_EDITORS)})", "set SUDO_EDITOR")
    for text in wanted:
        words = split_words(text)
        if END_OF_WORDS in words or len(words) > MAX_EDITOR_WORDS:
            raise OptionRefused('editor arguments may not contain "--"', f"SUDO_EDITOR, VISUAL or EDITOR is {text!r:.200}")
        path = find(words[0]) if words else None
        if path is not None:
            return Editor(path, tuple(words))
    raise OptionRefused(f"{ascii(wanted[-1])[1:-1]:.200}: command not found", "set SUDO_EDITOR to an editor of this host")


def _wanted(user_env: Sequence[str]) -> list[str]:
    found: dict[str, str] = {}
    for entry in user_env:
        name, _, value = entry.partition("=")
        found.setdefault(name, value)
    return [found[name] for name in EDITOR_VARIABLES if found.get(name)]


def split_words(text: str) -> list[str]:
    """The words of an editor's command line, split as sudo's wordsplit() does, which is not as a shell does.

    A quote counts at the beginning of a word and ends it; within quotes a backslash is itself. Elsewhere a backslash makes
    the next character an ordinary one.
    """
    words: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at] in _SPACE:
            at += 1
        if at == len(text):
            return words
        end = text.find(text[at], at + 1) if text[at] in "'\"" else -1
        if end > 0:
            words.append(text[at + 1 : end])
            at = end + 1
        else:
            word, at = _plain_word(text, at)
            words.append(word)


def _plain_word(text: str, at: int) -> tuple[str, int]:
    word = ""
    while at < len(text) and text[at] not in _SPACE:
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        word += text[at]
        at += 1
    return word, at


def plain_edit(editor: Editor, files: Sequence[str]) -> Launch:
    """sudo's own way: it copies the files, runs the editor as the caller, and copies back. For `sudoedit_files=len(files)`."""
    _check_count(files)
    return Launch(editor.path, (*editor.argv, END_OF_WORDS, *files))


def checked_edit(editor: Editor, files: Sequence[str], check: Sequence[str]) -> Launch:
    """Our own way, where the role has a `check`: the root helper, which is an ordinary command to sudo (no `sudoedit=`)."""
    _check_count(files)
    plan = {"editor": editor.path, "argv": list(editor.argv), "files": list(files), "check": list(check)}
    return Launch(HELPER, (HELPER.rpartition("/")[2], json.dumps(plan)))


def read_plan(text: str) -> EditPlan:
    """What `checked_edit` told the helper. Raises InvalidValue for anything else."""
    try:
        plan = json.loads(text)
    except (ValueError, RecursionError):
        plan = None
    if not isinstance(plan, dict) or plan.keys() != {"editor", "argv", "files", "check"} or not isinstance(plan["editor"], str):
        raise InvalidValue("not the plan of an edit")
    argv, files, check = (_texts(plan[key]) for key in ("argv", "files", "check"))
    _check_count(files)
    return EditPlan(Editor(AbsPath(plan["editor"]), argv), tuple(AbsPath(file) for file in files), check)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise InvalidValue("not the plan of an edit")
    return tuple(value)


def _check_count(files: Sequence[str]) -> None:
    if not 0 < len(files) <= MAX_FILES:
        raise OptionRefused("no file was named" if not files else f"at most {MAX_FILES} files at once", "sudoedit FILE")
