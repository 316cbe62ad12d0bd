"""Programs that call sudo: Ansible, cron, systemd units, CI, Terraform's remote-exec; the same on both hosts of the pair."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from compare import DATA
from lab import Lab

from conftest import Pair

PLAY_SECONDS = 300
SOON = 30  # seconds for what must not wait for a person
KEY = "/root/.ssh/id_ed25519"
SSH = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"]
CONFIGURATION = """
[defaults]
interpreter_python = /usr/bin/python3
host_key_checking = False
nocows = True
stdout_callback = as_lines
[ssh_connection]
ssh_args = -o ControlMaster=no -o BatchMode=yes
"""
PROBE = "/usr/local/bin/probe"
PEOPLE = ("alice", "bob", "mallory", "agent")


@pytest.fixture(scope="session", params=["stock", "jitsudo"])
def host(request: pytest.FixtureRequest, pair: Pair) -> Lab:
    """A host that root reaches as everybody, by ssh and its loopback, as a controller would."""
    lab: Lab = getattr(pair, request.param)
    lab.run("sh", "-c", f"mkdir -p -m 0700 /root/.ssh; [ -e {KEY} ] || ssh-keygen -q -t ed25519 -N '' -f {KEY}", check=True)
    public = lab.get(f"{KEY}.pub")
    for person in PEOPLE:
        lab.put(f"/home/{person}/.ssh/authorized_keys", public, mode=0o600, owner=f"{person}:{person}")
        lab.run("chown", f"{person}:", f"/home/{person}/.ssh", check=True)
    lab.put("/etc/ansible/ansible.cfg", CONFIGURATION)
    lab.put("/usr/share/ansible/plugins/callback/as_lines.py", (DATA / "as_lines.py").read_text())
    return lab


@pytest.fixture(autouse=True)
def not_elsewhere(host: Lab) -> Iterator[None]:
    """What a play wrote is gone before the next."""
    yield
    host.run("rm", "-f", "/etc/played.conf", "/srv/compat/called", check=True)


# Ansible.


def play(host: Lab, user: str, tasks: list[dict[str, Any]], *, pipelining: bool, **variables: str) -> dict[str, Any]:
    """The results of the tasks of one play with `become`, by their names."""
    book = json.dumps([{"hosts": "all", "gather_facts": False, "become": True, "vars": variables, "tasks": tasks}])
    host.put("/srv/compat/play.yaml", book)
    done = host.run(
        "env", f"ANSIBLE_PIPELINING={pipelining}", "HOME=/root",
        "ansible-playbook", "-i", "localhost,", "-u", user, "/srv/compat/play.yaml",
        timeout=PLAY_SECONDS,
    )  # fmt: skip
    ran = dict(map(json.loads, done.stdout.splitlines()))
    assert ran, done.stderr
    return ran


WHO = {"name": "who", "ansible.builtin.command": "id -un"}
WORK = [
    WHO,
    {"name": "file", "ansible.builtin.copy": {"dest": "/etc/played.conf", "content": "one\n", "mode": "0640"}},
    {"name": "line", "ansible.builtin.lineinfile": {"path": "/etc/played.conf", "line": "two"}},
    {"name": "service", "ansible.builtin.systemd": {"name": "nginx.service", "state": "restarted"}},
    {"name": "shell", "ansible.builtin.shell": "cat /etc/played.conf | tr a-z A-Z"},
    {"name": "fails", "ansible.builtin.command": "/bin/sh -c 'exit 42'", "ignore_errors": True},
]


@pytest.mark.parametrize("pipelining", [False, True], ids=["modules copied", "pipelining"])
@pytest.mark.parametrize("user", ["alice", "bob"], ids=["without password", "with password"])
def test_ansible_does_its_work(host: Lab, user: str, pipelining: bool) -> None:
    """A play of files, a service, commands and a failure comes to what it should, whether sudo asks for a password or not."""
    variables = {"ansible_become_password": "bob"} if user == "bob" else {}
    ran = play(host, user, WORK, pipelining=pipelining, **variables)
    assert ran["who"]["stdout"] == "root", ran
    assert ran["file"]["changed"]
    assert ran["line"]["changed"]
    assert not ran["service"].get("failed"), ran["service"]
    assert ran["shell"]["stdout"] == "ONE\nTWO"
    assert (ran["fails"]["rc"], ran["fails"]["failed"]) == (42, True)
    assert host.run("stat", "-c", "%a %U", "/etc/played.conf").stdout == "640 root\n"


@pytest.mark.parametrize("user", ["alice", "bob"], ids=["without password", "with password"])
def test_ansible_becomes_somebody_else(host: Lab, user: str) -> None:
    """`become_user: postgres`."""
    variables = {"ansible_become_password": "bob"} if user == "bob" else {}
    ran = play(host, user, [WHO], pipelining=True, ansible_become_user="postgres", **variables)
    assert ran["who"]["stdout"] == "postgres", ran


def test_ansible_with_a_wrong_password_fails_soon(host: Lab) -> None:
    """Ansible sees that the password was wrong; it does not wait for a time-out."""
    began = time.monotonic()
    ran = play(host, "bob", [WHO], pipelining=True, ansible_become_password="wrong")
    assert "Incorrect sudo password" in ran["who"]["msg"] or "incorrect" in ran["who"]["msg"].lower(), ran
    assert time.monotonic() - began < SOON * 2


def test_ansible_without_the_password_it_needs_fails_soon(host: Lab) -> None:
    """Ansible sees sudo's own words for a missing password."""
    began = time.monotonic()
    ran = play(host, "bob", [WHO], pipelining=True)
    assert "Missing sudo password" in ran["who"]["msg"] or "password is required" in ran["who"]["msg"], ran
    assert time.monotonic() - began < SOON * 2


def test_ansible_of_somebody_without_rights_fails_soon(host: Lab) -> None:
    """A refusal reaches the play, with its words, at once."""
    began = time.monotonic()
    ran = play(host, "mallory", [WHO], pipelining=True)
    said = json.dumps(ran["who"])
    assert ran["who"]["failed"]
    assert "holds no grant" in said or "password" in said, said
    assert time.monotonic() - began < SOON * 2


def test_ansible_as_root_becomes_others(host: Lab) -> None:
    """Root's own plays need nothing."""
    host.run("sh", "-c", f"cat {KEY}.pub >>/root/.ssh/authorized_keys", check=True)
    ran = play(host, "root", [WHO], pipelining=True, ansible_become_user="postgres")
    assert ran["who"]["stdout"] == "postgres", ran


# Machines without a person.


def test_cron(host: Lab) -> None:
    """A job of the agent's, started by cron, gets its answer; one that may not gets a refusal, not a wait."""
    jobs = "@reboot agent cd /srv/compat/open; sudo -n id -u >cron 2>&1; sudo -n reboot >refused 2>&1; echo $? >>cron\n"
    host.run("rm", "-f", "/srv/compat/open/cron", "/srv/compat/open/refused", check=True)
    host.put("/etc/cron.d/compat", jobs)
    host.run("sh", "-c", "rm -f /run/crond.reboot; systemctl restart cron", check=True)
    deadline = time.monotonic() + SOON
    while (came := host.run("cat", "/srv/compat/open/cron").stdout).count("\n") < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    host.run("rm", "/etc/cron.d/compat", check=True)
    assert came == "0\n1\n"
    assert host.get("/srv/compat/open/refused").strip() != ""


COMMAND = ("sudo", "-n", "id", "-u")


CAGES = [[], ["PrivateTmp=yes", "ProtectHome=yes"], ["StandardInput=null", "UMask=0077"]]


@pytest.mark.parametrize("properties", CAGES, ids=str)
def test_a_systemd_unit(host: Lab, properties: list[str]) -> None:
    """A service of the agent's calls sudo, in some of the cages that services live in."""
    words = [f"--property={one}" for one in ["User=agent", *properties]]
    done = host.run("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *words, *COMMAND, timeout=SOON)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_a_ci_runner(host: Lab) -> None:
    """No terminal, no standard input, hardly any environment, a job's own session: steps go on, and the one refused fails."""
    steps = "set -e; sudo -n id -u; sudo -n id -u | cat; ! sudo -n reboot 2>/dev/null; echo done"
    bare = ["setsid", "-w", "env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", f"exec <&- ; {steps}"]
    done = host.run(*bare, user="agent", timeout=SOON)
    assert (done.returncode, done.stdout) == (0, "0\n0\ndone\n"), done.stderr


def over_ssh(host: Lab, user: str, *argv: str, input: str = "") -> subprocess.CompletedProcess[str]:  # noqa: A002
    """A command over ssh without a terminal."""
    return host.run(*SSH, "-i", KEY, "-T", f"{user}@localhost", *argv, input=input, timeout=SOON * 2)


def test_terraform_remote_exec(host: Lab) -> None:
    """A script is copied by ssh and run by ssh, without a terminal, as remote-exec does: output, order and status hold."""
    script = PurePosixPath("/tmp/terraform_4711.sh")
    text = f"#!/bin/sh\nset -e\necho one\nsudo -n {PROBE} say two ''\necho\nsudo -n {PROBE} exit 3\necho never\n"
    assert over_ssh(host, "alice", f"cat >{script}; chmod 0777 {script}", input=text).returncode == 0
    done = over_ssh(host, "alice", str(script))
    assert (done.returncode, done.stdout) == (3, "one\ntwo\n"), done.stderr
    over_ssh(host, "alice", f"rm -f {script}")


def test_a_script_on_standard_input_is_not_eaten(host: Lab) -> None:
    """`ssh HOST sh -s`: sudo of a command that reads nothing leaves the rest of the script to the shell."""
    done = over_ssh(host, "alice", "sh -s", input=f"echo one\nsudo -n {PROBE} </dev/null\necho two\n")
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n"), done.stderr


def test_a_password_over_ssh_without_a_terminal(host: Lab) -> None:
    """Where a password is needed and nobody can be asked, sudo says so at once; with -S it is read from standard input."""
    refused = over_ssh(host, "bob", f"sudo -k; sudo {PROBE}")
    assert refused.returncode == 1
    assert "a terminal is required to read the password" in refused.stderr
    given = over_ssh(host, "bob", f"sudo -k; sudo -S -p '' {PROBE} say in ''", input="bob\n")
    assert (given.returncode, given.stdout) == (0, "in"), given.stderr

