"""Which spellings of an option a rule admits, and what counts as the same option given twice."""

from __future__ import annotations

import pytest

from bench import HOST, NOW, PROVEN, act, held, role, world
from jitsudo.policy.evaluate import Allow, evaluate

KNOWN = """
/usr/bin/tail:
  options: {"-n, --lines": value, "-m": value}
/usr/bin/git:
  options: {"-m": value, "--loud": [flag, global]}
  subcommands: {commit: {options: {"-m": value}}}
"""


def allowed(rule: str, *argv: str) -> bool:
    on = world().plant("/usr/bin/git")
    return isinstance(evaluate(act(*argv), role(f"allow: [{rule}]", known=KNOWN), (held(),), HOST, NOW, on, PROVEN), Allow)


@pytest.mark.parametrize(
    ("options", "argv", "expected"),
    [
        ('"-n": int', "-n 5", True),
        ('"-n": int', "--lines=5", False),
        ('"--lines": int', "--lines=5", True),
        ('"--lines": int', "-n5", False),
        ('"-n": int, "--lines": {int: {max: 9}}', "--lines=5", True),
        ('"-n": int, "--lines": {int: {max: 9}}', "--lines=50", False),
        ('"-n": int, "--lines": int', "-n5 --lines=5", False),
        ('"-n, --lines": int', "-n5 --lines=5", False),
        ('"-n, --lines": {int: true, repeat: true}', "-n5 --lines=5", True),
        ('"-n": {int: true, required: true}, "-m": int', "-n5", True),
        ('"-n": {int: true, required: true}, "-m": int', "-m5", False),
    ],
)
def test_a_rule_admits_the_spellings_that_it_names(options: str, argv: str, expected: bool) -> None:
    """And by whichever spelling, an option given twice is given twice."""
    assert allowed(f"{{command: /usr/bin/tail, options: {{{options}}}}}", "tail", *argv.split()) is expected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("-m a commit -m b", True),
        ("commit -m b", True),
        ("-m a commit", False),
        ("commit -m b -m c", False),
        ("-m a -m a commit -m b", False),
        ("--loud commit -m b", True),
        ("commit --loud -m b", True),
    ],
)
def test_a_sub_commands_option_is_another_than_the_programs(argv: str, expected: bool) -> None:
    """Each is counted for itself, and one that is required is not there because the other is."""
    inner = 'commit: {options: {"-m": {any: true, required: true}, "--loud": flag}}'
    rule = f'{{command: /usr/bin/git, options: {{"-m": any}}, subcommands: {{{inner}}}}}'
    assert allowed(rule, "git", *argv.split()) is expected
