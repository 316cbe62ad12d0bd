"""Whom a command runs as."""

from __future__ import annotations

import pytest

from jitsudo.elevation.options import Caller, Options
from jitsudo.elevation.runas import Target, resolve_target
from jitsudo.errors import InvalidValue, NotFound
from jitsudo.types import Account, Gid, Uid, UserName


def account(name: str, uid: int, *groups: int) -> Account:
    return Account(UserName(name), Uid(uid), Gid(uid), tuple(Gid(g) for g in (uid, *groups)), f"/home/{name}", "/bin/sh")


class World:
    """A user database of four people."""

    people = (account("root", 0), account("alice", 1000, 27), account("bob", 1001), account("4294967294x", 0xFFFFFFFE))
    groups = {"root": 0, "sudo": 27, "alice": 1000}  # noqa: RUF012

    def by_name(self, name: str) -> Account | None:
        return next((a for a in self.people if a.name == name), None)

    def by_uid(self, uid: Uid) -> Account | None:
        return next((a for a in self.people if a.uid == uid), None)

    def group_by_name(self, name: str) -> Gid | None:
        return Gid(self.groups[name]) if name in self.groups else None

    def group_name(self, gid: Gid) -> UserName | None:
        return next((UserName(name) for name, g in self.groups.items() if g == gid), None)


CALLER = Caller(
    name=UserName("alice"), uid=Uid(1000), gid=Gid(1000), pid=2, ppid=1, pgid=2, sid=1, tcpgid=None, tty=None, cwd="/",
    host="web1", umask=0o022, lines=24, cols=80,
)  # fmt: skip


def target(**options: str) -> Target:
    return resolve_target(Options(**options), CALLER, World())  # type: ignore[arg-type]


def test_root_is_the_default() -> None:
    """`sudo id`."""
    assert target() == Target(World.people[0], Gid(0), UserName("root"))


def test_user_by_name_and_by_id() -> None:
    """-u; a group without a name has none."""
    expected = Target(World.people[2], Gid(1001), None)
    assert target(runas_user="bob") == expected
    assert target(runas_user="#1001") == expected
    assert target(runas_user="#4294967294").account.uid == 0xFFFFFFFE


def test_group_by_name_and_by_id() -> None:
    """-u with -g."""
    expected = Target(World.people[2], Gid(27), UserName("sudo"))
    assert target(runas_user="bob", runas_group="sudo") == expected
    assert target(runas_user="bob", runas_group="#27") == expected


def test_group_alone_keeps_the_caller() -> None:
    """sudo(8), -g: the command runs as the invoking user."""
    assert target(runas_group="sudo") == Target(World.people[1], Gid(27), UserName("sudo"))


MALFORMED = [
    "#-1", "#4294967295", "#4294967296", "#0_0", "# 0", "#0 ", "#\u0660", "#\u0661\u0660\u0660\u0660", "#", "#00", "#+0",
    "#0x0", "#1e3", "##0", "#root", "", "0", "1000", "-1", "%sudo", "a:b", "a\nb", "root\0", " root", "a,b",
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_user_and_group_are_refused(text: str) -> None:
    """CVE-2019-14287 and its relatives."""
    with pytest.raises(InvalidValue):
        target(runas_user=text)
    with pytest.raises(InvalidValue):
        target(runas_group=text)
    with pytest.raises(InvalidValue):
        target(runas_user="bob", runas_group=text)


@pytest.mark.parametrize("text", ["nobody-here", "#1234", "ROOT"])
def test_unknown_user_and_group_are_refused(text: str) -> None:
    """An id without an entry runs nothing."""
    with pytest.raises(NotFound, match="unknown user"):
        target(runas_user=text)
    with pytest.raises(NotFound, match="unknown group"):
        target(runas_group=text)


def test_caller_without_an_account_cannot_stay_themselves() -> None:
    """-g alone, by somebody whom the database does not know."""

    class Empty(World):
        people = ()  # type: ignore[assignment]

    with pytest.raises(NotFound):
        resolve_target(Options(runas_group="sudo"), CALLER, Empty())
    with pytest.raises(NotFound):
        resolve_target(Options(), CALLER, Empty())


def test_database_that_answers_with_somebody_else_is_not_believed() -> None:
    """An error is not uid 0 (CVE-2018-1116)."""

    class Wrong(World):
        def by_uid(self, uid: Uid) -> Account | None:  # noqa: ARG002
            return self.people[0]

    with pytest.raises(NotFound):
        resolve_target(Options(runas_user="#1001"), CALLER, Wrong())
