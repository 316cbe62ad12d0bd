"""A lab host as the tests see it: run programs on it as somebody, put files on it, read them back."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pexpect

FRONT_END = os.environ.get("JITSUDO_FRONT_END") or "python"  # which plugin asks the daemon for sudo; scripts/lab reads it too
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "lab"
UP_SECONDS = 900  # the first boot of a suite builds its root file system
DOWN_SECONDS = 120
UNTIL = (datetime.now(UTC) + timedelta(days=300)).date().isoformat()  # for standing roles, whenever the tests run


@dataclass(frozen=True, slots=True)
class Lab:
    """One booted lab host; `scripts/lab` does the work."""

    name: str
    suite: str

    @classmethod
    def up(cls, name: str, suite: str, *options: str, bare: bool = False) -> Lab:
        """Boot a host; `bare` leaves the product out. Raises RuntimeError with scripts/lab's own words."""
        options = ("--bare", *options) if bare else options
        done = subprocess.run(
            [SCRIPT, "up", "--suite", suite, "--name", name, *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"scripts/lab up --suite {suite} --name {name}: {done.stdout}{done.stderr}")
        return cls(name, suite)

    def down(self) -> None:
        """End the host and all that ran on it."""
        subprocess.run([SCRIPT, "down", "--name", self.name], timeout=DOWN_SECONDS, check=True)

    def crash(self) -> None:
        """Take a host's power away (one with a disk: option --disk)."""
        subprocess.run([SCRIPT, "crash", "--name", self.name], timeout=DOWN_SECONDS, check=True)

    def boot(self) -> None:
        """Start a host again that crashed."""
        subprocess.run([SCRIPT, "boot", "--name", self.name], stdin=subprocess.DEVNULL, timeout=DOWN_SECONDS * 2, check=True)

    def command(self, *argv: str, user: str | None = None, tty: bool = False) -> list[str]:
        """The argv on this machine that runs `argv` on the host."""
        who = ["--user", user] if user else []
        return [str(SCRIPT), "exec", "--name", self.name, *who, *(["--tty"] if tty else []), "--", *argv]

    def run(
        self,
        *argv: str,
        user: str | None = None,
        tty: bool = False,
        input: str | None = None,  # noqa: A002  subprocess.run's own word for it
        timeout: float = 120,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run `argv` on the host, as root or in a real login session of `user`.

        No input means an empty standard input. Bytes that are not UTF-8 come and go as lone surrogates.
        The exit status is the command's, 128 + n if signal n ended it.
        """
        done = subprocess.run(
            self.command(*argv, user=user, tty=tty),
            input=(input or "").encode(errors="surrogateescape"),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out, err = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
        if check and done.returncode:
            raise AssertionError(f"{argv} on {self.name} exited {done.returncode}:\n{out}{err}")
        return subprocess.CompletedProcess(list(argv), done.returncode, out, err)

    def start(self, *argv: str, user: str | None = None) -> subprocess.Popen[str]:
        """Start `argv` on the host with pipes for all three streams and do not wait; SIGTERM to it ends the command."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*argv, user=user), stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def spawn(self, user: str | None, *argv: str, timeout: float = 60) -> pexpect.spawn[str]:
        """Start `argv` on a terminal of the host, to be driven by expect and sendline."""
        first, *rest = self.command(*argv, user=user, tty=True)
        return pexpect.spawn(first, rest, timeout=timeout, encoding="utf-8", codec_errors="surrogateescape")

    def put(self, path: str, content: str | bytes, *, mode: int = 0o644, owner: str = "root:root") -> None:
        """Write a file on the host, parents included, replacing it whole."""
        data = content if isinstance(content, str) else content.decode(errors="surrogateescape")
        script = 'mkdir -p "${1%/*}/" && cat >"$1.new" && chmod "$2" "$1.new" && chown "$3" "$1.new" && mv -T "$1.new" "$1"'
        self.run("sh", "-c", script, "put", path, f"{mode:o}", owner, input=data, check=True)

    def get(self, path: str) -> str:
        """What a file on the host holds."""
        return self.run("cat", "--", path, check=True).stdout
