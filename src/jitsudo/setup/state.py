"""What setup remembers, in /var/lib/jitsudo/setup (root, 0700): plain text, one `key value` a line, which sh reads too.

  state    mode, front end, who enabled it, when, until when it has to be confirmed
  left/    sudo.conf and sudoers as setup left them: what differs from them, somebody else has edited
  backup/  copies of everything that was changed, as it was

The originals themselves were moved to KEPT, on the file system of /etc: moving them back needs no room on a disk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Final

from jitsudo.errors import Failed
from jitsudo.setup.files import replace_file
from jitsudo.setup.sudoconf import FrontEnd

FOLDER: Final = Path("/var/lib/jitsudo/setup")
KEPT: Final = Path("/etc/jitsudo/kept")
MAX_STATE_BYTES: Final = 65_536
DONE: Final = "done"  # the step of an enable that was not cut off
NO_SESSION: Final = 0xFFFFFFFF  # AUDIT_SID_UNSET


class Mode(StrEnum):
    """OFF and OBSERVE: sudoers decides. UNCONFIRMED: jitsudo decides until `deadline`. ENABLED: jitsudo decides."""

    OFF = "off"
    OBSERVE = "observe"
    UNCONFIRMED = "unconfirmed"
    ENABLED = "enabled"


@dataclass(frozen=True, slots=True)
class SetupState:
    """`since`: seconds since 1970 by the wall clock, to show. `deadline`: seconds of the boot clock of boot `boot_id`.

    `session`: the audit session that enabled it; `tty`: its terminal or `none`; `by`: the account that logged in there.
    `step`: which step of an enable was begun last, DONE when none is left.
    """

    mode: Mode = Mode.OFF
    front_end: FrontEnd | None = None
    since: int = 0
    by: str = "unknown"
    session: int = NO_SESSION
    tty: str = "none"
    boot_id: str = ""
    deadline: int = 0
    step: str = "none"

    def encode(self) -> bytes:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return "".join(f"{name} {value}\n" for name, value in values.items() if value not in (None, "")).encode()


_LINE: Final = re.compile(r"([a-z_]{1,32}) ([!-~]{1,255})")


def parse_state(data: bytes) -> SetupState:
    """Raises Failed for anything that `encode` does not write."""
    seen: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match[1] in seen:
            raise Failed(f"line {number} of setup's state is damaged", "jitsudo setup rollback")
        seen[match[1]] = match[2]
    try:
        state = SetupState(
            mode=Mode(seen.pop("mode")),
            front_end=FrontEnd(seen.pop("front_end")) if "front_end" in seen else None,
            since=int(seen.pop("since", "0")),
            by=seen.pop("by", "unknown"),
            session=int(seen.pop("session", NO_SESSION)),
            tty=seen.pop("tty", "none"),
            boot_id=seen.pop("boot_id", ""),
            deadline=int(seen.pop("deadline", "0")),
            step=seen.pop("step", "none"),
        )
    except (KeyError, ValueError) as error:
        raise Failed(f"setup's state is damaged: {error}", "jitsudo setup rollback") from None
    if seen:
        raise Failed(f"setup's state says what this version does not know: {', '.join(sorted(seen))}", "jitsudo --version")
    return state


def read_state(folder: Path = FOLDER) -> SetupState:
    """No file: nothing was ever set up. Raises Failed."""
    try:
        data = (folder / "state").read_bytes()[:MAX_STATE_BYTES]
    except FileNotFoundError:
        return SetupState()
    except OSError as error:
        raise Failed(f"{folder}/state cannot be read: {error.strerror}", "run it as root") from None
    return parse_state(data)


def write_state(state: SetupState, folder: Path = FOLDER) -> None:
    """Durable when it returns. Raises Failed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
    except OSError as error:
        raise Failed(f"{folder} cannot be made: {error.strerror}", "is the disk full, or mounted read-only?") from None
    replace_file(folder / "state", state.encode(), mode=0o600)
