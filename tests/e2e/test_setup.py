"""`jitsudo setup` for real: enabled, used, confirmed; left alone; edited by others; broken; and everything back as it was."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from acts import ask, return_everything, until
from lab import FRONT_END, SCRIPT, Lab

OTHER = "native" if FRONT_END == "python" else "python"
POLICY = """version: 1
roles:
  admin:
    description: Set jitsudo up, and look around
    who: ["group:sudo"]
    authenticate: never
    request: {max_duration: 1h, approvals: 0}
    access: [{services: [su]}]
    run_as: {users: [root]}
    root_equivalent: true
    on_expiry: kill
    allow:
      - command: /usr/bin/jitsudo
        operands: [{literal: setup}, {one_of: [enable, confirm, status, disable, rollback]}]
        options: {"--json": flag, "--force": flag, "--front-end": {one_of: [python, native, pam]}}
      - command: /usr/bin/id
      - command: /usr/bin/sleep
        operands: [{int: {max: 100000}}]
"""
SOON = 30  # seconds for what happens by itself, on a busy machine, too
WITHIN = 20  # seconds to confirm where nobody will: time enough to see that it waits
RULES = "alice ALL=(ALL) NOPASSWD: ALL\nDefaults:alice !requiretty\n"
# Every file that setup may touch: type, mode, owner, time of change, size, target; folders without their times.
SNAPSHOT = r"""
cd /etc
find sudo.conf sudoers sudoers.d pam.d jitsudo \( -type d -printf '%p %y %m %U:%G\n' \) -o \
    -printf '%p %y %m %U:%G %T@ %s %l\n' | sort
find sudo.conf sudoers sudoers.d pam.d -type f -print0 | sort -z | xargs -0 sha256sum
find . -maxdepth 1 -name '*sudo*' | sort
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One host of this file's own a release, as what is tried here changes sudo itself."""
    from conftest import SUITES

    if "stock" in metafunc.fixturenames:
        metafunc.parametrize("stock", SUITES, indirect=True, scope="module")


@pytest.fixture(scope="module")
def stock(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A host with the product and both front ends, whose sudo is Debian's; alice is in group sudo and has a file of rules."""
    lab = Lab.up(f"setup-{os.getpid()}-{FRONT_END}-{request.param}", request.param)
    try:
        lab.run("mv", "/etc/sudo.conf.before-jitsudo", "/etc/sudo.conf", check=True)
        made = [str(SCRIPT.with_name("lab-root")), "artifacts", lab.suite, OTHER]
        folder = subprocess.run(made, capture_output=True, text=True, check=True).stdout.strip()
        for built in Path(folder).glob("*.so"):
            lab.put(f"/usr/libexec/sudo/{built.name}", built.read_bytes())
        lab.put("/etc/jitsudo/policy.d/admin.yaml", POLICY)
        lab.put("/etc/sudoers.d/90-alice", RULES, mode=0o440)
        lab.run("sh", "-c", "usermod -aG sudo alice && jitsudo policy reload", check=True)
        yield lab
    finally:
        lab.down()


def snapshot(lab: Lab) -> str:
    return lab.run("sh", "-c", SNAPSHOT, check=True).stdout


@pytest.fixture
def debian(stock: Lab) -> Iterator[Lab]:
    """Before each test, sudo is Debian's; after it, everything is as it was, byte for byte."""
    before = snapshot(stock)
    yield stock
    stock.run("jitsudo", "setup", "rollback", "--force")
    return_everything(stock)
    stock.run("sh", "-c", "rm -f /etc/*.edited-since-jitsudo /etc/sudoers.d/*.edited-since-jitsudo")
    assert snapshot(stock) == before


def setup(lab: Lab, *words: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
    return lab.run("jitsudo", "setup", *words, user=user)


def enable(lab: Lab, *words: str, front_end: str = FRONT_END) -> None:
    done = setup(lab, "enable", "--front-end", front_end, *words)
    assert done.returncode == 0, done.stderr


def problems(lab: Lab, *words: str) -> dict[str, list[dict[str, Any]]]:
    """What keeps from enabling, by check; nothing was changed."""
    before = snapshot(lab)
    done = setup(lab, "enable", "--front-end", FRONT_END, "--json", *words)
    assert done.returncode == 1, done.stdout
    assert snapshot(lab) == before
    found: dict[str, list[dict[str, Any]]] = {}
    for problem in json.loads(done.stdout)["problems"]:
        assert problem["cure"], problem
        found.setdefault(problem["check"], []).append(problem)
    return found


def status(lab: Lab) -> dict[str, Any]:
    done = setup(lab, "status", "--json")
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def events(lab: Lab, event: str) -> list[str]:
    """What the journal has of an event of setup's, by its reasons. It comes there a moment after it is on record."""
    done = lab.run("journalctl", "--no-pager", "-o", "json", "-n", "20", f"JITSUDO_EVENT={event}")
    return [json.loads(line).get("JITSUDO_REASON", "") for line in done.stdout.splitlines()]


@contextmanager
def sleeping(lab: Lab, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """alice's `sudo sleep SECONDS`, which runs; afterwards it does not."""
    running = lab.start("sudo", "-n", "sleep", str(seconds), user="alice")
    try:
        until(lambda: lab.run("pgrep", "-f", f"^sleep {seconds}").returncode == 0, "sudo runs it", SOON)
        yield running
    finally:
        lab.run("pkill", "-f", f"^sleep {seconds}")
        try:
            running.communicate(timeout=SOON)
        finally:
            running.kill()


def sudo_id(lab: Lab) -> subprocess.CompletedProcess[str]:
    return lab.run("sudo", "-n", "id", "-u", user="alice")


def test_enabled_by_stock_sudo_used_and_confirmed_from_a_second_login(debian: Lab) -> None:
    """The whole way, as an administrator goes it."""
    done = debian.run("sudo", "jitsudo", "setup", "enable", "--front-end", FRONT_END, user="alice")
    assert (done.returncode, "jitsudo setup confirm" in done.stdout) == (0, True), done.stderr
    refused = sudo_id(debian)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "holds no grant" in refused.stderr
    ask(debian, "admin")
    assert sudo_id(debian).returncode == 1  # `id -u` is not what the role allows
    assert debian.run("sudo", "-n", "id", user="alice").returncode == 0
    confirmed = debian.run("sudo", "-n", "jitsudo", "setup", "confirm", user="alice")
    assert (confirmed.returncode, "through jitsudo" in confirmed.stdout) == (0, True), confirmed.stderr
    now = status(debian)
    assert (now["mode"], now["front_end"], now["by"], now["differences"]) == ("enabled", FRONT_END, "alice", [])
    assert "/etc/jitsudo/kept/sudoers.d/90-alice" in now["kept"]
    assert debian.run("systemctl", "is-active", "jitsudo-rollback.timer").stdout == "inactive\n"
    rules = debian.run("cvtsudoers", "-f", "json", "/etc/sudoers", check=True).stdout
    assert "User_Specs" not in rules
    assert debian.run("visudo", "-c").returncode == 0
    assert setup(debian, "enable", "--front-end", FRONT_END).returncode == 0
    for event in ("setup.enabled", "setup.confirmed"):
        assert len(until(lambda one=event: events(debian, one), event, SOON)) == 1, "on record once"  # type: ignore[misc]
    disabled = debian.run("sudo", "-n", "jitsudo", "setup", "disable", user="alice")
    assert disabled.returncode == 0, disabled.stderr
    assert sudo_id(debian).stdout == "0\n"
    until(lambda: events(debian, "setup.disabled"), "it is on record", SOON)


def test_the_login_that_enabled_it_confirms_nothing(debian: Lab) -> None:
    """It was open before; what is wanted is said."""
    script = f"""sudo jitsudo setup enable --front-end {FRONT_END} >/dev/null &&
        jitsudo request admin --reason x >/dev/null && sudo -n jitsudo setup confirm"""
    done = debian.run("sh", "-c", script, user="alice")
    assert done.returncode == 3, done.stderr
    assert "log in anew" in done.stderr
    assert setup(debian, "confirm").returncode == 3
    assert status(debian)["mode"] == "unconfirmed"


def test_without_a_confirmation_everything_comes_back_by_itself(debian: Lab) -> None:
    """Byte for byte, with owners, modes and times, and on record; sudo decides by sudoers again."""
    before = snapshot(debian)
    enable(debian, "--confirm-within", f"{WITHIN}s")
    assert snapshot(debian) != before
    assert sudo_id(debian).returncode == 1
    assert setup(debian, "enable", "--front-end", FRONT_END).returncode == 4
    until(lambda: status(debian)["mode"] == "off", "everything is put back", WITHIN + SOON)
    assert snapshot(debian) == before
    assert sudo_id(debian).stdout == "0\n"
    assert status(debian)["restored"]["reason"] == "nobody confirmed it in time"
    until(lambda: len(events(debian, "setup.rolled_back")) >= 2, "both records", SOON)
    until(lambda: debian.run("systemctl", "is-active", "jitsudo-rollback.timer").stdout == "inactive\n", "the timer ends", SOON)
    assert debian.run("systemctl", "is-failed", "jitsudo-rollback.service").returncode == 1


def test_a_reboot_before_the_confirmation_puts_everything_back(debian: Lab) -> None:
    """The unit of the next boot sees that it is another boot; here, the state says that it was."""
    before = snapshot(debian)
    enable(debian)
    assert debian.run("systemctl", "is-enabled", "jitsudo-rollback.service").stdout == "enabled\n"
    debian.run("sed", "-i", "s/^boot_id .*/boot_id 0123/", "/var/lib/jitsudo/setup/state", check=True)
    for _ in range(2):  # the first may join a run of the timer's that had read the state before
        debian.run("systemctl", "start", "jitsudo-rollback.service", check=True)
    assert snapshot(debian) == before


def test_systemd_starts_what_puts_everything_back_however_often_it_has_to(debian: Lab) -> None:
    """Whoever enables and takes back again and again is never left without the watch."""
    enable(debian)
    for unit in ("jitsudo-rollback.service", "jitsudo-rollback.timer"):
        often = f"for n in 1 2 3 4 5 6 7 8 9; do systemctl stop {unit} && systemctl start {unit} || exit 1; done"
        done = debian.run("sh", "-c", often)
        assert done.returncode == 0, done.stderr
    assert debian.run("systemctl", "is-active", "jitsudo-rollback.timer").stdout == "active\n"


def test_systemd_opens_the_sockets_however_often_they_were_closed(debian: Lab) -> None:
    """Upgrades and people restart them; one time too many would leave nobody but root with sudo."""
    sockets = "jitsudod-decide.socket jitsudod-control.socket jitsudo-auth.socket"
    done = debian.run("sh", "-c", f"for n in 1 2 3 4 5 6 7 8 9; do systemctl restart {sockets} || exit 1; done")
    assert done.returncode == 0, done.stderr
    debian.run("systemctl", "start", "jitsudod.service", check=True)  # it goes with them, and nobody waited for it
    assert debian.run("systemctl", "is-active", "jitsudod.service", *sockets.split()).stdout == "active\n" * 4


def test_running_commands_survive_enabling_and_disabling(debian: Lab) -> None:
    """Of stock sudo while jitsudo comes, of jitsudo while it goes."""
    with sleeping(debian, 41001) as stock_sudo:
        enable(debian)
        ask(debian, "admin")
        with sleeping(debian, 41002) as ours:
            assert setup(debian, "disable").returncode == 0
            time.sleep(0.5)
            assert (stock_sudo.poll(), ours.poll()) == (None, None)


def test_a_switch_to_the_other_front_end_wants_a_confirmation_again(debian: Lab) -> None:
    """And all is put back from there, too."""
    before = snapshot(debian)
    enable(debian)
    enable(debian, front_end=OTHER)
    now = status(debian)
    assert (now["mode"], now["front_end"], now["differences"]) == ("unconfirmed", OTHER, [])
    assert "holds no grant" in sudo_id(debian).stderr
    assert setup(debian, "disable").returncode == 0
    assert snapshot(debian) == before


def test_a_sudo_conf_that_others_edited_keeps_their_lines(debian: Lab) -> None:
    """Only ours go."""
    conf = debian.get("/etc/sudo.conf")
    debian.run("cp", "-p", "/etc/sudo.conf", "/root/sudo.conf", check=True)
    enable(debian)
    debian.run("sh", "-c", "echo 'Path askpass /usr/bin/true' >>/etc/sudo.conf", check=True)
    assert any("sudo.conf was edited" in one for one in status(debian)["differences"])
    assert setup(debian, "disable").returncode == 0
    assert debian.get("/etc/sudo.conf") == conf + "Path askpass /usr/bin/true\n"
    assert sudo_id(debian).stdout == "0\n"
    debian.run("mv", "/root/sudo.conf", "/etc/sudo.conf", check=True)


def test_a_sudoers_that_others_put_back_is_not_touched_without_force(debian: Lab) -> None:
    """With it, theirs is put aside."""
    enable(debian)
    debian.put("/etc/sudoers", "mallory ALL=(ALL) ALL\n", mode=0o440)
    done = setup(debian, "disable")
    assert (done.returncode, "/etc/sudoers" in done.stderr, "--force" in done.stderr) == (1, True, True), done.stderr
    assert status(debian)["mode"] == "unconfirmed"
    assert "holds no grant" in sudo_id(debian).stderr
    assert setup(debian, "disable", "--force").returncode == 0
    assert debian.get("/etc/sudoers.edited-since-jitsudo") == "mallory ALL=(ALL) ALL\n"
    assert sudo_id(debian).stdout == "0\n"


def test_who_would_be_left_outside_is_named_and_can_be_waived(debian: Lab) -> None:
    """Members of groups, files of rules, directories: each by name, each with a cure, none as a whole."""
    others = "User_Alias OPS = mallory, agent\nOPS ALL=(ALL) ALL\n%:ad-group ALL=ALL\n"
    debian.put("/etc/sudoers.d/80-others", others, mode=0o440)
    debian.run("sh", "-c", "cp -p /etc/nsswitch.conf /root/ && echo 'sudoers: files ldap' >>/etc/nsswitch.conf", check=True)
    try:
        found = problems(debian)
        waivers = sorted(problem["waive"] for problem in (*found["account"], *found["sudoers"]))
        assert waivers == ["account:mallory", "sudoers:/etc/sudoers.d/80-others", "sudoers:ldap"]
        left = problems(debian, "--waive", "sudoers:/etc/sudoers.d/80-others")
        assert {check: [one["waive"] for one in found] for check, found in left.items()} == {"sudoers": ["sudoers:ldap"]}
        enable(debian, "--waive", "sudoers:/etc/sudoers.d/80-others", "--waive", "sudoers:ldap")
        waived = "waived: sudoers:/etc/sudoers.d/80-others, sudoers:ldap"
        until(lambda: waived in "".join(events(debian, "setup.enabled")), "the waivers are on record", SOON)
        assert setup(debian, "disable").returncode == 0
    finally:
        debian.run("sh", "-c", "mv /root/nsswitch.conf /etc/nsswitch.conf; rm /etc/sudoers.d/80-others", check=True)


def test_without_a_way_in_nothing_is_enabled(debian: Lab) -> None:
    """No role for anybody, no password of root's, no daemon: all at once, each with its cure."""
    script = "cp -p /etc/shadow /root/; mv /etc/jitsudo/policy.d /root/; mkdir /etc/jitsudo/policy.d; passwd -q -l root"
    debian.run("sh", "-c", script, check=True)
    try:
        found = problems(debian)
        assert {"policy", "root-password"} <= set(found)
        assert "root-password" not in problems(debian, "--waive", "root-password")
    finally:
        script = "cp -p /root/shadow /etc/; rmdir /etc/jitsudo/policy.d; mv /root/policy.d /etc/jitsudo/"
        debian.run("sh", "-c", script, check=True)
    debian.run("systemctl", "stop", "jitsudod.service", "jitsudod-control.socket", "jitsudod-decide.socket", check=True)
    try:
        assert "daemon" in problems(debian)
    finally:
        debian.run("systemctl", "start", "jitsudod-control.socket", "jitsudod-decide.socket", "jitsudod.service", check=True)


def test_a_sudoers_that_cannot_be_read_is_said_and_left(debian: Lab) -> None:
    """visudo's own words."""
    debian.put("/etc/sudoers.d/10-broken", "this is no rule\n", mode=0o440)
    try:
        (problem,) = problems(debian)["sudoers"]
        assert "/etc/sudoers.d/10-broken:1" in problem["found"]
    finally:
        debian.run("rm", "/etc/sudoers.d/10-broken", check=True)


def test_a_read_only_etc_is_said_before_and_after(debian: Lab) -> None:
    """Nothing is changed; and where everything was to be put back, it is said what to do, and done the next time."""
    read_only = "mount --bind /etc /etc && mount -o remount,bind,ro /etc"
    debian.run("sh", "-c", read_only, check=True)
    try:
        assert "etc" in problems(debian)
    finally:
        debian.run("umount", "/etc", check=True)
    before = snapshot(debian)
    enable(debian)
    debian.run("sh", "-c", read_only, check=True)
    try:
        done = setup(debian, "rollback")
        assert (done.returncode, "cannot be put back" in done.stderr) == (1, True), done.stderr
        assert status(debian)["mode"] == "unconfirmed"
    finally:
        debian.run("umount", "/etc", check=True)
    assert setup(debian, "rollback").returncode == 0
    assert snapshot(debian) == before


def test_a_plugin_that_sudo_does_not_load_is_found_in_the_dry_run(debian: Lab) -> None:
    """Under the very sudo that is installed; sudo outside of the trial does not notice."""
    plugin = f"/usr/libexec/sudo/jitsudo_{FRONT_END}.so"
    debian.run("sh", "-c", f"mv {plugin} /root/plugin.so; echo no library >{plugin}", check=True)
    try:
        assert set(problems(debian)) & {"dry-run", "installed"}
        assert sudo_id(debian).stdout == "0\n"
    finally:
        debian.run("mv", "/root/plugin.so", plugin, check=True)


def test_an_upgrade_that_breaks_the_front_end_is_repaired_by_verify(debian: Lab) -> None:
    """The native front end takes the Python one's place; without it, sudoers decides again."""
    before = snapshot(debian)
    enable(debian)
    assert setup(debian, "verify").returncode == 0
    plugin = f"/usr/libexec/sudo/jitsudo_{FRONT_END}.so"
    debian.run("mv", plugin, "/root/plugin.so", check=True)
    try:
        assert sudo_id(debian).returncode == 1
        done = setup(debian, "verify", "--json")
        assert done.returncode == 1, done.stderr
        left = json.loads(done.stdout)["front_end"]
        if FRONT_END == "python":
            assert (left, status(debian)["front_end"], status(debian)["differences"]) == ("native", "native", [])
            assert "holds no grant" in sudo_id(debian).stderr
            assert setup(debian, "disable").returncode == 0
        assert snapshot(debian) == before
        assert sudo_id(debian).stdout == "0\n"
        until(lambda: events(debian, "setup.verify_failed"), "it is on record", SOON)
    finally:
        debian.run("mv", "/root/plugin.so", plugin, check=True)


def test_the_kept_program_restores_without_the_package_and_without_python(debian: Lab) -> None:
    """The package was removed by force: a shell is enough."""
    before = snapshot(debian)
    enable(debian)
    script = """
        mv /usr/libexec/jitsudo /root/libexec; mv /var/lib/jitsudo/setup /root/setup; mv /usr/libexec/sudo/jitsudo_*.so /root/
        chmod -x /usr/bin/python3.*
        sh /etc/jitsudo/kept/jitsudo-restore; status=$?
        setpriv --reuid alice --regid alice --init-groups sudo -n id -u
        chmod +x /usr/bin/python3.*
        mv /root/jitsudo_*.so /usr/libexec/sudo/; mv /root/libexec /usr/libexec/jitsudo; rm -rf /root/setup
        exit $status
    """
    done = debian.run("sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert debian.get("/etc/sudoers.d/90-alice") == RULES
    # Without the state nobody can say that sudo.conf is as it was left: our line is taken out of it, and the time is new.
    debian.run("touch", "-d", f"@{original_time(before)}", "/etc/sudo.conf", check=True)


def original_time(shown: str) -> str:
    return next(line.split()[4] for line in shown.splitlines() if line.startswith("sudo.conf "))


def test_pam_as_the_front_end_and_back(debian: Lab) -> None:
    """su wants a grant; who could not log in over ssh any more is named first; the stacks come back with their times."""
    before = snapshot(debian)
    found = setup(debian, "enable", "--front-end", "pam", "--json")
    waivers = [one["waive"] for one in json.loads(found.stdout)["problems"]]
    assert {"account:alice", "account:bob"} <= set(waivers)
    enable(debian, *(word for waiver in waivers for word in ("--waive", waiver)), front_end="pam")
    now = status(debian)
    assert (now["mode"], now["front_end"], now["differences"]) == ("unconfirmed", "pam", [])
    su = ("su", "root", "-c", "id -u")
    assert "holds no grant" in debian.run(*su, user="alice", input="root\n").stderr
    ask(debian, "admin")
    assert debian.run(*su, user="alice", input="root\n").stdout.endswith("0\n")
    confirmed = debian.run("su", "root", "-c", "jitsudo setup confirm", user="alice", input="root\n")
    assert (confirmed.returncode, status(debian)["mode"]) == (0, "enabled"), confirmed.stderr
    assert setup(debian, "disable").returncode == 0
    assert snapshot(debian) == before
    assert debian.run(*su, user="bob", input="root\n").stdout.endswith("0\n")


# Enable without the checks, and at the N-th call that changes a file system, let a signal come: the calls are replaced here, in
# the test, as the program has no hook for it. Prints the step that the state names after each try.
CUT_OFF = r"""
import os, signal, sys
from jitsudo.setup import enabling, operations
from jitsudo.setup.places import Places
from jitsudo.setup.state import SetupState
from jitsudo.setup.sudoconf import FrontEnd
from jitsudo.types import Duration
at, number, calls = int(sys.argv[1]), int(sys.argv[2]), 0
def counted(real):
    def call(*args, **named):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), number)
        return real(*args, **named)
    return call
for name in ("rename", "link", "fsync", "fchmod", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
places = Places()
plan = operations.make_plan(FrontEnd(sys.argv[3]), Duration.parse("10m"), places, SetupState())
enabling.enable(plan)
print("whole", calls)
"""
# cut FRONT-END SIGNAL STRIDE: every STRIDE-th N until an enable is whole. One line a try: N, how it ended, the step, whether
# sudo.conf names us, whether nothing had changed, what sudo says to alice. After it everything is put back, as it was.
CUT_LOOP = """
snap() { SNAPSHOT
}
before=$(snap); n=1
while n=$((n + $3)); [ $n -le 200 ]; do
    out=$(python3 -I -c "$(cat /root/cut.py)" $n $2 $1 2>/dev/null); status=$?
    step=$(sed -n 's/^step //p' /var/lib/jitsudo/setup/state 2>/dev/null)
    said=$(setpriv --reuid alice --regid alice --init-groups sudo -n id -u 2>&1 | head -1)
    ours=$(grep -c '^Plugin jitsudo_' /etc/sudo.conf)
    same=no; [ "$(snap)" != "$before" ] || same=yes
    why=$(sh /usr/libexec/jitsudo/jitsudo-restore --observing 2>&1) || { echo "$n, step $step, restore failed: $why"; exit 1; }
    snap >/root/now
    echo "$before" | diff - /root/now || { echo "$n, step $step, is not as it was"; exit 1; }
    echo "$n|$status|${step:-none}|$ours|$same|$said"
    case $out in whole*) exit 0 ;; esac
done
exit 1
"""


def cut(lab: Lab, number: int, stride: int) -> list[list[str]]:
    """The tries: N, status, step, lines of ours in sudo.conf, whether nothing had changed, sudo's answer. The last is whole."""
    lab.put("/root/cut.py", CUT_OFF)
    lab.put("/root/cut.sh", CUT_LOOP.replace("SNAPSHOT", "(" + SNAPSHOT.strip() + ")"))
    done = lab.run("sh", "/root/cut.sh", FRONT_END, str(number), str(stride), timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    return [line.split("|") for line in done.stdout.splitlines()]


def test_killed_at_changes_of_a_file_system_sudo_works_and_all_comes_back(debian: Lab) -> None:
    """At every fourth call, which is at least once in every step; sudoers decides, or jitsudo does."""
    *tries, whole = cut(debian, 9, stride=4)
    assert whole[1] == "0"
    assert {one[1] for one in tries} == {"137"}, "each of them was killed"
    assert {"none", "watch", "keep", "sudo.conf", "sudoers", "drop-ins"} <= {one[2] for one in tries}
    for number, _, step, ours, _, said in tries:
        expected = "0" if ours == "0" else "holds no grant"
        assert expected in said, f"call {number}, step {step}: {said}"
    assert {one[3] for one in tries} == {"0", "1"}, "before the change, and after it"


def test_interrupted_at_changes_of_a_file_system_it_puts_everything_back_itself(debian: Lab) -> None:
    """^C at every twelfth call: nothing is left changed, without anybody's help."""
    *tries, whole = cut(debian, 2, stride=12)
    assert whole[1] == "0"
    assert len(tries) >= 5
    for number, status_, step, _, same, said in tries:
        assert (status_ != "0", same, said) == (True, "yes", "0"), f"call {number}, step {step}"
