"""From sudo's `user_info` and `settings` (sudo_plugin(5)) to typed values; which options are refused, and which a role admits.

Both lists come from a front end that passes on what sudo told it. Keys that are not named here are ignored, as sudo adds
some with each version; keys that are named must appear at most once and be well formed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from jitsudo.elevation.variables import first_of_each, is_kept, is_settable
from jitsudo.errors import Denied, InvalidValue
from jitsudo.types import MAX_DURATION_SECONDS, Account, Gid, Uid, UserName

Mode = Literal["command", "shell", "login-shell", "edit"]
GatedOption = Literal["-E", "-C", "-D", "-T", "-P", "VAR"]
T = TypeVar("T")

MAX_PID = 4_194_304  # PID_MAX_LIMIT of 64-bit Linux, proc(5)
MAX_NUMBER = 2_147_483_647

MIN_CLOSEFROM = 3  # standard input, output and error stay open
MAX_NAMES_SHOWN = 10
HOME_FOLDER = "~"

_TIMEOUT = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s?)?", re.IGNORECASE | re.ASCII)
_TIMEOUT_UNITS = (86_400, 3600, 60, 1)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")
_UMASK = re.compile(r"0?[0-7]{1,4}")


class OptionRefused(Denied):
    """An option of sudo that is not supported, or not in this way."""

    code = "option-refused"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who ran sudo, and from where, as sudo saw it: to be cross-checked with the kernel, never believed alone.

    `tcpgid`, `tty` and `cwd` are None where there is no terminal, or no current directory that has a name.
    """

    name: UserName
    uid: Uid
    gid: Gid
    pid: int
    ppid: int
    pgid: int
    sid: int
    tcpgid: int | None
    tty: str | None
    cwd: str | None
    host: str
    umask: int
    lines: int
    cols: int


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked of sudo on its command line.

    `runas_user` and `runas_group` are a name or `#id`, unresolved; `timeout` is as typed (`10m`). `implied_shell`: no
    command was given at all. `env_add` holds `VAR=value` arguments and what `--preserve-env=LIST` named.
    `intercept_ptrace`: this sudo can check what the command executes.
    """

    runas_user: str | None = None
    runas_group: str | None = None
    mode: Mode = "command"
    implied_shell: bool = False
    noninteractive: bool = False
    ignore_ticket: bool = False
    update_ticket: bool = True
    set_home: bool = False
    askpass: bool = False
    prompt: str | None = None
    chroot: str | None = None
    cwd: str | None = None
    closefrom: int | None = None
    timeout: str | None = None
    preserve_environment: bool = False
    preserve_groups: bool = False
    remote_host: str | None = None
    selinux_role: str | None = None
    selinux_type: str | None = None
    env_add: tuple[str, ...] = ()
    intercept_ptrace: bool = False
    progname: str = "sudo"


def parse_user_info(items: Sequence[str]) -> Caller:
    """Read sudo's `user_info`. Raises InvalidValue where a key is missing, doubled or malformed."""
    info = _read(items, _USER_INFO_KEYS, "user_info")
    return Caller(
        name=UserName(_required(info, "user")),
        uid=Uid.parse(_required(info, "uid")),
        gid=Gid.parse(_required(info, "gid")),
        pid=_number(_required(info, "pid"), "pid", 1, MAX_PID),
        ppid=_number(_required(info, "ppid"), "ppid", 0, MAX_PID),
        pgid=_number(_required(info, "pgid"), "pgid", 0, MAX_PID),
        sid=_number(_required(info, "sid"), "sid", 0, MAX_PID),
        tcpgid=_foreground(info.get("tcpgid")),
        tty=_path(info.get("tty"), "tty"),
        cwd=_path(info.get("cwd"), "cwd"),
        host=_required(info, "host"),
        umask=_umask(_required(info, "umask")),
        lines=_number(_required(info, "lines"), "lines", 0, MAX_NUMBER),
        cols=_number(_required(info, "cols"), "cols", 0, MAX_NUMBER),
    )


def parse_settings(items: Sequence[str], env_add: Sequence[str]) -> Options:
    """Read sudo's `settings` and `env_add`. Raises InvalidValue where a key is doubled or malformed."""
    settings = _read(items, _SETTINGS_KEYS, "settings")
    return Options(
        runas_user=settings.get("runas_user"),
        runas_group=settings.get("runas_group"),
        mode=_mode(settings),
        implied_shell=_flag(settings, "implied_shell"),
        noninteractive=_flag(settings, "noninteractive"),
        ignore_ticket=_flag(settings, "ignore_ticket"),
        update_ticket=_flag(settings, "update_ticket", default=True),
        set_home=_flag(settings, "set_home"),
        askpass=_flag(settings, "askpass"),
        prompt=settings.get("prompt"),
        chroot=settings.get("cmnd_chroot"),
        cwd=settings.get("cmnd_cwd"),
        closefrom=_optional(settings.get("closefrom"), lambda v: _number(v, "closefrom", 0, MAX_NUMBER)),
        timeout=settings.get("timeout"),
        preserve_environment=_flag(settings, "preserve_environment"),
        preserve_groups=_flag(settings, "preserve_groups"),
        remote_host=settings.get("remote_host"),
        selinux_role=settings.get("selinux_role"),
        selinux_type=settings.get("selinux_type"),
        env_add=_clean(env_add, "env_add")[::-1],  # of two with one name sudo takes the last, first_of_each the first
        intercept_ptrace=_flag(settings, "intercept_ptrace"),
        progname=settings.get("progname", "sudo"),
    )


def check_supported(options: Options, listing: bool) -> None:
    """Refuse, before anything is looked up, what is not supported. Raises OptionRefused with a sentence naming the option.

    `listing` is true for `sudo -l`: only there may a host be named. What a role may admit is `asked_options`' matter.
    """
    for given, sentence, hint in _unsupported(options, listing):
        if given:
            raise OptionRefused(sentence, hint)


def asked_options(options: Options) -> frozenset[GatedOption]:
    """Which options were given that a role has to admit. `VAR`: a variable is set that would not be kept anyway."""
    given: dict[GatedOption, bool] = {
        "-E": options.preserve_environment,
        "-C": options.closefrom is not None,
        "-D": options.cwd is not None,
        "-T": command_timeout(options) is not None,
        "-P": options.preserve_groups,
        "VAR": bool(asked_variables(options)),
    }
    return frozenset(option for option, is_given in given.items() if is_given)


def asked_variables(options: Options) -> frozenset[str]:
    """The names that `VAR=value` and `--preserve-env=LIST` ask for, but for those that everybody's command keeps."""
    return frozenset(name for name, value in first_of_each(options.env_add).items() if not is_kept(name, value))


def command_timeout(options: Options) -> int | None:
    """The seconds that -T asks for; None: no limit, which is also what 0 means.

    Numbers with the units d, h, m, s in this order, of which the last may lack its unit: seconds. Raises InvalidValue for
    anything else, and for more than MAX_DURATION_SECONDS.
    """
    if options.timeout is None:
        return None
    parts = _TIMEOUT.fullmatch(options.timeout)
    if not options.timeout or parts is None:
        raise InvalidValue(f"{options.timeout}: invalid timeout value", "write e.g. 90, 10m or 1h30m")
    seconds = sum(int(number or 0) * unit for number, unit in zip(parts.groups(), _TIMEOUT_UNITS, strict=True))
    if seconds > MAX_DURATION_SECONDS:
        raise InvalidValue(f"{options.timeout}: timeout value too large", "at most 400d")
    return seconds or None


def working_folder(options: Options, target: Account) -> str | None:
    """The folder of -D, against which the command's relative operands are judged; None: the caller's own.

    `~` stands for the target's home, as for sudo.
    """
    if options.cwd is None or not options.cwd.startswith(HOME_FOLDER):
        return options.cwd
    return target.home + options.cwd.removeprefix(HOME_FOLDER)


def _unsupported(options: Options, listing: bool) -> tuple[tuple[bool, str, str | None], ...]:
    return (
        # First of all, since a look-up inside a folder of the caller's choosing loads the caller's code (CVE-2025-32463).
        (options.chroot is not None, "sudo -R (--chroot) is not supported", None),
        # A rule for another host must never count on this one (CVE-2025-32462).
        (
            options.remote_host is not None and not listing,
            "sudo -h HOST (--host) is for listing only",
            "leave -h out: a command always runs on this host, by this host's grants",
        ),
        (options.implied_shell, "no command was given", "sudo COMMAND; for a shell: sudo -s, sudo -i"),
        (options.selinux_role is not None, "sudo -r (--role) is not supported", "leave -r out"),
        (options.selinux_type is not None, "sudo -t (--type) is not supported", "leave -t out"),
        # The files are judged against the caller's folder; sudo would look for them in the other one.
        (options.mode == "edit" and options.cwd is not None, "sudo -D (--chdir) does not go with -e", "name files in full"),
        (
            options.closefrom is not None and options.closefrom < MIN_CLOSEFROM,
            "the argument to -C must be a number greater than or equal to 3",
            None,
        ),
        (not _is_folder(options.cwd), f"invalid working directory: {options.cwd}", "name it in full"),
        *_variables_refused(options),
    )


def _variables_refused(options: Options) -> Iterator[tuple[bool, str, str | None]]:
    refused = [name for name, value in first_of_each(options.env_add).items() if not is_settable(name, value)]
    if refused:
        names = ", ".join(ascii(name)[1:-1] for name in refused[:MAX_NAMES_SHOWN])
        yield True, f"these variables cannot be set through sudo: {names}", "leave them out: sudo sets its own, or drops them"


def _is_folder(path: str | None) -> bool:
    return path is None or path == HOME_FOLDER or path.startswith(("/", f"{HOME_FOLDER}/"))


_USER_INFO_KEYS = frozenset(
    {"user", "uid", "gid", "pid", "ppid", "pgid", "sid", "tcpgid", "tty", "cwd", "host", "umask", "lines", "cols"}
)
_SETTINGS_KEYS = frozenset(
    {
        "runas_user", "runas_group", "run_shell", "login_shell", "implied_shell", "sudoedit", "noninteractive",
        "ignore_ticket", "update_ticket", "set_home", "askpass", "prompt", "cmnd_chroot", "cmnd_cwd", "closefrom",
        "timeout", "preserve_environment", "preserve_groups", "remote_host", "selinux_role", "selinux_type",
        "intercept_ptrace", "progname",
    }
)  # fmt: skip


def _clean(items: Sequence[str], what: str) -> tuple[str, ...]:
    for item in items:
        if not isinstance(item, str) or "\0" in item:
            raise InvalidValue(f"{what} holds something that is not text")
    return tuple(items)


def _read(items: Sequence[str], known: frozenset[str], what: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for item in _clean(items, what):
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise InvalidValue(f"{what} holds an item that is not key=value: {item!r}")
        if key in found:
            raise InvalidValue(f"{what} holds {key!r} twice")
        if key in known:
            found[key] = value
    return found


def _required(info: Mapping[str, str], key: str) -> str:
    value = info.get(key)
    if not value:
        raise InvalidValue(f"user_info lacks {key!r}")
    return value


def _optional(value: str | None, read: Callable[[str], T]) -> T | None:
    return None if value is None else read(value)


def _number(text: str, what: str, low: int, high: int) -> int:
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise InvalidValue(f"not a value for {what}: {text!r}")
    return int(text)


def _foreground(text: str | None) -> int | None:
    # -1 means no terminal; 0 is a foreground process group of another pid namespace (tcgetpgrp(3)).
    return None if text in (None, "-1", "0") else _number(text, "tcpgid", 1, MAX_PID)


def _path(text: str | None, what: str) -> str | None:
    if not text:
        return None
    if not text.startswith("/"):
        raise InvalidValue(f"{what} is not an absolute path: {text!r}")
    return text


def _umask(text: str) -> int:
    if not _UMASK.fullmatch(text) or int(text, 8) > 0o777:
        raise InvalidValue(f"not a value for umask: {text!r}")
    return int(text, 8)


def _flag(settings: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    value = settings.get(key)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise InvalidValue(f"setting {key!r} is neither true nor false: {value!r}")
    return value == "true"


def _mode(settings: Mapping[str, str]) -> Mode:
    if _flag(settings, "sudoedit"):
        return "edit"
    if _flag(settings, "login_shell"):
        return "login-shell"
    return "shell" if _flag(settings, "run_shell") else "command"
