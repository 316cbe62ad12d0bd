"""Runs a policy's tests, those in its roles and those beside it, through the production evaluator."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.offline.cases import case_of
from jitsudo.policy.explain import explain
from jitsudo.policy.findings import Finding
from jitsudo.policy.issues import Issue, shown
from jitsudo.policy.model import InlineTest, Policy
from jitsudo.policy.parse_tests import NamedTest, parse_tests
from jitsudo.policy.reader import unknown
from jitsudo.policy.verdict import Allow, Challenge, Verdict
from jitsudo.types import AbsPath, RoleName

Outcome = Literal["allow", "deny", "challenge"]


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of one test; `why` are the reasons, one a line."""

    role: str
    test: InlineTest
    outcome: Outcome | None
    why: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the evaluator said what the test expects."""
        return self.outcome == self.test.expect

    @property
    def finding(self) -> Finding:
        """A test that did not pass, as a finding."""
        line = shown(self.test.run if isinstance(self.test.run, str) else shlex.join(self.test.run))
        got = f"expected {self.test.expect}, got {self.outcome}: " if self.outcome else ""
        why = self.why[0] if self.why else "?"
        return Finding(self.test.pos, "test-failed", "error", f"test {line!r}: {got}{why}", role=self.role)


def read_tests(files: Mapping[str, bytes], issues: list[Issue]) -> tuple[NamedTest, ...]:
    """The tests of the files beside a policy."""
    tests: list[NamedTest] = []
    for name in sorted(files):
        node = read_yaml(shown(name), files[name], issues)
        if node is not None:
            found, wrong = parse_tests(node)
            tests += found
            issues += wrong
    return tuple(tests)


def run_tests(
    policy: Policy, beside: tuple[NamedTest, ...] = (), writable: tuple[AbsPath, ...] = (), only: str | None = None
) -> Iterator[TestResult]:
    """Each test of the policy, then those beside it; `only`: those of one role."""
    for role in policy.roles.values():
        if only in (None, role.name):
            yield from (_run(test, role.name, policy, writable) for test in role.tests)
    for named in beside:
        if only in (None, named.role):
            yield _run(named.test, named.role, policy, writable)


def _run(test: InlineTest, name: str, policy: Policy, writable: tuple[AbsPath, ...]) -> TestResult:
    role = policy.roles.get(RoleName(name)) if name in policy.roles else None
    if role is None:
        return TestResult(name, test, None, (f"there is no role {unknown(name, policy.roles, word='')}",))
    try:
        case = case_of(test, role, policy, writable)
    except InvalidValue as error:
        return TestResult(name, test, None, (f"{error.sentence}" + (f" ({error.hint})" if error.hint else ""),))
    alone = replace(case.policy, roles={role.name: case.policy.roles[role.name]})
    found = explain(case.action, alone, case.grants, case.host, case.now, case.world, case.circumstances)
    return TestResult(name, test, outcome_of(found.verdict), found.lines)


def outcome_of(verdict: Verdict) -> Outcome:
    """The word that a test expects."""
    if isinstance(verdict, Allow):
        return "allow"
    return "challenge" if isinstance(verdict, Challenge) else "deny"
