"""For all unit tests; this file also makes the stand-ins beside it importable from the folders below, whichever are run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def uncollected() -> Iterator[None]:
    """For tests that count descriptors: garbage of earlier ones, which holds some, stays meanwhile."""
    was_enabled = gc.isenabled()
    gc.disable()
    yield
    if was_enabled:
        gc.enable()
