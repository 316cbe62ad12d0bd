"""The C client of the daemon: one exact answer, or a fault with words, within the deadline. Plain, and under sanitizers."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_sudo import ScriptedDaemon, Step, answer, hang_up, in_turn, pause, send, silence, until_read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nonsense import NONSENSE, nested

from jitsudo import strictjson
from jitsudo.errors import InvalidValue

LIBRARY = Path(__file__).parents[2] / "libjitsudo"
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
ABSENT, NOT_ROOTS, SILENT, DISCONNECTED, NOT_UNDERSTOOD, FAILED = range(1, 7)
REFUSED, TOO_LARGE, INTERRUPTED, NO_MEMORY, MISUSED = range(7, 12)
LOOK = "see `systemctl status jitsudod`; root is not affected"
DENY = {"verdict": "deny", "code": "no-grant", "message": "no grant covers this", "hints": ["jitsudo request web"]}
ALLOW = {"verdict": "allow", "argv": ["/usr/bin/id", {"base64": base64.b64encode(b"\xff\xfe").decode()}], "env": ["A=é"]}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the driver said of its calls."""

    status: int
    lines: list[str]
    seconds: float
    stderr: str

    @property
    def fault(self) -> list[str]:
        """Status, whether it is an outage, code, message, hint."""
        return self.lines[-1].split("|")

    @property
    def reply(self) -> Any:
        return json.loads(self.lines[-1])


class Driver:
    """libjitsudo by hand, against the socket in a folder."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder

    def __call__(self, *calls: str, silence_ms: int = 2000, prefix: tuple[str, ...] = (), **options: object) -> Outcome:
        given = {"folder": self.folder, "owner": os.getuid(), "silence": silence_ms, **options}
        words = [f"{name.replace('_', '-')}={value}" for name, value in given.items()]
        started = time.monotonic()
        done = subprocess.run(
            [*prefix, str(self.program), *words, *(calls or ("Check={}",))],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
            env={"PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "exitcode=77:allocator_may_return_null=1"},
        )  # fmt: skip
        seconds = time.monotonic() - started
        return Outcome(done.returncode, done.stdout.decode().splitlines(), seconds, done.stderr.decode())


@pytest.fixture(scope="session", params=["", SANITIZE], ids=["plain", "sanitized"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test driver, built from this tree."""
    output = tmp_path_factory.mktemp("libjitsudo")
    make = ["make", "--silent", "-C", str(LIBRARY), f"OUTPUT={output}", f"SANITIZE={request.param}", "drive"]
    subprocess.run(make, check=True)
    return output / "drive"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that only its owner can write to."""
    made = tmp_path / "run"
    made.mkdir()
    made.chmod(0o755)
    return made


@pytest.fixture
def drive(program: Path, folder: Path) -> Iterator[Driver]:
    """The driver; whatever it does, it never writes to standard error, and no sanitizer finds anything."""
    outcomes: list[Outcome] = []

    class Kept(Driver):
        def __call__(self, *calls: str, **options: Any) -> Outcome:
            outcomes.append(super().__call__(*calls, **options))
            return outcomes[-1]

    yield Kept(program, folder)
    assert [outcome.stderr for outcome in outcomes] == [""] * len(outcomes)


def outcome_of(drive: Driver, *steps: Step, **options: Any) -> Outcome:
    """What one call came to, against a daemon with that script."""
    with ScriptedDaemon(drive.folder, [in_turn(*steps)]):
        return drive(**options)


def test_an_answer_comes_back_as_it_was_sent(drive: Driver) -> None:
    """Every type, text that is not UTF-8 included."""
    sent = {**ALLOW, "n": 7, "minus": -(2**53), "no": None, "yes": True, "o": {"a": []}}
    assert outcome_of(drive, answer(sent)).reply == sent


def test_the_call_is_framed_as_the_protocol_says(drive: Driver) -> None:
    """Interface, parameters and `more`; nothing else."""
    with ScriptedDaemon(drive.folder, [answer(DENY)]) as daemon:
        drive('Check={"argv":["a\\u001b\\"\\\\é",{"base64":"/w=="}],"n":-3,"x":null,"y":false}')
    assert daemon.calls[0].method == "io.jitsudo.Decide.Check"
    assert daemon.calls[0].parameters == {"argv": ['a\x1b"\\é', {"base64": "/w=="}], "n": -3, "x": None, "y": False}


def test_descriptors_go_along(drive: Driver) -> None:
    """SCM_RIGHTS, in order."""
    with ScriptedDaemon(drive.folder, [answer(DENY)]) as daemon:
        drive('Check={"descriptors":["root","cwd"]}', send="01")
    null = os.stat("/dev/null")
    assert daemon.calls[0].inodes["root"] == (null.st_dev, null.st_ino)
    assert len(daemon.calls[0].inodes) == 2


def test_several_calls_use_one_connection(drive: Driver) -> None:
    """One connection a front end, so that the daemon sees its end."""
    with ScriptedDaemon(drive.folder, [answer(DENY), answer({}), answer(DENY)]) as daemon:
        assert drive("Check={}", "Answer={}", "Close={}").status == 0
    assert [call.connection for call in daemon.calls] == [1, 1, 1]


def test_a_reply_in_single_bytes_is_understood(drive: Driver) -> None:
    """Where a frame is cut does not matter."""
    frame = json.dumps({"parameters": ALLOW}).encode() + b"\0"
    pieces = [step for i in range(len(frame)) for step in (send(frame[i : i + 1]), pause(0.0005))]
    assert outcome_of(drive, *pieces).reply == ALLOW


def test_pending_extends_the_deadline(drive: Driver) -> None:
    """Two seconds of silence are the limit, not two seconds."""
    waits = [pause(0.8), answer({"pending": "a person"}, continues=True)] * 3
    outcome = outcome_of(drive, *waits, pause(0.3), answer(DENY))
    assert outcome.reply == DENY
    assert outcome.seconds > 2.2


def test_patience_ends_what_pending_would_extend(drive: Driver) -> None:
    """A front end that nobody can interrupt has a limit for the whole."""
    outcome = outcome_of(drive, *[pause(0.2), answer({"pending": "x"}, continues=True)] * 60, patience=700)
    assert outcome.fault[:2] == [str(SILENT), "1"]
    assert 0.6 < outcome.seconds < 6


def test_silence_is_an_outage(drive: Driver) -> None:
    """Nothing for as long as the deadline says."""
    outcome = outcome_of(drive, silence, silence_ms=500)
    assert outcome.fault == [str(SILENT), "1", "", "the daemon did not answer for 500 ms", LOOK]
    assert 0.45 < outcome.seconds < 10


def test_nobody_can_ask_for_more_than_two_seconds(drive: Driver) -> None:
    """The protocol's limit holds whatever the options say."""
    outcome = outcome_of(drive, silence, silence_ms=60_000)
    assert outcome.fault[3] == "the daemon did not answer for 2 seconds"
    assert 1.9 < outcome.seconds < 20


def test_half_a_reply_and_silence_is_an_outage(drive: Driver) -> None:
    """The deadline runs on while a frame is incomplete."""
    assert outcome_of(drive, send(b'{"parameters":{"verdict":"al'), silence_ms=400).fault[0] == str(SILENT)


def test_a_trickle_does_not_extend_the_deadline(drive: Driver) -> None:
    """Bytes are not answers: only a whole `pending` buys time."""
    outcome = outcome_of(drive, *[send(b" "), pause(0.1)] * 100, silence_ms=600)
    assert outcome.fault[0] == str(SILENT)
    assert outcome.seconds < 8


def test_a_flood_without_end_is_refused_at_the_limit(drive: Driver) -> None:
    """1 GiB is not read: 16 MiB are the most that a frame has."""
    chunk = b"a" * (1 << 20)
    outcome = outcome_of(drive, *[send(chunk)] * 1024, silence_ms=2000)
    assert outcome.fault[0] in {str(NOT_UNDERSTOOD), str(SILENT)}
    assert outcome.seconds < 20


@pytest.mark.parametrize(
    ("steps", "status"),
    [((hang_up,), DISCONNECTED), ((send(b'{"parameters":'), hang_up), DISCONNECTED), ((silence,), INTERRUPTED)],
    ids=["at once", "half way", "somebody gives up"],
)
def test_an_end_before_the_answer(drive: Driver, steps: tuple[Step, ...], status: int) -> None:
    """The connection's end, or the person's: neither is an answer."""
    options = {"give_up": 2} if status == INTERRUPTED else {}
    assert outcome_of(drive, *steps, **options).fault[0] == str(status)


@pytest.mark.parametrize("frame", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_not_understood(drive: Driver, frame: bytes) -> None:
    """An outage, with words, at once; the connection is not used again."""
    with ScriptedDaemon(drive.folder, [send(frame), answer(ALLOW)]):
        outcome = drive("Check={}", "Check={}")
    first, second = (line.split("|") for line in outcome.lines)
    assert [*first[:2], first[4]] == [str(NOT_UNDERSTOOD), "1", LOOK]
    assert first[3].startswith("the daemon's answer was not understood (")
    assert second[0] == str(DISCONNECTED)


def test_sixteen_levels_are_understood(drive: Driver) -> None:
    """The limit is the protocol's, and not one less."""
    assert outcome_of(drive, send(nested(16))).status == 0


def test_more_values_than_any_command_has_are_not_understood(drive: Driver) -> None:
    """Each takes far more memory than its bytes; the limit is exact."""
    most = 1 << 18
    for count, status in ((most, 0), (most + 1, 10 + NOT_UNDERSTOOD)):
        items = b",".join([b"{}"] * (count - 4))  # the reply, its parameters, and the two around the list
        (drive.folder / "decide").unlink(missing_ok=True)
        frame = b'{"parameters":{"a":{"b":[' + items + b"]}}}\0"
        assert outcome_of(drive, send(frame)).status == status


BAD_TEXTS = {
    "a number": 1, "null": None, "a list": ["a"], "no base64": {"base64": "a"}, "base64 with space": {"base64": "YQ= ="},
    "base64 and more": {"base64": "YQ==", "x": 1}, "an empty object": {}, "base64 without padding": {"base64": "YQ"},
    "bits left over": {"base64": "YR=="}, "padding within": {"base64": "YQ==YQ=="}, "only padding": {"base64": "===="},
    "NUL in base64": {"base64": base64.b64encode(b"a\0b").decode()}, "NUL": "a\0b", "a number as base64": {"base64": 1},
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_what_is_not_text_is_refused(drive: Driver, text: object) -> None:
    """A list of texts is one, or it is not understood."""
    assert outcome_of(drive, answer({"argv": ["fine", text]})).status == 10 + NOT_UNDERSTOOD


def test_an_empty_list_is_no_list_of_texts(drive: Driver) -> None:
    """Empty argv and environment are nothing that a daemon answers."""
    assert outcome_of(drive, answer({"argv": []})).status == 10 + NOT_UNDERSTOOD


@pytest.mark.parametrize(("code", "status"), [("no-grant", REFUSED), ("internal", FAILED)])
def test_a_refusal_is_told_in_the_daemons_words(drive: Driver, code: str, status: int) -> None:
    """A daemon that failed has not refused; the connection is of use after both."""
    refusal = {"code": code, "message": "no\x1b[2J \u202etxt\n", "hint": "jitsudo request"}
    with ScriptedDaemon(drive.folder, [answer(refusal, error="io.jitsudo.Decide.Refused"), answer(DENY)]):
        outcome = drive("Check={}", "Check={}")
    outage = "1" if status == FAILED else "0"
    assert outcome.lines[0].split("|") == [str(status), outage, code, r"no\x1b[2J \u202etxt\n", "jitsudo request"]
    assert outcome.reply == DENY


def test_long_words_are_cut_at_a_character(drive: Driver) -> None:
    """No overflow, and still UTF-8."""
    refusal = {"code": "c" * 5000, "message": "a" + "é" * 5000, "hint": "\x1b" * 5000}
    _, _, code, message, hint = outcome_of(drive, answer(refusal, error="io.jitsudo.Decide.Refused")).fault
    assert (code, message, hint) == ("c" * 63, "a" + "é" * 2047, r"\x1b" * 1023)


def test_an_answer_before_the_question_is_no_answer(drive: Driver) -> None:
    """What comes unasked is not taken for the next call's answer."""
    with ScriptedDaemon(drive.folder, [in_turn(answer(DENY), until_read, answer(ALLOW)), answer(DENY)]):
        outcome = drive("Check={}", "Check={}", wait=2000)
    assert outcome.fault[3] == "the daemon's answer was not understood (more than one reply)"


def swallow(listener: socket.socket) -> None:
    """Answer one call of any size, which ScriptedDaemon would be slow to put together."""
    connection, _ = listener.accept()
    while not connection.recv(1 << 20).endswith(b"\0"):
        pass
    connection.sendall(json.dumps({"parameters": DENY}).encode() + b"\0")
    connection.close()


def test_a_call_that_does_not_fit_is_refused(drive: Driver) -> None:
    """Not an outage: root's own environment may be at fault, and then waiting would not help."""
    room = 16 * 1024 * 1024 - len('{"method":"io.jitsudo.Decide.Check","parameters":{"pad":""},"more":true}') - 1
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drive.folder / "decide"))
        listener.listen()
        threading.Thread(target=swallow, args=(listener,), daemon=True).start()
        assert drive(pad=room, silence_ms=2000).reply == DENY
        fault = drive(pad=room + 1).fault
    assert fault == [str(TOO_LARGE), "0", "", "arguments and environment are too large", "run it with a smaller environment"]


def test_nobody_there_is_an_outage(drive: Driver) -> None:
    """No socket, or one that nobody listens on."""
    fault = drive().fault
    assert fault[:2] == [str(ABSENT), "1"]
    assert fault[3:] == [f"the daemon is not running ({drive.folder}/decide: No such file or directory)", LOOK]
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(drive.folder / "decide"))
    assert "Connection refused" in drive().fault[3]


def test_no_folder_is_an_outage(drive: Driver) -> None:
    """As before the daemon's first start."""
    drive.folder.rmdir()
    assert drive().fault[3] == f"the daemon is not running ({drive.folder}: No such file or directory)"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777], ids=oct)
def test_a_folder_that_others_can_write_to_is_refused(drive: Driver, mode: int) -> None:
    """Anybody could have put another socket there."""
    drive.folder.chmod(mode)
    fault = outcome_of(drive, answer(ALLOW)).fault
    assert fault[:4] == [str(NOT_ROOTS), "1", "", f"{drive.folder} is not a folder of root's alone"]


def test_a_planted_link_to_a_folder_is_refused(drive: Driver) -> None:
    """A link is not the folder."""
    real = drive.folder.with_name("real")
    drive.folder.rename(real)
    drive.folder.symlink_to(real)
    with ScriptedDaemon(real, [answer(ALLOW)]):
        assert drive().fault[0] == str(NOT_ROOTS)


def test_a_folder_of_somebody_else_is_refused(drive: Driver) -> None:
    """The owner is the one that was asked for."""
    with ScriptedDaemon(drive.folder, [answer(ALLOW)]):
        assert drive(owner=os.getuid() + 1).fault[0] == str(NOT_ROOTS)


@pytest.mark.parametrize("kind", ["file", "link", "pipe", "folder"])
def test_what_is_not_a_socket_is_refused(drive: Driver, kind: str) -> None:
    """Links to a real socket included."""
    place, elsewhere = drive.folder / "decide", drive.folder.with_name("elsewhere")
    elsewhere.mkdir()
    with ScriptedDaemon(elsewhere, [answer(ALLOW)]):
        {
            "file": place.touch, "folder": place.mkdir, "pipe": lambda: os.mkfifo(place),
            "link": lambda: place.symlink_to(elsewhere / "decide"),
        }[kind]()  # fmt: skip
        assert drive().fault[0] == str(NOT_ROOTS)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a socket away, or listen as somebody else")
def test_a_socket_or_listener_of_somebody_else_is_refused(drive: Driver) -> None:
    """The socket's owner by the file system, the listener's by the kernel."""
    with ScriptedDaemon(drive.folder, [answer(ALLOW)]):
        os.chown(drive.folder / "decide", 65534, 65534)
        assert "is not a socket of root's" in drive().fault[3]
    (drive.folder / "decide").unlink()
    listen = (
        "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\nos.setuid(65534)\n"
        "s.listen()\nprint(flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        ["/usr/bin/python3", "-c", listen, str(drive.folder / "decide")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert "what listens on" in drive().fault[3]
        other.communicate()


def test_a_full_backlog_is_waited_for_within_the_deadline(drive: Driver) -> None:
    """connect(2) says EAGAIN at once."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drive.folder / "decide"))
        listener.listen(0)
        waiting = []
        for _ in range(2):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            try:
                waiting[-1].connect(str(drive.folder / "decide"))
            except BlockingIOError:
                break
        outcome = drive(silence_ms=400)
        for each in waiting:
            each.close()
    assert outcome.fault[0] == str(SILENT)
    assert outcome.seconds < 10


def test_a_path_that_no_socket_can_have_is_misuse(drive: Driver) -> None:
    """Cut paths would name another socket."""
    assert drive(folder="/" + "a" * 200).fault[:2] == [str(MISUSED), "0"]
    assert drive(folder="run").fault[0] == str(MISUSED)


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "012", "02", "12"])
def test_it_works_whatever_descriptors_are_closed(drive: Driver, folder: Path, closed: str) -> None:
    """The socket is none of the standard descriptors, so that nobody's error message goes to the daemon."""
    report = folder / "report"
    with ScriptedDaemon(folder, [answer(DENY), answer(DENY)]) as daemon:
        outcome = drive("Check={}", "Check={}", close=closed, report=report)
    assert outcome.status == 0
    assert [json.loads(line) for line in report.read_text().splitlines()] == [DENY, DENY]
    assert len(daemon.calls) == 2


def test_it_works_with_thousands_of_descriptors_open(drive: Driver) -> None:
    """select(2) would write past its set."""
    opened = 'ulimit -n 4096; for ((i = 3; i < 2000; i++)); do eval "exec $i</dev/null"; done; exec "$@"'
    with ScriptedDaemon(drive.folder, [answer(DENY)]):
        assert drive(prefix=("/bin/bash", "-c", opened, "-")).reply == DENY


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_valgrind_finds_nothing(tmp_path: Path, folder: Path) -> None:
    """No leak, no descriptor left open, no use of what was not set: answer, refusal, nonsense, end."""
    subprocess.run(["make", "--silent", "-C", str(LIBRARY), f"OUTPUT={tmp_path}", "drive"], check=True)
    script = [answer(ALLOW), answer({"message": "m"}, error="io.jitsudo.Decide.Refused"), send(NONSENSE["doubled keys"])]
    valgrind = ("valgrind", "--quiet", "--error-exitcode=66", "--leak-check=full", "--show-leak-kinds=all", "--track-fds=yes")
    with ScriptedDaemon(folder, list(script)):
        outcome = Driver(tmp_path / "drive", folder)("A={}", "B={}", "C={}", "D={}", silence_ms=2000, prefix=valgrind)
    assert outcome.status == 10 + DISCONNECTED
    assert len(outcome.lines) == 4
    assert "definitely lost" not in outcome.stderr
    assert "uninitialised" not in outcome.stderr


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\"\\é😀\n", max_size=3), inner, max_size=3),
    max_leaves=8,
)
mutations = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(list(b'"{}[]:,\\u0d8-1.e\x7f\xff\x80 nt'))), max_size=3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=st.dictionaries(st.text("ab", min_size=1, max_size=3), json_values, max_size=4), changes=mutations)
def test_c_and_python_read_the_same(program: Path, value: dict[str, Any], changes: list[tuple[int, int]]) -> None:
    """What the daemon's own strict parser takes, this one takes as the same; what it refuses, this one refuses."""
    text = bytearray(json.dumps(value, ensure_ascii=False).encode())
    for place, byte in changes:
        text[place % len(text)] = byte
    try:
        expected: Any = strictjson.parse_object(bytes(text), max_bytes=1 << 20, max_depth=16)
    except InvalidValue:
        expected = None
    if b"\0" in text or "\0" in str(expected):
        return
    done = subprocess.run([str(program), "parse"], input=bytes(text), capture_output=True, timeout=60, check=False)
    assert (done.returncode == 0) == (expected is not None), done.stderr
    if expected is not None:
        assert json.loads(done.stdout) == expected
