"""The administrator's guide, done literally: every console block, in its order, on a fresh host with the packages beside it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pexpect
import pytest
from lab import SCRIPT, Lab
from timing import FIRST

GUIDE = SCRIPT.parents[1] / "docs" / "administrators-guide.md"
FIRST_HOST = "## The first host in ten minutes"
MOST_COMMANDS = 10
PROMPT = re.compile(r"^(?P<who>[a-z]+)@web-01:~[#$] (?P<command>.*)$")
SECONDS = 120
# What differs from one run to another; both sides are written the same way.
VARIES = (
    (r"\b(?:[A-Z][a-z]{2} [ \d]\d )?\d\d:\d\d:\d\d\b", "TIME"),
    (r"\(\d+[hms][\w]* left\)", "(… left)"),
    (r"\[\d+\]:", "[PID]:"),
    (r"\bsha256:[0-9a-f]{64}\b", "DIGEST"),
    (r"\bsession \d+\b", "session N"),
    (r"\bbackup/\d+\b", "backup/N"),
    (r"\bledger-\d{8}T\d{6}Z\b", "ledger-DATE"),
)
# What the daemon tells terminals comes whenever it comes.
TOLD = re.compile(r"^jitsudo: (your request |\w+ asks for role |\w+ has )")
ID = re.compile(r"\b[RGS]-[A-Z2-7]{8}\b")


@dataclass
class Step:
    """One command of the guide: who types it, where it stands, what is printed."""

    who: str
    command: str
    line: int
    chapter: str
    printed: list[str] = field(default_factory=list)


def steps() -> list[Step]:
    """The console blocks of the guide, one step a prompt."""
    found: list[Step] = []
    chapter, inside = "", False
    for number, line in enumerate(GUIDE.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif line.startswith("## "):
            chapter = line
        elif inside:
            prompt = PROMPT.match(line)
            if prompt:
                found.append(Step(prompt["who"], prompt["command"], number, chapter))
            else:
                found[-1].printed.append(line.rstrip())
    return found


class Terminal:
    """A person's login shell on a terminal of the host, which answers each question for a password with theirs."""

    def __init__(self, host: Lab, who: str) -> None:
        self._who = who
        # What takes too long is told as that by `jitsudo doctor`; on this host, root waits for nobody.
        haste = FIRST if who == "root" else ()
        self._shell = host.spawn(who, *haste, "/bin/bash", "--norc", timeout=SECONDS)
        self._shell.expect(r"[#$] ")
        self._shell.sendline("bind 'set enable-bracketed-paste off'; stty -echo cols 200; export TERM=dumb NO_COLOR=1; cd")
        self._shell.sendline("PS1='<at''home>'")
        self._shell.expect_exact("<athome>")

    def type(self, command: str) -> list[str]:
        """What is printed until the prompt is back."""
        self._shell.sendline(command)
        printed = ""
        while True:
            asked = self._shell.expect([r"<athome>", r"[Pp]assword(?: for \w+)?: "])
            printed += self._shell.before or ""
            if asked == 0:
                return [line.rstrip() for line in printed.replace("\r\n", "\n").split("\n")]
            printed += str(self._shell.after)
            self._shell.sendline("root" if command.startswith("su ") else self._who)

    def close(self) -> None:
        self._shell.close(force=True)


def settled(lines: list[str]) -> list[str]:
    """Without what is told to terminals, and without the empty lines around everything."""
    kept: list[str] = []
    for line in lines:
        if TOLD.match(line):
            if kept and not kept[-1]:
                kept.pop()
            continue
        for pattern, name in VARIES:
            line = re.sub(pattern, name, line)
        kept.append(line)
    return "\n".join(kept).strip("\n").split("\n") if any(kept) else []


def as_pattern(printed: list[str]) -> str:
    """The guide's text as a regular expression: a line `…` is any lines; `…` in a line, but for '…', any text; an id any."""
    parts = []
    for line in settled(printed):
        if line == "…":
            parts.append(r"(?:.*\n)*?")
            continue
        text = re.escape(line).replace(r"'…'", "'…'")
        text = re.sub(r"(?<!')…(?!')", ".*?", text)
        parts.append(re.sub(r"([RGS])\\-[A-Z2-7]{8}", r"(\1-[A-Z2-7]{8})", text) + "\n")
    return "".join(parts)


def compare(step: Step, printed: list[str], ids: dict[str, str]) -> None:
    """The step printed what the guide says; each identifier of the guide is bound to the one that stands in its place."""
    got = "".join(f"{line}\n" for line in settled(printed))
    match = re.fullmatch(as_pattern(step.printed), got)
    assert match, f"{GUIDE.name}:{step.line}: {step.who} typed: {step.command}\n{got}"
    ids |= zip(ID.findall("\n".join(line for line in step.printed if not TOLD.match(line))), match.groups(), strict=True)


@pytest.fixture(scope="module")
def fresh(bare_host: Lab) -> Iterator[Lab]:
    """A Debian server with two administrators, root's password, and the packages in root's home; nothing else."""
    packages = subprocess.run(
        [SCRIPT.with_name("lab-root"), "packages", bare_host.suite], capture_output=True, text=True, check=True
    ).stdout.strip()
    lab = Lab.up(f"{bare_host.name}-guide", bare_host.suite, bare=True)
    try:
        for deb in Path(packages).glob("*.deb"):
            lab.put(f"/root/{deb.name}", deb.read_bytes())
        lab.run("rm", "-f", "/etc/dpkg/dpkg.cfg.d/99mmdebstrap", check=True)  # the lab goes without documentation
        for person in ("alice", "bob"):
            lab.run("usermod", "--append", "--groups", "sudo", person, check=True)
        lab.run("sh", "-c", "hostname web-01; echo 127.0.1.1 web-01 >>/etc/hosts", check=True)
        yield lab
    finally:
        lab.down()


def test_the_first_host_takes_ten_commands() -> None:
    """From nothing to a sudo that is confirmed, works, and is gated."""
    commands = [step.command for step in steps() if step.chapter == FIRST_HOST]
    assert commands[0].startswith("apt-get install")
    assert commands[-1] == "sudo jitsudo setup confirm"
    assert len(commands) <= MOST_COMMANDS


def test_the_guide_does_what_it_says(fresh: Lab) -> None:
    """Everything in it, typed by the people who are in it, prints what it says."""
    terminals: dict[str, Terminal] = {}
    ids: dict[str, str] = {}
    try:
        for step in steps():
            if step.who not in terminals:
                terminals[step.who] = Terminal(fresh, step.who)
            command = ID.sub(lambda name: ids[name[0]], step.command)
            try:
                printed = terminals[step.who].type(command)
            except pexpect.TIMEOUT as error:
                raise AssertionError(f"{GUIDE.name}:{step.line}: no end: {step.command}\n{error}") from None
            compare(step, printed, ids)
    finally:
        for terminal in terminals.values():
            terminal.close()
    assert fresh.run("sh", "-c", "ls -d /etc/jitsudo /var/lib/jitsudo /usr/lib/python3/dist-packages/jitsudo").stdout == ""
