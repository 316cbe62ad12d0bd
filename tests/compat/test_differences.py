"""The same invocations under stock sudo and under jitsudo, field by field; what differs is explained, or a fault."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cases import CASES
from compare import Accepted, Difference, accepted, differences, results
from lab import FRONT_END

from conftest import Pair

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "differences-from-sudoers.md"


def test_each_difference_is_explained_and_each_explanation_is_needed(pair: Pair) -> None:
    """No field of any case differs without a reason in data/differences.yaml, and no reason there has lost its difference."""
    with ThreadPoolExecutor(max_workers=2) as both:
        stock, jitsudo = both.map(lambda host: results(host, CASES), (pair.stock, pair.jitsudo))
    found = differences(stock, jitsudo)
    explanations = [entry for entry in accepted() if pair.stock.suite in entry.suites and FRONT_END in entry.front_ends]
    unexplained = [one for one in found if not any(entry.covers(one) for entry in explanations)]
    needless = [entry for entry in explanations if not any(entry.covers(one) for one in found)]
    print(f"{len(stock)} invocations, {sum(map(len, stock.values()))} fields, {len(found)} differ")  # noqa: T201
    assert _report(unexplained, needless) == ""


def _report(unexplained: list[Difference], needless: list[Accepted]) -> str:
    return "\n".join(
        [*map(str, unexplained), *(f"no longer occurs: {entry.why} ({entry.cases}: {entry.fields})" for entry in needless)]
    )


def test_the_comparison_sees_what_sudo_does(pair: Pair) -> None:
    """On the stock host, commands run, are refused, fail, read, write and die: the cases are no mere list of refusals."""
    names = ["endings: exit 42", "endings: signal 15", "streams: both streams", "commands: root: '/etc'", "identities: -ubob"]
    found = results(pair.stock, names)
    status, signal, both, folder, bob = (found[name] for name in names)
    assert [bob[f"1.{name}"] for name in ("uid", "environment.USER", "environment.SUDO_USER")] == ["1001", "bob", "alice"]
    assert (status["exit"], status["runs"]) == ("42", "1")
    assert signal["exit"] == "signal 15"
    assert (both["stdout"], both["stderr"]) == ("out\n", "err\n")
    assert (folder["exit"], folder["runs"]) == ("1", "0")


def test_each_accepted_difference_is_in_the_document() -> None:
    """docs/differences-from-sudoers.md holds, word for word, the sentence by which each accepted difference is excused."""
    text = re.sub(r"[\s*`]+", " ", DOCUMENT.read_text())
    missing = {entry.documented for entry in accepted() if re.sub(r"[\s*`]+", " ", entry.documented) not in text}
    assert missing == set()
