"""Policies: parsing is total, decisions do not depend on order, a guardrail never opens a door, explanations agree."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from datetime import UTC
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jitsudo.errors import InvalidValue, PolicyInvalid
from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.policy.automaton import accepts
from jitsudo.policy.digest import role_digest
from jitsudo.policy.evaluate import Action, Allow, Challenge, Deny, HeldGrant, Verdict, evaluate, suggest
from jitsudo.policy.explain import explain
from jitsudo.policy.model import Policy
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar, Sequence
from jitsudo.policy.parse import parse
from jitsudo.policy.patterns import glob, regex
from jitsudo.policy.verdict import Circumstances, Source
from jitsudo.types import AbsPath, Account, Digest, Gid, Uid, UserName

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit" / "policy"))

from bench import HOST, NOW, PROVEN, MemoryWorld, act, held, load, role_text, world

LAB = Path(__file__).resolve().parents[1] / "e2e" / "data" / "policy.d" / "web.yaml"


def words_of(text: str) -> list[str]:
    return text.split()


KEYS = words_of(
    "version timezone approvers auditors redact notify guardrails roles accounts keys key forwarded teams description who "
    "request allow access hosts run_as authenticate when on_expiry limits environment sudo_options record residue until "
    "root_equivalent rescue journal_every tests max_duration approvals from all_of default_duration expires_after renewals "
    "reason inline review within escalate after to approve_with hours at strict source otherwise calendar file commands "
    "shells grace warn leftovers command digest syntax order options subcommands operands harmless edit check shell "
    "intercept only services match subcommand any_option any_operand then always message labels names users groups uses "
    "concurrent per_hour keep set run expect cwd links literal one_of int min max not glob regex path under exists kind "
    "user group self host cidr port unit package duration size any flag count repeat required optional"
)
VALUES = words_of(
    "1 true false none never agent deny allow limit approve user:alice group:web team:leads 1h 30m root /usr/bin/true "
    "/etc rm -x --long a|b ** *.conf [a-z]+ (a|b)* (a+)+ 2027-01-01 UTC Europe/Berlin getopt posix key-value finish kill "
    "10.0.0.0/8 any flag int word 0.. 1..3 ssh-ed25519 key password file directory listed VAR yes ~"
)

scalars = st.builds(
    lambda text, plain, line: Scalar(Pos("a.yaml", line, 1), text, plain),
    st.sampled_from(VALUES) | st.text(max_size=12),
    st.booleans(),
    st.integers(1, 99),
)
key_scalars = st.builds(lambda text: Scalar(Pos("a.yaml", 1, 1), text), st.sampled_from(KEYS) | st.text(max_size=6))


def _containers(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    here = Pos("a.yaml", 1, 1)
    lists = st.lists(inner, max_size=4).map(lambda items: Sequence(here, tuple(items)))
    mappings = st.lists(st.tuples(key_scalars, inner), max_size=5).map(lambda items: Mapping(here, tuple(items)))
    return lists | mappings


nodes: st.SearchStrategy[Node] = st.recursive(scalars, _containers, max_leaves=25)


def mapping(**values: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """A mapping with these keys, each of which may be missing or anything."""
    here = Pos("a.yaml", 1, 1)
    optional = {key: st.none() | value | nodes for key, value in values.items()}
    return st.fixed_dictionaries(optional).map(
        lambda found: Mapping(here, tuple((Scalar(here, key), value) for key, value in found.items() if value is not None))
    )


def under_any_name(values: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    here = Pos("a.yaml", 1, 1)
    return st.lists(st.tuples(scalars, values), max_size=3).map(lambda items: Mapping(here, tuple(items)))


files = mapping(
    version=st.just(Scalar(Pos("a.yaml", 1, 1), "1")),
    timezone=scalars,
    approvers=under_any_name(mapping(accounts=nodes, keys=nodes, teams=nodes)),
    redact=nodes,
    guardrails=under_any_name(mapping(match=mapping(command=scalars, any_operand=nodes), then=scalars, message=scalars)),
    roles=under_any_name(
        mapping(
            who=nodes,
            request=mapping(max_duration=scalars, approvals=scalars, reason=scalars, **{"from": nodes}),
            allow=mapping(command=scalars, operands=nodes, options=nodes, subcommands=nodes, edit=nodes, shell=nodes),
            when=mapping(hours=nodes, source=nodes),
            **dict.fromkeys(("hosts", "run_as", "on_expiry", "environment", "tests", "access", "until"), nodes),
        )
    ),
)


@given(st.lists(files | nodes, max_size=3))
@settings(max_examples=300, deadline=None)
def test_parsing_is_total_on_arbitrary_trees(roots: list[Node]) -> None:
    """A policy or issues; never an exception, and never a policy with an error."""
    result = parse(roots, lambda name: UTC if name == "Europe/Berlin" else None)
    assert (result.policy is None) is any(issue.severity == "error" for issue in result.issues)
    assert list(result.issues) == sorted(result.issues)


@given(st.binary(max_size=300) | st.text(alphabet="version: 1\nroles{}[]&*!|>-?%@`'\"#,ab\t", max_size=120).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_loading_is_total_on_arbitrary_bytes(raw: bytes) -> None:
    """A policy or `PolicyInvalid`, nothing else."""
    with contextlib.suppress(PolicyInvalid):
        load_policy_bytes({"a.yaml": raw})


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_loading_is_total_on_damaged_policies(data: st.DataObject) -> None:
    """The lab's policy with some bytes replaced."""
    raw = bytearray(LAB.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(PolicyInvalid):
        load_policy_bytes({"web.yaml": bytes(raw)})


@given(st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=300, deadline=None)
def test_patterns_are_total(pattern: str, text: str) -> None:
    """Compiled or refused with `InvalidValue`; matching answers."""
    for compile_ in (glob, regex):
        with contextlib.suppress(InvalidValue):
            compiled = compile_(pattern)
            assert compiled.matches(text) in (True, False)
            assert not compiled.matches(text) or accepts(compiled.program, text, lenient=True)


# -- decisions -------------------------------------------------------------------------------------------------------

RULES = (
    "{command: /usr/bin/true}",
    "{command: /usr/bin/systemctl, operands: [{one_of: [restart, stop]}, {glob: '*'}]}",
    "{command: /usr/bin/tail, operands: [{path: {under: /var/log/nginx}, count: '1..'}]}",
    "{command: /usr/bin/sleep, operands: [{int: {max: 9}}]}",
    "{command: /usr/bin/id, operands: any}",
    "{command: /usr/bin/systemctl, operands: [{glob: '*'}, {glob: '*'}]}",
    "{command: /usr/bin/systemctl, options: {'-x': flag}, subcommands: {'restart|stop': {operands: [{unit: [nginx]}]}}}",
    "{command: /usr/bin/tail, options: {'-x': {optional: int}, '--a': {not: {literal: stop}}}, operands: any}",
    "{command: /usr/bin/sleep, operands: [duration, {command: {command: /usr/bin/systemctl, operands: any}}]}",
    "{command: /usr/bin/id, operands: [user]}",
    "{command: /usr/bin/id, operands: [{not: group}]}",
    "{edit: [{path: {under: /var/log/nginx}}]}",
    "{shell: {intercept: false}}",
    f"{{command: /usr/bin/true, digest: 'sha256:{'0' * 64}'}}",
)
GUARDRAILS = {
    "one": "{match: {command: systemctl, any_operand: [{literal: stop}]}, then: deny, message: M}",
    "two": "{match: {command: tail, any_operand: [{path: {under: /etc}}]}, then: deny, message: M}",
    "three": "{always: true, match: {command: sleep, any_operand: [{int: {min: 7}}]}, then: deny, message: M}",
    "four": "{match: {command: /usr/bin/true}, then: confirm, message: M}",
    "five": "{match: {command: systemctl, subcommand: stop}, then: authenticate, message: M}",
    "six": "{match: {command: tail, any_option: ['-x', '--a']}, then: log, message: M}",
    "seven": "{match: {command: id, any_operand: [user]}, then: limit, limits: {uses: 1}, message: M}",
    "eight": "{match: {command: /usr/bin/sleep}, then: record, message: M}",
    "nine": "{match: {command: bash}, then: approve, from: 'user:bob', message: M}",
}
GUARDRAIL_TEXT = "guardrails:\n" + "".join(f"  {name}: {text}\n" for name, text in GUARDRAILS.items())
CONDITIONS = (
    "authenticate: agent", "when: {source: local}", "sudo_options: ['-E']", "limits: {uses: 3}", "root_equivalent: true",
    "environment: {keep: [A]}", "authenticate: never", "run_as: {users: [postgres]}", "who: ['user:bob']", "record: true",
    "on_expiry: kill",
)  # fmt: skip

role_bodies = st.tuples(
    st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from([name for name in GUARDRAILS if name != "three"]), max_size=3, unique=True),
    st.lists(st.sampled_from(CONDITIONS), max_size=1),
)
policies = st.lists(role_bodies, min_size=1, max_size=3)
words = st.sampled_from(
    ["restart", "stop", "nginx", "systemctl", "alice", "adm", "/etc", "-x7", "--host=stop",
     "5", "8", "-x", "--a=stop", "--", "", "/var/log/nginx/access.log", "/var/log/nginx/evil",
     "../etc/shadow", "access.log", "/etc/shadow", "a\nb", "\udcff"]
)  # fmt: skip
modes = st.sampled_from(["command", "command", "command", "edit", "shell", "login-shell"])


def _act(name: str, rest: list[str], cwd: str, run_as: str, mode: str, asked: tuple[str, ...]) -> Action:
    if mode == "edit":
        action = replace(act("sudoedit", *rest, cwd=cwd, run_as=run_as, mode=mode), path=None)
    elif mode == "command":
        action = act(name, *rest, cwd=cwd, run_as=run_as)
    else:
        action = replace(act("bash", cwd=cwd, run_as=run_as, mode=mode), argv=("-c", " ".join([name, *rest])))
    return replace(action, sudo_options=frozenset(asked), variables=frozenset({"A"} if "VAR" in asked else ()))  # type: ignore[arg-type]


actions = st.builds(
    _act,
    st.sampled_from(["true", "systemctl", "tail", "sleep", "id", "rm"]),
    st.lists(words, max_size=4),
    st.sampled_from(["/", "/var/log/nginx", "/home/alice"]),
    st.sampled_from(["root", "root", "root", "postgres"]),
    modes,
    st.sampled_from([(), (), (), ("-E",), ("VAR",)]),
)
times = st.none() | st.sampled_from([0, 900, 901])
circumstances = st.builds(
    Circumstances,
    st.sampled_from([Source("local"), Source("10.0.0.1"), Source(None, "?")]),
    times,
    times,
    st.booleans(),
    st.frozensets(st.sampled_from(list(GUARDRAILS)), max_size=2),
)
grant_sets = st.lists(
    st.builds(
        lambda role, number, until, uses: held(
            f"r{role}", id=f"G-AAAAAAA{number}", run_as=("root", "postgres"), until=NOW.wall + until, uses=uses
        ),
        st.integers(0, 3),
        st.sampled_from("ABCDEF"),
        st.integers(-1, 5),
        st.none() | st.integers(0, 3),
    ),
    max_size=4,
    unique_by=lambda grant: grant.id,
)
Bodies = list[tuple[list[str], list[str], list[str]]]


def policy_of(bodies: Bodies, *, guardrails: bool = True, files: tuple[str, ...] = ("f0", "f1", "f2")) -> Policy:
    texts = {}
    for number, (rules, names, conditions) in enumerate(bodies):
        listed = f"guardrails: [{', '.join(names)}]\n" if guardrails else ""
        text = role_text(f"allow: [{', '.join(rules)}]\n{listed}" + "\n".join(conditions), f"r{number}")
        texts[files[number]] = text
    return load("version: 1\n" + GUARDRAIL_TEXT, **texts)


def essence(verdict: object) -> object:
    """A verdict without what only says where things stand."""
    return replace(verdict, rule="") if isinstance(verdict, Allow | Deny) else verdict


def disk() -> MemoryWorld:
    made = world().plant("/usr/bin/bash")
    made.accounts["alice"] = Account(UserName("alice"), Uid(1000), Gid(1000), (Gid(1000),), "/home/alice", "/bin/sh")
    made.groups.add("adm")
    made.digests["/usr/bin/true"] = Digest("sha256:" + "0" * 64)
    return made


def decided(action: Action, policy: Policy, grants: object, now: Circumstances) -> Verdict:
    return evaluate(action, policy, grants, HOST, NOW, disk(), now)  # type: ignore[arg-type]


@given(policies, actions, grant_sets, circumstances, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_no_decision_depends_on_an_order(
    bodies: Bodies, action: Action, grants: list[HeldGrant], now: Circumstances, random: object
) -> None:
    """Of roles, rules, guardrails, grants."""
    policy = policy_of(bodies)
    shuffle = random.shuffle  # type: ignore[attr-defined]

    def shuffled(items: object) -> list[object]:
        copy = list(items)  # type: ignore[call-overload]
        shuffle(copy)
        return copy  # type: ignore[no-any-return]

    other = replace(
        policy,
        roles={
            role.name: replace(role, rules=tuple(shuffled(role.rules)), guardrails=tuple(shuffled(role.guardrails)))  # type: ignore[arg-type, attr-defined]
            for role in shuffled(policy.roles.values())
        },
        guardrails={guardrail.name: guardrail for guardrail in shuffled(policy.guardrails.values())},  # type: ignore[attr-defined]
    )
    assert decided(action, policy, grants, now) == decided(action, other, shuffled(grants), now)
    suggested = suggest(action, policy, HOST, NOW, disk(), now)
    assert suggested == suggest(action, other, HOST, NOW, disk(), now)
    for name, role in policy.roles.items():
        assert role_digest(policy, role) == role_digest(other, other.roles[name])


@given(policies, actions, grant_sets, circumstances, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_no_decision_depends_on_which_file_says_it(
    bodies: Bodies, action: Action, grants: list[HeldGrant], now: Circumstances, random: object
) -> None:
    """Roles in files of other names, and so in another order, or all in one."""
    names = [f"f{number}" for number in range(len(bodies))]
    random.shuffle(names)  # type: ignore[attr-defined]
    policy, other = policy_of(bodies), policy_of(bodies, files=tuple(names))
    first = decided(action, policy, grants, now)
    assert essence(first) == essence(decided(action, other, grants, now))
    for name, role in policy.roles.items():
        assert role_digest(policy, role) == role_digest(other, other.roles[name])


@given(policies, actions, grant_sets, circumstances)
@settings(max_examples=200, deadline=None)
def test_a_guardrail_never_turns_a_deny_into_an_allow(
    bodies: Bodies, action: Action, grants: list[HeldGrant], now: Circumstances
) -> None:
    """It only takes away, and where it does not fire it changes nothing."""
    without = decided(action, policy_of(bodies, guardrails=False), grants, now)
    verdict = decided(action, policy_of(bodies), grants, now)
    if isinstance(without, Deny):
        assert isinstance(verdict, Deny)
    if isinstance(without, Challenge):
        assert not isinstance(verdict, Allow)
    if isinstance(verdict, Allow):
        assert isinstance(without, Allow)
        assert set(without.limits) <= set(verdict.limits)
        assert essence(replace(verdict, limits=(), guardrails=())) == essence(replace(without, limits=(), guardrails=()))


@given(policies, actions, grant_sets, circumstances)
@settings(max_examples=200, deadline=None)
def test_a_further_deny_guardrail_never_turns_a_deny_into_an_allow(
    bodies: Bodies, action: Action, grants: list[HeldGrant], now: Circumstances
) -> None:
    """One that binds everything, whatever the others say."""
    policy = policy_of(bodies)
    before = decided(action, policy, grants, now)
    for name in ("one", "two", "three", "four", "five"):
        rail = replace(policy.guardrails[name], name="further", then="deny", always=True)
        after = decided(action, replace(policy, guardrails={**policy.guardrails, "further": rail}), grants, now)
        assert after == before or isinstance(after, Deny)


@given(policies, actions, grant_sets, circumstances)
@settings(max_examples=200, deadline=None)
def test_explanations_agree_with_decisions(
    bodies: Bodies, action: Action, grants: list[HeldGrant], now: Circumstances
) -> None:
    """One analysis, two uses."""
    policy = policy_of(bodies)
    verdict = decided(action, policy, grants, now)
    explanation = explain(action, policy, grants, HOST, NOW, disk(), now)
    assert explanation.verdict == verdict
    covering = [line for line in explanation.lines if "(held" in line and line.endswith(" covers it")]
    if isinstance(verdict, Deny):
        assert not covering or verdict.code == "guardrail"
        return
    assert covering
    if isinstance(verdict, Allow) and action.mode == "command":
        assert verdict.argv[1:] == action.argv[1:]
        assert verdict.authenticate == policy.roles[verdict.role].authenticate


@given(actions, st.sampled_from(["real_path", "facts", "user", "group", "digest"]), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_a_world_that_fails_anywhere_never_turns_a_deny_into_an_allow(action: Action, method: str, after: int) -> None:
    """At whatever call it begins to raise."""
    policy = policy_of([(list(RULES), ["one", "two"], [])])
    grants = [held("r0")]
    on = disk()
    calls = 0
    real = getattr(on, method)

    def failing(path: AbsPath) -> object:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError("broken")
        return real(path)

    setattr(on, method, failing)
    broken = evaluate(action, policy, grants, HOST, NOW, on, PROVEN)
    if isinstance(broken, Allow):
        whole = evaluate(action, policy, grants, HOST, NOW, disk(), PROVEN)
        # Another rule that covers it may be the one that is found.
        assert isinstance(whole, Allow)
        assert (broken.path, broken.argv, broken.files) == (whole.path, whole.argv, whole.files)
    else:
        assert isinstance(broken, Deny)
