"""Questions between a check and its verdict: proofs, confirmations, tickets; bound to a connection, answered once."""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

import pytest
from test_decide import POLICY, World, check, invocation, listing, story
from waiting import LONG

from jitsudo.daemon import challenging
from jitsudo.daemon.asking import Asked
from jitsudo.daemon.judging import Judged, Ready
from jitsudo.host import scopes
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.policy.model import Never
from jitsudo.policy.verdict import Allow, ExpiryTerms
from jitsudo.types import AbsPath, GrantId, Moment, RoleName

ROLES = """  asked:
    description: Proves who they are
    who: ["user:daemon"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: {within: 10m}
    guardrails: [sure]
    allow:
      - command: /usr/bin/id
      - command: /usr/bin/uname
  keyed:
    description: Proves it by an agent
    who: ["user:daemon"]
    request: {max_duration: 1h, approvals: 0}
    authenticate: agent
    allow: [{command: /usr/bin/arch}]
guardrails:
  sure:
    match: {command: /usr/bin/uname}
    then: confirm
    message: This names the kernel.
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process that looks like sudo needs root")


def policy(key: str = "") -> str:
    roles = POLICY.replace("guardrails:\n", ROLES, 1)
    if key:
        roles = roles.replace("roles:", f"approvers:\n  dee: {{accounts: [daemon], keys: [\"{key}\"]}}\nroles:", 1)
    return roles


async def use(world: World, key: str = "", role: str = "asked") -> None:
    (world.folder / "policy.d" / "web.yaml").write_text(policy(key))
    await world.reload()
    await world.grant(role)


def answer(outcome: str, account: str | None = None, **more: Any) -> tuple[str, dict[str, Any], list[str]]:
    return "Answer", {"outcome": outcome, "account": account, **more}, []


def validate(**changes: Any) -> tuple[str, dict[str, Any], list[str]]:
    return "Validate", {"invocation": invocation(), "account": None, **changes}, []


def verdicts(replies: list[Any]) -> list[str]:
    return [reply["parameters"].get("verdict") or reply["parameters"]["code"] for reply in replies]


@pytest.fixture(autouse=True)
def in_their_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "is_inside", lambda _session, _pid: True)


def test_a_password_is_asked_for_and_the_same_command_goes_on() -> None:
    """The challenge says what PAM is to do; once proven, the allow; both on record, before it."""

    async def test(w: World) -> None:
        await use(w)
        asked, allowed = await w.sudo(check("id"), answer("proven"))
        challenge = asked["parameters"]["challenge"]
        assert (challenge["kind"], challenge["service"], challenge["user"]) == ("authenticate", "jitsudo-sudo", "daemon")
        assert challenge["prompt"] == "[sudo] password for daemon: "
        assert challenge["tries"] == 3
        assert allowed["parameters"]["verdict"] == "allow"
        types = await w.types()
        assert types.index("authentication.succeeded") < types.index("command.allowed")

    story(test)


def test_a_proof_counts_for_a_while_in_its_place_and_nowhere_else() -> None:
    """Two commands of one process; -k CMD asks all the same; another session is another place."""

    async def test(w: World) -> None:
        await use(w)
        replies = await w.sudo(check("id"), answer("proven"), check("id"), check("id", settings=["ignore_ticket=true"]))
        assert verdicts(replies) == ["challenge", "allow", "allow", "challenge"]
        assert verdicts(await w.sudo(check("id"), session=True)) == ["challenge"]

    story(test)


def test_no_ticket_is_left_where_none_is_wanted() -> None:
    """sudo -N, and sudo -k COMMAND, whose proof is for that command alone."""

    async def test(w: World) -> None:
        await use(w)
        for setting in ("update_ticket=false", "ignore_ticket=true"):
            replies = await w.sudo(check("id", settings=[setting]), answer("proven"), check("id"))
            assert verdicts(replies) == ["challenge", "allow", "challenge"], setting

    story(test)


def test_sudo_v_makes_a_ticket_and_sudo_k_takes_it_away() -> None:
    """Asked only where needed; -K takes all of the person's."""

    async def test(w: World) -> None:
        await use(w)
        forget = [("Invalidate", {"invocation": invocation(), "remove": remove}, []) for remove in (False, True)]
        replies = await w.sudo(validate(), answer("proven"), validate(), check("id"), forget[0], check("id"))
        assert verdicts([*replies[:4], replies[5]]) == ["challenge", "allow", "allow", "allow", "challenge"]
        replies = await w.sudo(validate(), answer("proven"), forget[1], validate())
        assert verdicts([*replies[:2], replies[3]]) == ["challenge", "allow", "challenge"]

    story(test)


@pytest.mark.parametrize("outcome", ["failed", "declined", "unavailable"])
def test_who_does_not_prove_it_is_denied(outcome: str) -> None:
    """Code `authentication`, on record; a failure as such, too."""

    async def test(w: World) -> None:
        await use(w)
        _, denied = await w.sudo(check("id"), answer(outcome))
        assert (denied["parameters"]["verdict"], denied["parameters"]["code"]) == ("deny", "authentication")
        types = await w.types()
        assert types[-1] == "command.denied"
        assert ("authentication.failed" in types) == (outcome == "failed")
        assert "command.allowed" not in types

    story(test)


WRONG: list[dict[str, Any]] = [
    {"outcome": "confirmed"},
    {"outcome": "signed"},
    {"outcome": "allowed"},
    {"outcome": ""},
    {"outcome": "connected"},
    {"outcome": "connected", "descriptors": ["agent"]},
    {"outcome": "connected", "descriptors": ["agent", "cwd"]},
    {"outcome": "proven", "descriptors": ["agent"]},
    {"outcome": "proven", "signature": "x"},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_answer_to_the_question_ends_it(wrong: dict[str, Any]) -> None:
    """It cannot be put right on the same question: a challenge is answered once."""

    async def test(w: World) -> None:
        await use(w)
        replies = await w.sudo(check("id"), answer(**wrong), answer("proven"))
        assert verdicts(replies) == ["challenge", "invalid-value", "wrong-state"]
        assert "command.allowed" not in await w.types()

    story(test)


def test_an_answer_to_nothing_is_refused() -> None:
    """Before any question, on another connection, a second time."""

    async def test(w: World) -> None:
        await use(w)
        assert verdicts(await w.sudo(answer("proven"))) == ["wrong-state"]
        assert verdicts(await w.sudo(check("id"))) == ["challenge"]
        assert verdicts(await w.sudo(answer("proven"))) == ["wrong-state"]
        assert verdicts(await w.sudo(check("id"), answer("proven"), answer("proven")))[2] == "wrong-state"

    story(test)


def test_a_new_question_takes_the_place_of_the_one_before() -> None:
    """A proof for one command is not taken for another's question that was never answered."""

    async def test(w: World) -> None:
        await use(w)
        other = check("uname", settings=["ignore_ticket=true"])
        replies = await w.sudo(check("id"), other, answer("proven"), answer("declined"))
        assert verdicts(replies) == ["challenge", "challenge", "challenge", "deny"]
        assert "command.denied" in await w.types()  # which waits until all is written
        rows = [r.content() for r in w.state.ledger.after(0, 1000) if r.type == "command.denied"]
        assert [row["argv"] for row in rows] == [["id"], ["uname"]]

    story(test)


def test_an_answer_that_comes_too_late_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is not open for ever, whatever the front end says."""

    async def test(w: World) -> None:
        await use(w)
        monkeypatch.setattr(challenging, "CHALLENGE_SECONDS", -1.0)
        _, late = await w.sudo(check("id"), answer("proven"))
        assert (late["parameters"]["code"], late["parameters"]["message"]) == ("authentication", "the answer came too late")

    story(test)


def test_who_goes_away_without_an_answer_is_on_record() -> None:
    """A sudo that was killed at its prompt."""

    async def test(w: World) -> None:
        await use(w)
        assert verdicts(await w.sudo(check("id"))) == ["challenge"]
        async with asyncio.timeout(LONG):
            while "command.denied" not in await w.types():
                await asyncio.sleep(0.02)

    story(test)


def test_what_changed_while_somebody_typed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy and the accounts are those of the answer, not those of the question."""

    async def test(w: World) -> None:
        await use(w)

        def without_role(_asked: Any) -> Any:
            w.state.policy = load_policy_bytes({"web.yaml": POLICY.encode()})
            return answer("proven")

        replies = await w.dialogue(check("id"), without_role)
        assert replies[1]["parameters"]["code"] == "no-grant"
        await use(w)

        def without_account(_asked: Any) -> Any:
            monkeypatch.setattr(SystemAccounts, "passwd", lambda _self, _key: None)
            return answer("proven")

        replies = await w.dialogue(check("uname", settings=["ignore_ticket=true"]), without_account)
        assert "verdict" not in replies[1]["parameters"]
        assert "no entry in the user database" in replies[1]["parameters"]["message"]
        assert "command.allowed" not in await w.types()

    story(test)


def test_a_guardrail_that_wants_to_be_confirmed_asks_after_the_proof() -> None:
    """One question at a time; yes and no are on record under the guardrail's name."""

    async def test(w: World) -> None:
        await use(w)
        replies = await w.sudo(check("uname"), answer("proven"), answer("confirmed"))
        assert verdicts(replies) == ["challenge", "challenge", "allow"]
        assert replies[1]["parameters"]["challenge"]["kind"] == "confirm"
        assert "This names the kernel." in replies[1]["parameters"]["challenge"]["message"]
        assert "guardrail.confirmed" in await w.types()
        replies = await w.sudo(check("uname"), answer("declined"))  # the ticket still counts, the yes does not
        assert replies[1]["parameters"]["code"] == "guardrail"
        assert (await w.types())[-2:] == ["guardrail.declined", "command.denied"]
        assert verdicts(await w.sudo(check("uname"), answer("proven")))[1] == "invalid-value"

    story(test)


def test_an_account_that_may_not_be_used_is_denied_before_anything_else() -> None:
    """Whatever the policy says, with a ticket, without a question; sudo -v too."""

    async def test(w: World) -> None:
        await use(w)
        method, parameters, files = check("id")
        expired = {**parameters, "account": "Account expired\nsecond line"}
        replies = await w.sudo(check("id"), answer("proven"), (method, expired, files), validate(account="locked"))
        assert verdicts(replies) == ["challenge", "allow", "deny", "deny"]
        assert [r["parameters"]["code"] for r in replies[2:]] == ["account", "account"]
        assert replies[2]["parameters"]["message"] == "Account expired"

    story(test)


LOCKED = "account validation failure, is your account locked?"


@pytest.mark.parametrize("role", ["self", "asked"])
def test_an_account_that_is_locked_is_never_allowed_on_record(role: str) -> None:
    """Where nobody is asked for a password the account is asked about before the allow, where somebody is, with the proof."""

    async def test(w: World) -> None:
        await use(w, role=role)
        replies = await w.sudo(check("id"), answer("proven", account=LOCKED), check("id"), answer("proven"))
        assert verdicts(replies) == ["challenge", "deny", "challenge", "allow"]
        asked, denied, again = replies[0]["parameters"]["challenge"], replies[1]["parameters"], replies[2]["parameters"]
        assert asked["kind"] == again["challenge"]["kind"] == ("account" if role == "self" else "authenticate")
        assert (asked["service"], asked["user"]) == ("jitsudo-sudo", "daemon")
        assert (denied["code"], denied["message"], denied["speaker"]) == ("account", LOCKED, "sudo")
        types = await w.types()
        assert types.index("command.denied") < types.index("command.allowed")
        assert types.count("command.allowed") == 1

    story(test)


def test_a_ticket_does_not_speak_for_the_account() -> None:
    """It is asked about at each command, sudo -v included; and who proved a password for a locked one gets no ticket."""

    async def test(w: World) -> None:
        await use(w)
        replies = await w.sudo(validate(), answer("proven", account=LOCKED), validate(), answer("proven"), check("id"),
                               answer("proven", account=LOCKED), validate(), answer("proven", account=LOCKED))  # fmt: skip
        assert verdicts(replies) == ["challenge", "deny", "challenge", "allow", "challenge", "deny", "challenge", "deny"]
        kinds = [reply["parameters"]["challenge"]["kind"] for reply in replies[::2]]
        assert kinds == ["authenticate", "authenticate", "account", "account"]
        assert "command.allowed" not in await w.types()

    story(test)


@pytest.mark.parametrize("outcome", ["failed", "declined", "unavailable", "confirmed"])
def test_an_account_of_which_nothing_is_learned_is_no_good_one(outcome: str) -> None:
    """PAM that cannot be asked, and an answer that is none."""

    async def test(w: World) -> None:
        await use(w, role="self")
        replies = await w.sudo(check("id"), answer(outcome))
        assert replies[1]["parameters"]["code"] == ("invalid-value" if outcome == "confirmed" else "account")
        assert (await w.types())[-1] == "command.denied"
        assert "command.allowed" not in await w.types()

    story(test)


def test_what_changed_while_pam_looked_at_the_account_counts() -> None:
    """An allow that waited for it is judged anew by another policy, and when it has waited for long."""

    async def test(w: World) -> None:
        await use(w, role="self")

        def without_role(_asked: Any) -> Any:
            w.state.policy = load_policy_bytes({"web.yaml": POLICY.replace("/usr/bin/id", "/usr/bin/env").encode()})
            return answer("proven")

        replies = await w.dialogue(check("id"), without_role, "??")
        assert replies[1]["parameters"]["code"] == "no-grant"

    story(test)


@pytest.mark.parametrize(
    ("age", "counted", "same", "holds"),
    [(2.0, False, True, True), (2.01, False, True, False), (0.0, True, True, False), (0.0, False, False, False)],
)
def test_an_allow_waits_for_two_seconds_at_most(age: float, counted: bool, same: bool, holds: bool) -> None:
    """Under the same policy, and never where uses are counted."""
    policy, other = (load_policy_bytes({"web.yaml": POLICY.encode()}).policy for _ in range(2))
    terms = Allow(GrantId("G-AAAAAAAA"), RoleName("r"), "web.yaml:1", AbsPath("/usr/bin/id"), ("id",), Never(),
                  ExpiryTerms("finish", 0), uses_limited=counted)  # fmt: skip
    ready = Ready(cast(Asked, None), Judged(terms, (), {}), policy, 100.0)
    assert ready.holds(policy if same else other, Moment(0, 100.0 + age)) is holds


async def denials(w: World) -> list[str]:
    await w.types()  # which waits until all is written
    return [r.content()["reason"] for r in w.state.ledger.after(0, 1000) if r.type == "command.denied"]


QUIET = "noninteractive=true"
UNANSWERABLE: list[tuple[str, str, str, str | None]] = [
    ("id", QUIET, "a password is required", "sudo"),
    ("id", "askpass=true", "no askpass program specified, try setting SUDO_ASKPASS", "sudo"),
    ("uname", QUIET, "sure: This names the kernel. This has to be confirmed on a terminal, without -n", None),
]


@pytest.mark.parametrize(("command", "setting", "words", "speaker"), UNANSWERABLE)
def test_nobody_is_asked_who_cannot_answer(command: str, setting: str, words: str, speaker: str | None) -> None:
    """Refused at once, in sudo's own words where it has some; on record as what could not be asked."""

    async def test(w: World) -> None:
        await use(w)
        before = [check("id"), answer("proven")] if command == "uname" else []
        denied = (await w.sudo(*before, check(command, settings=[setting]), answer("proven")))[len(before) :]
        assert denied[0]["parameters"]["verdict"] == "deny"
        assert denied[0]["parameters"]["message"].endswith(words.partition(": ")[2] or words)
        assert denied[0]["parameters"].get("speaker") == speaker
        assert verdicts(denied)[1] == "wrong-state"
        types = await w.types()
        if command == "uname":
            assert types[types.index("guardrail.declined") + 1] == "command.denied"
            assert (await denials(w))[-1].endswith("It was not confirmed.")
        else:
            assert await denials(w) == [challenging.NOT_DONE["unavailable"]]
            assert "authentication.failed" not in types

    story(test)


def test_an_askpass_program_can_be_asked_with() -> None:
    """The one that the caller's environment names; under -n it is no help."""

    async def test(w: World) -> None:
        await use(w)
        method, parameters, files = check("id", settings=["askpass=true"])
        parameters["invocation"]["user_env"].append("SUDO_ASKPASS=/usr/bin/ssh-askpass")
        assert verdicts(await w.sudo((method, parameters, files))) == ["challenge"]
        parameters["invocation"]["settings"].append(QUIET)
        assert (await w.sudo((method, parameters, files)))[0]["parameters"]["message"] == "a password is required"

    story(test)


def test_sudo_v_asks_nobody_who_cannot_answer_either() -> None:
    """sudo -v -n, and sudo -n with a ticket is not asked."""

    async def test(w: World) -> None:
        await use(w)
        quiet = validate(invocation={**invocation(), "settings": [QUIET]})
        replies = await w.sudo(quiet, validate(), answer("proven"), quiet)
        assert verdicts(replies) == ["deny", "challenge", "allow", "allow"]
        assert replies[0]["parameters"]["speaker"] == "sudo"

    story(test)


@pytest.mark.parametrize(("settings", "overrides"), [([], False), (["prompt=Mine: "], True), (["prompt="], True)])
def test_a_prompt_of_the_callers_stands_in_for_every_question(settings: list[str], overrides: bool) -> None:
    """With -p, and only then: the environment's is for the plain question."""

    async def test(w: World) -> None:
        await use(w)
        method, parameters, files = check("id", settings=settings)
        parameters["invocation"]["user_env"].append("SUDO_PROMPT=Theirs: ")
        asked = (await w.sudo((method, parameters, files)))[0]["parameters"]["challenge"]
        assert asked["overrides"] is overrides
        assert asked["prompt"] == (settings[0].partition("=")[2] if settings else "Theirs: ")

    story(test)


def test_listing_asks_for_no_password() -> None:
    """What would be asked is no reason not to say that it may be run."""

    async def test(w: World) -> None:
        await use(w)
        mine, one, other = await w.sudo(
            ("List", listing(), []), ("List", listing("id"), []), ("List", listing("touch", "/etc/x"), [])
        )
        assert "role asked" in mine["parameters"]["text"]
        assert "sure (confirm)" in mine["parameters"]["text"]
        assert one["parameters"]["text"] == "/usr/bin/id"
        assert not mine["parameters"]["text"].endswith("\n")
        assert other["parameters"]["verdict"] == "deny"
        verbose = (await w.sudo(("List", {**listing(), "verbose": True}, [])))[0]["parameters"]["text"]
        assert "a password, proven within the last 10m" in verbose

    story(test)
