"""The carrier closes the hole in sudo's Python plugin host: the caller's PATH must never choose root's Python.

Everything here runs as mallory against a policy that denies; each attack plants code that says as whom it ran.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import SCRIPT, Lab

PROBE = Path(__file__).parent / "data" / "carrier" / "carrier_probe.py"
CARRIED = "jitsudo_python jitsudo_python.so"
NAKED = "python_policy python_plugin.so"
OPTIONS = "ModulePath=/usr/libexec/probe/carrier_probe.py ClassName=Probe"
MARK = "/tmp/evil/ran"
PLANTED = f"""
import posix
descriptor = posix.open("{MARK}", posix.O_CREAT | posix.O_WRONLY | posix.O_APPEND, 0o666)
posix.write(descriptor, b"uid %d\\n" % posix.geteuid())
"""
# A Python prefix of mallory's own. Its `encodings` is the first module that an interpreter imports.
PLANT = """
set -e
mkdir -p /tmp/evil/bin
cat >/tmp/evil/planted
for version in 3.11 3.13; do
    mkdir -p /tmp/evil/lib/python$version/encodings /tmp/evil/lib/python$version/lib-dynload
    touch /tmp/evil/lib/python$version/os.py
    cp /tmp/evil/planted /tmp/evil/lib/python$version/encodings/__init__.py
done
cp /usr/bin/python3 /tmp/evil/bin/python3
printf '#!/bin/sh\\necho "uid $(id -u)" >>/tmp/evil/ran\\n' >/tmp/evil/bin/sh
chmod +x /tmp/evil/bin/sh
"""
ATTACKS = {
    "foreign prefix first in PATH": 'PATH=/tmp/evil/bin:$PATH exec /usr/bin/sudo "$@"',
    "foreign prefix alone in PATH": 'PATH=/tmp/evil/bin exec /usr/bin/sudo "$@"',
    "empty PATH, foreign cwd": 'cd /tmp/evil/bin; PATH= exec /usr/bin/sudo "$@"',
    "dot in PATH, foreign cwd": 'cd /tmp/evil/bin; PATH=. exec /usr/bin/sudo "$@"',
    "no PATH, foreign cwd": 'cd /tmp/evil/bin; unset PATH; exec /usr/bin/sudo "$@"',
    "relative PATH": 'cd /tmp; PATH=evil/bin:/usr/bin exec /usr/bin/sudo "$@"',
    "PYTHONHOME": 'PYTHONHOME=/tmp/evil exec /usr/bin/sudo "$@"',
    "PYTHONPATH": 'PYTHONPATH=/tmp/evil/lib/python3.11:/tmp/evil/lib/python3.13 exec /usr/bin/sudo "$@"',
    "PYTHONPLATLIBDIR": 'cd /tmp/evil; PYTHONPLATLIBDIR=/tmp/evil/lib exec /usr/bin/sudo "$@"',
    "argv[0]": 'exec -a /tmp/evil/bin/python3 /usr/bin/sudo "$@"',
}
CALLS = {"a command": ["true"], "-V": ["-V"], "-l": ["-l"], "-v": ["-v"], "-K": ["-K"]}


def configure(lab: Lab, plugin: str) -> None:
    lab.put("/etc/sudo.conf", f"Plugin {plugin} {OPTIONS}\n")


@pytest.fixture(scope="module")
def carrier(bare_host: Lab) -> Iterator[Lab]:
    """A host whose sudo asks the probe, through the carrier."""
    built = subprocess.run(
        [SCRIPT.with_name("lab-root"), "artifacts", bare_host.suite], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    for name in ("jitsudo_python.so", "python_plugin.so"):
        bare_host.put(f"/usr/libexec/sudo/{name}", Path(built, name).read_bytes())
    bare_host.put("/usr/libexec/probe/carrier_probe.py", PROBE.read_bytes())
    bare_host.run("python3", "-I", "-m", "compileall", "-q", "/usr/libexec/probe", check=True)
    kept = bare_host.get("/etc/sudo.conf")
    yield bare_host
    bare_host.put("/etc/sudo.conf", kept)


@pytest.fixture
def guarded(carrier: Lab) -> Lab:
    """The carrier configured, mallory's prefix planted."""
    configure(carrier, CARRIED)
    carrier.run("rm", "-rf", "/tmp/evil", check=True)
    carrier.run("bash", "-c", PLANT, user="mallory", input=PLANTED, check=True)
    return carrier


def attack(lab: Lab, script: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return lab.run("bash", "-c", script, "attack", *argv, user="mallory")


def planted_code_ran(lab: Lab) -> str:
    return lab.run("cat", MARK).stdout


def test_the_hole_is_real_without_the_carrier(guarded: Lab) -> None:
    """sudo's Python host, configured as its manual says, gives mallory root."""
    configure(guarded, NAKED)
    attack(guarded, ATTACKS["foreign prefix first in PATH"], "true")
    assert planted_code_ran(guarded).startswith("uid 0\n")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ATTACKS)
def test_planted_code_never_runs(guarded: Lab, name: str, call: str) -> None:
    """No environment, cwd or argv[0] of the caller's brings code of theirs into sudo."""
    done = attack(guarded, ATTACKS[name], *CALLS[call])
    assert planted_code_ran(guarded) == ""
    assert "Traceback" not in done.stderr
    if call == "a command":
        assert (done.returncode, done.stdout) == (1, "")
        assert "prefix /usr\n" in done.stderr


def test_calls_reach_the_policy(guarded: Lab) -> None:
    """A denial is the policy's own, and it still sees the caller's PATH."""
    done = guarded.run("env", "PATH=/tmp/mine:/usr/bin", "/usr/bin/sudo", "id", "-u", user="mallory")
    assert (done.returncode, done.stdout) == (1, "")
    assert "probe: ('id', '-u') user PATH=/tmp/mine:/usr/bin prefix /usr\n" in done.stderr
    assert "probe: list\n" in guarded.run("sudo", "-l", user="mallory").stderr


def test_a_call_that_the_policy_lacks_is_refused_by_sudo(guarded: Lab) -> None:
    """What the Python class does not define is NULL for sudo, not a call into nowhere."""
    done = guarded.run("sudo", "-v", user="mallory")
    assert done.returncode == 1
    assert "does not support" in done.stderr


def test_version_is_shown(guarded: Lab) -> None:
    """`sudo -V` opens the plugin, starts Python and comes back."""
    done = guarded.run("sudo", "-V", user="mallory")
    assert (done.returncode, "Sudo version" in done.stdout) == (0, True)
    assert guarded.run("sudo", "-V").returncode == 0


def test_umask_of_the_caller_leaves_nothing_writable(guarded: Lab) -> None:
    """A first import under umask 0 must not leave a folder or file that others may write."""
    guarded.run("touch", "/run/before", check=True)
    attack(guarded, 'umask 0; exec /usr/bin/sudo "$@"', "true")
    attack(guarded, 'umask 0; exec /usr/bin/sudo "$@"', "-V")
    writable = ["find", "/usr/libexec", "/usr/lib/python3", "/usr/lib/python3.11", "/usr/lib/python3.13"]
    assert guarded.run(*writable, "!", "-type", "l", "-perm", "/022").stdout == ""
    assert guarded.run(*writable, "-newer", "/run/before").stdout == ""


@pytest.mark.parametrize("call", CALLS)
def test_planted_code_never_runs_on_an_installed_host(host: Lab, call: str) -> None:
    """What scripts/install put in place is guarded, and leaves nothing that others may write."""
    host.run("rm", "-rf", "/tmp/evil", check=True)
    host.run("bash", "-c", PLANT, user="mallory", input=PLANTED, check=True)
    host.run("touch", "/run/before", check=True)
    done = attack(host, "umask 0; PATH=/tmp/evil/bin:$PATH exec /usr/bin/sudo -n \"$@\"", *CALLS[call])
    assert planted_code_ran(host) == ""
    assert "Traceback" not in done.stderr
    if call == "a command":
        assert (done.returncode, done.stdout) == (1, "")
        assert "jitsudo" in done.stderr
    ours = ["find", "/usr/libexec", "/usr/lib/python3", "/etc/jitsudo", "/etc/sudo.conf"]
    assert host.run(*ours, "!", "-type", "l", "(", "-perm", "/022", "-o", "!", "-user", "root", ")").stdout == ""
    assert host.run(*ours, "-newer", "/run/before").stdout == ""


@pytest.mark.parametrize(
    ("damage", "repair"),
    [
        ("mv {0} {0}.away", "mv {0}.away {0}"),
        ("chmod 0666 {0}", "chmod 0644 {0}"),
        ("chown mallory {0}", "chown root {0}"),
        ("cp -p {0} {0}.away; echo nonsense >{0}", "mv {0}.away {0}"),
        ("mv {0} {0}.away; cp /usr/libexec/sudo/sudo_noexec.so {0}", "mv {0}.away {0}"),
    ],
    ids=["missing", "writable", "somebody else's", "damaged", "another library"],
)
def test_a_python_host_that_cannot_be_trusted_stops_sudo(guarded: Lab, damage: str, repair: str) -> None:
    """sudo refuses everybody, root too, and says which file and what to do."""
    path = "/usr/libexec/sudo/python_plugin.so"
    guarded.run("sh", "-c", damage.format(path), check=True)
    try:
        for user in ("mallory", None):
            done = guarded.run("sudo", "true", user=user)
            assert (done.returncode, done.stdout) == (1, "")
            assert f"jitsudo: cannot use {path}: " in done.stderr
            assert "reinstall jitsudo" in done.stderr
    finally:
        guarded.run("sh", "-c", repair.format(path), check=True)
    assert "probe: " in guarded.run("sudo", "true", user="mallory").stderr


def test_the_carrier_is_hardened(carrier: Lab) -> None:
    """Full RELRO, no search path, and one symbol to the outside."""
    built = Path(
        subprocess.run(
            [SCRIPT.with_name("lab-root"), "artifacts", carrier.suite], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
    )
    for name in ("jitsudo_python.so", "python_plugin.so"):
        dynamic = subprocess.run(["readelf", "-d", built / name], capture_output=True, text=True, check=True).stdout
        assert "BIND_NOW" in dynamic
        assert "RPATH" not in dynamic
        assert "RUNPATH" not in dynamic
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", built / "jitsudo_python.so"], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in symbols.stdout.splitlines()] == ["jitsudo_python"]
