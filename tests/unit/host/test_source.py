"""Where logins come from: a /proc of the test's own, with the processes that a machine has, and those that somebody fakes."""

from __future__ import annotations

import ipaddress
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jitsudo.host import source as module
from jitsudo.host.netlink import Address, TcpSocket
from jitsudo.host.source import TRIES, Sources
from jitsudo.policy.verdict import Source

UNSET = 4_294_967_295
LOGIN = 7  # the number of alice's login
FAR = ipaddress.ip_address("192.0.2.7")
ANY = ipaddress.IPv4Address(0)
HERE = ipaddress.ip_address("192.0.2.1")
TTY1, SERIAL, HYPERVISOR, PTS = os.makedev(4, 1), os.makedev(4, 64), os.makedev(229, 0), os.makedev(136, 0)
SSHD, SHELL = "/usr/sbin/sshd", "/usr/bin/bash"


@dataclass
class Machine:
    """A /proc, logind's files, and a kernel that is asked for sockets."""

    root: Path
    sockets: list[TcpSocket] = field(default_factory=list)
    asked: int = 0
    programs: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "proc").mkdir()
        (self.root / "logind").mkdir()
        self.process(1, 0, "/usr/lib/systemd/systemd", session=UNSET)
        self.process(30, 1, SSHD, session=UNSET)

    def process(
        self,
        pid: int,
        parent: int,
        program: str,
        *,
        session: int = LOGIN,
        uids: str = "0 0 0 0",
        terminal: int = 0,
        start: int = 100,
        inodes: tuple[int, ...] = (),
    ) -> None:
        folder = self.root / "proc" / str(pid)
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "fd").mkdir(parents=True)
        rest = ["0"] * 40
        rest[0], rest[1], rest[4], rest[19] = "S", str(parent), str(terminal), str(start)
        (folder / "stat").write_text(f"{pid} (a) b) {' '.join(rest)}\n")
        (folder / "status").write_text(f"Name:\tx\nUid:\t{uids}\nGid:\t0 0 0 0\n")
        (folder / "sessionid").write_text(str(session))
        (folder / "exe").symlink_to(program)
        for number, inode in enumerate(inodes):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
        (folder / "fd" / "9").symlink_to("/dev/null")

    def ssh_login(self, *, peer: Address = FAR, person: str = "1000 1000 1000 1000") -> None:
        """sshd's root process 40, its unprivileged one 41, a shell 42 and sudo 43; one connection."""
        self.process(40, 30, SSHD, inodes=(501,))
        self.process(41, 40, SSHD, uids=person, inodes=(501,))
        self.process(42, 41, SHELL, uids=person, terminal=PTS)
        self.process(43, 42, "/usr/bin/sudo", uids="1000 0 0 0", terminal=PTS)
        self.connection(501, peer)

    def connection(self, inode: int, peer: Address, port: int = 22, *, listening: bool = False, uid: int = 0) -> None:
        self.sockets.append(TcpSocket(inode, uid, listening, port, peer))

    def end(self, pid: int) -> None:
        (self.root / "proc" / str(pid)).rename(self.root / f"ended-{pid}")

    def sources(self) -> Sources:
        def listed() -> list[TcpSocket]:
            self.asked += 1
            return self.sockets

        return self.sources_by(listed)

    def sources_by(self, sockets: Callable[[], list[TcpSocket]]) -> Sources:
        folders = (self.root / "proc", self.root / "logind")
        return Sources(*folders, sockets, lambda address: address == HERE, facts_of_program)

    def find(self, pid: int = 43) -> Source:
        return self.sources().find(pid)


def facts_of_program(link: Path) -> os.stat_result:
    """Programs in /usr are root's own, wherever this test runs."""
    target = os.readlink(link)
    mode, uid = 0o100775 if "loose" in target else 0o100755, 0 if target.startswith("/usr/") else 1000
    return os.stat_result((mode, 1, 1, 1, uid, 0, 0, 0, 0, 0))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def why(source: Source) -> str:
    assert source.address is None
    return source.why_unknown


def test_an_ssh_login_comes_from_the_peer_of_its_sshd(machine: Machine) -> None:
    """For every process of the session, sshd's own among them."""
    machine.ssh_login()
    assert [machine.find(pid).address for pid in (43, 42, 41, 40)] == ["192.0.2.7"] * 4


@pytest.mark.parametrize("program", ["/usr/sbin/sshd (deleted)", "/usr/lib/openssh/sshd-session", "/usr/bin/sshd-session"])
def test_sshd_is_known_by_all_its_names(machine: Machine, program: str) -> None:
    """Newer ones split it; an upgrade replaces the file under those that run."""
    machine.ssh_login()
    machine.process(40, 30, program, inodes=(501,))
    assert machine.find().address == "192.0.2.7"


def test_what_left_its_login_is_still_of_it(machine: Machine) -> None:
    """tmux and screen: their server's parent is PID 1, the login goes on."""
    machine.ssh_login()
    machine.process(60, 1, "/usr/bin/tmux", uids="1000 1000 1000 1000")
    machine.process(61, 60, SHELL, uids="1000 1000 1000 1000")
    assert machine.find(61).address == "192.0.2.7"


def test_what_outlived_its_login_is_unknown(machine: Machine) -> None:
    """tmux again, and mosh: nobody knows who is attached to it now; whatever new login there is."""
    machine.ssh_login()
    machine.process(61, 1, SHELL, uids="1000 1000 1000 1000")
    sources = machine.sources()
    assert sources.find(61).address == "192.0.2.7"
    for pid in (40, 41, 42, 43):
        machine.end(pid)
    expected = "the connection or console of this login has gone, or it was none (cron, at, a service)"
    assert why(sources.find(61)) == expected
    machine.process(40, 30, SSHD, session=8, inodes=(501,), start=200)
    assert why(sources.find(61)) == expected


def test_a_pid_that_another_login_got_is_not_this_one(machine: Machine) -> None:
    """What is remembered is remembered of a process, not of a number."""
    machine.ssh_login()
    sources = machine.sources()
    assert sources.find(43).address == "192.0.2.7"
    machine.sockets.clear()
    machine.connection(501, ipaddress.ip_address("198.51.100.9"))
    assert sources.find(43).address == "192.0.2.7"
    machine.process(40, 30, SSHD, start=101, inodes=(501,))
    assert sources.find(43).address == "198.51.100.9"


def test_a_login_is_looked_up_once(machine: Machine) -> None:
    """The peer of a connection never changes."""
    machine.ssh_login()
    sources = machine.sources()
    assert {sources.find(43).address for _ in range(5)} == {"192.0.2.7"}
    assert machine.asked == 1


def test_a_login_that_ends_while_it_is_looked_at_is_unknown(machine: Machine) -> None:
    """Its descriptors may be another process's."""
    machine.ssh_login()

    def sockets() -> list[TcpSocket]:
        machine.process(40, 30, SSHD, start=999)
        return machine.sockets

    sources = machine.sources_by(sockets)
    assert why(sources.find(43)) == "the login's connection ended just now"


def test_a_peer_that_is_this_host_is_unknown(machine: Machine) -> None:
    """Whoever logs in to the host from itself hides where they are."""
    machine.ssh_login(peer=HERE)
    assert why(machine.find()) == "the login comes from 192.0.2.1, an address of this host itself"


def test_without_a_login_it_is_unknown(machine: Machine) -> None:
    """Services, and whatever PID 1 itself is part of, as in a container that somebody started by hand."""
    machine.process(50, 1, "/usr/bin/python3", session=UNSET)
    expected = "the process belongs to no login session, as those of cron and of services do not"
    assert why(machine.find(50)) == expected
    machine.process(1, 0, "/usr/lib/systemd/systemd", session=LOGIN)
    machine.process(50, 1, "/usr/bin/python3", session=LOGIN)
    assert why(machine.find(50)) == expected


def test_a_process_that_has_gone_is_unknown(machine: Machine) -> None:
    """Before anything was read, or between two readings."""
    assert "belongs to no login" in why(machine.find(999))
    (machine.root / "proc" / "999").mkdir()
    (machine.root / "proc" / "999" / "sessionid").write_text(str(LOGIN))
    assert why(machine.find(999)) == "the process has ended"


def test_a_job_of_cron_is_unknown(machine: Machine) -> None:
    """It has a number, but nobody at the other end."""
    machine.process(50, 31, "/usr/sbin/cron")
    machine.process(51, 50, SHELL, uids="1000 1000 1000 1000")
    assert "(cron, at, a service)" in why(machine.find(51))


def test_a_process_of_the_persons_own_systemd_is_unknown(machine: Machine) -> None:
    """All their logins share it."""
    machine.ssh_login()
    machine.process(70, 1, "/usr/lib/systemd/systemd", session=8, uids="1000 1000 1000 1000")
    machine.process(71, 70, SHELL, session=8, uids="1000 1000 1000 1000")
    assert why(machine.find(71)) == "the process was started by the person's own systemd, which all their logins share"


# -- what people fake ------------------------------------------------------------------------------------------------


FAKES = {
    "an sshd of the person's own": {"uids": "1000 1000 1000 1000"},
    "a setuid program": {"uids": "1000 0 0 0"},
    "root by saved uid only": {"uids": "0 0 0 1000"},
    "a program of another name": {"program": "/usr/bin/nc"},
    "a program of that name elsewhere": {"program": "/usr/local/sbin/sshd"},
    "a program that others may write": {"program": "/usr/sbin/loose/sshd"},
    "another session": {"session": 8},
}


@pytest.mark.parametrize("fake", FAKES.values(), ids=FAKES.keys())
def test_what_is_not_roots_own_sshd_of_this_login_lets_nobody_in(machine: Machine, fake: dict[str, object]) -> None:
    """Its connection says nothing about the login, whatever its peer."""
    machine.process(40, 30, **{"program": SSHD, "inodes": (501,), **fake})  # type: ignore[arg-type]
    machine.process(42, 40, SHELL, uids="1000 1000 1000 1000")
    machine.connection(501, FAR)
    assert "192" not in why(machine.find(42))


def test_an_sshd_that_was_started_within_a_login_does_not_say_where_one_comes_from(machine: Machine) -> None:
    """By root, even: whoever may run one as root would choose their source by it."""
    machine.process(35, 1, SSHD, session=6)
    machine.process(40, 35, SSHD, inodes=(501,))
    machine.process(42, 40, SHELL, uids="1000 1000 1000 1000")
    machine.connection(501, FAR)
    assert why(machine.find(42)).startswith("another ssh server (sshd, process 40)")


def test_two_that_may_have_let_the_person_in_are_none(machine: Machine) -> None:
    """An sshd that somebody started as root within the login and that went its own way."""
    machine.ssh_login()
    machine.process(80, 1, SSHD, inodes=(502,))
    machine.connection(502, ipaddress.ip_address("10.20.0.5"))
    machine.process(61, 1, SHELL, uids="1000 1000 1000 1000")
    assert why(machine.find(61)) == "several processes may have let the person in"
    assert machine.find(43).address == "192.0.2.7"


@pytest.mark.parametrize("server", ["/usr/sbin/sshd", "/home/alice/sshd-mine", "/usr/sbin/dropbear"])
@pytest.mark.parametrize("parent", [1, 42])
def test_an_ssh_server_of_the_persons_own_in_between_is_unknown(machine: Machine, server: str, parent: int) -> None:
    """Whoever sits behind that one is not who logged in; the login itself stays what it is."""
    machine.ssh_login()
    machine.process(90, parent, server, uids="1000 1000 1000 1000", inodes=(503,))
    machine.process(91, 90, SHELL, uids="1000 1000 1000 1000")
    machine.connection(503, ipaddress.ip_address("10.20.0.5"))
    name = os.path.basename(server)
    sources = machine.sources()
    assert why(sources.find(91)) == f"another ssh server ({name}, process 90) stands between the login and this command"
    assert sources.find(43).address == "192.0.2.7"
    assert why(sources.find(91)).startswith("another ssh server")


# -- connections -----------------------------------------------------------------------------------------------------


def test_a_connection_that_a_module_of_sshd_made_is_not_the_persons(machine: Machine) -> None:
    """To a directory, say: the person's came to a port on which root listens."""
    machine.ssh_login()
    machine.process(40, 30, SSHD, inodes=(501, 502))
    machine.connection(502, ipaddress.ip_address("10.0.0.1"), port=45_000)
    machine.connection(600, ANY, listening=True)
    machine.connection(601, ANY, port=45_000, listening=True, uid=1000)
    assert machine.find().address == "192.0.2.7"


def test_connections_that_cannot_be_told_apart_are_unknown(machine: Machine) -> None:
    """Nothing is guessed."""
    machine.ssh_login()
    machine.process(40, 30, SSHD, inodes=(501, 502))
    machine.connection(502, ipaddress.ip_address("10.20.0.5"))
    machine.connection(600, ANY, listening=True)
    assert "is not the only one" in why(machine.find())


def test_two_connections_from_one_address_come_from_there(machine: Machine) -> None:
    """It is the address that counts."""
    machine.ssh_login()
    machine.process(40, 30, SSHD, inodes=(501, 502))
    machine.connection(502, FAR, port=45_000)
    assert machine.find().address == "192.0.2.7"


def test_a_connection_that_the_kernel_left_out_is_looked_for_again_and_not_for_ever(machine: Machine) -> None:
    """A listing is not a snapshot; a connection that has ended never comes back, and that is not remembered."""
    machine.ssh_login()
    listing = machine.sockets
    machine.sockets = []
    sources = machine.sources()
    assert "has ended" in why(sources.find(43))
    assert machine.asked == TRIES
    machine.sockets = listing
    assert sources.find(43).address == "192.0.2.7"


def test_a_kernel_that_does_not_answer_is_no_source(machine: Machine) -> None:
    """Whatever it was."""
    machine.ssh_login()

    def silent() -> list[TcpSocket]:
        raise TimeoutError("timed out")

    sources = machine.sources_by(silent)
    assert why(sources.find(43)) == "looking it up failed: timed out"


def test_a_proc_that_makes_no_sense_is_no_source(machine: Machine) -> None:
    """Never an exception."""
    machine.ssh_login()
    (machine.root / "proc" / "43" / "sessionid").write_text("seven")
    assert "looking it up failed" in why(machine.find())


def test_too_many_processes_are_not_looked_through_for_ever(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody waits."""
    machine.ssh_login()
    machine.process(61, 1, SHELL, uids="1000 1000 1000 1000")
    monkeypatch.setattr(module, "SECONDS", -1.0)
    assert why(machine.find(61)) == "there are too many processes to look through in time"
    assert machine.find(43).address == "192.0.2.7"


def test_what_is_remembered_is_bounded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins come and go for years."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    machine.ssh_login()
    sources = machine.sources()
    for number in range(100, 110):
        machine.process(number, 1, SHELL, session=number, uids="1000 1000 1000 1000")
        sources.find(number)
    assert len(sources._remembered) <= 3
    assert sources.find(43).address == "192.0.2.7"


# -- consoles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("terminal", "address"), [(TTY1, "local"), (SERIAL, "local"), (HYPERVISOR, "local"), (PTS, None)])
def test_a_login_on_the_machines_own_terminal_is_local(machine: Machine, terminal: int, address: str | None) -> None:
    """login(1) has let go of it; the shell has it. A pseudo-terminal may be anybody's."""
    machine.process(50, 1, "/usr/bin/login")
    machine.process(51, 50, SHELL, uids="1000 1000 1000 1000", terminal=terminal)
    machine.process(52, 51, "/usr/bin/sudo", uids="1000 0 0 0", terminal=PTS)
    found = machine.find(52)
    assert found.address == address
    assert (found.why_unknown == "") == (address is not None)


def test_a_login_that_was_started_within_another_is_not_local(machine: Machine) -> None:
    """`sudo login` on somebody's terminal."""
    machine.process(49, 1, SHELL, session=6)
    machine.process(50, 49, "/usr/bin/login")
    machine.process(51, 50, SHELL, uids="1000 1000 1000 1000", terminal=TTY1)
    assert "(cron, at, a service)" in why(machine.find(51))


SEATS = {
    "on a seat": ("LEADER=50\nREMOTE=0\nSEAT=seat0\n", "local"),
    "without a seat": ("LEADER=50\nREMOTE=0\n", None),
    "from elsewhere": ("LEADER=50\nREMOTE=1\nSEAT=seat0\n", None),
    "of another process": ("LEADER=51\nREMOTE=0\nSEAT=seat0\n", None),
}


@pytest.mark.parametrize(("text", "address"), SEATS.values(), ids=SEATS.keys())
def test_a_login_by_a_display_manager_is_local_on_a_seat(machine: Machine, text: str, address: str | None) -> None:
    """As logind has it of the display manager's own process."""
    machine.process(50, 31, "/usr/libexec/gdm-session-worker")
    machine.process(51, 50, SHELL, uids="1000 1000 1000 1000")
    (machine.root / "logind" / str(LOGIN)).write_text("# This is private data. Do not parse.\n" + text)
    assert machine.find(51).address == address


def test_an_ssh_login_that_calls_itself_a_seats_is_none(machine: Machine) -> None:
    """Where a person's own PAM environment is read, XDG_SEAT is what they say (CVE-2025-6018)."""
    machine.ssh_login()
    (machine.root / "logind" / str(LOGIN)).write_text("LEADER=40\nREMOTE=0\nSEAT=seat0\n")
    assert machine.find().address == "192.0.2.7"


def test_a_display_that_logind_does_not_know_is_unknown(machine: Machine) -> None:
    """No file, no seat."""
    machine.process(50, 31, "/usr/libexec/gdm-session-worker")
    assert "looking it up failed" in why(machine.find(50))


# Before there is a login session.


def test_who_is_at_the_door_of_sshd_comes_from_its_connection(machine: Machine) -> None:
    """Before the login has a number, and after; over loopback it is not known."""
    machine.process(40, 30, SSHD, session=UNSET, inodes=(501,))
    machine.connection(501, FAR)
    assert machine.sources().at_the_door(40).address == "192.0.2.7"
    machine.process(40, 30, SSHD, inodes=(501,))
    assert machine.sources().at_the_door(40).address == "192.0.2.7"
    machine.sockets.clear()
    machine.connection(501, HERE)
    assert "an address of this host itself" in why(machine.sources().at_the_door(40))


def test_who_is_at_the_door_of_login_is_at_the_console_if_its_terminal_is_one(machine: Machine) -> None:
    """On any other terminal that is not known."""
    machine.process(40, 1, "/usr/bin/login", session=UNSET, terminal=TTY1)
    assert machine.sources().at_the_door(40).address == "local"
    machine.process(40, 1, "/usr/bin/login", session=UNSET, terminal=PTS)
    assert "/usr/bin/login does not show" in why(machine.sources().at_the_door(40))


def test_only_roots_own_programs_have_a_door(machine: Machine) -> None:
    """Not somebody's sshd, not one that was started from a login, not cron, not what has ended, and never an exception."""
    machine.connection(501, FAR)
    machine.process(40, 30, SSHD, session=UNSET, uids="1000 0 0 0", inodes=(501,))
    assert "not root's program" in why(machine.sources().at_the_door(40))
    machine.process(42, 41, SHELL)
    machine.process(40, 42, SSHD, inodes=(501,))
    assert "started from somebody's login" in why(machine.sources().at_the_door(40))
    machine.process(40, 30, "/home/alice/sshd", session=UNSET, inodes=(501,))
    assert "this program does not show" in why(machine.sources().at_the_door(40))
    assert "not root's program" in why(machine.sources().at_the_door(99))
    machine.process(40, 30, SSHD, session=UNSET, inodes=(501,))
    (machine.root / "proc" / "40" / "sessionid").write_text("x")
    (machine.root / "proc" / "30" / "sessionid").write_text("x")
    assert "looking it up failed" in why(machine.sources().at_the_door(40))
