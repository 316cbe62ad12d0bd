"""What is wrong with a policy, where, and how badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jitsudo.policy.nodes import Pos
from jitsudo.types import is_plain_text


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """One finding; as text, `web.yaml:14:9: unknown key 'operand' (did you mean 'operands'?)`."""

    file: str
    line: int
    column: int
    severity: Literal["error", "warning"]
    message: str

    @classmethod
    def at(cls, pos: Pos, message: str, severity: Literal["error", "warning"] = "error") -> Issue:
        """An issue at a place."""
        return cls(pos.file, pos.line, pos.column, severity, message)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


def shown(text: str) -> str:
    """Text from outside as a message may hold it: what could steer a terminal or deceive is escaped."""
    return text if is_plain_text(text) else ascii(text)[1:-1]
