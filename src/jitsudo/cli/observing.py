"""`jitsudo setup observe` and `jitsudo setup report`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from jitsudo.cli import render
from jitsudo.errors import ExitStatus
from jitsudo.setup.observing import start_observing, stop_observing
from jitsudo.setup.places import Places
from jitsudo.setup.report import Effect, Entry, Report, read_report
from jitsudo.setup.suggesting import suggest_policy
from jitsudo.wire.framing import Json, encode_text

_TITLES = {
    Effect.BREAKS: "Would break",
    Effect.ASKS: "Would go on, after a request or a question",
    Effect.SAME: "Would go on as it is",
    Effect.REFUSED: "Is refused by sudo today, too",
}


def observe(options: argparse.Namespace) -> int:
    places = Places()
    now = stop_observing(places) if options.off else start_observing(places)
    if options.json:
        render.show_json({"observing": now.on, "changed": now.changed})
    elif now.on:
        render.show("jitsudo observes: sudoers decides, as before." if now.changed else "jitsudo observes already.")
        render.show("In a few days, to see what would be different: jitsudo setup report")
    else:
        render.show("jitsudo observes no more." if now.changed else "jitsudo did not observe.")
    return ExitStatus.OK


def report(options: argparse.Namespace) -> int:
    report = read_report(options.since)
    policy = suggest_policy(report.entries)
    if options.json:
        render.show_json(as_json(report, policy))
        return ExitStatus.OK
    if not report.entries:
        render.show("Nothing was observed. To begin: jitsudo setup observe")
        return ExitStatus.OK
    show(report, policy)
    return ExitStatus.OK


def as_json(report: Report, policy: str | None) -> Json:
    """For programs; `policy` is a policy file's text."""
    return {
        "observed": [_entry_json(entry) for entry in report.entries],
        "left_out": report.left_out,
        "policy": policy,
    }


def _entry_json(entry: Entry) -> Json:
    names = (
        "person", "uid", "caller", "unit", "mode", "run_as", "path", "literal", "outcome", "reason", "would", "role",
        "guardrail", "why", "times", "first", "last",
    )  # fmt: skip
    lists = {name: list(getattr(entry, name)) for name in ("parents", "asks", "variables")}
    argv = [encode_text(word) for word in entry.argv]
    told = {"effect": entry.effect.value, "line": entry.line, "helps": entry.helps}
    return {**{name: getattr(entry, name) for name in names}, **lists, "argv": argv, **told}


def show(report: Report, policy: str | None) -> None:
    """For people: what breaks first."""
    first, last = min(e.first for e in report.entries), max(e.last for e in report.entries)
    times = sum(entry.times for entry in report.entries)
    broken = len(report.having(Effect.BREAKS))
    span = render.clock(first) if first == last else f"{render.clock(first)} to {render.clock(last)}"
    render.show(
        f"{span}: sudo was called {_times(times)}, in"
        f" {len(report.entries)} different {'way' if len(report.entries) == 1 else 'ways'}; {broken} would break."
    )
    for effect in Effect:
        _show_part(_TITLES[effect], report.having(effect))
    if report.left_out:
        render.show()
        render.show(f"{report.left_out} kinds that are less frequent were left out; --since shows fewer.")
    if policy is not None:
        render.show()
        render.show("To let what would break go on, in a file of /etc/jitsudo/policy.d:")
        render.show()
        for line in policy.splitlines():
            render.show(line)


def _show_part(title: str, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    render.show()
    render.show(title)
    for entry in entries:
        as_user = "" if entry.run_as == "root" else f" as {entry.run_as}"
        render.show(f"  {entry.person} {entry.who}: {entry.line}{as_user}")
        span = render.clock(entry.last) if entry.times == 1 else f"{render.clock(entry.first)} to {render.clock(entry.last)}"
        said = f"; sudo: {entry.reason}" if entry.reason else ""
        render.show(f"      {_times(entry.times)}, {span}{said}")
        if entry.effect is not Effect.REFUSED:
            render.show(f"      {entry.why}")
        if entry.helps is not None:
            render.show(f"      helps: {entry.helps}")
        if entry.variables and entry.effect is not Effect.REFUSED:
            render.show(f"      would not see any more: {', '.join(entry.variables)}")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
