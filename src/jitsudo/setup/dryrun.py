"""What sudo would do with another sudo.conf: the very sudo that is installed, in a mount namespace of its own.

The candidate is bound over /etc/sudo.conf there (mount_namespaces(7)), so sudo outside does not see it. What is tested is
what will run: the program, the plugin, its interpreter and libraries, and the daemon's answers to root and to nobody.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jitsudo.setup.files import replace_file
from jitsudo.setup.programs import Ran, outside_sessions, run
from jitsudo.setup.sudoconf import OBSERVE_LINE, SUDO_CONF, FrontEnd, SudoConf

SUDO: Final = "/usr/bin/sudo"
NOBODY: Final = "65534"
# A start of two interpreters on a slow machine; what takes longer would be no fun to work with.
SECONDS: Final = 15.0
_INSIDE: Final = f'mount --bind -- "$1" {SUDO_CONF} && shift && exec "$@"'
_AS_NOBODY: Final = ("/usr/bin/setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--")
_SAYS_SO: Final = "jitsudo policy plugin"  # what `sudo -V` says of either of our front ends


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing that was tried. `problem` None: it went as it should."""

    what: str
    problem: str | None


def try_front_end(conf: SudoConf, front_end: FrontEnd) -> tuple[Trial, ...]:
    """What happens with this sudo.conf: does it load, may root, may nobody not."""
    with _candidate(conf) as inside:
        loads = Trial(f"sudo loads the {front_end} front end", _loads(inside(SUDO, "-V")))
        if loads.problem is not None:
            return (loads,)
        return (
            loads,
            Trial("root may use sudo", _root(inside(SUDO, "-n", "--", "/usr/bin/true"))),
            Trial("who has no grant is refused", _nobody(inside(*_AS_NOBODY, SUDO, "-n", "--", "/usr/bin/true"))),
            Trial("who has no grant is told so by sudo -l", _nobody(inside(*_AS_NOBODY, SUDO, "-n", "-l"))),
        )


def try_observing(conf: SudoConf) -> Trial:
    """Whether sudo loads the audit plugin, and goes on as before."""
    with _candidate(conf) as inside:
        ran = inside(SUDO, "-V")
    # Of a host whose name nobody resolves sudo complains at each call, with or without us.
    complaints = [line for line in ran.err.splitlines() if not line.startswith("sudo: unable to resolve host ")]
    return Trial(f"sudo loads {OBSERVE_LINE.split()[2]}", None if ran.status == 0 and not complaints else _failed(ran))


@contextmanager
def _candidate(conf: SudoConf) -> Iterator[Callable[..., Ran]]:
    """A function that runs a program where CONF is /etc/sudo.conf, and where no session of jitsudo's is around it."""
    with tempfile.TemporaryDirectory(prefix="jitsudo-setup-", dir="/run") as folder:
        candidate = Path(folder) / "sudo.conf"
        Path(folder).chmod(0o755)  # sudo reads it before it has all its rights
        replace_file(candidate, conf.data, mode=0o644)

        def inside(*argv: str) -> Ran:
            command = ["/bin/sh", "-c", _INSIDE, "sh", str(candidate), *argv]
            private = ["/usr/bin/unshare", "--mount", "--propagation", "private", "--", *command]
            return run(outside_sessions(private), seconds=SECONDS)

        yield inside


def try_active() -> str | None:
    """Why sudo, as it is set up now, does not load our front end; None if it does."""
    return _loads(run([SUDO, "-V"], seconds=SECONDS))


def problems(trials: Sequence[Trial]) -> tuple[str, ...]:
    return tuple(f"{trial.what}: {trial.problem}" for trial in trials if trial.problem is not None)


def _failed(ran: Ran) -> str:
    return f"no: {ran.said}"


def _loads(ran: Ran) -> str | None:
    if ran.status:
        return _failed(ran)
    return None if _SAYS_SO in ran.out else f"no: `sudo -V` does not name it: {ran.said}"


def _root(ran: Ran) -> str | None:
    return None if ran.status == 0 else _failed(ran)


def _nobody(ran: Ran) -> str | None:
    """sudo's refusal has status 1, and our words: a sudo that does not start has the former, too."""
    return None if ran.status == 1 and "jitsudo: " in ran.err else f"no: exit status {ran.status}: {ran.said}"
