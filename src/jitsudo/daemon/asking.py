"""From one Check to a typed question: who asks, as whom, from where, to do what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from jitsudo.daemon.caller import Behind, identify_with
from jitsudo.daemon.connection import Descriptors
from jitsudo.daemon.gate import Gate
from jitsudo.daemon.granting import Granting
from jitsudo.daemon.passed import caller_cwd, cwd_by_name
from jitsudo.daemon.people import LookedUp, look_up
from jitsudo.daemon.session import NEVER
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.daemon.tickets import Place, place_of
from jitsudo.elevation.modes import Invoked, invoked
from jitsudo.elevation.options import (
    Caller,
    Options,
    asked_options,
    asked_variables,
    check_supported,
    parse_settings,
    working_folder,
)
from jitsudo.elevation.runas import Target, resolve_target
from jitsudo.errors import Denied, JitsudoError
from jitsudo.host.accounts import Accounts
from jitsudo.host.journal import CommandFacts
from jitsudo.host.peer import Peer
from jitsudo.host.redaction import Parts, secret_parts
from jitsudo.host.shells import listed_shells
from jitsudo.policy.grammar import grammar_of
from jitsudo.policy.verdict import Action
from jitsudo.types import AbsPath, Uid
from jitsudo.wire.calls import Check


@dataclass(frozen=True, slots=True)
class Asked:
    """One action as it was asked for. `place`: where the person sits, for their tickets. `source`: whence, once looked up.

    `looked_up`: everybody whom the person's grants name. `seen_at`: when, by the boot clock, the user database was asked.
    """

    check: Check
    behind: Behind
    options: Options
    target: Target
    invoked: Invoked
    action: Action
    place: Place | None
    secrets: Parts
    source: str | None = None
    looked_up: LookedUp = field(default_factory=dict)
    seen_at: float = NEVER

    @property
    def facts(self) -> CommandFacts:
        """What is said of it on record."""
        return CommandFacts(
            person=self.behind.person,
            runas_user=self.target.account.name,
            argv=self._argv(),
            path=self.action.path,
            cwd=self.action.cwd,
            tty=self.behind.caller.tty,
            secrets=self.secrets,
            source=self.source,
        )

    def _argv(self) -> tuple[str, ...]:
        if self.invoked.path is None or self.invoked.mode == "command":
            return self.invoked.argv
        return (self.invoked.path.rpartition("/")[2], *self.invoked.argv)


class Asking:
    """Understands what front ends send."""

    def __init__(self, state: DaemonState, granting: Granting, sessions: Sessions, gate: Gate) -> None:
        self._state = state
        self._granting = granting
        self._sessions = sessions
        self._gate = gate

    async def understand(self, peer: Peer, check: Check, descriptors: Descriptors) -> Asked:
        """Raises Denied, InvalidValue, NotFound, Failed, TimedOut: nothing is decided on what is not understood."""
        options = parse_settings(check.invocation.settings, check.env_add)
        check_supported(options, listing=False)
        if check.sub_command:
            raise Denied("programs inside an intercepted shell are not supported yet")

        def also(caller: Caller, uid: Uid) -> Callable[[Accounts], tuple[Target, LookedUp]]:
            named = self._granting.named_in(uid)
            return lambda accounts: (resolve_target(options, caller, accounts), look_up(accounts, named))

        began = self._state.now()
        behind, (target, looked_up) = await identify_with(
            peer, check.invocation, self._state.people, self._sessions, also
        )
        cwd = await self._cwd(behind, descriptors)
        asked = self.typed(check, behind, target, options, cwd, peer.pid)
        return replace(asked, looked_up=looked_up, seen_at=began.boot)

    def typed(
        self, check: Check, behind: Behind, target: Target, options: Options, cwd: AbsPath, pid: int
    ) -> Asked:
        """The same where caller, target and folder are known."""
        if not check.argv:
            raise Denied("no command was given", "give the command itself: sudo COMMAND")
        shells = frozenset() if options.mode in ("command", "edit") else listed_shells()
        what = invoked(options, target, check.argv, check.command, shells)
        action = Action(
            person=behind.person,
            run_as=target.account.name,
            run_as_group=target.group_name if options.runas_group is not None else None,
            mode=what.mode,
            path=None if what.path is None else AbsPath(what.path),
            argv=what.argv,
            cwd=AbsPath(working_folder(options, target.account) or cwd),  # operands are read where the command will run
            sudo_options=asked_options(options),
            variables=asked_variables(options),
        )
        place, secrets = place_of(behind.person.uid, pid), self._secrets(what)
        return Asked(check, behind, options, target, what, action, place, secrets)

    def _secrets(self, what: Invoked) -> Parts:
        policy = self._state.policy
        if policy is None or what.path is None or what.mode != "command":
            return frozenset()
        return secret_parts(grammar_of(policy.policy.grammars, what.path), what.argv)

    async def _cwd(self, behind: Behind, descriptors: Descriptors) -> AbsPath:
        if (name := cwd_by_name(descriptors)) is not None:
            return name
        try:
            return await self._gate.run(behind.person, lambda: caller_cwd(descriptors))
        except JitsudoError:
            if not behind.is_root_outside:
                raise
            return AbsPath("/")  # nothing is matched against it, and root goes on whatever hangs
