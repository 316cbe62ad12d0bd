"""jitsudod: the composition root. Everything is made here, and handed to what needs it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import systemd.daemon

from jitsudo import __version__
from jitsudo.daemon.approving import Approving
from jitsudo.daemon.control import Control
from jitsudo.daemon.decide import Decide
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.identity import load_identity
from jitsudo.daemon.logins import Logins
from jitsudo.daemon.observations import Observations
from jitsudo.daemon.people import People
from jitsudo.daemon.policyloading import PolicyLoading
from jitsudo.daemon.server import Interface, Limits, Server
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Tickets
from jitsudo.daemon.timers import Timers
from jitsudo.errors import DocumentRefused, JitsudoError
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.hostfile import load_host
from jitsudo.host.journal import Journal
from jitsudo.host.journalfeed import JournalFeed
from jitsudo.host.redaction import Redactor
from jitsudo.host.scopes import SystemManager
from jitsudo.host.source import Sources
from jitsudo.wire.calls import CONTROL, DECIDE, MAX_DESCRIPTORS
from jitsudo.wire.framing import CONTROL_MAX_FRAME_BYTES, DECIDE_MAX_FRAME_BYTES

log = logging.getLogger("jitsudod")
TICKETS_FILE: Final = "tickets"
DECIDE_LIMITS: Final = Limits(DECIDE_MAX_FRAME_BYTES, MAX_DESCRIPTORS, connections_a_person=512, connections=2048, reserved=16)
CONTROL_LIMITS: Final = Limits(CONTROL_MAX_FRAME_BYTES, 0, connections_a_person=8, connections=1024, reserved=16)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="jitsudod", description="jitsudo's daemon; see jitsudod(8)")
    parser.add_argument("--version", action="version", version=f"jitsudod {__version__}")
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/jitsudo"), help="ledger and keys")
    parser.add_argument("--config-dir", type=Path, default=Path("/etc/jitsudo"), help="policy.d and host.yaml")
    parser.add_argument("--runtime-dir", type=Path, default=Path("/run/jitsudo"), help="sockets, if systemd passed none")
    parser.add_argument("--no-owner-check", action="store_true", help="development only: accept anybody's policy files")
    return parser.parse_args(argv)


def _sockets(runtime: Path) -> tuple[socket.socket, socket.socket]:
    """The decide and the control socket: systemd's (sd_listen_fds(3)), or our own where it passed none."""
    passed = systemd.daemon.listen_fds_with_names()
    if passed:
        by_name = {name: descriptor for descriptor, name in passed.items()}
        return socket.socket(fileno=by_name["decide"]), socket.socket(fileno=by_name["control"])
    runtime.mkdir(mode=0o755, parents=True, exist_ok=True)
    return _listen(runtime / "decide", 0o600), _listen(runtime / "control", 0o666)


def _listen(path: Path, mode: int) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    path.chmod(mode)
    listener.listen(1024)
    return listener


@dataclass(slots=True)
class Daemon:
    """Everything that is made once; `start` makes it, `stop` lets go of it."""

    state: DaemonState
    people: People
    manager: SystemManager
    granting: Granting
    sessions: Sessions
    approving: Approving
    decide: Decide
    control: Control
    feed: JournalFeed

    @classmethod
    async def start(cls, options: argparse.Namespace) -> Daemon:
        """Load keys, ledger and policy; take up again what was running. Raises JitsudoError."""
        checked = not options.no_owner_check
        people, manager = People(SystemAccounts()), SystemManager()
        host = load_host(options.config_dir, check_owner=checked)

        def load() -> DaemonState:
            identity = load_identity(options.state_dir)
            return DaemonState(options.state_dir, identity, Journal(Redactor(identity.redaction_key)), people, host)

        state = await asyncio.to_thread(load)
        now = state.now()
        state.note(now, state.journal.daemon_started(__version__))
        if (damage := state.take_damage()) is not None:
            state.note(now, state.journal.ledger_quarantined(damage))
        granting, sessions = Granting(state), Sessions(state, manager)
        approving = Approving(state, granting, str(options.runtime_dir / "auth"))
        loading = PolicyLoading(state, options.config_dir / "policy.d", check_owner=checked)
        await loading.load_at_start()
        sessions.adopt(state.started_sessions())
        await approving.finish_interrupted()
        gate, sources = Gate(), Sources()
        tickets = Tickets(options.state_dir / TICKETS_FILE, state.boot)
        decide = Decide(state, granting, sessions, tickets=tickets, sources=sources, gate=gate)
        observations = Observations(state, gate, decide.observing.tally)
        control = Control(
            state, granting, sessions, approving, loading, sources=sources, gate=gate, observations=observations
        )
        feed = JournalFeed(lambda: state.ledger)
        return cls(state, people, manager, granting, sessions, approving, decide, control, feed)

    async def stop(self) -> None:
        """Sessions go on without the daemon."""
        self.sessions.close()
        self.decide.observing.settle()
        self.state.note(self.state.now(), self.state.journal.daemon_stopped())
        self.state.ledger.flush()
        self.feed.close()
        self.state.ledger.close()
        self.decide.close()
        self.people.close()
        await self.manager.close()


async def serve(options: argparse.Namespace) -> None:
    """Runs until SIGTERM or SIGINT. Callers are answered from the first moment, if only by being told to wait."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    decide: asyncio.Future[Interface] = loop.create_future()
    control: asyncio.Future[Interface] = loop.create_future()
    decide_socket, control_socket = _sockets(options.runtime_dir)
    servers = (
        Server(DECIDE, decide_socket, DECIDE_LIMITS, lambda peer: peer.credentials.real_uid, decide),
        Server(CONTROL, control_socket, CONTROL_LIMITS, lambda peer: peer.uid, control),
    )
    tasks = [loop.create_task(server.run()) for server in servers]
    daemon: Daemon | None = None
    verification: asyncio.Task[None] | None = None
    try:
        daemon = await Daemon.start(options)
        decide.set_result(daemon.decide)
        control.set_result(daemon.control)
        timers = Timers(daemon.state, daemon.granting, daemon.sessions, daemon.approving, daemon.manager)
        tasks += [loop.create_task(timers.run()), loop.create_task(daemon.feed.run())]
        tasks.append(loop.create_task(Logins(daemon.people).run()))
        systemd.daemon.notify("READY=1")
        # Not before: each needs the user database, and a directory that is dead would delay the start of everything.
        verification = loop.create_task(_verify_all(daemon.state, daemon.granting))
        verification.add_done_callback(_say_what_failed)
        stopped = loop.create_task(stopping.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        systemd.daemon.notify("STOPPING=1")
        for task in done - {stopped}:
            task.result()  # none of them ends by itself but by an exception
    finally:
        tasks += [verification] if verification is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if daemon is not None:
            await daemon.stop()


async def _verify_all(state: DaemonState, granting: Granting) -> None:
    """Every live grant is verified once at the start; one that fails is named. At each use it is verified again anyway."""
    for record in state.live_grants():
        try:
            await granting.verify(record, state.now())
        except DocumentRefused as error:
            log.error("grant %s was refused at step %d: %s", record.id, error.step, error.sentence)
            state.note(state.now(), state.journal.document_refused(record.id, error.step, error.sentence))
        except JitsudoError as error:
            log.error("grant %s cannot be verified: %s", record.id, error.sentence)


def _say_what_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the grants could not all be verified", exc_info=error)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point `jitsudod`."""
    options = _arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stderr)
    os.umask(0o077)
    try:
        asyncio.run(serve(options))
    except JitsudoError as error:
        log.critical("%s%s", error.sentence, f" ({error.hint})" if error.hint else "")
        return int(error.exit_status)
    return 0


if __name__ == "__main__":
    sys.exit(main())
