"""Which of the caller's variables a command may see: sudoers' lists and what each name and value has to be."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from jitsudo.types import MAX_PATH_BYTES

ZONEINFO = "/usr/share/zoneinfo/"

KEPT = frozenset(
    {
        "COLORS", "DISPLAY", "DPKG_COLORS", "HOSTNAME", "KRB5CCNAME", "LS_COLORS", "PS1", "PS2", "XAUTHORITY", "XAUTHORIZATION",
        "XDG_CURRENT_DESKTOP",
    }
)  # fmt: skip
# Kept where the value has neither `/` nor `%`: no file of the caller's, no format string.
KEPT_IF_HARMLESS = ("COLORTERM", "LANG", "LANGUAGE", "LC_*", "LINGUAS", "TERM")
# Never taken from the caller, not even where a role says `keep` or admits -E: each makes some program load or run what it
# names. The last two lines are what the C library and the dynamic loader drop for set-user-id programs.
NEVER_KEPT = (
    "IFS", "CDPATH", "LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES", "NLSPATH", "PATH_LOCALE", "LD_*", "_RLD*",
    "KRB5_CONFIG*", "KRB5_KTNAME", "TERMINFO", "TERMINFO_DIRS", "TERMPATH", "TERMCAP", "ENV", "BASH_ENV", "PS4",
    "GLOBIGNORE", "BASHOPTS", "SHELLOPTS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH", "PERLIO_DEBUG", "PERLLIB",
    "PERL5LIB", "PERL5OPT", "PERL5DB", "FPATH", "NULLCMD", "READNULLCMD", "ZDOTDIR", "TMPPREFIX", "PYTHON*", "RUBYLIB",
    "RUBYOPT", "NODE_OPTIONS", "NODE_PATH", "GIT_SSH_COMMAND", "GIT_CONFIG_*", "GCONV_PATH", "BASH_FUNC_*",
    "BASH_LOADABLES_PATH", "PROMPT_COMMAND", "JDK_JAVA_OPTIONS", "LUA_INIT*", "DOTNET_STARTUP_HOOKS", "OPENSSL_CONF",
    "OPENSSL_MODULES", "OPENSSL_ENGINES", "LESSOPEN", "LESSCLOSE", "GIT_EXEC_PATH",
    "GETCONF_DIR", "GLIBC_TUNABLES", "LOCPATH", "MALLOC_TRACE", "NIS_PATH", "RESOLV_HOST_CONF", "TZDIR",
)  # fmt: skip
# Arguments are judged as getopt_long reads them without it: with it, options after an operand would be operands.
NEVER_SET = "POSIXLY_CORRECT"
# What identifies target and caller, and where programs are looked for.
OURS = frozenset({"HOME", "LOGNAME", "MAIL", "PATH", "SHELL", "USER"})

# Of thousands of variables each is looked at: exact names in one look-up, beginnings in one comparison.
_NEVER = frozenset(name for name in NEVER_KEPT if not name.endswith("*"))
_NEVER_BEGINNINGS = tuple(name[:-1] for name in NEVER_KEPT if name.endswith("*"))
_HARMLESS = frozenset(name for name in KEPT_IF_HARMLESS if not name.endswith("*"))
_HARMLESS_BEGINNINGS = tuple(name[:-1] for name in KEPT_IF_HARMLESS if name.endswith("*"))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def is_variable(name: str) -> bool:
    """Whether a shell could have a variable of that name."""
    return _NAME.fullmatch(name) is not None


def is_never_kept(name: str, value: str) -> bool:
    """Whether it is dropped whatever a role says."""
    # "()" begins a function that bash would define, and once ran (CVE-2014-6271).
    return value.startswith("()") or name == NEVER_SET or name in _NEVER or name.startswith(_NEVER_BEGINNINGS)


def is_kept(name: str, value: str, keep: Collection[str] = (), *, keep_all: bool = False) -> bool:
    """Whether a command sees this variable of the caller's: by the lists, by the role's `keep`, by -E (`keep_all`)."""
    if is_never_kept(name, value):
        return False
    if name == "TZ":
        return tz_is_sane(value)
    if (name in _HARMLESS or name.startswith(_HARMLESS_BEGINNINGS)) and name not in keep:
        return not set(value) & set("/%")
    return keep_all or name in KEPT or name in keep


def is_settable(name: str, value: str) -> bool:
    """Whether `sudo NAME=value` can be admitted at all: not what identifies anybody, nor what is dropped in any case."""
    ours = name in OURS or name.startswith("SUDO_")
    return is_variable(name) and not ours and not is_never_kept(name, value) and (name != "TZ" or tz_is_sane(value))


def tz_is_sane(value: str) -> bool:
    """Whether a TZ names a zone and not a file of the caller's: sudoers' rule (sudoers(5), CVE-2014-9680)."""
    zone = value.removeprefix(":")
    return (
        (not zone.startswith("/") or zone.startswith(ZONEINFO))
        and all("!" <= c <= "~" for c in zone)
        and ".." not in zone.split("/")
        and len(zone) < MAX_PATH_BYTES
    )


def first_of_each(entries: Sequence[str]) -> dict[str, str]:
    """What `NAME=value` entries hold, whatever the names: of two with one name the first counts, as for getenv(3)."""
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if name and equals and "\0" not in entry:
            found.setdefault(name, value)
    return found
