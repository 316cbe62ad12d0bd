"""sudo's front ends, each as one function: it plays a transcript's steps and returns what came back to sudo.

To add a third one, write such a function and name it in FRONT_ENDS; docs/front-ends.md says what else it takes.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "unit"))

from fake_sudo import (  # noqa: E402
    RC,
    FakeSudo,
    ScriptedDaemon,
    Step,
    answer,
    hang_up,
    in_turn,
    load_plugin,
    load_proof,
    pause,
    send,
    until_read,
)

__all__ = ["FRONT_ENDS", "HERE", "Json", "Outcome", "Place", "ScriptedDaemon", "run_native", "step_of"]

HOST_SECONDS = 60
ARRIVAL_SECONDS = 30
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transcript is played: a folder in place of the system's, and what was built for it."""

    folder: Path
    built: Path

    @property
    def run(self) -> Path:
        """The daemon's folder."""
        return self.folder / "run"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back to sudo from each step, and what it was told to say, in order: [how, text]."""

    results: list[Json]
    said: list[list[Any]]


def wire(text: str) -> object:
    """Text as the protocol has it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}
    return text


def unwire(value: Any) -> str:
    """The text of a wire text, as sudo's Python host would pass it on."""
    return base64.b64decode(value["base64"]).decode("utf-8", "surrogateescape") if isinstance(value, dict) else value


def step_of(parts: list[Any]) -> Step:
    """What the daemon does with one call: send replies or bytes, wait (until they are read), hang up; nothing is silence."""

    def one(part: Any) -> Step:
        if "base64" in part:
            return send(base64.b64decode(part["base64"]))
        if "pause" in part:
            return pause(part["pause"])
        if "read" in part:
            return until_read
        if "hang_up" in part:
            return hang_up
        reply = dict(part)
        return answer(reply.pop("parameters"), **reply)

    return in_turn(*map(one, parts))


def run_native(transcript: Json, place: Place) -> Outcome:
    """By a host program that loads the plugin as sudo does."""
    done = subprocess.run(
        [place.built / "host", place.built / "jitsudo_native.so"],
        input=json.dumps(transcript).encode(), capture_output=True, timeout=HOST_SECONDS, check=False,
        env={**os.environ, "FAKE_PAM": str(place.folder / "pam"), "FAKE_PAM_LOG": str(place.folder / "pam.log")},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"the host program exited {done.returncode}: {done.stderr.decode(errors='replace')}")
    output = json.loads(done.stdout)
    return Outcome(output["results"], output["said"])


class Sudo(FakeSudo):
    """The stand-in for the `sudo` module, keeping what is said in one list."""

    def __init__(self, typed: list[Any]) -> None:
        super().__init__()
        self.said: list[list[Any]] = []
        self.typed = [None if answer is None else unwire(answer) for answer in typed]

    def log_error(self, text: str) -> None:
        super().log_error(text)
        self.said.append(["error", text + "\n"])

    def log_info(self, text: str) -> None:
        super().log_info(text)
        self.said.append(["info", text + "\n"])

    def conv(self, message: Any) -> tuple[str | None]:
        how = {1: "asked", 2: "asked aloud", 3: "told"}[message.msg_type & 0xFF]
        self.said.append([how, message.msg])
        return super().conv(message)


class OsOf:
    """The os module, for the plugin alone, in a process with that real uid."""

    def __init__(self, uid: int) -> None:
        self.getuid = lambda: uid

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@contextmanager
def as_module(name: str, module: Any) -> Iterator[None]:
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


def run_python(transcript: Json, place: Place) -> Outcome:
    """By the plugin's own files, beside a stand-in for the `sudo` module."""
    told = transcript["sudo"]
    sudo = Sudo(told.get("typed", []))
    plugin, proof = load_plugin(sudo), load_proof(sudo)
    plugin.os = OsOf(told["uid"])
    proof.LIBPAM = str(place.built / "libfakepam.so")
    proof.SERVICE_FOLDERS = (str(place.folder / "pam.d"),)
    os.environ["FAKE_PAM"], os.environ["FAKE_PAM_LOG"] = str(place.folder / "pam"), str(place.folder / "pam.log")

    class Policy(plugin.JitsudoPolicy):  # type: ignore[misc,name-defined]
        RUN_DIRECTORY = str(place.run)
        OWNER = os.geteuid()
        CGROUP = str(place.folder / "cgroup")
        SYSLOG = str(place.folder / "log")

    with as_module("jitsudo_sudo_proof", proof):
        lists = {key: tuple(map(unwire, told[key])) for key in ("user_env", "settings", "user_info")}
        policy = Policy(version="1.0", plugin_options=(), **lists)
        return Outcome([step_in_python(policy, step) for step in transcript["steps"]], sudo.said)


def step_in_python(policy: Any, step: Json) -> Json:
    """One call, and what sudo would take from its answer."""
    call = step["call"]
    argv = tuple(map(unwire, step.get("argv", ())))
    if call == "arrival":
        assert select.select([policy.channel.socket], [], [], ARRIVAL_SECONDS)[0], "nothing has come from the daemon"
        return {}
    if call == "check_policy":
        answer = policy.check_policy(argv, tuple(map(unwire, step.get("env_add", ()))))
        if not isinstance(answer, tuple):
            return {"returns": int(answer)}
        parts = zip(("command_info", "argv", "env"), answer[1:], strict=True)
        return {"returns": int(answer[0])} | {key: [*map(wire, part)] for key, part in parts}
    if call == "init_session":
        env = tuple(map(unwire, step["env"]))
        user = pwd.getpwnam(step["user"]) if step.get("user") else ()
        answer = policy.init_session(user, env)
        code, env = answer if isinstance(answer, tuple) else (answer, env)
        return {"returns": int(code)} | ({"env": [*map(wire, env)]} if code == RC.ACCEPT else {})
    if call == "list":
        return {"returns": int(policy.list(argv, int(step.get("verbose", False)), step.get("user")))}
    if call == "close":
        policy.close(-1 if step["errno"] else step["wait_status"], step["errno"])
        return {}
    if call == "invalidate":
        policy.invalidate(int(step.get("remove", False)))
        return {}
    return {"returns": int(getattr(policy, call)(*([0] if call == "show_version" else [])))}


FRONT_ENDS: dict[str, Callable[[Json, Place], Outcome]] = {"python": run_python, "native": run_native}
