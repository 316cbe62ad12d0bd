"""The file system below a root of one's own: links, `..`, and folders that others can write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jitsudo.host.world import MAX_LINKS, HostWorld
from jitsudo.types import AbsPath

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="folders must be root's")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small root: /etc/shadow, /var/log/app, links, a world-writable /tmp and a home."""
    tmp_path.chmod(0o755)
    for name in ("etc", "var/log/app", "tmp", "home/alice"):
        (tmp_path / name).mkdir(parents=True, mode=0o755)
    (tmp_path / "etc/shadow").write_text("")
    (tmp_path / "var/log/app/a.log").write_text("")
    (tmp_path / "tmp").chmod(0o1777)
    (tmp_path / "tmp/x").write_text("")
    os.chown(tmp_path / "home/alice", 1000, 1000)
    (tmp_path / "home/alice/x").symlink_to("/etc/shadow")
    (tmp_path / "var/log/app/evil").symlink_to("/etc/shadow")
    (tmp_path / "var/log/app/up").symlink_to("../../../../../etc")
    (tmp_path / "logs").symlink_to("var/log")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("etc/none")
    (tmp_path / "dangling2").symlink_to("none/none")
    (tmp_path / "viahome").symlink_to("home/alice/x")
    return tmp_path


@pytest.fixture
def seen(root: Path) -> Iterator[HostWorld]:
    """The world below that root; its cwd is /var/log."""
    fd, cwd = os.open(root, os.O_PATH), os.open(root / "var/log", os.O_PATH)
    with HostWorld(lambda _: None, fd, cwd) as found:
        yield found
    os.close(fd)
    os.close(cwd)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/", "/"),
        ("/etc/shadow", "/etc/shadow"),
        ("//etc/./shadow", "/etc/shadow"),
        ("/var/log/app/", "/var/log/app"),
        ("/var/log/app/../app/a.log", "/var/log/app/a.log"),
        ("/../../etc/shadow", "/etc/shadow"),
        ("/var/log/app/evil", "/etc/shadow"),
        ("/var/log/app/up/shadow", "/etc/shadow"),
        ("/logs/app/a.log", "/var/log/app/a.log"),
        ("/logs/../log", "/var/log"),
        ("/etc/new", "/etc/new"),
        ("/dangling", "/etc/none"),
        ("/tmp", "/tmp"),
        ("/home/alice", "/home/alice"),
        ("/loop", None),
        ("/dangling2", None),
        ("/etc/none/x", None),
        ("/etc/shadow/", None),
        ("/etc/shadow/..", None),
        ("/etc/shadow/x", None),
        ("/tmp/x", None),
        ("/tmp/../etc", "/etc"),
        ("/home/alice/x", None),
        ("/viahome", None),
        ("/" + "a" * 300, None),
        ("/." * 2047, "/"),
    ],
)
def test_real_path(seen: HostWorld, path: str, real: str | None) -> None:
    """As the command will see it, or None where that cannot be established or could be undone."""
    assert seen.real_path(AbsPath(path)) == real


def test_links_are_followed_as_far_as_the_kernel_does(root: Path, seen: HostWorld) -> None:
    """Forty, not one more."""
    (root / "l0").symlink_to("etc")
    for n in range(1, MAX_LINKS + 1):
        (root / f"l{n}").symlink_to(f"l{n - 1}")
    assert seen.real_path(AbsPath(f"/l{MAX_LINKS - 1}")) == "/etc"
    assert seen.real_path(AbsPath(f"/l{MAX_LINKS}")) is None


def test_facts(root: Path, seen: HostWorld) -> None:
    """lstat, below the root; links on the way are followed, the last is not."""
    found = seen.facts(AbsPath("/logs/app/a.log"))
    stat = os.lstat(root / "var/log/app/a.log")
    assert found is not None
    assert (found.kind, found.uid, found.dev, found.ino) == ("file", 0, stat.st_dev, stat.st_ino)
    assert [
        getattr(seen.facts(AbsPath(path)), "kind", None)
        for path in ("/", "/logs", "/etc", "/home/alice/x", "/etc/none", "/etc/shadow/x", "/none/x", "/loop/x", "/" + "a" * 300)
    ] == ["directory", "link", "directory", "link", None, None, None, None, None]
    tmp = seen.facts(AbsPath("/tmp"))
    assert tmp is not None
    assert tmp.mode == 0o1777
    assert not tmp.roots_alone
    assert found.roots_alone


def test_the_cwd_is_compared_by_its_descriptor(seen: HostWorld, root: Path) -> None:
    """A path that names another folder meanwhile is noticed."""
    assert seen.cwd_is(AbsPath("/var/log"))
    assert seen.cwd_is(AbsPath("/logs"))
    assert not seen.cwd_is(AbsPath("/etc"))
    assert not seen.cwd_is(AbsPath("/none/none"))
    assert not seen.cwd_is(AbsPath("/none"))
    fd = os.open(root, os.O_PATH)
    assert not HostWorld(lambda _: None, fd).cwd_is(AbsPath("/var/log"))
    os.close(fd)


def test_our_own_root_is_the_default_and_is_closed() -> None:
    """Nothing is established after that."""
    found = HostWorld(lambda _: None)
    assert found.real_path(AbsPath("/")) == "/"
    assert found.user("alice") is None
    found.close()
    found.close()
    assert found.real_path(AbsPath("/")) is None


def test_other_failures_are_not_absence(seen: HostWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """An I/O error denies; it does not say that there is no such file."""

    def fail(*_: object, **__: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    assert seen.real_path(AbsPath("/etc/shadow")) is None
    with pytest.raises(OSError, match="Input/output"):
        seen.facts(AbsPath("/etc/shadow"))
    monkeypatch.undo()


def test_no_descriptor_is_left_open(seen: HostWorld) -> None:
    """Whatever the outcome."""
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/logs/app/a.log", "/loop", "/etc/none/x", "/tmp/x", "/var/log/app/up/shadow"):
        seen.real_path(AbsPath(path))
        seen.facts(AbsPath(path))
    assert len(os.listdir("/proc/self/fd")) == before
