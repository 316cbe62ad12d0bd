"""The client: a daemon that is dead, absent, silent, slow or talks nonsense is one clear error within seconds."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from fake_daemon import FakeDaemon, ok, pending, refused

from jitsudo import client as client_module
from jitsudo.client import Client
from jitsudo.errors import JitsudoError, PolicyInvalid, Unreachable


def call(daemon: FakeDaemon, method: str = "Status", **parameters: object) -> dict[str, Any]:
    with Client(daemon.path) as client:
        return client.call(method, **parameters)


def test_a_reply_is_its_parameters() -> None:
    """And what is None is left out of the call."""
    with FakeDaemon(ok(a=1)) as daemon:
        assert call(daemon, "Request", role="web", reason=None) == {"a": 1}
        expected = {"method": "io.jitsudo.Control.Request", "parameters": {"role": "web"}, "more": True}
        assert daemon.calls == [expected]


def test_bytes_that_are_not_utf8_are_sent_not_a_traceback() -> None:
    """Also those inside a list: passwords, arguments."""
    with FakeDaemon(ok()) as daemon:
        call(daemon, "Answer", answers=["\udcff", "é"], x="\udc80")
        assert daemon.parameters == [{"answers": [{"base64": "/w=="}, "é"], "x": {"base64": "gA=="}}]


def test_no_socket_says_that_it_is_not_set_up(tmp_path: Path) -> None:
    """Not installed, or not enabled."""
    with pytest.raises(Unreachable, match="not set up here") as caught:
        Client(str(tmp_path / "control"))
    assert caught.value.hint
    assert "systemctl" in caught.value.hint


def test_a_socket_at_which_nobody_listens_is_unreachable(tmp_path: Path) -> None:
    """Dead, its socket left behind."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control"))
    with pytest.raises(Unreachable, match="cannot be reached"):
        Client(str(tmp_path / "control"))


def test_a_file_in_the_sockets_place_is_unreachable(tmp_path: Path) -> None:
    """A planted one."""
    (tmp_path / "control").write_text("")
    with pytest.raises(Unreachable):
        Client(str(tmp_path / "control"))


def test_two_seconds_of_silence_are_a_fault() -> None:
    """After it has spoken once; before, socket activation may have to start it."""
    with FakeDaemon(pending("x")) as daemon:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="silent"):
            call(daemon)
        assert 1.9 < time.monotonic() - began < client_module.START_SECONDS - 0.1


def test_a_daemon_that_never_speaks_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs."""
    monkeypatch.setattr(client_module, "START_SECONDS", 0.3)
    with FakeDaemon() as daemon, pytest.raises(Unreachable, match="silent"):
        call(daemon)


def test_waiting_is_told_and_goes_on() -> None:
    """However often it is said."""
    said: list[str] = []
    with FakeDaemon([pending("a"), pending("b"), ok(done=True)]) as daemon, Client(daemon.path) as client:
        assert client.call("Await", said.append, request="R-1") == {"done": True}
    assert said == ["a", "b"]


def test_waiting_may_be_given_up_with_an_error_of_its_own() -> None:
    """A deadline of the caller's."""

    def give_up(_what: str) -> None:
        raise JitsudoError("enough")

    with FakeDaemon([pending("a")]) as daemon, Client(daemon.path) as client, pytest.raises(JitsudoError, match="enough"):
        client.call("Await", give_up, request="R-1")


NONSENSE: dict[str, Any] = {
    "noise": b"\xff\xfe\x00",
    "an empty frame": b"\0",
    "a list": b"[]\0",
    "a number": b"1\0",
    "a key twice": b'{"parameters":{},"parameters":{}}\0',
    "a float": b'{"parameters":{"a":1.5}}\0',
    "NaN": b'{"parameters":{"a":NaN}}\0',
    "parameters that are a list": {"parameters": []},
    "parameters that are null": {"parameters": None},
    "pending without words": {"parameters": {}, "continues": True},
    "pending that is a number": {"parameters": {"pending": 1}, "continues": True},
    "pending in no object": {"continues": True},
    "too deep": b'{"parameters":' + b"[" * 5000 + b"\0",
    "an error without a code": {"error": "x", "parameters": {}},
    "an error whose code is a number": {"error": "x", "parameters": {"code": 1, "message": "m"}},
    "an error whose parameters are a list": {"error": "x", "parameters": []},
    "the end": [None],
    "half a frame and the end": [b'{"parameters"', None],
    "HTTP": b"HTTP/1.1 200 OK\r\n\r\n\0",
}


@pytest.mark.parametrize("reply", NONSENSE.values(), ids=NONSENSE.keys())
def test_a_daemon_that_is_not_understood_is_unreachable(reply: Any) -> None:
    """One class for every nonsense, never a traceback, never a success."""
    with FakeDaemon(reply) as daemon, Client(daemon.path) as client, pytest.raises(Unreachable):
        client.call("Status", lambda _what: None)


def test_a_reply_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a bound."""
    monkeypatch.setattr(client_module, "MAX_REPLY_BYTES", 100_000)
    with FakeDaemon(b"x" * 200_000) as daemon, pytest.raises(Unreachable, match="not understood"):
        call(daemon)


def test_a_refusal_is_the_error_that_was_meant() -> None:
    """Code, sentence, hint and issues come through."""
    reply = refused("policy-invalid", "refused", "repair it", issues=["a:1:1: x", "b:2:2: y"])
    with FakeDaemon(reply) as daemon, pytest.raises(PolicyInvalid) as caught:
        call(daemon, "Reload")
    assert (caught.value.sentence, caught.value.hint) == ("refused", "repair it")
    assert caught.value.issues == ("a:1:1: x", "b:2:2: y")


def test_a_refusal_before_the_call_is_read_all_the_same() -> None:
    """One connection too many: the reason comes at once, then the end."""
    with FakeDaemon([refused("too-many", "too many connections at once"), None]) as daemon:
        with pytest.raises(JitsudoError) as caught:
            call(daemon)
        assert caught.value.code == "too-many"


def test_several_calls_share_a_connection() -> None:
    """An approval is two."""
    with FakeDaemon(ok(a=1), ok(b=2)) as daemon, Client(daemon.path) as client:
        assert client.call("Approve", request="R-1") == {"a": 1}
        assert client.call("Answer", answers=["x"]) == {"b": 2}
