"""The commands of jitsudo policy: their arguments. What they do is loaded when one is used, since it takes its time."""

from __future__ import annotations

import argparse
from typing import Final

from jitsudo.cli import admin
from jitsudo.cli.later import Command, Finish, Subparsers, later

FORMATS: Final = ("text", "json", "sarif")

_GIVEN: Final = (
    "Given files (or folders of *.yaml) are the whole policy: owners are not checked, programs need not be installed. "
    "Without any, it is the policy of this host."
)


class PolicyCommands:
    """The group `policy`: its parser; `finish` adds what all commands have in common."""

    def __init__(self, commands: Subparsers, finish: Finish) -> None:
        summary = "check, test, explain, edit and lay out the policy; load it"
        group = commands.add_parser("policy", help=summary, description=f"{summary.capitalize()}.")
        self._verbs = group.add_subparsers(metavar="COMMAND", required=True, parser_class=type(group))
        self._finish = finish
        self._check()
        self._test()
        self._explain()
        self._edit()
        self._add("schema", later("policycommands", "print_schema"), "print the JSON Schema of policy files, for editors")
        self._fmt()
        self._add("reload", admin.policy_reload, "load /etc/jitsudo/policy.d; answers when in force (root)")

    def _add(self, name: str, run: Command, summary: str, more: str = "") -> argparse.ArgumentParser:
        text = f"{summary[:1].upper()}{summary[1:]}. {more}"
        command: argparse.ArgumentParser = self._verbs.add_parser(name, help=summary, description=text)
        self._finish(command, run)
        return command

    def _check(self) -> None:
        more = f"Parses, lints, tests. {_GIVEN}"
        command = self._add("check", later("policycommands", "check_policy"), "find what is wrong with a policy", more)
        _files(command)
        _format(command)
        command.add_argument("--strict", action="store_true", help="status 1 on warnings, too")
        command.add_argument("--no-lint", action="store_true", help="parse and test only")

    def _test(self) -> None:
        more = f"Those in its roles, and those in tests/*.yaml beside it. {_GIVEN}"
        command = self._add("test", later("policycommands", "test_policy"), "run a policy's tests", more)
        _files(command)
        _format(command)
        command.add_argument("--role", metavar="ROLE", help="this role's tests only")
        command.add_argument("-v", "--verbose", action="store_true", help="show each test, and why")

    def _explain(self) -> None:
        more = "Every rule of every role that is open to the person, as if it were granted. This machine is not looked at."
        command = self._add("explain", later("policycommands", "explain_policy"), "say what a policy says of a command", more)
        command.add_argument("--as", dest="person", metavar="USER", required=True, help="who would run it")
        command.add_argument("--group", metavar="GROUP", action="append", default=[], help="of the person (repeatable)")
        command.add_argument("--role", metavar="ROLE", help="this role only, even if it is not open to the person")
        command.add_argument("-u", "--user", metavar="USER", help="as this user")
        command.add_argument("--cwd", metavar="FOLDER", default="/", help="where it would be run; / if left out")
        command.add_argument("--at", metavar="TIME", help="when: 'Mon 22:30', '2026-12-24 22:30'")
        command.add_argument("--source", metavar="ADDRESS", help="where the login comes from; local; unknown")
        command.add_argument("--file", metavar="FILE", action="append", default=[], help="of the policy (repeatable)")
        command.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")

    def _edit(self) -> None:
        more = "As visudo does: a copy is edited and checked; nothing invalid is installed. The daemon then loads it."
        command = self._add("edit", later("policycommands", "edit_policy"), "edit a file of the policy (root)", more)
        command.add_argument("file", nargs="?", metavar="FILE", help="which file of /etc/jitsudo/policy.d")

    def _fmt(self) -> None:
        more = "Comments and meaning stay. Without files: those of this host."
        command = self._add("fmt", later("policycommands", "fmt_policy"), "lay policy files out", more)
        _files(command)
        command.add_argument("--check", action="store_true", help="change nothing; status 1 if a file would change")
        command.add_argument("--diff", action="store_true", help="change nothing; show what would change")


def _files(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="*", metavar="FILE")


def _format(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", choices=FORMATS, default="text", help="text, json, or sarif for code review")
    command.add_argument("--grammars", metavar="FOLDER", action="append", default=[], help="more grammars (repeatable)")
