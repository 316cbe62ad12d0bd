"""Who the daemon lets in through PAM: the kernel's word against PAM's, proofs, limits, scopes, and the record."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_decide import ALICE, World, a_world, check
from test_sessions import FAMILY, NoSystemd
from test_sessions import World as Runtime
from test_sessions import story as runtime_story
from waiting import LONG, until

from jitsudo.daemon import admitting, entering
from jitsudo.daemon.session import _scope_of_login, from_ledger, new_session
from jitsudo.errors import Failed
from jitsudo.host import scopes
from jitsudo.host.ending import End, end_everything
from jitsudo.host.source import Sources
from jitsudo.policy.verdict import ExpiryTerms, Source
from jitsudo.types import RoleName, SessionId

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process that looks like su needs root")
LOGIN_SCOPE = "/user.slice/user-1.slice/session-7.scope"
POLICY = """version: 1
roles:
  become:
    description: root and bin, by su and sudo
    who: ["user:daemon"]
    request: {max_duration: 1h, approvals: 0}
    run_as: {users: [root, bin]}
    limits: {uses: 2}
    access: [{services: [su, sudo]}]
  come-in:
    description: Log in
    who: ["user:daemon"]
    request: none
    until: UNTIL
    access: [{services: [sshd]}]
  from-here:
    description: Log in at the console
    who: ["user:bin"]
    request: none
    until: UNTIL
    when: {source: [local]}
    access: [{services: [login]}]
""".replace("UNTIL", (datetime.now(UTC) + timedelta(days=300)).date().isoformat())


Call = tuple[str, dict[str, Any], list[str]]


def admit(phase: str = "account", service: str = "su", user: str = "root", **changes: Any) -> Call:
    files = changes.pop("files", [])
    items = {"phase": phase, "service": service, "user": user, "ruser": "daemon", "rhost": None, "tty": "/dev/pts/1"}
    return "Admit", {**items, "descriptors": ["terminal"] * len(files), **changes}, files


def log_in(phase: str = "account", user: str = "daemon", **changes: Any) -> Call:
    return admit(phase, **{"service": "sshd", "user": user, "ruser": None, "rhost": "192.0.2.7", **changes})


def story(test: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with a_world() as world:
            (world.folder / "policy.d" / "web.yaml").write_text(POLICY)
            await world.reload()
            await test(world)

    asyncio.run(run())


@pytest.fixture(autouse=True)
def in_their_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "is_inside", lambda _session, _pid: True)


async def answer(w: World, call: Any, real: int = ALICE, effective: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = (await w.sudo(call, real=real, effective=effective))[0]["parameters"]
    return found


async def last(w: World, kind: str) -> dict[str, Any]:
    assert kind in await w.types()
    return [row.content() for row in w.state.ledger.after(0, 1000) if row.type == kind][-1]


def test_su_is_refused_without_a_grant_and_let_in_with_one() -> None:
    """Both on record; the way out is told."""

    async def test(w: World) -> None:
        refused = await answer(w, admit())
        assert (refused["verdict"], refused["code"]) == ("deny", "not-covered")
        assert any("jitsudo request become" in hint for hint in refused["hints"])
        denied = await last(w, "access.denied")
        assert (denied["user"], denied["service"], denied["phase"], denied["runas_user"]) == ("daemon", "su", "account", "root")
        grant = await w.grant("become")
        assert await answer(w, admit()) == {"verdict": "allow", "session": None, "token": None}
        allowed = await last(w, "access.allowed")
        assert (allowed["grant"], allowed["role"], "limits" in allowed) == (grant, "become", False)
        assert (await answer(w, admit(user="sys")))["code"] == "run-as"
        assert (await answer(w, admit(service="doas")))["code"] == "not-covered"

    story(test)


LIES: dict[str, tuple[Any, int, int]] = {
    "somebody else called": (admit(ruser="bin"), 1, 0),
    "root called": (admit(ruser="root"), 1, 0),
    "nobody called": (admit(ruser=None), 1, 0),
    "somebody who is not there called": (admit(ruser="no-such-user"), 1, 0),
    "a name that is none called": (admit(ruser="a\nb"), 1, 0),
    "it made itself root first": (admit(), 0, 0),
    "it is not root's program": (admit(), 1, 1),
    "a login by a program of somebody's": (log_in(), 1, 0),
    "an unknown user": (admit(user="no-such-user"), 1, 0),
    "a user that is no name": (admit(user="-x\x1b"), 1, 0),
    "a service that is no name": (admit(service="../su"), 1, 0),
    "a phase that is none": (admit(phase="password"), 1, 0),
    "a name of 4,096 bytes": (admit(user="x" * 4096), 1, 0),
    "no user": (admit(user=""), 1, 0),
    "descriptors that are none of its": ({"m": 1}, 1, 0),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_does_not_fit_lets_nobody_in(lie: str) -> None:
    """PAM's word counts only where the kernel says the same."""

    async def test(w: World) -> None:
        await w.grant("become")
        call, real, effective = LIES[lie]
        if not isinstance(call, tuple):
            name, parameters, _ = admit()
            call = (name, {**parameters, "descriptors": ["cwd"]}, ["/"])
        reply = await answer(w, call, real, effective)
        assert "verdict" not in reply
        assert reply["code"] in ("denied", "invalid-value", "not-found"), reply
        assert "access.allowed" not in await w.types()

    story(test)


def test_somebody_whose_uid_has_no_account_is_let_in_nowhere() -> None:
    """And is on record by number."""

    async def test(w: World) -> None:
        reply = await answer(w, admit(), real=54321)
        assert (reply["code"], "no entry" in reply["message"]) == ("denied", True)
        assert (await last(w, "access.denied"))["user"] == "(uid 54321)"

    story(test)


def test_root_outside_a_session_is_let_in_and_never_authenticated() -> None:
    """By su, and at a login as root; also where nothing can be recorded."""

    async def test(w: World) -> None:
        for call in (admit(ruser=None), admit(ruser="root", user="daemon"), log_in(user="root"), admit("session", ruser=None)):
            assert await answer(w, call, real=0) == {"verdict": "allow", "session": None, "token": None}
        refused = await answer(w, admit("authenticate", ruser=None), real=0)
        assert (refused["verdict"], refused["code"]) == ("deny", "root")

        async def fails(*_: object) -> None:
            raise Failed("the disk is full")

        w.state.record = fails  # type: ignore[method-assign]
        assert (await answer(w, admit(ruser=None), real=0))["verdict"] == "allow"

    story(test)


def test_a_proof_made_elsewhere_authenticates_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same place and lately it does, for su; for a login never."""

    async def test(w: World) -> None:
        await w.grant("become")
        ages: list[int | None] = [None, 901, 900, 0]
        monkeypatch.setattr("jitsudo.daemon.tickets.Tickets.age", lambda *_: ages[0])
        codes = []
        while ages:
            codes.append((await answer(w, admit("authenticate"))).get("code"))
            ages.pop(0)
        assert codes == ["authentication", "authentication", None, None]
        ages.append(0)
        assert (await answer(w, log_in("authenticate"), real=0))["code"] == "authentication"
        assert (await answer(w, admit("authenticate", service="doas")))["code"] == "not-covered"

    story(test)


def test_sudo_says_as_whom_when_the_session_begins() -> None:
    """Before that a grant for anybody is enough, and only where PAM still has the caller; in the session it is not."""

    async def test(w: World) -> None:
        await w.grant("become")
        for phase, user, code in (
            ("account", "daemon", None),
            ("account", "root", None),
            ("account", "sys", "run-as"),
            ("session", "sys", "run-as"),
            ("session", "daemon", "run-as"),
            ("session", "root", None),
        ):
            assert (await answer(w, admit(phase, service="sudo", user=user))).get("code") == code, (phase, user)

    story(test)


def test_a_session_counts_for_the_limits_and_is_closed_by_its_token() -> None:
    """Two uses are two sessions; looking is free."""

    async def test(w: World) -> None:
        grant = await w.grant("become")

        def close(asked: Any) -> Any:
            told = {name: asked["parameters"][name] for name in ("session", "token")}
            return "Close", {**told, "wait_status": 0, "errno": 0}, []

        for _ in range(2):
            for _ in range(3):
                assert (await answer(w, admit()))["verdict"] == "allow"
            opened, closed = await w.dialogue(admit("session", files=["/dev/null"]), close)
            assert opened["parameters"]["verdict"] == "allow"
            assert closed["parameters"] == {}
            async with asyncio.timeout(LONG):
                while w.sessions.all():
                    await asyncio.sleep(0.02)
                    w.sessions.reap_all()
            assert (await last(w, "session.ended"))["outcome"] == "su closed it"
        assert (await last(w, "session.started"))["grant"] == grant
        assert (await last(w, "access.allowed"))["limits"] == ["role become"]
        assert [(await answer(w, admit(phase)))["code"] for phase in ("account", "session")] == ["limit", "limit"]

    story(test)


def test_a_grant_for_one_use_is_used_up_by_one_session() -> None:
    """On record as used, and as used up."""

    async def test(w: World) -> None:
        await w.grant("become", "--uses", "1")
        assert (await answer(w, admit("session")))["verdict"] == "allow"
        assert {"grant.used", "grant.used_up"} <= set(await w.types())
        assert (await answer(w, admit()))["verdict"] == "deny"

    story(test)


def test_without_a_scope_nobody_comes_in() -> None:
    """The record says that it came to nothing."""

    async def test(w: World) -> None:
        await w.grant("become")
        w.manager.works = False
        assert (await answer(w, admit("session")))["code"] == "failed"
        assert w.sessions.all() == []
        assert "session.ended" in await w.types()
        assert (await last(w, "access.denied"))["code"] == "failed"

    story(test)


def test_a_login_as_oneself_is_no_session_of_an_elevated_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo in there goes by grants of its own; in a session of su's it goes by that one's."""

    async def test(w: World) -> None:
        monkeypatch.setattr(admitting, "new_session", lambda **given: new_session(**{**given, "pid": os.getpid()}))
        reply = await answer(w, log_in("session"), real=0)
        assert reply["verdict"] == "allow"
        (session,) = w.sessions.all()
        assert (session.is_login, session.run_as, session.service) == (True, "daemon", "sshd")
        assert w.sessions.around(os.getpid()) is None
        await w.grant("become")
        assert (await answer(w, admit("session")))["verdict"] == "allow"
        (elevated,) = (s for s in w.sessions.all() if s.service == "su")
        inside = w.sessions.around(os.getpid())
        assert inside is elevated
        refused = await answer(w, check("id"))
        assert "no grant of daemon (become) covers /usr/bin/id" in refused["message"]
        inner = await answer(w, admit(user="sys", service="runuser", ruser="root"), real=0)  # root, but in there
        assert inner["code"] == "not-covered"
        assert (await last(w, "access.denied"))["user"] == "daemon"

    story(test)


def test_the_scope_of_a_login_holds_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in there is inside, whoever its parents are, unless somebody came in as themselves."""

    async def test(w: World) -> None:
        await w.grant("become")
        monkeypatch.setattr("jitsudo.daemon.session._scope_of_login", lambda *_: LOGIN_SCOPE)
        monkeypatch.setattr(scopes, "is_in", lambda _cgroup, _pid: True)
        monkeypatch.setattr(scopes, "is_occupied", lambda _cgroup: True)
        w.manager.works = False  # nobody is asked for a scope
        assert (await answer(w, admit("session")))["verdict"] == "allow"
        (session,) = w.sessions.all()
        assert session.cgroup == LOGIN_SCOPE
        monkeypatch.setattr("jitsudo.host.peer.read_cgroup", lambda _pid: f"{LOGIN_SCOPE}/x")
        assert w.sessions.around(os.getpid()) is session
        session.run_as = session.person.name
        assert w.sessions.around(os.getpid()) is None

    story(test)


def test_where_a_role_asks_it_whoever_is_at_the_door_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's login for su, the connection or console itself for a login."""

    async def test(w: World) -> None:
        found = Source("local")
        monkeypatch.setattr(Sources, "at_the_door", lambda *_: found)
        login = log_in(user="bin", service="login")
        assert (await answer(w, login, real=0))["verdict"] == "allow"
        found = Source("192.0.2.7")
        assert (await answer(w, login, real=0))["code"] == "source"
        monkeypatch.setattr(Sources, "find", lambda *_: Source("local"))
        assert (await answer(w, admit(user="bin", ruser="bin"), real=2))["code"] == "not-covered"
        monkeypatch.setattr("jitsudo.host.peer.Peer.is_alive", lambda _: False)
        monkeypatch.setattr(entering, "service_named", lambda name: name)
        assert "verdict" not in await answer(w, login, real=0)

    story(test)


def test_whoever_is_refused_all_the_time_does_not_fill_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted, and the count is told with the next that is recorded."""

    async def test(w: World) -> None:
        counted: list[int | None] = [0, None, 1]
        monkeypatch.setattr("jitsudo.daemon.rates.Rate.admit", lambda *_: counted.pop(0))
        for _ in range(3):
            assert (await answer(w, admit()))["verdict"] == "deny"
        assert (await w.types()).count("access.denied") == 2
        assert "(1 refusals of theirs before" in (await last(w, "access.denied"))["reason"]

    story(test)


def test_what_goes_wrong_while_deciding_lets_nobody_in_and_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the policy, for operators; of the grant's end, too."""

    async def test(w: World) -> None:
        await w.grant("become")
        real = w.state.trusted_now
        times = [real(), type(real())(real().wall + 7200, real().boot)]
        monkeypatch.setattr(w.state, "trusted_now", lambda: times.pop(0))
        late = await answer(w, admit("session"))
        assert (late["code"], late["message"]) == ("denied", "the grant ended just now")
        monkeypatch.undo()
        monkeypatch.setattr("jitsudo.policy.admission.role_admits", lambda *_: 1 / 0)
        assert (await answer(w, admit()))["code"] == "error"
        assert (await last(w, "access.denied"))["code"] == "error"

    story(test)


# Ending, with processes and no scopes.


@pytest.mark.parametrize(
    ("cgroup", "caller", "expected"),
    [
        (LOGIN_SCOPE, "/system.slice/ssh.service", LOGIN_SCOPE),
        (f"{LOGIN_SCOPE}/x", "/init.scope", LOGIN_SCOPE),
        (LOGIN_SCOPE, LOGIN_SCOPE, ""),
        (LOGIN_SCOPE, f"{LOGIN_SCOPE}/y", ""),
        ("/system.slice/cron.service", "/system.slice/cron.service", ""),
    ],
)
def test_a_login_keeps_the_scope_that_logind_made_for_it(cgroup: str, caller: str, expected: str) -> None:
    """su stays in its caller's login, which is not to be ended with it."""
    assert _scope_of_login(cgroup, caller) == expected


def test_all_that_is_in_a_logins_scope_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stubborn too; systemd is not asked, as the unit is logind's."""

    async def test(w: Runtime) -> None:
        family = w.spawn("python3", "-I", "-c", FAMILY)
        assert family.stdout is not None
        for _ in range(3):
            await asyncio.to_thread(family.stdout.readline)
        everybody = {family.pid, *_children(family.pid)}
        monkeypatch.setattr(scopes, "members_of", lambda cgroup: [p for p in everybody if _lives(p)] if cgroup else [])
        monkeypatch.setattr(scopes, "is_occupied", lambda _: any(_lives(p) for p in everybody))
        manager = NoSystemd()
        what = End(SessionId("S-AAAAAAAA"), family.pid, 0, "", LOGIN_SCOPE)
        outcome = await end_everything(manager, what)
        assert outcome.left == ()
        assert not any(_lives(p) for p in everybody)

    runtime_story(tmp_path, test)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *_children(int(child))]
    return found


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_login_session_is_taken_up_again_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its scope and what it was."""

    async def test(w: Runtime) -> None:
        grant = await w.granted()
        monkeypatch.setattr("jitsudo.daemon.session._scope_of_login", lambda *_: LOGIN_SCOPE)
        monkeypatch.setattr(scopes, "is_in", lambda cgroup, _pid: cgroup == LOGIN_SCOPE)
        made, _ = new_session(
            person=grant.request.person,  # type: ignore[arg-type]
            grant=grant.id, role=RoleName("web"), run_as="daemon", command="sshd daemon", pid=w.spawn().pid, now=w.state.now(),
            not_after=1, on_expiry=ExpiryTerms("kill", 0), parent=None, service="sshd",
        )  # fmt: skip
        again = from_ledger(made.id, grant.id, made.facts())
        assert again is not None
        assert (again.service, again.login_scope, again.is_login) == ("sshd", LOGIN_SCOPE, True)
        made.close()
        again.close()

    runtime_story(tmp_path, test)


@pytest.mark.parametrize(("service", "goes_on"), [("sshd", True), (None, False)])
def test_a_login_goes_on_under_another_grant_of_its_role(
    service: str | None, goes_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody's `run_as` names the person; a command that ran as that user does not."""

    async def test(w: Runtime) -> None:
        first, second = await w.granted(600), await w.granted(3000)
        session, _ = await w.session(first, w.spawn().pid)
        session.longest, session.service, session.run_as = 3600, service, session.person.name

        async def fine(*_: object) -> None:
            return None

        monkeypatch.setattr(w.timers._granting, "verify", fine)
        now = w.state.now()
        w.timers._end_or_go_on(session, type(now)(first.grant.not_after, now.boot))
        await until(lambda: session.ending is not None or session.grant == second.id)
        assert (session.ending is None, session.grant == second.id) == (goes_on, goes_on)

    runtime_story(tmp_path, test)
