"""What somebody typed after `sudo`, before sudo made anything of it: of a refusal, audit plugins are told nothing else.

sudo has read the line already, and where its own options end is known; here they are only told apart (sudo(8), sudo 1.9's
parse_args.c).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_TAKES_VALUE: Final = frozenset("aCcDghpRrTtUu")
_LONG_VALUES: Final = frozenset(
    {
        "auth-type", "close-from", "login-class", "chdir", "group", "prompt", "chroot", "role", "type",
        "command-timeout", "other-user", "user",
    }
)  # fmt: skip
_QUESTIONS: Final = frozenset("lvVK")
_LONG_QUESTIONS: Final = ("list", "validate", "version", "remove-timestamp")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_$-]")


@dataclass(frozen=True, slots=True)
class Submitted:
    """`words`: the command, or what -e and -s are given. `is_question`: nothing is to run (-l, -v …)."""

    words: tuple[str, ...]
    variables: tuple[str, ...]
    is_question: bool


def submitted(argv: Sequence[str], end: int) -> Submitted:
    """`argv` begins with sudo's own name; `end` is the index after its options and variables. Any input has an answer."""
    end = min(max(end, 1), len(argv))
    options, variables, is_question, index = argv[1:end], [], False, 0
    while index < len(options):
        word = options[index]
        index += 1
        if word == "--":
            continue
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            is_question |= len(name) > 1 and any(one.startswith(name) for one in _LONG_QUESTIONS)
            if name == "preserve-env" and has_value:
                variables += [f"{one}=" for one in value.split(",") if one]
            index += not has_value and name in _LONG_VALUES
        elif word.startswith("-"):
            taking = next((at for at, letter in enumerate(word[1:], 1) if letter in _TAKES_VALUE), len(word))
            is_question |= not _QUESTIONS.isdisjoint(word[1:taking])
            if taking == len(word) - 1:  # -h may go without
                index += word[taking] != "h" or not "".join(options[index : index + 1]).startswith("-")
        elif "=" in word:
            variables.append(word)
    return Submitted(tuple(argv[end:]), tuple(variables), is_question)


def for_shell(words: Sequence[str]) -> tuple[str, ...]:
    """What sudo gives a shell (-s, -i) to run these words: all but letters, digits, `_`, `-` and `$` get a backslash."""
    if not words:
        return ()
    return "-c", " ".join("".join(c if _PLAIN.match(c) else f"\\{c}" for c in word) for word in words)
