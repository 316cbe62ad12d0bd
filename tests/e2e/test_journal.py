"""The record as an administrator reads it: fixed ids, explanations, one chain, and nobody else's entries among it."""

from __future__ import annotations

import itertools
import json

from acts import Journal, approve, ask, obtain, sudo, until
from lab import Lab

EXPECTED = {
    "request.created",
    "request.denied",
    "approval.given",
    "authentication.failed",
    "authentication.succeeded",
    "grant.issued",
    "grant.revoked",
    "command.allowed",
    "command.denied",
    "guardrail.fired",
    "session.started",
    "session.ended",
    "policy.changed",
}


def test_every_event_has_an_id_of_its_own_and_an_explanation(clean: Lab) -> None:
    """One MESSAGE_ID a type of event, with an entry in the message catalog; one chain of hashes through all of them."""
    journal = Journal.from_now(clean)
    denied = ask(clean, "web-operator")["id"]
    approve(clean, denied, password="wrong")
    clean.run("jitsudo", "deny", denied, "--reason", "no", user="bob", check=True)
    grant = obtain(clean)
    for argv in (["restart", "nginx.service"], ["reload", "nginx.service"], ["stop", "nginx.service"]):
        sudo(clean, "systemctl", *argv)
    clean.run("jitsudo", "revoke", grant, "--reason", "x", check=True)
    clean.run("jitsudo", "policy", "reload", check=True)
    until(lambda: {e["JITSUDO_EVENT"] for e in journal.events()} >= EXPECTED, "all events")
    events = journal.events()
    ids = {(e["JITSUDO_EVENT"], e["MESSAGE_ID"]) for e in events}
    assert len(ids) == len({event for event, _ in ids}) == len({number for _, number in ids})
    catalog = clean.run("journalctl", "--list-catalog", *(number for _, number in ids), check=True).stdout
    assert all(f"{number} jitsudo: " in catalog for _, number in ids), catalog
    for before, after in itertools.pairwise(events):
        assert after["JITSUDO_PREV_HASH"] == before["JITSUDO_HASH"]
        assert int(after["JITSUDO_SEQ"]) == int(before["JITSUDO_SEQ"]) + 1
    assert {e["SYSLOG_FACILITY"] for e in events} == {"10"}


def test_an_entry_that_somebody_else_writes_is_not_ours(clean: Lab) -> None:
    """Anybody can write what looks like an event; its _UID and unit give it away."""
    journal = Journal.from_now(clean)
    entry = "MESSAGE=mallory was granted everything\nSYSLOG_IDENTIFIER=jitsudo\nJITSUDO_EVENT=grant.issued\n"
    clean.run("logger", "--journald", user="mallory", input=entry, check=True)
    found = until(
        lambda: clean.run("journalctl", "-q", "-o", "json", "JITSUDO_EVENT=grant.issued", "_UID=1003").stdout, "the entry"
    )
    assert json.loads(found.splitlines()[-1])["_UID"] == "1003"
    assert not journal.find("grant.issued")
