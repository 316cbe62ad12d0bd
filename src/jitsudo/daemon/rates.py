"""How often one person may make the record grow: a bucket for each uid, so that nobody fills the disk or hides in a flood."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from jitsudo.types import Uid

MAX_SHOWN_CHARS: Final = 1024  # of one argument of a refused command
MAX_SHOWN_TOTAL: Final = 4096


@dataclass(slots=True)
class _Bucket:
    left: float
    filled: float  # when `left` was true, in seconds since boot
    refused: int = 0


@dataclass(slots=True)
class Rate:
    """`burst` at once, and one more each `seconds`."""

    burst: int
    seconds: float
    _buckets: dict[Uid, _Bucket] = field(default_factory=dict)

    def admit(self, uid: Uid, boot: float) -> int | None:
        """None: too many. Otherwise how many were refused since the last that was admitted."""
        bucket = self._buckets.setdefault(uid, _Bucket(self.burst, boot))
        bucket.left = min(self.burst, bucket.left + max(0.0, boot - bucket.filled) / self.seconds)
        bucket.filled = boot
        if bucket.left < 1:
            bucket.refused += 1
            return None
        bucket.left -= 1
        refused, bucket.refused = bucket.refused, 0
        return refused


def shortened(argv: tuple[str, ...]) -> tuple[str, ...]:
    """A refused command line as it is kept: anybody can make one of 2 MiB, and nothing of it happened.

    An argument is kept whole or not at all: half a secret would not be recognised as one.
    """
    shown: list[str] = []
    room = MAX_SHOWN_TOTAL
    for index, argument in enumerate(argv):
        kept = argument if len(argument) <= MAX_SHOWN_CHARS else f"[{len(argument)} characters left out]"
        room -= len(kept) + 1
        if room < 0:
            return (*shown, f"[{len(argv) - index} more arguments left out]")
        shown.append(kept)
    return tuple(shown)
