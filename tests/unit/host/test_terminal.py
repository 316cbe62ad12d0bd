"""Terminals: settings put back, notices for their owners."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import LONG, wait_until

from jitsudo.host.terminal import Terminal, notify
from jitsudo.types import Uid


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    yield master, slave
    os.close(master)
    os.close(slave)


def heard(master: int, until: bytes) -> bytes:
    """What was written to the terminal so far, up to what is awaited."""
    data = b""

    def has_come() -> bool:
        nonlocal data
        with contextlib.suppress(BlockingIOError):
            data += os.read(master, 65_536)
        return data.endswith(until)

    wait_until(has_come)
    return data


def said(terminal: Terminal, *lines: str) -> None:
    """These are said, and that ends."""
    saying = threading.Thread(target=lambda: [terminal.say(line) for line in lines], daemon=True)
    saying.start()
    saying.join(LONG)
    assert not saying.is_alive()


def test_settings_are_put_back_as_they_were(pair: tuple[int, int]) -> None:
    """A command that was killed left the terminal without echo."""
    _, slave = pair
    before = termios.tcgetattr(slave)
    terminal = Terminal(os.dup(slave))
    raw = termios.tcgetattr(slave)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    termios.tcsetattr(slave, termios.TCSANOW, raw)
    terminal.restore()
    assert termios.tcgetattr(slave) == before
    terminal.close()
    terminal.close()


def test_what_is_no_terminal_is_refused() -> None:
    """A pipe passed off as one."""
    read, write = os.pipe()
    with pytest.raises((OSError, termios.error)):
        Terminal(read)
    os.close(read)
    os.close(write)


def test_a_notice_cannot_command_the_terminal(pair: tuple[int, int]) -> None:
    """A reason is a person's, and shown on somebody else's terminal (CVE-2023-28486)."""
    master, slave = pair
    terminal = Terminal(os.dup(slave))
    terminal.say("a\x1b[2Jb\x9b31mc\u202ed\udcff\n")
    assert heard(master, b"??\r\r\n") == b"\r\r\na?[2Jb?31mc?d??\r\r\n"
    terminal.close()


def test_a_stopped_terminal_stops_nobody(pair: tuple[int, int]) -> None:
    """^S, and nobody reads: the notice is dropped."""
    _, slave = pair
    terminal = Terminal(os.dup(slave))
    termios.tcflow(slave, termios.TCOOFF)
    said(terminal, *["x" * 500] * 200)
    terminal.close()


def test_a_full_terminal_stops_nobody(pair: tuple[int, int]) -> None:
    """Its window is frozen; the buffer fills, then notices are dropped."""
    _, slave = pair
    terminal = Terminal(os.dup(slave))
    said(terminal, *["x" * 500] * 500)
    terminal.close()


def test_a_terminal_that_has_gone_is_no_error(pair: tuple[int, int]) -> None:
    """The window was closed."""
    master, slave = pair
    terminal = Terminal(os.dup(slave))
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), master)
    terminal.say("x")
    terminal.restore()
    terminal.close()


def test_a_terminal_with_a_high_descriptor_is_written_to(pair: tuple[int, int]) -> None:
    """select(2) ends at 1023."""
    master, slave = pair
    terminal = Terminal(fcntl.fcntl(slave, fcntl.F_DUPFD_CLOEXEC, 1500))
    terminal.say("x")
    assert b"x" in heard(master, b"x\r\r\n")
    terminal.close()


def test_notices_go_to_terminals_of_the_person_that_take_messages(pair: tuple[int, int], tmp_path: Path) -> None:
    """mesg(1), and nobody else's; a planted file or link is not one."""
    master, slave = pair
    folder = Path(os.ttyname(slave)).parent
    number = Path(os.ttyname(slave)).name
    (tmp_path / number).write_text("")
    (tmp_path / "424242").symlink_to(os.ttyname(slave))
    me = os.fstat(slave).st_uid
    os.chmod(os.ttyname(slave), 0o620)
    assert notify(Uid(me), "hello", tmp_path) == 0
    assert notify(Uid(me + 1), "hello", folder) == 0
    os.write(slave, b"nothing\n")
    assert heard(master, b"nothing\r\n") == b"nothing\r\n"
    assert notify(Uid(me), "hello", folder) >= 1
    assert b"hello" in heard(master, b"hello\r\r\n")
    os.chmod(os.ttyname(slave), 0o600)
    notify(Uid(me), "again", folder)
    os.write(slave, b"nothing\n")
    assert heard(master, b"nothing\r\n") == b"nothing\r\n"
