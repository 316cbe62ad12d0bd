"""The check sees the edited files in their places, and can change nothing outside."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jitsudo.editing import sandbox
from jitsudo.editing.original import Original, open_original
from jitsudo.editing.sandbox import ENVIRONMENT, MAX_OUTPUT_BYTES, Outcome, run_check
from jitsudo.errors import Failed
from jitsudo.types import AbsPath

_can_unshare = subprocess.run(["unshare", "-mpif", "true"], capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.skipif(not _can_unshare, reason="no new namespaces here")


def edited(*files: tuple[Path, bytes]) -> list[tuple[Original, bytes]]:
    return [(open_original(AbsPath(str(path))), text) for path, text in files]


def shell(script: str, *files: tuple[Path, bytes], seconds: float = 60) -> Outcome:
    return run_check(["/bin/bash", "-c", script], edited(*files), seconds)


@pytest.fixture
def file(roots: Path) -> Path:
    (roots / "f").write_text("old\n")
    os.chown(roots / "f", 7, 8)
    (roots / "f").chmod(0o640)
    (roots / "other").write_text("other\n")
    (roots / "folder").mkdir()
    (roots / "folder" / "inner").write_text("inner\n")
    (roots / "link").symlink_to("other")
    return roots / "f"


def test_the_new_text_is_in_its_place_for_the_check_alone(file: Path) -> None:
    """With owner and mode of the file; the file itself is as it was."""
    found = shell(f"cat {file} {file.parent}/other; stat -c '%u %g %a' {file}", (file, b"new\n"))
    assert found == Outcome(True, b"new\nother\n7 8 640\n", "exit status 0")
    assert file.read_text() == "old\n"


def test_a_new_file_is_seen_among_the_others(file: Path) -> None:
    """All of them: files, folders, links, with the folder's own mode; the folder itself is as it was."""
    new = file.parent / "g"
    file.parent.chmod(0o711)
    script = f"cd {file.parent} && ls && cat g f link folder/inner && stat -c %a . && stat -c '%u %a' g"
    found = shell(script, (new, b"brand new\n"), (file, b"changed\n"))
    assert found.output.decode() == "f\nfolder\ng\nlink\nother\nbrand new\nchanged\nother\ninner\n711\n0 644\n"
    assert found.passed
    assert not new.exists()


@pytest.mark.parametrize("command", [
    "echo x >FILE", "echo x >FOLDER/new", "rm FOLDER/other", "chmod 777 FILE", "touch /etc/jitsudo-test",
    "touch /root/jitsudo-test", "echo b >/proc/sysrq-trigger", "echo 1 >/proc/sys/kernel/sysrq",
    "mkdir /sys/fs/cgroup/jitsudo-test", "mount -o remount,rw /", "mount -t tmpfs x /mnt", "umount /run", "umount FILE",
    "mknod /tmp/d b 8 0", "kill -0 2000000", "kill -0 PPID", "ls /run/systemd/private || ls /run/dbus/system_bus_socket",
    "ls /run/jitsudo/decide", "ls /dev/sda || ls /dev/kmsg || ls /dev/mem", "unshare -m true",
    "chroot /proc/1/root test -e /run/systemd/private",
    "nsenter -t 1 -m test -e /run/systemd/private", "hostname x", "dmesg -C",
    "sh -c '</dev/tty'", "ls /proc/PPID",
])  # fmt: skip
def test_what_the_check_cannot_do(file: Path, command: str) -> None:
    """Nothing outside is changed, reached or seen, though it is root."""
    command = command.replace("FILE", str(file)).replace("FOLDER", str(file.parent)).replace("PPID", str(os.getppid()))
    found = shell(f"id -u; if {command}; then echo DONE; fi", (file, b"new\n"))
    assert found.output.startswith(b"0\n")
    assert b"DONE" not in found.output
    assert (file.read_text(), sorted(os.listdir(file.parent))) == ("old\n", ["f", "folder", "link", "other"])


@pytest.mark.parametrize("command", [
    "touch /run/x.pid", "touch /tmp/x /var/tmp/x", "touch /var/log/x", "test -z \"$(ls /tmp)\"", "cat /etc/shadow",
    "echo >/dev/null",
    "test -r /dev/urandom", "test $PPID = 1", "ls /proc/self/fd", "test ! -t 0 -a ! -t 1", "test \"$(pwd)\" = /",
    "chown nobody /run", "id nobody",
])  # fmt: skip
def test_what_a_check_needs(file: Path, command: str) -> None:
    """Pid files, logs, keys, devices, a terminal-free quiet place."""
    found = shell(command, (file, b"new\n"))
    assert found.passed, found.output


def test_what_it_leaves_behind_is_gone(file: Path) -> None:
    """Each check starts with nothing."""
    assert shell("touch /run/left /tmp/left /var/log/left", (file, b"new\n")).passed
    assert shell("ls /run/left /tmp/left /var/log/left", (file, b"new\n")).how == "exit status 2"
    assert not Path("/run/left").exists()


def test_folders_for_pid_files_and_logs_are_there(file: Path) -> None:
    """Empty, with their owners: sshd wants /run/sshd, nginx /var/log/nginx."""
    folders = [str(path) for path in Path("/var/log").iterdir() if path.is_dir() and not path.is_symlink()]
    for folder in folders:
        status = os.stat(folder)
        found = shell(f"stat -c '%u %g' {folder}; ls {folder} | grep -c .", (file, b"new\n"))
        owner, number = found.output.decode().split("\n")[:2]
        assert owner == f"{status.st_uid} {status.st_gid}"
        assert int(number) == sum(1 for path in Path(folder).iterdir() if path.is_dir())


def test_its_environment_is_ours(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the person set reaches a root process."""
    monkeypatch.setenv("LD_DEBUG", "all")
    monkeypatch.setenv("BASH_ENV", "/tmp/x")
    found = run_check(["env"], edited((file, b"new\n")))
    assert dict(line.split("=", 1) for line in found.output.decode().splitlines()) == dict(ENVIRONMENT)


def test_its_capabilities_are_few_and_stay_few(file: Path) -> None:
    """No mount, no module, no ptrace, no raw device, no network administration; for what it executes, too."""
    found = shell("grep -E 'Cap|NoNew' /proc/self/status", (file, b"new\n"))
    told = dict(line.split(":\t") for line in found.output.decode().splitlines())
    allowed = sum(1 << number for number in (0, 1, 3, 4, 6, 7, 10, 18))
    assert int(told["CapInh"], 16) == int(told["CapAmb"], 16) == 0
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(told[name], 16) & ~allowed == 0
    assert told["NoNewPrivs"] == "1"


def test_what_lies_beneath_a_mount_is_not_found_by_handle(file: Path) -> None:
    """open_by_handle_at(2), as once used to leave containers."""
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
handle = (ctypes.c_uint32 * 34)(128)
if libc.name_to_handle_at(-100, b"/tmp", handle, ctypes.byref(ctypes.c_int()), 0) != 0:
    raise SystemExit("no handle: " + os.strerror(ctypes.get_errno()))
opened = libc.open_by_handle_at(os.open("/tmp", os.O_RDONLY), handle, os.O_RDONLY)
print(opened, os.strerror(ctypes.get_errno()))
"""
    found = run_check(["/usr/bin/python3", "-I", "-c", script], edited((file, b"new\n")))
    assert found.output == b"-1 Operation not permitted\n"


@pytest.mark.parametrize(("script", "how"), [
    ("exit 1", "exit status 1"), ("exit 255", "exit status 255"), ("kill -9 $$", "exit status 137"),
    ("kill -ABRT $$", "exit status 134"), ("exit 125", "exit status 125"),
])  # fmt: skip
def test_only_success_passes(file: Path, script: str, how: str) -> None:
    """The exit status is told."""
    assert shell(script, (file, b"new\n")) == Outcome(False, b"", how)


def test_a_check_that_hangs_is_killed_with_all_that_it_started(file: Path) -> None:
    """And does not pass, whatever it would have said."""
    started, sleep = time.monotonic(), f"sleep 90417.{os.getpid()}"
    found = shell(f"echo begun; setsid {sleep} & nohup {sleep} & {sleep}", (file, b"new\n"), seconds=5)
    assert (found.passed, found.output, found.how) == (False, b"begun\n", "it took more than 5 s")
    assert time.monotonic() - started < 60
    for _ in range(300):
        if subprocess.run(["pgrep", "-f", sleep], capture_output=True, check=False).returncode == 1:
            return
        time.sleep(0.1)
    pytest.fail("something survived")


def test_a_check_that_ended_in_time_has_ended_in_time_whoever_looks_late() -> None:
    """The machine is busy, and the time is up by when we come to read what it said."""
    with subprocess.Popen(["echo", "fine"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert sandbox._drain(child.stdout.fileno(), child.pid, 0) == (b"fine\n", True)


@pytest.mark.parametrize("is_late", [False, True])
def test_a_check_ends_with_its_parent_however_soon_that_ends(is_late: bool) -> None:
    """Also where the parent has gone before the kernel could be told what to do then."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        pidfd = os.pidfd_open(os.getpid())
        if os.fork() == 0:
            if is_late:
                select.select([pidfd], [], [])
            sandbox._die_with(pidfd)
            os.write(write, b"x")
            signal.pause()
        if not is_late:
            select.select([read], [], [])
        os._exit(0)
    os.close(write)
    os.waitpid(parent, 0)
    assert select.select([read], [], [], 30)[0]
    assert os.read(read, 10) == (b"" if is_late else b"x")
    assert select.select([read], [], [], 30)[0]
    assert os.read(read, 10) == b""
    os.close(read)


def test_what_a_check_writes_is_limited(file: Path) -> None:
    """Its beginning is kept."""
    found = shell("echo first; head -c 10000000 /dev/zero", (file, b"new\n"))
    assert found.passed
    assert len(found.output) == MAX_OUTPUT_BYTES
    assert found.output.startswith(b"first\n")


@pytest.mark.parametrize("program", ["no-such-program", "/nonexistent", "/etc/passwd", "/etc", "bash/x", ""])
def test_a_check_that_is_not_there_is_an_error(file: Path, program: str) -> None:
    """Not a failure of the text."""
    with pytest.raises(Failed, match="could not be run"):
        run_check([program], edited((file, b"new\n")))


def test_a_check_that_cannot_be_executed_is_an_error(file: Path) -> None:
    """A script without an interpreter, say."""
    (file.parent / "check").write_bytes(b"\x7fELFnonsense")
    (file.parent / "check").chmod(0o755)
    with pytest.raises(Failed, match=r"could not be run: .*Exec format"):
        run_check([str(file.parent / "check")], edited((file, b"new\n")))


def test_a_place_that_cannot_be_shown_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a check of the old text."""
    original = edited((file, b"new\n"))[0][0]
    file.unlink()
    with pytest.raises(Failed, match="could not be run"):
        run_check(["true"], [(original, b"new\n")])
    monkeypatch.setattr(sandbox, "MAX_ENTRIES", 1)
    with pytest.raises(Failed, match="too many entries"):
        run_check(["true"], edited((file, b"new\n")))
