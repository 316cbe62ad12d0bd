"""Reads rules (what a role allows) and guardrails (what it never allows)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.policy.grammar import NO_GRAMMARS, Grammars, Syntax
from jitsudo.policy.merging import Merger
from jitsudo.policy.model import Effect, Guardrail, Limits
from jitsudo.policy.nodes import Node, Scalar
from jitsudo.policy.parse_people import PeopleReader
from jitsudo.policy.parse_shapes import SHAPE_KEYS, ShapeReader, read_spellings, read_words
from jitsudo.policy.parse_types import TypeReader
from jitsudo.policy.reader import Fields, Reader, clean_path
from jitsudo.policy.rules import (
    ArgumentType,
    CommandRule,
    EditRule,
    GlobText,
    LiteralText,
    Match,
    OneOf,
    PathUnder,
    RegexText,
    Rule,
    ShellRule,
)
from jitsudo.types import AbsPath, Digest

_SYNTAXES: tuple[Syntax, ...] = ("getopt", "single-dash", "key-value", "literal")
_LISTED: tuple[Literal["listed"], ...] = ("listed",)
_EFFECTS: tuple[Effect, ...] = ("deny", "confirm", "authenticate", "approve", "record", "limit", "log")
_LATER_EFFECTS = ("approve", "record")
_COMMAND_KEYS = ("command", "digest", "syntax", *SHAPE_KEYS)
_NO_MATCH = "it never matches"
_EDITABLE = (PathUnder, LiteralText, OneOf, GlobText, RegexText)


def later(subject: str, keys: list[str], so: str) -> tuple[str, ...]:
    """A sentence for each key that is understood but not enforced yet, and what follows from it."""
    return tuple(f"{subject} uses `{key}`, which this version does not enforce yet: {so}" for key in dict.fromkeys(keys))


class RuleReader:
    """Reads the entries of `allow`, and named guardrails."""

    def __init__(self, reader: Reader, people: PeopleReader, grammars: Grammars = NO_GRAMMARS) -> None:
        self._reader = reader
        self._people = people
        self._types = TypeReader(reader, self._command_rule)
        self._shapes = ShapeReader(reader, self._types)
        self._merger = Merger(reader, grammars)

    def rule(self, node: Node) -> Rule:
        """One entry of `allow`."""
        keys = {key.text for key, _ in self._reader.entries(node, "a rule")}
        if "edit" in keys:
            return self._edit_rule(node)
        if "shell" in keys:
            return self._shell_rule(node)
        return self._command_rule(node)

    def _command_rule(self, node: Node) -> CommandRule:
        reader = self._reader
        fields = reader.fields(node, "a rule", _COMMAND_KEYS)
        at = fields.need("command")
        command = reader.path(at, "command") if at else AbsPath("/")
        said = fields.get("syntax")
        syntax = self._merger.syntax(command, (said.pos, reader.choice(said, "syntax", _SYNTAXES)) if said else None)
        merged = self._merger.merge(command, syntax, self._shapes.draft(fields, syntax))
        return CommandRule(
            command=command,
            shape=merged.shape,
            digest=fields.read("digest", lambda at: reader.value(at, "digest", Digest, None), None),
            pos=node.pos,
            grammar=merged.grammar,
            grammar_known=merged.known,
        )

    def _edit_rule(self, node: Node) -> EditRule:
        reader = self._reader
        fields = reader.fields(node, "a rule", ("edit", "check"))
        files: list[ArgumentType] = []
        for item in reader.items(fields.get("edit") or node, "edit"):
            type_ = self._types.argument_type(item)[0]
            if not isinstance(type_, _EDITABLE):
                reader.error(item.pos, "edit takes files: {path: {under: FOLDER}} or {literal: FILE}")
            files.append(type_)
        check = fields.read("check", lambda at: reader.texts(at, "check"), ())
        return EditRule(tuple(files), check, pos=node.pos)

    def _shell_rule(self, node: Node) -> ShellRule:
        reader = self._reader
        outer = reader.fields(node, "a rule", ("shell",))
        fields = reader.fields(outer.get("shell") or node, "shell", ("intercept", "record", "only"))
        at = fields.need("intercept")
        intercept = reader.boolean(at, "intercept") if at else False
        record = fields.read("record", lambda at: reader.boolean(at, "record"), False)
        only = fields.read("only", lambda at: bool(reader.choice(at, "only", _LISTED)), False)
        used = [key for key, value in (("intercept", intercept), ("record", record), ("only", only)) if value]
        return ShellRule(intercept, record, only, pos=node.pos, unsupported=later("the rule", used, _NO_MATCH))

    def guardrail(self, key: Scalar, node: Node) -> Guardrail:
        """One named guardrail."""
        reader = self._reader
        what = f"guardrail {key.text!a}"
        fields = reader.fields(node, what, ("match", "then", "always", "message", "limits", "from"))
        match, then, message = fields.need("match"), fields.need("then"), fields.need("message")
        effect: Effect = reader.choice(then, "then", _EFFECTS) if then else "deny"
        used = [f"then: {effect}"] if effect in _LATER_EFFECTS else []
        self._belongs(fields, "limits", "limit", effect)
        self._belongs(fields, "from", "approve", effect)
        return Guardrail(
            name=key.text,
            match=self._match(match) if match else Match("/"),
            then=effect,
            always=fields.read("always", lambda at: reader.boolean(at, "always"), False),
            limits=fields.read("limits", self.limits, None),
            source=fields.read("from", self._people.source, None),
            message=reader.prose(message, "message") if message else "",
            pos=key.pos,
            unsupported=later(f"guardrail {key.text}", used, "it denies"),
        )

    def _belongs(self, fields: Fields, key: str, effect: Effect, then: Effect) -> None:
        if key in fields and then != effect:
            self._reader.error(fields.pos, f"'{key}' belongs to `then: {effect}`")
        if key not in fields and then == effect:
            self._reader.error(fields.pos, f"`then: {effect}` needs '{key}'")

    def _match(self, node: Node) -> Match:
        reader = self._reader
        fields = reader.fields(node, "match", ("command", "subcommand", "any_option", "any_operand"))
        command = fields.need("command")
        return Match(
            command=reader.value(command, "command", _path_or_name, "/") if command else "/",
            subcommands=fields.read("subcommand", self._match_words, ()),
            any_option=fields.read("any_option", self._match_options, ()),
            any_operand=fields.read("any_operand", self._match_operands, ()),
        )

    def _match_words(self, node: Node) -> tuple[str, ...]:
        seen: set[str] = set()
        texts = self._reader.items(node, "subcommand")
        words = [read_words(self._reader, Scalar(at.pos, self._reader.text(at, "subcommand")), seen) for at in texts]
        return tuple(word for some in words for word in some)

    def _match_options(self, node: Node) -> tuple[tuple[str, ...], ...]:
        texts = self._reader.items(node, "any_option")
        return tuple(read_spellings(self._reader, Scalar(at.pos, self._reader.text(at, "any_option")), "any") for at in texts)

    def _match_operands(self, node: Node) -> tuple[ArgumentType, ...]:
        return tuple(self._types.argument_type(item)[0] for item in self._reader.items(node, "any_operand"))

    def limits(self, node: Node) -> Limits:
        """`{uses, concurrent, per_hour}`, of a role or a guardrail."""
        reader = self._reader
        fields = reader.fields(node, "limits", ("uses", "concurrent", "per_hour"))
        if not list(fields):
            reader.error(node.pos, "limits is empty")

        def bound(key: str) -> Callable[[Node], int]:
            return lambda at: reader.number(at, key, 1, 1_000_000)

        return Limits(*(fields.read(key, bound(key), None) for key in ("uses", "concurrent", "per_hour")))


def _path_or_name(text: str) -> str:
    """A path, or a bare name that stands for any path of that name."""
    if "/" in text:
        return clean_path(text)
    if text in (".", "..") or text != text.strip():
        raise InvalidValue(f"not the name of a program: {text!r}")
    return text
