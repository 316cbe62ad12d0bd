"""Reads rules (what a role allows) and guardrails (what it never allows)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.policy.model import Effect, Guardrail, Limits
from jitsudo.policy.nodes import Node, Scalar, Sequence
from jitsudo.policy.parse_people import PeopleReader
from jitsudo.policy.parse_types import TypeReader, later_words
from jitsudo.policy.reader import Fields, Reader, clean_path, unknown
from jitsudo.policy.rules import (
    ArgumentType,
    CommandRule,
    EditRule,
    GlobText,
    LiteralText,
    Match,
    OneOf,
    Operand,
    Option,
    PathUnder,
    RegexText,
    Rule,
    Shape,
    ShellRule,
    Subcommand,
)
from jitsudo.types import AbsPath, Digest

MAX_OPERANDS = 64
Syntax = Literal["getopt", "single-dash", "key-value", "literal"]

_SYNTAXES: tuple[Syntax, ...] = ("getopt", "single-dash", "key-value", "literal")
_ORDERS: tuple[Literal["posix"], ...] = ("posix",)
_LISTED: tuple[Literal["listed"], ...] = ("listed",)
_EFFECTS: tuple[Effect, ...] = ("deny", "confirm", "authenticate", "approve", "record", "limit", "log")
_SHAPE_KEYS = ("order", "options", "subcommands", "operands", "harmless")
_COMMAND_KEYS = ("command", "digest", "syntax", *_SHAPE_KEYS)
_SPELLING = re.compile(r"-[!-~]|--?[A-Za-z0-9][A-Za-z0-9._+-]*")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_NO_MATCH = "it never matches"
_EDITABLE = (PathUnder, LiteralText, OneOf, GlobText, RegexText)


def later(subject: str, keys: list[str], so: str) -> tuple[str, ...]:
    """A sentence for each key that is understood but not enforced yet, and what follows from it."""
    return tuple(f"{subject} uses `{key}`, which this version does not enforce yet: {so}" for key in dict.fromkeys(keys))


class RuleReader:
    """Reads the entries of `allow`, and named guardrails."""

    def __init__(self, reader: Reader, people: PeopleReader) -> None:
        self._reader = reader
        self._people = people
        self._types = TypeReader(reader, self._command_rule)

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
        command = fields.need("command")
        syntax: Syntax = fields.read("syntax", lambda at: reader.choice(at, "syntax", _SYNTAXES), "getopt")
        digest = fields.read("digest", lambda at: reader.value(at, "digest", Digest, None), None)
        used = [key for key in ("digest", "syntax") if key in fields]
        if syntax == "getopt" and "syntax" in used:
            used.remove("syntax")
        shape = self._shape(fields, syntax, used)
        return CommandRule(
            command=reader.path(command, "command") if command else AbsPath("/"),
            shape=shape,
            digest=digest,
            pos=node.pos,
            unsupported=later("the rule", used, _NO_MATCH),
        )

    def _shape(self, fields: Fields, syntax: Syntax, used: list[str]) -> Shape:
        """What may follow the command; `used` gathers the keys that are not enforced yet."""
        reader = self._reader
        used += [key for key in ("order", "options", "subcommands") if key in fields]
        harmless = fields.read("harmless", lambda at: reader.boolean(at, "harmless"), None)
        if harmless:
            used.append("harmless")
        return Shape(
            syntax=syntax,
            order=fields.read("order", lambda at: reader.choice(at, "order", _ORDERS), "permute"),
            options=fields.read("options", lambda at: self._options(at, syntax), None),
            subcommands=fields.read("subcommands", lambda at: self._subcommands(at, syntax), None),
            operands=fields.read("operands", lambda at: self._operands(at, used), None),
            harmless=harmless is not False,
        )

    def _operands(self, node: Node, used: list[str]) -> tuple[Operand, ...]:
        items = self._reader.items(node, "operands", least=0)
        if len(items) > MAX_OPERANDS:
            self._reader.error(node.pos, f"operands has more than {MAX_OPERANDS} entries")
        operands = []
        for item in items[:MAX_OPERANDS]:
            operand = self._types.operand(item)
            used += later_words(operand.type)
            # `operands: any`, written alone, is any number of anything; in a list it is one of anything.
            operands.append(Operand(operand.type, 0, None) if _is_any_alone(node) else operand)
        return tuple(operands)

    def _options(self, node: Node, syntax: Syntax) -> tuple[Option, ...]:
        options = []
        seen: set[str] = set()
        for key, value in self._reader.entries(node, "options"):
            spellings = self._spellings(key, syntax)
            for spelling in spellings:
                if spelling in seen:
                    self._reader.error(key.pos, f"options: '{spelling}' stands here twice")
                seen.add(spelling)
            options.append(self._option(spellings, value))
        return tuple(options)

    def _spellings(self, key: Scalar, syntax: Syntax) -> tuple[str, ...]:
        spellings = tuple(part.strip() for part in key.text.split(","))
        shape = _KEYWORD if syntax == "key-value" else _SPELLING
        for spelling in spellings:
            if not shape.fullmatch(spelling):
                self._reader.error(key.pos, f"not an option: {unknown(spelling, (), word='')}; write e.g. \"-n, --lines\"")
        return spellings

    def _option(self, spellings: tuple[str, ...], node: Node) -> Option:
        reader = self._reader
        extras = ("repeat", "required")
        inner = self._optional_type(node)
        if inner is None:
            type_, fields = self._types.argument_type(node, extras)
        else:
            type_, fields = self._types.argument_type(inner)[0], reader.fields(node, "an option", ("optional", *extras))
        return Option(
            spellings,
            type_,
            attached_only=inner is not None,
            repeat=fields.read("repeat", lambda at: reader.boolean(at, "repeat"), False),
            required=fields.read("required", lambda at: reader.boolean(at, "required"), False),
        )

    def _optional_type(self, node: Node) -> Node | None:
        """The TYPE of `{optional: TYPE}`."""
        if isinstance(node, Scalar | Sequence):
            return None
        return next((value for key, value in node.entries if key.text == "optional"), None)

    def _subcommands(self, node: Node, syntax: Syntax) -> tuple[Subcommand, ...]:
        found = []
        seen: set[str] = set()
        for key, value in self._reader.entries(node, "subcommands"):
            words = self._words(key, seen)
            fields = self._reader.fields(value, "a subcommand", _SHAPE_KEYS)
            found.append(Subcommand(words, self._shape(fields, syntax, [])))
        return tuple(found)

    def _words(self, at: Scalar, seen: set[str]) -> tuple[str, ...]:
        """The words of `restart|reload`."""
        words = tuple(at.text.split("|"))
        for word in words:
            if not word.strip() or word != word.strip() or word.startswith("-"):
                self._reader.error(at.pos, 'a subcommand is a word, or several: "restart|reload"')
            elif word in seen:
                self._reader.error(at.pos, f"subcommands: {unknown(word, (), word='')} stands here twice")
            seen.add(word)
        return words

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
        return EditRule(tuple(files), check, pos=node.pos, unsupported=later("the rule", ["edit"], _NO_MATCH))

    def _shell_rule(self, node: Node) -> ShellRule:
        reader = self._reader
        outer = reader.fields(node, "a rule", ("shell",))
        fields = reader.fields(outer.get("shell") or node, "shell", ("intercept", "record", "only"))
        intercept = fields.need("intercept")
        return ShellRule(
            intercept=reader.boolean(intercept, "intercept") if intercept else False,
            record=fields.read("record", lambda at: reader.boolean(at, "record"), False),
            only_listed=fields.read("only", lambda at: bool(reader.choice(at, "only", _LISTED)), False),
            pos=node.pos,
            unsupported=later("the rule", ["shell"], _NO_MATCH),
        )

    def guardrail(self, key: Scalar, node: Node) -> Guardrail:
        """One named guardrail."""
        reader = self._reader
        what = f"guardrail {key.text!a}"
        fields = reader.fields(node, what, ("match", "then", "always", "message", "limits", "from"))
        used: list[str] = []
        match, then, message = fields.need("match"), fields.need("then"), fields.need("message")
        effect: Effect = reader.choice(then, "then", _EFFECTS) if then else "deny"
        if effect != "deny":
            used.append(f"then: {effect}")
        self._belongs(fields, "limits", "limit", effect)
        self._belongs(fields, "from", "approve", effect)
        return Guardrail(
            name=key.text,
            match=self._match(match, used) if match else Match("/"),
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

    def _match(self, node: Node, used: list[str]) -> Match:
        reader = self._reader
        fields = reader.fields(node, "match", ("command", "subcommand", "any_option", "any_operand"))
        used += [key for key in ("subcommand", "any_option") if key in fields]
        command = fields.need("command")
        return Match(
            command=reader.value(command, "command", _path_or_name, "/") if command else "/",
            subcommands=fields.read("subcommand", self._match_words, ()),
            any_option=fields.read("any_option", self._match_options, ()),
            any_operand=fields.read("any_operand", lambda at: self._match_operands(at, used), ()),
        )

    def _match_words(self, node: Node) -> tuple[str, ...]:
        seen: set[str] = set()
        texts = self._reader.items(node, "subcommand")
        return tuple(word for at in texts for word in self._words(Scalar(at.pos, self._reader.text(at, "subcommand")), seen))

    def _match_options(self, node: Node) -> tuple[tuple[str, ...], ...]:
        texts = self._reader.items(node, "any_option")
        return tuple(self._spellings(Scalar(at.pos, self._reader.text(at, "any_option")), "getopt") for at in texts)

    def _match_operands(self, node: Node, used: list[str]) -> tuple[ArgumentType, ...]:
        types = []
        for item in self._reader.items(node, "any_operand"):
            type_ = self._types.argument_type(item)[0]
            used += later_words(type_)
            types.append(type_)
        return tuple(types)

    def limits(self, node: Node) -> Limits:
        """`{uses, concurrent, per_hour}`, of a role or a guardrail."""
        reader = self._reader
        fields = reader.fields(node, "limits", ("uses", "concurrent", "per_hour"))
        if not list(fields):
            reader.error(node.pos, "limits is empty")

        def bound(key: str) -> Callable[[Node], int]:
            return lambda at: reader.number(at, key, 1, 1_000_000)

        return Limits(*(fields.read(key, bound(key), None) for key in ("uses", "concurrent", "per_hour")))


def _is_any_alone(node: Node) -> bool:
    return isinstance(node, Scalar) and node.text == "any"


def _path_or_name(text: str) -> str:
    """A path, or a bare name that stands for any path of that name."""
    if "/" in text:
        return clean_path(text)
    if text in (".", "..") or text != text.strip():
        raise InvalidValue(f"not the name of a program: {text!r}")
    return text
