"""`jitsudo doctor`: what is wrong with this host, the worst first, each with a cure that can be pasted."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

from jitsudo.cli import render
from jitsudo.doctor.examination import examine
from jitsudo.doctor.findings import Finding, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.doctor.recommend import Recommendation, recommend
from jitsudo.errors import ExitStatus
from jitsudo.types import shown_plainly

WIDTH: Final = 80
INDENT: Final = 9
_COLOURS: Final = {
    Severity.PROBLEM: "31;1", Severity.WARNING: "33;1", Severity.UNKNOWN: "35", Severity.NOTICE: "36", Severity.OK: "32",
}  # fmt: skip


def doctor(options: argparse.Namespace) -> int:
    host = Host()
    findings = examine(host, options.only)
    best = None if options.only and "front-end" not in options.only else _recommended(host)
    if options.json:
        _show_json(findings, best)
    else:
        _show(findings, best, everything=options.all)
    return status_of(findings, strict=options.strict)


def status_of(findings: Sequence[Finding], *, strict: bool) -> int:
    """1 if there is a problem or, `strict`, a warning; what is unknown is nobody's fault."""
    bad = {Severity.PROBLEM, Severity.WARNING} if strict else {Severity.PROBLEM}
    return ExitStatus.FAILED if any(finding.severity in bad for finding in findings) else ExitStatus.OK


def _recommended(host: Host) -> Recommendation | None:
    try:
        return recommend(host)
    except Unknown:
        return None


def _show_json(findings: Sequence[Finding], best: Recommendation | None) -> None:
    shown: list[object] = [
        {
            "code": one.code, "severity": one.severity.value, "area": one.area, "found": one.found, "cure": one.cure,
            "subject": one.subject,
        }
        for one in findings
    ]  # fmt: skip
    front_end = None if best is None else {"name": best.front_end, "why": best.why}
    render.show_json({"findings": shown, "recommended_front_end": front_end})


def _show(findings: Sequence[Finding], best: Recommendation | None, *, everything: bool) -> None:
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for one in findings:
        if one.severity is not Severity.OK or everything:
            _show_one(one, colour=colour)
    if best is not None:
        render.show()
        for line in textwrap.wrap(f"Front end for this host: {best.front_end}, because {best.why}.", WIDTH):
            render.show(line)
    render.show()
    render.show(_summary(findings, everything=everything))


def _show_one(one: Finding, *, colour: bool) -> None:
    word = one.severity.value.ljust(INDENT - 1)
    head = f"\033[{_COLOURS[one.severity]}m{word}\033[0m" if colour else word
    code = f" [{one.code}]" if one.severity is not Severity.OK else ""
    text = shown_plainly(one.found) + code
    first, *rest = textwrap.wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False) or [""]
    print(f"{head} {first}")
    for line in rest:
        print(" " * INDENT + line)
    if one.cure and one.severity is not Severity.OK:
        print(f"{' ' * INDENT}cure: {shown_plainly(one.cure)}")  # on one line, however long: it is to be pasted


def _summary(findings: Sequence[Finding], *, everything: bool) -> str:
    counts = {severity: sum(one.severity is severity for one in findings) for severity in Severity}
    words = [
        f"{counts[severity]} {name}{'' if counts[severity] == 1 or name in ('unknown', 'in order') else 's'}"
        for severity, name in zip(Severity, ("problem", "warning", "unknown", "notice", "in order"), strict=True)
    ]
    hint = "" if everything or not counts[Severity.OK] else " (--all shows it)"
    return ", ".join(words) + hint
