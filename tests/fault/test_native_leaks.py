"""sudo's native plugin, with every call of the C library failing in turn: nothing is lost, and nothing reached as root.

What the plugin's variables still point to at the end is not lost: sudo calls no close after a refusal, and points itself into
what it was told until it exits. After a close, no socket is open.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_sudo import AnsweringDaemon, Step, answer, hang_up, in_turn
from faults import HARD, Fault, Program, Run, each, in_time_for, name

CALLS = {call: numbers for call, numbers in HARD.items() if call != "fcntl"} | {"asprintf": HARD["malloc"]}
INFO = [
    "command=/usr/bin/id", "umask=022", "closefrom=3", "use_pty=true", "runas_uid=0", "runas_gid=0", "runas_groups=0",
]  # fmt: skip
ALLOW: dict[str, Any] = {
    "verdict": "allow", "challenge": None, "session": "S-ABCDEFGH", "token": "t0ken", "command_info": INFO,
    "argv": ["/usr/bin/id", {"base64": "/w=="}], "env": ["PATH=/usr/bin", "HOME=/root"],
}  # fmt: skip
DENY = {"verdict": "deny", "code": "no-grant", "message": "no grant", "hints": ["jitsudo request web", "ask bob"]}
NOTHING: dict[str, Any] = {"service": None, "user": None, "prompt": None, "overrides": None, "tries": None}


def challenge(kind: str, **fields: object) -> dict[str, Any]:
    """The daemon's question."""
    return {"verdict": "challenge", "challenge": {**NOTHING, "kind": kind, "message": "prove it", **fields}}


PASSWORD = challenge(
    "authenticate", service="jitsudo-sudo", user="alice", prompt="Password of alice: ", overrides=True, tries=2
)
ACCOUNT = challenge("account", service="jitsudo-sudo", user="alice")
AGENT = challenge("agent")
ENDING = {"Started": answer({"verdict": "allow"}), "Close": answer({})}
# Who calls, with what words, and what the daemon answers: each way through the plugin.
WAYS: dict[str, tuple[int, list[str], dict[str, Step]]] = {
    "deny": (0, ["id"], {"Check": answer(DENY)}),
    "allow": (0, ["id"], {"Check": in_turn(answer({"pending": "a person"}, continues=True), answer(ALLOW)), **ENDING}),
    "password": (1000, ["id"], {"Check": answer(PASSWORD), "Answer": answer(ALLOW), **ENDING}),
    "wrong password": (1000, ["id"], {"Check": answer(PASSWORD), "Answer": answer(DENY)}),
    "account": (1000, ["id"], {"Check": answer(ACCOUNT), "Answer": answer(ALLOW), **ENDING}),
    "agent": (1000, ["id"], {"Check": answer(AGENT), "Answer": answer(ALLOW), **ENDING}),
    "not begun": (1000, ["id"], {"Check": answer(ACCOUNT), "Answer": answer(ALLOW), "Started": answer(DENY)}),
    "nobody there": (0, ["id"], {"Check": hang_up}),
    "half an allow": (0, ["id"], {"Check": answer({**ALLOW, "env": None})}),
    "list": (1000, ["-l"], {"List": answer({"verdict": "allow", "text": "role web\n  (root) /usr/bin/id"})}),
    "validate": (1000, ["-v"], {"Validate": answer({"verdict": "allow"})}),
    "invalidate": (1000, ["-k"], {"Invalidate": answer({})}),
}
NEVER = {("asprintf", "validate"), ("asprintf", "invalidate")}


def answering(place: Path, call: str, steps: dict[str, Step]) -> AnsweringDaemon:
    """A daemon that answers so; later where that is to be waited for."""
    (place / "run" / "decide").unlink(missing_ok=True)
    return AnsweringDaemon(place / "run", by_method={method: in_time_for(call, step) for method, step in steps.items()})


@contextmanager
def listening(mode: int) -> Iterator[tuple[Path, list[socket.socket]]]:
    """An agent's socket, with its folder open to all, and the connections that came."""
    came: list[socket.socket] = []
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "agent"
        Path(folder).chmod(0o755)
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(128)

        def accept() -> None:
            while True:
                try:
                    came.append(listener.accept()[0])
                except OSError:
                    return

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield path, came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in came:
                connection.close()


def sudo(place: Path, hosts: Path, tmp_path: Path, uid: int, words: list[str], agent: Path) -> Program:
    """sudo with that plugin; what it and its PAM take is watched, too."""
    (place / "pam").write_text("authenticate 0 1 Password: \nenv PAM_SAYS=so\n")
    command = [str(hosts / "sudo_host"), str(place / "jitsudo_native.so"), "jitsudo_native", str(uid), *words]
    environment = {"FAKE_PAM": str(place / "pam"), "FAKE_PAM_LOG": str(tmp_path / "pam.log"), "SSH_AUTH_SOCK": str(agent)}
    files = "jitsudo_native:sudo_host"
    return Program(
        command, hosts / "fault.so", tmp_path / "injected", "jitsudo_native", environment, owners=files, roots="jitsudo_native"
    )


def lost(run: Run) -> list[str]:
    """What nobody could give back any more; a socket counts once there was a close."""
    return [what for what in run.leaks if what.startswith("bytes ") or b"closed\n" in run.stdout]


def heard(daemon: AnsweringDaemon, count: int) -> list[str]:
    """The methods that were called; nobody waits for the answer to the last one, so it may come a moment later."""
    deadline = time.monotonic() + 30
    while len(daemon.calls) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return [asked.method.rpartition(".")[2] for asked in daemon.calls]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_lost_whatever_fails(place: Path, hosts: Path, tmp_path: Path, way: str, call: str) -> None:
    """Each call of a function in turn, in the first way that it can fail; and none at all."""
    uid, words, steps = WAYS[way]
    with listening(0o666) as (agent, _), answering(place, call, steps) as daemon:
        program = sudo(place, hosts, tmp_path, uid, words, agent)
        assert lost(program.run(Fault(call, CALLS[call][0], 0))) == []
        assert heard(daemon, len(steps)) == list(steps)
        runs = list(program.in_turn(call, CALLS[call][0]))
    assert runs or (call, way) in NEVER, f"the plugin never calls {call}"
    for run in runs:
        assert lost(run) == [], run
        assert run.status in {0, 1}, run


@pytest.mark.parametrize("way", ["allow", "password", "deny"])
def test_what_is_lost_would_be_found(place: Path, hosts: Path, tmp_path: Path, way: str) -> None:
    """Each time that the plugin gives memory back, without that."""
    uid, words, steps = WAYS[way]
    with listening(0o666) as (agent, _), answering(place, "", steps):
        runs = list(sudo(place, hosts, tmp_path, uid, words, agent).in_turn("free", 12))
    assert len(runs) > 20
    assert all(lost(run) for run in runs), [run for run in runs if not lost(run)]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take other people's place")
@pytest.mark.parametrize(("call", "number"), each({**CALLS, "seteuid": [11]}), ids=name)
def test_the_agents_socket_is_reached_as_the_caller_or_not_at_all(
    place: Path, hosts: Path, tmp_path: Path, call: str, number: int
) -> None:
    """One that only root may open is never opened, whatever fails, changing to the caller included."""
    uid, words, steps = WAYS["agent"]
    with listening(0o600) as (agent, came), answering(place, "", steps) as daemon:
        program = sudo(place, hosts, tmp_path, uid, words, agent)
        runs = [program.run(Fault(call, number, 0)), *program.in_turn(call, number)]
        assert {asked.parameters["outcome"] for asked in daemon.calls if asked.method.endswith(".Answer")} == {"unavailable"}
    assert came == []
    assert len(runs) > (1 if call == "seteuid" else 0)
