"""Which front end suits the host at hand, and why (docs/front-ends.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FrontEnd = Literal["python", "native", "pam"]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`why` is a sentence for people."""

    front_end: FrontEnd
    why: str
