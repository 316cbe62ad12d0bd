"""The control interface with real peers of several uids: who may ask, approve, see, revoke; the client is the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jitsudo.daemon.approving import Approving
from jitsudo.daemon.control import Control
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.identity import load_identity
from jitsudo.daemon.observations import Observations
from jitsudo.daemon.observing import Tally
from jitsudo.daemon.people import People
from jitsudo.daemon.policyloading import PolicyLoading
from jitsudo.daemon.server import Limits, Server
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import Failed
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.journal import Journal
from jitsudo.host.redaction import Redactor
from jitsudo.host.scopes import SystemManager
from jitsudo.host.source import Sources
from jitsudo.policy.verdict import Host
from jitsudo.wire.calls import CONTROL
from jitsudo.wire.framing import CONTROL_MAX_FRAME_BYTES

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="callers of other uids need root")
SRC = Path(__file__).resolve().parents[3] / "src"
ALICE, BOB, MALLORY = 1, 2, 3  # daemon, bin and sys, which every Debian has
POLICY = """version: 1
approvers:
  bob: {accounts: [bin], teams: [leads]}
  alice: {accounts: [daemon], teams: [leads]}
roles:
  web:
    description: Keep the web tier running
    who: ["user:daemon"]
    request: {max_duration: 2h, default_duration: 30m, approvals: 1, from: ["team:leads"], reason: "INC-[0-9]+.*"}
    allow: [{command: /usr/bin/id}]
  self:
    description: Nobody has to approve
    who: ["user:daemon"]
    request: {max_duration: 1h, default_duration: 10m, approvals: 0}
    allow: [{command: /usr/bin/id}]
"""
CALLER = """
import os, sys
from jitsudo import client
from jitsudo.cli import main
uid, login, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if login:
    with open("/proc/self/loginuid", "w") as file:
        file.write(login)
os.chdir("/")
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
client.Client.__init__.__defaults__ = (path, *client.Client.__init__.__defaults__[1:])
sys.exit(main.main(sys.argv[4:]))
"""


def can_log_in() -> bool:
    """Whether a login uid can be set here, as pam_loginuid does."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            Path("/proc/self/loginuid").write_text("1")
            os._exit(0)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


needs_login = pytest.mark.skipif(os.geteuid() == 0 and not can_log_in(), reason="a login uid cannot be set here")


class NoSystemd(SystemManager):
    """There are no scopes here; nothing of these tests starts one."""

    async def _send(self, _message: Any) -> Any:
        raise Failed("there is no systemd here")


class World:
    """A daemon without sudo's side, and people who call it."""

    def __init__(self, folder: Path, state: DaemonState, policies: Path) -> None:
        self.folder, self.state, self.policies = folder, state, policies
        self.passwords_asked = 0

    async def call(self, uid: int, *arguments: str, login: int | None = -1, stdin: str = "") -> tuple[int, dict[str, Any]]:
        """One command of a person's; its status and what it answered with --json."""
        login_uid = "" if login is None or uid == 0 else str(uid if login == -1 else login)
        form = [arguments[0], "--json", *arguments[1:]] if arguments[0] == "explain" else [*arguments, "--json"]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CALLER, str(uid), login_uid, str(self.folder / "control"), *form,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        out, err = await asyncio.wait_for(child.communicate(stdin.encode()), 30)
        assert b"Traceback" not in err, err
        assert child.returncode is not None
        return child.returncode, json.loads(out)

    async def request(self, uid: int = ALICE, role: str = "web", **options: Any) -> str:
        status, answer = await self.call(uid, "request", role, "--reason", "INC-1 down", **options)
        assert status == 0, answer
        return str(answer["request"]["id"])

    def types(self) -> list[str]:
        return [row.type for row in self.state.ledger.after(0, 1000)]


async def authenticate(world: World, listener: socket.socket) -> None:
    """The PAM service: the password is "good"."""
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        await loop.sock_recv(connection, 65_536)
        prompts = {"prompts": [{"style": "secret", "text": "Password: "}]}
        await loop.sock_sendall(connection, json.dumps(prompts).encode())
        world.passwords_asked += 1
        packet = await loop.sock_recv(connection, 65_536)
        good = bool(packet) and json.loads(packet) == {"answers": ["good"]}
        result = {"result": "success", "reason": ""} if good else {"result": "failure", "reason": "Authentication failure"}
        with contextlib.suppress(OSError):
            await loop.sock_sendall(connection, json.dumps(result).encode())
        connection.close()


@contextlib.asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "state").mkdir()
        (folder / "policy.d").mkdir()
        (folder / "policy.d" / "web.yaml").write_text(POLICY)
        identity = load_identity(folder / "state")
        people = People(SystemAccounts())
        state = DaemonState(folder / "state", identity, Journal(Redactor(identity.redaction_key)), people, Host("h", {}))
        granting, sessions = Granting(state), Sessions(state, NoSystemd())
        approving = Approving(state, granting, str(folder / "auth"))
        loading = PolicyLoading(state, folder / "policy.d", check_owner=False)
        await loading.load_at_start()
        sockets = {}
        for kind, file in ((socket.SOCK_STREAM, "control"), (socket.SOCK_SEQPACKET, "auth")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            listener.bind(str(folder / file))
            (folder / file).chmod(0o666)
            listener.listen()
            listener.setblocking(False)
            sockets[file] = listener
        interface: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        gate = Gate()
        observations = Observations(state, gate, Tally())
        interface.set_result(
            Control(state, granting, sessions, approving, loading, sources=Sources(), gate=gate, observations=observations)
        )
        limits = Limits(CONTROL_MAX_FRAME_BYTES, 0, 8, 100, 4)
        world = World(folder, state, folder / "policy.d")
        server = Server(CONTROL, sockets["control"], limits, lambda peer: peer.uid, interface)
        tasks = [asyncio.create_task(server.run()), asyncio.create_task(authenticate(world, sockets["auth"]))]
        try:
            yield world
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            state.ledger.close()
            people.close()


def story(test: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with a_world() as world:
            await test(world)

    asyncio.run(run())


@needs_login
def test_asked_approved_and_given_back() -> None:
    """The whole way, with each event on record."""

    async def test(w: World) -> None:
        made = await w.request()
        status, answer = await w.call(BOB, "approve", made, "-S", stdin="good\n")
        assert (status, answer["request"]["state"]) == (0, "active"), answer
        grant = answer["request"]["grant"]
        _, mine = await w.call(ALICE, "status")
        assert [g["id"] for g in mine["grants"]] == [grant]
        assert mine["grants"][0]["approvers"] == ["bob"]
        status, answer = await w.call(ALICE, "return")
        assert (status, answer["grants"][0]["state"]) == (0, "returned")
        expected = ["request.created", "authentication.succeeded", "approval.given", "grant.issued", "grant.returned"]
        assert [t for t in w.types() if not t.startswith(("policy", "heartbeat"))] == expected

    story(test)


@needs_login
def test_an_approver_finds_what_they_decided_and_others_do_not() -> None:
    """`requests --all`: approved or denied, by me."""

    async def test(w: World) -> None:
        approved, denied = await w.request(), await w.request()
        await w.call(BOB, "approve", approved, "-S", stdin="good\n")
        await w.call(BOB, "deny", denied, "--reason", "no")
        _, mine = await w.call(BOB, "requests", "--all")
        assert {r["id"] for r in mine["requests"]} == {approved, denied}
        _, open_ones = await w.call(BOB, "requests")
        assert open_ones["requests"] == []
        _, theirs = await w.call(MALLORY, "requests", "--all")
        assert theirs["requests"] == []

    story(test)


@needs_login
def test_a_wrong_password_approves_nothing() -> None:
    """And is on record."""

    async def test(w: World) -> None:
        made = await w.request()
        for wrong in ("bad\n", "\n", "good \n", "GOOD\n"):
            status, answer = await w.call(BOB, "approve", made, "-S", stdin=wrong)
            assert (status, answer["error"]["code"]) == (3, "authentication-failed")
        assert "approval.given" not in w.types()
        assert w.types().count("authentication.failed") == 4

    story(test)


@needs_login
def test_nobody_approves_who_is_not_an_approver_or_is_the_requester() -> None:
    """Under no uid and no login uid, and no password is even asked for."""

    async def test(w: World) -> None:
        made = await w.request()
        for uid, login in ((MALLORY, MALLORY), (ALICE, ALICE), (BOB, ALICE), (BOB, None), (0, None), (MALLORY, BOB)):
            status, answer = await w.call(uid, "approve", made, "-S", login=login, stdin="good\n")
            assert (status, answer["error"]["code"]) in {(3, "denied"), (2, "not-found")}, (uid, login, answer)
        assert w.passwords_asked == 0
        assert "grant.issued" not in w.types()

    story(test)


def test_what_cannot_be_asked_for_is_refused_with_the_reason() -> None:
    """Roles of others, wrong reasons, absurd durations, root itself."""

    async def test(w: World) -> None:
        reason = ["--reason", "INC-1"]
        refusals: list[tuple[int, list[str], int]] = [
            (MALLORY, ["request", "web", *reason], 3),
            (0, ["request", "web", *reason], 3),
            (ALICE, ["request", "nothing", *reason], 3),
            (ALICE, ["request", "../web", *reason], 2),
            (ALICE, ["request", "\udcff", *reason], 2),
            (ALICE, ["request", "web", "--reason", "no ticket"], 3),
            (ALICE, ["request", "web", "--reason", ""], 2),
            (ALICE, ["request", "web", "--reason", "INC-1\nforged"], 2),
            (ALICE, ["request", "web", "--reason", "INC-1 \x1b[2J"], 2),
            (ALICE, ["request", "web", "--reason", "INC-1 \udcff"], 2),
            (ALICE, ["request", "web", "--reason", "INC-1" + "x" * 500], 2),
            (ALICE, ["request", "web"], 2),
            (ALICE, ["request", "web", *reason, "--for", "3h"], 3),
            (ALICE, ["request", "web", *reason, "--uses", "0"], 2),
            (ALICE, ["request", "web", *reason, "--uses", "-1"], 2),
        ]
        for uid, arguments, expected in refusals:
            status, answer = await w.call(uid, *arguments)
            assert (status, "error" in answer) == (expected, True), (arguments, answer)
        assert "request.created" not in w.types()

    story(test)


def test_others_requests_cannot_be_seen_cancelled_denied_or_awaited() -> None:
    """Not even that they exist."""

    async def test(w: World) -> None:
        made = await w.request()
        _, theirs = await w.call(MALLORY, "requests", "--all")
        assert theirs["requests"] == []
        for arguments in (["cancel", made], ["deny", made, "--reason", "no"], ["approve", made, "-S"]):
            status, _ = await w.call(MALLORY, *arguments, stdin="good\n")
            assert status in (2, 3), arguments
        assert w.state.open_requests()[0].id == made
        status, answer = await w.call(ALICE, "cancel", made)
        assert (status, answer["request"]["state"]) == (0, "cancelled")
        status, answer = await w.call(ALICE, "cancel", made)
        assert answer["error"]["code"] == "wrong-state"

    story(test)


@needs_login
def test_only_root_and_the_approvers_revoke() -> None:
    """Nobody else, by prefix or in full."""

    async def test(w: World) -> None:
        made = await w.request()
        _, answer = await w.call(BOB, "approve", made, "-S", stdin="good\n")
        grant = answer["request"]["grant"]
        for name in (grant, grant[2:5], "G-", "", "\udcff"):
            status, _ = await w.call(MALLORY, "revoke", name, "--reason", "x")
            assert status in (2, 3), name
            status, _ = await w.call(MALLORY, "return", name)
            assert status in (2, 3), name
        assert [g.id for g in w.state.live_grants()] == [grant]
        status, answer = await w.call(BOB, "revoke", grant, "--reason", "no longer needed")
        assert (status, answer["grant"]["state"]) == (0, "revoked")

    story(test)


def test_a_role_without_approvals_is_granted_at_once_and_root_sees_and_revokes_it() -> None:
    """Self-service is on record like any other."""

    async def test(w: World) -> None:
        status, answer = await w.call(ALICE, "request", "self", "--reason", "x")
        assert (status, answer["request"]["state"]) == (0, "active"), answer
        _, seen = await w.call(0, "status", "--all")
        grant = seen["grants"][0]["id"]
        status, _ = await w.call(ALICE, "explain", "--", "id")
        status, answer = await w.call(0, "revoke", grant, "--reason", "x")
        assert (status, answer["grant"]["state"]) == (0, "revoked")
        _, mine = await w.call(ALICE, "status")
        assert mine["grants"] == []

    story(test)


def test_several_grants_are_listed_before_one_is_given_back() -> None:
    """Exit status 2; --all means all."""

    async def test(w: World) -> None:
        for _ in range(2):
            await w.request(role="self")
        status, answer = await w.call(ALICE, "return")
        assert (status, answer["error"]["code"]) == (2, "ambiguous")
        status, answer = await w.call(ALICE, "return", "--all")
        assert (status, len(answer["grants"])) == (0, 2)
        status, answer = await w.call(ALICE, "return")
        assert answer["error"]["code"] == "not-found"

    story(test)


def test_grants_are_listed_in_the_order_in_which_they_were_made() -> None:
    """Those of one second, too: their names say nothing."""

    async def test(w: World) -> None:
        asked = [await w.call(ALICE, "request", "self", "--reason", "INC-1 down") for _ in range(6)]
        made = [answer["request"]["grant"] for _, answer in asked]
        _, seen = await w.call(ALICE, "status")
        assert [grant["id"] for grant in seen["grants"]] == made

    story(test)


def test_only_root_loads_a_policy_or_accepts_the_clock() -> None:
    """And a policy that is refused is reported with every error, status 6."""

    async def test(w: World) -> None:
        for arguments in (["policy", "reload"], ["clock", "accept"]):
            assert (await w.call(ALICE, *arguments))[0] == 3
            assert (await w.call(0, *arguments))[0] == 0
        (w.policies / "web.yaml").write_text("version: 1\nroles: {web: {nonsense: 1}, other: 5}\n")
        status, answer = await w.call(0, "policy", "reload")
        assert status == 6
        assert len(answer["error"]["issues"]) > 1
        assert all(issue.startswith("web.yaml:2:") for issue in answer["error"]["issues"])
        _, shown = await w.call(0, "status")
        assert any("policy" in problem for problem in shown["problems"])
        await w.request(role="self")

    story(test)
