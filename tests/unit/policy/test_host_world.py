"""The file system below a root of one's own: links, `..`, and folders that others can write."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jitsudo.host import world as world_module
from jitsudo.host.world import MAX_LINKS, HostWorld
from jitsudo.policy.paths import Place, path_matches
from jitsudo.policy.rules import PathUnder
from jitsudo.types import AbsPath

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="folders must be root's"), pytest.mark.usefixtures("uncollected")]


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


# -- digests and groups ----------------------------------------------------------------------------------------------


def test_groups_are_asked_of_whoever_knows_them(root: Path) -> None:
    """This host's name service, unless told otherwise."""
    fd = os.open(root, os.O_PATH)
    told = HostWorld(lambda _: None, fd, group=lambda name: name == "jitsudo-test-group")
    assert told.group("jitsudo-test-group")
    assert not told.group("root")
    assert HostWorld(lambda _: None, fd).group("root")
    assert not HostWorld(lambda _: None, fd).group("jitsudo-test-group")
    os.close(fd)


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_a_digest_is_that_of_the_file_a_path_leads_to(root: Path, seen: HostWorld) -> None:
    """Through links of root's, and afresh whenever the content changes."""
    (root / "etc/tool").write_bytes(b"one")
    (root / "etc/link").symlink_to("tool")
    assert seen.digest(AbsPath("/etc/link")) == sha256(b"one")
    (root / "etc/tool").write_bytes(b"two")
    assert seen.digest(AbsPath("/etc/tool")) == sha256(b"two")


def test_a_digest_is_kept_until_the_file_changes(root: Path, seen: HostWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its times have settled; what was kept longest gives way."""
    (root / "etc/tool").write_bytes(b"one")
    monkeypatch.setattr(world_module, "SETTLED_SECONDS", -10.0)
    monkeypatch.setattr(world_module, "MAX_KEPT_DIGESTS", 1)
    one = seen.digest(AbsPath("/etc/tool"))
    assert one == sha256(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "sha256", None)
        assert seen.digest(AbsPath("/etc/tool")) == one
    (root / "etc/tool").write_bytes(b"two, longer")
    assert seen.digest(AbsPath("/etc/tool")) == sha256(b"two, longer")


@pytest.mark.parametrize("path", ["/", "/etc", "/etc/none", "/etc/none/x", "/viahome", "/tmp/x", "/etc/fifo", "/loop"])
def test_what_is_no_file_of_roots_has_no_digest(path: str, root: Path, seen: HostWorld) -> None:
    """Folders, what is not there, what others can exchange, and what would hang whoever reads it."""
    os.mkfifo(root / "etc/fifo")
    assert seen.digest(AbsPath(path)) is None


def test_a_file_that_is_too_large_has_no_digest(root: Path, seen: HostWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it would take longer than a decision may; at the limit it is read."""
    monkeypatch.setattr(world_module, "MAX_DIGEST_BYTES", 3)
    (root / "etc/tool").write_bytes(b"abc")
    assert seen.digest(AbsPath("/etc/tool")) == sha256(b"abc")
    (root / "etc/tool").write_bytes(b"abcd")
    assert seen.digest(AbsPath("/etc/tool")) is None


def test_a_file_that_changes_while_it_is_read_has_no_digest(
    root: Path, seen: HostWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is not what is there."""
    (root / "etc/tool").write_bytes(b"abc")
    identities = iter([(1,), (2,)])
    monkeypatch.setattr(world_module, "_identity", lambda _: next(identities))
    assert seen.digest(AbsPath("/etc/tool")) is None


# -- races -----------------------------------------------------------------------------------------------------------

CHECKS = 10_000
SAFE = PathUnder((AbsPath("/srv/safe"),))
ANYWHERE = PathUnder((AbsPath("/srv"),))
# What somebody else can exchange at any moment, by whatever name: no check of it may ever pass.
EXCHANGEABLE = (
    "/srv/alices/x", "/srv/alices/sub/x", "/srv/safe/to-alice/x", "/srv/safe/../alices/x", "/srv/alices/sub/../../safe/x",
    "/srv/alices/sub/../x", "/srv/safe/turning/x",
)  # fmt: skip


def turn(root: Path, stop: threading.Event) -> None:
    """Exchange operands and folders, as alice can in what is hers, and as root may in the meantime elsewhere."""
    alices, safe = root / "srv/alices", root / "srv/safe"
    for number in itertools.count():
        if stop.is_set():
            return
        for name, kinds in (("x", ("file", "/etc/shadow", "/srv/safe/x")), ("sub", ("folder", "/srv/safe", "../safe"))):
            new = alices / "new"
            kind = kinds[number % 3]
            if kind == "file":
                new.write_text("")
            elif kind == "folder":
                new.mkdir()
            else:
                new.symlink_to(kind)
            old = alices / f"{name}{number}"
            (alices / name).rename(old)
            new.rename(alices / name)
        (safe / "next").symlink_to(("v1", "../alices/sub")[number % 2])
        (safe / "next").rename(safe / "current")


def test_no_check_passes_whose_path_somebody_else_could_still_change(root: Path) -> None:
    """Ten thousand checks while operands and folders are exchanged; a path of root's alone passes all the same."""
    for name in ("srv/safe/v1", "srv/alices/sub", "srv/safe/turning"):
        (root / name).mkdir(parents=True)
    for name in ("srv/safe/x", "srv/safe/v1/x", "srv/alices/x", "srv/safe/turning/x"):
        (root / name).write_text("")
    (root / "srv/safe/to-alice").symlink_to("../alices")
    (root / "srv/safe/current").symlink_to("v1")
    (root / "srv/safe/turning").chmod(0o775)
    os.chown(root / "srv/alices", 1000, 1000)
    fd, stop = os.open(root, os.O_PATH), threading.Event()
    turner = threading.Thread(target=turn, args=(root, stop))
    turner.start()
    passed = safe = changing = 0
    try:
        with HostWorld(lambda _: None, fd) as world:
            for number in range(CHECKS):
                place = Place(world, AbsPath(("/", "/srv/alices", "/srv/alices/sub")[number % 3]))
                wanted = (SAFE, ANYWHERE)[number % 2]
                passed += path_matches(wanted, EXCHANGEABLE[number % len(EXCHANGEABLE)], place)
                passed += number % 3 != 0 and path_matches(wanted, "x", place)
                safe += path_matches(wanted, "/srv/safe/x", place)
                changing += path_matches(wanted, "/srv/safe/current/x", place)
    finally:
        stop.set()
        turner.join()
        os.close(fd)
    assert passed == 0
    assert safe == CHECKS
    assert 0 < changing < CHECKS
