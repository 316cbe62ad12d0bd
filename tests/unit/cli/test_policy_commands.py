"""jitsudo policy …, as a person and a pipeline use it: outputs and exit statuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jitsudo.cli import policycommands
from jitsudo.cli.main import main
from jitsudo.errors import ExitStatus, Unreachable
from jitsudo.offline import sources

ROOT = Path(__file__).resolve().parents[3]
GOOD = """version: 1
roles:
  r:
    description: d
    who: ["group:web"]
    request: {max_duration: 1h, approvals: 0}
    allow:
      - command: /usr/bin/systemctl
        subcommands: {restart: {operands: [{unit: [nginx]}]}}
    tests:
      - {run: systemctl restart nginx, expect: allow}
"""
RISKY = GOOD.replace("operands: [{unit: [nginx]}]", "operands: any")
BAD = GOOD.replace("operands:", "operand:")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid policy without findings."""
    path = tmp_path / "p.yaml"
    path.write_text(GOOD)
    return path


def test_check_says_nothing_of_a_good_policy(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """But for a summary on standard error."""
    assert main(["policy", "check", "--strict", str(file)]) == ExitStatus.OK
    out, err = capsys.readouterr()
    assert (out, err) == ("", "the policy is valid, 1 roles: 0 errors, 0 warnings, 0 notes, 1 tests\n")


def test_our_examples_pass_as_strictly(capsys: pytest.CaptureFixture[str]) -> None:
    """With tests of their own, and laid out. The first policy of a host has its two administrators approve each other."""
    first_host = ROOT / "policies" / "first-host.yaml"
    others = [str(path) for path in sorted((ROOT / "policies").glob("*.yaml")) if path != first_host]
    assert main(["policy", "check", "--strict", *others]) == ExitStatus.OK
    assert "0 warnings" in capsys.readouterr().err
    assert main(["policy", "check", str(first_host)]) == ExitStatus.OK
    shown = capsys.readouterr()
    assert "1 warnings" in shown.err
    assert "[self-approval]" in shown.out
    assert main(["policy", "fmt", "--check", str(ROOT / "policies")]) == ExitStatus.OK


def test_warnings_fail_only_where_strict(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And lint can be left out."""
    file.write_text(RISKY)
    assert main(["policy", "check", str(file)]) == ExitStatus.OK
    assert "[any-operands]" in capsys.readouterr().out
    assert main(["policy", "check", "--strict", str(file)]) == ExitStatus.FAILED
    assert main(["policy", "check", "--strict", "--no-lint", str(file)]) == ExitStatus.OK


def test_an_invalid_policy_has_status_6_and_all_errors(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With places and suggestions."""
    file.write_text(BAD.replace("max_duration: 1h", "max_duration: 1x"))
    assert main(["policy", "check", str(file)]) == ExitStatus.POLICY_INVALID
    out = capsys.readouterr().out
    assert f"{file}:9:33: error: unknown key 'operand' (did you mean 'operands'?) [invalid]" in out
    assert f"{file}:6:29: error: max_duration: not a duration: '1x'" in out


def test_failing_tests_have_status_1(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In check and in test, where the reasons are shown."""
    file.write_text(GOOD.replace("expect: allow", "expect: deny"))
    assert main(["policy", "check", str(file)]) == ExitStatus.FAILED
    assert "[test-failed]" in capsys.readouterr().out
    assert main(["policy", "test", str(file)]) == ExitStatus.FAILED
    out, err = capsys.readouterr()
    assert f"FAILED {file}:11 role r: systemctl restart nginx" in out
    assert "expected deny, got allow" in out
    assert err == "1 tests, 1 failed\n"


def test_test_shows_what_passed_on_demand(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And runs one role's tests only."""
    assert main(["policy", "test", "-v", "--role", "r", str(file)]) == ExitStatus.OK
    assert "ok     " in capsys.readouterr().out
    assert main(["policy", "test", "--role", "s", str(file)]) == ExitStatus.USAGE
    file.write_text(BAD)
    assert main(["policy", "test", str(file)]) == ExitStatus.POLICY_INVALID
    assert "[invalid]" in capsys.readouterr().out


def test_json_has_the_documented_shape(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` and `--format json` are one."""
    file.write_text(RISKY)
    main(["policy", "check", "--json", str(file)])
    first = capsys.readouterr().out
    main(["policy", "check", "--format", "json", str(file)])
    assert first == capsys.readouterr().out
    found = json.loads(first)
    assert found["version"] == 1
    assert set(found["findings"][0]) == {
        "code", "severity", "file", "line", "column", "role", "program", "message", "cure",
    }  # fmt: skip
    main(["policy", "test", "--json", str(file)])
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_sarif_is_what_code_review_reads(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rules by code, levels by severity, places by line and column."""
    file.write_text(RISKY)
    assert main(["policy", "check", "--format", "sarif", str(file)]) == ExitStatus.OK
    found = json.loads(capsys.readouterr().out)
    (run,) = found["runs"]
    assert found["version"] == "2.1.0"
    result = run["results"][0]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["level"] == "warning"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"file://{file}"
    assert place["region"] == {"startLine": 8, "startColumn": 9}


@pytest.mark.parametrize("kind", ["missing", "link", "device", "fifo", "folder without policies"])
def test_what_is_no_file_is_one_clear_error(
    kind: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without hanging, and with status 6."""
    odd = tmp_path / "odd"
    if kind == "link":
        odd.symlink_to(file)
    elif kind == "device":
        odd = Path("/dev/null")
    elif kind == "fifo":
        os.mkfifo(odd)
    elif kind == "folder without policies":
        odd.mkdir()
        assert main(["policy", "check", str(odd)]) == ExitStatus.OK
        return
    assert main(["policy", "check", str(odd)]) == ExitStatus.POLICY_INVALID
    out = capsys.readouterr().out
    assert out.count("[invalid]") == 1
    assert out.startswith(f"{odd}:1:1: error: ")


def test_this_hosts_policy_is_read_as_strictly_as_the_daemon_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that others can write is an error there."""
    monkeypatch.setattr(sources, "POLICY_FOLDER", tmp_path / "none")
    assert main(["policy", "check"]) == ExitStatus.POLICY_INVALID
    assert "cannot be read: No such file or directory" in capsys.readouterr().out


def test_explain_shows_each_role_that_is_open(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0 if one would allow it, 3 if none."""
    ask = ["policy", "explain", "--file", str(file), "--as", "nobody-here"]
    line = ["--", "systemctl", "restart", "nginx"]
    assert main([*ask, "--group", "web", *line]) == ExitStatus.OK
    out = capsys.readouterr().out
    assert out.startswith(f"if role r were granted: allowed by role r, {file}:8\n")
    assert "G-TEST" not in out
    assert main([*ask, *line]) == ExitStatus.DENIED
    assert "no role is open to nobody-here" in capsys.readouterr().out
    assert main([*ask, "--role", "r", *line]) == ExitStatus.DENIED
    assert "not open" in capsys.readouterr().out
    assert main([*ask, "--group", "web", "--json", "--", "systemctl", "stop", "nginx"]) == ExitStatus.DENIED
    assert json.loads(capsys.readouterr().out)["roles"][0]["verdict"] == "deny"
    assert main([*ask, "--role", "s", *line]) == ExitStatus.USAGE
    assert main([*ask, "--group", "web"]) == ExitStatus.USAGE
    file.write_text(BAD)
    assert main([*ask, *line]) == ExitStatus.POLICY_INVALID


def test_fmt_lays_out_checks_and_shows(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only without --check and --diff is a file written."""
    file.write_text(GOOD.replace("[{unit: [nginx]}]", "[ {unit: [ nginx ]} ]"))
    file.chmod(0o640)
    assert main(["policy", "fmt", "--check", str(file)]) == ExitStatus.FAILED
    assert main(["policy", "fmt", "--diff", str(file)]) == ExitStatus.OK
    assert "+        subcommands: {restart: {operands: [{unit: [nginx]}]}}" in capsys.readouterr().out
    assert main(["policy", "fmt", str(file)]) == ExitStatus.OK
    assert file.read_text() == GOOD
    assert file.stat().st_mode & 0o777 == 0o640
    assert main(["policy", "fmt", "--check", "--json", str(file)]) == ExitStatus.OK
    file.write_text("version: &a 1\n")
    assert main(["policy", "fmt", str(file)]) == ExitStatus.POLICY_INVALID
    assert main(["policy", "fmt", str(file) + "x"]) == ExitStatus.FAILED


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """For editors."""
    assert main(["policy", "schema"]) == ExitStatus.OK
    assert json.loads(capsys.readouterr().out)["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_edit_saves_and_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no daemon answers, the policy waits for its start."""
    folder = tmp_path / "policy.d"
    folder.mkdir()
    (folder / "p.yaml").write_text("version: 1\n")
    monkeypatch.setattr(sources, "POLICY_FOLDER", folder)
    monkeypatch.setattr("jitsudo.offline.editing.read_folder", lambda *_, **__: {"p.yaml": b"version: 1\n"})
    monkeypatch.setenv("SUDO_EDITOR", "sh -c 'printf \"version: 1\\n# new\\n\" >\"$0\"'")

    def unreachable(*_: object) -> int:
        raise Unreachable("no daemon")

    monkeypatch.setattr(policycommands.admin, "policy_reload", unreachable)
    assert main(["policy", "edit"]) == ExitStatus.OK
    assert (folder / "p.yaml").read_text() == "version: 1\n# new\n"
    assert "loaded when it starts" in capsys.readouterr().err
    monkeypatch.setenv("SUDO_EDITOR", "true")
    assert main(["policy", "edit"]) == ExitStatus.OK


def test_what_now_takes_visudos_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The end of input is an exit."""
    answers = iter(["?\n", "q\n", "e\n", "x\n", "Q\n", ""])
    monkeypatch.setattr(sys, "stdin", type("Input", (), {"readline": lambda *_: next(answers)})())
    assert [policycommands._what_now() for _ in range(4)] == ["edit", "exit", "save", "exit"]
    assert "(e)dit the file again" in capsys.readouterr().err


def test_the_example_repository_passes_its_own_pipeline(tmp_path: Path) -> None:
    """And a proposal that opens a shell does not; the hooks run the commands that they name."""
    repository = tmp_path / "repo"
    shutil.copytree(ROOT / "docs" / "examples" / "policy-repo", repository)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "jitsudo").write_text(f'#!/bin/sh\nexec {sys.executable} -m jitsudo.cli.main "$@"\n')
    (programs / "jitsudo").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}

    def run(*argv: str) -> int:
        return subprocess.run(argv, cwd=repository, env=environment, check=False, capture_output=True).returncode

    hooks = {one["id"]: one for one in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    (wanted,) = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"]
    lines = [(*hooks[one["id"]]["entry"].split(), *one.get("args", ["policy.d/web.yaml"])) for one in wanted["hooks"]]
    assert run("ci/check") == 0
    assert [run(*line) for line in lines] == [0, 0]
    policy = repository / "policy.d" / "web.yaml"
    text = policy.read_text()
    policy.write_text(text.replace('"restart|reload|status"', '"restart|edit"'))
    assert run("ci/check") == ExitStatus.FAILED
    policy.write_text(text.replace("operands", "operand"))
    assert [run("ci/check"), run(*lines[1])] == [ExitStatus.POLICY_INVALID, ExitStatus.POLICY_INVALID]
