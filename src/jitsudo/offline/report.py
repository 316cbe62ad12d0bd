"""Findings as text for people, as JSON for programs, and as SARIF 2.1.0 for code review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from jitsudo.policy.findings import Finding

REPORT_VERSION: Final = 1
_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_RULES: Final = {
    "invalid": "The policy cannot be used",
    "parser-warning": "The policy may not say what is meant",
    "test-failed": "A test of the policy expects something else",
    "any-operands": "A rule takes any arguments",
    "unknown-program": "No grammar describes the program",
    "runs-program": "A rule lets the caller run other programs",
    "spawns-shell": "A rule lets the caller open a shell",
    "reads-file": "A rule lets the caller read files",
    "writes-file": "A rule lets the caller write files",
    "loads-code": "A rule lets the caller load code",
    "changes-system": "A rule lets the caller change accounts, permissions or the kernel",
    "edits-executable-config": "What a rule lets people write holds commands",
    "writable-path": "Others than root can write below a folder of the rule",
    "broad-pattern": "A pattern takes nearly every argument",
    "self-approval": "Who asks may also approve",
    "dead-rule": "A rule or guardrail never matters",
    "bare-shell": "A role includes a shell",
    "root-equivalent": "A role is root, and does not say so",
    "not-enforced": "This version cannot do it yet, and refuses",
}

Json = dict[str, object]


def text_lines(findings: Sequence[Finding]) -> list[str]:
    """One line a finding."""
    return [str(finding) for finding in findings]


def as_json(findings: Sequence[Finding]) -> Json:
    """`{version, findings: [{code, severity, file, line, column, role, program, message, cure}]}`."""
    return {"version": REPORT_VERSION, "findings": [_entry(finding) for finding in findings]}


def _entry(finding: Finding) -> Json:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "file": finding.pos.file,
        "line": finding.pos.line,
        "column": finding.pos.column,
        "role": finding.role,
        "program": finding.program,
        "message": finding.message,
        "cure": finding.cure or None,
    }


def as_sarif(findings: Sequence[Finding], tool_version: str) -> Json:
    """One run of SARIF; the severities are its levels."""
    codes = sorted({finding.code for finding in findings})
    rules = [{"id": code, "shortDescription": {"text": _RULES[code]}} for code in codes]
    driver = {"name": "jitsudo", "version": tool_version, "rules": rules}
    results = [_result(finding, codes.index(finding.code)) for finding in findings]
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _result(finding: Finding, index: int) -> Json:
    region = {"startLine": finding.pos.line, "startColumn": finding.pos.column}
    uri = ("file://" if finding.pos.file.startswith("/") else "") + quote(finding.pos.file, errors="surrogateescape")
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": finding.message + (f" ({finding.cure})" if finding.cure else "")},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}],
        "properties": {"role": finding.role, "program": finding.program},
    }

