"""Whether sudo -A has a program to ask with."""

from __future__ import annotations

from pathlib import Path

import pytest

from jitsudo.daemon.askpass import has_askpass

CASES: list[tuple[tuple[str, ...], str | None, bool]] = [
    ((), None, False),
    (("SUDO_ASKPASS=",), "", False),
    (("SUDO_ASKPASS_=x", "XSUDO_ASKPASS=x"), "Path askpass\n# Path askpass /x\nPath noexec /x\n", False),
    (("SUDO_ASKPASS=/x",), None, True),
    ((), "Plugin x y.so\n Path  askpass /x\n", True),
    ((), "path ASKPASS /x", True),
    ((), "\xff\nPath\taskpass\t/x", True),
    ((), "Path askpass # /x", False),
    ((), "Path askpass /x # ours", True),
    ((), "Path askpass /x\nPath askpass\n", False),
    ((), "Path askpass\nPath askpass /x\n", True),
    ((), "Path \\\n askpass \\\n /x\n", True),
    ((), "# no \\\nPath askpass /x\n", True),
    ((), "Path askpass /x \\", True),
    (("SUDO_ASKPASS=", "SUDO_ASKPASS=/x"), None, False),
]


@pytest.mark.parametrize(("env", "text", "is_there"), CASES)
def test_the_environment_or_sudo_conf_names_one(env: tuple[str, ...], text: str | None, is_there: bool, tmp_path: Path) -> None:
    """As sudo reads both: the first variable counts if it is not empty, the last line of the file, keywords in any case."""
    if text is not None:
        (tmp_path / "sudo.conf").write_text(text, "latin-1")
    assert has_askpass(env, tmp_path / "sudo.conf") is is_there


def test_a_sudo_conf_that_cannot_be_read_names_none(tmp_path: Path) -> None:
    """A folder in its place."""
    assert has_askpass((), tmp_path) is False
