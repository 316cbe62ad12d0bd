"""Who may do what on the control socket; who it is comes from the kernel (host/peer.py)."""

from __future__ import annotations

from dataclasses import dataclass

from jitsudo.daemon.granting import login_name
from jitsudo.daemon.people import People
from jitsudo.daemon.session import Session
from jitsudo.daemon.sessions import Sessions
from jitsudo.errors import Denied
from jitsudo.grants.lifecycle import GrantRecord, RequestRecord
from jitsudo.host.peer import Peer
from jitsudo.policy.access import ApproverId, may_approve
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import Deny
from jitsudo.types import Person, Uid, UserName


@dataclass(frozen=True, slots=True)
class Asker:
    """Who calls, and from inside which session, if any. `login_name` is the account behind the login uid."""

    person: Person
    login_name: UserName | None
    session: Session | None

    @property
    def is_root(self) -> bool:
        """uid 0 outside any session: inside, it is that session's person with a command's privileges."""
        return self.person.uid == 0 and self.session is None

    def require_outside(self, what: str) -> None:
        """A process inside a session may only list and give back."""
        if self.session is not None:
            raise Denied(f"from inside a jitsudo session nobody may {what}", "use a login shell of your own")

    def require_root(self, what: str) -> None:
        self.require_outside(what)
        if self.person.uid != 0:
            raise Denied(f"only root may {what}")


async def identify_asker(peer: Peer, people: People, sessions: Sessions) -> Asker:
    """Raises NotFound, Denied, Failed."""
    uid, login_uid = Uid(peer.uid), peer.credentials.login_uid
    person = await people.ask(lambda accounts: accounts.person(uid, login_uid))
    wanted = [] if login_uid is None else [(login_uid, login_uid)]
    known = await people.people(wanted)
    return Asker(person, login_name(person, known), sessions.around(peer.pid))


async def approver_answer(asker: Asker, request: RequestRecord, policy: Policy, people: People) -> ApproverId | Deny:
    """As whom the asker's approval of this request would count, or why it does not."""
    role = policy.roles.get(request.request.role)
    subject = request.request.person
    wanted = [(subject.uid, subject.login_uid)]
    if subject.login_uid is not None:
        wanted.append((subject.login_uid, subject.login_uid))
    known = await people.people(wanted)
    requester = known.get((subject.uid, subject.login_uid))
    if role is None:
        return Deny("not-open", f"role {request.request.role} is not in the policy in force any more")
    if requester is None or requester.name != subject.name:
        return Deny("not-open", f"{subject.name} is not in the user database any more")
    return may_approve(
        asker.person,
        requester,
        role,
        policy,
        login_name=asker.login_name,
        requester_login_name=login_name(requester, known),
    )


def is_mine(asker: Asker, record: RequestRecord | GrantRecord) -> bool:
    """Whether the request or grant is the asker's own; inside a session, the session's person's."""
    person = asker.person if asker.session is None else asker.session.person
    return (record.request.person.uid, record.request.person.name) == (person.uid, person.name)
