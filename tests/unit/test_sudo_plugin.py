"""sudo's Python plugin obeys one exact allow, and denies, in a sentence, everything else."""

from __future__ import annotations

import copy
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fake_sudo import (
    PLUGIN_FILE,
    RC,
    FakePam,
    FakeSudo,
    ScriptedDaemon,
    Step,
    answer,
    hang_up,
    in_turn,
    load_plugin,
    load_proof,
    pause,
    send,
    silence,
    until_read,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import LONG, wait_until

from jitsudo.elevation.command_info import build_command_info
from jitsudo.elevation.environment import build_environment
from jitsudo.elevation.runas import Target
from jitsudo.types import Account, Gid, Uid, UserName
from jitsudo.wire import calls
from jitsudo.wire.fields import Fields

pytestmark = pytest.mark.usefixtures("uncollected")

USER_INFO = ("user=alice", "uid=1000", "gid=1000", "cwd=/")
ENV = ("PATH=/home/alice/bin", "TERM=xterm")
INFO = [
    "command=/usr/bin/id", "umask=022", "closefrom=3", "use_pty=true", "runas_uid=0", "runas_gid=0", "runas_groups=0",
    "runas_euid=0",
]  # fmt: skip
ALLOW: dict[str, Any] = {
    "verdict": "allow", "session": "S-ABCDEFGH", "token": "t0ken", "command_info": INFO, "argv": ["/usr/bin/id", "-u"],
    "env": ["PATH=/usr/bin", "HOME=/root"],
}  # fmt: skip
DENY = {"verdict": "deny", "code": "no-grant", "message": "no grant covers this", "hints": ["jitsudo request web-operator"]}
OUTAGE_HINT = "see `systemctl status jitsudod`; root is not affected"


@pytest.fixture
def sudo() -> FakeSudo:
    return FakeSudo()


@pytest.fixture
def pam() -> type[FakePam]:
    """PAM as the plugin meets it: everything goes well unless a test says otherwise."""

    class Pam(FakePam):
        script: ClassVar[dict[str, Any]] = {}
        steps: ClassVar[list[tuple[Any, ...]]] = []

    return Pam


@pytest.fixture
def proof(sudo: FakeSudo, pam: type[FakePam], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin's other half, with a PAM that follows a script."""
    module = load_proof(sudo)
    module.Pam = pam
    monkeypatch.setitem(sys.modules, "jitsudo_sudo_proof", module)
    return module


@pytest.fixture
def plugin(sudo: FakeSudo, proof: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin's module, as run by alice."""
    assert sys.modules["jitsudo_sudo_proof"] is proof
    module = load_plugin(sudo)
    monkeypatch.setattr(module, "os", OsOf(1000))
    return module


class OsOf:
    """The os module, for the plugin alone, in a process with that real uid."""

    def __init__(self, uid: int) -> None:
        self.getuid = lambda: uid

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "jitsudo"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def policy(plugin: Any, run: Path, tmp_path: Path) -> Any:
    return make_policy(plugin, run, tmp_path)


def make_policy(plugin: Any, run: Path, tmp_path: Path, *settings: str) -> Any:
    """The plugin's object, as sudo would make it, pointed at the test's folder."""
    cgroup = tmp_path / "cgroup"
    if not cgroup.exists():
        cgroup.write_text("0::/user.slice/user-1000.slice/session-1.scope\n")

    class Policy(plugin.JitsudoPolicy):  # type: ignore[misc,name-defined]
        RUN_DIRECTORY = str(run)
        OWNER = os.geteuid()
        CGROUP = str(cgroup)
        SYSLOG = str(tmp_path / "log")

    return Policy(user_env=ENV, settings=settings, version="1.0", user_info=USER_INFO, plugin_options=())


@pytest.fixture
def quick(plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short silence, where its length is not the point."""
    monkeypatch.setattr(plugin, "SILENCE_SECONDS", 1.0)


def allow_but(**changes: object) -> Step:
    return answer(copy.deepcopy(ALLOW) | changes)


def allow_without(key: str) -> Step:
    return answer({k: v for k, v in ALLOW.items() if k != key})


def info_but(old: str, *new: str) -> Step:
    """An allow in whose command_info one item is replaced."""
    assert old in INFO
    return allow_but(command_info=[i for i in INFO if i != old] + list(new))


def framed(value: object) -> bytes:
    return json.dumps(value).encode() + b"\0"


MALFORMED: dict[str, Step] = {
    "empty frame": send(b"\0"),
    "not JSON": send(b"allow\0"),
    "not UTF-8": send(b'{"parameters":{"verdict":"\xff"}}\0'),
    "a list": send(b"[]\0"),
    "two values in one frame": send(b'{"parameters":{"verdict":"allow"}} {}\0'),
    "trailing text": send(framed({"parameters": ALLOW})[:-1] + b"x\0"),
    "doubled key": send(b'{"parameters":{"verdict":"deny"},"parameters":' + json.dumps(ALLOW).encode() + b"}\0"),
    "NaN": send(b'{"parameters":{"verdict":NaN}}\0'),
    "a float": send(b'{"parameters":{"verdict":1.5}}\0'),
    "deep nesting": send(b"[" * 500_000 + b"\0"),
    "deep nesting inside": send(b'{"parameters":' + b'{"a":' * 100_000 + b"\0"),
    "no parameters": send(framed({})),
    "parameters null": send(framed({"parameters": None})),
    "parameters a list": send(framed({"parameters": [ALLOW]})),
    "unknown key beside parameters": answer(ALLOW, upgraded=True),
    "allow that continues": answer(ALLOW, continues=True),
    "continues null": answer(ALLOW, continues=None),
    "continues 0": answer(ALLOW, continues=0),
    "pending that is final": answer({"pending": "the approver"}),
    "pending not text": answer({"pending": 1}, continues=True),
    "two replies": send(framed({"parameters": ALLOW}) + framed({"parameters": DENY})),
    "two allows": send(framed({"parameters": ALLOW}) * 2),
    "half a second reply": send(framed({"parameters": ALLOW}) + b"{"),
    "error with an allow": answer(ALLOW, error="io.jitsudo.Decide.Refused"),
    "error null with an allow": answer(ALLOW, error=None),
    "error of Varlink's": answer({}, error="org.varlink.service.MethodNotFound"),
    "verdict missing": allow_without("verdict"),
    "verdict null": allow_but(verdict=None),
    "verdict true": allow_but(verdict=True),
    "verdict 1": allow_but(verdict=1),
    "verdict list": allow_but(verdict=["allow"]),
    "verdict in capitals": allow_but(verdict="ALLOW"),
    "verdict with a space": allow_but(verdict="allow "),
    "verdict with NUL": allow_but(verdict="allow\0"),
    "verdict empty": allow_but(verdict=""),
    "verdict look-alike": allow_but(verdict="\u0430llow"),
    "verdict base64": allow_but(verdict={"base64": "YWxsb3c="}),
    "verdict challenge": answer({"verdict": "challenge", "message": "confirm"}),
    "verdict deny with an allow's terms": allow_but(verdict="deny", message="no"),
    "unknown obligation": allow_but(record="tty"),
    "session missing": allow_without("session"),
    "session null, token not": allow_but(session=None),
    "token null, session not": allow_but(token=None),
    "both null, not root": allow_but(session=None, token=None),
    "session empty": allow_but(session=""),
    "session a number": allow_but(session=1),
    "token a list": allow_but(token=["t"]),
    "command_info missing": allow_without("command_info"),
    "command_info null": allow_but(command_info=None),
    "command_info empty": allow_but(command_info=[]),
    "command_info an object": allow_but(command_info={"command": "/usr/bin/id"}),
    "command_info with a number": allow_but(command_info=[*INFO, 1]),
    "command_info with NUL": allow_but(command_info=[*INFO, "x=\0"]),
    "command_info item without =": allow_but(command_info=[*INFO, "noexec"]),
    "command_info item without a key": allow_but(command_info=[*INFO, "=true"]),
    "command_info with lone surrogate": allow_but(command_info=[*INFO, "x=\ud800"]),
    "runas_uid missing": info_but("runas_uid=0"),
    "runas_uid twice": info_but("runas_uid=0", "runas_uid=1000", "runas_uid=0"),
    "runas_uid empty": info_but("runas_uid=0", "runas_uid="),
    "runas_uid -1": info_but("runas_uid=0", "runas_uid=-1"),
    "runas_uid 4294967295": info_but("runas_uid=0", "runas_uid=4294967295"),
    "runas_uid 0_0": info_but("runas_uid=0", "runas_uid=0_0"),
    "runas_uid with a space": info_but("runas_uid=0", "runas_uid= 0"),
    "runas_uid with a leading zero": info_but("runas_uid=0", "runas_uid=00"),
    "runas_uid in Arabic digits": info_but("runas_uid=0", "runas_uid=\u0661"),
    "runas_uid by name": info_but("runas_uid=0", "runas_uid=root"),
    "runas_euid by name": info_but("runas_euid=0", "runas_euid=root"),
    "runas_gid missing": info_but("runas_gid=0"),
    "runas_groups missing": info_but("runas_groups=0"),
    "runas_groups with a hole": info_but("runas_groups=0", "runas_groups=0,,4"),
    "umask missing": info_but("umask=022"),
    "umask empty": info_but("umask=022", "umask="),
    "umask decimal": info_but("umask=022", "umask=0x12"),
    "closefrom missing": info_but("closefrom=3"),
    "closefrom negative": info_but("closefrom=3", "closefrom=-1"),
    "use_pty missing": info_but("use_pty=true"),
    "use_pty false": info_but("use_pty=true", "use_pty=false"),
    "command missing": info_but("command=/usr/bin/id"),
    "command relative": info_but("command=/usr/bin/id", "command=id"),
    "argv missing": allow_without("argv"),
    "argv empty": allow_but(argv=[]),
    "argv text": allow_but(argv="id"),
    "argv with null": allow_but(argv=["id", None]),
    "argv with an object of two": allow_but(argv=["id", {"base64": "", "x": ""}]),
    "argv with another object": allow_but(argv=["id", {"base32": ""}]),
    "argv with base64 null": allow_but(argv=["id", {"base64": None}]),
    "argv with bad base64": allow_but(argv=["id", {"base64": "YQ"}]),
    "argv with lax base64": allow_but(argv=["id", {"base64": "Y Q=="}]),
    "argv with base64 of NUL": allow_but(argv=["id", {"base64": "AA=="}]),
    "argv that sudo's host cannot take": allow_but(argv=["id", {"base64": "/w=="}]),
    "env missing": allow_without("env"),
    "env null": allow_but(env=None),
    "env empty": allow_but(env=[]),
    "env item without =": allow_but(env=["PATH"]),
    "env name twice": allow_but(env=["PATH=/a", "PATH=/b"]),
    "closed at once": hang_up,
    "closed in the middle": in_turn(send(framed({"parameters": ALLOW})[:-1]), hang_up),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", MALFORMED.values(), ids=MALFORMED.keys())
def test_anything_but_one_exact_allow_denies(step: Step, policy: Any, run: Path, sudo: FakeSudo) -> None:
    """Every malformed reply is an explicit REJECT, and the person is told."""
    with ScriptedDaemon(run, [step]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert len(sudo.errors) == 1
    assert sudo.errors[0].startswith("jitsudo: ")


def test_exact_allow_runs_as_told(policy: Any, run: Path) -> None:
    """An allow's terms reach sudo as they are, bytes in base64 decoded."""
    terms = copy.deepcopy(ALLOW)
    terms["argv"] = ["/usr/bin/id", {"base64": "LXU="}]
    with ScriptedDaemon(run, [answer(terms)]):
        code, info, argv, env = policy.check_policy(("id", "-u"), ())
    assert code is RC.ACCEPT
    assert info == tuple(INFO)
    assert argv == ("/usr/bin/id", "-u")
    assert env == ("PATH=/usr/bin", "HOME=/root")


def test_daemon_is_told_what_sudo_told(policy: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call holds what sudo said, unchanged, and the descriptors of what the command will see."""
    monkeypatch.chdir(tmp_path)
    policy.told["user_env"] = (*ENV, "ODD=\udcff")
    with ScriptedDaemon(run, [answer(DENY)]) as daemon:
        policy.check_policy(("env", "a\udc80b"), ("A=b",))
    (call,) = daemon.calls
    sent = call.parameters
    assert call.method == "io.jitsudo.Decide.Check"
    assert sent["invocation"] == {
        "front_end": "sudo-python",
        "user_info": list(USER_INFO),
        "settings": [],
        "user_env": [*ENV, {"base64": "T0REPf8="}],
    }
    assert sent["argv"] == ["env", {"base64": "YYBi"}]
    assert sent["env_add"] == ["A=b"]
    assert sent["command"] == "/usr/bin/env"
    assert sent["sub_command"] is False
    assert sent["descriptors"][:3] == ["root", "cwd", "command"]
    for name, path in {"root": "/", "cwd": tmp_path, "command": "/usr/bin/env"}.items():
        status = os.stat(path)
        assert call.inodes[name] == (status.st_dev, status.st_ino)


def test_path_of_the_caller_is_never_used(policy: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is looked up on the fixed secure path alone."""
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with ScriptedDaemon(run, [answer(DENY)] * 3) as daemon:
        for name in ("mine", "./mine", str(tmp_path / "mine")):
            policy.check_policy((name,), ())
    assert [c.parameters["command"] for c in daemon.calls] == [None, f"{tmp_path}/./mine", f"{tmp_path}/mine"]


def test_what_cannot_be_executed_is_not_found(plugin: Any, tmp_path: Path) -> None:
    """Folders, files without an executable bit, absent files and names with NUL are no commands."""
    (tmp_path / "plain").write_text("")
    for name in (str(tmp_path), f"{tmp_path}/plain", f"{tmp_path}/absent", "/\0", "", "no-such-command", "/bin"):
        assert plugin.look_up(name) is None


def test_relative_command_in_a_deleted_folder_is_not_found(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the current folder has no name, a relative path has none either."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert plugin.look_up("./id") is None


def test_denial_is_shown_with_its_hints(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """The message comes first, then each hint on a line of its own."""
    with ScriptedDaemon(run, [answer(DENY)]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert sudo.errors == ["jitsudo: no grant covers this\njitsudo request web-operator"]


def test_error_reply_is_a_denial_with_its_hint(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """The interface's own error carries the sentence to show."""
    refused = {"code": "internal", "message": "internal error, reference X", "hint": "journalctl"}
    with ScriptedDaemon(run, [answer(refused, error="io.jitsudo.Decide.Refused")]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert sudo.errors == ["jitsudo: internal error, reference X\njournalctl"]


def test_a_message_cannot_steer_the_terminal(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """Control characters, overrides and lone surrogates are written out (CVE-2023-28486)."""
    with ScriptedDaemon(run, [answer(DENY | {"message": "a\x1b[2J\n\u202eb\ud800", "hints": None})]):
        policy.check_policy(("id",), ())
    assert sudo.errors == ["jitsudo: a\\x1b[2J\\n\\u202eb\\ud800"]


def test_two_seconds_of_silence_deny(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """A silent daemon is a fault after two seconds, no sooner and not much later."""
    started = time.monotonic()
    with ScriptedDaemon(run, [silence]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert 1.9 <= time.monotonic() - started <= 3.9
    assert sudo.errors == [f"jitsudo: the daemon did not answer for 2 seconds\n{OUTAGE_HINT}"]


SILENT: dict[str, Step] = {
    "half a frame": send(b'{"parameters":'),
    "a byte now and then": in_turn(*[in_turn(send(b" "), pause(0.15))] * 60),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", SILENT.values(), ids=SILENT.keys())
def test_half_an_answer_is_silence(step: Step, policy: Any, run: Path, sudo: FakeSudo) -> None:
    """Only a whole reply restarts the clock."""
    started = time.monotonic()
    with ScriptedDaemon(run, [step]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert time.monotonic() - started <= 5.0
    assert "did not answer" in sudo.errors[0]


def test_endless_frame_is_cut_off(plugin: Any, policy: Any, run: Path, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that does not end is refused at the limit, not when memory is full."""
    monkeypatch.setattr(plugin, "MAX_FRAME_BYTES", 1_000_000)

    def endless(connection: socket.socket) -> None:
        while True:
            connection.sendall(b" " * 65_536)

    with ScriptedDaemon(run, [endless]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert "too long" in sudo.errors[0]


@pytest.mark.usefixtures("quick")
def test_daemon_that_does_not_read_is_silent(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """A large call to a daemon that takes none of it ends in time."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run / "decide"))
    listener.listen()
    policy.told["user_env"] = ("BIG=" + "x" * 1_000_000,)
    assert policy.check_policy(("id",), ()) is RC.REJECT
    assert "did not answer" in sudo.errors[0]
    listener.close()


@pytest.mark.usefixtures("quick")
def test_full_backlog_is_waited_for_and_then_denied(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """A daemon with too many connections is asked again until the time is over."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run / "decide"))
    listener.listen(0)
    waiting = [socket.socket(socket.AF_UNIX)]
    waiting[0].connect(str(run / "decide"))
    assert policy.check_policy(("id",), ()) is RC.REJECT
    assert "did not answer" in sudo.errors[0]
    listener.close()


def test_frame_of_the_limit_is_sent_and_one_more_is_not(
    plugin: Any, policy: Any, run: Path, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """N bytes with the NUL go, N + 1 are refused with a sentence."""
    parameters = {"session": "S", "token": "t"}
    size = len(plugin.encode({"method": "io.jitsudo.Decide.Started", "parameters": parameters, "more": True})) + 1
    with ScriptedDaemon(run, [answer({"verdict": "allow"})]):
        monkeypatch.setattr(plugin, "MAX_FRAME_BYTES", size)
        assert policy._ask("Started", parameters) == {"verdict": "allow"}
        monkeypatch.setattr(plugin, "MAX_FRAME_BYTES", size - 1)
        with pytest.raises(plugin.Refusal, match="too large"):
            policy._ask("Started", parameters)
    assert sudo.errors == []


@pytest.mark.usefixtures("quick")
def test_pending_restarts_the_clock_and_is_shown_once(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """While somebody is awaited the plugin waits, and says for whom, each text once."""
    waiting = in_turn(answer({"pending": "waiting for bob"}, continues=True), pause(0.25))
    with ScriptedDaemon(run, [in_turn(waiting, waiting, waiting, waiting, answer(ALLOW))]):
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    assert sudo.errors == ["jitsudo: waiting for bob"]


def test_pending_is_not_shown_to_programs(plugin: Any, run: Path, tmp_path: Path, sudo: FakeSudo) -> None:
    """`sudo -n` stays quiet while it waits."""
    policy = make_policy(plugin, run, tmp_path, "noninteractive=true")
    with ScriptedDaemon(run, [in_turn(answer({"pending": "waiting"}, continues=True), answer(ALLOW))]):
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    assert sudo.errors == []


def test_who_waits_can_give_up(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """Ctrl-C and its kin, which sudo swallows while a plugin runs, end the waiting as a deny."""
    me = threading.get_ident()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with ScriptedDaemon(run, [in_turn(pause(0.2), lambda _: signal.pthread_kill(me, signal.SIGTERM))]):
            assert policy.check_policy(("id",), ()) is RC.REJECT
        assert sudo.errors == ["jitsudo: interrupted"]
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signal_that_the_caller_ignores_does_not_interrupt(policy: Any, run: Path) -> None:
    """`nohup sudo …` survives a hang-up."""
    me = threading.get_ident()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hangup: Step = lambda _: signal.pthread_kill(me, signal.SIGHUP)  # noqa: E731
        with ScriptedDaemon(run, [in_turn(hangup, pause(0.3), answer(ALLOW))]):
            assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    finally:
        signal.signal(signal.SIGHUP, before)


def test_absent_daemon_denies_with_the_way_out(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """No socket: what is wrong and what to do."""
    assert policy.check_policy(("id",), ()) is RC.REJECT
    assert sudo.errors == [f"jitsudo: the daemon is not running ({run}/decide: No such file or directory)\n{OUTAGE_HINT}"]


def test_absent_folder_denies_with_the_way_out(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """No folder: what is wrong and what to do."""
    run.rmdir()
    assert policy.check_policy(("id",), ()) is RC.REJECT
    assert sudo.errors == [f"jitsudo: the daemon is not running ({run}: No such file or directory)\n{OUTAGE_HINT}"]


def test_dead_daemon_denies_with_the_way_out(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """A socket that nobody listens on."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run / "decide"))
    listener.close()
    assert policy.check_policy(("id",), ()) is RC.REJECT
    assert "Connection refused" in sudo.errors[0]


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_folder_that_others_can_write_is_not_trusted(mode: int, policy: Any, run: Path, sudo: FakeSudo) -> None:
    """A planted socket is never asked."""
    run.chmod(mode)
    with ScriptedDaemon(run, [answer(ALLOW)]) as daemon:
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert daemon.calls == []
    assert "is not a folder of root's alone" in sudo.errors[0]


def test_symbolic_link_for_the_folder_is_not_trusted(plugin: Any, run: Path, tmp_path: Path) -> None:
    """The folder itself, not what a link points at."""
    link = tmp_path / "link"
    link.symlink_to(run)
    policy = make_policy(plugin, link, tmp_path)
    with ScriptedDaemon(run, [answer(ALLOW)]) as daemon:
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert daemon.calls == []


def test_folder_of_somebody_else_is_not_trusted(policy: Any, run: Path) -> None:
    """Owned by another than root."""
    type(policy).OWNER = os.geteuid() + 1
    with ScriptedDaemon(run, [answer(ALLOW)]) as daemon:
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert daemon.calls == []


def test_listener_that_is_not_root_is_not_asked(plugin: Any, run: Path) -> None:
    """The peer's uid comes from the kernel, and must be root's."""
    with (
        ScriptedDaemon(run, [answer(ALLOW)]) as daemon,
        pytest.raises(plugin.Outage, match="is not root's"),
    ):
        plugin.Channel(str(run / "decide"), os.geteuid() + 1)
    assert daemon.calls == []


def test_the_product_talks_to_one_fixed_path(plugin: Any) -> None:
    """Neither environment nor settings choose the socket."""
    made = plugin.JitsudoPolicy(user_env=("RUN_DIRECTORY=/tmp",), settings=("RUN_DIRECTORY=/tmp",))
    assert (made.RUN_DIRECTORY, made.OWNER, made.CGROUP) == ("/run/jitsudo", 0, "/proc/self/cgroup")
    assert "os.environ" not in PLUGIN_FILE.read_text()


def test_life_of_a_session(policy: Any, run: Path) -> None:
    """Check, Started, sub-command and Close travel on one connection, with the session's id and token."""
    done = answer({"verdict": "allow"})
    with ScriptedDaemon(run, [answer(ALLOW), done, answer(ALLOW), answer({})]) as daemon:
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
        assert policy.init_session((), ()) is RC.ACCEPT
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
        assert policy.close(256, 0) is RC.ACCEPT
    names = [call.method.rpartition(".")[2] for call in daemon.calls]
    assert names == ["Check", "Started", "Check", "Close"]
    assert {call.connection for call in daemon.calls} == {1}
    assert [daemon.calls[i].parameters["sub_command"] for i in (0, 2)] == [False, True]
    assert daemon.calls[1].parameters == {"session": "S-ABCDEFGH", "token": "t0ken"}
    assert daemon.calls[3].parameters == {"session": "S-ABCDEFGH", "token": "t0ken", "wait_status": 256, "errno": 0}


def test_connection_is_not_inherited(policy: Any, run: Path) -> None:
    """No program that sudo starts gets the connection or a descriptor that was sent."""
    before = set(os.listdir("/proc/self/fd"))
    with ScriptedDaemon(run, [answer(ALLOW)]):
        policy.check_policy(("id",), ())
        descriptor = policy.channel.socket.fileno()
        assert not os.get_inheritable(descriptor)
        policy.channel.socket.close()
    assert {fd for fd in set(os.listdir("/proc/self/fd")) - before if os.path.exists(f"/proc/self/fd/{fd}")} == set()


NOT_STARTED: dict[str, Step] = {
    "deny": answer(DENY),
    "nothing": answer({}),
    "challenge": answer({"verdict": "challenge"}),
    "error": answer({"code": "x", "message": "gone"}, error="io.jitsudo.Decide.Refused"),
    "closed": hang_up,
    "silent": silence,
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", NOT_STARTED.values(), ids=NOT_STARTED.keys())
def test_command_is_not_started_without_a_second_allow(step: Step, policy: Any, run: Path) -> None:
    """A session that the daemon does not confirm is not started."""
    with ScriptedDaemon(run, [answer(ALLOW), step]):
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
        assert policy.init_session((), ()) is RC.REJECT


def test_reply_that_nobody_asked_for_is_not_the_next_answer(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """A second reply, sent later, does not count for the next call."""
    with ScriptedDaemon(run, [in_turn(answer(ALLOW), until_read, answer({"verdict": "allow"}))]):
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
        wait_until(lambda: select.select([policy.channel.socket], [], [], 0)[0])
        assert policy.init_session((), ()) is RC.REJECT
    assert "more than one reply" in sudo.errors[0]


def test_init_session_without_an_accept_is_refused(policy: Any) -> None:
    """There is no session to start."""
    assert policy.init_session((), ()) is RC.REJECT


def test_sub_command_of_another_session_is_refused(policy: Any, run: Path) -> None:
    """What an intercepted program does belongs to the session it runs in."""
    with ScriptedDaemon(run, [answer(ALLOW), allow_but(session="S-ZZZZZZZZ")]):
        policy.check_policy(("id",), ())
        assert policy.check_policy(("id",), ()) is RC.REJECT


def test_denied_sub_command_keeps_the_connection(policy: Any, run: Path) -> None:
    """The session goes on, and so does its connection."""
    with ScriptedDaemon(run, [answer(ALLOW), answer(DENY), answer({})]) as daemon:
        policy.check_policy(("id",), ())
        assert policy.check_policy(("id",), ()) is RC.REJECT
        assert policy.close(0, 0) is RC.ACCEPT
    assert {call.connection for call in daemon.calls} == {1}


def test_close_reconnects_after_a_restart(policy: Any, run: Path) -> None:
    """A daemon restarted meanwhile still learns how the command ended."""
    with ScriptedDaemon(run, [in_turn(answer(ALLOW), until_read, hang_up), answer({})]) as daemon:
        policy.check_policy(("id",), ())
        wait_until(lambda: select.select([policy.channel.socket], [], [], 0)[0])
        assert policy.close(0, 0) is RC.ACCEPT
    assert [call.connection for call in daemon.calls] == [1, 2]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", [silence, hang_up, send(b"?\0")])
def test_close_never_raises_and_says_nothing(step: Step, policy: Any, run: Path, sudo: FakeSudo) -> None:
    """The command is over: nobody needs a message about it."""
    with ScriptedDaemon(run, [answer(ALLOW), step]):
        policy.check_policy(("id",), ())
        assert policy.close(0, 0) is RC.REJECT
    assert sudo.errors == []


def test_list_goes_to_standard_output(policy: Any, run: Path, sudo: FakeSudo) -> None:
    """The text is shown as it is but for what could steer a terminal."""
    with ScriptedDaemon(run, [answer({"verdict": "allow", "text": "one\ntwo\x1b[m"})]) as daemon:
        assert policy.list(("id", "-u"), 1, "bob") is RC.ACCEPT
    assert sudo.infos == ["one\ntwo\\x1b[m"]
    sent = daemon.calls[0].parameters
    assert (sent["argv"], sent["command"], sent["verbose"], sent["user"]) == (["id", "-u"], "/usr/bin/id", True, "bob")


@pytest.mark.parametrize(("reply", "said"), [(DENY | {"message": None}, 0), (DENY, 1), ({"verdict": "no"}, 1)])
def test_a_denial_without_a_message_says_nothing(reply: Any, said: int, policy: Any, run: Path, sudo: FakeSudo) -> None:
    """As sudo does where the exit status is the answer; no word where the daemon has none."""
    for ask in (lambda: policy.list(("id",), 0, None), policy.validate, lambda: policy.check_policy(("id",), ())):
        (run / "decide").unlink(missing_ok=True)
        policy.channel = None
        sudo.errors.clear()
        with ScriptedDaemon(run, [answer(reply)]):
            assert ask() is RC.REJECT
        assert len(sudo.errors) == said
    assert sudo.infos == []


@pytest.mark.parametrize(("speaker", "name"), [("sudo", "sudo"), (None, "jitsudo"), ("su", "jitsudo"), (1, "jitsudo")])
def test_the_daemon_may_speak_in_sudos_name(speaker: Any, name: str, policy: Any, run: Path, sudo: FakeSudo) -> None:
    """Where sudo itself has these words; an unknown name is none."""
    with ScriptedDaemon(run, [answer(DENY | {"speaker": speaker, "message": "a password is required", "hints": []})]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert sudo.errors == [f"{name}: a password is required"]


def test_bare_list_asks_for_everything(policy: Any, run: Path) -> None:
    """`sudo -l`: no command, no user."""
    with ScriptedDaemon(run, [answer({"verdict": "allow", "text": None})]) as daemon:
        assert policy.list((), 0, None) is RC.ACCEPT
    sent = daemon.calls[0].parameters
    assert (sent["argv"], sent["command"], sent["verbose"], sent["user"]) == ([], None, False, None)


def test_validate_and_invalidate_are_passed_on(policy: Any, run: Path) -> None:
    """-v, -k and -K."""
    script = [answer({"verdict": "allow"}), answer(DENY), answer({}), answer({})]
    with ScriptedDaemon(run, script) as daemon:
        assert policy.validate() is RC.ACCEPT
        assert policy.validate() is RC.REJECT
        assert policy.invalidate(0) is RC.ACCEPT
        assert policy.invalidate(1) is RC.ACCEPT
    assert [call.parameters.get("remove") for call in daemon.calls] == [None, None, False, True]


def test_version_needs_no_daemon(policy: Any, sudo: FakeSudo) -> None:
    """`sudo -V` works on a broken host."""
    assert policy.show_version(1) is RC.ACCEPT
    assert sudo.infos == ["jitsudo policy plugin for sudo, version 0.1.0"]
    assert sudo.errors == []


CALLBACKS: dict[str, tuple[object, ...]] = {
    "check_policy": (("id",), ()),
    "init_session": ((), ()),
    "list": ((), 0, None),
    "validate": (),
    "invalidate": (1,),
    "show_version": (1,),
    "close": (0, 0),
}


def explode(*_given: object, **_named: object) -> None:
    raise SystemExit(0)


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, SystemExit, MemoryError, RecursionError])
@pytest.mark.parametrize("name", CALLBACKS)
def test_callback_that_fails_inside_rejects(
    name: str, fault: type[BaseException], plugin: Any, policy: Any, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised inside a callback, sudo gets an explicit code, and never an accept."""

    def fail(*_given: object, **_named: object) -> None:
        raise fault

    for thing in ("_ask", "_invocation"):
        monkeypatch.setattr(policy, thing, fail)
    monkeypatch.setattr(plugin.sudo, "log_info", fail)
    policy.session, policy.token, policy.accepted = "S-ABCDEFGH", "t", 1
    assert getattr(policy, name)(*CALLBACKS[name]) is RC.REJECT
    assert sudo.errors == [f"jitsudo: internal error in sudo's plugin ({fault.__name__})\n{OUTAGE_HINT}"]


@pytest.mark.parametrize("name", CALLBACKS)
def test_callback_rejects_even_if_nobody_can_be_told(
    name: str, policy: Any, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing conversation does not turn into an exception."""
    monkeypatch.setattr(policy, "_ask", explode)
    monkeypatch.setattr(sudo, "log_error", explode)
    monkeypatch.setattr(sudo, "log_info", explode)
    policy.session, policy.token, policy.accepted = "S-ABCDEFGH", "t", 1
    assert getattr(policy, name)(*CALLBACKS[name]) is RC.REJECT


@pytest.mark.parametrize(
    "wrong", [None, True, 1, (), (RC.ACCEPT,), (RC.ACCEPT, (), ()), (True, (), (), ()), (RC.ACCEPT, [], (), ())]
)
def test_code_that_would_crash_sudo_never_leaves(wrong: object, plugin: Any) -> None:
    """None, True, a bare ACCEPT and incomplete tuples become REJECT."""
    assert plugin.explicit(plugin.is_verdict)(lambda _self: wrong)(None) is RC.REJECT


def test_bare_accept_is_no_verdict(plugin: Any) -> None:
    """For check_policy; for the other callbacks it is the good answer."""
    assert plugin.explicit(plugin.is_verdict)(lambda _self: RC.ACCEPT)(None) is RC.REJECT
    assert plugin.explicit(plugin.is_rc)(lambda _self: RC.ACCEPT)(None) is RC.ACCEPT


def test_every_callback_of_the_plugin_is_walked(plugin: Any) -> None:
    """A callback that is added is added to the tests above."""
    public = {name for name, thing in vars(plugin.JitsudoPolicy).items() if callable(thing) and name[0] != "_"}
    assert public == set(CALLBACKS)


@pytest.fixture
def root(plugin: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A policy as root's own sudo makes it, with the daemon away."""
    monkeypatch.setattr(plugin, "os", OsOf(0))
    return lambda *settings: make_policy(plugin, run, tmp_path, *settings)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "log"))
    listener.settimeout(LONG)
    yield listener
    listener.close()


def test_root_goes_on_without_the_daemon_and_it_is_logged(root: Any, log: socket.socket, sudo: FakeSudo) -> None:
    """The administrator can always get in; the record says so (LOG_AUTHPRIV, LOG_WARNING)."""
    policy = root()
    code, info, argv, env = policy.check_policy(("id", "-u\n"), ())
    assert code is RC.ACCEPT
    assert info[:6] == ("command=/usr/bin/id", "umask=022", "closefrom=3", "use_pty=true", "runas_uid=0", "runas_euid=0")
    assert argv == ("id", "-u\n")
    assert {"HOME=/root", "USER=root", "TERM=xterm", "SUDO_USER=root"} <= set(env)
    assert "PATH=/home/alice/bin" not in env
    line = log.recv(4096).decode()
    assert line.startswith("<84>jitsudo[")
    assert "root ran '/usr/bin/id -u\\n' as root without a decision: the daemon is not running" in line
    assert sudo.errors == []
    assert policy.init_session((), ()) is RC.ACCEPT
    assert policy.close(0, 0) is RC.ACCEPT


@pytest.mark.usefixtures("quick", "log")
@pytest.mark.parametrize("step", [silence, hang_up, send(b"?\0"), allow_but(env=None)])
def test_root_goes_on_past_a_daemon_without_sense(step: Step, root: Any, run: Path) -> None:
    """Hung, dead or talking nonsense: root is not locked out."""
    with ScriptedDaemon(run, [step]):
        assert root().check_policy(("id",), ())[0] is RC.ACCEPT


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(("code", "goes_on"), [("internal", True), ("denied", False), ("", False)])
def test_root_goes_on_past_a_daemon_that_failed_not_past_one_that_refused(
    code: str, goes_on: bool, root: Any, run: Path
) -> None:
    """An internal error of the daemon's is an outage; any other error is an answer."""
    refusal = {"error": "io.jitsudo.Decide.Refused", "parameters": {"code": code, "message": "no", "hint": None}}
    with ScriptedDaemon(run, [send(json.dumps(refusal).encode() + b"\0")]):
        verdict = root().check_policy(("id",), ())
    assert verdict[0] is RC.ACCEPT if goes_on else verdict is RC.REJECT


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    "reply", [DENY, {"verdict": "deny"}, {"verdict": "challenge"}, {"verdict": "deny", "message": 1, "hints": 2}]
)
def test_denied_root_stays_denied(reply: dict[str, object], root: Any, run: Path) -> None:
    """An answer is an answer, well put or not."""
    with ScriptedDaemon(run, [answer(reply)]):
        assert root().check_policy(("id",), ()) is RC.REJECT


def test_root_with_the_daemon_runs_without_a_session(root: Any, run: Path) -> None:
    """Session and token are null for root outside a session."""
    with ScriptedDaemon(run, [allow_but(session=None, token=None)]) as daemon:
        policy = root()
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
        assert policy.init_session((), ()) is RC.ACCEPT
        assert policy.close(0, 0) is RC.ACCEPT
    assert len(daemon.calls) == 1


@pytest.mark.parametrize(
    "line", ["0::/jitsudo.slice/jitsudo-S-ABCDEFGH.scope", "0::/x/jitsudo.slice", "1:cpu:/a\n0::/jitsudo.slice/b"]
)
def test_root_of_a_session_needs_the_daemon(line: str, root: Any, tmp_path: Path, sudo: FakeSudo) -> None:
    """Whoever is root by a grant does not outlive it by stopping the daemon."""
    (tmp_path / "cgroup").write_text(line + "\n")
    assert root().check_policy(("id",), ()) is RC.REJECT
    assert "the daemon is not running" in sudo.errors[0]


def test_root_whose_cgroup_cannot_be_read_needs_the_daemon(root: Any, tmp_path: Path) -> None:
    """Not known to be outside a session is inside."""
    policy = root()
    (tmp_path / "cgroup").unlink()
    assert policy.check_policy(("id",), ()) is RC.REJECT


@pytest.mark.usefixtures("log")
def test_root_alone_as_another_user_and_group(root: Any) -> None:
    """-u and -g, by name and by id; cron's `sudo -u postgres`."""
    for user, group in (("daemon", "bin"), ("#1", "#2")):
        _, info, _, env = root(f"runas_user={user}", f"runas_group={group}").check_policy(("id",), ())
        assert {"runas_uid=1", "runas_euid=1", "runas_gid=2", "runas_egid=2", "runas_user=daemon"} <= set(info)
        (groups,) = (item for item in info if item.startswith("runas_groups="))
        assert groups.startswith("runas_groups=2")
        assert "USER=daemon" in env


@pytest.mark.usefixtures("log")
def test_root_alone_gets_shells(root: Any) -> None:
    """-i is the target's shell as a login shell in its home; -s is what sudo passes."""
    _, info, argv, _ = root("login_shell=true").check_policy(("/bin/zsh", "-c", "id"), ())
    assert "cwd=/root" in info
    assert argv[0].startswith("-")
    assert argv[1:] == ("-c", "id")
    code, _, argv, _ = root("run_shell=true").check_policy(("/bin/sh",), ())
    assert (code, argv) == (RC.ACCEPT, ("/bin/sh",))


@pytest.mark.parametrize(
    "text", ["#-1", "#4294967295", "#0_0", "# 0", "#\u0660", "#", "#00", "#+0", "", "no-such-user", "#4294967294", "a\0"]
)
def test_root_alone_is_strict_about_ids(text: str, root: Any, sudo: FakeSudo) -> None:
    """CVE-2019-14287, for users and groups."""
    for key in ("runas_user", "runas_group"):
        assert root(f"{key}={text}").check_policy(("id",), ()) is RC.REJECT
    assert all("unknown user or group" in error for error in sudo.errors)


@pytest.mark.parametrize(
    "setting",
    ["sudoedit=true", "implied_shell=true", "cmnd_chroot=/x", "cmnd_cwd=x", "cmnd_cwd=~", "closefrom=2", "closefrom=x",
     "closefrom=03", "timeout=1", "remote_host=db1", "selinux_role=x", "selinux_type=x"],
)  # fmt: skip
def test_root_alone_gets_no_special_options(setting: str, root: Any, sudo: FakeSudo) -> None:
    """What needs more than root's own command waits for the daemon."""
    assert root(setting).check_policy(("id",), ()) is RC.REJECT
    assert "until it is back" in sudo.errors[0]


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize(
    ("settings", "item"),
    [
        (["cmnd_cwd=/srv"], "cwd=/srv"),
        (["cmnd_cwd=/srv", "login_shell=true"], "cwd=/srv"),
        (["closefrom=9"], "closefrom=9"),
        (["preserve_groups=true"], "preserve_groups=true"),
    ],
)
def test_root_alone_gets_what_root_can_do_anyway(settings: list[str], item: str, root: Any) -> None:
    """-D, -C, -P: a cron job does not stop for the daemon's sake."""
    _, info, _, _ = root(*settings).check_policy(("/bin/sh",), ())
    key = item.partition("=")[0] + "="
    assert [found for found in info if found.startswith(key)] == [item]


@pytest.mark.usefixtures("log")
def test_root_alone_sets_and_keeps_variables(root: Any) -> None:
    """VAR=value and -E; who the command is for stays what it is."""
    _, _, _, env = root().check_policy(("id",), ("A=b", "TERM=vt100"))
    assert {"A=b", "TERM=vt100", "HOME=/root"} <= set(env)
    _, _, _, env = root("preserve_environment=true").check_policy(("id",), ())
    assert "HOME=/root" in env
    assert len({item.partition("=")[0] for item in env}) == len(env)
    policy = root("preserve_environment=true")
    policy.told["user_env"] = ("MINE=1", "HOME=/x", "=odd", "MINE=2")
    _, _, _, env = policy.check_policy(("id",), ())
    assert {"MINE=1", "HOME=/root"} <= set(env)
    assert "MINE=2" not in env


def test_root_alone_has_nothing_to_validate(root: Any, tmp_path: Path) -> None:
    """sudo -v of root's own scripts works on; of people, and inside a session, it does not."""
    assert root().validate() is RC.ACCEPT
    (tmp_path / "cgroup").write_text("0::/jitsudo.slice/x.scope\n")
    assert root().validate() is RC.REJECT


def test_people_cannot_validate_without_the_daemon(policy: Any) -> None:
    """No ticket is refreshed by nobody."""
    assert policy.validate() is RC.REJECT


def test_root_alone_and_an_unknown_command(root: Any, sudo: FakeSudo) -> None:
    """Said as sudo says it."""
    assert root().check_policy(("no-such-command",), ()) is RC.REJECT
    assert root().check_policy((), ()) is RC.REJECT
    assert sudo.errors == ["jitsudo: no-such-command: command not found", "jitsudo: command: command not found"]


def test_root_alone_without_a_log_is_told(root: Any, sudo: FakeSudo) -> None:
    """Where syslog is down too, the terminal is the record."""
    assert root().check_policy(("id",), ())[0] is RC.ACCEPT
    assert "could not be logged" in sudo.errors[0]


def test_what_is_sent_is_what_the_interface_says(policy: Any, run: Path) -> None:
    """The daemon's own parsers take every call."""
    script = [answer(ALLOW), answer({"verdict": "allow"}), *[answer({"verdict": "allow"})] * 2, answer({}), answer({})]
    with ScriptedDaemon(run, script) as daemon:
        policy.check_policy(("env", "a\udc80b"), ("A=b",))
        policy.init_session((), ())
        policy.list((), 1, None)
        policy.validate()
        policy.invalidate(1)
        policy.close(0, 2)
    check, started, listing, validate, invalidate, closing = (call.parameters for call in daemon.calls)
    assert calls.Check.parse(check).argv == ("env", "a\udc80b")
    assert calls.SessionCall.parse(started, closing=False).session == "S-ABCDEFGH"
    assert calls.ListCommands.parse(listing).verbose is True
    for parameters in (validate, invalidate):
        fields = Fields(parameters, "call")
        assert fields.nested("invocation", calls.Invocation.read).user_env == ENV
    assert calls.SessionCall.parse(closing, closing=True).errno == 2


def test_what_elevation_builds_is_an_exact_allow(policy: Any, run: Path) -> None:
    """The daemon's terms pass the plugin's checks."""
    bob = Account(UserName("bob"), Uid(1001), Gid(1001), (Gid(1001), Gid(27)), "/home/bob", "/bin/sh")
    target = Target(bob, Gid(27), UserName("sudo"))
    info = build_command_info(target, "/usr/bin/id", "/srv", timeout=9)
    env = build_environment(ENV, bob, target, "/usr/bin/id", ("id",))
    with ScriptedDaemon(run, [allow_but(command_info=info, env=env)]):
        assert policy.check_policy(("id",), ()) == (RC.ACCEPT, info, ("/usr/bin/id", "-u"), env)


def test_starting_costs_no_heavy_import(tmp_path: Path) -> None:
    """Every sudo pays for what the plugin imports."""
    (tmp_path / "sudo.py").write_text("class Plugin: pass\nclass RC: pass\n")
    code = (
        f"import sys, enum; sys.path[:0] = [{str(tmp_path)!r}, {str(PLUGIN_FILE.parent)!r}]; before = set(sys.modules);"
        "import jitsudo_sudo_plugin; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {
        "__future__", "_json", "_signal", "_socket", "binascii", "errno", "jitsudo_sudo_plugin", "sudo", "time",
    }  # fmt: skip


# Challenges and the account.


NOTHING_ASKED = dict.fromkeys(("service", "user", "prompt", "overrides", "tries"))
PASSWORD: dict[str, Any] = {
    **NOTHING_ASKED, "kind": "authenticate", "message": "prove who you are", "service": "jitsudo-sudo", "user": "alice",
    "prompt": "[sudo] password for alice: ", "overrides": False, "tries": 3,
}  # fmt: skip
AGENT: dict[str, Any] = {**NOTHING_ASKED, "kind": "agent", "message": "prove who you are"}
ACCOUNT: dict[str, Any] = {
    **NOTHING_ASKED, "kind": "account", "message": "the state of the account", "service": "jitsudo-sudo", "user": "alice",
}  # fmt: skip
CONFIRM: dict[str, Any] = {**NOTHING_ASKED, "kind": "confirm", "message": "This stops production."}


def challenged(challenge: object, **more: object) -> Step:
    return answer({"verdict": "challenge", "challenge": challenge, **more})


def outcomes(daemon: ScriptedDaemon) -> list[str]:
    return [c.parameters["outcome"] for c in daemon.calls if c.method.endswith(".Answer")]


def test_a_password_is_proven_by_pam_and_the_account_checked_after_it(
    policy: Any, run: Path, pam: type[FakePam]
) -> None:
    """pam_faillock(8) takes a check of the account for a success: it must not come before the proof."""
    with ScriptedDaemon(run, [challenged(PASSWORD), answer(ALLOW)]) as daemon:
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    assert pam.steps == [
        ("start", "alice", "alice", None),
        ("authenticate", "[sudo] password for alice: ", False, 3),
        ("account", True),
    ]
    assert daemon.calls[1].parameters == {"outcome": "proven", "account": None}
    assert {call.connection for call in daemon.calls} == {1}


def test_the_daemon_says_whether_the_prompt_overrides_each_of_the_stacks(policy: Any, run: Path, pam: type[FakePam]) -> None:
    """As sudo -p does."""
    with ScriptedDaemon(run, [challenged(PASSWORD | {"prompt": "Mine: ", "overrides": True}), answer(ALLOW)]):
        policy.check_policy(("id",), ())
    assert ("authenticate", "Mine: ", True, 3) in pam.steps


def test_what_is_not_proven_does_not_run_whatever_the_daemon_says(
    policy: Any, proof: Any, run: Path, pam: type[FakePam], sudo: FakeSudo
) -> None:
    """The outcome is told, sudo's own words are shown, and an allow after it counts for nothing."""
    pam.script["authenticate"] = proof.NotProven("failed", "3 incorrect password attempts")
    with ScriptedDaemon(run, [challenged(PASSWORD), answer(ALLOW)]) as daemon:
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert outcomes(daemon) == ["failed"]
    assert sudo.errors == ["sudo: 3 incorrect password attempts"]
    assert ("account", True) not in pam.steps


def test_with_noninteractive_pam_is_told_to_ask_nothing(
    plugin: Any, run: Path, tmp_path: Path, pam: type[FakePam], monkeypatch: pytest.MonkeyPatch
) -> None:
    """-n: the daemon does not ask for a password then, and if it does, no module gets one."""
    made: list[bool] = []
    monkeypatch.setattr(pam, "authenticate", lambda one, *_given: made.append(one.is_quiet))
    policy = make_policy(plugin, run, tmp_path, "noninteractive=true")
    with ScriptedDaemon(run, [challenged(PASSWORD), answer(ALLOW)]):
        policy.check_policy(("id",), ())
    assert made == [True]


def test_several_challenges_are_met_one_after_the_other(
    policy: Any, proof: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password, an agent, the word yes; the answer is to the very question, and the agent's connection goes along."""
    asked: list[object] = []
    descriptor = os.open("/", os.O_PATH)
    monkeypatch.setattr(proof, "agent", lambda *given: asked.append(given) or descriptor)
    monkeypatch.setattr(proof, "confirm", asked.append)
    policy.told["user_env"] = (*ENV, "SSH_AUTH_SOCK=/tmp/agent")
    script = [challenged(PASSWORD), challenged(AGENT), challenged(CONFIRM), answer(ALLOW)]
    with ScriptedDaemon(run, script) as daemon:
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    assert asked == [("/tmp/agent", 1000), "This stops production."]
    assert outcomes(daemon) == ["proven", "connected", "confirmed"]
    assert [call.parameters.get("descriptors") for call in daemon.calls[1:]] == [None, ["agent"], None]
    status = os.stat("/")
    assert daemon.calls[2].inodes == {"agent": (status.st_dev, status.st_ino)}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.usefixtures("pam")
def test_an_agents_connection_is_closed_whatever_the_daemon_does(
    policy: Any, proof: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has gone away, too."""
    descriptor = os.open("/", os.O_PATH)
    monkeypatch.setattr(proof, "agent", lambda *_given: descriptor)
    with ScriptedDaemon(run, [in_turn(challenged(AGENT), hang_up)]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_waiting_for_an_agent_can_be_given_up(
    policy: Any, proof: Any, run: Path, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """^C while the daemon waits for it: sudo goes, and the daemon sees it."""
    monkeypatch.setattr(proof, "agent", lambda *_given: os.open("/", os.O_PATH))
    taken: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _frame: taken.append(number))
    sudo_thread = threading.get_ident()

    def wait(connection: socket.socket) -> None:
        answer({"pending": "confirm on your security key"}, continues=True)(connection)
        signal.pthread_kill(sudo_thread, signal.SIGINT)

    try:
        with ScriptedDaemon(run, [challenged(AGENT), wait]):
            assert policy.check_policy(("id",), ()) is RC.REJECT
    finally:
        signal.signal(signal.SIGINT, handler)
    assert taken == [signal.SIGINT]
    assert sudo.errors[-1] == "jitsudo: interrupted"


def test_challenges_without_end_are_refused(policy: Any, proof: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that asks for ever does not keep a person for ever."""
    monkeypatch.setattr(proof, "confirm", lambda _message: None)
    with ScriptedDaemon(run, [challenged(CONFIRM)] * 40) as daemon:
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert len(daemon.calls) == 17


ODD_CHALLENGES: dict[str, object] = {
    "none": None,
    "text": "authenticate",
    "empty": {},
    "no kind": {**PASSWORD, "kind": None},
    "another kind": {**PASSWORD, "kind": "Authenticate"},
    "no message": {**CONFIRM, "message": None},
    "another service": {**PASSWORD, "service": "su"},
    "the account in another service": {**ACCOUNT, "service": "su"},
    "nobody's account": {**ACCOUNT, "user": None},
    "no service": {**PASSWORD, "service": None},
    "no user": {**PASSWORD, "user": None},
    "a user with NUL": {**PASSWORD, "user": "alice\0"},
    "no tries": {**PASSWORD, "tries": None},
    "tries true": {**PASSWORD, "tries": True},
    "no more tries": {**PASSWORD, "tries": 0},
    "a prompt that is a number": {**PASSWORD, "prompt": 1},
    "overrides null": {**PASSWORD, "overrides": None},
    "overrides one": {**PASSWORD, "overrides": 1},
    "an agent without a message": {**AGENT, "message": None},
}


@pytest.mark.parametrize("uid", [1000, 0])
@pytest.mark.parametrize("name", ODD_CHALLENGES)
def test_an_odd_challenge_is_a_denial(
    name: str, uid: int, plugin: Any, policy: Any, run: Path, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for root: who asks has not failed."""
    monkeypatch.setattr(plugin, "os", OsOf(uid))
    with ScriptedDaemon(run, [challenged(ODD_CHALLENGES[name]), answer(ALLOW)]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert len(sudo.errors) == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
odd_challenges = st.dictionaries(st.sampled_from(sorted(PASSWORD)), anything, max_size=8).map(
    lambda changes: {**PASSWORD, **changes} if changes else {}
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(changes=anything | odd_challenges)
def test_whatever_a_challenge_holds_it_is_met_or_denied(
    changes: Any, plugin: Any, policy: Any, proof: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never an exception, never an allow without the allow: after it the daemon still has to say yes."""
    replies = [{"verdict": "challenge", "challenge": changes}, DENY]
    monkeypatch.setattr(policy, "_ask", lambda *_given, **_named: replies.pop(0) if replies else DENY)
    monkeypatch.setattr(proof, "confirm", lambda _message: None)
    monkeypatch.setattr(proof, "agent", lambda *_given: 0)
    assert policy.check_policy(("id",), ()) is RC.REJECT
    assert plugin.sudo.errors.pop().startswith(("jitsudo: ", "sudo: "))
    assert plugin.sudo.errors == []


def test_a_challenge_with_an_allows_terms_is_no_answer(policy: Any, run: Path, pam: type[FakePam]) -> None:
    """Neither is an allow with a challenge."""
    mixed = ALLOW | {"verdict": "challenge", "challenge": PASSWORD}
    for reply in (mixed, mixed | {"verdict": "allow"}):
        with ScriptedDaemon(run, [answer(reply)]):
            assert policy.check_policy(("id",), ()) is RC.REJECT
        (run / "decide").unlink()
    assert pam.steps == []


@pytest.mark.parametrize("first", [challenged(ACCOUNT), challenged(PASSWORD)], ids=["never", "password"])
def test_an_account_that_may_not_be_used_runs_nothing_and_is_on_record(
    first: Step, policy: Any, run: Path, pam: type[FakePam], sudo: FakeSudo
) -> None:
    """Where nobody was asked for a password too; the daemon is told before it allows, and if it does so, it counts nothing."""
    pam.script["account"] = "account validation failure, is your account locked?"
    with ScriptedDaemon(run, [first, answer(ALLOW)]) as daemon:
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert daemon.calls[1].parameters == {"outcome": "proven", "account": pam.script["account"]}
    assert [call.connection for call in daemon.calls] == [1, 1]
    assert sudo.errors == ["sudo: account validation failure, is your account locked?"]
    assert pam.steps[-1] == ("close",)


def test_no_password_asked_means_that_its_age_does_not_matter(policy: Any, run: Path, pam: type[FakePam]) -> None:
    """The account is checked all the same, under -n too; and once more by nobody."""
    policy.settings["noninteractive"] = "true"
    with ScriptedDaemon(run, [challenged(ACCOUNT), answer(ALLOW)]) as daemon:
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    assert pam.steps == [("start", "alice", "alice", None), ("account", False)]
    assert outcomes(daemon) == ["proven"]


@pytest.mark.parametrize("why", [None, "account validation failure, is your account locked?"])
def test_an_allow_before_the_account_was_asked_about_is_checked_here(
    why: str | None, policy: Any, run: Path, pam: type[FakePam]
) -> None:
    """A daemon that forgets to ask lets no locked account in."""
    pam.script["account"] = why
    with ScriptedDaemon(run, [answer(ALLOW)]):
        verdict = policy.check_policy(("id",), ())
    assert (verdict is RC.REJECT) is (why is not None)
    assert ("account", False) in pam.steps


def test_roots_own_account_is_not_checked(root: Any, run: Path, pam: type[FakePam]) -> None:
    """Hardened hosts expire it, and nobody must be locked out by that."""
    with ScriptedDaemon(run, [allow_but(session=None, token=None)]):
        assert root().check_policy(("id",), ())[0] is RC.ACCEPT
    assert pam.steps == []


def test_validate_proves_and_checks_too(policy: Any, run: Path, pam: type[FakePam]) -> None:
    """sudo -v; nothing is left open, since sudo calls no close."""
    with ScriptedDaemon(run, [challenged(PASSWORD), answer({"verdict": "allow"})]):
        assert policy.validate() is RC.ACCEPT
    assert [step[0] for step in pam.steps] == ["start", "authenticate", "account", "close"]


def test_somebody_elses_password_is_asked_in_a_handle_of_its_own(policy: Any, run: Path, pam: type[FakePam]) -> None:
    """Inside a session of bob's, root is bob."""
    with ScriptedDaemon(run, [challenged(PASSWORD | {"user": "bob"}), answer(ALLOW)]):
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    assert pam.steps[0] == ("start", "bob", "alice", None)
    assert len([step for step in pam.steps if step[0] == "start"]) == 1


@pytest.mark.parametrize(("setting", "is_silent"), [("", True), ("run_shell=true", False), ("login_shell=true", False)])
def test_the_pam_session_is_around_the_command(
    setting: str, is_silent: bool, plugin: Any, run: Path, tmp_path: Path, pam: type[FakePam]
) -> None:
    """Opened for the target before the daemon hears that the command starts, closed before it hears of the end."""
    policy = make_policy(plugin, run, tmp_path, *([setting] if setting else []))
    with ScriptedDaemon(run, [answer(ALLOW), answer({"verdict": "allow"}), answer({})]) as daemon:
        policy.check_policy(("id",), ())
        assert policy.init_session(("bob", "x", 1001, 1001, "", "/home/bob", "/bin/sh"), ("A=b",)) is RC.ACCEPT
        assert [call.method for call in daemon.calls] == ["io.jitsudo.Decide.Check", "io.jitsudo.Decide.Started"]
        assert pam.steps[-1] == ("open", "bob", is_silent)
        assert policy.close(0, 0) is RC.ACCEPT
    assert pam.steps[-1] == ("close",)


def test_the_stacks_variables_take_no_others_place(policy: Any, run: Path, pam: type[FakePam]) -> None:
    """They are added to the daemon's terms, and POSIXLY_CORRECT never is."""
    pam.script["environment"] = ["HOME=/evil", "NEW=1", "POSIXLY_CORRECT=1"]
    with ScriptedDaemon(run, [answer(ALLOW), answer({"verdict": "allow"})]):
        policy.check_policy(("id",), ())
        code, env = policy.init_session(("root",), ("HOME=/root", "PATH=/usr/bin"))
    assert code is RC.ACCEPT
    assert env == ("HOME=/root", "PATH=/usr/bin", "NEW=1")


def test_a_session_that_cannot_be_opened_stops_people(policy: Any, run: Path, pam: type[FakePam], sudo: FakeSudo) -> None:
    """And the daemon does not hear that anything started; what was opened is closed."""
    pam.script["open"] = "pam_open_session: Module is unknown"
    with ScriptedDaemon(run, [answer(ALLOW)]) as daemon:
        policy.check_policy(("id",), ())
        assert policy.init_session(("root",), ()) is RC.REJECT
    assert len(daemon.calls) == 1
    assert sudo.errors == ["sudo: pam_open_session: Module is unknown"]
    assert pam.steps[-1] == ("close",)


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("fault", ["pam_open_session: Module is unknown", RuntimeError("x")])
def test_a_session_that_cannot_be_opened_does_not_stop_root(
    fault: object, root: Any, pam: type[FakePam], sudo: FakeSudo
) -> None:
    """It is said, and root goes on."""
    pam.script["open"] = fault
    policy = root()
    assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
    assert policy.init_session(("root",), ("A=b",)) is RC.ACCEPT
    assert len(sudo.errors) == 1


@pytest.mark.parametrize("version", [None, "0.0.9"])
def test_without_its_other_half_the_plugin_serves_root_alone(
    version: str | None, proof: Any, policy: Any, root: Any, run: Path, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, or of another version while an upgrade is under way."""
    if version is None:
        monkeypatch.setitem(sys.modules, "jitsudo_sudo_proof", None)
    else:
        proof.VERSION = version
    with ScriptedDaemon(run, [allow_but(session=None, token=None)]):
        policy = root()
        assert policy.check_policy(("id",), ())[0] is RC.ACCEPT
        assert policy.init_session(("root",), ()) is RC.ACCEPT
    assert "part of sudo's plugin" in sudo.errors[0]


def test_without_its_other_half_the_plugin_refuses_people(
    policy: Any, run: Path, sudo: FakeSudo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody gets on without the check of their account."""
    monkeypatch.setitem(sys.modules, "jitsudo_sudo_proof", None)
    with ScriptedDaemon(run, [answer(ALLOW)]):
        assert policy.check_policy(("id",), ()) is RC.REJECT
    assert sudo.errors == ["jitsudo: a part of sudo's plugin is missing\nreinstall jitsudo; root is not affected"]


def test_the_two_halves_are_of_one_version(plugin: Any, proof: Any) -> None:
    """They are installed together."""
    assert plugin.VERSION == proof.VERSION


# The very file.


def test_a_pinned_program_is_executed_by_the_descriptor_that_was_shown(
    policy: Any, run: Path, tmp_path: Path
) -> None:
    """execfd is the number of the descriptor that the daemon compared; a script's stays open for its interpreter."""
    program = tmp_path / "program"
    for content, inheritable in (("#!/bin/sh\n", True), ("\x7fELF", False)):
        program.write_text(content)
        program.chmod(0o755)
        with ScriptedDaemon(run, [allow_but(command_info=[*INFO, "execfd=command"])]) as daemon:
            code, info, _, _ = policy.check_policy((str(program),), ())
        (run / "decide").unlink()
        assert code is RC.ACCEPT
        (number,) = (int(item.partition("=")[2]) for item in info if item.startswith("execfd="))
        status = os.fstat(number)
        assert (status.st_dev, status.st_ino) == daemon.calls[0].inodes["command"]
        assert os.get_inheritable(number) is inheritable
        assert policy.executable is None
        os.close(number)
        policy = type(policy)(user_env=ENV, settings=(), version="1.0", user_info=USER_INFO, plugin_options=())


@pytest.mark.parametrize("item", ["execfd=3", "execfd=", "execfd=-1", "execfd=cwd"])
def test_another_descriptor_is_not_executed(item: str, policy: Any, run: Path) -> None:
    """What the daemon cannot know the number of, it cannot name."""
    with ScriptedDaemon(run, [allow_but(command_info=[*INFO, item])]):
        assert policy.check_policy(("id",), ()) is RC.REJECT


def test_a_pinned_program_that_was_not_found_is_not_executed(policy: Any, run: Path) -> None:
    """No descriptor, no execution."""
    with ScriptedDaemon(run, [allow_but(command_info=[*INFO, "execfd=command"])]):
        assert policy.check_policy(("no-such-program",), ()) is RC.REJECT
