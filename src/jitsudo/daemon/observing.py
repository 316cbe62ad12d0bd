"""`jitsudo setup observe`, the daemon's side: what sudo did by sudoers goes on record, with what jitsudo would have said.

Nothing else comes of it: no grant, no session, no ticket. sudo is answered as soon as the kernel was asked about its process.
Of what happens again and again, the first and one an hour are recorded, each with how many there were.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, get_args

from jitsudo.daemon.background import Background
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.judging import found_source
from jitsudo.daemon.passed import find_program
from jitsudo.daemon.rates import Rate, shortened
from jitsudo.daemon.server import Context
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.supposing import Supposed, suppose
from jitsudo.elevation.modes import Invoked, invoked
from jitsudo.elevation.options import (
    Caller,
    Options,
    asked_options,
    asked_variables,
    check_supported,
    parse_settings,
    parse_user_info,
    working_folder,
)
from jitsudo.elevation.runas import Target, resolve_target
from jitsudo.elevation.submitted import Submitted, for_shell, submitted
from jitsudo.elevation.variables import OURS, is_kept
from jitsudo.errors import Denied, JitsudoError
from jitsudo.host.accounts import Accounts, SystemAccounts
from jitsudo.host.callers import Calling, classify, surroundings
from jitsudo.host.journal import CommandFacts, Observed
from jitsudo.host.ledger import Entry
from jitsudo.host.peer import read_credentials
from jitsudo.host.redaction import Parts, secret_parts
from jitsudo.host.shells import listed_shells
from jitsudo.host.source import Sources
from jitsudo.host.world import HostWorld
from jitsudo.policy.grammar import grammar_of
from jitsudo.policy.verdict import UNKNOWN_SOURCE, Action, Mode, Source
from jitsudo.types import AbsPath, Moment, Person, Uid, UserName
from jitsudo.wire.calls import Observe
from jitsudo.wire.framing import Json

log = logging.getLogger("jitsudod")

EVENT: Final = "command.observed"
REPEAT_SECONDS: Final = 3600.0
MAX_KINDS: Final = 4096  # of which the daemon knows that they happened before
MAX_AT_WORK: Final = 64
MAX_MESSAGE_CHARS: Final = 500
MAX_VARIABLES: Final = 32
# Set by sudo, or by PAM for the target: nobody's habit depends on the caller's.
SETS: Final = OURS | {"USERNAME", "TERM", "LANG", "LANGUAGE", "_"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that sudo decided, and what the kernel says of sudo's process."""

    call: Observe
    caller: Caller
    login_uid: Uid | None
    calling: Calling
    source: Source
    asked: Submitted
    info: dict[str, str]


@dataclass(slots=True)
class Kind:
    """The same by the same from the same place. `times`: since the last record; `entry`: that record."""

    recorded: float | None = None
    times: int = 0
    last: int = 0
    entry: Entry | None = None


@dataclass(slots=True)
class Tally:
    """How often each kind of thing happened; what is recorded, and when."""

    _kinds: OrderedDict[bytes, Kind] = field(default_factory=OrderedDict)
    _rate: Rate = field(default_factory=lambda: Rate(burst=100, seconds=10.0))

    def count(self, key: bytes, uid: Uid, now: Moment) -> tuple[Kind, int] | None:
        """The kind and how many others were not recorded, if this one is to be; None: it is only counted."""
        kind = self._kinds.setdefault(key, Kind())
        self._kinds.move_to_end(key)
        while len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        kind.times += 1
        kind.last = now.wall
        if kind.recorded is not None and now.boot - kind.recorded < REPEAT_SECONDS:
            return None
        missed = self._rate.admit(uid, now.boot)
        if missed is None:
            return None
        kind.recorded = now.boot
        return kind, missed

    def unrecorded(self) -> list[tuple[int, Entry]]:
        """What was counted since it was last recorded, as it would be recorded, with the time of the last."""
        kinds = [(kind, kind.entry) for kind in self._kinds.values() if kind.times]
        return [(kind.last, _again(entry, kind.times)) for kind, entry in kinds if entry is not None]

    def settle(self) -> list[Entry]:
        """The same, taken as recorded from now on."""
        found = [entry for _, entry in self.unrecorded()]
        for kind in self._kinds.values():
            kind.times = 0
        return found


def _again(entry: Entry, times: int) -> Entry:
    return Entry(entry.type, {**entry.body, "times": times})


class Observing:
    """Answers Observe. `tally` is what the report adds to what is on record."""

    def __init__(self, state: DaemonState, sources: Sources, gate: Gate) -> None:
        self._state = state
        self._sources = sources
        self._gate = gate
        self._background = Background()
        self._at_work = 0
        self.tally = Tally()

    async def observe(self, context: Context) -> Json:
        """Raises Denied, InvalidValue; to sudo it makes no difference."""
        call = Observe.parse(context.call.parameters)
        seen = self._see(context, call)
        if seen is None or self._at_work >= MAX_AT_WORK:
            return {}
        now = self._state.now()
        found = self.tally.count(self._key(seen), seen.caller.uid, now)
        if found is not None:
            policy = self._state.policy
            if policy is not None and any(role.when.source for role in policy.policy.roles.values()):
                seen = replace(seen, source=await asyncio.to_thread(found_source, self._sources, context.peer))
            self._at_work += 1
            self._background.start(self._work(seen, *found, now))
        return {}

    def settle(self) -> None:
        """Before the daemon stops: put on record what was only counted."""
        self._state.note(self._state.now(), *self.tally.settle())

    def _see(self, context: Context, call: Observe) -> Seen | None:
        """All that has to be read while sudo is there; None: nothing was to run."""
        peer, caller = context.peer, parse_user_info(call.user_info)
        asked = submitted(call.submit_argv, call.submit_optind)
        try:
            process, around = read_credentials(peer.pid), surroundings(peer.pid)
        except ProcessLookupError:
            raise Denied("sudo ended before it could be looked at") from None
        if peer.uid != 0 or process.effective_uid != 0 or not peer.is_alive():
            raise Denied("only sudo's own process may say what it decided")
        if (process.real_uid, peer.pid) != (caller.uid, caller.pid):
            raise Denied("sudo's account of its caller does not match the kernel's")
        if asked.is_question or not call.submit_argv:
            return None
        info = dict(item.partition("=")[::2] for item in call.command_info)
        calling = classify(around, call.run_argv or asked.words)
        return Seen(call, caller, process.login_uid, calling, UNKNOWN_SOURCE, asked, info)

    def _key(self, seen: Seen) -> bytes:
        call, calling = seen.call, seen.calling
        what = (
            int(seen.caller.uid), call.outcome, calling.kind, settled(calling.unit or ""), seen.info.get("command"),
            call.settings, tuple(settled(word) for word in seen.asked.words), seen.asked.variables, self._state.policy_digest,
        )  # fmt: skip
        return hashlib.sha256(repr(what).encode("utf-8", "surrogatepass")).digest()

    async def _work(self, seen: Seen, kind: Kind, missed: int, now: Moment) -> None:
        try:
            entry = await self._entry(seen, kind.times, missed, now)
            kind.entry, kind.times = entry, 0
            self._state.note(now, entry)
        except JitsudoError as error:
            log.warning("not observed: %s", error.sentence)
        finally:
            self._at_work -= 1

    async def _entry(self, seen: Seen, times: int, missed: int, now: Moment) -> Entry:
        """What goes on record. Raises InvalidValue, Failed."""
        options = parse_settings(seen.call.settings, seen.asked.variables)
        uid, login_uid = seen.caller.uid, seen.login_uid

        def look_up(accounts: Accounts) -> tuple[Person, Target | JitsudoError]:
            try:
                return accounts.person(uid, login_uid), resolve_target(options, seen.caller, accounts)
            except JitsudoError as error:
                return Person(uid, seen.caller.name, login_uid), error

        person, target = await self._state.people.ask(look_up)
        if isinstance(target, JitsudoError):
            action, supposed = None, Supposed("refused", target.sentence)
        else:
            action, supposed = await self._gate.run(person, lambda: self._suppose(seen, person, options, target, now))
        argv = _shown_argv(action, seen)
        path = action.path if action is not None else seen.info.get("command")
        why = supposed.why + (f" ({missed} others of theirs before it were only counted)" if missed else "")
        observed = Observed(
            outcome=seen.call.outcome,
            plugin=seen.call.plugin,
            message=None if seen.call.message is None else seen.call.message[:MAX_MESSAGE_CHARS],
            mode=options.mode,
            caller=seen.calling.kind,
            unit=seen.calling.unit,
            parents=seen.calling.parents,
            # An editor runs as the caller, and keeps what is theirs.
            variables=() if options.mode == "edit" else lost_variables(seen.call.run_env),
            would=supposed.would,
            why=why,
            role=supposed.role,
            guardrail=supposed.guardrail,
            asks=supposed.asks,
            times=times,
        )
        facts = CommandFacts(
            person=person,
            runas_user=options.runas_user or "root" if isinstance(target, JitsudoError) else target.account.name,
            argv=shortened(argv),
            path=path,
            cwd=seen.caller.cwd or "?",
            tty=seen.caller.tty,
            secrets=self._secrets(path, argv) if options.mode == "command" else frozenset(),
            source=seen.source.address,
        )
        literal = not seen.call.cut and facts.argv == argv and action is not None
        return self._state.journal.command_observed(facts, observed, self._state.policy_digest, literal=literal)

    def _suppose(
        self, seen: Seen, person: Person, options: Options, target: Target, now: Moment
    ) -> tuple[Action | None, Supposed]:
        """Blocks: it looks at files."""
        try:
            check_supported(options, listing=False)
            what = _what(seen, options, target)
            action = _action(person, options, target, what, seen.caller.cwd or "/")
        except JitsudoError as error:
            return None, Supposed("refused", error.sentence)
        policy = self._state.policy
        if policy is None:
            return action, Supposed("no-policy", "no policy is in force")
        if seen.call.cut:
            return action, Supposed("unknown", "the command line is too long to be observed as a whole")
        with HostWorld(SystemAccounts().by_name) as world:
            return action, suppose(action, policy.policy, self._state.host, now, world, seen.source)

    def _secrets(self, path: str | None, argv: Sequence[str]) -> Parts:
        policy = self._state.policy
        if policy is None or path is None:
            return frozenset()
        return secret_parts(grammar_of(policy.policy.grammars, path), argv)


def _what(seen: Seen, options: Options, target: Target) -> Invoked:
    """What jitsudo's front ends would have sent of it."""
    words, found = seen.asked.words, seen.info.get("command")
    if options.mode == "edit":
        return invoked(options, target, ("sudoedit", *words), None, frozenset())
    if options.mode != "command":
        shell = found if found is not None and seen.call.outcome == "accepted" else target.account.shell
        return invoked(options, target, (shell, *for_shell(words)), None, listed_shells())
    path = found if found is not None and found.startswith("/") else None
    name = words[0] if words else ""
    if path is None and "/" in name and not name.startswith("/"):
        name = f"{seen.caller.cwd or ''}/{name}"
    return invoked(options, target, words, path or find_program(name, None), frozenset())


def _action(person: Person, options: Options, target: Target, what: Invoked, cwd: str) -> Action:
    return Action(
        person=person,
        run_as=target.account.name,
        run_as_group=target.group_name if options.runas_group is not None else None,
        mode=what.mode,
        path=None if what.path is None else AbsPath(what.path),
        argv=what.argv,
        cwd=AbsPath(working_folder(options, target.account) or cwd),
        sudo_options=asked_options(options),
        variables=asked_variables(options),
    )


def _shown_argv(action: Action | None, seen: Seen) -> tuple[str, ...]:
    if action is None:
        return seen.asked.words
    if action.mode in ("shell", "login-shell") and action.path is not None:
        return (action.path.rpartition("/")[2], *action.argv)
    return action.argv


def recorded_action(body: Mapping[str, object], person: Person) -> Action:
    """The action again, from what is on record of it. Raises InvalidValue."""
    argv, mode, path = body.get("argv"), body.get("mode"), body.get("command")
    words = tuple(str(word) for word in argv) if isinstance(argv, list) else ()
    known: Mode = next((one for one in get_args(Mode) if one == mode), "command")
    is_path = isinstance(path, str) and path.startswith("/") and known != "edit"
    return Action(
        person=person,
        run_as=UserName(body.get("runas_user")),
        run_as_group=None,
        mode=known,
        path=AbsPath(path) if is_path else None,
        argv=words[1:] if known.endswith("shell") else words,
        cwd=AbsPath(body.get("cwd")),
    )


_VARYING: Final = (
    (re.compile(r"BECOME-SUCCESS-[a-z0-9]+"), "BECOME-SUCCESS-*"),
    (re.compile(r"ansible-tmp-[0-9.]+(?:-[0-9]+)*"), "ansible-tmp-*"),
    (re.compile(r"^run-[ur][0-9a-f]+\."), "run-*."),
    (re.compile(r"^session-c?[0-9]+\."), "session-*."),
    (re.compile(r"^(user)@[0-9]+\."), r"\1@*."),
)


def settled(text: str) -> str:
    """Without what is another each time: what Ansible makes up, the numbers of sessions and of transient units."""
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text


def lost_variables(names: Sequence[str]) -> tuple[str, ...]:
    """Names of those that a command sees by sudoers and would not see by jitsudo, unless a role keeps them."""
    mine = (name for name in names if name not in SETS and not name.startswith(("SUDO_", "LC_")))
    return tuple(sorted({name for name in mine if not is_kept(name, "")})[:MAX_VARIABLES])
