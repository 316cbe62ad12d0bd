"""PAM for approvers: only the one exact answer is a success, on both sides of the socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jitsudo.errors import AuthenticationFailed, Failed, InvalidValue
from jitsudo.host import pamauth
from jitsudo.host.pamauth import MAX_ANSWER_BYTES, Conversation, Prompt, _Answerer, authentication
from jitsudo.types import UserName

pytestmark = pytest.mark.usefixtures("uncollected")

SRC = Path(__file__).resolve().parents[3] / "src"


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def conversation(test: Callable[[Conversation, socket.socket], Awaitable[None]]) -> None:
    """The daemon's side against a service that is played by the test."""

    async def run() -> None:
        ours, theirs = pair()
        with ours, theirs:
            ours.setblocking(False)
            await test(Conversation(ours), theirs)

    asyncio.run(run())


def answered(packet: bytes | None) -> Any:
    """What the daemon makes of one packet."""
    found: list[Any] = []

    async def test(c: Conversation, theirs: socket.socket) -> None:
        if packet is None:
            theirs.close()
        else:
            theirs.send(packet)
        found.append(await c.next())

    conversation(test)
    return found[0]


def pack(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_exactly_success_is_success() -> None:
    """None: there is nothing more to ask."""
    assert answered(pack({"result": "success", "reason": ""})) is None


NOT_SUCCESS: dict[str, Any] = {
    "failure": {"result": "failure", "reason": "Authentication failure"},
    "success with a reason": {"result": "success", "reason": "but"},
    "success without a reason": {"result": "success"},
    "success and more": {"result": "success", "reason": "", "x": 1},
    "success and prompts": {"result": "success", "reason": "", "prompts": []},
    "in capitals": {"result": "SUCCESS", "reason": ""},
    "with a blank": {"result": "success ", "reason": ""},
    "true": {"result": True, "reason": ""},
    "one": {"result": 1, "reason": ""},
    "zero, PAM's success": {"result": 0, "reason": ""},
    "a list": {"result": ["success"], "reason": ""},
    "null": {"result": None, "reason": ""},
    "nothing": {},
    "prompts that are no list": {"prompts": {"style": "secret"}},
    "a reason that is no text": {"result": "failure", "reason": 5},
}


@pytest.mark.parametrize("message", NOT_SUCCESS.values(), ids=NOT_SUCCESS.keys())
def test_every_other_answer_is_a_failure(message: Any) -> None:
    """CVE-2023-42465 and the PAM modules that said yes when out of memory."""
    with pytest.raises(AuthenticationFailed) as caught:
        answered(pack(message))
    assert caught.value.sentence


MALFORMED: dict[str, bytes | None] = {
    "the end": None,
    "nothing": b"",
    "noise": b"\xff\x00",
    "half": b'{"result":"success"',
    "a key twice": b'{"result":"failure","result":"success","reason":""}',
    "a list": b"[]",
    "two": b'{"result":"success","reason":""}{"result":"success","reason":""}',
    "a float": b'{"result":1.0}',
    "a prompt without a text": pack({"prompts": [{"style": "secret"}]}),
    "a prompt with more": pack({"prompts": [{"style": "secret", "text": "x", "y": 1}]}),
    "a prompt of no style": pack({"prompts": [{"style": "binary", "text": "x"}]}),
    "a prompt of a number": pack({"prompts": [{"style": 1, "text": "x"}]}),
    "a prompt that is a text": pack({"prompts": ["secret"]}),
    "a prompt that is a list": pack({"prompts": [["secret", "x"]]}),
    "too deep": b'{"prompts":' + b"[" * 1000 + b"]" * 1000 + b"}",
}


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_service_that_is_not_understood_is_a_failure_of_another_kind(packet: bytes | None) -> None:
    """The approver's password was not wrong."""
    with pytest.raises(Failed):
        answered(packet)


def test_prompts_are_passed_on_and_answers_back() -> None:
    """As many rounds as the stack asks."""

    async def test(c: Conversation, theirs: socket.socket) -> None:
        theirs.send(pack({"prompts": [{"style": "info", "text": "Hi"}, {"style": "secret", "text": "Password: "}]}))
        assert await c.next() == (Prompt("info", "Hi"), Prompt("secret", "Password: "))
        await c.answer(("hunter2",))
        assert json.loads(theirs.recv(1000)) == {"answers": ["hunter2"]}
        theirs.send(pack({"prompts": []}))
        assert await c.next() == ()
        theirs.send(pack({"result": "success", "reason": ""}))
        assert await c.next() is None

    conversation(test)


def test_a_service_that_is_not_there_is_a_failure_without_a_leak(tmp_path: Path) -> None:
    """And says what to look at."""

    async def run() -> None:
        async with authentication(UserName("bob"), None, str(tmp_path / "none")):
            raise AssertionError("nobody is there")

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Failed, match="cannot be reached"):
        asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_service_that_is_killed_is_a_failure(tmp_path: Path) -> None:
    """In the middle of it, with an answer still to be read: a sentence, no exception of another kind."""

    async def run() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(tmp_path / "auth"))
            listener.listen()
            async with authentication(UserName("bob"), "/dev/pts/1", str(tmp_path / "auth")) as c:
                service, _ = listener.accept()
                assert json.loads(service.recv(1000)) == {"user": "bob", "terminal": "/dev/pts/1"}
                await c.answer(("x",))
                service.close()
                with pytest.raises(Failed):
                    await c.next()
                with pytest.raises(Failed):
                    await c.answer(("x",))

    asyncio.run(run())


# The service's side, without PAM.


def asked(prompts: list[Prompt], reply: bytes) -> list[bytes]:
    ours, theirs = pair()
    with ours, theirs:
        theirs.send(reply)
        return _Answerer(ours).ask(prompts)


SECRET, INFO = Prompt("secret", "Password: "), Prompt("info", "Hi")


def test_answers_are_taken_for_those_prompts_that_ask() -> None:
    """What informs has no answer."""
    assert asked([INFO, SECRET, INFO], pack({"answers": ["é"]})) == ["é".encode()]
    assert asked([INFO], pack({"answers": []})) == []


def test_an_answer_is_limited_exactly() -> None:
    """PAM_MAX_RESP_SIZE with its NUL: 511 bytes and no more."""
    assert len(asked([SECRET], pack({"answers": ["x" * (MAX_ANSWER_BYTES - 1)]}))[0]) == MAX_ANSWER_BYTES - 1
    for wrong in ("x" * MAX_ANSWER_BYTES, "é" * (MAX_ANSWER_BYTES // 2)):
        with pytest.raises(InvalidValue):
            asked([SECRET], pack({"answers": [wrong]}))


NO_ANSWERS: dict[str, bytes] = {
    "too few": pack({"answers": []}),
    "too many": pack({"answers": ["a", "b"]}),
    "a number": pack({"answers": [1]}),
    "true": pack({"answers": [True]}),
    "null": pack({"answers": [None]}),
    "no list": pack({"answers": "a"}),
    "another key": pack({"answer": ["a"]}),
    "one key more": pack({"answers": ["a"], "x": 1}),
    "NUL inside": pack({"answers": ["a\0b"]}),
    "nothing": pack({}),
    "noise": b"\xff",
}


@pytest.mark.parametrize("reply", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_are_no_answers_never_reach_pam(reply: bytes) -> None:
    """A NUL would cut a password short, and a short one may be right."""
    with pytest.raises(InvalidValue):
        asked([SECRET], reply)


def service(*packets: bytes) -> dict[str, Any]:
    """The real service, its socket as standard input; its answer."""
    ours, theirs = pair()
    with ours:
        child = subprocess.Popen(
            [sys.executable, "-m", "jitsudo.host.pamauth"], stdin=theirs, env={**os.environ, "PYTHONPATH": str(SRC)},
            stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        for packet in packets:
            ours.send(packet)
        if not packets:
            ours.shutdown(socket.SHUT_WR)
        ours.settimeout(30)
        reply = ours.recv(65_536)
        _, err = child.communicate(timeout=30)
    assert b"Traceback" not in err
    found: dict[str, Any] = json.loads(reply)
    return found


REQUESTS: dict[str, tuple[bytes, ...]] = {
    "noise": (b"\xff\xfe",),
    "a list": (b"[]",),
    "no user": (pack({"terminal": None}),),
    "a user that is a number": (pack({"user": 0}),),
    "a user with an option": (pack({"user": "-x"}),),
    "an empty user": (pack({"user": ""}),),
    "the end": (),
}


@pytest.mark.parametrize("packets", REQUESTS.values(), ids=REQUESTS.keys())
def test_the_service_answers_nonsense_with_failure(packets: tuple[bytes, ...]) -> None:
    """One packet, no traceback, no success."""
    reply = service(*packets)
    assert reply["result"] == "failure"
    assert reply["reason"]


def test_a_stack_that_cannot_be_loaded_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens inside authenticate, success is never what is left over."""
    ours, theirs = pair()
    with ours, theirs:
        saved = os.dup(0)
        os.dup2(theirs.fileno(), 0)
        try:
            ours.send(pack({"user": "bob", "terminal": None}))
            monkeypatch.setattr(pamauth, "authenticate", lambda *_: (_ for _ in ()).throw(RuntimeError("no libpam")))
            assert pamauth.main() == 0
        finally:
            os.dup2(saved, 0)
            os.close(saved)
        assert json.loads(ours.recv(1000))["result"] == "failure"


@pytest.mark.parametrize("reason", ["", "Authentication failure"])
def test_the_service_says_success_for_an_empty_reason_only(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And passes the terminal on only where it is a text."""
    ours, theirs = pair()
    given: list[Any] = []
    with ours, theirs:
        saved = os.dup(0)
        os.dup2(theirs.fileno(), 0)
        try:
            ours.send(pack({"user": "bob", "terminal": 5}))
            monkeypatch.setattr(pamauth, "authenticate", lambda *args: given.append(args[1:]) or reason)
            pamauth.main()
        finally:
            os.dup2(saved, 0)
            os.close(saved)
        expected = {"result": "failure" if reason else "success", "reason": reason}
        assert json.loads(ours.recv(1000)) == expected
    assert given == [("bob", None)]
