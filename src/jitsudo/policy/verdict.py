"""What is asked of the policy, and the three answers there are: allow with its terms, deny, challenge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jitsudo.policy.model import Authentication
from jitsudo.types import AbsPath, GrantId, Person, RoleName, UserName

Mode = Literal["command", "edit", "shell"]

DenyCode = Literal[
    "error",  # evaluation failed
    "guardrail",  # a guardrail forbids it
    "hours",  # not at this hour
    "no-grant",  # no live grant at all
    "not-approver",  # this person's approval does not count
    "not-covered",  # no rule of a held role covers it
    "not-open",  # the role is not open to this person or on this host
    "root",  # uid 0 may not ask or approve
    "run-as",  # the role runs as other users
    "standing",  # nobody asks for a standing role
    "unknown-command",  # there is no such program on the secure path
    "unsupported",  # the policy uses a key that this version does not enforce yet
    "writable-command",  # somebody else than root could change the program
]


@dataclass(frozen=True, slots=True)
class Action:
    """One action, typed: who wants to run what as whom. `argv` includes argv[0] as typed; `path` is argv[0] as looked up."""

    person: Person
    run_as: UserName
    run_as_group: UserName | None
    mode: Mode
    path: AbsPath | None
    argv: tuple[str, ...]
    cwd: AbsPath


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A verified, live grant of the person, reduced to what evaluation needs. `not_after` is in Unix seconds, excluded."""

    id: GrantId
    role: RoleName
    run_as: tuple[UserName, ...]
    not_after: int
    uses_left: int | None
    standing: bool = False


@dataclass(frozen=True, slots=True)
class Host:
    """This host, as /etc/jitsudo/host.yaml names and labels it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExpiryTerms:
    """What becomes of the command when its grant expires: `kill`, or `finish` and be killed `grace` seconds later."""

    mode: Literal["finish", "kill"]
    grace: int


@dataclass(frozen=True, slots=True)
class Allow:
    """Allowed, on these terms. `path` is the rule's own, `argv[0]` its base name: what is to be executed."""

    grant: GrantId
    role: RoleName
    rule: str
    path: AbsPath
    argv: tuple[str, ...]
    authenticate: Authentication
    on_expiry: ExpiryTerms
    uses_limited: bool
    guardrails: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """Refused: a stable code, a public sentence, ways out; `faults` is for operators alone."""

    code: DenyCode
    message: str
    hints: tuple[str, ...] = ()
    role: RoleName | None = None
    rule: str | None = None
    guardrail: str | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Challenge:
    """Allowed once the person has done something more (confirm, authenticate, wait for an approver)."""

    kind: Literal["confirm", "authenticate", "approve"]
    message: str
    role: RoleName
    guardrail: str | None = None
    faults: tuple[str, ...] = ()


Verdict = Allow | Deny | Challenge
