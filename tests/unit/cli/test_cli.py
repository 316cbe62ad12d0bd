"""The command line: results on stdout, the rest on stderr, one exit status for each outcome, nothing raw on a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_daemon import FakeDaemon, ok, pending, refused
from waiting import LONG, wait_until

from jitsudo import client as client_module
from jitsudo.cli import admin, grants, render, requests
from jitsudo.cli.main import build_parser, main
from jitsudo.client import Client
from jitsudo.types import is_plain_text

SRC = Path(__file__).resolve().parents[3] / "src"
NOW = int(time.time())


def request_info(**changes: Any) -> dict[str, Any]:
    fine = {
        "id": "R-AAAAAAAA", "state": "requested", "role": "web", "person": "alice", "reason": "INC-1", "duration": 1800,
        "run_as": ["root"], "commands": ["systemctl restart nginx.service"], "services": [], "created": NOW,
        "activate_by": NOW + 600, "approvals": [], "approvals_needed": 1, "uses": None, "guardrails": [], "outcome": None,
        "grant": None, "mine": True, "may_approve": False,
    }  # fmt: skip
    return {**fine, **changes}


def grant_info(**changes: Any) -> dict[str, Any]:
    fine = {
        "id": "G-AAAAAAAA", "state": "active", "role": "web", "person": "alice", "reason": "INC-1", "run_as": ["root"],
        "not_before": NOW, "not_after": NOW + 1800, "uses_left": None, "standing": False, "approvers": ["bob"],
        "sessions": [
            {"id": "S-AAAAAAAA", "person": "alice", "run_as": "root", "command": "tail -f", "started": NOW, "ends": None},
        ],
    }  # fmt: skip
    return {**fine, **changes}


def role_info(**changes: Any) -> dict[str, Any]:
    fine = {
        "name": "web", "description": "Keep the web tier running", "standing": False, "default_duration": 1800,
        "max_duration": 7200, "approvals": 1, "run_as": ["root"], "commands": ["nginx -t"], "not_now": None,
    }  # fmt: skip
    return {**fine, **changes}


STATUS = ok(grants=[grant_info()], requests=[request_info()], problems=["policy: broken"])
# Each command with what the daemon answers to it.
COMMANDS: dict[str, tuple[list[str], list[Any]]] = {
    "request": (["request", "web", "--for", "30m", "--reason", "INC-1"], [ok(request=request_info())]),
    "again": (["again"], [ok(requests=[request_info()]), ok(request=request_info())]),
    "requests": (["requests", "--all"], [ok(requests=[request_info(), request_info(may_approve=True)])]),
    "approve": (["approve", "R-AAAAAAAA", "-S"],
                [ok(requests=[request_info()]), ok(request=request_info(state="active", grant="G-A"))]),
    "deny": (["deny", "R-AAAAAAAA", "--reason", "no"], [ok(request=request_info(state="denied", outcome="denied by bob: no"))]),
    "cancel": (["cancel", "R-AAAAAAAA"], [ok(request=request_info(state="cancelled", outcome="cancelled by alice"))]),
    "status": (["status"], [STATUS]),
    "status --short": (["status", "--short"], [STATUS]),
    "return": (["return"], [ok(grants=[grant_info(state="returned")])]),
    "revoke": (["revoke", "G-AAAAAAAA", "--reason", "done"], [ok(grant=grant_info(state="revoked"))]),
    "roles": (["roles"], [ok(roles=[role_info(), role_info(name="mon", standing=True, approvals=None, max_duration=None,
                                                          default_duration=None), role_info(not_now="not at this hour")])]),
    "explain": (["explain", "--", "id"], [ok(verdict="allow", text="line 1\nline 2")]),
    "policy reload": (["policy", "reload"], [ok(policy="sha256:x", roles=3)]),
    "clock accept": (["clock", "accept"], [ok(time=NOW)]),
}  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, FakeDaemon]]:
    """Run one command against a daemon that answers as told."""

    def run_one(arguments: list[str], *replies: Any) -> tuple[int, FakeDaemon]:
        with FakeDaemon(*replies) as daemon:
            for module in (admin, grants, requests):
                monkeypatch.setattr(module, "Client", lambda: Client(daemon.path))
            return main(arguments), daemon

    return run_one


def as_json(arguments: list[str]) -> list[str]:
    """--json goes before a command that follows."""
    return [arguments[0], "--json", *arguments[1:]] if arguments[0] == "explain" else [*arguments, "--json"]


def without_showing(name: str, replies: list[Any]) -> list[Any]:
    return replies[1:] if name == "approve" else replies  # with --json, the terms are not shown first


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_people(name: str, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Something on standard output, status 0."""
    arguments, replies = COMMANDS[name]
    status, _ = run(arguments, *replies)
    assert status == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_programs(name: str, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object with a version, and nothing else on standard output."""
    arguments, replies = COMMANDS[name]
    status, _ = run(as_json(arguments), *without_showing(name, replies))
    assert status == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1


def test_every_command_is_tested_here() -> None:
    """A new one has to be added above."""
    found = set()
    for action in build_parser()._subparsers._group_actions:  # type: ignore[union-attr]
        for name, command in action.choices.items():  # type: ignore[union-attr]
            inner = command._subparsers
            found |= {f"{name} {verb}" for verb in inner._group_actions[0].choices} if inner else {name}
    offline = {f"policy {verb}" for verb in ("check", "test", "explain", "edit", "schema", "fmt")}
    found.discard("doctor")  # tests/unit/doctor
    found = {name for name in found if not name.startswith("setup ")}  # tests/unit/setup
    assert found <= set(COMMANDS) | offline  # those that ask no daemon: test_policy_commands.py


ERRORS = {
    ("failed", 1), ("invalid-value", 2), ("not-found", 2), ("ambiguous", 2), ("denied", 3), ("authentication-failed", 3),
    ("wrong-state", 1), ("too-many", 1), ("timed-out", 4), ("unreachable", 5), ("policy-invalid", 6), ("internal", 1),
    ("of another version", 1),
}  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), sorted(ERRORS))
def test_a_refusal_has_its_status_sentence_and_hint(
    code: str, expected: int, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error for people, in the answer for programs."""
    reply = refused(code, "it was not to be", "try this", issues=["a.yaml:1:2: x"])
    status, _ = run(["status"], reply)
    out, err = capsys.readouterr()
    assert (status, out) == (expected, "")
    assert "it was not to be" in err
    assert "try this" in err
    status, _ = run(["status", "--json"], reply)
    shown = json.loads(capsys.readouterr().out)
    assert (status, shown["version"]) == (expected, 1)
    assert shown["error"]["message"] == "it was not to be"
    assert shown["error"]["hint"] == "try this"


def test_every_issue_of_a_refused_policy_is_printed(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 6."""
    reply = refused("policy-invalid", "refused", None, issues=["a.yaml:1:2: x", "b.yaml:3:4: y"])
    assert run(["policy", "reload"], reply)[0] == 6
    assert [line.strip() for line in capsys.readouterr().err.splitlines()[1:]] == ["a.yaml:1:2: x", "b.yaml:3:4: y"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_daemon_that_is_absent_is_status_5(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For every command, in both forms."""
    for module in (admin, grants, requests):
        monkeypatch.setattr(module, "Client", lambda: Client("/nonexistent/control"))
    assert main(COMMANDS[name][0]) == 5
    assert "not set up here" in capsys.readouterr().err
    assert main(as_json(COMMANDS[name][0])) == 5
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "unreachable"


NONSENSE: list[dict[str, Any]] = [
    ok(),
    ok(request=None, requests=None, grants=None, grant=None, roles=None, problems=None),
    ok(request=1, requests=1, grants=1, grant=1, roles=1, problems=1, time="x", policy=1, text=1, verdict=1),
    ok(request=[], requests=[1], grants=[[]], grant=[], roles=["x"], problems=[1], time=True, policy=[], text={}),
    ok(request={}, requests=[{}], grants=[{}], grant={"id": 1}, roles=[{}], problems=[{}], time=None, policy={}, text="a\0"),
]


@pytest.mark.parametrize("reply", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("name", COMMANDS)
def test_an_answer_of_another_shape_is_an_error_never_a_traceback(
    name: str, reply: dict[str, Any], run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never a success that was not one, nor blamed on the one who called."""
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 0.2)
    status, _ = run(COMMANDS[name][0], reply, reply)
    err = capsys.readouterr().err
    assert status not in (0, 2) or name in {"status --short", "again"} or reply is NONSENSE[-1], err
    assert "Traceback" not in err
    assert "internal error" not in err


HOSTILE = "a\x1b[2J\x1b]0;owned\x07b\rc\nd\x9b31me\u202ef"


def hostile(value: Any) -> Any:
    """Every text of an answer made hostile."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) and value not in {"active", "requested", "allow"} else value


@pytest.mark.parametrize("name", COMMANDS)
def test_control_characters_never_reach_the_terminal(name: str, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Roles, reasons, names, commands: other people wrote them (CVE-2023-28486)."""
    arguments, replies = COMMANDS[name]
    run(arguments, *hostile(replies))
    run(as_json(arguments), *hostile(without_showing(name, replies)))
    out, err = capsys.readouterr()
    assert all(is_plain_text(line) for line in f"{out}{err}".split("\n"))


def test_control_characters_of_an_error_never_reach_the_terminal(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Sentence, hint and issues."""
    run(["status"], refused("denied", HOSTILE, HOSTILE, issues=[HOSTILE]))
    with pytest.raises(SystemExit):
        main([HOSTILE])
    assert all(is_plain_text(line) for line in "".join(capsys.readouterr()).split("\n"))


USAGE = [[], ["nothing"], ["request"], ["request", "web", "--for", "-1m"], ["request", "web", "--for", "0s"],
         ["request", "web", "--uses", "x"], ["request", "web", "--for", "401d"], ["deny", "R-1"], ["revoke", "G-1"], ["policy"],
         ["return", "G-1", "--all"], ["status", "extra"], ["request", "web", "--timeout", "\x1b[2J"]]  # fmt: skip


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_a_wrong_command_line_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence on standard error, and nothing that steers the terminal."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert all(is_plain_text(line) for line in err.split("\n"))


def test_waiting_ends_with_the_decision(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when it was granted, 3 when it was denied, 4 when it lapsed."""
    asked = ok(request=request_info())
    for state, grant, expected in (("active", "G-A", 0), ("denied", None, 3), ("timed-out", None, 4), ("cancelled", None, 3)):
        decided = [pending("x"), ok(request=request_info(state=state, grant=grant, outcome="so it is"))]
        status, daemon = run(["request", "web", "--wait"], asked, decided)
        assert (status, daemon.methods) == (expected, ["Request", "Await"])
        capsys.readouterr()


@pytest.mark.parametrize(
    ("commands", "services", "told"),
    [
        (["nginx -t"], [], "use sudo as always"),
        (["nginx -t", "access through su"], ["su"], "use sudo as always"),
        (["access through login, sshd"], ["login", "sshd"], "you may come in through login, sshd now"),
    ],
)
def test_who_was_granted_a_role_is_told_what_to_do_with_it(
    run: Any, capsys: pytest.CaptureFixture[str], commands: list[str], services: list[str], told: str
) -> None:
    """sudo only where there is a command to run by it."""
    granted = ok(request=request_info(state="active", grant="G-A", commands=commands, services=services))
    assert run(["request", "web"], granted)[0] == 0
    assert told in capsys.readouterr().err


def test_waiting_ends_at_the_time_given(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """4, and the request stays."""
    slow = [pending("x"), lambda _call: time.sleep(1) or pending("x"), pending("x"), pending("x")]
    assert run(["request", "web", "--wait", "--timeout", "1s"], ok(request=request_info()), slow)[0] == 4
    assert "not decided within 1s" in capsys.readouterr().err


def test_again_repeats_the_last_of_my_requests(run: Any) -> None:
    """Its role, duration and reason; not somebody else's."""
    listed = ok(requests=[
        request_info(role="old", created=NOW - 100), request_info(role="last", created=NOW - 50, reason="R", duration=60),
        request_info(role="theirs", created=NOW, mine=False),
    ])  # fmt: skip
    _, daemon = run(["again"], listed, ok(request=request_info()))
    assert daemon.parameters[1] == {"role": "last", "duration": 60, "reason": "R"}


def test_again_without_a_request_is_status_2(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to repeat."""
    assert run(["again"], ok(requests=[]))[0] == 2
    assert "not asked for anything yet" in capsys.readouterr().err


def test_a_password_is_read_from_standard_input_and_not_shown(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for each prompt that asks; what only informs is shown."""
    read, write = os.pipe()
    os.write(write, b"hunter2\nfoo\n")
    os.close(write)
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))
    prompts = [
        {"style": "info", "text": "Hi\x1b[2J"},
        {"style": "secret", "text": "Password: "},
        {"style": "visible", "text": "OTP"},
    ]
    status, daemon = run(
        ["approve", "r-aaaa", "-S"], ok(requests=[request_info()]), ok(prompts=prompts), ok(request=request_info())
    )
    assert status == 0
    assert daemon.parameters[2] == {"answers": ["hunter2", "foo"]}
    out, err = capsys.readouterr()
    assert "hunter2" not in out + err
    assert "\x1b" not in out + err
    assert "alice asks for role web" in out


def test_standard_input_that_ends_before_the_password_is_no_password(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty answer is never sent for it."""
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    replies = [ok(requests=[]), ok(prompts=[{"style": "secret", "text": "Password: "}])]
    status, daemon = run(["approve", "R-1", "-S"], *replies)
    assert (status, daemon.methods) == (3, ["Requests", "Approve"])
    assert "ended before the password" in capsys.readouterr().err


def test_an_explanation_that_is_no_allow_is_status_3(run: Any) -> None:
    """Only the one word is an allow."""
    for verdict in ("deny", "challenge", "ALLOW", "", None, True):
        assert run(["explain", "--", "id"], ok(verdict=verdict, text="x"))[0] == 3


def test_arguments_that_are_not_utf8_are_sent_as_they_are(run: Any) -> None:
    """Whether they are welcome is the daemon's to say."""
    _, daemon = run(["explain", "--", "cat", "\udcff"], ok(verdict="allow", text="x"))
    assert daemon.parameters[0]["argv"] == ["cat", {"base64": "/w=="}]
    assert run(["cancel", "\udcff"], refused("not-found", "x"))[0] == 2



MAIN = """import sys
from jitsudo import client
client.Client.__init__.__defaults__ = (sys.argv[1], *client.Client.__init__.__defaults__[1:])
from jitsudo.cli.main import main
"""


def start(daemon: FakeDaemon, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(SRC), **options.pop("env", {})}
    code = MAIN + "sys.exit(main(sys.argv[2:]))"
    # What starts in the background of a script has SIGINT ignored, and passes that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen([sys.executable, "-c", code, daemon.path, *arguments], env=environment, **options)
    finally:
        signal.signal(signal.SIGINT, before)


def test_interrupted_is_status_130_without_a_word() -> None:
    """^C while it waits."""
    with FakeDaemon(ok(request=request_info()), [pending("x")] + [lambda _c: time.sleep(0.5) or pending("x")] * 20) as daemon:
        child = start(daemon, ["request", "web", "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: daemon.methods[-1:] == ["Await"])
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=LONG)
    assert child.returncode == 130
    assert b"Traceback" not in err


@pytest.mark.parametrize("reply", [STATUS, ok(grants=[grant_info()] * 2000, requests=[], problems=[]), refused("denied", "no")])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_has_gone_is_no_traceback(reply: dict[str, Any], form: list[str]) -> None:
    """`jitsudo status | head -0`."""
    with FakeDaemon(lambda _c: time.sleep(0.2) or reply) as daemon:
        read, write = os.pipe()
        child = start(daemon, ["status", *form], stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        os.close(read)
        _, err = child.communicate(timeout=LONG)
    assert b"Traceback" not in err
    assert b"Exception" not in err
    assert child.returncode in ({141, 3} if "error" in reply else {141})


def test_a_terminal_without_unicode_gets_an_answer_all_the_same() -> None:
    """LC_ALL of another century."""
    with FakeDaemon(ok(requests=[request_info(reason="Größe", may_approve=True)])) as daemon:
        child = start(daemon, ["requests"], stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
        out, _ = child.communicate(timeout=LONG)
    assert child.returncode == 0
    assert b"Gr\\xf6\\xdfe" in out


def test_a_table_is_aligned_and_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """The widths are those of what is shown."""
    render.table(("A", "B"), [("x\x1b", "1"), ("yyyyyyyy", "2")])
    assert capsys.readouterr().out == "A         B\nx\\x1b     1\nyyyyyyyy  2\n"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0s"), (0, "0s"), (59, "59s"), (3599, "59m59s"), (3661, "1h1m"), (90_061, "1d1h")]
)
def test_a_duration_has_two_units_for_people(seconds: int, shown: str) -> None:
    """Nobody reads seconds of a day."""
    assert render.duration(seconds) == shown


def test_an_approver_sees_uses_and_guardrails(
    run: Callable[..., tuple[int, FakeDaemon]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is signed includes how often, and within which guardrails."""
    info = request_info(uses=3, guardrails=["confirm-stop (confirm): This takes a service down.", "no-wipe (deny)"])
    run(["status"], ok(grants=[], requests=[info], problems=[]))
    out = capsys.readouterr().out
    assert "3 commands, no more" in out
    assert "confirm-stop (confirm): This takes a service down." in out
    assert "no-wipe (deny)" in out


def test_a_prompt_shows_no_grant_that_was_refused(
    run: Callable[..., tuple[int, FakeDaemon]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused grant lets nobody run anything, whatever time it has left."""
    grants = [grant_info(state="refused: the role was changed"), grant_info(role="db")]
    run(["status", "--short"], ok(grants=grants, requests=[], problems=[]))
    out = capsys.readouterr().out
    assert out.startswith("db ")
    assert "web" not in out
