"""Whom sudoers lets become root: read by sudo's own programs, never by a parser of ours.

visudo(8) says which files sudoers consists of, cvtsudoers(1) turns each into JSON. Nothing here decides anything; it only
says who would notice if sudoers did not decide any more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jitsudo.errors import Failed
from jitsudo.setup.programs import Ran, run

VISUDO: Final = "/usr/sbin/visudo"
CVTSUDOERS: Final = "/usr/bin/cvtsudoers"
SUDOERS: Final = "/etc/sudoers"
NSSWITCH: Final = "/etc/nsswitch.conf"
_PARSED: Final = re.compile(r"(/.*): parsed OK")
# Left out before a file is converted: what it includes is a file of its own.
_INCLUDE: Final = re.compile(r"[@#]include(dir)?\s")
# A file of which nothing but remarks is left needs no place among those kept. `#1000 ALL=…` is a rule, not a remark.
_REMARK: Final = re.compile(r"\s*(#([\s#].*)?)?")
MAX_ALIAS_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a rule names. `kind`: username, userid, usergroup, usergid, netgroup, nonunixgroup, as cvtsudoers has it."""

    kind: str
    name: str

    def __str__(self) -> str:
        sign = {"username": "", "userid": "#", "usergroup": "%", "usergid": "%#", "netgroup": "+", "nonunixgroup": "%:"}
        return sign.get(self.kind, f"{self.kind} ") + self.name

    @property
    def is_everybody(self) -> bool:
        return self == Subject("username", "ALL")


@dataclass(frozen=True, slots=True)
class SudoersFile:
    """One file of sudoers and whom its rules name, each once, without root."""

    path: str
    subjects: tuple[Subject, ...]


def sudoers_files() -> tuple[str, ...]:
    """The files that sudo reads, the main one first. Raises Failed with every complaint of visudo's."""
    ran = run([VISUDO, "-c"])
    if ran.status:
        complaints = [line.strip() for line in (ran.out + ran.err).splitlines() if line.strip() and not _PARSED.fullmatch(line)]
        raise Failed(f"sudoers is not in order: {'; '.join(complaints[:5])}", "visudo -c; visudo -f FILE")
    found = [match[1] for match in map(_PARSED.fullmatch, ran.out.splitlines()) if match is not None]
    return tuple(dict.fromkeys(found))


def read_sudoers() -> tuple[SudoersFile, ...]:
    """Every file with a rule for somebody else than root. Raises Failed."""
    documents = {path: _convert(path) for path in sudoers_files()}
    aliases: dict[str, list[object]] = {}
    for document in documents.values():
        aliases |= _entries(document, "User_Aliases")
    read = (SudoersFile(path, subjects_of(document, aliases)) for path, document in documents.items())
    return tuple(file for file in read if file.subjects)


def _convert(path: str) -> Mapping[str, object]:
    try:
        lines = Path(path).read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}", f"ls -l {path}") from None
    own = b"".join(line for line in lines if not _INCLUDE.match(line.decode("utf-8", "replace")))
    ran: Ran = run([CVTSUDOERS, "-c", "/dev/null", "-f", "json"], given=own)
    if ran.status:
        raise Failed(f"{path} cannot be understood: {ran.said}", f"visudo -f {path}")
    try:
        document = json.loads(ran.out or "{}")
    except ValueError:
        raise Failed(f"{path} cannot be understood: cvtsudoers answered no JSON", f"cvtsudoers -f json {path}") from None
    if not isinstance(document, dict):
        raise Failed(f"{path} cannot be understood: cvtsudoers answered no object", f"cvtsudoers -f json {path}")
    return document


def subjects_of(document: Mapping[str, object], aliases: Mapping[str, list[object]]) -> tuple[Subject, ...]:
    """Whom the rules of one file, as cvtsudoers has it, name: aliases resolved, root and exceptions left out. Raises Failed."""
    specs = document.get("User_Specs", [])
    found: dict[Subject, None] = {}
    for spec in specs if isinstance(specs, list) else [specs]:
        listed = spec.get("User_List") if isinstance(spec, dict) else None
        if not isinstance(listed, list):  # left out, somebody would be who gets nothing tomorrow
            raise Failed("cvtsudoers answers with rules in a form that is not known here", "cvtsudoers -f json")
        for subject in _resolved(listed, aliases, 0):
            found[subject] = None
    return tuple(one for one in found if one not in (Subject("username", "root"), Subject("userid", "0")))


def _resolved(listed: Iterable[object], aliases: Mapping[str, list[object]], depth: int) -> Iterable[Subject]:
    if depth > MAX_ALIAS_DEPTH:
        raise Failed("an alias of sudoers contains itself", "visudo -c")
    for entry in listed:
        # What is excepted is not subtracted: too many are asked about, never too few.
        if not isinstance(entry, dict) or entry.get("negated") is True:
            continue
        for kind, name in entry.items():
            if kind == "useralias":
                yield from _resolved(aliases.get(str(name), []), aliases, depth + 1)
            else:
                yield Subject(kind, str(name))


def _entries(document: Mapping[str, object], name: str) -> dict[str, list[object]]:
    found = document.get(name, {})
    return {key: value for key, value in found.items() if isinstance(value, list)} if isinstance(found, dict) else {}


def directories(nsswitch: str) -> tuple[str, ...]:
    """Where else sudoers rules come from: `ldap`, `sss`; from the text of nsswitch.conf(5)."""
    for line in nsswitch.splitlines():
        database, _, sources = line.partition("#")[0].partition(":")
        if database.strip() == "sudoers":
            return tuple(word for word in sources.split() if word not in ("files", "[SUCCESS=return]") and word[0] != "[")
    return ()


def is_remarks_only(data: bytes) -> bool:
    """Whether a sudoers file says nothing at all."""
    return all(_REMARK.fullmatch(line) for line in data.decode("utf-8", "replace").splitlines())


def drop_ins(folder: Path) -> tuple[str, ...]:
    """The files of sudoers.d that say something, by sudo's own rule of which names count (sudoers(5), "Including files")."""
    if not folder.is_dir():
        return ()
    names = sorted(one.name for one in folder.iterdir() if "." not in one.name and not one.name.endswith("~"))
    return tuple(name for name in names if not (folder / name).is_dir() and not is_remarks_only((folder / name).read_bytes()))
