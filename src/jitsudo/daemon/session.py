"""One session: what is known of it, how it is made, and how it is told to the ledger and read back."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from typing import Final

from jitsudo.errors import Failed
from jitsudo.grants.model import SESSION_ENTROPY_BYTES, new_session_id
from jitsudo.host import scopes
from jitsudo.host.peer import read_cgroup, read_status
from jitsudo.host.terminal import Terminal
from jitsudo.policy.verdict import ExpiryTerms
from jitsudo.types import AbsPath, GrantId, Moment, Person, RoleName, SessionId, Uid, UserName
from jitsudo.wire.fields import Fields

NEVER: Final = float("-inf")
LAST_RESORT_SECONDS: Final = 60  # after the session's longest possible end, systemd ends the scope by itself


@dataclass(slots=True)
class Session:
    """One session. Times are wall clock seconds; `ends` is when it is ended at the latest, whatever runs."""

    id: SessionId
    person: Person
    grant: GrantId
    role: RoleName
    run_as: str
    command: str
    pid: int
    start_time: int  # of that process: a pid alone may be another's by now
    pidfd: int
    caller_cgroup: str
    started: int
    not_after: int
    on_expiry: ExpiryTerms
    token_digest: str
    parent: SessionId | None
    run_as_uid: Uid | None = None  # None: of a session that outlived the daemon
    seen_at: float = NEVER  # by the boot clock: until when person and target were certainly in the user database
    edits: tuple[AbsPath, ...] = ()  # the files of a checked edit
    longest: int = 0  # seconds that other grants of the role may add
    service: str | None = None  # the PAM service, of somebody who came in; None: a command of sudo's
    login_scope: str = ""  # logind's scope, where that stands in for one of our own
    terminal: Terminal | None = None
    exit_status: int | None = None
    outcome: str | None = None
    ending: asyncio.Task[None] | None = field(default=None, repr=False)
    connection: object = field(default=None, repr=False)  # of its sudo, while it is there: what is said on it comes first
    heard_by: float | None = None  # on the event loop's clock, once sudo has gone: until when that is waited for

    @property
    def ends(self) -> int:
        return self.not_after + (self.on_expiry.grace if self.on_expiry.mode == "finish" else 0)

    @property
    def cgroup(self) -> str:
        """Where what belongs to the session is, in the unified hierarchy."""
        return self.login_scope or scopes.scope_cgroup(self.id)

    @property
    def is_login(self) -> bool:
        """Whether somebody came in as themselves: nothing in there is run by the grant, sudo asks for its own."""
        return self.service is not None and self.run_as == self.person.name

    @property
    def last_resort(self) -> int:
        """When systemd ends the scope by itself; fixed at the start, since it cannot be changed afterwards."""
        return self.ends + self.longest + LAST_RESORT_SECONDS

    def close(self) -> None:
        """Let go of the descriptors; the processes are not touched."""
        if self.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1
        if self.terminal is not None:
            self.terminal.close()

    def facts(self) -> dict[str, object]:
        """What is needed to adopt the session again, for the ledger."""
        return {
            "uid": self.person.uid,
            "name": self.person.name,
            "login_uid": self.person.login_uid,
            "role": self.role,
            "run_as": self.run_as,
            "command": self.command,
            "pid": self.pid,
            "start_time": self.start_time,
            "caller_cgroup": self.caller_cgroup,
            "started": self.started,
            "not_after": self.not_after,
            "on_expiry": self.on_expiry.mode,
            "grace": self.on_expiry.grace,
            "token_digest": self.token_digest,
            "parent": self.parent,
            "edits": list(self.edits),
            "longest": self.longest,
            "service": self.service,
            "login_scope": self.login_scope,
        }


def token_digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_session(
    *,
    person: Person,
    grant: GrantId,
    role: RoleName,
    run_as: str,
    command: str,
    pid: int,
    now: Moment,
    not_after: int,
    on_expiry: ExpiryTerms,
    parent: SessionId | None,
    run_as_uid: Uid | None = None,
    edits: tuple[AbsPath, ...] = (),
    longest: int = 0,
    service: str | None = None,
    seen_at: float = NEVER,
) -> tuple[Session, str]:
    """A session that is not open yet, and the token that proves it. Raises Failed if sudo has gone already.

    A login for which logind has made a scope keeps that; everything else gets one of its own.
    """
    token = secrets.token_hex(16)
    try:
        pidfd = os.pidfd_open(pid)
        sudo = read_status(pid)
        caller_cgroup = read_cgroup(sudo.parent)
        login_scope = _scope_of_login(read_cgroup(pid), caller_cgroup) if service is not None else ""
    except OSError:
        raise Failed("sudo ended before it got its answer") from None
    session = Session(
        id=new_session_id(secrets.token_bytes(SESSION_ENTROPY_BYTES)),
        person=person,
        grant=grant,
        role=role,
        run_as=run_as,
        command=command,
        pid=pid,
        start_time=sudo.start_time,
        pidfd=pidfd,
        caller_cgroup=caller_cgroup,
        started=now.wall,
        not_after=not_after,
        on_expiry=on_expiry,
        token_digest=token_digest(token),
        parent=parent,
        run_as_uid=run_as_uid,
        seen_at=seen_at,
        edits=edits,
        longest=longest,
        service=service,
        login_scope=login_scope,
    )
    return session, token


def _scope_of_login(cgroup: str, caller_cgroup: str) -> str:
    """The login's own scope; "" where there is none. The caller's is not: `su` stays in the login that it is called in."""
    scope = scopes.login_scope(cgroup)
    return scope if scope is not None and scope != scopes.login_scope(caller_cgroup) else ""


def _open_if_inside(cgroup: str, pid: int) -> int | None:
    """A pidfd of sudo's process if it, or else anything, is still in the session's cgroup."""
    for candidate in (pid, *scopes.members_of(cgroup)):
        try:
            pidfd = os.pidfd_open(candidate)
        except OSError:
            continue
        if scopes.is_in(cgroup, candidate):
            return pidfd
        os.close(pidfd)
    return None


def from_ledger(name: SessionId, grant: GrantId, facts: object) -> Session | None:
    """The session that `Session.facts` described, None if nothing of it runs any more. Raises InvalidValue."""
    f = Fields(facts, "session.started")
    login_uid, parent, pid = f.optional_integer("login_uid"), f.optional_text("parent"), f.integer("pid")
    person = Person(Uid(f.integer("uid")), UserName(f.text("name")), None if login_uid is None else Uid(login_uid))
    service, login_scope = f.optional_text("service"), f.optional_text("login_scope") or ""
    pidfd = _open_if_inside(login_scope or scopes.scope_cgroup(name), pid)
    if pidfd is None:
        return None
    return Session(
        id=name,
        person=person,
        grant=grant,
        role=RoleName(f.text("role")),
        run_as=f.text("run_as"),
        command=f.text("command"),
        pid=pid,
        start_time=f.integer("start_time"),
        pidfd=pidfd,
        caller_cgroup=f.text("caller_cgroup"),
        started=f.integer("started"),
        not_after=f.integer("not_after"),
        on_expiry=ExpiryTerms("finish" if f.text("on_expiry") == "finish" else "kill", f.integer("grace")),
        token_digest=f.text("token_digest"),
        parent=None if parent is None else SessionId(parent),
        edits=tuple(AbsPath(path) for path in f.texts("edits", ())),
        longest=f.optional_integer("longest") or 0,
        service=service,
        login_scope=login_scope,
    )
