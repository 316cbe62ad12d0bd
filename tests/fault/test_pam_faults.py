"""The PAM module, with every call of the C library failing in turn: nobody comes in but by one exact allow, in time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_sudo import ScriptedDaemon, Step, answer, hang_up, send, silence
from faults import HARD, SLACK, SOFT, Fault, Program, build, each, in_time_for, name

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the module trusts root's folders alone")

SECONDS = 2
ALLOW = answer({"verdict": "allow", "session": None, "token": None})
SESSION = answer({"verdict": "allow", "session": "S-ABCDEFGH", "token": "t0ken"})
DENY = answer({"verdict": "deny", "session": None, "token": None, "code": "no-grant", "message": "no", "hints": ["ask"]})
# What the client never calls through the module: its descriptors are never the first three here.
CALLS = {call: numbers for call, numbers in HARD.items() if call != "fcntl"}
Make = Callable[..., Program]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pam_jitsudo.so, built from this tree."""
    output = tmp_path_factory.mktemp("module")
    build("pam", output)
    return output / "pam_jitsudo.so"


@pytest.fixture
def host(module: Path, hosts: Path, tmp_path: Path) -> Make:
    """A program that uses the module for everything; nobody, through sshd, unless told otherwise."""

    def make(*phases: str, service: str = "sshd", user: str = "nobody", conversation: str = "works") -> Program:
        stacks, run = tmp_path / "pam.d", tmp_path / "run"
        stacks.mkdir(exist_ok=True)
        run.mkdir(exist_ok=True, mode=0o755)
        stack = f"{module} socket={run}/decide timeout={SECONDS}"
        kinds = ("auth", "account", "session", "password")
        (stacks / service).write_text("".join(f"{kind} required {stack}\n" for kind in kinds))
        command = [str(hosts / "pam_host"), str(stacks), service, user, conversation, *phases]
        return Program(command, hosts / "fault.so", tmp_path / "injected", "pam_jitsudo:libjson-c")

    return make


@contextmanager
def daemon(tmp_path: Path, *steps: Step) -> Iterator[None]:
    """One that answers calls so, in turn, again and again."""
    (tmp_path / "run").mkdir(exist_ok=True, mode=0o755)
    with ScriptedDaemon(tmp_path / "run", [*steps] * 5_000):
        yield


def test_without_a_fault_the_module_admits(host: Make, tmp_path: Path) -> None:
    """What the other tests break works: account, session, end."""
    with daemon(tmp_path, ALLOW, SESSION, answer({})):
        run = host("account", "open", "close").run(Fault("malloc", 12, 0))
    assert (run.status, run.stdout) == (0, b"account 0\nopen 0\nclose 0\n")


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_no_fault_turns_a_deny_into_an_allow(host: Make, tmp_path: Path, call: str, number: int) -> None:
    """With each call failing once, no phase succeeds."""
    with daemon(tmp_path, in_time_for(call, DENY)):
        for phase in ("account", "open"):
            runs = list(host(phase).in_turn(call, number))
            assert runs, f"the module never calls {call}"
            for run in runs:
                assert run.status == 1, run
                assert run.seconds < SECONDS + SLACK, run
                assert run.leaks == [], run


@pytest.mark.parametrize(("call", "number"), each(CALLS), ids=name)
def test_what_fails_never_lets_anybody_in(host: Make, tmp_path: Path, call: str, number: int) -> None:
    """The daemon would allow; what cannot be read, or told it, is a failure."""
    with daemon(tmp_path, in_time_for(call, ALLOW)):
        runs = list(host("account").in_turn(call, number))
        assert runs, f"the module never calls {call}"
        for run in runs:
            assert (run.status, run.stdout) == (1, b"account 6\n"), run
            assert run.seconds < SECONDS + SLACK, run
            assert run.leaks == [], run


@pytest.mark.parametrize(("call", "number"), each(CALLS), ids=name)
def test_a_session_is_open_wholly_or_not_at_all(host: Make, tmp_path: Path, call: str, number: int) -> None:
    """Without memory for session and token, there is no session that could not be closed."""
    with daemon(tmp_path, in_time_for(call, SESSION)):
        for run in host("open").in_turn(call, number):
            assert (run.stdout, run.leaks) == (b"open 14\n", []), run


@pytest.mark.parametrize(("call", "number"), [*each(CALLS), *each(SOFT)], ids=name)
def test_what_fails_for_ever_ends_in_time(host: Make, tmp_path: Path, call: str, number: int) -> None:
    """Nobody waits longer than the argument says."""
    with daemon(tmp_path, in_time_for(call, DENY)):
        run = host("account").run(Fault(call, number, 1, onwards=True))
    assert run.injected
    assert run.status == 1
    assert run.seconds < SECONDS + SLACK, run


@pytest.mark.parametrize(("call", "number"), each(CALLS), ids=name)
def test_auth_of_sshd_fails_whatever_happens(host: Make, tmp_path: Path, call: str, number: int) -> None:
    """A ticket lets nobody in from outside; the daemon is not even asked."""
    with daemon(tmp_path, ALLOW):
        assert host("auth").run(Fault(call, number, 1)).stdout == b"auth 7\n"


@pytest.mark.parametrize("step", [silence, hang_up, send(b"\0"), send(b'{"parameters":{"verdict":"allow"}'), DENY])
@pytest.mark.parametrize("conversation", ["works", "fails", "absent"])
def test_a_conversation_that_fails_changes_no_verdict(host: Make, tmp_path: Path, step: Step, conversation: str) -> None:
    """Nor does one that is not there: words are lost, and nothing else."""
    with daemon(tmp_path, step):
        run = host("account", "open", conversation=conversation).run(Fault("malloc", 12, 0))
    assert run.stdout == b"account 6\nopen 14\n"
    assert run.seconds < 2 * SECONDS + SLACK


@pytest.mark.parametrize("size", [0, 1, 4096])
def test_names_of_any_length_are_refused_in_time(host: Make, tmp_path: Path, size: int) -> None:
    """Empty, short, as long as no account's: the code that PAM has for it, and no crash."""
    with daemon(tmp_path, DENY):
        run = host("auth", "account", "open", user="x" * size).run(Fault("malloc", 12, 0))
    assert run.stdout == b"auth 7\naccount 6\nopen 14\n"


@pytest.mark.parametrize("number", [errno.EIO, errno.EINTR, 0], ids=name)
def test_root_without_a_daemon_whose_place_cannot_be_read_is_refused(host: Make, number: int) -> None:
    """Not known to be outside of a session is inside; an interrupted or a short reading is only gone on with."""
    program = host("account", service="su", user="root")
    assert program.run(Fault("read", errno.EIO, 0)).status == 0
    runs = list(program.in_turn("read", number))
    assert runs
    for run in runs:
        assert run.status == (1 if number == errno.EIO else 0), run
