"""The kinds of events: what is fixed for each, and the journal's names for what an entry's body holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6  # syslog(3)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed for a type of event; `sentence` is filled from the entry's body."""

    message_id: str
    priority: int
    sentence: str


KINDS: Final[Mapping[str, Kind]] = {
    "request.created": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70101", NOTICE, "{user} asks for role {role}: {reason}"),
    "request.denied": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70102", NOTICE, "{by} denied request {request}: {reason}"),
    "request.cancelled": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70103", INFO, "{by} cancelled request {request}"),
    "request.timed_out": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70104", INFO, "request {request} was not approved in time"),
    "approval.given": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70201", NOTICE, "{user} approved request {request}"),
    "approval.refused": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70202", WARNING, "{user} may not approve {request}: {reason}"),
    "grant.issued": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70301", NOTICE, "grant {grant}: role {role} for {user}"),
    "grant.returned": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70302", NOTICE, "{by} gave back grant {grant}"),
    "grant.revoked": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70303", WARNING, "{by} revoked grant {grant}: {reason}"),
    "grant.expired": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70304", INFO, "grant {grant} expired"),
    "grant.used": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70305", INFO, "grant {grant} was used"),
    "grant.used_up": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70306", INFO, "grant {grant} has no uses left"),
    "command.allowed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70401", NOTICE, "{user} runs {line} as {runas_user}"),
    "command.denied": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70402", WARNING, "{user} may not run {line}: {reason}"),
    "guardrail.fired": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70403", WARNING, "guardrail {guardrail}, {outcome}, {user}: {line}"),
    "guardrail.confirmed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70404", NOTICE, "{user} confirmed {guardrail}: {line}"),
    "guardrail.declined": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70405", INFO, "{user} did not confirm {guardrail}: {line}"),
    "edit.installed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70406", NOTICE, "{user} edited {path} in session {session}"),
    "access.allowed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70411", NOTICE, "{user} is let in through {service} ({phase})"),
    "access.denied": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70412", WARNING, "{user} is not let in through {service}: {reason}"),
    "session.started": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70501", INFO, "session {session} of {user} started"),
    "session.ended": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70502", INFO, "session {session} ended: {outcome}"),
    "session.killed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70503", WARNING, "session {session} was ended: {reason}"),
    "session.escaped": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70504", ERROR, "processes of session {session} outlived it: {reason}"),
    "session.continued": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70505", INFO, "session {session} goes on under grant {grant}"),
    "authentication.succeeded": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70601", INFO, "{user} authenticated to {purpose}"),
    "authentication.failed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70602", WARNING, "{user} failed to authenticate: {reason}"),
    "policy.loaded": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70701", NOTICE, "policy {policy_sha256} is in force"),
    "policy.refused": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70702", ERROR, "policy refused: {reason}"),
    "policy.changed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70703", NOTICE, "{user} put policy {policy_sha256} in force"),
    "document.refused": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70801", ERROR, "grant {grant} was refused: {reason}"),
    "daemon.started": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70901", NOTICE, "jitsudod {version} started"),
    "daemon.stopped": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70902", NOTICE, "jitsudod stopped"),
    "daemon.degraded": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70903", ERROR, "degraded: {reason}"),
    "ledger.quarantined": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70904", ERROR, "the ledger was damaged and put aside: {reason}"),
    "clock.accepted": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70905", WARNING, "{user} accepted the clock as it is"),
    "setup.enabled": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70a01", WARNING, "{user} put jitsudo in front of root ({front_end})"),
    "setup.confirmed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70a02", NOTICE, "{user} confirmed that jitsudo works ({front_end})"),
    "setup.rolled_back": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70a03", WARNING, "sudo is as it was before jitsudo: {reason}"),
    "setup.disabled": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70a04", WARNING, "{user} took jitsudo out of sudo: {reason}"),
    "setup.verify_failed": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70a05", ERROR, "front end {front_end} does not work: {reason}"),
    "command.observed": Kind(
        "f3b1c0a74c9d4e0f8a21d5c3e6b70b01", INFO, "sudo {outcome} {line} of {user} as {runas_user}; jitsudo would say: {would}"
    ),
    "heartbeat": Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70906", INFO, "jitsudod is well"),
}

# An event that only another version knows, after a downgrade: journald gets it all the same.
FOREIGN: Final = Kind("f3b1c0a74c9d4e0f8a21d5c3e6b70aff", NOTICE, "an event of another version of jitsudo")

# From the names in a body to JITSUDO_ fields; what is not named here (documents, proofs) stays in the ledger.
FIELDS: Final[Mapping[str, str]] = {
    "decision": "DECISION",
    "code": "CODE",
    "role": "ROLE",
    "rule": "RULE",
    "guardrail": "GUARDRAIL",
    "grant": "GRANT_ID",
    "grant_before": "GRANT_BEFORE_ID",
    "request": "REQUEST_ID",
    "session": "SESSION_ID",
    "user": "USER",
    "uid": "UID",
    "login_uid": "LOGIN_UID",
    "by": "BY",
    "runas_user": "RUNAS_USER",
    "command": "COMMAND",
    "argv": "ARGV_JSON",
    "cwd": "CWD",
    "tty": "TTY",
    "source_address": "SOURCE_ADDRESS",
    "reason": "REASON",
    "ticket": "TICKET",
    "approvers": "APPROVERS",
    "policy_sha256": "POLICY_SHA256",
    "policy_before": "POLICY_BEFORE_SHA256",
    "exit_status": "EXIT_STATUS",
    "outcome": "OUTCOME",
    "not_before": "NOT_BEFORE",
    "not_after": "NOT_AFTER",
    "purpose": "PURPOSE",
    "proof": "PROOF",
    "path": "PATH",
    "sha256_before": "SHA256_BEFORE",
    "sha256": "SHA256",
    "limits": "LIMITS",
    "front_end": "FRONT_END",
    "service": "SERVICE",
    "phase": "PHASE",
    "rhost": "RHOST",
    "version": "VERSION",
    "pids": "PIDS",
    "would": "WOULD",
    "why": "WHY",
    "asks": "ASKS",
    "caller": "CALLER",
    "unit": "CALLER_UNIT",
    "parents": "CALLER_PARENTS",
    "mode": "MODE",
    "times": "TIMES",
    "variables": "VARIABLES",
    "plugin": "PLUGIN",
}
