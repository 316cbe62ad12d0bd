"""Commands whose code is loaded when they are used: what every `jitsudo` loads, a prompt that calls it waits for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

Command = Callable[[argparse.Namespace], int]
Finish = Callable[[argparse.ArgumentParser, Command], None]
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def later(module: str, name: str) -> Command:
    """The function of a module of jitsudo.cli."""

    def run(options: argparse.Namespace) -> int:
        command: Command = getattr(import_module(f"jitsudo.cli.{module}"), name)
        return command(options)

    return run
