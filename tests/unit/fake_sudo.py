"""Stand-ins for what sudo's plugin lives among: the `sudo` module, and a daemon on a real socket that follows a script."""

from __future__ import annotations

import array
import contextlib
import enum
import fcntl
import gc
import importlib.util
import json
import os
import signal
import socket
import stat
import sys
import termios
import threading
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

PLUGIN_FILE = Path(__file__).resolve().parents[2] / "sudo" / "python" / "jitsudo_sudo_plugin.py"
PROOF_FILE = PLUGIN_FILE.with_name("jitsudo_sudo_proof.py")


class RC(enum.IntEnum):
    """The return codes of sudo_plugin_python(5), with their aliases."""

    ACCEPT = 1
    OK = 1
    REJECT = 0
    ERROR = -1
    USAGE_ERROR = -2


@dataclass
class ConvMessage:
    """sudo.ConvMessage: what is said or asked, and for how long."""

    msg_type: int
    msg: str
    timeout: int


class ConversationInterrupted(Exception):
    """sudo.ConversationInterrupted: ^C, no terminal, no more input."""


class FakeSudo(types.ModuleType):
    """The `sudo` module as the plugin sees it; `errors` and `infos` hold what a person would read.

    `typed` is what the person answers, in order; None interrupts. `asked` are the questions, `told` the lines between them.
    """

    def __init__(self) -> None:
        super().__init__("sudo")
        self.RC = RC
        self.Plugin = object
        self.ConvMessage = ConvMessage
        self.ConversationInterrupted = ConversationInterrupted
        self.typed: list[str | None] = []
        self.asked: list[ConvMessage] = []
        self.told: list[str] = []
        self.errors: list[str] = []
        self.infos: list[str] = []

    def log_error(self, text: str) -> None:
        text.encode()
        self.errors.append(text)

    def log_info(self, text: str) -> None:
        text.encode()
        self.infos.append(text)


    def conv(self, message: ConvMessage) -> tuple[str | None]:
        message.msg.encode()
        if message.msg_type & 0xFF == 3:
            self.told.append(message.msg)
            return (None,)
        self.asked.append(message)
        answer = self.typed.pop(0) if self.typed else None
        if answer is None:
            raise ConversationInterrupted
        return (answer,)


def load_plugin(sudo: FakeSudo) -> Any:
    """A fresh copy of the plugin's module, loaded beside the stand-in."""
    return load(sudo, PLUGIN_FILE)


def load_proof(sudo: FakeSudo) -> Any:
    """A fresh copy of the plugin's other half."""
    return load(sudo, PROOF_FILE)


def load(sudo: FakeSudo, path: Path) -> Any:
    """A fresh copy of one of the plugin's files, loaded beside the stand-in."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get("sudo")
    sys.modules["sudo"] = sudo
    try:
        spec.loader.exec_module(module)
    finally:
        if before is None:
            del sys.modules["sudo"]
        else:
            sys.modules["sudo"] = before
    return module


class FakePam:
    """In place of the proof's Pam: `script` says what each step returns, `steps` what was done."""

    script: ClassVar[dict[str, Any]] = {}
    steps: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, user: str, caller: str, terminal: str | None, is_quiet: bool) -> None:
        self.user = user
        self.is_quiet = is_quiet
        self._step("start", user, caller, terminal)

    def _step(self, *step: Any) -> Any:
        self.steps.append(step)
        result = self.script.get(step[0])
        if isinstance(result, BaseException):
            raise result
        return result

    def authenticate(self, prompt: str | None, overrides: bool, tries: int) -> None:
        self._step("authenticate", prompt, overrides, tries)

    def account(self, may_change: bool) -> str | None:
        return self._step("account", may_change)

    def open_session(self, target: str, is_silent: bool) -> str | None:
        return self._step("open", target, is_silent)

    def environment(self) -> list[str]:
        return self.script.get("environment", [])

    def close(self) -> None:
        self._step("close")


@dataclass
class Call:
    """One call as the daemon got it; `inodes` are those of the descriptors, by the names they were given.

    `peers`: of those that are Unix stream sockets, the path that they are connected to.
    """

    method: str
    parameters: dict[str, Any]
    inodes: dict[str, tuple[int, int]]
    peers: dict[str, str]
    connection: int


def peer_of(descriptor: int) -> str | None:
    """What a Unix stream socket that nothing waits for is connected to; None for anything else."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return None
    with socket.socket(fileno=os.dup(descriptor)) as passed:
        kind = passed.family, passed.type, os.get_blocking(descriptor)
        return str(passed.getpeername()) if kind == (socket.AF_UNIX, socket.SOCK_STREAM, False) else None


# A step says what the daemon does with one call.
Step = Callable[[socket.socket], None]


def answer(parameters: object, **more: object) -> Step:
    """Send one reply."""
    return send(json.dumps({"parameters": parameters, **more}).encode() + b"\0")


def send(*pieces: bytes) -> Step:
    """Send exactly these bytes."""

    def step(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return step


def silence(_connection: socket.socket) -> None:
    """Say nothing, and stay."""


def hang_up(connection: socket.socket) -> None:
    """Close the connection."""
    connection.shutdown(socket.SHUT_RDWR)


def in_turn(*steps: Step) -> Step:
    """Do several things for one call."""

    def step(connection: socket.socket) -> None:
        for each in steps:
            each(connection)

    return step


def pause(seconds: float) -> Step:
    """Wait."""
    return lambda _connection: threading.Event().wait(seconds) and None


def until_read(connection: socket.socket) -> None:
    """Wait until the other end has taken all that was sent (unix(7), SIOCOUTQ)."""
    end = time.monotonic() + 30
    while int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder) and time.monotonic() < end:
        time.sleep(0.002)


@dataclass
class ScriptedDaemon:
    """Listens on FOLDER/decide and does, for each call in turn, the next step of its script; then it is silent."""

    folder: Path
    script: list[Step]
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> ScriptedDaemon:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / "decide"))
        self.listener.listen()
        self.open: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        # Front ends give up after two seconds: looking for garbage among thousands of tests' must not take them.
        self._collects = gc.isenabled()
        gc.disable()
        self._start(self._accept)
        return self

    def __exit__(self, *_exc: object) -> None:
        # Whoever connected has been accepted when that thread ends, and whatever was sent is still read after a shutdown.
        accepting, *_ = self.threads
        self.listener.shutdown(socket.SHUT_RDWR)
        accepting.join(timeout=60)
        for one in self.open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        # Threads first: one that still reads a closed descriptor reads whatever gets its number next.
        for thread in self.threads:
            thread.join(timeout=60)
        for one in (self.listener, *self.open):
            one.close()
        if self._collects:
            gc.enable()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        # Threads inherit the mask: a signal sent to the process must find the plugin's thread, not one of these.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            self._start(self._serve, connection, len(self.open))

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            while True:
                frame, passed = self._frame(connection)
                if not frame:
                    return
                call = json.loads(frame)
                named = dict(zip(call["parameters"].get("descriptors", []), passed, strict=True))
                inodes = {name: inode for name, (inode, _) in named.items()}
                peers = {name: peer for name, (_, peer) in named.items() if peer is not None}
                self.calls.append(Call(call["method"], call["parameters"], inodes, peers, number))
                self.next_step(call["method"])(connection)
        except OSError:
            return

    def next_step(self, _method: str) -> Step:
        """What comes now."""
        return self.script.pop(0) if self.script else silence

    @staticmethod
    def _frame(connection: socket.socket) -> tuple[bytes, list[tuple[tuple[int, int], str | None]]]:
        data, passed = b"", []
        while not data.endswith(b"\0"):
            chunk, ancillary, _, _ = connection.recvmsg(65_536, socket.CMSG_SPACE(64))
            for _level, _kind, packed in ancillary:
                for descriptor in array.array("i", packed):
                    status = os.fstat(descriptor)
                    passed.append(((status.st_dev, status.st_ino), peer_of(descriptor)))
                    os.close(descriptor)
            if not chunk:
                return b"", []
            data += chunk
        return data[:-1], passed


@dataclass
class AnsweringDaemon(ScriptedDaemon):
    """Does the same for each call of one method, however many come; for others it is silent."""

    script: list[Step] = field(default_factory=list)
    by_method: dict[str, Step] = field(default_factory=dict)

    def next_step(self, method: str) -> Step:
        """What that method is answered with."""
        return self.by_method.get(method.rpartition(".")[2], silence)
