"""How replies look: text for people on standard output, JSON with a version for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence

from jitsudo.errors import InvalidValue, ProtocolViolation
from jitsudo.types import Duration, shown_plainly
from jitsudo.wire.framing import Json, decode_text

JSON_VERSION = 1


def show_json(value: Json) -> None:
    print(json.dumps({"version": JSON_VERSION, **value}, indent=2))


def show(line: str = "") -> None:
    print(shown_plainly(line))


def tell(line: str) -> None:
    """What is not a result goes to standard error."""
    print(shown_plainly(line), file=sys.stderr)


def text(value: Json, name: str) -> str:
    found = value.get(name)
    return "" if found is None else _decoded(found, name)


def _decoded(value: object, name: str) -> str:
    try:
        return decode_text(value, name)
    except InvalidValue as error:  # the daemon's mistake, not that of whoever called
        raise ProtocolViolation(error.sentence) from None


def number(value: Json, name: str) -> int:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int):
        raise ProtocolViolation(f"{name} is not a number")
    return found


def objects(value: Json, name: str) -> list[Json]:
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ProtocolViolation(f"{name} is not a list of objects")
    return found


def entry(value: Json, name: str) -> Json:
    found = value.get(name)
    if not isinstance(found, dict):
        raise ProtocolViolation(f"{name} is not an object")
    return found


def texts(value: Json, name: str) -> list[str]:
    found = value.get(name)
    if not isinstance(found, list):
        raise ProtocolViolation(f"{name} is not a list")
    return [_decoded(item, name) for item in found]


def duration(seconds: int) -> str:
    """The two largest units are enough for a person."""
    if seconds <= 0:
        return "0s"
    coarse = seconds if seconds < 3600 else seconds // 60 * 60 if seconds < 86_400 else seconds // 3600 * 3600
    return str(Duration(coarse))


def clock(seconds: int) -> str:
    """The person's own time zone; the date only where it is not today's."""
    then, now = time.localtime(seconds), time.localtime()
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", then)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    cells = [[shown_plainly(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_request(info: Json) -> None:
    """Everything that an approval signs, to be read in five seconds."""
    show(f"{text(info, 'person')} asks for role {text(info, 'role')}    {text(info, 'id')}, {text(info, 'state')}")
    show(f"  for      {duration(number(info, 'duration'))} from the moment it is granted")
    show(f"  as       {', '.join(texts(info, 'run_as'))}")
    if info.get("uses") is not None:
        uses = number(info, "uses")
        show(f"  uses     {uses} command{'' if uses == 1 else 's'}, no more")
    show(f"  reason   {text(info, 'reason')}")
    for index, command in enumerate(texts(info, "commands")):
        show(f"  {'may run' if index == 0 else '       '}  {command}")
    for index, guardrail in enumerate(texts(info, "guardrails")):
        show(f"  {'guarded' if index == 0 else '       '}  {guardrail}")
    given, needed = texts(info, "approvals"), number(info, "approvals_needed")
    if needed:
        by = f": {', '.join(given)}" if given else ""
        show(f"  approved {len(given)} of {needed}{by}")


def show_grant(info: Json) -> None:
    now = int(time.time())
    left = number(info, "not_after") - now
    uses = "" if info.get("uses_left") is None else f", {number(info, 'uses_left')} uses left"
    if text(info, "state") == "active":
        span = f"until {clock(number(info, 'not_after'))} ({duration(left)} left{uses})"
    else:
        span = text(info, "state")
    show(f"{text(info, 'id')}  role {text(info, 'role')} for {text(info, 'person')}, {span}")
    for session in objects(info, "sessions"):
        show(f"    {text(session, 'id')}  {text(session, 'command')}  as {text(session, 'run_as')}")
