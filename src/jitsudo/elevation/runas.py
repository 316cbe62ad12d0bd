"""Whom a command runs as: `-u` and `-g` resolved against the user database, ids strictly (CVE-2019-14287)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jitsudo.elevation.options import Caller, Options
from jitsudo.errors import NotFound
from jitsudo.types import Account, Gid, Uid, UserName

DEFAULT_USER = "root"


class Accounts(Protocol):
    """The user database, as elevation needs it. None means: there is no such entry."""

    def by_name(self, name: str) -> Account | None:
        """The account of that name."""

    def by_uid(self, uid: Uid) -> Account | None:
        """The account with that uid; the database's first, where several share it."""

    def group_by_name(self, name: str) -> Gid | None:
        """The gid of the group of that name."""

    def group_name(self, gid: Gid) -> UserName | None:
        """The name of the group with that gid."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom the command runs as: `gid` is the account's own, or what `-g` named; `group_name` is None where it has none."""

    account: Account
    gid: Gid
    group_name: UserName | None


def resolve_target(options: Options, caller: Caller, accounts: Accounts) -> Target:
    """The user and group that `-u` and `-g` ask for. Raises InvalidValue for malformed, NotFound for unknown ones.

    Without `-u`: root; with `-g` alone: the caller, as sudo(8) says. Ids without an entry are refused.
    """
    account = _account(options, caller, accounts)
    if options.runas_group is None:
        return Target(account, account.gid, accounts.group_name(account.gid))
    gid = _group(options.runas_group, accounts)
    return Target(account, gid, accounts.group_name(gid))


def _account(options: Options, caller: Caller, accounts: Accounts) -> Account:
    if options.runas_user is None and options.runas_group is not None:
        return _by_uid(caller.uid, accounts)
    wanted = DEFAULT_USER if options.runas_user is None else options.runas_user
    if wanted.startswith("#"):
        return _by_uid(Uid.parse(wanted[1:]), accounts)
    account = accounts.by_name(UserName(wanted))
    if account is None:
        raise NotFound(f"unknown user {wanted}", "see `getent passwd` for the users that this host knows")
    return account


def _by_uid(uid: Uid, accounts: Accounts) -> Account:
    account = accounts.by_uid(uid)
    # A database that answers with somebody else is as good as one that does not answer.
    if account is None or account.uid != uid:
        raise NotFound(f"unknown user id {uid}", "only users in the user database can be run as")
    return account


def _group(wanted: str, accounts: Accounts) -> Gid:
    if not wanted.startswith("#"):
        named = accounts.group_by_name(UserName(wanted))
        if named is None:
            raise NotFound(f"unknown group {wanted}", "see `getent group` for the groups that this host knows")
        return named
    gid = Gid.parse(wanted[1:])
    if accounts.group_name(gid) is None:
        raise NotFound(f"unknown group id {gid}", "only groups in the group database can be run as")
    return gid
