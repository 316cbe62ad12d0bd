"""What an edit changed, as a unified diff of bounded size and cost."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator
from typing import Final

MAX_DIFF_CHARS: Final = 60_000
MAX_COMPARED_LINES: Final = 4_000  # difflib's time grows with their square
CONTEXT_LINES: Final = 3
_CUT: Final = "\n[shortened]\n"


def unified_diff(before: bytes, after: bytes, path: str) -> str:
    """The diff; a note instead where the content is no text, or too different to compare line by line."""
    if b"\0" in before or b"\0" in after:
        return f"binary content: {len(before)} bytes before, {len(after)} after\n"
    old, new = _lines(before), _lines(after)
    head = _common(zip(old, new, strict=False))
    tail = _common(zip(reversed(old[head:]), reversed(new[head:]), strict=False))
    if len(old) + len(new) - 2 * (head + tail) > MAX_COMPARED_LINES:
        return f"{len(old)} lines before, {len(new)} after, most of them different\n"
    # Only what differs is compared, with so much around it that the context is whole.
    first, last = max(0, head - CONTEXT_LINES), max(0, tail - CONTEXT_LINES)
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    lines = difflib.unified_diff(old, new, f"a{path}", f"b{path}", n=CONTEXT_LINES, lineterm="")
    return _bounded(_renumbered(lines, first))


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "backslashreplace").split("\n")


def _common(pairs: Iterator[tuple[str, str]]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _renumbered(lines: Iterator[str], skipped: int) -> Iterator[str]:
    """Hunk headings that count from the beginning of the file."""
    for line in lines:
        if not line.startswith("@@ "):
            yield line
            continue
        ranges = []
        for part in line.split(" ")[1:3]:
            start, comma, count = part[1:].partition(",")
            ranges.append(f"{part[0]}{int(start) + skipped}{comma}{count}")
        yield f"@@ {' '.join(ranges)} @@"


def _bounded(lines: Iterator[str]) -> str:
    text = ""
    for line in lines:
        text += line[:MAX_DIFF_CHARS] + "\n"
        if len(text) > MAX_DIFF_CHARS:
            return text[: MAX_DIFF_CHARS - len(_CUT)] + _CUT
    return text
