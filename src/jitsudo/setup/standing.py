"""How things stand: what setup remembers, how much time is left, and what is not as setup left it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jitsudo.errors import Failed
from jitsudo.host.clock import boot_id, read_clocks
from jitsudo.setup.places import Places
from jitsudo.setup.state import DONE, Mode, SetupState, read_state
from jitsudo.setup.sudoconf import FrontEnd, SudoConf, read_sudo_conf
from jitsudo.setup.sudoers import drop_ins


@dataclass(frozen=True, slots=True)
class Restored:
    """What jitsudo-restore noted down when it last put everything back; `when`: seconds since 1970."""

    when: int
    front_end: str
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """`left`: seconds until everything is put back, None unless something waits to be confirmed; 0: it is overdue.

    `kept`: the originals, `backups`: folders with copies. `differences`: what is not as setup left it, in sentences.
    """

    state: SetupState
    left: int | None
    kept: tuple[str, ...]
    backups: tuple[str, ...]
    differences: tuple[str, ...]
    restored: Restored | None


def read_standing(places: Places) -> Standing:
    """Raises Failed where the state is damaged or may not be read."""
    state, now = read_state(places.state), read_clocks()
    left = None
    if state.mode is Mode.UNCONFIRMED:
        left = max(0, state.deadline - math.ceil(now.boot)) if state.boot_id == boot_id() else 0
    return Standing(
        state=state,
        left=left,
        kept=tuple(sorted(str(p) for p in _files(places.kept) if p.name not in ("README", "jitsudo-restore"))),
        backups=tuple(sorted(str(p) for p in _entries(places.state / "backup"))),
        differences=tuple(_differences(state, places)),
        restored=_restored(places) if state.mode in (Mode.OFF, Mode.OBSERVE) else None,
    )


def _differences(state: SetupState, places: Places) -> Iterator[str]:
    if state.mode not in (Mode.UNCONFIRMED, Mode.ENABLED):
        yield from _unexpected(state, places)
        return
    if state.step != DONE:
        yield f"enabling was cut off at the step `{state.step}`; jitsudo setup rollback puts everything back"
    if state.front_end is FrontEnd.PAM:
        stack = places.pam / "common-account"
        if b"pam_jitsudo" not in (_bytes(stack) or b""):
            yield f"{stack} does not name pam_jitsudo any more: PAM lets everybody in"
        return
    conf = _bytes(places.sudo_conf)
    if conf is None or SudoConf(conf).front_end() is not state.front_end:
        yield f"{places.sudo_conf} does not name the {state.front_end} front end any more: sudoers decides"
    elif conf not in (_bytes(places.left / "sudo.conf"), _bytes(places.left / "sudo.conf.before")):
        yield f"{places.sudo_conf} was edited since; a rollback takes jitsudo's line out and leaves the rest"
    if _bytes(places.sudoers) != _bytes(places.left / "sudoers"):
        yield f"{places.sudoers} was edited since, or came back; a rollback wants --force to replace it"
    for name in drop_ins(places.drop_ins):
        yield f"{places.drop_ins / name} is new; no rule in it counts while jitsudo decides"
    for name in ("sudo.conf", "sudoers"):
        if not (places.kept / name).exists() and (places.left / name).exists():
            yield f"{places.kept / name}, the original, is gone; there are copies in {places.state}/backup"


def _unexpected(state: SetupState, places: Places) -> Iterator[str]:
    try:
        conf = read_sudo_conf(places.sudo_conf)
    except Failed as error:
        yield error.sentence
        return
    if conf.front_end() is not None:
        yield f"{places.sudo_conf} names the {conf.front_end()} front end, which setup did not put there"
    if conf.observes() != (state.mode is Mode.OBSERVE):
        yield f"{places.sudo_conf} {'has' if conf.observes() else 'lacks'} the line that observes, unlike what setup remembers"


def _restored(places: Places) -> Restored | None:
    try:
        when, front_end, reason, *_ = (places.state / "restored").read_text("utf-8", "replace").splitlines()
        return Restored(int(when), front_end, reason)
    except (OSError, ValueError):
        return None


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()] if folder.is_dir() else []


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
