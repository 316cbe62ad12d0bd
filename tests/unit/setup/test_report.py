"""What a report makes of what was observed: what breaks, what helps, and a policy that is enough for it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.cli import observing, setup
from jitsudo.daemon.supposing import suppose
from jitsudo.errors import InvalidValue, ProtocolViolation
from jitsudo.host.grammarfiles import load_grammars
from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.offline.world import PresumedWorld
from jitsudo.policy.verdict import Action, Host, Source
from jitsudo.setup.report import Effect, Entry, Report, breaking, parse_report
from jitsudo.setup.suggesting import MAX_RULES, suggest_policy
from jitsudo.types import AbsPath, Moment, Person, Uid, UserName

NOW = datetime.now(UTC)
GRAMMARS, _ = load_grammars([Path(__file__).resolve().parents[3] / "policies" / "grammars"], check_owner=False)


def info(**changes: Any) -> dict[str, Any]:
    """One thing as the daemon tells it."""
    return {
        "person": "alice", "uid": 1000, "caller": "person", "unit": None, "parents": ["bash"], "mode": "command",
        "run_as": "root", "path": "/usr/bin/systemctl", "argv": ["systemctl", "restart", "nginx"], "literal": True,
        "outcome": "accepted", "reason": None, "would": "not-covered", "role": None, "guardrail": None, "asks": [],
        "variables": [], "why": "no role has a rule", "times": 3, "first": 1_700_000_000, "last": 1_700_003_600, **changes,
    }  # fmt: skip


def entry(**changes: Any) -> Entry:
    return Entry.read(info(**changes))


@pytest.mark.parametrize(
    ("changes", "effect", "helps"),
    [
        ({}, Effect.BREAKS, "a rule, as below"),
        ({"would": "root"}, Effect.SAME, None),
        ({"would": "standing"}, Effect.SAME, None),
        ({"would": "request", "role": "web"}, Effect.ASKS, "jitsudo request web"),
        ({"would": "request", "role": "web", "asks": ["password"]}, Effect.ASKS, "jitsudo request web; asks for: password"),
        ({"would": "standing", "asks": ["confirm"]}, Effect.ASKS, "asks for: confirm"),
        ({"would": "request", "role": "web", "caller": "login"}, Effect.ASKS, "jitsudo request web"),
        ({"would": "request", "role": "web", "caller": "ansible"}, Effect.ASKS, "jitsudo request web, before the play"),
        ({"would": "request", "role": "web", "caller": "login", "asks": ["password"]}, Effect.BREAKS,
         "role web covers it, but nobody is there to be asked: authenticate: never"),
        ({"would": "request", "role": "web", "caller": "cron", "asks": ["agent"]}, Effect.BREAKS,
         "role web covers it, but nobody is there to be asked: a standing role (request: none), authenticate: never"),
        ({"would": "standing", "role": "web", "caller": "unit", "asks": ["confirm"], "guardrail": "sure"}, Effect.BREAKS,
         "role web covers it, but nobody is there to be asked: no `then: confirm` in guardrail sure"),
        ({"would": "standing", "caller": "unit"}, Effect.SAME, None),
        ({"would": "deny", "guardrail": "no-power"}, Effect.BREAKS,
         "guardrail no-power forbids it: change the guardrail, or the job"),
        ({"would": "refused"}, Effect.BREAKS, "jitsudo does not do this at all: another way has to be found"),
        ({"would": "no-policy"}, Effect.BREAKS, "a rule, as below"),
        ({"literal": False}, Effect.BREAKS, "a rule of your own: its arguments are not on record as they were"),
        ({"mode": "shell", "caller": "cron"}, Effect.BREAKS, "name the commands: who may do this with nobody there is root"),
        ({"outcome": "rejected"}, Effect.REFUSED, None),
        ({"outcome": "error", "would": "standing"}, Effect.REFUSED, None),
    ],
)  # fmt: skip
def test_what_becomes_of_it_and_what_helps(changes: dict[str, Any], effect: Effect, helps: str | None) -> None:
    """Whoever sits at a terminal can ask and be asked; a job can do neither; what sudo refuses cannot break."""
    found = entry(**changes)
    assert (found.effect, found.helps) == (effect, helps)
    assert breaking([found]) == ((found,) if effect is Effect.BREAKS else ())


def test_lines_are_as_one_would_type_them() -> None:
    """Quoted for a shell, with sudo's own option for shells and edits; nothing steers a terminal."""
    assert entry(argv=["systemctl", "a b"]).line == "/usr/bin/systemctl 'a b'"
    assert entry(mode="login-shell", argv=["bash", "-c", "echo hi"]).line == "sudo -i echo hi"
    assert entry(mode="shell", argv=["bash"]).line == "sudo -s"
    assert entry(mode="edit", path=None, argv=["sudoedit", "/etc/hosts"]).line == "sudoedit /etc/hosts"
    assert "\x1b" not in entry(argv=["x", "\x1b[2J"]).line
    assert entry(caller="unit", unit="backup.service").who == "in backup.service"


def test_a_reply_that_is_none_is_not_believed() -> None:
    """Wrong types, missing and unknown fields."""
    assert parse_report({"observed": [info()], "left_out": 2}).left_out == 2
    with pytest.raises(ProtocolViolation):
        parse_report({"observed": None, "left_out": 0})
    for wrong in (info(times="x"), info(more=1), {k: v for k, v in info().items() if k != "why"}):
        with pytest.raises(InvalidValue):
            parse_report({"observed": [wrong], "left_out": 0})


def would(policy_text: str, one: Entry) -> tuple[str, tuple[str, ...]]:
    """What a policy says of it."""
    policy = load_policy_bytes({"observed.yaml": policy_text.encode()}, grammars=GRAMMARS).policy
    is_shell = one.mode in ("shell", "login-shell")
    action = Action(
        person=Person(Uid(one.uid), UserName(one.person), Uid(one.uid)),
        run_as=UserName(one.run_as),
        run_as_group=None,
        mode=one.mode,  # type: ignore[arg-type]
        path=None if one.mode == "edit" else AbsPath(one.path),
        argv=one.argv[1:] if is_shell else one.argv,
        cwd=AbsPath("/"),
    )
    world = PresumedWorld(programs=[] if one.path is None else [AbsPath(one.path)], folders=[AbsPath("/")])
    found = suppose(action, policy, Host("h"), Moment(int(NOW.timestamp()), 1.0), world, Source("local"))
    return found.would, found.asks


CASES = [
    entry(),
    entry(argv=["systemctl"]),
    entry(argv=["systemctl", "--user", "-H", "--", "a'b\"c: #{}", "", "-"]),
    entry(caller="cron", person="batch"),
    entry(caller="unit", unit="backup.service", person="svc-backup.1", run_as="postgres"),
    entry(caller="login"),
    entry(mode="edit", path=None, argv=["sudoedit", "/etc/hosts", "/etc/motd"]),
    entry(mode="shell", path="/bin/bash", argv=["bash", "-c", "id"]),
    entry(mode="login-shell", path="/bin/bash", argv=["bash"]),
    entry(caller="ansible", path="/bin/sh", argv=["sh", "-c", "echo BECOME-SUCCESS-* ; x"]),
    entry(would="request", role="web", caller="cron", person="batch"),
]


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.caller} {one.line}")
def test_what_is_suggested_is_enough(one: Entry) -> None:
    """Alone and among others: at a terminal on request, without anybody there at once, never with a question to nobody."""
    for text in (suggest_policy([one]), suggest_policy(CASES)):
        assert text is not None
        said, asks = would(text, one)
        assert said == ("standing" if one.is_unattended else "request")
        assert one.caller == "person" or asks == ()


def test_what_is_suggested_covers_nothing_else() -> None:
    """Neither another argument, nor one more, nor one less, nor another user, nor somebody else."""
    text = suggest_policy([entry(), entry(caller="cron", argv=["systemctl", "daemon-reload"])])
    assert text is not None
    for other in (
        entry(argv=["systemctl", "restart", "ssh"]), entry(argv=["systemctl", "restart", "nginx", "x"]),
        entry(argv=["systemctl", "restart"]), entry(run_as="postgres"), entry(person="mallory"), entry(path="/usr/bin/id"),
    ):  # fmt: skip
        assert would(text, other)[0] == "not-covered"


def test_nobody_becomes_root_while_nobody_is_there() -> None:
    """A shell of a job's, and what a rule could not say, are left out; nothing to suggest is no file."""
    left_out = [
        entry(caller="cron", mode="shell", argv=["bash"]), entry(literal=False), entry(would="deny", guardrail="g"),
        entry(would="refused"), entry(would="unknown"), entry(outcome="rejected"), entry(would="standing"),
        entry(mode="edit", path=None, argv=["sudoedit", "relative"]), entry(argv=["systemctl", "\x1b"]), entry(path="nosuch"),
    ]  # fmt: skip
    assert suggest_policy(left_out) is None


def test_of_very_many_the_rest_is_counted() -> None:
    """A file that nobody would read to its end has an end."""
    text = suggest_policy([entry(argv=["systemctl", "restart", f"u{n}"]) for n in range(MAX_RULES + 5)])
    assert text is not None
    assert "# and 5 more" in text
    assert text.count("- command:") == MAX_RULES


def test_names_that_would_be_the_same_are_told_apart() -> None:
    """Two people whose names differ in what a role's name cannot hold have a role each; a standing one ends."""
    text = suggest_policy([entry(person="a.b"), entry(person="a_b"), entry(person="a.b", caller="cron")], date(2026, 1, 1))
    assert text is not None
    assert "  observed-a-b:" in text
    assert "  observed-a-b-2:" in text
    assert f"until: {date(2026, 1, 1) + timedelta(days=180)}" in text


@given(st.lists(st.text(max_size=12), max_size=4), st.sampled_from(["person", "cron", "login"]))
def test_any_arguments_are_suggested_exactly_or_not_at_all(words: list[str], caller: str) -> None:
    """Whatever they hold, the file is valid and covers them; what it cannot say, it leaves out."""
    one = entry(argv=["systemctl", *[word.replace("\0", "") for word in words]], caller=caller)
    text = suggest_policy([one])
    assert (text is not None) == one.has_rule
    if text is not None:
        assert would(text, one)[0] in ("standing", "request")


def test_the_report_reads_well(capsys: pytest.CaptureFixture[str]) -> None:
    """What breaks comes first; for programs the same with a version."""
    entries = (entry(variables=["EDITOR"]), entry(would="standing", times=1), entry(outcome="rejected", reason="no\x1b"))
    report = Report(entries, 7)
    policy = suggest_policy(entries)
    observing.show(report, policy)
    out = capsys.readouterr().out
    assert "sudo was called 7 times, in 3 different ways; 1 would break." in out
    assert out.index("Would break") < out.index("Would go on as it is") < out.index("Is refused by sudo today, too")
    assert "would not see any more: EDITOR" in out
    assert "sudo: no\\x1b" in out
    assert "7 kinds that are less frequent were left out" in out
    assert "      - command: \"/usr/bin/systemctl\"" in out
    told = json.loads(json.dumps(observing.as_json(report, policy)))
    assert [one["effect"] for one in told["observed"]] == ["breaks", "same", "refused"]
    assert (told["left_out"], told["policy"]) == (7, policy)


def test_times_to_begin_at_are_read() -> None:
    """A span before now, a day, a moment; anything else is a usage error."""
    assert abs(setup._since("1h") - (datetime.now(UTC).timestamp() - 3600)) < 5
    assert setup._since("2026-11-24T08:00:00+00:00") == 1_795_507_200
    for wrong in ("", "yesterday", "1", "-1h"):
        with pytest.raises(argparse.ArgumentTypeError):
            setup._since(wrong)
