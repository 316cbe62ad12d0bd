"""jitsudo status, return, revoke, roles, explain."""

from __future__ import annotations

import argparse
import time

from jitsudo.cli import render
from jitsudo.client import Client
from jitsudo.errors import ExitStatus
from jitsudo.wire.framing import Json, encode_text


def status(options: argparse.Namespace) -> int:
    with Client() as client:
        reply = client.call("Status", all=options.all)
    grants, requests = _oldest_first(reply), render.objects(reply, "requests")
    if options.json:
        render.show_json(reply)
        return ExitStatus.OK
    if options.short:
        _short(grants, len(requests))
        return ExitStatus.OK
    for grant in grants:
        render.show_grant(grant)
    for request in requests:
        render.show_request(request)
    if not grants and not requests:
        render.tell("no grant, and nothing asked for; `jitsudo roles` shows what can be")
    for problem in render.texts(reply, "problems"):
        render.tell(f"problem: {problem}")
    return ExitStatus.OK


def _oldest_first(reply: Json) -> list[Json]:
    """By when they begin; of those that began in one second, the one that was made first."""
    return sorted(render.objects(reply, "grants"), key=lambda grant: render.number(grant, "not_before"))


def _short(grants: list[dict[str, object]], waiting: int) -> None:
    """One line for a prompt; nothing where there is nothing."""
    now = int(time.time())
    parts = [
        f"{render.text(g, 'role')} {render.duration(render.number(g, 'not_after') - now)}"
        for g in grants
        if g.get("standing") is not True and render.text(g, "state") == "active" and render.number(g, "not_after") > now
    ]
    if waiting:
        parts.append(f"{waiting} waiting")
    if parts:
        render.show(", ".join(parts))


def give_back(options: argparse.Namespace) -> int:
    with Client() as client:
        reply = client.call("Return", grant=options.grant, all=options.all)
    grants = _oldest_first(reply)
    if options.json:
        render.show_json(reply)
    for grant in grants if not options.json else ():
        render.show(f"{render.text(grant, 'id')} returned")
    return ExitStatus.OK


def revoke(options: argparse.Namespace) -> int:
    with Client() as client:
        reply = client.call("Revoke", grant=options.grant, reason=options.reason)
    grant = render.entry(reply, "grant")
    if options.json:
        render.show_json(reply)
    else:
        render.show(f"{render.text(grant, 'id')} of {render.text(grant, 'person')} revoked; what ran under it has ended")
    return ExitStatus.OK


def roles(options: argparse.Namespace) -> int:
    with Client() as client:
        reply = client.call("Roles")
    found = render.objects(reply, "roles")
    if options.json:
        render.show_json(reply)
        return ExitStatus.OK
    if not found:
        render.tell("no role is open to you on this host")
    for index, role in enumerate(found):
        if index:
            render.show()
        render.show(f"{render.text(role, 'name')}    {render.text(role, 'description')}")
        if role.get("standing") is True:
            render.show("  standing: just use it")
        else:
            approvals = render.number(role, "approvals")
            who = "at once" if approvals == 0 else f"{approvals} approval{'s' if approvals > 1 else ''}"
            longest = render.duration(render.number(role, "max_duration"))
            render.show(f"  {render.duration(render.number(role, 'default_duration'))}, at most {longest}; {who}")
        if role.get("not_now") is not None:
            render.show(f"  not now: {render.text(role, 'not_now')}")
        for command in render.texts(role, "commands"):
            render.show(f"  ({', '.join(render.texts(role, 'run_as'))}) {command}")
    return ExitStatus.OK


def explain(options: argparse.Namespace) -> int:
    argv = options.command[1:] if options.command[:1] == ["--"] else options.command
    with Client() as client:
        reply = client.call("Explain", argv=_wire(argv), run_as=options.user)
    if options.json:
        render.show_json(reply)
    else:
        for line in render.text(reply, "text").split("\n"):
            render.show(line)
    return ExitStatus.OK if reply.get("verdict") == "allow" else ExitStatus.DENIED


def _wire(argv: list[str]) -> list[object]:
    return [encode_text(argument) for argument in argv]
