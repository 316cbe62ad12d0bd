"""`jitsudo setup observe`: sudoers decides as before, jitsudo takes notes, and whatever becomes of it sudo does not notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from acts import until
from lab import Lab
from timing import first

SUDOERS = """alice ALL=(ALL:ALL) NOPASSWD: ALL, !/usr/bin/cat
agent ALL=(ALL) NOPASSWD: ALL
bob ALL=(ALL) /usr/bin/id
"""
SECRET = "hunter22"
# What a person, or a script of theirs, can do with sudo; -k and the like among it.
HABITS = (
    "sudo true", "sudo false", "sudo cat /etc/shadow", "sudo -l", "sudo -n -l cat", "sudo -v", "sudo -k", "sudo -K",
    "sudo -n nosuch", "sudo -s 'exit 3'", "sudo -i true", "echo hello | sudo cat -", "EDITOR=true sudo -e /etc/hosts",
    "sudo -u postgres id -un", "sudo sh -c 'kill -9 $$'", "sudo -V | head -n 1", "sudo -b true",
)  # fmt: skip
NEVER_SLOWER = 0.25  # seconds, each sudo
BUSY = 1.5  # seconds, what the machine of a test may add to all of them
ROUNDS = 3  # of which the shortest counts
SOON = 30  # seconds for what is noted a moment after sudo went on
WAITS = {"the daemon hangs"}


@pytest.fixture(scope="module")
def observed(host: Lab) -> Iterator[Lab]:
    """A host on which sudoers decides, and jitsudo observes; afterwards jitsudo decides again."""
    host.run("cp", "-a", "/etc/sudo.conf", "/root/sudo.conf.enabled", check=True)
    host.put("/etc/sudoers.d/observed", SUDOERS, mode=0o440)
    host.put("/etc/sudo.conf", "# a line of somebody else's\nSet disable_coredump true\n")
    try:
        host.run("jitsudo", "setup", "observe", check=True)
        yield host
    finally:
        host.run("systemctl", "start", "jitsudod-decide.socket", "jitsudod-control.socket", "jitsudod.service")
        host.run("sh", "-c", "jitsudo setup observe --off; rm -f /etc/sudoers.d/observed /etc/jitsudo/policy.d/observed.yaml")
        host.run("cp", "-a", "/root/sudo.conf.enabled", "/etc/sudo.conf", check=True)
        host.run("jitsudo", "policy", "reload", check=True)


def report(host: Lab) -> list[dict[str, Any]]:
    told = json.loads(host.run("jitsudo", "setup", "report", "--json", check=True).stdout)
    assert told["version"] == 1
    return list(told["observed"])


def noted(host: Lab, **wanted: object) -> list[dict[str, Any]]:
    """Entries of the report that have these values; they come a moment after sudo went on."""
    return list(
        until(
            lambda: [one for one in report(host) if all(one[name] == value for name, value in wanted.items())],
            f"{wanted} in the report",
            SOON,
        )
    )


def test_sudoers_decides_and_logs_as_before(observed: Lab) -> None:
    """One line more in sudo.conf: sudo's own policy, its log and its recording of sessions are what they were."""
    conf = observed.get("/etc/sudo.conf")
    assert conf == "# a line of somebody else's\nSet disable_coredump true\nPlugin jitsudo_observe jitsudo_observe.so\n"
    assert observed.run("sudo", "id", "-u", user="alice").stdout == "0\n"
    refused = observed.run("sudo", "cat", "/etc/shadow", user="alice")
    assert refused.returncode == 1
    assert "not allowed to execute" in refused.stderr
    # --sync: what sudo has sent to journald is read by it a moment later.
    script = "journalctl --sync; exec journalctl -t sudo -o cat --no-pager"
    log = observed.run("sh", "-c", script).stdout
    assert "alice : PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id -u" in log
    assert "alice : command not allowed ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/cat /etc/shadow" in log
    observed.put("/etc/sudoers.d/recording", "Defaults log_output\n", mode=0o440)
    observed.run("sudo", "echo", "recorded", user="alice", check=True)
    observed.run("rm", "/etc/sudoers.d/recording")
    assert observed.run("sh", "-c", "find /var/log/sudo-io -name log | wc -l").stdout.strip() != "0"
    status = json.loads(observed.run("jitsudo", "setup", "status", "--json").stdout)
    assert (status["mode"], status["differences"]) == ("observe", [])


def test_who_called_and_how_is_told_apart(observed: Lab) -> None:
    """A person at a terminal and without one, cron, a unit, Ansible, root: by what the kernel says of them."""
    observed.run("sudo", "whoami", user="alice", tty=True, check=True)
    assert noted(observed, caller="person", line="/usr/bin/whoami")[0]["person"] == "alice"
    observed.run("sudo", "whoami", user="alice", check=True)
    assert noted(observed, caller="login", line="/usr/bin/whoami")
    unit = ("systemd-run", "--quiet", "--wait", "--unit", "backup-agent", "-p", "User=agent")
    observed.run(*unit, "/usr/bin/sudo", "-n", "whoami", check=True)
    (found,) = noted(observed, caller="unit")
    assert (found["person"], found["unit"], found["effect"]) == ("agent", "backup-agent.service", "breaks")
    observed.put("/etc/cron.d/observed", "@reboot agent sudo -n -u postgres whoami\n")
    observed.run("sh", "-c", "rm -f /run/crond.reboot /var/run/crond.reboot; systemctl restart cron", check=True)
    assert noted(observed, caller="cron", line="/usr/bin/whoami")[0]["run_as"] == "postgres"
    observed.run("rm", "/etc/cron.d/observed")
    play = ("ansible", "localhost", "-c", "local", "-b", "-m", "raw", "-a", "whoami")
    for _ in range(2):
        assert "root" in observed.run(*play, user="alice", check=True).stdout
    (found,) = noted(observed, caller="ansible", times=2)
    assert "BECOME-SUCCESS-*" in found["line"]
    observed.run("sudo", "-u", "postgres", "true", check=True)
    assert noted(observed, would="root")[0]["effect"] == "same"


def test_what_somebody_only_asks_of_sudo_is_not_noted(observed: Lab) -> None:
    """-l, -v, -k and their like run nothing; -e and what sudo refuses are noted with sudo's reason."""
    before = {one["line"]: one["times"] for one in report(observed)}
    for line in ("sudo -l", "sudo -n -l cat", "sudo -v", "sudo -k", "sudo -K", "sudo -V"):
        observed.run("sh", "-c", line, user="alice")
    observed.run("sh", "-c", "EDITOR=true sudo -e /etc/hosts; sudo -n id; sudo nosuch", user="bob")
    assert noted(observed, person="bob", mode="edit")[0]["outcome"] != "accepted"
    assert "authentication" in noted(observed, person="bob", line="/usr/bin/id")[0]["reason"]
    after = {one["line"]: one["times"] for one in report(observed) if one["person"] != "bob"}
    assert after == before


def test_secrets_do_not_reach_the_record(observed: Lab) -> None:
    """Of arguments what looks like one is redacted, of variables there are only names."""
    observed.run("sudo", f"TOKEN_OF_MINE={SECRET}x", "echo", f"--password={SECRET}", user="alice", check=True)
    (found,) = noted(observed, path="/usr/bin/echo", literal=False)
    assert "TOKEN_OF_MINE" in found["variables"]
    assert SECRET not in json.dumps(report(observed))
    assert observed.run("grep", "-c", SECRET, "-r", "/var/lib/jitsudo").returncode == 1
    events = observed.run("journalctl", "SYSLOG_IDENTIFIER=jitsudo", "-o", "json", "--no-pager").stdout
    assert SECRET not in events


def test_pasting_what_the_report_suggests_is_enough(observed: Lab) -> None:
    """Of what would break, the rest is only what a report says that no rule helps with."""
    told = json.loads(observed.run("jitsudo", "setup", "report", "--json", check=True).stdout)
    assert any(one["effect"] == "breaks" for one in told["observed"])
    observed.put("/etc/jitsudo/policy.d/observed.yaml", told["policy"])
    checked = observed.run("jitsudo", "policy", "check")
    assert "0 errors" in checked.stdout + checked.stderr
    observed.run("jitsudo", "policy", "reload", check=True)
    left = [one for one in report(observed) if one["effect"] == "breaks"]
    assert [one for one in left if one["literal"] and one["path"] and one["would"] == "not-covered"] == []
    assert {one["effect"] for one in noted(observed, caller="unit")} == {"same"}
    text = observed.run("jitsudo", "setup", "report", check=True).stdout
    assert "agent in backup-agent.service: /usr/bin/whoami" in text


def habits(host: Lab) -> tuple[list[str], float]:
    """What sudo says to each habit and its exit status, and how long all of them take: the least of some rounds."""
    script = "cd /tmp\n" + "\n".join(f"{{ {line}; }} 2>&1; echo \"= $?\"" for line in HABITS)
    timing = f"t=$(date +%s%N); {{ {script}\n}}; echo $(($(date +%s%N) - t))"
    rounds = [first(host, "sh", "-c", timing, user="alice").stdout.splitlines() for _ in range(ROUNDS)]
    said = [lines for *lines, _ in rounds]
    assert said == [said[0]] * ROUNDS
    return said[0], min(int(spent) for *_, spent in rounds) / 1e9


@pytest.fixture(scope="module")
def stock(observed: Lab) -> tuple[list[str], float]:
    """The same without the plugin."""
    observed.run("jitsudo", "setup", "observe", "--off", check=True)
    try:
        return habits(observed)
    finally:
        observed.run("jitsudo", "setup", "observe", check=True)


TROUBLE = {
    "nothing": ("true", "true"),
    "the daemon is stopped": (
        "systemctl stop jitsudod-decide.socket jitsudod-control.socket jitsudod.service",
        "systemctl start jitsudod-decide.socket jitsudod-control.socket jitsudod.service",
    ),
    "the daemon hangs": ("systemctl kill -s STOP jitsudod.service", "systemctl kill -s CONT jitsudod.service"),
    "the folder is somebody's": ("chown mallory /run/jitsudo", "chown root /run/jitsudo"),
    "the socket is somebody's": (
        "mv /run/jitsudo/decide /run/jitsudo/away; setpriv --reuid mallory --regid mallory --clear-groups python3 -c '"
        "import os, socket, time\nif os.fork(): os._exit(0)\nos.setsid(); s = socket.socket(socket.AF_UNIX)\n"
        's.bind("/tmp/planted"); s.listen(); open("/tmp/planted.pid", "w").write(str(os.getpid())); time.sleep(300)\''
        " </dev/null >/dev/null 2>&1; until [ -s /tmp/planted.pid ]; do sleep 0.1; done; mv /tmp/planted /run/jitsudo/decide",
        "kill $(cat /tmp/planted.pid); rm -f /run/jitsudo/decide /tmp/planted.pid; mv /run/jitsudo/away /run/jitsudo/decide",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_sudo_is_as_silent_and_as_fast_as_without(trouble: str, observed: Lab, stock: tuple[list[str], float]) -> None:
    """Word for word, with the same exit statuses; only a daemon that hangs is waited for, less than can be noticed."""
    begin, end = TROUBLE[trouble]
    observed.run("sh", "-c", begin, check=True)
    try:
        said, spent = habits(observed)
    finally:
        observed.run("sh", "-c", end, check=True)
    assert said == stock[0]
    waited = len(HABITS) * NEVER_SLOWER if trouble in WAITS else 0
    assert spent - stock[1] < waited + BUSY, (spent, stock[1])


def test_a_plugin_that_sudo_does_not_load_never_gets_into_sudo_conf(observed: Lab) -> None:
    """It is tried first, where sudo outside does not see it; sudo works all the while."""
    observed.run("jitsudo", "setup", "observe", "--off", check=True)
    before = observed.get("/etc/sudo.conf")
    assert before == "# a line of somebody else's\nSet disable_coredump true\n"
    plugin = "/usr/libexec/sudo/jitsudo_observe.so"
    observed.run("sh", "-c", f"mv {plugin} /root/kept.so; echo no plugin > {plugin}", check=True)
    try:
        done = observed.run("jitsudo", "setup", "observe")
        assert done.returncode == 1
        assert "sudo is left as it is" in done.stderr
        assert observed.get("/etc/sudo.conf") == before
        observed.run("sudo", "true", user="alice", check=True)
    finally:
        observed.run("mv", "/root/kept.so", plugin, check=True)
        observed.run("jitsudo", "setup", "observe", check=True)
    assert observed.run("jitsudo", "setup", "report", user="alice").returncode == 3
    assert observed.run("jitsudo", "setup", "observe", user="alice").returncode == 3
