"""sudo by grant: what runs, what does not, what people are told, and what the journal says of each."""

from __future__ import annotations

import json
import re

import pytest
from acts import LEDGER, Journal, assert_refused, gone, grants_of, obtain, sudo, until
from lab import Lab
from timing import timed

REPORT_SELF = "id -u; id -G; umask; ls /proc/self/fd; env | sort"


def inside(host: Lab, script: str) -> None:
    """What /usr/local/bin/inside does from now on."""
    host.put("/srv/inside.sh", script)


NOT_COVERED: list[tuple[list[str], str]] = [
    (["systemctl", "restart", "ssh.service"], "not-covered"),
    (["systemctl", "restart", "nginx.service", "ssh.service"], "not-covered"),
    (["systemctl", "restart", "nginx.service", ""], "not-covered"),
    (["systemctl", "restart"], "not-covered"),
    (["systemctl", "stop", "nginx.service"], "not-covered"),
    (["systemctl", "--user", "restart", "nginx.service"], "not-covered"),
    (["systemctl", "-H", "other", "restart", "nginx.service"], "not-covered"),
    (["systemctl", "--root=/tmp", "restart", "nginx.service"], "not-covered"),
    (["systemctl", "--forc", "restart", "nginx.service"], "guardrail"),  # unreadable: in doubt they fire
    (["systemctl", "restart", "NGINX.service"], "not-covered"),
    (["systemctl", "restart", "nginx.service\n"], "not-covered"),
    (["systemctl", "restart", "nginx.serviсe"], "not-covered"),  # noqa: RUF001  a Cyrillic letter
    (["bash"], "not-covered"),
    (["sh", "-c", "id"], "not-covered"),
    (["/home/alice/systemctl", "restart", "nginx.service"], "not-covered"),
    (["poweroff"], "not-covered"),
    (["env", "systemctl", "restart", "nginx.service"], "not-covered"),
    (["tail", "/var/log/nginx/../../../etc/shadow"], "not-covered"),
    (["tail", "/var/log/nginx/link"], "not-covered"),
    (["no-such-program"], "unknown-command"),
]


def test_what_the_grant_does_not_cover_does_not_run(clean: Lab) -> None:
    """The wrong unit, one more, another spelling, another program: refused, and on record with its arguments."""
    obtain(clean)
    clean.run("cp", "/usr/bin/systemctl", "/home/alice/systemctl", user="alice", check=True)
    clean.run("ln", "-sf", "/etc/shadow", "/var/log/nginx/link", check=True)
    journal = Journal.from_now(clean)
    started = clean.run("systemctl", "show", "-P", "MainPID", "nginx.service").stdout
    for argv, _ in NOT_COVERED:
        assert_refused(sudo(clean, *argv), "jitsudo: ")
    events = until(lambda: (found := journal.find("command.denied")) and len(found) == len(NOT_COVERED) and found, "events")
    assert [(json.loads(e["JITSUDO_ARGV_JSON"]), e["JITSUDO_CODE"]) for e in events] == NOT_COVERED
    assert not journal.find("command.allowed")
    assert clean.run("systemctl", "show", "-P", "MainPID", "nginx.service").stdout == started


OPTIONS = [
    ["-u", "bob", "id"],
    ["-u", "#1001", "id"],
    ["-u#-1", "id"],
    ["-u", "#4294967295", "id"],
    ["-u", "#0_0", "id"],
    ["-g", "shadow", "id"],
    ["-s"],
    ["-i"],
    ["-s", "id"],
    ["-R", "/", "id"],
    ["-D", "/root", "id"],
    ["-C", "9", "id"],
    ["-E", "id"],
    ["-P", "id"],
    ["-h", "otherhost", "id"],
    ["LD_PRELOAD=/tmp/x.so", "id"],
    ["-e", "/etc/passwd"],
]


def test_an_option_never_widens_a_grant(clean: Lab) -> None:
    """`sudo id` is granted; as somebody else, elsewhere, in a shell or with more environment it is not."""
    obtain(clean, "inside")
    assert sudo(clean, "id").returncode == 0
    for options in OPTIONS:
        done = sudo(clean, *options)
        assert (done.returncode, done.stdout) == (1, ""), options
        assert "Traceback" not in done.stderr, options


def test_a_command_runs_as_root_in_a_clean_environment(clean: Lab) -> None:
    """uid, groups, umask, descriptors and environment are root's and jitsudo's, not the caller's."""
    obtain(clean, "inside")
    inside(clean, REPORT_SELF)
    script = (
        "umask 0; export LD_PRELOAD=/tmp/x.so PYTHONPATH=/tmp BASH_ENV=/tmp/x IFS=: 'BASH_FUNC_id%%=() { echo evil; }'; "
        "PATH=/tmp:$PATH exec /usr/bin/sudo inside 7</etc/passwd"
    )
    done = clean.run("bash", "-c", script, user="alice", check=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == ["0", "0", "0022"]
    assert "7" not in lines
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert environment["SUDO_USER"] == "alice"
    assert environment["HOME"] == "/root"
    assert environment["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert not {"LD_PRELOAD", "PYTHONPATH", "BASH_ENV"} & environment.keys()
    assert "evil" not in done.stdout


def test_run_as_another_user(clean: Lab) -> None:
    """A role that runs as postgres does that, and not root."""
    obtain(clean, "db-shell")
    assert sudo(clean, "-u", "postgres", "id", "-un").returncode == 1
    done = sudo(clean, "-u", "postgres", "id")
    assert "(postgres) gid=" in done.stdout
    refused = sudo(clean, "id")
    assert_refused(refused, "jitsudo: ")
    assert "sudo -u postgres id" in refused.stderr


def test_a_guardrail_refuses_with_its_own_message(clean: Lab) -> None:
    """The role covers reload, the guardrail forbids it; both are on record."""
    obtain(clean)
    journal = Journal.from_now(clean)
    assert_refused(sudo(clean, "systemctl", "reload", "nginx.service"), "Reload is broken on this host; restart instead.")
    assert journal.expect("guardrail.fired", user="alice")["JITSUDO_GUARDRAIL"] == "no-reload"
    denied = journal.expect("command.denied", user="alice")
    assert (denied["JITSUDO_CODE"], denied["JITSUDO_GUARDRAIL"]) == ("guardrail", "no-reload")
    assert_refused(sudo(clean, "systemctl", "poweroff"), "Nobody switches this host off through a web role.")


def test_list_says_what_and_until_when(clean: Lab) -> None:
    """`sudo -l` names role, grant, commands and the end; `sudo -l CMD` answers for one command."""
    assert_refused(sudo(clean, "-l"), "alice holds no grant")
    grant = obtain(clean, duration="10m")
    shown = sudo(clean, "-l").stdout
    assert f"role web-operator, grant {grant}, until 20" in shown
    assert "(root) /usr/bin/systemctl {restart|reload|status} nginx.service" in shown
    assert re.search(r" UTC \((9m\d+s|10m) left\)", shown)
    covered = sudo(clean, "-l", "systemctl", "restart", "nginx.service")
    assert (covered.returncode, covered.stdout) == (0, "/usr/bin/systemctl restart nginx.service\n")
    refused = sudo(clean, "-l", "systemctl", "restart", "ssh.service")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "")
    assert sudo(clean, "-l", "-U", "alice", user="bob").returncode == 1
    assert f"grant {grant}" in sudo(clean, "-l", "-U", "alice", user=None).stdout


def test_validate_and_forget(clean: Lab) -> None:
    """-v asks for the password, on standard input with -S, and never with -n; -k and -K need none."""
    assert "a password is required" in sudo(clean, "-n", "-v").stderr
    assert clean.run("sudo", "-S", "-v", user="alice", input="alice\n").returncode == 0
    for option in ("-k", "-K"):
        assert sudo(clean, option).returncode == 0


def test_a_limited_number_of_uses(clean: Lab) -> None:
    """With --uses 2 the third command is refused, and the grant is over."""
    journal = Journal.from_now(clean)
    clean.run("jitsudo", "request", "true-only", "--reason", "x", "--uses", "2", user="alice", check=True)
    assert [sudo(clean, "true").returncode for _ in range(3)] == [0, 0, 1]
    journal.expect("grant.used_up")
    assert len(journal.find("grant.used")) == 2
    assert grants_of(clean, "alice") == []


def test_sudo_inside_a_session_is_that_sessions_person(clean: Lab) -> None:
    """uid 0 inside is alice under her grant: what it covers runs, what root or another grant may do does not."""
    grant = obtain(clean, "inside")
    obtain(clean, "true-only")
    journal = Journal.from_now(clean)
    script = "id -u; for c in id true whoami; do sudo -n $c; done; su postgres -c 'sudo -n true'; sudo -n -u postgres id; true"
    inside(clean, script)
    done = sudo(clean, "inside")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\nuid=0(root) gid=0(root) groups=0(root)\n"
    denied = until(lambda: len(found := journal.find("command.denied", user="alice")) >= 4 and found, "the refusals")
    assert [json.loads(e["JITSUDO_ARGV_JSON"])[0] for e in journal.find("command.allowed", user="alice")] == ["inside", "id"]
    assert {e["JITSUDO_GRANT_ID"] for e in journal.find("command.allowed")} == {grant}
    assert [json.loads(e["JITSUDO_ARGV_JSON"])[0] for e in denied] == ["true", "whoami", "true", "id"]
    assert not journal.find("command.allowed", user="root")


def test_root_inside_a_session_cannot_ask_revoke_or_reload(clean: Lab) -> None:
    """From inside, root's own commands of `jitsudo` are alice's at most."""
    obtain(clean, "inside")
    request = "jitsudo request true-only --reason x"
    inside(
        clean,
        f"{request}; echo $?; su bob -c '{request}'; echo $?; jitsudo policy reload; echo $?; jitsudo clock accept; echo $?; "
        "jitsudo status --short",
    )
    done = sudo(clean, "inside")
    assert done.stdout.splitlines()[:4] == ["3"] * 4
    assert "inside " in done.stdout.splitlines()[4]


def test_roots_own_sudo_needs_no_grant(clean: Lab) -> None:
    """cron's jobs and an administrator on the console go on as ever, on record without a grant."""
    journal = Journal.from_now(clean)
    done = clean.run("systemd-run", "-q", "--wait", "--pipe", "sudo", "-u", "postgres", "id", "-un")
    assert (done.returncode, done.stdout) == (0, "postgres\n")
    allowed = journal.expect("command.allowed", user="root")
    assert allowed["JITSUDO_RUNAS_USER"] == "postgres"
    assert not {"JITSUDO_LOGIN_UID", "JITSUDO_GRANT_ID"} & allowed.keys()


def test_roots_cron_job(clean: Lab) -> None:
    """A real job of cron's runs `sudo -u postgres true`."""
    journal = Journal.from_now(clean)
    clean.put("/etc/cron.d/jitsudo-test", "@reboot root sudo -u postgres true && touch /run/cron-was-here\n")
    try:
        clean.run("sh", "-c", "rm -f /run/cron-was-here /run/crond.reboot; systemctl restart cron.service", check=True)
        until(lambda: clean.run("test", "-e", "/run/cron-was-here").returncode == 0, "cron's job ran", 60)
        assert journal.expect("command.allowed", user="root", runas_user="postgres")["JITSUDO_COMMAND"] == "/usr/bin/true"
    finally:
        clean.run("rm", "-f", "/etc/cron.d/jitsudo-test")


def test_an_agent_with_a_standing_role_is_never_asked(clean: Lab) -> None:
    """`sudo -n true` again and again; anything else is refused."""
    journal = Journal.from_now(clean)
    script = "for i in 1 2 3 4 5; do sudo -n true || exit 9; sleep 0.5; done"
    done = clean.run("sh", "-c", script, user="agent")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    until(lambda: len(journal.find("command.allowed", user="agent", role="agent-check")) == 5, "five events")
    assert_refused(sudo(clean, "-n", "bash", user="agent"), "jitsudo: ")


def test_fifty_at_once(clean: Lab) -> None:
    """Fifty simultaneous commands of one person are all allowed, each in a session of its own."""
    obtain(clean, "true-only")
    journal = Journal.from_now(clean)
    script = "for i in $(seq 50); do { sudo -n true || echo refused; } & done; wait"
    done = clean.run("sh", "-c", script, user="alice")
    assert (done.stdout, done.stderr) == ("", "")
    until(lambda: len(journal.find("session.ended")) == 50, "fifty ends")
    assert len({e["JITSUDO_SESSION_ID"] for e in journal.find("command.allowed")}) == 50


def test_secrets_reach_neither_ledger_nor_journal(clean: Lab) -> None:
    """Arguments that look like secrets are redacted, whether the command is allowed or denied; nor does PAM show them.

    Where a container may not raise limits, pam_limits says so, and journald adds the command line (_CMDLINE), as for any sudo.
    """
    obtain(clean, "talker")
    journal = Journal.from_now(clean)
    # From standard input: the lab's own command line would hold the words, too.
    script = "sudo true --password=hunter2; sudo echo password=hunter2; sudo mysql -phunter2; sudo echo https://joe:hunter2@host\n"
    assert clean.run("sh", user="alice", input=script).stdout == "password=hunter2\n"
    denied = until(lambda: len(found := journal.find("command.denied")) == 3 and found, "the refusals")
    journal.expect("session.ended")
    assert clean.run("sh", "-c", f"cat {LEDGER}*").stdout.count("hunter2") == 0
    fields = ["journalctl", "-q", "--all", "-o", "json", f"--after-cursor={journal.cursor}"]
    entries = [json.loads(line) for line in clean.run(*fields).stdout.splitlines()]
    assert entries
    limits = "pam_limits(jitsudo-sudo:session): Could not set limit"
    said = [e for e in entries if not str(e.get("MESSAGE")).startswith(limits)]
    assert [e for e in said if "hunter2" in json.dumps(e)] == []
    assert json.loads(denied[0]["JITSUDO_ARGV_JSON"])[1].startswith("--password=[redacted:")


def test_hostile_text_is_one_harmless_record(clean: Lab) -> None:
    """Escape sequences and newlines in arguments neither forge a record nor reach the terminal."""
    journal = Journal.from_now(clean)
    argv = ["id", "a\nJITSUDO_EVENT=grant.issued", "\x1b]0;owned\x07", "\u202egnp"]
    done = sudo(clean, *argv)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    (event,) = until(lambda: journal.find("command.denied", user="alice"), "the denial")
    assert json.loads(event["JITSUDO_ARGV_JSON"]) == argv
    assert event["JITSUDO_EVENT"] == "command.denied"
    assert not journal.find("grant.issued")


@pytest.mark.parametrize("argument", ["\udcff", "x" * 100_000])
def test_odd_and_long_arguments_are_refused_in_time(clean: Lab, argument: str) -> None:
    """Bytes that are not UTF-8 and long arguments: refused, without a crash or a hang."""
    obtain(clean, "talker")
    done, seconds = timed(clean, "sudo", "true", argument, user="alice")
    assert done.returncode != 0
    assert seconds < 5
    assert "Traceback" not in done.stderr


def test_background_option_leaves_the_command_in_its_session(clean: Lab) -> None:
    """`sudo -b` returns at once; the command goes on under the grant and ends with it."""
    obtain(clean)
    background = "sudo -b sleep 98765 </dev/null >/dev/null 2>&1"
    assert clean.run("/bin/bash", "-c", background, user="alice").returncode == 0
    status = clean.run("jitsudo", "status", user="alice", check=True).stdout
    assert "sleep 98765" in status
    assert clean.run("jitsudo", "return", user="alice").returncode == 0
    assert gone(clean, "[s]leep 98765")
