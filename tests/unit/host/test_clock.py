"""The clocks: set back, far ahead, suspended, at every boundary."""

from __future__ import annotations

import re

import pytest

from jitsudo.errors import Denied
from jitsudo.host.clock import SLACK_SECONDS, CredibleClock, boot_id, read_clocks
from jitsudo.types import Moment

T = 1_795_500_000


def at(wall: int, boot: float = 1000.0) -> Moment:
    return Moment(wall, boot)


def test_a_reading_is_of_this_moment() -> None:
    """Whole seconds of wall time; time since boot goes on."""
    first, second = read_clocks(), read_clocks()
    assert isinstance(first.wall, int)
    assert second.boot >= first.boot > 0
    assert re.fullmatch("[0-9a-f]{32}", boot_id())


def test_a_new_host_believes_its_clock() -> None:
    """There is nothing to hold against it."""
    clock = CredibleClock(0, at(T))
    assert clock.credible == T
    clock.check(at(T))


def test_the_clock_may_be_behind_by_the_slack_and_no_second_more() -> None:
    """N and N + 1."""
    clock = CredibleClock(T, at(T))
    clock.check(at(T - SLACK_SECONDS))
    with pytest.raises(Denied, match=f"set back by {SLACK_SECONDS + 1} s"):
        clock.check(at(T - SLACK_SECONDS - 1))


def test_a_clock_set_back_revives_nothing_however_long_one_waits() -> None:
    """Only when the wall clock has caught up again is it believed."""
    clock = CredibleClock(T, at(T))
    for passed in range(0, 3600, 60):
        now = at(T - 3600 + passed, 1000.0 + passed)
        clock.observe(now)
        assert clock.credible == T
        if passed < 3600 - SLACK_SECONDS:
            with pytest.raises(Denied):
                clock.check(now)
    clock.check(at(T, 4600.0))


def test_1970_is_refused() -> None:
    """A host without a battery."""
    with pytest.raises(Denied):
        CredibleClock(T, at(T)).check(at(0))


def test_a_clock_that_leaps_ahead_is_not_believed_until_it_is_synchronised() -> None:
    """Fifty years on and back: the leap has not become the measure of all times."""
    clock = CredibleClock(T, at(T))
    ahead = at(T + 50 * 365 * 86_400, 1001.0)
    clock.observe(ahead)
    assert clock.is_far_ahead(ahead)
    assert clock.credible == T
    clock.check(at(T + 2, 1002.0))
    clock.observe(ahead, synchronised=True)
    assert clock.credible == ahead.wall
    assert not clock.is_far_ahead(ahead)


def test_the_slack_ahead_is_exact() -> None:
    """Time since boot plus the slack is believed, one second more is not."""
    for extra, far in ((0, False), (1, True)):
        clock, now = CredibleClock(T, at(T)), at(T + 60 + SLACK_SECONDS + extra, 1060.0)
        assert clock.is_far_ahead(now) is far
        clock.observe(now)
        assert clock.credible == (T if far else now.wall)


def test_a_host_that_slept_is_not_ahead() -> None:
    """CLOCK_BOOTTIME counts through suspend."""
    clock, morning = CredibleClock(T, at(T)), at(T + 36_000, 37_000.0)
    assert not clock.is_far_ahead(morning)
    clock.observe(morning)
    assert clock.credible == T + 36_000


def test_a_host_that_was_off_is_ahead_until_it_is_synchronised() -> None:
    """What a daemon knew before a long shutdown is the past; nothing is refused for that."""
    clock = CredibleClock(T, at(T + 86_400, 5.0))
    assert clock.is_far_ahead(at(T + 86_400, 5.0))
    clock.check(at(T + 86_400, 5.0))


def test_believed_time_never_goes_back_by_observing() -> None:
    """Whatever readings come in whatever order."""
    clock, highest = CredibleClock(T, at(T)), T
    for offset in (5, -50, 90, -110, 100, 0, 119):
        clock.observe(at(T + offset, 1001.0))
        highest = max(highest, T + offset)
        assert clock.credible == highest


def test_an_administrator_can_accept_the_clock_as_it_is() -> None:
    """The one way back."""
    clock = CredibleClock(T, at(T))
    clock.accept(at(T - 86_400))
    assert clock.credible == T - 86_400
    clock.check(at(T - 86_400))
