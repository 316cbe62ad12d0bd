"""sudoedit by role: sudo's own, and checked by the root helper."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pexpect
import pytest
from acts import END, LEDGER, Journal, assert_refused, extra_policy, gone, held, sudo, until
from lab import UNTIL, Lab

FOLDER = "/srv/edits"
POLICY = f"""
version: 1
roles:
  edits:
    description: Edit, some of it with a check
    who: ["user:alice"]
    request: none
    until: {UNTIL}
    authenticate: never
    allow:
      - edit: [{{path: {{under: {FOLDER}/plain}}}}]
      - edit: [{{path: {{under: {FOLDER}/checked}}}}]
        check: [/usr/local/bin/edit-check, "{{}}"]
      - edit: [{{path: {{under: /etc/sudoers.d}}}}]
        check: [visudo, -c, -f, "{{}}"]
      - edit: [{{path: {{under: /etc/ssh/sshd_config.d}}}}]
        check: [sshd, -t]
      - {{command: /usr/local/bin/edit-write, operands: [{{path: {{under: {FOLDER}}}}}]}}
"""
# Writes what /srv/edits/text says into each file it is given, and tells who it is.
WRITE = """#!/bin/sh
id -un >/tmp/edit-editor; id -G >>/tmp/edit-editor; echo "$0 $*" >>/tmp/edit-editor; env | sort >>/tmp/edit-editor
for file; do cat /srv/edits/text >"$file"; done
"""
CHECK = """#!/bin/sh
grep bad "$1" && exit 3
touch /srv/edits/planted /etc/planted /run/planted; ls /run/systemd/private && exit 4
exit 0
"""
# An editor that asks for a line.
ASK = """#!/bin/bash
read -r -p "LINE? " line && printf '%s\\n' "$line" >"$1"
"""

LAST_EDIT = """
import sqlite3, sys
ledger = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(ledger.execute("select body from events where type = 'edit.installed' order by seq desc").fetchone()[0])
"""


@pytest.fixture
def desk(clean: Lab) -> Iterator[Lab]:
    """A host with the role, files and editors."""
    for name, text in {"edit-write": WRITE, "edit-check": CHECK, "edit-ask": ASK}.items():
        clean.put(f"/usr/local/bin/{name}", text, mode=0o755)
    clean.put(f"{FOLDER}/plain/f", "old\n")
    clean.put(f"{FOLDER}/checked/f", "old\n", mode=0o640, owner="root:web")
    clean.run("mkdir", "-p", "/srv/open", check=True)
    clean.run("chown", "alice", "/srv/open", check=True)
    with extra_policy(clean, POLICY):
        yield clean
    clean.run("rm", "-rf", FOLDER, "/srv/open", "/etc/sudoers.d/test-edit", "/etc/ssh/sshd_config.d/test.conf", check=True)


def edit(host: Lab, text: str, *files: str, editor: str = "edit-write") -> subprocess.CompletedProcess[str]:
    host.put(f"{FOLDER}/text", text)
    return host.run("env", f"EDITOR={editor}", "sudoedit", *files, user="alice")


def left_behind(host: Lab) -> str:
    return host.run("sh", "-c", f"ls -d /var/tmp/*edit* {FOLDER}/*/.j* {FOLDER}/planted /etc/planted /run/planted").stdout


def test_sudos_own_edit(desk: Lab) -> None:
    """The editor is the person's process, with their environment; the file becomes root's text."""
    done = edit(desk, "new\n", f"{FOLDER}/plain/f")
    assert done.returncode == 0, done.stderr
    assert desk.get(f"{FOLDER}/plain/f") == "new\n"
    told = desk.get("/tmp/edit-editor")
    assert told.startswith("alice\n")
    assert "HOME=/home/alice" in told
    assert "SUDO_" not in told


def test_a_file_that_no_rule_names_is_not_edited(desk: Lab) -> None:
    """Nor one of several, nor one by a link, nor by an allowed command of the editor's name."""
    desk.run("ln", "-sf", "/etc/shadow", f"{FOLDER}/plain/link", check=True)
    for files in (
        ["/etc/shadow"], [f"{FOLDER}/plain/f", "/etc/shadow"], [f"{FOLDER}/plain/../../../etc/shadow"],
        [f"{FOLDER}/plain/link"], ["/srv/open/new"], [],
    ):  # fmt: skip
        done = edit(desk, "new\n", *files)
        assert done.returncode == 1
    assert "new\n" not in desk.get("/etc/shadow")
    assert_refused(sudo(desk, "sudoedit", f"{FOLDER}/plain/f"), "sudoedit doesn't need to be run via sudo")


@pytest.mark.parametrize("words", ["-- /etc/shadow", "'--' /etc/shadow", "\\-\\- /etc/shadow"])
def test_an_editor_adds_no_file(desk: Lab, words: str) -> None:
    """CVE-2023-22809."""
    done = edit(desk, "new\n", f"{FOLDER}/plain/f", editor=f"edit-write {words}")
    assert_refused(done, 'editor arguments may not contain "--"')
    assert desk.get(f"{FOLDER}/plain/f") == "old\n"


def test_a_command_rule_for_an_editor_is_no_edit(desk: Lab) -> None:
    """sudoedit asks for an edit rule, a command for a command rule: neither stands in for the other."""
    desk.put(f"{FOLDER}/elsewhere", "old\n")
    assert edit(desk, "new\n", f"{FOLDER}/elsewhere").returncode == 1
    assert_refused(sudo(desk, "vi", f"{FOLDER}/plain/f"), "covers")
    assert desk.get(f"{FOLDER}/elsewhere") == "old\n"


def test_a_checked_edit_is_installed_and_on_record(desk: Lab) -> None:
    """Owner and mode stay; the editor was the person; what the check did is gone; the ledger has the diff."""
    journal = Journal.from_now(desk)
    path = f"{FOLDER}/checked/f"
    done = edit(desk, "new\n", path)
    assert done.returncode == 0, done.stderr
    assert desk.run("stat", "-c", "%U:%G %a", path).stdout == "root:web 640\n"
    assert desk.get(path) == "new\n"
    told = desk.get("/tmp/edit-editor").splitlines()
    assert told[0] == "alice"
    assert told[1] == desk.run("id", "-G", user="alice").stdout.strip()
    assert told[2].endswith("/f")
    assert "HOME=/home/alice" in told
    assert not any(line.startswith(("SUDO_", "LD_")) for line in told)
    assert left_behind(desk) == ""
    event = journal.expect("edit.installed", path=path, user="alice")
    body = json.loads(desk.run("python3", "-I", "-c", LAST_EDIT, LEDGER, check=True).stdout)
    assert body["diff"] == f"--- a{path}\n+++ b{path}\n@@ -1,2 +1,2 @@\n-old\n+new\n \n"
    assert body["sha256"] == event["JITSUDO_SHA256"]


def test_what_does_not_pass_is_not_installed(desk: Lab) -> None:
    """Without a terminal that is the end; the check's words are shown."""
    path = f"{FOLDER}/checked/f"
    done = edit(desk, "bad\n", path)
    assert done.returncode == 1
    assert "does not pass" in done.stderr
    assert "exit status 3" in done.stderr
    assert desk.get(path) == "old\n"
    assert left_behind(desk) == ""
    done = edit(desk, "bad\n", f"{FOLDER}/checked/new")
    assert done.returncode == 1
    assert desk.run("test", "-e", f"{FOLDER}/checked/new").returncode == 1


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("/etc/sudoers.d/test-edit", "nonsense here", "bob ALL=(ALL) /usr/bin/true"),
        ("/etc/ssh/sshd_config.d/test.conf", "Nonsense yes", "X11Forwarding no"),
    ],
)
def test_real_checks_of_new_files(desk: Lab, path: str, wrong: str, right: str) -> None:
    """visudo -c and sshd -t: the first try does not pass, the second does, on the person's terminal."""
    terminal = desk.spawn("alice", *held("env", "EDITOR=edit-ask", "sudoedit", path))
    terminal.expect_exact("LINE? ")
    terminal.sendline(wrong)
    terminal.expect_exact("does not pass")
    terminal.expect_exact("What now?")
    assert desk.run("test", "-e", path).returncode == 1
    terminal.sendline("e")
    terminal.expect_exact("LINE? ")
    terminal.sendline(right)
    terminal.expect_exact("installed")
    terminal.expect_exact(END)
    terminal.sendline("")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert desk.get(path) == f"{right}\n"


@pytest.mark.parametrize("folder", ["plain", "checked"])
def test_an_editor_can_be_stopped_and_gone_on_with(desk: Lab, folder: str) -> None:
    """^Z in vi, fg, a change of the window's size, ^C: the terminal is the shell's, the editor's, the shell's."""
    path = f"{FOLDER}/{folder}/f"
    terminal = desk.spawn("alice", "bash", "--norc", "-i")
    terminal.expect_exact("$ ")
    terminal.sendline("PS1='ready> '; EDITOR=vi sudoedit " + path)
    terminal.expect_exact("\x1b[1;1H")
    terminal.expect("~.*~")
    terminal.send("\x1a")
    terminal.expect_exact("Stopped")
    terminal.expect_exact("ready> ")
    terminal.setwinsize(40, 100)
    terminal.sendline("fg")
    terminal.expect_exact("\x1b[39;1H")
    terminal.send("\x03")
    terminal.expect_exact("Type  :qa")
    terminal.send("\x1bccnew text\x1b:wq\r")
    terminal.expect_exact("ready> ")
    terminal.sendline("echo status $?; stty -a")
    terminal.expect_exact("status 0")
    terminal.expect_exact(" icanon")
    terminal.sendline("exit")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert desk.get(path) == "new text\n"


def test_somebody_elses_change_stays(desk: Lab) -> None:
    """And the person's work is kept for them."""
    path = f"{FOLDER}/checked/f"
    terminal = desk.spawn("alice", *held("env", "EDITOR=edit-ask", "sudoedit", path))
    terminal.expect_exact("LINE? ")
    desk.put(path, "theirs\n")
    terminal.sendline("mine")
    terminal.expect_exact("kept in:")
    terminal.expect_exact("changed by somebody else")
    terminal.expect_exact(END)
    terminal.sendline("")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1
    assert desk.get(path) == "theirs\n"
    assert desk.run("sh", "-c", "cat /var/tmp/sudoedit-*/f; rm -r /var/tmp/sudoedit-*", user="alice").stdout == "mine\n"


def test_a_revoked_session_ends_the_edit(desk: Lab) -> None:
    """The helper, the editor and all: nothing is installed afterwards."""
    path = f"{FOLDER}/checked/f"
    terminal = desk.spawn("alice", "env", "EDITOR=edit-ask", "sudoedit", path)
    terminal.expect_exact("LINE? ")
    grants = json.loads(desk.run("jitsudo", "status", "--json", user="alice", check=True).stdout)["grants"]
    grant = next(g["id"] for g in grants if g["sessions"])
    desk.run("jitsudo", "revoke", grant, "--reason", "enough", check=True)
    until(lambda: gone(desk, "[j]itsudo-edit"), "the helper is gone")
    terminal.close(force=True)
    assert desk.get(path) == "old\n"
    desk.run("sh", "-c", "rm -rf /var/tmp/sudoedit-*", check=True)


def test_only_the_helper_of_an_edit_may_say_what_it_installed(desk: Lab) -> None:
    """Root elsewhere is refused, and so the helper on its own installs nothing."""
    plan = {"editor": "/usr/local/bin/edit-write", "argv": ["x"], "files": [f"{FOLDER}/checked/f"], "check": ["true"]}
    desk.put(f"{FOLDER}/text", "new\n")
    uid = desk.run("id", "-u", "alice").stdout.strip()
    done = desk.run("env", f"SUDO_UID={uid}", "/usr/libexec/jitsudo/jitsudo-edit", json.dumps(plan))
    assert done.returncode == 1
    assert "only the helper of a checked edit" in done.stderr
    assert desk.get(f"{FOLDER}/checked/f") == "old\n"
    desk.run("sh", "-c", "rm -rf /var/tmp/sudoedit-*", check=True)
