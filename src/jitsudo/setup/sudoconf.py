"""sudo.conf(5): what it says, and the one way in which jitsudo's lines get into it and out again.

Nothing else edits that file but jitsudo-restore, which needs no Python. Other people's lines stay as they are, byte for byte.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from jitsudo.errors import Failed
from jitsudo.setup.files import replace_file

SUDO_CONF: Final = Path("/etc/sudo.conf")
MAX_SUDO_CONF_BYTES: Final = 1024 * 1024
# Every plugin of ours, and nobody else's, has a symbol that begins so; jitsudo-restore knows this too.
OUR_PREFIX: Final = "jitsudo_"


class FrontEnd(StrEnum):
    """What stands between people and root (docs/front-ends.md)."""

    PYTHON = "python"
    NATIVE = "native"
    PAM = "pam"


PLUGIN_LINE: Final = {
    FrontEnd.PYTHON: "Plugin jitsudo_python jitsudo_python.so ModulePath=/usr/libexec/jitsudo/jitsudo_sudo_plugin.py"
    " ClassName=JitsudoPolicy",
    FrontEnd.NATIVE: "Plugin jitsudo_native jitsudo_native.so",
}
OBSERVE_LINE: Final = "Plugin jitsudo_observe jitsudo_observe.so"
# What the sudoers plugin can be loaded as; all but the first do no harm beside a policy plugin of ours.
SUDOERS_POLICY: Final = "sudoers_policy"


@dataclass(frozen=True, slots=True)
class PluginLine:
    """`Plugin SYMBOL PATH [OPTION]...`; `first` and `last`: its physical lines, from 0."""

    symbol: str
    path: str
    options: tuple[str, ...]
    first: int
    last: int

    @property
    def is_ours(self) -> bool:
        return self.symbol.startswith(OUR_PREFIX)


@dataclass(frozen=True, slots=True)
class SudoConf:
    """The bytes of a sudo.conf; the same bytes come out again unless a line is added or taken out."""

    data: bytes

    def plugins(self) -> tuple[PluginLine, ...]:
        """As sudo reads them: keywords in any case, a backslash at the end of a line goes on with the next."""
        found, lines, first = [], self.data.splitlines(), 0
        while first < len(lines):
            last, text = first, lines[first]
            while text.endswith(b"\\") and last + 1 < len(lines):
                last += 1
                text = text[:-1] + lines[last].lstrip()
            words = text.decode("utf-8", "surrogateescape").partition("#")[0].split()
            if len(words) >= 3 and words[0].lower() == "plugin":
                found.append(PluginLine(words[1], words[2], tuple(words[3:]), first, last))
            first = last + 1
        return tuple(found)

    def ours(self) -> tuple[PluginLine, ...]:
        return tuple(plugin for plugin in self.plugins() if plugin.is_ours)

    def front_end(self) -> FrontEnd | None:
        """Which plugin of ours decides here, if one does."""
        symbols = {plugin.symbol for plugin in self.plugins()}
        return next((kind for kind, line in PLUGIN_LINE.items() if line.split()[1] in symbols), None)

    def observes(self) -> bool:
        return OBSERVE_LINE.split()[1] in {plugin.symbol for plugin in self.plugins()}

    def with_line(self, line: str) -> Self:
        """Add a line at the end, once. It is one of those named in this module."""
        if line.split()[1] in {plugin.symbol for plugin in self.plugins()}:
            return self
        ended = self.data if not self.data or self.data.endswith(b"\n") else self.data + b"\n"
        return type(self)(ended + line.encode("ascii") + b"\n")

    def without(self, symbols: Iterable[str]) -> Self:
        """Take out the lines of these plugins."""
        unwanted = frozenset(symbols)
        gone = {n for p in self.plugins() if p.symbol in unwanted for n in range(p.first, p.last + 1)}
        lines = self.data.splitlines(keepends=True)
        return type(self)(b"".join(line for n, line in enumerate(lines) if n not in gone))

    def without_ours(self) -> Self:
        return self.without(plugin.symbol for plugin in self.ours())

    def for_front_end(self, front_end: FrontEnd) -> Self:
        """The sudo.conf that puts sudo in the front end's hands: one policy plugin, ours; sudo takes only one."""
        unwanted = [SUDOERS_POLICY, *(plugin.symbol for plugin in self.ours())]
        return self.without(unwanted).with_line(PLUGIN_LINE[front_end])


def read_sudo_conf(path: Path = SUDO_CONF) -> SudoConf:
    """No such file is an empty one, as for sudo. Raises Failed where it cannot be read or is no regular file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return SudoConf(b"")
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}", f"ls -l {path}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Failed(f"{path} is not a regular file", f"ls -l {path}")
    with open(descriptor, "rb") as file:
        data = file.read(MAX_SUDO_CONF_BYTES + 1)
    if len(data) > MAX_SUDO_CONF_BYTES:
        raise Failed(f"{path} is larger than {MAX_SUDO_CONF_BYTES} bytes", f"ls -l {path}")
    return SudoConf(data)


def write_sudo_conf(conf: SudoConf, path: Path = SUDO_CONF) -> None:
    """In one step, owner root, mode 0644, durable: sudo finds the old file or the new one. Raises Failed."""
    replace_file(path, conf.data, mode=0o644)
