"""SSH agents, as the daemon speaks with them: OpenSSH's own, and bad imitations of it, which are the caller's programs."""

from __future__ import annotations

import array
import asyncio
import base64
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openssh import make_key, ssh_agent
from waiting import LONG

from jitsudo.crypto import challenge_data, key_blobs, verify_challenge
from jitsudo.daemon import agent
from jitsudo.daemon.agent import Agent, Signed, Unproven
from jitsudo.daemon.disposal import Disposal
from jitsudo.errors import InvalidValue

pytestmark = pytest.mark.usefixtures("uncollected")

NONCE = "5f" * 32
DATA = challenge_data(NONCE)
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBFK6JTSra5tleux8qh+5q1ocKz52RMFbjBak2J1uYYr"
Play = Callable[[socket.socket], Awaitable[None]]


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


KEY = framed(b"ssh-ed25519") + framed(bytes(32))
TOUCHED = framed(b"sk-ssh-ed25519@openssh.com") + framed(bytes(32)) + framed(b"ssh:")
RSA = framed(b"ssh-rsa") + framed(b"\1\0\1") + framed(b"\0" + b"\xff" * 256)
SIGNED = framed(b"\x0e" + framed(b"made"))


def listing(*keys: bytes) -> bytes:
    return framed(b"\x0c" + number(len(keys)) + b"".join(framed(key) + framed(b"comment") for key in keys))


async def prove(
    connection: socket.socket, *keys: bytes, is_quiet: bool = False, waits: list[str] | None = None
) -> Signed:
    """One exchange; all is closed afterwards."""
    waited: list[str] = [] if waits is None else waits
    speaking = Agent(connection.detach())
    try:
        return await speaking.prove(keys, DATA, is_quiet=is_quiet, wait_for=waited.append)
    finally:
        await Disposal().let_go(*speaking.detach())


def against(play: Play, *keys: bytes, is_quiet: bool = False, waits: list[str] | None = None) -> Signed:
    """What comes of an agent that plays so. It is stopped when the exchange is over."""

    async def run() -> Signed:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        theirs.setblocking(False)
        playing = asyncio.ensure_future(play(theirs))
        try:
            async with asyncio.timeout(LONG):
                return await prove(ours, *keys, is_quiet=is_quiet, waits=waits)
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            theirs.close()

    return asyncio.run(run())


def replies(*answers: bytes, asked: list[bytes] | None = None) -> Play:
    """Reads a request, sends the next of these; then hangs up."""

    async def play(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for answer in answers:
            request = await loop.sock_recv(connection, 65_536)
            if asked is not None:
                asked.append(request)
            await loop.sock_sendall(connection, answer)
        connection.shutdown(socket.SHUT_RDWR)

    return play


# OpenSSH's own.

KINDS: dict[str, list[str]] = {
    "ed25519": ["-t", "ed25519"], "ecdsa": ["-t", "ecdsa", "-b", "256"], "ecdsa-521": ["-t", "ecdsa", "-b", "521"],
    "rsa": ["-t", "rsa", "-b", "2048"],
}  # fmt: skip


async def ask(path: str, lines: Collection[str]) -> Signed:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return await prove(connection, *key_blobs([*lines]), is_quiet=True)


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_agent_signs_is_verified(kind: str, tmp_path: Path) -> None:
    """By each type of key, RSA with SHA-512; over this nonce alone, also beside a key that it does not have."""

    async def run() -> None:
        line = make_key(tmp_path / "key", *KINDS[kind])
        async with ssh_agent(tmp_path, tmp_path / "key") as (path, _):
            made = await ask(path, [OTHER, line])
        assert verify_challenge(made.key, made.signature, NONCE, [line]).key_type == line.split()[0]
        if kind == "rsa":
            assert made.signature.startswith(framed(b"rsa-sha2-512"))
        for nonce, allowed in ((NONCE[:-1], [line]), (NONCE, [OTHER])):
            with pytest.raises(InvalidValue):
                verify_challenge(made.key, made.signature, nonce, allowed)

    asyncio.run(run())


def test_an_agent_without_the_key_is_no_proof(tmp_path: Path) -> None:
    """None of the enrolled; none enrolled; and one that is locked says that it has none."""

    async def run() -> None:
        line = make_key(tmp_path / "key")
        async with ssh_agent(tmp_path, tmp_path / "key") as (path, _):
            for lines in ([OTHER], []):
                with pytest.raises(Unproven, match="none of the keys") as caught:
                    await ask(path, lines)
                assert (caught.value.refused, caught.value.hints) == (False, ("ssh-add -l",))
            locking = ["ssh-add", "-q", "-x"]
            subprocess.run(locking, env={**os.environ, "SSH_AUTH_SOCK": path}, input=b"x\nx\n", check=True, capture_output=True)
            with pytest.raises(Unproven, match="none of the keys"):
                await ask(path, [line])

    asyncio.run(run())


# Bad ones.

BAD: dict[str, tuple[list[bytes], str]] = {
    "hangs up": ([b""], "closed the connection"),
    "half a length": ([b"\0\0"], "closed the connection"),
    "no length": ([b"\0\0\0\0"], "not understood"),
    "4 GiB": ([b"\xff\xff\xff\xff"], "not understood"),
    "256 KiB and one": ([number(256 * 1024 + 1)], "not understood"),
    "half a message": ([framed(b"\x0c\0\0\0\1")[:-1]], "closed the connection"),
    "failure": ([framed(b"\x05")], "none of the keys"),
    "another message": ([framed(b"\x0e" + framed(KEY))], "none of the keys"),
    "no number of keys": ([framed(b"\x0c\0\0")], "not understood"),
    "fewer keys than it says": ([framed(b"\x0c\0\0\0\2" + framed(KEY) + framed(b""))], "not understood"),
    "more keys than it says": ([framed(listing(KEY)[4:] + framed(KEY) + framed(b""))], "not understood"),
    "no comment": ([framed(b"\x0c\0\0\0\1" + framed(KEY))], "not understood"),
    "a long key": ([framed(b"\x0c\0\0\0\1\xff\xff\xff\xff")], "not understood"),
    "four billion keys": ([framed(b"\x0c\xff\xff\xff\xff")], "not understood"),
    "one key more than there may be": ([listing(*[b""] * 2049)], "not understood"),
    "HTTP": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "not understood"),
    "a key that differs in its last bit": ([listing(KEY[:-1] + b"\1")], "none of the keys"),
    "half of the key": ([listing(KEY[:-1])], "none of the keys"),
    "refuses to sign": ([listing(KEY), framed(b"\x05")], "refused to sign"),
    "another message than a signature": ([listing(KEY), listing(KEY)], "refused to sign"),
    "signs nothing": ([listing(KEY), framed(b"\x0e")], "not understood"),
    "signs half": ([listing(KEY), framed(b"\x0e\0\0\0\5made")], "not understood"),
    "signs and adds something": ([listing(KEY), framed(b"\x0e" + framed(b"made") + b"x")], "not understood"),
    "hangs up instead of signing": ([listing(KEY), b""], "closed the connection"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_agent_proves_nothing(name: str) -> None:
    """In our own words, whatever it sends."""
    answers, words = BAD[name]
    with pytest.raises(Unproven, match=words) as caught:
        against(replies(*answers), KEY)
    assert caught.value.refused is (words == "refused to sign")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.binary(max_size=200)
    | st.binary(min_size=1, max_size=200).map(framed)
    | st.builds(lambda tail: framed(b"\x0c\0\0\0\2" + tail), st.binary(max_size=200)),
    st.binary(max_size=100) | st.binary(min_size=1, max_size=100).map(lambda body: framed(b"\x0e" + body)),
)
def test_any_bytes_of_an_agent_are_a_signature_or_nothing_proven(first: bytes, second: bytes) -> None:
    """Nothing that it sends raises anything else, and what is made up does not verify."""
    for sent in (first + second, listing(KEY) + second):

        async def play(connection: socket.socket, sent: bytes = sent) -> None:
            await asyncio.get_running_loop().sock_sendall(connection, sent)
            connection.shutdown(socket.SHUT_WR)

        with contextlib.suppress(Unproven):
            made = against(play, KEY)
            line = f"ssh-ed25519 {base64.b64encode(KEY).decode()}"
            with pytest.raises(InvalidValue):
                verify_challenge(made.key, made.signature, NONCE, [line])


SILENT = {
    "nothing": b"", "half a listing": b"\0\0\0\x05\x0c", "no signature": listing(KEY),
    "half a signature": listing(KEY) + b"\0\0\0\x02\x0e",
}  # fmt: skip


@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT.keys())
def test_a_silent_agent_is_given_up(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it never spoke or stopped in the middle."""
    monkeypatch.setattr(agent, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(agent, "TOUCH_SECONDS", 0.3)

    async def play(connection: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(connection, sent)
        await asyncio.Event().wait()

    with pytest.raises(Unproven, match="did not answer in time"):
        against(play, KEY)


def test_pieces_do_not_buy_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that sends a byte now and then is given up as one that sends nothing."""
    monkeypatch.setattr(agent, "ANSWER_SECONDS", 0.3)
    sent: list[int] = []

    async def play(connection: socket.socket) -> None:
        for byte in listing(KEY):
            await asyncio.get_running_loop().sock_sendall(connection, bytes([byte]))
            sent.append(byte)
            await asyncio.sleep(0.05)

    with pytest.raises(Unproven, match="did not answer in time"):
        against(play, KEY)
    assert 0 < len(sent) < len(listing(KEY)) // 2


def test_an_agent_may_speak_in_pieces_of_one_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one answer all the same, and the daemon does not wake up for each of them."""
    reads: list[int] = []
    receive = socket.socket.recvmsg

    def noted(one: socket.socket, *given: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
        result = receive(one, *given)
        reads.append(len(result[0]))
        return result

    async def play(connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for answer in (listing(KEY), SIGNED):
            await loop.sock_recv(connection, 65_536)
            for byte in answer:
                await loop.sock_sendall(connection, bytes([byte]))
                await asyncio.sleep(0.001)

    monkeypatch.setattr(socket.socket, "recvmsg", noted)
    began = time.monotonic()
    assert against(play, KEY) == Signed(KEY, b"made")
    assert sum(reads) == len(listing(KEY) + SIGNED)
    assert len(reads) < 6 + (time.monotonic() - began) / agent.PIECE_SECONDS


def test_a_flood_gives_way_to_others() -> None:
    """An agent that has sent all it may at once: 256 KiB are read, and the loop goes round."""
    body = b"\x0c" + number(2048) + b"".join(framed(bytes(100)) + framed(b"x" * 16) for _ in range(2048))
    assert len(body) <= agent.MAX_MESSAGE_BYTES

    async def run() -> float:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        theirs.setblocking(False)
        sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(theirs, framed(body) + bytes(4096)))
        proving = asyncio.ensure_future(prove(ours, KEY))
        longest, before = 0.0, time.thread_time()  # how long this thread was kept from running is not the daemon's doing
        while not proving.done():
            await asyncio.sleep(0)
            longest, before = max(longest, time.thread_time() - before), time.thread_time()
        with pytest.raises(Unproven, match="none of the keys"):
            await proving
        await asyncio.gather(sending, return_exceptions=True)
        theirs.close()
        return longest

    assert asyncio.run(run()) < 0.25


def test_an_agent_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it has no room for the request."""
    monkeypatch.setattr(agent, "ANSWER_SECONDS", 0.3)

    async def run() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(65_536))
        ours.setblocking(True)  # as a front end might pass it on
        with pytest.raises(Unproven, match="did not answer in time"):
            await prove(ours, KEY)
        theirs.close()

    asyncio.run(run())


# What it is asked.


def test_the_agent_is_asked_for_its_keys_and_to_sign_with_an_enrolled_one() -> None:
    """The exact bytes; RSA with SHA-512. A foreign key and one that is listed twice are not asked for again."""
    for key, flags in ((KEY, 0), (RSA, 4)):
        asked: list[bytes] = []
        foreign = framed(b"ssh-ed25519") + framed(b"\1" * 32)
        assert against(replies(listing(foreign, key, key), SIGNED, asked=asked), KEY, RSA) == Signed(key, b"made")
        assert asked == [framed(b"\x0b"), framed(b"\x0d" + framed(key) + framed(DATA) + number(flags))]


def test_another_key_is_tried_where_one_is_refused() -> None:
    """In the agent's order, each once: an agent cannot have itself asked for ever."""
    asked: list[bytes] = []
    refusal = framed(b"\x05")
    assert against(replies(listing(RSA, KEY), refusal, SIGNED, asked=asked), KEY, RSA) == Signed(KEY, b"made")
    assert len(asked) == 3
    asked.clear()
    with pytest.raises(Unproven, match="refused to sign"):
        against(replies(listing(*[KEY] * 2000), refusal, refusal, asked=asked), KEY)
    assert len(asked) == 2


@pytest.mark.parametrize("is_quiet", [True, False])
def test_with_noninteractive_nobody_has_to_touch_a_key(is_quiet: bool) -> None:
    """sudo -n never waits for a person; otherwise the person is told what is waited for."""
    waits: list[str] = []
    with pytest.raises(Unproven) as caught:
        against(replies(listing(TOUCHED), framed(b"\x05")), TOUCHED, is_quiet=is_quiet, waits=waits)
    assert caught.value.refused is not is_quiet
    assert waits == [agent.WAITING] if is_quiet else [agent.WAITING, "confirm on your security key"]
    assert against(replies(listing(TOUCHED, KEY), SIGNED), TOUCHED, KEY, is_quiet=True) == Signed(KEY, b"made")


# What it may be, and what is left behind.


def test_what_is_not_a_unix_stream_socket_is_no_agent(tmp_path: Path) -> None:
    """A file, a pipe, a datagram socket, TCP: refused, and closed."""

    async def run() -> None:
        reading, writing = os.pipe()
        datagrams, packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        sequenced = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed = [
            os.open(tmp_path, os.O_PATH), os.open("/dev/null", os.O_RDWR), reading, datagrams.detach(), sequenced[0].detach(),
            socket.socket(socket.AF_INET).detach(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).detach(),
        ]  # fmt: skip
        for descriptor in passed:
            with pytest.raises(InvalidValue, match="the agent's descriptor is not"):
                Agent(descriptor)
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(descriptor)
        os.close(writing)
        packets.close()
        sequenced[1].close()

    asyncio.run(run())


def test_a_socket_that_leads_nowhere_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never connected, or listening itself."""
    monkeypatch.setattr(agent, "ANSWER_SECONDS", 0.3)

    async def run() -> None:
        for listens, words in ((False, "closed the connection"), (True, "did not answer in time")):
            one = socket.socket(socket.AF_UNIX)
            if listens:
                one.bind(str(tmp_path / "agent"))
                one.listen()
            with pytest.raises(Unproven, match=words):
                await prove(one, KEY)

    asyncio.run(run())


def test_descriptors_that_an_agent_sends_are_not_closed_on_the_loop() -> None:
    """They may make close(2) wait: they are handed on, and what came with them counts for nothing."""

    async def run() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        reading, writing = os.pipe()
        theirs.sendmsg([listing(KEY)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing] * 3))])
        os.close(writing)
        speaking = Agent(ours.detach())
        with pytest.raises(Unproven, match="not understood"):
            await speaking.prove([KEY], DATA, is_quiet=False, wait_for=lambda _what: None)
        left, received = speaking.detach()
        assert len(received) == 3
        assert not any(os.get_inheritable(descriptor) for descriptor in received)
        await Disposal().let_go(left, received)
        assert os.read(reading, 1) == b""
        os.close(reading)
        theirs.close()

    asyncio.run(run())


@pytest.mark.parametrize("answers", [[], [listing(KEY)]])
def test_an_exchange_that_is_cancelled_leaves_nothing_behind(answers: list[bytes]) -> None:
    """At any of its waits: no reader of the loop's, no descriptor."""

    async def run() -> None:
        before = os.listdir("/proc/self/fd")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for answer in answers:
            theirs.send(answer)
        proving = asyncio.ensure_future(prove(ours, KEY))
        await asyncio.sleep(0.1)
        assert not proving.done()
        proving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await proving
        assert theirs.recv(65_536, socket.MSG_DONTWAIT)
        while theirs.recv(65_536):
            pass
        theirs.close()
        assert os.listdir("/proc/self/fd") == before

    asyncio.run(run())
