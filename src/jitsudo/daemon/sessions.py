"""Sessions: each elevated command with its descendants, from its scope's start to the end of everything in it."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
from collections.abc import Mapping
from typing import Final

from jitsudo.daemon.session import Session, from_ledger, token_digest
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import Denied, Failed, InvalidValue
from jitsudo.host import scopes
from jitsudo.host.ending import End, end_everything
from jitsudo.host.peer import ancestry, is_running, read_status
from jitsudo.types import GrantId, Moment, SessionId

log = logging.getLogger("jitsudod")
STRAY_SECONDS: Final = 2.0  # between two looks for scopes that no session has
LAST_WORDS_SECONDS: Final = 2.0  # for a connection to end after its sudo has: something else may hold it open
UNKNOWN: Final = "unknown"


class Sessions:
    """All sessions that have not ended, by id."""

    def __init__(self, state: DaemonState, manager: scopes.SystemManager) -> None:
        self._state = state
        self._manager = manager
        self._live: dict[SessionId, Session] = {}
        self._prepared: dict[SessionId, asyncio.Task[None]] = {}
        self._opening: set[SessionId] = set()
        self._unknown: set[asyncio.Task[None]] = set()
        self._strays: set[SessionId] = set()
        self._strays_due = 0.0

    def all(self) -> list[Session]:
        return list(self._live.values())

    def under(self, grant: GrantId) -> list[Session]:
        return [s for s in self._live.values() if s.grant == grant]

    def around(self, pid: int) -> Session | None:
        """The session in which a process runs: by its scope, by that of an ancestor, or as a descendant of its sudo.

        A process that left its scope (a login session that `su -` opened) is still its session's. Raises Denied where a
        scope of ours cannot be told: nobody becomes an outsider by that.
        """
        elevated = [s for s in self._live.values() if not s.is_login]
        by_pid = {s.pid: s for s in elevated}
        by_login = {s.login_scope: s for s in elevated if s.login_scope}
        for process in ancestry(pid):
            name = scopes.session_in_cgroup(process.cgroup)
            if name is not None and SessionId(name) not in self._prepared:
                known = self._live.get(SessionId(name))
                if known is None:
                    raise Denied("this process belongs to a session that has ended", "leave it and log in again")
                if not known.is_login:
                    return known
            opened = by_login.get(scopes.login_scope(process.cgroup) or "")
            if opened is not None:
                return opened
            behind = by_pid.get(process.pid)
            if behind is not None and behind.start_time == process.start_time:
                return behind
        return None

    def prepare(self, session: Session, now: Moment) -> None:
        """Begin with the scope while sudo asks about the account: it is no session before `open`, which waits for it.

        sudo's process is alone in there, and counts as being where its parent is.
        """
        task = asyncio.get_running_loop().create_task(self._start_scope(session, now))
        task.add_done_callback(_retrieved)
        self._prepared[session.id] = task

    def drop(self, session: Session) -> None:
        """What was prepared came to nothing: sudo leaves the scope by ending. For a session that was opened: nothing."""
        task = self._prepared.pop(session.id, None)
        if task is not None:
            task.cancel()
            session.close()

    async def _start_scope(self, session: Session, now: Moment) -> None:
        longest = max(1, session.last_resort - now.wall)
        await self._manager.start_scope(
            session.id, session.pid, f"{session.person.name}: {session.command[:200]} (jitsudo)", longest
        )

    async def open(self, session: Session, now: Moment) -> None:
        """Put sudo's process into the session's scope, checked. Raises Failed; nothing is left behind then."""
        self._live[session.id] = session
        self._opening.add(session.id)
        prepared = self._prepared.pop(session.id, None)
        try:
            if not session.login_scope:
                await (prepared or self._start_scope(session, now))
        except BaseException:  # cancelled, too: the scope is not to be taken for a session; raised again
            self._forget(session)
            raise
        finally:
            self._opening.discard(session.id)
        asyncio.get_running_loop().add_reader(session.pidfd, self._sudo_ended, session)

    def follow(self, session: Session, pid: int) -> None:
        """`sudo -b` goes on in a child of itself: from now on, that one is the session's sudo. Raises Failed."""
        try:
            pidfd = os.pidfd_open(pid)
            start_time = read_status(pid).start_time
        except OSError:
            raise Failed("sudo ended before it got its answer") from None
        loop = asyncio.get_running_loop()
        loop.remove_reader(session.pidfd)
        os.close(session.pidfd)
        session.pid, session.start_time, session.pidfd = pid, start_time, pidfd
        loop.add_reader(pidfd, self._sudo_ended, session)

    def abandon(self, session: Session, outcome: str) -> None:
        """The session was put on record, but its command is not to run. sudo leaves the scope by ending."""
        session.outcome = outcome
        if session.id not in self._live:
            entry = self._state.journal.session_ended(session.id, session.grant, outcome, None)
            self._state.note(self._state.now(), entry)
            session.close()

    def prove(self, session: str, token: str) -> Session:
        """The live session whose token this is. Raises Denied."""
        try:
            known = self._live.get(SessionId(session))
        except InvalidValue:
            known = None
        if known is None or not hmac.compare_digest(known.token_digest, token_digest(token)):
            raise Denied("there is no such session, or its token is wrong")
        return known

    def closed(self, session: Session, wait_status: int, errno: int) -> None:
        """The front end reports the command's end; see wait(2) for the status."""
        if errno:
            session.outcome = f"could not be executed: {os.strerror(errno)}"
        elif os.WIFSIGNALED(wait_status):
            session.outcome = f"killed by signal {os.WTERMSIG(wait_status)}"
        else:
            session.exit_status = os.waitstatus_to_exitcode(wait_status) if os.WIFEXITED(wait_status) else None
            session.outcome = f"exit status {session.exit_status}"

    def _sudo_ended(self, session: Session) -> None:
        asyncio.get_running_loop().remove_reader(session.pidfd)
        self.reap(session)

    def disconnected(self, session: Session, connection: object) -> None:
        """The connection has ended, and everything that came on it was heard."""
        if session.connection is connection:
            session.connection = None
            self.reap(session)

    def reap(self, session: Session) -> bool:
        """Whether sudo and all that it started have gone, and its last words were heard; it is over then, and recorded so."""
        if session.id not in self._live:
            return True
        if session.id in self._opening:  # whoever opens it says what became of it, and only they
            return False
        if scopes.is_occupied(session.cgroup) or (session.ending is not None and not session.ending.done()):
            return False
        if is_running(session.pidfd) or self._has_more_to_say(session):
            return False
        now = self._state.now()
        outcome = session.outcome or "sudo ended without saying how"
        self._state.note(
            now, self._state.journal.session_ended(session.id, session.grant, outcome, session.exit_status)
        )
        self._forget(session)
        return True

    def _has_more_to_say(self, session: Session) -> bool:
        """Whether how the command ended may still be on its way: the connection of a sudo that has gone is still to be read."""
        if session.connection is None:
            return False
        now = asyncio.get_running_loop().time()
        session.heard_by = session.heard_by or now + LAST_WORDS_SECONDS
        return now < session.heard_by

    def reap_all(self) -> None:
        """Sessions whose sudo has gone but which left something running are looked at from time to time."""
        for session in self.all():
            self.reap(session)
        self._look_for_strays()

    def _look_for_strays(self) -> None:
        """Scopes that no session has: of a sudo that was killed while it was being put there. Seen twice, they are ended."""
        now = asyncio.get_running_loop().time()
        if now < self._strays_due:
            return
        self._strays_due = now + STRAY_SECONDS
        strays = {name for name in scopes.existing() if name not in self._live and name not in self._prepared}
        for name in strays & self._strays:
            task = asyncio.get_running_loop().create_task(self._end_stray(name))
            self._unknown.add(task)
            task.add_done_callback(self._unknown.discard)
        self._strays = strays - self._strays

    async def _end_stray(self, session: SessionId) -> None:
        if scopes.is_populated(session):
            await self._end_unknown(session)
            return
        with contextlib.suppress(Failed):  # looked at again next time
            await self._manager.stop_scope(session)

    def _forget(self, session: Session) -> None:
        self._live.pop(session.id, None)
        session.close()

    # Ending.

    def due(self, now: Moment) -> list[Session]:
        return [s for s in self.all() if now.wall >= s.ends and s.ending is None]

    def go_on_under(self, session: Session, grant: GrantId, not_after: int, now: Moment) -> None:
        """The session's grant is over, another one covers it: it ends with that, by whatever that one ends."""
        added = min(not_after - session.not_after, session.longest)
        if added <= 0:
            return
        before, session.grant = session.grant, grant
        session.not_after, session.longest = session.not_after + added, session.longest - added
        self._state.note(now, self._state.journal.session_continued(session.id, grant, before, session.facts()))

    def next_end(self) -> int | None:
        return min((s.ends for s in self.all() if s.ending is None), default=None)

    def end(self, session: Session, reason: str) -> asyncio.Task[None]:
        """End everything in the session, those inside it too, and tell the person why. Does not raise."""
        if session.ending is None:
            for inner in self.all():
                if inner.parent == session.id:
                    self.end(inner, reason)
            session.ending = asyncio.get_running_loop().create_task(self._end(session, reason))
            session.ending.add_done_callback(lambda _: self.reap(session))
        return session.ending

    async def _end(self, session: Session, reason: str) -> None:
        self._state.note(self._state.now(), self._state.journal.session_killed(session.id, session.grant, reason))
        session.outcome = session.outcome or f"ended: {reason}"
        what = End(session.id, session.pid, session.start_time, session.caller_cgroup, session.login_scope)
        outcome = await end_everything(self._manager, what)
        if session.terminal is not None:
            session.terminal.restore()
            session.terminal.say(f"jitsudo: {reason}; the session has ended")
        if outcome.left:
            why = "they could not be ended"
            entry = self._state.journal.session_escaped(session.id, session.grant, outcome.left, why)
            self._state.note(self._state.now(), entry)

    # After a restart.

    def adopt(self, started: Mapping[str, Mapping[str, object]]) -> None:
        """Take up again the sessions that outlived the daemon; those that did not are recorded as ended.

        One that runs although the ledger knows nothing of it (a damaged ledger was put aside) could not be revoked: it ends.
        """
        for name, body in started.items():
            session = from_ledger(SessionId(name), GrantId(body["grant"]), body["state"])
            if session is None:
                outcome = "ended while the daemon was not running"
                entry = self._state.journal.session_ended(name, str(body["grant"]), outcome, None)
                self._state.note(self._state.now(), entry)
                continue
            self._live[session.id] = session
            asyncio.get_running_loop().add_reader(session.pidfd, self._sudo_ended, session)

        for name in scopes.running():
            if name not in self._live:
                task = asyncio.get_running_loop().create_task(self._end_unknown(name))
                self._unknown.add(task)
                task.add_done_callback(self._unknown.discard)

    async def _end_unknown(self, session: SessionId) -> None:
        entry = self._state.journal.session_killed(session, UNKNOWN, "the ledger does not know this session")
        self._state.note(self._state.now(), entry)
        outcome = await end_everything(self._manager, End(session, pid=0, start_time=0, caller_cgroup=""))
        if outcome.left:
            entry = self._state.journal.session_escaped(session, UNKNOWN, outcome.left, "they could not be ended")
            self._state.note(self._state.now(), entry)

    def close(self) -> None:
        """The daemon stops; sessions go on."""
        for session in self.all():
            self._forget(session)


def _retrieved(task: asyncio.Task[None]) -> None:
    """`open` raises what went wrong; where it never comes to that, nobody asks."""
    if not task.cancelled():
        task.exception()
