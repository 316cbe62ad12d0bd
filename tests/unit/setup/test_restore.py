"""jitsudo-restore on planted trees: what comes back, what is left alone, and being cut off anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jitsudo.setup.sudoconf import OBSERVE_LINE, PLUGIN_LINE, FrontEnd, SudoConf

PROGRAM = Path(__file__).resolve().parents[3] / "systemd" / "jitsudo-restore"
SUDO_CONF = b"# as shipped\nSet disable_coredump false\n"
SUDOERS = b"root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n"
DEFAULTS = b"Defaults env_reset\n"
DROP_INS = {"90-cloud": b"debian ALL=(ALL) NOPASSWD:ALL\n", "with space": b"bob ALL=ALL\n", ".hidden": b"eve ALL=ALL\n"}
THEN = 1_600_000_000
BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")


class Tree:
    """A host below a folder. `plant` makes it as an enable leaves it after its last step."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc"
        self.kept = self.etc / "jitsudo" / "kept"
        self.state = root / "var/lib/jitsudo/setup"
        for folder in (self.etc / "sudoers.d", self.kept / "sudoers.d", self.state / "left"):
            folder.mkdir(parents=True)

    def original(self, name: str, data: bytes, mode: int) -> Path:
        path = self.etc / name
        path.write_bytes(data)
        path.chmod(mode)
        os.utime(path, (THEN, THEN))
        return path

    def stock(self) -> None:
        self.original("sudo.conf", SUDO_CONF, 0o644)
        self.original("sudoers", SUDOERS, 0o440)
        for name, data in DROP_INS.items():
            self.original(f"sudoers.d/{name}", data, 0o440)

    def steps(self, front_end: FrontEnd = FrontEnd.NATIVE) -> list[Callable[[], object]]:
        """The changes of an enable, one by one."""
        ours = SudoConf(SUDO_CONF).for_front_end(front_end).data
        return [
            lambda: (self.state / "state").write_text(f"mode unconfirmed\nboot_id {BOOT_ID}\ndeadline 1\n"),
            lambda: (self.state / "left/sudo.conf").write_bytes(ours),
            lambda: (self.state / "left/sudoers").write_bytes(DEFAULTS),
            lambda: os.link(self.etc / "sudo.conf", self.kept / "sudo.conf"),
            lambda: os.link(self.etc / "sudoers", self.kept / "sudoers"),
            lambda: self.replace("sudo.conf", ours),
            lambda: self.replace("sudoers", DEFAULTS),
            *(
                (lambda name=name: (self.etc / "sudoers.d" / name).rename(self.kept / "sudoers.d" / name))  # type: ignore[misc]
                for name in DROP_INS
            ),
        ]

    def plant(self, front_end: FrontEnd = FrontEnd.NATIVE) -> None:
        self.stock()
        for step in self.steps(front_end):
            step()

    def replace(self, name: str, data: bytes) -> None:
        new = self.etc / f"{name}.new"
        new.write_bytes(data)
        new.rename(self.etc / name)

    def restore(self, *options: str, expect: int = 0) -> str:
        done = subprocess.run(
            ["/bin/sh", str(PROGRAM), "--root", str(self.root), *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == expect, done.stderr
        return done.stderr + done.stdout

    def seen(self) -> dict[str, tuple[bytes, int, int]]:
        """Every file below /etc, with its mode and its time."""
        files = sorted(p for p in self.etc.rglob("*") if p.is_file())
        return {
            str(p.relative_to(self.etc)): (p.read_bytes(), p.stat().st_mode & 0o7777, int(p.stat().st_mtime)) for p in files
        }

    def mode(self) -> str:
        return (self.state / "state").read_text().split()[1]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def stock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, int, int]]:
    """What a host looks like that jitsudo never touched."""
    untouched = Tree(tmp_path_factory.mktemp("stock"))
    untouched.stock()
    return untouched.seen()


def test_everything_comes_back_byte_for_byte_with_modes_and_times(tree: Tree, stock: object) -> None:
    """The originals themselves are renamed back, so nothing of them can have changed."""
    tree.plant()
    tree.restore()
    assert tree.seen() == stock
    assert tree.mode() == "off"
    assert not tree.kept.exists()


@pytest.mark.parametrize("count", range(11))
def test_an_enable_that_was_cut_off_after_any_step_is_taken_back(tree: Tree, stock: object, count: int) -> None:
    """Whatever was done, and whatever was not."""
    tree.stock()
    steps = tree.steps()
    assert len(steps) == 10
    for step in steps[:count]:
        step()
    tree.restore()
    assert tree.seen() == stock


def test_what_an_enable_was_writing_when_it_was_killed_goes(tree: Tree, stock: object) -> None:
    """Left beside the originals it would be taken for one, and the next enable refused with a cure that does not help."""
    tree.plant()
    for name in ("jitsudo/kept/.README.jitsudo-new", ".sudo.conf.jitsudo-new", ".sudoers.jitsudo-new"):
        (tree.etc / name).write_text("half")
    tree.restore()
    assert tree.seen() == stock
    assert not tree.kept.exists()


def test_an_original_that_was_kept_but_not_replaced_yet_is_not_moved(tree: Tree, stock: object) -> None:
    """On overlayfs its two names have two inodes, and a rename of one to the other fails: here, a copy, and no `mv` at all."""
    tree.stock()
    shutil.copy2(tree.etc / "sudoers", tree.kept / "sudoers")
    script = PROGRAM.read_text().replace("\nfailed=''", "\nmv() { echo 'Stale file handle' >&2; return 1; }\nfailed=''", 1)
    assert "mv() {" in script
    argv = ["/bin/sh", "-c", script, "x", "--root", str(tree.root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree.seen() == stock
    assert not tree.kept.exists()


def test_it_can_be_run_again(tree: Tree, stock: object) -> None:
    """A second run finds nothing to do."""
    tree.plant()
    tree.restore()
    assert tree.restore() == ""
    assert tree.seen() == stock


def run_counted(tree: Tree, folder: Path, program: str, kill_at: int) -> tuple[int, int]:
    """Restore, with PROGRAM killing the shell that calls it for the KILL_AT-th time; how it ended, how often it was called."""
    (folder / "n").write_text("")
    counts = f'echo >>{folder}/n\n[ "$(wc -l <{folder}/n)" -ne {kill_at} ] || kill -9 $PPID'
    text = f'#!/bin/sh\n{counts}\nexec /usr/bin/{program} "$@"\n'
    (folder / program).write_text(text)
    (folder / program).chmod(0o755)
    script = PROGRAM.read_text().replace("PATH=/usr/sbin:", f"PATH={folder}:/usr/sbin:", 1)
    argv = ["/bin/sh", "-c", script, "x", "--root", str(tree.root)]
    done = subprocess.run(argv, capture_output=True, check=False)
    return done.returncode, len((folder / "n").read_text().splitlines())


@pytest.mark.parametrize("program", ["mv", "rm", "rmdir", "sync"])
def test_being_killed_at_each_call_of_a_program_and_run_again_restores(
    tmp_path_factory: pytest.TempPathFactory, stock: object, program: str
) -> None:
    """Of everything that it runs to change something: at the first call, the second, to the last."""
    whole, folder = Tree(tmp_path_factory.mktemp("whole")), tmp_path_factory.mktemp("bin")
    whole.plant()
    status, calls = run_counted(whole, folder, program, kill_at=0)
    assert status == 0
    assert calls > 0, f"{program} is not run at all: nothing would be tried"
    killed = 0
    for count in range(1, calls + 1):
        tree = Tree(tmp_path_factory.mktemp("cut"))
        tree.plant()
        status, _ = run_counted(tree, folder, program, kill_at=count)
        killed += status == -9 or tree.seen() != stock
        tree.restore()
        assert tree.seen() == stock, f"killed at call {count} of {program}"
    assert killed, "no run was killed"


def test_a_sudo_conf_that_others_edited_loses_our_line_alone(tree: Tree) -> None:
    """Their lines stay, whatever was there before."""
    tree.plant()
    edited = tree.etc / "sudo.conf"
    edited.write_bytes(edited.read_bytes() + b"Path askpass /usr/bin/ssh-askpass\n")
    said = tree.restore("--careful")
    assert edited.read_bytes() == SUDO_CONF + b"Path askpass /usr/bin/ssh-askpass\n"
    assert "edited since" in said
    assert not tree.kept.exists()


def test_a_sudoers_that_others_edited_is_refused_when_careful(tree: Tree) -> None:
    """Nothing at all is changed, and the file is named."""
    tree.plant()
    (tree.etc / "sudoers").write_bytes(b"carol ALL=ALL\n")
    before = tree.seen()
    assert str(tree.etc / "sudoers") in tree.restore("--careful", expect=3)
    assert tree.seen() == before


def test_a_sudoers_that_others_edited_is_put_aside_otherwise(tree: Tree, stock: dict[str, object]) -> None:
    """The timer must let people in as before; nothing that anybody wrote is lost."""
    tree.plant()
    (tree.etc / "sudoers").write_bytes(b"carol ALL=ALL\n")
    (tree.etc / "sudoers.d" / "90-cloud").write_bytes(b"again ALL=ALL\n")
    tree.restore()
    found = tree.seen()
    assert found.pop("sudoers.edited-since-jitsudo")[0] == b"carol ALL=ALL\n"
    assert found.pop("sudoers.d/90-cloud.edited-since-jitsudo")[0] == b"again ALL=ALL\n"
    assert found == stock


def test_a_sudoers_that_was_put_back_by_hand_gives_way_to_the_original(tree: Tree, stock: object) -> None:
    """Same content: the original has the right owner, mode and time."""
    tree.plant()
    tree.replace("sudoers", SUDOERS)
    tree.restore("--careful")
    assert tree.seen() == stock


def test_without_a_state_our_lines_go_and_the_originals_come_back(tree: Tree) -> None:
    """Somebody removed /var/lib/jitsudo."""
    tree.plant()
    subprocess.run(["/bin/rm", "-rf", str(tree.state)], check=True)
    tree.restore()
    found = tree.seen()
    assert found["sudoers"][0] == SUDOERS
    assert found["sudo.conf"][0] == SUDO_CONF
    assert {name: found[f"sudoers.d/{name}"][0] for name in DROP_INS} == DROP_INS


def test_without_any_originals_our_lines_go(tree: Tree) -> None:
    """However a host came by them."""
    tree.stock()
    lines = f"{PLUGIN_LINE[FrontEnd.PYTHON]}\n{OBSERVE_LINE}\n"
    (tree.etc / "sudo.conf").write_bytes(SUDO_CONF + lines.encode())
    tree.restore()
    assert (tree.etc / "sudo.conf").read_bytes() == SUDO_CONF


@pytest.mark.parametrize("options", [(), ("--observing",)])
def test_a_host_that_was_observed_before_goes_on_only_if_told_so(tree: Tree, options: tuple[str, ...]) -> None:
    """A package that is removed takes the audit plugin away, too."""
    tree.plant()
    observed = SUDO_CONF + OBSERVE_LINE.encode() + b"\n"
    (tree.kept / "sudo.conf").write_bytes(observed)
    tree.restore(*options)
    assert (tree.etc / "sudo.conf").read_bytes() == (observed if options else SUDO_CONF)
    assert tree.mode() == ("observe" if options else "off")


def test_a_switch_of_front_ends_that_was_cut_off_is_taken_back(tree: Tree, stock: object) -> None:
    """What is left now is remembered before sudo.conf says it, so sudo.conf may still be what was left before."""
    tree.plant()
    (tree.state / "left/sudo.conf").rename(tree.state / "left/sudo.conf.before")
    (tree.state / "left/sudo.conf").write_bytes(SudoConf(SUDO_CONF).for_front_end(FrontEnd.PYTHON).data)
    tree.restore("--careful")
    assert tree.seen() == stock


@pytest.mark.parametrize(
    ("state", "restored"),
    [
        ("mode unconfirmed\nboot_id {boot}\ndeadline 1\n", True),
        ("mode unconfirmed\nboot_id {boot}\ndeadline 99999999999\n", False),
        ("mode unconfirmed\nboot_id ffff\ndeadline 99999999999\n", True),
        ("mode unconfirmed\nboot_id {boot}\ndeadline x\n", True),
        ("mode enabled\nboot_id ffff\ndeadline 1\n", False),
        ("mode off\n", False),
        ("", False),
    ],
)
def test_due_restores_what_was_not_confirmed_in_time_or_in_this_boot(
    tree: Tree, stock: object, state: str, restored: bool
) -> None:
    """What is confirmed stays for good."""
    tree.plant()
    (tree.state / "state").write_text(state.format(boot=BOOT_ID))
    before = tree.seen()
    tree.restore("--due")
    assert tree.seen() == (stock if restored else before)


def test_an_option_that_is_none_is_refused(tree: Tree) -> None:
    """A typing error must not put anything back."""
    tree.plant()
    before = tree.seen()
    assert "usage" in tree.restore("--fore", expect=2)
    assert tree.seen() == before
