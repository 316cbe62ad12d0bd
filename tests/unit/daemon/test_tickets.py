"""Tickets: for one place, by the boot clock, of this boot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.daemon import tickets as module
from jitsudo.daemon.tickets import MAX_TICKETS, MAX_TICKETS_A_UID, Place, Proof, Tickets, place_of
from jitsudo.errors import Failed
from jitsudo.host.peer import read_status
from jitsudo.types import Moment, Uid

BOOT = "0123456789abcdef0123456789abcdef"
HERE = Place(Uid(1000), 10, 100, 34816)
NO_TERMINAL = Place(Uid(1000), 10, 100, 0, (20, 200))


def at(boot: float, wall: int = 1_800_000_000) -> Moment:
    return Moment(wall=wall, boot=boot)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tickets"


def test_age_is_counted_by_the_boot_clock_alone() -> None:
    """Whatever the wall clock is set to."""
    tickets = Tickets(None, BOOT)
    tickets.update(HERE, "password", at(50.0))
    assert tickets.age(HERE, "password", at(50.0)) == 0
    assert tickets.age(HERE, "password", at(109.9, wall=0)) == 59
    assert tickets.age(HERE, "password", at(110.0, wall=4_000_000_000)) == 60


def test_a_ticket_from_the_future_is_none() -> None:
    """A file that somebody wrote cannot make a proof last."""
    tickets = Tickets(None, BOOT)
    tickets.update(HERE, "password", at(50.0))
    assert tickets.age(HERE, "password", at(49.9)) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(HERE, uid=Uid(1001)),
        replace(HERE, sid=11),
        replace(HERE, leader_start=101),
        replace(HERE, terminal=34817),
        NO_TERMINAL,
        replace(NO_TERMINAL, parent=(21, 200)),
        replace(NO_TERMINAL, parent=(20, 201)),
    ],
)
def test_a_ticket_of_one_place_is_none_of_another(other: Place) -> None:
    """Another person, session, leader, terminal, parent."""
    tickets = Tickets(None, BOOT)
    tickets.update(NO_TERMINAL if other != NO_TERMINAL and not other.terminal else HERE, "password", at(1))
    assert tickets.age(other, "password", at(2)) is None


def test_a_password_is_no_agents_proof() -> None:
    """Nor the other way round."""
    tickets = Tickets(None, BOOT)
    tickets.update(HERE, "password", at(1))
    assert tickets.age(HERE, "agent", at(2)) is None
    tickets.update(HERE, "agent", at(2))
    assert (tickets.age(HERE, "password", at(4)), tickets.age(HERE, "agent", at(4))) == (3, 2)


def test_nowhere_has_no_ticket(path: Path) -> None:
    """A place that could not be recognised again."""
    tickets = Tickets(path, BOOT)
    tickets.update(None, "password", at(1))
    assert tickets.age(None, "password", at(1)) is None
    tickets.invalidate(None)
    assert not path.exists()


def test_invalidate_is_for_the_place_and_remove_for_the_person(path: Path) -> None:
    """-k and -K, in the file too."""
    elsewhere, bobs = replace(HERE, terminal=1), replace(HERE, uid=Uid(1001))
    tickets = Tickets(path, BOOT)
    for place in (HERE, elsewhere, NO_TERMINAL, bobs):
        tickets.update(place, "password", at(1))
    tickets.update(HERE, "agent", at(1))
    tickets.invalidate(HERE)

    def left(of: Tickets) -> list[Place]:
        proofs: tuple[Proof, ...] = ("password", "agent")
        places = (HERE, elsewhere, NO_TERMINAL, bobs)
        return [p for p in places if any(of.age(p, proof, at(2)) is not None for proof in proofs)]

    assert left(tickets) == left(Tickets(path, BOOT)) == [elsewhere, NO_TERMINAL, bobs]
    tickets.remove(Uid(1000))
    assert left(tickets) == left(Tickets(path, BOOT)) == [bobs]


places = st.builds(
    Place,
    st.integers(0, 0xFFFF_FFFE).map(Uid),
    st.integers(0, 2**22),
    st.integers(0, 2**52),
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(0, 2**22), st.integers(0, 2**52)),
)


@given(st.dictionaries(st.tuples(places, st.sampled_from(["password", "agent"])), st.integers(0, 10**9), max_size=20))
def test_tickets_survive_the_daemon(made: dict[tuple[Place, Proof], int]) -> None:
    """What the file holds is what there was, to the millisecond."""
    given_at = {key: value / 1000 for key, value in made.items()}
    assert module._decode(module._encode(given_at, BOOT), BOOT) == given_at


def test_tickets_do_not_survive_a_boot(path: Path) -> None:
    """Another boot id: the clock began anew."""
    Tickets(path, BOOT).update(HERE, "password", at(1))
    assert Tickets(path, BOOT).age(HERE, "password", at(2)) == 1
    assert Tickets(path, BOOT[::-1]).age(HERE, "password", at(2)) is None


ROW = [1000, 10, 100, 34816, 0, 0, 0, 1000]
DAMAGED: dict[str, object] = {
    "not JSON": b"\0",
    "a list": [],
    "no boot": {"tickets": [ROW]},
    "more": {"boot": BOOT, "tickets": [ROW], "x": 1},
    "tickets an object": {"boot": BOOT, "tickets": {}},
    "a row of text": {"boot": BOOT, "tickets": ["x"]},
    "a short row": {"boot": BOOT, "tickets": [ROW[:-1]]},
    "a negative number": {"boot": BOOT, "tickets": [[-1, *ROW[1:]]]},
    "a Boolean": {"boot": BOOT, "tickets": [[True, *ROW[1:]]]},
    "no such proof": {"boot": BOOT, "tickets": [[*ROW[:6], 2, 1000]]},
    "no such uid": {"boot": BOOT, "tickets": [[0xFFFF_FFFF, *ROW[1:]]]},
    "too long": b"{" + b" " * module.MAX_FILE_BYTES,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_holds_no_tickets(name: str, path: Path) -> None:
    """And the next proof writes a good one."""
    content = DAMAGED[name]
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    path.chmod(0o600)
    tickets = Tickets(path, BOOT)
    assert tickets.age(HERE, "password", at(2)) is None
    tickets.update(HERE, "password", at(2))
    assert Tickets(path, BOOT).age(HERE, "password", at(2)) == 0


def test_the_file_is_for_its_owner_alone(path: Path, tmp_path: Path) -> None:
    """One that others could read or write, a link, a pipe: no tickets."""
    Tickets(path, BOOT).update(HERE, "password", at(1))
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tickets"]
    path.chmod(0o604)
    assert Tickets(path, BOOT).age(HERE, "password", at(2)) is None
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    assert Tickets(tmp_path / "link", BOOT).age(HERE, "password", at(2)) is None
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert Tickets(tmp_path / "pipe", BOOT).age(HERE, "password", at(2)) is None


def test_the_oldest_are_forgotten() -> None:
    """N a uid and N in all stay; one more takes the place of the oldest."""
    tickets = Tickets(None, BOOT)
    for sid in range(MAX_TICKETS_A_UID + 1):
        tickets.update(replace(HERE, sid=sid), "password", at(sid))
    assert tickets.age(replace(HERE, sid=0), "password", at(100)) is None
    assert tickets.age(replace(HERE, sid=1), "password", at(100)) == 99
    for uid in range(2000, 2000 + MAX_TICKETS):
        tickets.update(replace(HERE, uid=Uid(uid)), "password", at(100))
    assert tickets.age(replace(HERE, sid=MAX_TICKETS_A_UID), "password", at(100)) is None
    assert tickets.age(replace(HERE, uid=Uid(2000)), "password", at(100)) == 0


def test_a_proof_that_cannot_be_written_holds_until_the_restart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs a question more, nothing else."""
    tickets = Tickets(path, BOOT)
    monkeypatch.setattr(module.os, "open", no_space)
    tickets.update(HERE, "password", at(1))
    assert tickets.age(HERE, "password", at(2)) == 1


def no_space(*_given: object, **_named: object) -> int:
    raise OSError(28, "No space left on device")


def test_giving_back_what_cannot_be_written_lets_go_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ticket must not be back after a restart; where even that fails, it is said."""
    tickets = Tickets(path, BOOT)
    tickets.update(HERE, "password", at(1))
    with monkeypatch.context() as full:
        full.setattr(module.os, "open", no_space)
        tickets.invalidate(HERE)
    assert not path.exists()
    tickets.update(HERE, "password", at(1))
    monkeypatch.setattr(module.os, "open", no_space)
    monkeypatch.setattr(Path, "unlink", no_space)
    with pytest.raises(Failed, match="cannot be written"):
        tickets.remove(Uid(1000))
    assert tickets.age(HERE, "password", at(1)) is None


def test_the_place_is_the_kernels_word() -> None:
    """Session, leader and terminal or parent of a real process."""
    code = "import os,sys; os.setsid(); print(os.getpid(), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert int(child.stdout.readline()) == child.pid
        place = place_of(Uid(7), child.pid)
        child.communicate()
    assert place is not None
    assert (place.uid, place.sid, place.terminal, place.parent[0]) == (7, child.pid, 0, os.getpid())
    assert place_of(Uid(7), child.pid) is None


def test_a_terminal_makes_the_place() -> None:
    """With one, the parent does not matter."""
    main, follower = os.openpty()
    code = "import os,sys; print(os.getpid(), flush=True); sys.stdin.read()"
    setup = ["setsid", "--ctty", "--wait", sys.executable, "-c", code]
    with subprocess.Popen(setup, stdin=follower, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        place = place_of(Uid(7), pid)
        number = os.fstat(follower).st_rdev
        os.write(main, b"\x04")
    os.close(main)
    os.close(follower)
    assert place is not None
    assert (place.parent, place.terminal) == ((0, 0), number)


def test_a_leader_that_ended_leaves_no_place() -> None:
    """What cannot be recognised again gets no ticket."""
    code = (
        "import os,sys\n"
        "os.setsid()\n"
        "if os.fork():\n    os._exit(0)\n"
        "print(os.getpid(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert place_of(Uid(7), pid) is None  # the leader is a zombie
        child.wait()
        assert place_of(Uid(7), pid) is None  # and gone
        assert read_status(pid).session == child.pid
        child.communicate()


def test_where_the_leader_ended_a_parent_inside_the_session_makes_the_place() -> None:
    """As for a job that goes on in the background when its shell has gone; all below it are in one place."""
    code = (
        "import os,sys\n"
        "os.setsid()\n"
        "if os.fork():\n    os._exit(0)\n"
        "middle = os.getpid()\n"
        "down = [os.pipe() for _ in range(2)]\n"
        "children = []\n"
        "for read, _ in down:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        [os.close(write) for _, write in down]\n"
        "        os.read(read, 1)\n"
        "        os._exit(0)\n"
        "    children.append(child)\n"
        "print(middle, *children, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        middle, *below = map(int, child.stdout.readline().split())
        child.wait()
        places = [place_of(Uid(7), pid) for pid in below]
        child.communicate()
    assert places[0] is not None
    assert (places[0].sid, places[0].leader_start, places[0].terminal, places[0].parent[0]) == (child.pid, 0, 0, middle)
    assert places[0] == places[1]
