"""The reader against the programs themselves: what they complain of, or run, shows how they read their command line."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitsudo.host.grammarfiles import load_grammars
from jitsudo.policy.argv import Reading, read_arguments

GRAMMARS, _ = load_grammars([Path(__file__).resolve().parents[2] / "policies" / "grammars"], check_owner=False)
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin"}
# Names that do not exist: each program says of every operand, in order, that it is not there.
MISSING = re.compile(r"^(?:/usr/bin/)?\w+: cannot (?:open|access|remove) '([^']*)'(?: for reading)?: No such file", re.M)
NAMES = st.sampled_from(["a", "b1", "c.d", "x=y", "-z", "--", "n5", "5"])


@pytest.fixture(scope="module")
def empty() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reading-") as folder:
        yield Path(folder)


def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


def lines(*options: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(options) | NAMES, min_size=1, max_size=6)


def check_operands(folder: Path, program: str, arguments: list[str]) -> None:
    """If we can read the line, the program misses exactly our operands, in our order, or rejects the line."""
    reading = read_arguments(GRAMMARS[program], arguments)
    if not isinstance(reading, Reading):
        return
    if any(found.spelling in ("--help", "--version", "-V") for found in reading.options):
        return
    done = run(folder, program, *arguments)
    missed = MISSING.findall(done.stderr)
    expected = [word.text for word in reading.operands if word.text != "-"]
    # A value that the program dislikes ends it before it looks for anything.
    assert missed in (expected, []), (arguments, done.stderr)
    assert missed or not expected or done.returncode != 0, (arguments, done.stderr)


@pytest.mark.parametrize(
    ("program", "arguments", "missed"),
    [
        ("head", "-n 5 a -q b1 -- -z", ["a", "b1", "-z"]),
        ("tail", "-qn5 a --lines 5 b1", ["a", "b1"]),
        ("ls", "-U --color a -w 5 5", ["a", "5"]),
        ("rm", "-r a -- -d", ["a", "-d"]),
    ],
)
def test_what_a_program_misses_is_seen(empty: Path, program: str, arguments: str, missed: list[str]) -> None:
    """Without this, the tests below could look for nothing and find it."""
    done = run(empty, f"/usr/bin/{program}", *arguments.split())
    assert MISSING.findall(done.stderr) == missed
    reading = read_arguments(GRAMMARS[f"/usr/bin/{program}"], arguments.split())
    assert isinstance(reading, Reading)
    assert [word.text for word in reading.operands] == missed


@settings(max_examples=120, deadline=None)
@given(arguments=lines("-n", "-n5", "-n=5", "--lines", "--lines=5", "--line=5", "-q", "-qn", "-qn5", "-c", "--quiet", "-"))
def test_head_reads_its_line_as_we_do(empty: Path, arguments: list[str]) -> None:
    """Values, bundles and operands."""
    check_operands(empty, "/usr/bin/head", arguments)


@settings(max_examples=120, deadline=None)
@given(arguments=lines("-n", "-n5", "-n+5", "--lines=+5", "+5", "-5", "-q", "--sleep-interval", "-s1", "-vz", "--fol", "--pid"))
def test_tail_reads_its_line_as_we_do(empty: Path, arguments: list[str]) -> None:
    """And where it has its own ways, we have none."""
    check_operands(empty, "/usr/bin/tail", arguments)


@settings(max_examples=120, deadline=None)
@given(arguments=lines("-l", "-la", "-w", "-w80", "--width", "--width=5", "-I", "--color", "--color=auto", "-T3", "-Ix"))
def test_ls_reads_its_line_as_we_do(empty: Path, arguments: list[str]) -> None:
    """Optional values are attached or absent."""
    reading = read_arguments(GRAMMARS["/usr/bin/ls"], arguments)
    if isinstance(reading, Reading):
        # ls sorts what it is told to look at.
        done = run(empty, "/usr/bin/ls", "-U", *arguments)
        missed = MISSING.findall(done.stderr)
        assert sorted(missed) in (sorted(word.text for word in reading.operands), []), (arguments, done.stderr)


@settings(max_examples=80, deadline=None)
@given(arguments=lines("-r", "-rv", "-d", "--dir", "--interactive=never", "--interactive", "-i", "--rec", "--verbose"))
def test_rm_reads_its_line_as_we_do(empty: Path, arguments: list[str]) -> None:
    """In an empty folder, with names that do not exist."""
    check_operands(empty, "/usr/bin/rm", arguments)


@settings(max_examples=80, deadline=None)
@given(arguments=lines("-name", "-newer", "-maxdepth", "1", "!", "(", ")", "-print", "-o", "-type", "f", "-L", "-not"))
def test_find_reads_its_line_as_we_do(empty: Path, arguments: list[str]) -> None:
    """What it looks for first are its operands; whatever stands behind an expression it refuses itself."""
    reading = read_arguments(GRAMMARS["/usr/bin/find"], arguments)
    if isinstance(reading, Reading):
        done = run(empty, "/usr/bin/find", *arguments)
        missed = re.findall(r"^/usr/bin/find: '([^']*)': No such file", done.stderr, re.M)
        if done.returncode == 0 or missed:
            files = [found.value for found in reading.options if found.spelling == "-newer"]
            assert missed in ([word.text for word in reading.operands], files[:1]), (arguments, done.stderr)


SHOW = ("/usr/bin/printf", "<%s>")


def check_nested(folder: Path, program: str, before: list[str], after: list[str]) -> None:
    """What the program runs is what we take for the command line inside its own."""
    arguments = [*before, *SHOW, *after]
    reading = read_arguments(GRAMMARS[program], arguments)
    if not isinstance(reading, Reading):
        return
    words = [word.text for word in reading.operands]
    done = run(folder, program, *arguments)
    if done.returncode == 0 and done.stdout.startswith("<"):
        assert SHOW[0] in words, (arguments, done.stdout)
        inner = words[words.index(SHOW[0]) + 2 :]
        assert done.stdout == "".join(f"<{word}>" for word in inner or [""]), (arguments, done.stdout)


def some(*words: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), max_size=4)


AFTER = some("-n", "5", "--", "-u", "-k", "x=y", "-i", "--help", "")


@settings(max_examples=100, deadline=None)
@given(before=some("-i", "-u", "X", "-uX", "A=b", "--", "-", "-C", "/", "-iu", "--unset=X", "-v"), after=AFTER)
def test_env_passes_on_what_we_take_for_its_command(empty: Path, before: list[str], after: list[str]) -> None:
    """Options end at the first operand; assignments come before the command."""
    check_nested(empty, "/usr/bin/env", before, after)


@settings(max_examples=60, deadline=None)
@given(before=some("-k", "5", "-k5", "--foreground", "-s", "TERM", "--", "-vk5", "--kill-after=5"), after=AFTER)
def test_timeout_passes_on_what_we_take_for_its_command(empty: Path, before: list[str], after: list[str]) -> None:
    """Behind its duration."""
    check_nested(empty, "/usr/bin/timeout", before, after)


@settings(max_examples=60, deadline=None)
@given(before=some("-n", "5", "-n5", "-5", "+5", "--adjustment=5", "--adjustment", "--", "-n+5"), after=AFTER)
def test_nice_passes_on_what_we_take_for_its_command(empty: Path, before: list[str], after: list[str]) -> None:
    """`nice -5` is a number to it and nothing to us."""
    check_nested(empty, "/usr/bin/nice", before, after)
