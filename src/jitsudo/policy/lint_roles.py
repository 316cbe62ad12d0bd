"""What lint has to say of one role: its rules' ways out, its shells, its approvers, and rules that never matter."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from jitsudo.policy.admission import CALLED, service_named
from jitsudo.policy.findings import Finding, FindingCode, Severity
from jitsudo.policy.grammar import Grammars, WayOut, grammar_of
from jitsudo.policy.lint_risks import Risk, Risks
from jitsudo.policy.lint_types import is_broad, is_free, nested, operands_of, reached, shapes, types_of, unusable_folder
from jitsudo.policy.lint_ways import openings
from jitsudo.policy.model import Guardrail, Policy, Role
from jitsudo.policy.nodes import Pos
from jitsudo.policy.rules import (
    AnyValue,
    ArgumentType,
    CommandRule,
    EditRule,
    GlobText,
    LiteralText,
    Operand,
    RegexText,
    Rule,
    ShellRule,
)

_ANYTHING = Operand(AnyValue(), 0, None)
_SAID: dict[WayOut, str] = {
    "runs-program": "runs other programs",
    "spawns-shell": "opens a shell",
    "reads-file": "shows files of the caller's choice",
    "writes-file": "writes files of the caller's choice",
    "loads-code": "loads code or configuration of the caller's choice",
    "changes-system": "changes accounts, permissions or the kernel",
}
_CURES: dict[WayOut, str] = {
    "runs-program": "leave this out, or say which: {one_of: […]}, {command: RULE}",
    "spawns-shell": "allow a program that only does the task; for files, an `edit` rule",
    "reads-file": "say which: {path: {under: FOLDER}}",
    "writes-file": "say which: {path: {under: FOLDER}}; or an `edit` rule",
    "loads-code": "leave this out, or say which: {one_of: […]}",
    "changes-system": "say which values: {one_of: […]}",
}
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh", "mksh", "csh", "tcsh", "rbash", "busybox"})


def lint_role(role: Role, policy: Policy, grammars: Grammars, risks: Risks) -> Iterator[Finding]:
    """Every finding of the role, in no particular order."""
    yield from _self_approval(role, policy)
    yield from _duplicates(role)
    yield from _access(role)
    for rule in role.rules:
        if isinstance(rule, CommandRule):
            yield from _RuleLint(role, rule.pos, grammars, risks).command(rule)
            yield from _silenced(role, rule, policy.guardrails_of(role))
        elif isinstance(rule, EditRule):
            yield from _RuleLint(role, rule.pos, grammars, risks).edit(rule)
        else:
            yield from _shell(role, rule)


class _RuleLint:
    """One rule of a role, and the command lines inside it."""

    def __init__(self, role: Role, pos: Pos, grammars: Grammars, risks: Risks) -> None:
        self._role = role
        self._pos = pos
        self._grammars = grammars
        self._risks = risks
        self._program: str | None = None

    def _finding(self, code: FindingCode, message: str, cure: str, severity: Severity = "warning") -> Finding:
        return Finding(self._pos, code, severity, message, cure, str(self._role.name), self._program)

    def command(self, rule: CommandRule) -> Iterator[Finding]:
        """What a program with these arguments leads to."""
        self._program = rule.command
        name = posixpath.basename(rule.command)
        risk = self._risks.programs.get(name)
        if not self._role.root_equivalent:
            yield from self._ways(rule, name, risk)
        if any(_ANYTHING in (shape.operands or ()) for shape in shapes(rule.shape)):
            yield self._finding("any-operands", f"`operands: any` lets {name} have any arguments", "name the operands' types")
        if risk is None and name not in self._risks.tame and rule.command not in self._grammars:
            free = any(is_free(type_) for type_ in types_of(rule.shape))
            message = f"nothing is known of {name}: its options are read as getopt_long reads them, and it may lead anywhere"
            cure = f"describe it in a grammar, or allow {name} only with arguments that are spelled out"
            yield self._finding("unknown-program", message, cure, "warning" if free else "note")
        yield from self._types(tuple(types_of(rule.shape)))
        yield from self._folder(rule)
        for inner in nested(rule.shape):
            yield from self.command(inner.rule)

    def _ways(self, rule: CommandRule, name: str, risk: Risk | None) -> Iterator[Finding]:
        users = " or ".join(self._role.run_as.users)
        severity: Severity = "warning" if "root" in self._role.run_as.users else "note"
        limited = any(True for _ in nested(rule.shape))
        for opening in openings(rule, grammar_of(self._grammars, rule.command), risk):
            if limited and opening.way == "runs-program" and not opening.chosen:
                continue  # the rule says which, and that command line is looked at by itself
            by, how = (f" {opening.by}" if opening.by else ""), (f": {opening.how}" if opening.how else "")
            shell = name in _SHELLS and opening.way in ("spawns-shell", "runs-program")
            code: FindingCode = "bare-shell" if shell else opening.way
            cure = (risk.cure if risk is not None else "") or _CURES[opening.way]
            yield self._finding(code, f"{name} {_SAID[opening.way]}{by}{how}; as {users}", cure, severity)
        yield from self._paths(rule, name, risk)

    def _paths(self, rule: CommandRule, name: str, risk: Risk | None) -> Iterator[Finding]:
        """Where the operands are limited, but to folders that hold commands or secrets."""
        known = grammar_of(self._grammars, rule.command)
        ways = {way.way for way in risk.ways if way.operands} if risk is not None else set()
        ways |= set(known.shape.operands) if known is not None else set()
        for operand in operands_of(rule.shape):
            if isinstance(operand.type, LiteralText) or is_free(operand.type):
                continue
            if "writes-file" in ways and (place := reached(operand.type, self._risks.places)):
                message = f"{name} may write {place.path}: {place.why}"
                yield self._finding("edits-executable-config", message, "an `edit` rule with `check`, or another folder")
            if "reads-file" in ways and (place := reached(operand.type, self._risks.secrets)):
                yield self._finding("reads-file", f"{name} may show {place.path}: {place.why}", "name a folder without it")

    def _types(self, types: tuple[ArgumentType, ...]) -> Iterator[Finding]:
        for type_ in types:
            if isinstance(type_, GlobText | RegexText) and is_broad(type_.pattern):
                message = f"the {type_.pattern.kind} {type_.pattern.text!a} takes nearly every argument"
                yield self._finding("broad-pattern", message, "narrow it; for files: {path: {under: FOLDER}}")
            if folder := unusable_folder(type_, self._risks.writable):
                message = f"others than root can write below {folder}: no path there ever matches"
                yield self._finding("writable-path", message, "a folder that is root's, as are all folders above it")

    def _folder(self, rule: CommandRule) -> Iterator[Finding]:
        folder = next((one for one in self._risks.writable if rule.command.startswith(one.rstrip("/") + "/")), None)
        if folder:
            message = f"others than root can write below {folder}: a command there is never allowed"
            yield self._finding("writable-path", message, "install the program where root alone can change it")

    def edit(self, rule: EditRule) -> Iterator[Finding]:
        """What editing these files leads to."""
        self._program = "sudoedit"
        for type_ in rule.files:
            place = None if self._role.root_equivalent else reached(type_, self._risks.places)
            if place is not None:
                message = f"whoever edits {place.path} becomes root: {place.why}"
                cure = "narrow the files, or say `root_equivalent: true` of the role"
                yield self._finding("edits-executable-config", message, cure)
        yield from self._types(rule.files)


def _shell(role: Role, rule: ShellRule) -> Iterator[Finding]:
    if role.root_equivalent:
        return
    if rule.only_listed:
        message = "a shell is root with a witness, whatever `only: listed` lets it start"
        cure = "say `root_equivalent: true` of the role"
        yield Finding(rule.pos, "root-equivalent", "warning", message, cure, str(role.name))
    elif not rule.intercept:
        message = "a shell without `intercept` does anything, unwitnessed"
        cure = "name the commands, or set `intercept: true` and say `root_equivalent: true` of the role"
        yield Finding(rule.pos, "bare-shell", "warning", message, cure, str(role.name))
    else:
        message = "a shell is root with a witness: interception can be escaped"
        cure = "say `root_equivalent: true` of the role"
        yield Finding(rule.pos, "bare-shell", "warning", message, cure, str(role.name))


def _access(role: Role) -> Iterator[Finding]:
    """Whoever becomes root by su does there whatever root may."""
    called = sorted(name for name in role.services if service_named(name) in CALLED)
    if called and not role.root_equivalent and "root" in role.run_as.users:
        message = f"access through {', '.join(called)} is root as a whole: no rule and no guardrail has a say in there"
        cure = "name other users in `run_as`, allow commands instead, or say `root_equivalent: true` of the role"
        yield Finding(role.pos, "root-equivalent", "warning", message, cure, str(role.name))


def _duplicates(role: Role) -> Iterator[Finding]:
    """Rules that allow nothing which another rule of the role does not allow."""
    for index, rule in enumerate(role.rules):
        other = next((one for one in role.rules[:index] if _meaning(one) == _meaning(rule)), None)
        if other is not None:
            message = f"the rule in line {other.pos.line} says the same"
            yield Finding(rule.pos, "dead-rule", "warning", message, "remove one of them", str(role.name), _program(rule))


def _meaning(rule: Rule) -> tuple[object, ...]:
    match rule:
        case CommandRule():
            return "command", rule.command, rule.shape, rule.digest
        case EditRule():
            return "edit", frozenset(rule.files), rule.check
    return "shell", rule.intercept, rule.record, rule.only_listed


def _program(rule: Rule) -> str | None:
    return rule.command if isinstance(rule, CommandRule) else None


def _silenced(role: Role, rule: CommandRule, guardrails: tuple[Guardrail, ...]) -> Iterator[Finding]:
    """A rule whose every use a guardrail denies."""
    names = {rule.command, posixpath.basename(rule.command)}
    for guardrail in guardrails:
        match = guardrail.match
        whole = not (match.any_option or match.any_operand or match.subcommands)
        words = {word for sub in rule.shape.subcommands or () for word in sub.words}
        subcommands = bool(words) and words <= set(match.subcommands) and not (match.any_option or match.any_operand)
        if guardrail.then == "deny" and match.command in names and (whole or subcommands):
            message = f"guardrail {guardrail.name} denies all that this rule allows"
            yield Finding(rule.pos, "dead-rule", "warning", message, "remove one of them", str(role.name), rule.command)


def _self_approval(role: Role, policy: Policy) -> Iterator[Finding]:
    source = role.request.source if role.request else None
    for principal in sorted(set(role.who) & set(source.principals if source else ())):
        message = f"{principal} may ask for this role and approve it: two of them are enough, or nobody is"
        cure = "let others approve: `from` should name people whom `who` does not"
        yield Finding(role.pos, "self-approval", "warning", message, cure, str(role.name))
    teams = {p.name for p in source.principals if p.kind == "team"} if source else set()
    asking = {p.name for p in role.who if p.kind == "user"}
    for approver in policy.approvers.values():
        if teams & set(approver.teams) and (own := sorted(asking & set(approver.accounts))):
            message = f"{own[0]} may ask for this role, and {approver.name}, the same person, approve it"
            cure = "let others approve; a request of one's own never counts, so check that enough others are left"
            yield Finding(role.pos, "self-approval", "note", message, cure, str(role.name))
