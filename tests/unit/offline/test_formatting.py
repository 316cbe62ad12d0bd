"""One layout for policy files: what is written differently says the same, and comments stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitsudo.errors import Failed, InvalidValue
from jitsudo.host.yamllayout import read_layout
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.offline.formatting import WIDTH, format_text
from jitsudo.policy.nodes import Mapping, Node, Scalar

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "policies").rglob("*.yaml")) + sorted((ROOT / "tests/data/policies/good").glob("*.yaml"))


def laid_out(text: str) -> str:
    return format_text("p.yaml", text.encode())


CASES = {
    "indentation": ("a:\n      b:  1\n      c:\n      - x\n      -   y\n", "a:\n  b: 1\n  c:\n    - x\n    - y\n"),
    "spaces in brackets": ("a: [ x ,y, {b : 1} ]\n", "a: [x, y, {b: 1}]\n"),
    "single quotes": ("a: 'x'\nb: 'it''s'\n", 'a: "x"\nb: "it\'s"\n'),
    "quotes inside": ("a: \"say \\\"x\\\"\"\nb: 'back\\slash'\n", "a: 'say \"x\"'\nb: 'back\\slash'\n"),
    "escapes": ('a: "tab\\there"\n', 'a: "tab\\there"\n'),
    "blank lines": ("a: 1\n\n\n\nb: 2\n\n\n", "a: 1\n\nb: 2\n"),
    "trailing spaces and comments": ("# top   \na: 1   # one\n# end\n", "# top\na: 1  # one\n# end\n"),
    "a comment before an entry": ("a:\n # first\n b: 1\n\n # second\n c: 2\n", "a:\n  # first\n  b: 1\n\n  # second\n  c: 2\n"),
    "a comment at a block's end": ("a:\n    b: 1\n    # was: 2\nc: 3\n", "a:\n  b: 1\n  # was: 2\nc: 3\n"),
    "a comment behind a key": ("a:   # why\n  b: 1\n", "a:  # why\n  b: 1\n"),
    "a comment inside brackets": ("a: [x, # one\n    y]\n", "a:  # one\n  - x\n  - y\n"),
    "brackets over lines": ("a: [x,\n    y]\n", "a: [x, y]\n"),
    "a list of mappings": ("a:\n- b: 1\n  c: 2\n-  d: 3\n", "a:\n  - b: 1\n    c: 2\n  - d: 3\n"),
    "a list of lists": ("a:\n- - x\n  - y\n", "a:\n  -\n    - x\n    - y\n"),
    "empty collections": ("a: {}\nb: [ ]\n", "a: {}\nb: []\n"),
    "block text": (
        "a: |\n     one\n       two\n\n     three\nb: >-\n   x\n   y\n",
        "a: |\n  one\n    two\n\n  three\nb: >-\n  x\n  y\n",
    ),
    "text over lines": ("a: one\n   two\n", "a: one two\n"),
    "windows line ends": ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n"),
    "nothing for a value": ("a:\nb: 1\n", "a:\nb: 1\n"),
    "a hash in text": ('a: "x # y"\nb: x#y\n', 'a: "x # y"\nb: x#y\n'),
    "a scalar alone": ("x\n", "x\n"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES.keys())
def test_a_file_is_laid_out(before: str, after: str) -> None:
    """And once laid out, it stays."""
    assert laid_out(before) == after
    assert laid_out(after) == after


def test_long_brackets_become_blocks() -> None:
    """At the width of a line."""
    long = ", ".join(f"word{number}" for number in range(20))
    assert laid_out(f"a: [{long}]\n").startswith("a:\n  - word0\n  - word1\n")
    assert laid_out(f"a: {{b: [{long}]}}\n").startswith("a:\n  b:\n    - word0\n")
    fitting = f"a: [{'x' * (WIDTH - 5)}]\n"
    assert laid_out(fitting) == fitting


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_own_files_keep_their_meaning(path: Path) -> None:
    """All of them, and laying them out twice changes nothing."""
    raw = path.read_bytes()
    once = format_text(path.name, raw)
    assert format_text(path.name, once.encode()) == once
    assert meaning(once.encode()) == meaning(raw)


def test_what_is_not_a_policys_yaml_is_refused() -> None:
    """With its place."""
    with pytest.raises(InvalidValue, match=r"p.yaml:1:4: YAML anchors"):
        laid_out("a: &x 1\n")


@pytest.mark.parametrize("text", ["a: [ # c\n  ]\nb: 1\n", "[x, # c\n  y]\n", "a: {b: 1, # c\n # d\n  c: 2}\n"])
def test_comments_in_odd_places_are_kept(text: str) -> None:
    """Never is one lost."""
    assert laid_out(text).count("#") == text.count("#")


def meaning(raw: bytes) -> object:
    issues: list[object] = []
    node = read_yaml("p.yaml", raw, issues)  # type: ignore[arg-type]
    assert node is not None, issues
    return _meaning(node)


def _meaning(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text, node.plain
    if isinstance(node, Mapping):
        return {key.text: _meaning(value) for key, value in node.entries}
    return [_meaning(item) for item in node.items]


WORDS = st.sampled_from(["x", "1", "true", "a b", "", "é", "it's", 'q"q', "back\\", "#", "- a", "a: b", "{", "\t", "\n", "~"])
QUOTED = WORDS.map(lambda text: json.dumps(text, ensure_ascii=False))
SINGLE = WORDS.filter(lambda text: text.isprintable()).map(lambda text: "'" + text.replace("'", "''") + "'")
PLAIN = st.sampled_from(["x", "1", "true", "a-b", "/usr/bin", "é", "x#y"])
FLOW = st.recursive(
    QUOTED | SINGLE | PLAIN,
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[" + " , ".join(items) + "]")
    | st.lists(inner, max_size=3).map(lambda items: "{" + ",".join(f"k{n}: {item}" for n, item in enumerate(items)) + "}"),
    max_leaves=8,
)
LINES = st.lists(
    st.tuples(FLOW, st.sampled_from(["", " # c", "  #"]), st.sampled_from(["", "\n", "# own\n", "\n\n  # in\n"])),
    min_size=1,
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(LINES, st.integers(0, 4), st.booleans())
def test_any_file_keeps_its_meaning_and_comments_or_is_left_alone(
    lines: list[tuple[str, str, str]], indent: int, nested: bool
) -> None:
    """Laying out is total: a text that says the same, or a sentence."""
    lead = " " * indent if nested else ""
    body = "".join(f"{before}{lead}k{n}: {flow}{after}\n" for n, (flow, after, before) in enumerate(lines))
    raw = (f"top:\n{body}" if nested and indent else body).encode()
    issues: list[object] = []
    if read_yaml("p.yaml", raw, issues) is None or issues:  # type: ignore[arg-type]
        return
    try:
        text = format_text("p.yaml", raw)
    except Failed:
        return
    assert meaning(text.encode()) == meaning(raw)
    comments = [[one.text for one in read_layout("p", one).comments] for one in (raw, text.encode())]
    assert comments[0] == comments[1]
    assert format_text("p.yaml", text.encode()) == text
