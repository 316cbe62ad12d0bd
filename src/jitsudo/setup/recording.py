"""What setup did, on record: in the daemon's ledger, from which journald is fed, or in journald alone if no daemon answers.

Run as a program, it tells the daemon what jitsudo-restore did without it.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from jitsudo.client import Client
from jitsudo.errors import JitsudoError
from jitsudo.host.eventkinds import KINDS
from jitsudo.host.journal import AUTHPRIV
from jitsudo.setup.places import Places
from jitsudo.setup.programs import run
from jitsudo.types import shown_plainly

MAX_REASON_CHARS = 400


def record(event: str, user: str, front_end: str, reason: str) -> None:
    """It does not raise: what was done is done, and must not look undone for want of a record."""
    reason = shown_plainly(reason)[:MAX_REASON_CHARS]
    if not tell_daemon(event, front_end, reason):
        _to_journald(event, user, front_end, reason)


def tell_daemon(event: str, front_end: str, reason: str) -> bool:
    """Whether it is in the ledger now."""
    try:
        with Client() as client:
            client.call("NoteSetup", event=event, front_end=front_end, reason=shown_plainly(reason)[:MAX_REASON_CHARS])
    except JitsudoError:
        return False
    return True


def _to_journald(event: str, user: str, front_end: str, reason: str) -> None:
    """By logger(1), which is bounded in time: a journald that is stopped must not stop this."""
    kind = KINDS[event]
    values = {
        "MESSAGE": kind.sentence.format(user=user, front_end=front_end, reason=reason),
        "MESSAGE_ID": kind.message_id,
        "PRIORITY": kind.priority,
        "SYSLOG_FACILITY": AUTHPRIV,
        "SYSLOG_IDENTIFIER": "jitsudo",
        "JITSUDO_EVENT": event,
        "JITSUDO_USER": user,
        "JITSUDO_FRONT_END": front_end,
        "JITSUDO_REASON": reason,
    }
    text = "".join(f"{name}={value}\n" for name, value in values.items())
    run(["/usr/bin/logger", "--journald"], given=text.encode("utf-8", "replace"), seconds=10)


def take_over(places: Places) -> bool:
    """Tell the daemon what jitsudo-restore noted down: when, which front end, why; a line each."""
    noted = places.state / "unrecorded"
    try:
        when, front_end, reason, *_ = noted.read_text("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return False
    if not tell_daemon("setup.rolled_back", front_end, f"{reason} (at {when})"):
        return False
    with contextlib.suppress(OSError):
        noted.unlink()
    return True


if __name__ == "__main__":
    sys.exit(0 if take_over(Places(Path("/"))) else 1)
