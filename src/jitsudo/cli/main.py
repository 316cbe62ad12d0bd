"""The entry point `jitsudo`: arguments in, exit status out (docs/exit-codes.md)."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from jitsudo import __version__
from jitsudo.cli import admin, doctor, grants, render, requests
from jitsudo.cli.later import Command, Subparsers, later
from jitsudo.cli.policy import PolicyCommands
from jitsudo.cli.setup import SetupCommands
from jitsudo.errors import ExitStatus, Failed, InvalidValue, JitsudoError
from jitsudo.types import shown_plainly


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ExitStatus.USAGE, f"{self.prog}: {shown_plainly(message)}\ntry: {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """Every command with its arguments; completions and man pages follow it."""
    parser = _Parser(prog="jitsudo", description="Just-in-time root: ask for a role, use sudo, give it back.")
    parser.add_argument("--version", action="version", version=f"jitsudo {__version__}")
    commands: Subparsers = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, run: Command, summary: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
        _finish(command, run)
        return command

    command = add("request", requests.request, "ask for a role")
    command.add_argument("role", metavar="ROLE")
    command.add_argument("--for", dest="duration", type=_duration, metavar="TIME", help="e.g. 30m, 1h30m")
    command.add_argument("--reason", metavar="TEXT", help="why, as the approver will read it")
    command.add_argument("--uses", type=int, metavar="N", help="for N commands only")
    _waiting(command)
    command = add("again", requests.again, "ask once more for what I asked for last")
    command.add_argument("--reason", metavar="TEXT", help="another reason than last time")
    _waiting(command)
    command = add("requests", requests.requests, "list requests that are mine, or mine to approve")
    command.add_argument("--all", action="store_true", help="those that are decided, too")
    command = add("approve", requests.approve, "approve a request, after showing it and asking who you are")
    command.add_argument("request", metavar="REQUEST")
    command.add_argument("--for", dest="duration", type=_duration, metavar="TIME", help="at most for this time")
    command.add_argument("--note", metavar="TEXT", help="to be kept with the approval")
    command.add_argument("-S", "--stdin", action="store_true", help="read the password from standard input")
    command = add("deny", requests.deny, "deny a request")
    command.add_argument("request", metavar="REQUEST")
    command.add_argument("--reason", metavar="TEXT", required=True)
    command = add("cancel", requests.cancel, "take a request of mine back")
    command.add_argument("request", metavar="REQUEST")
    command = add("status", grants.status, "show my grants and requests")
    command.add_argument("--short", action="store_true", help="one line, for a prompt")
    command.add_argument("--all", action="store_true", help="those of others, too, that I may revoke or approve")
    command = add("return", grants.give_back, "give a grant back; what runs under it ends")
    which = command.add_mutually_exclusive_group()
    which.add_argument("grant", metavar="GRANT", nargs="?")
    which.add_argument("--all", action="store_true")
    command = add("revoke", grants.revoke, "end a grant at once (root, and the role's approvers)")
    command.add_argument("grant", metavar="GRANT")
    command.add_argument("--reason", metavar="TEXT", required=True)
    add("roles", grants.roles, "show the roles that are open to me")
    command = add("explain", grants.explain, "why I may, or may not, run a command now")
    command.add_argument("-u", "--user", metavar="USER", help="as this user (root)")
    command.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    summary = "what is wrong with this host, and what cures it; changes nothing"
    doctor.arguments(add("doctor", later("examining", "doctor"), summary))
    SetupCommands(commands, _finish, _Parser)
    PolicyCommands(commands, _finish)
    _group(commands, "clock", "accept", admin.clock_accept, "accept the clock as it is, after it was set back")
    return parser


def _group(commands: Subparsers, name: str, verb: str, run: Command, summary: str) -> None:
    inner = commands.add_parser(name, help=f"{verb}: {summary} (root)").add_subparsers(
        metavar="COMMAND", required=True, parser_class=_Parser
    )
    _finish(inner.add_parser(verb, help=summary, description=summary), run)


def _finish(command: argparse.ArgumentParser, run: Command) -> None:
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=run)


def _waiting(command: argparse.ArgumentParser) -> None:
    command.add_argument("--wait", action="store_true", help="until it is decided; exit status 4 if it is not in time")
    command.add_argument("--timeout", type=_duration, metavar="TIME", help="with --wait: at most for this time")


def _duration(value: str) -> object:
    try:
        return requests.duration(value)
    except InvalidValue as error:
        raise argparse.ArgumentTypeError(f"{error.sentence}; {error.hint}") from None


def _fail(error: JitsudoError, as_json: bool) -> int:
    issues = getattr(error, "issues", ())
    if as_json:
        shown = {"code": error.code, "message": error.sentence, "hint": error.hint, "issues": list(issues)}
        print(json.dumps({"version": render.JSON_VERSION, "error": shown}, indent=2))
        return int(error.exit_status)
    render.tell(f"jitsudo: {error.sentence}")
    for issue in issues:
        render.tell(f"  {issue}")
    if error.hint:
        render.tell(f"  {error.hint}")
    return int(error.exit_status)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Never a traceback: what is not ours is an internal error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no arrows must not turn an answer into an error
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(argv)
    try:
        status = _run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader has gone, e.g. `| head`: nothing is left to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _run(options: argparse.Namespace) -> int:
    try:
        return int(options.run(options))
    except JitsudoError as error:
        return _fail(error, options.json)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is: a person gets a sentence, not a traceback
        return _fail(Failed(f"internal error ({type(error).__name__}: {error})"), options.json)


if __name__ == "__main__":
    sys.exit(main())
