"""What `jitsudo setup enable`, `confirm`, `disable`, `rollback`, `status` and `verify` do, and say."""

from __future__ import annotations

import argparse
from typing import Final

from jitsudo.cli import render
from jitsudo.errors import ExitStatus
from jitsudo.setup.operations import Enabled, confirm, enable_front_end, take_out
from jitsudo.setup.places import Places
from jitsudo.setup.preflight import Problem
from jitsudo.setup.standing import Standing, read_standing
from jitsudo.setup.state import Mode
from jitsudo.setup.verifying import verify
from jitsudo.types import Duration
from jitsudo.wire.framing import Json


def enable(options: argparse.Namespace) -> int:
    places = Places()
    result = enable_front_end(
        options.front_end, options.confirm_within, options.waive, places, check_only=options.check
    )
    if options.json:
        _show_enabled_json(result, check_only=options.check)
    elif result.problems:
        _tell_problems(result.problems)
    elif result.already:
        _say_already(read_standing(places))
    elif options.check:
        render.show("Every check is passed; nothing was changed.")
    else:
        _say_enabled(read_standing(places), options.confirm_within)
    if result.problems:
        return ExitStatus.FAILED
    return ExitStatus.PENDING if result.already and result.state.mode is Mode.UNCONFIRMED else ExitStatus.OK


def _show_enabled_json(result: Enabled, *, check_only: bool) -> None:
    problems = [
        {"check": one.check, "found": one.found, "cure": one.cure, "waive": one.waiver} for one in result.problems
    ]
    changed = not (result.problems or result.already or check_only)
    render.show_json({"mode": result.state.mode.value, "changed": changed, "problems": problems})


def _tell_problems(problems: tuple[Problem, ...]) -> None:
    count = len(problems)
    render.tell(f"jitsudo: nothing was changed: {count} {'thing has' if count == 1 else 'things have'} to be put right first")
    for one in problems:
        render.tell(f"  [{one.check}] {one.found}")
        render.tell(f"      cure: {one.cure}")
        if one.waiver is not None:
            render.tell(f"      or do without: --waive {one.waiver}")


def _say_enabled(standing: Standing, within: Duration) -> None:
    state = standing.state
    render.show(f"jitsudo decides now, by the {state.front_end} front end, for {within}. Leave this session open.")
    render.show("In a second window log in anew, become root through jitsudo, and there:")
    render.show("    jitsudo setup confirm")
    render.show(f"If nobody does within {within}, everything is put back. To put it back now: jitsudo setup rollback")


def _say_already(standing: Standing) -> None:
    state = standing.state
    if standing.left is None:
        render.show(f"The {state.front_end} front end is enabled and confirmed, since {render.clock(state.since)}.")
    else:
        left = render.duration(standing.left)
        render.show(f"The {state.front_end} front end is enabled and waits to be confirmed: {left} left.")
        render.show("In a second window log in anew, become root through jitsudo, and there: jitsudo setup confirm")


def confirm_setup(options: argparse.Namespace) -> int:
    how = confirm(Places())
    if options.json:
        render.show_json({"mode": Mode.ENABLED.value, "how": how})
    else:
        render.show(f"Confirmed {how}. jitsudo stays.")
    return ExitStatus.OK


def disable(options: argparse.Namespace) -> int:
    return _take_out(options, disable=True)


def rollback(options: argparse.Namespace) -> int:
    return _take_out(options, disable=False)


def _take_out(options: argparse.Namespace, *, disable: bool) -> int:
    places = Places()
    take_out(places, force=options.force, disable=disable)
    standing = read_standing(places)
    if options.json:
        render.show_json(_as_json(standing))
    else:
        render.show("sudo is as it was before jitsudo.")
        for difference in standing.differences:
            render.tell(f"jitsudo: {difference}")
    return ExitStatus.OK


def status(options: argparse.Namespace) -> int:
    standing = read_standing(Places())
    if options.json:
        render.show_json(_as_json(standing))
    else:
        _show_standing(standing)
    return ExitStatus.FAILED if standing.differences else ExitStatus.OK


def _as_json(standing: Standing) -> Json:
    state, restored = standing.state, standing.restored
    front_end = None if state.front_end is None else state.front_end.value
    return {
        "mode": state.mode.value,
        "front_end": front_end,
        "since": state.since or None,
        "by": state.by if state.since else None,
        "seconds_left": standing.left,
        "kept": list(standing.kept),
        "backups": list(standing.backups),
        "differences": list(standing.differences),
        "restored": None
        if restored is None
        else {"when": restored.when, "front_end": restored.front_end, "reason": restored.reason},
    }


_MODES: Final = {
    Mode.OFF: "off: sudoers decides",
    Mode.OBSERVE: "observe: sudoers decides, jitsudo takes notes",
    Mode.UNCONFIRMED: "unconfirmed: jitsudo decides",
    Mode.ENABLED: "enabled: jitsudo decides",
}


def _show_standing(standing: Standing) -> None:
    state = standing.state
    render.show(f"mode       {_MODES[state.mode]}")
    if state.front_end is not None:
        render.show(f"front end  {state.front_end}")
    if state.since:
        render.show(f"since      {render.clock(state.since)}, by {state.by}")
    if standing.left is not None:
        left = f"{render.duration(standing.left)} left" if standing.left else "no time left"
        render.show(f"confirm    {left}, then everything is put back; from another login: jitsudo setup confirm")
    if standing.restored is not None:
        render.show(f"put back   {render.clock(standing.restored.when)}: {standing.restored.reason}")
    for title, paths in (("kept", standing.kept), ("backup", standing.backups)):
        for index, path in enumerate(paths):
            render.show(f"{title if index == 0 else '':10} {path}")
    for difference in standing.differences:
        render.show(f"differs    {difference}")


def verify_setup(options: argparse.Namespace) -> int:
    result = verify(Places())
    if options.json:
        front_end = None if result.front_end is None else result.front_end.value
        render.show_json({"front_end": front_end, "problem": result.problem, "done": result.done})
    elif result.problem is not None:
        render.tell(f"jitsudo: sudo does not load what its sudo.conf names: {result.problem}; {result.done}")
    elif result.front_end is not None:
        render.show(f"sudo loads the {result.front_end} front end.")
    else:
        render.show("sudo is not in jitsudo's hands; there is nothing to verify.")
    return ExitStatus.OK if result.problem is None else ExitStatus.FAILED
