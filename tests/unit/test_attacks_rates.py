"""Nobody fills the disk with refusals, and none is lost without being counted."""

from __future__ import annotations

from jitsudo.daemon.rates import MAX_SHOWN_CHARS, MAX_SHOWN_TOTAL, Rate, shortened
from jitsudo.types import Uid

ALICE, BOB = Uid(1000), Uid(1001)


def test_a_flood_is_counted_and_told_with_the_next_that_is_admitted() -> None:
    """After the burst nothing is admitted; as time passes one is, and says how many were not."""
    rate = Rate(burst=3, seconds=10.0)
    assert [rate.admit(ALICE, 5.0) for _ in range(5)] == [0, 0, 0, None, None]
    assert rate.admit(ALICE, 14.9) is None
    assert rate.admit(ALICE, 15.1) == 3
    assert rate.admit(ALICE, 15.2) is None


def test_one_persons_flood_is_not_anothers() -> None:
    """Each uid has a bucket of its own."""
    rate = Rate(burst=1, seconds=10.0)
    assert [rate.admit(ALICE, 0.0), rate.admit(ALICE, 0.0), rate.admit(BOB, 0.0)] == [0, None, 0]


def test_a_clock_that_runs_backwards_gives_nothing() -> None:
    """Neither more room nor less."""
    rate = Rate(burst=2, seconds=10.0)
    assert [rate.admit(ALICE, t) for t in (100.0, 50.0, 50.0)] == [0, 0, None]


def test_a_refused_command_line_is_kept_in_few_characters() -> None:
    """Two mebibytes of arguments leave a few kilobytes; short command lines stay as they are."""
    short = ("rm", "-rf", "/srv/x y", "")
    assert shortened(short) == short
    many = shortened(("true", *["x" * 100] * 20_000))
    assert sum(map(len, many)) <= MAX_SHOWN_TOTAL + 100
    assert many[0] == "true"
    assert many[-1].endswith("more arguments left out]")
    assert shortened(("true", "x" * (MAX_SHOWN_CHARS + 1), "y")) == ("true", "[1025 characters left out]", "y")


def test_no_argument_is_kept_in_part() -> None:
    """Half a secret would not be recognised as one, and would stay in the record for ever."""
    argv = ("curl", *(f"--header=token:{'s' * length}" for length in range(900, 1100, 7)))
    assert set(shortened(argv)[:-1]) <= {*argv, *(f"[{len(a)} characters left out]" for a in argv)}
