"""`jitsudo policy edit` and `reload` on a host: what is invalid never comes into force, by whatever way."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest
from acts import PATIENCE
from lab import Lab

FOLDER = "/etc/jitsudo/policy.d"
CORPUS = Path(__file__).resolve().parents[1] / "data" / "policies"
BAD = sorted([*(CORPUS / "bad").glob("*.yaml"), *(CORPUS / "beyond").glob("*.yaml")])
ODD = {
    "a link": f"ln -s web.yaml {FOLDER}/zz.yaml",
    "a folder": f"mkdir {FOLDER}/zz.yaml",
    "a pipe": f"mkfifo {FOLDER}/zz.yaml",
    "an endless device": f"mknod {FOLDER}/zz.yaml c 1 5",
    "a file of alice's": f"echo 'version: 1' >{FOLDER}/zz.yaml; chown alice {FOLDER}/zz.yaml",
    "a file that all can write": f"echo 'version: 1' >{FOLDER}/zz.yaml; chmod 666 {FOLDER}/zz.yaml",
    "a huge file": f"(echo 'version: 1'; head -c 1100000 /dev/zero | tr '\\0' '#') >{FOLDER}/zz.yaml",
}


def in_force(host: Lab) -> str:
    return host.run("jitsudo", "policy", "reload", check=True).stdout


@pytest.mark.parametrize("command", ODD.values(), ids=ODD.keys())
def test_what_is_no_file_of_roots_is_one_error_and_changes_nothing(clean: Lab, command: str) -> None:
    """At once, and the policy in force stays."""
    before = in_force(clean)
    try:
        clean.run("sh", "-c", command, check=True)
        done = clean.run("jitsudo", "policy", "reload", timeout=PATIENCE)
        assert (done.returncode, done.stdout) == (6, "")
        assert done.stderr.count("zz.yaml:1:1: ") == 1
    finally:
        clean.run("rm", "-rf", f"{FOLDER}/zz.yaml", check=True)
    assert in_force(clean) == before


def test_no_bad_file_comes_into_force(clean: Lab) -> None:
    """Each of the corpus, beside a good one."""
    before = in_force(clean)
    accepted = []
    for path in BAD:
        clean.put(f"{FOLDER}/zz.yaml", path.read_bytes())
        if clean.run("jitsudo", "policy", "reload").returncode != 6:
            accepted.append(path.name)
    clean.run("rm", f"{FOLDER}/zz.yaml", check=True)
    assert accepted == []
    assert len(BAD) > 50
    assert in_force(clean) == before


def test_editing_asks_what_now_and_loads_what_is_valid(clean: Lab) -> None:
    """As visudo does, on a terminal; an invalid file is refused even to Q."""
    clean.put("/tmp/editor", '#!/bin/sh\nprintf "%s\\n" "$LINE" >>"$1"\n', mode=0o755)
    before = clean.get(f"{FOLDER}/web.yaml")
    editor = ("env", "SUDO_EDITOR=/tmp/editor")
    child = clean.spawn(None, *editor, "LINE=bogus: 1", "jitsudo", "policy", "edit", "web")
    child.expect("unknown key 'bogus'")
    child.expect(r"What now\? ")
    child.sendline("Q")
    child.expect("an invalid policy is never installed")
    child.expect(r"What now\? ")
    child.sendline("x")
    child.expect("web.yaml is unchanged")
    child.expect(pexpect.EOF)
    assert clean.get(f"{FOLDER}/web.yaml") == before
    try:
        done = clean.run(*editor, "LINE=# edited", "jitsudo", "policy", "edit", "web")
        assert (done.returncode, "in force: sha256:" in done.stdout) == (0, True)
        assert clean.get(f"{FOLDER}/web.yaml") == before + "# edited\n"
    finally:
        clean.put(f"{FOLDER}/web.yaml", before)
        in_force(clean)


def test_people_cannot_edit(clean: Lab) -> None:
    """The folder is root's; nothing is left behind."""
    done = clean.run("env", "EDITOR=true", "jitsudo", "policy", "edit", "web", user="alice")
    assert done.returncode == 1
    assert "edit the policy as root" in done.stderr
