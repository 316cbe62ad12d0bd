"""Whether `sudo -A` has a program to ask with; without one sudo would end in the middle of its plugin's call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

SUDO_CONF: Final = Path("/etc/sudo.conf")
MAX_BYTES: Final = 1024 * 1024


def has_askpass(user_env: Sequence[str], sudo_conf: Path = SUDO_CONF) -> bool:
    """Whether the caller's environment or sudo.conf(5) names one."""
    named = next((item for item in user_env if item.startswith("SUDO_ASKPASS=")), "SUDO_ASKPASS=")
    if named != "SUDO_ASKPASS=":
        return True
    try:
        with sudo_conf.open("rb") as file:
            return _names_one(file.read(MAX_BYTES))
    except OSError:
        return False


def _names_one(conf: bytes) -> bool:
    """Comments end lines, backslashes carry them on, and the last one counts."""
    found, before = False, b""
    for line in (*conf.split(b"\n"), b""):
        text = before + line.partition(b"#")[0]
        before = text[:-1] if text.endswith(b"\\") else b""
        words = text.split()
        if not before and [word.lower() for word in words[:2]] == [b"path", b"askpass"]:
            found = len(words) > 2
    return found
