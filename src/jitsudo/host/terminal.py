"""Terminals: their settings kept and put back, notices written to the people who sit at them."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import termios
import threading
from pathlib import Path
from typing import Any

from jitsudo.types import Uid, is_plain_text


class Terminal:
    """The caller's terminal, through a descriptor of our own; its settings as they were before the command."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over. Raises OSError (termios.error) if it is not a terminal."""
        self._fd = descriptor
        self._saved: list[Any] = termios.tcgetattr(descriptor)

    def restore(self) -> None:
        """A command that was killed may leave the terminal raw and without echo."""
        with contextlib.suppress(OSError, termios.error):  # the terminal may be gone: nothing to restore then
            termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)

    def say(self, text: str) -> None:
        """One line, sooner or later or never: a terminal may have room for one byte and then for none, and O_NONBLOCK
        would change the caller's descriptor too, so the write has a thread of its own. Raises nothing.
        """
        with contextlib.suppress(OSError):
            descriptor = os.dup(self._fd)
            try:
                threading.Thread(target=_write_and_close, args=(descriptor, text), name="terminal", daemon=True).start()
            except RuntimeError:  # no more threads for now
                os.close(descriptor)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_and_close(descriptor: int, text: str) -> None:
    try:
        _write(descriptor, text)
    finally:
        os.close(descriptor)


def _write(descriptor: int, text: str) -> None:
    """One line, unless the terminal is stopped (^S) or full already. Raises nothing."""
    shown = "".join(c if is_plain_text(c) else "?" for c in text)
    with contextlib.suppress(OSError):
        poller = select.poll()
        poller.register(descriptor, select.POLLOUT)
        if any(events & select.POLLOUT for _, events in poller.poll(0)):
            os.write(descriptor, f"\r\n{shown}\r\n".encode())


def notify(uid: Uid, text: str, folder: Path = Path("/dev/pts")) -> int:
    """Tell a person on each terminal that is theirs and takes messages (mesg(1)); how many got it."""
    told = 0
    for path in sorted(folder.glob("[0-9]*")):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                facts = os.fstat(descriptor)
                if facts.st_uid == uid and stat.S_ISCHR(facts.st_mode) and facts.st_mode & stat.S_IWGRP:
                    _write(descriptor, text)
                    told += 1
            finally:
                os.close(descriptor)
    return told
