"""The decide interface, with processes that look to the kernel as sudo does: effective uid 0, somebody's real uid."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jitsudo.daemon.approving import Approving
from jitsudo.daemon.control import Control
from jitsudo.daemon.decide import Decide
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.identity import load_identity
from jitsudo.daemon.observations import Observations
from jitsudo.daemon.observing import Observing
from jitsudo.daemon.people import People
from jitsudo.daemon.policyloading import PolicyLoading
from jitsudo.daemon.server import Limits, Server
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Tickets
from jitsudo.errors import Failed
from jitsudo.host import scopes
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.journal import Journal
from jitsudo.host.redaction import Redactor
from jitsudo.host.scopes import SystemManager
from jitsudo.host.source import Sources
from jitsudo.policy.verdict import Host
from jitsudo.types import SessionId
from jitsudo.wire.calls import CONTROL, DECIDE, MAX_DESCRIPTORS
from jitsudo.wire.framing import CONTROL_MAX_FRAME_BYTES, DECIDE_MAX_FRAME_BYTES

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process that looks like sudo needs root")
SRC = Path(__file__).resolve().parents[3] / "src"
POLICY = """version: 1
roles:
  self:
    description: Nobody has to approve
    who: ["user:daemon"]
    request: {max_duration: 1h, default_duration: 10m, approvals: 0}
    authenticate: never
    allow:
      - command: /usr/bin/id
      - command: /usr/bin/touch
        operands: [{path: {under: /srv}}]
guardrails:
  no-secrets:
    always: true
    match: {command: touch, any_operand: [{path: {under: [/srv/secret]}}]}
    then: deny
    message: Hands off.
"""
# Connects as sudo would, makes the calls of its arguments one after the other on one connection, prints each answer.
# Asked about the account, it says that it is good, unless the next call is the answer to that.
SUDO = """
import array, json, os, socket, sys
path, real, effective, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
os.chdir("/")
os.setresuid(real, effective, 0 if effective == 0 else effective)
s = socket.socket(socket.AF_UNIX)
s.connect(path)
def fill(value):
    if isinstance(value, dict): return {k: fill(v) for k, v in value.items()}
    if isinstance(value, list): return [fill(v) for v in value]
    if isinstance(value, str): return value.replace("@PID@", str(os.getpid())).replace("@PPID@", str(os.getppid()))
    return value
if sys.argv[5] == "session": os.setsid()
def ask(method, parameters, fds):
    frame = json.dumps({"method": method, "parameters": fill(parameters)}).encode() + b"\\0"
    try:
        s.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
    except BrokenPipeError:
        pass  # whoever is refused at the door may read why
    data = b""
    while not data.endswith(b"\\0"):
        piece = s.recv(65536)
        if not piece: break
        data += piece
    return data
def opened(name):
    if name[:5] != "unix:": return os.open(name, os.O_PATH)
    agent = socket.socket(socket.AF_UNIX)
    agent.connect(name[5:])
    return agent.detach()
for i, (method, parameters, files) in enumerate(calls):
    if method[0] == "?":
        method, parameters, files = json.loads(sys.stdin.readline())
    data = ask(method, parameters, [opened(f) for f in files])
    if b'"kind":"account"' in data and not [m for m, _, _ in calls[i + 1:i + 2] if m == "??" or m.endswith(".Answer")]:
        data = ask("io.jitsudo.Decide.Answer", {"outcome": "proven", "account": None}, [])
    print(data.rstrip(b"\\0").decode(), flush=True)
"""
ALICE = 1  # daemon, which every Debian has


class ScopesThat(SystemManager):
    """systemd as far as a decision needs it: it moves sudo at once, or is silent."""

    works = True

    async def _send(self, _message: Any) -> Any:
        if not self.works:
            raise Failed("systemd does not answer over D-Bus (TimeoutError)")
        return ()


class World:
    observing: Observing | None = None

    def __init__(self, folder: Path, state: DaemonState, granting: Granting, sessions: Sessions, manager: ScopesThat) -> None:
        self.folder, self.state, self.granting, self.sessions, self.manager = folder, state, granting, sessions, manager

    async def _start(self, calls: list[Any], real: int, effective: int, session: bool) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", SUDO, str(self.folder / "decide"), str(real), str(effective), json.dumps(calls),
            "session" if session else "", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def sudo(
        self, *calls: tuple[str, dict[str, Any], list[str]], real: int = ALICE, effective: int = 0, session: bool = False
    ) -> list[Any]:
        """What the daemon answers to one sudo; None where it answered nothing."""
        named = [(m if "." in m else f"{DECIDE}.{m}", p, f) for m, p, f in calls]
        child = await self._start(named, real, effective, session)
        out, err = await asyncio.wait_for(child.communicate(), 30)
        assert child.returncode == 0, err
        return [json.loads(line) if line else None for line in out.decode().splitlines()]

    async def start(self, calls: list[Any]) -> asyncio.subprocess.Process:
        """A sudo of alice's that makes these calls."""
        return await self._start([(f"{DECIDE}.{m}", p, f) for m, p, f in calls], ALICE, 0, session=False)

    async def dialogue(self, first: Any, then: Callable[[Any], Any], second: str = "?") -> list[Any]:
        """Two calls on one connection, the second made from the answer to the first; "??": also if it is about the account."""
        child = await self._start([(f"{DECIDE}.{first[0]}", *first[1:]), (second, {}, [])], ALICE, 0, session=False)
        assert child.stdout is not None
        assert child.stdin is not None
        asked = json.loads(await asyncio.wait_for(child.stdout.readline(), 30))
        method, parameters, files = then(asked)
        child.stdin.write(json.dumps([f"{DECIDE}.{method}", parameters, files]).encode() + b"\n")
        out, err = await asyncio.wait_for(child.communicate(), 30)
        assert child.returncode == 0, err
        return [asked, json.loads(out)]

    async def check(self, *argv: str, **changes: Any) -> dict[str, Any]:
        real, effective = changes.pop("real", ALICE), changes.pop("effective", 0)
        found = await self.sudo(check(*argv, **changes), real=real, effective=effective)
        answer: dict[str, Any] = found[0]["parameters"]
        return answer

    async def reload(self) -> None:
        """The policy as it is in the folder now."""
        loading = PolicyLoading(self.state, self.folder / "policy.d", check_owner=False)
        await loading.load_at_start()
        assert self.state.policy_problem is None

    async def grant(self, role: str = "self", *options: str) -> str:
        """alice's, for a role."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c",
            "import os, sys\nfrom jitsudo import client\nfrom jitsudo.cli import main\nos.setresuid(1, 1, 1)\n"
            "client.Client.__init__.__defaults__ = (sys.argv[1], *client.Client.__init__.__defaults__[1:])\n"
            "sys.exit(main.main(sys.argv[2:]))",
            str(self.folder / "control"), "request", role, "--reason", "x", "--json", *options,
            stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": str(SRC)},
        )  # fmt: skip
        out, _ = await child.communicate()
        return str(json.loads(out)["request"]["grant"])

    async def types(self) -> list[str]:
        await self.state.record(self.state.now(), self.state.journal.heartbeat())
        return [row.type for row in self.state.ledger.after(0, 1000)][:-1]


def invocation(**changes: str) -> dict[str, Any]:
    info = {
        "user": "daemon", "uid": "1", "gid": "1", "pid": "@PID@", "ppid": "@PPID@", "pgid": "1", "sid": "1", "tcpgid": "-1",
        "cwd": "/", "host": "h", "umask": "022", "lines": "24", "cols": "80", **changes,
    }  # fmt: skip
    told = [f"{key}={value}" for key, value in info.items()]
    return {"front_end": "test", "user_info": told, "settings": [], "user_env": ["PATH=/tmp", "LD_PRELOAD=/tmp/x"]}


def check(
    *argv: str, settings: list[str] | None = None, files: list[str] | None = None, **changes: str
) -> tuple[str, dict[str, Any], list[str]]:
    command = f"/usr/bin/{argv[0]}"
    given = {**invocation(**changes), "settings": settings or []}
    parameters = {
        "invocation": given, "argv": list(argv), "env_add": [], "command": command,
        "descriptors": ["root", "cwd", "command"], "sub_command": False,
    }  # fmt: skip
    return "Check", parameters, files or ["/", "/", command]


@contextlib.asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "state").mkdir()
        (folder / "policy.d").mkdir()
        (folder / "policy.d" / "web.yaml").write_text(POLICY)
        identity, people, manager = load_identity(folder / "state"), People(SystemAccounts()), ScopesThat()
        state = DaemonState(folder / "state", identity, Journal(Redactor(identity.redaction_key)), people, Host("h", {}))
        granting, sessions = Granting(state), Sessions(state, manager)
        approving = Approving(state, granting, "/nonexistent")
        loading = PolicyLoading(state, folder / "policy.d", check_owner=False)
        await loading.load_at_start()
        gate, sources, tickets = Gate(), Sources(), Tickets(None, state.boot)
        decide = Decide(state, granting, sessions, tickets=tickets, sources=sources, gate=gate)
        observations = Observations(state, gate, decide.observing.tally)
        control = Control(
            state, granting, sessions, approving, loading, sources=sources, gate=gate, observations=observations
        )
        tasks = []
        for name_, served, limits in (
            (DECIDE, decide, Limits(DECIDE_MAX_FRAME_BYTES, MAX_DESCRIPTORS, 50, 100, 4)),
            (CONTROL, control, Limits(CONTROL_MAX_FRAME_BYTES, 0, 8, 100, 4)),
        ):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            path = folder / name_.rpartition(".")[2].lower()
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen()
            interface: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            interface.set_result(served)
            tasks.append(asyncio.create_task(Server(name_, listener, limits, lambda peer: peer.uid, interface).run()))
        try:
            world = World(folder, state, granting, sessions, manager)
            world.observing = decide.observing
            yield world
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            sessions.close()
            decide.close()
            state.ledger.close()
            people.close()


def story(test: Callable[[World], Awaitable[None]], monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    if monkeypatch is not None:  # in their scope from the moment that systemd was asked
        monkeypatch.setattr(scopes, "is_inside", lambda _session, _pid: True)

    async def run() -> None:
        async with a_world() as world:
            await test(world)

    asyncio.run(run())


def test_without_a_grant_nothing_is_allowed_and_the_way_out_is_said() -> None:
    """The exact line that would help, and the refusal on record."""

    async def test(w: World) -> None:
        answer = await w.check("id")
        assert (answer["verdict"], answer["code"]) == ("deny", "no-grant")
        assert any("jitsudo request self" in hint for hint in answer["hints"])
        assert "command.denied" in await w.types()

    story(test)


def test_a_grant_allows_what_its_role_says_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """On record before the answer, complete, and with a clean environment."""

    async def test(w: World) -> None:
        grant = await w.grant()
        answer = await w.check("id")
        assert answer["verdict"] == "allow"
        assert SessionId(answer["session"])
        assert len(answer["token"]) == 32
        assert answer["argv"] == ["id"]
        assert "command=/usr/bin/id" in answer["command_info"]
        assert "runas_uid=0" in answer["command_info"]
        assert not [e for e in answer["env"] if e.startswith(("LD_", "PATH=/tmp"))]
        rows = [r for r in w.state.ledger.after(0, 1000) if r.type in ("command.allowed", "session.started")]
        assert [r.content()["grant"] for r in rows] == [grant, grant]
        assert answer["token"] not in "".join(r.body for r in w.state.ledger.after(0, 1000))
        for argv in (["id", "-u"], ["touch"], ["touch", "/etc/x"], ["touch", "/srv/../etc/x"], ["cat", "/etc/shadow"]):
            assert (await w.check(*argv))["verdict"] == "deny", argv
        assert (await w.check("id", settings=["runas_user=bin"]))["verdict"] == "deny"
        refused = await w.check("touch", "/srv/secret/x")
        assert refused["verdict"] == "deny"
        assert "Hands off." in refused["message"]
        assert "guardrail.fired" in await w.types()

    story(test, monkeypatch)


def test_without_a_scope_there_is_no_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd silent; or it answers and sudo is not where it should be."""

    async def test(w: World) -> None:
        await w.grant()
        w.manager.works = False
        answer = await w.check("id")
        assert answer["code"] == "failed"
        assert "verdict" not in answer
        w.manager.works = True
        monkeypatch.setattr("jitsudo.host.scopes.MOVE_SECONDS", 0.05)
        answer = await w.check("id")
        assert answer["code"] == "failed"
        assert w.sessions.all() == []
        assert "session.ended" in await w.types()

    story(test)


LIES: dict[str, dict[str, str]] = {
    "another uid": {"uid": "0", "user": "root"},
    "another name": {"user": "root"},
    "another pid": {"pid": "1"},
    "uid -1": {"uid": "-1"},
    "uid 4294967295": {"uid": "4294967295"},
    "uid 0_1": {"uid": "0_1"},
    "no uid": {"uid": ""},
    "no name": {"user": ""},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_front_end_that_lies_about_its_caller_is_refused(lie: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2018-1116: what a message says counts only where the kernel says the same."""

    async def test(w: World) -> None:
        await w.grant()
        answer = await w.check("id", **lie)
        assert "verdict" not in answer
        assert answer["code"] in ("denied", "invalid-value")
        assert "command.allowed" not in await w.types()

    story(test, monkeypatch)


def test_who_is_not_root_gets_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the socket's mode would let them in."""

    async def test(w: World) -> None:
        await w.grant()
        for call in (check("id"), ("List", listing(), []), ("Validate", {"invocation": invocation()}, [])):
            answer = (await w.sudo(call, effective=ALICE))[0]
            assert answer["parameters"]["code"] == "denied"
            assert "verdict" not in answer["parameters"]

    story(test, monkeypatch)


def test_root_outside_a_session_is_allowed_and_recorded_even_if_the_record_fails() -> None:
    """A full disk must not stop root's cron jobs; everybody else is denied."""

    async def test(w: World) -> None:
        await w.grant()
        root: dict[str, Any] = {"real": 0, "uid": "0", "gid": "0", "user": "root"}
        answer = await w.check("id", **root)
        assert (answer["verdict"], answer["session"], answer["token"]) == ("allow", None, None)
        assert "command.allowed" in await w.types()
        blocker = sqlite3.connect(w.state.ledger.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert (await w.check("id", **root))["verdict"] == "allow"
        assert w.state.ledger.failure is not None
        answer = await w.check("id")
        assert "verdict" not in answer
        assert "nothing is allowed" in answer["message"]
        blocker.execute("ROLLBACK")
        blocker.close()

    story(test)


def test_a_command_that_is_another_file_than_was_looked_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swapped between look-up and decision."""

    async def test(w: World) -> None:
        await w.grant()
        answer = await w.check("id", files=["/", "/", "/usr/bin/touch"])
        assert "verdict" not in answer
        assert "changed while it was looked at" in answer["message"]

    story(test, monkeypatch)


def test_a_session_is_proven_by_its_token_and_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started and Close of somebody else's."""

    async def test(w: World) -> None:
        await w.grant()
        for number, (session, token) in enumerate((("S-AAAAAAAA", "x"), ("", ""), ("S-AAAAAAAA", "0" * 32))):
            proof = {"session": session, "token": token}
            answers = await w.sudo(
                check("id"), ("Started", proof, []), ("Close", {**proof, "wait_status": 0, "errno": 0}, [])
            )
            assert [a["parameters"].get("code") for a in answers] == [None, "denied", "denied"], number

    story(test, monkeypatch)


def listing(*argv: str, user: str | None = None) -> dict[str, Any]:
    command = f"/usr/bin/{argv[0]}" if argv else None
    return {"invocation": invocation(), "argv": list(argv), "command": command, "verbose": False, "user": user}


def test_what_may_be_done_is_listed_for_oneself_only() -> None:
    """With the grant and its end; nothing of this is an allow."""

    async def test(w: World) -> None:
        none, grant = (await w.sudo(("List", listing(), [])))[0], await w.grant()
        assert none["parameters"]["code"] == "no-grant"
        assert "holds no grant" in none["parameters"]["message"]
        mine, other = await w.sudo(("List", listing(), []), ("List", listing(user="bin"), []))
        assert grant in mine["parameters"]["text"]
        assert "/usr/bin/id" in mine["parameters"]["text"]
        assert other["parameters"]["code"] == "denied"
        assert "command.allowed" not in await w.types()

    story(test)


NONSENSE: list[tuple[str, Any]] = [
    ("Check", {}), ("Check", {"invocation": 1}), ("Check", {"argv": "id"}), ("Started", {}), ("Close", {"session": 1}),
    ("List", {}), ("Validate", {}), ("Invalidate", {"remove": 1}), ("Invalidate", {"invocation": {}, "remove": True}),
]  # fmt: skip


def test_nonsense_is_refused_call_by_call() -> None:
    """A typed error each, and the connection goes on."""

    async def test(w: World) -> None:
        answers = await w.sudo(*((m, p, []) for m, p in NONSENSE))
        assert [a["parameters"]["code"] for a in answers] == ["invalid-value"] * len(NONSENSE)

    story(test)
