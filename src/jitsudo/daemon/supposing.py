"""What the policy would say of a command if the person held whatever they may ask for; nothing comes of it.

Each role is looked at as if it alone were held, as `evaluate` does for a real decision, with everything done that a role or a
guardrail asks of the person: what was asked is told beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, get_args

from jitsudo.policy.access import may_request, role_admits
from jitsudo.policy.evaluate import evaluate
from jitsudo.policy.index import index_of
from jitsudo.policy.model import AgentProof, Policy, Role
from jitsudo.policy.verdict import Action, Allow, Challenge, Circumstances, Deny, HeldGrant, Host, Source, Verdict
from jitsudo.policy.world import World
from jitsudo.types import GrantId, Moment, RoleName

Would = Literal["root", "standing", "request", "deny", "not-covered", "refused", "no-policy", "unknown"]
WOULD: Final[tuple[Would, ...]] = get_args(Would)
Ask = Literal["password", "agent", "confirm"]
SUPPOSED: Final = GrantId("G-SUPPOSED")
MAX_ROLES: Final = 32  # that are looked at, as for the hints of a refusal
MAX_STEPS: Final = 16  # what one role and its guardrails may ask, one after the other
HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Supposed:
    """`why` is a sentence; `asks` what the person would have to do even then."""

    would: Would
    why: str
    role: RoleName | None = None
    guardrail: str | None = None
    asks: tuple[Ask, ...] = ()


def suppose(action: Action, policy: Policy, host: Host, now: Moment, world: World, source: Source) -> Supposed:
    """The best of what the roles would say: at once, then on request, then why not. Never raises."""
    if action.person.uid == 0:
        return Supposed("root", "root outside a session needs no grant; what it runs is on record")
    if action.mode == "command" and action.path is None:
        return Supposed("unknown", "there is no such program on the secure path")
    try:
        answers = list(_answers(action, policy, host, now, world, source))
    except Exception as error:  # noqa: BLE001  a record of what would be must not fail for what cannot be told
        return Supposed("unknown", f"the policy could not be evaluated: {type(error).__name__}")
    if not answers:
        return Supposed("not-covered", f"no role that {action.person.name} may have has a rule about {_subject(action)}")
    return min(answers, key=_rank)


def _rank(one: Supposed) -> tuple[int, int, str]:
    order: tuple[Would, ...] = ("standing", "request", "deny", "not-covered", "refused", "unknown")
    return order.index(one.would), len(one.asks), str(one.role)


def _subject(action: Action) -> str:
    return {"edit": "editing files", "command": str(action.path)}.get(action.mode, "a shell")


def _answers(
    action: Action, policy: Policy, host: Host, now: Moment, world: World, source: Source
) -> Iterator[Supposed]:
    for role in islice(index_of(policy).helpful(action.person, action, policy), MAX_ROLES):
        if role.standing:
            refused = role_admits(action.person, role, policy, host, now)
        else:
            refused = may_request(action.person, role, policy, host, now, source)
        if refused is not None:
            yield Supposed("not-covered", f"role {role.name}: {refused.message}", role.name)
        else:
            yield _answer(action, role, policy, host, now, world, source)


def _answer(
    action: Action, role: Role, policy: Policy, host: Host, now: Moment, world: World, source: Source
) -> Supposed:
    approvals = max(role.when.otherwise_approvals or 0, role.request.approvals if role.request else 0)
    grant = HeldGrant(SUPPOSED, role.name, role.run_as.users, now.wall + HOUR, None, role.standing, approvals)
    asks: list[Ask] = []
    confirmed: frozenset[str] = frozenset()
    asked_by: str | None = None
    circumstances = Circumstances(source=source)
    verdict: Verdict = Deny("error", "it asks without end")
    for _ in range(MAX_STEPS):
        verdict = evaluate(action, policy, [grant], host, now, world, circumstances)
        if not isinstance(verdict, Challenge):
            break
        if verdict.guardrail is not None:
            asked_by = verdict.guardrail
        if verdict.kind == "confirm" and verdict.guardrail is not None:
            asks.append("confirm")
            confirmed |= {verdict.guardrail}
            proven = circumstances.proven_now
        else:
            asks.append("agent" if isinstance(verdict.proof, AgentProof) else "password")
            proven = True
        age = 0 if proven else None
        circumstances = Circumstances(source, authenticated=age, agent=age, proven_now=proven, confirmed=confirmed)
    return _told(verdict, role, tuple(dict.fromkeys(asks)), asked_by)


def _told(verdict: Verdict, role: Role, asks: tuple[Ask, ...], asked_by: str | None) -> Supposed:
    if isinstance(verdict, Allow):
        after = f", after {' and '.join(asks)}" if asks else ""
        if role.standing:
            return Supposed("standing", f"allowed at once by standing role {role.name}{after}", role.name, asked_by, asks)
        needed = role.request.approvals if role.request is not None else 0
        approved = "" if not needed else f" and {needed} approval{'s' if needed > 1 else ''}"
        why = f"allowed by role {role.name}, after a request{approved}{after}"
        return Supposed("request", why, role.name, asked_by, asks)
    message = verdict.message.replace(f" ({role.name})", "")
    if isinstance(verdict, Deny) and verdict.guardrail is not None:
        why = f"role {role.name} covers it, and guardrail {verdict.guardrail} denies it: {message}"
        return Supposed("deny", why, role.name, verdict.guardrail)
    return Supposed("not-covered", f"role {role.name}: {message}", role.name)
