"""How long something takes on a lab host: measured there, and ahead of whatever else the machine of a test has to do."""

from __future__ import annotations

import subprocess

from lab import Lab

GUEST_LOGIN = "/usr/libexec/jitsudo-lab-login"  # scripts/lab-login, on the host
FIRST = ("nice", "-n", "-20")
_TIMED = r"""TIMEFORMAT=$'\n%R'; time "$@" """


Done = subprocess.CompletedProcess[str]


def first(host: Lab, *argv: str, user: str | None = None, timeout: float = 120, check: bool = False) -> Done:
    """Run `argv` as `Lab.run` does, before other processes of a busy machine."""
    return host.run(*FIRST, GUEST_LOGIN, user or "-", "plain", *argv, timeout=timeout, check=check)


def timed(
    host: Lab, *argv: str, user: str | None = None, timeout: float = 120, ahead: bool = True
) -> tuple[Done, float]:
    """The same, and the seconds that `argv` took, without what it takes to get onto the host and into a session there.

    Not `ahead`: in its turn, where what others do to it is the question.
    """
    run = first if ahead else Lab.run
    done = run(host, "bash", "-c", _TIMED, "timed", *argv, user=user, timeout=timeout)
    words, _, seconds = done.stderr.removesuffix("\n").rpartition("\n")
    return Done([*argv], done.returncode, done.stdout, words), float(seconds)


_HASTEN = """
pid=$(systemctl show -P MainPID jitsudod.service)
cd "/proc/$pid/task" && exec renice -n -20 -p *
"""


def hasten_daemon(host: Lab) -> None:
    """The same for the daemon that runs now, so that what it waits for is what the test makes it wait for."""
    host.run("sh", "-ec", _HASTEN, check=True)
