"""The daemon and its sockets: whether anybody could listen in their place, whether it answers, in time, as this version."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from jitsudo import __version__
from jitsudo.client import Client
from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.registry import Area, Check
from jitsudo.errors import JitsudoError, TimedOut

FOLDER: Final = "/run/jitsudo"
SOCKETS: Final = {"decide": 0o600, "control": 0o666, "auth": 0o600}
UNITS: Final = {"decide": "jitsudod-decide.socket", "control": "jitsudod-control.socket", "auth": "jitsudo-auth.socket"}
ANSWER_SECONDS: Final = 1.8  # below the limit of a check, so that silence is said as what it is
LISTENING: Final = "00010000"  # __SO_ACCEPTCON in /proc/net/unix (proc(5))
RESTARTS: Final = 3
SERVICE: Final = "org.varlink.service"

NO_SOCKET = Kind("socket-missing", Severity.PROBLEM, "a socket of the daemon is not there: nobody but root gets anything")
UNSAFE = Kind("socket-unsafe", Severity.PROBLEM, "a socket of the daemon has another owner or mode than it should")
DEAF = Kind("socket-dead", Severity.PROBLEM, "nobody listens on a socket of the daemon")
AT_BOOT = Kind("daemon-not-at-boot", Severity.WARNING, "the daemon, or a socket of it, is not started at boot")
SILENT = Kind("daemon-silent", Severity.PROBLEM, "the daemon does not answer in time: nobody but root gets anything")
VERSION = Kind("daemon-version", Severity.PROBLEM, "the daemon is of another version than what is installed")
OLD_CODE = Kind("daemon-outdated", Severity.WARNING, "the daemon was started before what is installed now")
RESTARTING = Kind("daemon-restarting", Severity.WARNING, "the daemon was restarted again and again")
COMPLAINS = Kind("daemon-complains", Severity.PROBLEM, "the daemon itself says that something is wrong")


def look_at_sockets(host: Host) -> Iterator[Seen | str]:
    listening = _listening(host)
    for name, mode in SOCKETS.items():
        path, unit = f"{FOLDER}/{name}", UNITS[name]
        found = host.entry(path)
        if found is None or found.kind != "socket":
            what = "there is no" if found is None else "no socket is at"
            yield NO_SOCKET.found(f"{what} {path}", f"systemctl restart {unit}", path)
        elif found.uid != 0 or found.mode != mode:
            what = f"{path} is of uid {found.uid}, mode {found.mode_text} in place of {mode:04o}"
            # Somebody else's socket is not made root's: it is not ours, whoever listens on it.
            yield UNSAFE.found(what, f"systemctl restart {unit}" if found.uid else f"chmod {mode:04o} {path}", path)
        elif listening is not None and path not in listening:
            yield DEAF.found(f"nobody listens on {path}", f"systemctl restart {unit}", path)
    yield "root's sockets are there, and somebody listens"


def _listening(host: Host) -> set[str] | None:
    """The paths on which a server waits; None where the kernel does not say."""
    lines = host.lines("/proc/net/unix")
    if not lines:
        return None
    rows = [line.split(maxsplit=7) for line in lines]
    return {row[7] for row in rows if len(row) == 8 and row[3] == LISTENING}


def look_at_units(host: Host) -> Iterator[Seen | str]:
    if host.entry("/run/systemd/system") is None:
        return
    for unit in (*UNITS.values(), "jitsudod.service"):
        ran = host.run("/usr/bin/systemctl", "is-enabled", unit)
        state = "" if ran is None else ran.out.strip()
        if state in ("disabled", "masked", "masked-runtime"):
            cure = f"systemctl unmask {unit}; systemctl enable --now {unit}"
            yield AT_BOOT.found(f"{unit} is {state}", cure, unit)
    ran = host.run("/usr/bin/systemctl", "show", "jitsudod.service", "-p", "NRestarts", "--value")
    restarts = int(ran.out) if ran is not None and ran.out.strip().isdigit() else 0
    if restarts > RESTARTS:
        cure = "journalctl -u jitsudod -n 50   # why; then: systemctl reset-failed jitsudod; systemctl restart jitsudod"
        yield RESTARTING.found(f"jitsudod was restarted {restarts} times since it was started by hand or at boot", cure)
    yield "the daemon and its sockets are started at boot"


def look_at_answer(host: Host) -> Iterator[Seen | str]:
    cure = "systemctl restart jitsudod-decide.socket jitsudod-control.socket jitsudod; journalctl -u jitsudod -n 20"
    try:
        version, problems = _answers(str(host.at(f"{FOLDER}/control")))
    except JitsudoError as error:
        yield SILENT.found(error.sentence, cure, f"{FOLDER}/control")
        return
    if version != __version__:
        yield VERSION.found(f"the daemon is {version}, this is {__version__}", "systemctl restart jitsudod", "jitsudod.service")
    for problem in problems:
        yield COMPLAINS.found(f"the daemon says: {problem}", "journalctl -u jitsudod -n 20", "jitsudod.service")
    yield f"the daemon answers, version {version}"


def _answers(path: str) -> tuple[str, list[str]]:
    """Its version and what it complains of. Raises TimedOut if both are not there in time, however it passes the time."""
    answers: list[tuple[str, list[str]]] = []
    errors: list[JitsudoError] = []

    def ask() -> None:
        try:
            with Client(path, SERVICE) as client:
                version = str(client.call("GetInfo").get("version"))
            with Client(path) as client:
                problems = client.call("Status").get("problems")
            answers.append((version, [str(one) for one in problems] if isinstance(problems, list) else []))
        except JitsudoError as error:
            errors.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    if errors:
        raise errors[0]
    if not answers:
        raise TimedOut(f"jitsudo's daemon has not answered within {ANSWER_SECONDS:g} s")
    return answers[0]


def look_at_age(host: Host) -> Iterator[Seen | str]:
    if host.entry("/run/systemd/system") is None:
        return
    ran = host.run("/usr/bin/systemctl", "show", "jitsudod.service", "-p", "ExecMainStartTimestampMonotonic", "--value")
    micros = int(ran.out) if ran is not None and ran.out.strip().isdigit() else 0
    code = host.target(f"{host.package}/__init__.py")
    if micros and code is not None:
        # In this order: whatever delays us between the two makes the daemon look younger than it is, never outdated.
        started = micros / 1e6 - host.uptime() + host.now()
        if code.ctime > started + 1:
            ago = int(code.ctime - started)
            what = f"{host.package} was installed {ago} s after the daemon had started"
            yield OLD_CODE.found(what, "systemctl restart jitsudod", "jitsudod.service")
    yield "the daemon runs what is installed"


SOCKETS_AREA: Final = Area("sockets", "the daemon's sockets", (Check("sockets", look_at_sockets, (NO_SOCKET, UNSAFE, DEAF)),))
DAEMON_AREA: Final = Area(
    "daemon",
    "whether the daemon answers, and as which version",
    (
        Check("daemon", look_at_answer, (SILENT, VERSION, COMPLAINS)),
        Check("daemon-units", look_at_units, (AT_BOOT, RESTARTING)),
        Check("daemon-age", look_at_age, (OLD_CODE,)),
    ),
)
