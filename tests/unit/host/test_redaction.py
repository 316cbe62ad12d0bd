"""Redaction: what looks like a secret never reaches the record; what does not, does."""

from __future__ import annotations

import re
import time

import pytest

from jitsudo.host.redaction import MAX_SEARCHED_CHARS, Redactor, secret_parts
from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption
from jitsudo.policy.patterns import regex
from jitsudo.types import AbsPath

SECRET = "hunter2!"
TOKENS = {
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "a fine-grained GitHub token": "github_pat_" + "a1B2" * 9,
    "a GitLab token": "glpat-" + "a1B2_" * 4,
    "a Slack token": "xoxb-123456789012-abcdef",
    "an AWS key id": "AKIAABCDEFGHIJKLMNOP",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3",
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END",
}
SECRETS: dict[str, tuple[str, ...]] = {
    "--password=X": ("tool", f"--password={SECRET}"),
    "--password X": ("tool", "--password", SECRET),
    "-password X": ("tool", "-password", SECRET),
    "--db-password X": ("tool", "--db-password", SECRET),
    "--passwd=X": ("tool", f"--passwd={SECRET}"),
    "--passphrase X": ("gpg", "--passphrase", SECRET),
    "--token X": ("tool", "--token", SECRET),
    "--auth-token=X": ("tool", f"--auth-token={SECRET}"),
    "--api-key=X": ("tool", f"--api-key={SECRET}"),
    "--apikey X": ("tool", "--apikey", SECRET),
    "--client-secret X": ("tool", "--client-secret", SECRET),
    "--private_key=X": ("tool", f"--private_key={SECRET}"),
    "PASSWORD=X before a command": ("env", f"DB_PASSWORD={SECRET}", "tool"),
    "PGPASSWORD=X": ("env", f"PGPASSWORD={SECRET}", "psql"),
    "capital letters": ("tool", f"--PASSWORD={SECRET}"),
    "password:X": ("tool", f"password:{SECRET}"),
    "JSON": ("curl", "-d", f'{{"user":"a","password": "{SECRET}"}}'),
    "in a shell command": ("sh", "-c", f"mysql --password={SECRET} db"),
    "after a path": ("/usr/bin/mysql", f"-p{SECRET}"),
    "mysql -pX": ("mysql", "-uroot", f"-p{SECRET}", "db"),
    "mysqldump -pX": ("mysqldump", f"-p{SECRET}"),
    "mariadb -pX": ("mariadb", f"-p{SECRET}"),
    "sshpass -p X": ("sshpass", "-p", SECRET, "ssh", "host"),
    "sshpass -pX": ("sshpass", f"-p{SECRET}", "ssh", "host"),
    "curl -u user:X": ("curl", "-u", f"bob:{SECRET}", "https://example.org"),
    "a URL with a password": ("git", "clone", f"https://bob:{SECRET}@example.org/x.git"),
    "a URL right behind an option": ("curl", f"-xhttp://bob:{SECRET}@proxy:3128", "https://example.org"),
    "a password with an at sign in a URL": ("git", "clone", f"https://bob:p@{SECRET}@example.org/x.git"),
    "a database URL": ("tool", f"postgres://bob:{SECRET}@db/x"),
    "a bearer token": ("curl", "-H", f"Authorization: Bearer {SECRET}"),
    "a line of its own": ("tool", f"a\npassword={SECRET}"),
    **{name: ("tool", token) for name, token in TOKENS.items()},
    **{f"{name} after =": ("tool", f"--header={token}") for name, token in TOKENS.items()},
}
NO_SECRETS: dict[str, tuple[str, ...]] = {
    "--no-password and what follows": ("psql", "--no-password", "-h", "db", "orders"),
    "passwd alice": ("passwd", "alice"),
    "grep token file": ("grep", "token", "/var/log/app.log"),
    "a file of secrets": ("cat", "/etc/app/secret"),
    "--password-file=PATH": ("tool", "--password-file=/etc/app/pw"),
    "--token-path PATH": ("tool", "--token-path", "/etc/app/token"),
    "-p alone": ("mysql", "-p", "orders"),
    "-p of another program": ("mkdir", "-p/x", "/srv"),
    "-port of ssh": ("ssh", "-p2222", "host"),
    "a service": ("systemctl", "restart", "nginx.service"),
    "a URL without a password": ("curl", "https://example.org:8443/a@b"),
    "a URL with a user only": ("git", "clone", "ssh://git@example.org/x.git"),
    "an scp path": ("scp", "bob@host:/etc/x", "."),
    "a colon": ("chown", "root:root", "/srv"),
    "kubectl get secret": ("kubectl", "get", "secret", "web"),
    "the program itself": ("/opt/password=tool", "x"),
    "an empty argument": ("tool", "", "x"),
    "nothing": (),
}


def redactor(key: bytes = b"k" * 32) -> Redactor:
    return Redactor(key)


@pytest.mark.parametrize("argv", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_redacted(argv: tuple[str, ...]) -> None:
    """The rest of the command line stays, argument for argument."""
    shown = redactor().argv(argv)
    assert len(shown) == len(argv)
    assert shown[0] == argv[0]
    text = "\n".join(shown)
    assert re.search(r"\[redacted:[0-9a-f]{8}\]", text)
    assert not [s for s in (SECRET, *TOKENS.values(), "b3BlbnNzaC1rZXk=") if s in text]


@pytest.mark.parametrize("argv", NO_SECRETS.values(), ids=NO_SECRETS.keys())
def test_what_is_no_secret_stays(argv: tuple[str, ...]) -> None:
    """An auditor has to see what was done."""
    assert redactor().argv(argv) == argv


def test_equal_secrets_have_equal_tags_and_others_have_others() -> None:
    """They can be matched across hosts' lines of one host, wherever they stood."""
    one, two = redactor().argv(("a", f"--password={SECRET}")), redactor().argv(("b", "--token", SECRET))
    assert one[1].removeprefix("--password=") == two[2]
    assert redactor().argv(("a", "--token", "another"))[2] != two[2]


def test_a_tag_says_nothing_without_the_hosts_key() -> None:
    """An HMAC, not a hash: nobody can try words against it from outside."""
    assert redactor().argv(("a", "--token", SECRET)) != redactor(b"j" * 32).argv(("a", "--token", SECRET))


def test_bytes_that_are_not_utf8_are_redacted_like_any() -> None:
    """A password may be anything that execve(2) takes."""
    shown = redactor().argv(("a", "--password=\udcff\n\ud83d"[:-1]))
    assert "\udcff" not in shown[1]


def test_a_reason_keeps_its_words_and_loses_its_tokens() -> None:
    """People paste."""
    text = redactor().text(f"INC-1 see https://bob:{SECRET}@example.org and {TOKENS['a GitHub token']} thanks")
    assert text.startswith("INC-1 see https://bob:[redacted:")
    assert text.endswith(" thanks")
    assert SECRET not in text


SLOW = {
    "dots": "a." * 65_000,
    "schemes": "a://" * 32_000,
    "the beginning of web tokens": "eyJ-" * 32_000,
    "a web token's middle": "eyJaaaaaaaa." * 10_000,
    "half a web token": "eyJ" + "a" * 128_000,
    "blanks after a name": "password" + " " * 128_000,
    "names": "password " * 14_000,
    "dashes": "--" + "a-" * 64_000,
    "private keys": "-----BEGIN " * 12_000,
    "colons": "a:" * 64_000,
    "at signs": "a://b:c" + "@" * 128_000,
    "bearers": "bearer " * 18_000,
}


@pytest.mark.parametrize("argument", SLOW.values(), ids=SLOW.keys())
def test_redaction_takes_linear_time(argument: str) -> None:
    """It runs in the decision's path, on 128 KiB an argument (MAX_ARG_STRLEN) of anybody's choosing."""
    began = time.thread_time()
    redactor().argv(("curl", argument, "--x", argument))
    redactor().text(argument)
    assert time.thread_time() - began < 2


def db() -> Grammar:
    """A program whose -p, --password and, of its sub-command, --key are secret."""
    secret = KnownOption(("-p", "--password"), "required", secret=True)
    inner = GrammarShape(options=(KnownOption(("--key",), "required", secret=True),), name="login")
    options = (secret, KnownOption(("-v",)), KnownOption(("-u",), "required"))
    return Grammar(AbsPath("/usr/bin/db"), GrammarShape(options=options, subcommands={"login": inner}))


@pytest.mark.parametrize(
    "line",
    [
        ["-p", "hunter22", "login"], ["-phunter22", "login"], ["-vphunter22", "login"], ["--password=hunter22", "login"],
        ["login", "--key", "hunter22"], ["login", "--key=hunter22"], ["--nosuch", "-p", "hunter22"], ["--nosuch", "-phunter22"],
        ["--nosuch", "--key=hunter22"],
    ],
)  # fmt: skip
def test_what_a_grammar_calls_secret_is_redacted(line: list[str]) -> None:
    """However it is spelt, and also where the line cannot be read."""
    argv = ["db", *line]
    shown = Redactor(b"k" * 32).argv(argv, secret_parts(db(), argv))
    assert "hunter22" not in " ".join(shown)
    assert shown[0] == "db"
    assert len(shown) == len(argv)


def test_what_no_grammar_calls_secret_stays_readable() -> None:
    """Nothing is hidden of a command that has nothing to hide."""
    for argv in (["db", "-u", "hunter22", "login"], ["db"], ["db", "-p"]):
        assert Redactor(b"k" * 32).argv(argv, secret_parts(db(), argv)) == tuple(argv)
    assert secret_parts(None, ["db", "-p", "x"]) == frozenset()


def by_policy(*patterns: str) -> Redactor:
    found = Redactor(b"k" * 32)
    found.use([regex(text) for text in patterns])
    return found


def test_what_the_policy_calls_secret_is_redacted_wherever_it_stands() -> None:
    """The whole argument, at its beginning, middle or end; equal ones can be matched; the program's name is none."""
    line = ("/x/K-1", "tok_abcd", "--t=tok_abcd", "xK-7x", "tok_abc", "K-", "", "tok_abcd")
    shown = by_policy("tok_[a-z]{4,}", "K-[0-9]+").argv(line)
    assert shown[0] == "/x/K-1"
    assert [i for i, text in enumerate(shown) if re.fullmatch(r"\[redacted:[0-9a-f]{8}\]", text)] == [1, 2, 3, 7]
    assert shown[1] == shown[7]
    assert shown[4:7] == ("tok_abc", "K-", "")


def test_what_the_policy_calls_secret_is_redacted_in_free_text() -> None:
    """The word in which it occurs, and no other; the forms that are known without a policy, too."""
    text = by_policy("tok_[a-z]+").text("use tok_abc,\nthen\tghp_" + "a1B2" * 9 + " again")
    assert re.fullmatch(r"use \[redacted:\w{8}\]\nthen\t\[redacted:\w{8}\] again", text)


def test_another_policy_redacts_by_its_own_patterns() -> None:
    """Those of the one before are gone."""
    found = by_policy("tok_[a-z]+")
    found.use([])
    assert found.argv(("x", "tok_abc")) == ("x", "tok_abc")
    assert found.text("tok_abc") == "tok_abc"


def test_what_is_too_much_to_be_searched_is_redacted() -> None:
    """At the very limit it is not; two patterns reach it twice as fast."""
    for patterns, most in ((("q",), MAX_SEARCHED_CHARS), (("q", "w"), MAX_SEARCHED_CHARS // 2)):
        assert by_policy(*patterns).argv(("x", "a" * most)) == ("x", "a" * most)
        assert "[redacted:" in by_policy(*patterns).argv(("x", "a" * (most + 1)))[1]
        assert "[redacted:" in by_policy(*patterns).argv(("x", "a" * most, "b"))[2]


def test_searching_by_the_policys_patterns_takes_bounded_time() -> None:
    """Whatever the caller chooses: each character another one, too."""
    began = time.thread_time()
    by_policy("[a-z]{50,}[0-9]", "(?:a|aa)+b").argv(("x", "".join(map(chr, range(0x100, 0x8000))), "a" * 100_000))
    assert time.thread_time() - began < 6
