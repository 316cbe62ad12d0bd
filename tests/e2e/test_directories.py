"""Users and groups from a directory that is slow, dead or wrong: tests/nss is one, controlled by files on the host."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from acts import Journal, extra_policy, obtain, restart_daemon, until
from lab import UNTIL, Lab
from timing import hasten_daemon, timed

MODULE = Path(__file__).resolve().parents[1] / "nss"
FOLDER = "/run/jitsudotest"
SOON = 30  # seconds for what is there in a moment, on a busy machine, too

POLICY = """
version: 1
roles:
  on-call:
    description: Whoever the directory says is on call
    who: ["group:oncall"]
    request: none
    until: UNTIL
    authenticate: never
    allow: [{command: /usr/bin/true}]
  local:
    description: Whoever is in the host's own group
    who: ["group:web"]
    request: none
    until: UNTIL
    authenticate: never
    run_as: {users: [root, dora]}
    allow: [{command: /usr/bin/id, options: {"-u": flag, "-n": flag, "-G": flag}}, {command: /usr/bin/true}]
""".replace("UNTIL", UNTIL)

# NAME UID ENTRY; NAME GID ENTRY
USERS = "dora 3000 dora:*:3000:3000:Dora:/home/dora:/bin/bash"
GROUPS = """
dora 3000 dora:x:3000:
oncall 3100 oncall:x:3100:bob,dora
"""


@dataclass(frozen=True, slots=True)
class Directory:
    """The host, and what its directory says."""

    host: Lab

    def users(self, *lines: str) -> None:
        self.host.put(f"{FOLDER}/passwd", "\n".join((USERS, *lines)) + "\n")

    def groups(self, text: str = GROUPS) -> None:
        self.host.put(f"{FOLDER}/group", text.lstrip())

    def slow(self, *lines: str) -> None:
        """KEY MILLISECONDS or KEY dead, when the daemon asks; without lines, as quick as can be."""
        self.host.put(f"{FOLDER}/slow", "".join(f"{line} jitsudod\n" for line in lines))

    def sudo(self, *argv: str, user: str | None) -> tuple[subprocess.CompletedProcess[str], float]:
        """sudo in a session that was opened before, and how long it took."""
        return timed(self.host, "sudo", *argv, user=user, timeout=60)


@pytest.fixture(scope="module")
def built(furnished: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    folder = tmp_path_factory.mktemp("nss")
    subprocess.run(["make", "-s", "-C", MODULE, f"OUT={folder}"], check=True, capture_output=True)
    module = (folder / "libnss_jitsudotest.so.2").read_bytes()
    place = furnished.run("sh", "-c", "dirname /usr/lib/*/libc.so.6", check=True).stdout.strip()
    furnished.put(f"{place}/libnss_jitsudotest.so.2", module)
    directory = Directory(furnished)
    directory.users()
    directory.groups()
    before = furnished.get("/etc/nsswitch.conf")
    furnished.put("/etc/nsswitch.conf", re.sub(r"(?m)^(passwd|group):.*", r"\g<0> jitsudotest", before))
    furnished.run("install", "-d", "-o", "3000", "-g", "3000", "/home/dora", check=True)
    restart_daemon(furnished)
    try:
        with extra_policy(furnished, POLICY):
            yield directory
    finally:
        furnished.run("rm", "-rf", FOLDER, "/home/dora", f"{place}/libnss_jitsudotest.so.2")
        furnished.put("/etc/nsswitch.conf", before)
        restart_daemon(furnished)


@pytest.fixture
def directory(built: Directory, clean: Lab) -> Iterator[Directory]:
    """In order at the beginning of each test, and at its end; the daemon has forgotten what was slow before.

    It is not slowed down by the rest of the machine: an answer that took long is kept, and then it is not the latest.
    """
    restart_daemon(clean)
    hasten_daemon(clean)
    yield built
    built.slow()
    built.users()
    built.groups()


ASK = "from jitsudo.client import Client\nClient().call('Roles')\n"


@contextmanager
def opened(directory: Directory, user: str, program: str) -> Iterator[subprocess.Popen[str]]:
    """A session in which a program runs as soon as it reads a line; sudo and the lab have asked the directory by then."""
    mark = "/tmp/directories-opened"
    directory.host.run("rm", "-f", mark, check=True)
    script = f"import sys\nopen({mark!r}, 'x').close()\nsys.stdin.readline()\n{program}"
    session = directory.host.start("python3", "-I", "-c", script, user=user)
    try:
        until(lambda: directory.host.run("test", "-e", mark).returncode == 0, "the session is there", SOON)
        yield session
    finally:
        session.terminate()
        session.wait(timeout=SOON)


def assert_allowed(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, ""), done


def assert_refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 1, done
    assert words in done.stderr, done.stderr


def test_people_and_groups_of_a_directory_are_like_any(directory: Directory) -> None:
    """Somebody whom only the directory knows; somebody local whom it has in a group; a target of its own."""
    assert_allowed(directory.sudo("true", user="dora")[0])
    assert_allowed(directory.sudo("true", user="bob")[0])
    assert_refused(directory.sudo("true", user="mallory")[0], "mallory holds no grant")
    done, _ = directory.sudo("-u", "dora", "id", "-nG", user="alice")
    assert sorted(done.stdout.split()) == ["dora", "oncall"], done


def test_the_list_of_groups_is_the_directorys_at_the_time_of_use(directory: Directory) -> None:
    """Not the one with which the session began, and not the daemon's of before."""
    go, out = "/tmp/directories-go", "/tmp/directories-out"
    script = f"""
    for n in 1 2 3; do
        while [ ! -e {go}$n ]; do sleep 0.05; done
        sudo true >{out} 2>&1; echo exit=$? >>{out}; touch {go}$n-done
    done
    """
    host = directory.host
    session = host.start("bash", "-c", script, user="dora")
    answers = []
    for number, members in enumerate(("bob,dora", "bob", "dora"), 1):
        directory.groups(GROUPS.replace("bob,dora", members))
        host.run("touch", f"{go}{number}", check=True)
        until(lambda n=number: host.run("test", "-e", f"{go}{n}-done").returncode == 0, "it ran", SOON)  # type: ignore[misc]
        answers.append(host.get(out))
    session.communicate(timeout=SOON)
    host.run("sh", "-c", f"rm -f {go}* {out}")
    assert [answer.splitlines()[-1] for answer in answers] == ["exit=0", "exit=1", "exit=0"]


def test_a_slow_directory_is_waited_for_visibly(directory: Directory) -> None:
    """Three seconds for the list of groups: the command runs, and the person knew what was going on."""
    directory.slow("bob 3000")
    done, seconds = directory.sudo("true", user="bob")
    assert done.returncode == 0, done
    assert "jitsudo: the user database is being asked; it has 10 s to answer" in done.stderr
    assert 2.5 < seconds < 9


def test_what_a_slow_directory_said_serves_for_the_whole_decision(directory: Directory) -> None:
    """It is asked many things, the same ones again and again; with a second for each, ten would not be enough."""
    directory.slow("bob 1000", "1001 1000")
    done, seconds = directory.sudo("true", user="bob")
    assert done.returncode == 0, done
    assert seconds < 9
    again, soon = directory.sudo("true", user="bob")
    assert_allowed(again)
    assert soon < 1


def test_a_dead_directory_is_a_refusal_in_ten_seconds(directory: Directory) -> None:
    """With a sentence, on record, and once it is back, all is well."""
    journal = Journal.from_now(directory.host)
    directory.slow("bob dead")
    done, seconds = directory.sudo("true", user="bob")
    assert_refused(done, "the user database did not answer within 10 s")
    assert 9.5 < seconds < 13
    directory.slow()
    time.sleep(0.2)
    assert_allowed(directory.sudo("true", user="bob")[0])
    refused = journal.expect("command.denied", uid=directory.host.run("id", "-u", "bob").stdout.strip())
    assert refused["JITSUDO_REASON"] == "the user database did not answer within 10 s"
    assert journal.expect("command.allowed", user="bob")


def test_a_directory_that_is_dead_for_one_concerns_nobody_else(directory: Directory) -> None:
    """However often that one tries: others decide as quickly as ever, and root does."""
    host = directory.host
    directory.sudo("true", user="alice")
    directory.slow("bob dead")
    many = "for n in $(seq 20); do sudo true & done; wait"
    flood = host.start("bash", "-c", many, user="bob")
    try:
        until(lambda: int(host.run("pgrep", "-c", "-x", "sudo").stdout) >= 5, "more wait than may ask at once", SOON)
        for _ in range(3):
            done, seconds = directory.sudo("true", user="alice")
            assert_allowed(done)
            assert seconds < 1
            done, seconds = directory.sudo("true", user=None)
            assert_allowed(done)
            assert seconds < 1
        assert host.run("jitsudo", "status", user="alice").returncode == 0
    finally:
        _, said = flood.communicate(timeout=60)
    assert said.count("the user database did not answer within 10 s") == 20


def test_root_goes_on_with_a_directory_that_is_dead_for_everybody(directory: Directory) -> None:
    """Its own list of groups, too: after two seconds the host's own files are asked, and then at once."""
    host = directory.host
    directory.slow("* dead")
    done, seconds = directory.sudo("-u", "alice", "true", user=None)
    assert done.returncode == 0, done
    assert seconds < 7
    done, seconds = directory.sudo("-u", "alice", "id", "-u", user=None)
    assert done.returncode == 0, done
    assert (done.stdout, seconds < 2.5) == (host.run("awk", "-F:", '$1=="alice"{print $3}', "/etc/passwd").stdout, True)
    assert host.run("jitsudo", "status", timeout=30).returncode == 0


def test_the_daemon_starts_with_a_dead_directory(directory: Directory) -> None:
    """It has grants to look at, of people whom it cannot ask for; root comes in, revokes, and reloads."""
    host = directory.host
    grant = obtain(host, "true-only", user="bob")
    directory.slow("* dead")
    _, starting = timed(host, "systemctl", "restart", "jitsudod.service")
    done, seconds = directory.sudo("true", user=None)
    assert done.returncode == 0, done
    assert starting + seconds < 25
    assert host.run("jitsudo", "revoke", grant, "--reason", "nobody knows", timeout=30).returncode == 0
    directory.slow()
    time.sleep(0.5)
    assert_refused(directory.sudo("-n", "true", user="mallory")[0], "mallory holds no grant")


WRONG = {
    "root's entry": ("bob 1001 root:x:0:0:root:/root:/bin/bash", "uid 3000 cannot be right: it has uid 0"),
    "another uid": ("x 1 dora:*:3001:3000::/home/dora:/bin/bash", "uid 3000 cannot be right: it has uid 3001"),
    "a local user's name": ("x 1 alice:*:3000:3000::/home/dora:/bin/bash", "its name, alice, is another uid's"),
    "the uid that means no change": ("x 1 dora:*:4294967295:3000::/home/dora:/bin/bash", "cannot be right"),
    "nobody": ("x 1 gone:*:3000:3000::/home/dora:/bin/bash", "its name, gone, is nobody's"),
}


@pytest.mark.parametrize(("line", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_answers_are_refused(directory: Directory, line: str, words: str) -> None:
    """They come once the session is there, to the daemon alone: sudo itself has asked before."""
    host = directory.host
    entry = line.split(" ", 2)[2]
    with opened(directory, "dora", ASK) as session:
        host.put(f"{FOLDER}/passwd", f"dora 3000 {entry}\n")
        _, said = session.communicate("\n", timeout=SOON)
    assert session.returncode != 0
    assert words in said, said


def test_a_directory_makes_no_further_root(directory: Directory) -> None:
    """Nobody runs as an account that it made with uid 0, not even where a role names it."""
    directory.host.put(f"{FOLDER}/passwd", "dora 3999 dora:*:0:0::/root:/bin/bash\n")
    assert_refused(directory.sudo("-u", "dora", "id", "-u", user="alice")[0], "it has uid 0, which is another account's")


def test_a_directorys_group_of_a_local_groups_name_is_another(directory: Directory) -> None:
    """Whoever can make groups there does not get what this host gives to its own."""
    directory.groups(GROUPS + "web 3200 web:x:3200:mallory,dora\nsudo 3201 sudo:x:3201:mallory\n")
    assert "web" in directory.host.run("id", "-nG", "mallory").stdout.split()
    assert_refused(directory.sudo("id", user="mallory")[0], "mallory holds no grant")


def test_a_person_who_is_deleted_is_refused(directory: Directory) -> None:
    """Whose session goes on: the daemon finds nobody behind the uid."""
    host = directory.host
    with opened(directory, "dora", ASK) as session:
        host.put(f"{FOLDER}/passwd", "\n")
        _, said = session.communicate("\n", timeout=SOON)
    assert session.returncode != 0
    assert "uid 3000 has no entry in the user database" in said
