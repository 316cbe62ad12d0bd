"""sudoedit: which editor is run on which files (sudo(8), `-e`), and how an edit is checked before it is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jitsudo.elevation.modes import Launch

EDITOR_VARIABLES = ("SUDO_EDITOR", "VISUAL", "EDITOR")
DEFAULT_EDITORS = ("/usr/bin/editor", "/usr/bin/nano", "/usr/bin/vi")
HELPER = "/usr/libexec/jitsudo/jitsudo-edit"


@dataclass(frozen=True, slots=True)
class Editor:
    """An editor that exists: its path, and its words as the person wrote them."""

    path: str
    argv: tuple[str, ...]


def choose_editor(user_env: Sequence[str], find: Callable[[str], str | None]) -> Editor:
    """The editor that the person wants, by SUDO_EDITOR, VISUAL, EDITOR, else this host's.

    `find` looks a name up on the secure path, or says whether an absolute path is a program; None: there is none. Raises
    OptionRefused where no editor is found, or one holds `--` (CVE-2023-22809).
    """
    raise NotImplementedError


def plain_edit(editor: Editor, files: Sequence[str]) -> Launch:
    """sudo's own way: it copies the files, runs the editor as the caller, and copies back. For `sudoedit_files=len(files)`."""
    return Launch(editor.path, (*editor.argv, "--", *files))


def checked_edit(editor: Editor, files: Sequence[str], check: Sequence[str]) -> Launch:
    """Our own way, where the role has a `check`: the root helper, which is an ordinary command to sudo (no `sudoedit=`)."""
    raise NotImplementedError
