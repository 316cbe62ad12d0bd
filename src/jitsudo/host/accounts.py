"""Users and groups, through the host's name service (nsswitch.conf(5)); an error is never uid 0 (CVE-2021-3560).

A name service may be a directory elsewhere: it may be slow, or wrong. An answer that does not fit its question, or another
answer of the same service, is refused with a sentence; one that took its time is used for a while.
"""

from __future__ import annotations

import contextlib
import ctypes
import grp
import os
import pwd
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from jitsudo.errors import Failed, InvalidValue, NotFound
from jitsudo.types import Account, Gid, Person, Uid, UserName, is_plain_text

T = TypeVar("T")
MAX_GROUPS: Final = 65_536  # NGROUPS_MAX, linux/limits.h
FIRST_GROUPS: Final = 256
SLOW_SECONDS: Final = 0.1  # an answer that took longer
KEPT_SECONDS: Final = 5.0  # is used for as long as this
MAX_KEPT: Final = 10_000


class Accounts(ABC):
    """The user database. None means: there is no such entry. Raises Failed for an answer that cannot be right."""

    @abstractmethod
    def passwd(self, key: str | int) -> pwd.struct_passwd | None:
        """The entry of a name or a uid."""

    @abstractmethod
    def group(self, key: str | int) -> grp.struct_group | None:
        """The entry of a name or a gid."""

    @abstractmethod
    def group_list(self, name: str, gid: int) -> list[int]:
        """The gids of all groups that list the user as a member, and `gid`."""

    def for_one_question(self) -> Accounts:
        """What to ask if a question has several parts."""
        return self

    def by_name(self, name: str) -> Account | None:
        entry = self.passwd(name)
        if entry is None:
            return None
        if not _same_name(entry.pw_name, name):
            raise _wrong(name, f"it is that of {_shown(entry.pw_name)}")
        if entry.pw_uid == 0:
            # Whoever fills a directory does not make further roots by it.
            root = self.passwd(0)
            if root is None or root.pw_name != entry.pw_name:
                raise _wrong(name, "it has uid 0, which is another account's")
        return self._account(entry)

    def by_uid(self, uid: Uid) -> Account | None:
        entry = self.passwd(int(uid))
        if entry is None:
            return None
        if entry.pw_uid != uid:
            raise _wrong(f"uid {int(uid)}", f"it has uid {entry.pw_uid}")
        return self._account(entry)

    def _account(self, entry: pwd.struct_passwd) -> Account:
        try:
            name, uid, gid = UserName(entry.pw_name), Uid(entry.pw_uid), Gid(entry.pw_gid)
            groups = dict.fromkeys([gid, *(Gid(g) for g in self.group_list(name, gid))])
        except InvalidValue as error:
            raise _wrong(entry.pw_name, error.sentence) from None
        if len(groups) > MAX_GROUPS:
            raise _wrong(name, f"it is in more than {MAX_GROUPS} groups")
        return Account(name, uid, gid, tuple(groups), entry.pw_dir, entry.pw_shell or "/bin/sh")

    def group_by_name(self, name: str) -> Gid | None:
        entry = self.group(name)
        if entry is None:
            return None
        if not _same_name(entry.gr_name, name):
            raise _wrong(f"group {name}", f"it is that of {_shown(entry.gr_name)}")
        try:
            return Gid(entry.gr_gid)
        except InvalidValue as error:
            raise _wrong(f"group {name}", error.sentence) from None

    def group_name(self, gid: Gid) -> UserName | None:
        """None also where the name is another group's: who is in a directory's `sudo` is not in this host's."""
        entry = self.group(int(gid))
        if entry is None or entry.gr_gid != gid:
            return None
        named = self.group(entry.gr_name)
        if named is None or named.gr_gid != gid:
            return None
        try:
            return UserName(entry.gr_name)
        except InvalidValue:
            return None

    def members(self, group: str) -> tuple[Account, ...]:
        """The accounts that the group database lists as members; those who have it as their own group are not."""
        entry = self.group(group)
        found = []
        for name in () if entry is None else entry.gr_mem:
            with contextlib.suppress(Failed):  # one entry that is wrong does not hide the others
                found.append(self.by_name(name))
        return tuple(account for account in found if account is not None)

    def person(self, uid: Uid, login_uid: Uid | None) -> Person:
        """The person behind a uid, with the groups that the name service lists now. Raises NotFound, Failed."""
        account = self.by_uid(uid)
        if account is None:
            raise NotFound(f"uid {uid} has no entry in the user database")
        again = self.passwd(account.name)
        if again is None or again.pw_uid != uid:
            raise _wrong(f"uid {int(uid)}", f"its name, {account.name}, is {'nobody' if again is None else 'another uid'}'s")
        names = (self.group_name(gid) for gid in account.groups)
        return Person(uid, account.name, login_uid, frozenset(name for name in names if name is not None))


def _wrong(whose: str, why: str) -> Failed:
    return Failed(f"the user database's entry for {_shown(whose)} cannot be right: {why}", "getent passwd; getent group")


def _shown(text: str) -> str:
    return text if is_plain_text(text) else ascii(text)[1:-1]


def _same_name(answered: str, asked: str) -> bool:
    """Directories may write a name in another case, and with a domain or without: `DOM\\alice`, `alice@dom`, `Alice`.

    Two domains are compared where both are written alike; which short name belongs to which long one, the directory knows.
    """
    one, other = _parts(answered), _parts(asked)
    return one[1] == other[1] and all(not a or not b or a == b for a, b in ((one[0], other[0]), (one[2], other[2])))


def _parts(name: str) -> tuple[str, str, str]:
    """The short domain, the bare name, the long domain; "" where there is none."""
    short, _, rest = name.casefold().rpartition("\\")
    bare, _, long = rest.partition("@")
    return short, bare, long


class SystemAccounts(Accounts):
    """What the name service says. Look-ups block as long as it does: call them off the event loop."""

    def passwd(self, key: str | int) -> pwd.struct_passwd | None:
        return _SLOW.ask(("passwd", key), lambda: _entry(pwd.getpwnam, pwd.getpwuid, key))

    def group(self, key: str | int) -> grp.struct_group | None:
        return _SLOW.ask(("group", key), lambda: _entry(grp.getgrnam, grp.getgrgid, key))

    def group_list(self, name: str, gid: int) -> list[int]:
        return _SLOW.ask(("groups", name, gid), lambda: _group_list(name, gid))

    def for_one_question(self) -> Accounts:
        return OneView(self)


class OneView(Accounts):
    """Nothing is asked twice, and every part of a question sees the same. For one thread."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._passwd: dict[str | int, pwd.struct_passwd | None] = {}
        self._group: dict[str | int, grp.struct_group | None] = {}
        self._lists: dict[tuple[str, int], list[int]] = {}

    def passwd(self, key: str | int) -> pwd.struct_passwd | None:
        if key not in self._passwd:
            self._passwd[key] = self._accounts.passwd(key)
        return self._passwd[key]

    def group(self, key: str | int) -> grp.struct_group | None:
        if key not in self._group:
            self._group[key] = self._accounts.group(key)
        return self._group[key]

    def group_list(self, name: str, gid: int) -> list[int]:
        if (name, gid) not in self._lists:
            self._lists[name, gid] = self._accounts.group_list(name, gid)
        return self._lists[name, gid]


def _entry(by_name: Callable[[str], T], by_id: Callable[[int], T], key: str | int) -> T | None:
    try:
        return by_name(key) if isinstance(key, str) else by_id(key)
    except (KeyError, ValueError, OverflowError):
        return None


_libc = ctypes.CDLL(None)
_libc.getgrouplist.argtypes = [ctypes.c_char_p, ctypes.c_uint, ctypes.POINTER(ctypes.c_uint), ctypes.POINTER(ctypes.c_int)]
_libc.getgrouplist.restype = ctypes.c_int


def _group_list(name: str, gid: int) -> list[int]:
    """getgrouplist(3). Not os.getgrouplist: that one keeps the interpreter's lock, and so a slow directory stops the daemon."""
    room = FIRST_GROUPS
    while True:
        groups, count = (ctypes.c_uint * room)(), ctypes.c_int(room)
        if _libc.getgrouplist(os.fsencode(name), gid, groups, ctypes.byref(count)) >= 0:
            return groups[: count.value]
        if not room < count.value <= MAX_GROUPS:
            raise _wrong(name, f"it is in more than {MAX_GROUPS} groups")
        room = count.value


class SlowAnswers:
    """Answers that took long, kept for a short time: one decision asks the same several times. Quick ones are always new."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[object, tuple[float, object]] = {}

    def ask(self, key: object, question: Callable[[], T]) -> T:
        began = self._clock()
        with self._lock:
            until, kept = self._kept.get(key, (began, None))
        if began < until:
            return kept  # type: ignore[return-value]  # the key says which question it is
        answer = question()
        now = self._clock()
        if now - began > SLOW_SECONDS:
            with self._lock:
                if len(self._kept) >= MAX_KEPT:
                    self._kept.clear()
                self._kept[key] = (now + KEPT_SECONDS, answer)
        return answer


_SLOW: Final = SlowAnswers()


class LocalAccounts(Accounts):
    """What this host's own files say, for when the name service does not answer and root must go on."""

    def __init__(self, folder: Path = Path("/etc")) -> None:
        self._folder = folder

    def passwd(self, key: str | int) -> pwd.struct_passwd | None:
        for fields in self._lines("passwd", 7):
            entry = pwd.struct_passwd((*fields[:2], int(fields[2]), int(fields[3]), *fields[4:]))
            if key in (entry.pw_name, entry.pw_uid):
                return entry
        return None

    def group(self, key: str | int) -> grp.struct_group | None:
        return next((g for g in self._groups() if key in (g.gr_name, g.gr_gid)), None)

    def group_list(self, name: str, gid: int) -> list[int]:
        return [gid, *(g.gr_gid for g in self._groups() if name in g.gr_mem)]

    def _groups(self) -> list[grp.struct_group]:
        lines = self._lines("group", 4)
        return [grp.struct_group((name, "x", int(gid), members.split(","))) for name, _, gid, members in lines]

    def _lines(self, name: str, count: int) -> list[list[str]]:
        """The entries of a file; what is none (nis(5)'s `+`, a comment, damage) is left out. Raises Failed."""
        try:
            text = (self._folder / name).read_text("utf-8", "surrogateescape")
        except OSError as error:
            raise Failed(f"{self._folder / name} cannot be read: {error.strerror}") from None
        lines = [line.split(":") for line in text.split("\n")]
        return [f for f in lines if len(f) == count and f[2].isascii() and f[2].isdigit() and (count < 7 or f[3].isdigit())]
