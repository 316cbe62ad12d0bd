"""Whether `sudo -A` has a program to ask with; without one sudo would end in the middle of its plugin's call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

SUDO_CONF: Final = Path("/etc/sudo.conf")
MAX_BYTES: Final = 1024 * 1024


def has_askpass(user_env: Sequence[str], sudo_conf: Path = SUDO_CONF) -> bool:
    """Whether the caller's environment or sudo.conf(5) names one."""
    if any(item.startswith("SUDO_ASKPASS=") and item != "SUDO_ASKPASS=" for item in user_env):
        return True
    try:
        with sudo_conf.open("rb") as file:
            lines = file.read(MAX_BYTES).splitlines()
    except OSError:
        return False
    return any(line.lower().split()[:2] == [b"path", b"askpass"] and len(line.split()) > 2 for line in lines)
