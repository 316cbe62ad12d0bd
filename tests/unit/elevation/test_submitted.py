"""What was typed after sudo is told apart as sudo's own parser does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.elevation.submitted import Submitted, for_shell, submitted


def typed(*argv: str, command: tuple[str, ...] = ("id",)) -> Submitted:
    return submitted(("sudo", *argv, *command), 1 + len(argv))


@pytest.mark.parametrize(
    ("argv", "variables", "is_question"),
    [
        ((), (), False),
        (("-u", "postgres"), (), False),
        (("-upostgres",), (), False),
        (("-nu", "postgres", "A=b"), ("A=b",), False),
        (("A=b", "C=d"), ("A=b", "C=d"), False),
        (("-p", "a=b"), (), False),  # a prompt, no variable
        (("--prompt", "a=b"), (), False),
        (("--prompt=a=b", "X=1"), ("X=1",), False),
        (("--preserve-env=EDITOR,,LANG",), ("EDITOR=", "LANG="), False),
        (("--preserve-env",), (), False),
        (("-E", "--"), (), False),
        (("-l",), (), True),
        (("-nl",), (), True),
        (("-U", "alice", "-l"), (), True),
        (("-Ul",), (), False),  # the user l
        (("-v",), (), True),
        (("-K",), (), True),
        (("-k",), (), False),  # with a command it runs
        (("--list",), (), True),
        (("--val",), (), True),
        (("-h", "-l"), (), True),  # help, and no host
        (("-h", "other", "-l"), (), True),
        (("-h",), (), False),
        (("-u",), (), False),
        (("word",), (), False),
    ],
)
def test_options_their_values_and_variables_are_told_apart(
    argv: tuple[str, ...], variables: tuple[str, ...], is_question: bool
) -> None:
    """Of options that take a value, the value is neither an option nor a variable; -l and the like run nothing."""
    assert typed(*argv) == Submitted(("id",), variables, is_question)


def test_a_command_keeps_its_own_options() -> None:
    """What comes behind sudo's own options is the command's, whatever it looks like."""
    assert typed("-n", command=("ls", "-l", "A=b")) == Submitted(("ls", "-l", "A=b"), (), False)


def test_an_index_that_cannot_be_is_set_right() -> None:
    """The index is sudo's word, and no reason to fail."""
    assert submitted((), 7) == Submitted((), (), False)
    assert submitted(("sudo", "id"), -3).words == ("id",)
    assert submitted(("sudo", "-n"), 99) == Submitted((), (), False)


def test_a_shell_gets_its_words_as_sudo_writes_them() -> None:
    """Backslashes before all but letters, digits, `_`, `-` and `$`; nothing without words."""
    assert for_shell(()) == ()
    assert for_shell(("echo", "a b;c", "$HOME-1_2")) == ("-c", "echo a\\ b\\;c $HOME-1_2")


@given(st.lists(st.text(max_size=6), max_size=8), st.integers(-2, 10))
def test_any_line_has_an_answer(argv: list[str], end: int) -> None:
    """It is what anybody can type, so nothing raises, and the words are the end of the line."""
    found = submitted(argv, end)
    assert list(found.words) == argv[len(argv) - len(found.words) :]
