"""From a test in a policy to what the evaluator is asked: who, what, when, whence, in which world."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from jitsudo.errors import InvalidValue
from jitsudo.offline.world import PresumedWorld
from jitsudo.policy.conditions import refuses_asking, refuses_use
from jitsudo.policy.lint_types import nested, types_of
from jitsudo.policy.model import HostSelector, InlineTest, Policy, Role
from jitsudo.policy.rules import CommandRule, EditRule, PathUnder, Shape
from jitsudo.policy.verdict import Action, Circumstances, HeldGrant, Host, Mode, Source
from jitsudo.types import AbsPath, Digest, GrantId, Moment, Person, Uid, UserName

THE_GRANT: Final = GrantId("G-TESTTEST")
_HOST: Final = Host("test-host")
_SHELL: Final = AbsPath("/bin/bash")
_REFERENCE: Final = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)  # a Monday
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEKLY: Final = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([0-9]{2}):([0-9]{2})")
_MAX_DAYS: Final = 400


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that `evaluate` takes."""

    action: Action
    policy: Policy
    grants: tuple[HeldGrant, ...]
    host: Host
    now: Moment
    world: PresumedWorld
    circumstances: Circumstances


def case_of(
    test: InlineTest,
    role: Role,
    policy: Policy,
    writable: tuple[AbsPath, ...] = (),
    *,
    person: Person | None = None,
    run_as: UserName | None = None,
) -> Case:
    """The question that a test asks of its role. `InvalidValue` if the test itself makes no sense.

    Only the role under test is granted, and on this host; `person` is by default somebody to whom it is open. What this
    version does not enforce yet counts as if it did: a test is about what the policy says.
    """
    role = _in_force(role)
    policy = replace(policy, roles={**policy.roles, role.name: role})
    source = _source(test, role)
    now = _moment(test, role, source)
    action = _action(words_of(test.run), test, role, policy)
    return Case(
        action=replace(action, person=person or action.person, run_as=run_as or action.run_as),
        policy=policy,
        grants=(_grant(role, now),),
        host=_HOST,
        now=now,
        world=_world(test, role, policy, writable),
        circumstances=Circumstances(
            source=source,
            authenticated=0 if test.authenticated else None,
            agent=0 if test.authenticated else None,
        ),
    )


def words_of(run: str | tuple[str, ...]) -> tuple[str, ...]:
    """A command line, split as a shell would, without expanding anything; a list is argv as it is."""
    if not isinstance(run, str):
        words = run
    else:
        try:
            words = tuple(shlex.split(run, comments=False, posix=True))
        except ValueError as error:
            raise InvalidValue(f"run: {str(error).lower()}: {run!a}") from error
    if not words or not words[0]:
        raise InvalidValue("run: there is no command")
    if any("\0" in word for word in words):
        raise InvalidValue("run: an argument cannot hold NUL")
    return words


def _in_force(role: Role) -> Role:
    rules = tuple(replace(rule, unsupported=()) for rule in role.rules)
    return replace(role, rules=rules, unsupported=(), hosts=HostSelector())


def _grant(role: Role, now: Moment) -> HeldGrant:
    approvals = max(role.request.approvals if role.request else 0, 0)
    return HeldGrant(
        id=THE_GRANT,
        role=role.name,
        run_as=role.run_as.users,
        not_after=now.wall + 3600,
        uses_left=None,
        standing=role.standing,
        approvals=approvals,
    )


# -- who and what ----------------------------------------------------------------------------------------------------


def person_for(role: Role, policy: Policy) -> Person:
    """Somebody to whom the role is open."""
    users = [principal.name for principal in role.who if principal.kind == "user"]
    teams = {principal.name for principal in role.who if principal.kind == "team"}
    users += [account for entry in policy.approvers.values() if teams & set(entry.teams) for account in entry.accounts]
    groups = frozenset(principal.name for principal in role.who if principal.kind == "group")
    return Person(Uid(1000), UserName(users[0] if users else "tester"), Uid(1000), groups)


def _action(argv: tuple[str, ...], test: InlineTest, role: Role, policy: Policy) -> Action:
    run_as, mode, argv = _sudo_words(argv, role)
    path = None if mode == "edit" else _SHELL if mode != "command" else program_for(argv[0], role, policy)
    return Action(
        person=person_for(role, policy),
        run_as=run_as,
        run_as_group=None,
        mode=mode,
        path=path,
        argv=argv,
        cwd=test.cwd,
    )


def _sudo_words(argv: tuple[str, ...], role: Role) -> tuple[UserName, Mode, tuple[str, ...]]:
    """`sudo -u USER …`, `sudo -i`, `sudo -s` and `sudo -e`, for tests of users, shells and edits; `sudo` may be left out."""
    run_as = role.run_as.users[0]
    if argv[0] == "sudoedit":
        return run_as, "edit", argv
    if argv[0] != "sudo":
        return run_as, "command", argv
    rest = list(argv[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-u" and rest:
            run_as = UserName(rest.pop(0))
        elif option == "-e":
            return run_as, "edit", ("sudoedit", *rest)
        elif option in ("-i", "-s"):
            return run_as, "login-shell" if option == "-i" else "shell", ("-c", shlex.join(rest)) if rest else ()
        elif option == "--":
            break
        else:
            raise InvalidValue(f"run: of sudo's options, tests know -u, -i, -s and -e, not {option!a}")
    if not rest:
        raise InvalidValue("run: there is no command after sudo")
    return run_as, "command", tuple(rest)


def program_for(name: str, role: Role | None, policy: Policy) -> AbsPath | None:
    """The program that a test names: a path, or the policy's command of that name, the role's own first."""
    if name.startswith("/"):
        return AbsPath(name)
    if "/" in name:
        return None
    roles = ([role] if role is not None else []) + list(policy.roles.values())
    for one in roles:
        for path in _commands(one):
            if posixpath.basename(path) == name:
                return path
    known = (path for path in sorted(policy.grammars) if posixpath.basename(path) == name)
    return AbsPath(next(known, f"/usr/bin/{name}"))


def _commands(role: Role) -> Iterator[AbsPath]:
    for rule in role.rules:
        if isinstance(rule, CommandRule):
            yield from _commands_of(rule)


def _commands_of(rule: CommandRule) -> Iterator[AbsPath]:
    yield rule.command
    for inner in nested(rule.shape):
        yield from _commands_of(inner.rule)


# -- when and whence -------------------------------------------------------------------------------------------------


def _source(test: InlineTest, role: Role) -> Source:
    """Where the test says, or where the role wants the login to come from."""
    wanted = test.source or (role.when.source[0] if role.when.source else "local")
    if wanted == "unknown":
        return Source(None, "the test says so")
    if wanted == "local":
        return Source("local")
    network = ipaddress.ip_network(wanted)
    return Source(str(network[1] if network.num_addresses > 2 else network[0]))


def _moment(test: InlineTest, role: Role, source: Source) -> Moment:
    """When the test says, or at some moment at which the role's conditions hold."""
    zone: tzinfo = role.when.hours.zone if role.when.hours is not None else UTC
    last = datetime.fromtimestamp(role.until - 1, UTC) if role.until is not None else None
    start = _REFERENCE if last is None else min(_REFERENCE.replace(year=last.year), last - timedelta(days=1))
    if last is not None and last - start > timedelta(days=_MAX_DAYS):
        start = last - timedelta(days=_MAX_DAYS)
    if test.at is not None:
        return Moment(_at(test.at, zone, start), 1.0)
    return next(
        (Moment(when, 1.0) for when in _candidates(role, start, zone) if _holds(role, Moment(when, 1.0), source)),
        Moment(int(start.timestamp()), 1.0),
    )


def _holds(role: Role, now: Moment, source: Source) -> bool:
    return refuses_asking(role, now, source) is None and refuses_use(role, now, source, 0) is None


def _candidates(role: Role, start: datetime, zone: tzinfo) -> Iterator[int]:
    """The beginnings of the role's hours, day by day; noon where it has none."""
    spans = role.when.hours.spans if role.when.hours is not None else ()
    minutes = sorted({span.start for span in spans}) or [12 * 60]
    first = start.astimezone(zone)
    for day in range(_MAX_DAYS):
        for minute in minutes:
            local = (first + timedelta(days=day)).replace(hour=minute // 60, minute=minute % 60, second=0)
            yield int(local.timestamp())


def _at(text: str, zone: tzinfo, start: datetime) -> int:
    """`2026-12-24 22:30`, or `Mon 22:30` of some week; in the zone of the role's hours, UTC if it has none."""
    if weekly := _WEEKLY.fullmatch(text):
        local = start.astimezone(zone)
        local += timedelta(days=(_DAYS.index(weekly[1]) - local.weekday()) % 7)
        hour, minute = int(weekly[2]), int(weekly[3])
        if hour > 23 or minute > 59:
            raise InvalidValue(f"at: not a time of day: {weekly[2]}:{weekly[3]}")
        return int(local.replace(hour=hour, minute=minute, second=0).timestamp())
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValue(f"at: not a moment: {text!a}", "write e.g. 2026-12-24 22:30, or Mon 22:30") from error
    return int((found if found.tzinfo else found.replace(tzinfo=zone)).timestamp())


# -- the world -------------------------------------------------------------------------------------------------------


def _world(test: InlineTest, role: Role, policy: Policy, writable: tuple[AbsPath, ...]) -> PresumedWorld:
    paths = [type_ for type_ in _types(role) if isinstance(type_, PathUnder)]
    kinds = {path.kind for path in paths}
    digests: dict[str, Digest] = {}
    for one in (*policy.roles.values(), role):
        digests |= {rule.command: rule.digest for rule in one.rules if isinstance(rule, CommandRule) and rule.digest}
    programs = [path for one in policy.roles.values() for path in _commands(one)]
    return PresumedWorld(
        links=dict(test.links),
        programs=[*programs, *policy.grammars, _SHELL],
        folders=[test.cwd, *(folder for path in paths for folder in path.under)],
        writable=writable,
        digests=digests,
        leaves_are_folders="directory" in kinds and "file" not in kinds,
    )


def _types(role: Role) -> Iterator[object]:
    for rule in role.rules:
        if isinstance(rule, CommandRule):
            yield from _types_within(rule.shape)
        elif isinstance(rule, EditRule):
            yield from rule.files


def _types_within(shape: Shape) -> Iterator[object]:
    yield from types_of(shape)
    for inner in nested(shape):
        yield from _types_within(inner.rule.shape)
