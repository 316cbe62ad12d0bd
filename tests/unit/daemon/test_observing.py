"""What sudo did by sudoers goes on record, with what jitsudo would have said; nothing else comes of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_decide import ALICE, World, invocation, story
from waiting import LONG

from jitsudo.client import Client
from jitsudo.daemon import observing
from jitsudo.daemon.observing import REPEAT_SECONDS, Tally, lost_variables, settled
from jitsudo.host.ledger import Entry
from jitsudo.types import Moment, Uid

UNTIL = datetime.now(UTC).date() + timedelta(days=100)  # a standing role ends within 400 days
POLICY = f"""version: 1
roles:
  self:
    description: On request
    who: ["user:daemon"]
    request: {{max_duration: 1h, approvals: 2, from: ["user:bin", "user:sys"]}}
    allow:
      - command: /usr/bin/id
      - command: /usr/bin/touch
        operands: [{{path: {{under: /srv}}}}]
      - shell: {{intercept: false}}
      - edit: [{{one_of: [/etc/motd]}}]
  always:
    description: Without asking
    who: ["user:daemon"]
    request: none
    until: {UNTIL}
    authenticate: never
    allow: [{{command: /usr/bin/uname}}, {{command: /usr/bin/arch}}]
  others:
    description: Not hers
    who: ["user:bin"]
    request: {{max_duration: 1h, approvals: 0}}
    allow: [{{command: /usr/bin/env}}]
guardrails:
  no-secrets:
    always: true
    match: {{command: touch, any_operand: [{{path: {{under: [/srv/secret]}}}}]}}
    then: deny
    message: Hands off.
  sure:
    always: true
    match: {{command: /usr/bin/arch}}
    then: confirm
    message: Really?
"""
SHELL = "/bin/sh"


def observe(*argv: str, outcome: str = "accepted", **changes: Any) -> tuple[str, dict[str, Any], list[str]]:
    """What the plugin says where somebody typed `sudo ARGV...`; `first`: the index of the command."""
    first = changes.pop("first", 1)
    settings, user = changes.pop("settings", []), changes.pop("user", {})
    words = list(argv[first - 1 :])
    parameters = {
        "outcome": outcome, "plugin": "sudo", "plugin_type": 0, "message": None, "settings": settings,
        "user_info": invocation(**user)["user_info"], "submit_argv": ["sudo", *argv], "submit_optind": first,
        "command_info": [f"command=/usr/bin/{words[0]}"] if words and outcome == "accepted" else [], "run_argv": words,
        "run_env": ["HOME", "EDITOR"], "cut": False, **changes,
    }  # fmt: skip
    return "Observe", parameters, []


async def said(w: World, *calls: Any, **how: Any) -> list[dict[str, Any]]:
    """What is on record of these, once it is."""
    before = len(await bodies(w))
    assert await w.sudo(*calls, **how) == [{"parameters": {}}] * len(calls)
    async with asyncio.timeout(LONG):
        while len(found := await bodies(w)) < before + len(calls):
            await asyncio.sleep(0.02)
    return found[before:]


async def bodies(w: World) -> list[dict[str, Any]]:
    await w.types()
    return [row.content() for row in w.state.ledger.after(0, 10_000) if row.type == observing.EVENT]


async def use(w: World, text: str) -> None:
    (w.folder / "policy.d" / "web.yaml").write_text(text)
    await w.reload()


def test_what_jitsudo_would_say_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a role on request, by a standing one, after a question, by no role, forbidden by a guardrail, unknown to sudo."""

    async def test(w: World) -> None:
        await use(w, POLICY)
        edit = {"settings": ["sudoedit=true"], "command_info": ["command=/bin/true", "sudoedit=true"]}
        cases: list[tuple[Any, dict[str, Any]]] = [
            (observe("id"), {"would": "request", "role": "self", "asks": ["password"], "command": "/usr/bin/id"}),
            (observe("uname"), {"would": "standing", "role": "always", "asks": []}),
            (observe("arch"), {"would": "standing", "role": "always", "asks": ["confirm"], "guardrail": "sure"}),
            (observe("id", "-u"), {"would": "not-covered", "role": "self"}),
            (observe("env"), {"would": "not-covered", "role": None}),
            (observe("touch", "/srv/x"), {"would": "request"}),
            (observe("touch", "/srv/secret"), {"would": "deny", "guardrail": "no-secrets"}),
            (observe("nosuch", outcome="rejected", message="nosuch: command not found"),
             {"would": "unknown", "reason": "nosuch: command not found", "outcome": "rejected"}),
            (observe("id", outcome="error"), {"would": "request", "command": "/usr/bin/id", "outcome": "error"}),
            (observe("/etc/motd", **edit), {"would": "request", "mode": "edit", "argv": ["sudoedit", "/etc/motd"],
             "variables": []}),
            (observe("-s", "echo", "a b", first=2, settings=["run_shell=true"], command_info=[f"command={SHELL}"]),
             {"would": "request", "mode": "shell", "argv": ["sh", "-c", "echo a\\ b"], "command": SHELL}),
            (observe("-R", "/srv", "id", first=3, settings=["cmnd_chroot=/srv"]), {"would": "refused"}),
            (observe("-u", "nosuchuser", "id", first=3, settings=["runas_user=nosuchuser"]),
             {"would": "refused", "runas_user": "nosuchuser"}),
            (observe("-u", "bin", "X=1", "id", first=4, settings=["runas_user=bin"]),
             {"would": "not-covered", "runas_user": "bin"}),
            (observe("id", "cut", cut=True), {"would": "unknown", "literal": False}),
            (observe("./id", outcome="rejected", user={"cwd": "/usr/bin"}), {"command": "/usr/bin/./id"}),
        ]  # fmt: skip
        for call, expected in cases:
            (body,) = await said(w, call)
            assert {name: body[name] for name in expected} == expected, (call[1]["submit_argv"], body)
            assert (body["user"], body["uid"], body["times"]) == ("daemon", ALICE, 1)
        body = (await bodies(w))[0]
        assert (body["variables"], body["literal"], body["cwd"]) == (["EDITOR"], True, "/")
        assert body["policy_sha256"] == w.state.policy_digest
        assert not w.state.live_grants()
        assert {*await w.types()} <= {observing.EVENT, "heartbeat", "policy.loaded", "policy.changed"}

    story(test, monkeypatch)


def test_root_needs_nothing_and_no_policy_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root outside a session goes on in any case; without a policy everything else is on record all the same."""

    async def test(w: World) -> None:
        (body,) = await said(w, observe("id", user={"user": "root", "uid": "0", "gid": "0"}), real=0)
        assert (body["would"], body["user"]) == ("root", "root")
        w.state.policy = None
        (body,) = await said(w, observe("env"))
        assert (body["would"], body["policy_sha256"]) == ("no-policy", None)

    story(test, monkeypatch)


def test_who_lies_or_is_not_sudo_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's word has to agree; what is malformed is refused; what runs nothing is not noted."""

    async def test(w: World) -> None:
        lies = [observe("id", user={"uid": "2"}), observe("id", user={"pid": "1"}), observe("id", outcome="maybe")]
        for call in [*lies, observe("id", submit_optind="x"), observe("id", more=1)]:
            (answer,) = await w.sudo(call)
            assert answer["error"].endswith(".Refused"), call
        (answer,) = await w.sudo(observe("id"), effective=ALICE)
        assert answer is None or "error" in answer
        for call in (observe("-l", first=2), observe("-v", first=2), observe("-nl", "id", first=2, outcome="rejected")):
            assert await w.sudo(call) == [{"parameters": {}}]
        await asyncio.sleep(0.2)
        assert await bodies(w) == []

    story(test, monkeypatch)


def test_secrets_are_redacted_and_long_lines_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in every other record; the report then knows that it does not have the line as it was."""

    async def test(w: World) -> None:
        (body,) = await said(w, observe("env", "--password=hunter22"))
        assert "hunter22" not in str(body)
        assert body["literal"] is False
        (body,) = await said(w, observe("env", "x" * 5000))
        assert body["argv"] == ["env", "[5000 characters left out]"]
        assert body["literal"] is False

    story(test, monkeypatch)


def test_what_happens_again_and_again_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report has all of them; the record one, and at the end of the daemon the rest."""

    async def test(w: World) -> None:
        await said(w, observe("env"))
        await w.sudo(*[observe("env")] * 4)
        assert len(await bodies(w)) == 1
        (seen,) = await asyncio.to_thread(report, w)
        assert (seen["times"], seen["person"], seen["would"]) == (5, "daemon", "not-covered")
        assert w.observing is not None
        w.observing.settle()
        assert [body["times"] for body in await bodies(w)] == [1, 4]
        (seen,) = await asyncio.to_thread(report, w)
        assert seen["times"] == 5

    story(test, monkeypatch)


def report(w: World, since: int | None = None) -> list[dict[str, Any]]:
    with Client(str(w.folder / "control")) as client:
        return list(client.call("Observed", since=since)["observed"])  # type: ignore[call-overload]


def test_the_report_is_by_the_policy_in_force_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has written a policy for what was seen sees at once what is still missing."""

    async def test(w: World) -> None:
        await said(w, observe("uname"), observe("env", "--token=hunter22"), observe("-u", "nosuchuser", "id", first=3,
                   settings=["runas_user=nosuchuser"]))  # fmt: skip
        before = {one["path"]: one["would"] for one in await asyncio.to_thread(report, w)}
        assert before == {"/usr/bin/uname": "not-covered", "/usr/bin/env": "not-covered", "/usr/bin/id": "refused"}
        await use(w, POLICY)
        after = {one["path"]: one for one in await asyncio.to_thread(report, w)}
        assert (after["/usr/bin/uname"]["would"], after["/usr/bin/uname"]["role"]) == ("standing", "always")
        assert after["/usr/bin/env"]["would"] == "not-covered"  # of then: the line is not on record as it was
        assert await asyncio.to_thread(report, w, w.state.now().wall + 3600) == []
        w.state.policy = None
        assert {one["would"] for one in await asyncio.to_thread(report, w)} == {"no-policy"}

    story(test, monkeypatch)


def moment(boot: float) -> Moment:
    return Moment(1000 + int(boot), boot)


def test_a_flood_of_kinds_is_bounded() -> None:
    """Of one person's, so many are recorded; who is not is counted, and told with the next that is."""
    tally = Tally()
    admitted = [tally.count(f"{n}".encode(), Uid(1), moment(1.0)) for n in range(150)]
    assert sum(one is not None for one in admitted) == 100
    assert tally.count(b"x", Uid(2), moment(1.0)) is not None
    found = tally.count(b"y", Uid(1), moment(500.0))
    assert found is not None
    assert found[1] == 50
    for n in range(observing.MAX_KINDS + 10):
        tally.count(f"k{n}".encode(), Uid(1), moment(600.0))
    assert len(tally._kinds) == observing.MAX_KINDS


def test_one_kind_is_recorded_once_an_hour() -> None:
    """With how many there were meanwhile."""
    tally = Tally()
    assert tally.count(b"k", Uid(1), moment(0.0)) is not None
    kind = tally._kinds[b"k"]
    kind.entry, kind.times = Entry(observing.EVENT, {"times": 1, "user": "a"}), 0
    assert tally.unrecorded() == []
    for at in (1.0, 2.0, REPEAT_SECONDS - 1):
        assert tally.count(b"k", Uid(1), moment(at)) is None
    assert [(last, entry.body["times"]) for last, entry in tally.unrecorded()] == [(1000 + int(REPEAT_SECONDS - 1), 3)]
    found = tally.count(b"k", Uid(1), moment(REPEAT_SECONDS))
    assert found is not None
    assert found[0].times == 4
    assert [entry.body["times"] for entry in tally.settle()] == [4]
    assert tally.settle() == []


def test_what_differs_each_time_is_not_told_apart() -> None:
    """What Ansible makes up, and numbers that systemd gives."""
    assert settled("echo BECOME-SUCCESS-abcdefghij ; /tmp/ansible-tmp-1700000000.12-3456-789/x.py") == (
        "echo BECOME-SUCCESS-* ; /tmp/ansible-tmp-*/x.py"
    )
    assert (settled("session-12.scope"), settled("run-u5.service")) == ("session-*.scope", "run-*.service")
    assert (settled("user@1000.service"), settled("backup.service")) == ("user@*.service", "backup.service")


def test_variables_that_a_command_would_miss() -> None:
    """Those that sudoers kept, and jitsudo does not without a role that says so; not what sudo sets itself."""
    names = ("HOME", "PATH", "SUDO_USER", "LANG", "LC_ALL", "DISPLAY", "EDITOR", "LD_PRELOAD", "EDITOR")
    assert lost_variables(names) == ("EDITOR", "LD_PRELOAD")
    assert len(lost_variables([f"V{n}" for n in range(100)])) == observing.MAX_VARIABLES

