"""A rule as a person reads it: `systemctl {restart|reload} nginx.service`, one line, for listings and role descriptions."""

from __future__ import annotations

from jitsudo.policy.model import Role
from jitsudo.policy.rules import (
    AnyValue,
    ArgumentType,
    CommandRule,
    EditRule,
    Flag,
    GlobText,
    IntRange,
    LiteralText,
    NamedType,
    NotType,
    OneOf,
    Operand,
    Option,
    PathUnder,
    RegexText,
    Rule,
    Shape,
    ShellRule,
)


def describe_role(role: Role) -> list[str]:
    """What a role is for, a line a rule, and the PAM services that it lets people in through."""
    access = [f"access through {', '.join(sorted(role.services))}"] if role.services else []
    return [describe_rule(rule) for rule in role.rules] + access


def describe_rule(rule: Rule) -> str:
    """The rule in one line; what this version does not enforce is said in brackets."""
    later = f"  [not in force yet: {', '.join(rule.unsupported)}]" if rule.unsupported else ""
    return _rule(rule) + later


def _rule(rule: Rule) -> str:
    if isinstance(rule, CommandRule):
        pinned = "  [this very program alone]" if rule.digest else ""
        return " ".join([rule.command, *_shape(rule.shape)]) + pinned
    if isinstance(rule, EditRule):
        checked = f"  [checked by {' '.join(rule.check)}]" if rule.check else ""
        return " ".join(["sudoedit", *(_type(t) for t in rule.files)]) + checked
    return _shell(rule)


def _shell(rule: ShellRule) -> str:
    return "a shell (sudo -i, sudo -s)" + (", every program in it checked" if rule.intercept else "")


def _shape(shape: Shape) -> list[str]:
    words = [_option(option) for option in shape.options or () if not option.harmless]
    for sub in shape.subcommands or ():
        words.append("{" + " ".join(["|".join(sorted(sub.words)), *_shape(sub.shape)]) + "}")
    return [*words, *(_operand(operand) for operand in shape.operands or ())]


def _option(option: Option) -> str:
    value = _value(option.type)
    text = "|".join(sorted(option.spellings)) + (f"[{value.strip()}]" if option.attached_only else value)
    return (text if option.required else f"[{text}]") + ("…" if option.repeat else "")


def _value(kind: ArgumentType) -> str:
    return "" if isinstance(kind, Flag) else f" {_type(kind)}"


def _operand(operand: Operand) -> str:
    text = _type(operand.type)
    if (operand.least, operand.most) == (1, 1):
        return text
    return f"{text}{{{operand.least}..{'' if operand.most is None else operand.most}}}"


def _type(kind: ArgumentType) -> str:
    match kind:
        case AnyValue():
            return "ANY"
        case Flag():
            return "FLAG"
        case LiteralText(text):
            return text
        case OneOf(texts):
            return "{" + "|".join(texts) + "}"
        case IntRange(least, most):
            return f"NUMBER({least}..{'' if most is None else most})"
        case NotType(inner):
            return f"NOT({_type(inner)})"
        case GlobText(pattern) | RegexText(pattern):
            return str(pattern.text)
        case PathUnder(under, glob):
            return "|".join(f"{folder.rstrip('/')}/{glob.text if glob else '…'}" for folder in under)
        case NamedType(word, names, least, most):
            bounds = "" if least is None and most is None else f"({least or 0}..{'' if most is None else most})"
            return "{" + "|".join(names) + "}" if names else word.upper() + bounds
    return _rule(kind.rule)
