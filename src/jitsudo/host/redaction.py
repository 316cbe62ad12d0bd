"""Arguments that look like secrets never reach the record; what has been written cannot be redacted later.

A secret is replaced by `[redacted:TAG]`, where TAG is the start of an HMAC-SHA-256 under a key that only the host has: equal
secrets can be matched, none can be guessed from outside.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

# Each pattern takes linear time on any argument: none can begin at many places and run far from each of them.
_NAME = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credentials?"
    r"|api[-_]?key|access[-_]?key|auth[-_]?token|private[-_]?key)"
)
# --password=X, PGPASSWORD=X, token:X, "secret": "X"
_ASSIGNED = re.compile(rf"(?i)^(.*?{_NAME}[\"']?\s*[=:]\s*)(.+)$", re.DOTALL)
# The next argument is the secret: --password X
_ANNOUNCES = re.compile(rf"(?i)^--?(?!no[-_])(?:[a-z0-9]+[-_])*{_NAME}$")
# -pSECRET as mysql, mysqldump, mysqladmin and sshpass take it; `-p` alone asks, or (sshpass) announces.
_ATTACHED_P = frozenset({"mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mariadb", "mariadb-dump", "sshpass"})
# curl -u user:password, http://user:password@host
_USER_PASSWORD = re.compile(r"^([^:\s/]+:)(.+)$", re.DOTALL)
_URL = re.compile(r"(://[^/\s:@]*+:)([^/\s]+)(@)")
# Tokens that tell by their own form: GitHub, GitLab, Slack, AWS key ids, JSON web tokens, bearer tokens, private keys.
_TOKEN = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}"
    r"|(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]*)"
    r"|(?i:(?<=bearer )\S{8,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*",
    re.DOTALL,
)


class Redactor:
    """Redacts under one host's key (32 random bytes)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _tag(self, secret: str) -> str:
        digest = hmac.new(self._key, secret.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
        return f"[redacted:{digest[:8]}]"

    def text(self, text: str) -> str:
        """Free text: tokens and passwords in URLs."""
        text = _URL.sub(lambda m: m[1] + self._tag(m[2]) + m[3], text)
        return _TOKEN.sub(lambda m: self._tag(m[0]), text)

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """A command line, argument by argument."""
        program = argv[0].rsplit("/", 1)[-1] if argv else ""
        shown: list[str] = []
        announced = False
        for index, argument in enumerate(argv):
            shown.append(self._tag(argument) if announced and argument else self._argument(program, index, argument))
            announced = index > 0 and self._announces(program, argument)
        return tuple(shown)

    def _announces(self, program: str, argument: str) -> bool:
        return bool(_ANNOUNCES.match(argument)) or (program == "sshpass" and argument == "-p")

    def _argument(self, program: str, index: int, argument: str) -> str:
        if index == 0:
            return argument
        if match := _ASSIGNED.match(argument):
            return match[1] + self._tag(match[2])
        if program in _ATTACHED_P and argument.startswith("-p") and len(argument) > 2:
            return "-p" + self._tag(argument[2:])
        if program in {"curl", "wget"} and (match := _USER_PASSWORD.match(argument)) and "://" not in argument:
            return match[1] + self._tag(match[2])
        return self.text(argument)
