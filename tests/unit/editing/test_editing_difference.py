"""What an edit changed, for the record."""

from __future__ import annotations

import difflib
import time

from hypothesis import given
from hypothesis import strategies as st

from jitsudo.editing.difference import MAX_COMPARED_LINES, MAX_DIFF_CHARS, unified_diff
from jitsudo.wire import calls

lines = st.lists(st.sampled_from(["a", "b", "", "c"]), max_size=30).map("\n".join)


def test_a_change_in_the_middle() -> None:
    """As diff -u shows it, its line numbers those of the file."""
    before = "".join(f"line {i}\n" for i in range(1, 101)).encode()
    assert unified_diff(before, before.replace(b"line 50\n", b"changed\n"), "/etc/f") == (
        "--- a/etc/f\n+++ b/etc/f\n@@ -47,7 +47,7 @@\n line 47\n line 48\n line 49\n-line 50\n+changed\n line 51\n"
        " line 52\n line 53\n"
    )


@given(lines, lines)
def test_it_is_the_diff_of_the_whole(before: str, after: str) -> None:
    """Leaving out what is equal at both ends changes nothing that a reader would see."""
    if before == after:
        return
    shown = unified_diff(before.encode(), after.encode(), "/f")
    whole = list(difflib.unified_diff(before.split("\n"), after.split("\n"), "a/f", "b/f", lineterm=""))
    assert _applied(shown, before) == after == _applied("\n".join(whole) + "\n", before)


def _applied(diff: str, before: str) -> str:
    """The text after the change, by the diff alone."""
    old, new, at = before.split("\n"), [], 0
    for line in diff.split("\n")[2:-1]:
        if line.startswith("@@"):
            start, _, count = line.split(" ")[1][1:].partition(",")
            begin = int(start) - (0 if count == "0" else 1)
            new += old[at:begin]
            at = begin
        elif line[0] == "+":
            new.append(line[1:])
        else:
            assert old[at] == line[1:]
            new += [line[1:]] if line[0] == " " else []
            at += 1
    return "\n".join(new + old[at:])


def test_a_new_file_is_all_additions() -> None:
    """Nothing stood there."""
    assert "+a\n+b\n" in unified_diff(b"", b"a\nb\n", "/f")


def test_binary_content_is_only_counted() -> None:
    """Nobody reads it in a record."""
    assert unified_diff(b"\0", b"ab", "/f") == "binary content: 1 bytes before, 2 after\n"
    assert unified_diff(b"ab", b"\0abc", "/f").startswith("binary")


def test_bytes_that_are_not_utf8_are_written_out() -> None:
    """The record is text."""
    shown = unified_diff(b"\xff\n", b"\xfe\n", "/f")
    assert "-\\xff" in shown
    assert "+\\xfe" in shown


def test_a_diff_has_its_size_and_time() -> None:
    """A record is one row, and nobody waits for minutes."""
    started = time.thread_time()
    long_lines = unified_diff(b"x" * 1_000_000, b"y" * 1_000_000, "/f")
    assert long_lines.endswith("[shortened]\n")
    assert len(long_lines) <= MAX_DIFF_CHARS <= calls.MAX_DIFF_CHARS
    many = unified_diff(b"a\nb\n" * MAX_COMPARED_LINES, b"b\na\nc\n" * MAX_COMPARED_LINES, "/f")
    assert "most of them different" in many
    equal_ends = b"x\n" * 500_000
    assert unified_diff(equal_ends + b"a\n" + equal_ends, equal_ends + b"b\n" + equal_ends, "/f").count("\n") == 11
    assert time.thread_time() - started < 10
