"""Lab hosts for the end-to-end tests: one a suite, booted once a session, gone afterwards.

JITSUDO_TEST_SUITES names the Debian releases, e.g. "bookworm trixie"; unset or empty, these tests are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from acts import return_everything
from lab import Lab

SUITES = os.environ.get("JITSUDO_TEST_SUITES", "").split()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, scope in (("host", "session"), ("bare_host", "session"), ("own_host", "module")):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, SUITES, indirect=True, scope=scope)  # type: ignore[arg-type]


def boot(request: pytest.FixtureRequest, *, bare: bool, whose: str = "") -> Iterator[Lab]:
    lab = Lab.up(f"t{os.getpid()}-{request.param}{'-bare' if bare else ''}{whose}", request.param, bare=bare)
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A host with the product installed and enabled."""
    yield from boot(request, bare=False)


@pytest.fixture(scope="session")
def bare_host(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A host without the product: the distribution as it is, with the people in it."""
    yield from boot(request, bare=True)


@pytest.fixture(scope="module")
def own_host(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A host with the product that only one file of tests has: what they do to it would be in the way of others."""
    yield from boot(request, bare=False, whose=f"-{request.module.__name__.removeprefix('test_').replace('_', '-')}")


# A command with children that detach themselves, and one that does what /srv/inside.sh says.
PROGRAMS = {
    "longjob": """#!/bin/sh
setsid sleep 91001 </dev/null >/dev/null 2>&1 &
nohup sleep 91002 </dev/null >/dev/null 2>&1 &
echo started
exec sleep 91003
""",
    "inside": """#!/bin/sh
exec /bin/bash /srv/inside.sh
""",
}


@pytest.fixture(scope="session")
def furnished(host: Lab) -> Lab:
    """The host with the programs that the lab's policy names."""
    for name, text in PROGRAMS.items():
        host.put(f"/usr/local/bin/{name}", text, mode=0o755)
    return host


@pytest.fixture
def clean(furnished: Lab) -> Iterator[Lab]:
    """A host without grants and requests; what the test leaves is taken back."""
    yield furnished
    return_everything(furnished)
