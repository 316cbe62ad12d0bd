"""The file system as a caller's command will see it, resolved below the caller's own root."""

from __future__ import annotations

from collections.abc import Callable

from jitsudo.policy.world import FileFacts
from jitsudo.types import AbsPath, Account


class HostWorld:
    """Implements `policy.world.World` on an O_PATH descriptor of the caller's root (default: this process's own).

    `user` is the account look-up. The descriptors stay the caller's to close, but for the one opened by default, which
    `close` (or `with`) closes.
    """

    def __init__(self, user: Callable[[str], Account | None], root_fd: int | None = None, cwd_fd: int | None = None) -> None:
        raise NotImplementedError

    def real_path(self, path: AbsPath) -> AbsPath | None:
        """See `World.real_path`."""
        raise NotImplementedError

    def facts(self, path: AbsPath) -> FileFacts | None:
        """See `World.facts`."""
        raise NotImplementedError

    def user(self, name: str) -> Account | None:
        """See `World.user`."""
        raise NotImplementedError

    def cwd_is(self, path: AbsPath) -> bool:
        """Whether `path` names the directory that the caller's cwd descriptor holds."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what was opened here."""
        raise NotImplementedError
