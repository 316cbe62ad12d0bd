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
ValueKind = Literal["none", "required", "optional", "optional-long", "number", "many"]

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
    """One option, whatever it is called. `value` optional: only attached; optional-long: only attached, and only to a long
    spelling; number: attached, or the next argument if that is a number; many: it takes a part of the command line that no
    model reads, so that no line with it can be read.

    `is_global`: it may also follow the sub-command. `chdir`: its value is the folder against which relative paths are read,
    each against the one before. `moves`: it changes folder for a part of the line only, so that relative paths beside it
    mean nothing. `secret`: its value is not to be recorded. `harmless`: it is allowed without being named by a rule.
    """

    spellings: tuple[str, ...]
    value: ValueKind = "none"
    is_global: bool = False
    harmless: bool = False
    chdir: bool = False
    moves: bool = False
    secret: bool = False
    leads: frozenset[WayOut] = frozenset()


@dataclass(frozen=True, slots=True)
class GrammarShape:
    """A command or sub-command: what may follow it. `subcommands` None: it has none, its operands are operands.

    A sub-command with several names stands under each, and `name` is the first of them. `order` None: the program's.
    """

    options: tuple[KnownOption, ...] = ()
    subcommands: Mapping[str, GrammarShape] | None = None
    operands: frozenset[WayOut] = frozenset()
    leads: frozenset[WayOut] = frozenset()
    name: str = ""
    order: Order | None = None
    by_spelling: Mapping[str, KnownOption] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        found = {spelling: option for option in self.options for spelling in option.spellings}
        object.__setattr__(self, "by_spelling", found)


@dataclass(frozen=True, slots=True)
class Grammar:
    """One program. `unreadable`: no model describes its command line, so only literal rules can allow it.

    `uninterruptible`: it should not be ended half-way (package managers, file system tools). `refused_operands`: an operand
    that begins like this is read in some way of the program's own (`tail +5`, `less +!sh`): the line is unreadable. So it is
    with any argument that begins like one of `refused_arguments` (`@file`, read before all else), and, where
    `first_is_option`, with an operand as first argument (`tar xf`), and with one of `refused_words`, in any case of letters:
    words that some options take for their value though they need none (`apt-get --simulate no`).
    """

    program: AbsPath
    shape: GrammarShape = GrammarShape()
    syntax: Syntax = "getopt"
    order: Order = "permute"
    unreadable: bool = False
    uninterruptible: bool = False
    also: tuple[AbsPath, ...] = ()
    refused_operands: tuple[str, ...] = ()
    refused_arguments: tuple[str, ...] = ()
    refused_words: frozenset[str] = frozenset()
    first_is_option: bool = False
    file: str = field(default="", compare=False)


Grammars = Mapping[str, Grammar]
"""By path; a program with several paths stands under each."""

NO_GRAMMARS: Grammars = {}

# usr-merge (file-hierarchy(7)): these top-level folders are links into /usr.
_MERGED = ("/bin/", "/sbin/")


def grammar_of(grammars: Grammars, path: str) -> Grammar | None:
    """The grammar of the program at a path, by whichever of its two names under the usr-merge."""
    found = grammars.get(path)
    if found is None and path.startswith(_MERGED):
        return grammars.get(f"/usr{path}")
    if found is None and path.startswith(("/usr/bin/", "/usr/sbin/")):
        return grammars.get(path.removeprefix("/usr"))
    return found
