"""Calls and their typed parameters: one reading or InvalidValue, nothing ignored."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from jitsudo.errors import InvalidValue, LedgerDamaged, PolicyInvalid, ProtocolViolation
from jitsudo.wire import calls
from jitsudo.wire.calls import CONTROL, DECIDE, Answer, Call, Check, Invocation, ListCommands, SessionCall
from jitsudo.wire.fields import MAX_ITEMS, Fields
from jitsudo.wire.framing import decode_frame, encode_frame

INVOCATION = {"front_end": "sudo-python", "user_info": ["user=a"], "settings": [], "user_env": ["A=b"]}
CHECK: dict[str, Any] = {
    "invocation": INVOCATION,
    "argv": ["id", {"base64": "/w=="}],
    "env_add": [],
    "command": "/usr/bin/id",
    "descriptors": ["root", "cwd"],
    "sub_command": False,
}
LIST: dict[str, Any] = {"invocation": INVOCATION, "argv": [], "command": None, "verbose": False, "user": None}
CLOSE: dict[str, Any] = {"session": "S-AAAAAAAA", "token": "t", "wait_status": 256, "errno": 0}


def test_a_check_is_read_field_by_field() -> None:
    """Every field lands where it belongs, bytes included."""
    expected = Check(
        Invocation("sudo-python", ("user=a",), (), ("A=b",)), ("id", "\udcff"), (), "/usr/bin/id", ("root", "cwd"), False
    )
    assert Check.parse(CHECK) == expected
    assert Check.parse({**CHECK, "command": None}).command is None


def test_the_other_calls_are_read_likewise() -> None:
    """List, Started and Close."""
    assert ListCommands.parse(LIST).user is None
    assert SessionCall.parse(CLOSE, closing=True) == SessionCall("S-AAAAAAAA", "t", 256, 0)
    started = {"session": "S-AAAAAAAA", "token": "t"}
    assert SessionCall.parse(started, closing=False) == SessionCall("S-AAAAAAAA", "t", None, None)


WRONG: dict[str, Any] = {
    "null": None,
    "true": True,
    "one": 1,
    "a text": "x",
    "a list of numbers": [1],
    "a list of lists": [["x"]],
    "an object": {"x": 1},
    "a text with NUL": "a\0",
    "a list with NUL": ["a\0"],
}
FITS = {
    "argv": (), "env_add": (), "descriptors": (), "sub_command": ("true",), "command": ("null", "a text"), "invocation": (),
    "session": ("a text",), "token": ("a text",), "wait_status": ("one",), "errno": ("one",),
}
# What a field of each call takes of WRONG, so that everything else has to be refused.


@pytest.mark.parametrize("field", CHECK)
@pytest.mark.parametrize("what", WRONG)
def test_a_check_with_a_field_of_another_type_is_refused(field: str, what: str) -> None:
    """Booleans are no integers, a text is no list, and null is nothing."""
    message = {**CHECK, field: WRONG[what]}
    if what in FITS[field]:
        assert Check.parse(message)
        return
    with pytest.raises(InvalidValue):
        Check.parse(message)


@pytest.mark.parametrize("field", CLOSE)
@pytest.mark.parametrize("what", WRONG)
def test_a_close_with_a_field_of_another_type_is_refused(field: str, what: str) -> None:
    """`true` is not wait status 1."""
    message = {**CLOSE, field: WRONG[what]}
    if what in FITS[field]:
        assert SessionCall.parse(message, closing=True)
        return
    with pytest.raises(InvalidValue):
        SessionCall.parse(message, closing=True)


@pytest.mark.parametrize("field", [f for f in CHECK if f != "command"])
def test_a_check_without_a_field_is_refused(field: str) -> None:
    """Nothing but the command that was not found may be missing."""
    message = copy.deepcopy(CHECK)
    del message[field]
    with pytest.raises(InvalidValue, match="missing"):
        Check.parse(message)


@pytest.mark.parametrize("place", ["Check", "invocation", "List", "Started", "Close"])
def test_an_unknown_field_is_refused_by_name(place: str) -> None:
    """A field that one side knows and the other ignores is a hole."""
    parsers: dict[str, Any] = {
        "Check": lambda: Check.parse({**CHECK, "uid": 0}),
        "invocation": lambda: Check.parse({**CHECK, "invocation": {**INVOCATION, "uid": 0}}),
        "List": lambda: ListCommands.parse({**LIST, "uid": 0}),
        "Started": lambda: SessionCall.parse({"session": "S", "token": "t", "uid": 0}, closing=False),
        "Close": lambda: SessionCall.parse({**CLOSE, "uid": 0}, closing=True),
    }
    with pytest.raises(InvalidValue, match="unknown field 'uid'"):
        parsers[place]()


@pytest.mark.parametrize("names", [["root", "root"], ["shadow"], ["cwd", ""], ["root", "cwd", "command", "terminal", "root"]])
def test_descriptors_have_known_names_each_once(names: list[str]) -> None:
    """A name twice would leave one descriptor to nobody."""
    with pytest.raises(InvalidValue, match="descriptors"):
        Check.parse({**CHECK, "descriptors": names})


def test_lists_are_limited_exactly() -> None:
    """65,536 texts are read, one more is not."""
    assert len(Check.parse({**CHECK, "argv": ["x"] * MAX_ITEMS}).argv) == MAX_ITEMS
    with pytest.raises(InvalidValue, match="argv"):
        Check.parse({**CHECK, "argv": ["x"] * (MAX_ITEMS + 1)})


def test_an_empty_name_is_a_text_and_a_boolean_has_its_default() -> None:
    """`default` is for what may be left out; a wrong type is wrong all the same."""
    assert Fields({"a": ""}, "X").text("a") == ""
    assert Fields({}, "X").boolean("a", default=False) is False
    assert Fields({"a": None}, "X").optional_integer("a") is None
    for wrong in (0, "true", []):
        with pytest.raises(InvalidValue, match="boolean"):
            Fields({"a": wrong}, "X").boolean("a", default=True)
    with pytest.raises(InvalidValue, match="integer"):
        Fields({"a": False}, "X").optional_integer("a")
    with pytest.raises(InvalidValue, match="not an object"):
        Fields([], "X")


NOT_CALLS: dict[str, dict[str, object]] = {
    "no method": {"parameters": {}},
    "a method that is no text": {"method": 1},
    "parameters that are a list": {"method": "a.B", "parameters": []},
    "parameters that are null": {"method": "a.B", "parameters": None},
    "more that is a number": {"method": "a.B", "more": 1},
    "a member of another protocol": {"method": "a.B", "upgrade": True},
    "a reply": {"parameters": {}, "continues": True},
}


@pytest.mark.parametrize("message", NOT_CALLS.values(), ids=NOT_CALLS.keys())
def test_what_is_no_call_is_a_violation(message: dict[str, object]) -> None:
    """What cannot be answered ends the connection."""
    with pytest.raises(ProtocolViolation):
        Call.parse(message)


def test_a_call_survives_its_message() -> None:
    """What the client writes is what the daemon reads; parameters may be left out."""
    call = Call(f"{DECIDE}.Check", {"a": 1}, more=True)
    assert Call.parse(call.message()) == call
    assert Call.parse({"method": "a.B"}) == Call("a.B", {}, more=False)


def test_an_error_reply_has_its_code_sentence_hint_and_issues() -> None:
    """Programs match on the code; a person reads the rest."""
    error = PolicyInvalid("refused", "repair it", ("a.yaml:1:1: x",))
    expected = {"code": "policy-invalid", "message": "refused", "hint": "repair it", "issues": ["a.yaml:1:1: x"]}
    assert calls.error_reply(CONTROL, error) == {"error": "io.jitsudo.Control.Refused", "parameters": expected}
    assert "issues" not in str(calls.error_reply(DECIDE, LedgerDamaged(3, "row 3")))


def test_an_error_that_names_bytes_can_be_written() -> None:
    """A sentence holds what somebody sent; the refusal of it must not fail in turn."""
    error = PolicyInvalid("there is no \udcff", "\ud800", ("\udc80: x",))
    parameters = decode_frame(encode_frame(calls.error_reply(CONTROL, error))[:-1])["parameters"]
    expected = {"code": "policy-invalid", "message": "there is no \\udcff", "hint": "\\ud800", "issues": ["\\udc80: x"]}
    assert parameters == expected


def test_pending_says_that_more_is_to_come() -> None:
    """The one reply that is not the last."""
    assert calls.pending("x") == {"parameters": {"pending": "x"}, "continues": True}
    assert calls.reply({"a": 1}) == {"parameters": {"a": 1}}


ANSWERS: list[tuple[dict[str, object], Answer | None]] = [
    ({"outcome": "proven"}, Answer("proven")),
    ({"outcome": "proven", "account": "locked"}, Answer("proven", "locked")),
    ({"outcome": "declined", "account": None, "descriptors": None}, Answer("declined")),
    ({"outcome": "unavailable", "descriptors": []}, Answer("unavailable")),
    ({"outcome": "connected", "descriptors": ["agent"]}, Answer("connected", None, ("agent",))),
    ({"outcome": "connected"}, None),
    ({"outcome": "connected", "descriptors": []}, None),
    ({"outcome": "connected", "descriptors": ["cwd"]}, None),
    ({"outcome": "connected", "descriptors": ["agent", "agent"]}, None),
    ({"outcome": "connected", "descriptors": "agent"}, None),
    ({"outcome": "connected", "descriptors": ["agent"], "account": "locked"}, None),
    ({"outcome": "proven", "descriptors": ["agent"]}, None),
    ({"outcome": "confirmed", "account": "locked"}, None),
    ({"outcome": "signed"}, None),
    ({"outcome": "proven", "signature": None}, None),
    ({"outcome": None}, None),
    ({}, None),
]


@pytest.mark.parametrize(("parameters", "answer"), ANSWERS)
def test_an_answer_is_one_of_a_few(parameters: dict[str, object], answer: Answer | None) -> None:
    """The agent's connection comes with its outcome and with no other, and what is said of an account with a proof."""
    if answer is not None:
        assert Answer.parse(parameters) == answer
        return
    with pytest.raises(InvalidValue):
        Answer.parse(parameters)


def test_null_is_as_good_as_nothing_where_a_field_may_be_missing() -> None:
    """A field that is null is not an unknown one."""
    for given in ({}, {"number": None, "texts": None}):
        fields = Fields(given, "x")
        assert (fields.optional_integer("number"), fields.texts("texts", ("a",))) == (None, ("a",))
        fields.done()
