"""jitsudo policy reload, clock accept: for root."""

from __future__ import annotations

import argparse

from jitsudo.cli import render
from jitsudo.client import Client
from jitsudo.errors import ExitStatus


def policy_reload(options: argparse.Namespace) -> int:
    with Client() as client:
        reply = client.call("Reload")
    if options.json:
        render.show_json(reply)
    else:
        render.show(f"in force: {render.text(reply, 'policy')}, {render.number(reply, 'roles')} roles")
    return ExitStatus.OK


def clock_accept(options: argparse.Namespace) -> int:
    with Client() as client:
        reply = client.call("AcceptClock")
    if options.json:
        render.show_json(reply)
    else:
        render.show(f"accepted: {render.clock(render.number(reply, 'time'))}")
    return ExitStatus.OK
