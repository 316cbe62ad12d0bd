"""A blocking client of the daemon, of the control interface unless told otherwise; on the standard library alone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from jitsudo.errors import InvalidValue, JitsudoError, ProtocolViolation, Unreachable, from_code
from jitsudo.wire.calls import CONTROL, Call
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import SILENCE_SECONDS, FrameReader, Json, decode_frame, encode_frame, encode_text

SOCKET: Final = "/run/jitsudo/control"
MAX_REPLY_BYTES: Final = 16 * 1024 * 1024
READ_BYTES: Final = 65_536
START_SECONDS: Final = 5.0  # socket activation may have to start the daemon first
CURE: Final = "systemctl status jitsudod; journalctl -u jitsudod -n 20"


class Client:
    """One connection. Every call raises the JitsudoError that the daemon answered with, or Unreachable."""

    def __init__(self, path: str = SOCKET, interface: str = CONTROL) -> None:
        self._interface = interface
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SILENCE_SECONDS)
        self._reader = FrameReader(MAX_REPLY_BYTES)
        self._frames: list[bytes] = []
        self._answered = False
        try:
            self._socket.connect(path)
        except FileNotFoundError:
            raise Unreachable(f"jitsudo's daemon is not set up here: there is no {path}", CURE) from None
        except OSError as error:
            raise Unreachable(f"jitsudo's daemon cannot be reached: {error.strerror or error}", CURE) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def call(self, method: str, waiting: Callable[[str], None] | None = None, **parameters: object) -> Json:
        """Call the interface's METHOD; `waiting` is told, each second, what is awaited. Parameters None are left out."""
        given = {name: _wire(value) for name, value in parameters.items() if value is not None}
        try:
            with contextlib.suppress(BrokenPipeError):  # one connection too many is closed at once; the reason can be read
                self._socket.sendall(encode_frame(Call(f"{self._interface}.{method}", given, more=True).message()))
            for reply in self._replies():
                if reply.get("continues") is True:
                    if waiting is not None:
                        waiting(_pending(reply))
                    continue
                return self._result(reply)
        except TimeoutError:
            raise Unreachable(f"jitsudo's daemon has been silent for {SILENCE_SECONDS:.0f} s", CURE) from None
        except ProtocolViolation as error:
            raise Unreachable(f"jitsudo's daemon is not understood: {error.sentence}", CURE) from None
        except OSError as error:
            raise Unreachable(f"the connection to jitsudo's daemon broke: {error.strerror or error}", CURE) from None
        raise Unreachable("jitsudo's daemon ended the connection without an answer", CURE)

    def _replies(self) -> Iterator[Json]:
        while True:
            while not self._frames:
                self._socket.settimeout(SILENCE_SECONDS if self._answered else START_SECONDS)
                data = self._socket.recv(READ_BYTES)
                if not data:
                    return
                self._answered = True
                self._frames += self._reader.feed(data)
            yield decode_frame(self._frames.pop(0))

    @staticmethod
    def _result(reply: Json) -> Json:
        parameters = reply.get("parameters", {})
        if not isinstance(parameters, dict):
            raise ProtocolViolation("a reply whose parameters are no object")
        if "error" in reply:
            raise _refusal(parameters, str(reply["error"]))
        return parameters


def _pending(reply: Json) -> str:
    try:
        return Fields(reply.get("parameters"), "reply").text("pending")
    except InvalidValue as error:  # of the daemon's, not of the caller's
        raise ProtocolViolation(error.sentence) from None


def _wire(value: object) -> object:
    """A command line may hold bytes that are not UTF-8; whether they are welcome is the daemon's to say."""
    if isinstance(value, list):
        return [_wire(item) for item in value]
    return encode_text(value) if isinstance(value, str) else value


def _refusal(parameters: Json, name: str) -> JitsudoError:
    code, sentence, hint, issues = (parameters.get(key) for key in ("code", "message", "hint", "issues"))
    if not isinstance(code, str) or not isinstance(sentence, str):
        return Unreachable(f"jitsudo's daemon answered {name}", "are the command line and the daemon of the same version?")
    listed = tuple(str(issue) for issue in issues) if isinstance(issues, list) else ()
    return from_code(code, sentence, hint if isinstance(hint, str) else None, listed)
