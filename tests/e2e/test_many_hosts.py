"""Many hosts: Ansible brings packages, a policy from its repository and the way into jitsudo to two of them; cloud-init to one.

Three hosts of one release, on wires of their own: a controller, which has Ansible, git and `jitsudo` to check policies with,
and two that it reaches by ssh: `one` as root, `two` as an account that becomes root by sudo, by jitsudo's once it is enabled.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from acts import POLICY, until
from lab import SCRIPT, UNTIL, Lab

SUITES = os.environ.get("JITSUDO_TEST_SUITES", "").split()
TREE = SCRIPT.parents[1]
LAB_ROOT = SCRIPT.with_name("lab-root")
REPOSITORY = "/srv/policy.git"
WORK = "/srv/policy-work"
KEY = "/root/.ssh/id_ed25519"
PLAY_SECONDS = 240
BRIEF = 10  # seconds in which an enabling has to be confirmed where it will not be

INVENTORY = """
all:
  hosts:
    one: {ansible_host: 192.0.2.1, ansible_user: root, jitsudo_labels: {env: staging}}
    two: {ansible_host: 192.0.2.5, ansible_user: agent, ansible_become: true, jitsudo_labels: {env: prod, tier: web}}
  vars:
    ansible_python_interpreter: /usr/bin/python3
    jitsudo_policy_repository: /srv/policy.git
    jitsudo_policy_checkout: /var/tmp/policy
    jitsudo_debs: [DEBS]
"""
CONFIGURATION = """
[defaults]
host_key_checking = False
nocows = True
timeout = 60
[connection]
pipelining = True
"""
# Beside what the example repository has: the account that Ansible comes as, and a role that is for some hosts.
AUTOMATION = """# The controller's account: what a play does, root does.
version: 1

roles:
  automation:
    description: Ansible's plays
    who: ["user:agent"]
    request: none
    until: UNTIL
    authenticate: never
    root_equivalent: true
    allow:
      - command: /usr/bin/sh
        options: {"-c": flag}
        operands: [any]
    tests:
      - {run: "sh -c id", expect: allow}
""".replace("UNTIL", UNTIL)
STAGING = """version: 1

roles:
  try-out:
    description: Whatever is tried out on staging
    who: ["user:alice"]
    hosts: {labels: {env: [staging]}}
    request: none
    until: UNTIL
    authenticate: never
    allow: [{command: /usr/bin/true}]
""".replace("UNTIL", UNTIL)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The controller and the hosts that it is in charge of."""

    controller: Lab
    one: Lab
    two: Lab

    @property
    def hosts(self) -> tuple[Lab, Lab]:
        return self.one, self.two


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fleet" in metafunc.fixturenames:
        metafunc.parametrize("fleet", SUITES, indirect=True, scope="module")


def lab_root(*words: str) -> Path:
    """A folder that scripts/lab-root makes or has."""
    done = subprocess.run([LAB_ROOT, *words], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def leader(lab: Lab) -> str:
    """The host's PID 1 as this machine sees it."""
    return Path(f"/run/jitsudo-lab/{lab.name}/leader").read_text().strip()


def wire(controller: Lab, host: Lab, name: str, near: str, far: str) -> None:
    """A cable between two hosts, with an address at each end."""
    here, there = (["nsenter", "-n", "-t", leader(lab), "ip"] for lab in (controller, host))
    for command in (
        [*here, "link", "add", name, "type", "veth", "peer", "name", "wire", "netns", leader(host)],
        [*here, "addr", "add", near, "dev", name], [*here, "link", "set", name, "up"],
        [*there, "addr", "add", far, "dev", "wire"], [*there, "link", "set", "wire", "up"],
    ):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)


def bring(lab: Lab, files: Path, to: str) -> None:
    """Copy a folder of this machine onto a host."""
    with subprocess.Popen(["tar", "-C", files, "--owner=0", "--group=0", "-c", "."], stdout=subprocess.PIPE) as packed:
        command = lab.command("sh", "-c", f"mkdir -p {to} && tar -x -C {to}")
        subprocess.run(command, stdin=packed.stdout, check=True, timeout=60)


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Three hosts, the two without jitsudo."""
    suite = request.param
    packages, more = lab_root("packages", suite), lab_root("debs", suite, "git", "cloud-init")
    names = {part: f"m{os.getpid()}-{suite}-{part}" for part in ("controller", "one", "two")}
    started: list[Lab] = []
    try:
        for name in names.values():
            started.append(Lab.up(name, suite, bare=True))
        fleet = Fleet(*started)
        bring(fleet.controller, packages, "/srv/packages")
        bring(fleet.controller, more, "/srv/more")
        furnish(fleet)
        yield fleet
    finally:
        for lab in started:
            lab.down()


def furnish(fleet: Fleet) -> None:
    """Wires, keys, an account with sudo, and all that the controller needs."""
    wire(fleet.controller, fleet.one, "one", "192.0.2.2/30", "192.0.2.1/30")
    wire(fleet.controller, fleet.two, "two", "192.0.2.6/30", "192.0.2.5/30")
    controller = fleet.controller
    debs = "/srv/packages/jitsudo_*.deb"
    controller.run("sh", "-ec", f"dpkg -i /srv/more/*.deb {debs} >/srv/dpkg.log 2>&1", check=True, timeout=PLAY_SECONDS)
    controller.run("sh", "-ec", f"mkdir -p -m 0700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f {KEY}", check=True)
    key = controller.get(f"{KEY}.pub")
    for host, user, home in ((fleet.one, "root", "/root"), (fleet.two, "agent", "/home/agent")):
        host.put(f"{home}/.ssh/authorized_keys", key, mode=0o600, owner=f"{user}:{user}")
        host.run("chown", f"{user}:", f"{home}/.ssh", check=True)
    fleet.two.put("/etc/sudoers.d/agent", "agent ALL=(ALL:ALL) NOPASSWD: ALL\n", mode=0o440)
    bring(controller, TREE / "ansible", "/srv/ansible")
    listed = controller.run("sh", "-c", f"ls {debs} /srv/packages/jitsudo-sudo-native_*.deb").stdout.split()
    controller.put("/srv/ansible/hosts.yml", INVENTORY.replace("DEBS", ", ".join(listed)))
    controller.put("/etc/ansible/ansible.cfg", CONFIGURATION)
    bring(controller, TREE / "docs" / "examples" / "policy-repo", WORK)
    git = f"""
        git config --global user.name Bob; git config --global user.email bob@example.org
        git config --global init.defaultBranch main; git config --global --add safe.directory '*'
        git init -q --bare {REPOSITORY}; git -C {WORK} init -q; git -C {WORK} remote add origin {REPOSITORY}
    """
    controller.run("sh", "-ec", git, check=True)
    propose(fleet, {"automation.yaml": AUTOMATION, "staging.yaml": STAGING})


# What people and their pipeline do.


def propose(fleet: Fleet, files: dict[str, str | None]) -> None:
    """Commit these files of the policy, None to take one away, and push them to the branch that is deployed."""
    for name, content in files.items():
        path = f"{WORK}/policy.d/{name}"
        if content is None:
            fleet.controller.run("rm", path, check=True)
        else:
            fleet.controller.put(path, content)
    commit = f"cd {WORK} && git add -A && git commit -q -m Change && git push -q -f origin HEAD:main"
    fleet.controller.run("sh", "-ec", commit, check=True)


def pipeline(fleet: Fleet) -> subprocess.CompletedProcess[str]:
    """The CI job of the example, run on a fresh clone as its workflow says, but for what fetches things from the network."""
    workflow = yaml.safe_load((TREE / "docs/examples/policy-repo/.github/workflows/policy.yml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step and "apt-get" not in step["run"]]
    assert "ci/check" in steps
    script = "\n".join(["set -e", "rm -rf /srv/ci", f"git clone -q {REPOSITORY} /srv/ci", "cd /srv/ci", *steps])
    return fleet.controller.run("sh", "-c", script, timeout=PLAY_SECONDS)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a play: `changed` and `failed` count tasks, by host."""

    status: int
    changed: dict[str, int]
    failed: dict[str, int]
    text: str


def play(fleet: Fleet, *options: str, **variables: Any) -> Played:
    """`ansible-playbook site.yml` for both hosts, or those that --limit names."""
    done = fleet.controller.run(
        "env", "HOME=/root", "LC_ALL=C.UTF-8", "ansible-playbook", "-i", "/srv/ansible/hosts.yml", *options,
        "--extra-vars", json.dumps({"jitsudo_first": len(fleet.hosts), **variables}), "/srv/ansible/site.yml",
        timeout=PLAY_SECONDS,
    )  # fmt: skip
    recap = re.findall(r"^(\w+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", done.stdout, re.MULTILINE)
    changed = {host: int(count) for host, count, _, _ in recap}
    failed = {host: int(failures) + int(lost) for host, _, lost, failures in recap}
    return Played(done.returncode, changed, failed, done.stdout + done.stderr)


def played(fleet: Fleet, *options: str, **variables: Any) -> dict[str, int]:
    """What each host had changed by a play that succeeds."""
    came = play(fleet, *options, **variables)
    assert came.status == 0, came.text
    return came.changed


def mode_of(host: Lab) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(host.run("jitsudo", "setup", "status", "--json").stdout)
    return shown


def becomes_root(host: Lab) -> bool:
    """Whether Ansible's account does, as Ansible does it."""
    return host.run("sudo", "-n", "sh", "-c", "id -u", user="agent").stdout == "0\n"


def policy_of(host: Lab) -> str:
    """All that the daemon has in force, and that /etc has the same."""
    show = "cd {}; for f in *.yaml; do echo $f; cat $f; done"
    inside, put = (host.run("sh", "-c", show.format(folder)).stdout for folder in ("/var/lib/jitsudo/policy", POLICY))
    assert inside == put
    return put


# In this order.

BOTH_UNCHANGED = {"one": 0, "two": 0}


def test_check_mode_says_what_would_change_and_changes_nothing(fleet: Fleet) -> None:
    """On hosts that have never seen jitsudo."""
    changed = played(fleet, "--check", "--diff")
    assert all(changed.values()), changed
    for host in fleet.hosts:
        assert host.run("sh", "-c", "ls -d /usr/bin/jitsudo /etc/jitsudo /var/lib/jitsudo /var/cache/jitsudo").stdout == ""


def test_first_it_observes(fleet: Fleet) -> None:
    """Packages, labels and the policy are there; sudoers decides. A second run changes nothing, nor would one in check mode."""
    assert all(played(fleet).values())
    for host, labels in zip(fleet.hosts, ('{"env": "staging"}', '{"env": "prod", "tier": "web"}'), strict=True):
        assert mode_of(host)["mode"] == "observe"
        assert f"labels: {labels}\n" in host.get("/etc/jitsudo/host.yaml")
        assert "automation" in policy_of(host)
        assert host.run("jitsudo", "policy", "check").returncode == 0
    assert becomes_root(fleet.two)
    assert fleet.two.run("sudo", "-n", "true", user="alice").returncode == 1
    assert played(fleet) == BOTH_UNCHANGED
    assert played(fleet, "--check") == BOTH_UNCHANGED


def test_a_change_that_fails_its_tests_reaches_no_host(fleet: Fleet) -> None:
    """The pipeline refuses it; and where somebody deploys it all the same, each host does."""
    before = [policy_of(host) for host in fleet.hosts]
    assert pipeline(fleet).returncode == 0, pipeline(fleet).stderr
    web = fleet.controller.get(f"{WORK}/policy.d/web.yaml")
    propose(fleet, {"web.yaml": web.replace("unit: [nginx]", "unit: [nginx, ssh]").replace("restart|reload", "edit|restart")})
    refused = pipeline(fleet)
    assert refused.returncode == 1
    assert "systemctl edit nginx" in refused.stdout + refused.stderr
    came = play(fleet)
    assert (came.status, came.failed) == (2, {"one": 1, "two": 1}), came.text
    assert "systemctl edit nginx" in came.text
    assert "the host keeps the one that it has" in came.text
    propose(fleet, {"web.yaml": "version: 1\nroles: {"})
    assert pipeline(fleet).returncode == 6
    assert play(fleet, jitsudo_first=1).failed == {"one": 1}  # and the other one was left in peace
    assert [policy_of(host) for host in fleet.hosts] == before
    assert fleet.one.run("sh", "-c", "ls -A /etc/jitsudo").stdout.split() == ["host.yaml", "policy.d"]
    propose(fleet, {"web.yaml": web})


def test_a_good_change_reaches_every_host(fleet: Fleet) -> None:
    """In check mode it is shown, then it is in force on both; a file that was taken away is gone."""
    web = fleet.controller.get(f"{WORK}/policy.d/web.yaml")
    propose(fleet, {"web.yaml": web.replace("max_duration: 2h", "max_duration: 3h"), "extra.yaml": "version: 1\n"})
    assert pipeline(fleet).returncode == 0
    shown = play(fleet, "--check", "--diff")
    assert (shown.changed, shown.status) == ({"one": 1, "two": 1}, 0), shown.text
    assert "+      max_duration: 3h" in shown.text
    assert not any("3h" in policy_of(host) for host in fleet.hosts)
    assert played(fleet) == {"one": 1, "two": 1}
    assert all("max_duration: 3h" in policy_of(host) for host in fleet.hosts)
    assert all("extra.yaml" in policy_of(host) for host in fleet.hosts)


def test_what_somebody_changed_on_a_host_is_put_right(fleet: Fleet) -> None:
    """A file that anybody may write, and one that the daemon never read; what the repository has no more is gone."""
    propose(fleet, {"extra.yaml": None})
    fleet.one.run("chmod", "0666", f"{POLICY}/web.yaml", check=True)
    fleet.two.run("rm", f"{POLICY}/extra.yaml", check=True)
    assert played(fleet) == {"one": 1, "two": 1}
    assert fleet.one.run("stat", "-c", "%a %U", f"{POLICY}/web.yaml").stdout == "644 root\n"
    assert not any("extra.yaml" in policy_of(host) for host in fleet.hosts)


def test_enabling_that_cannot_be_confirmed_is_taken_back(fleet: Fleet) -> None:
    """The policy lets Ansible's own account not in: the new connection gets nowhere, and the timer gives sudo back."""
    propose(fleet, {"automation.yaml": AUTOMATION.replace('"user:agent"', '"user:bob"')})
    waive = ["account:agent", "sudoers:/etc/sudoers.d/agent", "caller:agent/session-*.scope"]
    lost = play(fleet, "--limit", "two", jitsudo_mode="enabled", jitsudo_waive=waive, jitsudo_confirm_within=f"{BRIEF}s")
    assert (lost.failed, lost.changed) == ({"two": 1}, {"two": 2}), lost.text  # the policy, and enabling
    until(lambda: mode_of(fleet.two)["mode"] != "unconfirmed", "sudo is given back", seconds=BRIEF + 60)
    assert becomes_root(fleet.two)
    propose(fleet, {"automation.yaml": AUTOMATION})


def test_enabling_is_confirmed_over_a_new_connection(fleet: Fleet) -> None:
    """As root's login on the one, through jitsudo's sudo on the other; a second run changes nothing, by jitsudo's sudo too."""
    assert all(played(fleet, jitsudo_mode="enabled").values())
    for host in fleet.hosts:
        shown = mode_of(host)
        assert (shown["mode"], shown["front_end"], shown["differences"]) == ("enabled", "native", [])
    confirmed = ["journalctl", "-q", "-o", "cat", "--output-fields=JITSUDO_REASON", "JITSUDO_EVENT=setup.confirmed"]
    said = [until(lambda one=host: one.run(*confirmed).stdout, "it is on record") for host in fleet.hosts]  # type: ignore[misc]
    assert "by a login as root" in said[0], said
    assert "by agent, who became root through jitsudo" in said[1], said
    assert played(fleet, jitsudo_mode="enabled") == BOTH_UNCHANGED
    for host in fleet.hosts:
        assert host.run("sudo", "-n", "id", user="mallory").returncode == 1


def test_labels_make_a_role_one_hosts_only(fleet: Fleet) -> None:
    """And a label that changes gives it to the other, once the daemon has read it."""
    assert [host.run("sudo", "-n", "true", user="alice").returncode for host in fleet.hosts] == [0, 1]
    labels = {"env": "staging"}
    assert played(fleet, "--limit", "two", jitsudo_mode="enabled", jitsudo_labels=labels) == {"two": 2}  # and the restart
    assert fleet.two.run("sudo", "-n", "true", user="alice").returncode == 0


def test_a_policy_is_changed_by_who_became_root_through_jitsudo(fleet: Fleet) -> None:
    """Root inside a session may not tell the daemon to read its policy; systemd may."""
    web = fleet.controller.get(f"{WORK}/policy.d/web.yaml")
    propose(fleet, {"web.yaml": web.replace("max_duration: 3h", "max_duration: 1h")})
    assert played(fleet, jitsudo_mode="enabled", jitsudo_labels={"env": "staging"}) == {"one": 1, "two": 1}
    assert all("max_duration: 1h" in policy_of(host) for host in fleet.hosts)


def test_an_enabled_host_does_not_go_back_by_accident(fleet: Fleet) -> None:
    """Somebody who forgets the mode is told so; nothing is changed."""
    came = play(fleet, "--limit", "one", jitsudo_mode="observe")
    assert came.failed == {"one": 1}
    assert "jitsudo_mode: disabled" in came.text
    assert mode_of(fleet.one)["mode"] == "enabled"


def test_a_host_that_is_away_does_not_keep_the_other_from_anything(fleet: Fleet) -> None:
    """Unreachable is unreachable; the other one is as it should be."""
    fleet.one.run("sh", "-c", "systemctl stop ssh.service ssh.socket; pkill ^sshd; true", check=True)
    try:
        came = play(fleet, jitsudo_mode="enabled", jitsudo_labels={"env": "staging"})
        assert (came.failed, came.changed["two"]) == ({"one": 1, "two": 0}, 0), came.text
    finally:
        fleet.one.run("systemctl", "start", "ssh.service", check=True)


def test_disabling_puts_everything_back(fleet: Fleet) -> None:
    """sudoers decides again on both; a second run changes nothing."""
    changed = played(fleet, jitsudo_mode="disabled", jitsudo_labels={"env": "staging"})
    assert changed == {"one": 2, "two": 2}  # it observes again first
    for host in fleet.hosts:
        assert mode_of(host)["mode"] == "off"
        assert "jitsudo" not in host.run("cat", "/etc/sudo.conf").stdout
    assert becomes_root(fleet.two)
    assert played(fleet, jitsudo_mode="disabled", jitsudo_labels={"env": "staging"}) == BOTH_UNCHANGED


# cloud-init.

USER_DATA = TREE / "docs" / "examples" / "cloud-init" / "user-data.yaml"
SEED = "/var/lib/cloud/seed/nocloud"
# In the order in which its services run at boot.
STAGES = ("init --local", "init", "modules --mode=config", "modules --mode=final")
# A repository in a folder takes the place of the one in the example, which is nobody's.
REPOSITORY_OF_PACKAGES = """
cd /srv/packages
for deb in *.deb; do
    dpkg-deb -f "$deb"
    printf 'Filename: ./%s\\nSize: %s\\nSHA256: %s\\n\\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d ' ' -f 1)"
done >Packages
"""


def test_cloud_init_accepts_the_example(fleet: Fleet) -> None:
    """By its own schema, without a warning."""
    fleet.controller.put("/srv/user-data.yaml", USER_DATA.read_text())
    done = fleet.controller.run("cloud-init", "schema", "--config-file", "/srv/user-data.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid" in done.stdout
    assert "deprecated" not in (done.stdout + done.stderr).lower()


def test_cloud_init_brings_a_host_up_that_observes(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    """cloud-init itself, on a host that has just been made: packages, policy, labels, and sudoers decides."""
    suite = fleet.controller.suite
    host = Lab.up(f"m{os.getpid()}-{suite}-cloud", suite, bare=True)
    request.addfinalizer(host.down)
    bring(host, lab_root("packages", suite), "/srv/packages")
    bring(host, lab_root("debs", suite, "git", "cloud-init"), "/srv/more")
    host.run("sh", "-ec", "dpkg -i /srv/more/*.deb >/srv/dpkg.log 2>&1", timeout=PLAY_SECONDS, check=True)
    host.run("sh", "-ec", f"rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; {REPOSITORY_OF_PACKAGES}", check=True)
    data = yaml.safe_load(USER_DATA.read_text())
    assert "packages.example.org" in data["apt"]["sources"]["jitsudo.list"]["source"]
    data["apt"]["sources"]["jitsudo.list"] = {"source": "deb [trusted=yes] file:/srv/packages ./"}
    host.put(f"{SEED}/user-data", "#cloud-config\n" + yaml.safe_dump(data))
    host.put(f"{SEED}/meta-data", "instance-id: i-1\n")
    settings = ["datasource_list: [NoCloud]", "network: {config: disabled}", "ssh_deletekeys: false", "locale: false", ""]
    host.put("/etc/cloud/cloud.cfg.d/99-lab.cfg", "\n".join(settings))
    for stage in STAGES:
        done = host.run("cloud-init", *stage.split(), timeout=PLAY_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(host.get("/var/lib/cloud/data/result.json"))["v1"]
    log = host.get("/var/log/cloud-init-output.log")
    assert (result["datasource"][:17], result["errors"]) == ("DataSourceNoCloud", []), log
    assert mode_of(host)["mode"] == "observe"
    assert "web-operator" in policy_of(host)
    roles = host.run("jitsudo", "roles", user="alice")
    assert "web-operator" in roles.stdout, roles.stdout + roles.stderr
    assert host.run("sudo", "-n", "true", user="alice").returncode == 1
