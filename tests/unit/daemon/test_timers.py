"""How soon the timers look again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from test_sessions import World, story


@pytest.mark.parametrize(("left", "least", "most"), [(0.3, 0.2, 0.3), (-0.05, 0.0, 0.05), (5.0, 1.0, 1.0)])
def test_an_end_is_looked_at_as_its_second_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: float, least: float, most: float
) -> None:
    """To the fraction; and at once, where it came while nobody looked."""

    async def test(w: World) -> None:
        grant = await w.granted(seconds=600)
        monkeypatch.setattr(time, "time", lambda: grant.grant.not_after - left)
        assert least <= round(w.timers._until_next(), 3) <= most

    story(tmp_path, test)
