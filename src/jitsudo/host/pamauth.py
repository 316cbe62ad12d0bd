"""PAM authentication of approvers, in a process of its own outside the daemon's cage (jitsudo-auth@.service).

systemd starts one process a connection to /run/jitsudo/auth (SOCK_SEQPACKET, only root connects), the socket as standard
input. One packet is one JSON object:

    daemon → {"user": "bob", "terminal": "/dev/pts/1" or null}
    here   → {"prompts": [{"style": "secret|visible|info|error", "text": "…"}]}     as often as the stack asks
    daemon → {"answers": ["…"]}                                                     one for each secret and visible prompt
    here   → {"result": "success" or "failure", "reason": "…"}

Anything but exactly {"result": "success"} is a failure.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import socket
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from jitsudo.errors import AuthenticationFailed, Failed, InvalidValue
from jitsudo.strictjson import parse_object
from jitsudo.types import UserName

SOCKET: Final = "/run/jitsudo/auth"
SERVICE: Final = "jitsudo"
MAX_PACKET_BYTES: Final = 64 * 1024
MAX_ANSWER_BYTES: Final = 512  # PAM_MAX_RESP_SIZE, pam_conv(3)
ANSWER_SECONDS: Final = 120.0
STYLES: Final = {1: "secret", 2: "visible", 3: "error", 4: "info"}  # pam_conv(3)
_CURE: Final = "journalctl -u 'jitsudo-auth@*'"
ASKING: Final = frozenset({"secret", "visible"})


@dataclass(frozen=True, slots=True)
class Prompt:
    style: str
    text: str


def _pack(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode("ascii")


# The daemon's side.


class Conversation:
    """One authentication under way, seen from the daemon."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    async def next(self) -> tuple[Prompt, ...] | None:
        """The next prompts, or None once the person is authenticated. Raises AuthenticationFailed, Failed."""
        try:
            packet = await asyncio.get_running_loop().sock_recv(self._socket, MAX_PACKET_BYTES)
        except OSError:  # ended with an answer still in its queue
            packet = b""
        if not packet:
            raise Failed("the authentication service ended without an answer", _CURE)
        try:
            message = parse_object(packet, MAX_PACKET_BYTES)
        except InvalidValue as error:
            raise Failed(f"the authentication service is not understood: {error.sentence}") from None
        if message == {"result": "success", "reason": ""}:
            return None
        prompts = message.get("prompts")
        if message.keys() == {"prompts"} and isinstance(prompts, list):
            return tuple(_prompt(item) for item in prompts)
        reason = message.get("reason")
        raise AuthenticationFailed(reason if isinstance(reason, str) and reason else "authentication failed")

    async def answer(self, answers: tuple[str, ...]) -> None:
        """Raises Failed."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, _pack({"answers": list(answers)}))
        except OSError as error:
            raise Failed(f"the authentication service takes no answer: {error.strerror}", _CURE) from None


def _prompt(item: object) -> Prompt:
    if isinstance(item, dict) and item.keys() == {"style", "text"}:
        style, text = item["style"], item["text"]
        if style in STYLES.values() and isinstance(text, str):
            return Prompt(style, text)
    raise Failed("the authentication service sent a malformed prompt")


@asynccontextmanager
async def authentication(user: UserName, terminal: str | None, path: str = SOCKET) -> AsyncIterator[Conversation]:
    """Start authenticating `user`. Raises Failed if the service cannot be reached."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    connection.setblocking(False)
    try:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, path)
        await loop.sock_sendall(connection, _pack({"user": user, "terminal": terminal}))
        yield Conversation(connection)
    except OSError as error:
        raise Failed(
            f"the authentication service cannot be reached ({error})", "systemctl status jitsudo-auth.socket"
        ) from None
    finally:
        connection.close()


# The service's side.


class _Answerer:
    """Relays PAM's conversation over the socket; see pam_conv(3) for who frees what."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._libc = ctypes.CDLL(None)
        self._libc.calloc.restype = ctypes.c_void_p
        self._libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        self._libc.strdup.restype = ctypes.c_void_p
        self._libc.strdup.argtypes = [ctypes.c_char_p]

    def ask(self, prompts: list[Prompt]) -> list[bytes]:
        packet = _pack({"prompts": [{"style": p.style, "text": p.text} for p in prompts]})
        self._socket.sendall(packet)
        message = parse_object(self._socket.recv(MAX_PACKET_BYTES), MAX_PACKET_BYTES)
        answers = message.get("answers")
        wanted = sum(p.style in ASKING for p in prompts)
        if message.keys() != {"answers"} or not isinstance(answers, list) or len(answers) != wanted:
            raise InvalidValue("not the answers that were asked for")
        raw = [a.encode("utf-8") for a in answers if isinstance(a, str)]
        if len(raw) != wanted or any(b"\0" in a or len(a) >= MAX_ANSWER_BYTES for a in raw):
            raise InvalidValue("an answer that PAM cannot take")
        return raw

    def converse(self, count: int, messages: Any, responses: Any, _data: object) -> int:
        from pam.__internals import PAM_CONV_ERR, PAM_SUCCESS, PamResponse  # only in the service

        try:
            prompts = [
                Prompt(STYLES[m.msg_style], (m.msg or b"").decode("utf-8", "replace"))
                for m in (messages[i].contents for i in range(count))
            ]
            answers = iter(self.ask(prompts))
            address = self._libc.calloc(count, ctypes.sizeof(PamResponse))
            if not address:
                return int(PAM_CONV_ERR)
            array = ctypes.cast(address, ctypes.POINTER(PamResponse))
            for index, prompt in enumerate(prompts):
                if prompt.style in ASKING:
                    field = ctypes.cast(ctypes.byref(array[index]), ctypes.POINTER(ctypes.c_void_p))
                    field[0] = self._libc.strdup(next(answers))
            responses[0] = array
        except Exception:  # noqa: BLE001 - an exception cannot cross C; whatever it is, PAM must not go on
            return int(PAM_CONV_ERR)
        return int(PAM_SUCCESS)


def authenticate(connection: socket.socket, user: str, terminal: str | None) -> str:
    """Run the stack; the empty string on success, otherwise the reason."""
    from pam.__internals import (  # loads libpam, which the daemon must not
        PAM_DISALLOW_NULL_AUTHTOK,
        PAM_SUCCESS,
        PAM_TTY,
        PamAuthenticator,
        PamConv,
        PamHandle,
        conv_func,
    )

    pam = PamAuthenticator()
    callback = conv_func(_Answerer(connection).converse)
    conversation = PamConv(callback, 0)
    handle = PamHandle()
    code = pam.pam_start(SERVICE.encode(), user.encode(), ctypes.byref(conversation), ctypes.byref(handle))
    if code != PAM_SUCCESS:
        return f"PAM could not be started (code {code})"
    if terminal is not None:
        code = pam.pam_set_item(handle, PAM_TTY, ctypes.cast(ctypes.c_char_p(terminal.encode()), ctypes.c_void_p))
    if code == PAM_SUCCESS:
        code = pam.pam_authenticate(handle, PAM_DISALLOW_NULL_AUTHTOK)
    if code == PAM_SUCCESS:
        code = pam.pam_acct_mgmt(handle, PAM_DISALLOW_NULL_AUTHTOK)
    reason = "" if code == PAM_SUCCESS else pam.pam_strerror(handle, code).decode("utf-8", "replace")
    pam.pam_end(handle, code)
    return reason if code == PAM_SUCCESS or reason else "authentication failed"


def main() -> int:
    """The service: one authentication on the socket that is standard input."""
    connection = socket.socket(fileno=0)
    connection.settimeout(ANSWER_SECONDS)
    try:
        message = parse_object(connection.recv(MAX_PACKET_BYTES), MAX_PACKET_BYTES)
        terminal = message.get("terminal")
        user = UserName(message.get("user"))
        reason = authenticate(connection, user, terminal if isinstance(terminal, str) else None)
    except (InvalidValue, OSError) as error:
        reason = f"the authentication was broken off ({type(error).__name__})"
    except Exception as error:  # noqa: BLE001  whatever it is, nobody has been authenticated
        traceback.print_exc()
        reason = f"the authentication failed for a reason of its own ({type(error).__name__})"
    result = "failure" if reason else "success"
    connection.sendall(_pack({"result": result, "reason": reason}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
