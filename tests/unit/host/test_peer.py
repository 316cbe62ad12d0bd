"""Peers and processes: identity from the kernel, and only where it is beyond doubt."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import LONG, wait_until

from jitsudo.errors import Denied
from jitsudo.host import peer, processes, scopes
from jitsudo.host.peer import ancestry, identify, is_running, read_cgroup, read_credentials, read_cwd, read_process
from jitsudo.types import SessionId

pytestmark = pytest.mark.usefixtures("uncollected")

CONNECT = """
import socket, sys, os, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes uid")
NOBODY = 65534


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # other uids connect, too
        made.bind(f"{folder}/s")
        Path(f"{folder}/s").chmod(0o777)
        made.listen()
        made.settimeout(LONG)
        yield made


def connected(listener: socket.socket, code: str, **options: object) -> tuple[subprocess.Popen[bytes], socket.socket]:
    child = subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-I", "-c", CONNECT + code, listener.getsockname()], stdin=subprocess.DEVNULL, **options
    )
    return child, listener.accept()[0]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_peer_is_who_the_kernel_says(listener: socket.socket) -> None:
    """pid, uid, parents; and the pidfd goes with it."""
    child, connection = connected(listener, "s.recv(1)")
    before = descriptors()
    found = identify(connection)
    assert (found.pid, found.uid, found.credentials.real_uid) == (child.pid, os.geteuid(), os.getuid())
    assert found.is_alive()
    assert [p.pid for p in ancestry(found.pid)][:2] == [child.pid, os.getpid()]
    connection.close()
    child.wait()
    assert not found.is_alive()
    found.close()
    found.close()
    assert descriptors() == before - 1


def test_a_connector_that_ended_is_nobody(listener: socket.socket) -> None:
    """CVE-2019-6133: the pid could be anybody's by now."""
    child, connection = connected(listener, "")
    child.wait()
    before = descriptors()
    with connection, pytest.raises(Denied, match="could not be identified"):
        identify(connection)
    assert descriptors() == before - 1


def test_a_child_that_inherits_the_connection_does_not_become_its_connector(listener: socket.socket) -> None:
    """A root program that connects, hands the socket on and ends, has lent nobody its identity."""
    child, connection = connected(listener, "os.fork() and os._exit(0)\ns.sendall(b'x'); time.sleep(60)")
    child.wait()
    assert connection.recv(1) == b"x"
    with connection, pytest.raises(Denied):
        identify(connection)


def test_a_peer_whose_parent_ends_is_still_itself(listener: socket.socket) -> None:
    """Who connected counts; that its parent has gone is no lack of identity."""
    code = """
s.close()
first = os.getpid()
if os.fork(): os._exit(0)
while os.getppid() == first: time.sleep(0.01)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b'x'); s.recv(1)
"""
    child, first = connected(listener, code)
    child.wait()
    first.close()
    connection, _ = listener.accept()
    assert connection.recv(1) == b"x"
    found = identify(connection)
    assert found.pid != child.pid
    assert found.is_alive()
    found.close()
    connection.close()


@needs_root
def test_a_process_that_changed_its_uid_after_connecting_is_nobody(listener: socket.socket) -> None:
    """SO_PEERCRED says root, /proc says nobody: neither is believed."""
    child, connection = connected(listener, f"os.setuid({NOBODY}); s.sendall(b'x'); s.recv(1)")
    assert connection.recv(1) == b"x"
    with connection, pytest.raises(Denied):
        identify(connection)
    child.wait()


@needs_root
def test_a_peer_of_another_uid_is_that_uid(listener: socket.socket) -> None:
    """Not ours, and not 0."""
    child, connection = connected(listener, "s.recv(1)", user=NOBODY)
    found = identify(connection)
    assert (found.uid, found.credentials.real_uid, found.credentials.effective_uid) == (NOBODY, NOBODY, NOBODY)
    found.close()
    connection.close()
    child.wait()


def test_running_out_of_descriptors_is_a_refusal_without_a_leak(listener: socket.socket) -> None:
    """EMFILE in the middle of it: Denied, not an exception that ends the server."""
    child, connection = connected(listener, "s.recv(1)")
    limits, before = resource.getrlimit(resource.RLIMIT_NOFILE), descriptors()
    for spare in (0, 1):
        taken = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (connection.fileno() + 32, limits[1]))
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            for _ in range(spare):
                os.close(taken.pop())
            with pytest.raises(Denied):
                identify(connection)
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert descriptors() == before
    connection.close()
    child.wait()


def test_descriptors_past_1023_are_looked_at_like_any_other() -> None:
    """select(2) cannot; a busy daemon has many."""
    child = subprocess.Popen(["sleep", "60"])
    low = os.pidfd_open(child.pid)
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1500)
    assert is_running(high)
    child.kill()
    child.wait()
    assert not is_running(high)
    os.close(low)
    os.close(high)


@pytest.mark.parametrize("name", ["a) S 1 1", "a b", "(((", ")))", "x) R 0 0 0", "é"])
def test_a_name_with_parentheses_and_spaces_changes_nothing(name: str) -> None:
    """PR_SET_NAME is anybody's; the fields of /proc/PID/stat come after the last parenthesis."""
    libc = ctypes.CDLL(None)
    before = Path("/proc/self/comm").read_bytes().rstrip()
    expected = read_process(os.getpid())
    try:
        libc.prctl(15, name.encode(), 0, 0, 0)
        assert read_process(os.getpid()) == expected
    finally:
        libc.prctl(15, before, 0, 0, 0)
    assert expected.parent == os.getppid()


def test_a_process_that_is_not_there_is_said_so() -> None:
    """By one error, whichever file was missing first."""
    child = subprocess.Popen(["true"])
    child.wait()
    for read in (read_process, read_credentials, read_cgroup):
        with pytest.raises(ProcessLookupError):
            read(child.pid)
    assert list(ancestry(child.pid)) == []


@pytest.mark.parametrize("size", [1, 8, 300])
def test_what_is_longer_than_one_read_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """As the groups of `status` are, for somebody in thousands of them."""
    expected = read_process(os.getpid()), read_credentials(os.getpid())
    monkeypatch.setattr(peer, "READ_BYTES", size)
    assert (read_process(os.getpid()), read_credentials(os.getpid())) == expected


def test_a_zombie_has_a_process_and_is_not_running() -> None:
    """It has ended; only its parent has not asked yet."""
    child = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(child.pid)
    wait_until(lambda: not is_running(pidfd))
    assert read_process(child.pid).ended
    assert child.pid not in processes.all_processes()
    os.close(pidfd)
    child.wait()


def test_a_process_whose_first_thread_ended_is_no_zombie() -> None:
    """It looks like one, and runs: nothing hides from its end that way."""
    code = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("ready", flush=True)
ctypes.PyDLL(None).pthread_exit(None)
"""
    child = subprocess.Popen([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    wait_until(lambda: b") Z " in Path(f"/proc/{child.pid}/stat").read_bytes())
    assert not read_process(child.pid).ended
    assert child.pid in processes.all_processes()
    assert processes.end(read_process(child.pid), signal.SIGKILL)
    child.communicate()


CGROUPS = {
    "unified": (b"0::/user.slice/x\n", "/user.slice/x"),
    "hybrid": (b"12:pids:/a\n1:name=systemd:/b\n0::/c\n", "/c"),
    "none": (b"1:cpu:/\n", ""),
    "root": (b"0::/\n", "/"),
    "a name with a colon": (b"0::/a:0::/b\n", "/a:0::/b"),
    "a name with a carriage return": (b"1:name=systemd:/x\r0::/jitsudo.slice/jitsudo-S-AAAAAAAA.scope\n0::/y\n", "/y"),
    "bytes that are not UTF-8": (b"0::/\xff\n", "/\udcff"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize(("text", "expected"), CGROUPS.values(), ids=CGROUPS.keys())
def test_the_cgroup_is_the_path_in_the_unified_hierarchy(monkeypatch: pytest.MonkeyPatch, text: bytes, expected: str) -> None:
    """cgroups(7); folders' names are their owners' choice."""
    monkeypatch.setattr(peer, "_read", lambda _pid, _name: text)
    assert read_cgroup(1) == expected


SESSION = SessionId("S-AAAAAAAA")
PLACES = {
    "the scope": ("/jitsudo.slice/jitsudo-S-AAAAAAAA.scope", "S-AAAAAAAA"),
    "beneath it": ("/jitsudo.slice/jitsudo-S-AAAAAAAA.scope/a/b", "S-AAAAAAAA"),
    "a delegated cgroup with folders of our names": (
        "/user.slice/user-1003.slice/user@1003.service/jitsudo.slice/jitsudo-S-AAAAAAAA.scope", None
    ),
    "the same in a container's own cgroup": ("/x.service/jitsudo.slice/jitsudo-S-AAAAAAAA.scope", None),
    "another slice": ("/system.slice/jitsudo-S-AAAAAAAA.scope", None),
    "the slice itself": ("/jitsudo.slice", None),
    "another unit in the slice": ("/jitsudo.slice/sshd.service", None),
    "a longer name": ("/jitsudo.slice/jitsudo-S-AAAAAAAA.scope.d", None),
    "no leading slash": ("jitsudo.slice/jitsudo-S-AAAAAAAA.scope", None),
    "two slashes": ("//jitsudo.slice/jitsudo-S-AAAAAAAA.scope", None),
    "outside the namespace": ("/../jitsudo.slice/jitsudo-S-AAAAAAAA.scope", None),
    "the root": ("/", None),
    "nothing": ("", None),
}  # fmt: skip


@pytest.mark.parametrize(("path", "expected"), PLACES.values(), ids=PLACES.keys())
def test_a_session_is_recognised_by_its_scope_and_by_nothing_that_looks_like_it(path: str, expected: str | None) -> None:
    """Whoever is taken for inside a session gets its person's grant, and people own cgroups whose folders they name."""
    assert scopes.session_in_cgroup(path) == expected


def test_being_inside_is_being_in_the_scope_or_beneath_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in one whose name begins alike, nor anywhere once the process has gone."""
    for path, expected in {
        "/jitsudo.slice/jitsudo-S-AAAAAAAA.scope": True,
        "/jitsudo.slice/jitsudo-S-AAAAAAAA.scope/x": True,
        "/jitsudo.slice/jitsudo-S-AAAAAAAA.scope2": False,
        "/x/jitsudo.slice/jitsudo-S-AAAAAAAA.scope": False,
    }.items():
        monkeypatch.setattr(peer, "_read", lambda _pid, _name, p=path: f"0::{p}\n".encode())
        assert scopes.is_inside(SESSION, os.getpid()) is expected, path
    monkeypatch.undo()
    child = subprocess.Popen(["true"])
    child.wait()
    assert not scopes.is_inside(SESSION, child.pid)


def test_a_scope_that_is_not_there_is_empty() -> None:
    """It went with its last process."""
    assert not scopes.is_populated(SESSION)
    assert scopes.members(SESSION) == []


def test_members_and_population_are_read_from_the_scope_and_beneath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell may have made cgroups of its own inside."""
    monkeypatch.setattr(scopes, "CGROUP_ROOT", tmp_path)
    scope = tmp_path / scopes.scope_cgroup(SESSION).lstrip("/")
    (scope / "inner").mkdir(parents=True)
    (scope / "cgroup.procs").write_text("12\n13\n")
    (scope / "inner" / "cgroup.procs").write_text("99\n")
    (scope / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert sorted(scopes.members(SESSION)) == [12, 13, 99]
    assert scopes.is_populated(SESSION)
    (scope / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    assert not scopes.is_populated(SESSION)


def tree(depth: int) -> subprocess.Popen[bytes]:
    code = "import os, sys, time\nfor _ in range(int(sys.argv[1])):\n    if os.fork(): break\ntime.sleep(60)"
    return subprocess.Popen([sys.executable, "-I", "-c", code, str(depth)])


def test_descendants_are_found_by_the_chain_of_parents() -> None:
    """Children, their children, not the ones asked about."""
    child = tree(2)
    wait_until(lambda: len(processes.descendants([child.pid], processes.all_processes())) == 2)
    everybody = processes.all_processes()
    found = processes.descendants([child.pid], everybody)
    assert child.pid not in found
    assert {child.pid, os.getpid()} & {everybody[pid].parent for pid in found} == {child.pid}
    for pid in found:
        assert processes.end(everybody[pid], signal.SIGKILL)
    child.kill()
    child.wait()


def test_exactly_the_process_that_was_seen_is_signalled() -> None:
    """Another one with the same pid is left alone, and one that has gone is no error."""
    child = subprocess.Popen(["sleep", "60"])
    seen = read_process(child.pid)
    other = peer.Process(seen.pid, seen.parent, seen.start_time + 1, seen.cgroup)
    assert not processes.end(other, signal.SIGKILL)
    assert child.poll() is None
    assert processes.end(seen, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not processes.end(seen, signal.SIGKILL)


LOGINS = {
    "/user.slice/user-1000.slice/session-3.scope": "/user.slice/user-1000.slice/session-3.scope",
    "/user.slice/user-1000.slice/session-c2.scope/x": "/user.slice/user-1000.slice/session-c2.scope",
    "/user.slice/user-1000.slice/user@1000.service/user.slice/user-0.slice/session-1.scope": None,
    "/system.slice/ssh.service": None,
    "": None,
}


@pytest.mark.parametrize(("path", "expected"), LOGINS.items())
def test_a_login_session_is_recognised_where_logind_puts_it(path: str, expected: str | None) -> None:
    """What looks like one inside a person's own cgroup would otherwise get somebody else's login ended."""
    assert scopes.login_scope(path) == expected


def test_the_current_directory_is_the_processs_own(tmp_path: Path) -> None:
    """As the kernel has it; one that was deleted, or a process that is gone, is refused."""
    gone = tmp_path / "gone"
    gone.mkdir()
    with subprocess.Popen(["/bin/sleep", "60"], cwd=gone) as child:
        assert read_cwd(child.pid) == str(gone)
        gone.rmdir()
        with pytest.raises(Denied, match="was deleted"):
            read_cwd(child.pid)
        child.kill()
    with pytest.raises(Denied, match="cannot be seen"):
        read_cwd(child.pid)
