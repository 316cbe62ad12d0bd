"""What an invocation of sudo is about to run: a command, a shell (-s), a login shell (-i) or an editor (-e)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jitsudo.elevation.options import Mode, OptionRefused, Options
from jitsudo.elevation.runas import Target


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
    """What is executed once it is allowed. `cwd` None: the caller's; `cwd_optional`: `/`-less homes are no failure."""

    path: str
    argv: tuple[str, ...]
    cwd: str | None = None
    cwd_optional: bool = False


def invoked(
    options: Options, target: Target, argv: Sequence[str], looked_up: str | None, shells: Collection[str]
) -> Invoked:
    """What `argv`, as sudo gave it, asks for. `looked_up`: argv[0] on the secure path; `shells`: what /etc/shells lists.

    -s runs the caller's $SHELL (or, without one, the shell of their account), -i the target's shell. Raises OptionRefused
    where that is not a shell of this host, or no command was given.
    """
    if options.mode == "edit":
        return Invoked("edit", None, tuple(argv))
    if options.mode == "command":
        return Invoked("command", looked_up, tuple(argv))
    shell = target.account.shell if options.mode == "login-shell" else argv[0]
    if shell not in shells:
        raise OptionRefused(f"{shell} is not a shell of this host", "see /etc/shells")
    return Invoked(options.mode, shell, tuple(argv[1:]))


def launch(what: Invoked, options: Options, target: Target, path: str, argv: Sequence[str]) -> Launch:
    """What is executed. `path` and `argv` are those of the allow; they count in mode `command` alone.

    A login shell gets `-` before its name, and the target's home as its folder; bash with a command `--login` too.
    """
    if what.mode == "command" or what.path is None:
        return Launch(path, tuple(argv), options.cwd)
    name = what.path.rpartition("/")[2]
    if what.mode == "shell":
        return Launch(what.path, (what.path, *what.argv), options.cwd)
    words = (f"-{name}", *(("--login",) if name == "bash" and what.argv else ()), *what.argv)
    return Launch(what.path, words, options.cwd or target.account.home, options.cwd is None)
