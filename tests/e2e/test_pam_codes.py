"""The return code of each of the module's entry points, by pamtester, for the services that it is made for.

For su and sudo pamtester is what they are: effective uid 0, the caller's real uid and login session. For sshd and login it is
root's altogether. A service's stack is the module alone, so that each code is the module's own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from acts import obtain
from lab import Lab
from test_pam import MODULE, gate, no_daemon, proven_shell  # noqa: F401  a fixture

HELPER = "/usr/local/libexec/as-root"
CALLED = ("su", "sudo")
SERVICES = (*CALLED, "sshd", "login")
KINDS = ("auth", "account", "session", "password")
# The words of pam_strerror(3) for PAM_PERM_DENIED, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SESSION_ERR, PAM_CRED_ERR,
# PAM_AUTHTOK_ERR; and pamtester's own for PAM_SUCCESS.
DENIED = "Permission denied"
AUTH_ERR = "Authentication failure"
UNAVAILABLE = "Authentication service cannot retrieve authentication info"
SESSION_ERR = "Cannot make/remove an entry for the specified session"
CRED_ERR = "Failure setting user credentials"
AUTHTOK_ERR = "Authentication token manipulation error"
SUCCESS = {
    "authenticate": "successfully authenticated", "acct_mgmt": "account management done.",
    "setcred": "credential info has successfully been set.", "open_session": "successfully opened a session",
    "close_session": "session has successfully been closed.",
}  # fmt: skip
REFUSED = {
    "authenticate": AUTH_ERR, "acct_mgmt": DENIED, "setcred": SUCCESS["setcred"], "open_session": SESSION_ERR,
    "close_session": SESSION_ERR, "chauthtok": AUTHTOK_ERR,
}  # fmt: skip
NOT_UNDERSTOOD = {**REFUSED, "setcred": CRED_ERR}


@pytest.fixture
def door(gate: Lab) -> Iterator[Lab]:  # noqa: F811
    """A host on which alice can start pamtester as she can start su."""
    gate.run("install", "-D", "-m", "4755", "/usr/bin/env", HELPER, check=True)
    yield gate
    gate.run("rm", HELPER, check=True)


@contextmanager
def module_alone(host: Lab, service: str, arguments: str = "") -> Iterator[None]:
    """The service's stack is nothing but the module, for a while."""
    path = f"/etc/pam.d/{service}"
    before = host.get(path)
    host.put(path, "".join(f"{kind} required {MODULE} {arguments}\n" for kind in KINDS))
    try:
        yield
    finally:
        host.put(path, before)


def command(service: str, *operations: str) -> list[str]:
    """pamtester as the service would call PAM: on behalf of alice, who wants to be root; or for alice, who wants in."""
    if service in CALLED:
        return [HELPER, "pamtester", "-I", "ruser=alice", service, "root", *operations]
    return ["pamtester", "-I", "rhost=localhost", service, "alice", *operations]


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """pamtester's own lines, without its name."""
    lines = (done.stdout + done.stderr).splitlines()
    return [line.removeprefix("pamtester: ") for line in lines if line.startswith("pamtester: ")]


def codes(host: Lab, service: str) -> dict[str, str]:
    """What each entry point returns, called in a process of its own."""
    user = "alice" if service in CALLED else None
    found = {}
    for operation in REFUSED:
        done = host.run(*command(service, operation), user=user)
        (found[operation],) = said(done)
        assert (done.returncode == 0) == (found[operation] == SUCCESS.get(operation)), (operation, done)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_each_entry_point_has_its_code_for_a_refusal(door: Lab, service: str) -> None:
    """Without a grant; with one but without a daemon; and with an argument that nobody knows."""
    with module_alone(door, service):
        assert codes(door, service) == REFUSED
    obtain(door, "become-root" if service in CALLED else "come-in")
    with module_alone(door, service), no_daemon(door):
        assert codes(door, service) == {**REFUSED, "authenticate": UNAVAILABLE if service in CALLED else AUTH_ERR}
    with module_alone(door, service, "no-such-argument"):
        assert codes(door, service) == NOT_UNDERSTOOD


@pytest.mark.parametrize("service", SERVICES)
def test_each_entry_point_succeeds_by_a_grant(door: Lab, service: str) -> None:
    """Account, credentials, session and its end; nothing is proven by that, and no password is changed."""
    operations = ["acct_mgmt", "setcred", "open_session", "close_session"]
    obtain(door, "become-root" if service in CALLED else "come-in")
    with module_alone(door, service):
        done = door.run(*command(service, *operations), user="alice" if service in CALLED else None)
        assert (done.returncode, said(done)) == (0, [SUCCESS[operation] for operation in operations])
        expected = {operation: SUCCESS[operation] for operation in ("acct_mgmt", "setcred", "open_session")}
        # What was opened in another process is not closed here.
        assert codes(door, service) == {**REFUSED, **expected}


@pytest.mark.parametrize("service", CALLED)
def test_authenticate_succeeds_by_a_proof_in_the_same_place(door: Lab, service: str) -> None:
    """With a grant; in another session of hers it does not."""
    obtain(door, "use-sudo")
    obtain(door, "become-root")
    shell = proven_shell(door)
    with module_alone(door, service):
        shell.sendline(" ".join(command(service, "authenticate")))
        assert shell.expect([SUCCESS["authenticate"], AUTH_ERR]) == 0
        elsewhere = door.run(*command(service, "authenticate"), user="alice")
        assert (elsewhere.returncode, said(elsewhere)) == (1, [AUTH_ERR])
    shell.close()


@pytest.mark.parametrize("service", ["sshd", "login"])
def test_authenticate_of_who_lets_people_in_fails_whatever_was_proven(door: Lab, service: str) -> None:
    """With a grant and a ticket of hers."""
    obtain(door, "use-sudo")
    obtain(door, "come-in")
    shell = proven_shell(door)
    with module_alone(door, service):
        done = door.run(*command(service, "authenticate"))
        assert (done.returncode, said(done)) == (1, [AUTH_ERR])
    shell.close()
