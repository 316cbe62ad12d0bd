"""`jitsudo doctor` as it is shown: the worst first, 80 columns, cures that can be pasted, JSON, exit statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from jitsudo.cli import examining
from jitsudo.cli.main import main
from jitsudo.doctor.areas import NAMES
from jitsudo.doctor.examination import AREAS
from jitsudo.doctor.findings import Finding, Seen, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.doctor.recommend import Recommendation

CURE = "chown root:root /a/very/long/path/that/does/not/fit/on/one/line && chmod 0600 /a/very/long/path/that/does/not/fit"
LONG = "/etc/jitsudo belongs to uid 7, " + "and so on " * 12
PROBLEM = Finding("file-owner", Severity.PROBLEM, "files", LONG, CURE, "/etc/jitsudo")
WARNING = Finding("door-group", Severity.WARNING, "side-doors", "alice in group docker", "gpasswd -d alice docker")
UNKNOWN = Finding("keys", Severity.UNKNOWN, "keys", "needs root: /x")
FINE = Finding("clock", Severity.OK, "clock", "the clock was not set back")
BEST = Recommendation("native", "it suits")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the examination finds; the areas that were asked for are in `asked`."""
    findings: list[Finding] = []

    def examine(_host: Host, areas: list[str]) -> list[Finding]:
        asked.append(areas)
        return findings

    asked.clear()
    monkeypatch.setattr(examining, "examine", examine)
    monkeypatch.setattr(examining, "recommend", lambda _host: BEST)
    return findings


asked: list[list[str]] = []


@pytest.mark.parametrize(
    ("findings", "options", "status"),
    [
        ([], [], 0),
        ([FINE, UNKNOWN], ["--strict"], 0),
        ([WARNING], [], 0),
        ([WARNING], ["--strict"], 1),
        ([PROBLEM, WARNING], [], 1),
        ([PROBLEM], ["--json"], 1),
    ],
)
def test_the_exit_status_is_1_for_problems_and_if_strict_for_warnings(
    findings: list[Finding], options: list[str], status: int, found: list[Finding]
) -> None:
    """What is unknown or worth knowing is no failure."""
    found += findings
    assert main(["doctor", *options]) == status


def test_lines_fit_80_columns_but_for_a_cure(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    """A cure stays on one line, whole: it is to be pasted."""
    found += [PROBLEM, WARNING, UNKNOWN, FINE]
    main(["doctor", "--all"])
    lines = capsys.readouterr().out.splitlines()
    assert f"         cure: {CURE}" in lines
    assert all(len(line) <= 80 for line in lines if "cure: " not in line)
    assert [line.split()[0] for line in lines if line[:1].islower()] == ["problem", "warning", "unknown", "ok"]
    assert lines[-1] == "1 problem, 1 warning, 1 unknown, 0 notices, 1 in order"
    assert "Front end for this host: native, because it suits." in lines


def test_what_is_in_order_is_only_counted(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever wants to read it all says --all."""
    found += [FINE]
    main(["doctor"])
    out = capsys.readouterr().out
    assert "set back" not in out
    assert out.endswith("0 problems, 0 warnings, 0 unknown, 0 notices, 1 in order (--all shows it)\n")


def test_colours_are_for_terminals_and_not_against_no_color(
    found: list[Finding], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """https://no-color.org: any value but the empty one."""
    found += [PROBLEM]
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["doctor"])
    assert "\033" not in capsys.readouterr().out
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _self: True)
    main(["doctor"])
    assert "\033[31;1mproblem \033[0m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["doctor"])
    assert "\033" not in capsys.readouterr().out


def test_what_somebody_wrote_into_a_name_does_not_reach_the_terminal(
    found: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file's name may hold whatever its owner likes."""
    found += [Finding("setuid-foreign", Severity.PROBLEM, "side-doors", "/tmp/\033[2J\r is setuid", None)]
    main(["doctor"])
    assert re.search(r"[\033\r]", capsys.readouterr().out) is None


def test_json_has_every_finding_and_the_recommendation(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    """With a version, as every answer for programs."""
    found += [WARNING, FINE]
    main(["doctor", "--json"])
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["version"] == 1
    assert [one["code"] for one in shown["findings"]] == ["door-group", "clock"]
    assert shown["findings"][0] == {
        "code": "door-group", "severity": "warning", "area": "side-doors", "found": "alice in group docker",
        "cure": "gpasswd -d alice docker", "subject": None,
    }  # fmt: skip
    assert shown["recommended_front_end"] == {"name": "native", "why": "it suits"}


def test_only_asks_for_the_areas_named(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> None:
    """And recommends a front end only where front ends were asked for."""
    found += [FINE]
    assert main(["doctor", "--only", "clock", "--only", "keys"]) == 0
    assert asked == [["clock", "keys"]]
    assert "Front end" not in capsys.readouterr().out
    main(["doctor", "--only", "front-end"])
    assert "Front end" in capsys.readouterr().out


def test_an_area_that_does_not_exist_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """And the areas that do are named."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--only", "weather"])
    assert ended.value.code == 2
    assert all(area.name in capsys.readouterr().err for area in AREAS[:1])


def test_without_an_answer_which_sudo_it_is_nothing_is_recommended(
    found: list[Finding], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sudo that hangs must not take the rest with it."""

    def unknown(_host: Host) -> Recommendation:
        raise Unknown("late")

    monkeypatch.setattr(examining, "recommend", unknown)
    found += [FINE]
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recommended_front_end"] is None


def test_the_areas_of_the_command_line_are_those_that_there_are() -> None:
    """It knows their names without loading the checks."""
    assert list(NAMES) == [area.name for area in AREAS]


def test_the_command_does_not_load_the_checks_before_it_is_used() -> None:
    """A prompt asks `jitsudo status --short` each time."""
    code = "import sys, jitsudo.cli.doctor; print([name for name in sys.modules if name.startswith('jitsudo.doctor.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout == "['jitsudo.doctor.areas']\n"


def test_seen_keeps_kind_and_subject() -> None:
    """The registry adds nothing but the area."""
    kind = AREAS[0].checks[0].kinds[0]
    assert Seen(kind, "x", "y", "z").finding("a") == Finding(kind.code, kind.severity, "a", "x", "y", "z")
