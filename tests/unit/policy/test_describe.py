"""A rule in one line, as a person reads it."""

from __future__ import annotations

import pytest

from bench import role
from jitsudo.policy.describe import describe_rule
from jitsudo.types import RoleName


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("{command: /bin/x, operands: [{one_of: [a, b]}, {literal: c}, {int: {max: 5}}, int]}",
         "/bin/x {a|b} c NUMBER(0..5) NUMBER(0..)"),
        ("{command: /bin/x, operands: [{path: {under: [/a, /]}, count: '1..'}, {glob: '*', count: '0..2'}]}",
         "/bin/x /a/…|/…{1..} *{0..2}"),
        ("{command: /bin/x, operands: any}", "/bin/x ANY{0..}"),
        ("{command: /bin/x, operands: [{not: user}, {unit: [ng]}, {regex: 'a+'}, {command: {command: /bin/y}}]}",
         "/bin/x NOT(USER) {ng} a+ /bin/y"),
        ('{command: /bin/x, options: {"-f": flag, "-n, --lines": int}, subcommands: {"a|b": {operands: [int]}}}',
         "/bin/x [-f] [--lines|-n NUMBER(0..)] {a|b NUMBER(0..)}"),
        ("{command: /bin/x, options: {'-x': {not: flag}}}", "/bin/x [-x NOT(FLAG)]"),
        ("{command: /bin/x, options: {'-x': {flag: true, repeat: true}, '-y': {int: true, required: true}, "
         "'-z': {optional: {literal: a}}}}", "/bin/x [-x]… -y NUMBER(0..) [-z[a]]"),
        ("{command: /bin/x, operands: [{duration: {max: 1m}}, {port: {min: 80}}, {path: {under: /a, glob: '*.b'}}]}",
         "/bin/x DURATION(0..60) PORT(80..) /a/*.b"),
        (f"{{command: /bin/x, digest: 'sha256:{'0' * 64}'}}", "/bin/x  [this very program alone]"),
        ("{edit: {path: {under: /etc}}}", "sudoedit /etc/…"),
        ("{edit: {literal: /etc/hosts}, check: [nginx, '-t']}", "sudoedit /etc/hosts  [checked by nginx -t]"),
        ("{shell: {intercept: true}}", "a shell (sudo -i, sudo -s), every program in it checked"),
        ("{shell: {intercept: false}}", "a shell (sudo -i, sudo -s)"),
    ],
)  # fmt: skip
def test_a_rule_is_described(rule: str, text: str) -> None:
    """Command, options, operands; and, in brackets, what is not in force yet."""
    found = role(f"allow: [{rule}]").roles[RoleName("r")].rules[0]
    described = describe_rule(found)
    assert described.partition("  [not in force yet: ")[0] == text
    assert ("[not in force yet" in described) is bool(found.unsupported)
