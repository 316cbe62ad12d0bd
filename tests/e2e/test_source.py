"""Where logins really come from: ssh over a network of the test's own, and what people do to look as if from elsewhere.

The host has a neighbour, a network namespace `far` on a veth pair: near (192.0.2.0/24, 2001:db8::/64) and wrong
(198.51.100.0/24) are the addresses from which it logs in.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from acts import PATIENCE, Journal, extra_policy, gone, kill_daemon, restart_daemon, until
from lab import UNTIL, Lab

POLICY = """
version: 1
approvers:
  carol: {accounts: [carol], teams: [source-leads]}
roles:
  near:
    description: From the near network
    who: ["user:alice"]
    request: none
    until: UNTIL
    authenticate: never
    when: {source: [192.0.2.0/24, "2001:db8::/64"]}
    allow: [{command: /usr/bin/true}]
  near-asked:
    description: Asked for from the near network
    who: ["user:alice"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: never
    when: {source: [192.0.2.0/24]}
    allow: [{command: /usr/bin/false}]
  near-or-approved:
    description: From elsewhere somebody has to agree
    who: ["user:alice"]
    request: {max_duration: 1h, approvals: 0, from: ["team:source-leads"]}
    authenticate: never
    when: {source: [192.0.2.0/24], otherwise: {approvals: 1}}
    allow: [{command: /usr/bin/uptime}]
  console:
    description: At the machine itself
    who: ["user:alice"]
    request: none
    until: UNTIL
    authenticate: never
    when: {source: [local]}
    allow: [{command: /usr/bin/id}]
""".replace("UNTIL", UNTIL)

NETWORK = """
ip netns add far && ip link add near0 type veth peer name far0 && ip link set far0 netns far
ip addr add 192.0.2.1/24 dev near0 && ip addr add 198.51.100.1/24 dev near0 && ip addr add 2001:db8::1/64 dev near0 nodad
ip link set near0 up
far="ip -n far"
$far addr add 192.0.2.7/24 dev far0 && $far addr add 198.51.100.7/24 dev far0 && $far addr add 2001:db8::7/64 dev far0 nodad
$far link set far0 up && $far link set lo up
ssh-keygen -q -t ed25519 -N '' -f /root/source_key
install -d -m 0700 -o alice -g alice /home/alice/.ssh
install -m 0600 -o alice -g alice /root/source_key.pub /home/alice/.ssh/authorized_keys
"""

NO_NETWORK = """
ip netns del far; ip link del near0 2>/dev/null; rm -f /root/source_key* /home/alice/.ssh/authorized_keys
pkill -9 -u alice; true
"""

NEAR, WRONG, NEAR6 = "192.0.2", "198.51.100", "2001:db8:"
SSH = "ssh -i /root/source_key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
UNKNOWN = "depends on where you log in from, and that is not known"


@dataclass(frozen=True, slots=True)
class Network:
    """The host and its neighbour."""

    host: Lab

    def ssh(self, network: str, command: str, *, port: int = 22, options: str = "") -> subprocess.CompletedProcess[str]:
        """A command of alice's, logged in from the neighbour in one of its networks."""
        end = ":7" if ":" in network else ".7"
        target = f"alice@{network}{end[0]}1"
        line = f"ip netns exec far {SSH} -n -b {network}{end} -p {port} {options} {target} -- "
        return self.host.run("bash", "-c", line + '"$1"', "ssh", command)

    def ssh_from_here(self, target: str, command: str) -> subprocess.CompletedProcess[str]:
        """The same from the host itself."""
        return self.host.run("bash", "-c", f'{SSH} -n alice@{target} -- "$1"', "ssh", command)


@pytest.fixture(scope="module")
def network(furnished: Lab) -> Iterator[Network]:
    furnished.run("bash", "-euc", NETWORK, check=True)
    try:
        with extra_policy(furnished, POLICY):
            yield Network(furnished)
    finally:
        furnished.run("bash", "-c", NO_NETWORK)


def assert_allowed(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def assert_refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 1, done
    assert words in done.stderr, done.stderr


@pytest.mark.parametrize("source", [NEAR, NEAR6])
def test_a_login_from_the_right_network_is_allowed(network: Network, source: str) -> None:
    """By IPv4 and IPv6."""
    assert_allowed(network.ssh(source, "sudo true"))


def test_a_login_from_another_network_is_refused_and_the_record_says_so(network: Network) -> None:
    """With the address that counted."""
    journal = Journal.from_now(network.host)
    assert_refused(network.ssh(WRONG, "sudo true"), "198.51.100.7")
    denied = journal.expect("command.denied", user="alice", code="source")
    assert "198.51.100.7" in denied["JITSUDO_REASON"]
    assert denied["JITSUDO_SOURCE_ADDRESS"] == "198.51.100.7"


def test_an_environment_that_claims_another_address_changes_nothing(network: Network) -> None:
    """SSH_CONNECTION and its like are the person's to set."""
    forged = " ".join(f"{name}='192.0.2.7 1 192.0.2.1 22'" for name in ("SSH_CONNECTION", "SSH_CLIENT", "SUDO_HOST"))
    assert_refused(network.ssh(WRONG, f"{forged} sudo true"), "198.51.100.7")
    assert_allowed(network.ssh(NEAR, "SSH_CONNECTION='198.51.100.7 1 198.51.100.1 22' sudo true"))


@pytest.mark.parametrize("target", ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1", "127.1.2.3"])
def test_a_login_from_the_host_itself_is_unknown(network: Network, target: str) -> None:
    """Whoever comes by way of the host's own address hides where they are."""
    done = network.ssh_from_here(target, "sudo true")
    assert_refused(done, UNKNOWN)
    assert f"the login comes from {'127.0.0.1' if target == '127.1.2.3' else target}, an address of this host" in done.stderr


def test_an_address_that_is_only_routed_to_the_host_is_its_own_as_well(network: Network) -> None:
    """`ip route add local`: no interface has it, and yet it is nobody else's."""
    network.host.run("ip", "route", "add", "local", "192.0.2.128/25", "dev", "lo", check=True)
    try:
        done = network.host.run("bash", "-c", f"{SSH} -n -b 192.0.2.200 alice@192.0.2.1 sudo true")
        assert_refused(done, "the login comes from 192.0.2.200, an address of this host itself")
    finally:
        network.host.run("ip", "route", "del", "local", "192.0.2.128/25", "dev", "lo", check=True)


def test_a_jump_through_the_host_is_the_hosts_own(network: Network) -> None:
    """`ssh -J`: the second login comes from the first."""
    inner = "ssh -n -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR alice@192.0.2.1 sudo true"
    network.host.put("/home/alice/.ssh/id_ed25519", network.host.get("/root/source_key"), mode=0o600, owner="alice:alice")
    try:
        assert_refused(network.ssh(WRONG, inner), "the login comes from 192.0.2.1, an address of this host itself")
        assert_refused(network.ssh(NEAR, inner), "the login comes from 192.0.2.1, an address of this host itself")
    finally:
        network.host.run("rm", "/home/alice/.ssh/id_ed25519", check=True)


def in_tmux(network: Network, command: str) -> str:
    """What a command does in the tmux that alice left running, driven by another login of hers."""
    network.host.run("rm", "-f", "/tmp/source-out", check=True)
    keys = f"({command}; echo exit=$?) >/tmp/source-out.new 2>&1; mv /tmp/source-out.new /tmp/source-out"
    driven = network.ssh(WRONG, f"tmux -L source send-keys '{keys}' Enter")
    assert driven.returncode == 0, driven.stderr
    return str(until(lambda: network.host.run("cat", "/tmp/source-out").stdout, "tmux has run it"))


def test_tmux_belongs_to_the_login_that_it_was_started_in_and_to_nobody_after_that(network: Network) -> None:
    """While that login lasts, whoever attaches; afterwards its source is unknown, whoever attaches from wherever."""
    start = "tmux -L source new-session -d -x 200 -y 50; touch /tmp/source-up; exec sleep 91"
    login = network.host.start("bash", "-c", f'ip netns exec far {SSH} -n -tt alice@192.0.2.1 "$1"', "ssh", start)
    try:
        until(lambda: network.host.run("test", "-e", "/tmp/source-up").returncode == 0, "tmux is up")
        assert "exit=0" in in_tmux(network, "sudo true")
    finally:
        login.terminate()
        login.communicate(timeout=PATIENCE)
    # The command is gone before its sshd, which is the login.
    until(lambda: gone(network.host, "^sshd(-session)?: alice"), "the login has ended")
    left = in_tmux(network, "sudo true")
    assert "exit=1" in left
    assert "has gone" in left
    network.ssh(NEAR, "tmux -L source kill-server")


PRIVATE_SSHD = """
mkdir -p -m 0700 ~/s && cd ~/s && ssh-keygen -q -t ed25519 -N '' -f host_key
printf 'HostKey %s\\nAuthorizedKeysFile %s\\nPidFile none\\nUsePAM no\\nStrictModes no\\n' \
    ~/s/host_key ~/.ssh/authorized_keys >config
/usr/sbin/sshd -f ~/s/config -p 2222; until ss -Hltn | grep -q ':2222 '; do sleep 0.1; done
sudo true; echo $? >~/s/up; exec sleep 92
"""


def test_an_ssh_server_of_the_persons_own_is_no_way_in(network: Network) -> None:
    """Started by alice within a login from the right network, reached from the wrong one; also once that login has ended."""
    login = network.host.start("bash", "-c", f'ip netns exec far {SSH} -n -tt alice@192.0.2.1 "$1"', "ssh", PRIVATE_SSHD)
    try:
        up = until(lambda: network.host.run("cat", "/home/alice/s/up").stdout, "it listens")
        assert up == "0\n"
        done = network.ssh(WRONG, "sudo true", port=2222)
        assert_refused(done, UNKNOWN)
        assert "another ssh server (sshd" in done.stderr
        login.terminate()
        login.communicate(timeout=PATIENCE)
        until(lambda: gone(network.host, "^sshd(-session)?: alice"), "the login has ended")
        assert_refused(network.ssh(WRONG, "sudo true", port=2222), UNKNOWN)
    finally:
        login.terminate()
        login.communicate(timeout=PATIENCE)
        network.host.run("pkill", "-f", "s/config -p 2222")
        network.host.run("rm", "-rf", "/home/alice/s")


def test_what_was_not_logged_in_is_unknown(network: Network) -> None:
    """cron's jobs, services, and PAM sessions without a connection."""
    done = network.host.run("sudo", "true", user="alice")
    assert_refused(done, UNKNOWN)
    service = ("systemd-run", "--quiet", "--pipe", "--wait", "--uid=alice")
    done = network.host.run(*service, "sudo", "true")
    assert_refused(done, "the process belongs to no login session")
    done = network.host.run(*service, "-p", "PAMName=cron", "sudo", "true")
    assert_refused(done, UNKNOWN)


def test_the_persons_own_systemd_is_unknown(network: Network) -> None:
    """It serves all their logins alike."""
    unit = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sudo true >$HOME/source-unit 2>&1'\n"
    network.host.put("/home/alice/.config/systemd/user/probe.service", unit)
    done = network.ssh(NEAR, "systemctl --user daemon-reload && systemctl --user start probe; cat source-unit")
    assert "the person's own systemd, which all their logins share" in done.stdout, done


def test_a_login_on_a_pseudo_terminal_is_not_the_console(network: Network) -> None:
    """login(1), run by root, on a terminal that may be anybody's; and nobody who comes by ssh is at the console."""
    # Something else holds the terminal open: login(1) hangs it up and opens it anew (vhangup(2)).
    shell = network.host.spawn(None, "bash", "-c", "exec 9<$(tty); setsid sleep 30 <&9 & exec login -f alice")
    shell.expect(r"\$ ")  # login(1) throws away what was typed before
    shell.sendline("sudo id; echo exit=$?")
    shell.expect("a terminal that is not the machine's own console")
    shell.expect("exit=1\r")
    shell.sendline("exit")
    shell.close()
    assert_refused(network.ssh(NEAR, "XDG_SEAT=seat0 XDG_VTNR=1 sudo id"), "192.0.2.7")


def test_asking_is_bound_as_well(network: Network) -> None:
    """A role that is asked for from the right network alone; then each command, too."""
    ask = "jitsudo request near-asked --for 5m --reason INC-4711"
    assert_refused_asking(network.ssh(WRONG, ask), "198.51.100.7")
    assert_refused_asking(network.ssh_from_here("192.0.2.1", ask), "an address of this host itself")
    done = network.ssh(NEAR, ask)
    assert done.returncode == 0, done.stderr
    assert_refused(network.ssh(WRONG, "sudo false"), "198.51.100.7")
    assert network.ssh(NEAR, "sudo false; echo $?").stdout == "1\n"
    assert network.ssh(NEAR, "sudo false").stderr == ""
    network.ssh(NEAR, "jitsudo return --all")


def assert_refused_asking(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 3, done
    assert words in done.stderr


def test_otherwise_an_approval_makes_up_for_it(network: Network) -> None:
    """At once from the right network; from elsewhere somebody has to agree."""
    ask = "jitsudo request near-or-approved --for 5m --reason INC-4711 --json"
    assert '"active"' in network.ssh(NEAR, ask).stdout
    network.ssh(NEAR, "jitsudo return --all")
    request = json.loads(network.ssh(WRONG, ask).stdout)["request"]
    assert request["state"] == "requested"
    assert network.ssh(WRONG, f"jitsudo cancel {request['id']}").returncode == 0


def test_the_source_is_found_after_the_daemon_starts_again(network: Network) -> None:
    """Nothing of it is kept but in memory."""
    login = "sudo true && touch /tmp/source-go && while [ -e /tmp/source-go ]; do sleep 0.1; done; sudo true"
    for again in (restart_daemon, kill_daemon):
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(network.ssh, NEAR, login)
            until(lambda: network.host.run("test", "-e", "/tmp/source-go").returncode == 0, "the first sudo")
            again(network.host)
            network.host.run("rm", "/tmp/source-go", check=True)
            assert_allowed(done.result(2 * PATIENCE))
