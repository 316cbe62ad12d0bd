"""Policy files: owners, modes, sizes, and the YAML that is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jitsudo.errors import PolicyInvalid
from jitsudo.host import checkedfiles, policyfiles
from jitsudo.host.policyfiles import MAX_FILE_BYTES, load_policy, load_policy_bytes, read_checked
from jitsudo.policy.issues import Issue

GOOD = "version: 1\n"


def folder(tmp_path: Path, **files: str | bytes) -> Path:
    for name, text in files.items():
        raw = text if isinstance(text, bytes) else text.encode()
        (tmp_path / f"{name}.yaml").write_bytes(raw)
        (tmp_path / f"{name}.yaml").chmod(0o644)
    return tmp_path


def refused(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_bytes({"a.yaml": text if isinstance(text, bytes) else text.encode()})
    return caught.value.issues


def test_a_folder_is_one_policy(tmp_path: Path) -> None:
    """Sorted, hidden files and other suffixes left alone; the bytes are kept and load again to the same."""
    where = folder(tmp_path, b=GOOD, a="version: 1\nguardrails: {g: {match: {command: x}, then: deny, message: M}}\n")
    (where / ".a.yaml").write_text("garbage")
    (where / "README").write_text("garbage")
    loaded = load_policy(where, check_owner=False)
    assert list(loaded.files) == ["a.yaml", "b.yaml"]
    assert loaded.issues == ()
    again = load_policy_bytes(loaded.files)
    assert (again.policy, again.digest) == (loaded.policy, loaded.digest)


def test_another_suffix_is_pointed_out(tmp_path: Path) -> None:
    """It looks like a policy file and is none."""
    (tmp_path / "web.yml").write_text(GOOD)
    loaded = load_policy(tmp_path, check_owner=False)
    assert [str(issue) for issue in loaded.issues] == ["web.yml:1:1: not read: policy files end in .yaml"]


def test_the_digest_is_over_names_and_bytes() -> None:
    """Renaming, splitting and editing all change it."""

    def digest(**files: str) -> str:
        return load_policy_bytes({name: text.encode() for name, text in files.items()}).digest

    assert len({digest(a=GOOD), digest(b=GOOD), digest(a=GOOD, b=GOOD), digest(a=GOOD + "\n"), digest()}) == 5
    assert digest(a=GOOD, b="version: 1") == digest(b="version: 1", a=GOOD)


def test_a_missing_folder_is_an_error_of_its_own(tmp_path: Path) -> None:
    """With or without the check of owners."""
    for check in (True, False):
        with pytest.raises(PolicyInvalid) as caught:
            load_policy(tmp_path / "none", check_owner=check)
        assert "none:1:1: cannot be read: No such file or directory" in caught.value.issues[-1]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """A link, a folder, a FIFO (without hanging)."""
    (tmp_path / "target").write_text(GOOD)
    (tmp_path / "a.yaml").symlink_to(tmp_path / "target")
    (tmp_path / "b.yaml").mkdir()
    os.mkfifo(tmp_path / "c.yaml")
    for check in (True, False):
        issues: list[Issue] = []
        assert checkedfiles._read_files(tmp_path, issues, check) == {}
        assert [issue.file for issue in issues] == ["a.yaml", "b.yaml", "c.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_and_folders_must_be_roots_alone(tmp_path: Path) -> None:
    """Whoever can write the policy is root."""
    where = folder(tmp_path, a=GOOD)
    file = where / "a.yaml"

    def load() -> list[Issue]:
        issues = checkedfiles.folder_issues(where)
        ours = [issue for issue in issues if issue.file == str(where)]
        checkedfiles._read_files(where, ours, True)
        return ours

    assert load() == []
    for change, back, message in (
        (lambda: file.chmod(0o664), lambda: file.chmod(0o644), "a.yaml:1:1: can be written by others than root (chmod go-w)"),
        (lambda: os.chown(file, 1000, 0), lambda: os.chown(file, 0, 0), "a.yaml:1:1: belongs to uid 1000; it must be root's"),
        (lambda: where.chmod(0o777), lambda: where.chmod(0o755), f"{where}:1:1: can be written by others than root"),
        (lambda: os.chown(where, 1000, 0), lambda: os.chown(where, 0, 0), f"{where}:1:1: belongs to uid 1000"),
    ):
        change()
        assert message in str(load()[0])
        back()


def test_a_folder_above_that_is_a_link_or_open_is_refused(tmp_path: Path) -> None:
    """Every folder up to the root is looked at."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "a.yaml").write_text(GOOD)
    with pytest.raises(PolicyInvalid) as caught:
        load_policy(tmp_path / "link")
    assert any(issue.endswith("link:1:1: is not a folder") for issue in caught.value.issues)


def test_sizes_are_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The limit itself is allowed, one more is not."""
    full = GOOD + "#" * (MAX_FILE_BYTES - len(GOOD))
    assert load_policy_bytes({"a.yaml": full.encode()}).files
    assert refused(full + "#") == (f"a.yaml:1:1: larger than {MAX_FILE_BYTES} bytes",)
    with pytest.raises(PolicyInvalid):
        load_policy(folder(tmp_path, big=full + "#"), check_owner=False)
    (tmp_path / "big.yaml").unlink()
    monkeypatch.setattr(policyfiles, "MAX_FILES", 2)
    monkeypatch.setattr(checkedfiles, "MAX_FILES", 2)
    assert load_policy(folder(tmp_path, a=GOOD, b=GOOD), check_owner=False).files
    with pytest.raises(PolicyInvalid) as too_many:
        load_policy(folder(tmp_path, c=GOOD, d=GOOD), check_owner=False)
    assert "more than 2 files" in too_many.value.issues[0]


DEEP = "version: 1\nroles: " + "[" * 40 + "]" * 40
BAD_YAML = {
    "an anchor": ("version: &a 1", "a.yaml:1:10: YAML anchors are not allowed"),
    "an alias": ("version: &a 1\ntimezone: *a", "a.yaml:2:11: YAML aliases are not allowed: write it out"),
    "an anchored list": ("version: 1\nredact: &a [x]", "a.yaml:2:9: YAML anchors are not allowed"),
    "a tag": ("version: !!int 1", "a.yaml:1:10: YAML tags are not allowed"),
    "a python tag": ("version: !!python/object:os.system 1", "a.yaml:1:10: YAML tags are not allowed"),
    "a tagged mapping": ("!x\nversion: 1", "a.yaml:1:1: YAML tags are not allowed"),
    "a merge key": ("version: 1\nroles: {<<: {}}", "a.yaml:2:9: YAML merge keys are not allowed: write it out"),
    "two documents": ("version: 1\n---\nversion: 1", "a.yaml:2:1: a policy file holds one document only"),
    "a directive": ("%YAML 1.1\n---\nversion: 1", "a.yaml:1:1: YAML directives are not allowed"),
    "a duplicate key": ("version: 1\nversion: 1", "a.yaml:2:1: a policy file: 'version' stands here twice, first in line 1"),
    "a list as a key": ("version: 1\n? [a]\n: b", "a.yaml:2:3: a key must be text"),
    "nothing": ("# only a comment\n", "a.yaml:1:1: the file is empty; it needs at least 'version: 1'"),
    "deep nesting": (DEEP, "a.yaml:2:39: nested more than 32 levels deep"),
    "not YAML": ("version: [1", "not YAML: "),
    "a tab": ("version:\n\t- 1", "not YAML: "),
    "not UTF-8": (b"version: 1\n# \xff", "a.yaml:2:1: not UTF-8 text"),
    "a control character": ("version: 1\n# \x01", "not YAML: "),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_YAML.values(), ids=BAD_YAML.keys())
def test_yaml_that_is_more_than_text_lists_and_mappings_is_refused(text: str | bytes, message: str) -> None:
    """With its place."""
    found = refused(text)
    assert any(message in issue for issue in found), found


def test_keys_are_always_text() -> None:
    """`on` and `1` are no booleans and numbers there."""
    assert any("unknown key 'on'" in issue for issue in refused("version: 1\non: x"))
    assert any("unknown key '1'" in issue for issue in refused("version: 1\n1: x"))


def test_a_name_that_could_deceive_is_escaped() -> None:
    """File names stand in messages, too."""
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_bytes({"a\x1b[2J.yaml": b""})
    assert caught.value.issues[0].startswith("a\\x1b[2J.yaml:1:1:")


def test_one_file_is_read_as_strictly(tmp_path: Path) -> None:
    """Absence is no issue; a link, an open folder and a size are."""
    issues: list[Issue] = []
    assert read_checked(tmp_path, "host.yaml", issues, check_owner=False) is None
    assert issues == []
    (tmp_path / "host.yaml").write_text("labels: {}")
    assert read_checked(tmp_path, "host.yaml", issues, check_owner=False) == b"labels: {}"
    assert issues == []
    (tmp_path / "link.yaml").symlink_to("host.yaml")
    assert read_checked(tmp_path, "link.yaml", issues, check_owner=False) is None
    assert len(issues) == 1
    tmp_path.chmod(0o777)
    read_checked(tmp_path, "host.yaml", issues, check_owner=True)
    assert any("can be written by others than root" in str(issue) or "belongs to uid" in str(issue) for issue in issues)
