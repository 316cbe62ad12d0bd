"""Patterns read as Python's own engine reads them, as far as they are understood at all."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from jitsudo.errors import InvalidValue
from jitsudo.policy.patterns import glob, regex

ALPHABET = "ab-.1 _/]"
texts = st.text(alphabet=ALPHABET, max_size=10)
atoms = st.sampled_from(
    ["a", "b", "1", r"\.", r"\-", "/", ".",
     "[ab]", "[^a]", "[a-b1]", "[^-1]", r"[\d_]", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\]"]
)  # fmt: skip
quantifiers = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "{0}"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    groups = st.builds(lambda kind, body, more: f"({kind}{body}){more}", st.sampled_from(["", "?:"]), inner, quantifiers)
    pieces = st.builds(str.__add__, atoms, quantifiers) | groups
    return st.lists(pieces, max_size=4).map("".join) | st.builds("{}|{}".format, inner, inner)


expressions = st.recursive(st.builds(str.__add__, atoms, quantifiers), _grown, max_leaves=8)


@given(expressions, st.lists(texts, min_size=1, max_size=5))
@settings(max_examples=600, deadline=None)
def test_a_regular_expression_matches_what_pythons_does(expression: str, candidates: list[str]) -> None:
    """Or it is refused."""
    try:
        ours = regex(expression)
    except InvalidValue:
        return
    theirs = re.compile(expression, re.ASCII | re.DOTALL)
    for text in candidates:
        assert ours.matches(text) == (theirs.fullmatch(text) is not None), (expression, text)


GLOB = {"**": "(?s:.*)", "*": "[^/]*", "?": "[^/]", "[ab]": "[ab]", "[!a]": "[^a/]", "[a-b]": "[a-b]"}


glob_parts = st.lists(st.sampled_from([*GLOB, "a", ".", "-", "/", "b1"]), min_size=1, max_size=6)


@given(glob_parts, st.lists(texts, min_size=1, max_size=5))
@settings(max_examples=600, deadline=None)
def test_a_glob_matches_what_its_translation_does(parts: list[str], candidates: list[str]) -> None:
    """Strictly it matches a part of that: no wildcard stands for a leading `-` or `.`."""
    try:
        ours = glob("".join(parts))
    except InvalidValue:
        return
    theirs = re.compile("".join(GLOB.get(part, re.escape(part)) for part in _joined(parts)))
    for text in candidates:
        assert ours.matches(text, lenient=True) == (theirs.fullmatch(text) is not None), (parts, text)
        if ours.matches(text):
            assert ours.matches(text, lenient=True)
            first = "".join(parts)[0]
            assert text[:1] not in ("-", ".") or text[0] == first


def _joined(parts: list[str]) -> list[str]:
    """Two `*` side by side are one `**`."""
    joined: list[str] = []
    for part in parts:
        if part == "*" and joined and joined[-1] == "*":
            joined[-1] = "**"
        else:
            joined.append(part)
    return joined
