"""Daily work under sudo: many at once, one inside another, pipes, job control, strange surroundings, full-screen programs."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest
from acts import (
    Journal,
    assert_refused,
    extra_policy,
    go_on,
    gone,
    grants_of,
    obtain,
    restart_daemon,
    stopped_before_it_runs,
    until,
)
from lab import FRONT_END, UNTIL, Lab
from timing import timed

SOON = 30  # seconds for what is not to hang, on a busy machine
POLICY = f"""
version: 1
roles:
  daily-work:
    description: Run what is given, a line of shell
    who: ["group:web"]
    request: none
    until: {UNTIL}
    authenticate: never
    allow: [{{command: /usr/local/bin/as-told, operands: any}}, {{command: /usr/local/bin/counts, operands: any}}]
  borrowed:
    description: The same, for as long as somebody lets one
    who: ["group:web"]
    request: {{max_duration: 1h, approvals: 0}}
    authenticate: never
    allow: [{{command: /usr/local/bin/as-told-too, operands: any}}]
"""


@pytest.fixture(scope="module")
def working(furnished: Lab) -> Iterator[Lab]:
    """A host on which alice may run whatever line of shell she gives to a program."""
    for name in ("as-told", "as-told-too"):
        furnished.put(f"/usr/local/bin/{name}", '#!/bin/sh\nexec /bin/bash -c "$*"\n', mode=0o755)
    furnished.put("/usr/local/bin/counts", "#!/bin/sh\nprintf '%s\\n' \"$@\" | wc -c\n", mode=0o755)
    with extra_policy(furnished, POLICY):
        yield furnished


# Many, and one inside another.

MANY = """
import json, subprocess, sys, time
began = time.monotonic()
all = [subprocess.Popen(["sudo", "-n", "as-told", "echo", str(n)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True) for n in range(int(sys.argv[1]))]
ended = [(*p.communicate(), p.returncode) for p in all]
json.dump([[n, *e] for n, e in enumerate(ended) if e != (f"{n}\\n", "", 0)], sys.stdout)
print(f" {time.monotonic() - began:.1f} s", file=sys.stderr)
"""


def test_two_hundred_at_once(working: Lab) -> None:
    """Each of 200 simultaneous sudos runs its own command and no other; each is on record, begun and ended."""
    journal = Journal.from_now(working)
    done = working.run("python3", "-Ic", MANY, "200", user="alice", timeout=300, check=True)
    print(f"200 sudos took{done.stderr}")  # noqa: T201
    assert done.stdout == "[]"
    until(lambda: len(journal.find("session.ended")) == 200, "200 sessions have ended", 60)
    started = {e["JITSUDO_SESSION_ID"] for e in journal.find("session.started")}
    assert started == {e["JITSUDO_SESSION_ID"] for e in journal.find("session.ended")}
    assert len(started) == 200


def test_sudo_inside_a_session_is_judged_as_its_person(working: Lab) -> None:
    """root inside alice's session gets what alice would get, and the record says alice."""
    journal = Journal.from_now(working)
    done = working.run("sudo", "as-told", "sudo -n as-told 'id -un'", user="alice")
    assert (done.returncode, done.stdout) == (0, "root\n"), done.stderr
    assert {e["JITSUDO_USER"] for e in journal.find("command.allowed")} == {"alice"}
    assert len(journal.find("command.allowed")) == 2
    refused = working.run("sudo", "as-told", "sudo -n poweroff", user="alice")
    assert_refused(refused, "no grant of alice")
    assert journal.expect("command.denied")["JITSUDO_USER"] == "alice"


def test_a_command_in_the_background_goes_on_and_ends_with_its_grant(working: Lab) -> None:
    """`sudo -b` returns at once; what it started is a session like any other, until the grant is revoked."""
    grant = obtain(working, "borrowed")
    journal = Journal.from_now(working)
    done, seconds = timed(working, "sh", "-c", "sudo -b as-told-too sleep 91020 </dev/null >/dev/null 2>&1", user="alice")
    assert done.returncode == 0, done.stderr
    assert seconds < 5
    until(lambda: not gone(working, "^sleep 91020$"), "the command runs", SOON)
    journal.expect("session.started")
    working.run("jitsudo", "revoke", grant, "--reason", "enough", check=True)
    assert gone(working, "^sleep 91020$")
    journal.expect("session.ended")


# Streams and statuses.


def test_pipes_are_byte_exact(working: Lab) -> None:
    """Four megabytes of every byte, through standard input and output at once, come back as they went."""
    data = random.Random(4711).randbytes(4 << 20)  # noqa: S311  any bytes, the same in each run
    done = working.run("sudo", "as-told", "cat", user="alice", input=data.decode(errors="surrogateescape"))
    came = done.stdout.encode(errors="surrogateescape")
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(came).hexdigest() == hashlib.sha256(data).hexdigest()


def test_a_reader_that_stops_ends_the_writer(working: Lab) -> None:
    """`sudo COMMAND | head` ends, by SIGPIPE, though the command would write for ever."""
    done = working.run("bash", "-c", "sudo as-told yes | head -n 2; echo ${PIPESTATUS[0]}", user="alice", timeout=SOON)
    assert done.stdout == "y\ny\n141\n", done.stderr


STATUSES = "for n in 0 1 2 3 77 126 127 128 130 200 255; do sudo as-told exit $n; echo $?; done"
SIGNALS = "for n in 1 2 6 9 10 11 13 14 15; do sudo as-told 'kill -'$n' $$'; echo $?; done"


def test_statuses_and_signals_come_through(working: Lab) -> None:
    """The command's exit status is sudo's; a signal that ended it ends sudo."""
    done = working.run("bash", "-c", f"{STATUSES}; {SIGNALS}", user="alice", check=True)
    statuses = [0, 1, 2, 3, 77, 126, 127, 128, 130, 200, 255]
    assert done.stdout.split() == [*map(str, statuses), *(str(128 + n) for n in (1, 2, 6, 9, 10, 11, 13, 14, 15))]


# Job control.

PROMPT = "ready> "


@contextmanager
def shell_of(host: Lab, user: str = "alice") -> Iterator[pexpect.spawn[str]]:
    """An interactive bash on a terminal."""
    with host.spawn(user, "bash", "--norc", "--noprofile", "-i") as shell:
        shell.expect_exact("$ ")
        shell.sendline(f"PS1='{PROMPT[:-1]}'' '; stty -echo; bind 'set enable-bracketed-paste off'")
        shell.expect(f"[\r\n]{PROMPT}")
        shell.sendline("")
        shell.expect(PROMPT)
        yield shell


def test_interrupt_suspend_and_resume(working: Lab) -> None:
    """^Z stops the command and gives the shell back, fg and bg go on with it, ^C ends it, ^\\ too."""
    with shell_of(working) as shell:
        shell.sendline("sudo as-told sleep 91021")
        until(lambda: not gone(working, "^sleep 91021$"), "the command runs", SOON)
        shell.send("\x1a")
        shell.expect("Stopped")
        shell.expect(PROMPT)
        assert working.run("sh", "-c", "ps -o state= -p $(pgrep -f '^sleep 91021$')").stdout.strip() == "T"
        shell.sendline("fg")
        shell.expect("sudo as-told sleep 91021")
        until(
            lambda: working.run("sh", "-c", "ps -o state= -p $(pgrep -f '^sleep 91021$')").stdout.strip() == "S",
            "the command goes on",
            SOON,
        )
        shell.send("\x03")
        shell.expect(PROMPT)
        until(lambda: gone(working, "^sleep 91021$"), "the command is gone", SOON)
        for key, status in (("\x03", 130), ("\x1c", 131)):
            shell.sendline("sudo as-told sleep 91022")
            until(lambda: not gone(working, "^sleep 91022$"), "the command runs", SOON)
            shell.send(key)
            shell.expect(PROMPT)
            shell.sendline("echo status=$?")
            shell.expect(f"status={status}\r")
            shell.expect(PROMPT)


def test_a_job_in_the_background_of_a_shell(working: Lab) -> None:
    """`sudo COMMAND &` runs, writes, and is waited for."""
    with shell_of(working) as shell:
        shell.sendline("sudo as-told 'sleep 1; echo was here; exit 5' & wait $!; echo status=$?")
        shell.expect("was here")
        shell.expect("status=5")


RESIZED = "trap 'echo is $(stty size)' WINCH; stty size; while sleep 0.1; do :; done"


def test_the_size_of_the_terminal_follows(working: Lab) -> None:
    """What is resized outside is resized for the command, which is told."""
    with working.spawn("alice", "sudo", "as-told", RESIZED) as shell:
        shell.expect(r"\d+ \d+\r\n")
        shell.setwinsize(41, 123)
        shell.expect("is 41 123\r\n")
        shell.send("\x03")
        shell.expect(pexpect.EOF)


# Strange surroundings.


NOWHERE = {
    "deleted": "mkdir /tmp/gone && cd /tmp/gone && rmdir /tmp/gone",
    "deeper than a path can say": "cd /tmp; d=$(printf 'd%.0s' {1..200}); for i in {1..30}; do mkdir -p $d; cd $d; done",
}


@pytest.mark.parametrize("where", NOWHERE.values(), ids=NOWHERE)
def test_a_folder_without_a_name_is_said_at_once(working: Lab, where: str) -> None:
    """Nothing could be judged against it: the refusal says so, and what to do."""
    done = working.run("bash", "-c", f"{where}; sudo as-told 'id -u'", user="alice", timeout=SOON)
    working.run("rm", "-rf", "--", f"/tmp/{'d' * 200}", check=True)
    assert_refused(done, "the current directory was deleted or cannot be seen")
    assert "cd /" in done.stderr


def test_without_a_terminal_or_standard_streams(working: Lab) -> None:
    """A daemon's surroundings: no terminal, no session, streams closed."""
    script = "setsid -w sudo -n as-told 'id -u'; sudo -n as-told true <&- >&- 2>&-; echo $?"
    done = working.run("bash", "-c", script, user="alice")
    assert done.stdout == "0\n0\n", done.stderr


HOSTILE = {
    "thousands": "for i in $(seq 5000); do export V$i=xxxxxxxxxxxxxxxxxxxx; done; sudo as-told env | sort",
    "functions": "env 'BASH_FUNC_id%%=() { echo hacked; }' 'BASH_FUNC_id()=() { echo hacked; }' 'X=() { :; }' "
    "sudo as-told 'id -u; env'",
    "loader": "LD_PRELOAD=/tmp/x.so LD_LIBRARY_PATH=/tmp LD_AUDIT=/tmp/x.so GCONV_PATH=/tmp sudo as-told env 2>/dev/null",
    "shell": "env IFS=x ENV=/tmp/x BASH_ENV=/tmp/x SHELLOPTS=xtrace 'PS4=$(touch /tmp/hacked)' CDPATH=/tmp sudo as-told env",
    "interpreters": "PYTHONPATH=/tmp PERL5OPT=-d NODE_OPTIONS=--x RUBYOPT=-rx PYTHONINSPECT=1 sudo as-told env",
    "doubled": "python3 -Ic 'import ctypes; "
    "e = (ctypes.c_char_p * 6)(b\"A=1\", b\"PATH=/tmp\", b\"PATH=/bin\", b\"TERM=a\", b\"TERM=b\"); "
    "ctypes.CDLL(None).execve(b\"/usr/bin/sudo\", (ctypes.c_char_p * 4)(b\"sudo\", b\"as-told\", b\"env\"), e)'",
}
CLEAN = {
    "HOME", "LANG", "LOGNAME", "MAIL", "PATH", "SHELL", "SUDO_COMMAND", "SUDO_GID", "SUDO_HOME", "SUDO_TTY", "SUDO_UID",
    "SUDO_USER", "TERM", "USER",
}  # fmt: skip
OF_BASH = {"PWD", "SHLVL", "_", "OLDPWD"}


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
def test_hostile_environments_do_not_get_through(working: Lab, script: str) -> None:
    """Whatever the caller exports, the command sees a handful of variables, each once, none of them the caller's tricks."""
    done = working.run("bash", "-c", script, user="alice", timeout=60, check=True)
    names = re.findall(r"^([A-Za-z_][A-Za-z0-9_%()]*)=", done.stdout, re.MULTILINE)
    assert {"HOME", "PATH", "SUDO_USER"} <= set(names) <= CLEAN | OF_BASH
    assert len(set(names)) == len(names)
    assert "hacked" not in done.stdout + done.stderr
    assert working.run("test", "-e", "/tmp/hacked").returncode == 1


def test_bytes_that_are_no_text_arrive_or_are_refused_at_once(working: Lab) -> None:
    """An argument or a variable that is not UTF-8: nothing runs, nothing hangs; the native plugin passes them on."""
    for script, output in ((r"sudo as-told echo $'\xff'", "\udcff\n"), (r"X=$'\xff' sudo as-told echo ran", "ran\n")):
        done = working.run("bash", "-c", script, user="alice", timeout=SOON)
        wanted = (0, output) if FRONT_END == "native" else (1, "")
        assert (done.returncode, done.stdout) == wanted, done.stderr


def test_arguments_as_large_as_the_kernel_takes(working: Lab) -> None:
    """One argument of 128 KiB less a byte, and one and a half megabytes of them, arrive whole."""
    script = (
        "import subprocess, sys\n"
        "for words in (['x' * 131071], ['x' * 1023] * 1500):\n"
        "    done = subprocess.run(['sudo', 'counts', *words], capture_output=True)\n"
        "    print(done.returncode, done.stdout.decode().split(), done.stderr.decode()[:300])\n"
    )
    done = working.run("python3", "-Ic", script, user="alice", timeout=120, check=True)
    one, many = done.stdout.splitlines()[:2]
    assert one.startswith("0 ['131072']"), done.stdout
    assert many.startswith(f"0 ['{1024 * 1500}']"), done.stdout


# An account that goes away between the decision and the command.

@pytest.fixture
def leaver(working: Lab) -> Iterator[str]:
    """Somebody with a role, who will be deleted."""
    working.run("useradd", "--create-home", "--groups", "web", "--shell", "/bin/bash", "leaver", check=True)
    try:
        yield "leaver"
    finally:
        working.run("sh", "-c", "pkill -KILL -u leaver; userdel -rf leaver 2>/dev/null; true")


def test_a_caller_deleted_before_the_command_starts_gets_nothing(working: Lab, leaver: str) -> None:
    """Whoever no longer exists when the command would start is refused, at once, and that is on record."""
    journal = Journal.from_now(working)
    with stopped_before_it_runs(working, "as-told", "touch /run/it-ran", user=leaver) as command:
        journal.expect("command.allowed")
        working.run("userdel", "--force", leaver, check=False)
        assert working.run("id", leaver).returncode == 1
        go_on(working, "as-told", "touch")
        _, said = command.communicate(timeout=SOON)
        assert command.returncode == 1
        assert "jitsudo: " in said
        assert working.run("test", "-e", "/run/it-ran").returncode == 1
    until(lambda: journal.find("session.ended"), "the session has ended", SOON)


# Full-screen programs, looked at.

TMUX = ["tmux", "-L", "looking", "-f", "/dev/null"]


class Screen:
    """A terminal of 80 by 24 on the host whose screen can be looked at: tmux, outside of sudo."""

    def __init__(self, host: Lab) -> None:
        self._host = host
        shell = ["env", "-u", "TMUX", "PS1=ready> ", "bash", "--norc", "--noprofile", "-i"]
        self._tmux("new-session", "-d", "-x", "80", "-y", "24", *shell)
        self.waits_for("ready>")

    def _tmux(self, *words: str) -> str:
        return self._host.run(*TMUX, *words, user="alice", check=True).stdout

    def types(self, *keys: str) -> None:
        """Keys as tmux names them: Enter, Escape, C-c; anything else is text."""
        self._tmux("send-keys", *keys)

    def shows(self) -> str:
        return self._tmux("capture-pane", "-p")

    def waits_for(self, words: str) -> str:
        try:
            until(lambda: words in self.shows(), f"{words!r} on the screen", SOON)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.shows()}") from None
        return self.shows()

    def settings(self) -> str:
        """What stty says of the terminal now."""
        pane = self._tmux("display-message", "-p", "#{pane_tty} #{alternate_on} #{cursor_flag}").split()
        return self._host.run("stty", "-a", "-F", pane[0], check=True).stdout + " ".join(pane[1:])

    def end(self) -> None:
        self._host.run(*TMUX, "kill-server", user="alice")


@pytest.fixture
def screen(working: Lab) -> Iterator[Screen]:
    shown = Screen(working)
    try:
        yield shown
    finally:
        shown.end()


def test_vim(working: Lab, screen: Screen) -> None:
    """A file is opened, changed, saved; the screen and the terminal's settings come back as they were."""
    working.put("/srv/edited.conf", "first line\nsecond line\n")
    before = screen.settings()
    screen.types("sudo as-told vim.tiny /srv/edited.conf", "Enter")
    shown = screen.waits_for("second line")
    assert shown.splitlines()[0].startswith("first line")
    assert shown.splitlines()[5].startswith("~")
    screen.types("G", "o", "third line", "Escape", ":wq", "Enter")
    until(lambda: working.get("/srv/edited.conf") == "first line\nsecond line\nthird line\n", "the file is saved", SOON)
    until(lambda: screen.settings() == before, "the terminal is as it was", SOON)


def test_less(working: Lab, screen: Screen) -> None:
    """Pages, searches, quits; the shell's screen is back."""
    working.put("/srv/long.txt", "".join(f"line {n}\n" for n in range(1000)))
    before = screen.settings()
    screen.types("sudo as-told less /srv/long.txt", "Enter")
    assert screen.waits_for("line 22\n").splitlines()[0] == "line 0"
    screen.types("Space")
    screen.waits_for("line 45\n")
    screen.types("/line 700", "Enter")
    assert screen.waits_for("line 700").splitlines()[0] == "line 700"
    screen.types("q")
    screen.waits_for("ready>")
    until(lambda: screen.settings() == before, "the terminal is as it was", SOON)


def test_htop(screen: Screen) -> None:
    """Draws, reacts to keys, quits; the terminal comes back."""
    before = screen.settings()
    screen.types("sudo as-told htop", "Enter")
    screen.waits_for("F10Quit")
    screen.types("F5")
    screen.waits_for("F5List")
    screen.types("q")
    screen.waits_for("ready>")
    until(lambda: screen.settings() == before, "the terminal is as it was", SOON)


def test_tmux_inside(screen: Screen) -> None:
    """A whole tmux of root's in the session: its windows work, detaching ends sudo, and the server ends with the session."""
    before = screen.settings()
    screen.types("sudo as-told 'tmux -L inner -f /dev/null new-session sh'", "Enter")
    screen.waits_for("[0] 0:sh")
    screen.types("id -u; stty size", "Enter")
    shown = screen.waits_for("23 80")
    assert "\n0\n" in shown
    screen.types("exit", "Enter")
    screen.waits_for("[exited]")
    until(lambda: screen.settings() == before, "the terminal is as it was", SOON)


def test_a_full_screen_program_that_is_revoked_gives_the_screen_back(working: Lab, screen: Screen) -> None:
    """vim ends with the grant; its terminal is usable again, and says why."""
    grant = obtain(working, "borrowed")
    working.put("/srv/edited.conf", "first line\n")
    screen.types("sudo as-told-too vim.tiny /srv/edited.conf", "Enter")
    screen.waits_for("first line")
    working.run("jitsudo", "revoke", grant, "--reason", "the incident is over", check=True)
    screen.waits_for("the incident is over")
    until(lambda: gone(working, "^sudo as-told-too"), "sudo has given the terminal back", SOON)
    screen.types("echo still $((40+2))", "Enter")
    assert "~" not in screen.waits_for("still 42")  # vim's empty lines
    assert grants_of(working, "alice") == []


def test_the_daemon_restarts_under_a_running_program(working: Lab, screen: Screen) -> None:
    """less goes on while the daemon is replaced, and ends as usual."""
    working.put("/srv/long.txt", "".join(f"line {n}\n" for n in range(1000)))
    screen.types("sudo as-told less /srv/long.txt; echo ended=$?", "Enter")
    screen.waits_for("line 22\n")
    restart_daemon(working)
    screen.types("Space")
    screen.waits_for("line 45\n")
    screen.types("q")
    screen.waits_for("ended=0")
