"""What a policy says, parsed and resolved: roles, their rules and terms, guardrails, approvers.

ASIDE and UNORDERED are explained in rules.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Literal

from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.nodes import Pos
from jitsudo.policy.patterns import Pattern
from jitsudo.policy.rules import ASIDE, UNORDERED, Match, Rule
from jitsudo.types import AbsPath, Duration, RoleName, UserName

_ROOT_FOLDER = AbsPath("/")
DEFAULT_WITHIN = Duration(15 * 60)
DEFAULT_DURATION = Duration(30 * 60)
DEFAULT_EXPIRES_AFTER = Duration(3600)
DEFAULT_GRACE = Duration(4 * 3600)
MAX_STANDING_SECONDS = 401 * 86_400  # `until` ≤ 400 days ahead, to the end of that day


# -- people ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Principal:
    """`user:alice` and `group:web` are the system's, `team:web-leads` is the policy's own."""

    kind: Literal["user", "group", "team"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class ApproverKey:
    """An approver's public SSH key, as `type base64`, its comment dropped."""

    key: str
    forwarded: bool = False


@dataclass(frozen=True, slots=True)
class Approver:
    """One human whose signature counts, under however many accounts and keys."""

    name: str
    accounts: tuple[UserName, ...] = field(metadata=UNORDERED)
    keys: tuple[ApproverKey, ...] = field(default=(), metadata=UNORDERED)
    teams: tuple[str, ...] = field(default=(), metadata=UNORDERED)


@dataclass(frozen=True, slots=True)
class ApprovalSource:
    """Who may approve: anybody of `principals`, or with `all_of` at least one distinct person for each."""

    principals: tuple[Principal, ...] = field(metadata=UNORDERED)
    all_of: bool = False


# -- roles -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Never:
    """No proof of identity is asked for."""


@dataclass(frozen=True, slots=True)
class Within:
    """Authenticated within the last `seconds`."""

    seconds: int


@dataclass(frozen=True, slots=True)
class AgentProof:
    """Proof by an SSH agent."""


Authentication = Never | Within | AgentProof


@dataclass(frozen=True, slots=True)
class Review:
    """Somebody of `source` reviews each use within `within`."""

    within: Duration
    source: ApprovalSource


@dataclass(frozen=True, slots=True)
class Escalation:
    """A request that waits for `after` is put before `to` as well."""

    after: Duration
    to: tuple[Principal, ...] = field(metadata=UNORDERED)


@dataclass(frozen=True, slots=True)
class RequestTerms:
    """On what terms a role may be asked for. `source` is None only where `approvals` is 0."""

    max_duration: Duration
    default_duration: Duration
    approvals: int
    source: ApprovalSource | None
    expires_after: Duration = DEFAULT_EXPIRES_AFTER
    renewals: int = 0
    reason: Pattern | None = None
    inline: bool | None = None
    review: Review | None = None
    escalate: tuple[Escalation, ...] = field(default=(), metadata=UNORDERED)
    approve_with: Literal["key", "password"] | None = None


@dataclass(frozen=True, slots=True)
class HostSelector:
    """Which hosts: every label must have one of its values, and the name match one of the globs where there are any."""

    labels: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), metadata=UNORDERED)
    names: tuple[Pattern, ...] = field(default=(), metadata=UNORDERED)


@dataclass(frozen=True, slots=True)
class RunAs:
    """As whom the role's commands may run."""

    users: tuple[UserName, ...] = field(default=(UserName("root"),), metadata=UNORDERED)
    groups: tuple[UserName, ...] = field(default=(), metadata=UNORDERED)


@dataclass(frozen=True, slots=True)
class Span:
    """Local minutes of the day on these weekdays (0 is Monday); an end at or before the start is on the next day."""

    days: tuple[int, ...] = field(metadata=UNORDERED)
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hours:
    """When a role may be asked for and, if `strict`, used."""

    spans: tuple[Span, ...] = field(metadata=UNORDERED)
    timezone: str
    strict: bool = False
    zone: tzinfo = field(kw_only=True, metadata=ASIDE, compare=False)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days on which a role is closed, in the local time of `zone`: first and last of each span as day numbers
    (`date.toordinal`), both included. `file` is its name in the policy; what it holds is data, not meaning.
    """

    file: str
    closed: tuple[tuple[int, int], ...] = field(default=(), metadata=ASIDE)
    zone: tzinfo = field(default=UTC, kw_only=True, metadata=ASIDE, compare=False)


@dataclass(frozen=True, slots=True)
class When:
    """The conditions of a role. `source`: networks, or the word `local` for a console."""

    hours: Hours | None = None
    source: tuple[str, ...] = field(default=(), metadata=UNORDERED)
    otherwise_approvals: int | None = None
    calendar: Calendar | None = None


ExpiryMode = Literal["finish", "kill"]


@dataclass(frozen=True, slots=True)
class OnExpiry:
    """What becomes of what runs when the grant expires."""

    commands: ExpiryMode = "finish"
    shells: ExpiryMode = "kill"
    grace: Duration = DEFAULT_GRACE
    warn: Duration | None = None
    leftovers: Literal["keep", "kill"] | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How often."""

    uses: int | None = None
    concurrent: int | None = None
    per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What of the caller's environment is kept, and what is set."""

    keep: tuple[str, ...] = field(default=(), metadata=UNORDERED)
    set: tuple[tuple[str, str], ...] = field(default=(), metadata=UNORDERED)


Effect = Literal["deny", "confirm", "authenticate", "approve", "record", "limit", "log"]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A rule on an action inside a grant. `unsupported` names what this version cannot do: it then denies."""

    name: str
    match: Match
    then: Effect
    always: bool = False
    limits: Limits | None = None
    source: ApprovalSource | None = None
    message: str = field(default="", kw_only=True, metadata=ASIDE)
    pos: Pos = field(kw_only=True, metadata=ASIDE)
    unsupported: tuple[str, ...] = field(default=(), kw_only=True, metadata=ASIDE)


@dataclass(frozen=True, slots=True)
class InlineTest:
    """One entry of `tests`."""

    run: str | tuple[str, ...]
    expect: Literal["allow", "deny", "challenge"]
    at: str | None = None
    source: str | None = None
    authenticated: bool = True
    cwd: AbsPath = _ROOT_FOLDER
    links: tuple[tuple[str, str], ...] = ()
    pos: Pos = field(kw_only=True, metadata=ASIDE)


@dataclass(frozen=True, slots=True)
class Role:
    """A named task. `request` is None for a standing role; `until` is the first second (Unix) at which it is over.

    `unsupported` holds a sentence for each key that this version cannot enforce: such a role is refused at run time.
    """

    name: RoleName
    who: tuple[Principal, ...] = field(metadata=UNORDERED)
    request: RequestTerms | None
    rules: tuple[Rule, ...] = field(default=(), metadata=UNORDERED)
    hosts: HostSelector = HostSelector()
    run_as: RunAs = RunAs()
    authenticate: Authentication = Within(DEFAULT_WITHIN)
    when: When = When()
    guardrails: tuple[str, ...] = field(default=(), metadata=UNORDERED)
    on_expiry: OnExpiry = OnExpiry()
    until: int | None = None
    services: tuple[str, ...] = field(default=(), metadata=UNORDERED)
    limits: Limits | None = None
    environment: Environment | None = None
    sudo_options: tuple[str, ...] = field(default=(), metadata=UNORDERED)
    record: bool = False
    residue: bool = False
    root_equivalent: bool = False
    rescue: bool = False
    journal_every: Duration | None = field(default=None, metadata=ASIDE)
    description: str = field(default="", kw_only=True, metadata=ASIDE)
    tests: tuple[InlineTest, ...] = field(default=(), kw_only=True, metadata=ASIDE)
    pos: Pos = field(kw_only=True, metadata=ASIDE)
    unsupported: tuple[str, ...] = field(default=(), kw_only=True, metadata=ASIDE)

    @property
    def standing(self) -> bool:
        """Whether the host makes the role's grants itself, because nobody asks for it."""
        return self.request is None


@dataclass(frozen=True, slots=True)
class Policy:
    """All files together. `compiled` is index.py's: what decisions look up, made once."""

    roles: Mapping[RoleName, Role] = field(default_factory=dict)
    guardrails: Mapping[str, Guardrail] = field(default_factory=dict)
    approvers: Mapping[str, Approver] = field(default_factory=dict)
    auditors: tuple[Principal, ...] = ()
    redact: tuple[Pattern, ...] = ()
    grammars: Grammars = field(default_factory=lambda: NO_GRAMMARS)
    by_account: Mapping[str, Approver] = field(init=False, repr=False, compare=False)
    always: tuple[str, ...] = field(init=False, repr=False, compare=False)
    compiled: list[object] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        accounts = {account: approver for approver in self.approvers.values() for account in approver.accounts}
        object.__setattr__(self, "by_account", accounts)
        object.__setattr__(self, "always", tuple(g.name for g in self.guardrails.values() if g.always))

    def approver_of(self, account: str) -> Approver | None:
        """The approver to whom this account belongs; the parser sees to it that there is at most one."""
        return self.by_account.get(account)

    def guardrails_of(self, role: Role) -> tuple[Guardrail, ...]:
        """Those that the role lists and those that bind every role, by name."""
        names = {*role.guardrails, *self.always}
        return tuple(self.guardrails[name] for name in sorted(names))
