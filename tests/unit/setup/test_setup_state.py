"""The state of setup: what is written is read, by Python and by sh, and nothing else is."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.errors import Failed, WrongState
from jitsudo.setup.files import locked, replace_file
from jitsudo.setup.state import Mode, SetupState, parse_state, read_state, write_state
from jitsudo.setup.sudoconf import FrontEnd

STATE = SetupState(Mode.UNCONFIRMED, FrontEnd.NATIVE, 1_700_000_000, "alice", 7, "136:2", "ab" * 16, 5000, "sudoers")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every field."""
    write_state(STATE, tmp_path / "setup")
    assert read_state(tmp_path / "setup") == STATE
    assert (tmp_path / "setup").stat().st_mode & 0o7777 == 0o700
    assert (tmp_path / "setup/state").stat().st_mode & 0o7777 == 0o600


def test_sh_reads_it_too(tmp_path: Path) -> None:
    """As jitsudo-restore does: one key and one value a line."""
    write_state(STATE, tmp_path)
    for key, value in (("mode", "unconfirmed"), ("deadline", "5000"), ("boot_id", "ab" * 16), ("front_end", "native")):
        done = subprocess.run(
            ["/bin/sed", "-n", f"s/^{key} //p", str(tmp_path / "state")], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{value}\n"


def test_nothing_was_ever_set_up(tmp_path: Path) -> None:
    """No file is the state `off`."""
    assert read_state(tmp_path) == SetupState()


def test_what_jitsudo_restore_writes_is_read() -> None:
    """It leaves one line."""
    assert parse_state(b"mode observe\n") == SetupState(Mode.OBSERVE)


BAD = {
    "nothing": b"",
    "no mode": b"since 1\n",
    "another mode": b"mode maybe\n",
    "another front end": b"mode off\nfront_end perl\n",
    "no number": b"mode off\nsince yesterday\n",
    "twice": b"mode off\nmode enabled\n",
    "an unknown key": b"mode off\ncolour red\n",
    "no value": b"mode\n",
    "binary": b"mode off\n\xff\xfe\n",
    "a space in it": b"mode off\nby two words\n",
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_state_is_refused_and_says_so(name: str) -> None:
    """Never guessed at: the hint says what puts everything back."""
    with pytest.raises(Failed) as caught:
        parse_state(BAD[name])
    assert caught.value.hint


@given(st.binary(max_size=200))
def test_any_bytes_are_a_state_or_refused(data: bytes) -> None:
    """Nothing else is raised."""
    try:
        parse_state(data)
    except Failed:
        return


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """The folder cannot hold the new one: here, as one of its name is a folder that is not empty."""
    path = tmp_path / "state"
    path.write_bytes(b"old")
    (tmp_path / ".state.jitsudo-new").mkdir()
    with pytest.raises(Failed, match="cannot be written"):
        replace_file(path, b"new", mode=0o600)
    assert path.read_bytes() == b"old"


def test_two_changes_at_once_are_refused(tmp_path: Path) -> None:
    """The second one is told, and the lock goes with its holder."""
    with locked(tmp_path), pytest.raises(WrongState, match="another setup"), locked(tmp_path, 0.1):
        raise AssertionError("both have it")
    with locked(tmp_path):
        pass


def test_a_change_waits_for_the_timer_that_only_looks(tmp_path: Path) -> None:
    """Whoever confirms while jitsudo-restore sees whether it is due does not have to type it again."""
    holder = locked(tmp_path)
    holder.__enter__()
    threading.Timer(0.2, holder.__exit__, (None, None, None)).start()
    with locked(tmp_path, 10):
        pass
