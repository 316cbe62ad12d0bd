"""What `sudo -l` prints: what a person may do now, under which grant, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from jitsudo.daemon.state import DaemonState
from jitsudo.policy.describe import describe_rule
from jitsudo.policy.verdict import HeldGrant
from jitsudo.types import Duration, Moment, Person


def list_text(person: Person, held: Sequence[HeldGrant], state: DaemonState, now: Moment) -> str:
    """Text for standard output, newline at its end."""
    roles = state.require_policy().policy.roles
    lines = [f"{person.name} may run on {state.host.name}:"]
    for grant in sorted(held, key=lambda g: g.not_after):
        role = roles[grant.role]
        lines.append("")
        lines.append(f"  role {grant.role}, grant {grant.id}, {_until(grant, now)}")
        lines += [f"    ({', '.join(grant.run_as)}) {describe_rule(rule)}" for rule in role.rules]
    return "\n".join(lines) + "\n"


def _until(grant: HeldGrant, now: Moment) -> str:
    left = Duration(max(1, grant.not_after - now.wall))
    uses = "" if grant.uses_left is None else f", {grant.uses_left} uses left"
    kind = "standing, " if grant.standing else ""
    end = datetime.fromtimestamp(grant.not_after, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{kind}until {end} ({left} left{uses})"
