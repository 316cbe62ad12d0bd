"""Whom sudoers lets in, as sudo's own programs tell it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.errors import Failed, InvalidValue
from jitsudo.setup.coverage import accounts_of
from jitsudo.setup.sudoers import Subject, directories, drop_ins, is_remarks_only, subjects_of
from jitsudo.setup.waivers import Waivers


def spec(*users: Mapping[str, object]) -> dict[str, object]:
    return {"User_Specs": [{"User_List": list(users), "Cmnd_Specs": []}]}


def test_subjects_are_named_once_each_without_root() -> None:
    """root needs no role."""
    document = spec({"username": "root"}, {"username": "bob"}, {"usergroup": "sudo"}, {"username": "bob"}, {"userid": 0})
    assert [str(one) for one in subjects_of(document, {})] == ["bob", "%sudo"]


def test_aliases_are_resolved_through_each_other_and_exceptions_left_out() -> None:
    """Too many are asked about, never too few: what is excepted is not subtracted from ALL."""
    aliases: dict[str, list[object]] = {
        "OPS": [{"username": "alice"}, {"useralias": "DBA"}, {"username": "mallory", "negated": True}],
        "DBA": [{"usergid": 27}],
    }
    found = subjects_of(spec({"useralias": "OPS"}, {"username": "ALL"}), aliases)
    assert [str(one) for one in found] == ["alice", "%#27", "ALL"]


def test_an_alias_that_contains_itself_is_refused() -> None:
    """visudo refuses it too; here it must not hang."""
    with pytest.raises(Failed, match="contains itself"):
        subjects_of(spec({"useralias": "A"}), {"A": [{"useralias": "A"}]})


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3) | st.dictionaries(
    st.sampled_from(["User_Specs", "User_List", "username", "useralias", "negated", "x"]), x, max_size=3), max_leaves=20))
def test_whatever_cvtsudoers_answers_is_read_or_refused(document: object) -> None:
    """Its JSON differs from version to version."""
    if isinstance(document, dict):
        with contextlib.suppress(Failed):
            assert isinstance(subjects_of(document, {}), tuple)


@pytest.mark.parametrize("specs", [None, {}, [None], [{}], [{"User_List": None}], [{"User_List": {"username": "a"}}]])
def test_rules_in_an_unknown_form_are_refused(specs: object) -> None:
    """Left out, somebody would be who gets nothing tomorrow."""
    with pytest.raises(Failed, match="not known here"):
        subjects_of({"User_Specs": specs}, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("passwd: files\n", ()),
        ("sudoers: files\n", ()),
        ("sudoers:        files sss\n", ("sss",)),
        ("sudoers: ldap [SUCCESS=return] files # ldap\n", ("ldap",)),
        ("#sudoers: ldap\n", ()),
    ],
)
def test_directories_are_found_in_nsswitch(text: str, expected: tuple[str, ...]) -> None:
    """sudo asks them for rules that no file shows."""
    assert directories(text) == expected


@pytest.mark.parametrize(
    ("data", "remarks"),
    [
        (b"", True),
        (b"# remark\n#\n\n  # another\n##\n", True),
        (b"#includedir /etc/x\n", False),
        (b"#1000 ALL=(ALL) ALL\n", False),
        (b"Defaults env_reset\n", False),
        (b"# a\n%sudo ALL=ALL\n", False),
    ],
)
def test_a_file_of_remarks_stays_where_it_is(data: bytes, remarks: bool) -> None:
    """`#1000` and `#includedir` are no remarks."""
    assert is_remarks_only(data) is remarks


def test_drop_ins_are_the_files_that_sudo_reads_and_that_say_something(tmp_path: Path) -> None:
    """sudoers(5): no name with a dot, none that ends with a tilde."""
    for name in ("rules", "with.dot", "backup~", "with space"):
        (tmp_path / name).write_text("alice ALL=ALL\n")
    (tmp_path / "README").write_text("# nothing\n")
    (tmp_path / "folder").mkdir()
    assert drop_ins(tmp_path) == ("rules", "with space")
    assert drop_ins(tmp_path / "none") == ()


def test_members_of_a_group_are_listed_ones_and_those_that_have_it_as_their_own() -> None:
    """`root` is the own group of root, and nobody lists it."""
    assert accounts_of(Subject("usergroup", "root"), lambda _: []) == ["root"]
    assert accounts_of(Subject("usergid", "0"), lambda _: []) == ["root"]
    assert accounts_of(Subject("usergroup", "no-such-group"), lambda _: []) == []
    assert accounts_of(Subject("userid", "1"), lambda _: []) == ["daemon"]
    assert accounts_of(Subject("userid", "x"), lambda _: []) == []


def test_members_that_cannot_be_known_are_said_to_be_unknown() -> None:
    """An AD group of a plugin of sudo's."""
    assert accounts_of(Subject("nonunixgroup", "admins"), lambda _: []) is None
    assert accounts_of(Subject("netgroup", "ops"), lambda name: [f"of {name}"]) == ["of ops"]


def test_a_waiver_names_one_thing() -> None:
    """Nothing can be waived as a whole."""
    waivers = Waivers.parse(["root-password", "account:backup"])
    assert waivers.covers("account:backup")
    assert not waivers.covers("account:bob")
    for text in ("", "all", "account:", "account", "host:x", "root-password:x"):
        with pytest.raises(InvalidValue):
            Waivers.parse([text])
