"""Varlink calls and replies, and the typed parameters of the decide interface (io.jitsudo.Decide.varlink)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal, get_args

from jitsudo.errors import InvalidValue, JitsudoError, ProtocolViolation
from jitsudo.types import AbsPath, Digest
from jitsudo.wire.fields import Fields
from jitsudo.wire.framing import Json

DECIDE = "io.jitsudo.Decide"
CONTROL = "io.jitsudo.Control"
SERVICE = "org.varlink.service"
MAX_DESCRIPTORS = 4
DESCRIPTOR_NAMES = frozenset({"root", "cwd", "command", "terminal"})

AGENT: Final = "agent"  # the descriptor of a connection to the caller's SSH agent

Outcome = Literal["proven", "connected", "confirmed", "failed", "declined", "unavailable"]
MAX_DIFF_CHARS: Final = 65_536  # of an edited file
MAX_ITEM_CHARS: Final = 512  # of a PAM item
Phase = Literal["account", "authenticate", "session"]
Said = Literal["accepted", "rejected", "error"]  # of sudo, where sudoers decides


def interface_text(interface: str) -> str:
    """The interface file, as GetInterfaceDescription answers it."""
    return resources.files("jitsudo.wire").joinpath(f"{interface}.varlink").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Call:
    """One method call: `method` is fully qualified; `more` allows replies that say there is more to come."""

    method: str
    parameters: Json
    more: bool = False

    @classmethod
    def parse(cls, message: Json) -> Call:
        """Raises ProtocolViolation: what is no call cannot be answered either."""
        method, parameters, more = message.get("method"), message.get("parameters", {}), message.get("more", False)
        if message.keys() - {"method", "parameters", "more"}:
            raise ProtocolViolation("a call with unknown members")
        if not isinstance(method, str) or not isinstance(parameters, dict) or not isinstance(more, bool):
            raise ProtocolViolation("a call with members of the wrong type")
        return cls(method, parameters, more)

    def message(self) -> Json:
        return {"method": self.method, "parameters": self.parameters, "more": self.more}


def reply(parameters: Json) -> Json:
    return {"parameters": parameters}


def pending(text: str) -> Json:
    """Sent each second while a person, a look-up or the daemon's own start is awaited."""
    return {"parameters": {"pending": text}, "continues": True}


def error_reply(interface: str, error: JitsudoError) -> Json:
    hint = None if error.hint is None else _writable(error.hint)
    parameters: Json = {"code": error.code, "message": _writable(error.sentence), "hint": hint}
    issues = getattr(error, "issues", ())
    if issues:
        parameters["issues"] = [_writable(issue) for issue in issues]
    return {"error": f"{interface}.Refused", "parameters": parameters}


def _writable(text: str) -> str:
    """A sentence that names what was sent may hold bytes that are not UTF-8 (PEP 383); it is for reading only."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What sudo told the front end, as it was told: lists of `key=value` (sudo_plugin(5))."""

    front_end: str
    user_info: tuple[str, ...]
    settings: tuple[str, ...]
    user_env: tuple[str, ...]

    @classmethod
    def read(cls, fields: Fields) -> Invocation:
        return cls(
            front_end=fields.text("front_end"),
            user_info=fields.texts("user_info"),
            settings=fields.texts("settings"),
            user_env=fields.texts("user_env"),
        )


@dataclass(frozen=True, slots=True)
class Check:
    """May this command run? `account` is why the PAM stack says that the caller's account may not be used, if it does."""

    invocation: Invocation
    argv: tuple[str, ...]
    env_add: tuple[str, ...]
    command: str | None
    descriptors: tuple[str, ...]
    sub_command: bool
    account: str | None = None

    @classmethod
    def parse(cls, parameters: Json) -> Check:
        fields = Fields(parameters, "Check")
        check = cls(
            invocation=fields.nested("invocation", Invocation.read),
            argv=fields.texts("argv"),
            env_add=fields.texts("env_add"),
            command=fields.optional_text("command"),
            descriptors=fields.texts("descriptors"),
            sub_command=fields.boolean("sub_command"),
            account=fields.optional_text("account"),
        )
        fields.done()
        names = check.descriptors
        if len(set(names)) != len(names) or not DESCRIPTOR_NAMES.issuperset(names):
            raise InvalidValue("Check: descriptors: unknown or repeated name")
        return check


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of the challenge that the connection was answered with. `account`: why the account may not be used, if so."""

    outcome: Outcome
    account: str | None = None
    descriptors: tuple[str, ...] = ()

    @classmethod
    def parse(cls, parameters: Json) -> Answer:
        fields = Fields(parameters, "Answer")
        outcome, account = fields.text("outcome"), fields.optional_text("account")
        descriptors = fields.texts("descriptors", ())
        fields.done()
        if account is not None and outcome != "proven":
            raise InvalidValue("Answer: what is said of an account belongs to a proof")
        if descriptors != ((AGENT,) if outcome == "connected" else ()):
            raise InvalidValue("Answer: an agent's descriptor comes with a connection to it, and with nothing else")
        for known in get_args(Outcome):
            if outcome == known:
                return cls(known, account, descriptors)
        raise InvalidValue("Answer: no such outcome")


@dataclass(frozen=True, slots=True)
class Validate:
    """sudo -v"""

    invocation: Invocation
    account: str | None

    @classmethod
    def parse(cls, parameters: Json) -> Validate:
        fields = Fields(parameters, "Validate")
        call = cls(fields.nested("invocation", Invocation.read), fields.optional_text("account"))
        fields.done()
        return call


@dataclass(frozen=True, slots=True)
class Invalidate:
    """sudo -k, sudo -K"""

    invocation: Invocation
    remove: bool

    @classmethod
    def parse(cls, parameters: Json) -> Invalidate:
        fields = Fields(parameters, "Invalidate")
        call = cls(fields.nested("invocation", Invocation.read), fields.boolean("remove"))
        fields.done()
        return call


@dataclass(frozen=True, slots=True)
class Edited:
    """A file that the root helper of checked edits installed."""

    path: AbsPath
    before: Digest | None
    after: Digest
    diff: str

    @classmethod
    def parse(cls, parameters: Json) -> Edited:
        fields = Fields(parameters, "Edited")
        before = fields.optional_text("before")
        call = cls(
            path=AbsPath(fields.text("path")),
            before=None if before is None else Digest(before),
            after=Digest(fields.text("after")),
            diff=fields.text("diff"),
        )
        fields.done()
        if len(call.diff) > MAX_DIFF_CHARS:
            raise InvalidValue(f"Edited: a diff has at most {MAX_DIFF_CHARS} characters")
        return call


@dataclass(frozen=True, slots=True)
class Admit:
    """May this person come in through a PAM service? What PAM says of it, as it says it; `user` is PAM_USER."""

    phase: Phase
    service: str
    user: str
    ruser: str | None
    rhost: str | None
    tty: str | None
    descriptors: tuple[str, ...]

    @classmethod
    def parse(cls, parameters: Json) -> Admit:
        fields = Fields(parameters, "Admit")
        phase = fields.text("phase")
        known = next((one for one in get_args(Phase) if one == phase), None)
        if known is None:
            raise InvalidValue("Admit: no such phase")
        call = cls(
            phase=known,
            service=fields.text("service"),
            user=fields.text("user"),
            ruser=fields.optional_text("ruser"),
            rhost=fields.optional_text("rhost"),
            tty=fields.optional_text("tty"),
            descriptors=fields.texts("descriptors"),
        )
        fields.done()
        if call.descriptors not in ((), ("terminal",)):
            raise InvalidValue("Admit: descriptors: unknown or repeated name")
        if any(len(text) > MAX_ITEM_CHARS for text in (call.service, call.user, call.ruser, call.rhost, call.tty) if text):
            raise InvalidValue(f"Admit: what PAM says has at most {MAX_ITEM_CHARS} characters each")
        return call


@dataclass(frozen=True, slots=True)
class Observe:
    """What sudo, whose sudoers decides, has accepted or refused. `run_env` has names alone; `cut`: arguments are missing."""

    outcome: Said
    plugin: str | None
    plugin_type: int
    message: str | None
    user_info: tuple[str, ...]
    settings: tuple[str, ...]
    submit_argv: tuple[str, ...]
    submit_optind: int
    command_info: tuple[str, ...]
    run_argv: tuple[str, ...]
    run_env: tuple[str, ...]
    cut: bool

    @classmethod
    def parse(cls, parameters: Json) -> Observe:
        fields = Fields(parameters, "Observe")
        outcome = fields.text("outcome")
        known = next((one for one in get_args(Said) if one == outcome), None)
        if known is None:
            raise InvalidValue("Observe: no such outcome")
        call = cls(
            outcome=known,
            plugin=fields.optional_text("plugin"),
            plugin_type=fields.integer("plugin_type"),
            message=fields.optional_text("message"),
            user_info=fields.texts("user_info"),
            settings=fields.texts("settings"),
            submit_argv=fields.texts("submit_argv"),
            submit_optind=fields.integer("submit_optind"),
            command_info=fields.texts("command_info"),
            run_argv=fields.texts("run_argv"),
            run_env=fields.texts("run_env"),
            cut=fields.boolean("cut"),
        )
        fields.done()
        return call


@dataclass(frozen=True, slots=True)
class ListCommands:
    """sudo -l"""

    invocation: Invocation
    argv: tuple[str, ...]
    command: str | None
    verbose: bool
    user: str | None

    @classmethod
    def parse(cls, parameters: Json) -> ListCommands:
        fields = Fields(parameters, "List")
        call = cls(
            invocation=fields.nested("invocation", Invocation.read),
            argv=fields.texts("argv"),
            command=fields.optional_text("command"),
            verbose=fields.boolean("verbose"),
            user=fields.optional_text("user"),
        )
        fields.done()
        return call


@dataclass(frozen=True, slots=True)
class SessionCall:
    """Started and Close: a session, proven by its token."""

    session: str
    token: str
    wait_status: int | None
    errno: int | None

    @classmethod
    def parse(cls, parameters: Json, *, closing: bool) -> SessionCall:
        fields = Fields(parameters, "Close" if closing else "Started")
        call = cls(
            session=fields.text("session"),
            token=fields.text("token"),
            wait_status=fields.integer("wait_status") if closing else None,
            errno=fields.integer("errno") if closing else None,
        )
        fields.done()
        return call
