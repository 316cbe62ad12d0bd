"""A front end that was itself kept waiting, by a busy host or by SIGSTOP, takes the answer that came meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_sudo import ScriptedDaemon, Step, answer
from test_libjitsudo import DENY, Driver, folder, program  # noqa: F401  fixtures
from test_sudo_plugin import pam, plugin, proof, run, sudo  # noqa: F401  fixtures
from waiting import wait_until

SILENCE_MS = 300


def meanwhile(reply: Step) -> Step:
    """Stop whoever calls, answer, and let them go on when the time is over."""

    def step(connection: socket.socket) -> None:
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T"))
            reply(connection)
            time.sleep(SILENCE_MS / 1000 + 0.1)
        finally:
            os.kill(pid, signal.SIGCONT)

    return step


def test_the_library_takes_what_came_while_its_program_was_stopped(program: Path, folder: Path) -> None:  # noqa: F811
    """Ten times, since it may be stopped anywhere."""
    with ScriptedDaemon(folder, [meanwhile(answer(DENY)) for _ in range(10)]):
        for _ in range(10):
            outcome = Driver(program, folder)(silence_ms=SILENCE_MS)
            assert outcome.lines
            assert outcome.lines[-1].startswith("{"), outcome.lines
            assert outcome.reply == DENY


def test_the_python_plugin_takes_what_came_while_it_did_not_look(
    plugin: Any, run: Path, sudo: Any, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    """Its clock jumps before the answer is sent, and it is asleep for that."""
    late = [0.0]
    monkeypatch.setattr(plugin, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0], sleep=time.sleep))
    monkeypatch.setattr(plugin, "TICK_SECONDS", 30.0)

    def step(connection: socket.socket) -> None:
        time.sleep(0.2)
        late[0] = 10.0
        answer(DENY)(connection)

    with ScriptedDaemon(run, [step]):
        channel = plugin.Channel(str(run / "decide"), os.geteuid())
        try:
            assert channel.call("Check", {}, (), lambda _: None)["parameters"] == DENY
        finally:
            channel.socket.close()
    assert sudo.errors == []
