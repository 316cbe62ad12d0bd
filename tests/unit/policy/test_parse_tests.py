"""Files of tests beside a policy are read as strictly as the policy."""

from __future__ import annotations

import pytest

from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.parse_tests import NamedTest, parse_tests


def parsed(text: str) -> tuple[tuple[NamedTest, ...], list[str]]:
    node = read_yaml("t.yaml", text.encode(), [])
    assert node is not None
    tests, issues = parse_tests(node)
    return tests, [issue.message for issue in issues]


def test_a_test_is_read_with_all_its_keys() -> None:
    """Lists are argv as it is, and may hold an empty argument."""
    tests, issues = parsed(
        '- {role: web, run: [cat, ""], expect: deny, at: "Mon 08:00", source: 10.0.0.0/8, authenticated: false, '
        "cwd: /srv, links: {/a: /b}}\n- {role: web, run: ls, expect: allow, source: unknown}\n"
    )
    assert issues == []
    first = tests[0].test
    assert (tests[0].role, first.run, first.at, first.source) == ("web", ("cat", ""), "Mon 08:00", "10.0.0.0/8")
    assert (first.authenticated, first.cwd, first.links) == (False, "/srv", (("/a", "/b"),))
    assert (tests[1].test.run, tests[1].test.source) == ("ls", "unknown")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{role: web, run: a, expect: deny}", "a file of tests is a list"),
        ("- {run: a, expect: deny}", "'role' is missing"),
        ("- {role: r, expect: deny}", "'run' is missing"),
        ("- {role: r, run: a}", "'expect' is missing"),
        ("- {role: r, run: a, expect: allowed}", "expect: unknown 'allowed' (did you mean 'allow'?)"),
        ("- {role: r, run: a, expect: deny, wen: x}", "unknown key 'wen'"),
        ("- {role: r, run: [[a]], expect: deny}", "run must be a single value"),
        ("- {role: r, run: a, expect: deny, source: here}", "not a network"),
    ],
)
def test_what_is_wrong_is_told(text: str, message: str) -> None:
    """Nothing is guessed."""
    assert any(message in issue for issue in parsed(text)[1])
