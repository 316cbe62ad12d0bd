"""Look-ups of people: in time, fairly, and for root whatever hangs."""

from __future__ import annotations

import _thread
import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
from waiting import LONG, pass_time, until, wait_until

from jitsudo.daemon import people as module
from jitsudo.daemon.people import ASKING, CALL, LOOKUPS_A_PERSON, WAITING, People
from jitsudo.errors import Failed, NotFound
from jitsudo.host.accounts import Accounts, LocalAccounts, SystemAccounts
from jitsudo.types import Person, Uid, UserName

T = TypeVar("T")
ALICE, BOB, ROOT = 1000, 1001, 0


class Service(SystemAccounts):
    """A name service that hangs until it is let go."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.asked = 0
        self._lock = threading.Lock()

    def for_one_question(self) -> Accounts:
        return self

    def hang(self) -> str:
        with self._lock:
            self.asked += 1
        self.goes_on.wait()
        return "from the service"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """With times that no machine takes, however busy it is: they pass where a test says so."""
    monkeypatch.setattr(module, "LOOKUP_SECONDS", 1000.0)
    monkeypatch.setattr(module, "ROOT_SECONDS", 500.0)
    found = Service()
    yield found
    found.goes_on.set()


def hang(accounts: Accounts) -> str:
    return accounts.hang() if isinstance(accounts, Service) else "from the files"


def quick(accounts: Accounts) -> str:
    return "from the service" if isinstance(accounts, Service) else "from the files"


async def by(uid: int | None, asked: Callable[[], Awaitable[str]]) -> str:
    """What somebody is told: the answer, or the refusal's sentence."""
    ASKING.set(uid)
    try:
        return await asked()
    except Failed as refused:
        return refused.sentence


def ask(people: People, uid: int | None, question: Callable[[Accounts], str]) -> asyncio.Task[str]:
    return asyncio.create_task(by(uid, lambda: people.ask(question)))


async def given_up(task: asyncio.Task[T]) -> T:
    """What comes of it when the service has been silent for as long as anybody waits for it."""
    await asyncio.sleep(0)
    pass_time(1001)
    return await asyncio.wait_for(task, LONG)


NO_ANSWER = "the user database did not answer within 1000 s"


def test_a_service_that_hangs_is_given_up_in_time(service: Service) -> None:
    """With a sentence, no sooner and no later; the event loop goes on meanwhile."""

    async def main() -> str:
        task = ask(People(service), ALICE, hang)
        await until(lambda: service.asked)
        pass_time(900)
        await asyncio.sleep(0.01)
        assert not task.done()
        pass_time(101)
        return await asyncio.wait_for(task, LONG)

    assert asyncio.run(main()) == NO_ANSWER


def test_what_hangs_for_one_person_concerns_nobody_else(service: Service) -> None:
    """However often that one asks; and it takes few threads."""

    async def main() -> tuple[list[str], str]:
        people = People(service)
        many = [ask(people, ALICE, hang) for _ in range(50)]
        await until(lambda: service.asked == LOOKUPS_A_PERSON)
        other = await asyncio.wait_for(ask(people, BOB, quick), LONG)
        assert not any(task.done() for task in many)
        pass_time(1001)
        return await asyncio.gather(*many), other

    many, other = asyncio.run(main())
    assert set(many) == {NO_ANSWER}
    assert other == "from the service"
    assert service.asked == LOOKUPS_A_PERSON


def test_what_hangs_counts_until_it_is_back(service: Service) -> None:
    """Not only until whoever asked has given up; then the person is served as before."""

    async def main() -> list[str]:
        people = People(service)
        hung = [await given_up(answer) for answer in [ask(people, ALICE, hang) for _ in range(LOOKUPS_A_PERSON)]]
        blocked = await given_up(ask(people, ALICE, quick))
        service.goes_on.set()
        await until(lambda: not people._hanging[ALICE])
        return [*hung, blocked, await ask(people, ALICE, quick)]

    assert asyncio.run(main()) == [NO_ANSWER] * 3 + ["from the service"]


def test_many_people_for_whom_it_hangs_leave_room_for_those_who_were_answered(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is dead; those whom the host's own files know go on working."""
    monkeypatch.setattr(module, "UNPROVEN_LOOKUPS", 4)

    async def main() -> list[str]:
        people = People(service)
        before = await ask(people, BOB, quick)
        many = [ask(people, uid, hang) for uid in range(5000, 5020)]
        await until(lambda: service.asked == 4)
        answers = [before, await ask(people, BOB, quick), await given_up(ask(people, ALICE, quick))]
        await asyncio.gather(*many)
        return answers

    assert asyncio.run(main()) == ["from the service", "from the service", NO_ANSWER]
    assert service.asked == 4


def test_the_last_answer_decides_who_has_room(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose last look-up hung is among those who share."""
    monkeypatch.setattr(module, "UNPROVEN_LOOKUPS", 1)

    async def main() -> list[str]:
        people = People(service)
        first = [await ask(people, BOB, quick), await given_up(ask(people, BOB, hang))]
        stuck = ask(people, ALICE, hang)
        answers = [*first, await given_up(ask(people, BOB, quick))]
        await stuck
        return answers

    assert asyncio.run(main()) == ["from the service", NO_ANSWER, NO_ANSWER]


def test_root_goes_on_by_the_hosts_own_files(service: Service) -> None:
    """After a while the first time; at once for as long as the service hangs; by the service again afterwards."""

    async def main() -> list[str]:
        people = People(service)
        first = await given_up(ask(people, ROOT, hang))
        second = await asyncio.wait_for(ask(people, ROOT, hang), LONG)
        service.goes_on.set()
        await until(lambda: not people._hanging[ROOT])
        return [first, second, await ask(people, ROOT, hang)]

    assert asyncio.run(main()) == ["from the files", "from the files", "from the service"]


def test_the_daemons_own_questions_wait_once(service: Service) -> None:
    """They have no turn to wait for; while one of them hangs, the next are given up at once: root waits for the start."""

    async def main() -> list[str]:
        people = People(service)
        hung = [ask(people, None, hang) for _ in range(5)]
        await until(lambda: service.asked == 5)
        answers = [await ask(people, None, quick)]
        pass_time(1001)
        answers += await asyncio.gather(*hung)
        answers.append(await asyncio.wait_for(ask(people, None, hang), LONG))
        service.goes_on.set()
        await until(lambda: not people._hanging[None])
        return [*answers, await ask(people, None, hang)]

    answers = asyncio.run(main())
    assert answers == ["from the service", *[NO_ANSWER] * 5, "the user database does not answer", "from the service"]


def test_whoever_waits_is_told_for_what(service: Service) -> None:
    """While the look-up goes on, and not a moment longer, however it ends."""

    class Call:
        waiting_for = "something else"

    async def main() -> list[str]:
        people, call = People(service), Call()
        CALL.set(call)
        task = ask(people, ALICE, hang)
        await until(lambda: service.asked)
        told = [call.waiting_for]
        await given_up(task)
        return [*told, call.waiting_for]

    assert asyncio.run(main()) == [WAITING, "something else"]


def test_whoever_gives_up_waiting_for_a_turn_takes_none(service: Service) -> None:
    """A caller that has gone leaves the count as it was."""

    async def main() -> str:
        people = People(service)
        hung = [ask(people, ALICE, hang) for _ in range(LOOKUPS_A_PERSON)]
        await until(lambda: service.asked == LOOKUPS_A_PERSON)
        waiting = [ask(people, ALICE, quick) for _ in range(10)]
        await asyncio.sleep(0.01)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        service.goes_on.set()
        await asyncio.gather(*hung)
        assert people._turns[ALICE]._value == LOOKUPS_A_PERSON
        return await ask(people, ALICE, quick)

    assert asyncio.run(main()) == "from the service"


@pytest.mark.parametrize("whose", [ROOT, None])
def test_an_answer_in_the_very_turn_in_which_it_is_given_up_is_no_silence(service: Service, whose: int | None) -> None:
    """Its thread is back: nobody is told from then on that the database does not answer."""
    service.goes_on.set()

    async def main() -> str:
        people = People(service)
        back = people._back

        def back_and_given_up(*given: Any) -> None:
            back(*given)
            task.cancel()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(people, "_back", back_and_given_up)
            task = ask(people, whose, hang)
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        return await ask(people, whose, hang)

    assert asyncio.run(main()) == "from the service"


def test_a_call_waits_once_and_the_next_call_again(service: Service) -> None:
    """There are several questions in a call; a second wait would double the time that is promised."""

    class Call:
        waiting_for = "something else"

    async def call(people: People) -> list[str]:
        ASKING.set(ALICE)
        CALL.set(Call())
        return [await by(ALICE, lambda: people.ask(hang)) for _ in range(3)]

    async def main() -> list[list[str]]:
        people = People(service)
        return [await given_up(asyncio.create_task(call(people))) for _ in range(2)]

    for answers in asyncio.run(main()):
        assert answers == [NO_ANSWER, "the user database does not answer", "the user database does not answer"]


def test_what_the_question_raises_comes_back(service: Service) -> None:
    """Whatever it is, and the next question is asked as if nothing had been."""

    async def main() -> str:
        people = People(service)
        with pytest.raises(ZeroDivisionError):
            await people.ask(lambda _: 1 // 0)
        return await people.ask(quick)

    assert asyncio.run(main()) == "from the service"


def test_without_threads_nobody_is_found(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal with a sentence, and the room is given back."""

    def no_threads(*_given: object) -> int:
        raise RuntimeError("can't start new thread")

    async def main() -> str:
        people = People(service)
        with monkeypatch.context() as patched:
            patched.setattr(_thread, "start_new_thread", no_threads)
            answer = await ask(people, ALICE, quick)
        assert people._turns[ALICE]._value == LOOKUPS_A_PERSON
        return answer

    assert asyncio.run(main()) == "the user database cannot be asked: too many threads"


def test_people_whose_entries_are_wrong_are_left_out() -> None:
    """A grant that names one who is gone does not hide the others."""

    class Some(SystemAccounts):
        def for_one_question(self) -> Accounts:
            return self

        def person(self, uid: Uid, login_uid: Uid | None) -> Person:
            if uid == ALICE:
                return Person(uid, UserName("alice"), login_uid)
            raise NotFound("gone") if uid == BOB else Failed("wrong")

    async def main() -> object:
        return await People(Some()).people([(Uid(ALICE), None), (Uid(BOB), None), (Uid(1002), Uid(1002))])

    assert asyncio.run(main()) == {(Uid(ALICE), None): Person(Uid(ALICE), UserName("alice"), None)}


def test_nothing_is_asked_of_a_daemon_that_stops(service: Service) -> None:
    """Nor does it wait for what hangs."""

    async def main() -> str:
        people = People(service, LocalAccounts())
        people.close()
        return await ask(people, ALICE, quick)

    assert asyncio.run(main()) == "the daemon is stopping"


def test_the_end_of_the_loop_before_the_answer_is_no_error(service: Service) -> None:
    """The thread comes back to nobody."""
    failures: list[object] = []
    before, threads = sys.unraisablehook, _thread._count()
    sys.unraisablehook = failures.append
    try:
        asyncio.run(asyncio.wait_for(ask_and_leave(service), LONG))
        service.goes_on.set()
        wait_until(lambda: _thread._count() <= threads)
    finally:
        sys.unraisablehook = before
    assert failures == []


async def ask_and_leave(service: Service) -> None:
    task = ask(People(service), ALICE, hang)
    await until(lambda: service.asked)
    task.cancel()
