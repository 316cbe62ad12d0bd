"""The command jitsudo doctor: its arguments. What it does is loaded when it is used, since it takes its time."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Final

from jitsudo.doctor.areas import NAMES

_MEANING: Final = f"this area alone, may be repeated: {', '.join(NAMES)}"


def arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--only", action="append", default=[], choices=NAMES, metavar="AREA", help=_MEANING)
    command.add_argument("--all", action="store_true", help="also what is in order")
    command.add_argument("--strict", action="store_true", help="exit status 1 for warnings, too")


def doctor(options: argparse.Namespace) -> int:
    return int(import_module("jitsudo.cli.examining").doctor(options))
