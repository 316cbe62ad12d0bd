"""Whose edit it is: sudo's caller, as whom the editor runs and the edited text is read back."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jitsudo.errors import Denied, InvalidValue
from jitsudo.types import Gid, Uid

# What identifies somebody; the rest of the helper's own environment was judged by the daemon.
_IDENTITY = ("HOME", "USER", "LOGNAME", "MAIL", "SHELL")


@dataclass(frozen=True, slots=True)
class Editing:
    """The person: ids, all groups, and what their environment says of them."""

    name: str
    uid: Uid
    gid: Gid
    groups: tuple[int, ...]
    home: str
    shell: str

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """The editor's: the helper's, but the person's own where it says who somebody is, and nothing of sudo."""
        kept = {name: value for name, value in own.items() if name not in _IDENTITY and not name.startswith("SUDO_")}
        theirs = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}
        return kept | theirs | {"MAIL": f"/var/mail/{self.name}"}

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """For what follows, files are opened with the person's rights: a link of theirs shows them nothing new."""
        before = os.getgroups()
        os.setgroups(self.groups)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(before)


def person_behind(environment: Mapping[str, str]) -> Editing:
    """Who called sudo, by the SUDO_UID that the daemon set. Raises Denied where there is no such account."""
    try:
        uid = Uid.parse(environment.get("SUDO_UID"))
        entry = pwd.getpwuid(uid)
    except (InvalidValue, KeyError):
        raise Denied("it is not known who edits", "run it as: sudoedit FILE") from None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Editing(entry.pw_name, uid, Gid(entry.pw_gid), groups, entry.pw_dir, entry.pw_shell or "/bin/sh")
