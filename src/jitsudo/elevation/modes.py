"""What an invocation of sudo is about to run: a command, a shell (-s), a login shell (-i) or an editor (-e)."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jitsudo.elevation.options import Mode, OptionRefused, Options, working_folder
from jitsudo.elevation.runas import Target

MAX_HINT_CHARS = 500
DEFAULT_SHELL = "/bin/sh"  # of an account without one, passwd(5)

# sudo writes a backslash before most characters of what a shell is to read; before white space it stands for something.
_ESCAPED = re.compile(r"\\(\S)")


@dataclass(frozen=True, slots=True)
class Invoked:
    """What is put before the policy: the fields of an action (policy/verdict.py) of the same names.

    Mode `edit`: `path` is None, `argv` is `sudoedit` and the files as typed. In the shell modes `path` is the shell and
    `argv` is empty, or `-c` and the command line as the shell will read it.
    """

    mode: Mode
    path: str | None
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Launch:
    """What is executed once it is allowed. `cwd` None: the caller's; `cwd_optional`: it may turn out not to exist."""

    path: str
    argv: tuple[str, ...]
    cwd: str | None = None
    cwd_optional: bool = False


def invoked(
    options: Options, target: Target, argv: Sequence[str], looked_up: str | None, shells: Collection[str]
) -> Invoked:
    """What `argv`, as sudo gave it, asks for. `looked_up`: argv[0] on the secure path; `shells`: what /etc/shells lists.

    -s runs the caller's $SHELL (or, without one, the shell of their account), which sudo puts into argv; -i the target's
    shell. Raises OptionRefused where that is not a shell of this host, or no command was given: a program of the caller's
    own choosing must not run as a shell, and a service's account without a shell stays one.
    """
    if not argv:
        raise OptionRefused("no command was given", "sudo COMMAND")
    if options.mode == "edit":
        return Invoked("edit", None, tuple(argv))
    if options.mode == "command":
        if argv[0].rpartition("/")[2] == "sudoedit":
            raise OptionRefused("sudoedit doesn't need to be run via sudo", "sudoedit FILE")
        return Invoked("command", looked_up, tuple(argv))
    if options.mode == "login-shell":
        shell = target.account.shell or DEFAULT_SHELL
        sentence = f"{target.account.name} has no login shell on this host: {shell} is not in /etc/shells"
        hint = f"sudo -u {target.account.name} COMMAND"
    else:
        shell = argv[0]
        sentence, hint = f"{shell} is not a shell of this host: it is not in /etc/shells", f"SHELL={DEFAULT_SHELL} sudo -s"
    if not _is_listed(shell, shells):
        raise OptionRefused(sentence, hint)
    return Invoked(options.mode, shell, tuple(argv[1:]))


def _is_listed(shell: str, shells: Collection[str]) -> bool:
    """/bin and /usr/bin are one, but the file may name a shell in one of them alone (dash on Debian 13)."""
    if shell.startswith("/bin/"):
        return shell in shells or f"/usr{shell}" in shells
    return shell in shells or (shell.startswith("/usr/bin/") and shell.removeprefix("/usr") in shells)


def launch(what: Invoked, options: Options, target: Target, path: str, argv: Sequence[str]) -> Launch:
    """What is executed. `path` and `argv` are those of the allow; they count in mode `command` alone.

    A login shell gets `-` before its name, and the target's home as its folder, if there is such a folder. bash reads its
    login files with `-c` only where `--login` says so.
    """
    folder = working_folder(options, target.account)
    if what.mode == "command" or what.path is None:
        return Launch(path, tuple(argv), folder)
    if what.mode == "shell":
        return Launch(what.path, (what.path, *what.argv), folder)
    name = f"-{what.path.rpartition('/')[2]}"
    login = ("--login",) if name == "-bash" and what.argv else ()
    return Launch(what.path, (name, *login, *what.argv), folder or target.account.home, cwd_optional=folder is None)


def without_shell(what: Invoked) -> str | None:
    """The line that asks for the command itself, where a shell was asked to run one; None where there is none.

    A role without a shell may well cover the command: what the shell would make of it is not what the policy can read.
    """
    if what.mode not in ("shell", "login-shell") or len(what.argv) < 2:
        return None
    return f"sudo {unescaped(' '.join(what.argv[1:])[: 2 * MAX_HINT_CHARS])}"[:MAX_HINT_CHARS]


def unescaped(line: str) -> str:
    """A command line for a shell as the person typed it: without the backslashes that sudo put in (sudo(8), `-s`)."""
    return _ESCAPED.sub(r"\1", line)
