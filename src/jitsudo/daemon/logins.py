"""Logins: who logs in is looked up at once, so that a slow directory has its answer by the time of the first sudo."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

from jitsudo.daemon.people import ASKING, People
from jitsudo.errors import InvalidValue, JitsudoError
from jitsudo.types import Uid

LOOK_SECONDS: Final = 1.0
FOLDER: Final = Path("/run/systemd/sessions")  # one file for each of logind's sessions (sd_uid_get_sessions(3))


class Logins:
    """Sees new sessions. What is found is not kept here: the look-up itself fills the caches of the name service."""

    def __init__(self, people: People, folder: Path = FOLDER) -> None:
        self._people = people
        self._folder = folder
        self._seen: set[str] = set()
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled. Those who are logged in already when the daemon starts are looked up, too."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        try:
            names = {name for name in os.listdir(self._folder) if not name.startswith(".") and not name.endswith(".ref")}
        except OSError:  # no logind here
            return
        for uid in {uid for name in names - self._seen if (uid := _uid(self._folder / name)) is not None}:
            task = asyncio.get_running_loop().create_task(self._ask(uid))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        self._seen = names

    async def _ask(self, uid: Uid) -> None:
        ASKING.set(int(uid))
        with contextlib.suppress(JitsudoError):  # whoever comes to use it is told
            await self._people.ask(lambda accounts: accounts.person(uid, uid))


def _uid(session: Path) -> Uid | None:
    try:
        lines = session.read_text("utf-8").splitlines()
        return next((Uid.parse(line[4:]) for line in lines if line.startswith("UID=")), None)
    except (OSError, ValueError, InvalidValue):  # it has ended, or is none
        return None
