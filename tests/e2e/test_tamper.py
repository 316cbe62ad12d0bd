"""What was altered behind the daemon's back is refused and named: grants, ledger rows, roles, accounts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from acts import LEDGER, PATIENCE, Journal, approve, ask, assert_refused, extra_policy, gone, grants_of, obtain, sudo, until
from lab import Lab

UNIT = "jitsudod.service"  # its sockets stay: systemd limits how often they are started

# Alters the last grant, and makes the chain fit again from there on: what root with an editor can do.
FORGE = """
import re, sqlite3, sys
from jitsudo.crypto import HostKey
from jitsudo.grants.envelope import Envelope, Namespace, decode_envelope
from jitsudo.grants.model import grant_id
from jitsudo.host.ledger import GENESIS, Entry, Row
path, how = sys.argv[1:]
db = sqlite3.connect(path)
db.executescript("DROP TRIGGER no_update; DROP TRIGGER no_delete;")
rows = [Row(*values) for values in db.execute("SELECT * FROM events ORDER BY seq")]
last = max(row.seq for row in rows if row.type == "grant.issued")
prev = GENESIS
for row in rows:
    body = row.content()
    if row.seq == last:
        sealed = decode_envelope(body["envelope"].encode(), 65536)
        payload, signatures = sealed.payload, sealed.signatures
        if how in ("longer", "longer, signed anew"):
            longer = lambda match: match[1] + str(int(match[2]) + 60).encode()
            payload = re.sub(rb'("not_after":)([0-9]+)', longer, payload)
        if how in ("signed by another key", "longer, signed anew"):
            signatures = (HostKey.generate().signature(Namespace.GRANT, payload),)
        if how == "signed as something else":
            key = HostKey.from_openssh_private(open("/var/lib/jitsudo/host_key", "rb").read())
            signatures = (key.signature(Namespace.APPROVAL, payload),)
        body |= {"envelope": Envelope(payload, signatures).encode().decode(), "grant": grant_id(payload)}
    row = Row.after(prev, row.seq, row.time, row.boot, Entry(row.type, body))
    prev = row.hash
    values = (row.body, row.prev, row.hash, row.seq)
    db.execute("UPDATE events SET body = ?, prev = ?, hash = ? WHERE seq = ?", values)
db.commit()
"""

ALTER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript("DROP TRIGGER no_update; DROP TRIGGER no_delete;")
db.executescript(sys.argv[2])
"""


@pytest.fixture
def fresh(clean: Lab) -> Iterator[Lab]:
    """A ledger of the test's own; the damaged ones are gone afterwards."""
    yield clean
    clean.run("systemctl", "stop", UNIT, check=True)
    clean.run("sh", "-c", f"rm -f {LEDGER}*", check=True)
    clean.run("systemctl", "start", UNIT, check=True)


def behind_its_back(host: Lab, script: str, *arguments: str) -> None:
    """Do something to the ledger while the daemon is down."""
    host.run("systemctl", "stop", UNIT, check=True)
    try:
        host.run("python3", "-I", "-c", script, LEDGER, *arguments, check=True)
    finally:
        host.run("systemctl", "start", UNIT, check=True)


@pytest.mark.parametrize("how", ["longer", "longer, signed anew", "signed by another key", "signed as something else"])
def test_a_forged_grant_is_refused_at_its_step_and_named(fresh: Lab, how: str) -> None:
    """In a chain that fits again, a grant that this host did not sign exactly so still allows nothing."""
    obtain(fresh)
    assert sudo(fresh, "systemctl", "restart", "nginx.service").returncode == 0
    journal = Journal.from_now(fresh)
    behind_its_back(fresh, FORGE, how)
    # Grants of other tests, whose roles are gone, are refused as well, at a later step.
    steps = ("step-2", "step-3")
    found = until(lambda: [e for e in journal.find("document.refused") if e["JITSUDO_CODE"] in steps], "the refusal")
    (refused,) = found
    assert_refused(sudo(fresh, "systemctl", "restart", "nginx.service"), "alice holds no grant")
    assert refused["JITSUDO_GRANT_ID"] in fresh.run("jitsudo", "status").stdout
    assert not journal.find("ledger.quarantined")


DAMAGE = {
    "a row altered": "UPDATE events SET body = replace(body, 'alice', 'mallory') WHERE type = 'request.created'",
    "a row taken out": "DELETE FROM events WHERE type = 'grant.issued'",
    "a time altered": "UPDATE events SET time = time + 1 WHERE seq = 3",
    "the last rows taken away": "DELETE FROM events WHERE seq > (SELECT max(seq) - 3 FROM events)",
    "two rows exchanged": (
        "UPDATE events SET seq = -1 WHERE seq = 2; UPDATE events SET seq = 2 WHERE seq = 3;"
        "UPDATE events SET seq = 3 WHERE seq = -1"
    ),
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_ledger_is_put_aside_and_named(fresh: Lab, statement: str) -> None:
    """The chain breaks: the file is kept for inspection, every grant is gone, root and new requests go on."""
    obtain(fresh)
    journal = Journal.from_now(fresh)
    behind_its_back(fresh, ALTER, statement)
    assert "row" in journal.expect("ledger.quarantined")["JITSUDO_REASON"]
    assert fresh.run("sh", "-c", f"ls {LEDGER}.damaged-*").returncode == 0
    assert grants_of(fresh, "alice") == []
    assert_refused(sudo(fresh, "systemctl", "restart", "nginx.service"), "alice holds no grant")
    assert sudo(fresh, "-u", "postgres", "true", user=None).returncode == 0
    obtain(fresh)
    assert sudo(fresh, "systemctl", "restart", "nginx.service").returncode == 0


def test_what_ran_under_a_lost_ledger_is_ended(fresh: Lab) -> None:
    """A session that no ledger knows could not be revoked any more: it does not outlive the ledger."""
    obtain(fresh)
    journal = Journal.from_now(fresh)
    command = fresh.start("sudo", "longjob", user="alice")
    try:
        until(lambda: not gone(fresh, "^sleep 91003$"), "the command runs")
        behind_its_back(fresh, ALTER, "DELETE FROM events WHERE type = 'grant.issued'")
        until(lambda: gone(fresh, "^sleep 9100[123]$"), "the command is ended")
        assert "does not know" in journal.expect("session.killed")["JITSUDO_REASON"]
    finally:
        command.terminate()
        fresh.run("pkill", "-f", "^sleep 9100[123]$")
        command.communicate(timeout=PATIENCE)


def test_garbage_in_place_of_the_ledger(fresh: Lab) -> None:
    """Not a database at all: put aside, named, started anew."""
    obtain(fresh, "true-only")
    journal = Journal.from_now(fresh)
    behind_its_back(fresh, "import sys; open(sys.argv[1], 'wb').write(b'garbage' * 1000)")
    journal.expect("ledger.quarantined")
    assert_refused(sudo(fresh, "true"), "alice holds no grant")
    obtain(fresh, "true-only")


ROLE = """version: 1
roles:
  changing:
    description: {description}
    who: ["group:web"]
    authenticate: never
    request: {{max_duration: 1h, approvals: 0}}
    allow: {allow}
"""
NARROW = "[{command: /usr/bin/true}]"
WIDE = "[{command: /usr/bin/true}, {command: /usr/bin/id}]"


@pytest.mark.parametrize(("before", "after"), [(NARROW, WIDE), (WIDE, NARROW)], ids=["widened", "narrowed"])
def test_a_role_that_changed_needs_a_new_request(clean: Lab, before: str, after: str) -> None:
    """Either way the grant is refused at step 7, and named; another description changes nothing."""
    with extra_policy(clean, ROLE.format(description="one", allow=before)) as put:
        grant = obtain(clean, "changing")
        put(ROLE.format(description="another", allow=before))
        assert sudo(clean, "true").returncode == 0
        put(ROLE.format(description="another", allow=after))
        assert_refused(sudo(clean, "true"), "alice holds no grant")
        said = ("journalctl", "-q", "-u", "jitsudod.service", "-n", "30", "-o", "cat")
        until(lambda: "step 7" in clean.run(*said).stdout, "the log says at which step")
        assert f"{grant}  role changing for alice, refused: " in clean.run("jitsudo", "status").stdout
        obtain(clean, "changing")
        assert sudo(clean, "true").returncode == 0


def test_a_role_that_changed_before_the_approval_gives_no_grant(clean: Lab) -> None:
    """What bob approves is what alice asked for, or nothing."""
    text = ROLE.replace("approvals: 0", 'approvals: 1, from: ["team:web-leads"]')
    with extra_policy(clean, text.format(description="one", allow=NARROW)) as put:
        request = ask(clean, "changing")["id"]
        put(text.format(description="one", allow=WIDE))
        assert approve(clean, request).returncode != 0
        assert grants_of(clean, "alice") == []
        assert_refused(sudo(clean, "id"), "alice holds no grant")


def test_a_role_that_is_taken_away(clean: Lab) -> None:
    """Its grants allow nothing any more."""
    with extra_policy(clean, ROLE.format(description="one", allow=WIDE)) as put:
        obtain(clean, "changing")
        assert sudo(clean, "id").returncode == 0
        put("version: 1\n")
        assert_refused(sudo(clean, "id"), "alice holds no grant")


def test_leaving_the_group_ends_what_the_role_gave(clean: Lab) -> None:
    """Membership counts at use: out of the group, the grant is refused; back in, it holds again."""
    obtain(clean, "true-only")
    clean.run("gpasswd", "-d", "alice", "web", check=True)
    try:
        assert sudo(clean, "true").returncode == 1
    finally:
        clean.run("gpasswd", "-a", "alice", "web", check=True)
    assert sudo(clean, "true").returncode == 0


@pytest.mark.parametrize(
    "change",
    ["userdel dave; useradd -M -d / -u 4002 -G web dave", "usermod -l erin dave; useradd -M -d / -u 4003 -g web dave"],
    ids=["made anew with another uid", "renamed, and the name taken by another"],
)
def test_a_grant_is_its_persons_and_not_their_names(clean: Lab, change: str) -> None:
    """Neither the new dave nor the old account under another name may use dave's grant."""
    clean.run("useradd", "-M", "-d", "/", "-u", "4001", "-G", "web", "dave", check=True)
    try:
        obtain(clean, "true-only", user="dave")
        assert sudo(clean, "true", user="dave").returncode == 0
        clean.run("sh", "-c", f"while pkill -KILL -u 4001; do sleep 0.1; done; {change}", check=True)
        assert_refused(sudo(clean, "true", user="dave"), "dave holds no grant")
        if "erin" in change:
            assert_refused(sudo(clean, "true", user="erin"), "erin holds no grant")
    finally:
        clean.run("sh", "-c", "for u in dave erin; do pkill -KILL -u $u; userdel -f $u; done")
