"""The change itself, step by step, in an order in which the host may lose its power at any moment.

  1 remember   copies of everything, what will be left, the program that puts it back, and `unconfirmed`: all durable
  2 watch      the timer and the unit of the next boot that put everything back
  3 keep       the originals get a second name, on their own file system
  4 sudo.conf  from here on jitsudo decides; before, sudoers did, with all its rules
  5 sudoers    one with Defaults only takes its place
  6 drop-ins   the files of sudoers.d are renamed to where the originals are kept

`jitsudo-restore` undoes any of these states. With PAM as the front end, 4 is what pam-auth-update does, and 5 tries it. Where
one plugin of ours takes another's place, sudoers was kept aside before: 3, 5 and 6 are left out.
"""

from __future__ import annotations

import io
import math
import os
import signal
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from jitsudo.errors import Failed, WrongState
from jitsudo.host.clock import read_clocks
from jitsudo.setup.files import locked, replace_file, sync_folder
from jitsudo.setup.places import Places
from jitsudo.setup.programs import outside_sessions, run
from jitsudo.setup.recording import take_over
from jitsudo.setup.state import DONE, SetupState, read_state, write_state
from jitsudo.setup.sudoconf import FrontEnd, SudoConf, write_sudo_conf

UNITS: Final = ("jitsudo-rollback.timer", "jitsudo-rollback.service")
PAM_FILES: Final = ("common-account", "common-auth", "common-password", "common-session", "common-session-noninteractive")
MAX_BACKUPS: Final = 5
EDITED: Final = 3  # jitsudo-restore's exit status
INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
SUDOERS_LEFT: Final = b"""\
# jitsudo decides who may run what with sudo (jitsudo roles). This file has no rule, so that nobody becomes root by it if
# jitsudo is taken out of /etc/sudo.conf. The rules that were here before are kept in /etc/jitsudo/kept; to have all of it
# back: jitsudo setup disable
Defaults	env_reset
Defaults	mail_badpass
Defaults	secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Defaults	use_pty
"""
KEPT_README: Final = b"""\
The files that `jitsudo setup enable` took the place of, as they were: sudo.conf and sudoers of /etc, sudoers.d, pam.d.
Do not remove this folder: it is what gives you your sudo back. To put everything back, as root:
    jitsudo setup disable
or, where jitsudo, its daemon or Python does not work, or the package is gone:
    sh /etc/jitsudo/kept/jitsudo-restore
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an enable will do, decided before its first step. `state` is the unconfirmed one.

    `left`: what sudo.conf would be if nobody had edited it; `switch`: another plugin of ours is in force now. `before`: the
    state that it was planned for.
    """

    state: SetupState
    sudo_conf: SudoConf
    left: SudoConf
    drop_ins: tuple[str, ...]
    places: Places
    switch: bool = False
    before: SetupState | None = None

    @property
    def front_end(self) -> FrontEnd:
        if self.state.front_end is None:
            raise Failed("a plan without a front end")
        return self.state.front_end


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the change after which the host may stop for ever, and still lets its administrators in."""

    name: str
    do: Callable[[Plan], None]


def remember(plan: Plan) -> None:
    """(1)"""
    places = plan.places
    try:
        for folder in (places.state, places.left, places.kept.parent, places.kept, places.kept / "sudoers.d"):
            folder.mkdir(mode=0o755 if folder == places.kept.parent else 0o700, parents=True, exist_ok=True)
        _back_up(plan)
    except OSError as error:
        raise Failed(f"no backup can be made: {error}", "is the disk full?") from None
    replace_file(places.kept / "README", KEPT_README, mode=0o600)
    replace_file(places.kept / "jitsudo-restore", places.restore.read_bytes(), mode=0o700)
    if plan.front_end is not FrontEnd.PAM:
        _remember_what_is_left(plan)
    for folder in (places.kept.parent.parent, places.kept.parent, places.state.parent):
        sync_folder(folder)
    write_state(plan.state, places.state)


def _remember_what_is_left(plan: Plan) -> None:
    left = plan.places.left
    if (left / "sudo.conf").exists():  # until sudo.conf is changed, what was left before is what is there
        replace_file(left / "sudo.conf.before", (left / "sudo.conf").read_bytes(), mode=0o600)
    replace_file(left / "sudo.conf", plan.left.data, mode=0o600)
    if not plan.switch:
        replace_file(left / "sudoers", SUDOERS_LEFT, mode=0o600)


def _back_up(plan: Plan) -> None:
    """Copies with owners, modes and times, in an archive of this enable's own; the oldest of many go."""
    places, folder = plan.places, plan.places.state / "backup"
    folder.mkdir(mode=0o700, exist_ok=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in (places.sudo_conf, places.sudoers, places.drop_ins, places.pam):
            if path.exists():
                archive.add(path, arcname=str(path.relative_to(places.root)))
    replace_file(folder / f"{plan.state.since}.tar", content.getvalue(), mode=0o600)
    for old in sorted(folder.iterdir())[:-MAX_BACKUPS]:
        old.unlink()


def watch(_plan: Plan) -> None:
    """(2)"""
    for argv in (["enable", *UNITS], ["start", UNITS[0]], ["is-active", UNITS[0]]):
        ran = run(["/usr/bin/systemctl", "--quiet", *argv])
        if ran.status:
            raise Failed(f"the timer that would put everything back does not run: {ran.said}", f"systemctl status {UNITS[0]}")


def keep(plan: Plan) -> None:
    """(3)"""
    places = plan.places
    for path in (places.sudo_conf, places.sudoers):
        if path.exists():
            _second_name(path, places.kept / path.name)
    sync_folder(places.kept)


def _second_name(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samefile(path, kept):
            raise Failed(f"{kept} is there already, and is another file", "jitsudo setup rollback") from None
    except OSError as error:
        raise Failed(f"{path} cannot be kept as {kept}: {error.strerror}", f"are {path.parent} and {kept} one disk?") from None


def change_sudo_conf(plan: Plan) -> None:
    """(4)"""
    write_sudo_conf(plan.sudo_conf, plan.places.sudo_conf)
    (plan.places.left / "sudo.conf.before").unlink(missing_ok=True)


def change_sudoers(plan: Plan) -> None:
    """(5)"""
    if plan.places.sudoers.exists():
        replace_file(plan.places.sudoers, SUDOERS_LEFT, mode=0o440)


def move_drop_ins(plan: Plan) -> None:
    """(6)"""
    source, target = plan.places.drop_ins, plan.places.kept / "sudoers.d"
    try:
        for name in plan.drop_ins:
            os.rename(source / name, target / name)
        for folder in (target, source):
            if folder.exists():
                sync_folder(folder)
    except OSError as error:
        raise Failed(f"{error.filename} cannot be moved to {target}: {error.strerror}") from None


def keep_pam(plan: Plan) -> None:
    """(3), with PAM as the front end."""
    (plan.places.kept / "pam.d").mkdir(mode=0o700, exist_ok=True)
    for name in PAM_FILES:
        if (plan.places.pam / name).exists():
            _second_name(plan.places.pam / name, plan.places.kept / "pam.d" / name)
    sync_folder(plan.places.kept / "pam.d")


def change_pam(plan: Plan) -> None:
    """(4), with PAM as the front end: pam-auth-update(8) writes beside each file and renames, as we do."""
    ran = run(["/usr/sbin/pam-auth-update", "--package", "--enable", "jitsudo"], seconds=60)
    account = plan.places.pam / "common-account"
    if ran.status or b"pam_jitsudo" not in account.read_bytes():
        raise Failed(f"pam-auth-update did not put jitsudo into {account}: {ran.said}", "pam-auth-update, by hand, says why")


def try_pam(_plan: Plan) -> None:
    """(5), with PAM as the front end, which cannot be tried before: does root get through the changed stacks?"""
    ran = run(outside_sessions(["/usr/bin/su", "--shell", "/bin/sh", "--command", "exit 0", "root"]))
    if ran.status:
        raise Failed(f"root does not get through su with jitsudo in its stack: {ran.said}", "journalctl -t su -n 20")


_SUDO_STEPS: Final = (
    Step("remember", remember),
    Step("watch", watch),
    Step("keep", keep),
    Step("sudo.conf", change_sudo_conf),
    Step("sudoers", change_sudoers),
    Step("drop-ins", move_drop_ins),
)
_SWITCH_STEPS: Final = (_SUDO_STEPS[0], _SUDO_STEPS[1], _SUDO_STEPS[3])
_PAM_STEPS: Final = (
    Step("remember", remember),
    Step("watch", watch),
    Step("keep", keep_pam),
    Step("pam", change_pam),
    Step("try", try_pam),
)


def steps_of(plan: Plan) -> Sequence[Step]:
    """The steps of this plan, in their order; a test stops between any two of them."""
    if plan.front_end is FrontEnd.PAM:
        return _PAM_STEPS
    return _SWITCH_STEPS if plan.switch else _SUDO_STEPS


def enable(plan: Plan, steps: Sequence[Step] | None = None) -> None:
    """Do the steps. What fails, or is interrupted, is put back at once. Raises Failed; KeyboardInterrupt for ^C and the like;
    WrongState where somebody else is at it, or was since it was planned: what is there is theirs, and stays.

    Signals wait until a step is done: none of them leaves a file half written. The time to confirm begins when all is done: a
    busy host takes none of it away.
    """
    begun = read_clocks().boot
    heeded = {one for one in INTERRUPTIONS if signal.getsignal(one) is not signal.SIG_IGN}  # nohup(1) is heeded, too
    held = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        with locked(plan.places.state):
            if plan.before is not None and read_state(plan.places.state) != plan.before:
                raise WrongState("somebody else has changed jitsudo's setup meanwhile", "jitsudo setup status")
            for step in steps_of(plan) if steps is None else steps:
                write_step(plan, step)
                step.do(plan)
                if signal.sigpending() & heeded:
                    raise KeyboardInterrupt
            took = math.ceil(read_clocks().boot - begun)
            write_state(replace(plan.state, step=DONE, deadline=plan.state.deadline + took), plan.places.state)
            if signal.sigpending() & heeded:  # who is told that it was interrupted must not find it done
                raise KeyboardInterrupt
    except WrongState:
        raise
    except BaseException as error:
        why = "it was interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        put_back(plan.places, f"enabling failed: {why}")
        take_over(plan.places)
        if isinstance(error, OSError):
            raise Failed(f"enabling failed, and everything was put back: {error}") from None
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def write_step(plan: Plan, step: Step) -> None:
    """The journal of what is being done: in the state, so durable. The first step is the one that makes the state."""
    if step.do is not remember:
        write_state(replace(plan.state, step=step.name), plan.places.state)


def put_back(places: Places, reason: str, *options: str, observing: bool = True) -> None:
    """Run jitsudo-restore; `observing`: what observed before goes on.

    Raises WrongState if it was told to be careful and something was edited, Failed with what it said.
    """
    root = [] if places.root == Path("/") else ["--root", str(places.root)]
    kept = ["--observing"] if observing else []
    ran = run(["/bin/sh", str(places.restore), "--reason", reason, *kept, *options, *root], seconds=120)
    if ran.status == EDITED:
        edited = ", ".join(ran.out.split("\n")).strip(", ")
        raise WrongState(f"nothing was changed: edited since jitsudo was enabled: {edited}", "--force puts it aside")
    if ran.status:
        raise Failed(f"not everything could be put back: {ran.err.strip()}", f"sh {places.kept}/jitsudo-restore")
