"""The JSON Schema (draft-07) of policy files, for editors: made of the very keys and words that the parser knows.

It sees one file, and YAML as editors read it; what only the whole policy shows (names that name nothing, people) is not its
business. A test proves that both agree on a corpus of files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from jitsudo.policy.grammar import Syntax
from jitsudo.policy.model import Effect
from jitsudo.policy.parse import FILE_KEYS
from jitsudo.policy.parse_people import KEY_TYPES
from jitsudo.policy.parse_roles import ROLE_KEYS
from jitsudo.policy.parse_shapes import SHAPE_KEYS
from jitsudo.policy.parse_terms import MAX_APPROVALS, MAX_RENEWALS, REQUEST_KEYS
from jitsudo.policy.parse_tests import EXPECTED, TEST_KEYS
from jitsudo.policy.parse_types import TYPE_WORDS

SCHEMA_ID: Final = "https://jitsudo.example/policy.schema.json"
Json = dict[str, object]

_TEXT: Final[Json] = {"type": "string", "minLength": 1, "pattern": "^[^\\u0000-\\u001f\\u007f]*$"}
_PROSE: Final[Json] = {"type": "string", "minLength": 1}
# What YAML readers take for a number is text to jitsudo, where text is wanted.
_ARGUMENT: Final[Json] = {"type": ["string", "number"]}
_BOOLEAN: Final[Json] = {"type": "boolean"}
_DURATION: Final[Json] = {"type": "string", "pattern": "^([0-9]{1,9}[smhd])+$"}
_PATH: Final[Json] = {"type": "string", "pattern": "^/($|[^/])"}
_NAME: Final[Json] = {"type": "string", "minLength": 1, "pattern": "^[^-#+~%:,/][^:,/]*$"}
_ROLE_NAME: Final = "^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$"
_PRINCIPAL: Final[Json] = {"type": "string", "pattern": "^(user|group|team):[^:,/]+$"}
_DATE: Final[Json] = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
_COUNT: Final[Json] = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]{1,6}(\\.\\.([0-9]{1,6})?)?$"}]
}
_SPAN: Final[Json] = {
    "type": "string",
    "pattern": "^[A-Za-z,-]+ [0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$",
    "examples": ["Mon-Fri 08:00-18:00"],
}
_OPTION_KEY: Final = "^[^\\s,]+(\\s*,\\s*[^\\s,]+)*$"
_NO_ARGUMENTS: Final = ("any", "flag", "self")
_NAMES: Final = ("user", "group", "host", "cidr", "unit", "package")
_RANGES: Final = ("int", "port", "duration", "size")


def policy_schema() -> Json:
    """The schema as JSON values."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": SCHEMA_ID,
        "title": "jitsudo policy",
        "description": "/etc/jitsudo/policy.d/*.yaml, see jitsudo-policy(5)",
        **_object(FILE_KEYS, _file_keys(), required=("version",)),
        "definitions": _definitions(),
    }


# -- pieces ----------------------------------------------------------------------------------------------------------


def _ref(name: str) -> Json:
    return {"$ref": f"#/definitions/{name}"}


def _object(keys: Sequence[str], properties: Mapping[str, Json], required: Sequence[str] = ()) -> Json:
    """A mapping with these keys and no others. A key that the parser knows and this module does not is a mistake here."""
    found: Json = {"type": "object", "properties": {key: properties[key] for key in keys}, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


def _some(item: Json, *, least: int = 1) -> Json:
    """A list; a single value may stand for a list of one."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": least}]}


def _named(value: Json, names: str) -> Json:
    """A mapping with free keys."""
    return {"type": "object", "patternProperties": {names: value}, "additionalProperties": False}


def _words(*words: str) -> Json:
    return {"enum": list(words)}


def _number(least: int, most: int | None = None) -> Json:
    found: Json = {"type": "integer", "minimum": least}
    return found if most is None else {**found, "maximum": most}


# -- the file --------------------------------------------------------------------------------------------------------


def _file_keys() -> dict[str, Json]:
    return {
        "version": {"const": 1},
        "timezone": {**_TEXT, "examples": ["Europe/Berlin"]},
        "approvers": _named(_ref("approver"), "^.+$"),
        "auditors": _some(_PRINCIPAL),
        "redact": _some(_TEXT),
        "notify": {"type": "object", "additionalProperties": _some(_TEXT)},
        "guardrails": _named(_ref("guardrail"), _ROLE_NAME),
        "roles": _named(_ref("role"), _ROLE_NAME),
    }


def _definitions() -> Json:
    key: Json = {"type": "string", "pattern": f"^\\s*({'|'.join(one.replace('.', chr(92) + '.') for one in KEY_TYPES)}) "}
    full_key = _object(("key", "forwarded"), {"key": key, "forwarded": _BOOLEAN}, ("key",))
    approver_keys = {"accounts": _some(_NAME), "keys": _some({"anyOf": [key, full_key]}), "teams": _some(_NAME)}
    test_keys = _test_keys()
    return {
        "approver": _object(("accounts", "keys", "teams"), approver_keys, ("accounts",)),
        "from": {"anyOf": [_some(_PRINCIPAL), _object(("all_of",), {"all_of": _some(_PRINCIPAL)}, ("all_of",))]},
        "role": {
            **_object(ROLE_KEYS, _role_keys(), ("description", "who", "request")),
            "anyOf": [{"required": ["allow"]}, {"required": ["access"]}],
        },
        "request": {"anyOf": [{"const": "none"}, _request()]},
        "limits": {**_limits(), "minProperties": 1},
        "test": _object(TEST_KEYS, test_keys, ("run", "expect")),
        "rule": {"anyOf": [_ref("command"), _edit(), _shell()]},
        "command": _command(),
        "options": _named(_ref("option"), _OPTION_KEY),
        "option": _option(),
        "subcommands": _named(_ref("shape"), "^[^-\\s]([^|]*[^\\s|])?(\\|[^-\\s|]([^|]*[^\\s|])?)*$"),
        "shape": _object(SHAPE_KEYS, _shape_keys()),
        "type": {"anyOf": [{"enum": [word for word in TYPE_WORDS if word in _bare()]}, _typed(())]},
        "operand": {"anyOf": [{"enum": [word for word in _bare() if word != "flag"]}, _typed(("count",))]},
        "guardrail": _guardrail(),
    }


def _role_keys() -> dict[str, Json]:
    variables: Json = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*\\*?$"}
    finish, keep = _words("finish", "kill"), _words("keep", "kill")
    expiry = {"commands": finish, "shells": finish, "grace": _DURATION, "warn": _DURATION, "leftovers": keep}
    return {
        "description": _PROSE,
        "who": _some(_PRINCIPAL),
        "request": _ref("request"),
        "allow": _some(_ref("rule")),
        "access": _some(_object(("services",), {"services": _some(_TEXT)}, ("services",))),
        "hosts": {
            **_object(("labels", "names"), {"labels": _labels(), "names": _some(_TEXT)}),
            "minProperties": 1,
        },
        "run_as": _object(("users", "groups"), {"users": _some(_NAME), "groups": _some(_NAME)}, ("users",)),
        "authenticate": {"anyOf": [_words("never", "agent"), _object(("within",), {"within": _DURATION}, ("within",))]},
        "when": {**_when(), "minProperties": 1},
        "guardrails": _some({"type": "string", "pattern": _ROLE_NAME}, least=0),
        "on_expiry": {"anyOf": [finish, _object(tuple(expiry), expiry)]},
        "limits": _ref("limits"),
        "environment": _object(
            ("keep", "set"), {"keep": _some(variables), "set": {"type": "object", "additionalProperties": _ARGUMENT}}
        ),
        "sudo_options": _some(_words("-E", "-C", "-D", "-T", "-P", "VAR")),
        "record": _BOOLEAN,
        "residue": _BOOLEAN,
        "until": _DATE,
        "root_equivalent": _BOOLEAN,
        "rescue": _BOOLEAN,
        "journal_every": _DURATION,
        "tests": _some(_ref("test"), least=0),
    }


def _labels() -> Json:
    return {"type": "object", "minProperties": 1, "additionalProperties": _some(_ARGUMENT)}


def _when() -> Json:
    span = _some(_SPAN)
    strict = _object(("at", "strict"), {"at": span, "strict": _BOOLEAN}, ("at",))
    keys: dict[str, Json] = {
        "hours": {"anyOf": [span, strict]},
        "source": _some(_TEXT),
        "otherwise": _object(("approvals",), {"approvals": _number(1, MAX_APPROVALS)}, ("approvals",)),
        "calendar": _object(("file",), {"file": _TEXT}, ("file",)),
    }
    return _object(tuple(keys), keys)


def _request() -> Json:
    review = {"within": _DURATION, "from": _ref("from")}
    escalate = {"after": _DURATION, "to": _some(_PRINCIPAL)}
    keys: dict[str, Json] = {
        "max_duration": _DURATION,
        "approvals": _number(0, MAX_APPROVALS),
        "from": _ref("from"),
        "default_duration": _DURATION,
        "expires_after": _DURATION,
        "renewals": _number(0, MAX_RENEWALS),
        "reason": _TEXT,
        "inline": _BOOLEAN,
        "review": _object(tuple(review), review, tuple(review)),
        "escalate": _some(_object(tuple(escalate), escalate, tuple(escalate))),
        "approve_with": _words("key", "password"),
    }
    return {
        **_object(REQUEST_KEYS, keys, ("max_duration", "approvals")),
        "anyOf": [{"properties": {"approvals": {"const": 0}}}, {"required": ["from"]}],
    }


def _limits() -> Json:
    bound = _number(1, 1_000_000)
    return _object(("uses", "concurrent", "per_hour"), {"uses": bound, "concurrent": bound, "per_hour": bound})


def _test_keys() -> dict[str, Json]:
    return {
        "run": {"anyOf": [_TEXT, {"type": "array", "items": _ARGUMENT}]},
        "expect": _words(*EXPECTED),
        "at": _TEXT,
        "source": _TEXT,
        "authenticated": _BOOLEAN,
        "cwd": _PATH,
        "links": {"type": "object", "additionalProperties": _TEXT},
    }


# -- rules -----------------------------------------------------------------------------------------------------------


def _shape_keys() -> dict[str, Json]:
    return {
        "order": _words("posix"),
        "options": _ref("options"),
        "subcommands": _ref("subcommands"),
        "operands": {
            "anyOf": [_ref("operand"), {"type": "array", "items": _ref("operand"), "maxItems": 64}],
        },
        "harmless": _BOOLEAN,
    }


def _command() -> Json:
    keys: dict[str, Json] = {
        "command": _PATH,
        "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
        "syntax": _words(*get_args(Syntax)),
        **_shape_keys(),
    }
    return _object(tuple(keys), keys, ("command",))


def _edit() -> Json:
    return _object(("edit", "check"), {"edit": _some(_ref("type")), "check": _some(_TEXT)}, ("edit",))


def _shell() -> Json:
    keys: dict[str, Json] = {"intercept": _BOOLEAN, "record": _BOOLEAN, "only": _words("listed")}
    return _object(("shell",), {"shell": _object(tuple(keys), keys, ("intercept",))}, ("shell",))


def _option() -> Json:
    flags = {"repeat": _BOOLEAN, "required": _BOOLEAN}
    optional = _object(("optional", *flags), {"optional": _ref("type"), **flags}, ("optional",))
    return {"anyOf": [{"enum": list(_bare())}, _typed(tuple(flags)), optional]}


def _bare() -> tuple[str, ...]:
    return tuple(word for word in TYPE_WORDS if word in (*_NO_ARGUMENTS, *_NAMES, *_RANGES))


def _typed(beside: tuple[str, ...]) -> Json:
    """`{WORD: ARGUMENT}`, with what may stand beside the word."""
    extras = {"count": _COUNT, "repeat": _BOOLEAN, "required": _BOOLEAN}
    return {
        "anyOf": [
            _object((word, *beside), {word: argument, **extras}, (word,)) for word, argument in _type_arguments().items()
        ]
    }


def _type_arguments() -> dict[str, Json]:
    """What stands behind each word of a type; `true` for the types that need nothing."""
    bounds: Json = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^([0-9]+[smhdKMGT]?)+$"}]}
    limits = _object(("min", "max"), {"min": bounds, "max": bounds})
    path_keys: dict[str, Json] = {
        "under": _some(_PATH),
        "glob": _TEXT,
        "exists": _BOOLEAN,
        "kind": _words("file", "directory"),
    }
    found: dict[str, Json] = {word: {"const": True} for word in _NO_ARGUMENTS}
    found |= {word: {"anyOf": [{"const": True}, _some(_ARGUMENT)]} for word in _NAMES}
    found |= {word: {"anyOf": [{"const": True}, limits]} for word in _RANGES}
    found |= {
        "literal": _ARGUMENT,
        "one_of": _some(_ARGUMENT),
        "not": _ref("type"),
        "glob": _TEXT,
        "regex": _TEXT,
        "path": _object(tuple(path_keys), path_keys, ("under",)),
        "command": _ref("command"),
    }
    return {word: found[word] for word in TYPE_WORDS}


def _guardrail() -> Json:
    match: dict[str, Json] = {
        "command": _TEXT,
        "subcommand": _some(_TEXT),
        "any_option": _some({"type": "string", "pattern": _OPTION_KEY}),
        "any_operand": _some(_ref("type")),
    }
    keys: dict[str, Json] = {
        "match": _object(tuple(match), match, ("command",)),
        "then": _words(*get_args(Effect)),
        "always": _BOOLEAN,
        "message": _PROSE,
        "limits": _ref("limits"),
        "from": _ref("from"),
    }
    return {
        **_object(tuple(keys), keys, ("match", "then", "message")),
        "allOf": [_belongs("limits", "limit"), _belongs("from", "approve")],
    }


def _belongs(key: str, effect: str) -> Json:
    """`key` stands with this effect, and only with it."""
    return {
        "if": {"properties": {"then": {"const": effect}}},
        "then": {"required": [key]},
        "else": {"not": {"required": [key]}},
    }
