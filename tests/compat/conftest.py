"""Pairs of lab hosts: one with the distribution's own sudo and sudoers, one with jitsudo and a policy that says the same.

JITSUDO_TEST_SUITES names the Debian releases, e.g. "bookworm trixie"; unset or empty, these tests are skipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

from compare import DATA, compile_probe, furnish
from lab import UNTIL, Lab

SUITES = os.environ.get("JITSUDO_TEST_SUITES", "").split()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two hosts of one release that should behave alike."""

    stock: Lab
    jitsudo: Lab


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        metafunc.parametrize("pair", SUITES or [None], indirect=True, scope="session")


@pytest.fixture(scope="session")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both hosts, furnished alike."""
    suite = request.param
    if suite is None:
        pytest.skip("JITSUDO_TEST_SUITES names no Debian release")
    probe = compile_probe(tmp_path_factory.mktemp("probe") / "probe")
    stock = Lab.up(f"c{os.getpid()}-{suite}-stock", suite, bare=True)
    try:
        jitsudo = Lab.up(f"c{os.getpid()}-{suite}", suite)
        try:
            furnish(stock, probe)
            furnish(jitsudo, probe)
            stock.put("/etc/sudoers.d/compat", (DATA / "sudoers").read_text(), mode=0o440)
            jitsudo.run("sh", "-c", "rm -f /etc/jitsudo/policy.d/*", check=True)
            jitsudo.put("/etc/jitsudo/policy.d/compat.yaml", (DATA / "policy.yaml").read_text().replace("UNTIL", UNTIL))
            jitsudo.put("/etc/jitsudo/grammars.d/compat.yaml", (DATA / "grammar.yaml").read_text())
            jitsudo.run("jitsudo", "policy", "reload", check=True)
            yield Pair(stock, jitsudo)
        finally:
            jitsudo.down()
    finally:
        stock.down()
