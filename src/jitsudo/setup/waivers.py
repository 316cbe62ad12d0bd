"""What an administrator has decided to do without: named one by one, never as a whole.

  root-password            nobody can log in as root at the console
  sudoers:/etc/sudoers.d/x the rules of this file; also sudoers:ldap, sudoers:sss for those of a directory
  account:backup           this account, whatever sudoers lets it do
  caller:agent/cron        what this account was observed to do from there: cron, a unit's name, ansible, login, other
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from jitsudo.errors import InvalidValue

KINDS: Final = ("sudoers", "account", "caller")
ROOT_PASSWORD: Final = "root-password"  # noqa: S105  the name of a check


@dataclass(frozen=True, slots=True)
class Waivers:
    """Those that were given on the command line."""

    given: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Waivers:
        """Raises InvalidValue for what is no waiver."""
        found = frozenset(texts)
        for text in found:
            kind, colon, what = text.partition(":")
            if text != ROOT_PASSWORD and not (colon and what and kind in KINDS):
                hint = "root-password, sudoers:FILE, account:NAME or caller:NAME, as the problem says it"
                raise InvalidValue(f"not something to waive: {text!a}", hint)
        return cls(found)

    def covers(self, waiver: str) -> bool:
        return waiver in self.given
