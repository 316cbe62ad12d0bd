"""The kernel's own answers: sockets of this very test, addresses of this machine; and answers that are none."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from types import TracebackType

import pytest

from jitsudo.host import netlink
from jitsudo.host.netlink import TcpSocket, is_own, normal, tcp_sockets


def inode(connection: socket.socket) -> int:
    return os.fstat(connection.fileno()).st_ino


@pytest.mark.parametrize(
    ("family", "address", "peer"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1")],
)
def test_a_connection_is_found_with_its_peer_and_what_listens_with_its_port(
    family: socket.AddressFamily, address: str, peer: str
) -> None:
    """By the inode of a descriptor; an IPv4 peer is one whatever family the socket has."""
    with socket.socket(family) as listener, socket.socket(family) as caller:
        listener.bind((address, 0))
        listener.listen()
        caller.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            found = {s.inode: s for s in tcp_sockets()}
            port, me = listener.getsockname()[1], os.geteuid()
            assert found[inode(accepted)] == TcpSocket(inode(accepted), me, False, port, ipaddress.ip_address(peer))
            assert (found[inode(listener)].listening, found[inode(listener)].local_port) == (True, port)
            assert found[inode(caller)].local_port == caller.getsockname()[1]
            gone = inode(accepted)
        assert gone not in {s.inode for s in tcp_sockets()}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.255.255.254", "::1", "255.255.255.255", "224.0.0.1"])
def test_addresses_that_stay_on_this_host_are_its_own(address: str) -> None:
    """Loopback, all of it; what is nobody's peer."""
    assert is_own(ipaddress.ip_address(address))


def test_an_address_elsewhere_is_not_own() -> None:
    """Whether or not there is a way there."""
    assert not is_own(ipaddress.ip_address("192.0.2.200"))
    assert not is_own(ipaddress.ip_address("2001:db8::200"))


def test_a_mapped_address_is_the_one_that_it_maps() -> None:
    """RFC 4291, section 2.5.5.2; all others stay as they are."""
    assert normal(ipaddress.ip_address("::ffff:192.0.2.7")) == ipaddress.ip_address("192.0.2.7")
    for other in ("192.0.2.7", "2001:db8::7", "::192.0.2.7"):
        assert normal(ipaddress.ip_address(other)) == ipaddress.ip_address(other)


# -- answers that are none -------------------------------------------------------------------------------------------


def message(kind: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    whole = 16 + len(body) if length is None else length
    return struct.pack("=IHHII", whole, kind, 0, 1, 0) + body


ERROR, DONE, ROUTE = 2, 3, 24


def kernel(monkeypatch: pytest.MonkeyPatch, *answers: tuple[bytes, int, int]) -> None:
    """Let a kernel of the test's own answer: data, flags of recvmsg(2), the port that it comes from."""

    class Kernel:
        def __init__(self, *_: object) -> None:
            self._answers = iter(answers)

        def __enter__(self) -> Kernel:
            return self

        def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
            pass

        def settimeout(self, seconds: float) -> None:
            assert seconds > 0

        def bind(self, address: tuple[int, int]) -> None:
            assert address == (0, 0)

        def sendto(self, data: bytes, address: tuple[int, int]) -> int:
            assert address == (0, 0)
            return len(data)

        def recvmsg(self, _size: int) -> tuple[bytes, list[object], int, tuple[int, int]]:
            answer = next(self._answers, None)
            if answer is None:
                raise TimeoutError("timed out")
            return answer[0], [], answer[1], (answer[2], 0)

    monkeypatch.setattr(netlink.socket, "socket", Kernel)


def route(kind: int) -> bytes:
    return message(ROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, 254, 0, 0, kind, 0))


FAR = ipaddress.ip_address("192.0.2.7")


def own() -> object:
    return is_own(FAR)


FAILURES: dict[str, tuple[Callable[[], object], list[tuple[bytes, int, int]], int | None]] = {
    "silence": (tcp_sockets, [], None),
    "an error": (tcp_sockets, [(message(ERROR, struct.pack("=i", -errno.ENOENT)), 0, 0)], errno.ENOENT),
    "an error at the end of a listing": (tcp_sockets, [(message(DONE, struct.pack("=i", -errno.EBUSY)), 0, 0)], errno.EBUSY),
    "an error without a number": (tcp_sockets, [(message(ERROR), 0, 0)], 0),
    "an answer that was cut off": (tcp_sockets, [(message(DONE), socket.MSG_TRUNC, 0)], errno.EMSGSIZE),
    "a message longer than the answer": (tcp_sockets, [(message(DONE, length=64), 0, 0)], errno.EPROTO),
    "a message shorter than its header": (tcp_sockets, [(message(DONE, length=8), 0, 0)], errno.EPROTO),
    "an answer by another process": (tcp_sockets, [(message(DONE), 0, 4711)], None),
    "a route by another process": (own, [(route(1), 0, 4711)], None),
    "no route in the answer": (own, [(message(99), 0, 0)], errno.EPROTO),
    "a route that may not be asked for": (own, [(message(ERROR, struct.pack("=i", -errno.EPERM)), 0, 0)], errno.EPERM),
}


@pytest.mark.parametrize(("question", "answers", "number"), FAILURES.values(), ids=FAILURES.keys())
def test_an_answer_that_is_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
    question: Callable[[], object],
    answers: list[tuple[bytes, int, int]],
    number: int | None,
) -> None:
    """Never an empty list, never "elsewhere"; what other processes send to the socket does not count (CVE-2009-1185)."""
    kernel(monkeypatch, *answers)
    with pytest.raises(OSError) as failed:  # noqa: PT011  told apart by its number
        question()
    assert failed.value.errno == number


@pytest.mark.parametrize(("kind", "expected"), [(1, False), (2, True), (3, True), (5, True), (6, True), (7, True)])
def test_only_an_ordinary_route_leads_elsewhere(monkeypatch: pytest.MonkeyPatch, kind: int, expected: bool) -> None:
    """Local, broadcast, multicast, blackhole, unreachable: own."""
    kernel(monkeypatch, (route(kind), 0, 0))
    assert is_own(FAR) is expected


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH])
def test_a_peer_to_whom_the_way_is_gone_is_elsewhere(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """To itself a host always has one."""
    kernel(monkeypatch, (message(ERROR, struct.pack("=i", -number)), 0, 0))
    assert is_own(FAR) is False


def test_a_listing_comes_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """To its end; other kinds of messages between them are passed over."""
    one = struct.pack("=BBxx2s2s16s16s12x12xII", socket.AF_INET, 1, b"\0\x16", b"\x80\0", b"", bytes([192, 0, 2, 7]), 0, 501)
    parts = [(message(20, one) + message(4), 0, 0), (message(20, one), 0, 0), (message(DONE, struct.pack("=i", 0)), 0, 0)]
    kernel(monkeypatch, *parts)
    assert tcp_sockets() == [TcpSocket(501, 0, False, 22, FAR)] * 4
