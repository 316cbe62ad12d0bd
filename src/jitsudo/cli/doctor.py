"""The arguments of jitsudo doctor."""

from __future__ import annotations

import argparse
from typing import Final

from jitsudo.doctor.areas import NAMES

_MEANING: Final = f"this area alone, may be repeated: {', '.join(NAMES)}"


def arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--only", action="append", default=[], choices=NAMES, metavar="AREA", help=_MEANING)
    command.add_argument("--all", action="store_true", help="also what is in order")
    command.add_argument("--strict", action="store_true", help="exit status 1 for warnings, too")
