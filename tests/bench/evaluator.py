"""Measures the evaluator alone: policies of 1, 100 and 10,000 roles with 20 rules each; loading, memory, decisions.

Each size is measured in a process of its own; decisions are interleaved with those of the smallest policy in the same
process, and timed by the processor's clock of this thread, so that what else the machine does meanwhile counts less.
No test; machines are noisy.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.host.world import HostWorld
from jitsudo.policy.evaluate import evaluate
from jitsudo.policy.grammar import NO_GRAMMARS
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import Action, Allow, Circumstances, Deny, HeldGrant, Host, Source, Verdict
from jitsudo.policy.world import FileFacts
from jitsudo.types import AbsPath, Account, Digest, GrantId, Moment, Person, RoleName, Uid, UserName

SIZES = (1, 100, 10_000)
ROLES_A_FILE = 100
ROUNDS = 5_000
PROGRAMS = ("systemctl", "journalctl", "tail", "cat", "ls", "kill", "id", "df", "du", "mount")
NOW = Moment(1_795_500_000, 1000.0)
HOST = Host("web-01", {"env": "prod"})
PROVEN = Circumstances(source=Source("10.0.0.1"), authenticated=0)
HEAD = """version: 1
guardrails:
  no-wipe-{n}:
    match: {{command: rm, any_option: ["-r, -R, --recursive"], any_operand: [{{path: {{under: [/etc, /usr]}}}}]}}
    then: deny
    message: No.
roles:
"""
ALWAYS = """version: 1
guardrails:
  no-remote:
    always: true
    match: {command: /usr/bin/systemctl, any_option: ["-H, --host", "-M, --machine"]}
    then: deny
    message: Local units only.
  no-power:
    always: true
    match: {command: reboot}
    then: confirm
    message: Really?
"""
RULE = """    - command: /usr/bin/{program}
      options: {{"-n, --lines": {{int: {{max: 100}}}}, "-f": flag}}
      operands: [{{one_of: [restart, status, r{rule}]}}, {{unit: [u{role}-{rule}, nginx]}}]
"""


class Still:
    """A file system on which everything is root's, and that answers at once: what is left is the evaluator."""

    def real_path(self, path: AbsPath) -> AbsPath | None:
        return path

    def facts(self, path: AbsPath) -> FileFacts | None:
        name = path.rpartition("/")[2]
        return FileFacts("file" if name in PROGRAMS else "directory", 0, 0, 0o755, 1, len(path))

    def user(self, name: str) -> Account | None:
        del name
        return None

    def group(self, name: str) -> bool:
        return name == "adm"

    def digest(self, path: AbsPath) -> Digest | None:
        del path
        return None


def policy_files(roles: int) -> dict[str, bytes]:
    """As a large site's would be: role i is the team's of users i, a hundred roles a file."""
    files = {"always.yaml": ALWAYS.encode()}
    for start in range(0, roles, ROLES_A_FILE):
        parts = [HEAD.format(n=start)]
        for role in range(start, min(start + ROLES_A_FILE, roles)):
            parts.append(f'  r{role}:\n    description: Role {role}\n    who: ["user:u{role}", "group:g{role}"]\n')
            parts.append(f"    request: {{max_duration: 1h, approvals: 0}}\n    guardrails: [no-wipe-{start}]\n    allow:\n")
            parts += [RULE.format(program=PROGRAMS[rule % len(PROGRAMS)], role=role, rule=rule) for rule in range(20)]
        files[f"roles-{start:05d}.yaml"] = "".join(parts).encode()
    return files


def resident_bytes() -> int:
    """The process's anonymous and file-backed resident memory, proc_pid_status(5)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("bench: no VmRSS in /proc/self/status")


def action(*argv: str) -> Action:
    person = Person(Uid(1000), UserName("u0"), Uid(1000), frozenset({"u0", "g0"}))
    return Action(person, UserName("root"), None, "command", AbsPath(f"/usr/bin/{argv[0]}"), argv, AbsPath("/"))


GRANT = HeldGrant(GrantId("G-AAAAAAAA"), RoleName("r0"), (UserName("root"),), NOW.wall + 600, None)
CASES: dict[str, tuple[Action, Sequence[HeldGrant], type]] = {
    "allow": (action("systemctl", "restart", "nginx"), [GRANT], Allow),
    "deny": (action("systemctl", "stop", "nginx"), [GRANT], Deny),
    "deny, role hinted at": (action("tail", "-n5", "status", "nginx.service"), [], Deny),
}


def measured(policy: Policy, case: str, world: object) -> Callable[[], float]:
    asked, grants, expected = CASES[case]

    def once() -> float:
        started = time.thread_time()
        verdict: Verdict = evaluate(asked, policy, grants, HOST, NOW, world, PROVEN)  # type: ignore[arg-type]
        taken = time.thread_time() - started
        if not isinstance(verdict, expected):
            raise SystemExit(f"bench: {case}: {verdict}")
        return taken

    return once


def summary(taken: list[float]) -> dict[str, float]:
    ranked = sorted(taken)
    return {
        "p50": ranked[len(ranked) // 2] * 1e6,
        "p99": ranked[len(ranked) * 99 // 100] * 1e6,
        "rate": len(ranked) / sum(ranked),
    }


def one_size(roles: int) -> dict[str, object]:
    files = policy_files(roles)
    small = load_policy_bytes(policy_files(1), grammars=NO_GRAMMARS).policy
    gc.collect()
    before, started = resident_bytes(), time.process_time()
    policy = load_policy_bytes(files, grammars=NO_GRAMMARS).policy
    seconds = time.process_time() - started
    gc.collect()
    found: dict[str, object] = {"roles": roles, "load": seconds, "memory": resident_bytes() - before}
    with HostWorld(lambda _: None) as real:
        for world_name, world in (("still", Still()), ("real", real)):
            for case in CASES:
                ours, theirs = measured(policy, case, world), measured(small, case, world)
                taken: tuple[list[float], list[float]] = ([], [])
                for turn in range(ROUNDS + 100):
                    pair = ours(), theirs()
                    if turn >= 100:  # the first few warm the caches
                        taken[0].append(pair[0])
                        taken[1].append(pair[1])
                ratio = statistics.median(taken[0]) / statistics.median(taken[1])
                found[f"{world_name}: {case}"] = {**summary(taken[0]), "ratio": ratio}
    return found


def main() -> None:
    if len(sys.argv) == 2:
        print(json.dumps(one_size(int(sys.argv[1]))))
        return
    print("the evaluator alone, 20 rules a role; ratio: to the same decision under 1 role, interleaved")
    for size in SIZES:
        done = subprocess.run([sys.executable, __file__, str(size)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: {size} roles: {done.stderr}")
        found = json.loads(done.stdout)
        print(f"\n{size:>6} roles   loaded in {found['load']:.2f} s, {found['memory'] / 1e6:.0f} MB")
        for name, one in found.items():
            if isinstance(one, dict):
                print(
                    f"    {name:<28} p50 {one['p50']:6.1f} us   p99 {one['p99']:6.1f} us   "
                    f"{one['rate']:8.0f}/s   ratio {one['ratio']:.2f}"
                )


if __name__ == "__main__":
    main()
