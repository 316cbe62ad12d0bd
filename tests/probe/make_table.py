"""Measures every case of tests/data/getopt_cases.json anew: `python tests/probe/make_table.py`.

A case gives `name`, `order`, `table` (of options) and `arguments`; `reading` is written by this script and by nothing else.
`refused` says why jitsudo does not read a line that the C library does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))

from probe import Probe, Table

CASES = Path(__file__).resolve().parents[1] / "data" / "getopt_cases.json"


def measured(case: dict[str, Any], tables: dict[str, Table], probe: Probe) -> dict[str, Any]:
    """The case with the C library's reading."""
    found = probe.read(case["order"], tables[case["table"]], case["arguments"])
    reading = "error" if found is None else {"options": [list(pair) for pair in found[0]], "operands": found[1]}
    kept = {key: case[key] for key in ("name", "order", "table", "arguments")}
    return kept | {"reading": reading} | ({"refused": case["refused"]} if "refused" in case else {})


def rendered(tables: dict[str, Table], cases: list[dict[str, Any]]) -> str:
    """One table and one case a line, so that a change shows as one."""
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(table)}" for name, table in tables.items())
    return f'{{"tables": {{\n{rows}\n}},\n"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n"


def remeasured() -> str:
    """What the file should hold, by this machine's C library."""
    old = json.loads(CASES.read_text())
    probe = Probe()
    cases = [measured(case, old["tables"], probe) for case in old["cases"]]
    probe.close()
    return rendered(old["tables"], cases)


if __name__ == "__main__":
    CASES.write_text(remeasured())
