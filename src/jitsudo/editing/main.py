"""jitsudo-edit: edits files that have a check. sudo runs it as root; the editor runs as the person.

1. The files are read: no links, no folders that others can write.
2. The person edits copies of their own.
3. What they hold then is read once, with the person's rights, and from there on is ours.
4. The check sees it in the files' places, and can change nothing.
5. Where it does not pass, nothing is installed: the person edits again, or gives up.
6. The daemon records what is about to change.
7. Each file is replaced by rename, unless somebody else has changed it meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from jitsudo.client import Client
from jitsudo.editing.desk import Desk
from jitsudo.editing.difference import unified_diff
from jitsudo.editing.original import Original, check_unchanged, install, open_original
from jitsudo.editing.person import Editing, person_behind
from jitsudo.editing.sandbox import run_check
from jitsudo.elevation.edit import EditPlan, read_plan
from jitsudo.errors import Denied, JitsudoError
from jitsudo.types import Digest
from jitsudo.wire.calls import DECIDE

SOCKET: Final = "/run/jitsudo/decide"
PLACE_OF_PATH: Final = "{}"
TERMINAL: Final = "/dev/tty"

Edited = tuple[Original, bytes]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 where everything that was changed is installed, or nothing was; else 1."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if os.geteuid() != 0 or len(given) != 1:
            raise Denied("a file with a check is edited as root, through sudo", "sudoedit FILE")
        return edit(read_plan(given[0]), person_behind(os.environ))
    except JitsudoError as error:
        say(error.sentence, *([] if error.hint is None else [f"  {error.hint}"]))
    except KeyboardInterrupt:
        say("interrupted: nothing was installed")
    return 1


def edit(plan: EditPlan, person: Editing) -> int:
    """The seven steps. Raises JitsudoError."""
    originals = [open_original(path) for path in plan.files]  # (1)
    with Desk(person, originals) as desk:  # (2)
        while True:
            status = desk.run(plan.editor, person.environment(os.environ))
            if status != 0:
                say(f"the editor ended with status {status}: nothing was installed")
                return 1
            try:
                edited = changed(originals, desk.read_back())  # (3)
                if not edited:
                    say("unchanged")
                    return 0
                if passes(plan.check, edited):  # (4)
                    for original, text in edited:
                        install_on_record(original, text)
                    return 0
            except BaseException:  # interrupted, too: what was written is kept for the person, not lost; raised again
                say("what you wrote is kept in:", *(f"  {path}" for path in desk.keep()))
                raise
            if not wants_to_go_on():  # (5)
                say("nothing was installed")
                return 1


def changed(originals: Sequence[Original], texts: Sequence[bytes]) -> list[Edited]:
    """What there is to install: a file that does not exist yet and got no text is not made."""
    return [(original, text) for original, text in zip(originals, texts, strict=True) if original.content != text]


def passes(check: Sequence[str], edited: Sequence[Edited]) -> bool:
    """Whether the check accepts what would be installed, all of it. Shows what it says where it does not."""
    if any(PLACE_OF_PATH in word for word in check):
        commands = [[word.replace(PLACE_OF_PATH, original.path) for word in check] for original, _ in edited]
    else:
        commands = [list(check)]
    for command in commands:
        outcome = run_check(command, edited)
        if not outcome.passed:
            say(f"the check does not pass: {' '.join(command)} ({outcome.how})", *printable(outcome.output))
            return False
    return True


def wants_to_go_on() -> bool:
    """Ask on the terminal; without one there is nobody to edit again."""
    with contextlib.suppress(OSError), open(TERMINAL, "r+b", buffering=0) as terminal:
        while True:
            terminal.write(b"What now? e: edit again, x: give up: ")
            answer = terminal.read(100) or b"x"
            if answer.strip().lower() in (b"e", b"x"):
                return answer.strip().lower() == b"e"
    return False


def install_on_record(original: Original, text: bytes) -> None:
    """Raises JitsudoError: what cannot be recorded is not installed."""
    check_unchanged(original)
    with uninterrupted():
        with Client(SOCKET, DECIDE) as client:  # (6)
            client.call(
                "Edited",
                path=original.path,
                before=None if original.is_new else _digest(original.content),
                after=_digest(text),
                diff=unified_diff(original.content, text, original.path),
            )
        install(original, text)  # (7)
    say(f"{original.path} installed")


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """What is recorded is also done, unless the machine or the session ends."""
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
    )
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _digest(content: bytes) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


def printable(output: bytes) -> list[str]:
    """Lines that cannot steer the terminal: the check quotes what the person wrote, and so may somebody else's text."""
    lines = output.decode("utf-8", "backslashreplace").replace("\r\n", "\n").split("\n")
    return ["  " + "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line) for line in lines if line]


def say(*lines: str) -> None:
    """On standard error, as sudo does."""
    sys.stderr.write("\n".join((f"sudoedit: {lines[0]}", *lines[1:])) + "\n")
    sys.stderr.flush()
