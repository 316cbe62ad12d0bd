"""Where setup stands, by the plain files that it keeps; what it says has to be what sudo.conf says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, Check
from jitsudo.doctor.sudoconf import SUDO_CONF, active_front_end, plugins

STATE: Final = "/var/lib/jitsudo/setup/state"
MODES: Final = ("off", "observe", "unconfirmed", "enabled")
TIMER: Final = "jitsudo-rollback.timer"
ROLLBACK: Final = "jitsudo setup rollback"

UNCONFIRMED = Kind("setup-unconfirmed", Severity.WARNING, "jitsudo was enabled and is not confirmed: all is put back soon")
DAMAGED = Kind("setup-state-damaged", Severity.PROBLEM, "what setup remembers cannot be read")
UNDONE = Kind("setup-undone", Severity.PROBLEM, "setup enabled a front end, but sudo.conf does not name it: sudoers decides")
FOREIGN = Kind("setup-by-hand", Severity.NOTICE, "the front end was put into sudo.conf by hand: setup cannot take it back")
NOT_OBSERVING = Kind("setup-not-observing", Severity.WARNING, "setup says that it observes, but sudo.conf names no observer")
NO_TIMER = Kind("setup-no-timer", Severity.PROBLEM, "jitsudo is not confirmed, and the timer that puts all back does not run")
HALF = Kind("setup-interrupted", Severity.PROBLEM, "setup was interrupted in the middle of a change")


def read_state(host: Host) -> dict[str, str] | None:
    """The `key value` lines of setup's state, None if it was never set up; an empty dictionary if it is damaged."""
    host.require_root(STATE)
    text = host.read(STATE)
    if text is None:
        return None
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, space, value = line.partition(" ")
        if not space or key in found:
            return {}
        found[key] = value
    return found if found.get("mode") in MODES else {}


def look_at_state(host: Host) -> Iterator[Seen | str]:
    state = read_state(host)
    active = active_front_end(host)
    if state == {}:
        yield DAMAGED.found(f"{STATE} is damaged", ROLLBACK, STATE)
        return
    mode = "off" if state is None else state["mode"]
    wanted = None if state is None else state.get("front_end")
    step = "none" if state is None else state.get("step", "none")
    if step not in ("none", "done"):
        yield HALF.found(f"{STATE} says that step {step} was not finished", ROLLBACK, STATE)
    elif mode == "unconfirmed":
        yield UNCONFIRMED.found(
            "jitsudo was enabled and waits to be confirmed from a second session", "jitsudo setup confirm", STATE
        )
        ran = host.run("/usr/bin/systemctl", "is-active", TIMER)
        if ran is not None and ran.status == 3:  # systemctl(1): not active
            yield NO_TIMER.found(f"{TIMER} is {ran.out.strip()}", f"systemctl enable --now {TIMER}", TIMER)
    if mode in ("unconfirmed", "enabled") and wanted in ("python", "native") and active != wanted:
        what = f"setup enabled the {wanted} plugin, and {SUDO_CONF} names {active or 'none of ours'}"
        yield UNDONE.found(what, f"jitsudo setup enable --front-end {wanted}", SUDO_CONF)
    if mode in ("off", "observe") and active is not None:
        what = f"{SUDO_CONF} names the {active} plugin, and setup did not put it there"
        cure = f"jitsudo setup enable --front-end {active}   # keeps what is needed to go back"
        yield FOREIGN.found(what, cure, SUDO_CONF)
    if mode == "observe" and not any(one.symbol == "jitsudo_observe" for one in plugins(host)):
        yield NOT_OBSERVING.found(f"setup observes, but {SUDO_CONF} has no line for it", "jitsudo setup observe", SUDO_CONF)
    yield f"setup is {mode}"


AREA: Final = Area(
    "setup",
    "where setup stands",
    (Check("setup", look_at_state, (UNCONFIRMED, DAMAGED, UNDONE, FOREIGN, NOT_OBSERVING, NO_TIMER, HALF)),),
)
