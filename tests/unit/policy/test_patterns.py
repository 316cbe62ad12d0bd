"""Globs and regular expressions: what matches, what is refused, and that nothing explodes."""

from __future__ import annotations

import time

import pytest

from jitsudo.errors import InvalidValue
from jitsudo.policy import automaton
from jitsudo.policy.automaton import Search
from jitsudo.policy.patterns import MAX_PATTERN_CHARS, MAX_TEXT_CHARS, glob, regex


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(INC|CHG)-[0-9]{4,}.*", "INC-4711 nginx is down"),
        ("(INC|CHG)-[0-9]{4,}.*", "CHG-12345"),
        ("a|b|c", "c"),
        ("a?b+c*", "bb"),
        ("a{2}", "aa"),
        ("a{1,2}", "a"),
        ("a{1,2}", "aa"),
        ("(?:ab)+", "abab"),
        (r"\d\w\s\.", "5_ ."),
        (r"\D\W\S", "a-b"),
        ("[a-cx]", "b"),
        ("[a-cx]", "x"),
        ("[^a-c]", "d"),
        ("[a-]", "-"),
        (r"[\]\d]", "]"),
        ("(a|)b", "b"),
        ("(a*){2}", "aaa"),
        ("", ""),
    ][:-1],
)
def test_regex_matches_in_full(pattern: str, text: str) -> None:
    """The whole text matches."""
    assert regex(pattern).matches(text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(INC|CHG)-[0-9]{4,}.*", "INC-471"),
        ("(INC|CHG)-[0-9]{4,}.*", "see INC-4711"),
        ("(INC|CHG)-[0-9]{4,}.*", "INC-4711\nx"),
        ("(INC|CHG)-[0-9]{4,}.*", "INC-٤٧١١"),
        ("a{2}", "aaa"),
        ("a{1,2}", ""),
        (r"\d", "٣"),
        ("[^a]", "a"),
        (".", "\x1b"),
        (".*", "a\udcff"),
        (".*", "a" * (MAX_TEXT_CHARS + 1)),
    ],
)
def test_regex_does_not_match_a_part_or_what_cannot_be_shown(pattern: str, text: str) -> None:
    """A prefix, a suffix, other digits, control characters: no."""
    assert not regex(pattern).matches(text)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a" * (MAX_PATTERN_CHARS + 1),
        "a\n",
        "^a",
        "a$",
        "(a",
        "a)",
        "[a",
        "[]",
        "[a[]",
        "[z-a]",
        r"[\d-z]",
        r"[a-\d]",
        r"[\D]",
        "*a",
        "a**",
        "a*?",
        "a++",
        "a{2}{3}",
        "(a+)+",
        "((a*)b)*",
        "(a|b*)+",
        "a{",
        "a{x}",
        "a{,2}",
        "a{3,2}",
        "a{1001}",
        "a{99999}",
        "(a{1000}){1000}",
        r"\1",
        r"\b",
        "\\",
        "(?=a)",
        "(?P<n>a)",
        "(?i)a",
        "]",
        "}",
        "(" * 20 + "a" + ")" * 20,
    ],
)
def test_regex_outside_the_subset_is_refused(pattern: str) -> None:
    """At load, with a sentence."""
    with pytest.raises(InvalidValue):
        regex(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*.conf", "a.conf"),
        ("web-*", "web-01"),
        ("a?c", "abc"),
        ("[a-c]x", "bx"),
        ("[!a-c]x", "dx"),
        ("[^a-c]x", "dx"),
        ("[*]", "*"),
        ("[a-]", "-a"[1]),
        ("**", "a/b/c"),
        ("a/**/z", "a/b/c/z"),
        (".h*", ".hidden"),
        ("a/.b", "a/.b"),
    ],
)
def test_glob_matches(pattern: str, text: str) -> None:
    """As a shell would, `**` across folders."""
    assert glob(pattern).matches(text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*.conf", ".conf"),
        ("*", "-rf"),
        ("?x", "-x"),
        ("[!a]x", ".x"),
        ("[--.]x", "-x"),
        ("*", "a/b"),
        ("a?b", "a/b"),
        ("a[!x]b", "a/b"),
        ("a[,-0]b", "a/b"),
        ("*/x", "a/.x"),
        ("a/*", "a/.b"),
        ("**", "a/.git/x"),
        ("*", "a\nb"),
        ("*", "a\udcff"),
        ("*.conf", "a.conf.bak"),
    ],
)
def test_glob_never_matches_hidden_names_options_or_across_folders(pattern: str, text: str) -> None:
    """A wildcard never stands for a leading `-` or `.`, nor for `/`."""
    assert not glob(pattern).matches(text)


def test_a_lenient_glob_matches_hidden_names() -> None:
    """Guardrails must see what wildcards overlook."""
    assert glob("*").matches("-rf", lenient=True)
    assert glob("*/*").matches("a/.b", lenient=True)


@pytest.mark.parametrize("pattern", ["", "***", "[a", "[]", "[!]", "a\\*", "[z-a]", "[a/b]", "[[:alpha:]]", "a\x00"])
def test_malformed_globs_are_refused(pattern: str) -> None:
    """At load."""
    with pytest.raises(InvalidValue):
        glob(pattern)


def test_patterns_are_equal_by_kind_and_text() -> None:
    """Two loads of one policy are equal."""
    assert glob("a*") == glob("a*")
    assert glob("a") != regex("a")


def test_no_pattern_makes_matching_explode() -> None:
    """What is exponential or polynomial in a backtracking matcher ends at once here."""
    started = time.process_time()
    assert not regex("(a|a|a|a)*b").matches("a" * 500)
    assert not regex(".*.*.*.*.*.*.*.*x").matches("a" * 500)
    assert not glob("*a*a*a*a*a*a*a*b").matches("a" * 500)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [("ab+", "xxabx", True), ("ab+", "abx", True), ("ab+", "xab", True), ("ab+", "xxa", False), ("ab+", "", False),
     ("a*", "", True), ("aab", "aaab", True), ("a.c", "-a\x00c", True), ("(?:ab|bc)d", "abcd", True)],
)  # fmt: skip
def test_a_search_finds_what_matches_anywhere(pattern: str, text: str, found: bool) -> None:
    """At any place, past a beginning that led nowhere; twice, since it remembers."""
    search = Search(regex(pattern).program)
    assert (search.finds(text), search.finds(text)) == (found, found)


def test_a_search_does_not_remember_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts are anybody's; and what was forgotten is found again."""
    monkeypatch.setattr(automaton, "MAX_STEPS", 2)
    search = Search(regex("abc").program)
    assert search.finds("xyzxyzabc")
    assert search.finds("abc")
    assert not search.finds("abd")
