"""The shells of this host: /etc/shells (shells(5))."""

from __future__ import annotations

from pathlib import Path

SHELLS = Path("/etc/shells")


def listed_shells(path: Path = SHELLS) -> frozenset[str]:
    """The absolute paths that the file lists; none where it cannot be read."""
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except OSError:
        return frozenset()
    lines = (line.partition("#")[0].strip() for line in text.split("\n"))
    return frozenset(line for line in lines if line.startswith("/"))
