"""The commands of jitsudo setup: their arguments. What they do is loaded when one is used, since it takes its time."""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from typing import Final

from jitsudo.cli.later import Command, Finish, Subparsers, later
from jitsudo.errors import InvalidValue
from jitsudo.setup.sudoconf import FrontEnd
from jitsudo.types import Duration

SUMMARY: Final = "put jitsudo in front of root, and take it away again"
DEFAULT_CONFIRM: Final = Duration.parse("10m")


class SetupCommands:
    """`jitsudo setup …` below `commands`."""

    def __init__(self, commands: Subparsers, finish: Finish, parser_class: type[argparse.ArgumentParser]) -> None:
        group = commands.add_parser("setup", help=SUMMARY, description=SUMMARY)
        self._inner: Subparsers = group.add_subparsers(metavar="COMMAND", required=True, parser_class=parser_class)
        self._finish = finish
        self._enable()
        summary = "jitsudo lets you in: let it stay (root, from another login than the one that enabled)"
        self._add("confirm", "confirm_setup", summary)
        for name, summary in (
            ("disable", "take jitsudo out of sudo: everything is as it was before (root)"),
            ("rollback", "put back whatever an enable has changed, finished or not (root)"),
        ):
            command = self._add(name, name, summary)
            command.add_argument("--force", action="store_true", help="also what somebody has edited since; it is put aside")
        self._add("status", "status", "what is in force, since when, by whom, and what is not as setup left it (root)")
        self._add("verify", "verify_setup", "whether sudo loads jitsudo after an upgrade; if not, fall back (root)")
        self._observe()

    def _add(self, name: str, does: str, summary: str) -> argparse.ArgumentParser:
        return self._command(name, later("setupcommands", does), summary)

    def _command(self, name: str, run: Command, summary: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = self._inner.add_parser(name, help=summary, description=summary)
        self._finish(command, run)
        return command

    def _enable(self) -> None:
        summary = "let jitsudo decide, after every check, until it is confirmed or put back (root)"
        command = self._add("enable", "enable", summary)
        command.add_argument(
            "--front-end", type=FrontEnd, choices=list(FrontEnd), default=FrontEnd.NATIVE, metavar="NAME",
            help="python, native or pam; native by default (see jitsudo doctor)",
        )  # fmt: skip
        command.add_argument(
            "--confirm-within", type=_duration, default=DEFAULT_CONFIRM, metavar="TIME",
            help="put everything back if nobody has confirmed by then; 10m by default",
        )  # fmt: skip
        command.add_argument(
            "--waive", action="append", default=[], metavar="WHAT",
            help="do without this, as the problem names it; may be repeated",
        )  # fmt: skip
        command.add_argument("--check", action="store_true", help="make every check and change nothing")

    def _observe(self) -> None:
        summary = "let sudoers decide, and have jitsudo note what sudo does and what it would have said (root)"
        command = self._command("observe", later("observing", "observe"), summary)
        command.add_argument("--off", action="store_true", help="observe no more; what was noted stays")
        summary = "what would break with jitsudo, for whom, and what helps (root)"
        command = self._command("report", later("observing", "report"), summary)
        command.add_argument(
            "--since", type=_since, metavar="TIME", help="only what happened since then: 7d, 12h, 2026-11-24"
        )


def _duration(text: str) -> Duration:
    try:
        return Duration.parse(text)
    except InvalidValue as error:
        raise argparse.ArgumentTypeError(f"{error.sentence}; {error.hint}") from None


def _since(text: str) -> int:
    try:
        return int(time.time()) - Duration.parse(text)
    except InvalidValue:
        pass
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"not a time: {text!r}; write e.g. 7d, 12h or 2026-11-24") from None
