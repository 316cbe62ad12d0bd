"""The names of the areas, for who does not examine anything yet: loading all the checks takes its time."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "sudo", "host", "front-end", "files", "keys", "sockets", "daemon", "journald", "clock", "policy", "recording", "pam",
    "units", "accounts", "setup", "side-doors",
)  # fmt: skip
