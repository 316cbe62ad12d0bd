"""Running the host's programs: absolute paths, an environment of our own, no terminal, an end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jitsudo.host.peer import read_cgroup
from jitsudo.host.scopes import session_in_cgroup

# Never the caller's: neither PATH nor what changes the language of an answer.
ENVIRONMENT: Final = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_COLORS": "0",
}
NOT_RUN: Final = 127  # as a shell says it
SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended: its exit status, -N for signal N, NOT_RUN where there is none or it did not end in time."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its last words, for a sentence."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}, and no word"


def run(argv: Sequence[str], *, given: bytes = b"", seconds: float = SECONDS) -> Ran:
    """Run a program to its end. It does not raise for what the program does."""
    try:
        done = subprocess.run(  # noqa: S603  absolute paths of ours, no shell
            argv, input=given, capture_output=True, env=ENVIRONMENT, cwd="/", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Ran(NOT_RUN, "", f"{argv[0]} did not end within {seconds:g} s")
    except OSError as error:
        return Ran(NOT_RUN, "", f"{argv[0]}: {error.strerror}")
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def outside_sessions(argv: Sequence[str]) -> list[str]:
    """The argv that runs ARGV outside the session of jitsudo's that this process may be in: there, sudo is the person's."""
    if session_in_cgroup(read_cgroup(os.getpid())) is None:
        return list(argv)
    return ["/usr/bin/systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--", *argv]
