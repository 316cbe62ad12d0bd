"""Operands and paths: every type, counts, disguises, and who could redirect a path."""

from __future__ import annotations

import time

import pytest

from bench import HOST, NOW, PROVEN, MemoryWorld, act, held, rule, world
from jitsudo.policy.argv import MAX_ARGUMENTS
from jitsudo.policy.evaluate import Allow, evaluate
from jitsudo.types import AbsPath


def allowed(operands: str, *arguments: str, cwd: str = "/", on: MemoryWorld | None = None) -> bool:
    """Whether cat, with these operands in its rule, may have these arguments."""
    action = act("cat", *arguments, cwd=cwd)
    return isinstance(evaluate(action, rule("/usr/bin/cat", operands), (held(),), HOST, NOW, on or world(), PROVEN), Allow)


@pytest.mark.parametrize(
    ("operands", "arguments"),
    [
        ("[]", ()),
        ("[{literal: a}]", ("a",)),
        ("{literal: a}", ("a",)),
        ('[{literal: ""}]', ("",)),
        ('[{literal: "-x"}]', ("-x",)),
        ("[{literal: '--'}]", ("--",)),
        ('[{one_of: ["-a", b]}]', ("-a",)),
        ("[int]", ("0",)),
        ("[{int: {min: 3, max: 5}}]", ("3",)),
        ("[{int: {min: 3, max: 5}}]", ("5",)),
        ('[{glob: "*.log"}]', ("a.log",)),
        ('[{literal: a, count: "0..1"}, {literal: b}]', ("b",)),
        ('[{literal: a, count: "0..1"}, {literal: b}]', ("a", "b")),
        ("[{literal: a, count: 2}]", ("a", "a")),
        ('[{literal: a, count: "1.."}]', ("a",) * 50),
        ('[{glob: "*", count: "1.."}, {literal: z}]', ("a", "z", "z")),
        ('[{glob: "*", count: "0.."}, {glob: "*", count: "2..3"}, int]', ("a", "b", "c", "1")),
        ('[{literal: a, count: "0.."}, {literal: b, count: "0.."}]', ()),
    ],
)
def test_arguments_match(operands: str, arguments: tuple[str, ...]) -> None:
    """In order, to the end, as often as `count` says."""
    assert allowed(operands, *arguments)


@pytest.mark.parametrize(
    ("operands", "arguments"),
    [
        ("[]", ("a",)),
        ("[{literal: a}]", ()),
        ("[{literal: a}]", ("A",)),
        ("[{literal: a}]", ("a", "a")),
        ("[int]", ("-1",)),
        ("[int]", ("+1",)),
        ("[int]", ("1_0",)),
        ("[int]", (" 1",)),
        ("[int]", ("٣",)),
        ("[int]", ("²",)),
        ("[int]", ("",)),
        ("[int]", ("9" * 19,)),
        ("[{int: {min: 3, max: 5}}]", ("2",)),
        ("[{int: {min: 3, max: 5}}]", ("6",)),
        ('[{glob: "*"}]', ("-",)),
        ('[{glob: "-*"}]', ("-x",)),
        ('[{glob: "*"}]', ("a\nb",)),
        ('[{glob: "*"}]', ("a\udcff",)),
        ("[{literal: a, count: 2}]", ("a",)),
        ("[{literal: a, count: 2}]", ("a",) * 3),
        ('[{literal: a, count: "2..3"}]', ("a",) * 4),
        ('[{literal: a, count: "1.."}]', ("a", "b")),
        ('[{glob: "*", count: "0.."}]', ("a",) * (MAX_ARGUMENTS + 1)),
    ],
)
def test_other_arguments_do_not_match(operands: str, arguments: tuple[str, ...]) -> None:
    """What a rule does not name is refused."""
    assert not allowed(operands, *arguments)


def test_as_many_arguments_as_the_limit_match() -> None:
    """The limit itself is allowed."""
    assert allowed('[{glob: "*", count: "0.."}]', *("a",) * MAX_ARGUMENTS)


def test_matching_many_arguments_takes_no_longer_than_linear() -> None:
    """Ambiguous lists do not make it explode."""
    operands = "[" + ", ".join(['{glob: "*", count: "0.."}'] * 20) + ", {literal: z}]"
    started = time.process_time()
    assert not allowed(operands, *("a",) * 1000)
    assert time.process_time() - started < 3


NGINX = "[{path: {under: /var/log/nginx}}]"


@pytest.mark.parametrize(
    ("argument", "cwd"),
    [
        ("/var/log/nginx/access.log", "/"),
        ("/var/log/nginx", "/"),
        ("/var/log/nginx/", "/"),
        ("/var//log/./nginx/access.log", "/"),
        ("/var/log/nginx/old/../access.log", "/"),
        ("/var/log/nginx/new.log", "/"),
        ("access.log", "/var/log/nginx"),
        ("../access.log", "/var/log/nginx/old"),
        ("nginx/old/a.log", "/var/log"),
        (".", "/var/log/nginx"),
    ],
)
def test_a_path_under_the_folder_matches(argument: str, cwd: str) -> None:
    """As named and as resolved, absolute or against the cwd; a missing last component is fine."""
    assert allowed(NGINX, argument, cwd=cwd)


@pytest.mark.parametrize(
    ("argument", "cwd"),
    [
        ("", "/var/log/nginx"),
        ("/var/log/nginx/../shadow", "/"),
        ("/var/log/nginx/../../../etc/shadow", "/"),
        ("/var/log/nginx/evil", "/"),
        ("/var/log/nginx2", "/"),
        ("/var/log", "/"),
        ("/", "/"),
        ("-", "/var/log/nginx"),
        ("-f", "/var/log/nginx"),
        ("access.log", "/"),
        ("/var/log/nginx/missing/a", "/"),
        ("/var/log/nginx/" + "a" * 5000, "/"),
        ("a\0b", "/var/log/nginx"),
        ("/home/alice/etc/../var/log/nginx/access.log", "/"),
        ("/tmp/loot", "/"),
    ],
)
def test_a_path_that_leads_elsewhere_does_not_match(argument: str, cwd: str) -> None:
    """Out by `..`, by a link, by a prefix that is no folder."""
    assert not allowed(NGINX, argument, cwd=cwd)


@pytest.mark.parametrize("name", ["|id", "!id", "evil.example:x", ":x", "@x", "+5", "~x", "%f", ",", "(", "a=b", "a b:c"])
def test_what_a_program_may_take_for_something_else_is_no_relative_path(name: str) -> None:
    """`psql -o '|id'` runs id, `tar -xf evil.example:x` asks another host; with a folder before it, each is a file."""
    assert not allowed(NGINX, name, cwd="/var/log/nginx")
    assert allowed(NGINX, f"./{name}", cwd="/var/log/nginx")
    assert allowed(NGINX, f"/var/log/nginx/{name}")


def test_a_link_into_the_folder_does_not_match_by_its_own_name() -> None:
    """The path as named must lie under it too."""
    on = world().link("/srv/logs", "/var/log/nginx")
    assert not allowed(NGINX, "/srv/logs/access.log", on=on)
    assert allowed("[{path: {under: /srv/logs}}]", "/srv/logs/access.log", on=on)
    assert not allowed("[{path: {under: /home/alice/etc}}]", "/home/alice/etc/shadow", on=on)


@pytest.mark.parametrize(
    "on",
    [
        world().plant("/var/log/nginx", "directory", uid=33),
        world().plant("/var/log/nginx", "directory", mode=0o775),
        world().plant("/var/log", "directory", mode=0o1777),
    ],
)
def test_a_folder_on_the_way_that_others_can_write_is_no_match(on: MemoryWorld) -> None:
    """The check could be undone before the program opens the file."""
    assert not allowed(NGINX, "/var/log/nginx/access.log", on=on)


class Trusting(MemoryWorld):
    """A world that resolves, wrongly, through folders that others can write."""

    def real_path(self, path: AbsPath) -> AbsPath | None:
        return self._walk(path, careful=False)


def test_the_folders_are_looked_at_again_whatever_the_world_says() -> None:
    """Two independent checks; a missing folder is none that is safe."""
    base = world()
    on = Trusting(base.entries, base.links).plant("/var/log/nginx", "directory", mode=0o777)
    assert not allowed(NGINX, "/var/log/nginx/access.log", on=on)
    on = Trusting(base.entries, base.links).plant("/data/safe/x").link("/w/l", "/data/safe")
    on.plant("/w", "directory", uid=5)
    assert not allowed("[{path: {under: /w/l}}]", "/w/l/x", on=on)


@pytest.mark.parametrize(
    ("more", "argument", "matches"),
    [
        ('glob: "*.log"', "access.log", True),
        ('glob: "*.log"', "old/a.log", False),
        ('glob: "**.log"', "old/a.log", True),
        ('glob: "*"', ".", False),
        ('glob: "*.conf"', "access.log", False),
        ("exists: true", "access.log", True),
        ("exists: true", "new", False),
        ("exists: false", "new", True),
        ("exists: false", "access.log", False),
        ("kind: file", "access.log", True),
        ("kind: file", "old", False),
        ("kind: file", "new", False),
        ("kind: directory", "old", True),
        ("kind: directory, exists: true", "old", True),
        ("kind: directory, exists: false", "new", False),
    ],
)
def test_glob_exists_and_kind(more: str, argument: str, matches: bool) -> None:
    """Relative to the folder, of what the path resolves to."""
    found = allowed(f"[{{path: {{under: [/srv, /var/log/nginx], {more}}}}}]", argument, cwd="/var/log/nginx")
    assert found is matches
