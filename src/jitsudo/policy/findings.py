"""A finding about a policy: what check, lint and tests report, in one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jitsudo.policy.issues import Issue
from jitsudo.policy.nodes import Pos

Severity = Literal["error", "warning", "note"]
FindingCode = Literal[
    "invalid",  # the policy cannot be used
    "parser-warning",  # what the parser has to say of a valid policy
    "test-failed",  # a test expects something else
    "any-operands",
    "unknown-program",
    "runs-program",
    "spawns-shell",
    "reads-file",
    "writes-file",
    "loads-code",
    "changes-system",
    "edits-executable-config",
    "writable-path",
    "broad-pattern",
    "self-approval",
    "dead-rule",
    "bare-shell",
    "root-equivalent",
    "not-enforced",  # this version understands it, and refuses at run time
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: where, how bad, whose, what is wrong, and what to write instead."""

    pos: Pos
    code: FindingCode
    severity: Severity
    message: str
    cure: str = ""
    role: str | None = None
    program: str | None = None

    def __str__(self) -> str:
        cure = f" ({self.cure})" if self.cure else ""
        return f"{self.pos.file}:{self.pos.line}:{self.pos.column}: {self.severity}: {self.message}{cure} [{self.code}]"


def of_issue(issue: Issue) -> Finding:
    """What the parser found, as a finding."""
    code: FindingCode = "invalid" if issue.severity == "error" else "parser-warning"
    return Finding(Pos(issue.file, issue.line, issue.column), code, issue.severity, issue.message)
