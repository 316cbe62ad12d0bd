"""The digest of what a role means, so that nobody uses under an old approval what the policy has meanwhile come to say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass

from jitsudo.policy.model import Approver, Policy, Role
from jitsudo.policy.rules import Option
from jitsudo.types import Digest


def role_digest(policy: Policy, role: Role) -> Digest:
    """SHA-256 over canonical JSON of the role's meaning: its rules and terms, the guardrails that bind it (the `always`
    ones too), and the people and keys whose approval counts. Not: prose, places, comments, order, tests."""
    meaning = {
        "role": _meaning(role),
        "guardrails": [_meaning(guardrail) for guardrail in policy.guardrails_of(role)],
        "approvers": _sorted([_meaning(approver) for approver in _involved(policy, role)]),
    }
    return Digest("sha256:" + hashlib.sha256(_canonical(meaning).encode("utf-8", "surrogateescape")).hexdigest())


def _involved(policy: Policy, role: Role) -> list[Approver]:
    """Everybody who has a team or an account that the role's `who` or `from` may concern: their keys and accounts count."""
    source = role.request.source if role.request else None
    principals = {*role.who, *(source.principals if source else ())}
    teams = {p.name for p in principals if p.kind == "team"}
    users = {p.name for p in principals if p.kind == "user"}
    groups = any(p.kind == "group" for p in (source.principals if source else ()))
    return [
        approver
        for approver in policy.approvers.values()
        if groups or teams & set(approver.teams) or users & set(approver.accounts)
    ]


def _meaning(value: object) -> object:
    """`value` as JSON: a record becomes its kind and fields, ASIDE ones left out, UNORDERED ones sorted."""
    if is_dataclass(value) and not isinstance(value, type):
        record: dict[str, object] = {"": type(value).__name__}
        for one in fields(value):
            if one.repr and not one.metadata.get("aside"):
                part = _meaning(getattr(value, one.name))
                unordered = one.metadata.get("unordered") and isinstance(part, list)
                record[one.name] = _sorted(part) if unordered and isinstance(part, list) else part
        return record
    if isinstance(value, tuple):
        # What a grammar lets pass besides is not the role's: a better grammar must not end every grant.
        kept = [_meaning(item) for item in value if not (isinstance(item, Option) and item.harmless)]
        return kept if kept or not value else None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return str(value)


def _sorted(items: list[object]) -> list[object]:
    return sorted(items, key=_canonical)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
