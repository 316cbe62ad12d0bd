"""`jitsudo policy check`: parse, lint and test a policy, and report everything at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitsudo.errors import ExitStatus
from jitsudo.offline.sources import Knowledge, Sources, read_policy, read_test_files
from jitsudo.offline.testing import TestResult, read_tests, run_tests
from jitsudo.policy.findings import Finding, of_issue
from jitsudo.policy.issues import Issue
from jitsudo.policy.lint import lint
from jitsudo.policy.model import Policy

__all__ = ["Checked", "Finding", "check", "issues_as_findings"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; `policy` None: it is invalid, and was not tested."""

    policy: Policy | None
    findings: tuple[Finding, ...]
    tests: tuple[TestResult, ...] = ()

    def exit_status(self, *, strict: bool) -> ExitStatus:
        """6 if invalid, 1 if a test fails or, `strict`, if there is a warning; else 0."""
        if self.policy is None or any(finding.code == "invalid" for finding in self.findings):
            return ExitStatus.POLICY_INVALID
        severities = {finding.severity for finding in self.findings}
        if "error" in severities or (strict and "warning" in severities):
            return ExitStatus.FAILED
        return ExitStatus.OK


def check(sources: Sources, knowledge: Knowledge, *, with_lint: bool = True, only: str | None = None) -> Checked:
    """Read, lint (unless told not to) and test; `only`: the tests of one role."""
    result = read_policy(sources, knowledge.grammars)
    files, unread = read_test_files(sources)
    issues = [*result.issues, *unread]
    beside = read_tests(files, issues)
    found = [of_issue(issue) for issue in issues]
    if result.policy is None:
        return Checked(None, _sorted(found))
    tests = tuple(run_tests(result.policy, beside, knowledge.risks.writable, only))
    found += [one.finding for one in tests if not one.passed]
    if with_lint:
        found += lint(result.policy, knowledge.grammars, knowledge.risks)
    return Checked(result.policy, _sorted(found), tests)


def issues_as_findings(issues: Sequence[Issue]) -> tuple[Finding, ...]:
    """What concerns grammars and the table of risks."""
    return _sorted([of_issue(issue) for issue in issues])


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: (one.pos, one.code, one.message)))
