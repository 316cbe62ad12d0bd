"""The events: one method, one MESSAGE_ID, one record, whatever a value contains."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jitsudo.host import eventkinds, journal
from jitsudo.host.journal import FIELDS, FOREIGN, KINDS, MAX_MESSAGE_CHARS, AccessFacts, CommandFacts, Journal, Observed, fields
from jitsudo.host.journalfeed import serialize
from jitsudo.host.ledger import GENESIS, Entry, Row
from jitsudo.host.redaction import Redactor
from jitsudo.types import Person, Uid, UserName, is_plain_text, shown_plainly

DOCS = Path(__file__).resolve().parents[3] / "docs"
SYSTEMD = Path(__file__).resolve().parents[3] / "systemd"
ALICE = Person(Uid(1000), UserName("alice"), Uid(1000))
ACCESS = AccessFacts(ALICE, "session", "su", "root", None, "/dev/pts/1")
FACTS = CommandFacts(ALICE, "root", ("systemctl", "restart", "nginx.service"), "/usr/bin/systemctl", "/", "/dev/pts/1")
OBSERVED = Observed(
    outcome="rejected", plugin="sudoers_policy", message="command not allowed", mode="command", caller="person",
    unit="session-3.scope", parents=("bash", "sshd"), variables=("EDITOR",), would="request", why="allowed by role web",
    role="web", guardrail="careful", asks=("confirm",), times=3,
)  # fmt: skip
ENTRIES: dict[str, Callable[[Journal], Entry]] = {
    "request.created": lambda j: j.request_created("R-AAAAAAAA", ALICE, "web", "why", "{}"),
    "request.denied": lambda j: j.request_denied("R-AAAAAAAA", ALICE, "no"),
    "request.cancelled": lambda j: j.request_cancelled("R-AAAAAAAA", ALICE),
    "request.timed_out": lambda j: j.request_timed_out("R-AAAAAAAA"),
    "approval.given": lambda j: j.approval_given("R-AAAAAAAA", ALICE, "alice", "{}"),
    "approval.refused": lambda j: j.approval_refused("R-AAAAAAAA", ALICE, "not-approver", "no"),
    "grant.issued": lambda j: j.grant_issued(
        "G-AAAAAAAA", "R-AAAAAAAA", {"name": "alice", "uid": 1, "login_uid": None}, "web", (1, 2), ["bob"], "{}", False
    ),
    "grant.returned": lambda j: j.grant_returned("G-AAAAAAAA", ALICE),
    "grant.revoked": lambda j: j.grant_revoked("G-AAAAAAAA", ALICE, "why", "{}"),
    "grant.expired": lambda j: j.grant_expired("G-AAAAAAAA"),
    "grant.used": lambda j: j.grant_used("G-AAAAAAAA", "S-AAAAAAAA"),
    "grant.used_up": lambda j: j.grant_used_up("G-AAAAAAAA"),
    "command.allowed": lambda j: j.command_allowed(FACTS, "G-AAAAAAAA", "web", "rule 1", "S-AAAAAAAA", "sha256:x"),
    "command.denied": lambda j: j.command_denied(FACTS, "no-grant", "no", None, None, None, None),
    "guardrail.fired": lambda j: j.guardrail_fired(FACTS, "no-wipe", "web", "deny"),
    "guardrail.confirmed": lambda j: j.guardrail_confirmed(FACTS, "confirm-stop", "web"),
    "guardrail.declined": lambda j: j.guardrail_declined(FACTS, "confirm-stop", "web"),
    "access.allowed": lambda j: j.access_allowed(ACCESS, "G-AAAAAAAA", "web", "S-AAAAAAAA", "sha256:x", ("role web",)),
    "access.denied": lambda j: j.access_denied(ACCESS, "no-grant", "no", None, None),
    "edit.installed": lambda j: j.edit_installed(
        ALICE, "S-AAAAAAAA", "G-AAAAAAAA", "/etc/motd", None, "sha256:x", "+password=hunter22 https://u:hunter22@h/"
    ),
    "session.continued": lambda j: j.session_continued("S-AAAAAAAA", "G-AAAAAAAA", "G-BBBBBBBB", {}),
    "session.started": lambda j: j.session_started(ALICE, "S-AAAAAAAA", "G-AAAAAAAA", {}),
    "session.ended": lambda j: j.session_ended("S-AAAAAAAA", "G-AAAAAAAA", "exit status 0", 0),
    "session.killed": lambda j: j.session_killed("S-AAAAAAAA", "G-AAAAAAAA", "revoked"),
    "session.escaped": lambda j: j.session_escaped("S-AAAAAAAA", "G-AAAAAAAA", [4, 5], "they left"),
    "authentication.succeeded": lambda j: j.authentication_succeeded(ALICE, "R-AAAAAAAA"),
    "authentication.failed": lambda j: j.authentication_failed(ALICE, "R-AAAAAAAA", "no"),
    "policy.loaded": lambda j: j.policy_loaded("sha256:x"),
    "policy.refused": lambda j: j.policy_refused("broken", None),
    "policy.changed": lambda j: j.policy_changed(ALICE, None, "sha256:x"),
    "document.refused": lambda j: j.document_refused("G-AAAAAAAA", 3, "another host's"),
    "daemon.started": lambda j: j.daemon_started("1.0"),
    "daemon.stopped": lambda j: j.daemon_stopped(),
    "daemon.degraded": lambda j: j.daemon_degraded("no systemd"),
    "ledger.quarantined": lambda j: j.ledger_quarantined("row 3"),
    "clock.accepted": lambda j: j.clock_accepted(ALICE),
    "setup.enabled": lambda j: j.setup_enabled(ALICE, "native", "to be confirmed"),
    "setup.confirmed": lambda j: j.setup_confirmed(ALICE, "native", "from another session"),
    "setup.rolled_back": lambda j: j.setup_rolled_back(ALICE, "native", "not confirmed in time"),
    "setup.disabled": lambda j: j.setup_disabled(ALICE, "native", "jitsudo setup disable"),
    "setup.verify_failed": lambda j: j.setup_verify_failed(ALICE, "python", "sudo does not load it"),
    "command.observed": lambda j: j.command_observed(FACTS, OBSERVED, None, literal=True),
    "heartbeat": lambda j: j.heartbeat(),
}


def made() -> Journal:
    return Journal(Redactor(b"k" * 32))


def shown(entry: Entry) -> dict[str, str]:
    found = fields(Row.after(GENESIS, 1, 1000, "b" * 32, entry))
    assert len(dict(found)) == len(found), "a field twice"
    return dict(found)


def test_every_kind_has_a_method_and_every_method_a_kind() -> None:
    """One method an auditable event."""
    public = [m for m in inspect.getmembers(Journal, inspect.isfunction) if not m[0].startswith("_")]
    methods = {name for name, method in public if inspect.signature(method).return_annotation == "Entry"}
    assert {kind.replace(".", "_") for kind in KINDS} == methods
    assert set(ENTRIES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_makes_its_own_kind_and_its_sentence_is_complete(kind: str) -> None:
    """No sentence has a gap where every fact is known."""
    entry = ENTRIES[kind](made())
    assert entry.type == kind
    found = shown(entry)
    assert "?" not in found["MESSAGE"]
    assert found["MESSAGE_ID"] == KINDS[kind].message_id
    assert found["JITSUDO_EVENT"] == kind
    assert set(re.findall(r"{(\w+)}", KINDS[kind].sentence)) <= {*FIELDS, "line"}


def test_message_ids_are_unique_and_of_the_form_that_journald_takes() -> None:
    """128 bits in lower-case hexadecimal (systemd.journal-fields(7))."""
    ids = [kind.message_id for kind in (*KINDS.values(), FOREIGN)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", i) for i in ids)


def test_every_event_is_documented_and_in_the_catalog_under_its_message_id() -> None:
    """docs/events.md and journalctl -x say the same as the code."""
    documented, catalog = (DOCS / "events.md").read_text(), (SYSTEMD / "jitsudo.catalog").read_text()
    for name, kind in KINDS.items():
        assert kind.message_id in documented, name
        assert f"`{name}`" in documented
        assert f"-- {kind.message_id}" in catalog
    known = {kind.message_id for kind in (*KINDS.values(), FOREIGN)}
    assert set(re.findall(r"\bf3b1c0a7[0-9a-f]{24}\b", documented + catalog)) <= known


def test_every_event_has_the_fields_that_queries_filter_on() -> None:
    """audit.md's fixed fields, and who, what, as whom for a command."""
    found = shown(ENTRIES["command.allowed"](made()))
    expected = {
        "PRIORITY": "5",
        "SYSLOG_FACILITY": "10",
        "SYSLOG_IDENTIFIER": "jitsudo",
        "JITSUDO_SEQ": "1",
        "JITSUDO_TIME": "1000",
        "JITSUDO_PREV_HASH": GENESIS,
        "JITSUDO_BOOT_ID": "b" * 32,
        "JITSUDO_DECISION": "allow",
        "JITSUDO_ROLE": "web",
        "JITSUDO_RULE": "rule 1",
        "JITSUDO_GRANT_ID": "G-AAAAAAAA",
        "JITSUDO_SESSION_ID": "S-AAAAAAAA",
        "JITSUDO_USER": "alice",
        "JITSUDO_UID": "1000",
        "JITSUDO_LOGIN_UID": "1000",
        "JITSUDO_RUNAS_USER": "root",
        "JITSUDO_COMMAND": "/usr/bin/systemctl",
        "JITSUDO_ARGV_JSON": '["systemctl", "restart", "nginx.service"]',
        "JITSUDO_CWD": "/",
        "JITSUDO_TTY": "/dev/pts/1",
    }
    assert expected.items() <= found.items()
    assert found["MESSAGE"] == "alice runs /usr/bin/systemctl restart nginx.service as root"


def test_documents_and_session_state_stay_in_the_ledger() -> None:
    """journald gets facts; proofs and tokens' digests are not its business."""
    entry = made().session_started(ALICE, "S-AAAAAAAA", "G-AAAAAAAA", {"token_digest": "secret"})
    assert "secret" not in str(shown(entry))
    assert "ENVELOPE" not in str(shown(ENTRIES["grant.issued"](made())))


HOSTILE = {
    "newline": "a\nMESSAGE=forged",
    "carriage return": "a\rb",
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "C1 escape": "\x9b31m",
    "NUL": "a\0b",
    "right-to-left override": "a\u202egpj.exe",
    "isolate": "\u2066x\u2069",
    "line separator": "a\u2028JITSUDO_UID=0",
    "bytes that are not UTF-8": "a\udcff\udc80",
    "a lone surrogate": "\ud800",
    "a byte order mark": "\ufeff",
    "braces": "{user} {0} {__class__}",
    "per cent": "%s%n",
    "a very long one": "x" * 100_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_value_stays_one_value_of_one_record(text: str) -> None:
    """CVE-2023-28486: nothing in argv, cwd, names or a reason can add a line, a field or a colour."""
    facts = CommandFacts(ALICE, text, ("cat", text), text, text, text)
    denied = made().command_denied(facts, "no-grant", text, text, text, text, text)
    reference = shown(made().command_denied(CommandFacts(ALICE, "x", ("x",), "x", "x", "x"), "c", "x", "x", "x", "x", "x"))
    for entry in (denied, made().request_created("R-AAAAAAAA", ALICE, text, text, text)):
        for name, value in shown(entry).items():
            assert re.fullmatch("[A-Z][A-Z0-9_]*", name)
            assert is_plain_text(value), name
            value.encode("utf-8")
    assert shown(denied).keys() == reference.keys()
    assert len(shown(denied)["MESSAGE"]) <= MAX_MESSAGE_CHARS
    assert json.loads(shown(denied)["JITSUDO_ARGV_JSON"])[0] == "cat"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_escaped_value_is_one_plain_line(text: str) -> None:
    """And plain text is left as it is."""
    assert is_plain_text(shown_plainly(text))
    assert shown_plainly("Grüße, 你好") == "Grüße, 你好"


def test_the_native_protocol_writes_every_value_with_its_length() -> None:
    """NAME, newline, 64 bits little-endian, the bytes, newline: a value cannot begin a field."""
    assert serialize([("A", "x\ny=z")]) == b"A\n\x05\0\0\0\0\0\0\0x\ny=z\n"


def test_secrets_on_a_command_line_are_redacted_before_the_entry_exists() -> None:
    """What has been written cannot be redacted later: not in argv, not in the sentence, not in a reason."""
    facts = CommandFacts(ALICE, "root", ("mysql", "-phunter2", "--password=hunter2"), None, "/", None)
    journal_ = made()
    token = "ghp_" + "a1B2" * 9
    for entry in (
        journal_.command_allowed(facts, None, None, None, None, None),
        journal_.command_denied(facts, "no-grant", "no", None, None, None, None),
        journal_.guardrail_fired(facts, "x", None, "deny"),
        journal_.request_created("R-AAAAAAAA", ALICE, "web", f"use {token}", "{}"),
        journal_.request_denied("R-AAAAAAAA", ALICE, f"use {token}"),
        journal_.grant_revoked("G-AAAAAAAA", ALICE, f"use {token}", "{}"),
    ):
        text = json.dumps(dict(entry.body))
        assert "hunter2" not in text
        assert token not in text


def test_an_event_of_another_version_is_passed_on() -> None:
    """After a downgrade the record must still reach journald, and the daemon must not stop over it."""
    found = shown(Entry("planet.discovered", {"user": "alice", "orbit": "x"}))
    assert found["JITSUDO_EVENT"] == "planet.discovered"
    assert found["JITSUDO_USER"] == "alice"
    assert found["MESSAGE_ID"] == FOREIGN.message_id


def test_a_body_that_is_no_object_is_not_ours() -> None:
    """A row that was forged with a chain made anew."""
    for body in ("[]", "1", "null", '"x"'):
        with pytest.raises(ValueError, match="not an object"):
            Row(1, 1, "b", "heartbeat", body, GENESIS, GENESIS).content()
    assert journal.KINDS["heartbeat"].priority == eventkinds.INFO


@pytest.mark.parametrize(
    ("reason", "ticket"),
    [
        ("INC-4711 nginx is down", "INC-4711"),
        ("nginx is down (INC0012345, CHG-1)", "INC0012345"),
        ("nginx is down", None),
        ("inc-4711 in small letters", None),
        ("SHA256 and HTTP404 are no tickets", None),
    ],
)
def test_the_first_ticket_in_a_reason_has_a_field_of_its_own(reason: str, ticket: str | None) -> None:
    """So that a SIEM can join requests with what asked for them."""
    assert made().request_created("R-AAAAAAAA", ALICE, "web", reason, "{}").body["ticket"] == ticket
