"""The fake daemon and the shim, for all tests of faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from faults import build, furnish


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the shim, and with what stands for PAM's programs and for sudo."""
    output = tmp_path_factory.mktemp("hosts")
    build("tests/fault", output)
    return output


@pytest.fixture(scope="session")
def shim(hosts: Path) -> Path:
    """What makes calls fail."""
    return hosts / "fault.so"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the native plugin under test, which is in it, looks into."""
    made = tmp_path_factory.mktemp("native")
    furnish(made)
    build("sudo/conformance", made, f"FOLDER={made}", f"OWNER={os.getuid()}", f"{made}/jitsudo_native.so")
    return made
