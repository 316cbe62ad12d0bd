"""Proofs by an SSH agent: what the daemon makes of a connection that it was passed, and what it leaves behind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openssh import make_key, ssh_agent
from test_challenges import answer, denials, in_their_scope, policy, use, verdicts
from test_decide import World, a_world, check, story
from waiting import LONG, until

from jitsudo.daemon import agent as agent_module
from jitsudo.daemon import challenging
from jitsudo.daemon.agent import Agent

__all__ = ["in_their_scope"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process that looks like sudo needs root")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent is given up because this machine is busy: how long one has is tried with the agent's own tests."""
    monkeypatch.setattr(agent_module, "ANSWER_SECONDS", 2 * LONG)


def waiting(w: World) -> list[str]:
    """The calls whose agent is awaited now."""
    tasks = [task.get_coro() for task in asyncio.all_tasks()]
    return [str(w) for coroutine in tasks if getattr(coroutine, "__name__", "") == "_serve" and is_in_agent(coroutine)]


def is_in_agent(coroutine: Any) -> bool:
    """Whether what it awaits, in the end, is the agent."""
    while coroutine is not None:
        if getattr(coroutine, "__name__", "") == "prove":
            return True
        coroutine = getattr(coroutine, "cr_await", None)
    return False


def note_detached(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets of agents that the daemon is done with."""
    found: list[socket.socket] = []
    detach = Agent.detach

    def noted(agent: Agent) -> tuple[socket.socket, list[int]]:
        result = detach(agent)
        found.append(result[0])
        return result

    monkeypatch.setattr(Agent, "detach", noted)
    return found


def connected(path: str) -> tuple[str, dict[str, Any], list[str]]:
    return "Answer", {"outcome": "connected", "account": None, "descriptors": ["agent"]}, [f"unix:{path}"]


def test_an_agent_that_has_an_enrolled_key_proves_it(tmp_path: Path) -> None:
    """The daemon speaks with it, the account is asked about next, and the proof is on record before the allow."""

    async def test(w: World) -> None:
        await use(w, make_key(tmp_path / "mine"), "keyed")
        make_key(tmp_path / "other")
        async with ssh_agent(tmp_path, tmp_path / "other", tmp_path / "mine") as (path, _):
            replies = await w.sudo(check("arch"), connected(path), answer("proven"))
        asked = replies[0]["parameters"]["challenge"]
        assert asked == {
            "kind": "agent", "message": asked["message"], "service": None, "user": None, "prompt": None, "overrides": None,
            "tries": None,
        }  # fmt: skip
        assert replies[1]["parameters"]["challenge"]["kind"] == "account"
        assert verdicts(replies) == ["challenge", "challenge", "allow"]
        types = await w.types()
        assert types.index("authentication.succeeded") < types.index("command.allowed")

    story(test)


def test_an_agent_without_an_enrolled_key_proves_nothing(tmp_path: Path) -> None:
    """The person reads why and what to look at; on record is that there was no way to ask."""

    async def test(w: World) -> None:
        await use(w, make_key(tmp_path / "mine"), "keyed")
        make_key(tmp_path / "other")
        async with ssh_agent(tmp_path, tmp_path / "other") as (path, _):
            replies = await w.sudo(check("arch"), connected(path), answer("proven"))
        assert replies[1]["parameters"] == {
            "verdict": "deny", "code": "authentication", "hints": ["ssh-add -l"],
            "message": "your SSH agent holds none of the keys that are enrolled for you",
        }  # fmt: skip
        assert verdicts(replies)[2] == "wrong-state"
        types = await w.types()
        assert types[-1] == "command.denied"
        assert "authentication.failed" not in types
        assert await denials(w) == [challenging.NOT_DONE["unavailable"]]

    story(test)


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@contextlib.asynccontextmanager
async def fake_agent(folder: Path, *replies: bytes) -> AsyncIterator[str]:
    """Answers each request with the next of these, and is silent then; in the end it hangs up."""
    path, left = str(folder / "agent"), list(replies)
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                writer.write(left.pop(0) if left else b"")
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield path
        for writer in writers:
            writer.close()
    os.unlink(path)


def listed(line: str) -> bytes:
    return framed(b"\x0c\0\0\0\1" + framed(base64.b64decode(line.split()[1])) + framed(b""))


def test_an_agent_that_refuses_or_lies_has_failed(tmp_path: Path) -> None:
    """Both are on record as a failed proof."""

    async def test(w: World) -> None:
        line = make_key(tmp_path / "mine")
        await use(w, line, "keyed")
        forged = framed(b"\x0e" + framed(framed(b"ssh-ed25519") + framed(bytes(64))))
        for reply, words, reason in (
            (framed(b"\x05"), "your SSH agent refused to sign", challenging.NOT_DONE["failed"]),
            (forged, "an SSH signature is not valid for this challenge", "an SSH signature is not valid for this challenge"),
        ):
            async with fake_agent(tmp_path, listed(line), reply) as path:
                replies = await w.sudo(check("arch"), connected(path))
            assert (replies[1]["parameters"]["code"], replies[1]["parameters"]["message"]) == ("authentication", words)
            assert (await w.types())[-2:] == ["authentication.failed", "command.denied"]
            assert (await denials(w))[-1] == reason

    story(test)


def test_a_key_that_is_taken_out_of_the_policy_meanwhile_proves_nothing(tmp_path: Path) -> None:
    """The policy is that of the moment at which the agent has signed."""

    async def test(w: World) -> None:
        line = make_key(tmp_path / "mine")
        await use(w, line, "keyed")
        other = make_key(tmp_path / "other")
        async with ssh_agent(tmp_path, tmp_path / "mine") as (path, pid):
            os.kill(pid, signal.SIGSTOP)
            asking = asyncio.create_task(w.sudo(check("arch"), connected(path)))
            await until(lambda: bool(waiting(w)))
            (w.folder / "policy.d" / "web.yaml").write_text(policy(other))
            await w.reload()
            os.kill(pid, signal.SIGCONT)
            replies = await asking
        assert replies[1]["parameters"]["message"] == "an SSH signature is by a key that does not count here"

    story(test)


def test_who_gives_up_waiting_for_an_agent_is_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """^C, or a sudo that dies, while the agent hangs: nothing of it is left open."""

    async def test(w: World) -> None:
        await use(w, make_key(tmp_path / "mine"), "keyed")
        detached = note_detached(monkeypatch)
        async with ssh_agent(tmp_path, tmp_path / "mine") as (path, pid):
            os.kill(pid, signal.SIGSTOP)
            child = await w.start([check("arch"), connected(path)])
            assert child.stdout is not None
            await asyncio.wait_for(child.stdout.readline(), 30)
            await until(lambda: bool(waiting(w)))
            child.kill()
            await child.communicate()
            await until(lambda: bool(detached))
            assert await denials(w) == ["sudo went on without an answer"]
            await until(lambda: detached[0].fileno() == -1)

    story(test)


def test_an_agent_has_no_longer_than_any_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it does together."""

    async def test(w: World) -> None:
        await use(w, make_key(tmp_path / "mine"), "keyed")
        monkeypatch.setattr(challenging, "CHALLENGE_SECONDS", 0.5)
        async with fake_agent(tmp_path) as path:
            replies = await w.sudo(check("arch"), connected(path))
        assert replies[1]["parameters"]["message"] == "the answer came too late"
        assert await denials(w) == ["the answer came too late"]

    story(test)


def test_the_daemon_that_stops_waits_for_no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the record is that nothing was proven."""
    detached = note_detached(monkeypatch)

    async def run() -> None:
        async with fake_agent(tmp_path) as path:
            async with a_world() as w:
                await use(w, make_key(tmp_path / "mine"), "keyed")
                asking = asyncio.create_task(w.sudo(check("arch"), connected(path)))
                await until(lambda: bool(waiting(w)))
            with contextlib.suppress(AssertionError):  # the child has read the end of its connection instead of an answer
                await asking

    asyncio.run(asyncio.wait_for(run(), LONG))
    assert [one.fileno() for one in detached] == [-1]


def test_many_agents_that_hang_hold_up_nobody(tmp_path: Path) -> None:
    """Each is waited for beside the others."""

    async def test(w: World) -> None:
        line = make_key(tmp_path / "mine")
        await use(w, line, "keyed")
        await w.grant()
        async with fake_agent(tmp_path) as path:
            asking = [asyncio.create_task(w.sudo(check("arch"), connected(path))) for _ in range(20)]
            await until(lambda: len(waiting(w)) == 20)
            assert verdicts(await w.sudo(check("id"))) == ["allow"]
            assert len(waiting(w)) == 20
        replies = await asyncio.gather(*asking)
        assert {reply[1]["parameters"]["message"] for reply in replies} == {agent_module.CLOSED}

    story(test)


def test_one_person_waits_for_so_many_agents_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is refused at once, on record, and may come again when one has answered."""

    async def test(w: World) -> None:
        await use(w, make_key(tmp_path / "mine"), "keyed")
        monkeypatch.setattr(challenging, "MAX_AGENTS", 2)
        async with fake_agent(tmp_path) as path:
            asking = [asyncio.create_task(w.sudo(check("arch"), connected(path))) for _ in range(2)]
            await until(lambda: len(waiting(w)) == 2)
            assert verdicts(await w.sudo(check("arch"), connected(path))) == ["challenge", "too-many"]
        await asyncio.gather(*asking)
        assert (await denials(w))[0] == "too many of your SSH agents are awaited at once"
        async with ssh_agent(tmp_path, tmp_path / "mine") as (path, _):
            replies = await w.sudo(check("arch"), connected(path), answer("proven"))
        assert verdicts(replies) == ["challenge", "challenge", "allow"]

    story(test)


def test_what_is_no_agent_is_refused(tmp_path: Path) -> None:
    """A file in place of a socket; an agent where a password was asked for."""

    async def test(w: World) -> None:
        await use(w, make_key(tmp_path / "mine"), "keyed")
        await w.grant("asked")
        method, parameters, _ = connected("")
        replies = await w.sudo(check("arch"), (method, parameters, ["/"]), answer("proven"))
        assert verdicts(replies) == ["challenge", "invalid-value", "wrong-state"]
        async with fake_agent(tmp_path) as path:
            assert verdicts(await w.sudo(check("id"), connected(path))) == ["challenge", "invalid-value"]

    story(test)


def test_without_an_enrolled_key_nobody_proves_anything_by_an_agent() -> None:
    """The sentence says who enrols one."""

    async def test(w: World) -> None:
        await use(w, role="keyed")
        reply = (await w.sudo(check("arch")))[0]["parameters"]
        assert reply["code"] == "denied"
        assert "is enrolled" in reply["message"]

    story(test)
