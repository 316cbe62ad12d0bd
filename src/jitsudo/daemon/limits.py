"""How often and how many at once: what `limits` count, folded from the ledger, so that a restart forgets nothing.

| limit | counts | for |
| --- | --- | --- |
| uses | commands allowed | the grant and the name of the limit |
| concurrent | sessions that have not ended | the person's uid and the name of the limit |
| per_hour | commands allowed in the last 3600 seconds of wall clock | the person's uid and the name of the limit |

The name is `role NAME` or `guardrail NAME` (LimitTerms.name). An allow's `command.allowed` event names in `limits` those that
it counts for. `refusal`, then `DaemonState.begin` with that event: with no `await` between the two, the check and the count
are one step. `apply` is part of the fold of the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitsudo.host.ledger import Entry
from jitsudo.policy.verdict import Deny, LimitTerms
from jitsudo.types import GrantId, Moment, Uid


class Counts:
    """What has been used. Folded: `DaemonState` feeds it every event, at load and live."""

    def apply(self, time: int, entry: Entry) -> None:
        """Take an event into account; `time` is the event's, in Unix seconds. Raises InvalidValue, KeyError on a malformed one."""

    def refusal(self, terms: Sequence[LimitTerms], uid: Uid, grant: GrantId, now: Moment) -> Deny | None:
        """None: one more fits into each of these limits. Otherwise which is reached, how much it is, and when the next fits."""
        return None
