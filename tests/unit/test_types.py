"""Validated values: what cannot be a name, an id, a path, a reason or a duration never becomes one."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo import types
from jitsudo.errors import InvalidValue
from jitsudo.types import AbsPath, Digest, Duration, Gid, GrantId, HostId, Reason, RequestId, RoleName, SessionId, Uid, UserName

KINDS = [UserName, RoleName, AbsPath, Reason, Digest, HostId, RequestId, GrantId, SessionId]
FINE: list[tuple[Any, str]] = [
    *((UserName, n) for n in ("alice", "DOM\\user", "a.b@c", "svc app", "host$", "Ünïcode", "x" * 256, "1a", "root")),
    *((RoleName, n) for n in ("web", "web-operator", "a", "0", "a_b", "x" * 64)),
    *((AbsPath, p) for p in ("/", "/usr/bin/id", "//x", "/a/../b", "/\udcff", "/a\nb", "/" + "x" * 4094)),
    *((Reason, r) for r in ("x", "INC-1 é 你好", "x" * 500)),
    (Digest, "sha256:" + "0" * 64),
    (HostId, "SHA256:" + "A" * 43),
    (RequestId, "R-ABCDEFG2"),
    (GrantId, "G-ABCDEFG2"),
    (SessionId, "S-ABCDEFG2"),
]
WRONG: list[tuple[Any, Any]] = [
    *((UserName, n) for n in ("", " alice", "alice ", "-alice", "#0", "+x", "~x", "%x", "a:b", "a,b", "a/b", "0", "1000",
      "4294967295", "a\nb", "a\0", "\x1b[m", "a\u202eb", "\udcff", "\ud800", "x" * 257, "é" * 129, "\u2028")),
    *((RoleName, n) for n in ("", "Web", "-a", "a-", "_a", "a_", "a b", "a/b", "../a", "x" * 65, "a\n", "é", "\uff41")),
    *((AbsPath, p) for p in ("", "x", "./x", "~/x", "/a\0b", "/\ud800", "/" + "x" * 4095, "/" + "é" * 2048)),
    *((Reason, r) for r in ("", "   ", "a\nb", "a\x1bb", "a\u202eb", "\udcff", "x" * 501, "\t", "a\u2028b")),
    *((Digest, d) for d in ("", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha512:" + "0" * 64, "sha256:" + "0" * 64 + "\n")),
    *((HostId, h) for h in ("", "SHA256:" + "A" * 42, "SHA256:" + "A" * 44, "MD5:aa", "SHA256:" + "=" * 43)),
    *((RequestId, i) for i in ("", "G-ABCDEFG2", "R-abcdefg2", "R-ABCDEFG", "R-ABCDEFG22", "R-ABCDEFG1", "R-ABCDEFG2\n")),
    *((kind, value) for kind in KINDS for value in (None, 1, True, b"x", [], {"a": 1})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), FINE, ids=lambda v: v.__name__ if isinstance(v, type) else repr(v)[:20])
def test_a_value_is_kept_exactly_as_it_was_given(kind: Any, text: str) -> None:
    """Nothing is normalized, trimmed or folded."""
    assert kind(text) == text


@pytest.mark.parametrize(("kind", "value"), WRONG, ids=lambda v: v.__name__ if isinstance(v, type) else repr(v)[:20])
def test_what_is_not_a_value_is_refused(kind: Any, value: Any) -> None:
    """By InvalidValue and by nothing else."""
    with pytest.raises(InvalidValue):
        kind(value)


IDS_AS_TEXT = ["", "-1", "+1", " 0 ", "0_0", "00", "01", "0x0", "1e3", "4294967295", "4294967296", "99999999999", "\u0660",
               "1\n", "\uff10", "²", "1.0", None, 1, True]  # fmt: skip


@pytest.mark.parametrize("text", IDS_AS_TEXT)
@pytest.mark.parametrize("kind", [Uid, Gid])
def test_an_id_is_plain_ascii_digits_in_range(kind: Any, text: Any) -> None:
    """CVE-2019-14287: -1 and 4294967295 mean "do not change" to setresuid(2), and int() reads more than digits."""
    with pytest.raises(InvalidValue):
        kind.parse(text)


@pytest.mark.parametrize("value", [-1, 4_294_967_295, 2**64, True, False, "0", None, 1.0])
def test_an_id_from_a_number_is_in_range_and_no_boolean(value: Any) -> None:
    """`true` is not uid 1, `false` not uid 0."""
    with pytest.raises(InvalidValue):
        Uid(value)


def test_ids_reach_from_0_to_the_last_but_one() -> None:
    """Both limits."""
    assert (Uid(0), Uid.parse("0"), Uid(0xFFFF_FFFE), Uid.parse("4294967294")) == (0, 0, 0xFFFF_FFFE, 0xFFFF_FFFE)


DURATIONS = {"1s": 1, "90m": 5400, "1h30m": 5400, "400d": 400 * 86_400, "1d1h1m1s": 90_061}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration_is_read_in_its_units(text: str, seconds: int) -> None:
    """And written in the largest ones."""
    assert Duration.parse(text) == seconds
    assert Duration.parse(str(Duration(seconds))) == seconds


NO_DURATIONS = ["", "0s", "30", "-1m", "1.5h", "1h ", " 1h", "1H", "1w", "h", "401d", "9" * 40 + "s", "\u0661h", "1h-", None, 5]


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    """Negative and absurd ones above all."""
    with pytest.raises(InvalidValue):
        Duration.parse(text)


@pytest.mark.parametrize("value", [0, -1, 400 * 86_400 + 1, True, "5", 1.0, None])
def test_a_duration_is_positive_and_has_an_end(value: Any) -> None:
    """Two limits, exactly."""
    with pytest.raises(InvalidValue):
        Duration(value)


@given(st.integers(1, types.MAX_DURATION_SECONDS))
def test_every_duration_reads_as_it_is_written(seconds: int) -> None:
    """str and parse are inverse."""
    assert Duration.parse(str(Duration(seconds))) == seconds


@given(st.text() | st.binary(max_size=50).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_every_constructor_is_total(text: str) -> None:
    """A typed value or InvalidValue, whatever the text."""
    for kind in (*KINDS, Uid.parse, Gid.parse, Duration.parse):
        with contextlib.suppress(InvalidValue):
            kind(text)
