"""sudo.conf: lines of ours go in and out, those of others stay byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.errors import Failed
from jitsudo.setup.sudoconf import (
    MAX_SUDO_CONF_BYTES,
    OBSERVE_LINE,
    PLUGIN_LINE,
    FrontEnd,
    SudoConf,
    read_sudo_conf,
    write_sudo_conf,
)

DEBIAN = b"# a remark\n#Plugin sudoers_policy sudoers.so\nSet disable_coredump false\n"
LINES = st.sampled_from([
    b"# remark", b"", b"Plugin sudoers_policy sudoers.so", b"plugin jitsudo_native jitsudo_native.so", b"Path askpass /x",
    b"Plugin jitsudo_observe jitsudo_observe.so", b"Set group_source dynamic", b"\tPLUGIN jitsudo_python a.so X=y", b"  \\",
    b"Plugin sudoers_io \\", b"Plugin half", b"\xff\xfe", b"Plugin other other.so # jitsudo_native",
])  # fmt: skip


def test_a_front_end_s_line_goes_to_the_end_and_out_again() -> None:
    """What was there is what is there afterwards."""
    conf = SudoConf(DEBIAN)
    ours = conf.for_front_end(FrontEnd.NATIVE)
    assert ours.data == DEBIAN + PLUGIN_LINE[FrontEnd.NATIVE].encode() + b"\n"
    assert ours.front_end() is FrontEnd.NATIVE
    assert ours.without_ours() == conf


def test_a_file_without_a_last_newline_gets_one_before_our_line() -> None:
    """Else the two lines would be one."""
    assert SudoConf(b"Set a b").with_line(OBSERVE_LINE).data == f"Set a b\n{OBSERVE_LINE}\n".encode()


def test_a_line_that_is_there_is_not_added_again() -> None:
    """sudo would warn of it at each call."""
    conf = SudoConf(DEBIAN).with_line(OBSERVE_LINE)
    assert conf.with_line(OBSERVE_LINE) == conf
    assert conf.observes()


def test_a_switch_leaves_one_policy_plugin() -> None:
    """sudo takes one."""
    conf = SudoConf(DEBIAN + b"Plugin sudoers_policy sudoers.so\nPlugin sudoers_io sudoers.so\n")
    switched = conf.for_front_end(FrontEnd.PYTHON).for_front_end(FrontEnd.NATIVE)
    assert [plugin.symbol for plugin in switched.plugins()] == ["sudoers_io", "jitsudo_native"]


def test_keywords_in_any_case_and_continued_lines_are_read_as_sudo_reads_them() -> None:
    """sudo.conf(5): the keyword's case does not matter, a backslash goes on with the next line."""
    conf = SudoConf(b"pLuGiN jitsudo_python \\\n   jitsudo_python.so ModulePath=/x\nSet a b\n")
    (plugin,) = conf.plugins()
    assert (plugin.symbol, plugin.path, plugin.options) == ("jitsudo_python", "jitsudo_python.so", ("ModulePath=/x",))
    assert conf.without_ours().data == b"Set a b\n"


def test_remarks_and_half_lines_are_no_plugins() -> None:
    """Debian's own file has commented lines of this kind."""
    assert SudoConf(b"#Plugin jitsudo_native x.so\nPlugin jitsudo_native\nPlugin # jitsudo_native x\n").plugins() == ()


@given(st.lists(LINES, max_size=8), st.booleans(), st.sampled_from([FrontEnd.PYTHON, FrontEnd.NATIVE]))
def test_whatever_the_file_enabling_names_the_front_end_once_and_keeps_other_lines(
    lines: list[bytes], ended: bool, front_end: FrontEnd
) -> None:
    """Every line that is no plugin of ours nor sudoers' policy is still there, in its order."""
    conf = SudoConf(b"\n".join(lines) + (b"\n" if ended else b""))
    changed = conf.for_front_end(front_end)
    if not conf.data.endswith((b"\\", b"\\\n")):  # the last line goes on with ours: nothing that anybody writes
        assert changed.front_end() is front_end
    assert len(changed.ours()) <= 1
    others = [p.symbol for p in conf.plugins() if not p.is_ours and p.symbol != "sudoers_policy"]
    assert [p.symbol for p in changed.plugins() if not p.is_ours] == others or b"\\" in conf.data


def test_no_file_is_an_empty_one(tmp_path: Path) -> None:
    """As for sudo."""
    assert read_sudo_conf(tmp_path / "sudo.conf") == SudoConf(b"")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A rename would put a file in its place, and whoever keeps the target would not see it."""
    (tmp_path / "target").write_bytes(DEBIAN)
    (tmp_path / "sudo.conf").symlink_to("target")
    with pytest.raises(Failed, match="cannot be read"):
        read_sudo_conf(tmp_path / "sudo.conf")


def test_a_folder_and_a_file_without_end_are_refused(tmp_path: Path) -> None:
    """Nothing is read for ever."""
    with pytest.raises(Failed, match="not a regular file"):
        read_sudo_conf(tmp_path)
    large = tmp_path / "large"
    large.write_bytes(b"#" * (MAX_SUDO_CONF_BYTES + 1))
    with pytest.raises(Failed, match="larger than"):
        read_sudo_conf(large)
    large.write_bytes(b"#" * MAX_SUDO_CONF_BYTES)
    assert len(read_sudo_conf(large).data) == MAX_SUDO_CONF_BYTES


def test_writing_leaves_the_mode_that_sudo_wants_and_nothing_beside(tmp_path: Path) -> None:
    """Whatever the umask of the caller."""
    path = tmp_path / "sudo.conf"
    write_sudo_conf(SudoConf(DEBIAN), path)
    assert path.read_bytes() == DEBIAN
    assert path.stat().st_mode & 0o7777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["sudo.conf"]
