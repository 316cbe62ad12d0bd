"""After sudo, Python or jitsudo was upgraded: does sudo still load what its sudo.conf names? If not, it is made to work.

  1 it loads: nothing is done
  2 the Python front end does not load, the native one does: that takes its place
  3 nothing of ours loads: everything is put back, and sudoers decides again
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from jitsudo.errors import JitsudoError
from jitsudo.setup.dryrun import problems, try_active, try_front_end, try_observing
from jitsudo.setup.enabling import put_back
from jitsudo.setup.files import locked, replace_file
from jitsudo.setup.places import Places
from jitsudo.setup.recording import record
from jitsudo.setup.state import Mode, SetupState, read_state, write_state
from jitsudo.setup.sudoconf import FrontEnd, SudoConf, read_sudo_conf, write_sudo_conf


@dataclass(frozen=True, slots=True)
class Verified:
    """`front_end`: what decides now, None where sudoers does. `problem`: what was wrong; `done`: what was done about it."""

    front_end: FrontEnd | None
    problem: str | None = None
    done: str | None = None


def verify(places: Places) -> Verified:
    """Raises Failed where sudo could not be made to work."""
    conf = read_sudo_conf(places.sudo_conf)
    if not conf.ours():
        return Verified(None)
    front_end = conf.front_end()
    problem = try_active() if front_end is not None else try_observing(conf).problem
    if problem is None:
        return Verified(front_end)  # (1)
    done, now = _make_it_work(conf, front_end, problem, places)
    record("setup.verify_failed", "root", str(front_end or "observe"), f"{problem}; {done}")
    return Verified(now, problem, done)


def _make_it_work(conf: SudoConf, front_end: FrontEnd | None, problem: str, places: Places) -> tuple[str, FrontEnd | None]:
    if front_end is FrontEnd.PYTHON:
        native = conf.for_front_end(FrontEnd.NATIVE)
        if not problems(try_front_end(native, FrontEnd.NATIVE)[:1]):  # (2)
            with contextlib.suppress(JitsudoError):  # then (3)
                _fall_back(native, places)
                return "the native front end took its place", FrontEnd.NATIVE
    reason = f"sudo does not load {front_end or 'the observer'}: {problem}"
    put_back(places, reason, "--told", observing=front_end is not None)  # (3)
    return "everything was put back: sudoers decides", None


def _fall_back(native: SudoConf, places: Places) -> None:
    with locked(places.state):
        state: SetupState = read_state(places.state)
        left = places.left / "sudo.conf"
        if left.exists():
            before = left.read_bytes()
            replace_file(places.left / "sudo.conf.before", before, mode=0o600)
            replace_file(left, SudoConf(before).for_front_end(FrontEnd.NATIVE).data, mode=0o600)
        write_sudo_conf(native, places.sudo_conf)
        (places.left / "sudo.conf.before").unlink(missing_ok=True)
        if state.mode in (Mode.UNCONFIRMED, Mode.ENABLED):
            write_state(replace(state, front_end=FrontEnd.NATIVE), places.state)
