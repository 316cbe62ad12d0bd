"""Between a check and the end: accounts that go away, edits, grants whose role changed, limits, approvals, the timers."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from test_challenges import answer, verdicts
from test_decide import POLICY, World, check, invocation, listing, story
from test_sessions import World as Runtime
from test_sessions import story as runtime_story
from waiting import until

from jitsudo.daemon import decide
from jitsudo.daemon.policyloading import PolicyLoading
from jitsudo.daemon.timers import Timers
from jitsudo.errors import DocumentRefused
from jitsudo.host import scopes
from jitsudo.host.source import Sources
from jitsudo.policy.verdict import Source
from jitsudo.types import AbsPath, UserName

LIMITED = """  limited:
    description: Twice, then no more
    who: ["user:daemon"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: never
    limits: {uses: 2}
    sudo_options: [VAR, -D]
    environment: {keep: [COLOUR], set: {FLAVOUR: sweet}}
    allow:
      - command: /usr/bin/uname
      - shell: {intercept: false}
      - edit: [{path: {under: /etc, glob: "motd*"}}]
  stricter:
    description: Elsewhere it takes two people
    who: ["user:daemon"]
    request: {max_duration: 1h, approvals: 0, from: ["user:bin", "user:sys"]}
    authenticate: never
    when: {source: [local], otherwise: {approvals: 2}}
    allow: [{command: /usr/bin/arch}]
guardrails:
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process that looks like sudo needs root")


@pytest.fixture(autouse=True)
def in_their_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "is_inside", lambda _session, _pid: True)


async def use(world: World, text: str) -> None:
    (world.folder / "policy.d" / "web.yaml").write_text(text)
    await world.reload()


async def body(world: World, kind: str) -> list[dict[str, Any]]:
    assert kind in await world.types()
    return [row.content() for row in world.state.ledger.after(0, 1000) if row.type == kind]


def started_by(asked: Any) -> tuple[str, dict[str, Any], list[str]]:
    return "Started", {name: asked["parameters"][name] for name in ("session", "token")}, []


def test_a_command_starts_while_its_accounts_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person or a target who was deleted, or made anew, after the check runs nothing."""

    async def test(w: World) -> None:
        await w.grant()
        replies = await w.dialogue(check("id"), started_by)
        assert verdicts(replies) == ["allow", "allow"]
        for name, uid in (("daemon", None), ("root", None), ("daemon", 4711)):

            def started(asked: Any, name: str = name, uid: int | None = uid) -> Any:
                people = w.state.people
                real = people.ask

                async def ask(question: Any) -> Any:
                    class Changed:
                        def by_name(self, wanted: str) -> Any:
                            if wanted != name:
                                return type("Account", (), {"uid": 0 if wanted == "root" else 1})
                            return None if uid is None else type("Account", (), {"uid": uid})

                    return question(Changed()) if "_who_is_gone" in question.__qualname__ else await real(question)

                monkeypatch.setattr(people, "ask", ask)
                monkeypatch.setattr(decide, "SEEN_SECONDS", -1.0)
                return started_by(asked)

            replies = await w.dialogue(check("id"), started)
            monkeypatch.undo()
            monkeypatch.setattr(scopes, "is_inside", lambda _session, _pid: True)
            assert replies[1]["parameters"]["code"] == "account", name
            assert name in replies[1]["parameters"]["message"]

    story(test)


def test_a_command_that_starts_at_once_waits_for_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its accounts were there a moment ago."""

    async def test(w: World) -> None:
        await w.grant()

        def started(asked: Any) -> Any:
            async def ask(_question: Any) -> Any:
                raise AssertionError("the user database was asked")

            monkeypatch.setattr(w.state.people, "ask", ask)
            monkeypatch.setattr(decide, "SEEN_SECONDS", 5.0)  # a busy machine is no delay of sudo's
            return started_by(asked)

        assert verdicts(await w.dialogue(check("id"), started)) == ["allow", "allow"]

    story(test)


def edited(path: str, **changes: Any) -> tuple[str, dict[str, Any], list[str]]:
    parameters = {"path": path, "before": None, "after": "sha256:" + "a" * 64, "diff": "+password=hunter22", **changes}
    return "Edited", parameters, []


def test_only_the_helper_of_a_checked_edit_says_what_it_installed() -> None:
    """A root process inside the session, about a file that the edit names; anybody else is refused and nothing recorded."""

    async def test(w: World) -> None:
        await w.grant()
        assert verdicts(await w.sudo(edited("/etc/motd"), real=0)) == ["denied"]  # no session
        replies = await w.dialogue(check("id"), lambda _: edited("/etc/motd"))
        assert verdicts(replies) == ["allow", "denied"]  # a command's

        def during(file: str, **changes: Any) -> Any:
            def then(asked: Any) -> Any:
                (session,) = (s for s in w.sessions.all() if s.id == asked["parameters"]["session"])
                session.edits = (AbsPath("/etc/motd"),)
                return edited(**{"path": file, **changes})

            return w.dialogue(check("id"), then)

        assert verdicts(await during("/etc/passwd"))[1] == "denied"
        assert "edit.installed" not in await w.types()
        asked, told = await during("/etc/motd")
        assert told == {"parameters": {}}
        (made,) = await body(w, "edit.installed")
        assert (made["path"], made["session"]) == ("/etc/motd", asked["parameters"]["session"])
        for wrong in ({"after": "x"}, {"path": "motd"}, {"diff": "x" * 70_000}, {"before": 1}):
            assert verdicts(await during("/etc/motd", **wrong))[1] == "invalid-value", wrong

    story(test)


def test_a_role_that_changed_is_the_reason_that_is_given() -> None:
    """Not just "holds no grant"; and it is on record, once."""

    async def test(w: World) -> None:
        await w.grant()
        await use(w, POLICY.replace("- command: /usr/bin/id", "- command: /usr/bin/uname"))
        for _ in range(2):
            reply = await w.check("id")
            assert reply["code"] == "no-grant"
            assert any("does not count any more" in hint for hint in reply["hints"])
        listed = (await w.sudo(("List", listing(), [])))[0]["parameters"]
        assert any("does not count any more" in hint for hint in listed["hints"])
        assert len(await body(w, "document.refused")) == 1

    story(test)


def test_a_limit_is_counted_with_the_allow_and_survives_a_restart() -> None:
    """The third of two is refused with code `limit`, also by a daemon that was started anew."""

    async def test(w: World) -> None:
        await use(w, POLICY.replace("guardrails:\n", LIMITED, 1))
        await w.grant("limited")
        assert [(await w.check("uname")).get("verdict") for _ in range(2)] == ["allow", "allow"]
        assert (await w.check("uname"))["code"] == "limit"
        assert [one["limits"] for one in await body(w, "command.allowed")] == [["role limited"]] * 2
        w.state.reopen()
        assert (await w.check("uname"))["code"] == "limit"

    story(test)


def test_limits_hold_for_commands_that_come_at_the_same_time() -> None:
    """Check and count are one step: of eight at once, two."""

    async def test(w: World) -> None:
        await use(w, POLICY.replace("guardrails:\n", LIMITED, 1))
        await w.grant("limited")
        replies = await asyncio.gather(*(w.check("uname") for _ in range(8)))
        assert sorted(reply["verdict"] for reply in replies) == ["allow"] * 2 + ["deny"] * 6

    story(test)


def test_a_shell_and_an_edit_are_launched_by_their_own_rules() -> None:
    """-s, -i and -e: command_info, argv and environment as sudo takes them."""

    async def test(w: World) -> None:
        await use(w, POLICY.replace("guardrails:\n", LIMITED.replace("limits: {uses: 2}", "limits: {uses: 90}"), 1))
        await w.grant("limited")
        method, shell, files = check("bash", settings=["run_shell=true"])
        shell |= {"argv": ["/bin/bash"], "command": "/bin/bash"}
        method, login, _ = check("bash", settings=["run_shell=true", "login_shell=true"])
        login |= {"argv": ["/bin/bash"], "command": "/bin/bash"}
        _, edit, _ = check("true", settings=["sudoedit=true"])
        edit |= {"argv": ["sudoedit", "/etc/motd"], "command": None, "descriptors": ["root", "cwd"]}
        edit["invocation"] = {**edit["invocation"], "user_env": ["EDITOR=/usr/bin/true -x"]}
        one, two, three = await w.sudo((method, shell, files), (method, login, files), (method, edit, ["/", "/"]))
        assert one["parameters"]["argv"] == ["/bin/bash"]
        assert two["parameters"]["argv"] == ["-bash"]
        assert "cwd=/root" in two["parameters"]["command_info"]
        assert three["parameters"]["argv"] == ["/usr/bin/true", "-x", "--", "/etc/motd"]
        assert "sudoedit=true" in three["parameters"]["command_info"]
        assert "FLAVOUR=sweet" in one["parameters"]["env"]
        kinds = [(one["command"], one["argv"]) for one in await body(w, "command.allowed")]
        assert kinds == [("/bin/bash", ["bash"]), ("/bin/bash", ["bash"]), ("sudoedit", ["sudoedit", "/etc/motd"])]

    story(test)


def test_options_that_the_role_does_not_admit_are_refused_and_those_that_it_does_count() -> None:
    """-D and a variable; -C and -T are not."""

    async def test(w: World) -> None:
        await use(w, POLICY.replace("guardrails:\n", LIMITED.replace("limits: {uses: 2}", ""), 1))
        await w.grant("limited")
        method, parameters, files = check("uname", settings=["cmnd_cwd=/tmp"])
        reply = (await w.sudo((method, {**parameters, "env_add": ["COLOUR=red"]}, files)))[0]["parameters"]
        assert reply["verdict"] == "allow"
        assert "COLOUR=red" in reply["env"]
        assert "cwd=/tmp" in reply["command_info"]
        assert (await w.check("uname", settings=["closefrom=9"]))["code"] == "sudo-option"
        assert (await w.check("uname", settings=["timeout=1m"]))["code"] == "sudo-option"

    story(test)


def test_what_is_asked_from_elsewhere_needs_more_approvals_for_good() -> None:
    """`otherwise`: the number is on record with the request and holds at issue, at use and after a restart."""

    async def test(w: World) -> None:
        await use(w, POLICY.replace("guardrails:\n", LIMITED, 1))
        assert await w.grant("stricter") == "None"
        (request,) = w.state.open_requests()
        assert w.state.approvals_needed(request.id) == 2
        assert (await body(w, "request.created"))[0]["approvals_needed"] == 2
        w.state.reopen()
        assert w.state.approvals_needed(request.id) == 2
        with pytest.raises(DocumentRefused) as refusal:
            await w.granting.issue(w.state.book.requests[request.id], w.state.now())
        assert refusal.value.step == 8

    story(test)


def test_root_inside_no_session_runs_shells_and_edits_as_it_asks() -> None:
    """No grant, no question, on record."""

    async def test(w: World) -> None:
        root = invocation(uid="0", gid="0", user="root")
        _, shell, files = check("bash", settings=["run_shell=true", "login_shell=true"], uid="0", gid="0", user="root")
        shell |= {"argv": ["/bin/bash"], "command": "/bin/bash"}
        _, edit, _ = check("true", settings=["sudoedit=true"], uid="0", gid="0", user="root")
        edit |= {"argv": ["sudoedit", "motd"], "command": None, "descriptors": ["root", "cwd"]}
        edit["invocation"] = {**edit["invocation"], "user_env": ["EDITOR=/usr/bin/true"]}
        validate = ("Validate", {"invocation": root, "account": None}, [])
        replies = await w.sudo(("Check", shell, files), ("Check", edit, ["/", "/"]), validate, real=0)
        assert verdicts(replies) == ["allow", "allow", "allow"]
        assert replies[0]["parameters"]["argv"] == ["-bash"]
        assert replies[1]["parameters"]["argv"] == ["/usr/bin/true", "--", "motd"]
        assert verdicts(await w.sudo(answer("proven"), real=0)) == ["wrong-state"]

    story(test)


def test_guardrails_that_log_and_limit_are_on_record_as_what_they_did() -> None:
    """`log` with the allow, `limit` with the refusal."""

    async def test(w: World) -> None:
        text = POLICY.replace("    authenticate: never", "    authenticate: never\n    guardrails: [watch, once]", 1)
        more = """  watch: {match: {command: /usr/bin/id}, then: log, message: Seen.}
  once: {match: {command: /usr/bin/id}, then: limit, limits: {uses: 1}, message: Once is enough.}
"""
        await use(w, text + more)
        await w.grant()
        assert [(await w.check("id"))["verdict"] for _ in range(2)] == ["allow", "deny"]
        fired = await body(w, "guardrail.fired")
        assert [(one["guardrail"], one["outcome"]) for one in fired] == [("watch", "log"), ("once", "limit")]
        assert (await body(w, "command.denied"))[0]["code"] == "limit"

    story(test)


def test_a_session_goes_on_under_another_grant_of_the_same_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of one grant never ends what another covers; the session then belongs to that one, across restarts."""

    async def test(w: Runtime) -> None:
        first, second = await w.granted(600), await w.granted(3000)
        session, _ = await w.session(first, w.spawn().pid)
        session.longest = 3600

        async def fine(*_: object) -> None:
            return None

        monkeypatch.setattr(w.timers._granting, "verify", fine)
        now = type(w.state.now())(first.grant.not_after, w.state.now().boot)
        w.timers._end_or_go_on(session, now)
        await until(lambda: session.grant == second.id)
        assert session.ending is None
        assert (session.grant, session.not_after) == (second.id, second.grant.not_after)
        assert w.sessions.under(first.id) == []
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        assert "session.continued" in w.types()
        assert w.state.started_sessions()[session.id]["grant"] == second.id
        w.timers._end_or_go_on(session, type(now)(second.grant.not_after, now.boot))
        assert session.ending is not None

    runtime_story(tmp_path, test)


@pytest.mark.parametrize("why", ["refused", "another role", "another user", "no more time"])
def test_a_session_does_not_go_on_under_what_does_not_cover_it(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A grant that fails its verification, is for something else, or would outlast what systemd was told."""

    async def test(w: Runtime) -> None:
        first, _ = await w.granted(600), await w.granted(3000)
        session, _ = await w.session(first, w.spawn().pid)
        session.longest = 0 if why == "no more time" else 3600
        session.role = type(session.role)("db") if why == "another role" else session.role
        session.run_as = UserName("bin") if why == "another user" else session.run_as

        async def verify(*_: object) -> None:
            if why == "refused":
                raise DocumentRefused(7, "the role was changed")

        monkeypatch.setattr(w.timers._granting, "verify", verify)
        now = w.state.now()
        w.timers._end_or_go_on(session, type(now)(first.grant.not_after, now.boot))
        await until(lambda: session.ending is not None)
        assert session.grant == first.id

    runtime_story(tmp_path, test)


def test_calendars_are_kept_with_the_last_good_policy() -> None:
    """The policy that is in force at the next start means what it meant."""

    async def test(w: World) -> None:
        (w.folder / "policy.d" / "closed.txt").write_bytes("# Bürö\n2026-12-24..2026-12-26\n".encode())
        text = POLICY.replace("authenticate: never", "authenticate: never\n    when: {calendar: {file: closed.txt}}")
        (w.folder / "policy.d" / "web.yaml").write_text(text.replace("version: 1", "version: 1\ntimezone: UTC"))
        await w.reload()
        assert w.state.policy is not None
        loaded = w.state.policy
        (w.folder / "policy.d" / "web.yaml").write_text("version: 7")
        loading = PolicyLoading(w.state, w.folder / "policy.d", check_owner=False)
        await loading.load_at_start()
        assert w.state.policy_problem is not None
        assert (w.state.policy.digest, w.state.policy.calendars) == (loaded.digest, loaded.calendars)
        assert loaded.calendars
        (w.state.folder / "policy" / "calendars.json").write_text("[]")
        await loading.load_at_start()
        assert w.state.policy is None

    story(test)


def test_the_timers_outlive_whatever_goes_wrong_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An expiry that raised once must not keep all others from happening; operators get the details."""

    async def test(w: Runtime) -> None:
        turns = 0

        async def turn(_self: Timers, _now: object) -> None:
            nonlocal turns
            turns += 1
            if turns == 1:
                raise RuntimeError("surprise")

        monkeypatch.setattr(Timers, "_turn", turn)
        running = asyncio.create_task(w.timers.run())
        await until(lambda: turns > 1)
        running.cancel()
        assert "surprise" in caplog.text

    runtime_story(tmp_path, test)


def test_what_the_policy_in_force_calls_secret_is_not_recorded() -> None:
    """From the reload on, in the arguments and in a refusal that quotes them."""

    async def test(w: World) -> None:
        policy = POLICY.replace("roles:", 'redact: ["tok_[a-z]+"]\nroles:', 1)
        (w.folder / "policy.d" / "web.yaml").write_text(policy)
        await w.reload()
        await w.grant()
        denied = await w.check("touch", "/etc/tok_abc")
        assert denied["verdict"] == "deny"
        await w.types()
        rows = [json.dumps(row.body) for row in w.state.ledger.after(0, 1000) if row.type == "command.denied"]
        assert "[redacted:" in rows[-1]
        assert "tok_abc" not in rows[-1]

    story(test)


def test_a_command_that_may_not_be_run_is_listed_without_a_word() -> None:
    """`sudo -l COMMAND` is for scripts; who holds nothing, or mistypes the command, is told so."""

    async def test(w: World) -> None:
        (none,) = await w.sudo(("List", listing("id"), []))
        assert "holds no grant" in none["parameters"]["message"]
        await w.grant()
        refused, allowed = await w.sudo(("List", listing("env"), []), ("List", listing("id"), []))
        assert refused["parameters"] == {"verdict": "deny", "code": "not-covered", "message": None, "hints": []}
        assert allowed["parameters"]["verdict"] == "allow"

    story(test)


def test_the_last_use_is_on_record_before_it_is_said_that_none_is_left() -> None:
    """Who reads the record in its order sees what used the grant up."""

    async def test(w: World) -> None:
        await w.grant("self", "--uses", "1")
        assert (await w.check("id"))["verdict"] == "allow"
        order = ["grant.used", "command.allowed", "grant.used_up", "session.started"]
        assert [kind for kind in await w.types() if kind in order] == order

    story(test)


def test_where_a_login_comes_from_is_recorded_where_it_was_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests, and of commands, allowed or denied; where no role depends on it, nobody looks."""
    found = [Source("192.0.2.7")]
    monkeypatch.setattr(Sources, "find", lambda _self, _pid: found[-1])

    async def test(w: World) -> None:
        await w.grant()
        await w.check("id")
        await use(w, POLICY.replace("authenticate: never", "authenticate: never\n    when: {source: [192.0.2.0/24]}", 1))
        await w.grant()
        assert (await w.check("id"))["verdict"] == "allow"
        found.append(Source("198.51.100.1"))
        assert (await w.check("id"))["code"] == "source"
        found.append(Source(None, "it is gone"))
        assert (await w.check("id"))["code"] == "source"
        assert [one["source_address"] for one in await body(w, "request.created")] == [None, "192.0.2.7"]
        assert [one["source_address"] for one in await body(w, "command.allowed")] == [None, "192.0.2.7"]
        assert [one["source_address"] for one in await body(w, "command.denied")] == ["198.51.100.1", None]

    story(test)
