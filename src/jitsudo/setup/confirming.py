"""Whether a confirmation proves anything: that somebody who is not in yet gets in, and becomes root.

  1 jitsudo is enabled and waits for it
  2 who confirms comes from another login than the one that enabled: a session that was open before proves nothing
  3 and became root through the new front end, or logged in as root, which no front end keeps from
"""

from __future__ import annotations

from jitsudo.errors import Denied, WrongState
from jitsudo.setup.caller import Caller
from jitsudo.setup.state import NO_SESSION, Mode, SetupState
from jitsudo.setup.sudoconf import FrontEnd


def prove(state: SetupState, caller: Caller) -> str:
    """How the confirmation is proven, in a sentence for the record. Raises WrongState, Denied with what is wanted."""
    if state.mode is Mode.ENABLED:  # (1)
        raise WrongState("it is confirmed already", "jitsudo setup status")
    if state.mode is not Mode.UNCONFIRMED:
        raise WrongState("nothing waits to be confirmed: jitsudo is not enabled", "jitsudo setup enable")
    how = _how_to(state)
    if caller.uid != 0:
        raise Denied("only root may confirm", how)
    if caller.session == NO_SESSION or caller.login_uid is None:  # (2)
        raise Denied("you are in no login session (a service, cron, a container's shell), and that proves nothing", how)
    if caller.session == state.session:
        raise Denied("this is the login that enabled it: it was open before, and proves nothing", how)
    if caller.login_uid == 0:  # (3)
        return f"by a login as root (session {caller.session})"
    if caller.jitsudo_session is None:
        raise Denied("you are root, but not through jitsudo: this shows nothing of whether it lets you in", how)
    return f"by {caller.name}, who became root through jitsudo (session {caller.session}, {caller.jitsudo_session})"


def _how_to(state: SetupState) -> str:
    root = "su root -c 'jitsudo setup confirm'" if state.front_end is FrontEnd.PAM else "sudo jitsudo setup confirm"
    return f"log in anew, in a second window, ask for a role that allows it, and there: {root}; or log in as root"
