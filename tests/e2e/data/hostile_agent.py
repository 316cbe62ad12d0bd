"""A program that listens where an SSH agent would, and sends what none does: hostile_agent.py KIND PATH."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import sys
import threading
import time

server = socket.create_server(("127.0.0.1", 0))


def flood(connection: socket.socket) -> None:
    while True:
        connection.send(struct.pack(">I", 262_143) + bytes([12]) + os.urandom(65_536))


def dribble(connection: socket.socket) -> None:
    connection.send(struct.pack(">I", 65_536))
    while True:
        connection.send(bytes([12]))


def descriptors(connection: socket.socket) -> None:
    # A TCP socket with unsent data and SO_LINGER: whoever closes it last waits for twenty seconds (socket(7)).
    slow = socket.create_connection(server.getsockname())
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 20))
    slow.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            slow.send(bytes(65_536))
    passed = array.array("i", [slow.fileno()] * 100)
    for _ in range(9):
        connection.sendmsg([struct.pack(">I", 1) + bytes([5])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    slow.close()


KINDS = {"flood": flood, "dribble": dribble, "descriptors": descriptors}


def serve(kind: str, connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        KINDS[kind](connection)
    time.sleep(60)


def main() -> None:
    kind, path = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while True:
        threading.Thread(target=serve, args=(kind, listener.accept()[0]), daemon=True).start()


main()
