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
from jitsudo.policy.evaluate import Action, Allow, Deny, HeldGrant, evaluate, suggest
from jitsudo.policy.explain import explain
from jitsudo.policy.model import Policy
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar, Sequence
from jitsudo.policy.parse import parse
from jitsudo.policy.patterns import glob, regex
from jitsudo.types import AbsPath

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit" / "policy"))

from bench import HOST, NOW, PROVEN, act, held, load, role_text, world

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
)
GUARDRAILS = {
    "one": "{match: {command: systemctl, any_operand: [{literal: stop}]}, then: deny, message: M}",
    "two": "{match: {command: tail, any_operand: [{path: {under: /etc}}]}, then: deny, message: M}",
    "three": "{always: true, match: {command: sleep, any_operand: [{int: {min: 7}}]}, then: deny, message: M}",
    "four": "{match: {command: /usr/bin/true}, then: confirm, message: M}",
}
GUARDRAIL_TEXT = "guardrails:\n" + "".join(f"  {name}: {text}\n" for name, text in GUARDRAILS.items())
CONDITIONS = ("authenticate: never", "run_as: {users: [postgres]}", "who: ['user:bob']", "record: true", "on_expiry: kill")

role_bodies = st.tuples(
    st.lists(st.sampled_from(RULES), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["one", "two", "four"]), max_size=2, unique=True),
    st.lists(st.sampled_from(CONDITIONS), max_size=1),
)
policies = st.lists(role_bodies, min_size=1, max_size=3)
words = st.sampled_from(
    ["restart", "stop", "nginx", "5", "8", "-x", "--a=stop", "--", "", "/var/log/nginx/access.log", "/var/log/nginx/evil",
     "../etc/shadow", "access.log", "/etc/shadow", "a\nb", "\udcff"]
)  # fmt: skip
actions = st.builds(
    lambda name, rest, cwd, run_as: act(name, *rest, cwd=cwd, run_as=run_as),
    st.sampled_from(["true", "systemctl", "tail", "sleep", "id", "rm"]),
    st.lists(words, max_size=3),
    st.sampled_from(["/", "/var/log/nginx", "/home/alice"]),
    st.sampled_from(["root", "root", "root", "postgres"]),
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


def policy_of(bodies: Bodies, *, guardrails: bool = True) -> Policy:
    texts = {}
    for number, (rules, names, conditions) in enumerate(bodies):
        listed = f"guardrails: [{', '.join(names)}]\n" if guardrails else ""
        text = role_text(f"allow: [{', '.join(rules)}]\n{listed}" + "\n".join(conditions), f"r{number}")
        texts[f"f{number}"] = text
    return load("version: 1\n" + GUARDRAIL_TEXT, **texts)


def essence(verdict: object) -> object:
    """A verdict without what only says where things stand."""
    return replace(verdict, rule="") if isinstance(verdict, Allow | Deny) else verdict


@given(policies, actions, grant_sets, st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_no_decision_depends_on_an_order(bodies: Bodies, action: Action, grants: list[HeldGrant], random: object) -> None:
    """Of files, roles, rules, guardrails, grants."""
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
    first = evaluate(action, policy, grants, HOST, NOW, world(), PROVEN)
    assert first == evaluate(action, other, shuffled(grants), HOST, NOW, world(), PROVEN)  # type: ignore[arg-type]
    assert suggest(action, policy, HOST, NOW, world()) == suggest(action, other, HOST, NOW, world())
    for name, role in policy.roles.items():
        assert role_digest(policy, role) == role_digest(other, other.roles[name])


@given(policies, actions, grant_sets)
@settings(max_examples=150, deadline=None)
def test_a_guardrail_never_turns_a_deny_into_an_allow(bodies: Bodies, action: Action, grants: list[HeldGrant]) -> None:
    """It only takes away, and where it does not fire it changes nothing."""
    without = evaluate(action, policy_of(bodies, guardrails=False), grants, HOST, NOW, world(), PROVEN)
    verdict = evaluate(action, policy_of(bodies), grants, HOST, NOW, world(), PROVEN)
    if isinstance(without, Deny):
        assert isinstance(verdict, Deny)
    if isinstance(verdict, Allow):
        assert essence(verdict) == essence(without)


@given(policies, actions, grant_sets)
@settings(max_examples=150, deadline=None)
def test_explanations_agree_with_decisions(bodies: Bodies, action: Action, grants: list[HeldGrant]) -> None:
    """One analysis, two uses."""
    policy = policy_of(bodies)
    verdict = evaluate(action, policy, grants, HOST, NOW, world(), PROVEN)
    explanation = explain(action, policy, grants, HOST, NOW, world(), PROVEN)
    assert explanation.verdict == verdict
    covering = [line for line in explanation.lines if "(held" in line and line.endswith(" covers it")]
    if isinstance(verdict, Allow):
        assert covering
        assert verdict.argv[1:] == action.argv[1:]
        assert not any(line.endswith("fires") for line in explanation.lines)
    elif covering:
        assert isinstance(verdict, Deny)
        assert verdict.code == "guardrail"


@given(actions, st.sampled_from(["real_path", "facts"]), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_a_world_that_fails_anywhere_never_turns_a_deny_into_an_allow(action: Action, method: str, after: int) -> None:
    """At whatever call it begins to raise."""
    policy = policy_of([(list(RULES), ["one", "two"], [])])
    grants = [held("r0")]
    on = world()
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
        assert essence(broken) == essence(evaluate(action, policy, grants, HOST, NOW, world(), PROVEN))
    else:
        assert isinstance(broken, Deny)
