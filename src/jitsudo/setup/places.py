"""Where everything is that setup touches; below another root in tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jitsudo.setup.state import FOLDER, KEPT
from jitsudo.setup.sudoconf import SUDO_CONF

RESTORE: Final = "/usr/libexec/jitsudo/jitsudo-restore"


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one host."""

    root: Path = Path("/")

    def at(self, path: str | Path) -> Path:
        return self.root / str(path).lstrip("/")

    @property
    def sudo_conf(self) -> Path:
        return self.at(SUDO_CONF)

    @property
    def sudoers(self) -> Path:
        return self.at("/etc/sudoers")

    @property
    def drop_ins(self) -> Path:
        return self.at("/etc/sudoers.d")

    @property
    def pam(self) -> Path:
        return self.at("/etc/pam.d")

    @property
    def kept(self) -> Path:
        return self.at(KEPT)

    @property
    def state(self) -> Path:
        return self.at(FOLDER)

    @property
    def left(self) -> Path:
        return self.state / "left"

    @property
    def restore(self) -> Path:
        return self.at(RESTORE)
