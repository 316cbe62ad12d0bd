"""What sudo is told to run a command with: `command_info` (sudo_plugin(5)).

The keys of the first list are written every time. sudo runs a command as uid 0 where `runas_uid` is missing, and takes the
caller's umask where `umask` is. sudo ignores keys that it does not know.
"""

from __future__ import annotations

from jitsudo.elevation.options import MAX_NUMBER, MIN_CLOSEFROM
from jitsudo.elevation.runas import Target
from jitsudo.errors import InvalidValue
from jitsudo.types import MAX_DURATION_SECONDS

UMASK = "022"
CLOSEFROM = "3"


def build_command_info(
    target: Target,
    path: str,
    cwd: str | None,
    *,
    timeout: int | None = None,
    cwd_optional: bool = False,
    closefrom: int | None = None,
    preserve_groups: bool = False,
    edit_files: int | None = None,
    pinned: bool = False,
) -> tuple[str, ...]:
    """The items, each `key=value`. `cwd` None: the caller's; `timeout` in whole seconds, None: no limit.

    `edit_files`: sudo's own sudoedit on so many files at the end of argv. `pinned`: a digest was checked, so sudo has to
    execute the very file that was read: the item `execfd=command` then stands for the descriptor that the front end passed
    to the daemon under the name `command`, which the daemon compared with the file whose content it read. The front end,
    which still has it open, puts its number there (`execfd=7`) and leaves it open; where it no longer has it, it refuses.

    Raises InvalidValue where a path is not absolute or cannot be passed on, or a number is out of range.
    """
    items = [
        f"command={_path(path)}",
        f"umask={UMASK}",
        # PAM may set another one for the session (pam_umask, Debian 13), which would win.
        "umask_override=true",
        f"closefrom={CLOSEFROM if closefrom is None else _descriptor(closefrom)}",
        # Input injected into the caller's terminal (TIOCSTI) has to stay in the command's own (CVE-2005-4890).
        "use_pty=true",
        # As sudoers does: the terminal is listed by who(1), and a dump of the command's memory goes nowhere.
        "set_utmp=true",
        "rlimit_core=0,0",
        f"runas_uid={int(target.account.uid)}",
        f"runas_euid={int(target.account.uid)}",
        f"runas_gid={int(target.gid)}",
        f"runas_egid={int(target.gid)}",
        f"runas_groups={_groups(target)}",
        f"runas_user={target.account.name}",
    ]
    if target.group_name is not None:
        items.append(f"runas_group={target.group_name}")
    if cwd is not None:
        items.append(f"cwd={_path(cwd)}")
        if cwd_optional:
            items.append("cwd_optional=true")
    if timeout is not None:
        items.append(f"timeout={_seconds(timeout)}")
    if preserve_groups:
        # sudo then leaves the caller's groups as they are, and does not look at runas_groups.
        items.append("preserve_groups=true")
    if pinned:
        items.append("execfd=command")
    if edit_files is not None:
        if not 0 < edit_files <= MAX_NUMBER:
            raise InvalidValue("no file to edit was named", "sudoedit FILE")
        # A folder that the person can write lets them swap the file meanwhile (CVE-2021-23240): sudo looks once more.
        items += ["sudoedit=true", f"sudoedit_nfiles={edit_files}", "sudoedit_checkdir=true", "sudoedit_follow=false"]
    return tuple(items)


def _descriptor(number: int) -> int:
    if not MIN_CLOSEFROM <= number <= MAX_NUMBER:
        raise InvalidValue(f"not a descriptor to close from: {number!r}", "3 or more")
    return number


def _groups(target: Target) -> str:
    # The effective group comes first, as sudoers writes it: setgroups(2) and setgid(2) then agree on every system.
    others = sorted({int(gid) for gid in target.account.groups} - {int(target.gid)})
    return ",".join(str(gid) for gid in (int(target.gid), *others))


def _path(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise InvalidValue(f"not an absolute path: {path!r}")
    return path


def _seconds(timeout: int) -> int:
    # 0 would mean "no limit" to sudo.
    if not 0 < timeout <= MAX_DURATION_SECONDS:
        raise InvalidValue(f"not a time-out in seconds: {timeout!r}")
    return timeout
