"""Completions: made from the parser as it is, and tried in the shells that they are for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "completions"
HELPER = "/usr/libexec/jitsudo/jitsudo-complete"
SECONDS = 60
LIVE = """#!/bin/sh
case $1 in
    roles) printf 'brief\\tFive minutes: at [most]\\nweb-operator\\tKeep it running\\n' ;;
    requests-to-decide) printf 'R-AAAAAAAA\\talice: web-operator\\n' ;;
    requests-of-mine) printf 'R-BBBBBBBB\\tbob: brief\\n' ;;
    grants-of-mine) printf 'G-CCCCCCCC\\tbob: brief\\n' ;;
    grants) printf 'G-DDDDDDDD\\talice: brief\\n' ;;
esac
echo noise >&2
"""
# What is typed, and what a tab makes of it, in each of the shells.
CASES = (
    ("jitsudo rol", "jitsudo roles "),
    ("jitsudo policy sch", "jitsudo policy schema "),
    ("jitsudo request w", "jitsudo request web-operator "),
    ("jitsudo request brief --reas", "jitsudo request brief --reason"),
    ("jitsudo request brief --for 3", "jitsudo request brief --for 30m "),
    ("jitsudo request brief --for=3", "jitsudo request brief --for=30m "),
    ("jitsudo request --for 30m br", "jitsudo request --for 30m brief "),
    ("jitsudo approve --note x R", "jitsudo approve --note x R-AAAAAAAA "),
    ("jitsudo cancel R", "jitsudo cancel R-BBBBBBBB "),
    ("jitsudo return G", "jitsudo return G-CCCCCCCC "),
    ("jitsudo revoke --reason x G", "jitsudo revoke --reason x G-DDDDDDDD "),
    ("jitsudo policy check --format sa", "jitsudo policy check --format sarif "),
    ("jitsudo policy explain --as roo", "jitsudo policy explain --as root "),
    ("jitsudo policy check ./pol", "jitsudo policy check ./policy.yaml "),
    ("jitsudo explain -- shellch", "jitsudo explain -- shellcheck "),
    ("jitsudo explain -u root -- shellch", "jitsudo explain -u root -- shellcheck "),
)
NAMES = [typed for typed, _ in CASES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to complete in: the completions, asking a stand-in for the daemon; a command to complete; a file."""
    made = tmp_path_factory.mktemp("completions")
    helper = made / "live"
    helper.write_text(LIVE)
    (made / "jitsudo").write_text("#!/bin/sh\n")
    (made / "policy.yaml").write_text("version: 1\n")
    for program in (helper, made / "jitsudo"):
        program.chmod(0o755)
    for name in ("jitsudo.bash", "_jitsudo", "jitsudo.fish"):
        text = (COMPLETIONS / name).read_text()
        assert HELPER in text
        (made / name).write_text(text.replace(HELPER, str(helper)))
    return made


def environment(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:/usr/bin:/bin", "TERM": "dumb", "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def interactive(folder: Path, shell: list[str], *setup: str) -> pexpect.spawn[str]:
    child = pexpect.spawn(
        shell[0], shell[1:], cwd=folder, env=environment(folder), encoding="utf-8", timeout=SECONDS, dimensions=(60, 200)
    )
    child.sendline("; ".join((*setup, "PS1='at''> '")))
    child.expect_exact("at> ")
    return child


@pytest.fixture(scope="module")
def bash(folder: Path) -> Iterator[pexpect.spawn[str]]:
    child = interactive(
        folder,
        ["/bin/bash", "--norc", "--noprofile", "-i"],
        "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'",
        ". /usr/share/bash-completion/bash_completion",
        f". {folder}/jitsudo.bash",
    )
    yield child
    child.close(force=True)


@pytest.fixture(scope="module")
def zsh(folder: Path) -> Iterator[pexpect.spawn[str]]:
    child = interactive(
        folder,
        ["/bin/zsh", "-f", "-i"],
        f"fpath=({folder} $fpath)",
        "autoload -U compinit",
        "compinit -D -u",
        "unset zle_bracketed_paste",
        "setopt no_beep no_auto_remove_slash",
    )
    yield child
    child.close(force=True)


def completes(child: pexpect.spawn[str], typed: str, wanted: str) -> None:
    """A tab after `typed` makes the line `wanted`; the line is then thrown away."""
    child.send(typed if "\t" in typed else f"{typed}\t")
    try:
        child.expect_exact(wanted)
    finally:
        child.send("\x15")
        child.sendline("echo clean''ed")
        child.expect_exact("cleaned")
        child.expect_exact("at> ")


def test_completions_are_those_of_the_parser() -> None:
    """What is in completions/ is what scripts/completions makes of the command line now."""
    done = subprocess.run(
        ["/usr/bin/python3", ROOT / "scripts" / "completions", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("typed", "wanted"), CASES, ids=NAMES)
def test_bash_completes(bash: pexpect.spawn[str], typed: str, wanted: str) -> None:
    """Commands, options, their values and what the daemon knows, with bash-completion."""
    completes(bash, typed, wanted)


@pytest.mark.parametrize(("typed", "wanted"), CASES, ids=NAMES)
def test_zsh_completes(zsh: pexpect.spawn[str], typed: str, wanted: str) -> None:
    """The same in zsh."""
    completes(zsh, typed, wanted)


@pytest.mark.parametrize(("typed", "wanted"), CASES, ids=NAMES)
def test_fish_completes(folder: Path, typed: str, wanted: str) -> None:
    """The same in fish, which is asked for candidates: the last word, or the line's first one that goes on."""
    script = f"source {folder}/jitsudo.fish; complete -C (string join ' ' -- $argv)"
    done = subprocess.run(
        ["/usr/bin/fish", "--no-config", "-c", script, typed],
        cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    assert wanted.split()[-1] in [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert done.stderr == ""


def test_bash_completes_without_bash_completion(folder: Path) -> None:
    """Sourced by hand, the file needs nothing else."""
    child = interactive(folder, ["/bin/bash", "--norc", "--noprofile", "-i"], f". {folder}/jitsudo.bash")
    completes(child, "jitsudo request w", "jitsudo request web-operator ")
    completes(child, "jitsudo explain -- shellch", "jitsudo explain -- shellcheck ")
    child.close(force=True)


def test_an_option_is_not_offered_twice_unless_it_may_be_repeated(bash: pexpect.spawn[str]) -> None:
    """--wait is gone once it is there; --group of `policy explain` comes as often as one likes."""
    for typed, wanted in (
        ("request brief --wait --w", "request brief --wait --w"),
        ("policy explain --group a --gro", "policy explain --group a --group "),
    ):
        completes(bash, f"jitsudo {typed}\tZ", f"jitsudo {wanted}Z")


# The helper.


Answers = Callable[[dict[str, object]], list[object]]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[[Answers | None], Path]]:
    """Starts a daemon at a socket of its own; gives the helper that asks it. `None` is one that never answers."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "control"))
    listening.listen()

    def serve(answers: Answers | None) -> None:
        connection, _ = listening.accept()
        data = b""
        while not data.endswith(b"\0") and (piece := connection.recv(65_536)):
            data += piece
        if answers is None:
            connection.recv(1)
        else:
            for reply in answers(json.loads(data[:-1])):
                connection.sendall(json.dumps(reply).encode() + b"\0")
        connection.close()

    def start(answers: Answers | None) -> Path:
        threading.Thread(target=serve, args=(answers,), daemon=True).start()
        return helper_for(tmp_path, 1.0 if answers is None else 30.0)

    yield start
    listening.close()


def helper_for(folder: Path, seconds: float = 1.0) -> Path:
    """The helper that asks there, and that is as patient as that."""
    text = (COMPLETIONS / "jitsudo-complete").read_text()
    assert "SECONDS = 1.0 " in text
    helper = folder / "helper"
    helper.write_text(text.replace("/run/jitsudo/control", str(folder / "control")).replace("= 1.0 ", f"= {seconds} "))
    helper.chmod(0o755)
    return helper


def ask(helper: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helper, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)


def test_roles_that_need_no_request_are_not_offered(daemon: Callable[[Answers | None], Path]) -> None:
    """What is asked for is a role that is not standing; the daemon may say first that it waits for something."""

    def answers(call: dict[str, object]) -> list[object]:
        assert call["method"] == "io.jitsudo.Control.Roles"
        roles = [
            {"name": "brief", "description": "Five\x1b[31m\nminutes", "standing": False},
            {"name": "cron-job", "description": "x", "standing": True},
        ]
        return [{"continues": True, "parameters": {"pending": "loading"}}, {"parameters": {"roles": roles}}]

    done = ask(daemon(answers), "roles")
    assert (done.returncode, done.stdout, done.stderr) == (0, "brief\tFive?[31m?minutes\n", "")


def test_a_request_is_offered_to_whom_it_concerns(daemon: Callable[[Answers | None], Path]) -> None:
    """`approve` is offered what the caller may approve, and nothing that a shell could take for more than a word."""

    def answers(_: dict[str, object]) -> list[object]:
        common = {"person": "alice", "role": "web", "reason": "why"}
        requests = [
            {**common, "id": "R-AAAAAAAA", "may_approve": True, "mine": False},
            {**common, "id": "R-BBBBBBBB", "may_approve": False, "mine": True},
            {**common, "id": "$(reboot)", "may_approve": True, "mine": True},
        ]
        return [{"parameters": {"requests": requests}}]

    assert ask(daemon(answers), "requests-to-decide").stdout == "R-AAAAAAAA\talice: web, why\n"


@pytest.mark.parametrize("wrong", ["refusal", "nonsense", "end", "silence", "no-daemon", "no-such-kind", "no-kind"])
def test_whatever_is_wrong_there_is_nothing_to_complete(
    daemon: Callable[[Answers | None], Path], tmp_path: Path, wrong: str
) -> None:
    """Nobody wants an error between two keystrokes, nor to wait."""
    answers: dict[str, Answers | None] = {
        "refusal": lambda _: [{"error": "io.jitsudo.Control.Refused", "parameters": {"code": "denied", "message": "no"}}],
        "nonsense": lambda _: [[1]],
        "end": lambda _: [],
        "silence": None,
    }
    helper = daemon(answers[wrong]) if wrong in answers else helper_for(tmp_path)
    if wrong == "no-daemon":
        os.unlink(tmp_path / "control")
    arguments = {"no-such-kind": ["passwords"], "no-kind": []}.get(wrong, ["roles"])
    done = ask(helper, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
