"""The events: one method each, one fixed MESSAGE_ID each (docs/events.md, systemd/jitsudo.catalog).

A method makes the ledger entry of its event; `fields` turns an entry into what journald gets (systemd.journal-fields(7)).
Values from people and command lines are redacted here, before anything is stored, and escaped for the journal.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jitsudo.host.eventkinds import FIELDS, FOREIGN, KINDS
from jitsudo.host.ledger import Entry, Row
from jitsudo.host.redaction import Parts, Redactor
from jitsudo.policy.patterns import Pattern
from jitsudo.types import Person, shown_plainly

__all__ = ["FIELDS", "FOREIGN", "KINDS", "MAX_MESSAGE_CHARS", "AccessFacts", "CommandFacts", "Journal", "Observed", "fields"]

AUTHPRIV: Final = 10
MAX_MESSAGE_CHARS: Final = 4096
# What trackers call an issue (INC0012345 of one, INC-4711 of another): the first in a reason goes into a field of its own.
_TICKET: Final = re.compile(r"\b[A-Z]{2,10}(?:-[0-9]{1,12}|[0-9]{5,12})\b")


def fields(row: Row) -> list[tuple[str, str]]:
    """The journal fields of an event on record."""
    kind, body = KINDS.get(row.type, FOREIGN), row.content()
    shown = {name: _show(value) for name, value in body.items() if name in FIELDS and value is not None}
    message = kind.sentence.format_map(_Lenient({**shown, "line": _line(body)}))[:MAX_MESSAGE_CHARS]
    return [
        ("MESSAGE", message),
        ("PRIORITY", str(kind.priority)),
        ("SYSLOG_FACILITY", str(AUTHPRIV)),
        ("SYSLOG_IDENTIFIER", "jitsudo"),
        ("MESSAGE_ID", kind.message_id),
        ("JITSUDO_EVENT", row.type),
        ("JITSUDO_SEQ", str(row.seq)),
        ("JITSUDO_TIME", str(row.time)),
        ("JITSUDO_PREV_HASH", row.prev),
        ("JITSUDO_HASH", row.hash),
        ("JITSUDO_BOOT_ID", row.boot),
        *((f"JITSUDO_{FIELDS[name]}", value) for name, value in shown.items()),
    ]


def _line(body: Mapping[str, object]) -> str:
    """A command for the sentence: the program's path and its arguments, quoted as a shell would need them."""
    argv = body.get("argv")
    arguments = [str(argument) for argument in argv[1:]] if isinstance(argv, list) else []
    return shown_plainly(shlex.join([str(body.get("command", "?")), *arguments]))


class _Lenient(dict[str, str]):
    """A sentence never fails for want of a field."""

    def __missing__(self, key: str) -> str:
        return "?"


def _show(value: object) -> str:
    return shown_plainly(value) if isinstance(value, str) else json.dumps(value)


def _person(person: Person) -> dict[str, object]:
    return {"user": person.name, "uid": person.uid, "login_uid": person.login_uid}


def _setup(by: Person, front_end: str, reason: str) -> dict[str, object]:
    return {**_person(by), "front_end": front_end, "reason": reason}


@dataclass(frozen=True, slots=True)
class CommandFacts:
    """What is said of a command wherever one is recorded. `source`: where the login comes from, if it was looked up."""

    person: Person
    runas_user: str
    argv: Sequence[str]
    path: str | None
    cwd: str
    tty: str | None
    secrets: Parts = frozenset()
    source: str | None = None


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """What is said of somebody who wants in through PAM; `user` is None while nobody has said as whom."""

    person: Person
    phase: str
    service: str
    user: str | None
    rhost: str | None
    tty: str | None

    def body(self) -> dict[str, object]:
        what = {"service": self.service, "phase": self.phase, "runas_user": self.user}
        return {**_person(self.person), **what, "rhost": self.rhost, "tty": self.tty}


@dataclass(frozen=True, slots=True)
class Observed:
    """What is said of a command that sudo decided by sudoers: who called sudo how, what sudo said, what jitsudo would say.

    `times`: how many like it there were since the last that was recorded, this one included.
    """

    outcome: str
    plugin: str | None
    message: str | None
    mode: str
    caller: str
    unit: str | None
    parents: Sequence[str]
    variables: Sequence[str]
    would: str
    why: str
    role: str | None
    guardrail: str | None
    asks: Sequence[str]
    times: int


class Journal:
    """Makes the entries. Each method is one event; its arguments are what the event must say."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def redact(self, patterns: Sequence[Pattern]) -> None:
        """What the policy in force calls secret, from the next entry on."""
        self._redactor.use(patterns)

    def command_line(self, argv: Sequence[str], secrets: Parts = frozenset()) -> str:
        """A command in one line, as it may be stored and shown anywhere."""
        return shown_plainly(" ".join(self._redactor.argv(argv, secrets)))

    def _command(self, facts: CommandFacts) -> dict[str, object]:
        argv = self._redactor.argv(facts.argv, facts.secrets)
        return {
            **_person(facts.person),
            "runas_user": facts.runas_user,
            "command": facts.path or (argv[0] if argv else ""),
            "argv": list(argv),
            "cwd": facts.cwd,
            "tty": facts.tty,
            "source_address": facts.source,
        }

    def request_created(
        self,
        request: str,
        person: Person,
        role: str,
        reason: str,
        envelope: str,
        approvals_needed: int | None = None,
        source: str | None = None,
    ) -> Entry:
        """`approvals_needed`, where it is more than the role itself says (`otherwise`). `source`, where it was looked up."""
        ticket = _TICKET.search(reason)
        body = {**_person(person), "request": request, "role": role, "reason": self._redactor.text(reason)}
        if approvals_needed is not None:
            body["approvals_needed"] = approvals_needed
        more = {"source_address": source, "ticket": ticket[0] if ticket else None, "envelope": envelope}
        return Entry("request.created", {**body, **more})

    def request_denied(self, request: str, by: Person, reason: str) -> Entry:
        body = {**_person(by), "request": request, "by": by.name, "reason": self._redactor.text(reason)}
        return Entry("request.denied", body)

    def request_cancelled(self, request: str, by: Person) -> Entry:
        return Entry("request.cancelled", {**_person(by), "request": request, "by": by.name})

    def request_timed_out(self, request: str) -> Entry:
        return Entry("request.timed_out", {"request": request})

    def approval_given(self, request: str, by: Person, approver: str, envelope: str) -> Entry:
        return Entry("approval.given", {**_person(by), "request": request, "approver": approver, "envelope": envelope})

    def approval_refused(self, request: str, by: Person, code: str, reason: str) -> Entry:
        return Entry("approval.refused", {**_person(by), "request": request, "code": code, "reason": reason})

    def grant_issued(
        self,
        grant: str,
        request: str,
        subject: Mapping[str, object],
        role: str,
        window: tuple[int, int],
        approvers: Sequence[str],
        envelope: str,
        standing: bool,
    ) -> Entry:
        body = {
            "user": subject["name"],
            "uid": subject["uid"],
            "login_uid": subject["login_uid"],
            "grant": grant,
            "request": request,
            "role": role,
            "not_before": window[0],
            "not_after": window[1],
            "approvers": list(approvers),
            "standing": standing,
        }
        return Entry("grant.issued", {**body, "envelope": envelope})

    def grant_returned(self, grant: str, by: Person) -> Entry:
        return Entry("grant.returned", {**_person(by), "grant": grant, "by": by.name})

    def grant_revoked(self, grant: str, by: Person, reason: str, envelope: str) -> Entry:
        body = {**_person(by), "grant": grant, "by": by.name, "reason": self._redactor.text(reason)}
        return Entry("grant.revoked", {**body, "envelope": envelope})

    def grant_expired(self, grant: str) -> Entry:
        return Entry("grant.expired", {"grant": grant})

    def grant_used(self, grant: str, session: str) -> Entry:
        return Entry("grant.used", {"grant": grant, "session": session})

    def grant_used_up(self, grant: str) -> Entry:
        return Entry("grant.used_up", {"grant": grant})

    def command_allowed(
        self,
        facts: CommandFacts,
        grant: str | None,
        role: str | None,
        rule: str | None,
        session: str | None,
        policy: str | None,
        limits: Sequence[str] = (),
    ) -> Entry:
        """`limits`: the names of those that this counts for (LimitTerms.name)."""
        terms = {"grant": grant, "role": role, "rule": rule, "session": session, "policy_sha256": policy}
        counted = {"limits": list(limits)} if limits else {}
        return Entry("command.allowed", {"decision": "allow", **self._command(facts), **terms, **counted})

    def command_denied(
        self,
        facts: CommandFacts,
        code: str,
        reason: str,
        role: str | None,
        rule: str | None,
        guardrail: str | None,
        policy: str | None,
    ) -> Entry:
        reason = self._redactor.text(reason)  # it may quote an argument
        why = {"code": code, "reason": reason, "role": role, "rule": rule, "guardrail": guardrail, "policy_sha256": policy}
        return Entry("command.denied", {"decision": "deny", **self._command(facts), **why})

    def command_observed(self, facts: CommandFacts, seen: Observed, policy: str | None, *, literal: bool) -> Entry:
        """`literal`: the arguments are on record as they were; the redactor may say otherwise."""
        command = self._command(facts)
        sudo = {
            "outcome": seen.outcome,
            "plugin": seen.plugin,
            "reason": None if seen.message is None else self._redactor.text(seen.message),
            "mode": seen.mode,
            "caller": seen.caller,
            "unit": seen.unit,
            "parents": list(seen.parents),
            "variables": list(seen.variables),
        }
        jitsudo = {
            "would": seen.would,
            "why": self._redactor.text(seen.why),
            "role": seen.role,
            "guardrail": seen.guardrail,
            "asks": list(seen.asks),
            "policy_sha256": policy,
        }
        is_literal = literal and command["argv"] == list(facts.argv)
        return Entry("command.observed", {**command, **sudo, **jitsudo, "times": seen.times, "literal": is_literal})

    def access_allowed(
        self, access: AccessFacts, grant: str | None, role: str | None, session: str | None, policy: str | None,
        limits: Sequence[str] = (),
    ) -> Entry:
        """`limits`: the names of those that this counts for (LimitTerms.name)."""
        terms = {"grant": grant, "role": role, "session": session, "policy_sha256": policy}
        counted = {"limits": list(limits)} if limits else {}
        return Entry("access.allowed", {"decision": "allow", **access.body(), **terms, **counted})

    def access_denied(self, access: AccessFacts, code: str, reason: str, role: str | None, policy: str | None) -> Entry:
        why = {"code": code, "reason": reason, "role": role, "policy_sha256": policy}
        return Entry("access.denied", {"decision": "deny", **access.body(), **why})

    def guardrail_fired(self, facts: CommandFacts, guardrail: str, role: str | None, effect: str) -> Entry:
        body = {**self._command(facts), "guardrail": guardrail, "role": role, "outcome": effect}
        return Entry("guardrail.fired", body)

    def guardrail_confirmed(self, facts: CommandFacts, guardrail: str, role: str | None) -> Entry:
        return Entry("guardrail.confirmed", {**self._command(facts), "guardrail": guardrail, "role": role})

    def guardrail_declined(self, facts: CommandFacts, guardrail: str, role: str | None) -> Entry:
        return Entry("guardrail.declined", {**self._command(facts), "guardrail": guardrail, "role": role})

    def edit_installed(
        self, person: Person, session: str, grant: str, path: str, before: str | None, after: str, diff: str
    ) -> Entry:
        """The diff, secrets redacted, is in the ledger alone."""
        where = {**_person(person), "session": session, "grant": grant, "path": path}
        what = {"sha256_before": before, "sha256": after, "diff": self._redactor.text(diff)}
        return Entry("edit.installed", {**where, **what})

    def session_started(self, person: Person, session: str, grant: str, state: Mapping[str, object]) -> Entry:
        """`state` is what the daemon needs to adopt the session again after its own restart."""
        return Entry("session.started", {**_person(person), "session": session, "grant": grant, "state": dict(state)})

    def session_ended(self, session: str, grant: str, outcome: str, exit_status: int | None) -> Entry:
        body = {"session": session, "grant": grant, "outcome": outcome, "exit_status": exit_status}
        return Entry("session.ended", body)

    def session_killed(self, session: str, grant: str, reason: str) -> Entry:
        return Entry("session.killed", {"session": session, "grant": grant, "reason": reason})

    def session_continued(self, session: str, grant: str, before: str, state: Mapping[str, object]) -> Entry:
        """Grant `before` is over, and `grant` covers what runs."""
        return Entry("session.continued", {"session": session, "grant": grant, "grant_before": before, "state": dict(state)})

    def session_escaped(self, session: str, grant: str, pids: Sequence[int], reason: str) -> Entry:
        return Entry("session.escaped", {"session": session, "grant": grant, "pids": list(pids), "reason": reason})

    def authentication_succeeded(
        self, person: Person, request: str | None, purpose: str | None = None, proof: str = "password"
    ) -> Entry:
        """To approve `request` or, where that is None, for `purpose`: `run systemctl restart nginx as root`."""
        body = {"request": request, "purpose": purpose or f"approve {request}", "proof": proof}
        return Entry("authentication.succeeded", {**_person(person), **body})

    def authentication_failed(self, person: Person, request: str | None, reason: str, purpose: str | None = None) -> Entry:
        body = {"request": request, "purpose": purpose or f"approve {request}", "reason": reason}
        return Entry("authentication.failed", {**_person(person), **body})

    def policy_loaded(self, policy: str) -> Entry:
        return Entry("policy.loaded", {"policy_sha256": policy})

    def policy_refused(self, reason: str, in_force: str | None) -> Entry:
        return Entry("policy.refused", {"reason": reason, "policy_sha256": in_force})

    def policy_changed(self, by: Person, before: str | None, policy: str) -> Entry:
        return Entry("policy.changed", {**_person(by), "policy_before": before, "policy_sha256": policy})

    def document_refused(self, grant: str, step: int, reason: str) -> Entry:
        return Entry("document.refused", {"grant": grant, "code": f"step-{step}", "reason": reason})

    def daemon_started(self, version: str) -> Entry:
        return Entry("daemon.started", {"version": version})

    def daemon_stopped(self) -> Entry:
        return Entry("daemon.stopped", {})

    def daemon_degraded(self, reason: str) -> Entry:
        return Entry("daemon.degraded", {"reason": reason})

    def ledger_quarantined(self, reason: str) -> Entry:
        return Entry("ledger.quarantined", {"reason": reason})

    def clock_accepted(self, by: Person) -> Entry:
        return Entry("clock.accepted", _person(by))

    def setup_enabled(self, by: Person, front_end: str, reason: str) -> Entry:
        return Entry("setup.enabled", _setup(by, front_end, reason))

    def setup_confirmed(self, by: Person, front_end: str, reason: str) -> Entry:
        return Entry("setup.confirmed", _setup(by, front_end, reason))

    def setup_rolled_back(self, by: Person, front_end: str, reason: str) -> Entry:
        return Entry("setup.rolled_back", _setup(by, front_end, reason))

    def setup_disabled(self, by: Person, front_end: str, reason: str) -> Entry:
        return Entry("setup.disabled", _setup(by, front_end, reason))

    def setup_verify_failed(self, by: Person, front_end: str, reason: str) -> Entry:
        return Entry("setup.verify_failed", _setup(by, front_end, reason))

    def heartbeat(self) -> Entry:
        return Entry("heartbeat", {})
