"""sudo's audit plugin, called as sudo calls it: what it tells, and that nothing makes it say anything but "all is well".

It is built anew with the daemon's folder elsewhere; once as it is shipped, once with sanitizers.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_sudo import ScriptedDaemon, Step, answer, hang_up, in_turn, pause, send, silence

SOURCES = Path(__file__).resolve().parents[2] / "sudo" / "observe"
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
LONGEST_MS = 250
pytestmark = [
    pytest.mark.skipif(not shutil.which("gcc"), reason="there is no compiler"),
    pytest.mark.skipif(not Path("/usr/include/sudo_plugin.h").exists(), reason="sudo's header is not installed"),
]
WELL = {"open": 1, "first": 1, "second": 1, "errno_kept": True, "leaked": 0, "close": False, "errstr": False}


class Built:
    """The driver and the plugin, and the folder in which the plugin looks for the daemon."""

    def __init__(self, output: Path, sanitize: str) -> None:
        self.output, self.folder, self.is_sanitized = output, output / "run", bool(sanitize)
        self.folder.mkdir(mode=0o755)
        flags = f'-DJITSUDO_RUN="\\"{self.folder}\\"" -DJITSUDO_OWNER={os.getuid()}'
        make = ["make", "--silent", "-C", str(SOURCES), f"OUTPUT={output}", f"SANITIZE={sanitize}", f"CPPFLAGS={flags}"]
        subprocess.run([*make, f"{output}/jitsudo_observe.so", "drive"], check=True)

    def drive(
        self, *arguments: str | bytes, environment: dict[str, str] | None = None, before: Sequence[str] = ()
    ) -> dict[str, Any]:
        """One sudo; all that it printed is the driver's own line. `before`: what runs the driver."""
        command = [*before, self.output / "drive", self.output / "jitsudo_observe.so", *arguments]
        done = subprocess.run(
            command, env=environment or {}, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), done
        return dict(json.loads(done.stdout))

    def well(self, *arguments: str | bytes, **more: Any) -> int:
        """The same where nothing may be noticed; how many ms it took."""
        told = self.drive(*arguments, **more)
        took = int(told.pop("ms"))
        assert told == WELL
        return took


@pytest.fixture(scope="module", params=["", SANITIZE], ids=["shipped", "sanitized"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both builds, one after the other."""
    return Built(tmp_path_factory.mktemp("observe"), request.param)


def daemon(built: Built, *script: Step) -> ScriptedDaemon:
    (built.folder / "decide").unlink(missing_ok=True)
    return ScriptedDaemon(built.folder, list(script))


def test_what_sudo_decided_is_told_once(built: Built) -> None:
    """Everything that sudo said of it; of what it would execute then nothing more, and of variables names alone."""
    with daemon(built, answer({}), answer({})) as listening:
        variables = {"HOME": "/home/secret", "ODD": "a=b=secret", "EMPTY": ""}
        assert built.well("accept", "--", "sudo", "id", "-u", environment=variables) < LONGEST_MS
    (call,) = listening.calls
    told = call.parameters
    assert call.method == "io.jitsudo.Decide.Observe"
    assert (told["outcome"], told["plugin"], told["plugin_type"], told["message"]) == ("accepted", "sudo", 0, None)
    assert (told["submit_argv"], told["submit_optind"], told["run_argv"]) == (["sudo", "id", "-u"], 1, ["id", "-u"])
    assert (told["settings"], told["command_info"]) == (["progname=sudo"], ["command=/usr/bin/id", "runas_user=root"])
    assert told["user_info"][0] == "user=tester"
    assert set(variables) <= set(told["run_env"])
    assert not any("secret" in name for name in told["run_env"])
    assert told["cut"] is False


def test_what_sudo_refused_is_told_with_its_reason(built: Built) -> None:
    """By the policy, or for an error; bytes that are not UTF-8 arrive as they are."""
    with daemon(built, answer({}), answer({})) as listening:
        built.well("reject", "command not allowed", "--", "sudo", b"\xff\xfe")
        built.well("error", b"not \xff text", "--", "sudo", "id")
    rejected, failed = (call.parameters for call in listening.calls)
    assert (rejected["outcome"], rejected["message"], rejected["run_argv"]) == ("rejected", "command not allowed", [])
    assert rejected["submit_argv"][1] == {"base64": "//4="}
    assert (failed["outcome"], failed["command_info"]) == ("error", [])
    assert failed["message"] == {"base64": "bm90IP8gdGV4dA=="}


def test_the_first_yes_of_the_policy_is_not_the_last_word(built: Built) -> None:
    """After it an approval plugin may refuse; and it is the only one that sudo -l and -v have. -V prints nothing."""
    with daemon(built) as listening:
        assert built.well("policy-accept", "--", "sudo", "-l") < LONGEST_MS
        assert built.well("version", "--", "sudo", "-V") < LONGEST_MS
    assert listening.calls == []


def test_a_command_line_without_end_is_cut(built: Built) -> None:
    """What is sent is bounded, in number and in bytes, and says so."""
    for words in (["x"] * 5000, ["y" * 100_000, "z"]):
        with daemon(built, answer({})) as listening:
            assert built.well("accept", "--", "sudo", *words) < LONGEST_MS
        (call,) = listening.calls
        assert call.parameters["cut"] is True
        assert len(json.dumps(call.parameters)) < 150_000
    with daemon(built):
        assert built.well("reject", "m" * 100_000, "--", "sudo", *(["\x01" * 30_000] * 4)) < LONGEST_MS


TALK: dict[str, Step] = {
    "silence": silence,
    "it hangs up": hang_up,
    "no JSON": send(b"nonsense\0"),
    "a frame that does not end": send(b"{" * 1000),
    "two replies": send(b'{"parameters":{}}\0{"parameters":{}}\0'),
    "a refusal": send(b'{"error":"io.jitsudo.Decide.Refused","parameters":{"code":"x","message":"no","hint":null}}\0'),
    "a reply by the byte": in_turn(*(step for byte in b'{"parameters":{}}\0' for step in (send(bytes([byte])), pause(0.02)))),
    "patience without end": in_turn(*[answer({"pending": "wait"}, continues=True), pause(0.05)] * 20),
    "a large reply": send(b'{"parameters":{"x":"' + b"x" * 4_000_000 + b'"}}\0'),
    "escape sequences": answer({"message": "\x1b[2J"}),
}


@pytest.mark.parametrize("said", TALK)
def test_whatever_the_daemon_says_sudo_goes_on(said: str, built: Built) -> None:
    """In silence, at once or after a moment that nobody notices, with nothing left open."""
    with daemon(built, TALK[said], TALK[said]):
        assert built.well("accept", "--", "sudo", "id") < LONGEST_MS


def test_who_does_not_listen_is_not_waited_for(built: Built) -> None:
    """No folder, no socket, nobody behind it, a file, somebody else's folder, a queue that is full."""
    path = built.folder / "decide"
    path.unlink(missing_ok=True)
    assert built.well("accept", "--", "sudo", "id") < 50
    path.write_text("a file")
    assert built.well("accept", "--", "sudo", "id") < 50
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert built.well("accept", "--", "sudo", "id") < 50
        listener.listen(0)
        callers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(3)]
        for caller in callers:
            caller.connect_ex(str(path))
        assert built.well("accept", "--", "sudo", "id") < LONGEST_MS
        built.folder.chmod(0o777)
        assert built.well("accept", "--", "sudo", "id") < 50
        built.folder.chmod(0o755)
        for caller in callers:
            caller.close()
    path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket away")
def test_somebody_elses_socket_is_told_nothing(built: Built) -> None:
    """Neither where the file is another's, nor where the listener is."""
    with daemon(built) as listening:
        os.chown(built.folder / "decide", 1, 1)
        assert built.well("accept", "--", "sudo", "id") < 50
    assert listening.calls == []


def test_without_descriptors_sudo_goes_on(built: Built) -> None:
    """Where nothing can be opened, nothing is told, and nothing is said about it."""
    with daemon(built) as listening:
        most = 16 if built.is_sanitized else 4  # the sanitizer opens some itself
        limits = ("/usr/bin/prlimit", f"--nofile={most}:{most}")
        told = built.drive("accept", "--", "sudo", "id", before=limits)
        assert (told["first"], told["second"], told["leaked"]) == (1, 1, 0)
    assert len(listening.calls) <= 1


def test_nothing_but_the_c_library_is_loaded(built: Built) -> None:
    """No interpreter, so no library that a caller's PATH could choose; no library that is missing one day."""
    plugin = built.output / "jitsudo_observe.so"

    def lines(*argv: str) -> list[str]:
        done = subprocess.run([*argv, plugin], capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if "asan" not in line and "ubsan" not in line]

    needed = {line.split("[")[1].rstrip("]") for line in lines("readelf", "-d") if "NEEDED" in line}
    assert {name for name in needed if not name.startswith("ld-linux")} <= {"libc.so.6", "libm.so.6"}
    assert [line.split()[-1] for line in lines("nm", "-D", "--defined-only")] == ["jitsudo_observe"]
