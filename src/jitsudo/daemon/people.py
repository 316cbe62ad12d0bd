"""People, accounts and groups for the daemon: look-ups off the event loop, with a time of their own, and fairly.

A name service that hangs keeps the thread that asked it. So one person has few look-ups at once; those whose last one was not
answered share what room there is for such; and for root, who must get in whatever hangs, the host's own files answer then.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeVar

from jitsudo.errors import Failed, JitsudoError
from jitsudo.host.accounts import Accounts, LocalAccounts, SystemAccounts
from jitsudo.types import Person, Uid

T = TypeVar("T")
LOOKUP_SECONDS: Final = 10.0
ROOT_SECONDS: Final = 2.0  # for root, before the host's own files are asked
LOOKUPS_A_PERSON: Final = 2  # at once
UNPROVEN_LOOKUPS: Final = 96  # at once, of all whose last look-up was not answered
_HINT: Final = "getent passwd; systemctl status sssd"
_SILENT: Final = "the user database does not answer"
WAITING: Final = f"the user database is being asked; it has {LOOKUP_SECONDS:.0f} s to answer"


# Somebody by uid and login uid, and everybody of whom it was asked, None for those without an account that makes sense.
Who = tuple[Uid, Uid | None]
LookedUp = Mapping[Who, Person | None]


class Waiting(Protocol):
    """A call under way, of which somebody waits for the answer."""

    waiting_for: str


# For whom a task asks: the uid to whose limits its connection counts, set where the connection is taken; None: the daemon.
ASKING: ContextVar[int | None] = ContextVar("asking", default=None)
# For which call it asks: the caller is told what is awaited.
CALL: ContextVar[Waiting | None] = ContextVar("call", default=None)
_GAVE_UP: ContextVar[bool] = ContextVar("gave up", default=False)  # in this call


def begin_call(call: Waiting) -> None:
    """From now on this task asks for another call."""
    CALL.set(call)
    _GAVE_UP.set(False)


@dataclass(slots=True)
class _LookUp:
    """One question under way; `rooms` are free again when its thread is back, however long ago whoever asked gave up."""

    whose: int | None
    rooms: list[asyncio.Semaphore] = field(default_factory=list)
    started: bool = False
    is_back: bool = False
    given_up: bool = False


class People:
    """The user database, asked in threads."""

    def __init__(self, accounts: SystemAccounts, local: Accounts | None = None) -> None:
        self._accounts = accounts
        self._local = LocalAccounts() if local is None else local
        self._turns: dict[int, asyncio.Semaphore] = {}
        self._unproven = asyncio.Semaphore(UNPROVEN_LOOKUPS)
        self._answered: set[int | None] = set()
        self._hanging: Counter[int | None] = Counter()
        self._is_closed = False

    async def ask(self, question: Callable[[Accounts], T]) -> T:
        """Raises Failed when the database does not answer, and what the question raises."""
        if self._is_closed:
            raise Failed("the daemon is stopping", "call again")
        call = CALL.get()
        if call is None:
            return await self._ask(question)
        if _GAVE_UP.get():  # whoever called has waited once, and there are several questions in a call
            raise Failed(_SILENT, _HINT)
        before, call.waiting_for = call.waiting_for, WAITING
        try:
            return await self._ask(question)
        finally:
            call.waiting_for = before

    async def _ask(self, question: Callable[[Accounts], T]) -> T:
        look_up = _LookUp(ASKING.get())
        is_root = look_up.whose == 0
        if is_root and self._hanging[0]:
            return question(self._local)
        if look_up.whose is None and self._hanging[None]:
            # At its start the daemon asks for one grant after the other, and root waits for it.
            raise Failed(_SILENT, _HINT)
        try:
            async with asyncio.timeout(ROOT_SECONDS if is_root else LOOKUP_SECONDS):
                return await self._answer(look_up, question)
        except TimeoutError:
            if is_root:
                return question(self._local)
            _GAVE_UP.set(True)
            raise Failed(f"the user database did not answer within {LOOKUP_SECONDS:.0f} s", _HINT) from None

    async def _answer(self, look_up: _LookUp, question: Callable[[Accounts], T]) -> T:
        whose, loop = look_up.whose, asyncio.get_running_loop()
        rooms = [] if whose is None else [self._turns.setdefault(whose, asyncio.Semaphore(LOOKUPS_A_PERSON))]
        rooms += [] if whose in self._answered else [self._unproven]
        answer: asyncio.Future[T] = loop.create_future()
        try:
            for room in rooms:
                await room.acquire()
                look_up.rooms.append(room)
            self._start(loop, look_up, question, answer)
            return await answer
        except asyncio.CancelledError:  # too late, or whoever asked has gone; raised again
            # It may be back: whoever asked is cancelled in the turn in which the answer came, and has not taken it yet.
            if look_up.started and not look_up.is_back:
                look_up.given_up = True
                self._hanging[whose] += 1
                self._answered.discard(whose)
            raise
        finally:
            if not look_up.started:
                self._leave(look_up)

    def _start(
        self, loop: asyncio.AbstractEventLoop, look_up: _LookUp, question: Callable[[Accounts], T], answer: asyncio.Future[T]
    ) -> None:
        def run() -> None:
            settle: Callable[[], None]
            try:
                settle = partial(answer.set_result, question(self._accounts.for_one_question()))
            except BaseException as error:  # noqa: BLE001  whatever it is, it is raised where the answer is awaited
                settle = partial(answer.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the daemon has stopped meanwhile
                loop.call_soon_threadsafe(self._back, look_up, answer, settle)

        try:
            # Not of a pool: the interpreter waits for those when it ends, and this thread may never come back.
            # And not threading.Thread: that waits until the thread runs, which on a busy host takes a millisecond.
            _thread.start_new_thread(run, ())
        except RuntimeError:
            raise Failed("the user database cannot be asked: too many threads", "systemctl status jitsudod") from None
        look_up.started = True

    def _back(self, look_up: _LookUp, answer: asyncio.Future[T], settle: Callable[[], None]) -> None:
        self._leave(look_up)
        look_up.is_back = True
        if look_up.given_up:
            self._hanging[look_up.whose] -= 1
            return
        self._answered.add(look_up.whose)
        if not answer.done():
            settle()

    @staticmethod
    def _leave(look_up: _LookUp) -> None:
        for room in look_up.rooms:
            room.release()
        look_up.rooms.clear()

    async def people(self, wanted: Collection[Who]) -> Mapping[Who, Person]:
        """The people with these uids and login uids; those without an account, or with one that is wrong, are left out."""
        return who_is_there(await self.ask(lambda accounts: look_up(accounts, wanted)))

    def close(self) -> None:
        """Nothing more is asked; look-ups that hang are left to themselves."""
        self._is_closed = True


def look_up(accounts: Accounts, wanted: Collection[Who]) -> LookedUp:
    """The people with these uids and login uids. Blocks."""
    found: dict[Who, Person | None] = dict.fromkeys(wanted)
    for uid, login_uid in wanted:
        with contextlib.suppress(JitsudoError):
            found[uid, login_uid] = accounts.person(uid, login_uid)
    return found


def who_is_there(looked_up: LookedUp) -> Mapping[Who, Person]:
    """Without those who have no account."""
    return {who: person for who, person in looked_up.items() if person is not None}
