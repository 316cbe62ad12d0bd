"""Who is behind a front end's call: sudo's account of its caller, cross-checked with the kernel's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jitsudo.daemon.people import People
from jitsudo.daemon.session import Session
from jitsudo.daemon.sessions import Sessions
from jitsudo.elevation.options import Caller, parse_user_info
from jitsudo.errors import Denied, NotFound
from jitsudo.host.accounts import Accounts
from jitsudo.host.peer import Peer, read_credentials
from jitsudo.types import Account, Person, Uid
from jitsudo.wire.calls import Invocation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Behind:
    """The person, the account that sudo was called from, and the session that it was called in, if any."""

    person: Person
    account: Account
    caller: Caller
    session: Session | None

    @property
    def is_root_outside(self) -> bool:
        """Real uid 0 outside any session needs no grant (grants.md, "Callers that nobody approves")."""
        return self.caller.uid == 0 and self.session is None


async def identify_caller(peer: Peer, invocation: Invocation, people: People, sessions: Sessions) -> Behind:
    """Raises Denied where anything does not fit, InvalidValue where `user_info` is malformed."""
    behind, _ = await identify_with(peer, invocation, people, sessions, lambda _caller, _uid: lambda _accounts: None)
    return behind


async def identify_with(
    peer: Peer,
    invocation: Invocation,
    people: People,
    sessions: Sessions,
    also: Callable[[Caller, Uid], Callable[[Accounts], T]],
) -> tuple[Behind, T]:
    """The same, and what else there is to ask the user database, in one go: `also` gives the question, for the caller and
    the uid whose grants count. Raises what that raises, too.
    """
    caller = parse_user_info(invocation.user_info)
    try:
        process = read_credentials(peer.pid)
    except ProcessLookupError:
        raise Denied("sudo ended before it got its answer") from None
    # The plugin runs in a setuid process: effective uid 0, the caller's real uid. What a message says counts only where the
    # kernel says the same (CVE-2018-1116).
    if peer.uid != 0 or process.effective_uid != 0 or not peer.is_alive():
        raise Denied("only sudo's own process may ask for a decision")
    if (process.real_uid, peer.pid) != (caller.uid, caller.pid):
        raise Denied("sudo's account of its caller does not match the kernel's", "call sudo directly, not through a wrapper")
    session = sessions.around(peer.pid)
    # A grant's role goes with the person, whatever uid a command inside a session has.
    uid, login_uid = (caller.uid, process.login_uid) if session is None else (session.person.uid, session.person.login_uid)

    more = also(caller, uid)

    def look_up(accounts: Accounts) -> tuple[Account | None, Person, T]:
        try:
            account, person = accounts.by_uid(caller.uid), accounts.person(uid, login_uid)
        except NotFound as error:
            raise Denied(error.sentence, "getent passwd") from None
        return account, person, more(accounts)

    account, person, answer = await people.ask(look_up)
    if account is None or account.name != caller.name:
        raise Denied(f"uid {int(caller.uid)} has no unambiguous entry in the user database", "getent passwd")
    return Behind(person, account, caller, session), answer
