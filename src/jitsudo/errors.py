"""One hierarchy of errors: a stable code, an exit status, a public sentence and a hint.

Anything that is not a JitsudoError never reaches a person as it is: the daemon and the command line turn it into
`Internal`, which says "internal error, reference X", and log the details under X for operators.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """The exit statuses of `jitsudo`; docs/exit-codes.md lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    PENDING = 4
    UNREACHABLE = 5
    POLICY_INVALID = 6


class JitsudoError(Exception):
    """An error that a person may read.

    `code` is stable (programs may match on it), `sentence` says what happened and where, `hint` what to do next.
    """

    code: ClassVar[str] = "failed"
    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED

    def __init__(self, sentence: str, hint: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class Failed(JitsudoError):
    """The operation could not be carried out."""


class InvalidValue(JitsudoError):
    """A value from outside (message, document, file, command line) is not of its type."""

    code = "invalid-value"
    exit_status = ExitStatus.USAGE


class NotFound(JitsudoError):
    """The thing that was named does not exist, or is not for this person to see."""

    code = "not-found"
    exit_status = ExitStatus.USAGE


class Ambiguous(JitsudoError):
    """A name or an omission fits several things."""

    code = "ambiguous"
    exit_status = ExitStatus.USAGE


class Denied(JitsudoError):
    """Policy, grant or guardrail does not support it."""

    code = "denied"
    exit_status = ExitStatus.DENIED


class AuthenticationFailed(Denied):
    """A person could not prove who they are."""

    code = "authentication-failed"


class WrongState(JitsudoError):
    """The request or grant is no longer (or not yet) where this can be done to it."""

    code = "wrong-state"


class TooMany(JitsudoError):
    """A limit on number, rate or size was reached."""

    code = "too-many"


class TimedOut(JitsudoError):
    """No answer in time, or a decision is still awaited."""

    code = "timed-out"
    exit_status = ExitStatus.PENDING


class Unreachable(JitsudoError):
    """The daemon does not answer, or not sensibly."""

    code = "unreachable"
    exit_status = ExitStatus.UNREACHABLE


class PolicyInvalid(JitsudoError):
    """A policy was refused; `issues` holds every reason, each as `file:line:column: message`."""

    code = "policy-invalid"
    exit_status = ExitStatus.POLICY_INVALID

    def __init__(self, sentence: str, hint: str | None = None, issues: tuple[str, ...] = ()) -> None:
        super().__init__(sentence, hint)
        self.issues = issues


class DocumentRefused(JitsudoError):
    """A signed document failed verification; `step` is the number of the step in grants/verify.py."""

    code = "document-refused"

    def __init__(self, step: int, sentence: str, hint: str | None = None) -> None:
        super().__init__(sentence, hint)
        self.step = step


class LedgerDamaged(JitsudoError):
    """The ledger's hash chain does not hold; `seq` is the first row that does not fit."""

    code = "ledger-damaged"

    def __init__(self, seq: int, sentence: str, hint: str | None = None) -> None:
        super().__init__(sentence, hint)
        self.seq = seq


class ProtocolViolation(JitsudoError):
    """A peer sent something that is not the protocol: a malformed, oversized or unexpected frame."""

    code = "protocol-violation"
    exit_status = ExitStatus.UNREACHABLE


class Internal(JitsudoError):
    """Something unforeseen; the journal holds the details under `reference`."""

    code = "internal"

    def __init__(self, reference: str) -> None:
        super().__init__(f"internal error, reference {reference}", f"journalctl -u jitsudod --grep {reference}")
        self.reference = reference


def from_code(code: str, sentence: str, hint: str | None, issues: tuple[str, ...] = ()) -> JitsudoError:
    """The error that a reply carries, made anew on the client's side; an unknown code is a plain failure."""
    if code == PolicyInvalid.code:
        return PolicyInvalid(sentence, hint, issues)
    for kind in (InvalidValue, NotFound, Ambiguous, Denied, AuthenticationFailed, WrongState, TooMany, TimedOut, Unreachable):
        if kind.code == code:
            return kind(sentence, hint)
    return Failed(sentence, hint)
