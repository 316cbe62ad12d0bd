"""The one decision: may this action happen, under which grant and on what terms?"""

from __future__ import annotations

from collections.abc import Sequence

from jitsudo.policy.access import approvals_satisfied, may_approve, may_request, roles_open_to, standing_roles_of
from jitsudo.policy.model import Policy
from jitsudo.policy.verdict import Action, Allow, Challenge, Deny, ExpiryTerms, HeldGrant, Host, Verdict
from jitsudo.policy.world import World
from jitsudo.types import Moment, RoleName

__all__ = [
    "Action",
    "Allow",
    "Challenge",
    "Deny",
    "ExpiryTerms",
    "HeldGrant",
    "Host",
    "Verdict",
    "approvals_satisfied",
    "evaluate",
    "may_approve",
    "may_request",
    "roles_open_to",
    "standing_roles_of",
    "suggest",
]


def evaluate(
    action: Action, policy: Policy, grants: Sequence[HeldGrant], host: Host, now: Moment, world: World
) -> Verdict:
    """Decide. Never raises: what raises inside denies, and stands in the verdict's `faults` for operators."""
    raise NotImplementedError


def suggest(action: Action, policy: Policy, host: Host, now: Moment, world: World) -> tuple[RoleName, ...]:
    """The roles whose rules would cover the action and that the person may ask for (or has standing), by name."""
    raise NotImplementedError
