"""Logins: everybody who logs in is looked up once, and nothing that stands in logind's folder stops that."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from waiting import until

from jitsudo.daemon import logins as module
from jitsudo.daemon.logins import Logins
from jitsudo.daemon.people import ASKING, People
from jitsudo.errors import Failed
from jitsudo.host.accounts import Accounts, SystemAccounts
from jitsudo.types import Person, Uid, UserName


class Asked(SystemAccounts):
    """Who was looked up, and for whom."""

    def __init__(self) -> None:
        self.people: list[tuple[int, int | None]] = []

    def for_one_question(self) -> Accounts:
        return self

    def person(self, uid: Uid, login_uid: Uid | None) -> Person:
        self.people.append((uid, login_uid))
        if uid == 1001:
            raise Failed("the directory is out of order")
        return Person(uid, UserName("somebody"), login_uid)


class Recorded(People):
    """Remembers to whose limits look-ups count."""

    def __init__(self, accounts: Asked) -> None:
        super().__init__(accounts)
        self.limits: list[int | None] = []

    async def ask(self, question):  # type: ignore[no-untyped-def]
        self.limits.append(ASKING.get())
        return await super().ask(question)


def log_in(folder: Path, session: str, text: str) -> None:
    (folder / session).write_text(f"# This is private data. Do not parse.\n{text}\n")


class Looking(Logins):
    """Counts its looks."""

    looks = 0

    def _look(self) -> None:
        super()._look()
        self.looks += 1


async def watched(people: People, folder: Path, *steps: object) -> None:
    """Run Logins; between its looks, the steps happen, once all that it asked is answered."""
    logins = Looking(people, folder)
    task = asyncio.create_task(logins.run())
    for step in (lambda: None, *steps):
        step()  # type: ignore[operator]
        before = logins.looks
        await until(lambda before=before: logins.looks > before + 1 and not logins._asking)  # type: ignore[misc]
    assert not task.done()
    task.cancel()


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)


def test_everybody_who_logs_in_is_looked_up_once_for_a_login(tmp_path: Path) -> None:
    """Those who are there at the start; those who come; and again whoever comes back; each within their own limits."""
    log_in(tmp_path, "1", "UID=1000\nUSER=alice")
    asked = Asked()
    people = Recorded(asked)
    again = (lambda: (tmp_path / "2").unlink(), lambda: log_in(tmp_path, "2", "UID=1002"))
    asyncio.run(watched(people, tmp_path, lambda: log_in(tmp_path, "2", "UID=1002"), *again))
    assert asked.people == [(1000, 1000), (1002, 1002), (1002, 1002)]
    assert people.limits == [1000, 1002, 1002]


def test_two_logins_of_one_person_at_once_are_one_question(tmp_path: Path) -> None:
    """Their number does not matter."""
    for session in ("1", "2", "c3"):
        log_in(tmp_path, session, "UID=1000")
    asked = Asked()
    asyncio.run(watched(Recorded(asked), tmp_path))
    assert asked.people == [(1000, 1000)]


def test_what_is_no_session_is_passed_over(tmp_path: Path) -> None:
    """Files that are being written, pipes, malformed ids, bytes; and a directory that is out of order."""
    for session, text in {".#1x": "UID=1000", "1.ref": "UID=1000", "2": "UID=-1", "3": "UID=0_0", "4": "USER=x"}.items():
        log_in(tmp_path, session, text)
    (tmp_path / "5").write_bytes(b"UID=\xff\n")
    (tmp_path / "6").mkdir()
    log_in(tmp_path, "7", "UID=1001")
    asked = Asked()
    asyncio.run(watched(Recorded(asked), tmp_path, lambda: log_in(tmp_path, "8", "UID=1000")))
    assert asked.people == [(1001, 1001), (1000, 1000)]


def test_without_logind_nobody_is_looked_up_and_nothing_ends(tmp_path: Path) -> None:
    """It may also come later."""
    asked, folder = Asked(), tmp_path / "sessions"

    def begin() -> None:
        folder.mkdir()
        log_in(folder, "1", "UID=1000")

    asyncio.run(watched(Recorded(asked), folder, begin))
    assert asked.people == [(1000, 1000)]
