"""A daemon that says what a test tells it to, on a socket of its own."""

from __future__ import annotations

import gc
import json
import socket
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

Reply = dict[str, Any] | bytes | Callable[[dict[str, Any]], Any]


class FakeDaemon:
    """Answers calls one after the other, connection after connection; bytes are sent as they are, None ends it."""

    def __init__(self, *replies: Any) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = f"{self._folder.name}/control"
        self.calls: list[dict[str, Any]] = []
        self._replies = list(replies)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        # Clients give up after two seconds: looking for garbage among thousands of tests' must not take them.
        self._collects = gc.isenabled()
        gc.disable()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._thread.join(5)
        self._folder.cleanup()
        if self._collects:
            gc.enable()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        buffer = b""
        while True:
            while b"\0" not in buffer:
                try:
                    data = connection.recv(65_536)
                except OSError:
                    return
                if not data:
                    return
                buffer += data
            frame, _, buffer = buffer.partition(b"\0")
            self.calls.append(json.loads(frame))
            if not self._replies:
                continue  # silence
            if not self._answer(connection, self._replies.pop(0)):
                return

    def _answer(self, connection: socket.socket, reply: Any) -> bool:
        for part in reply if isinstance(reply, list) else [reply]:
            if callable(part):
                part = part(self.calls[-1])
            if part is None:
                connection.close()
                return False
            try:
                connection.sendall(part if isinstance(part, bytes) else json.dumps(part).encode() + b"\0")
            except OSError:
                return False
        return True

    @property
    def methods(self) -> list[str]:
        return [call["method"].rpartition(".")[2] for call in self.calls]

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [call["parameters"] for call in self.calls]


def ok(**parameters: Any) -> dict[str, Any]:
    return {"parameters": parameters}


def refused(code: str, message: str, hint: str | None = None, **more: Any) -> dict[str, Any]:
    parameters = {"code": code, "message": message, "hint": hint, **more}
    return {"error": "io.jitsudo.Control.Refused", "parameters": parameters}


def pending(text: str) -> dict[str, Any]:
    return {"parameters": {"pending": text}, "continues": True}
