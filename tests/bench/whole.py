"""Drives a lab host through scripts/lab: whole `sudo true` under three policies in turn, then the daemon alone."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CARRIER = "Plugin jitsudo_python jitsudo_python.so ModulePath={} ClassName={}\n"
POLICIES = {
    "sudoers": "",
    "sudoers, 1,000 rules": "",
    "sudoers, 10,000 rules": "",
    "do-nothing Python policy": CARRIER.format("/usr/libexec/jitsudo-bench/noop_plugin.py", "Noop"),
    "jitsudo": CARRIER.format("/usr/libexec/jitsudo/jitsudo_sudo_plugin.py", "JitsudoPolicy"),
}
# For each sudoers file: how many rules about other people's programs stand beside the one that counts.
OTHER_RULES = {"sudoers": 0, "sudoers, 1,000 rules": 999, "sudoers, 10,000 rules": 9_999}
SUDO = ["/usr/bin/sudo", "-n", "/usr/bin/true"]


class Host:
    def __init__(self, lab: str, name: str) -> None:
        self._exec = [lab, "exec", "--name", name]

    def run(self, *argv: str, user: str | None = None, stdin: str = "") -> str:
        as_user = ["--user", user] if user else []
        done = subprocess.run([*self._exec, *as_user, "--", *argv], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: {' '.join(argv)}: exit status {done.returncode}\n{done.stderr}")
        return done.stdout

    def put(self, path: str, text: str) -> None:
        self.run("/bin/sh", "-c", 'cat >"$1.new" && chmod 0644 "$1.new" && mv "$1.new" "$1"', "sh", path, stdin=text)

    def caller(self, user: str) -> subprocess.Popen[str]:
        argv = [*self._exec, "--user", user, "--", "/usr/bin/python3", "-u", "/usr/libexec/jitsudo-bench/caller.py"]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def sudoers(others: int) -> str:
    rules = [f"u{n} ALL=(root) NOPASSWD: /usr/bin/systemctl restart unit-{n}.service\n" for n in range(others)]
    return "".join(rules) + "alice ALL=(root) NOPASSWD: /usr/bin/true\n"


def ask(caller: subprocess.Popen[str], argv: list[str]) -> float:
    assert caller.stdin is not None
    assert caller.stdout is not None
    caller.stdin.write(json.dumps(argv) + "\n")
    caller.stdin.flush()
    nanoseconds, status = json.loads(caller.stdout.readline())
    if status:
        raise SystemExit(f"bench: {' '.join(argv)}: exit status {status}")
    return nanoseconds / 1e6


def whole(host: Host, rounds: int) -> None:
    caller = host.caller("alice")
    taken: dict[str, list[float]] = {name: [] for name in POLICIES}
    for turn in range(rounds + 3):
        for name, text in POLICIES.items():
            if name in OTHER_RULES:
                host.run("/bin/ln", "-sf", f"/etc/jitsudo-bench/{OTHER_RULES[name]}", "/etc/jitsudo-bench/rules")
            host.put("/etc/sudo.conf", text)
            milliseconds = ask(caller, SUDO)
            if turn >= 3:  # the first few warm the caches
                taken[name].append(milliseconds)
    caller.stdin.close()  # type: ignore[union-attr]
    caller.wait()
    floor = statistics.median(taken["do-nothing Python policy"])
    print(f"\n`sudo -n true`, whole process, {rounds} rounds, interleaved")
    print(f"{'':28}{'median':>10}{'lowest':>10}{'p90':>10}{'ratio':>8}")
    for name, values in taken.items():
        median, lowest, p90 = statistics.median(values), min(values), sorted(values)[int(len(values) * 0.9)]
        print(f"{name:28}{median:>7.1f} ms{lowest:>7.1f} ms{p90:>7.1f} ms{median / floor:>8.2f}")
    above = [ours - noop for ours, noop in zip(taken["jitsudo"], taken["do-nothing Python policy"], strict=True)]
    print(f"jitsudo above the do-nothing Python policy, pair by pair: median {statistics.median(above):.1f} ms")


def decisions(host: Host) -> None:
    print("\nthe daemon alone, over its socket: connect to complete reply")
    print(f"{'':44}{'median':>10}{'p99':>10}{'a second':>10}")
    script = (HERE / "decisions.py").read_text()
    for title, question, count, parallel in (
        ("deny (not covered)", ("1000", "alice", "/usr/bin/false", "deny"), 400, 1),
        ("allow, root outside a session", ("0", "root", "/usr/bin/true", "allow"), 400, 1),
        ("allow by grant, with its scope", ("1000", "alice", "/usr/bin/true", "allow"), 200, 1),
        ("allow by grant, with its scope, 8 at a time", ("1000", "alice", "/usr/bin/true", "allow"), 200, 8),
    ):
        result = json.loads(host.run("/usr/bin/python3", "-", *question, str(count), str(parallel), stdin=script))
        taken = sorted(result["taken"])
        median, p99 = statistics.median(taken) * 1e3, taken[int(len(taken) * 0.99)] * 1e3
        print(f"{title:44}{median:>7.2f} ms{p99:>7.2f} ms{len(taken) / result['all']:>10.0f}")


def main() -> None:
    lab, name, rounds = sys.argv[1:]
    host = Host(lab, name)
    host.run("/bin/mkdir", "-p", "/usr/libexec/jitsudo-bench")
    for file in ("noop_plugin.py", "caller.py"):
        host.put(f"/usr/libexec/jitsudo-bench/{file}", (HERE / file).read_text())
    host.run("/usr/bin/python3", "-m", "compileall", "-q", "/usr/libexec/jitsudo-bench")
    host.run("/bin/mkdir", "-p", "/etc/jitsudo-bench")
    for others in OTHER_RULES.values():
        host.put(f"/etc/jitsudo-bench/{others}", sudoers(others))
    host.put("/etc/sudoers.d/bench", "@include /etc/jitsudo-bench/rules\n")
    host.run("/usr/bin/jitsudo", "request", "true-only", "--for", "1h", "--reason", "bench", user="alice")
    whole(host, int(rounds))
    decisions(host)


main()
