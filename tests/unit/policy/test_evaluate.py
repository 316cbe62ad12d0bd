"""The decision: what allows, what denies, with which code, and what a person is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import ALICE, BOB, HOST, NOW, PROVEN, MemoryWorld, act, held, load, role, role_text, rule, world
from jitsudo.policy import evaluate as evaluate_module
from jitsudo.policy.evaluate import Action, Allow, Deny, HeldGrant, Host, Verdict, evaluate, suggest
from jitsudo.policy.explain import explain
from jitsudo.policy.model import Never, Policy, Within
from jitsudo.policy.verdict import Circumstances, ExpiryTerms
from jitsudo.types import AbsPath, GrantId, Moment, Person, RoleName, Uid, UserName


def decide(
    action: Action,
    policy: Policy,
    *grants: HeldGrant,
    host: Host = HOST,
    now: Moment = NOW,
    on: MemoryWorld | None = None,
    circumstances: Circumstances = PROVEN,
) -> Verdict:
    return evaluate(action, policy, grants or (held(),), host, now, on or world(), circumstances)


def code(verdict: Verdict) -> str:
    return verdict.code if isinstance(verdict, Deny) else type(verdict).__name__.lower()


SYSTEMCTL = rule("/usr/bin/systemctl", "[{one_of: [restart, status]}, {literal: nginx.service}]")


def test_an_allow_carries_its_terms() -> None:
    """Grant, role, rule, path, argv with the path's own base name, authentication, expiry."""
    verdict = decide(act("/bin/systemctl", "restart", "nginx.service"), SYSTEMCTL, held(uses=3))
    assert verdict == Allow(
        grant=GrantId("G-AAAAAAAA"),
        role=RoleName("r"),
        rule="web.yaml:8",
        path=AbsPath("/usr/bin/systemctl"),
        argv=("systemctl", "restart", "nginx.service"),
        authenticate=Within(900),
        on_expiry=ExpiryTerms("finish", 14400),
        uses_limited=True,
    )


@pytest.mark.parametrize(
    "argv",
    [
        ("systemctl",),
        ("systemctl", "stop", "nginx.service"),
        ("systemctl", "restart"),
        ("systemctl", "restart", "nginx.service", "x"),
        ("systemctl", "restart", "nginx.service", ""),
        ("systemctl", "nginx.service", "restart"),
        ("systemctl", "restart nginx.service"),
        ("systemctl", "--", "restart", "nginx.service"),
        ("systemctl", "restart", "--", "nginx.service"),
        ("systemctl", "--host=db1", "restart", "nginx.service"),
        ("systemctl", "restart", "nginx.service", "-H", "db1"),
        ("systemctl", "Restart", "nginx.service"),
        ("systemctl", "restart\n", "nginx.service"),
        ("systemctl", "rest\u0430rt", "nginx.service"),
        ("systemctl", "resta", "nginx.service"),
    ],
)
def test_no_rewrite_of_a_command_line_is_allowed(argv: tuple[str, ...]) -> None:
    """The list of arguments matches to its end, word by word."""
    assert code(decide(act(*argv), SYSTEMCTL)) == "not-covered"


@pytest.mark.parametrize(
    "path",
    ["//usr/bin/systemctl", "/usr/bin/../bin/systemctl", "/usr/sbin/poweroff", "/usr/local/bin/systemctl",
     "/proc/self/root/usr/bin/systemctl", "/home/alice/bin/systemctl"],
)  # fmt: skip
def test_another_spelling_or_name_of_the_program_is_another_program(path: str) -> None:
    """Programs act on their name; only the usr-merge is seen through."""
    on = world().plant("/usr/local/bin/systemctl").plant("/home/alice/bin/systemctl", uid=1000)
    assert code(decide(act("systemctl", "status", "nginx.service", path=path), SYSTEMCTL, on=on)) == "not-covered"


def test_the_usr_merge_is_seen_through_only_where_it_is_one_file() -> None:
    """On a host without it, /bin/x and /usr/bin/x are two programs."""
    on = MemoryWorld().plant("/bin/true", ino=1).plant("/usr/bin/true", ino=2)
    assert code(decide(act("/bin/true"), rule("/usr/bin/true"), on=on)) == "not-covered"
    assert code(decide(act("/usr/bin/true"), rule("/bin/true"), on=world())) == "allow"
    assert code(decide(act("/bin/true"), rule("/usr/bin/true"), on=MemoryWorld().plant("/bin/true"))) == "not-covered"


@pytest.mark.parametrize(
    "on",
    [
        world().plant("/usr/bin/true", uid=1000),
        world().plant("/usr/bin/true", mode=0o775),
        world().plant("/usr/bin/true", mode=0o757),
        world().plant("/usr/bin/true", mode=0o644),
        world().plant("/usr/bin/true", "directory"),
        world().plant("/usr/bin", "directory", mode=0o775),
        world().plant("/usr", "directory", uid=1000),
        world().link("/usr/bin/true", "/home/alice/bin/tool"),
        world().link("/usr/bin/true", "/usr/bin/missing"),
    ],
)
def test_a_program_that_somebody_else_could_change_is_refused(on: MemoryWorld) -> None:
    """The file and every folder above it must be root's alone."""
    verdict = decide(act("true"), rule("/usr/bin/true"), on=on)
    assert code(verdict) == "writable-command"
    assert isinstance(verdict, Deny)
    assert verdict.rule == "web.yaml:8"


def test_a_link_is_executed_under_its_own_name() -> None:
    """A rule may name a link; what is executed is that name."""
    verdict = decide(act("poweroff", path="/usr/sbin/poweroff"), rule("/usr/sbin/poweroff"))
    assert isinstance(verdict, Allow)
    assert verdict.path == "/usr/sbin/poweroff"
    assert verdict.argv == ("poweroff",)


def test_an_unknown_program_is_named() -> None:
    """There is nothing to run."""
    verdict = decide(replace(act("tru\x1be"), path=None), rule("/usr/bin/true"))
    assert verdict == Deny("unknown-command", "tru\\x1be: command not found")
    assert code(decide(replace(act("true"), argv=()), rule("/usr/bin/true"))) == "unknown-command"


def test_without_a_grant_the_way_out_is_named() -> None:
    """The exact line that would help."""
    policy = role("request: {max_duration: 20m, approvals: 0}")
    verdict = evaluate(act("true"), policy, (), HOST, NOW, world(), PROVEN)
    assert verdict == Deny("no-grant", "alice holds no grant on this host", ("jitsudo request r --for 20m --reason '…'",))


@pytest.mark.parametrize("grant", [held(until=NOW.wall), held(uses=0), held(role="gone")])
def test_a_grant_that_is_over_is_none(grant: HeldGrant) -> None:
    """At the very second of its end, with its last use gone, or without its role."""
    assert code(decide(act("true"), rule("/usr/bin/true"), grant)) == "no-grant"


def test_a_grant_lives_until_its_last_second() -> None:
    """The end is excluded, the second before is not."""
    assert code(decide(act("true"), rule("/usr/bin/true"), held(until=NOW.wall + 1))) == "allow"


def test_not_covered_names_roles_that_would_cover() -> None:
    """But not those that are held already."""
    policy = load(role_text("", "r"), more=role_text("allow: [{command: /usr/bin/id}]", "other"))
    verdict = decide(act("id"), policy)
    assert isinstance(verdict, Deny)
    assert verdict.hints == ("jitsudo request other --for 30m --reason '…'",)
    assert verdict.message == "no grant of alice (r) covers /usr/bin/id"


KNOWN = """
/usr/bin/systemctl:
  options: {"-H, --host": [value, global]}
  subcommands: {status: {options: {"--lines": value}}, restart: {}, stop: {options: {"--now": flag}}, enable: {}}
"""
FEW_OPTIONS = """allow:
- {command: /usr/bin/systemctl, subcommands: {status: {options: {"--lines": {int: {min: 1, max: 99}}}, operands: any}}}
- {command: /usr/bin/systemctl, subcommands: {restart: {operands: {literal: nginx}}, stop: {options: {"--now": flag}}}}
"""


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("status", "-H", "web-02", "nginx"), ": the option -H is not one of the rule's"),
        (("status", "--li", "5", "nginx"), ": '--li' is an abbreviation; write --lines"),
        (("restart", "apache2"), ""),
        (("enable", "nginx"), ": the sub-command is not one of the rule's"),
        (("status", "--lines", "many", "nginx"), ": the value of --lines is not of the rule's type"),
    ],
)
def test_a_refusal_for_arguments_says_why(argv: tuple[str, ...], why: str) -> None:
    """What the rules agree on, or the one whose sub-command it is; nothing where some rule's operands alone are others."""
    policy = role(FEW_OPTIONS, known=KNOWN)
    verdict = decide(act("systemctl", *argv), policy)
    assert isinstance(verdict, Deny)
    assert verdict.message == f"no grant of alice (r) covers /usr/bin/systemctl with these arguments{why}"
    assert explain(act("systemctl", *argv), policy, (held(),), HOST, NOW, world()).lines[0] == f"denied: {verdict.message}"


def test_a_refusal_says_nothing_where_the_rules_disagree() -> None:
    """One lacks the option, the other wants another value: to name either would mislead."""
    one, other = "options: {'-u': flag}", "options: {'-g': {int: {max: 2}}}"
    rules = f"allow: [{{command: /usr/bin/id, {one}}}, {{command: /usr/bin/id, {other}}}]"
    verdict = decide(act("id", "-g", "x"), role(rules))
    assert isinstance(verdict, Deny)
    assert verdict.message == "no grant of alice (r) covers /usr/bin/id with these arguments"


def test_run_as_must_be_the_roles_and_the_grants() -> None:
    """Neither alone is enough; the other user is hinted at."""
    policy = role('run_as: {users: [postgres, www-data], groups: adm}\nallow: [{command: /usr/bin/id}]')
    both = held(run_as=("postgres", "www-data"))
    assert code(decide(act("id", run_as="postgres"), policy, both)) == "allow"
    assert code(decide(act("id", run_as="www-data"), policy, held(run_as=("postgres",)))) == "run-as"
    assert code(decide(act("id", "x y"), rule("/usr/bin/id", "any"), both)) == "run-as"
    verdict = decide(act("id"), policy, both)
    assert isinstance(verdict, Deny)
    assert (verdict.code, verdict.message) == ("run-as", "role r runs as postgres or www-data, not as root")
    assert verdict.hints == ("sudo -u postgres id",)
    assert code(decide(act("id", run_as="postgres", group="adm"), policy, both)) == "allow"
    verdict = decide(act("id", run_as="postgres", group="sudo"), policy, both)
    assert isinstance(verdict, Deny)
    assert (verdict.code, verdict.hints) == ("run-as", ())
    verdict = decide(act("id"), policy, held(run_as=("nobody",)))
    assert isinstance(verdict, Deny)
    assert verdict.message == "role r runs as nobody here, not as root"


def test_a_hint_never_carries_what_could_steer_a_terminal() -> None:
    """No `sudo -u` line with an escape sequence in it."""
    policy = role('run_as: {users: [postgres]}\nallow: [{command: /usr/bin/id, operands: {literal: "a"}}]')
    verdict = decide(act("/usr/bin/id", "a"), policy)
    assert isinstance(verdict, Deny)
    assert verdict.hints == ("sudo -u postgres /usr/bin/id a",)
    verdict = decide(act("id\x1b[2J", "a", path="/usr/bin/id"), policy)
    assert isinstance(verdict, Deny)
    assert verdict.hints == ()


def test_who_hosts_and_until_are_checked_again_at_use() -> None:
    """A group left, another host, a date passed: the grant no longer helps."""
    policy = role('who: ["group:web"]\nhosts: {labels: {env: [prod, staging]}, names: ["web-*"]}\nuntil: 2026-11-24')
    assert code(decide(act("true"), policy)) == "allow"
    assert code(decide(act("true", person=replace(ALICE, groups=frozenset())), policy)) == "not-open"
    assert code(decide(act("true"), policy, host=Host("web-01", {"env": "dev"}))) == "not-open"
    assert code(decide(act("true"), policy, host=Host("web-01"))) == "not-open"
    assert code(decide(act("true"), policy, host=Host("db-01", {"env": "prod"}))) == "not-open"
    midnight = 1_795_564_800  # 2026-11-25 00:00 UTC
    grant = held(until=midnight + 10)
    assert code(decide(act("true"), policy, grant, now=Moment(midnight - 1, 0))) == "allow"
    assert code(decide(act("true"), policy, grant, now=Moment(midnight, 0))) == "not-open"


def test_hours_bind_each_command_only_if_strict() -> None:
    """06:00 UTC is outside both."""
    head = "timezone: UTC"
    assert code(decide(act("true"), role('when: {hours: "Mon-Fri 08:00-18:00"}', head))) == "allow"
    strict = role('when: {hours: {at: ["Mon-Fri 08:00-18:00"], strict: true}}', head)
    assert code(decide(act("true"), strict)) == "hours"
    later = Moment(NOW.wall + 2 * 3600, 0)
    assert code(decide(act("true"), strict, held(until=later.wall + 1), now=later)) == "allow"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("record: true", "role r uses `record`, which this version does not enforce yet: nobody can use it"),
        ("residue: true", "role r uses `residue`, which this version does not enforce yet: nobody can use it"),
    ],
)
def test_a_role_with_a_later_key_is_refused_with_a_sentence(body: str, sentence: str) -> None:
    """A promise that cannot be kept is not made."""
    verdict = decide(act("true"), role(body))
    assert isinstance(verdict, Deny)
    assert (verdict.code, verdict.message) == ("unsupported", sentence)


@pytest.mark.parametrize("tail", ["syntax: getopt", "harmless: false", "operands: []"])
def test_what_changes_nothing_is_no_obstacle(tail: str) -> None:
    """The default written out."""
    assert code(decide(act("true"), role(f"allow: [{{command: /usr/bin/true, {tail}}}]"))) == "allow"


def test_of_several_grants_the_one_that_asks_least_allows() -> None:
    """The fewest human obligations, then without a use limit, then the latest end."""
    policy = load(role_text("", "asks"), b=role_text("authenticate: never", "silent"))
    early, late = held("asks", id="G-AAAAAAAA", until=NOW.wall + 5), held("asks", id="G-BBBBBBBB", until=NOW.wall + 9)
    limited = held("asks", id="G-CCCCCCCC", until=NOW.wall + 99, uses=5)
    silent = held("silent", id="G-DDDDDDDD", until=NOW.wall + 1, uses=1)

    def chosen(*grants: HeldGrant) -> str:
        verdict = decide(act("true"), policy, *grants)
        assert isinstance(verdict, Allow)
        return verdict.grant

    assert chosen(early, late, limited) == "G-BBBBBBBB"
    assert chosen(limited, early) == "G-AAAAAAAA"
    assert chosen(early, late, limited, silent) == "G-DDDDDDDD"
    verdict = decide(act("true"), policy, silent)
    assert isinstance(verdict, Allow)
    assert verdict.authenticate == Never()


def test_a_guardrail_of_any_covering_role_denies() -> None:
    """Another role's allow does not outvote it; a role that does not cover the action has no say."""
    guard = "guardrails:\n  g: {match: {command: 'true'}, then: deny, message: No.}\n"
    policy = load(role_text("", "free"), b=role_text("guardrails: [g]", "bound") + guard, c=role_text(
        "guardrails: [g]\nallow: [{command: /usr/bin/id}]", "elsewhere"))  # fmt: skip
    free, bound, elsewhere = held("free"), held("bound", id="G-BBBBBBBB"), held("elsewhere", id="G-CCCCCCCC")
    assert code(decide(act("true"), policy, free, elsewhere)) == "allow"
    assert decide(act("true"), policy, free, bound) == Deny("guardrail", "No.", role=RoleName("free"), guardrail="g")
    verdict = decide(act("true"), policy, elsewhere)
    assert isinstance(verdict, Deny)
    assert (verdict.code, verdict.role) == ("guardrail", None)


def test_an_always_guardrail_binds_every_role() -> None:
    """Without being listed."""
    guard = "guardrails:\n  g: {always: true, match: {command: /usr/bin/true}, then: deny, message: Never.}\n"
    assert code(decide(act("true"), load(role_text("") + guard))) == "guardrail"


def test_what_raises_denies_and_tells_the_operator() -> None:
    """A broken world allows nothing; the faults are kept, for operators."""
    on = world()
    on.broken = True
    verdict = decide(act("cat", "/etc/shadow"), rule("/usr/bin/cat", "[{path: {under: /etc}}]"), on=on)
    assert isinstance(verdict, Deny)
    assert verdict.code == "not-covered"
    assert verdict.faults == ("web.yaml:8: OSError('broken')",)
    guarded = role("", "guardrails:\n  g: {always: true, match: {command: 'rm'}, then: deny, message: Never.}")
    verdict = decide(act("true"), guarded, on=on)
    assert isinstance(verdict, Deny)
    assert verdict.guardrail == "g"
    assert verdict.faults == ("web.yaml:9: OSError('broken')", "guardrail g: OSError('broken')")


def test_a_role_whose_gate_raises_does_not_count() -> None:
    """Labels that cannot be read are no labels that match."""
    broken = Host("web-01", None)  # type: ignore[arg-type]
    verdict = decide(act("true"), role("hosts: {labels: {env: prod}}"), host=broken)
    assert isinstance(verdict, Deny)
    assert verdict.code == "error"
    assert verdict.faults


def test_an_evaluation_that_raises_is_a_deny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that raises."""
    monkeypatch.setattr(evaluate_module, "analyse", lambda *_: 1 / 0)
    verdict = decide(act("true"), rule("/usr/bin/true"))
    assert isinstance(verdict, Deny)
    assert verdict.code == "error"
    assert suggest(act("true"), rule("/usr/bin/true"), HOST, NOW, world(), PROVEN) == ()


def test_suggest_names_roles_that_would_really_help() -> None:
    """Open to the person, covering the action, not stopped by a guardrail; standing ones too."""
    guard = "guardrails:\n  g: {match: {command: 'true'}, then: deny, message: No.}\n"
    policy = load(
        role_text("", "good"),
        b=role_text("request: none\nuntil: 2026-12-01", "standing"),
        c=role_text('who: ["user:bob"]', "bobs"),
        d=role_text("allow: [{command: /usr/bin/id}]", "elsewhere"),
        e=role_text("guardrails: [g]", "guarded") + guard,
    )
    assert suggest(act("true"), policy, HOST, NOW, world(), PROVEN) == ("good", "standing")
    verdict = evaluate(act("true"), policy, (), HOST, NOW, world(), PROVEN)
    assert isinstance(verdict, Deny)
    assert verdict.hints == ("jitsudo request good --for 30m --reason '…'",)
    nobody = Person(Uid(1009), UserName("mallory"), Uid(1009))
    assert suggest(act("true", person=nobody), policy, HOST, NOW, world(), PROVEN) == ()
    assert suggest(act("true", person=BOB), policy, HOST, NOW, world(), PROVEN) == ("bobs",)


def test_of_several_rules_the_first_by_place_is_named() -> None:
    """In whatever order the role has them."""
    policy = role("allow: [{command: /usr/bin/true, operands: any},\n  {command: /usr/bin/true}, {command: /usr/bin/id}]")
    one = policy.roles[RoleName("r")]
    for rules in (one.rules, one.rules[::-1]):
        verdict = decide(act("true"), replace(policy, roles={one.name: replace(one, rules=rules)}))
        assert isinstance(verdict, Allow)
        assert verdict.rule == "web.yaml:8"


def test_a_role_about_the_program_but_not_these_arguments_is_not_suggested() -> None:
    """It would not help."""
    other = role_text("allow: [{command: /usr/bin/true, operands: [{literal: x}]}]")
    assert suggest(act("true"), load(other), HOST, NOW, world(), PROVEN) == ()


SHUT = 'when: {hours: {at: "Sat 08:00-18:00", strict: true}}'


def test_a_refusal_for_the_hour_names_no_other_user() -> None:
    """To run as somebody else would not help either."""
    shut = role(f"{SHUT}\nrun_as: {{users: [postgres]}}", head="timezone: UTC")
    verdict = decide(act("true"), shut, held(run_as=("postgres",)))
    assert isinstance(verdict, Deny)
    assert (verdict.code, [hint for hint in verdict.hints if "sudo -u" in hint]) == ("hours", [])


def test_the_user_of_a_command_that_is_not_covered_is_named() -> None:
    """Where it is not root."""
    policy = role("run_as: {users: [postgres]}\nallow: [{command: /usr/bin/id}]")
    verdict = decide(act("true", run_as="postgres"), policy, held(run_as=("postgres",)))
    assert isinstance(verdict, Deny)
    assert verdict.message == "no grant of alice (r) covers /usr/bin/true as postgres"


def test_the_first_three_files_of_an_edit_are_named() -> None:
    """However many there are."""
    action = replace(act("sudoedit", "/a", "/b", "/c", "/d", mode="edit"), path=None)
    verdict = decide(action, role())
    assert isinstance(verdict, Deny)
    assert verdict.message == "no grant of alice (r) covers editing /a /b /c"
