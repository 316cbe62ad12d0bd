"""The fake daemon and the shim, for all tests of faults."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from faults import build_shim


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What makes calls fail."""
    return build_shim(tmp_path_factory.mktemp("shim"))
