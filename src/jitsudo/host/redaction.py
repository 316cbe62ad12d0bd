"""Arguments that look like secrets never reach the record; what has been written cannot be redacted later.

A secret is replaced by `[redacted:TAG]`, where TAG is the start of an HMAC-SHA-256 under a key that only the host has: equal
secrets can be matched, none can be guessed from outside. What counts as one: forms that are known here, options that a grammar
calls secret, and the patterns of the policy's `redact`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterator, Sequence

from jitsudo.policy.argv import Found, Reading, read_arguments
from jitsudo.policy.automaton import Search
from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption
from jitsudo.policy.patterns import Pattern

Parts = frozenset[tuple[int, int]]
"""Of a command line: the index of an argument, and where in it a secret begins."""

MAX_READ_ARGUMENTS = 4096
MAX_SEARCHED_CHARS = 65_536  # of one text or command line, for all patterns of the policy together

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
_WORD = re.compile(r"\S+")
_TOKEN = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}"
    r"|(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]*)"
    r"|(?i:(?<=bearer )\S{8,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*",
    re.DOTALL,
)


def secret_parts(grammar: Grammar | None, argv: Sequence[str]) -> Parts:
    """The values of options that the program's grammar calls secret.

    Where the line cannot be read, whatever could be one: too much is redacted rather than too little.
    """
    if grammar is None:
        return frozenset()
    spellings = {spelling for option in _options(grammar.shape) if option.secret for spelling in option.spellings}
    if not spellings or len(argv) > MAX_READ_ARGUMENTS:
        return frozenset()
    reading = read_arguments(grammar, argv[1:])
    found = [option for option in reading.options if option.option.secret] if isinstance(reading, Reading) else None
    if found is None:
        return frozenset(part for index, text in enumerate(argv[1:], 1) for part in _maybe(text, index, spellings))
    return frozenset(_place(argv, one) for one in found if one.value)


def _place(argv: Sequence[str], found: Found) -> tuple[int, int]:
    """Where its value stands: in the argument that names the option, or in the next one."""
    index, value = found.index + 1, found.value or ""
    named = argv[index]
    attached = named != found.spelling and named.endswith(value) and not named.endswith(found.spelling)
    return (index, len(named) - len(value)) if attached else (index + 1, 0)


def _maybe(text: str, index: int, spellings: Collection[str]) -> Iterator[tuple[int, int]]:
    for spelling in spellings:
        if text == spelling:
            yield index + 1, 0
        elif text.startswith(spelling + "="):
            yield index, len(spelling) + 1
        elif not spelling.startswith("--") and text.startswith(spelling):
            yield index, len(spelling)


def _options(shape: GrammarShape) -> Iterator[KnownOption]:
    yield from shape.options
    for inner in (shape.subcommands or {}).values():
        yield from _options(inner)


class _Searching:
    """Looks for the policy's patterns in one command line or text; what exceeds the limit counts as found."""

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = searches
        self._left = MAX_SEARCHED_CHARS

    def finds(self, text: str) -> bool:
        self._left -= len(text) * len(self._searches)
        return bool(self._searches) and (self._left < 0 or any(search.finds(text) for search in self._searches))


class Redactor:
    """Redacts under one host's key (32 random bytes), and by the patterns of the policy in force."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._searches: tuple[Search, ...] = ()

    def use(self, patterns: Sequence[Pattern]) -> None:
        """From now on an argument, and in free text a word, in which one of these occurs is a secret."""
        self._searches = tuple(Search(pattern.program) for pattern in patterns)

    def _tag(self, secret: str) -> str:
        digest = hmac.new(self._key, secret.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
        return f"[redacted:{digest[:8]}]"

    def text(self, text: str) -> str:
        """Free text: tokens and passwords in URLs, and words with the policy's patterns."""
        searching = _Searching(self._searches)
        if self._searches:
            text = _WORD.sub(lambda m: self._tag(m[0]) if searching.finds(m[0]) else m[0], text)
        return self._known_forms(text)

    def _known_forms(self, text: str) -> str:
        text = _URL.sub(lambda m: m[1] + self._tag(m[2]) + m[3], text)
        return _TOKEN.sub(lambda m: self._tag(m[0]), text)

    def argv(self, argv: Sequence[str], parts: Parts = frozenset()) -> tuple[str, ...]:
        """A command line, argument by argument; `parts` are known to be secrets (`secret_parts`)."""
        program = argv[0].rsplit("/", 1)[-1] if argv else ""
        shown: list[str] = []
        announced = False
        searching = _Searching(self._searches)
        for index, argument in enumerate(argv):
            known = min((start for at, start in parts if at == index), default=None)
            if known is not None and argument[known:]:
                shown.append(argument[:known] + self._tag(argument[known:]))
            else:
                is_secret = bool(argument) and (announced or (index > 0 and searching.finds(argument)))
                shown.append(self._tag(argument) if is_secret else self._argument(program, index, argument))
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
        return self._known_forms(argument)
