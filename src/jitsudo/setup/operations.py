"""What `jitsudo setup` does: enable, confirm, disable, roll back. Each looks first, acts, and puts it on record."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from jitsudo.errors import Denied, InvalidValue, JitsudoError, WrongState
from jitsudo.host.clock import boot_id, read_clocks
from jitsudo.setup.caller import read_caller
from jitsudo.setup.confirming import prove
from jitsudo.setup.enabling import UNITS, Plan, enable, put_back
from jitsudo.setup.files import locked
from jitsudo.setup.places import Places
from jitsudo.setup.preflight import Problem, preflight
from jitsudo.setup.programs import run
from jitsudo.setup.recording import record
from jitsudo.setup.state import Mode, SetupState, read_state, write_state
from jitsudo.setup.sudoconf import FrontEnd, SudoConf, read_sudo_conf
from jitsudo.setup.sudoers import drop_ins
from jitsudo.setup.waivers import Waivers
from jitsudo.types import Duration

# Less is not enough to log in; more is a weekend on which nobody notices.
LEAST_CONFIRM_SECONDS, MOST_CONFIRM_SECONDS = 10, 86_400
_ON: Final = (Mode.UNCONFIRMED, Mode.ENABLED)


@dataclass(frozen=True, slots=True)
class Enabled:
    """`problems`: why nothing was changed. `already`: nothing had to be. `state`: what is in force now."""

    state: SetupState
    problems: tuple[Problem, ...] = ()
    already: bool = False


def enable_front_end(
    front_end: FrontEnd, within: Duration, waive: Iterable[str], places: Places, *, check_only: bool = False
) -> Enabled:
    """Look, and unless there is a problem, change. Raises InvalidValue for waivers and times that are none, Failed."""
    waivers = Waivers.parse(waive)
    if not LEAST_CONFIRM_SECONDS <= int(within) <= MOST_CONFIRM_SECONDS:
        raise InvalidValue("--confirm-within is from 10s to 24h", "e.g. --confirm-within 10m")
    before = SetupState()
    with contextlib.suppress(JitsudoError):  # preflight says that it is damaged
        before = read_state(places.state)
    if before.mode in _ON and before.front_end is front_end and _is_in_force(front_end, places):
        return Enabled(before, already=True)
    problems = preflight(front_end, waivers, places)
    if problems or check_only:
        return Enabled(before, problems)
    plan = make_plan(front_end, within, places, before)
    enable(plan)
    reason = f"to be confirmed within {within}, or everything is put back"
    record("setup.enabled", plan.state.by, front_end, f"{reason}; waived: {', '.join(sorted(waivers.given)) or 'nothing'}")
    return Enabled(read_state(places.state))


def _is_in_force(front_end: FrontEnd, places: Places) -> bool:
    return front_end is FrontEnd.PAM or read_sudo_conf(places.sudo_conf).front_end() is front_end


def make_plan(front_end: FrontEnd, within: Duration, places: Places, before: SetupState) -> Plan:
    """What will be done, by whom, until when. `before`: how setup stood."""
    caller, now = read_caller(), read_clocks()
    state = SetupState(
        mode=Mode.UNCONFIRMED,
        front_end=front_end,
        since=now.wall,
        by=caller.name,
        session=caller.session,
        tty=caller.tty,
        boot_id=boot_id(),
        deadline=math.ceil(now.boot) + int(within),  # jitsudo-restore looks at whole seconds: none is taken away
    )
    conf = read_sudo_conf(places.sudo_conf)
    if front_end is FrontEnd.PAM:
        return Plan(state, conf, conf, (), places, before=before)
    if before.mode not in _ON:
        wanted = conf.for_front_end(front_end)
        return Plan(state, wanted, wanted, drop_ins(places.drop_ins), places, before=before)
    # What others have edited since stays edited: what is left is as if they had not, so that it can be told.
    known = places.left / "sudo.conf"
    left = SudoConf(known.read_bytes()) if known.exists() else conf
    wanted, left = conf.for_front_end(front_end), left.for_front_end(front_end)
    return Plan(state, wanted, left, (), places, switch=True, before=before)


def confirm(places: Places) -> str:
    """How it was proven. Raises WrongState, Denied."""
    caller = read_caller()
    with locked(places.state):
        state = read_state(places.state)
        how = prove(state, caller)
        write_state(replace(state, mode=Mode.ENABLED, boot_id="", deadline=0), places.state)
    for argv in (["disable", *UNITS], ["stop", UNITS[0]]):  # a timer that goes on finds nothing to do
        run(["/usr/bin/systemctl", "--quiet", *argv])
    record("setup.confirmed", caller.name, str(state.front_end), how)
    return how


def take_out(places: Places, *, force: bool, disable: bool) -> None:
    """Put everything back. Without `force` nothing is touched if somebody has edited what would be replaced.

    Raises Denied, Failed with what jitsudo-restore says, WrongState where there is nothing to disable.
    """
    caller = read_caller()
    if caller.uid != 0:
        raise Denied("only root may put sudo back as it was", "su - ; jitsudo setup status")
    state = SetupState()
    with contextlib.suppress(JitsudoError):  # damaged: the more reason to put everything back
        state = read_state(places.state)
    if disable and state.mode not in _ON:
        raise WrongState(f"jitsudo is not enabled (setup is {state.mode})", "jitsudo setup status")
    what = "disable" if disable else "rollback"
    put_back(places, f"{caller.name} ran jitsudo setup {what}", "--told", *([] if force else ["--careful"]))
    event = "setup.disabled" if disable else "setup.rolled_back"
    record(event, caller.name, str(state.front_end or "none"), f"{caller.name} ran jitsudo setup {what}")
