"""The kernel's own answers: sockets of this very test, addresses of this machine; and answers that are none."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from types import TracebackType

import pyroute2
import pytest
from pyroute2.netlink.exceptions import NetlinkError

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

FAR = ipaddress.ip_address("192.0.2.7")


def kernel(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], list[dict[str, object]]]) -> None:
    """Let a kernel of the test's own answer."""

    class Kernel:
        def __enter__(self) -> Kernel:
            return self

        def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
            pass

        def bind(self) -> None:
            pass

        def get_sock_stats(self, **_: object) -> list[dict[str, object]]:
            return answer()

        def route(self, *_: object, **__: object) -> list[dict[str, object]]:
            return answer()

    monkeypatch.setattr(pyroute2, "DiagSocket", Kernel)
    monkeypatch.setattr(pyroute2, "IPRoute", Kernel)


def failing(error: Exception) -> Callable[[], list[dict[str, object]]]:
    def answer() -> list[dict[str, object]]:
        raise error

    return answer


FAILURES: dict[str, tuple[Exception, int]] = {
    "an error of the kernel's": (NetlinkError(errno.EPERM), errno.EPERM),
    "an error of the socket's": (OSError(errno.ENOBUFS, "no buffer space"), errno.ENOBUFS),
    "an answer that cannot be read": (struct.error("unpack requires 4 bytes"), errno.EPROTO),
}


@pytest.mark.parametrize(("error", "number"), FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("question", [tcp_sockets, lambda: is_own(FAR)], ids=["sockets", "route"])
def test_an_answer_that_is_none_is_an_error(
    monkeypatch: pytest.MonkeyPatch, question: Callable[[], object], error: Exception, number: int
) -> None:
    """Never an empty list, never "elsewhere"."""
    kernel(monkeypatch, failing(error))
    with pytest.raises(OSError) as failed:  # noqa: PT011  told apart by its number
        question()
    assert failed.value.errno == number


@pytest.mark.parametrize(("kind", "expected"), [(1, False), (2, True), (3, True), (5, True), (6, True), (7, True)])
def test_only_an_ordinary_route_leads_elsewhere(monkeypatch: pytest.MonkeyPatch, kind: int, expected: bool) -> None:
    """Local, broadcast, multicast, blackhole, unreachable: own."""
    kernel(monkeypatch, lambda: [{"type": kind}])
    assert is_own(FAR) is expected


def test_no_route_in_the_answer_is_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known to lead elsewhere does not."""
    kernel(monkeypatch, list)
    assert is_own(FAR)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH])
def test_a_peer_to_whom_the_way_is_gone_is_elsewhere(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """To itself a host always has one."""
    kernel(monkeypatch, failing(NetlinkError(number)))
    assert is_own(FAR) is False
