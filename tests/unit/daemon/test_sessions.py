"""Sessions and time: what was started is found and ended; what time or somebody took back does not go on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jitsudo.daemon import sessions as sessions_module
from jitsudo.daemon.approving import Approving
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.identity import load_identity
from jitsudo.daemon.people import People
from jitsudo.daemon.session import Session, new_session
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.timers import Timers
from jitsudo.errors import Denied, Failed
from jitsudo.grants.envelope import Envelope, Namespace
from jitsudo.grants.issue import build_grant
from jitsudo.grants.lifecycle import GrantRecord, State
from jitsudo.grants.model import HostRef, Request, Revocation, Subject, digest, grant_id, request_id
from jitsudo.host import peer as peer_module
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.ending import End, end_everything
from jitsudo.host.journal import Journal
from jitsudo.host.peer import read_cgroup, read_process
from jitsudo.host.redaction import Redactor
from jitsudo.host.scopes import SystemManager
from jitsudo.policy.verdict import ExpiryTerms, Host
from jitsudo.types import Digest, Duration, Moment, Person, Reason, RoleName, SessionId, Uid, UserName

pytestmark = pytest.mark.usefixtures("uncollected")

ALICE = Person(Uid(1), UserName("daemon"), Uid(1))
BOB = Person(Uid(2), UserName("bin"), Uid(2))
# A process with a child and a grandchild of which one heeds no SIGTERM; each says when it is ready.
FAMILY = """
import os, signal, sys, time
for stubborn in (0, 1, 0):
    if stubborn: signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    if os.fork(): break
    os.setsid()
time.sleep(60)
"""


class NoSystemd(SystemManager):
    """There are no scopes here: what is found is found by descent."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def _send(self, _message: Any) -> Any:
        self.asked += 1
        raise Failed("there is no systemd here")


class World:
    def __init__(self, folder: Path) -> None:
        identity = load_identity(folder)
        self.key = identity.key
        self.people = People(SystemAccounts())
        journal = Journal(Redactor(identity.redaction_key))
        self.state = DaemonState(folder, identity, journal, self.people, Host("h", {}))
        self.manager = NoSystemd()
        self.sessions = Sessions(self.state, self.manager)
        granting = Granting(self.state)
        approving = Approving(self.state, granting, "/nonexistent")
        self.timers = Timers(self.state, granting, self.sessions, approving, self.manager)
        self.children: list[subprocess.Popen[bytes]] = []
        self.nonce = 0

    def types(self) -> list[str]:
        return [row.type for row in self.state.ledger.after(0, 1000)]

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(command or ("sleep", "60"), stdout=subprocess.PIPE)
        self.children.append(child)
        return child

    async def granted(self, seconds: int = 600) -> GrantRecord:
        """A grant on record, as a request of alice's became one."""
        now, journal = self.state.now(), self.state.journal
        self.nonce += 1
        request = Request(
            nonce=f"{self.nonce:032x}", role=RoleName("web"), role_digest=Digest("sha256:" + "a" * 64),
            person=Subject.of(ALICE), hosts=(HostRef(self.key.fingerprint, "h"),), run_as=(UserName("root"),),
            duration=Duration(seconds),
            activate_by=now.wall + 600, not_before=None, uses=None, reason=Reason("x"), created=now.wall,
        )  # fmt: skip
        asked = self.sealed(Namespace.REQUEST, request.payload())
        grant = self.sealed(Namespace.GRANT, build_grant(asked, (), now, self.key.fingerprint).payload())
        rid, gid, subject = request_id(asked.payload), grant_id(grant.payload), Subject.of(ALICE).as_json()
        await self.state.record(
            now,
            journal.request_created(rid, ALICE, "web", "x", asked.encode().decode()),
            journal.grant_issued(gid, rid, subject, "web", (now.wall, now.wall + seconds), [], grant.encode().decode(), False),
        )
        return self.state.book.grants[gid]

    def sealed(self, namespace: Namespace, payload: bytes) -> Envelope:
        return Envelope(payload, (self.key.signature(namespace, payload),))

    async def revoke(self, grant: GrantRecord) -> None:
        payload = Revocation(digest(grant.envelope.payload), Subject.of(BOB), Reason("enough"), 1).payload()
        envelope = self.sealed(Namespace.REVOCATION, payload).encode().decode()
        await self.state.record(self.state.now(), self.state.journal.grant_revoked(grant.id, BOB, "enough", envelope))

    async def session(self, grant: GrantRecord, pid: int, mode: str = "kill", grace: int = 0) -> tuple[Session, str]:
        """A session that runs, as after an allow, though without a scope."""
        made, token = self.made(grant, pid, mode, grace)
        await self.state.record(self.state.now(), self.state.journal.session_started(ALICE, made.id, grant.id, made.facts()))
        self.sessions._live[made.id] = made
        return made, token

    def made(self, grant: GrantRecord, pid: int, mode: str = "kill", grace: int = 0) -> tuple[Session, str]:
        """One that is not open."""
        return new_session(
            person=ALICE, grant=grant.id, role=RoleName("web"), run_as="root", command="sleep 60", pid=pid,
            now=self.state.now(), not_after=grant.grant.not_after, parent=None,
            on_expiry=ExpiryTerms(mode, grace),  # type: ignore[arg-type]
        )  # fmt: skip


def story(tmp_path: Path, test: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(tmp_path)
        try:
            await test(world)
        finally:
            world.sessions.close()
            world.state.ledger.close()
            world.people.close()
            for child in world.children:
                child.kill()
                child.wait()
                if child.stdout is not None:
                    child.stdout.close()

    asyncio.run(run())


def ready(child: subprocess.Popen[bytes]) -> None:
    assert child.stdout is not None
    for _ in range(3):
        assert child.stdout.readline() == b"ready\n"


def end_of(pid: int) -> End:
    process = read_process(pid)
    return End(SessionId("S-AAAAAAAA"), pid, process.start_time, read_cgroup(process.parent))


def test_what_left_the_scope_is_ended_by_descent_and_nothing_else(tmp_path: Path) -> None:
    """setsid and a deaf ear to SIGTERM do not help; a neighbour is left alone."""

    async def test(w: World) -> None:
        family, neighbour = w.spawn(sys.executable, "-I", "-c", FAMILY), w.spawn()
        ready(family)
        outcome = await end_everything(w.manager, end_of(family.pid))
        assert outcome.left == ()
        assert neighbour.poll() is None
        # sudo itself follows its command; here it is the test that ends it.
        alive = [p for p in w_descendants(family.pid) if p != family.pid]
        assert alive == []

    story(tmp_path, test)


def w_descendants(pid: int) -> list[int]:
    from jitsudo.host.processes import all_processes, descendants

    return [p for p in descendants([pid], all_processes()) if Path(f"/proc/{p}/cmdline").read_bytes()]


def test_a_pid_that_is_another_process_by_now_is_nobody(tmp_path: Path) -> None:
    """The children of whoever got sudo's pid are not ours."""

    async def test(w: World) -> None:
        family = w.spawn(sys.executable, "-I", "-c", FAMILY)
        ready(family)
        what = end_of(family.pid)
        outcome = await end_everything(w.manager, End(what.session, what.pid, what.start_time + 1, what.caller_cgroup))
        assert outcome.left == ()
        assert len(w_descendants(family.pid)) == 3
        await end_everything(w.manager, what)

    story(tmp_path, test)


def test_a_revocation_whose_author_went_away_still_ends_the_session(tmp_path: Path) -> None:
    """It is on record: whoever asked for it need not wait for the rest."""

    async def test(w: World) -> None:
        grant = await w.granted()
        family = w.spawn(sys.executable, "-I", "-c", FAMILY)
        ready(family)
        session, _ = await w.session(grant, family.pid)
        await w.timers._turn(w.state.now())
        assert session.ending is None
        await w.revoke(grant)
        await w.timers._turn(w.state.now())
        assert session.ending is not None
        await session.ending
        assert w_descendants(family.pid) == []
        family.kill()
        family.wait()
        assert w.sessions.reap(session)
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        assert w.types()[-3:] == ["session.killed", "session.ended", "heartbeat"]

    story(tmp_path, test)


@pytest.mark.parametrize(("mode", "grace", "ends"), [("kill", 0, True), ("finish", 600, False), ("finish", 0, True)])
def test_at_expiry_the_grant_ends_and_the_session_as_its_role_says(tmp_path: Path, mode: str, grace: int, ends: bool) -> None:
    """`kill` at once, `finish` after its grace."""

    async def test(w: World) -> None:
        grant = await w.granted(seconds=60)
        session, _ = await w.session(grant, w.spawn().pid, mode, grace)
        now = w.state.now()
        await w.timers._turn(Moment(grant.grant.not_after - 1, now.boot))
        assert w.state.book.grants[grant.id].state is State.ACTIVE
        assert session.ending is None
        await w.timers._turn(Moment(grant.grant.not_after, now.boot))
        assert w.state.book.grants[grant.id].state is State.EXPIRED
        assert (session.ending is not None) is ends
        if session.ending is not None:
            await session.ending

    story(tmp_path, test)


def test_a_grant_expires_by_time_since_boot_though_the_clock_was_set_back(tmp_path: Path) -> None:
    """Two clocks: the one that nobody can set ends it."""

    async def test(w: World) -> None:
        grant = await w.granted(seconds=600)
        loaded = w.state.loaded_at[grant.id]
        await w.timers._turn(Moment(loaded.wall - 3600, loaded.boot + 599))
        assert w.state.book.grants[grant.id].state is State.ACTIVE
        await w.timers._turn(Moment(loaded.wall - 3600, loaded.boot + 601))
        assert w.state.book.grants[grant.id].state is State.EXPIRED

    story(tmp_path, test)


def test_after_a_failure_to_write_the_timers_open_the_ledger_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, within a second or so."""
    import sqlite3

    monkeypatch.setattr("jitsudo.daemon.timers.LONGEST_SLEEP", 0.05)

    async def test(w: World) -> None:
        await w.granted()
        size = w.state.ledger.size
        blocker = sqlite3.connect(w.state.ledger.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Failed):
            await w.granted()
        blocker.execute("ROLLBACK")
        blocker.close()
        await w.timers._turn(w.state.now())
        assert w.state.ledger.failure is None
        assert len(w.state.live_grants()) == 1
        assert w.state.ledger.size >= size
        await w.granted()

    story(tmp_path, test)


def test_a_session_whose_sudo_goes_while_it_is_opened_ends_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that looks before the opening has failed leaves it to that."""

    async def test(w: World) -> None:
        grant, child, is_asked = await w.granted(), w.spawn(), asyncio.Event()

        async def start_scope(*_: object) -> None:
            is_asked.set()
            await asyncio.Future()

        monkeypatch.setattr(w.manager, "start_scope", start_scope)
        session, _ = w.made(grant, child.pid)
        await w.state.record(w.state.now(), w.state.journal.session_started(ALICE, session.id, grant.id, session.facts()))
        opening = asyncio.create_task(w.sessions.open(session, w.state.now()))
        await is_asked.wait()
        child.kill()
        child.wait()
        w.sessions.reap_all()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        w.sessions.abandon(session, "not allowed after all")
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        assert w.types().count("session.ended") == 1
        assert w.sessions.all() == []

    story(tmp_path, test)


def test_without_systemd_there_is_no_scope_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """No scope, no allow."""

    async def test(w: World) -> None:
        grant, child = await w.granted(), w.spawn()
        before = len(os.listdir("/proc/self/fd"))
        session, _ = await w.session(grant, child.pid)
        with pytest.raises(Failed, match="no systemd"):
            await w.sessions.open(session, w.state.now())
        assert w.sessions.all() == []
        assert len(os.listdir("/proc/self/fd")) == before
        w.sessions.abandon(session, "not allowed after all")
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        assert w.types()[-2:] == ["session.ended", "heartbeat"]

    story(tmp_path, test)


def test_what_was_prepared_is_no_session_until_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo in its scope is as far outside as before; once that came to nothing, it is nobody's."""

    async def test(w: World) -> None:
        grant, child = await w.granted(), w.spawn()
        before = len(os.listdir("/proc/self/fd"))
        started = asyncio.Event()

        async def start_scope(*_: Any) -> None:
            started.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(w.manager, "start_scope", start_scope)
        session, _ = w.made(grant, child.pid)
        w.sessions.prepare(session, w.state.now())
        await asyncio.wait_for(started.wait(), 30)
        real, cgroup = peer_module._read, f"0::/jitsudo.slice/jitsudo-{session.id}.scope\n".encode()

        def read(pid: int, name: str) -> bytes:
            return cgroup if (pid, name) == (child.pid, "cgroup") else real(pid, name)

        monkeypatch.setattr(peer_module, "_read", read)
        monkeypatch.setattr("jitsudo.host.scopes.existing", lambda: [session.id])
        assert w.sessions.all() == []
        assert w.sessions.around(child.pid) is None
        w.sessions._look_for_strays()
        assert w.sessions._strays == set()
        w.sessions.drop(session)
        w.sessions.drop(session)
        with pytest.raises(Denied, match="has ended"):
            w.sessions.around(child.pid)
        assert len(os.listdir("/proc/self/fd")) == before

    story(tmp_path, test)


def test_a_prepared_scope_that_failed_fails_where_it_is_opened(tmp_path: Path) -> None:
    """Once, and without a second attempt."""

    async def test(w: World) -> None:
        grant, child = await w.granted(), w.spawn()
        session, _ = w.made(grant, child.pid)
        w.sessions.prepare(session, w.state.now())
        await asyncio.sleep(0.01)
        with pytest.raises(Failed, match="no systemd"):
            await w.sessions.open(session, w.state.now())
        assert w.sessions.all() == []
        assert w.manager.asked == 1
        w.sessions.drop(session)

    story(tmp_path, test)


def test_how_a_command_ended_is_heard_though_sudo_has_gone_already(tmp_path: Path) -> None:
    """sudo says it and goes at once: what it said is taken first, whatever the kernel tells first."""

    async def test(w: World) -> None:
        child = w.spawn()
        session, _ = await w.session(await w.granted(), child.pid)
        older, connection = object(), object()
        session.connection = connection
        child.kill()
        child.wait()
        w.sessions._sudo_ended(session)
        w.sessions.disconnected(session, older)
        w.sessions.reap_all()
        await w.sessions.end(session, "its time is over")
        await asyncio.sleep(0)
        assert w.sessions.all() == [session]
        w.sessions.closed(session, 0, 0)
        w.sessions.disconnected(session, connection)
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        assert w.sessions.all() == []
        ended = [row.content() for row in w.state.ledger.after(0, 1000) if row.type == "session.ended"]
        assert [body["outcome"] for body in ended] == ["exit status 0"]

    story(tmp_path, test)


def test_a_connection_that_something_else_holds_open_keeps_no_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo has gone and nothing comes: after a while the session is over without its word."""
    monkeypatch.setattr(sessions_module, "LAST_WORDS_SECONDS", 0.05)

    async def test(w: World) -> None:
        child = w.spawn()
        session, _ = await w.session(await w.granted(), child.pid)
        session.connection = object()
        child.kill()
        child.wait()
        assert not w.sessions.reap(session)
        await asyncio.sleep(0.06)
        assert w.sessions.reap(session)
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        ended = [row.content() for row in w.state.ledger.after(0, 1000) if row.type == "session.ended"]
        assert [body["outcome"] for body in ended] == ["sudo ended without saying how"]

    story(tmp_path, test)


def test_a_sudo_that_ended_before_its_answer_has_no_session(tmp_path: Path) -> None:
    """And leaks no descriptor."""

    async def test(w: World) -> None:
        grant, child = await w.granted(), w.spawn("true")
        child.wait()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(Failed, match="ended before"):
            await w.session(grant, child.pid)
        assert len(os.listdir("/proc/self/fd")) == before

    story(tmp_path, test)


@pytest.mark.parametrize("token", ["", "x", "\udcff", "0" * 32, "é" * 40])
def test_only_the_token_proves_a_session(tmp_path: Path, token: str) -> None:
    """Not its id, which everybody can see."""

    async def test(w: World) -> None:
        session, right = await w.session(await w.granted(), w.spawn().pid)
        assert w.sessions.prove(session.id, right) is session
        for name in ("S-AAAAAAAA", "", "\udcff", session.id.lower(), f"{session.id} "):
            with pytest.raises(Denied):
                w.sessions.prove(name, right)
        for given in (token, right[:-1], right.upper() + "0", f" {right}"):
            with pytest.raises(Denied):
                w.sessions.prove(session.id, given)

    story(tmp_path, test)


ENDS = {
    (0, 0): ("exit status 0", 0),
    (3 << 8, 0): ("exit status 3", 3),
    (signal.SIGKILL, 0): ("killed by signal 9", None),
    (0, 2): ("could not be executed: No such file or directory", None),
}


@pytest.mark.parametrize(("reported", "expected"), ENDS.items())
def test_how_a_command_ended_is_told_in_words(tmp_path: Path, reported: tuple[int, int], expected: tuple[str, Any]) -> None:
    """wait(2), or the errno of execve(2)."""

    async def test(w: World) -> None:
        session, _ = await w.session(await w.granted(), w.spawn().pid)
        w.sessions.closed(session, *reported)
        assert (session.outcome, session.exit_status) == expected

    story(tmp_path, test)


def test_who_descends_from_a_sessions_sudo_is_inside_and_who_does_not_is_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By parents where the cgroup does not tell; by the cgroup where it does."""

    async def test(w: World) -> None:
        family, neighbour = w.spawn(sys.executable, "-I", "-c", FAMILY), w.spawn()
        ready(family)
        session, _ = await w.session(await w.granted(), family.pid)
        for pid in w_descendants(family.pid):
            assert w.sessions.around(pid) is session
        assert w.sessions.around(neighbour.pid) is None
        assert w.sessions.around(os.getpid()) is None
        places = {
            f"/jitsudo.slice/jitsudo-{session.id}.scope": session,
            f"/user.slice/user-3.slice/user@3.service/jitsudo.slice/jitsudo-{session.id}.scope": None,
            "/user.slice/x": None,
        }
        real = peer_module._read
        for path, expected in places.items():
            fake = {(neighbour.pid, "cgroup"): f"0::{path}\n".encode()}
            monkeypatch.setattr(peer_module, "_read", lambda p, name, f=fake: f.get((p, name)) or real(p, name))
            assert w.sessions.around(neighbour.pid) is expected, path
        gone = b"0::/jitsudo.slice/jitsudo-S-ABCDEFG2.scope\n"
        monkeypatch.setattr(peer_module, "_read", lambda p, name: gone if name == "cgroup" else real(p, name))
        with pytest.raises(Denied, match="has ended"):
            w.sessions.around(neighbour.pid)

    story(tmp_path, test)


def test_sessions_that_did_not_outlive_the_daemon_are_recorded_as_ended(tmp_path: Path) -> None:
    """Nothing of theirs runs, or what has their pid is not in their scope."""

    async def test(w: World) -> None:
        grant = await w.granted()
        session, _ = await w.session(grant, w.spawn().pid)
        started = w.state.started_sessions()
        assert list(started) == [session.id]
        w.sessions.close()
        w.sessions.adopt(started)
        assert w.sessions.all() == []
        assert w.state.started_sessions() == {}
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        assert "session.ended" in w.types()

    story(tmp_path, test)


def test_a_request_lapses_once(tmp_path: Path) -> None:
    """At its time, and on record."""

    async def test(w: World) -> None:
        now = w.state.now()
        request = Request(
            nonce="f" * 32, role=RoleName("web"), role_digest=Digest("sha256:" + "a" * 64), person=Subject.of(ALICE),
            hosts=(HostRef(w.key.fingerprint, "h"),), run_as=(UserName("root"),), duration=Duration(60),
            activate_by=now.wall + 10, not_before=None, uses=None, reason=Reason("x"), created=now.wall,
        )  # fmt: skip
        asked = w.sealed(Namespace.REQUEST, request.payload())
        rid = request_id(asked.payload)
        await w.state.record(now, w.state.journal.request_created(rid, ALICE, "web", "x", asked.encode().decode()))
        await w.timers._turn(Moment(now.wall + 10, now.boot))
        assert w.state.book.requests[rid].state is State.REQUESTED
        for _ in range(2):
            await w.timers._turn(Moment(now.wall + 11, now.boot))
        assert w.state.book.requests[rid].state is State.TIMED_OUT
        await w.state.record(w.state.now(), w.state.journal.heartbeat())
        assert w.types().count("request.timed_out") == 1

    story(tmp_path, test)


def test_a_heartbeat_is_recorded_from_time_to_time(tmp_path: Path) -> None:
    """So that silence is noticed."""

    async def test(w: World) -> None:
        now = w.state.now()
        for boot in (0, 100, 299, 301, 302):
            await w.timers._turn(Moment(now.wall, now.boot + boot))
        await w.state.record(w.state.now(), w.state.journal.clock_accepted(BOB))
        assert w.types().count("heartbeat") == 2

    story(tmp_path, test)
