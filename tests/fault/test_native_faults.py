"""sudo's native plugin, with every call of the C library failing in turn: a command runs on exactly what was allowed."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_sudo import AnsweringDaemon, ScriptedDaemon, Step, answer, in_turn, silence
from faults import HARD, SLACK, SOFT, Fault, Program, each, in_time_for, name

INFO = [
    "command=/usr/bin/id", "umask=022", "closefrom=3", "use_pty=true", "runas_uid=0", "runas_gid=0", "runas_groups=0",
    "runas_euid=0",
]  # fmt: skip
ALLOW: dict[str, Any] = {
    "verdict": "allow", "challenge": None, "session": "S-ABCDEFGH", "token": "t0ken", "command_info": INFO,
    "argv": ["/usr/bin/id", {"base64": "/w=="}], "env": ["PATH=/usr/bin", "HOME=/root"], "code": None, "message": None,
    "hints": None,
}  # fmt: skip
NOTHING: dict[str, Any] = {"service": None, "user": None, "prompt": None, "overrides": None, "tries": None}
PASSWORD = {
    "verdict": "challenge", "challenge": {
        **NOTHING, "kind": "authenticate", "message": "prove it", "service": "jitsudo-sudo", "user": "alice",
        "prompt": "Password of alice: ", "overrides": False, "tries": 2,
    },
}  # fmt: skip
ACCOUNT = {
    "verdict": "challenge",
    "challenge": {**NOTHING, "kind": "account", "message": "the account", "service": "jitsudo-sudo", "user": "alice"},
}
STARTED = {"verdict": "allow"}
DENY = {"verdict": "deny", "code": "no-grant", "message": "no grant", "hints": ["jitsudo request web"]}
CALLS = {call: numbers for call, numbers in HARD.items() if call != "fcntl"}
LINES = (
    [f"info {item}".encode() for item in INFO] + [b"argv /usr/bin/id", b"argv \xff", b"env PATH=/usr/bin", b"env HOME=/root"]
)
Make = Callable[[], Program]


@pytest.fixture
def sudo(place: Path, hosts: Path, tmp_path: Path) -> Program:
    """sudo with that plugin, asked for one command."""
    return called_by(0, place, hosts, tmp_path)


@pytest.fixture
def alices(place: Path, hosts: Path, tmp_path: Path) -> Program:
    """The same, called by somebody who is not root, for whom PAM is asked."""
    return called_by(1000, place, hosts, tmp_path)


def called_by(uid: int, place: Path, hosts: Path, tmp_path: Path) -> Program:
    (place / "run" / "decide").unlink(missing_ok=True)
    (place / "pam").write_text("")
    command = [str(hosts / "sudo_host"), str(place / "jitsudo_native.so"), "jitsudo_native", str(uid), "id", "-u"]
    environment = {"FAKE_PAM": str(place / "pam"), "FAKE_PAM_LOG": str(tmp_path / "pam.log")}
    return Program(command, hosts / "fault.so", tmp_path / "injected", "jitsudo_native", environment)


def daemon(place: Path, **steps: Step) -> AnsweringDaemon:
    """One that answers each method always alike, and lets what was allowed begin and end."""
    given = {"Started": answer(STARTED), "Close": answer({}), **steps}
    return AnsweringDaemon(place / "run", by_method=given)


def allowed(stdout: bytes) -> list[bytes]:
    """What sudo was told to run."""
    return [line for line in stdout.splitlines() if line.split(b" ")[0] in {b"info", b"argv", b"env"}]


def test_without_a_fault_the_command_runs(sudo: Program, place: Path) -> None:
    """What the other tests break works."""
    with daemon(place, Check=answer(ALLOW)):
        run = sudo.run(Fault("malloc", 12, 0))
    assert (run.status, allowed(run.stdout)) == (0, LINES)


def test_without_a_fault_a_proof_an_account_and_a_session_lead_to_the_command(alices: Program, place: Path) -> None:
    """The whole way of somebody who is not root, with what PAM adds to the environment."""
    for challenge in (PASSWORD, ACCOUNT):
        (place / "pam").write_text("authenticate 0 1 Password: \nenv PAM_SAYS=so\n")
        with daemon(place, Check=answer(challenge), Answer=answer(ALLOW)) as asked:
            run = alices.run(Fault("malloc", 12, 0))
        assert (run.status, allowed(run.stdout)) == (0, [*LINES, b"env PAM_SAYS=so"])
        assert [call.method.rpartition(".")[2] for call in asked.calls] == ["Check", "Answer", "Started", "Close"]
        (place / "run" / "decide").unlink()


# What sudo does not mind either: not every stack has credentials to give, or a session; and what is over is over.
BEARABLE = {"setcred": range(1, 32), "open_session": {14}, "close_session": range(1, 32)}


@pytest.mark.parametrize("step", ["started", "authenticate", "acct_mgmt", "setcred", "open_session", "close_session"])
@pytest.mark.parametrize("challenge", [PASSWORD, ACCOUNT], ids=["proof", "account"])
def test_no_failure_of_pam_lets_a_command_run(alices: Program, place: Path, challenge: dict[str, Any], step: str) -> None:
    """With each code that PAM has, of each function; a daemon that trusts the plugin would allow it all."""
    if (challenge, step) == (ACCOUNT, "authenticate"):
        return  # nobody is asked for a proof
    heard: list[str] = []
    with daemon(place, Check=answer(challenge), Answer=answer(ALLOW)) as asked:
        for code in range(1, 32):
            (place / "pam").write_text(f"{step} {code}\n{step} {code}\nchauthtok 20\n")
            run = alices.run(Fault("malloc", 12, 0))
            # An old password was not what was asked for: sudo, too, lets its age be.
            is_bearable = code in BEARABLE.get(step, ()) or (step == "acct_mgmt" and challenge is ACCOUNT and code in {12, 27})
            assert (run.status, allowed(run.stdout)) == ((0, LINES) if is_bearable else (1, [])), (code, run)
            assert run.seconds < 2 + SLACK, run
            heard += [call.method.rpartition(".")[2] for call in asked.calls if call.parameters.get("outcome") == "proven"
                      and call.parameters.get("account") is None and step == "authenticate"]
            asked.calls.clear()
    assert heard == []


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_the_whole_way_runs_what_was_allowed_or_nothing(alices: Program, place: Path, call: str, number: int) -> None:
    """From the proof to the end of the session, with each call failing once."""
    (place / "pam").write_text("authenticate 0 1 Password: \nenv PAM_SAYS=so\n")
    steps = {"Check": answer(PASSWORD), "Answer": answer(ALLOW), "Started": answer(STARTED), "Close": answer({})}
    with AnsweringDaemon(place / "run", by_method={method: in_time_for(call, step) for method, step in steps.items()}):
        runs = list(alices.in_turn(call, number))
    assert runs, f"the plugin never calls {call}"
    for run in runs:
        assert run.status in {0, 1}, run
        assert allowed(run.stdout) == ([*LINES, b"env PAM_SAYS=so"] if run.status == 0 else []), run
        assert run.seconds < 6 + SLACK, run


@pytest.mark.parametrize("step", [answer(DENY), silence, answer({"verdict": "allow", "x": 1}), answer({})])
def test_what_the_daemon_does_not_let_begin_does_not_run(alices: Program, place: Path, step: Step) -> None:
    """The grant was revoked while PAM opened the session, say."""
    with daemon(place, Check=answer(ACCOUNT), Answer=answer(ALLOW), Started=step):
        run = alices.run(Fault("malloc", 12, 0))
    assert (run.status, allowed(run.stdout)) == (1, [])
    assert b"check 1\ninit 0\n" in run.stdout.replace(b"jitsudo: ", b"") or b"init 0" in run.stdout
    assert run.seconds < 2 + SLACK, run


@pytest.mark.parametrize("number", [5, 0], ids=name)
def test_a_program_that_cannot_be_read_is_not_executed_by_its_descriptor(sudo: Program, place: Path, number: int) -> None:
    """Whether it is a script decides if its descriptor stays open. A byte less than asked for is no script."""
    pinned = {**ALLOW, "command_info": [*INFO, "execfd=command"]}
    with daemon(place, Check=answer(pinned)):
        runs = list(sudo.in_turn("read", number))
        plain = sudo.run(Fault("read", number, 0))
    assert plain.status == 0
    assert any(line.startswith(b"info execfd=") for line in allowed(plain.stdout))
    assert runs
    for run in runs:
        assert run.status == (0 if number == 0 else 1), run


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_no_fault_turns_a_deny_into_an_allow(sudo: Program, place: Path, call: str, number: int) -> None:
    """With each call failing once; and nobody is taken for root outside a session."""
    with ScriptedDaemon(place / "run", [in_time_for(call, answer(DENY))] * 5_000):
        runs = list(sudo.in_turn(call, number))
    assert runs, f"the plugin never calls {call}"
    for run in runs:
        assert run.status == 1, run
        assert allowed(run.stdout) == [], run
        assert run.seconds < 2 + SLACK, run


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_what_runs_is_exactly_what_was_allowed(sudo: Program, place: Path, call: str, number: int) -> None:
    """Nothing is dropped for want of memory: a command with fewer arguments is another command."""
    step = in_turn(answer({"pending": "a person"}, continues=True), answer(ALLOW))
    with daemon(place, Check=in_time_for(call, step)):
        runs = list(sudo.in_turn(call, number))
    assert runs, f"the plugin never calls {call}"
    for run in runs:
        assert run.status in {0, 1}, run
        assert allowed(run.stdout) == (LINES if run.status == 0 else []), run
        assert run.seconds < 4 + SLACK, run


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_what_fails_for_ever_ends_in_time(sudo: Program, place: Path, call: str, number: int) -> None:
    """Two seconds of silence, and no more than the start of the plugin on top."""
    with ScriptedDaemon(place / "run", [in_time_for(call, answer(DENY))] * 20):
        run = sudo.run(Fault(call, number, 1, onwards=True))
    assert run.injected
    assert run.status == 1, run
    assert run.seconds < 2 + SLACK, run


def test_silence_and_absence_are_denied(sudo: Program, place: Path) -> None:
    """Within a session even root has no way around the daemon."""
    assert sudo.run(Fault("malloc", 12, 0)).status == 1
    with ScriptedDaemon(place / "run", [silence]):
        run = sudo.run(Fault("malloc", 12, 0))
    assert (run.status, allowed(run.stdout)) == (1, [])
    assert 1.9 < run.seconds < 2 + SLACK


@pytest.mark.parametrize(("doubled", "code"), [(False, 0), (True, 1)])
def test_a_hundred_thousand_variables_are_read_in_time(sudo: Program, place: Path, doubled: bool, code: int) -> None:
    """As many as a command can have; a name that comes twice among them is found, at either end."""
    env = [f"V{i}=x" for i in range(100_000)] + (["V0=y"] if doubled else [])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with daemon(place, Check=answer({**ALLOW, "env": env})):
        # Without the shim, which looks at each of a million allocations.
        done = subprocess.run(
            sudo.command, env=sudo.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
    assert done.returncode == code
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
