"""Who wants in through PAM, and as whom: PAM's word, cross-checked with the kernel's.

| service | the person is | as far as the kernel agrees |
| --- | --- | --- |
| `su`, `sudo`, `doas`, `runuser` | who called it (PAM_RUSER) | the process's real uid is theirs; its login uid is the grant's |
| any other: sshd, login, cron | who is let in (PAM_USER) | the process is root's altogether, and in nobody's session |
| any, inside a session | the session's person | by the scope, whatever uid the process has |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from jitsudo.daemon.people import People
from jitsudo.daemon.session import Session
from jitsudo.daemon.sessions import Sessions
from jitsudo.errors import Denied, InvalidValue, NotFound
from jitsudo.host.accounts import Accounts
from jitsudo.host.journal import AccessFacts
from jitsudo.host.peer import Credentials, Peer, read_credentials
from jitsudo.policy.admission import CALLED, Entrance, service_named
from jitsudo.types import Account, Person, Uid, UserName
from jitsudo.wire.calls import Admit

_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as in a role
# They prove who calls before they say, when the session begins, as whom that person wants to be.
_TARGET_LAST: Final = frozenset({"sudo", "doas"})


@dataclass(frozen=True, slots=True)
class Entering:
    """One person at the door. `target` is the account of `entrance.user`."""

    call: Admit
    entrance: Entrance
    target: Account
    session: Session | None
    is_root_outside: bool

    @property
    def person(self) -> Person:
        return self.entrance.person

    @property
    def facts(self) -> AccessFacts:
        """What is said of it on record."""
        call, entrance = self.call, self.entrance
        return AccessFacts(entrance.person, call.phase, entrance.service, entrance.user, call.rhost, call.tty)


async def identify_entering(peer: Peer, call: Admit, people: People, sessions: Sessions) -> Entering:
    """Raises Denied where anything does not fit, InvalidValue, NotFound, Failed."""
    if not _SERVICE.fullmatch(call.service):
        raise InvalidValue(f"not the name of a PAM service: {call.service!a}")
    name = UserName(call.user)
    try:
        process = read_credentials(peer.pid)
    except ProcessLookupError:
        raise Denied("the calling process ended before it got its answer") from None
    if peer.uid != 0 or process.effective_uid != 0 or not peer.is_alive():
        raise Denied("only root's own process may ask to let somebody in")
    is_called, session = service_named(call.service) in CALLED, sessions.around(peer.pid)
    if not is_called and process.real_uid != 0:
        raise Denied(f"{call.service} lets people in, and was started by somebody who is not root")

    def look_up(accounts: Accounts) -> tuple[Account, Account, Person]:
        target = accounts.by_name(name)
        if target is None:
            raise NotFound(f"unknown user {name}", "getent passwd")
        subject = _caller(call, process, accounts) if is_called else target
        login_uid = process.login_uid if is_called else target.uid
        if session is None:
            return target, subject, accounts.person(subject.uid, login_uid)
        return target, subject, accounts.person(session.person.uid, session.person.login_uid)

    target, subject, person = await people.ask(look_up)
    comes_later = service_named(call.service) in _TARGET_LAST and call.phase != "session" and name == subject.name
    return Entering(
        call=call,
        entrance=Entrance(person, call.service, None if comes_later else target.name),
        target=target,
        session=session,
        is_root_outside=subject.uid == 0 and session is None,
    )


def _caller(call: Admit, process: Credentials, accounts: Accounts) -> Account:
    """Who called su or the like. Raises Denied."""
    account = accounts.by_uid(Uid(process.real_uid))
    if account is None:
        raise Denied(f"uid {process.real_uid} has no entry in the user database", "getent passwd")
    if call.ruser is None and account.uid == 0:
        return account
    # What is set up from within a process of the caller's counts only where the kernel says the same.
    named = accounts.by_name(UserName(call.ruser)) if call.ruser else None
    if named is None or named.uid != account.uid:
        raise Denied(f"{call.service}'s account of its caller does not match the kernel's", "log in as yourself, and try again")
    return account
