"""The user database: what is believed of its answers, and what the host's own files say without it."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from jitsudo.errors import Failed, NotFound
from jitsudo.host import accounts
from jitsudo.host.accounts import (
    FIRST_GROUPS,
    KEPT_SECONDS,
    MAX_GROUPS,
    MAX_KEPT,
    SLOW_SECONDS,
    Accounts,
    LocalAccounts,
    SlowAnswers,
    SystemAccounts,
)
from jitsudo.types import Gid, Uid

ACCOUNTS = SystemAccounts()


def passwd(name: str, uid: int, gid: int = 100, shell: str = "/bin/sh") -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, gid, "", "/home", shell))


class Directory(Accounts):
    """A name service that answers what it was told to, right or wrong."""

    def __init__(self) -> None:
        self.users: dict[str | int, pwd.struct_passwd] = {}
        self.groups: dict[str | int, grp.struct_group] = {}
        self.lists: dict[str, list[int]] = {}
        self.has(passwd("root", 0, 0), passwd("alice", 1000))

    def has(self, *entries: pwd.struct_passwd) -> None:
        for entry in entries:
            self.users[entry.pw_name] = self.users[entry.pw_uid] = entry

    def has_groups(self, **gids: int) -> None:
        for name, gid in gids.items():
            self.groups[name] = self.groups[gid] = grp.struct_group((name, "x", gid, []))

    def passwd(self, key: str | int) -> pwd.struct_passwd | None:
        return self.users.get(key)

    def group(self, key: str | int) -> grp.struct_group | None:
        return self.groups.get(key)

    def group_list(self, name: str, gid: int) -> list[int]:
        return [gid, *self.lists.get(name, [])]


@pytest.fixture
def directory() -> Directory:
    return Directory()


def wrong(question: Callable[[], object]) -> str:
    """The sentence with which a wrong answer is refused."""
    with pytest.raises(Failed, match=r"^the user database's entry for ") as refused:
        question()
    return refused.value.sentence


def test_root_is_found_by_name_and_uid_alike() -> None:
    """With its groups, its own first."""
    root = ACCOUNTS.by_name("root")
    assert root is not None
    assert root == ACCOUNTS.by_uid(Uid(0))
    assert (root.uid, root.gid, root.groups[0]) == (0, pwd.getpwuid(0).pw_gid, pwd.getpwuid(0).pw_gid)


@pytest.mark.parametrize("name", ["", "no-such-user", "0", "#0", "-1", "root\0", "root\n", " root", "\udcff"])
def test_a_name_that_is_none_is_nobody_and_no_exception(name: str) -> None:
    """Never uid 0 (CVE-2021-3560)."""
    assert ACCOUNTS.by_name(name) is None
    assert ACCOUNTS.group_by_name(name) is None
    assert ACCOUNTS.members(name) == ()


def test_an_id_without_an_entry_is_nobody() -> None:
    """And a person cannot be made of it."""
    unused = Uid(4_000_000_123)
    assert ACCOUNTS.by_uid(unused) is None
    assert ACCOUNTS.group_name(Gid(4_000_000_123)) is None
    with pytest.raises(NotFound):
        ACCOUNTS.person(unused, None)


def test_a_person_has_the_names_of_all_groups_and_the_login_uid_that_was_given() -> None:
    """None stays None: nobody is taken for having logged in."""
    root = ACCOUNTS.person(Uid(0), None)
    assert (root.name, root.login_uid) == ("root", None)
    assert grp.getgrgid(0).gr_name in root.groups


def test_the_list_of_groups_is_the_one_that_the_c_library_gives() -> None:
    """For every account of this machine."""
    for entry in pwd.getpwall():
        assert set(ACCOUNTS.group_list(entry.pw_name, entry.pw_gid)) == set(os.getgrouplist(entry.pw_name, entry.pw_gid))


def test_an_account_without_a_shell_has_the_default_one(directory: Directory) -> None:
    """passwd(5)."""
    directory.has(passwd("svc", 5, shell=""))
    found = directory.by_uid(Uid(5))
    assert found is not None
    assert found.shell == "/bin/sh"


# -- wrong answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "uid", "gid"), [("bad:name", 5, 5), ("svc", 0xFFFF_FFFF, 5), ("svc", 5, -1), ("", 5, 5)])
def test_an_entry_that_cannot_be_one_is_refused(directory: Directory, name: str, uid: int, gid: int) -> None:
    """A directory may send anything: names that are none, ids that mean "no change" (CVE-2019-14287)."""
    directory.has(passwd(name, uid, gid))
    wrong(lambda: directory.by_name(name))


def test_an_answer_about_another_uid_is_refused(directory: Directory) -> None:
    """Above all one about root."""
    directory.users[1000] = passwd("root", 0, 0)
    assert wrong(lambda: directory.by_uid(Uid(1000))).endswith("uid 1000 cannot be right: it has uid 0")
    wrong(lambda: directory.person(Uid(1000), None))


@pytest.mark.parametrize("answered", ["bob", "root", "alice2", "alic", "DOM\\bob", "bob@alice"])
def test_an_answer_about_another_name_is_refused(directory: Directory, answered: str) -> None:
    """Whoever asks for alice gets alice or nobody."""
    directory.users["alice"] = passwd(answered, 1000)
    assert "cannot be right: it is that of " in wrong(lambda: directory.by_name("alice"))


@pytest.mark.parametrize(("asked", "answered"), [("alice@a.example", "alice@b.example"), ("A\\alice", "B\\alice")])
def test_the_alice_of_another_domain_is_another(directory: Directory, asked: str, answered: str) -> None:
    """Where both names say which."""
    directory.users[asked] = passwd(answered, 1000)
    wrong(lambda: directory.by_name(asked))
    directory.users[asked] = passwd(asked.upper(), 1000)
    assert directory.by_name(asked) is not None


@pytest.mark.parametrize("asked", ["alice", "Alice", "DOM\\alice", "alice@dom.example", "DOM\\ALICE"])
def test_a_name_may_be_written_as_directories_do(directory: Directory, asked: str) -> None:
    """In another case, with its domain or without; the account has the name that the directory gives it."""
    directory.users[asked] = passwd("alice", 1000)
    found = directory.by_name(asked)
    assert found is not None
    assert found.name == "alice"


def test_no_directory_makes_another_root(directory: Directory) -> None:
    """An account with uid 0 is root by its name, too, or refused."""
    directory.users["mallory"] = passwd("mallory", 0)
    assert wrong(lambda: directory.by_name("mallory")).endswith("it has uid 0, which is another account's")
    del directory.users[0]
    wrong(lambda: directory.by_name("root"))


def test_a_person_whose_name_is_somebody_elses_is_refused(directory: Directory) -> None:
    """Policies name people by name: uid and name must lead to each other."""
    directory.users[1000] = passwd("bob", 1000)
    assert wrong(lambda: directory.person(Uid(1000), None)).endswith("its name, bob, is nobody's")
    directory.users["bob"] = passwd("bob", 1001)
    assert wrong(lambda: directory.person(Uid(1000), None)).endswith("its name, bob, is another uid's")


def test_a_group_whose_name_is_another_groups_is_not_counted(directory: Directory) -> None:
    """Whoever is in a directory's group `sudo` is not in this host's."""
    directory.has_groups(web=200)
    directory.groups[300] = grp.struct_group(("web", "x", 300, []))
    directory.groups[400] = grp.struct_group(("staff", "x", 401, []))
    directory.groups[500] = grp.struct_group(("gone", "x", 500, []))
    directory.groups[600] = directory.groups["a:b"] = grp.struct_group(("a:b", "x", 600, []))
    directory.lists["alice"] = [300, 400, 500, 600]
    assert directory.person(Uid(1000), None).groups == frozenset()
    directory.lists["alice"] = [200, 300]
    assert directory.person(Uid(1000), None).groups == {"web"}


def test_a_group_by_name_is_the_one_that_was_asked_for(directory: Directory) -> None:
    """And its id one that a group can have."""
    directory.has_groups(web=200)
    assert directory.group_by_name("web") == 200
    directory.groups["web"] = grp.struct_group(("sudo", "x", 200, []))
    wrong(lambda: directory.group_by_name("web"))
    directory.groups["web"] = grp.struct_group(("web", "x", 0xFFFF_FFFF, []))
    wrong(lambda: directory.group_by_name("web"))


def test_a_list_of_groups_is_as_long_as_the_kernel_takes_and_not_longer(directory: Directory) -> None:
    """setgroups(2)."""
    directory.lists["alice"] = list(range(1000, 1000 + MAX_GROUPS - 1))
    found = directory.by_uid(Uid(1000))
    assert found is not None
    assert len(found.groups) == MAX_GROUPS
    directory.lists["alice"] = list(range(1000, 1000 + MAX_GROUPS))
    assert wrong(lambda: directory.by_uid(Uid(1000))).endswith("it is in more than 65536 groups")
    directory.lists["alice"] = [0xFFFF_FFFF]
    wrong(lambda: directory.by_uid(Uid(1000)))


@pytest.mark.parametrize("needed", [FIRST_GROUPS, FIRST_GROUPS + 1, MAX_GROUPS, MAX_GROUPS + 1])
def test_a_long_list_is_asked_for_again_with_room_for_it(monkeypatch: pytest.MonkeyPatch, needed: int) -> None:
    """getgrouplist(3) says how much it needs; a directory that asks for too much gets nothing."""
    asked = []

    class Library:
        @staticmethod
        def getgrouplist(_name: bytes, gid: int, groups: object, count: object) -> int:
            room = count._obj  # type: ignore[attr-defined]
            asked.append(room.value)
            fits = needed <= room.value
            for index in range(min(needed, room.value)):
                groups[index] = gid + index  # type: ignore[index]
            room.value = needed
            return needed if fits else -1

    monkeypatch.setattr(accounts, "_libc", Library)
    if needed > MAX_GROUPS:
        wrong(lambda: accounts._group_list("alice", 7))
        return
    assert accounts._group_list("alice", 7) == list(range(7, 7 + needed))
    assert asked == ([FIRST_GROUPS] if needed <= FIRST_GROUPS else [FIRST_GROUPS, needed])


def test_one_wrong_entry_does_not_hide_the_other_members(directory: Directory) -> None:
    """Approvers are looked up by group."""
    directory.has(passwd("bob", 1001))
    directory.users["carol"] = passwd("mallory", 666)
    directory.groups["web"] = grp.struct_group(("web", "x", 200, ["alice", "carol", "gone", "bob"]))
    assert [account.name for account in directory.members("web")] == ["alice", "bob"]


# -- slow answers ----------------------------------------------------------------------------------------------------


class Clock:
    """A clock, and questions that take time on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    def __call__(self) -> float:
        return self.now

    def question(self, seconds: float) -> Callable[[], int]:
        def ask() -> int:
            self.now += seconds
            self.asked += 1
            return self.asked

        return ask


def test_an_answer_that_took_long_serves_for_a_while() -> None:
    """To the very second; a decision asks the same several times."""
    clock = Clock()
    answers = SlowAnswers(clock)
    assert answers.ask("alice", clock.question(SLOW_SECONDS + 0.01)) == 1
    clock.now += KEPT_SECONDS - 0.01
    assert answers.ask("alice", clock.question(1)) == 1
    assert answers.ask("bob", clock.question(1)) == 2
    clock.now += 0.01
    assert answers.ask("alice", clock.question(1)) == 3


def test_a_quick_answer_is_always_a_new_one() -> None:
    """Who is taken out of a group is out of it with the next command."""
    clock = Clock()
    answers = SlowAnswers(clock)
    assert [answers.ask("alice", clock.question(SLOW_SECONDS / 2)) for _ in range(3)] == [1, 2, 3]


def test_what_is_kept_is_bounded() -> None:
    """However many names are asked for."""
    clock = Clock()
    answers = SlowAnswers(clock)
    for number in range(MAX_KEPT + 1):
        answers.ask(number, lambda: setattr(clock, "now", clock.now + 0.2))
    assert len(answers._kept) == 1


def test_an_error_is_not_kept() -> None:
    """The next one asks again."""
    clock = Clock()
    answers = SlowAnswers(clock)

    def fail() -> int:
        clock.now += 1
        raise Failed("no")

    with pytest.raises(Failed):
        answers.ask("alice", fail)
    assert answers.ask("alice", clock.question(0)) == 1


# -- the host's own files --------------------------------------------------------------------------------------------


def test_the_hosts_own_files_say_what_the_name_service_says_of_them() -> None:
    """For every account and group in them, on the machine at hand."""
    local = LocalAccounts()
    for entry in pwd.getpwall():
        assert local.passwd(entry.pw_name) == entry
    for group in grp.getgrall():
        found = local.group(group.gr_gid)
        assert found is not None
        assert (found.gr_name, [m for m in found.gr_mem if m]) == (group.gr_name, group.gr_mem)
    assert local.person(Uid(0), None) == ACCOUNTS.person(Uid(0), None)


def test_lines_that_are_no_entries_are_left_out(tmp_path: Path) -> None:
    """nis(5)'s `+`, comments, damage; never uid 0 by that."""
    mallory = ["mallory:x::0::/:/bin/sh", "mallory:x:\u0660:0::/:/bin/sh", "mallory:x:0:x::/:/bin/sh", "mallory:x:0"]
    (tmp_path / "passwd").write_text("\n".join(["+::::::", "# root:x:0", *mallory, "", "bob:x:5:6::/:"]), "utf-8")
    (tmp_path / "group").write_text("+:::\nweb:x:7:alice,bob\nbob:x:6:\n", "utf-8")
    local = LocalAccounts(tmp_path)
    assert local.by_name("mallory") is None
    assert local.by_uid(Uid(0)) is None
    bob = local.by_name("bob")
    assert bob is not None
    assert (bob.uid, bob.groups, bob.shell) == (5, (6, 7), "/bin/sh")
    assert local.person(Uid(5), None).groups == {"bob", "web"}


def test_files_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    """Not an empty database."""
    with pytest.raises(Failed, match=r"passwd cannot be read"):
        LocalAccounts(tmp_path).by_name("root")


def test_one_question_sees_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked twice in it, an entry that is missing included; the next question asks anew."""
    asked: list[str | int] = []

    def passwd(_self: SystemAccounts, key: str | int) -> pwd.struct_passwd | None:
        asked.append(key)
        return pwd.getpwuid(0) if key in (0, "root") else None

    monkeypatch.setattr(SystemAccounts, "passwd", passwd)
    for _ in range(2):
        view = SystemAccounts().for_one_question()
        assert view.person(Uid(0), None) == view.person(Uid(0), None)
        assert view.by_name("nobody-of-that-name") is view.by_name("nobody-of-that-name") is None
        assert view.by_name("root") == SystemAccounts().for_one_question().by_name("root")
    assert [key for key in asked if key == "nobody-of-that-name"] == ["nobody-of-that-name"] * 2
