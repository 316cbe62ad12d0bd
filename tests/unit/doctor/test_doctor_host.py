"""The adapter that checks see a host through: nothing hangs it, no link leads out, no failure looks like absence."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from waiting import LONG, wait_until

from jitsudo.doctor import registry
from jitsudo.doctor.findings import Severity, Unknown
from jitsudo.doctor.host import Host, Ran, run_program
from jitsudo.doctor.people import listed
from jitsudo.doctor.registry import Area, Check, examine_areas, select
from jitsudo.errors import InvalidValue


def test_a_program_that_does_not_end_is_ended_with_its_children() -> None:
    """Neither it nor what it started holds the examination up."""
    begun = time.monotonic()
    with pytest.raises(Unknown, match=r"/bin/sh did not end within 0.3 s"):
        Host().run("/bin/sh", "-c", "sleep 4711.25 & sleep 4711.25", seconds=0.3)
    assert time.monotonic() - begun < LONG
    wait_until(lambda: not [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"4711.25" in _bytes(path)])


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_program_that_is_not_there_is_none_and_one_that_cannot_run_is_unknown(tmp_path: Path) -> None:
    """Two different things."""
    assert Host().run(str(tmp_path / "gone")) is None
    (tmp_path / "text").write_text("")
    with pytest.raises(Unknown, match="cannot be run"):
        Host().run(str(tmp_path / "text"))


def test_a_program_gets_an_environment_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the caller's PATH, language or preloaded libraries."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    out = run_program(["/usr/bin/env"], 5).out
    assert "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n" in out
    assert "LD_PRELOAD" not in out
    assert "LC_ALL=C.UTF-8\n" in out


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    """An absolute link of a planted tree is that tree's."""
    host = Host(tmp_path)
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "sudo").write_text("x")
    (tmp_path / "bin").symlink_to("/usr/bin")
    (tmp_path / "a").symlink_to("../../bin/sudo")
    assert host.real("/a") == "/usr/bin/sudo"
    assert host.read("/a") == "x"
    assert host.link("/a") == "../../bin/sudo"
    assert host.link("/usr/bin/sudo") is None


def test_a_circle_of_links_is_unknown(tmp_path: Path) -> None:
    """As the kernel's ELOOP."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Unknown, match="circle"):
        Host(tmp_path).real("/a")


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """It is no file to read."""
    os.mkfifo(tmp_path / "f")
    assert Host(tmp_path).read("/f") is None


def test_a_folder_is_no_file_to_read(tmp_path: Path) -> None:
    """Whatever its name looks like."""
    (tmp_path / "x.service").mkdir()
    assert Host(tmp_path).read("/x.service") is None


def test_at_most_so_much_is_read(tmp_path: Path) -> None:
    """A file that never ends is cut off."""
    (tmp_path / "zero").write_bytes(b"x" * 100_000)
    assert len(Host(tmp_path).read("/zero", 70_000) or "") == 70_000


def test_a_folder_that_may_not_be_read_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not look empty."""

    def forbidden(_path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", forbidden)
    with pytest.raises(Unknown, match="needs root: /x"):
        Host(tmp_path).names("/x")


def test_a_failing_disk_is_not_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO is said as such."""

    def failing(_path: object) -> os.stat_result:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "lstat", failing)
    with pytest.raises(Unknown, match="/x cannot be read: Input/output error"):
        Host(tmp_path).entry("/x")


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    """Whether the file or a folder above it is missing."""
    host = Host(tmp_path)
    assert (host.entry("/a/b"), host.read("/a/b"), host.link("/a")) == (None, None, None)
    assert (host.names("/a"), host.lines("/a")) == ([], [])


def test_lines_leaves_out_what_says_nothing(tmp_path: Path) -> None:
    """Comments, indented ones too, and empty lines."""
    (tmp_path / "f").write_text("# a\n\n  b c\n   # d\n")
    assert Host(tmp_path).lines("/f") == ["b c"]


def hanging(_host: Host) -> Iterator[str]:
    time.sleep(600)
    yield "never"


def fine(_host: Host) -> Iterator[str]:
    yield "fine"


def test_a_check_that_hangs_is_unknown_in_time_and_holds_no_other_up() -> None:
    """Its thread is left behind."""
    area = Area("x", "", (Check("hangs", hanging, ()), Check("fine", fine, ())))
    begun = time.monotonic()
    found = examine_areas(Host(), [area], check_seconds=1)
    assert time.monotonic() - begun < LONG
    assert [(one.code, one.severity) for one in found] == [("hangs", Severity.UNKNOWN), ("fine", Severity.OK)]
    assert found[0].found == "took longer than 1 s"


def test_the_whole_ends_in_time_though_every_check_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were not begun say so."""
    monkeypatch.setattr(registry, "WHOLE_SECONDS", 0.5)
    area = Area("x", "", tuple(Check(f"hangs-{n}", hanging, ()) for n in range(12)))
    begun = time.monotonic()
    found = examine_areas(Host(), [area], check_seconds=300)
    assert time.monotonic() - begun < LONG
    assert len(found) == 12
    assert {one.severity for one in found} == {Severity.UNKNOWN}
    assert {one.found for one in found} == {"not done within 0.5 s, with all that came before"}


def test_checks_that_hang_leave_room_for_others() -> None:
    """More of them than run at once, and what comes after is examined all the same."""
    area = Area("x", "", (*(Check(f"hangs-{n}", hanging, ()) for n in range(6)), Check("fine", fine, ())))
    found = examine_areas(Host(), [area], check_seconds=1)
    assert [one.found for one in found if one.code == "fine"] == ["fine"]


def test_what_several_checks_want_to_know_is_asked_once() -> None:
    """And what did not answer is not waited for a second time."""
    asked = []

    def late(argv: Sequence[str], _seconds: float, _text: str) -> Ran:
        asked.append(argv)
        raise TimeoutError("late")

    host = Host(runner=late)
    for _ in range(3):
        with pytest.raises(Unknown, match="late"):
            host.once("/usr/bin/sudo", "-V")
    assert asked == [("/usr/bin/sudo", "-V")]


def test_an_area_that_does_not_exist_names_those_that_do() -> None:
    """With the error that the command line knows."""
    with pytest.raises(InvalidValue, match="no area 'b'"):
        select([Area("a", "", ())], ["b"])
    assert [area.name for area in select([Area("a", "", ()), Area("b", "", ())], ["b"])] == ["b"]


def test_many_names_are_shortened() -> None:
    """A sentence stays readable."""
    assert listed(["b", "a"]) == "a, b"
    assert listed([str(n) for n in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
