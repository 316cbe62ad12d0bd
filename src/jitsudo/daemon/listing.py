"""sudo -l, -ll, -l COMMAND: what a person may do now, under which grant, until when, within which guardrails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from jitsudo.daemon.asking import Asking
from jitsudo.daemon.caller import Behind, identify_caller
from jitsudo.daemon.hints import why_not
from jitsudo.daemon.judging import Judging, Proofs
from jitsudo.daemon.refusing import denied
from jitsudo.daemon.server import Context
from jitsudo.daemon.sessions import Sessions
from jitsudo.daemon.state import DaemonState
from jitsudo.elevation.options import Options, check_supported, parse_settings
from jitsudo.elevation.runas import resolve_target
from jitsudo.errors import Denied, NotFound
from jitsudo.host.accounts import Accounts
from jitsudo.policy.describe import describe_role
from jitsudo.policy.model import AgentProof, Authentication, Never, Policy, Role
from jitsudo.policy.verdict import Allow, Challenge, DenyCode, HeldGrant
from jitsudo.types import AbsPath, Duration, Moment, Person, UserName
from jitsudo.wire.calls import Check, ListCommands
from jitsudo.wire.framing import Json, encode_text

ROOT_TEXT = "Root outside a session may run anything; every use is on record."
SAID: Final[tuple[DenyCode, ...]] = ("no-grant", "unknown-command")  # what sudo, too, has words for when it lists a command


class Listing:
    """Answers List: nobody is asked for a password for it, and nothing of it is an allow."""

    def __init__(self, state: DaemonState, sessions: Sessions, asking: Asking, judging: Judging) -> None:
        self._state = state
        self._sessions = sessions
        self._asking = asking
        self._judging = judging

    async def answer(self, context: Context, call: ListCommands) -> Json:
        """The reply. Raises Denied, InvalidValue, NotFound, Failed, TimedOut."""
        options = parse_settings(call.invocation.settings, ())
        check_supported(options, listing=True)
        behind = await identify_caller(context.peer, call.invocation, self._state.people, self._sessions)
        now = self._state.trusted_now()
        if call.user is not None and call.user != behind.person.name:
            if not behind.is_root_outside:
                raise Denied("only root may list what somebody else may do", "sudo -l")
            behind = await self._of(call.user, behind)
        if behind.person.uid == 0:
            if call.argv and call.command is None:
                raise NotFound(f"{call.argv[0]}: command not found")
            return {"verdict": "allow", "text": encode_text(_command_text(call.command, call.argv) or ROOT_TEXT)}
        if call.argv:
            return await self._command(context, call, behind, options, now)
        held, refused = await self._judging.grants(behind.person, behind.session, now)
        if held:
            text = list_text(behind.person, held, self._state, now, verbose=call.verbose)
            return {"verdict": "allow", "text": encode_text(text)}
        message = f"{behind.person.name} holds no grant on {self._state.host.name}"
        return denied("no-grant", message, [*why_not(refused), "jitsudo roles"])

    async def _of(self, name: str, behind: Behind) -> Behind:
        def look_up(accounts: Accounts) -> Person | None:
            account = accounts.by_name(UserName(name))
            return None if account is None else accounts.person(account.uid, account.uid)

        person = await self._state.people.ask(look_up)
        if person is None:
            raise NotFound(f"unknown user {name}", "getent passwd")
        return Behind(person, behind.account, behind.caller, None)

    async def _command(
        self, context: Context, call: ListCommands, behind: Behind, options: Options, now: Moment
    ) -> Json:
        check = Check(call.invocation, call.argv, (), call.command, (), sub_command=False)
        target = await self._state.people.ask(lambda accounts: resolve_target(options, behind.caller, accounts))
        asked = self._asking.typed(check, behind, target, options, AbsPath("/"), context.peer.pid)
        judged = await self._judging.judge(context, asked, context.descriptors, Proofs(), now)
        verdict = judged.verdict
        if isinstance(verdict, Allow):
            return {"verdict": "allow", "text": encode_text(_command_text(verdict.path, verdict.argv))}
        if isinstance(verdict, Challenge):  # nothing but an answer is missing
            return {"verdict": "allow", "text": encode_text(_command_text(asked.action.path, asked.facts.argv))}
        if verdict.code in SAID:
            return denied(verdict.code, verdict.message, verdict.hints)
        # The exit status is the answer, as of sudo: scripts ask so. Why not, `jitsudo explain` says.
        return {"verdict": "deny", "code": verdict.code, "message": None, "hints": []}


def _command_text(path: str | None, argv: Sequence[str]) -> str:
    return "" if not argv else " ".join((path or argv[0], *argv[1:]))


def list_text(person: Person, held: Sequence[HeldGrant], state: DaemonState, now: Moment, *, verbose: bool) -> str:
    """Text for standard output, without the newline at its end."""
    policy = state.require_policy().policy
    lines = [f"User {person.name} may run the following commands on {state.host.name}:"]
    for grant in sorted(held, key=lambda g: (g.standing, g.not_after, g.id)):
        role = policy.roles[grant.role]
        lines.append("")
        lines += _long(grant, role, policy, now) if verbose else _short(grant, role, policy, now)
    return "\n".join(lines)


def _short(grant: HeldGrant, role: Role, policy: Policy, now: Moment) -> list[str]:
    lines = [f"role {grant.role}, grant {grant.id}, {_until(grant, now)}"]
    lines += [f"    ({', '.join(grant.run_as)}) {line}" for line in describe_role(role)]
    names = [f"{guardrail.name} ({guardrail.then})" for guardrail in policy.guardrails_of(role)]
    return [*lines, f"    guardrails: {', '.join(names)}"] if names else lines


def _long(grant: HeldGrant, role: Role, policy: Policy, now: Moment) -> list[str]:
    lines = [
        f"Role: {grant.role}",
        f"    Description: {role.description}",
        f"    Grant: {grant.id}, {_until(grant, now)}",
        f"    RunAsUsers: {', '.join(grant.run_as)}",
    ]
    if role.run_as.groups:
        lines.append(f"    RunAsGroups: {', '.join(role.run_as.groups)}")
    lines.append(f"    Authentication: {_proof(role.authenticate)}")
    if role.sudo_options:
        lines.append(f"    Options: {', '.join(role.sudo_options)}")
    if role.limits is not None:
        named = (("uses", role.limits.uses), ("concurrent", role.limits.concurrent), ("per hour", role.limits.per_hour))
        lines.append("    Limits: " + ", ".join(f"{number} {what}" for what, number in named if number is not None))
    for guardrail in policy.guardrails_of(role):
        lines.append(f"    Guardrail: {guardrail.name} ({guardrail.then}): {guardrail.message}".rstrip(": "))
    lines.append("    Commands:")
    return [*lines, *(f"        {line}" for line in describe_role(role))]


def _proof(wanted: Authentication) -> str:
    match wanted:
        case Never():
            return "none"
        case AgentProof():
            return "an SSH agent's signature"
    return f"a password, proven within the last {Duration(wanted.seconds)}"


def _until(grant: HeldGrant, now: Moment) -> str:
    left = Duration(max(1, grant.not_after - now.wall))
    uses = "" if grant.uses_left is None else f", {grant.uses_left} uses left"
    kind = "standing, " if grant.standing else ""
    end = datetime.fromtimestamp(grant.not_after, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{kind}until {end} ({left} left{uses})"
