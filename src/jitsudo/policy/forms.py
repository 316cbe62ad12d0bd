"""What somebody who typed this command probably wanted, in the form that a role has: `sudoedit FILE`, `sudo -i`."""

from __future__ import annotations

import shlex
from dataclasses import replace

from jitsudo.policy.issues import shown
from jitsudo.policy.model import Role
from jitsudo.policy.rules import ShellRule
from jitsudo.policy.verdict import Action

MAX_FILES = 8
EDITORS = frozenset({"ed", "editor", "emacs", "joe", "mcedit", "micro", "nano", "nvim", "pico", "vi", "view", "vim"})
SHELLS = frozenset({"bash", "dash", "fish", "ksh", "sh", "su", "zsh"})
_PLAIN = frozenset({"-", "-l", "-i", "--login"})


def as_edit(action: Action) -> Action | None:
    """The edit of the same files; None where no editor was called on some."""
    if action.mode != "command" or _name(action) not in EDITORS:
        return None
    files = tuple(argument for argument in action.argv[1:] if not argument.startswith(("-", "+")))
    if not 0 < len(files) <= MAX_FILES:
        return None
    return replace(action, mode="edit", path=None, argv=("sudoedit", *files))


def edit_line(edit: Action) -> tuple[str, ...]:
    """How it is typed."""
    user = () if edit.run_as == "root" else ("-u", str(edit.run_as))
    line = shlex.join(("sudoedit", *user, *edit.argv[1:]))
    return (line,) if shown(line) == line else ()


def shell_line(action: Action, role: Role) -> tuple[str, ...]:
    """`sudo -i`, for who called a shell itself, and whose role has one."""
    if action.mode != "command" or _name(action) not in SHELLS or not _PLAIN.issuperset(action.argv[1:]):
        return ()
    if not any(isinstance(rule, ShellRule) and not rule.unsupported for rule in role.rules):
        return ()
    return ("sudo -i" if action.run_as == "root" else f"sudo -u {shlex.quote(action.run_as)} -i",)


def _name(action: Action) -> str:
    return action.path.rpartition("/")[2] if action.path is not None else ""
