"""The question for a password."""

from __future__ import annotations

import pytest

from jitsudo.elevation.options import Options
from jitsudo.elevation.prompt import expand, password_prompt
from jitsudo.types import UserName

ALICE, ROOT, HOST = UserName("alice"), UserName("root"), "web1.example.org"


def asked(prompt: str | None = None, *user_env: str) -> str:
    return password_prompt(Options(prompt=prompt), user_env, ALICE, ROOT, HOST)


def test_question_is_sudos_own() -> None:
    """Programs wait for exactly this."""
    assert asked() == "[sudo] password for alice: "


def test_p_comes_before_sudo_prompt() -> None:
    """An empty one is one, too."""
    assert asked("%u@%h: ") == "alice@web1: "
    assert asked(None, "X=y", "SUDO_PROMPT=pw for %U: ", "SUDO_PROMPT=2") == "pw for root: "
    assert asked("mine", "SUDO_PROMPT=theirs") == "mine"
    assert asked("", "SUDO_PROMPT=theirs") == ""
    assert asked(None, "SUDO_PROMPT=") == ""
    assert asked(None, "SUDO_PROMPTX=theirs") == "[sudo] password for alice: "


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("%H", HOST), ("%h", "web1"), ("%p", "alice"), ("%u", "alice"), ("%U", "root"), ("%%", "%"), ("%%u", "%u"), ("%", "%"),
        ("%x", "%x"), ("100%", "100%"), ("%%%u", "%alice"), ("% u", "% u"), ("a%ub%Uc", "aalicebrootc"), ("", ""),
        ("[sudo via ansible, key=x] password:", "[sudo via ansible, key=x] password:"), ("\u00e9%u\u00e9", "\u00e9alice\u00e9"),
    ],
)  # fmt: skip
def test_escapes_are_expanded_and_nothing_else(template: str, shown: str) -> None:
    """sudo(8), -p."""
    assert expand(template, ALICE, ROOT, HOST) == shown


def test_a_host_without_a_domain() -> None:
    """Both names are one."""
    assert expand("%H %h", ALICE, ROOT, "web1") == "web1 web1"
