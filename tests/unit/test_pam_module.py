"""pam_jitsudo.so in a program that uses PAM: every function's return code, against daemons of every kind, under sanitizers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_sudo import ScriptedDaemon, Step, answer, hang_up, in_turn, pause, send, silence
from nonsense import NONSENSE

from jitsudo.policy.admission import ALIASES, CALLED

MODULE = Path(__file__).parents[2] / "pam"
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
SUCCESS, PERM_DENIED, AUTH_ERR, AUTHINFO_UNAVAIL, SESSION_ERR, CRED_ERR, AUTHTOK_ERR = 0, 6, 7, 9, 14, 17, 20
ALLOW = {"verdict": "allow", "session": None, "token": None}
SESSION = {"verdict": "allow", "session": "S-AAAAAAAA", "token": "f" * 32}
DENY = {"verdict": "deny", "code": "no-grant", "message": "daemon holds no\x1b grant", "hints": ["jitsudo request web", "\x07"]}
ALICE = 1  # daemon, which every Debian has
REFUSALS = {
    "account": PERM_DENIED,
    "silent": PERM_DENIED,
    "authenticate": AUTH_ERR,
    "open": SESSION_ERR,
    "close": SESSION_ERR,
    "change": AUTHTOK_ERR,
}

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="PAM applications are root's"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="there is no compiler"),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    codes: list[tuple[str, int]]
    said: list[str]
    seconds: float


@dataclass
class Application:
    """A program with a stack of the module alone, in a folder with a socket beside it."""

    built: Path
    folder: Path

    def __call__(
        self,
        *functions: str,
        user: str = "root",
        ruser: str = "daemon",
        conversation: str = "answer",
        real: int = ALICE,
        service: str = "su",
        arguments: str | None = None,
    ) -> Outcome:
        given = f"socket={self.folder}/decide" if arguments is None else arguments
        lines = [f"{kind} required {self.built}/pam_jitsudo.so {given}" for kind in ("auth", "account", "session", "password")]
        (self.folder / service).write_text("\n".join(lines) + "\n")
        started = time.monotonic()
        done = subprocess.run(
            [self.built / "host", self.folder, service, user, ruser, conversation, str(real), *functions],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
            env={"PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "exitcode=77"},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        lines = done.stdout.decode().splitlines()
        codes = [line.rpartition(" ") for line in lines if not line.startswith("said ")]
        return Outcome(
            [(name, int(code)) for name, _, code in codes],
            [line.removeprefix("said ") for line in lines if line.startswith("said ")],
            time.monotonic() - started,
        )

    def against(self, *script: Step, functions: tuple[str, ...] = ("account",), **options: object) -> Outcome:
        with ScriptedDaemon(self.folder, [*script]):
            outcome = self(*functions, **options)  # type: ignore[arg-type]
        (self.folder / "decide").unlink()
        return outcome


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("pam")
    for target in ("pam_jitsudo.so", "host"):
        made = subprocess.run(
            ["make", "-s", "-C", MODULE, f"OUTPUT={output}", f"SANITIZE={SANITIZE}", output / target],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "json-c/json.h" in made.stderr or "pam_modules.h" in made.stderr:
            pytest.skip("the headers of PAM or json-c are not there")
        assert made.returncode == 0, made.stderr
    return output


@pytest.fixture
def use(built: Path) -> Iterator[Application]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Application(built, Path(name))


def test_one_exact_allow_lets_in(use: Application) -> None:
    """And is asked for with what PAM has, one connection a question."""
    with ScriptedDaemon(use.folder, [answer(ALLOW), answer(ALLOW), answer(SESSION), answer({})]) as daemon:
        outcome = use("account", "authenticate", "open", "close")
    assert outcome.codes == [("account", 0), ("authenticate", 0), ("open", 0), ("close", 0)]
    assert [call.method.rpartition(".")[2] for call in daemon.calls] == ["Admit", "Admit", "Admit", "Close"]
    items = {"service": "su", "user": "root", "ruser": "daemon", "rhost": None, "tty": None}
    phases = ["account", "authenticate", "session"]
    assert [{**call.parameters, "descriptors": []} for call in daemon.calls[:3]] == [
        {"phase": phase, "descriptors": [], **items} for phase in phases
    ]
    told = {"session": "S-AAAAAAAA", "token": "f" * 32, "wait_status": 0, "errno": 0}
    assert daemon.calls[3].parameters == told
    assert [call.connection for call in daemon.calls] == [1, 2, 3, 4]
    assert outcome.said == []


def test_a_refusal_is_told_with_the_way_out_and_steers_no_terminal(use: Application) -> None:
    """Not in silence, not where the stack says quiet, and never while a proof is only looked for."""
    outcome = use.against(answer(DENY), answer(DENY), answer(DENY), functions=("account", "open", "authenticate"))
    assert outcome.codes == [("account", PERM_DENIED), ("open", SESSION_ERR), ("authenticate", AUTH_ERR)]
    once = ["jitsudo: daemon holds no\\x1b grant", "  jitsudo request web", "  \\x07"]
    assert outcome.said == once * 2
    assert use.against(answer(DENY), functions=("silent",)).said == []
    assert use.against(answer(DENY), arguments=f"quiet socket={use.folder}/decide").said == []


NO_ALLOW = {
    "more than an allow": {**ALLOW, "code": None},
    "an allow in capitals": {**ALLOW, "verdict": "ALLOW"},
    "an allow that is true": {**ALLOW, "verdict": True},
    "nothing": {},
    "a challenge": {"verdict": "challenge", "challenge": {}},
    "a session where none was asked for": SESSION,
    "a token alone": {**ALLOW, "token": "f" * 32},
}


@pytest.mark.parametrize("reply", NO_ALLOW.values(), ids=NO_ALLOW)
def test_what_is_not_one_exact_allow_lets_nobody_in(use: Application, reply: dict[str, object]) -> None:
    """Not even root: an answer is no outage."""
    assert use.against(answer(reply)).codes == [("account", PERM_DENIED)]
    assert use.against(answer(reply), ruser="-", real=0).codes == [("account", PERM_DENIED)]


NO_SESSION = {
    "none": ALLOW,
    "one without a token": {**SESSION, "token": None},
    "one that is empty": {**SESSION, "session": ""},
    "one that is a number": {**SESSION, "session": 7},
    "one and more": {**SESSION, "env": []},
}


@pytest.mark.parametrize("reply", NO_SESSION.values(), ids=NO_SESSION)
def test_nobody_goes_without_a_session(use: Application, reply: dict[str, object]) -> None:
    """But root."""
    assert use.against(answer(reply), functions=("open",)).codes == [("open", SESSION_ERR)]


def test_root_has_no_session_to_close(use: Application) -> None:
    """And closes it with success, without a question; what was not opened cannot be closed, or twice."""
    outcome = use.against(answer(ALLOW), functions=("open", "close", "close"), ruser="-", real=0)
    assert outcome.codes == [("open", SUCCESS), ("close", SUCCESS), ("close", SESSION_ERR)]
    twice = use.against(answer(SESSION), answer(SESSION), functions=("open", "open"))
    assert twice.codes == [("open", SUCCESS), ("open", SESSION_ERR)]
    left = use.against(answer(SESSION), hang_up, functions=("open", "close", "close"))
    assert left.codes == [("open", SUCCESS), ("close", SESSION_ERR), ("close", SESSION_ERR)]


OUTAGES: dict[str, tuple[Step, ...]] = {
    "it hangs up": (hang_up,),
    "it answers half": (in_turn(send(b'{"parameters":{"verdict":"allow"'), hang_up),),
    "it says nothing": (silence,),
    "it sends byte after byte, and never ends": (in_turn(*(in_turn(send(b"{"), pause(0.5)) for _ in range(8))),),
    "it failed": (send(b'{"error":"io.jitsudo.Decide.Refused","parameters":{"code":"internal","message":"x","hint":null}}\0'),),
}


@pytest.mark.parametrize("script", OUTAGES.values(), ids=OUTAGES)
def test_without_a_sensible_answer_only_root_comes_in(use: Application, script: tuple[Step, ...]) -> None:
    """Within the deadline, and told why; nobody is authenticated, root neither."""
    outcome = use.against(*script, *script, functions=("account", "authenticate"))
    assert outcome.codes == [("account", PERM_DENIED), ("authenticate", AUTHINFO_UNAVAIL)]
    assert outcome.said
    assert outcome.seconds < 30
    root = use.against(*script, *script, functions=("account", "authenticate"), ruser="-", real=0)
    assert root.codes == [("account", SUCCESS), ("authenticate", AUTHINFO_UNAVAIL)]


@pytest.mark.parametrize("frame", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_lets_nobody_in(use: Application, frame: bytes) -> None:
    """Whatever it is."""
    assert use.against(send(frame)).codes == [("account", PERM_DENIED)]


def test_a_whole_answer_in_single_bytes_is_one(use: Application) -> None:
    """Where a frame is cut does not matter."""
    frame = b'{"parameters":{"verdict":"allow","session":null,"token":null}}\0'
    assert use.against(send(*(bytes([byte]) for byte in frame))).codes == [("account", SUCCESS)]


def test_root_is_who_is_root_altogether(use: Application) -> None:
    """Without a daemon: by the real uid, and by PAM's word; at a login by the account."""
    codes = {
        ("su", "-", 0): SUCCESS,
        ("su", "root", 0): SUCCESS,
        ("su", "daemon", 0): PERM_DENIED,  # a program that made itself root before it came here
        ("su", "no-such-user", 0): PERM_DENIED,
        ("su", "root", ALICE): PERM_DENIED,
        ("sshd", "-", 0): SUCCESS,
        ("sshd", "-", ALICE): PERM_DENIED,
    }
    for (service, ruser, real), code in codes.items():
        assert use("account", service=service, ruser=ruser, real=real).codes == [("account", code)], (service, ruser, real)
    assert use("account", service="sshd", user="daemon", ruser="-", real=0).codes == [("account", PERM_DENIED)]
    assert use("open", "close", service="sshd", ruser="-", real=0).codes == [("open", SUCCESS), ("close", SUCCESS)]


def test_module_and_daemon_agree_on_who_is_called_and_who_lets_in() -> None:
    """Otherwise one would ask for the caller where the other looks at whoever is let in."""
    (names,) = re.findall(r"called\[\] = \{([^}]*)\}", (MODULE / "pam_jitsudo.c").read_text())
    assert set(re.findall(r'"([^"]*)"', names)) == CALLED | set(ALIASES)


def test_a_login_is_never_authenticated(use: Application) -> None:
    """Nobody is asked."""
    for service in ("sshd", "login", "cron"):
        with ScriptedDaemon(use.folder, [answer(ALLOW)]) as daemon:
            assert use("authenticate", service=service, real=0).codes == [("authenticate", AUTH_ERR)]
        (use.folder / "decide").unlink()
        assert daemon.calls == []


def test_a_conversation_that_fails_or_is_absent_changes_no_code(use: Application) -> None:
    """What cannot be said is left out."""
    for conversation in ("fail", "absent"):
        assert use.against(answer(DENY), conversation=conversation).codes == [("account", PERM_DENIED)]
        assert use.against(answer(ALLOW), conversation=conversation).codes == [("account", SUCCESS)]


def test_credentials_are_neither_set_nor_refused(use: Application) -> None:
    """Flags that make no sense are."""
    outcome = use("establish", "refresh", "delete", "neither")
    assert outcome.codes == [("establish", SUCCESS), ("refresh", SUCCESS), ("delete", SUCCESS), ("neither", CRED_ERR)]


BAD_ARGUMENTS = ["unknown", "socket=relative", "socket=/a//b", "socket=", "timeout=0", "timeout=61", "timeout=5 timeout=5"]


@pytest.mark.parametrize("argument", BAD_ARGUMENTS)
def test_an_argument_that_is_not_understood_lets_nobody_in(use: Application, argument: str) -> None:
    """Root neither: what it was meant to say is not known."""
    for real in (0, ALICE):
        outcome = use(*REFUSALS, "establish", ruser="-", real=real, arguments=argument)
        assert outcome.codes == [*REFUSALS.items(), ("establish", CRED_ERR)]


def test_users_of_no_byte_and_of_many(use: Application) -> None:
    """The first lets nobody in; the second is asked about as it is."""
    for user in ("", "-"):
        assert use.against(answer(ALLOW), user=user).codes == [("account", PERM_DENIED)]
    with ScriptedDaemon(use.folder, [answer(DENY)]) as daemon:
        assert use("account", user="x" * 4096).codes == [("account", PERM_DENIED)]
    assert daemon.calls[0].parameters["user"] == "x" * 4096


def test_what_is_not_roots_is_not_asked(use: Application) -> None:
    """A folder that others can write, a socket of somebody else's."""
    use.folder.chmod(0o777)
    assert use.against(answer(ALLOW)).codes == [("account", PERM_DENIED)]
    use.folder.chmod(0o755)
    with ScriptedDaemon(use.folder, [answer(ALLOW)]):
        os.chown(use.folder / "decide", ALICE, ALICE)
        assert use("account").codes == [("account", PERM_DENIED)]


def test_what_is_awaited_is_said_once(use: Application) -> None:
    """While the daemon says that it is at work there is no silence; timeout= ends even that."""
    waiting = send(b'{"parameters":{"pending":"a directory is asked"},"continues":true}\0')
    outcome = use.against(in_turn(waiting, pause(0.5), waiting, pause(0.5), answer(ALLOW)))
    assert (outcome.codes, outcome.said) == ([("account", SUCCESS)], ["jitsudo: a directory is asked"])
    steps = [in_turn(waiting, pause(0.4)) for _ in range(30)]
    late = use.against(in_turn(*steps, answer(ALLOW)), arguments=f"timeout=1 socket={use.folder}/decide")
    assert late.codes == [("account", PERM_DENIED)]
    assert late.seconds < 10
