"""The C client, with every call of the C library failing in turn: never another answer, never past the deadline."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_sudo import ScriptedDaemon, answer, in_turn
from faults import HARD, SLACK, SOFT, Fault, Program, build, each, in_time_for, name

ALLOW: dict[str, Any] = {
    "verdict": "allow", "session": "S-ABCDEFGH", "token": "t", "n": 1, "command_info": ["command=/usr/bin/id", "umask=022"],
    "argv": ["/usr/bin/id", {"base64": "/w=="}], "env": [f"V{i}=x" for i in range(34)],
    "o": {f"k{i}": i for i in range(14)},  # more than json-c has room for at first
}  # fmt: skip
CALL = 'Check={"argv":["a",{"base64":"/w=="}],"n":1,"o":{"b":true,"z":null},"descriptors":["one","two"]}'
SILENCE = 1.5


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's test driver."""
    output = tmp_path_factory.mktemp("driver")
    build("libjitsudo", output, "drive")
    return output / "drive"


@pytest.fixture
def program(request: pytest.FixtureRequest, driver: Path, shim: Path, tmp_path: Path) -> Iterator[Program]:
    """Two calls on one connection, whose socket comes without standard input; the daemon allows both, after one `pending`."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    call = request.node.callspec.params["call"] if hasattr(request.node, "callspec") else ""
    step = in_time_for(call, in_turn(answer({"pending": "a person"}, continues=True), answer(ALLOW)))
    options = [f"folder={folder}", f"owner={os.getuid()}", f"silence={SILENCE * 1000:.0f}", "close=0", "send=12"]
    with ScriptedDaemon(folder, [step] * 10_000):
        # Calls of the loader and of the C library's own start are none of the client's.
        yield Program([str(driver), *options, CALL, CALL], shim, tmp_path / "injected", "drive:libjson-c")


def answers(stdout: bytes) -> list[Any]:
    """What the driver reported as answers; faults are not JSON."""
    return [json.loads(line) for line in stdout.splitlines() if line.startswith(b"{")]


def test_without_a_fault_both_calls_are_answered(program: Program) -> None:
    """What the other tests break works."""
    run = program.run(Fault("malloc", 12, 0))
    assert (run.injected, run.status, answers(run.stdout)) == (False, 0, [ALLOW, ALLOW])


@pytest.mark.parametrize(("call", "number"), each(HARD), ids=name)
def test_what_fails_never_ends_in_success(program: Program, call: str, number: int) -> None:
    """Whatever was answered before the fault is exact; the whole is a failure, with words, in time."""
    runs = list(program.in_turn(call, number))
    assert runs, f"the client never calls {call}"
    for run in runs:
        assert run.status != 0, run
        assert all(found == ALLOW for found in answers(run.stdout)), run
        assert len(answers(run.stdout)) < 2, run
        assert run.status > 0, f"killed: {run}"
        assert run.stderr == b"", run
        assert run.seconds < SILENCE + SLACK, run
    # json-c itself forgets the key for which its table would have to grow, by two allocations, and cannot: once a call here.
    assert sum(run.leaked for run in runs) <= (4 if call == "calloc" else 0)


@pytest.mark.parametrize(("call", "number"), each(SOFT), ids=name)
def test_what_is_to_be_tried_again_changes_nothing(program: Program, call: str, number: int) -> None:
    """Interrupts, full buffers and single bytes: the same answers."""
    runs = list(program.in_turn(call, number))
    assert runs, f"the client never calls {call}"
    for run in runs:
        assert (run.status, answers(run.stdout), run.stderr) == (0, [ALLOW, ALLOW], b""), run


@pytest.mark.parametrize(("call", "number"), [*each(HARD), *each(SOFT)], ids=name)
def test_what_fails_for_ever_ends_in_time(program: Program, call: str, number: int) -> None:
    """From the first call on: the deadline is kept, and the only answers are exact."""
    run = program.run(Fault(call, number, 1, onwards=True))
    assert run.injected
    assert all(found == ALLOW for found in answers(run.stdout)), run
    assert run.status != 0 or answers(run.stdout) == [ALLOW, ALLOW], run
    assert run.status == 0 or len(answers(run.stdout)) == 0, run
    assert run.stderr == b""
    assert run.seconds < SILENCE + SLACK, run
