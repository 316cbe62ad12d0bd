"""What an examination finds: a stable code, how bad it is, what was seen, and a cure that can be pasted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is; `rank` sorts the worst first.

    PROBLEM: jitsudo does not do what it promises here, or somebody becomes root past it who should not.
    WARNING: a weakness or a side door that somebody may have wanted; if so, it should be known.
    UNKNOWN: it could not be examined, and why. NOTICE: worth knowing. OK: examined, nothing wrong.
    """

    PROBLEM = "problem"
    WARNING = "warning"
    UNKNOWN = "unknown"
    NOTICE = "notice"
    OK = "ok"

    @property
    def rank(self) -> int:
        return tuple(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was seen.

    `code` is stable: that of a Kind, or for `ok` and `unknown` the name of the check. `found` is a sentence with the file
    and the value in it. `cure` is a shell command (or several, a line each) that can be pasted as root, or None where there
    is nothing to type. `subject` is the file, account or unit that it is about, for programs.
    """

    code: str
    severity: Severity
    area: str
    found: str
    cure: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that can be wrong: what the table of findings in the documentation lists."""

    code: str
    severity: Severity
    meaning: str

    def found(self, sentence: str, cure: str | None = None, subject: str | None = None) -> Seen:
        """One occurrence of it."""
        return Seen(self, sentence, cure, subject)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check yields: an occurrence of a Kind; the registry adds the area."""

    kind: Kind
    sentence: str
    cure: str | None = None
    subject: str | None = None

    def finding(self, area: str) -> Finding:
        """A cure with a control character in it (somebody's file name) must not be pasted, so there is none."""
        cure = self.cure if self.cure is None or self.cure.isprintable() else None
        return Finding(self.kind.code, self.kind.severity, area, self.sentence, cure, self.subject)


class Unknown(Exception):
    """A check could not see what it has to; the sentence says why, e.g. "needs root: /etc/sudoers"."""
