"""How people prove to sudo who they are: against libpam, against ssh-agent and bad imitations of it, on a terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_sudo import PLUGIN_FILE, FakeSudo, load_proof

pytestmark = pytest.mark.usefixtures("uncollected")


@pytest.fixture
def sudo() -> FakeSudo:
    return FakeSudo()


@pytest.fixture
def proof(sudo: FakeSudo) -> Any:
    return load_proof(sudo)


# PAM.


@pytest.fixture
def stack(proof: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A handle of the real libpam, on a stack of the test's own."""
    original = proof.function
    folder = proof.raw(str(tmp_path))

    def function(library: int, name: str, *types: Any) -> Any:
        if name != "pam_start":
            return original(library, name, *types)
        start = original(library, "pam_start_confdir", proof.Int, *types[1:-1], proof.Bytes, proof.Pointer)
        return lambda service, user, conversation, handle: start(service, user, conversation, folder, handle)

    monkeypatch.setattr(proof, "function", function)
    monkeypatch.setattr(proof, "SERVICE_FOLDERS", (str(tmp_path),))

    def make(text: str, *, is_quiet: bool = False) -> Any:
        (tmp_path / proof.SERVICE).write_text(text)
        return proof.Pam("alice", "alice", None, is_quiet)

    return make


def test_with_noninteractive_no_module_asks_anything(stack: Any, sudo: FakeSudo) -> None:
    """Not even one for the account or the session."""
    sudo.typed = ["a@b"]
    pam = stack("auth required pam_ftp.so users=alice\n", is_quiet=True)
    assert pam._do["authenticate"](pam._handle, 0) != 0
    assert sudo.asked == []
    pam.close()


def test_an_interrupt_while_pam_delays_is_not_lost(stack: Any, proof: Any, sudo: FakeSudo) -> None:
    """^C after the password was typed: no other question follows."""
    taken: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _frame: taken.append(number))
    sudo.typed = ["a@b"] * 3
    pam = stack(ASKS + "auth required pam_deny.so\n")
    run = pam._do["authenticate"]

    def interrupted(handle: int, flags: int) -> int:
        code: int = run(handle, flags)
        signal.raise_signal(signal.SIGINT)
        return code

    pam._do["authenticate"] = interrupted
    try:
        with pytest.raises(proof.NotProven, match="1 incorrect password attempt"):
            pam.authenticate(None, False, 3)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(sudo.asked) == 1
    assert taken == [signal.SIGINT]
    pam.close()


def test_all_questions_together_have_a_time(
    stack: Any, proof: Any, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later question gets what is left of it, and when it is over nothing is asked."""
    now = [1000.0]
    monkeypatch.setattr(proof.time, "monotonic", lambda: now[0])
    pam = stack(ASKS + "auth required pam_deny.so\n")
    original = sudo.conv

    def slow(message: Any) -> Any:
        now[0] += 100
        return original(message)

    sudo.conv = slow  # type: ignore[method-assign]
    sudo.typed = ["a@b"] * 9
    with pytest.raises(proof.NotProven) as caught:
        pam.authenticate(None, False, 9)
    assert [question.timeout for question in sudo.asked] == [280, 80]
    assert caught.value.outcome == "failed"
    pam.close()


def test_a_line_that_cannot_be_shown_changes_nothing(proof: Any, sudo: FakeSudo) -> None:
    """The answer counts, not the message before it."""

    def fail(_message: object) -> None:
        raise OSError(5, "x")

    sudo.conv = fail  # type: ignore[method-assign]
    proof.tell("Sorry, try again.")


ASKS = "auth required pam_ftp.so users=alice\n"


def test_the_stacks_question_gets_the_persons_answer(stack: Any, sudo: FakeSudo) -> None:
    """Shown as the stack words it, where it is not the plain question for a password."""
    sudo.typed = ["me@here"]
    pam = stack(ASKS)
    pam.authenticate("[sudo] password for alice: ", False, 3)
    (question,) = sudo.asked
    assert question.msg.startswith("Guest login ok")
    assert question.msg_type == 1
    assert 0 < question.timeout < 300
    pam.close()


def test_the_callers_prompt_is_for_every_question(stack: Any, sudo: FakeSudo) -> None:
    """With -p."""
    sudo.typed = ["a@b", "c@d"]
    pam = stack(ASKS * 2)
    pam.authenticate("Mine: ", True, 3)
    assert [question.msg for question in sudo.asked] == ["Mine: ", "Mine: "]
    pam.close()


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        (b"Password:", True),
        (b"Password: ", True),
        (b"alice's Password: ", True),
        (b"alice's Password:", True),
        (b"Password:  ", False),
        (b"password: ", False),
        (b"bob's Password: ", False),
        (b"Verification code: ", False),
        (b"", False),
    ],
)
def test_which_question_is_the_plain_one(text: bytes, is_plain: bool, stack: Any) -> None:
    """sudo's own rule."""
    pam = stack(ASKS)
    assert pam._is_password_prompt(text) is is_plain
    pam.close()


def test_each_wrong_answer_costs_one_try(stack: Any, proof: Any, sudo: FakeSudo) -> None:
    """At most as many as there are, and the words are sudo's."""
    for tries, sentence in ((1, "1 incorrect password attempt"), (3, "3 incorrect password attempts")):
        sudo.asked.clear()
        sudo.told.clear()
        sudo.typed = ["a@b"] * 5
        pam = stack(ASKS + "auth required pam_deny.so\n")
        with pytest.raises(proof.NotProven, match=sentence) as caught:
            pam.authenticate(None, False, tries)
        assert caught.value.outcome == "failed"
        assert len(sudo.asked) == tries
        assert sudo.told == ["Sorry, try again.\n"] * (tries - 1)
        pam.close()


@pytest.mark.parametrize("wrong", [0, 2])
def test_an_interrupted_question_ends_it(wrong: int, stack: Any, proof: Any, sudo: FakeSudo) -> None:
    """Not one question more, of this try or another; the tries that were made are counted."""
    sudo.typed = ["a@b", "a@b"] * wrong + [None]
    pam = stack(ASKS * 2 + "auth required pam_deny.so\n")
    with pytest.raises(proof.NotProven) as caught:
        pam.authenticate(None, False, 3)
    assert len(sudo.asked) == 2 * wrong + 1
    words = "2 incorrect password attempts" if wrong else "a password is required"
    assert (caught.value.outcome, caught.value.message) == ("failed" if wrong else "declined", words)
    pam.close()


@pytest.mark.parametrize("answer", ["x" * 512, "ü" * 256, "a\0b", "a\ud800"])
def test_an_answer_that_pam_cannot_take_ends_it(answer: str, stack: Any, proof: Any, sudo: FakeSudo) -> None:
    """Nothing is cut off; 511 bytes are taken."""
    sudo.typed = [answer]
    pam = stack(ASKS)
    with pytest.raises(proof.NotProven):
        pam.authenticate(None, False, 1)
    sudo.typed = ["@" * 511]
    pam.authenticate(None, False, 1)
    pam.close()


def test_what_the_stack_says_is_told_and_not_asked(stack: Any, sudo: FakeSudo, tmp_path: Path) -> None:
    """Messages go to the terminal, and no answer is made up for them."""
    (tmp_path / "text").write_bytes(b"be careful\xff")
    pam = stack(f"auth optional pam_echo.so file={tmp_path}/text\nauth required pam_permit.so\n")
    pam._do["authenticate"](pam._handle, 0)
    assert sudo.told == ["be careful\ufffd\n"]
    assert sudo.asked == []
    pam.close()


def test_a_stack_that_breaks_is_not_tried_again(stack: Any, proof: Any, sudo: FakeSudo) -> None:
    """Neither a wrong password nor a right one."""
    pam = stack("auth required pam_debug.so auth=service_err\n")
    with pytest.raises(proof.NotProven, match="PAM authentication error: ") as caught:
        pam.authenticate(None, False, 3)
    assert caught.value.outcome == "failed"
    assert sudo.told == ["auth=service_err\n"]  # the module says each time that it was asked
    pam.close()


NOT_SUCCESS = ["user_unknown", "cred_insufficient", "ignore", "conv_err", "abort", "buf_err", "new_authtok_reqd"]


@pytest.mark.parametrize("code", NOT_SUCCESS)
def test_only_success_is_success(code: str, stack: Any, proof: Any) -> None:
    """Whatever else a module returns is no proof."""
    pam = stack(f"auth required pam_debug.so auth={code}\nauth required pam_debug.so auth={code}\n")
    with pytest.raises(proof.NotProven):
        pam.authenticate(None, False, 2)
    pam.close()


ACCOUNTS: list[tuple[str, bool, str | None]] = [
    ("success", False, None),
    ("success", True, None),
    ("auth_err", False, "account validation failure, is your account locked?"),
    ("acct_expired", True, "Account expired or PAM config lacks"),
    ("perm_denied", False, "PAM account management error: Permission denied"),
    ("new_authtok_reqd", False, None),
    ("authtok_expired", False, None),
    ("authtok_expired", True, "Password expired, contact your system administrator"),
    ("abort", False, "PAM account management error: "),
]


@pytest.mark.parametrize(("code", "may_change", "words"), ACCOUNTS)
def test_what_an_account_may_do(code: str, may_change: bool, words: str | None, stack: Any) -> None:
    """sudo's words; an expired password matters only where one was asked for."""
    pam = stack(f"account required pam_debug.so acct={code}\n")
    why = pam.account(may_change)
    assert why is None if words is None else why.startswith(words)
    pam.close()


@pytest.mark.parametrize(("result", "words"), [("success", None), ("authtok_err", "unable to change expired password: ")])
def test_an_expired_password_is_changed(result: str, words: str | None, stack: Any, sudo: FakeSudo) -> None:
    """Within the same handle."""
    pam = stack(
        "account required pam_debug.so acct=new_authtok_reqd\n"
        f"password required pam_debug.so prechauthtok=success chauthtok={result}\n"
    )
    why = pam.account(True)
    assert why is None if words is None else why.startswith(words)
    assert "sudo: Account or password is expired, reset your password and try again\n" in sudo.told
    assert f"chauthtok={result}\n" in sudo.told
    pam.close()


SESSIONS: list[tuple[str, bool, str | None]] = [
    ("success", True, None),
    ("session_err", False, None),
    ("abort", False, "pam_open_session: "),
    ("system_err", False, "pam_open_session: Input/output error"),
]


@pytest.mark.parametrize(("code", "is_open", "words"), SESSIONS)
def test_which_session_is_none(code: str, is_open: bool, words: str | None, stack: Any) -> None:
    """As sudo has it: what a module refuses is no obstacle, what breaks is; only what was opened is closed."""
    pam = stack(f"auth required pam_permit.so\nsession required pam_debug.so open_session={code}\n")
    why = pam.open_session("root", True)
    assert why is None if words is None else why.startswith(words)
    assert pam.has_session is is_open
    closed: list[str] = []
    pam._do["close_session"] = lambda *_given: closed.append("session") or 0
    pam.close()
    pam.close()
    assert closed == ["session"] * is_open


def test_credentials_that_a_stack_does_not_have_are_no_obstacle(stack: Any) -> None:
    """pam_setcred(3) may fail where another module did the proof."""
    pam = stack("auth required pam_debug.so cred=cred_unavail\nsession required pam_permit.so\n")
    assert pam.open_session("root", False) is None
    assert pam.has_credentials is False
    pam.close()


def test_the_environment_of_the_stack(stack: Any, tmp_path: Path) -> None:
    """All of it, in order; none is none."""
    (tmp_path / "env").write_text("A=1\nB=two words\n")
    pam = stack(f"session required pam_env.so conffile=/dev/null envfile={tmp_path}/env\n")
    assert pam.environment() == []
    assert pam.open_session("root", True) is None
    assert pam.environment() == ["A=1", "B=two words"]
    pam.close()


def test_without_our_own_stack_there_is_no_proof(proof: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpam would take the one for "other"."""
    monkeypatch.setattr(proof, "SERVICE_FOLDERS", (str(tmp_path),))
    with pytest.raises(proof.NotProven, match="there is no") as caught:
        proof.Pam("alice", "alice", "/dev/pts/0", False)
    assert caught.value.outcome == "unavailable"


def test_a_fault_in_the_conversation_never_crosses_c(stack: Any, proof: Any, sudo: FakeSudo) -> None:
    """Whatever is raised, PAM is told that there was no answer."""

    def fail(_message: object) -> None:
        raise SystemExit(0)

    sudo.conv = fail  # type: ignore[method-assign]
    pam = stack(ASKS)
    with pytest.raises(proof.NotProven, match="a password is required"):
        pam.authenticate(None, False, 3)
    for count in (0, -1, 33):
        assert pam._answer(count, None, None, None) == proof.PAM_CONV_ERR
    pam.close()


# SSH agents.


@pytest.fixture
def as_caller(proof: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whose effective uid the process took, one after the other."""
    taken: list[int] = []

    class Os:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    module = Os()
    module.seteuid = taken.append  # type: ignore[attr-defined]
    monkeypatch.setattr(proof, "os", module)
    return taken


@pytest.mark.parametrize("backlog", [0, 10])
def test_an_agent_is_connected_to_as_the_caller(backlog: int, proof: Any, as_caller: list[int], tmp_path: Path) -> None:
    """Not waiting for it, not for the command to inherit; and nothing is said to it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen(backlog)
        with socket.socket(fileno=proof.agent(str(tmp_path / "agent"), 1234)) as made:
            assert made.getpeername() == str(tmp_path / "agent")
            assert (made.type, os.get_blocking(made.fileno()), made.get_inheritable()) == (socket.SOCK_STREAM, False, False)
            accepted, _ = listener.accept()
            with accepted, pytest.raises(BlockingIOError):
                accepted.recv(1, socket.MSG_DONTWAIT)
    assert as_caller == [1234, 0]


def test_an_agent_that_accepts_nobody_is_not_waited_for(proof: Any, as_caller: list[int], tmp_path: Path) -> None:
    """A full backlog."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen(0)
        first = proof.agent(str(tmp_path / "agent"), 1234)
        with pytest.raises(proof.NotProven, match="Resource temporarily unavailable"):
            proof.agent(str(tmp_path / "agent"), 1234)
        os.close(first)
    assert as_caller == [1234, 0] * 2


@pytest.mark.parametrize("path", ["/nonexistent", "/etc/passwd", "/", "x" * 300, "a\0b", "\udcff", "@abstract"])
def test_a_path_that_leads_to_no_agent(path: str, proof: Any, as_caller: list[int]) -> None:
    """The effective uid is root's again in any case, and nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(proof.NotProven, match="cannot be reached") as caught:
        proof.agent(path, 1234)
    assert (caught.value.outcome, caught.value.hints) == ("unavailable", ("ssh-add -l",))
    assert as_caller == [1234, 0]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("path", [None, ""])
def test_no_agent_at_all(path: str | None, proof: Any, as_caller: list[int]) -> None:
    """The hint says how to have one."""
    with pytest.raises(proof.NotProven, match="SSH_AUTH_SOCK is not set") as caught:
        proof.agent(path, 1234)
    assert caught.value.hints
    assert as_caller == []


# The word yes.


@pytest.fixture
def terminal(proof: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other side of what the proof takes for /dev/tty."""
    main, follower = os.openpty()

    class Os:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    module = Os()
    module.open = lambda path, flags: os.dup(follower) if path == "/dev/tty" else os.open(path, flags)  # type: ignore[attr-defined]
    module.tcgetpgrp = lambda _fd: os.getpgrp()  # type: ignore[attr-defined]
    monkeypatch.setattr(proof, "os", module)
    yield main
    os.close(main)
    os.close(follower)


def type_when_asked(main: int, data: bytes) -> threading.Thread:
    def work() -> None:
        seen = b""
        while b"go on: " not in seen:
            seen += os.read(main, 1000)
        os.write(main, data)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_yes_goes_on(proof: Any, terminal: int) -> None:
    """The word, and nothing else on its line."""
    typing = type_when_asked(terminal, b"yes\n")
    proof.confirm("Really.")
    typing.join()


@pytest.mark.parametrize("data", [b"y\n", b"no\n", b"\n", b"YES\n", b"yes please\n", b"\x04", b"yes\x00\n", b"ye\nyes\n"])
def test_anything_else_does_not(data: bytes, proof: Any, terminal: int) -> None:
    """Including the end of input."""
    typing = type_when_asked(terminal, data)
    with pytest.raises(proof.NotProven, match="not confirmed") as caught:
        proof.confirm("Really.")
    assert caught.value.outcome == "declined"
    typing.join()


def test_what_was_typed_before_is_no_answer(proof: Any, terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type-ahead was for something else; nor is it waited for ever."""
    monkeypatch.setattr(proof, "PROMPT_SECONDS", 0.3)
    os.write(terminal, b"yes\n")
    with pytest.raises(proof.NotProven, match="not confirmed"):
        proof.confirm("Really.")


def test_without_a_terminal_nothing_is_confirmed(proof: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None at all, or one that is somebody else's just now."""

    class Os:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def open(self, *_given: object) -> int:
            raise FileNotFoundError(2, "x")

    monkeypatch.setattr(proof, "os", Os())
    with pytest.raises(proof.NotProven, match="on a terminal") as caught:
        proof.confirm("Really.")
    assert caught.value.outcome == "unavailable"


def test_in_the_background_nothing_is_confirmed(proof: Any, terminal: int) -> None:
    """What is typed now is for another job."""
    proof.os.tcgetpgrp = lambda _fd: os.getpgrp() + 1
    with pytest.raises(proof.NotProven, match="in the foreground"):
        proof.confirm("Really.")
    assert terminal > 0


def test_loading_costs_no_heavy_import(tmp_path: Path) -> None:
    """Every sudo pays for what is imported."""
    (tmp_path / "sudo.py").write_text("")
    code = (
        f"import sys, enum; sys.path[:0] = [{str(tmp_path)!r}, {str(PLUGIN_FILE.parent)!r}]; before = set(sys.modules);"
        "import jitsudo_sudo_proof; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {
        "__future__", "_ctypes", "_signal", "_socket", "errno", "jitsudo_sudo_proof", "sudo", "time",
    }  # fmt: skip
