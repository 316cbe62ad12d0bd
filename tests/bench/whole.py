"""Drives lab hosts through scripts/lab: whole `sudo true` by everything that makes root of people, in turn, then the daemon
alone. One host for each number of rules and roles, all up at once, so that one run compares them all.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SIZES = (1, 1_000, 10_000)
ROLES_A_FILE = 500
RELOAD_SECONDS = 300
FOLDER = "/etc/jitsudo-bench"
SUDO = ["/usr/bin/sudo", "-n", "/usr/bin/true"]
CARRIER = "Plugin jitsudo_python jitsudo_python.so ModulePath={} ClassName={}\n"
# By sudo.conf: which policy plugin decides.
PLUGINS = {
    "sudo": "",
    "noop-python": CARRIER.format("/usr/libexec/jitsudo-bench/noop_plugin.py", "Noop"),
    "noop-native": "Plugin noop_native noop_native.so\n",
    "jitsudo-python": CARRIER.format("/usr/libexec/jitsudo/jitsudo_sudo_plugin.py", "JitsudoPolicy"),
    "jitsudo-native": "Plugin jitsudo_native jitsudo_native.so\n",
}
# Programs with a policy file of their own.
OTHERS = {"sudo-rs": ["/usr/bin/sudo-rs", "-n", "/usr/bin/true"], "doas": ["/usr/bin/doas", "-n", "/usr/bin/true"]}
# Their cost has nothing to do with rules.
ONCE = frozenset({"noop-python", "noop-native"})
WARM_UP = 3
SETTLE_SECONDS = 0.05
# The ratios that are printed, time over time: each is (ours, theirs).
RATIOS = [
    *[(f"{ours}-{size}-role", f"sudo-{size}-rule") for ours in ("jitsudo-native", "jitsudo-python") for size in SIZES],
    *[("jitsudo-native-10000-role", other) for other in ("sudo-1-rule", "sudo-rs-10000-rule", "doas-10000-rule")],
    ("jitsudo-native-10000-role", "jitsudo-native-1-role"),
    ("jitsudo-native-1-role", "jitsudo-python-1-role"),
    ("noop-native", "sudo-1-rule"),
]


class Caller:
    """A session on a host, of a person or root, that runs commands and tells how long they took."""

    def __init__(self, host: Host, user: str | None) -> None:
        argv = host.command("/usr/bin/python3", "-u", "/usr/libexec/jitsudo-bench/caller.py", user=user)
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, argv: list[str]) -> float:
        """The milliseconds of a command, once what the one before it left to others to do is done."""
        time.sleep(SETTLE_SECONDS)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(argv) + "\n")
        self._process.stdin.flush()
        nanoseconds, status = json.loads(self._process.stdout.readline())
        if status:
            raise SystemExit(f"bench: {' '.join(argv)}: exit status {status}")
        return float(nanoseconds / 1e6)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Host:
    """A lab host, furnished for one number of rules and roles."""

    def __init__(self, lab: str, name: str, size: int, native: list[Path]) -> None:
        self._exec = [lab, "exec", "--name", name]
        self.size = size
        self._put_files(native)
        self._put_rules()
        self._put_roles()
        self.run("/usr/bin/jitsudo", "request", "true-only", "--for", "1h", "--reason", "bench", user="alice")
        self.others = {name: argv for name, argv in OTHERS.items() if self.has(argv[0])}
        self.alice, self.root = Caller(self, "alice"), Caller(self, None)

    def command(self, *argv: str, user: str | None = None) -> list[str]:
        return [*self._exec, *(["--user", user] if user else []), "--", *argv]

    def run(self, *argv: str, user: str | None = None, stdin: bytes = b"") -> str:
        done = subprocess.run(
            self.command(*argv, user=user), input=stdin, capture_output=True, timeout=RELOAD_SECONDS, check=False
        )
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(argv)}: exit status {done.returncode}\n{done.stderr.decode()}")
        return done.stdout.decode()

    def has(self, path: str) -> bool:
        return subprocess.run(self.command("/usr/bin/test", "-x", path), check=False).returncode == 0

    def put(self, path: str, data: bytes, mode: str = "0644") -> None:
        script = 'mkdir -p "${1%/*}" && cat >"$1.new" && chmod "$2" "$1.new" && mv -T "$1.new" "$1"'
        self.run("/bin/sh", "-c", script, "sh", path, mode, stdin=data)

    def _put_files(self, native: list[Path]) -> None:
        for plugin in native:
            self.put(f"/usr/libexec/sudo/{plugin.name}", plugin.read_bytes())
        for file in ("noop_plugin.py", "caller.py"):
            self.put(f"/usr/libexec/jitsudo-bench/{file}", (HERE / file).read_bytes())
        self.run("/usr/bin/python3", "-m", "compileall", "-q", "/usr/libexec/jitsudo-bench")
        for name, text in PLUGINS.items():
            self.put(f"{FOLDER}/{name}.conf", text.encode())

    def _put_rules(self) -> None:
        """Rules about other people's programs, and the one that counts: last for sudoers, where the last match wins."""
        others = range(self.size - 1)
        sudoers = [f"u{n} ALL=(root) NOPASSWD: /usr/bin/systemctl restart unit-{n}.service\n" for n in others]
        doas = [f"permit nopass u{n} as root cmd /usr/bin/systemctl args restart unit-{n}.service\n" for n in others]
        self.put("/etc/sudoers.d/bench", "".join([*sudoers, "alice ALL=(root) NOPASSWD: /usr/bin/true\n"]).encode(), "0440")
        self.put("/etc/doas.conf", "".join([*doas, "permit nopass alice as root cmd /usr/bin/true\n"]).encode(), "0400")

    def _put_roles(self) -> None:
        """The same as roles; each stands in a file with others, as a large host's would."""
        self.run("/bin/sh", "-c", "rm -f /etc/jitsudo/policy.d/*")
        role = (
            "  r{n}:\n    description: Restart unit {n}\n    who: [\"user:u{n}\"]\n    authenticate: never\n"
            "    request: {{max_duration: 1h, approvals: 0}}\n"
            "    allow: [{{command: /usr/bin/systemctl, operands: [{{literal: restart}}, {{literal: unit-{n}.service}}]}}]\n"
        )
        ours = (
            "  true-only:\n    description: The one that counts\n    who: [\"user:alice\"]\n    authenticate: never\n"
            "    request: {max_duration: 1h, approvals: 0}\n    allow: [{command: /usr/bin/true}]\n"
        )
        roles = [role.format(n=n) for n in range(self.size - 1)] + [ours]
        for start in range(0, len(roles), ROLES_A_FILE):
            text = "version: 1\nroles:\n" + "".join(roles[start : start + ROLES_A_FILE])
            self.put(f"/etc/jitsudo/policy.d/bench-{start:05}.yaml", text.encode())
        self.run("/usr/bin/jitsudo", "policy", "reload")

    def measure(self) -> dict[str, float]:
        """One round: each contestant once, in turn."""
        taken = {}
        for name in PLUGINS:
            if name in ONCE and self.size != SIZES[0]:
                continue
            self.root(["/bin/cp", f"{FOLDER}/{name}.conf", "/etc/sudo.conf"])
            what = "role" if name.startswith("jitsudo") else "rule"
            taken[name if name in ONCE else f"{name}-{self.size}-{what}"] = self.alice(SUDO)
        for name, argv in self.others.items():
            taken[f"{name}-{self.size}-rule"] = self.alice(argv)
        return taken

    def close(self) -> None:
        self.alice.close()
        self.root.close()


def whole(hosts: list[Host], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {}
    for turn in range(rounds + WARM_UP):
        for host in hosts:
            for name, milliseconds in host.measure().items():
                if turn >= WARM_UP:
                    taken.setdefault(name, []).append(milliseconds)
    return taken


def show(taken: dict[str, list[float]], rounds: int) -> None:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n`sudo -n true`, whole process, {rounds} rounds, interleaved; load {load}")
    print(f"{'':28}{'median':>10}{'lowest':>10}{'p90':>10}")
    for name, values in sorted(taken.items(), key=lambda item: statistics.median(item[1])):
        p90 = sorted(values)[int(len(values) * 0.9)]
        print(f"{name:28}{statistics.median(values):>7.1f} ms{min(values):>7.1f} ms{p90:>7.1f} ms")
    print()
    for front_end in ("python", "native"):
        pairs = zip(taken[f"jitsudo-{front_end}-1-role"], taken[f"noop-{front_end}"], strict=True)
        above = statistics.median(ours - noop for ours, noop in pairs)
        print(f"jitsudo-{front_end} above a {front_end} policy that does nothing, pair by pair: {above:.1f} ms")
    for ours, theirs in RATIOS:
        if ours in taken and theirs in taken:
            # Pair by pair: the machine's speed may change from one round to the next.
            ratio = statistics.median(our / their for our, their in zip(taken[ours], taken[theirs], strict=True))
            # The ratio of the issue's own name: one role against one rule.
            name = f"{ours.removesuffix('-1-role')}/{theirs}" if theirs == "sudo-1-rule" else f"{ours}/{theirs}"
            print(f"ratio {name} {ratio:.2f}")


def decisions(host: Host) -> None:
    print(f"\nwhere the time goes: the daemon alone, over its socket, connect to complete reply, {host.size} roles")
    print(f"{'':44}{'median':>10}{'p99':>10}{'a second':>10}")
    script = (HERE / "decisions.py").read_bytes()
    for title, question, count, parallel in (
        ("deny (not covered)", ("1000", "alice", "/usr/bin/false", "deny"), 200, 1),
        ("allow, root outside a session", ("0", "root", "/usr/bin/true", "allow"), 200, 1),
        ("allow by grant, with its scope", ("1000", "alice", "/usr/bin/true", "allow"), 200, 1),
        ("allow by grant, with its scope, 8 at a time", ("1000", "alice", "/usr/bin/true", "allow"), 200, 8),
    ):
        result = json.loads(host.run("/usr/bin/python3", "-", *question, str(count), str(parallel), stdin=script))
        taken = sorted(result["taken"])
        median, p99 = statistics.median(taken) * 1e3, taken[int(len(taken) * 0.99)] * 1e3
        print(f"{title:44}{median:>7.2f} ms{p99:>7.2f} ms{len(taken) / result['all']:>10.0f}")


def main() -> None:
    lab, name, rounds, native = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        noop = Path(folder) / "noop_native.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", noop, HERE / "noop_plugin.c"], check=True)
        plugins = [Path(native) / "jitsudo_native.so", noop]
        hosts = [Host(lab, f"{name}-{size}", size, plugins) for size in SIZES]
    show(whole(hosts, int(rounds)), int(rounds))
    for host in hosts:
        host.close()
    decisions(hosts[0])
    decisions(hosts[-1])


main()
