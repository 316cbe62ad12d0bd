"""What came of each case, as a flat list of fields, and the differences between two hosts that nobody has explained."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from cases import CASES
from lab import Lab

DATA = Path(__file__).parent / "data"
MAX_SECONDS = 900  # for all cases on one host; half a minute to three minutes is usual
SHOWN = 300  # characters of a value in a report
ABSENT = "(absent)"

Fields = dict[str, str]


def furnish(host: Lab, probe: bytes) -> None:
    """Put on a host what the cases expect there."""
    host.put("/usr/local/bin/probe", probe, mode=0o755)
    host.put("/usr/libexec/run_cases.py", (DATA / "run_cases.py").read_text())
    host.run("bash", "-c", (DATA / "furnish.sh").read_text(), check=True)


def results(host: Lab, names: Iterable[str]) -> dict[str, Fields]:
    """What came of these cases on a host, in one login session for each person."""
    found: dict[str, Fields] = {}
    for user, row in groupby(sorted(names, key=_person), key=_person):
        named = list(row)
        done = host.run(
            "python3", "-I", "/usr/libexec/run_cases.py",
            user=None if user == "root" else user,
            input=json.dumps([CASES[name][1] for name in named]),
            timeout=MAX_SECONDS,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        if done.returncode or len(lines) != len(named):
            raise AssertionError(f"{named[len(lines)] if len(lines) < len(named) else named[-1]}: {done.stderr}")
        for name, line in zip(named, lines, strict=True):
            found[name] = dict(_flat(json.loads(line), host.name))
    return found


def _person(name: str) -> str:
    return CASES[name][0]


def _flat(result: Mapping[str, Any], host: str) -> Iterator[tuple[str, str]]:
    for name, value in result.items():
        if name != "found":
            yield name, _anywhere(str(value), host)
    yield "runs", str(len(result["found"]))
    for number, found in enumerate(result["found"], 1):
        yield from ((f"{number}.{name}", _anywhere(value, host)) for name, value in _told(found))


def _told(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The fields of one line of the probe's."""
    for name, value in found.items():
        if name == "environment":
            names = [entry.partition("=")[0] for entry in value]
            if len(set(names)) != len(names):
                yield "environment twice", str(sorted({n for n in names if names.count(n) > 1}))
            for entry in value:
                variable, _, text = entry.partition("=")
                yield f"environment.{variable}", text
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", str(item)) for key, item in value.items())
        else:
            yield name, str(value)


def _anywhere(text: str, host: str) -> str:
    """Without what differs between any two runs: the host's name, numbers of terminals, processes and temporary files."""
    text = text.replace(host, "HOST")
    text = re.sub(r"/dev/pts/[0-9]+", "/dev/pts/N", text)
    text = re.sub(r"gone-[0-9]+", "gone-N", text)
    return re.sub(r"((?:site|other|new)(?:\.conf)?)\.?[A-Za-z0-9]{8}(\.conf)?\b", r"\1.XXXXXXXX\2", text)


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one case."""

    case: str
    field: str
    stock: str
    jitsudo: str

    def __str__(self) -> str:
        return f"{self.case}: {self.field}: stock {self.stock[:SHOWN]!r}, jitsudo {self.jitsudo[:SHOWN]!r}"


def differences(stock: Mapping[str, Fields], jitsudo: Mapping[str, Fields]) -> list[Difference]:
    """Field by field; a run of the probe that only one of them has is the one field `runs`."""
    found = []
    for case in stock:
        common = min(int(stock[case]["runs"]), int(jitsudo[case]["runs"]))
        for field in sorted(stock[case].keys() | jitsudo[case].keys()):
            ours, theirs = jitsudo[case].get(field, ABSENT), stock[case].get(field, ABSENT)
            number = field.partition(".")[0]
            if ours != theirs and not (number.isdigit() and int(number) > common):
                found.append(Difference(case, field, theirs, ours))
    return found


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that is meant: where it shows, and the sentence of docs/differences-from-sudoers.md that says so."""

    why: str
    documented: str
    cases: tuple[str, ...]
    fields: tuple[str, ...]
    stock: str | None
    jitsudo: str | None
    suites: tuple[str, ...]
    front_ends: tuple[str, ...]

    def covers(self, difference: Difference) -> bool:
        return (
            any(fnmatchcase(difference.case, pattern) for pattern in self.cases)
            and any(fnmatchcase(difference.field, pattern) for pattern in self.fields)
            and (self.stock is None or re.search(self.stock, difference.stock, re.DOTALL) is not None)
            and (self.jitsudo is None or re.search(self.jitsudo, difference.jitsudo, re.DOTALL) is not None)
        )


def accepted() -> list[Accepted]:
    """The list in data/differences.yaml. Patterns of cases and fields are globs, those of values regular expressions."""

    def several(value: str | list[str]) -> tuple[str, ...]:
        return (value,) if isinstance(value, str) else tuple(value)

    return [
        Accepted(
            entry["why"], entry["documented"], several(entry.get("cases", "*")), several(entry["fields"]),
            entry.get("stock"), entry.get("jitsudo"), several(entry.get("suites", ["bookworm", "trixie"])),
            several(entry.get("front-ends", ["python", "native"])),
        )
        for entry in yaml.safe_load((DATA / "differences.yaml").read_text())
    ]  # fmt: skip


def compile_probe(output: Path) -> bytes:
    """The probe, linked statically: the hosts have other C libraries than this machine."""
    subprocess.run(["gcc", "-static", "-O2", "-Wall", "-Werror", "-o", output, DATA / "probe.c"], check=True)
    return output.read_bytes()
