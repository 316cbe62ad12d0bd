"""The steps of an enable on a planted tree, cut off after each and taken back; interrupted; failing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from jitsudo.errors import Failed, WrongState
from jitsudo.host.clock import boot_id
from jitsudo.setup import enabling
from jitsudo.setup.enabling import Plan, Step, enable, put_back, steps_of
from jitsudo.setup.files import locked
from jitsudo.setup.places import Places
from jitsudo.setup.programs import Ran
from jitsudo.setup.standing import read_standing
from jitsudo.setup.state import DONE, Mode, SetupState, read_state, write_state
from jitsudo.setup.sudoconf import FrontEnd, SudoConf, read_sudo_conf
from jitsudo.setup.sudoers import drop_ins
from jitsudo.types import Moment

PROGRAM = Path(__file__).resolve().parents[3] / "systemd" / "jitsudo-restore"
STATE = SetupState(Mode.UNCONFIRMED, FrontEnd.NATIVE, 1_700_000_000, "alice", 7, "none", boot_id(), 2**40)
FILES = {"sudo.conf": b"Set a b\n", "sudoers": b"%sudo ALL=ALL\n", "sudoers.d/ops": b"bob ALL=ALL\n", "pam.d/su": b"x\n"}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A host with sudoers rules; systemctl is not asked."""
    for name, data in FILES.items():
        path = tmp_path / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o440)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    (tmp_path / "etc/jitsudo").mkdir()
    (tmp_path / "usr/libexec/jitsudo").mkdir(parents=True)
    (tmp_path / "usr/libexec/jitsudo/jitsudo-restore").write_bytes(PROGRAM.read_bytes())
    real = enabling.run

    def no_systemctl(argv: list[str], **options: object) -> Ran:
        return Ran(0, "", "") if argv[0] == "/usr/bin/systemctl" else real(argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(enabling, "run", no_systemctl)
    return Places(tmp_path)


def plan_of(places: Places) -> Plan:
    wanted = read_sudo_conf(places.sudo_conf).for_front_end(FrontEnd.NATIVE)
    return Plan(STATE, wanted, wanted, drop_ins(places.drop_ins), places)


def seen(places: Places) -> dict[str, tuple[bytes, int, int]]:
    etc = places.root / "etc"
    files = (path for path in sorted(etc.rglob("*")) if path.is_file())
    return {str(p.relative_to(etc)): (p.read_bytes(), p.stat().st_mode, int(p.stat().st_mtime)) for p in files}


def test_afterwards_jitsudo_decides_and_sudoers_has_no_rule(places: Places) -> None:
    """And the state says so, and nothing differs from it."""
    enable(plan_of(places))
    assert read_sudo_conf(places.sudo_conf).front_end() is FrontEnd.NATIVE
    assert places.sudoers.read_bytes() == enabling.SUDOERS_LEFT
    assert places.sudoers.stat().st_mode & 0o7777 == 0o440
    assert drop_ins(places.drop_ins) == ()
    standing = read_standing(places)
    assert (standing.state.mode, standing.state.step, standing.differences) == (Mode.UNCONFIRMED, DONE, ())
    assert standing.left
    assert len(standing.kept) == 3
    assert len(standing.backups) == 1


def test_the_time_to_confirm_begins_when_all_is_done(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the steps take on a busy host, whoever enabled it has all the time that was said."""
    times = iter((Moment(wall=1_700_000_000, boot=1000.2), Moment(wall=1_700_000_009, boot=1008.9)))
    monkeypatch.setattr(enabling, "read_clocks", lambda: next(times))
    enable(plan_of(places))
    assert read_state(places.state).deadline == STATE.deadline + 9


@pytest.mark.parametrize("count", range(7))
def test_cut_off_after_any_step_sudo_works_and_all_can_be_put_back(places: Places, count: int) -> None:
    """At every moment sudo.conf names us, or sudoers has all its rules."""
    before = seen(places)
    plan = plan_of(places)
    for step in steps_of(plan)[:count]:
        enabling.write_step(plan, step)
        step.do(plan)
        whole = places.sudoers.read_bytes() == FILES["sudoers"] and drop_ins(places.drop_ins) == ("ops",)
        assert whole or read_sudo_conf(places.sudo_conf).front_end() is FrontEnd.NATIVE
    put_back(places, "a test")
    assert seen(places) == before


def test_the_state_is_durable_before_the_first_change(places: Places) -> None:
    """Else a loss of power would leave a change that nobody knows of."""
    plan = plan_of(places)
    first, *others = steps_of(plan)
    before = {name: value for name, value in seen(places).items() if not name.startswith("jitsudo/")}
    first.do(plan)
    assert read_state(places.state).mode is Mode.UNCONFIRMED
    after = {name: value for name, value in seen(places).items() if not name.startswith("jitsudo/")}
    assert after == before
    assert [step.name for step in others] == ["watch", "keep", "sudo.conf", "sudoers", "drop-ins"]


def failing(plan: Plan, name: str, do: Callable[[Plan], None]) -> list[Step]:
    return [replace(step, do=do) if step.name == name else step for step in steps_of(plan)]


@pytest.mark.parametrize("name", ["watch", "keep", "sudo.conf", "sudoers", "drop-ins"])
def test_a_step_that_fails_puts_everything_back(places: Places, name: str) -> None:
    """The error is that of the step."""
    before, plan = seen(places), plan_of(places)

    def fail(_plan: Plan) -> None:
        raise Failed("the disk is full")

    with pytest.raises(Failed, match="disk is full"):
        enable(plan, failing(plan, name, fail))
    assert seen(places) == before
    assert read_state(places.state).mode is Mode.OFF


@pytest.mark.parametrize("name", ["remember", "keep", "sudo.conf", "drop-ins"])
def test_an_interruption_waits_for_the_end_of_a_step_and_puts_everything_back(places: Places, name: str) -> None:
    """^C in the middle of it: nothing is half done, and nothing is left done."""
    before, plan = seen(places), plan_of(places)
    real = next(step for step in steps_of(plan) if step.name == name)
    done: list[str] = []

    def interrupted(plan: Plan) -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        real.do(plan)
        done.append(name)

    with pytest.raises(KeyboardInterrupt):
        enable(plan, failing(plan, name, interrupted))
    assert done == [name]
    assert seen(places) == before


def test_an_interruption_of_the_very_last_write_puts_everything_back(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told that it was interrupted must not find it done."""
    before = seen(places)
    real = enabling.write_state

    def interrupted(state: SetupState, folder: Path) -> None:
        if state.step == DONE:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        real(state, folder)

    monkeypatch.setattr(enabling, "write_state", interrupted)
    with pytest.raises(KeyboardInterrupt):
        enable(plan_of(places))
    assert seen(places) == before
    assert read_state(places.state).mode is Mode.OFF


def test_who_has_to_wait_too_long_takes_nothing_back(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is somebody else's, who may be in the middle of it."""
    enable(plan_of(places))
    before, plan, reasons = seen(places), plan_of(places), list[str]()
    monkeypatch.setattr(enabling, "locked", partial(locked, seconds=0.1))
    monkeypatch.setattr(enabling, "put_back", lambda _places, reason: reasons.append(reason))
    with locked(places.state), pytest.raises(WrongState, match="another setup is at work"):
        enable(plan)
    assert (seen(places), reasons) == (before, [])


def test_an_enable_that_another_one_overtook_changes_nothing(places: Places) -> None:
    """It was planned for a host whose sudo was sudoers'; undoing it would undo theirs."""
    overtaken = replace(plan_of(places), before=SetupState())
    enable(replace(plan_of(places), before=SetupState()))
    before = seen(places)
    with pytest.raises(WrongState, match="meanwhile"):
        enable(overtaken)
    assert seen(places) == before
    assert read_state(places.state).mode is Mode.UNCONFIRMED


def test_a_switch_changes_sudo_conf_alone_and_keeps_the_edits_of_others(places: Places) -> None:
    """They are still told from ours when everything is put back."""
    enable(plan_of(places))
    edited = SudoConf(places.sudo_conf.read_bytes() + b"Path askpass /x\n")
    places.sudo_conf.chmod(0o644)
    places.sudo_conf.write_bytes(edited.data)
    left = SudoConf((places.left / "sudo.conf").read_bytes())
    state = replace(STATE, front_end=FrontEnd.PYTHON)
    python = FrontEnd.PYTHON
    plan = Plan(state, edited.for_front_end(python), left.for_front_end(python), (), places, switch=True)
    enable(plan)
    assert read_sudo_conf(places.sudo_conf).front_end() is FrontEnd.PYTHON
    assert any("sudo.conf was edited" in one for one in read_standing(places).differences)
    put_back(places, "a test")
    assert places.sudo_conf.read_bytes() == b"Set a b\nPath askpass /x\n"
    assert places.sudoers.read_bytes() == FILES["sudoers"]


def test_an_original_that_is_there_already_is_never_overwritten(places: Places) -> None:
    """It may be the only one."""
    places.kept.mkdir()
    (places.kept / "sudoers").write_bytes(b"an older one")
    with pytest.raises(Failed, match="is there already"):
        enabling.keep(plan_of(places))
    assert (places.kept / "sudoers").read_bytes() == b"an older one"


def test_backups_hold_what_was_and_the_oldest_go(places: Places) -> None:
    """Five are kept."""
    for since in range(1_700_000_000, 1_700_000_007):
        enabling.remember(replace(plan_of(places), state=replace(STATE, since=since)))
    found = sorted(path.name for path in (places.state / "backup").iterdir())
    assert found == [f"{since}.tar" for since in range(1_700_000_002, 1_700_000_007)]


def test_what_differs_is_told(places: Places) -> None:
    """What others did since."""
    enable(plan_of(places))
    (places.drop_ins / "new").write_text("carol ALL=ALL\n")
    places.sudoers.chmod(0o640)
    places.sudoers.write_text("carol ALL=ALL\n")
    places.sudo_conf.write_bytes(b"")
    (places.kept / "sudoers").unlink()
    told = "\n".join(read_standing(places).differences)
    for sentence in ("does not name the native", "sudoers was edited", "new is new", "the original, is gone"):
        assert sentence in told


def test_an_enable_of_another_boot_has_no_time_left(places: Places) -> None:
    """It is put back as soon as anything looks."""
    write_state(replace(STATE, boot_id="f" * 32), places.state)
    assert read_standing(places).left == 0
