"""The PAM module and sudo's native plugin within programs, under sanitizers and valgrind: nothing to report, whatever comes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_sudo import ScriptedDaemon, Step, answer, hang_up, send
from faults import build, furnish
from nonsense import NONSENSE

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the PAM module trusts root's folders alone")

SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=66", "--leak-check=full", "--errors-for-leak-kinds=definite"]
ENTRY = answer({"verdict": "allow", "session": None, "token": None})
SESSION = answer({"verdict": "allow", "session": "S-ABCDEFGH", "token": "t0ken"})
DENY = answer({"verdict": "deny", "code": "no-grant", "message": "no\x1b[2J", "hints": ["ask", "ask again"]})
REFUSED = answer({"code": "x", "message": "no", "hint": None}, error="io.jitsudo.Decide.Refused")
ALLOW = answer({
    "verdict": "allow", "challenge": None, "session": "S-ABCDEFGH", "token": "t0ken",
    "argv": ["/usr/bin/id", {"base64": "/w=="}],
    "command_info": [
        "command=/usr/bin/id", "umask=022", "closefrom=3", "use_pty=true", "runas_uid=0", "runas_gid=0", "runas_groups=0",
    ],
    "env": ["PATH=/usr/bin"],
})  # fmt: skip
STARTED = answer({"verdict": "allow"})
PASSWORD = answer({
    "verdict": "challenge", "challenge": {
        "service": "jitsudo-sudo", "user": "alice", "prompt": "Password of alice: ", "overrides": False, "tries": 2,
        "kind": "authenticate", "message": "prove it",
    },
})  # fmt: skip
Host = Callable[..., subprocess.CompletedProcess[bytes]]


def built(tmp_path_factory: pytest.TempPathFactory, sanitize: str) -> Path:
    """Module, plugin and hosts in one folder, all with or all without sanitizers."""
    made = tmp_path_factory.mktemp("sanitized" if sanitize else "plain")
    furnish(made)
    (made / "pam.script").write_text("authenticate 0 1 Password: \nenv PAM_SAYS=so\n")
    stack = f"{made}/pam/pam_jitsudo.so socket={made}/run/decide timeout=5"
    for service in ("su", "sshd"):
        lines = [f"{kind} required {stack}\n" for kind in ("auth", "account", "session", "password")]
        (made / "pam.d" / service).write_text("".join(lines))
    for part in ("pam", "sudo"):
        (made / part).mkdir()
    build("pam", made / "pam", f"SANITIZE={sanitize}")
    plugin = made / "sudo" / "jitsudo_native.so"
    build("sudo/conformance", made / "sudo", f"FOLDER={made}", "OWNER=0", f"SANITIZE={sanitize}", str(plugin))
    build("tests/fault", made, f"CFLAGS=-O1 -g {sanitize}", f"{made}/pam_host", f"{made}/sudo_host")
    return made


@pytest.fixture(scope="module", params=["sanitizers", "valgrind"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is, built for the tool that looks for mistakes."""
    return built(tmp_path_factory, SANITIZE if request.param == "sanitizers" else "")


@pytest.fixture
def run(place: Path) -> Iterator[Host]:
    """Run a host under the tool; whatever it does, the tool has nothing to say."""
    done: list[subprocess.CompletedProcess[bytes]] = []
    prefix = VALGRIND if place.name.startswith("plain") else []

    def run_host(program: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        environment = {
            "PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "exitcode=77", "UBSAN_OPTIONS": "exitcode=77",
            "FAKE_PAM": str(place / "pam.script"), "FAKE_PAM_LOG": str(place / "pam.log"),
        }  # fmt: skip
        command = [*prefix, str(place / program), *words]
        finished = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False
        )
        done.append(finished)
        return finished

    yield run_host
    for each in done:
        assert each.stderr == b"", each.stderr.decode(errors="replace")
        assert each.returncode in {0, 1}


def serving(place: Path, *steps: Step) -> ScriptedDaemon:
    """The daemon of one test."""
    (place / "run" / "decide").unlink(missing_ok=True)
    return ScriptedDaemon(place / "run", list(steps))


def test_the_module_admits_opens_and_closes(run: Host, place: Path) -> None:
    """Every phase, with its answers; changing passwords is not what the module does."""
    phases = ["auth", "account", "setcred", "open", "close", "chauthtok"]
    with serving(place, ENTRY, ENTRY, SESSION, answer({})):
        done = run("pam_host", f"{place}/pam.d", "su", "nobody", "works", *phases)
    assert done.stdout == b"auth 0\naccount 0\nsetcred 0\nopen 0\nclose 0\nchauthtok 20\n"


def test_the_module_refuses(run: Host, place: Path) -> None:
    """By verdict, by error, by the connection's end; with words or without anybody who could be told."""
    for conversation in ("works", "fails", "absent"):
        with serving(place, DENY, REFUSED, hang_up):
            done = run("pam_host", f"{place}/pam.d", "sshd", "nobody", conversation, "account", "open", "account", "close")
        assert done.stdout == b"account 6\nopen 14\naccount 6\nclose 14\n"


def test_the_module_refuses_nonsense(run: Host, place: Path) -> None:
    """Whatever comes, in every phase that asks."""
    with serving(place, *[send(frame) for frame in NONSENSE.values() for _ in range(2)]):
        done = run("pam_host", f"{place}/pam.d", "sshd", "nobody", "works", *["account", "open"] * len(NONSENSE))
    assert done.stdout == b"account 6\nopen 14\n" * len(NONSENSE)
    with serving(place, *[send(frame) for frame in NONSENSE.values()]):
        done = run("pam_host", f"{place}/pam.d", "su", "nobody", "works", *["auth"] * len(NONSENSE))
    assert done.stdout == b"auth 9\n" * len(NONSENSE)


def test_the_plugin_allows_and_denies(run: Host, place: Path) -> None:
    """One exact allow runs, with bytes that are not UTF-8; nothing else does."""
    with serving(place, ALLOW, STARTED, answer({})):
        assert b"argv \xff\n" in run("sudo_host", f"{place}/sudo/jitsudo_native.so", "jitsudo_native", "0", "id", "\xff").stdout
    for step in (DENY, REFUSED, hang_up):
        with serving(place, step):
            assert run("sudo_host", f"{place}/sudo/jitsudo_native.so", "jitsudo_native", "0", "id").returncode == 1


def test_the_plugin_proves_begins_and_ends(run: Host, place: Path) -> None:
    """Somebody who is not root: a password, the account, PAM's session, and what it adds; refused at each of these."""
    plugin = (f"{place}/sudo/jitsudo_native.so", "jitsudo_native", "1000", "id")
    with serving(place, PASSWORD, ALLOW, STARTED, answer({})):
        assert b"env PAM_SAYS=so\n" in run("sudo_host", *plugin).stdout
    with serving(place, PASSWORD, ALLOW, DENY):
        assert b"init 0\n" in run("sudo_host", *plugin).stdout
    before = (place / "pam.script").read_text()
    try:
        for step in ("started", "authenticate", "acct_mgmt", "open_session"):
            (place / "pam.script").write_text(f"{step} 4\n{step} 4\n")
            with serving(place, PASSWORD, ALLOW, STARTED, answer({})):
                assert run("sudo_host", *plugin).returncode == 1
    finally:
        (place / "pam.script").write_text(before)


def test_the_plugin_denies_nonsense(run: Host, place: Path) -> None:
    """Whatever comes. A few of each kind under valgrind, which is slow."""
    frames = list(NONSENSE.values())
    for frame in frames if place.name.startswith("sanitized") else frames[::8]:
        with serving(place, send(frame)):
            done = run("sudo_host", f"{place}/sudo/jitsudo_native.so", "jitsudo_native", "0", "id")
        assert (done.returncode, b"check 0\n" in done.stdout) == (1, True)
