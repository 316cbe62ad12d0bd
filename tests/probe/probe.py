"""Asks the C library how it reads a command line: builds getopt_probe.c and talks to it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

HERE = Path(__file__).resolve().parent

Kind = Literal["none", "required", "optional"]
_LETTERS: Mapping[Kind, str] = {"none": "n", "required": "r", "optional": "o"}
# A key lists the spellings of one option, as in a policy: "-n, --lines".
Table = Mapping[str, Kind]
# Options in order, as (key of the table, value), and operands; None: the C library sees an error.
Measured = tuple[list[tuple[str, str | None]], list[str]] | None


class Probe:
    """One running probe; thousands of questions a second."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="getopt-probe-")
        out = self._folder.name
        subprocess.run(["make", "--silent", "-C", str(HERE), f"OUT={out}"], check=True)
        # POSIXLY_CORRECT would end permutation; jitsudo always drops it.
        self._process = subprocess.Popen(
            [f"{out}/getopt_probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"LC_ALL": "C"}
        )

    def close(self) -> None:
        """End the probe; it must have had nothing to complain of."""
        self._pipe(self._process.stdin).close()
        self._pipe(self._process.stdout).close()
        assert self._process.wait(timeout=5) == 0
        self._folder.cleanup()

    def read(self, order: str, table: Table, arguments: Sequence[str]) -> Measured:
        """How getopt_long reads `arguments`; `order` is permute or posix."""
        query = self._pipe(self._process.stdin)
        query.write((" ".join([order, *_options(table), *(f"a{_hex(a)}" for a in arguments)]) + "\n").encode())
        query.flush()
        answer = self._pipe(self._process.stdout).readline().decode()
        assert answer.endswith("\n"), "the probe is gone"
        return _measured(answer.split(), list(table))

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def spellings(key: str) -> list[str]:
    """The spellings that a key of a table lists."""
    return [part.strip() for part in key.split(",")]


def _options(table: Table) -> list[str]:
    words = []
    for number, (key, kind) in enumerate(table.items()):
        for spelling in spellings(key):
            word = f"l{spelling[2:]}" if spelling.startswith("--") else f"s{spelling[1:]}"
            words.append(f"{word}={_LETTERS[kind]}{number}")
    return words


def _measured(words: list[str], keys: list[str]) -> Measured:
    if words == ["error"]:
        return None
    options: list[tuple[str, str | None]] = []
    operands = []
    for word in words:
        if word.startswith("p"):
            operands.append(_text(word[1:]))
            continue
        number, equals, value = word[1:].partition("=")
        options.append((keys[int(number)], _text(value) if equals else None))
    return options, operands


def _hex(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").hex()


def _text(hexed: str) -> str:
    return bytes.fromhex(hexed).decode("utf-8", "surrogateescape")
