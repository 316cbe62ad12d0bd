"""The grammars that come with jitsudo: they load, and know every option that the installed programs know."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from jitsudo.errors import PolicyInvalid
from jitsudo.host.grammarfiles import load_grammars
from jitsudo.policy.argv import Reading, Unreadable, read_arguments
from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption

sys.path.append(str(Path(__file__).resolve().parents[2] / "probe"))

from longopts import long_tables, short_options

FOLDER = Path(__file__).resolve().parents[3] / "policies" / "grammars"
GRAMMARS, WARNINGS = load_grammars([FOLDER], check_owner=False)
# Programs whose tables are not those of getopt_long, or hold more than options (modes, digits, white space).
OTHERS = {"curl", "dpkg", "nginx", "tar", "less", "find", "ip", "dd", "kill", "chmod"}
# Not options to anybody: the digits of `tail -5`, a trap for `-.slice`, a word that lies just before systemctl's table.
NOT_OPTIONS = {"-.", "--unix", *(f"-{digit}" for digit in range(10))}
# With fewer letters, other strings of a program look like its string of short options.
MIN_LETTERS = 3


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def one(program: str, option: str) -> str:
    return f'version: 1\nprograms: {{{program}: {{options: {{"{option}": flag}}}}}}\n'


# -- files -----------------------------------------------------------------------------------------------------------


def test_folders_that_are_not_there_are_no_grammars(tmp_path: Path) -> None:
    """A host may have neither."""
    assert load_grammars([tmp_path / "none", tmp_path / "neither"]) == ({}, ())


def test_a_sites_own_grammar_replaces_the_packaged_one(tmp_path: Path) -> None:
    """The later folder, program by program."""
    write(tmp_path / "a", "all.yaml", 'version: 1\nprograms: {/bin/x: {options: {"-a": flag}}, /bin/y: {}}')
    write(tmp_path / "b", "site.yaml", one("/bin/x", "-b"))
    found, warnings = load_grammars([tmp_path / "a", tmp_path / "b"], check_owner=False)
    assert set(found) == {"/bin/x", "/bin/y"}
    assert set(found["/bin/x"].shape.by_spelling) == {"-b"}
    assert warnings == ()


def test_every_error_of_every_folder_is_told(tmp_path: Path) -> None:
    """At once, with the whole path."""
    write(tmp_path / "a", "bad.yaml", "version: 1\nprograms: {x: {}}")
    write(tmp_path / "b", "worse.yaml", "version: &a 1")
    with pytest.raises(PolicyInvalid) as refused:
        load_grammars([tmp_path / "a", tmp_path / "b"], check_owner=False)
    assert len(refused.value.issues) == 3
    assert str(tmp_path / "a" / "bad.yaml") in refused.value.issues[0]


def test_a_folder_that_others_could_write_is_refused(tmp_path: Path) -> None:
    """What reads a command line decides what is allowed."""
    write(tmp_path / "a", "x.yaml", one("/bin/x", "-a"))
    os.chmod(tmp_path / "a", 0o777)  # noqa: S103  that is the point
    with pytest.raises(PolicyInvalid):
        load_grammars([tmp_path / "a"])


# -- what comes with jitsudo -----------------------------------------------------------------------------------------


def test_the_grammars_that_come_along_load_without_a_warning() -> None:
    """All files together."""
    assert len(GRAMMARS) >= 36
    assert WARNINGS == ()


def installed() -> list[str]:
    """The programs of our grammars whose option tables can be read here."""
    found = []
    for path, grammar in sorted(GRAMMARS.items()):
        real = Path(os.path.realpath(path))
        if Path(path).name in OTHERS or grammar.syntax != "getopt" or grammar.unreadable or not real.exists():
            continue
        # A name that links to another program, such as poweroff, has that one's tables and others besides.
        if real.name == Path(path).name and real.read_bytes()[:4] == b"\x7fELF":
            found.append(path)
    return found


def options_of(shape: GrammarShape) -> list[KnownOption]:
    """Of the program and all its sub-commands."""
    return [*shape.options, *(option for sub in (shape.subcommands or {}).values() for option in options_of(sub))]


@pytest.mark.parametrize("path", installed())
def test_every_option_of_an_installed_program_is_known(path: str) -> None:
    """With the way it takes a value, as the table says that the program itself gives to getopt_long."""
    known = {spelling: option for option in options_of(GRAMMARS[path].shape) for spelling in option.spellings}
    tables = [table for table in long_tables(Path(os.path.realpath(path))) if len(table) > 1]
    if not tables:
        pytest.skip("it has no such table")
    table = max(tables, key=lambda one: (sum(entry.letter is not None for entry in one), len(one)))
    letters = {entry.letter for entry in table if entry.letter}
    measured = {f"--{entry.name}": entry.kind for entry in table if not entry.name.startswith("-")}
    for options in short_options(Path(os.path.realpath(path)), letters)[:1] if len(letters) >= MIN_LETTERS else ():
        measured |= {f"-{letter}": kind for letter, kind in options.items()}
    wrong = {
        spelling: kind
        for spelling, kind in measured.items()
        if spelling not in NOT_OPTIONS and not _agrees(known.get(spelling), spelling, kind)
    }
    assert wrong == {}


def _agrees(known: KnownOption | None, spelling: str, kind: str) -> bool:
    if known is None:
        return False
    if known.value == "many":
        return True
    if known.value == "number":
        return kind == "optional"
    if known.value == "optional-long":
        return kind in (("none", "optional") if spelling.startswith("--") else ("none",))
    # A newer release gave it an optional value; this one refuses what is attached.
    return kind == known.value or (kind, known.value) == ("none", "optional")


def line(path: str, *arguments: str) -> Reading | str:
    found = read_arguments(GRAMMARS[path], arguments)
    return found if isinstance(found, Reading) else found.why


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("/usr/bin/systemctl", "restart nginx --no-block"),
        ("/usr/bin/systemctl", "-H db1 --now enable nginx"),
        ("/usr/bin/systemctl", ""),
        ("/usr/bin/journalctl", "-u nginx -n 50 -f --no-pager"),
        ("/usr/bin/journalctl", "-b -1 -u nginx"),
        ("/usr/bin/tail", "-fn50 /var/log/syslog"),
        ("/usr/bin/tail", "--follow=name -n +5 /var/log/syslog"),
        ("/usr/bin/find", "/tmp ( -name x -o ! -newermt yesterday ) -print0"),
        ("/usr/bin/tar", "-xzf a.tgz -C /srv"),
        ("/usr/bin/dd", "if=/dev/zero of=/tmp/x bs=1M count=1"),
        ("/usr/bin/env", "-i A=b ls -l"),
        ("/usr/bin/timeout", "-k 5 10 ls -l"),
        ("/usr/bin/kill", "-9 123"),
        ("/usr/bin/ip", "-br -4 addr show dev eth0"),
        ("/usr/bin/ip", "-c r"),
        ("/usr/bin/ss", "-tlnp sport = :22"),
        ("/usr/bin/mount", "-o ro /dev/sdb1 /mnt"),
        ("/usr/sbin/service", "nginx restart"),
        ("/usr/bin/ls", "-la --color=auto /tmp"),
        ("/usr/bin/cp", "-a --backup a b"),
        ("/usr/bin/rm", "-rf /tmp/x"),
    ],
)
def test_everyday_lines_can_be_read(path: str, arguments: str) -> None:
    """What people type."""
    assert isinstance(line(path, *arguments.split()), Reading)


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("/usr/bin/systemctl", "rest nginx"),
        ("/usr/bin/systemctl", "--no-pag status nginx"),
        ("/usr/bin/tail", "+5 /etc/shadow"),
        ("/usr/bin/tail", "-5 /etc/shadow"),
        ("/usr/bin/less", "+!sh /var/log/syslog"),
        ("/usr/bin/less", "-ologfile /var/log/syslog"),
        ("/usr/bin/find", "/ -exec sh ;"),
        ("/usr/bin/find", "/ -fprintf /etc/passwd x"),
        ("/usr/bin/tar", "xf a.tar"),
        ("/usr/bin/tar", "-xf a.tar --to-comm=sh"),
        ("/usr/bin/env", "-S ls"),
        ("/usr/bin/env", "-iS ls"),
        ("/usr/bin/ip", "-stat a"),
        ("/usr/bin/ip", "addre sho"),
        ("/usr/bin/journalctl", "-n all"),
        ("/usr/bin/dd", "iff=/x"),
        ("/usr/bin/kill", "-s9 1"),
        ("/usr/bin/chmod", "-x /etc/passwd"),
    ],
)
def test_lines_that_a_program_reads_its_own_way_are_unreadable(path: str, arguments: str) -> None:
    """No rule matches them, and guardrails fire."""
    assert isinstance(line(path, *arguments.split()), str)


def test_all_signals_are_one_option() -> None:
    """`kill -9 -1` would end everything: no rule that allows a signal once allows that."""
    found = line("/usr/bin/kill", "-9", "-1")
    assert isinstance(found, Reading)
    assert found.options[0].option is found.options[1].option


def test_other_names_of_a_sub_command_go_by_the_first() -> None:
    """`ip a` is `ip address show`, `condstop` is `stop`."""
    for path, word, name in (
        ("/usr/bin/ip", "a", "address"),
        ("/usr/bin/systemctl", "condstop", "stop"),
        ("/usr/bin/systemctl", "force-reload", "try-reload-or-restart"),
    ):
        found = line(path, word)
        assert isinstance(found, Reading)
        assert [one.name for one in found.subcommand] == [name]


def test_nothing_that_leads_anywhere_is_harmless() -> None:
    """A harmless option is allowed without anybody having read it."""

    def harmful(grammar: Grammar) -> list[KnownOption]:
        harmless = (one for one in options_of(grammar.shape) if one.harmless)
        return [one for one in harmless if one.leads or one.chdir or one.moves or one.secret]

    assert {path: found for path, grammar in GRAMMARS.items() if (found := harmful(grammar))} == {}


# -- what programs read otherwise than it looks -----------------------------------------------------------------------


@pytest.mark.parametrize("line", ["apt-get install", "apt install", "apt-mark hold", "apt-cache show"])
@pytest.mark.parametrize("word", ["no", "OFF", "without", "yes", "1", "000", "0x0"])
def test_a_word_that_switches_an_option_of_apt_off_is_no_package(line: str, word: str) -> None:
    """`apt-get install --only-upgrade no PACKAGE` installs it."""
    program, verb = line.split()
    by = GRAMMARS[f"/usr/bin/{program}"]
    assert isinstance(read_arguments(by, [verb, "-q", word, "nginx"]), Unreadable)
    assert isinstance(read_arguments(by, [verb, "-q", "nodejs", "0ad"]), Reading)


def test_a_value_is_never_certbots_verb() -> None:
    """certbot takes the first word that is a verb for its verb, also behind an option: `--cert-name delete renew`."""
    certbot = GRAMMARS["/usr/bin/certbot"]
    assert isinstance(read_arguments(certbot, ["--cert-name", "delete", "renew"]), Unreadable)
    assert isinstance(read_arguments(certbot, ["-n", "renew", "--cert-name", "delete"]), Reading)


def test_an_option_that_two_container_tools_read_otherwise_is_not_read() -> None:
    """`logs -n 5 web`: five lines of web to docker, the containers 5 and web to podman."""
    assert isinstance(read_arguments(GRAMMARS["/usr/bin/podman"], ["logs", "-n", "5", "web"]), Unreadable)
    assert isinstance(read_arguments(GRAMMARS["/usr/bin/podman"], ["logs", "--tail", "5", "web"]), Reading)


def test_find_has_no_list_of_expressions() -> None:
    """`find /srv -name x , -delete`: a comma is no folder."""
    assert isinstance(read_arguments(GRAMMARS["/usr/bin/find"], ["/srv", "-name", "x", ",", "-delete"]), Unreadable)


@pytest.mark.parametrize(
    ("option", "operands"),
    [("--hsts-file", 1), ("--max-redirect", 1), ("--backups", 2), ("--report-speed", 2), ("--restrict-file-names", 2)],
)
def test_wgets_options_take_values_as_wget_does(option: str, operands: int) -> None:
    """Measured: it makes its table when it runs, and its help names no values."""
    found = line("/usr/bin/wget", option, "5", "https://example.org/")
    assert isinstance(found, Reading)
    assert len(found.operands) == operands


@pytest.mark.parametrize(("path", "spelling"), [("/usr/bin/apt-get", "-q"), ("/usr/sbin/nft", "-j")])
def test_what_does_more_than_it_seems_is_not_harmless(path: str, spelling: str) -> None:
    """`apt-get -qq` answers yes to everything, `nft -j` reads its statements as JSON."""
    assert not GRAMMARS[path].shape.by_spelling[spelling].harmless
