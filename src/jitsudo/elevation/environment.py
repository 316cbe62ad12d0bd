"""The environment that a command gets: sudoers' `env_reset` and its lists (sudoers(5), "Command environment").

Nothing of the caller's is kept but what a list here, or the role, names. An entry that is not `NAME=value` is dropped, of
two with one name the first counts, as for getenv(3).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from jitsudo.elevation.options import Caller, Mode
from jitsudo.elevation.runas import Target
from jitsudo.errors import InvalidValue
from jitsudo.types import MAX_PATH_BYTES, Account

SECURE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ZONEINFO = "/usr/share/zoneinfo/"
MAX_SUDO_COMMAND_ARGS_BYTES = 4096  # sudoers' own limit, for the arguments

KEPT = frozenset(
    {
        "COLORS", "DISPLAY", "HOSTNAME", "KRB5CCNAME", "LS_COLORS", "PS1", "PS2", "XAUTHORITY", "XAUTHORIZATION",
        "XDG_CURRENT_DESKTOP",
    }
)  # fmt: skip
# Kept where the value has neither `/` nor `%`: no file of the caller's, no format string.
KEPT_IF_HARMLESS = ("COLORTERM", "LANG", "LANGUAGE", "LC_*", "LINGUAS", "TERM")
# Never taken from the caller, not even where a role says `keep`: each makes some program load or run what it names.
NEVER_KEPT = (
    "IFS", "CDPATH", "LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES", "NLSPATH", "PATH_LOCALE", "LD_*", "_RLD*",
    "KRB5_CONFIG*", "KRB5_KTNAME", "TERMINFO", "TERMINFO_DIRS", "TERMPATH", "TERMCAP", "ENV", "BASH_ENV", "PS4",
    "GLOBIGNORE", "BASHOPTS", "SHELLOPTS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "PERLIO_DEBUG", "PERLLIB",
    "PERL5LIB", "PERL5OPT", "PERL5DB", "FPATH", "NULLCMD", "READNULLCMD", "ZDOTDIR", "TMPPREFIX", "PYTHON*", "RUBYLIB",
    "RUBYOPT", "NODE_OPTIONS", "NODE_PATH", "GIT_SSH_COMMAND", "GIT_CONFIG_*", "GCONV_PATH",
)  # fmt: skip
# Arguments are judged as getopt_long reads them without it: with it, options after an operand would be operands.
NEVER_SET = "POSIXLY_CORRECT"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
    mode `edit` it is the caller's own environment, since the editor runs as the caller. What identifies the
    target and the caller (HOME, USER, PATH, SUDO_* …) is ours, whatever a role or the caller says. Raises InvalidValue
    where the command, an argument or `set_` cannot stand in an environment.
    """
    variables = {
        name: value for name, value in _first_of_each(user_env).items() if _is_kept(name, value, keep)
    }
    variables.setdefault("TERM", "unknown")
    variables.update(set_ or {})
    variables.update(_identity(caller, target, command, argv))
    variables.pop(NEVER_SET, None)
    return tuple(_entry(name, variables[name]) for name in sorted(variables))


def tz_is_sane(value: str) -> bool:
    """Whether a TZ names a zone and not a file of the caller's: sudoers' rule (sudoers(5), CVE-2014-9680)."""
    zone = value.removeprefix(":")
    return (
        (not zone.startswith("/") or zone.startswith(ZONEINFO))
        and all("!" <= c <= "~" for c in zone)
        and ".." not in zone.split("/")
        and len(zone) < MAX_PATH_BYTES
    )


def _first_of_each(user_env: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in user_env:
        name, equals, value = entry.partition("=")
        if equals and _NAME.fullmatch(name) and "\0" not in value:
            found.setdefault(name, value)
    return found


def _is_kept(name: str, value: str, keep: Collection[str]) -> bool:
    # "()" begins a function that bash would define, and once ran (CVE-2014-6271).
    if value.startswith("()") or _matches(name, NEVER_KEPT):
        return False
    if name == "TZ":
        return tz_is_sane(value)
    if name in KEPT or name in keep:
        return True
    return _matches(name, KEPT_IF_HARMLESS) and not set(value) & set("/%")


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _identity(caller: Caller | Account, target: Target, command: str, argv: Sequence[str]) -> dict[str, str]:
    account = target.account
    return {
        "HOME": account.home,
        "LOGNAME": account.name,
        "MAIL": f"/var/mail/{account.name}",
        "PATH": SECURE_PATH,
        "SHELL": account.shell,
        "SUDO_COMMAND": _sudo_command(command, argv),
        "SUDO_GID": str(int(caller.gid)),
        "SUDO_UID": str(int(caller.uid)),
        "SUDO_USER": caller.name,
        "USER": account.name,
    }


def _sudo_command(command: str, argv: Sequence[str]) -> str:
    arguments = " ".join(argv[1:])
    size = 0
    for index, character in enumerate(arguments):
        size += len(character.encode("utf-8", "replace"))
        if size > MAX_SUDO_COMMAND_ARGS_BYTES:
            arguments = arguments[:index]
            break
    return f"{command} {arguments}" if arguments else command


def _entry(name: str, value: str) -> str:
    if not name or "=" in name or "\0" in name or "\0" in value:
        raise InvalidValue(f"cannot stand in an environment: {name!r}")
    return f"{name}={value}"
