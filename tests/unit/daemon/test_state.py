"""The daemon's state, its keys, its policy: after every fault it is whole, or says what it lost."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from jitsudo.daemon import state as state_module
from jitsudo.daemon.identity import load_identity
from jitsudo.daemon.people import People
from jitsudo.daemon.policyloading import PolicyLoading
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import Denied, Failed, PolicyInvalid, WrongState
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.hostfile import load_host
from jitsudo.host.journal import Journal
from jitsudo.host.journalfeed import CURSOR
from jitsudo.host.redaction import Redactor
from jitsudo.policy.verdict import Host
from jitsudo.types import Moment, Person, Uid, UserName

ROOT = Person(Uid(0), UserName("root"), None)
GOOD = """version: 1
roles:
  web:
    description: Look at the web server
    who: ["user:nobody"]
    request: {max_duration: 1h, default_duration: 10m, approvals: 0}
    allow:
      - command: /usr/bin/id
"""
BETTER = GOOD.replace("Look at", "Watch")


def opened(folder: Path) -> DaemonState:
    identity = load_identity(folder)
    return DaemonState(folder, identity, Journal(Redactor(identity.redaction_key)), People(SystemAccounts()), Host("h", {}))


def with_state(folder: Path, test: Callable[[DaemonState], Awaitable[None]]) -> None:
    async def run() -> None:
        state = opened(folder)
        try:
            await test(state)
        finally:
            state.ledger.close()
            state.people.close()

    asyncio.run(run())


async def heartbeat(state: DaemonState) -> None:
    await state.record(state.now(), state.journal.heartbeat())


def tamper(state: DaemonState, *statements: str) -> None:
    connection = sqlite3.connect(state.ledger.path, isolation_level=None)
    for statement in ("DROP TRIGGER no_update", "DROP TRIGGER no_delete", *statements):
        connection.execute(statement)
    connection.close()


def types(state: DaemonState) -> list[str]:
    return [row.type for row in state.ledger.after(0, 1000)]


def test_a_damaged_ledger_is_put_aside_and_named_once(tmp_path: Path) -> None:
    """The daemon starts with nothing, and says so."""

    async def before(state: DaemonState) -> None:
        for _ in range(3):
            await heartbeat(state)
        tamper(state, "UPDATE events SET body = '{}  ' WHERE seq = 2")

    async def after(state: DaemonState) -> None:
        damage = state.take_damage()
        assert damage is not None
        assert "row 2 " in damage
        assert "ledger.db.damaged-" in damage
        assert state.take_damage() is None
        assert state.ledger.size == 0
        await heartbeat(state)

    with_state(tmp_path, before)
    with_state(tmp_path, after)


FORGED = {
    "an event about nothing": ("grant.returned", '{"grant":"G-AAAAAAAA","by":"x"}'),
    "a body that is a list": ("heartbeat", "[]"),
    "a body that is no JSON": ("heartbeat", "{"),
    "a grant that is none": ("grant.issued", '{"envelope":"x","standing":true}'),
    "a session without a name": ("session.started", "{}"),
    "an id that is none": ("request.cancelled", '{"request":"../..","by":"x"}'),
}


@pytest.mark.parametrize(("kind", "body"), FORGED.values(), ids=FORGED.keys())
def test_a_row_that_makes_no_sense_is_damage_even_if_its_hash_fits(tmp_path: Path, kind: str, body: str) -> None:
    """Whoever can write the file can compute a hash."""
    from jitsudo.host.ledger import _hash

    async def before(state: DaemonState) -> None:
        await heartbeat(state)
        last = state.ledger.after(0, 1)[0]
        digest = _hash(last.hash, 2, 5, "b", kind, body)
        connection = sqlite3.connect(state.ledger.path, isolation_level=None)
        connection.execute("INSERT INTO events VALUES (2, 5, 'b', ?, ?, ?, ?)", (kind, body, last.hash, digest))
        connection.close()

    async def after(state: DaemonState) -> None:
        damage = state.take_damage()
        assert damage is not None
        assert "row 2 " in damage

    with_state(tmp_path, before)
    with_state(tmp_path, after)


def test_rows_cut_off_after_journald_got_them_are_missed(tmp_path: Path) -> None:
    """A truncated ledger is a chain that holds; what was sent on tells."""

    async def before(state: DaemonState) -> None:
        for _ in range(4):
            await heartbeat(state)
        state.ledger.mark(CURSOR, 4)
        state.ledger.flush()
        tamper(state, "DELETE FROM events WHERE seq > 2")

    async def after(state: DaemonState) -> None:
        damage = state.take_damage()
        assert damage is not None
        assert "rows after 2 of the ledger are missing" in damage

    with_state(tmp_path, before)
    with_state(tmp_path, after)


def test_a_failure_to_write_denies_until_the_ledger_was_opened_anew(tmp_path: Path) -> None:
    """And what was not durable is forgotten, as its caller was told."""

    async def test(state: DaemonState) -> None:
        await heartbeat(state)
        blocker = sqlite3.connect(state.ledger.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Failed, match="nothing is allowed"):
            await heartbeat(state)
        with pytest.raises(Failed):
            await heartbeat(state)
        state.note(state.now(), state.journal.heartbeat())  # not raised, and not recorded
        blocker.execute("ROLLBACK")
        blocker.close()
        failed = state.ledger
        state.reopen()
        assert state.ledger is not failed
        assert state.take_damage() is None
        assert state.ledger.size == 1
        await heartbeat(state)
        assert state.ledger.size == 2

    with_state(tmp_path, test)


def test_a_ledger_that_cannot_be_opened_again_yet_stays_failed_and_is_not_put_aside(tmp_path: Path) -> None:
    """The disk is still full: nothing is lost, nothing is allowed, and the next try may succeed."""

    async def test(state: DaemonState) -> None:
        await heartbeat(state)
        blocker = sqlite3.connect(state.ledger.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Failed):
            await heartbeat(state)
        blocker.execute("ROLLBACK")
        blocker.close()
        os.rename(tmp_path / "ledger.db", tmp_path / "hidden")
        (tmp_path / "ledger.db").mkdir()  # cannot be opened as a file
        for _ in range(2):
            with pytest.raises(Failed):
                state.reopen()
            with pytest.raises(Failed):
                await heartbeat(state)
        (tmp_path / "ledger.db").rmdir()
        os.rename(tmp_path / "hidden", tmp_path / "ledger.db")
        state.reopen()
        assert state.ledger.size == 1
        assert not list(tmp_path.glob("*.damaged-*"))

    with_state(tmp_path, test)


def test_damage_found_while_running_is_reported_too(tmp_path: Path) -> None:
    """Changed under the daemon, then opened anew."""

    async def test(state: DaemonState) -> None:
        for _ in range(3):
            await heartbeat(state)
        tamper(state, "UPDATE events SET time = 1 WHERE seq = 3", "UPDATE events SET hash = prev WHERE seq = 3")
        with pytest.raises(Failed, match="changed under the daemon"):
            await heartbeat(state)
        state.reopen()
        damage = state.take_damage()
        assert damage is not None
        assert "row 3 " in damage

    with_state(tmp_path, test)


def test_a_disk_that_hangs_is_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for a record."""
    monkeypatch.setattr(state_module, "RECORD_SECONDS", 0.1)

    async def test(_state: DaemonState) -> None:
        with pytest.raises(Failed, match="not written within"):
            await DaemonState.durable(asyncio.get_running_loop().create_future())

    with_state(tmp_path, test)


def test_what_is_in_force_is_on_record_even_where_the_next_event_is_impossible(tmp_path: Path) -> None:
    """Several events at once: memory and ledger never differ."""

    async def test(state: DaemonState) -> None:
        with pytest.raises(WrongState):
            await state.record(
                state.now(), state.journal.heartbeat(), state.journal.grant_expired("G-AAAAAAAA"), state.journal.heartbeat()
            )
        await heartbeat(state)
        assert types(state) == ["heartbeat", "heartbeat"]
        assert state.ledger.failure is None

    with_state(tmp_path, test)


def test_a_clock_set_back_denies_across_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The believed time is kept with the events."""
    real = state_module.read_clocks()

    async def before(state: DaemonState) -> None:
        await heartbeat(state)

    async def after(state: DaemonState) -> None:
        with pytest.raises(Denied, match="set back"):
            state.trusted_now()
        state.clock.accept(state.now())
        assert state.trusted_now().wall == real.wall - 86_400

    with_state(tmp_path, before)
    monkeypatch.setattr(state_module, "read_clocks", lambda: Moment(real.wall - 86_400, real.boot + 10))
    with_state(tmp_path, after)


def test_a_change_wakes_everybody_who_waits(tmp_path: Path) -> None:
    """Each of them, once."""

    async def test(state: DaemonState) -> None:
        waiting = [asyncio.ensure_future(state.change()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await heartbeat(state)
        async with asyncio.timeout(30):
            await asyncio.gather(*waiting[1:])

    with_state(tmp_path, test)


# Keys.


def test_keys_are_made_once_for_root_alone(tmp_path: Path) -> None:
    """The second start reads the same."""
    first, second = load_identity(tmp_path), load_identity(tmp_path)
    assert first.key.fingerprint == second.key.fingerprint
    assert first.redaction_key == second.redaction_key
    assert len(first.redaction_key) == 32
    for name in ("host_key", "redaction_key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "host_key.pub").read_text().startswith("ssh-ed25519 ")


def change_mode(path: Path) -> None:
    path.chmod(0o640)


def make_link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("name", ["host_key", "redaction_key"])
@pytest.mark.parametrize("spoil", [change_mode, make_link, make_folder, empty, cut])
def test_a_key_that_others_could_have_touched_is_refused(tmp_path: Path, name: str, spoil: Callable[[Path], None]) -> None:
    """Never replaced in silence: a new key makes all grants void, and an empty one redacts nothing."""
    load_identity(tmp_path)
    spoil(tmp_path / name)
    with pytest.raises(Failed, match=name):
        load_identity(tmp_path)


# Policy.


def loading(state: DaemonState, folder: Path) -> PolicyLoading:
    return PolicyLoading(state, folder, check_owner=False)


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policy.d"
    folder.mkdir()
    (folder / "web.yaml").write_text(GOOD)
    return folder


def role(state: DaemonState) -> str:
    return next(iter(state.require_policy().policy.roles.values())).description


def test_a_good_policy_is_put_in_force_and_on_record(tmp_path: Path, policies: Path) -> None:
    """At the start, and by reload, which says who did it."""

    async def test(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()
        assert role(state) == "Look at the web server"
        (policies / "web.yaml").write_text(BETTER)
        before = state.require_policy().digest
        loaded = await loading(state, policies).reload(ROOT)
        assert role(state) == "Watch the web server"
        assert loaded.digest != before
        assert types(state)[-2:] == ["policy.loaded", "policy.changed"]
        assert state.policy_problem is None

    with_state(tmp_path, test)


@pytest.mark.parametrize("broken", ["version: 1\nroles: [", "version: 2\n", "\t", "\x00", "a: &a [*a]", "roles: {}", ""])
def test_a_broken_policy_changes_nothing_but_the_record(tmp_path: Path, policies: Path, broken: str) -> None:
    """The last good one stays in force, now and after a restart."""

    async def test(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()
        (policies / "web.yaml").write_text(broken)
        with pytest.raises(PolicyInvalid) as caught:
            await loading(state, policies).reload(ROOT)
        assert caught.value.issues
        assert role(state) == "Look at the web server"
        assert state.policy_problem is not None
        await heartbeat(state)
        assert types(state)[-2] == "policy.refused"

    async def restarted(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()
        assert role(state) == "Look at the web server"
        assert state.policy_problem is not None
        (policies / "web.yaml").write_text(GOOD)
        await loading(state, policies).reload(ROOT)
        assert state.policy_problem is None

    with_state(tmp_path, test)
    with_state(tmp_path, restarted)


def test_without_a_policy_ever_nobody_is_allowed_and_the_reason_is_said(tmp_path: Path, policies: Path) -> None:
    """Fail closed."""
    (policies / "web.yaml").write_text("nonsense")

    async def test(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()
        with pytest.raises(Denied, match="no policy is in force"):
            state.require_policy()

    with_state(tmp_path, test)


@pytest.mark.parametrize("spoil", ["alter", "remove", "empty"])
def test_a_kept_copy_that_is_broken_is_not_used(tmp_path: Path, policies: Path, spoil: str) -> None:
    """Both are broken: none is in force, and the daemon runs."""

    async def first(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()

    async def second(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()
        with pytest.raises(Denied):
            state.require_policy()

    with_state(tmp_path, first)
    kept = tmp_path / "policy" / "web.yaml"
    assert kept.read_text() == GOOD
    (policies / "web.yaml").write_text("nonsense")
    if spoil == "remove":
        kept.unlink()
    else:
        kept.write_text("" if spoil == "empty" else "nonsense")
    with_state(tmp_path, second)


def test_a_crash_while_the_copy_is_exchanged_leaves_the_one_before(tmp_path: Path, policies: Path) -> None:
    """Between the two renames there is no copy under its own name."""

    async def first(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()

    async def second(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()
        assert role(state) == "Look at the web server"

    with_state(tmp_path, first)
    os.rename(tmp_path / "policy", tmp_path / ".policy.old")
    (policies / "web.yaml").write_text("nonsense")
    with_state(tmp_path, second)


def test_a_copy_that_cannot_be_kept_does_not_keep_the_policy_from_being_in_force(
    tmp_path: Path, policies: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and that is all."""
    (tmp_path / ".policy.new").write_text("in the way")

    async def test(state: DaemonState) -> None:
        await loading(state, policies).load_at_start()
        assert role(state) == "Look at the web server"
        assert "could not be kept" in caplog.text

    with_state(tmp_path, test)


# host.yaml.


def host(folder: Path, text: str | None) -> Any:
    if text is not None:
        (folder / "host.yaml").write_text(text)
    return load_host(folder, check_owner=False)


def test_without_a_file_the_host_has_the_kernels_name_and_no_labels(tmp_path: Path) -> None:
    """CVE-2025-32462: the host is who the host is."""
    assert host(tmp_path, None) == Host(os.uname().nodename, {})


def test_name_and_labels_come_from_the_file(tmp_path: Path) -> None:
    """Each may be left out."""
    assert host(tmp_path, "name: web-01\nlabels: {env: prod, tier: web}\n") == Host("web-01", {"env": "prod", "tier": "web"})
    assert host(tmp_path, "labels: {env: prod}\n") == Host(os.uname().nodename, {"env": "prod"})


WRONG_HOSTS = ["[]", "nome: x", "name: [x]", "labels: x", "labels: {a: [b]}", "name: a\nname: b", "{", "\x00",
               "name: &a x\nlabels: {y: *a}", "labels: {a: b, a: c}", "name: !!python/object:os.system x"]  # fmt: skip


@pytest.mark.parametrize("text", WRONG_HOSTS)
def test_a_host_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    """A label that is not there would open or close roles."""
    with pytest.raises(PolicyInvalid) as caught:
        host(tmp_path, text)
    assert all(issue.startswith("host.yaml:") for issue in caught.value.issues)
