"""Asking, approving, denying: who may, who may not, and what the journal says of each."""

from __future__ import annotations

import json
import re

import pexpect
import pytest
from acts import PATIENCE, REASON, Journal, approve, ask, assert_refused, grants_of, obtain, request_of, sudo, until
from lab import Lab
from timing import timed

RESTART = ["systemctl", "restart", "nginx.service"]


def uid(host: Lab, user: str) -> str:
    return host.run("id", "-u", user, check=True).stdout.strip()


def test_a_refusal_names_the_request_that_helps_and_it_does(clean: Lab) -> None:
    """alice is refused, runs the line that she is told, bob approves, and the same command runs as root."""
    journal = Journal.from_now(clean)
    refused = sudo(clean, *RESTART)
    assert_refused(refused, "alice holds no grant on this host")
    denied = journal.expect("command.denied", user="alice")
    assert denied["JITSUDO_CODE"] == "no-grant"
    assert denied["JITSUDO_DECISION"] == "deny"
    assert denied["JITSUDO_COMMAND"] == "/usr/bin/systemctl"
    assert json.loads(denied["JITSUDO_ARGV_JSON"]) == RESTART
    assert denied["JITSUDO_UID"] == denied["JITSUDO_LOGIN_UID"] == uid(clean, "alice")
    assert (denied["JITSUDO_CWD"], denied["JITSUDO_RUNAS_USER"]) == ("/home/alice", "root")
    assert denied["SYSLOG_FACILITY"] == "10"

    line = next(line for line in refused.stderr.splitlines() if line.startswith("jitsudo request "))
    assert line.startswith("jitsudo request web-operator --for 30m --reason '…'")
    asked = clean.run("sh", "-c", line.replace("…", REASON).partition("    (")[0], user="alice", check=True)
    request = asked.stdout.strip()
    created = journal.expect("request.created", request_id=request)
    assert (created["JITSUDO_ROLE"], created["JITSUDO_REASON"]) == ("web-operator", REASON)

    assert_refused(sudo(clean, *RESTART), f"{request} for role web-operator is waiting for approval")
    approved = approve(clean, request)
    assert approved.returncode == 0, approved.stderr
    assert REASON in approved.stdout
    assert "systemctl {restart|reload|status} nginx.service" in approved.stdout
    grant = request_of(clean, request)["grant"]
    assert journal.expect("authentication.succeeded", user="bob")["JITSUDO_REQUEST_ID"] == request
    assert journal.expect("approval.given", user="bob")["JITSUDO_REQUEST_ID"] == request
    issued = journal.expect("grant.issued", grant_id=grant)
    assert (issued["JITSUDO_USER"], json.loads(issued["JITSUDO_APPROVERS"])) == ("alice", ["bob"])

    before = clean.run("systemctl", "show", "-P", "MainPID", "nginx.service").stdout
    done = sudo(clean, *RESTART)
    assert (done.returncode, done.stderr) == (0, "")
    assert clean.run("systemctl", "show", "-P", "MainPID", "nginx.service").stdout != before
    allowed = journal.expect("command.allowed", user="alice")
    assert (allowed["JITSUDO_GRANT_ID"], allowed["JITSUDO_ROLE"]) == (grant, "web-operator")
    assert allowed["JITSUDO_RULE"].startswith("web.yaml:")
    session = allowed["JITSUDO_SESSION_ID"]
    journal.expect("session.started", session_id=session)
    assert journal.expect("session.ended", session_id=session)["JITSUDO_EXIT_STATUS"] == "0"


def test_mallory_cannot_approve(clean: Lab) -> None:
    """Nobody asks mallory for a password, and the try is on record."""
    journal = Journal.from_now(clean)
    request = ask(clean, "web-operator")["id"]
    done = approve(clean, request, by="mallory")
    assert done.returncode == 3
    assert "mallory cannot approve this" in done.stderr
    assert journal.expect("approval.refused", user="mallory")["JITSUDO_REQUEST_ID"] == request
    assert not journal.find("authentication.succeeded")
    assert request_of(clean, request)["state"] == "requested"


def test_an_approver_cannot_approve_their_own_request(clean: Lab) -> None:
    """bob may approve the role, but not what bob asked for; carol then may."""
    journal = Journal.from_now(clean)
    request = ask(clean, "web-operator", user="bob")["id"]
    done = approve(clean, request)
    assert done.returncode == 3
    assert "never approved by the person who made them" in done.stderr
    assert journal.expect("approval.refused", user="bob")["JITSUDO_CODE"] == "not-approver"
    assert approve(clean, request, by="carol").returncode == 0


@pytest.mark.parametrize("command", ["su", "su -", "setpriv"])
def test_another_persons_account_does_not_make_another_person(clean: Lab, command: str) -> None:
    """alice knows bob's password: from her login, bob's uid still is alice's login uid."""
    journal = Journal.from_now(clean)
    request = ask(clean, "web-operator")["id"]
    approving = f"echo bob | jitsudo approve -S {request}"
    if command == "setpriv":
        script = (
            f"echo {uid(clean, 'alice')} >/proc/self/loginuid; "
            f"exec setpriv --reuid=bob --regid=bob --init-groups sh -c '{approving}'"
        )
        done = clean.run("sh", "-c", script)
        output, status = done.stdout + done.stderr, done.returncode
    else:
        with clean.spawn("alice", *command.split(), "bob", "-c", approving) as su:
            su.expect("Password: ")
            su.sendline("bob")
            su.expect(pexpect.EOF)
            output = su.before
        status = su.exitstatus
    assert status == 3, output
    assert "the person who logged in is somebody else" in output
    refused = journal.expect("approval.refused", user="bob")
    assert (refused["JITSUDO_UID"], refused["JITSUDO_LOGIN_UID"]) == (uid(clean, "bob"), uid(clean, "alice"))
    assert request_of(clean, request)["state"] == "requested"


def test_root_cannot_ask_or_approve(clean: Lab) -> None:
    """uid 0 may revoke, deny and reload, but neither ask nor approve; nor may root become bob for that."""
    assert clean.run("jitsudo", "request", "web-operator", "--reason", REASON).returncode == 3
    request = ask(clean, "web-operator")["id"]
    assert approve(clean, request, by="root").returncode == 3
    as_bob = ["setpriv", "--reuid=bob", "--regid=bob", "--init-groups", "jitsudo", "approve", "-S", request]
    done = clean.run(*as_bob, input="bob\n")
    assert done.returncode == 3
    assert "it is not known who logged in" in done.stderr


def test_a_wrong_password_does_not_approve(clean: Lab) -> None:
    """Exit status 3, on record, and the request stays open for the right one."""
    journal = Journal.from_now(clean)
    request = ask(clean, "web-operator")["id"]
    done = approve(clean, request, password="Bob")
    assert done.returncode == 3
    assert "approved" not in done.stdout.replace("approved 0 of 1", "")
    assert journal.expect("authentication.failed", user="bob")["JITSUDO_REQUEST_ID"] == request
    assert not journal.find("approval.given")
    assert approve(clean, request).returncode == 0


def test_an_approver_is_asked_on_their_terminal(clean: Lab) -> None:
    """Without -S the password is asked for on the terminal, and not echoed."""
    request = ask(clean, "web-operator")["id"]
    with clean.spawn("bob", "jitsudo", "approve", request) as approving:
        approving.expect("Password: ")
        approving.sendline("bob")
        approving.expect(r"approved: alice has grant (G-\w{8})")
        approving.expect(pexpect.EOF)
    assert approving.exitstatus == 0


def test_a_narrowed_approval_shortens_the_grant(clean: Lab) -> None:
    """bob gives less time than alice asked for."""
    request = ask(clean, "web-operator", duration="2h")["id"]
    done = clean.run("jitsudo", "approve", "-S", "--for", "5m", request, user="bob", input="bob\n")
    assert done.returncode == 0, done.stderr
    (grant,) = grants_of(clean, "alice")
    assert grant["not_after"] - grant["not_before"] == 300


def test_waiting_ends_when_somebody_approves(clean: Lab) -> None:
    """`request --wait` returns 0 once bob, in another login, has approved; the grant works at once."""
    line = ["jitsudo", "request", "web-operator", "--reason", REASON, "--wait"]
    waiting = clean.start(*line, user="alice")
    try:
        (request,) = until(lambda: json.loads(clean.run("jitsudo", "status", "--json").stdout)["requests"], "a request")
        assert waiting.poll() is None
        assert approve(clean, request["id"]).returncode == 0
        out, err = waiting.communicate(timeout=PATIENCE)
    finally:
        waiting.terminate()
    assert waiting.returncode == 0, err
    assert re.search(r"granted: G-\w{8} for 30m", out)
    assert sudo(clean, *RESTART).returncode == 0


def test_waiting_ends_when_somebody_denies(clean: Lab) -> None:
    """`request --wait` returns 3 with the reason."""
    waiting = clean.start("jitsudo", "request", "web-operator", "--reason", REASON, "--wait", user="alice")
    try:
        (request,) = until(lambda: json.loads(clean.run("jitsudo", "status", "--json").stdout)["requests"], "a request")
        clean.run("jitsudo", "deny", request["id"], "--reason", "not today", user="bob", check=True)
        _, err = waiting.communicate(timeout=PATIENCE)
    finally:
        waiting.terminate()
    assert waiting.returncode == 3
    assert "not today" in err


def test_waiting_in_vain_is_4(clean: Lab) -> None:
    """`--timeout 1s` gives up, exit status 4; the request stays open."""
    line = ["jitsudo", "request", "web-operator", "--reason", REASON, "--wait", "--timeout", "1s"]
    done, seconds = timed(clean, *line, user="alice")
    assert done.returncode == 4, done.stderr
    assert 1 <= seconds < PATIENCE
    assert "was not decided within 1s" in done.stderr
    assert len(json.loads(clean.run("jitsudo", "status", "--json", user="alice").stdout)["requests"]) == 1


def test_deny_and_cancel_are_final(clean: Lab) -> None:
    """What bob denied or alice cancelled cannot be approved any more; each is on record with who and why."""
    journal = Journal.from_now(clean)
    denied, cancelled = (ask(clean, "web-operator")["id"] for _ in range(2))
    assert clean.run("jitsudo", "deny", denied, "--reason", "no", user="mallory").returncode == 3
    clean.run("jitsudo", "deny", denied, "--reason", "no window today", user="bob", check=True)
    assert clean.run("jitsudo", "cancel", cancelled, user="bob").returncode != 0
    clean.run("jitsudo", "cancel", cancelled, user="alice", check=True)
    event = journal.expect("request.denied", request_id=denied)
    assert (event["JITSUDO_BY"], event["JITSUDO_REASON"]) == ("bob", "no window today")
    assert journal.expect("request.cancelled", request_id=cancelled)["JITSUDO_BY"] == "alice"
    for request in (denied, cancelled):
        assert approve(clean, request).returncode == 1
    assert grants_of(clean, "alice") == []


def test_again_repeats_the_last_request(clean: Lab) -> None:
    """Role, duration and reason as before; a request of its own."""
    first = ask(clean, "web-operator", duration="42m")
    clean.run("jitsudo", "cancel", first["id"], user="alice", check=True)
    second = json.loads(clean.run("jitsudo", "again", "--json", user="alice", check=True).stdout)["request"]
    assert second["id"] != first["id"]
    assert [second[key] for key in ("role", "duration", "reason")] == ["web-operator", 42 * 60, REASON]


BAD_REQUESTS: list[tuple[list[str], int, str]] = [
    (["web-operator", "--reason", "INC-4711 a\nINC-4712 b"], 2, "must be one line"),
    (["web-operator", "--reason", "INC-4711 \x1b[31mred"], 2, "control characters"),
    (["web-operator", "--reason", "INC-4711 \u202egnp.exe"], 2, "text-direction marks"),
    (["web-operator", "--reason", "INC-4711 \udcff"], 2, "control characters"),
    (["\udcff", "--reason", REASON], 2, "not a role's name"),
    (["web-operator", "--reason", "because"], 3, "wants a reason of the form (INC|CHG)-"),
    (["web-operator"], 2, "a reason is required"),
    (["web-operator", "--reason", ""], 2, "a reason is required"),
    (["web-operator", "--reason", "INC-4711 " + "x" * 500], 2, "at most 500 characters"),
    (["web-operator", "--reason", REASON, "--for", "-5m"], 2, ""),
    (["web-operator", "--reason", REASON, "--for=-5m"], 2, "not a duration"),
    (["web-operator", "--reason", REASON, "--for", "0s"], 2, "not a duration"),
    (["web-operator", "--reason", REASON, "--for", "99999999999d"], 2, "not a duration"),
    (["web-operator", "--reason", REASON, "--for", "5"], 2, "not a duration"),
    (["web-operator", "--reason", REASON, "--for", "\u0665m"], 2, "not a duration"),
    (["web-operator", "--reason", REASON, "--for", "1e9s"], 2, "not a duration"),
    (["web-operator", "--reason", REASON, "--for", "3h"], 3, "at most 2h"),
    (["web-operator", "--reason", REASON, "--uses", "0"], 2, "uses must be"),
    (["no-such-role", "--reason", REASON], 3, "no role no-such-role"),
    (["../etc", "--reason", REASON], 2, "not a role's name"),
    (["agent-check", "--reason", REASON], 3, "not open to alice"),
    (["web-operator", "--reason", REASON, "--sudo"], 2, "unrecognized arguments"),
]


def test_a_bad_request_is_refused_with_a_sentence(clean: Lab) -> None:
    """No traceback, no request, and the words say what is wrong."""
    for arguments, status, words in BAD_REQUESTS:
        done = clean.run("jitsudo", "request", *arguments, user="alice")
        assert (done.returncode, done.stdout) == (status, ""), (arguments, done.stderr)
        assert words in done.stderr, arguments
        for never in ("Traceback", "internal error", "\x1b"):
            assert never not in done.stderr, arguments
    assert json.loads(clean.run("jitsudo", "status", "--json", user="alice").stdout)["requests"] == []


def test_mallory_has_nothing_to_ask_for(clean: Lab) -> None:
    """A role that is not open to mallory is refused, and not listed."""
    assert clean.run("jitsudo", "roles", user="mallory").stdout == ""
    done = clean.run("jitsudo", "request", "web-operator", "--reason", REASON, user="mallory")
    assert done.returncode == 3
    assert "not open to mallory" in done.stderr


# Until two ids begin with the same letter; after 33 they must.
ASK_UNTIL_AMBIGUOUS = """
from jitsudo.client import Client
seen = {}
with Client() as client:
    for _ in range(33):
        grant = client.call("Request", role="true-only", reason="INC-4711")["request"]["grant"]
        if grant[:3] in seen:
            print(grant[:3], grant, seen[grant[:3]])
            break
        seen[grant[:3]] = grant
"""


def test_unknown_ids_and_prefixes(clean: Lab) -> None:
    """An id that does not exist, an id of somebody else's, a prefix that fits one, a prefix that fits several."""
    for line in (["approve", "R-AAAAAAAA"], ["approve", "R-;rm"], ["approve", ""], ["revoke", "G-AAAAAAAA", "--reason", "x"]):
        done = clean.run("jitsudo", *line, user="bob")
        assert done.returncode == 2, line
        assert "Traceback" not in done.stderr
    request = ask(clean, "web-operator")["id"]
    assert clean.run("jitsudo", "cancel", request, user="mallory").returncode == 2
    assert approve(clean, request[:-2]).returncode == 0
    prefix, *both = clean.run("python3", "-I", "-c", ASK_UNTIL_AMBIGUOUS, user="alice", check=True).stdout.split()
    before = len(grants_of(clean, "alice"))
    done = clean.run("jitsudo", "return", prefix, user="alice")
    assert done.returncode == 2
    assert all(grant in done.stderr for grant in both)
    assert len(grants_of(clean, "alice")) == before


def test_returning_one_of_several_has_to_name_it(clean: Lab) -> None:
    """With one grant `jitsudo return` is enough; with two it lists them, exit status 2."""
    assert clean.run("jitsudo", "return", user="alice").returncode == 2
    grants = [obtain(clean, "true-only"), obtain(clean, "brief", duration="5m")]
    done = clean.run("jitsudo", "return", user="alice")
    assert done.returncode == 2
    assert all(grant in done.stderr for grant in grants)
    clean.run("jitsudo", "return", grants[0], user="alice", check=True)
    assert clean.run("jitsudo", "return", user="alice", check=True).stdout == f"{grants[1]} returned\n"


def test_only_approvers_and_root_revoke(clean: Lab) -> None:
    """Neither mallory nor the holder; bob and root."""
    grant = obtain(clean)
    for user in ("mallory", "alice"):
        done = clean.run("jitsudo", "revoke", grant, "--reason", "x", user=user)
        assert done.returncode == 3
        assert "root and the role's approvers" in done.stderr
    clean.run("jitsudo", "revoke", grant, "--reason", "x", user="bob", check=True)
    assert clean.run("jitsudo", "revoke", grant, "--reason", "x").returncode == 1


def test_only_root_loads_a_policy(clean: Lab) -> None:
    """Exit status 3 for everybody else."""
    assert clean.run("jitsudo", "policy", "reload", user="bob").returncode == 3
    assert clean.run("jitsudo", "policy", "reload").returncode == 0


def test_explain_says_why(clean: Lab) -> None:
    """0 for what is allowed now, 3 for what is not."""
    obtain(clean, "true-only")
    assert clean.run("jitsudo", "explain", "--", "true", user="alice").returncode == 0
    done = clean.run("jitsudo", "explain", "--", "bash", user="alice")
    assert done.returncode == 3
    assert "true-only" in done.stdout
    assert clean.run("jitsudo", "explain", "--", "bash").returncode == 0  # root outside a session needs no grant
