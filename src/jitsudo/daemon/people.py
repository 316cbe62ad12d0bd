"""People, accounts and groups for the daemon: look-ups off the event loop, with a time of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from jitsudo.errors import Failed, NotFound
from jitsudo.host.accounts import SystemAccounts
from jitsudo.types import Person, Uid

T = TypeVar("T")
LOOKUP_SECONDS: Final = 10.0
WORKERS: Final = 8


class People:
    """The user database, asked in threads."""

    def __init__(self, accounts: SystemAccounts) -> None:
        self._accounts = accounts
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="accounts")

    async def ask(self, question: Callable[[SystemAccounts], T]) -> T:
        """Raises Failed when the database does not answer, and what the question raises."""
        answer = asyncio.get_running_loop().run_in_executor(self._threads, question, self._accounts)
        try:
            return await asyncio.wait_for(answer, LOOKUP_SECONDS)
        except TimeoutError:
            raise Failed(
                f"the user database did not answer within {LOOKUP_SECONDS:.0f} s", "getent passwd; systemctl status sssd"
            ) from None

    async def people(self, ids: Iterable[tuple[Uid, Uid | None]]) -> Mapping[tuple[Uid, Uid | None], Person]:
        """The people with these uids and login uids; those without an account are left out."""
        wanted = tuple(ids)

        def look_up(accounts: SystemAccounts) -> dict[tuple[Uid, Uid | None], Person]:
            found = {}
            for uid, login_uid in wanted:
                try:
                    found[uid, login_uid] = accounts.person(uid, login_uid)
                except NotFound:
                    continue
            return found

        return await self.ask(look_up)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
