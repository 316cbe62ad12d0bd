"""What the kernel says of TCP sockets and of its own addresses: socket diagnostics and one route look-up, over netlink.

sock_diag(7), rtnetlink(7). pyroute2 is imported where it is first used: it takes some 0.3 s and 26 MiB, which only hosts whose
policy asks where logins come from have to pay, once.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TCP_ESTABLISHED: Final = 1  # net/tcp_states.h
_TCP_LISTEN: Final = 10
_RTN_UNICAST: Final = 1  # linux/rtnetlink.h


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
    from pyroute2 import DiagSocket

    states = 1 << _TCP_ESTABLISHED | 1 << _TCP_LISTEN
    with _failures_as_oserror(), DiagSocket() as kernel:
        kernel.bind()
        return [
            _socket(found)
            for family in (socket.AF_INET, socket.AF_INET6)
            for found in kernel.get_sock_stats(family=family, states=states)
        ]


def _socket(found: Any) -> TcpSocket:
    return TcpSocket(
        inode=found["idiag_inode"],
        uid=found["idiag_uid"],
        listening=found["idiag_state"] == _TCP_LISTEN,
        local_port=found["idiag_sport"],
        peer=normal(ipaddress.ip_address(found["idiag_dst"])),
    )


def normal(address: Address) -> Address:
    """An IPv4 peer of an IPv6 socket is the IPv4 address that it is (RFC 4291, section 2.5.5.2)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def is_own(address: Address) -> bool:
    """Whether packets to `address` stay on this host: loopback, any interface's address, whatever else is routed to it.

    Anything but an ordinary route elsewhere counts as own. Raises OSError.
    """
    from pyroute2 import IPRoute

    try:
        with _failures_as_oserror(), IPRoute() as kernel:
            routes = [route["type"] for route in kernel.route("get", dst=str(address))]
    except OSError as error:
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):  # the way back is gone; to itself a host always has one
            return False
        raise
    return routes != [_RTN_UNICAST]


@contextmanager
def _failures_as_oserror() -> Iterator[None]:
    """pyroute2's own errors are no OSError, and what it cannot read raises whatever it raises."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except OSError:
        raise
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error
    except Exception as error:
        raise OSError(errno.EPROTO, f"netlink: {error!r}") from error
