"""Types of arguments: what they match, strictly, and what guardrails take for them, in doubt."""

from __future__ import annotations

import pytest

from bench import MemoryWorld, one_type, world
from jitsudo.errors import PolicyInvalid
from jitsudo.policy.paths import Place
from jitsudo.policy.patterns import MAX_TEXT_CHARS
from jitsudo.policy.rules import Flag, NamedType
from jitsudo.policy.values import argument_matches, may_be
from jitsudo.types import AbsPath, Account, Gid, Uid, UserName


def here() -> MemoryWorld:
    made = world()
    made.accounts["alice"] = Account(UserName("alice"), Uid(1000), Gid(1000), (Gid(1000),), "/home/alice", "/bin/sh")
    made.accounts["ALICE"] = made.accounts["alice"]
    made.accounts["svc app"] = Account(UserName("svc app"), Uid(990), Gid(990), (Gid(990),), "/", "/bin/sh")
    made.groups |= {"adm", "web"}
    return made


PLACE = Place(here(), AbsPath("/"), "alice")


def matches(type_: str, text: str) -> bool:
    return argument_matches(one_type(type_), text, PLACE)


def fires(type_: str, text: str) -> bool:
    return may_be(one_type(type_), text, PLACE)


MATCHING = [
    ("any", "x"), ("any", ""), ("any", "\udcff"),
    ("user", "alice"), ("user", "svc app"), ("{user: [alice]}", "alice"),
    ("group", "adm"), ("{group: [adm, web]}", "web"),
    ("self", "alice"),
    ("host", "db-1"), ("host", "a.example.org"), ("host", "10.0.0.1"), ("host", "::1"), ("host", "1a.de"),
    ("{host: [DB-1]}", "db-1"),
    ("cidr", "10.0.0.0/8"), ("cidr", "10.1.2.3"), ("cidr", "fe80::/10"), ("{cidr: [10.0.0.0/8]}", "10.2.0.0/16"),
    ("{cidr: [10.0.0.0/8, 'fd00::/8']}", "fd00::1"),
    ("port", "1"), ("port", "65535"), ("{port: {min: 8000, max: 8999}}", "8000"), ("{port: {max: 99999}}", "65535"),
    ("unit", "nginx"), ("unit", "nginx.service"), ("unit", "getty@tty1"), ("{unit: [nginx]}", "nginx.service"),
    ("{unit: [nginx.service]}", "nginx"), ("{unit: [data.mount]}", "data.mount"),
    ("package", "nginx"), ("package", "linux-image-6.1.0-18-amd64"), ("package", "python3.11"),
    ("{package: [g++]}", "g++"),
    ("{package: ['nginx=1.22']}", "nginx=1.22"),
    ("duration", "30"), ("duration", "30s"), ("duration", "1h30m"), ("{duration: {min: 1m, max: 1h}}", "60m"),
    ("size", "512"), ("size", "64K"), ("{size: {max: 10M}}", "10M"), ("{size: {min: 1K}}", "1024"),
    ('{regex: "[a-z]+"}', "abc"),
    ("{not: {literal: a}}", "b"), ("{not: {one_of: [a, b]}}", "c"), ("{not: {path: {under: /etc}}}", "/srv/app/x"),
    ("{not: int}", "abc"), ("{not: {unit: [ssh]}}", "nginx"), ("{not: {user: [root]}}", "bob"),
    ("{not: {not: {literal: a}}}", "a"),
]  # fmt: skip
OTHER = [
    ("any", "-x"), ("flag", "x"),
    ("user", "bob"), ("user", "1000"), ("user", "ALICE"), ("user", "a:b"), ("{user: [bob]}", "alice"), ("user", ""),
    ("user", "alice\n"),
    ("group", "bob"), ("group", "0"), ("{group: [adm]}", "web"),
    ("self", "bob"), ("self", ""),
    ("host", "-x"), ("host", "a b"), ("host", "a..b"), ("host", "127.1"), ("host", "0x7f.1"), ("host", "2130706433"),
    ("host", "fe80::1%eth0"), ("host", "a." * 127 + "a"), ("{host: [db-1]}", "db-2"), ("host", "a/b"), ("host", "a-"),
    ("host", "b\u0430d"), ("host", "user@host"),
    ("cidr", "10.0.0.1/8"), ("cidr", "x"), ("{cidr: [10.0.0.0/8]}", "11.0.0.0/8"),
    ("{cidr: [10.0.0.0/8]}", "0.0.0.0/0"),
    ("{cidr: [10.0.0.0/8]}", "::1"), ("{cidr: ['fd00::/8']}", "10.0.0.1"), ("cidr", "fe80::1%eth0"),
    ("cidr", "10.0.0.0/0.0.0.255"), ("cidr", "10.0.0.0/255.0.0.0"), ("cidr", "10.64.0.0/010"), ("cidr", "10.0.0.0/08"),
    ("int", "010"), ("int", "00"), ("port", "022"), ("duration", "010"), ("duration", "010s"), ("size", "010K"),
    ("port", "0"), ("port", "65536"), ("port", "http"), ("port", "+1"), ("{port: {min: 8000}}", "7999"),
    ("unit", "ng*"), ("unit", "ng?nx"), ("unit", "/dev/sda"), ("unit", "a/b"), ("unit", ""), ("unit", "a b"),
    ("unit", "-x"),
    ("{unit: [nginx]}", "nginx.socket"), ("{unit: [nginx]}", "nginx.serv"), ("{unit: [nginx]}", "ssh"),
    ("unit", "x" * 256),
    ("package", "./x.deb"), ("package", "x.deb"), ("package", "nginx-"), ("package", "nginx+"), ("package", "nginx=1"),
    ("package", "nginx/stable"), ("package", "nginx:arm64"), ("package", "Nginx"), ("package", "^ng"), ("package", "x"),
    ("{package: [nginx]}", "nginx="), ("{package: [nginx]}", "apache2"),
    ("duration", "x"), ("duration", "1.5h"), ("duration", "9" * 19), ("{duration: {min: 1m}}", "59"),
    ("duration", "infinity"),
    ("{duration: {max: 1h}}", "61m"),
    ("size", "x"), ("size", "1k"), ("size", "1KB"), ("{size: {max: 10M}}", "11M"), ("{size: {min: 1K}}", "1023"),
    ("size", "9" * 16),
    ('{regex: "[a-z]+"}', "abc1"), ('{regex: ".*"}', "-x"), ('{regex: ".*"}', "a\nb"),
    ("{not: {literal: a}}", "a"), ("{not: {literal: a}}", "-b"), ("{not: {literal: a}}", "b\n"),
    ("{not: {literal: a}}", "\udcff"),
    ("{not: int}", "7"), ("{not: int}", "0x7"), ("{not: {path: {under: /etc}}}", "/etc/shadow"),
    ("{not: {path: {under: /etc}}}", "/home/alice/etc/shadow"), ("{not: {path: {under: /etc}}}", "/"),
    ("{not: {unit: [ssh]}}", "ssh.service"), ("{not: {unit: [ssh]}}", "s*"), ("{not: {user: [alice]}}", "1000"),
    ("{not: {not: {literal: a}}}", "b"), ("{not: any}", "x"),
    ("{command: {command: /usr/bin/id}}", "id"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "text"), MATCHING)
def test_an_argument_of_the_type_matches(type_: str, text: str) -> None:
    """As it is written."""
    assert matches(type_, text)


@pytest.mark.parametrize(("type_", "text"), OTHER)
def test_another_argument_does_not(type_: str, text: str) -> None:
    """Close to it, disguised, or read otherwise by some program."""
    assert not matches(type_, text)


@pytest.mark.parametrize(
    ("type_", "message"),
    [("{unit: ['ng*']}", "not the name of a unit: 'ng*'"), ("{unit: [/dev/sda]}", "not the name of a unit"),
     ("{host: [10.0.0.0/8]}", "not a host's name or address"), ("{package: ['ng*']}", "not the name of a package"),
     ("{package: [./x.deb]}", "not the name of a package"), ("{user: ['1000']}", "a name may not consist of digits alone"),
     ("{group: ['a:b']}", "not a user or group name"), ("{cidr: [10.0.0.1/8]}", "not a network")],
)  # fmt: skip
def test_names_that_could_never_match_are_refused_at_load(type_: str, message: str) -> None:
    """With the place, and what to write instead."""
    with pytest.raises(PolicyInvalid) as caught:
        one_type(type_)
    assert message in str(caught.value.issues)


def test_a_word_that_nobody_knows_matches_nothing() -> None:
    """Even if a rule were made with it."""
    assert not argument_matches(NamedType("later"), "x", PLACE)
    assert not argument_matches(Flag(), "x", PLACE)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        *(one for one in MATCHING if not one[0].startswith("{not")),
        ("any", "-x"), ("flag", "x"), ("{int: {min: 9, max: 9}}", "+9"), ("{int: {min: 9, max: 9}}", "011"),
        ("{int: {min: 9, max: 9}}", "0x9"), ("{int: {min: 9, max: 9}}", " 9"), ("{int: {min: 8, max: 8}}", "10"),
        ('{regex: "a"}', "a\n"), ('{regex: "a"}', "b" * (MAX_TEXT_CHARS + 1)), ('{glob: "*.x"}', ".x"),
        ("{user: [alice]}", "1000"), ("{user: [alice]}", "+1000"), ("{user: [alice]}", "#1000"), ("self", "1000"),
        ("{group: [adm]}", "4"), ("{group: [adm]}", "+4"), ("user", "whoever"),
        ("{host: [db-1]}", "DB-1."), ("{cidr: [10.0.0.0/8]}", "10.1.1.1/8"), ("{cidr: [10.0.0.0/8]}", "0.0.0.0/0"),
        ("{cidr: [10.0.0.0/8]}", "10.1.1.1%x"), ("{cidr: [10.0.0.0/8]}", "0/0"), ("{cidr: [10.0.0.0/8]}", "10/8"),
        ("{cidr: [10.0.0.0/8]}", "0.0.0.1/0.0.0.255"), ("{cidr: [10.0.0.0/8]}", "012.1.1.1"),
        ("{unit: [ssh]}", "s*"), ("{unit: [ssh]}", "ssh.service"), ("{unit: [ssh]}", "s[s]h"),
        ("{package: [nginx]}", "nginx=1.2"), ("{package: [nginx]}", "nginx:arm64"),
        ("{package: [nginx]}", "nginx/stable"),
        ("{package: [nginx]}", "nginx-"), ("{package: [nginx]}", "ng*"), ("{package: [nginx]}", "ngi.x"),
        ("{package: [nginx]}", "g.n"), ("{package: [g++]}", "g++"), ("{package: [nginx]}", "^nginx"),
        ("{port: {min: 22, max: 22}}", "022"), ("{duration: {max: 1h}}", "1.5min"), ("{size: {min: 1K}}", "1KB"),
        ("{not: {literal: a}}", "b"), ("{not: {path: {under: /srv}}}", "/etc"),
        ("{command: {command: /usr/bin/rm}}", "rm"), ("{command: {command: /usr/bin/rm}}", "/opt/rm"),
    ],
)  # fmt: skip
def test_a_guardrail_takes_for_the_type_what_some_program_might(type_: str, text: str) -> None:
    """Other names of the same, patterns, and text that cannot be read."""
    assert fires(type_, text)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("{literal: a}", "b"), ("{one_of: [a]}", "b"), ("{int: {min: 9}}", "8"), ("int", "x"), ("int", "9" * 30),
        ('{regex: "a"}', "b"), ("{user: [alice]}", "bob"), ("{user: [nobody]}", "1000"), ("{user: [alice]}", "1001"),
        ("self", "bob"), ("self", "٣"), ("user", "-x"), ("{group: [adm]}", "web"), ("{host: [db-1]}", "db-2"),
        ("{cidr: [10.0.0.0/8]}", "11.0.0.1"), ("{cidr: [10.0.0.0/8]}", "x"), ("{cidr: [10.0.0.0/8]}", "::/0"),
        ("{unit: [ssh]}", "nginx"), ("{package: [nginx]}", "apache2"), ("{package: [nginx]}", "python3.11"),
        ("{package: [nginx]}", "a.verylongname"), ("{port: {min: 22, max: 22}}", "23"), ("port", "x"),
        ("{duration: {max: 1h}}", "h"), ("{not: {literal: a}}", "a"), ("{command: {command: /usr/bin/rm}}", "cat"),
    ],
)  # fmt: skip
def test_a_guardrail_lets_something_else_be(type_: str, text: str) -> None:
    """It must not fire on everything."""
    assert not fires(type_, text)
