"""What is known of a program's command line, whatever a policy says: its options, sub-commands and ways out.

Grammars live in `policies/grammars/*.yaml`. Rules and guardrails are read with their help; lint speaks of `leads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jitsudo.types import AbsPath

Syntax = Literal["getopt", "single-dash", "key-value", "literal"]
Order = Literal["permute", "posix"]

# Where an option, an operand or a program leads: what it gives to whoever chooses its value.
WayOut = Literal[
    "runs-program",  # runs another program, or hands a command to one
    "spawns-shell",  # opens a shell, an editor or a pager that has one
    "reads-file",  # shows a file of the caller's choice
    "writes-file",  # writes, removes or changes one
    "loads-code",  # loads code or configuration that holds commands
    "changes-system",  # accounts, permissions, mounts, kernel: root by another name
]


@dataclass(frozen=True, slots=True)
class KnownOption:
    """One option. `value` optional: only attached. `is_global`: it may also follow the sub-command.

    `chdir`: its value is the folder against which paths are read. `secret`: its value is not to be recorded. `harmless`: it
    is allowed without being named by a rule.
    """

    spellings: tuple[str, ...]
    value: Literal["none", "required", "optional"] = "none"
    is_global: bool = False
    harmless: bool = False
    chdir: bool = False
    secret: bool = False
    leads: frozenset[WayOut] = frozenset()


@dataclass(frozen=True, slots=True)
class GrammarShape:
    """A command or sub-command: what may follow it. `subcommands` None: it has none, its operands are operands."""

    options: tuple[KnownOption, ...] = ()
    subcommands: Mapping[str, GrammarShape] | None = None
    operands: frozenset[WayOut] = frozenset()
    leads: frozenset[WayOut] = frozenset()


@dataclass(frozen=True, slots=True)
class Grammar:
    """One program. `unreadable`: no model describes its command line, so only literal rules can allow it.

    `uninterruptible`: it should not be ended half-way (package managers, file system tools).
    """

    program: AbsPath
    shape: GrammarShape = GrammarShape()
    syntax: Syntax = "getopt"
    order: Order = "permute"
    unreadable: bool = False
    uninterruptible: bool = False
    also: tuple[AbsPath, ...] = ()
    file: str = field(default="", compare=False)


Grammars = Mapping[str, Grammar]
"""By path; a program with several paths stands under each."""

NO_GRAMMARS: Grammars = {}
