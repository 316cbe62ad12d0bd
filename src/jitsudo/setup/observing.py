"""`jitsudo setup observe`: sudoers goes on deciding, and jitsudo is told. One line in sudo.conf, and out again."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jitsudo.client import Client
from jitsudo.errors import Denied, Failed, WrongState
from jitsudo.setup.caller import Caller, read_caller
from jitsudo.setup.dryrun import SUDO, try_observing
from jitsudo.setup.files import locked, sync_folder
from jitsudo.setup.places import Places
from jitsudo.setup.programs import run
from jitsudo.setup.state import Mode, SetupState, read_state, write_state
from jitsudo.setup.sudoconf import OBSERVE_LINE, SudoConf, read_sudo_conf, write_sudo_conf

OBSERVER: Final = OBSERVE_LINE.split()[1]
# The first sudo with audit plugins; before, this line would be an error to every sudo.
FIRST_VERSION: Final = (1, 9, 0)
_VERSION: Final = re.compile(r"^Sudo version ([0-9]+)\.([0-9]+)\.?([0-9]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Observing:
    """How it is now; `changed`: it was not so before."""

    on: bool
    changed: bool


def start_observing(places: Places) -> Observing:
    """Raises Denied, WrongState, Unreachable, Failed; nothing is changed then."""
    _require_root()
    with locked(places.state):
        state, conf = _where_sudoers_decides(places)
        if conf.observes() and state.mode is Mode.OBSERVE:
            return Observing(on=True, changed=False)
        _ask_the_daemon()
        _check_sudo()
        trial = try_observing(conf.with_line(OBSERVE_LINE))
        if trial.problem is not None:
            raise Failed(f"sudo is left as it is: {trial.what}: {trial.problem}", "is jitsudo_observe.so installed?")
        # The state first: whatever cuts this off, `--off` and jitsudo-restore take the line out again.
        write_state(_observe_state(read_caller()), places.state)
        write_sudo_conf(conf.with_line(OBSERVE_LINE), places.sudo_conf)
    return Observing(on=True, changed=True)


def stop_observing(places: Places) -> Observing:
    """What is on record stays. Raises Denied, WrongState, Failed."""
    _require_root()
    with locked(places.state):
        state, conf = _where_sudoers_decides(places)
        if conf.observes():
            _write_or_remove(conf.without([OBSERVER]), places.sudo_conf)
        if state.mode is Mode.OBSERVE:
            write_state(SetupState(), places.state)
    return Observing(on=False, changed=conf.observes() or state.mode is Mode.OBSERVE)


def _observe_state(caller: Caller) -> SetupState:
    return SetupState(
        mode=Mode.OBSERVE, since=int(time.time()), by=caller.name, session=caller.session, tty=caller.tty
    )


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Denied("only root can set up what sudo does", "run it as root")


def _where_sudoers_decides(places: Places) -> tuple[SetupState, SudoConf]:
    state, conf = read_state(places.state), read_sudo_conf(places.sudo_conf)
    if state.mode in (Mode.UNCONFIRMED, Mode.ENABLED) or conf.front_end() is not None:
        raise WrongState("jitsudo decides on this host; there is nothing to observe", "jitsudo setup status")
    return state, conf


def _ask_the_daemon() -> None:
    with Client() as client:
        client.call("Observed", since=int(time.time()))


def _check_sudo() -> None:
    ran = run([SUDO, "-V"])
    found = _VERSION.search(ran.out)
    if found is None:
        raise Failed(f"{SUDO} is not the sudo that takes plugins: {ran.said}", "jitsudo doctor says which one it is")
    version = tuple(int(part or 0) for part in found.groups())
    if version < FIRST_VERSION:
        raise Failed(f"{found[0]} is too old: audit plugins came with 1.9.0", "upgrade sudo")


def _write_or_remove(conf: SudoConf, path: Path) -> None:
    """A sudo.conf with nothing in it is one that was not there before."""
    if conf.data:
        write_sudo_conf(conf, path)
        return
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise Failed(f"{path} cannot be removed: {error.strerror}", f"is {path.parent} writable?") from None
