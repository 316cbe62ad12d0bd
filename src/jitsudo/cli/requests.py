"""jitsudo request, again, requests, approve, deny, cancel."""

from __future__ import annotations

import argparse
import getpass
import sys
import time

from jitsudo.cli import render
from jitsudo.client import Client
from jitsudo.errors import Denied, ExitStatus, Failed, NotFound, TimedOut
from jitsudo.types import Duration, shown_plainly
from jitsudo.wire.framing import Json

OPEN = ("requested", "approved")


def request(options: argparse.Namespace) -> int:
    with Client() as client:
        duration = None if options.duration is None else int(options.duration)
        reply = client.call("Request", role=options.role, duration=duration, reason=options.reason, uses=options.uses)
        return _asked(client, render.entry(reply, "request"), options)


def again(options: argparse.Namespace) -> int:
    """Repeats my last request, terms and all."""
    with Client() as client:
        mine = [r for r in render.objects(client.call("Requests", all=True), "requests") if r.get("mine") is True]
        if not mine:
            raise NotFound("you have not asked for anything yet", "jitsudo roles; jitsudo request ROLE --reason '…'")
        last = max(mine, key=lambda r: render.number(r, "created"))
        reason = options.reason if options.reason is not None else render.text(last, "reason")
        reply = client.call(
            "Request", role=render.text(last, "role"), duration=render.number(last, "duration"), reason=reason
        )
        return _asked(client, render.entry(reply, "request"), options)


def _asked(client: Client, info: Json, options: argparse.Namespace) -> int:
    if options.wait and render.text(info, "state") in OPEN:
        if not options.json:
            render.tell(f"{render.text(info, 'id')} is waiting for approval; ^C stops waiting, not the request")
        info = _wait(client, info, options)
    if options.json:
        render.show_json({"request": info})
    elif render.text(info, "state") == "active":
        render.show(f"granted: {render.text(info, 'grant')} for {render.duration(render.number(info, 'duration'))}")
        render.tell(f"{_what_now(info)}; `jitsudo return` gives it back")
    elif render.text(info, "state") in OPEN:
        render.show(render.text(info, "id"))
        told = "you will be told on this terminal" if sys.stderr.isatty() else "`jitsudo status` tells"
        render.tell(f"waiting for approval until {render.clock(render.number(info, 'activate_by'))}; {told}")
    if options.wait and render.text(info, "state") != "active":
        return _not_granted(info)
    return ExitStatus.OK


def _what_now(info: Json) -> str:
    services = render.texts(info, "services")
    if services and len(render.texts(info, "commands")) == 1:  # the line about them, and no rule
        return f"you may come in through {', '.join(services)} now"
    return "use sudo as always; `sudo -l` shows what you may run"


def _not_granted(info: Json) -> int:
    outcome = render.text(info, "outcome") or "nobody decided in time"
    if render.text(info, "state") in (*OPEN, "timed-out"):
        raise TimedOut(f"{render.text(info, 'id')}: {outcome}", "it stays open until it lapses: jitsudo status")
    raise Denied(f"{render.text(info, 'id')}: {outcome}")


def _wait(client: Client, info: Json, options: argparse.Namespace) -> Json:
    deadline = None if options.timeout is None else time.monotonic() + int(options.timeout)
    live = sys.stderr.isatty() and not options.json
    started = time.monotonic()

    def waiting(what: str) -> None:
        if live:
            print(f"\r{shown_plainly(what)}  {int(time.monotonic() - started)} s ", end="", file=sys.stderr, flush=True)
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"{render.text(info, 'id')} was not decided within {options.timeout}", "jitsudo status")

    try:
        reply = client.call("Await", waiting, request=render.text(info, "id"))
    finally:
        if live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    return render.entry(reply, "request")


def requests(options: argparse.Namespace) -> int:
    with Client() as client:
        found = render.objects(client.call("Requests", all=options.all), "requests")
    if options.json:
        render.show_json({"requests": found})
        return ExitStatus.OK
    if not found:
        render.tell("no requests")
        return ExitStatus.OK
    rows = [
        (
            render.text(r, "id"),
            render.text(r, "person"),
            render.text(r, "role"),
            render.duration(render.number(r, "duration")),
            render.text(r, "state") + (" ← yours to approve" if r.get("may_approve") is True else ""),
            render.text(r, "reason"),
        )
        for r in sorted(found, key=lambda r: render.number(r, "created"))
    ]
    render.table(("REQUEST", "PERSON", "ROLE", "FOR", "STATE", "REASON"), rows)
    return ExitStatus.OK


def approve(options: argparse.Namespace) -> int:
    with Client() as client:
        if not options.json:
            _show_what_is_approved(client, options.request)
        duration = None if options.duration is None else int(options.duration)
        reply = client.call("Approve", request=options.request, max_duration=duration, note=options.note)
        while "prompts" in reply:
            reply = client.call("Answer", answers=_answers(render.objects(reply, "prompts"), from_stdin=options.stdin))
    info = render.entry(reply, "request")
    if options.json:
        render.show_json({"request": info})
    elif render.text(info, "state") == "active":
        render.show(f"approved: {render.text(info, 'person')} has grant {render.text(info, 'grant')}")
    else:
        given, needed = len(render.texts(info, "approvals")), render.number(info, "approvals_needed")
        render.show(f"approved: {given} of {needed} for {render.text(info, 'id')}")
    return ExitStatus.OK


def _show_what_is_approved(client: Client, prefix: str) -> None:
    wanted = prefix.upper().removeprefix("R-")
    for info in render.objects(client.call("Requests", all=False), "requests"):
        if render.text(info, "id")[2:].startswith(wanted):
            render.show_request(info)


def _answers(prompts: list[Json], *, from_stdin: bool) -> list[str]:
    answers = []
    for prompt in prompts:
        style, words = render.text(prompt, "style"), shown_plainly(render.text(prompt, "text"))
        if style in ("info", "error"):
            render.tell(words)
        elif from_stdin:
            line = sys.stdin.readline()
            if not line:
                raise Denied("standard input ended before the password", "jitsudo approve without -S asks on the terminal")
            answers.append(line.rstrip("\n"))
        elif style == "secret":
            answers.append(_secret(words))
        else:
            print(words, end="", file=sys.stderr, flush=True)
            answers.append(input())
    return answers


def _secret(words: str) -> str:
    try:
        with open("/dev/tty", "r+b", buffering=0):
            pass
    except OSError:
        raise Failed("there is no terminal to ask for a password on", "jitsudo approve -S reads standard input") from None
    return getpass.getpass(words)


def deny(options: argparse.Namespace) -> int:
    return _decided("Deny", options, options.reason)


def cancel(options: argparse.Namespace) -> int:
    return _decided("Cancel", options, None)


def _decided(method: str, options: argparse.Namespace, reason: str | None) -> int:
    with Client() as client:
        reply = client.call(method, request=options.request, reason=reason)
    info = render.entry(reply, "request")
    if options.json:
        render.show_json({"request": info})
    else:
        render.show(f"{render.text(info, 'id')}: {render.text(info, 'outcome')}")
    return ExitStatus.OK


def duration(value: str) -> Duration:
    """For argparse, which turns the error into its own."""
    return Duration.parse(value)
