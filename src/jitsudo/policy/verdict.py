"""What is asked of the policy, and the three answers there are: allow with its terms, deny, challenge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jitsudo.policy.model import AgentProof, Authentication, Environment, Limits, Within
from jitsudo.types import AbsPath, Digest, GrantId, Person, RoleName, UserName

Mode = Literal["command", "edit", "shell", "login-shell"]

DenyCode = Literal[
    "error",  # evaluation failed
    "guardrail",  # a guardrail forbids it
    "digest",  # the program is not the one that the rule pins
    "hours",  # not at this hour
    "limit",  # as often, or as many at once, as may be
    "no-grant",  # no live grant at all
    "not-approver",  # this person's approval does not count
    "not-covered",  # no rule of a held role covers it
    "not-open",  # the role is not open to this person or on this host
    "root",  # uid 0 may not ask or approve
    "run-as",  # the role runs as other users
    "source",  # the login does not come from where the role wants it, or it is not known whence
    "sudo-option",  # the role does not admit this option of sudo's
    "shell",  # the role has no shell, or not this one
    "standing",  # nobody asks for a standing role
    "unknown-command",  # there is no such program on the secure path
    "unsupported",  # the policy uses a key that this version does not enforce yet
    "writable-command",  # somebody else than root could change the program
]


SudoOption = Literal["-E", "-C", "-D", "-T", "-P", "VAR"]


@dataclass(frozen=True, slots=True)
class Action:
    """One action, typed: who wants to run what as whom. `argv` includes argv[0] as typed; `path` is argv[0] as looked up.

    In mode `edit`, `argv` is `sudoedit` and the files as typed, and `path` is None. In the shell modes, `path` is the shell
    that would run, and `argv` is empty or the shell's `-c` and its command. `sudo_options` are those of sudo's own options
    that a role must admit; `variables` the names that `VAR=value` and `--preserve-env=LIST` ask for.
    """

    person: Person
    run_as: UserName
    run_as_group: UserName | None
    mode: Mode
    path: AbsPath | None
    argv: tuple[str, ...]
    cwd: AbsPath
    sudo_options: frozenset[SudoOption] = frozenset()
    variables: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Source:
    """Where the login session really comes from: an IP address, `local` for a console, or unknown and why."""

    address: str | None
    why_unknown: str = ""


UNKNOWN_SOURCE = Source(None, "it was not looked up")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was established of the person at this moment.

    `authenticated`: seconds since a password, or whatever the PAM stack asks, was last proven in this session; None: never.
    `agent` is the same for a proof by an SSH agent. `proven_now`: one of them belongs to this very command.
    `confirmed`: the guardrails whose question was answered with yes, for this very command.
    """

    source: Source = UNKNOWN_SOURCE
    authenticated: int | None = None
    agent: int | None = None
    proven_now: bool = False
    confirmed: frozenset[str] = frozenset()


NOTHING_ESTABLISHED = Circumstances()


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A verified, live grant of the person, reduced to what evaluation needs. `not_after` is in Unix seconds, excluded.

    `approvals`: how many people approved it; a role's `otherwise` asks for more where its `when` does not hold.
    """

    id: GrantId
    role: RoleName
    run_as: tuple[UserName, ...]
    not_after: int
    uses_left: int | None
    standing: bool = False
    approvals: int = 0


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
class LimitTerms:
    """A limit that the daemon counts, in one step with the allow's record. `name`: `role NAME` or `guardrail NAME`."""

    name: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Allow:
    """Allowed, on these terms. `path` is the rule's own, `argv[0]` its base name: what is to be executed.

    Mode `edit`: `files` are the files, as resolved and in the order asked for, `check` the argv that must accept each;
    `path` is then `sudoedit` itself. Modes `shell` and `login-shell`: `path` is the shell, `argv[0]` its base name, with a
    `-` in front for a login. `digest`: the content of the very file that is executed. `keep_environment`: sudo -E
    was asked for and is admitted. `guardrails` are those that fired and only want to be on record.
    """

    grant: GrantId
    role: RoleName
    rule: str
    path: AbsPath
    argv: tuple[str, ...]
    authenticate: Authentication
    on_expiry: ExpiryTerms
    uses_limited: bool
    mode: Mode = "command"
    digest: Digest | None = None
    environment: Environment | None = None
    limits: tuple[LimitTerms, ...] = ()
    files: tuple[AbsPath, ...] = ()
    check: tuple[str, ...] = ()
    keep_environment: bool = False
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
    """Allowed once the person has done something more: proven who they are, or confirmed what a guardrail asks.

    `proof` says how to prove it; `fresh`: a proof made earlier does not count.
    """

    kind: Literal["confirm", "authenticate"]
    message: str
    role: RoleName
    proof: Within | AgentProof | None = None
    fresh: bool = False
    guardrail: str | None = None
    faults: tuple[str, ...] = ()


Verdict = Allow | Deny | Challenge
