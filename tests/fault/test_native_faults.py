"""sudo's native plugin, with every call of the C library failing in turn: a command runs on exactly what was allowed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_sudo import ScriptedDaemon, answer, in_turn, silence
from faults import HARD, SOFT, Fault, Program, build, each, in_time_for, name

INFO = [
    "command=/usr/bin/id", "umask=022", "closefrom=3", "use_pty=true", "runas_uid=0", "runas_gid=0", "runas_groups=0",
    "runas_euid=0",
]  # fmt: skip
ALLOW: dict[str, Any] = {
    "verdict": "allow", "challenge": None, "session": "S-ABCDEFGH", "token": "t0ken", "command_info": INFO,
    "argv": ["/usr/bin/id", {"base64": "/w=="}], "env": ["PATH=/usr/bin", "HOME=/root"], "code": None, "message": None,
    "hints": None,
}  # fmt: skip
DENY = {"verdict": "deny", "code": "no-grant", "message": "no grant", "hints": ["jitsudo request web"]}
CALLS = {call: numbers for call, numbers in HARD.items() if call != "fcntl"}
LINES = (
    [f"info {item}".encode() for item in INFO] + [b"argv /usr/bin/id", b"argv \xff", b"env PATH=/usr/bin", b"env HOME=/root"]
)
Make = Callable[[], Program]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the plugin under test looks into; it takes itself to be within somebody's session."""
    made = tmp_path_factory.mktemp("native")
    (made / "run").mkdir(mode=0o755)
    (made / "cgroup").write_text("0::/jitsudo.slice/S-ZZZZZZZZ.scope\n")
    named = {
        "RUN": f'"{made}/run"', "OWNER": str(os.getuid()), "CGROUP": f'"{made}/cgroup"', "LOG": f'"{made}/log"',
        "SUDO_CONF": f'"{made}/sudo.conf"', "PAM_FOLDERS": f'"{made}/pam.d"',
    }  # fmt: skip
    build("sudo/native", made, "CPPFLAGS=" + " ".join(f"-DJITSUDO_{key}='{value}'" for key, value in named.items()))
    return made


@pytest.fixture
def sudo(place: Path, hosts: Path, tmp_path: Path) -> Program:
    """sudo with that plugin, asked for one command."""
    (place / "run" / "decide").unlink(missing_ok=True)
    command = [str(hosts / "sudo_host"), str(place / "jitsudo_native.so"), "jitsudo_native", "id", "-u"]
    return Program(command, hosts / "fault.so", tmp_path / "injected", "jitsudo_native")


def allowed(stdout: bytes) -> list[bytes]:
    """What sudo was told to run."""
    return [line for line in stdout.splitlines() if line.split(b" ")[0] in {b"info", b"argv", b"env"}]


def test_without_a_fault_the_command_runs(sudo: Program, place: Path) -> None:
    """What the other tests break works."""
    with ScriptedDaemon(place / "run", [answer(ALLOW), answer({})]):
        run = sudo.run(Fault("malloc", 12, 0))
    assert (run.status, allowed(run.stdout)) == (0, LINES)


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_no_fault_turns_a_deny_into_an_allow(sudo: Program, place: Path, call: str, number: int) -> None:
    """With each call failing once; and nobody is taken for root outside a session."""
    with ScriptedDaemon(place / "run", [in_time_for(call, answer(DENY))] * 5_000):
        runs = list(sudo.in_turn(call, number))
    assert runs, f"the plugin never calls {call}"
    for run in runs:
        assert run.status == 1, run
        assert allowed(run.stdout) == [], run
        assert run.seconds < 4, run


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_what_runs_is_exactly_what_was_allowed(sudo: Program, place: Path, call: str, number: int) -> None:
    """Nothing is dropped for want of memory: a command with fewer arguments is another command."""
    step = in_turn(answer({"pending": "a person"}, continues=True), answer(ALLOW))
    with ScriptedDaemon(place / "run", [in_time_for(call, step)] * 5_000):
        runs = list(sudo.in_turn(call, number))
    assert runs, f"the plugin never calls {call}"
    for run in runs:
        assert run.status in {0, 1}, run
        assert allowed(run.stdout) == (LINES if run.status == 0 else []), run
        assert run.seconds < 6, run


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_what_fails_for_ever_ends_in_time(sudo: Program, place: Path, call: str, number: int) -> None:
    """Two seconds of silence, and no more than the start of the plugin on top."""
    with ScriptedDaemon(place / "run", [in_time_for(call, answer(DENY))] * 20):
        run = sudo.run(Fault(call, number, 1, onwards=True))
    assert run.injected
    assert run.status == 1, run
    assert run.seconds < 4, run


def test_silence_and_absence_are_denied(sudo: Program, place: Path) -> None:
    """Within a session even root has no way around the daemon."""
    assert sudo.run(Fault("malloc", 12, 0)).status == 1
    with ScriptedDaemon(place / "run", [silence]):
        run = sudo.run(Fault("malloc", 12, 0))
    assert (run.status, allowed(run.stdout)) == (1, [])
    assert 1.9 < run.seconds < 4


@pytest.mark.parametrize(("doubled", "code"), [(False, 0), (True, 1)])
def test_a_hundred_thousand_variables_are_read_in_time(sudo: Program, place: Path, doubled: bool, code: int) -> None:
    """As many as a command can have; a name that comes twice among them is found, at either end."""
    env = [f"V{i}=x" for i in range(100_000)] + (["V0=y"] if doubled else [])
    started = time.monotonic()
    with ScriptedDaemon(place / "run", [answer({**ALLOW, "env": env}), answer({})]):
        # Without the shim, which looks at each of a million allocations.
        done = subprocess.run(sudo.command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    assert done.returncode == code
    assert time.monotonic() - started < 3
