"""The environment that a command gets: sudoers' `env_reset` (sudoers(5), "Command environment"), with the role's on top.

Nothing of the caller's is kept but what the lists in variables.py, the role, or an option that the role admits name. An
entry that is not `NAME=value` is dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from jitsudo.elevation.edit import HELPER
from jitsudo.elevation.modes import unescaped
from jitsudo.elevation.options import Caller, Mode
from jitsudo.elevation.runas import Target
from jitsudo.elevation.variables import NEVER_SET, first_of_each, is_kept, is_settable, is_variable
from jitsudo.errors import InvalidValue
from jitsudo.types import Account

SECURE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_SUDO_COMMAND_ARGS_BYTES = 4096  # sudoers' own limit, for the arguments


def build_environment(
    user_env: Sequence[str],
    caller: Caller | Account,
    target: Target,
    command: str,
    argv: Sequence[str],
    *,
    keep: Collection[str] = (),
    set_: Mapping[str, str] | None = None,
    added: Sequence[str] = (),
    keep_all: bool = False,
    mode: Mode = "command",
) -> tuple[str, ...]:
    """The whole environment as `NAME=value`, sorted by name.

    `keep` and `set_` are the role's: exact names to keep from the caller, and variables to set. `added` are sudo's own
    `VAR=value` and `--preserve-env=LIST` (Options.env_add), `keep_all` is -E: both only where the verdict admits them. In
    mode `edit` it is the caller's own environment, since the editor runs as the caller; but the helper of checked edits is
    root's. What identifies the target and the caller (HOME, USER, PATH, SUDO_* …) is ours, whatever a role or the caller
    says. Raises InvalidValue where the command, an argument or `set_` cannot stand in an environment.
    """
    mine = first_of_each(user_env)
    if mode == "edit" and command != HELPER:
        return _sorted(mine)
    variables = {n: v for n, v in mine.items() if is_variable(n) and is_kept(n, v, keep, keep_all=keep_all)}
    prompt = mine.get("SUDO_PS1", "")
    if prompt and is_kept("PS1", prompt):
        variables["PS1"] = prompt  # sudo(8): what PS1 is set to for the command
    # A SUDO_* of the caller's, kept by -E, would tell the command something about another sudo.
    variables = {n: v for n, v in variables.items() if not n.startswith("SUDO_")}
    variables.setdefault("TERM", "unknown")
    variables.update((n, v) for n, v in first_of_each(added).items() if is_settable(n, v))
    variables.update(set_ or {})
    variables.update(_identity(caller, target, command, argv, mode))
    variables.pop(NEVER_SET, None)
    return _sorted(variables)


def _identity(caller: Caller | Account, target: Target, command: str, argv: Sequence[str], mode: Mode) -> dict[str, str]:
    account = target.account
    theirs = {"SUDO_HOME": caller.home} if isinstance(caller, Account) else {}
    return theirs | {
        "HOME": account.home,
        "LOGNAME": account.name,
        "MAIL": f"/var/mail/{account.name}",
        "PATH": SECURE_PATH,
        "SHELL": command if mode in ("shell", "login-shell") else account.shell,
        "SUDO_COMMAND": _sudo_command(command, argv, mode),
        "SUDO_GID": str(int(caller.gid)),
        "SUDO_UID": str(int(caller.uid)),
        "SUDO_USER": caller.name,
        "USER": account.name,
    }


def _sudo_command(command: str, argv: Sequence[str], mode: Mode) -> str:
    words = argv[1:]
    if mode == "login-shell" and "--login" in words[:1]:
        words = words[1:]  # ours, not the person's
    arguments = " ".join(words)
    if mode in ("shell", "login-shell"):
        arguments = unescaped(arguments[: 2 * MAX_SUDO_COMMAND_ARGS_BYTES + 2])  # more than can remain of it
    size = 0
    for index, character in enumerate(arguments):
        size += len(character.encode("utf-8", "replace"))
        if size > MAX_SUDO_COMMAND_ARGS_BYTES:
            arguments = arguments[:index]
            break
    return f"{command} {arguments}" if words else command


def _sorted(variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(_entry(name, variables[name]) for name in sorted(variables))


def _entry(name: str, value: str) -> str:
    if not name or "=" in name or "\0" in name or "\0" in value:
        raise InvalidValue(f"cannot stand in an environment: {name!r}")
    return f"{name}={value}"
