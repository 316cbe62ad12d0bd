"""Runs sudo as each of a JSON list of cases says, from standard input; prints what came of each as one line of JSON.

A case: argv (of sudo, without argv[0]), and what is not as usual: env, without, cwd, umask, input, files (extra open
descriptors), closed, limits, ignored and blocked signals, nice, tty (true: everything on a terminal; "input", "output":
all but that stream), typing ([[wait for, type]...]), shell (run this with sh instead; SUDO is the program), size (rows,
columns). Text stands for bytes of the same number (latin-1), both ways.
"""

import fcntl
import json
import os
import pty
import resource
import select
import signal
import struct
import sys
import termios
import time

FOUND = "/run/compat/found"
SUDO = "/usr/bin/sudo"
SECONDS = 60
USUAL = {
    "HOME": os.environ["HOME"],
    "LANG": "C.UTF-8",
    "LOGNAME": os.environ["LOGNAME"],
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "SHELL": "/bin/bash",
    "TERM": "xterm",
    "USER": os.environ["USER"],
}


def raw(text):
    return text.encode("latin-1")


def prepare(case, terminal):
    """In the child, whose standard streams are in place: everything else that the case wants of it."""
    os.setsid()
    if terminal is not None:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        os.close(terminal)
    os.umask(int(case.get("umask", "022"), 8))
    for name, value in case.get("limits", {}).items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), value)
    if "nice" in case:
        os.nice(case["nice"])
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN if number in case.get("ignored", ()) else signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, case.get("blocked", ()))
    for descriptor in range(3, 40):
        try:
            os.close(descriptor)
        except OSError:
            continue
    for descriptor in case.get("files", ()):
        opened = os.open("/etc/hostname", os.O_RDONLY)
        os.dup2(opened, descriptor)
        if opened != descriptor:
            os.close(opened)
    for descriptor in case.get("closed", ()):
        os.close(descriptor)
    if case.get("cwd") == "DELETED":
        gone = f"/tmp/gone-{os.getpid()}"
        os.mkdir(gone)
        os.chdir(gone)
        os.rmdir(gone)
    else:
        os.chdir(raw(case.get("cwd", os.environ["HOME"])))


def start(case, streams, terminal):
    environment = {raw(k): raw(v) for k, v in {**USUAL, **case.get("env", {})}.items() if k not in case.get("without", ())}
    if "shell" in case:
        argv = [b"/bin/sh", b"-c", raw(case["shell"])]
        environment[b"SUDO"] = SUDO.encode()
    else:
        argv = [SUDO.encode(), *map(raw, case["argv"])]
    child = os.fork()
    if child == 0:
        try:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            prepare(case, terminal)
            os.execve(argv[0], argv, environment)  # noqa: S606  sudo itself is wanted
        except BaseException as fault:  # noqa: BLE001  this process must not go on as the other one
            os.write(2, f"run_cases: {fault!r}\n".encode())
            os._exit(255)
    return child


def ended(child, seconds):
    """The wait status, if it comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def converse(child, readers, writer, case):
    """What came out of each of `readers`; writes input to `writer`, types on the terminal when told to."""
    came = dict.fromkeys(readers, b"")
    typing = [(raw(wait), raw(text)) for wait, text in case.get("typing", ())]
    seen = 0
    rest = raw(case.get("input", "")) if writer is not None else b""
    if writer is not None and not rest:
        os.close(writer)
        writer = None
    deadline = time.monotonic() + case.get("seconds", SECONDS)
    over = None
    while readers and time.monotonic() < deadline:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            # What it left running may keep a stream open: what is there by then is what there is.
            over = over or time.monotonic() + case.get("linger", 0.3)
        is_over = over is not None and time.monotonic() > over
        readable, writable, _ = select.select(list(readers.values()), [writer] if rest else [], [], 0.05)
        if is_over and not readable:
            break
        if writable:
            try:
                rest = rest[os.write(writer, rest[: select.PIPE_BUF]) :]  # more might block
            except BrokenPipeError:
                rest = b""
            if not rest:
                os.close(writer)
                writer = None
        for name, descriptor in list(readers.items()):
            if descriptor not in readable:
                continue
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                data = b""
            if data:
                came[name] += data
            else:
                del readers[name]
        if typing and typing[0][0] in came["terminal"][seen:]:
            seen = len(came["terminal"])
            time.sleep(0.05)  # who prompts empties the input first
            os.write(case["master"], typing.pop(0)[1])
    if writer is not None:
        os.close(writer)
    return came, bool(typing)


def run(case):
    with open(FOUND, "w"):
        pass
    master = terminal = None
    ours = []
    streams = [None, None, None]
    readers = {}
    if tty := case.get("tty"):
        master, terminal = pty.openpty()
        rows, columns = case.get("size", (24, 80))
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        streams = [terminal] * 3
        readers["terminal"] = case["master"] = master
    writer = None
    if tty in (None, "output"):
        read, writer = os.pipe()
        os.set_inheritable(writer, False)
        streams[0] = read
        ours.append(read)
    for index, name in ((1, "stdout"), (2, "stderr")):
        if not tty or (tty == "input" and index == 1):
            readers[name], streams[index] = os.pipe()
            ours.append(streams[index])
    child = start(case, streams, terminal)
    for descriptor in ours:
        os.close(descriptor)
    if terminal is not None:
        os.close(terminal)
    pipes = [descriptor for name, descriptor in readers.items() if name != "terminal"]
    came, untyped = converse(child, readers, writer, case)
    status = ended(child, 30)  # its streams may end before it does
    hung = status is None
    if hung:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    for descriptor in pipes + ([master] if master is not None else []):
        os.close(descriptor)
    with open(FOUND, "rb") as file:
        found = [json.loads(line) for line in file]
    result = {"exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}", "found": found}
    result.update({name: data.decode("latin-1") for name, data in came.items()})
    result.update({"hung": True} if hung else {}, **({"untyped": True} if untyped else {}))
    return result


for case in json.load(sys.stdin):
    print(json.dumps(run(case)), flush=True)  # noqa: T201  the results
