"""The bypass corpus: whatever a policy denies stays denied, however the line is rewritten."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jitsudo.host.grammarfiles import load_grammars
from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.policy.evaluate import evaluate
from jitsudo.policy.grammar import GrammarShape
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import Action, Allow
from jitsudo.types import AbsPath, UserName

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit" / "policy"))
sys.path.append(str(Path(__file__).resolve().parent))

from rewrites import CHANGING, KEEPING, Line, Rewrite

from bench import ALICE, HOST, NOW, PROVEN, MemoryWorld, held, role_text, world
from jitsudo.errors import InvalidValue

GRAMMARS, _ = load_grammars([Path(__file__).resolve().parents[2] / "policies" / "grammars"], check_owner=False)
PAIRS_A_LINE = 2500
TRIED: list[int] = []


@dataclass(frozen=True)
class Case:
    """A role, a line that it allows (or the case would prove nothing), and lines that it denies.

    `strict`: every argument is of a type of its own, so that no rewriting at all may be allowed; otherwise operands are free
    and guardrails forbid, and only rewritings that keep the meaning count. `folder`: a rewriting that names another file
    under it is no bypass, since the role allows them all.
    """

    name: str
    rule: str
    allowed: str
    denied: tuple[str, ...]
    guardrail: str = ""
    strict: bool = True
    folder: str = ""


LOGS = "{path: {under: /var/log/nginx}, count: '1..'}"
CASES = (
    Case(
        "systemctl by unit",
        '{command: /usr/bin/systemctl, subcommands: {"restart|reload|status": {operands: [{unit: [nginx]}]}}}',
        "systemctl restart nginx",
        (
            "systemctl stop nginx",
            "systemctl restart sshd",
            "systemctl restart nginx sshd",
            "systemctl --host=db1 restart nginx",
            "systemctl -H db1 restart nginx",
            "systemctl --root=/srv/app restart nginx",
            "systemctl edit nginx",
            "systemctl --now enable /tmp/loot",
        ),
    ),
    Case(
        "journalctl of one unit",
        '{command: /usr/bin/journalctl, options: {"-u, --unit": {unit: [nginx]}, "-n, --lines": {int: {max: 100}}}}',
        "journalctl -u nginx -n 50",
        ("journalctl -u sshd", "journalctl --file=/etc/shadow", "journalctl -D /home/alice", "journalctl --vacuum-size=1"),
    ),
    Case(
        "tail of a folder's files",
        f'{{command: /usr/bin/tail, options: {{"-n, --lines": int, "-f": flag}}, operands: [{LOGS}]}}',
        "tail -n 50 -f /var/log/nginx/access.log",
        (
            "tail /etc/shadow",
            "tail -n 50 /var/log/nginx/../../../etc/shadow",
            "tail -f /var/log/nginx/evil",
            "tail -n 5 /var/log/nginx/access.log /etc/shadow",
            "tail -F /home/alice/etc/shadow",
        ),
        folder="/var/log/nginx",
    ),
    Case(
        "find without actions",
        "{command: /usr/bin/find, options: {-name: {glob: '*.log'}}, operands: [{path: {under: /var/log/nginx}}]}",
        "find /var/log/nginx -name a.log",
        (
            "find /var/log/nginx -delete",
            "find /var/log/nginx -name a.log -exec sh ;",
            "find /etc -name a.log",
            "find /var/log/nginx -fprint /etc/cron.d/x",
        ),
        folder="/var/log/nginx",
    ),
    Case(
        "rm in one folder",
        '{command: /usr/bin/rm, options: {"-f, --force": flag}, operands: [{path: {under: /srv/app}, count: "1.."}]}',
        "rm -f /srv/app/x",
        ("rm -f /etc/shadow", "rm -rf /srv/app", "rm -f /srv/app/x /etc/shadow", "rm --recursive /srv/app"),
        folder="/srv/app",
    ),
    Case(
        "dd into one file",
        "{command: /usr/bin/dd, options: {if: {literal: /dev/zero}, of: {path: {under: /srv/app}}, bs: size}}",
        "dd if=/dev/zero of=/srv/app/x bs=1M",
        ("dd if=/dev/zero of=/etc/shadow", "dd if=/etc/shadow of=/srv/app/x", "dd of=/dev/sda if=/dev/zero bs=1M"),
    ),
    Case(
        "env around one command",
        "{command: /usr/bin/env, operands: [{one_of: [LANG=C]}, "
        "{command: {command: /usr/bin/id, operands: [{literal: alice}]}}]}",
        "env LANG=C /usr/bin/id alice",
        (
            "env LD_PRELOAD=/tmp/loot /usr/bin/id alice",
            "env LANG=C /usr/bin/rm -rf /",
            "env -C /tmp LANG=C ./id alice",
            "env LANG=C /usr/bin/id root",
            "env -S /usr/bin/rm LANG=C /usr/bin/id alice",
        ),
    ),
    Case(
        "timeout around one command",
        "{command: /usr/bin/timeout, operands: [duration, {command: {command: /usr/bin/cat, operands: "
        "[{path: {under: /var/log/nginx}}]}}]}",
        "timeout 5s /usr/bin/cat /var/log/nginx/access.log",
        ("timeout 5s /usr/bin/cat /etc/shadow", "timeout 5s /usr/bin/sh", "timeout 5s /usr/bin/cat -A /etc/shadow"),
        folder="/var/log/nginx",
    ),
    Case(
        "kill by one signal",
        '{command: /usr/bin/kill, options: {"-HUP": flag}, operands: [{int: {min: 2, max: 99999}}]}',
        "kill -HUP 4711",
        ("kill -9 4711", "kill -HUP 1", "kill -s KILL 4711", "kill -HUP -1", "kill -9 -1"),
    ),
    Case(
        "a program without a grammar",
        '{command: /usr/bin/tool, options: {"-s, --signal": {one_of: [reload, reopen]}, "-t": flag}}',
        "tool -s reload",
        ("tool -c /tmp/loot", "tool -s stop", "tool -g daemon", "tool --signal=quit -t"),
    ),
    Case(
        "a literal list",
        '{command: /usr/bin/tool, syntax: literal, operands: [{literal: "-t"}, {one_of: [a, b]}]}',
        "tool -t a",
        ("tool -c /tmp/loot", "tool -t c", "tool -t a -c /tmp/loot"),
    ),
    Case(
        "one sub-command of a sub-command",
        '{command: /usr/bin/ip, subcommands: {"address|addr": {subcommands: {show: {operands: '
        "[{literal: dev}, {one_of: [eth0]}]}}}}}",
        "ip -br addr show dev eth0",
        (
            "ip link set eth0 down",
            "ip netns exec x /usr/bin/sh",
            "ip -batch /tmp/loot",
            "ip -n x address show dev eth0",
            "ip address add 10.0.0.1/8 dev eth0",
            "ip address flush dev eth0",
        ),
    ),
    Case(
        "a folder to change to",
        '{command: /usr/bin/env, options: {"-C, --chdir": {path: {under: /srv/app}}}, operands: [{command: '
        "{command: /usr/bin/cat, operands: [{path: {under: /var/log/nginx}}]}}]}",
        "env -C /srv/app /usr/bin/cat /var/log/nginx/access.log",
        (
            "env -C /etc /usr/bin/cat shadow",
            "env -C /srv/app /usr/bin/cat ../../etc/shadow",
            "env --chdir=/srv/app /usr/bin/cat /etc/shadow",
            "env -C /srv/app -C ../../etc /usr/bin/cat shadow",
        ),
    ),
    Case(
        "free operands, remote hosts forbidden",
        '{command: /usr/bin/systemctl, options: {"-H, --host": any, "-M, --machine": any}, operands: any}',
        "systemctl restart nginx",
        ("systemctl --host=db1 restart nginx", "systemctl -H db1 status", "systemctl restart nginx -M box"),
        '{command: systemctl, any_option: ["-H, --host", "-M, --machine"]}',
        strict=False,
    ),
    Case(
        "free operands, stopping forbidden",
        "{command: /usr/bin/systemctl, operands: any}",
        "systemctl restart nginx",
        ("systemctl stop nginx", "systemctl condstop nginx", "systemctl --no-pager mask nginx"),
        '{command: /usr/bin/systemctl, subcommand: "stop|mask"}',
        strict=False,
    ),
    Case(
        "free deletion, but not of system folders",
        '{command: /usr/bin/rm, options: {"-r, -R, --recursive": flag, "-f, --force": flag}, operands: any}',
        "rm -rf /srv/app",
        (
            "rm -rf /etc",
            "rm -r /etc/shadow",
            "rm --recursive --force /etc/nginx",
            "rm -R /home/alice/etc",
            "rm /srv/app/x /etc -r",
        ),
        '{command: rm, any_option: ["-r, -R, --recursive"], any_operand: [{path: {under: /etc}}]}',
        strict=False,
    ),
)  # fmt: skip


def the_world() -> MemoryWorld:
    """The usual host with the programs of the cases, other names of them, and ways around."""
    made = world()
    for number, name in enumerate(("journalctl", "dd", "env", "timeout", "kill", "tool", "nice", "nohup", "sh", "ip")):
        made.plant(f"/usr/bin/{name}", ino=900 + number)
    for name in ("systemctl", "tail", "rm", "tool"):
        made.plant(f"/usr/bin/hard-{name}", ino=made.entries[f"/usr/bin/{name}"].ino)
        made.link(f"/usr/bin/soft-{name}", f"/usr/bin/{name}")
        made.plant(f"/usr/local/bin/{name}").plant(f"/home/alice/bin/{name}", uid=1000).plant(f"/tmp/{name}", uid=1000)
    made.plant("/etc/cron.d/y").plant("/dev/zero", "other").plant("/dev/sda", "other")
    made.link("/proc/self/root", "/").link("/proc/1/root", "/").link("/home/alice/link", "/")
    return made


def policy_of(case: Case) -> Policy:
    text = role_text(
        f"allow: [{case.rule}]" + ("\nguardrails: [g]" if case.guardrail else ""),
        head=f"guardrails:\n  g: {{match: {case.guardrail}, then: deny, message: No.}}" if case.guardrail else "",
    )
    return load_policy_bytes({"web.yaml": text.encode()}, grammars=GRAMMARS).policy


def line_of(text: str) -> Line:
    argv = tuple(text.split())
    return Line(f"/usr/bin/{argv[0]}", argv)


def is_allowed(line: Line, policy: Policy, on: MemoryWorld) -> bool:
    try:
        path, cwd = AbsPath(line.path), AbsPath(line.cwd)
    except InvalidValue:
        return False
    action = Action(ALICE, UserName("root"), None, "command", path, line.argv, cwd)
    return isinstance(evaluate(action, policy, (held(),), HOST, NOW, on, PROVEN), Allow)


def is_the_roles_own(line: Line, case: Case, on: MemoryWorld) -> bool:
    """Whether every file of the line is one that the role is for, found without any of the product's reading or matching.

    Only for lines whose options are no more than those of the line that the role allows.
    """
    grammar = GRAMMARS[f"/usr/bin/{case.allowed.split()[0]}"]
    harmless = {spelling for spelling, option in grammar.shape.by_spelling.items() if option.harmless}
    known = {word[1] for word in case.allowed.split() if word.startswith("-")} | {one[1] for one in harmless if len(one) == 2}
    files = [word for word in line.arguments if not word.startswith("-") and not word.isdigit()]
    files = [word for word in files if word not in case.allowed.split()]
    real = [on.real_path(AbsPath(word if word.startswith("/") else f"{line.cwd}/{word}")) for word in files if word]
    inside = all(path is not None and f"{path}/".startswith(f"{case.folder}/") for path in real)
    dashed = {word for word in line.arguments if word.startswith("-")} - harmless - {"--", *case.allowed.split()}
    options = {letter for word in dashed for letter in word[1:]}
    return bool(case.folder) and "" not in files and inside and options <= known


def rewritten(line: Line, rewrites: tuple[Rewrite, ...], shape: GrammarShape) -> Iterator[Line]:
    """Each rewriting, and a fair sample of compositions of two."""
    single = list(itertools.chain.from_iterable(rewrite(line, shape) for rewrite in rewrites))
    yield from single
    chosen = random.Random(repr(line))  # noqa: S311  a sample that is the same in every run
    for _ in range(PAIRS_A_LINE):
        again = list(chosen.choice(rewrites)(chosen.choice(single), shape))
        if again:
            yield chosen.choice(again)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_rewriting_of_a_denied_line_is_allowed(case: Case) -> None:
    """Nor does any composition of two; and the line that should pass does."""
    policy, on = policy_of(case), the_world()
    assert is_allowed(line_of(case.allowed), policy, on)
    rewrites = (*KEEPING, *CHANGING) if case.strict else KEEPING
    tried: set[Line] = set()
    for text in case.denied:
        line = line_of(text)
        grammar = GRAMMARS.get(line.path)
        for other in itertools.chain([line], rewritten(line, rewrites, grammar.shape if grammar else GrammarShape())):
            # `kill -HUP` is another name of the option that `kill -9` is, and what the role is for.
            if other not in tried and other.argv != line_of(case.allowed).argv:
                tried.add(other)
                assert not is_allowed(other, policy, on) or is_the_roles_own(other, case, on), other
    TRIED.append(len(tried))


def test_tens_of_thousands_were_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """A corpus that shrinks unnoticed proves less and less."""
    if len(TRIED) < len(CASES):
        pytest.skip("only some of the cases were run")
    with capsys.disabled():
        sys.stdout.write(f"\nbypass corpus: {sum(TRIED)} lines from {len(CASES)} roles, none allowed\n")
    assert sum(TRIED) > 50_000
