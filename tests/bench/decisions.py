"""As root on a lab host: asks the daemon for decisions over its socket, as sudo's plugin does, without sudo.

Each question comes from a process of its own with the person's real uid and login uid. Prints JSON: seconds a decision, from
connect(2) to the complete reply, in the order in which they were measured, and the seconds for all.
"""

import array
import json
import os
import socket
import sys
import time

SOCKET = "/run/jitsudo/decide"


ANSWER = {"outcome": "proven", "account": None}
ACCOUNT_IN_ORDER = json.dumps({"method": "io.jitsudo.Decide.Answer", "more": True, "parameters": ANSWER}).encode() + b"\0"


def receive(connection):
    reply = b""
    while not reply.endswith(b"\0"):
        data = connection.recv(65_536)
        if not data:
            raise EOFError("the daemon ended the connection")
        reply += data
    return reply


def ask(uid, name, command, expected):
    if uid:
        with open("/proc/self/loginuid", "w", encoding="ascii") as file:
            file.write(str(uid))
    os.setresuid(uid, 0, 0)
    pid, parent = os.getpid(), os.getppid()
    info = [
        f"user={name}", f"uid={uid}", f"gid={uid}", f"pid={pid}", f"ppid={parent}", f"pgid={os.getpgrp()}",
        f"sid={os.getsid(0)}", "cwd=/", "host=lab", "umask=022", "lines=24", "cols=80",
    ]
    invocation = {"front_end": "bench", "user_info": info, "settings": ["progname=sudo"], "user_env": ["TERM=xterm"]}
    parameters = {
        "invocation": invocation, "argv": [command], "env_add": [], "command": command,
        "descriptors": ["root", "cwd", "command"], "sub_command": False,
    }
    call = json.dumps({"method": "io.jitsudo.Decide.Check", "more": True, "parameters": parameters}).encode() + b"\0"
    descriptors = array.array("i", [os.open(path, os.O_PATH) for path in ("/", ".", command)])
    started = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(SOCKET)
        connection.sendmsg([call], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        reply = receive(connection)
        if b'"kind":"account"' in reply.replace(b" ", b""):
            connection.sendall(ACCOUNT_IN_ORDER)
            reply = receive(connection)
        seconds = time.perf_counter() - started
    verdict = json.loads(reply[:-1])["parameters"].get("verdict")
    if verdict != expected:
        raise ValueError(f"expected {expected}, got {reply[:300]!r}")
    return seconds


def in_child(*question):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(write, json.dumps(ask(*question)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    return child, read


def main():
    uid, name, command, expected, count, parallel = sys.argv[1:]
    question = (int(uid), name, command, expected)
    taken = []
    started = time.perf_counter()
    for _ in range(int(count) // int(parallel)):
        for child, read in [in_child(*question) for _ in range(int(parallel))]:
            with os.fdopen(read, "rb") as answer:
                taken.append(json.loads(answer.read()))
            os.waitpid(child, 0)
    print(json.dumps({"taken": taken, "all": time.perf_counter() - started}))


main()
