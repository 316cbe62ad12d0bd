"""The decide interface: what front ends ask, answered from grants, policy and guardrails, on record before it takes effect."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from jitsudo.daemon.caller import Behind, identify_caller
from jitsudo.daemon.connection import Connection, Descriptors
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.hints import with_state
from jitsudo.daemon.listing import list_text
from jitsudo.daemon.passed import caller_cwd, caller_terminal, check_same_file
from jitsudo.daemon.rates import Rate, shortened
from jitsudo.daemon.server import Context, Handler
from jitsudo.daemon.sessions import Session, Sessions, new_session
from jitsudo.daemon.state import DaemonState
from jitsudo.elevation.command_info import build_command_info
from jitsudo.elevation.environment import SECURE_PATH, build_environment
from jitsudo.elevation.options import Options, check_supported, parse_settings
from jitsudo.elevation.runas import Target, resolve_target
from jitsudo.errors import Denied, Failed, JitsudoError, NotFound, TimedOut
from jitsudo.grants.lifecycle import State
from jitsudo.host import scopes
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.journal import CommandFacts
from jitsudo.host.ledger import Entry
from jitsudo.host.peer import Peer
from jitsudo.host.world import HostWorld
from jitsudo.policy.evaluate import evaluate
from jitsudo.policy.verdict import Action, Allow, Challenge, Deny, HeldGrant
from jitsudo.types import AbsPath, Moment, Person, Uid, UserName
from jitsudo.wire.calls import Check, Invocation, ListCommands, SessionCall
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import Json, encode_text

log = logging.getLogger("jitsudod")
T = TypeVar("T")
EVALUATION_SECONDS: Final = 10.0  # for paths on file systems that do not answer
EVALUATION_THREADS: Final = 16
EVALUATIONS_A_PERSON: Final = 2  # at once


@dataclass(frozen=True, slots=True)
class Asked:
    """One command as it was asked for: who, as whom, what, where."""

    check: Check
    behind: Behind
    options: Options
    target: Target
    cwd: AbsPath

    @property
    def facts(self) -> CommandFacts:
        return CommandFacts(
            person=self.behind.person,
            runas_user=self.target.account.name,
            argv=self.check.argv,
            path=self.check.command,
            cwd=self.cwd,
            tty=self.behind.caller.tty,
        )


class Decide:
    """io.jitsudo.Decide, for one server."""

    def __init__(self, state: DaemonState, granting: Granting, sessions: Sessions) -> None:
        self._state = state
        self._granting = granting
        self._sessions = sessions
        self._of_connection: dict[Connection, Session] = {}
        self._refusals = Rate(burst=100, seconds=10.0)
        self._turns: dict[Uid, asyncio.Semaphore] = {}
        self._threads = ThreadPoolExecutor(EVALUATION_THREADS, thread_name_prefix="evaluate")
        self.handlers: Mapping[str, Handler] = {
            "Check": self._check,
            "Started": self._started,
            "Close": self._close,
            "List": self._list,
            "Validate": self._validate,
            "Invalidate": self._invalidate,
        }

    def keeps(self, connection: Connection) -> bool:
        return connection in self._of_connection

    def ended(self, connection: Connection) -> None:
        """sudo has gone, or lost its connection; its pidfd tells which."""
        self._of_connection.pop(connection, None)

    # Check.

    async def _check(self, context: Context) -> Json:
        check = Check.parse(context.call.parameters)
        context.descriptors.name(check.descriptors)
        try:
            asked = await self._understand(context.peer, check, context.descriptors)
        except JitsudoError as error:
            await self._record_misunderstood(context.peer, check, error)
            raise
        try:
            if asked.behind.is_root_outside:
                return await self._allow_root(asked, self._state.now())  # whatever the clock: it is root who sets it right
            return await self._judge(context, asked, self._state.trusted_now())
        except JitsudoError as error:
            self._note_denial(asked.facts, error.code, Deny("error", error.sentence), self._state.now())
            raise

    async def _judge(self, context: Context, asked: Asked, now: Moment) -> Json:
        held = await self._grants(asked.behind, now)
        context.waiting_for = "the command's paths are being looked up"
        verdict = await self._evaluate(asked, held, now, context.descriptors)
        if isinstance(verdict, Allow):
            path, descriptors = verdict.path, context.descriptors
            await self._in_thread(asked.behind.person, lambda: check_same_file(path, asked.check.command, descriptors))
            grant = next(g for g in held if g.id == verdict.grant)
            return await self._allow(context, asked, verdict, grant, now)
        return self._deny(asked, verdict, now)

    async def _understand(self, peer: Peer, check: Check, descriptors: Descriptors) -> Asked:
        options = parse_settings(check.invocation.settings, check.env_add)
        check_supported(options, listing=False)
        behind = await identify_caller(peer, check.invocation, self._state.people, self._sessions)
        if check.sub_command:
            raise Denied("programs inside an intercepted shell are not supported yet")
        if not check.argv:
            raise Denied("no command was given", "give the command itself: sudo COMMAND")
        target = await self._state.people.ask(lambda accounts: resolve_target(options, behind.caller, accounts))
        try:
            cwd = await self._in_thread(behind.person, lambda: caller_cwd(descriptors))
        except JitsudoError:
            if not behind.is_root_outside:
                raise
            cwd = AbsPath("/")  # nothing is matched against it, and root goes on whatever hangs
        return Asked(check, behind, options, target, cwd)

    async def _grants(self, behind: Behind, now: Moment) -> list[HeldGrant]:
        await self._granting.issue_standing(behind.person, now)
        held, refused = await self._granting.held_by(behind.person, now)
        for error in refused:
            log.warning("a grant of %s was refused: step %d: %s", behind.person.name, error.step, error.sentence)
        if behind.session is not None:
            # Inside a session its own grant counts, and no other.
            held = [g for g in held if g.id == behind.session.grant]
        return held

    async def _evaluate(
        self, asked: Asked, held: Sequence[HeldGrant], now: Moment, descriptors: Descriptors
    ) -> Allow | Deny | Challenge:
        policy, host, action = self._state.require_policy().policy, self._state.host, _action(asked)

        def run() -> Allow | Deny | Challenge:
            with HostWorld(SystemAccounts().by_name, descriptors.get("root"), descriptors.get("cwd")) as world:
                if descriptors.get("cwd") is not None and not world.cwd_is(action.cwd):
                    # In a chroot of the caller's, say: paths would be looked up elsewhere than where the command opens them.
                    raise Denied("the current directory is not what it is called", "change to it by its full name")
                return evaluate(action, policy, held, host, now, world)

        verdict = await self._in_thread(asked.behind.person, run)
        for fault in verdict.faults:
            log.error("evaluation: %s", fault)
        return with_state(verdict, asked.behind.person, self._state) if isinstance(verdict, Deny) else verdict

    async def _in_thread(self, person: Person, work: Callable[[], T]) -> T:
        """What asks the file system: a path on one that hangs must not stop other people's decisions.

        Nor may one person have all the threads; those that hang count until they are back. Raises TimedOut.
        """
        turn = self._turns.setdefault(person.uid, asyncio.Semaphore(EVALUATIONS_A_PERSON))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(EVALUATION_SECONDS):
                await turn.acquire()
                running = self._threads.submit(work)
                running.add_done_callback(lambda _: loop.call_soon_threadsafe(turn.release))
                return await asyncio.wrap_future(running)
        except TimeoutError:
            raise TimedOut("a path on this command line could not be looked up in time", "is a file system hanging?") from None

    async def _allow_root(self, asked: Asked, now: Moment) -> Json:
        if asked.check.command is None:
            return self._deny(asked, _no_such_command(asked), now)
        entry = self._state.journal.command_allowed(asked.facts, None, None, None, None, self._policy_digest())
        try:
            await self._state.record(now, entry)
        except Failed as error:
            # A full disk must not stop root's own cron jobs: root outside a session is allowed, daemon up or down.
            log.critical("not recorded (%s): root runs %s", error.sentence, asked.facts.path)
        return self._allowed(asked, asked.check.command, asked.check.argv, None, None)

    async def _allow(self, context: Context, asked: Asked, verdict: Allow, grant: HeldGrant, now: Moment) -> Json:
        session, token = new_session(
            person=asked.behind.person,
            grant=grant.id,
            role=grant.role,
            run_as=asked.target.account.name,
            command=self._state.journal.command_line(verdict.argv),
            pid=context.peer.pid,
            now=now,
            not_after=grant.not_after,
            on_expiry=verdict.on_expiry,
            parent=asked.behind.session.id if asked.behind.session is not None else None,
        )
        session.terminal = caller_terminal(context.descriptors)
        journal, entries = self._state.journal, []
        if verdict.uses_limited or grant.uses_left is not None:
            entries.append(journal.grant_used(grant.id, session.id))
            if grant.uses_left == 1:
                entries.append(journal.grant_used_up(grant.id))
        policy = self._policy_digest()
        entries.append(journal.command_allowed(asked.facts, grant.id, grant.role, verdict.rule, session.id, policy))
        entries.append(journal.session_started(session.person, session.id, grant.id, session.facts()))
        await self._open(session, entries, now, uses_up=grant.uses_left == 1)
        self._of_connection[context.connection] = session
        return self._allowed(asked, verdict.path, verdict.argv, session, token)

    async def _open(self, session: Session, entries: list[Entry], now: Moment, *, uses_up: bool) -> None:
        """Scope and record, side by side; then look again whether everything still holds. Raises Failed, Denied."""
        try:
            recorded = self._state.begin(now, entries)
            await asyncio.gather(self._state.durable(recorded), self._sessions.open(session, now))
            if not scopes.is_inside(session.id, session.pid):
                raise Failed("sudo is not in its scope", "systemctl status jitsudo.slice")
            still = State.USED_UP if uses_up else State.ACTIVE
            if self._state.book.grants[session.grant].state is not still or session.ending is not None:
                raise Denied("the grant ended just now")
        except BaseException as error:  # cancelled, too: nothing is allowed, and the record says so; raised again
            self._sessions.abandon(session, f"not allowed after all: {error}")
            raise

    @staticmethod
    def _allowed(asked: Asked, path: str, argv: Sequence[str], session: Session | None, token: str | None) -> Json:
        environment = build_environment(asked.check.invocation.user_env, asked.behind.account, asked.target, path, argv)
        return {
            "verdict": "allow",
            "session": session.id if session is not None else None,
            "token": token,
            "command_info": [encode_text(item) for item in build_command_info(asked.target, path, None)],
            "argv": [encode_text(item) for item in argv],
            "env": [encode_text(item) for item in environment],
        }

    def _deny(self, asked: Asked, verdict: Deny | Challenge, now: Moment) -> Json:
        if isinstance(verdict, Challenge):
            verdict = Deny("unsupported", f"{verdict.message} ({verdict.kind} is not supported yet)", role=verdict.role)
        self._note_denial(asked.facts, verdict.code, verdict, now)
        return _denied(verdict.code, verdict.message, verdict.hints)

    def _note_denial(self, facts: CommandFacts, code: str, verdict: Deny, now: Moment) -> None:
        """Put a refusal on record; those of a person who is refused all the time are counted instead."""
        missed = self._refusals.admit(facts.person.uid, now.boot)
        if missed is None:
            return
        facts = replace(facts, argv=shortened(tuple(facts.argv)))
        message = verdict.message + (f" ({missed} refusals of theirs before this one were only counted)" if missed else "")
        journal, policy = self._state.journal, self._policy_digest()
        entries = []
        if verdict.guardrail is not None:
            entries.append(journal.guardrail_fired(facts, verdict.guardrail, verdict.role, "deny"))
        why = (verdict.role, verdict.rule, verdict.guardrail)
        self._state.note(now, *entries, journal.command_denied(facts, code, message, *why, policy))

    async def _record_misunderstood(self, peer: Peer, check: Check, error: JitsudoError) -> None:
        """A command that was refused before it could be judged is on record too, with what the kernel says of the caller."""
        with contextlib.suppress(JitsudoError):
            uid, login_uid = Uid(peer.credentials.real_uid), peer.credentials.login_uid
            person = await self._state.people.ask(lambda accounts: accounts.person(uid, login_uid))
            facts = CommandFacts(person, "?", check.argv, check.command, "?", None)
            self._note_denial(facts, error.code, Deny("error", error.sentence), self._state.now())

    def _policy_digest(self) -> str | None:
        return self._state.policy.digest if self._state.policy is not None else None

    # The session's life.

    async def _started(self, context: Context) -> Json:
        call = SessionCall.parse(context.call.parameters, closing=False)
        session = self._sessions.prove(call.session, call.token)
        if not scopes.is_inside(session.id, context.peer.pid):
            reason = "sudo left its scope before the command started: does a PAM stack of sudo's contain pam_systemd?"
            self._sessions.end(session, reason)
            return _denied("scope", reason, ("grep pam_systemd /etc/pam.d/sudo /etc/pam.d/common-session*",))
        # A sudo that its caller stopped (SIGSTOP) after the allow must not start its command when the time is over.
        grant = self._state.book.grants[session.grant]
        is_over = grant.state not in (State.ACTIVE, State.USED_UP) or self._state.now().wall >= session.not_after
        if is_over or session.ending is not None:
            reason = f"grant {session.grant} ended before the command started"
            self._sessions.end(session, reason)
            return _denied("no-grant", reason, ())
        if context.peer.pid != session.pid:
            self._sessions.follow(session, context.peer.pid)
        self._of_connection[context.connection] = session
        return {"verdict": "allow"}

    async def _close(self, context: Context) -> Json:
        call = SessionCall.parse(context.call.parameters, closing=True)
        session = self._sessions.prove(call.session, call.token)
        if context.peer.pid != session.pid:
            raise Denied("only the session's own sudo can close it")
        self._sessions.closed(session, call.wait_status or 0, call.errno or 0)
        return {}

    # sudo -l, -v, -k.

    async def _list(self, context: Context) -> Json:
        call = ListCommands.parse(context.call.parameters)
        options = parse_settings(call.invocation.settings, ())
        check_supported(options, listing=True)
        behind = await identify_caller(context.peer, call.invocation, self._state.people, self._sessions)
        now = self._state.trusted_now()
        if call.user is not None and call.user != behind.account.name and not behind.is_root_outside:
            raise Denied("only root may list what somebody else may do", "sudo -l")
        person = behind.person if call.user is None else await self._listed(call.user)
        if person.uid == 0:
            return {"verdict": "allow", "text": "Root outside a session may run anything; every use is on record.\n"}
        await self._granting.issue_standing(person, now)
        held, _ = await self._granting.held_by(person, now)
        if not call.argv and held:
            return {"verdict": "allow", "text": list_text(person, held, self._state, now)}
        if not held:
            return _denied("no-grant", f"{person.name} holds no grant on {self._state.host.name}", ["jitsudo roles"])
        target = await self._state.people.ask(lambda accounts: resolve_target(options, behind.caller, accounts))
        check = Check(call.invocation, call.argv, (), call.command, (), False)
        asked = Asked(check, Behind(person, behind.account, behind.caller, behind.session), options, target, AbsPath("/"))
        verdict = await self._evaluate(asked, held, now, context.descriptors)
        if isinstance(verdict, Allow):
            return {"verdict": "allow", "text": " ".join((verdict.path, *verdict.argv[1:])) + "\n"}
        return _denied("not-covered", verdict.message, getattr(verdict, "hints", ()))

    async def _listed(self, name: str) -> Person:
        account = await self._state.people.ask(lambda accounts: accounts.by_name(UserName(name)))
        if account is None:
            raise NotFound(f"unknown user {name}", "getent passwd")
        return await self._state.people.ask(lambda accounts: accounts.person(account.uid, account.uid))

    async def _validate(self, context: Context) -> Json:
        await self._known(context, "Validate")
        return {"verdict": "allow"}

    async def _invalidate(self, context: Context) -> Json:
        await self._known(context, "Invalidate")
        return {}

    async def _known(self, context: Context, what: str) -> None:
        """No password is asked yet, so there is no ticket to refresh or to drop; the caller is identified all the same."""
        fields = Fields(context.call.parameters, what)
        invocation = fields.nested("invocation", Invocation.read)
        if what == "Invalidate":
            fields.boolean("remove")
        fields.done()
        await identify_caller(context.peer, invocation, self._state.people, self._sessions)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _action(asked: Asked) -> Action:
    group = asked.target.group_name if asked.options.runas_group is not None else None
    command = asked.check.command
    return Action(
        person=asked.behind.person,
        run_as=asked.target.account.name,
        run_as_group=group,
        mode="command",
        path=None if command is None else AbsPath(command),
        argv=asked.check.argv,
        cwd=asked.cwd,
    )


def _no_such_command(asked: Asked) -> Deny:
    return Deny("unknown-command", f"{asked.check.argv[0]}: command not found", (f"looked for on {SECURE_PATH}",))


def _denied(code: str, message: str, hints: Sequence[str]) -> Json:
    return {"verdict": "deny", "code": code, "message": message, "hints": list(hints)}
