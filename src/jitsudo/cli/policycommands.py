"""What jitsudo policy check, test, explain, edit, schema and fmt do; without a daemon, but for the reload after an edit."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jitsudo import __version__
from jitsudo.cli import admin, render
from jitsudo.errors import ExitStatus, InvalidValue, JitsudoError, PolicyInvalid, Unreachable
from jitsudo.offline import editing, explaining, report, sources
from jitsudo.offline.checking import Checked, Finding, check, issues_as_findings
from jitsudo.offline.formatting import format_text
from jitsudo.offline.schema import policy_schema
from jitsudo.offline.testing import outcome_of

# -- check, test -----------------------------------------------------------------------------------------------------


def check_policy(options: argparse.Namespace) -> int:
    checked, findings = _checked(options, with_lint=not options.no_lint)
    _show(findings, _format_of(options))
    if _format_of(options) == "text":
        render.tell(_summary(checked, findings))
    return int(checked.exit_status(strict=options.strict))


def test_policy(options: argparse.Namespace) -> int:
    checked, findings = _checked(options, with_lint=False, only=options.role)
    if options.role is not None and checked.policy is not None and options.role not in checked.policy.roles:
        raise InvalidValue(f"there is no role {options.role!a}")
    findings = tuple(finding for finding in findings if finding.code in ("invalid", "test-failed"))
    if _format_of(options) != "text":
        _show(findings, _format_of(options))
        return int(checked.exit_status(strict=False))
    for one in checked.tests:
        if not one.passed or options.verbose:
            where = f"{one.test.pos.file}:{one.test.pos.line}"
            render.show(f"{'ok    ' if one.passed else 'FAILED'} {where} role {one.role}: {_run_line(one.test.run)}")
            for line in one.why:
                render.show(f"         {line}")
            if not one.passed:
                render.show(f"         expected {one.test.expect}" + (f", got {one.outcome}" if one.outcome else ""))
    _show(tuple(finding for finding in findings if finding.code == "invalid"), "text")
    failed = sum(not one.passed for one in checked.tests)
    render.tell(f"{len(checked.tests)} tests, {failed} failed")
    return int(checked.exit_status(strict=False))


def _run_line(run: str | tuple[str, ...]) -> str:
    return run if isinstance(run, str) else json.dumps(run, ensure_ascii=False)


def _checked(options: argparse.Namespace, *, with_lint: bool, only: str | None = None) -> tuple[Checked, tuple[Finding, ...]]:
    knowledge = sources.read_knowledge([Path(folder) for folder in options.grammars])
    checked = check(sources.read_sources(options.files), knowledge, with_lint=with_lint, only=only)
    return checked, (*issues_as_findings(knowledge.issues), *checked.findings)


def _format_of(options: argparse.Namespace) -> str:
    return "json" if options.json else str(options.format)


def _show(findings: Sequence[Finding], form: str) -> None:
    if form == "json":
        print(json.dumps(report.as_json(findings), indent=2))
    elif form == "sarif":
        print(json.dumps(report.as_sarif(findings, __version__), indent=2))
    else:
        for line in report.text_lines(findings):
            render.show(line)


def _summary(checked: Checked, findings: Sequence[Finding]) -> str:
    counts = [f"{sum(one.severity == severity for one in findings)} {severity}s" for severity in ("error", "warning", "note")]
    state = "valid" if checked.policy is not None else "INVALID"
    roles = f", {len(checked.policy.roles)} roles" if checked.policy is not None else ""
    return f"the policy is {state}{roles}: {', '.join(counts)}, {len(checked.tests)} tests"


# -- explain ---------------------------------------------------------------------------------------------------------


def explain_policy(options: argparse.Namespace) -> int:
    knowledge = sources.read_knowledge()
    result = sources.read_policy(sources.read_sources(options.file), knowledge.grammars)
    if result.policy is None:
        raise PolicyInvalid("the policy is invalid", "jitsudo policy check", tuple(str(issue) for issue in result.issues))
    argv = options.command[1:] if options.command[:1] == ["--"] else options.command
    question = explaining.Question(
        user=options.person,
        argv=tuple(argv),
        groups=tuple(options.group) or explaining.groups_here(options.person),
        role=options.role,
        run_as=options.user,
        cwd=options.cwd,
        at=options.at,
        source=options.source,
    )
    answers = explaining.explain_offline(question, result.policy, knowledge.risks.writable)
    allowed = any(outcome_of(answer.explanation.verdict) == "allow" for answer in answers)
    if options.json:
        shown = [
            {"role": answer.role, "verdict": outcome_of(answer.explanation.verdict), "lines": list(answer.explanation.lines)}
            for answer in answers
        ]
        render.show_json({"person": options.person, "roles": shown})
    else:
        for answer in answers:
            render.show(f"if role {answer.role} were granted: {answer.explanation.lines[0]}")
            for line in answer.explanation.lines[1:]:
                render.show(f"  {line}")
        if not answers:
            groups = ", ".join(question.groups) or "none"
            render.show(f"no role is open to {options.person} (groups: {groups}); --group names more, --role asks anyway")
    return ExitStatus.OK if allowed else ExitStatus.DENIED


# -- edit, schema, fmt -----------------------------------------------------------------------------------------------


def edit_policy(options: argparse.Namespace) -> int:
    folder = sources.POLICY_FOLDER
    name = editing.file_to_edit(folder, options.file)
    knowledge = sources.read_knowledge()
    dialogue = editing.Dialogue(show=_show_checked, ask=_what_now, tell=render.tell)
    if not editing.edit(folder, name, editing.editor_command(os.environ), knowledge, dialogue, check_owner=True):
        return ExitStatus.OK
    render.tell(f"saved: {folder / name}")
    try:
        return admin.policy_reload(options)
    except Unreachable:
        render.tell("jitsudod does not answer: the policy is loaded when it starts")
        return ExitStatus.OK


def _show_checked(checked: Checked) -> None:
    for finding in checked.findings:
        if finding.severity != "note":
            render.tell(str(finding))


def _what_now() -> editing.Answer:
    """visudo's question; the end of input means exit."""
    answers: dict[str, editing.Answer] = {"e": "edit", "x": "exit", "Q": "save"}
    while True:
        print("What now? ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        answer = "exit" if not line else answers.get(line.strip())
        if answer is not None:
            return answer
        render.tell("(e)dit the file again\ne(x)it without saving\n(Q)uit and save, though tests fail; never an invalid policy")


def print_schema(options: argparse.Namespace) -> int:
    del options
    print(json.dumps(policy_schema(), indent=2))
    return ExitStatus.OK


def fmt_policy(options: argparse.Namespace) -> int:
    found = sources.read_sources(options.files)
    status = ExitStatus.OK
    changed = []
    for name, raw in found.files.items():
        path = Path(name) if options.files else sources.POLICY_FOLDER / name
        try:
            text = format_text(name, raw)
        except JitsudoError as error:
            render.tell(f"jitsudo: {error.sentence}")
            status = ExitStatus.POLICY_INVALID if isinstance(error, InvalidValue) else max(status, ExitStatus.FAILED)
            continue
        if text.encode("utf-8") == raw:
            continue
        changed.append(name)
        if options.diff:
            _show_diff(name, raw.decode("utf-8"), text)
        if not options.check and not options.diff:
            editing.replace_file(path.parent, path.name, raw, text.encode("utf-8"))
    for issue in found.issues:
        render.tell(str(issue))
        status = max(status, ExitStatus.FAILED)
    return _formatted(changed, status, options)


def _formatted(changed: list[str], status: ExitStatus, options: argparse.Namespace) -> int:
    if options.json:
        render.show_json({"changed": list(changed)})
    elif not options.diff:
        for name in changed:
            render.show(f"would change: {name}" if options.check else f"laid out: {name}")
    return ExitStatus.FAILED if changed and options.check and status == ExitStatus.OK else status


def _show_diff(name: str, before: str, after: str) -> None:
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm=""):
        render.show(line)
