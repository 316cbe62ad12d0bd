"""Every front end of sudo does the same with the same: what sudo gave and the daemon answered decides what comes back."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from front_ends import FRONT_ENDS, HERE, Json, Place, ScriptedDaemon, run_native, step_of

DEFAULTS: Json = {
    "uid": 1000, "user_info": ["user=alice", "uid=1000", "gid=1000", "cwd=/", "tty=/dev/pts/7"], "settings": [],
    "user_env": ["PATH=/home/alice/bin", "TERM=xterm"],
}  # fmt: skip
OUTSIDE = "0::/user.slice/user-1000.slice/session-1.scope\n"
TRANSCRIPTS: dict[str, Json] = {
    f"{file.stem}: {transcript['title']}": transcript
    for file in sorted((HERE / "transcripts").glob("*.json"))
    for transcript in json.loads(file.read_text())
}


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What has to be compiled, for a folder of this run's own."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("place")
    made = subprocess.run(
        ["make", "-C", HERE, f"OUTPUT={built}", f"FOLDER={folder}", f"OWNER={os.geteuid()}",
         "SANITIZE=-fsanitize=address,undefined -fno-sanitize-recover=all"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return Place(folder, built)


@pytest.fixture
def clean(place: Place) -> Place:
    """The place, as a healthy host has it."""
    subprocess.run(["rm", "-rf", place.folder], check=True)
    (place.folder / "pam.d").mkdir(parents=True)
    (place.folder / "pam.d" / "jitsudo-sudo").touch()
    place.run.mkdir(mode=0o755)
    (place.folder / "pam.log").touch()
    return place


@pytest.fixture(scope="session")
def agent() -> Iterator[str]:
    """The socket of an SSH agent which callers can reach; that of one which only root can has ".root" at its end."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as roots:
        Path(folder).chmod(0o711)
        path = f"{folder}/agent"
        for listener, name, mode in ((one, path, 0o777), (roots, f"{path}.root", 0o700)):
            listener.bind(name)
            os.chmod(name, mode)
            listener.listen(1000)
        yield path


def without_numbers(results: list[Json]) -> list[Json]:
    """Descriptors have other numbers in each process."""
    text = json.dumps(results)
    return json.loads(re.sub(r'"execfd=[0-9]+"', '"execfd=N"', text))


def is_part_of(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(got, dict):
        return all(key in got and is_part_of(value, got[key]) for key, value in wanted.items())
    return bool(wanted == got)


def are_said(wanted: list[list[str]], said: list[list[str]]) -> bool:
    """Word by word; but a third element, "like", makes a glob of the words (front ends may find another fault first)."""
    return len(wanted) == len(said) and all(
        want[0] == got[0] and (fnmatchcase(got[1], want[1]) if want[2:] == ["like"] else want[1] == got[1])
        for want, got in zip(wanted, said, strict=True)
    )


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("transcript", TRANSCRIPTS.values(), ids=TRANSCRIPTS.keys())
def test_front_end_does_as_the_transcript_says(transcript: Json, name: str, clean: Place, agent: str) -> None:
    """The same calls to the daemon and to PAM, the same answers to sudo, the same words to the person."""
    transcript = json.loads(json.dumps(transcript).replace("AGENT", agent))
    wanted = transcript | transcript.get("except", {}).get(name, {})
    (clean.folder / "cgroup").write_text(transcript.get("cgroup", OUTSIDE))
    (clean.folder / "pam").write_text("".join(line + "\n" for line in transcript.get("pam", [])))
    if transcript.get("stack") is False:
        (clean.folder / "pam.d" / "jitsudo-sudo").unlink()
    script = [step_of(turn["send"]) for turn in transcript["daemon"]]
    played = transcript | {"sudo": DEFAULTS | transcript.get("sudo", {})}
    if transcript.get("is_absent"):
        outcome, calls = FRONT_ENDS[name](played, clean), []
    else:
        with ScriptedDaemon(clean.run, script) as daemon:
            outcome, calls = FRONT_ENDS[name](played, clean), daemon.calls
    said = [[how, text.replace(str(clean.folder), "PLACE")] for how, text in outcome.said]
    assert are_said(wanted["said"], said), said
    assert without_numbers(outcome.results) == [step.get("back", {}) for step in wanted["steps"]]
    assert [call.method.rpartition(".")[2] for call in calls] == [turn["call"] for turn in wanted["daemon"]]
    for call, turn in zip(calls, wanted["daemon"], strict=True):
        assert is_part_of(turn.get("with", {}), call.parameters), (turn, call.parameters)
        assert call.peers == turn.get("passed", {})
    if "pam_log" in wanted:
        assert (clean.folder / "pam.log").read_text().splitlines() == wanted["pam_log"]


def test_every_transcript_can_fail(clean: Place) -> None:
    """A daemon that answers otherwise is noticed: the suite compares what it claims to."""
    transcript = TRANSCRIPTS["answers: an exact allow runs as told"]
    (clean.folder / "cgroup").write_text(OUTSIDE)
    (clean.folder / "pam").touch()
    with ScriptedDaemon(clean.run, [step_of([{"parameters": {"verdict": "deny", "message": "no"}}])]):
        outcome = run_native(transcript | {"sudo": DEFAULTS}, clean)
    assert outcome.results != [step["back"] for step in transcript["steps"]]


def test_native_plugin_shows_one_symbol(tmp_path: Path) -> None:
    """What sudo looks up and nothing else, and no library but libc and libpam is needed; nothing can be written over later."""
    subprocess.run(["make", "-s", "-C", HERE.parent / "native", f"OUTPUT={tmp_path}"], check=True)
    built = tmp_path / "jitsudo_native.so"
    symbols = subprocess.run(["nm", "-D", "--defined-only", built], capture_output=True, text=True, check=True).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["jitsudo_native"]
    needed = subprocess.run(["readelf", "-d", built], capture_output=True, text=True, check=True).stdout
    libraries = set(re.findall(r"NEEDED.*\[(.*?)\]", needed))
    assert {"libpam.so.0", "libc.so.6"} <= libraries <= {"libpam.so.0", "libc.so.6", "ld-linux-x86-64.so.2"}
    assert "BIND_NOW" in needed
