"""Guardrails fire on presence, survive disguise and, in doubt, fire."""

from __future__ import annotations

import pytest

from bench import MemoryWorld, act, load, world
from jitsudo.policy.argv import MAX_ARGUMENTS
from jitsudo.policy.guardrails import GuardrailFinding, check_guardrail
from jitsudo.policy.inside import lines_of
from jitsudo.policy.paths import Place
from jitsudo.policy.verdict import Action
from jitsudo.types import AbsPath


def finding(match: str, action: Action, then: str = "deny", on: MemoryWorld | None = None) -> GuardrailFinding:
    policy = load(f"version: 1\nguardrails:\n  g: {{match: {match}, then: {then}, message: No.}}\n")
    place = Place(on or world(), action.cwd)
    return check_guardrail(policy.guardrails["g"], lines_of(action, (), place), place)


def fires(match: str, action: Action, on: MemoryWorld | None = None) -> bool:
    return finding(match, action, on=on).fired


@pytest.mark.parametrize(
    ("match", "action"),
    [
        ("{command: /usr/bin/systemctl}", act("systemctl", "status")),
        ("{command: /usr/bin/systemctl}", act("systemctl")),
        ("{command: /usr/bin/systemctl}", act("/bin/systemctl")),
        ("{command: /bin/systemctl}", act("/usr/bin/systemctl")),
        ("{command: /usr/bin/systemctl}", act("poweroff", path="/usr/sbin/poweroff")),
        ("{command: /usr/sbin/poweroff}", act("systemctl")),
        ("{command: systemctl}", act("poweroff", path="/usr/sbin/poweroff")),
        ("{command: rm}", act("rm")),
        ("{command: rm}", act("rm", path="/opt/bin/rm")),
        ("{command: rm}", act("rm", path="/opt/bin/remove")),
        ("{command: /usr/bin/rm}", act("remove", path="/opt/hard")),
    ],
)
def test_it_fires_on_the_command_by_any_name(match: str, action: Action) -> None:
    """Bare names stand for any path; links, hard links and the usr-merge are seen through."""
    inode = world().entries["/usr/bin/rm"].ino
    assert fires(match, action, world().plant("/opt/hard", ino=inode))


@pytest.mark.parametrize(
    ("match", "action"),
    [
        ("{command: rm}", act("true")),
        ("{command: /usr/bin/rm}", act("true")),
        ("{command: /usr/bin/rm}", act("nowhere", path="/opt/nowhere")),
        ("{command: /usr/bin/gone}", act("true")),
        ("{command: rm, any_operand: [{literal: x}]}", act("rm", "y")),
    ],
)
def test_it_does_not_fire_on_something_else(match: str, action: Action) -> None:
    """Another command, other arguments."""
    assert not fires(match, action)


def test_it_does_not_fire_without_a_command() -> None:
    """A shell that was not looked up."""
    action = act("x")
    assert not fires("{command: rm}", Action(action.person, action.run_as, None, "shell", None, (), AbsPath("/")))


@pytest.mark.parametrize(
    ("type_", "arguments"),
    [
        ("{literal: stop}", ("stop",)),
        ("{literal: stop}", ("--x", "y", "stop")),
        ("{literal: stop}", ("--action=stop",)),
        ("{literal: stop}", ("-astop",)),
        ("{literal: stop}", ("-qastop",)),
        ("{literal: stop}", ("action=stop",)),
        ("{one_of: [stop, halt]}", ("--", "halt")),
        ("{int: {min: 9, max: 9}}", ("-s9",)),
        ("{int: {min: 9, max: 9}}", ("9",)),
        ('{glob: "*.service"}', (".x.service",)),
        ('{glob: "*.service"}', ("--unit=a.service",)),
        ('{glob: "*.service"}', ("a\nb",)),
        ('{glob: "*.service"}', ("a\udcff",)),
        ("{literal: stop}", ("-" + "x" * 300,)),
        ("{literal: stop}", ("a",) * (MAX_ARGUMENTS + 1)),
    ],
)
def test_any_operand_survives_disguise(type_: str, arguments: tuple[str, ...]) -> None:
    """Separate, attached, bundled, after `=`, or too strange to be read."""
    assert fires(f"{{command: rm, any_operand: [{type_}]}}", act("rm", *arguments))


@pytest.mark.parametrize(
    ("argument", "cwd"),
    [
        ("/etc", "/"),
        ("/etc/shadow", "/"),
        ("//etc/shadow", "/"),
        ("/etc/", "/"),
        ("etc", "/"),
        ("shadow", "/etc"),
        ("../etc/shadow", "/srv"),
        ("/var/log/nginx/evil", "/"),
        ("/", "/srv"),
        ("--target=/etc", "/srv"),
        ("--target=etc", "/"),
        ("-t/etc", "/srv"),
        ("-rft/etc/shadow", "/srv"),
        ("of=/etc/shadow", "/srv"),
        ("of=../etc", "/srv"),
        ("/home/alice/anything", "/"),
        ("anything", "/home/alice"),
        ("--target=anything", "/home/alice"),
        ("-tbin/x", "/home/alice"),
        ("/missing/x", "/"),
        ("/" + "a" * 5000, "/"),
    ],
)
def test_a_path_guardrail_survives_disguise(argument: str, cwd: str) -> None:
    """By any spelling, link or option; what holds the folder; and what cannot be resolved."""
    assert fires("{command: rm, any_operand: [{path: {under: /etc}}]}", act("rm", argument, cwd=cwd))


@pytest.mark.parametrize(
    ("argument", "cwd"),
    [
        ("/srv/app/x", "/"),
        ("x", "/srv/app"),
        ("/etcetera", "/"),
        ("-rf", "/home/alice"),
        ("-I/srv/app", "/srv"),
        ("--one-file-system", "/home/alice"),
        ("a=b", "/srv"),
        ("", "/etc"),
    ],
)
def test_a_path_guardrail_lets_other_paths_be(argument: str, cwd: str) -> None:
    """It must not fire on every option."""
    assert not fires("{command: rm, any_operand: [{path: {under: /etc}}]}", act("rm", argument, cwd=cwd))


def test_a_path_guardrail_with_a_glob() -> None:
    """Hidden files are seen; others in the folder are not meant."""
    match = '{command: rm, any_operand: [{path: {under: [/none, /etc/nginx], glob: "**.conf"}}]}'
    on = world().plant("/etc/nginx/.a.conf").plant("/etc/nginx/x")
    assert fires(match, act("rm", "/etc/nginx/.a.conf"), on)
    assert fires(match, act("rm", "/etc/nginx/sites-available/a.conf"), on)
    assert not fires(match, act("rm", "/etc/nginx/x"), on)


def test_what_raises_has_fired() -> None:
    """And the operator is told."""
    on = world()
    on.broken = True
    found = finding("{command: rm}", act("true"), on=on)
    assert found.fired
    assert found.fault == "guardrail g: OSError('broken')"
    assert found.message == "No."
