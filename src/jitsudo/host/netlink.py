"""What the kernel says of TCP sockets and of its own addresses: socket diagnostics and one route look-up, over netlink.

sock_diag(7), rtnetlink(7), linux/inet_diag.h. Spoken directly: pyroute2 does the same, but importing it takes 150 ms and 26 MiB
in a daemon that needs two messages of it, and its interface differs between the versions that Debian 12 and 13 have.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

NETLINK_SOCK_DIAG: Final = 4
ANSWER_SECONDS: Final = 2.0
READ_BYTES: Final = 1 << 17
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOCK_DIAG_BY_FAMILY = 20
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_RTA_DST = 1
_RTN_UNICAST = 1
_TCP_ESTABLISHED, _TCP_LISTEN = 1, 10  # net/tcp_states.h

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states, an empty inet_diag_sockid
# inet_diag_msg: family, state, local port, peer port, local and peer address, uid, inode
_SOCKET = struct.Struct("=BBxx2s2s16s16s12x12xII")
_NUMBER = struct.Struct("=i")  # nlmsgerr begins with a negative errno, as does what ends a listing
# rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type, flags
_ROUTE = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class TcpSocket:
    """A TCP socket that is established, or listens. `uid` is its owner's."""

    inode: int
    uid: int
    listening: bool
    local_port: int
    peer: Address


def tcp_sockets() -> list[TcpSocket]:
    """Every TCP socket of this network namespace that is established or listens. Raises OSError.

    While connections come and go the kernel may leave one out of its listing: what is missing is not proven to be absent.
    """
    states = 1 << _TCP_ESTABLISHED | 1 << _TCP_LISTEN
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states)
        found += [
            _socket(body)
            for kind, body in _ask(NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, request)
            if kind == _SOCK_DIAG_BY_FAMILY
        ]
    return found


def _socket(body: bytes) -> TcpSocket:
    family, state, local_port, _, _, peer, uid, inode = _SOCKET.unpack_from(body)
    address = ipaddress.IPv4Address(peer[:4]) if family == socket.AF_INET else normal(ipaddress.IPv6Address(peer))
    return TcpSocket(inode, uid, state == _TCP_LISTEN, int.from_bytes(local_port, "big"), address)


def normal(address: Address) -> Address:
    """An IPv4 peer of an IPv6 socket is the IPv4 address that it is (RFC 4291, section 2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def is_own(address: Address) -> bool:
    """Whether packets to `address` stay on this host: loopback, any interface's address, whatever else is routed to it.

    Anything but an ordinary route elsewhere counts as own. Raises OSError.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    attribute = struct.pack("=HH", 4 + len(address.packed), _RTA_DST) + address.packed
    request = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute
    try:
        for kind, body in _ask(socket.NETLINK_ROUTE, _RTM_GETROUTE, 0, request):
            if kind == _RTM_NEWROUTE:
                return bool(_ROUTE.unpack_from(body)[7] != _RTN_UNICAST)
    except OSError as error:
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):  # the way back is gone; to itself a host always has one
            return False
        raise
    raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def _ask(protocol: int, kind: int, flags: int, request: bytes) -> Iterator[tuple[int, bytes]]:
    """The kernel's messages in answer to one request: type and body. Raises OSError, TimeoutError among them."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
        kernel.settimeout(ANSWER_SECONDS)
        kernel.bind((0, 0))
        kernel.sendto(_HEADER.pack(_HEADER.size + len(request), kind, _NLM_F_REQUEST | flags, 1, 0) + request, (0, 0))
        while True:
            data, _, message_flags, (port, _) = kernel.recvmsg(READ_BYTES)
            if port != 0:  # not from the kernel: any process may send to a netlink socket whose port it guesses (CVE-2009-1185)
                continue
            if message_flags & socket.MSG_TRUNC:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            for answer, body in _messages(data):
                if answer in (_NLMSG_ERROR, _NLMSG_DONE):
                    number = -_NUMBER.unpack_from(body)[0] if len(body) >= _NUMBER.size else 0
                    if number or answer == _NLMSG_ERROR:
                        raise OSError(number, os.strerror(number))
                    return
                yield answer, body
            if not flags & _NLM_F_DUMP:
                return


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3
