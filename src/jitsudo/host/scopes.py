"""One transient systemd scope a session: made around sudo's process, checked, and ended with all that is in it.

org.freedesktop.systemd1(5): StartTransientUnit, StopUnit, KillUnit. A scope's properties are fixed when it starts, so
RuntimeMaxUSec is the last resort only (the session's longest possible end); the daemon's own timer is the rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from pathlib import Path
from typing import Any, Final

from jeepney import DBusAddress, DBusErrorResponse, MessageType, Properties, new_method_call
from jeepney.io.asyncio import DBusRouter, open_dbus_connection
from jeepney.io.common import RouterClosed

from jitsudo.errors import Failed, InvalidValue
from jitsudo.host.peer import read_cgroup
from jitsudo.types import SessionId

BUS_SECONDS: Final = 1.0  # systemd or D-Bus silent for longer: no scope, no allow
MOVE_SECONDS: Final = 1.0  # for the process to arrive in its scope
STOP_SECONDS: Final = 1  # between SIGTERM, on which sudo restores the terminal, and the end of everything
SLICE: Final = "jitsudo.slice"
CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
_LOGIN_SCOPE: Final = re.compile(r"/user\.slice/user-[0-9]+\.slice/session-[A-Za-z0-9]+\.scope(?:/|$)")

_MANAGER = DBusAddress(
    "/org/freedesktop/systemd1", bus_name="org.freedesktop.systemd1", interface="org.freedesktop.systemd1.Manager"
)
_TIMEDATE = DBusAddress(
    "/org/freedesktop/timedate1", bus_name="org.freedesktop.timedate1", interface="org.freedesktop.timedate1"
)


def scope_name(session: SessionId) -> str:
    return f"jitsudo-{session}.scope"


def scope_cgroup(session: SessionId) -> str:
    """The scope's path in the unified hierarchy, as /proc/PID/cgroup shows it."""
    return f"/{SLICE}/{scope_name(session)}"


def session_in_cgroup(path: str) -> str | None:
    """The id of the session whose scope holds this path, unchecked; None outside all of them."""
    # From the root only: beneath their own delegated cgroup, anybody can make folders of these names.
    root, above, name, *_ = (*path.split("/", 3), "", "", "")
    if root == "" and above == SLICE and name.startswith("jitsudo-S-") and name.endswith(".scope"):
        return name.removeprefix("jitsudo-").removesuffix(".scope")
    return None


def login_scope(cgroup: str) -> str | None:
    """The cgroup of the login session (logind's) that holds this path; None outside of all of them."""
    match = _LOGIN_SCOPE.match(cgroup)
    return match[0].rstrip("/") if match else None


def is_populated(session: SessionId) -> bool:
    """Whether any process is left in the session's scope."""
    return is_occupied(scope_cgroup(session))


def is_occupied(cgroup: str) -> bool:
    """Whether any process is left in a cgroup or beneath it (cgroups(7), cgroup.events)."""
    try:
        events = (CGROUP_ROOT / cgroup.lstrip("/") / "cgroup.events").read_text("ascii")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):  # the latter: it was removed after it had been opened
            raise
        return False
    return "populated 1" in events.splitlines()


def members(session: SessionId) -> list[int]:
    """The pids in the session's scope."""
    return members_of(scope_cgroup(session))


def members_of(cgroup: str) -> list[int]:
    """The pids in a cgroup, those in cgroups beneath it included."""
    found = []
    # A cgroup may go while we look: os.walk leaves out what it cannot list.
    for folder, _, _ in os.walk(CGROUP_ROOT / cgroup.lstrip("/")):
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in Path(folder, "cgroup.procs").read_text("ascii").split()]
    return found


def existing() -> list[SessionId]:
    """Every session that has a scope, whether anybody knows of it or not, even with nothing in it any more."""
    found = []
    _, names, _ = next(os.walk(CGROUP_ROOT / SLICE), ("", [], []))
    for name in names:
        with contextlib.suppress(InvalidValue):  # no scope of ours, or one that somebody else named so
            found.append(SessionId(session_in_cgroup(f"/{SLICE}/{name}")))
    return found


def running() -> list[SessionId]:
    """Those with something in it."""
    return [session for session in existing() if is_populated(session)]


class SystemManager:
    """systemd over D-Bus. The connection is made when first needed and again after a failure."""

    def __init__(self) -> None:
        self._router: DBusRouter | None = None
        self._connection: Any = None
        self._lock = asyncio.Lock()

    async def _call(self, address: DBusAddress, method: str, signature: str, body: tuple[object, ...]) -> Any:
        return await self._send(new_method_call(address, method, signature, body))

    async def _send(self, message: Any) -> Any:
        """Raises Failed when the bus is silent, gone, or answers with an error."""
        router: DBusRouter | None = None
        try:
            async with asyncio.timeout(BUS_SECONDS):
                router = await self._connected()
                # The router ends at a reply for somebody who was cancelled: whoever gives up does so without its knowledge.
                answer = await asyncio.shield(router.send_and_get_reply(message))
                if answer.header.message_type is MessageType.error:
                    raise DBusErrorResponse(answer)
                return answer.body
        except DBusErrorResponse as error:
            raise Failed(f"systemd refused: {error}") from None
        except (OSError, EOFError, RuntimeError, RouterClosed, KeyError, TimeoutError, asyncio.CancelledError) as error:
            # KeyError: what a call gets whose router ends while it waits
            if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
                raise
            if router is not None and router is self._router:  # others may have connected anew since
                await self.close()
            raise Failed(
                f"systemd does not answer over D-Bus ({type(error).__name__})", "systemctl status dbus.service"
            ) from None

    async def _connected(self) -> DBusRouter:
        async with self._lock:
            if self._router is None:
                self._connection = await open_dbus_connection("SYSTEM")
                self._router = DBusRouter(self._connection)
                await self._router.__aenter__()
            return self._router

    async def close(self) -> None:
        router, self._router = self._router, None
        connection, self._connection = self._connection, None
        with contextlib.suppress(Exception):  # a broken connection may fail in any way; it is dropped here
            if router is not None:
                await router.__aexit__(None, None, None)
            if connection is not None:
                await connection.close()

    async def start_scope(self, session: SessionId, pid: int, description: str, runtime_max: int) -> None:
        """Move `pid` into a scope of its own; returns when /proc shows it there. Raises Failed.

        `runtime_max` is in seconds; systemd ends the scope then even if this daemon is dead.
        """
        properties = [
            ("Description", ("s", description)),
            ("PIDs", ("au", [pid])),
            ("Slice", ("s", SLICE)),
            ("CollectMode", ("s", "inactive-or-failed")),
            ("TimeoutStopUSec", ("t", STOP_SECONDS * 1_000_000)),
            ("RuntimeMaxUSec", ("t", runtime_max * 1_000_000)),
            ("SendSIGHUP", ("b", True)),
        ]
        await self._call(
            _MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", (scope_name(session), "fail", properties, [])
        )
        deadline = asyncio.get_running_loop().time() + MOVE_SECONDS
        delay = 0.0005
        while not is_inside(session, pid):
            if asyncio.get_running_loop().time() > deadline:
                raise Failed("systemd did not move sudo into its scope", "systemctl status jitsudo.slice")
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, 0.02)

    async def stop_scope(self, session: SessionId) -> None:
        """SIGTERM to everything in the scope, SIGKILL a second later; does not wait. Raises Failed."""
        await self._call(_MANAGER, "StopUnit", "ss", (scope_name(session), "replace"))

    async def kill_scope(self, session: SessionId) -> None:
        """SIGKILL to everything in the scope. Raises Failed."""
        await self._call(_MANAGER, "KillUnit", "ssi", (scope_name(session), "all", 9))

    async def clock_is_synchronised(self) -> bool:
        """timedated's NTPSynchronized (org.freedesktop.timedate1(5)); no answer counts as no."""
        try:
            body = await self._send(Properties(_TIMEDATE).get("NTPSynchronized"))
        except Failed:
            return False
        return bool(body[0] == ("b", True))


def is_inside(session: SessionId, pid: int) -> bool:
    """Whether the process is in the session's scope, or beneath it."""
    return is_in(scope_cgroup(session), pid)


def is_in(cgroup: str, pid: int) -> bool:
    """Whether the process is in a cgroup, or beneath it."""
    try:
        path = read_cgroup(pid)
    except ProcessLookupError:
        return False
    return path == cgroup or path.startswith(f"{cgroup}/")
