"""Errors: stable codes, one exit status each, as documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import jitsudo.elevation.options
from jitsudo import errors
from jitsudo.errors import ExitStatus, Failed, Internal, JitsudoError, PolicyInvalid, from_code

DOC = (Path(__file__).resolve().parents[2] / "docs" / "exit-codes.md").read_text()
ONLY_IN_SUDO = {jitsudo.elevation.options.OptionRefused}


def classes(of: type[JitsudoError] = JitsudoError) -> set[type[JitsudoError]]:
    found = {of} if of is not JitsudoError else set()
    for kind in of.__subclasses__():
        if kind.__module__.startswith("jitsudo."):
            found |= classes(kind)
    return found


def documented() -> dict[str, tuple[str, str]]:
    """From class to code and status, out of the table of error codes."""
    rows = re.findall(r"^\| `([\w-]+)` \| (\d|\u2013) \| `(\w+)` \|", DOC, re.MULTILINE)
    return {name: (code, status) for code, status, name in rows}


def test_the_table_of_error_codes_is_that_of_the_classes() -> None:
    """docs/exit-codes.md names every class with its code and its exit status, and no other."""
    expected = {
        kind.__name__: (kind.code, "\u2013" if kind in ONLY_IN_SUDO else str(int(kind.exit_status))) for kind in classes()
    }
    assert documented() == expected


def test_the_table_of_exit_statuses_is_that_of_the_enumeration() -> None:
    """Seven, each with its name."""
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", DOC, re.MULTILINE)
    assert rows == [(str(int(status)), status.name) for status in ExitStatus]


def test_codes_are_unique() -> None:
    """Programs match on them."""
    codes = [kind.code for kind in classes()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", sorted(classes() - ONLY_IN_SUDO, key=lambda k: k.__name__))
def test_an_error_comes_through_the_wire_as_what_it_is(kind: type[JitsudoError]) -> None:
    """Or at least with its sentence, its hint and a status that is not success."""
    made = from_code(kind.code, "sentence", "hint", ("issue",))
    assert (made.sentence, made.hint) == ("sentence", "hint")
    assert made.exit_status is not ExitStatus.OK
    own_arguments = {errors.DocumentRefused, errors.LedgerDamaged, errors.Internal, errors.ProtocolViolation}
    if kind not in own_arguments:
        assert type(made) is kind
    if kind is PolicyInvalid:
        assert getattr(made, "issues", None) == ("issue",)


@pytest.mark.parametrize("code", ["", "allow", "ok", "0", "DENIED", "denied\n"])
def test_an_unknown_code_is_a_plain_failure(code: str) -> None:
    """Nothing that a daemon of another version says is taken for a success."""
    assert type(from_code(code, "x", None)) is Failed


def test_an_internal_error_says_where_to_look() -> None:
    """And nothing else."""
    error = Internal("cafe")
    assert error.sentence == "internal error, reference cafe"
    assert error.hint == "journalctl -u jitsudod --grep cafe"
