"""Folders that are root's alone, and somebody who is not root. These tests need root, as the helper does."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jitsudo.editing.person import Editing, person_behind

NOBODY = "65534"


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def roots() -> Iterator[Path]:
    """A folder below folders of root's alone, unlike /tmp."""
    path = Path(tempfile.mkdtemp(prefix="jitsudo-test-", dir=Path.home()))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that anybody can enter and write."""
    path = Path(tempfile.mkdtemp(prefix="jitsudo-test-"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def person() -> Editing:
    """nobody."""
    return person_behind({"SUDO_UID": NOBODY})
