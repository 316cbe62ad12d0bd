"""Reads roles: who, when, as whom, on what terms."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial
from typing import Literal

from jitsudo.errors import InvalidValue
from jitsudo.policy.model import (
    DEFAULT_WITHIN,
    AgentProof,
    Authentication,
    Environment,
    HostSelector,
    InlineTest,
    Never,
    OnExpiry,
    Role,
    RunAs,
    Within,
)
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar
from jitsudo.policy.parse_people import PeopleReader
from jitsudo.policy.parse_rules import RuleReader, later
from jitsudo.policy.parse_terms import CalendarLookup, TermsReader
from jitsudo.policy.parse_tests import read_test
from jitsudo.policy.parse_types import NOTHING
from jitsudo.policy.patterns import glob
from jitsudo.policy.reader import Fields, Reader
from jitsudo.types import RoleName, UserName

ROLE_KEYS = (
    "description",
    "who",
    "request",
    "allow",
    "access",
    "hosts",
    "run_as",
    "authenticate",
    "when",
    "guardrails",
    "on_expiry",
    "limits",
    "environment",
    "sudo_options",
    "record",
    "residue",
    "until",
    "root_equivalent",
    "rescue",
    "journal_every",
    "tests",
)

# Keys that refuse the role wherever they are written, and those that do so only where they say `true`.
_LATER = ("journal_every",)
_LATER_IF_TRUE = ("record", "residue", "rescue")
_ROOT = UserName("root")
_NO_ROLE = RoleName("none")
_SUDO_OPTIONS: tuple[str, ...] = ("-E", "-C", "-D", "-T", "-P", "VAR")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FINISH_OR_KILL: tuple[Literal["finish", "kill"], ...] = ("finish", "kill")
_KEEP_OR_KILL: tuple[Literal["keep", "kill"], ...] = ("keep", "kill")


class RoleReader:
    """Reads the roles of one file; `zone` is the file's time zone, None where it names none."""

    def __init__(
        self,
        reader: Reader,
        people: PeopleReader,
        rules: RuleReader,
        zone: tuple[str, tzinfo] | None,
        calendars: CalendarLookup,
    ) -> None:
        self._reader = reader
        self._people = people
        self._rules = rules
        self._terms = TermsReader(reader, people, zone, calendars)
        self._zone = zone[1] if zone else UTC
        self.guardrails: list[tuple[Pos, str]] = []

    def role(self, key: Scalar, node: Node) -> Role:
        """One entry of `roles`."""
        reader = self._reader
        name = reader.value(key, "a role", RoleName, _NO_ROLE)
        fields = reader.fields(node, f"role {key.text!a}", ROLE_KEYS)
        who, request, description = fields.need("who"), fields.need("request"), fields.need("description")
        used = [k for k in _LATER if k in fields]
        flags = {k: fields.read(k, partial(reader.boolean, what=k), False) for k in (*_LATER_IF_TRUE, "root_equivalent")}
        used += [k for k in _LATER_IF_TRUE if flags[k]]
        rules = fields.read("allow", lambda at: tuple(self._rules.rule(item) for item in reader.items(at, "allow")), ())
        if "allow" not in fields and "access" not in fields:
            reader.error(key.pos, f"role {key.text!a}: 'allow' is missing")
        role = Role(
            name=name,
            who=self._people.principals(who, "who") if who else (),
            request=self._terms.request(request, used) if request else None,
            rules=rules,
            hosts=fields.read("hosts", self._hosts, HostSelector()),
            run_as=fields.read("run_as", self._run_as, RunAs()),
            authenticate=fields.read("authenticate", self._authenticate, Within(DEFAULT_WITHIN)),
            when=self._terms.when(fields.get("when")),
            guardrails=fields.read("guardrails", self._guardrail_names, ()),
            on_expiry=fields.read("on_expiry", lambda at: self._on_expiry(at, used), OnExpiry()),
            until=fields.read("until", self._until, None),
            services=fields.read("access", self._services, ()),
            limits=fields.read("limits", self._rules.limits, None),
            environment=fields.read("environment", self._environment, None),
            sudo_options=fields.read("sudo_options", self._sudo_options, ()),
            journal_every=fields.read("journal_every", lambda at: reader.duration(at, "journal_every"), None),
            description=reader.prose(description, "description") if description else "",
            tests=fields.read("tests", self._tests, ()),
            pos=key.pos,
            unsupported=later(f"role {name}", used, "nobody can use it"),
            record=flags["record"],
            residue=flags["residue"],
            root_equivalent=flags["root_equivalent"],
            rescue=flags["rescue"],
        )
        self._check_standing(role, fields)
        self._check_otherwise(role, fields)
        return role

    def _check_standing(self, role: Role, fields: Fields) -> None:
        if role.standing and "request" in fields and role.until is None:
            self._reader.error(fields.pos, "a standing role (`request: none`) needs `until`, a date at most 400 days ahead")

    def _check_otherwise(self, role: Role, fields: Fields) -> None:
        """Asking where `when` does not hold has its price: more approvals than elsewhere, by somebody."""
        more, terms = role.when.otherwise_approvals, role.request
        if more is None or "request" not in fields:
            return
        if terms is None or terms.source is None:
            self._reader.error(fields.pos, "`otherwise` needs a `request` with `from`: somebody has to give the approvals")
        elif more <= terms.approvals:
            self._reader.error(fields.pos, f"`otherwise` asks for {more} approvals, no more than `request` does anyway")

    def _hosts(self, node: Node) -> HostSelector:
        reader = self._reader
        fields = reader.fields(node, "hosts", ("labels", "names"))
        if not list(fields):
            reader.error(node.pos, "hosts is empty; leave it out if all hosts are meant")
        names = fields.get("names")
        labels = fields.get("labels")
        entries = reader.entries(labels, "labels") if labels else []
        if labels and not entries:
            reader.error(labels.pos, "labels is empty")
        return HostSelector(
            labels=tuple((key.text, reader.texts(value, "a label")) for key, value in entries),
            names=tuple(reader.value(at, "names", glob, NOTHING) for at in reader.items(names, "names")) if names else (),
        )

    def _run_as(self, node: Node) -> RunAs:
        fields = self._reader.fields(node, "run_as", ("users", "groups"))
        users = fields.need("users")
        return RunAs(
            users=self._names(users, "users") if users else (_ROOT,),
            groups=fields.read("groups", lambda at: self._names(at, "groups"), ()),
        )

    def _names(self, node: Node, what: str) -> tuple[UserName, ...]:
        return tuple(self._reader.value(item, what, UserName, _ROOT) for item in self._reader.items(node, what))

    def _authenticate(self, node: Node) -> Authentication:
        if isinstance(node, Mapping):
            within = self._reader.fields(node, "authenticate", ("within",)).need("within")
            return Within(self._reader.duration(within, "within")) if within else Never()
        words: tuple[Literal["never", "agent"], ...] = ("never", "agent")
        if self._reader.choice(node, "authenticate", words) == "agent":
            return AgentProof()
        return Never()

    def _guardrail_names(self, node: Node) -> tuple[str, ...]:
        names = []
        for item in self._reader.items(node, "guardrails", least=0):
            name = self._reader.text(item, "guardrails")
            self.guardrails.append((item.pos, name))
            if name in names:
                self._reader.error(item.pos, f"guardrails: {name!a} stands here twice")
            names.append(name)
        return tuple(names)

    def _on_expiry(self, node: Node, used: list[str]) -> OnExpiry:
        reader = self._reader
        if not isinstance(node, Mapping):
            mode = reader.choice(node, "on_expiry", _FINISH_OR_KILL)
            return OnExpiry(commands=mode, shells=mode)
        fields = reader.fields(node, "on_expiry", ("commands", "shells", "grace", "warn", "leftovers"))
        used += [f"on_expiry: {key}" for key in ("warn", "leftovers") if key in fields]
        default = OnExpiry()
        return OnExpiry(
            commands=fields.read("commands", lambda at: reader.choice(at, "commands", _FINISH_OR_KILL), default.commands),
            shells=fields.read("shells", lambda at: reader.choice(at, "shells", _FINISH_OR_KILL), default.shells),
            grace=fields.read("grace", lambda at: reader.duration(at, "grace"), default.grace),
            warn=fields.read("warn", lambda at: reader.duration(at, "warn"), None),
            leftovers=fields.read("leftovers", lambda at: reader.choice(at, "leftovers", _KEEP_OR_KILL), None),
        )

    def _until(self, node: Node) -> int:
        return self._reader.value(node, "until", lambda text: end_of_day(text, self._zone), 0)

    def _services(self, node: Node) -> tuple[str, ...]:
        found = []
        for item in self._reader.items(node, "access"):
            services = self._reader.fields(item, "access", ("services",)).need("services")
            for at in self._reader.items(services, "services") if services else ():
                found.append(self._reader.value(at, "services", _service, ""))
        return tuple(found)

    def _environment(self, node: Node) -> Environment:
        reader = self._reader
        fields = reader.fields(node, "environment", ("keep", "set"))
        keep, assigned = fields.get("keep"), fields.get("set")
        return Environment(
            keep=tuple(reader.value(at, "keep", _variable, "") for at in reader.items(keep, "keep")) if keep else (),
            set=tuple(self._assignment(k, v) for k, v in reader.entries(assigned, "set")) if assigned else (),
        )

    def _assignment(self, key: Scalar, node: Node) -> tuple[str, str]:
        name = self._reader.value(key, "set", _variable, "")
        if isinstance(node, Scalar) and not node.plain and not node.text:
            return name, ""
        return name, self._reader.text(node, "set")

    def _sudo_options(self, node: Node) -> tuple[str, ...]:
        return tuple(
            self._reader.choice(item, "sudo_options", _SUDO_OPTIONS) for item in self._reader.items(node, "sudo_options")
        )

    def _tests(self, node: Node) -> tuple[InlineTest, ...]:
        return tuple(read_test(self._reader, item) for item in self._reader.items(node, "tests", least=0))


def end_of_day(text: str, zone: tzinfo) -> int:
    """The first second (Unix) after the day `YYYY-MM-DD` in `zone`. Else `InvalidValue`."""
    try:
        day = date.fromisoformat(text if _DATE.fullmatch(text) else "")
        return int(datetime.combine(day + timedelta(days=1), time.min, zone).timestamp())
    except (ValueError, OverflowError) as error:
        raise InvalidValue(f"not a date: {text!a}", "write e.g. 2027-06-30") from error


def _service(text: str) -> str:
    if not _SERVICE.fullmatch(text):
        raise InvalidValue(f"not the name of a PAM service: {text!a}")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise InvalidValue(f"not the name of a variable: {text!a}")
    return text
