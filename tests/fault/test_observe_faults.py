"""sudo's audit plugin, with every call of the C library failing in turn: sudo goes on, in silence, at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_sudo import ScriptedDaemon, answer
from faults import HARD, SOFT, Fault, Program, build, each, in_time_for, name

CALLS = {**HARD, **{call: [*HARD.get(call, []), *numbers] for call, numbers in SOFT.items()}}
# The plugin calls none of these: they are the library's for signatures and for what stays open.
NOT_CALLED = {"strdup", "fcntl"}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the driver, the plugin, and `run`, where the plugin looks for the daemon."""
    output = tmp_path_factory.mktemp("observe")
    (output / "run").mkdir(mode=0o755)
    flags = f'-DJITSUDO_RUN="\\"{output}/run\\"" -DJITSUDO_OWNER={os.getuid()}'
    build("sudo/observe", output, f"CPPFLAGS={flags}", f"{output}/jitsudo_observe.so", "drive")
    return output


@pytest.fixture
def program(request: pytest.FixtureRequest, plugin: Path, shim: Path, tmp_path: Path) -> Iterator[Program]:
    """One sudo that accepts; the daemon has noted it, if it hears of it."""
    call = request.node.callspec.params["call"] if hasattr(request.node, "callspec") else ""
    (plugin / "run" / "decide").unlink(missing_ok=True)
    step = in_time_for(call, answer({}))
    with ScriptedDaemon(plugin / "run", [step] * 10_000):
        command = [str(plugin / "drive"), str(plugin / "jitsudo_observe.so"), "accept", "--", "sudo", "id", "-u"]
        yield Program(command, shim, tmp_path / "injected", "jitsudo_observe.so")


def test_without_a_fault_it_is_told(program: Program) -> None:
    """What the other tests break works."""
    run = program.run(Fault("malloc", 12, 0))
    assert (run.injected, run.leaked, run.status, json.loads(run.stdout)["first"]) == (False, False, 0, 1)


@pytest.mark.parametrize("onwards", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize(("call", "number"), each(CALLS), ids=name)
def test_whatever_fails_sudo_goes_on(program: Program, call: str, number: int, onwards: bool) -> None:
    """All is well for sudo, nothing is printed, nothing stays open, and it takes no longer than it may."""
    runs = list(program.in_turn(call, number, onwards))
    assert runs or call in NOT_CALLED, f"the plugin never calls {call}"
    for run in runs:
        assert (run.status, run.stderr) == (0, b""), run
        told = json.loads(run.stdout)
        assert (told["first"], told["second"], told["errno_kept"], told["leaked"]) == (1, 1, True, 0), run
        assert told["ms"] < 250, run
    # json-c itself forgets the key for which its table would have to grow, and cannot.
    assert sum(run.leaked for run in runs) <= (4 if call == "calloc" else 0)
