"""A rule as a person reads it: `systemctl {restart|reload} nginx.service`, one line, for listings and role descriptions."""

from __future__ import annotations

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
    PathUnder,
    RegexText,
    Rule,
    Shape,
    ShellRule,
)


def describe_rule(rule: Rule) -> str:
    """The rule in one line; what this version does not enforce is said in brackets."""
    later = f"  [not in force yet: {', '.join(rule.unsupported)}]" if rule.unsupported else ""
    return _rule(rule) + later


def _rule(rule: Rule) -> str:
    if isinstance(rule, CommandRule):
        return " ".join([rule.command, *_shape(rule.shape)])
    if isinstance(rule, EditRule):
        return " ".join(["sudoedit", *(_type(t) for t in rule.files)])
    return _shell(rule)


def _shell(rule: ShellRule) -> str:
    return "a shell (sudo -i, sudo -s)" + (", every program in it checked" if rule.intercept else "")


def _shape(shape: Shape) -> list[str]:
    named = [option for option in shape.options or () if not option.harmless]
    words = [f"[{'|'.join(sorted(option.spellings))}{_value(option.type)}]" for option in named]
    for sub in shape.subcommands or ():
        words.append("{" + " ".join(["|".join(sorted(sub.words)), *_shape(sub.shape)]) + "}")
    return [*words, *(_operand(operand) for operand in shape.operands or ())]


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
        case PathUnder(under):
            return "|".join(f"{folder.rstrip('/')}/…" for folder in under)
        case NamedType(word, names):
            return "{" + "|".join(names) + "}" if names else word.upper()
    return _rule(kind.rule)
