"""Users and groups, through the host's name service (nsswitch.conf(5)); an error is never uid 0 (CVE-2021-3560)."""

from __future__ import annotations

import grp
import os
import pwd

from jitsudo.errors import InvalidValue, NotFound
from jitsudo.types import Account, Gid, Person, Uid, UserName


def _account(entry: pwd.struct_passwd) -> Account:
    name = UserName(entry.pw_name)
    gid = Gid(entry.pw_gid)
    groups = dict.fromkeys([gid, *(Gid(g) for g in os.getgrouplist(name, gid))])
    return Account(name, Uid(entry.pw_uid), gid, tuple(groups), entry.pw_dir, entry.pw_shell or "/bin/sh")


class SystemAccounts:
    """Look-ups block as long as the name service does: call them off the event loop."""

    def by_name(self, name: str) -> Account | None:
        try:
            return _account(pwd.getpwnam(name))
        except (KeyError, ValueError, InvalidValue):
            return None

    def by_uid(self, uid: Uid) -> Account | None:
        try:
            return _account(pwd.getpwuid(uid))
        except (KeyError, InvalidValue):
            return None

    def group_by_name(self, name: str) -> Gid | None:
        try:
            return Gid(grp.getgrnam(name).gr_gid)
        except (KeyError, ValueError, InvalidValue):
            return None

    def group_name(self, gid: Gid) -> UserName | None:
        try:
            return UserName(grp.getgrgid(gid).gr_name)
        except (KeyError, InvalidValue):
            return None

    def members(self, group: str) -> tuple[Account, ...]:
        """The accounts that the group database lists as members; those who have it as their own group are not."""
        try:
            names = grp.getgrnam(group).gr_mem
        except (KeyError, ValueError):
            return ()
        return tuple(account for account in map(self.by_name, names) if account is not None)

    def person(self, uid: Uid, login_uid: Uid | None) -> Person:
        """The person behind a uid, with the groups that the name service lists now. Raises NotFound."""
        account = self.by_uid(uid)
        if account is None:
            raise NotFound(f"uid {uid} has no entry in the user database")
        names = (self.group_name(gid) for gid in account.groups)
        return Person(uid, account.name, login_uid, frozenset(name for name in names if name is not None))
