"""Who calls, as the kernel has it: which login, at which terminal, through what they became root."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from jitsudo.host.peer import read_cgroup, read_credentials
from jitsudo.host.processes import audit_session
from jitsudo.host.scopes import session_in_cgroup
from jitsudo.setup.state import NO_SESSION


@dataclass(frozen=True, slots=True)
class Caller:
    """`session`: the audit session, NO_SESSION outside of logins; `jitsudo_session`: the id of jitsudo's session around it.

    `login_uid`: who logged in, None if nobody did.
    """

    uid: int
    login_uid: int | None
    session: int
    tty: str
    jitsudo_session: str | None

    @property
    def name(self) -> str:
        """The account that logged in, else that of the process."""
        uid = self.uid if self.login_uid is None else self.login_uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return f"#{uid}"


def read_caller() -> Caller:
    """This very process."""
    pid = os.getpid()
    login_uid = read_credentials(pid).login_uid
    session = audit_session(pid)
    return Caller(
        uid=os.geteuid(),
        login_uid=None if login_uid is None else int(login_uid),
        session=NO_SESSION if session is None else session,
        tty=_terminal(),
        jitsudo_session=session_in_cgroup(read_cgroup(pid)),
    )


def _terminal() -> str:
    """The controlling terminal's device, as a number that does not change with redirections (proc_pid_stat(5), tty_nr)."""
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        number = int(file.read().rpartition(")")[2].split()[4])
    return "none" if number == 0 else f"{os.major(number)}:{os.minor(number)}"
