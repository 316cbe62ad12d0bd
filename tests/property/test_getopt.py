"""The reader against the C library's own getopt_long: the same reading, or none."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitsudo.policy.argv import Reading, Unreadable, read_arguments
from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption, Order
from jitsudo.types import AbsPath

sys.path.append(str(Path(__file__).resolve().parents[1] / "probe"))

from make_table import CASES, remeasured

from probe import Kind, Measured, Probe, Table, spellings

LETTERS = "abfnqx9?W="
NAMES = ("a", "all", "all-files", "alls", "f", "lines", "line", "line-buffered", "no-pager", "n", "verbose", "x")


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    running = Probe()
    yield running
    running.close()


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Options with one to three spellings; names that begin one another are likely."""
    words = [f"-{letter}" for letter in LETTERS if letter != "?"] + [f"--{name}" for name in NAMES]
    chosen = draw(st.lists(st.sampled_from(words), unique=True, max_size=12))
    table: dict[str, Kind] = {}
    while chosen:
        size = draw(st.integers(1, 3))
        key, chosen = ", ".join(chosen[:size]), chosen[size:]
        table[key] = draw(st.sampled_from(("none", "required", "optional")))
    return table


def arguments_for(table: Table) -> st.SearchStrategy[list[str]]:
    """Lines made of what the table knows, of what is nearly that, and of anything."""
    known = [spelling for key in table for spelling in spellings(key)] or ["-z"]
    option = st.sampled_from(known)
    text = st.sampled_from(["", "-", "--", "a", "5", "=", "--=", "---", "-a-", "\u00f6", "\udcff", "a b", "x=y"])
    anything = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=4)
    cut = st.builds(lambda name, size: name[:size], option, st.integers(1, 12))
    attached = st.builds(lambda name, sign, value: name + sign + value, option, st.sampled_from(["", "="]), text | anything)
    bundle = st.builds(lambda letters, value: "-" + letters + value, st.text(LETTERS, max_size=5), st.just("") | text)
    return st.lists(option | text | anything | cut | attached | bundle, max_size=8)


def grammar_of(table: Table, order: Order) -> Grammar:
    options = tuple(KnownOption(tuple(spellings(key)), kind) for key, kind in table.items())
    return Grammar(AbsPath("/usr/bin/program"), GrammarShape(options), order=order)


def as_measured(reading: Reading) -> Measured:
    options = [(", ".join(found.option.spellings), found.value) for found in reading.options]
    return options, [word.text for word in reading.operands]


@settings(max_examples=2000, deadline=None)
@given(data=st.data(), table=tables(), order=st.sampled_from(("permute", "posix")))
def test_every_reading_is_the_c_librarys(probe: Probe, data: st.DataObject, table: Table, order: Order) -> None:
    """What is read is what getopt_long reads; what it reads and we do not has a long name that is not exact, or `-n=5`."""
    arguments = data.draw(arguments_for(table))
    measured = probe.read(order, table, arguments)
    reading = read_arguments(grammar_of(table, order), arguments)
    if isinstance(reading, Reading):
        assert as_measured(reading) == measured
        return
    exact = {spelling for key in table for spelling in spellings(key)}
    if measured is not None:
        assert reading.index is not None
        name, equals, _ = arguments[reading.index].partition("=")
        assert equals if not name.startswith("--") else name not in exact


@settings(max_examples=600, deadline=None)
@given(data=st.data(), table=tables())
def test_one_table_over_the_whole_line_is_read_as_getopt_reads_it(probe: Probe, data: st.DataObject, table: Table) -> None:
    """A program such as systemctl: all options are global, and its first operand selects a sub-command."""
    word = st.sampled_from(["go", "a"]).map(lambda chosen: [chosen])
    arguments = data.draw(st.builds(list.__add__, arguments_for(table), word).flatmap(st.permutations))
    options = tuple(KnownOption(tuple(spellings(key)), kind, is_global=True) for key, kind in table.items())
    words = {word: GrammarShape() for word in ("go", "a", "5")}
    reading = read_arguments(Grammar(AbsPath("/usr/bin/program"), GrammarShape(options, words)), arguments)
    if isinstance(reading, Reading):
        flat = Reading(reading.options, (), (*reading.subcommand, *reading.operands))
        assert as_measured(flat) == probe.read("permute", table, arguments)


@given(
    st.lists(st.text(max_size=6) | st.sampled_from(["-a", "--b", "c", "--", "-", "if=x", "sub", "@x", "+5"]), max_size=9),
    st.sampled_from(("getopt", "single-dash", "key-value", "literal")),
    st.booleans(),
)
def test_reading_is_total(arguments: list[str], syntax: str, posix: bool) -> None:
    """Any line and any syntax end in a reading or in a reason, and a reading loses no argument."""
    options = (
        KnownOption(("-a",)),
        KnownOption(("--b",), "required"),
        KnownOption(("if",), "required", chdir=True),
        KnownOption(("-e",), "many"),
    )
    inner = GrammarShape(options, {"sub": GrammarShape(options)})
    by = Grammar(
        AbsPath("/usr/bin/program"),
        inner if posix else GrammarShape(options),
        syntax,  # type: ignore[arg-type]
        "posix" if posix else "permute",
        refused_operands=("+",),
        refused_arguments=("@",),
    )
    found = read_arguments(by, arguments)
    if isinstance(found, Unreadable):
        assert found.why
        return
    indexes = {word.index for word in (*found.operands, *found.subcommand)} | {one.index for one in found.options}
    separate = {one.index + 1 for one in found.options if one.value is not None and one.index + 1 < len(arguments)}
    assert set(range(len(arguments))) - indexes <= separate | {found.terminator}


def test_the_table_of_readings_is_what_this_c_library_says() -> None:
    """tests/data/getopt_cases.json was measured, not written."""
    assert CASES.read_text() == remeasured()
    assert len(json.loads(CASES.read_text())["cases"]) > 70
