"""What sudo.conf(5) says of plugins, and which of them are ours. To look at only: jitsudo.setup is who edits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jitsudo.doctor.host import Host

SUDO_CONF: Final = "/etc/sudo.conf"
SUDO: Final = "/usr/bin/sudo"
PLUGIN_FOLDER: Final = "/usr/libexec/sudo"
POLICIES: Final = {"jitsudo_python": "python", "jitsudo_native": "native"}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A line `Plugin SYMBOL PATH [OPTION]...`."""

    symbol: str
    path: str
    options: tuple[str, ...]

    @property
    def file(self) -> str:
        """A relative path is relative to sudo's own folder of plugins."""
        return self.path if self.path.startswith("/") else f"{PLUGIN_FOLDER}/{self.path}"

    def option(self, name: str) -> str | None:
        return next((word.partition("=")[2] for word in self.options if word.startswith(f"{name}=")), None)


def plugins(host: Host) -> list[Plugin]:
    """In the order of the file; a backslash at the end of a line goes on with the next."""
    found = []
    for line in (host.read(SUDO_CONF) or "").replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= 3 and words[0].lower() == "plugin":
            found.append(Plugin(words[1], words[2], tuple(words[3:])))
    return found


def active_front_end(host: Host) -> str | None:
    """`python` or `native` where sudo.conf names that plugin of ours."""
    return next((POLICIES[one.symbol] for one in plugins(host) if one.symbol in POLICIES), None)
