"""What is written for people agrees with the code: events, catalog, manual pages, exit statuses, links."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from jitsudo import errors
from jitsudo.cli.main import build_parser
from jitsudo.host.journal import FIELDS, KINDS, AccessFacts, CommandFacts, Journal, Observed, fields
from jitsudo.host.ledger import Row
from jitsudo.host.redaction import Redactor
from jitsudo.types import Person, Uid, UserName

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EVENTS = (DOCS / "events.md").read_text()
CATALOG = (ROOT / "systemd" / "jitsudo.catalog").read_text()
PAGES = sorted((DOCS / "man").glob("*.[158]"))
MARKDOWN = sorted(p for p in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")))

ALICE = Person(Uid(1000), 1000, UserName("alice"))
SAMPLES: Mapping[str, object] = {
    "person": ALICE,
    "by": ALICE,
    "access": AccessFacts(ALICE, "session", "su", "root", "192.0.2.7", "/dev/pts/0"),
    "facts": CommandFacts(ALICE, "root", ["true"], "/usr/bin/true", "/", "/dev/pts/0", source="192.0.2.7"),
    "subject": {"name": "alice", "uid": 1000, "login_uid": 1000},
    "window": (1, 2),
    "approvers": ["bob"],
    "standing": False,
    "state": {},
    "exit_status": 0,
    "pids": [1],
    "step": 7,
    "reason": "INC-4711 why",
    "seen": Observed("rejected", "p", "m", "edit", "person", "u", ("sh",), ("EDITOR",), "deny", "w", "r", "g", ("agent",), 2),
}


def rows(text: str, first: str) -> dict[str, list[str]]:
    """The rows of the Markdown tables whose first column is headed `first`, by what that column holds."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0].strip() == first:
            inside = True
        elif inside and not cells[0].startswith("---"):
            assert cells[0].strip("`") not in found, f"{cells[0]} stands twice"
            found[cells[0].strip("`")] = cells[1:]
    return found


EVENT_ROWS = rows(EVENTS, "event")


def journal_fields(event: str) -> set[str]:
    """The fields that an event has when everything is known, without their prefix."""
    method = getattr(Journal(Redactor(b"k" * 32)), event.replace(".", "_"))
    given = {name: SAMPLES.get(name, "x") for name in inspect.signature(method).parameters}
    entry = method(**given)
    assert entry.type == event
    row = Row(seq=1, time=1, boot="b", type=event, body=json.dumps(dict(entry.body)), prev="p", hash="h")
    names = (name for name, _ in fields(row))
    always = ("EVENT", "SEQ", "TIME", "PREV_HASH", "HASH", "BOOT_ID")
    return {name.removeprefix("JITSUDO_") for name in names if name.startswith("JITSUDO_")} - set(always)


def test_every_event_is_documented_and_no_other() -> None:
    """docs/events.md has a row for each kind of event."""
    assert sorted(KINDS) == sorted(EVENT_ROWS)


@pytest.mark.parametrize("event", sorted(KINDS))
def test_the_row_of_an_event_says_what_the_code_does(event: str) -> None:
    """Id, priority and fields in docs/events.md are those of the event."""
    message_id, priority, when, names = EVENT_ROWS[event]
    assert (message_id.strip("`"), priority) == (KINDS[event].message_id, str(KINDS[event].priority))
    assert when
    assert set(re.findall(r"`([A-Z0-9_]+)`", names)) == journal_fields(event)


def test_message_ids_are_distinct() -> None:
    """Two events with one id could not be told apart."""
    assert len({kind.message_id for kind in KINDS.values()}) == len(KINDS)


def test_every_field_is_documented_and_no_other() -> None:
    """The table of fields maps the ledger's names to the journal's as the code does."""
    documented = {name: cells[0].strip("`") for name, cells in rows(EVENTS, "in the ledger").items()}
    assert documented == {name: f"JITSUDO_{field}" for name, field in FIELDS.items()}


def test_every_field_named_in_the_catalog_exists() -> None:
    """A field that an event never has would be printed as it stands, @ signs and all."""
    events = {kind.message_id: event for event, kind in KINDS.items()}
    for message_id, text in catalog().items():
        used = set(re.findall(r"@JITSUDO_([A-Z0-9_]+)@", text))
        assert used <= journal_fields(events[message_id]), events[message_id]


def catalog() -> dict[str, str]:
    parts = re.split(r"^-- ([0-9a-f]{32})$", CATALOG, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_event_has_an_entry_in_the_catalog() -> None:
    """`journalctl -x` explains each event, with a subject and a text after the empty line."""
    assert sorted(catalog()) == sorted(kind.message_id for kind in KINDS.values())
    for message_id, text in catalog().items():
        head, _, body = text.strip().partition("\n\n")
        assert head.startswith("Subject: "), message_id
        assert body.strip(), message_id


def commands(parser: argparse.ArgumentParser, *names: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Each command of the command line, with its words."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield names, parser
    for action in inner:
        for name, command in action.choices.items():
            yield from commands(command, *names, name)


COMMANDS = list(commands(build_parser()))


def manual(name: str) -> str:
    """A page as it is read: words apart, escapes and dashes as they appear."""
    source = (DOCS / "man" / name).read_text()
    return re.sub(r"\bFl -?(?=-?\w)", lambda m: "-" + m[0].removeprefix("Fl "), source)


def page_of(names: tuple[str, ...]) -> str:
    """Which page describes a command."""
    return "jitsudo-setup.8" if names[0] == "setup" else "jitsudo.1"


IDS = [" ".join(names) for names, _ in COMMANDS]


@pytest.mark.parametrize(("names", "parser"), COMMANDS, ids=IDS)
def test_every_command_and_option_is_in_the_manual(names: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
    """The page of a command has an entry for it, and names each of its options."""
    page = manual(page_of(names))
    assert re.search(rf"^\.It Cm {' '.join(names)}\b", page, re.MULTILINE), f"{names} is not in {page_of(names)}"
    for action in parser._actions:
        for option in action.option_strings:
            assert option == "-h" or re.search(rf"(?<![\w-]){option}\b", page), f"{names} {option} is not in {page_of(names)}"


def synopsis(page: str) -> dict[str, tuple[set[str], list[str]]]:
    """The commands of a page's SYNOPSIS, each with its options as they are typed and its operands in their order."""
    section = (DOCS / "man" / page).read_text().partition(".Sh SYNOPSIS\n")[2].partition(".Sh ")[0]
    found: dict[str, tuple[set[str], list[str]]] = {}
    for entry in re.split(r"^\.Nm.*\n", section, flags=re.MULTILINE)[1:]:
        name = " ".join(re.findall(r"^\.Cm ([a-z ]+?)(?= Ar|$)", entry, re.MULTILINE))
        options = {f"-{flag}" for flag in re.findall(r"\bFl (-?[\w-]+)", entry)}
        without_options = re.sub(r"\bFl \S+( Ar [a-z]+)?", "", entry)
        found[name] = (options, re.findall(r"\bAr ([a-z]+)", without_options))
    return found


@pytest.mark.parametrize(("names", "parser"), COMMANDS, ids=IDS)
def test_the_synopsis_is_that_of_the_parser(names: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
    """Each option stands there once, by one of its spellings, and no other; operands are those of the parser."""
    known = synopsis(page_of(names))
    assert " ".join(names) in known, f"{page_of(names)} has no synopsis of {names}"
    options, operands = known[" ".join(names)]
    for action in parser._actions:
        if not action.option_strings:
            continue
        shown = options & set(action.option_strings)
        general = set(action.option_strings) & {"--help", "--json"}
        assert len(shown) == (0 if general else 1), f"{names}: {action.option_strings}"
        options -= shown
    assert options == set(), f"{names}: no such option"
    wanted = [str(action.metavar).removeprefix("-- ").lower() for action in parser._actions if not action.option_strings]
    assert operands == wanted, names


@pytest.mark.parametrize("page", ["jitsudo.1", "jitsudo-setup.8"])
def test_no_command_or_option_is_in_the_manual_that_does_not_exist(page: str) -> None:
    """An entry is a command, an option in the description is one of a command of that page, and so in the synopsis."""
    mine = {" ".join(names): parser for names, parser in COMMANDS if page_of(names) == page}
    entries = re.findall(r"^\.It Cm ([a-z ]+?)(?= Ar| Op| Cm| Fl| -|$)", manual(page), re.MULTILINE)
    assert set(entries) == set(mine)
    assert set(synopsis(page)) == set(mine)
    known = {option for parser in mine.values() for action in parser._actions for option in action.option_strings}
    text = (DOCS / "man" / page).read_text()
    assert {f"-{flag}" for flag in re.findall(r"\bFl (-?[\w-]+)", text)} - known - {"--version"} == set()


def test_the_options_of_the_daemon_are_in_its_manual() -> None:
    """jitsudod(8) names each option, and no other."""
    done = subprocess.run(
        [sys.executable, "-m", "jitsudo.daemon.main", "--help"],
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    options = set(re.findall(r"(--[a-z-]+)", done.stdout)) - {"--help"}
    assert options
    section = (DOCS / "man" / "jitsudod.8").read_text().partition(".Sh SYNOPSIS")[2].partition(".Sh RUNNING IT")[0]
    assert {f"-{flag}" for flag in re.findall(r"\bFl (-[\w-]+)", section)} == options


def test_what_is_generated_is_as_the_code_is() -> None:
    """docs/messages.md and the checks of jitsudo-setup(8) are what scripts/reference makes of the code now."""
    done = subprocess.run(
        ["/usr/bin/python3", ROOT / "scripts" / "reference", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_manual_page_is_clean(page: Path) -> None:
    """Neither mandoc nor groff finds anything to warn of."""
    for argv in (["mandoc", "-Tlint", "-Wwarning"], ["groff", "-ww", "-mdoc", "-Tutf8", "-z"]):
        done = subprocess.run([*argv, str(page)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), argv


def policy_keys() -> set[str]:
    """Every key that a parser of policies asks for: the names given to `Reader.fields`, and the words of types."""
    keys: set[str] = set()
    for path in (ROOT / "src" / "jitsudo" / "policy").glob("parse*.py"):
        if path.name == "parse_grammars.py":
            continue  # grammars have a page of their own: policies/grammars/README.md
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "fields" and len(call.args) == 3:
                keys |= _texts(call.args[2], constants)
    return keys | {"count"}  # handed on as an argument


def _texts(node: ast.expr, constants: Mapping[str, ast.expr]) -> set[str]:
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.Name):
        return _texts(constants[node.id], constants) if node.id in constants else set()
    if isinstance(node, ast.Starred):
        return _texts(node.value, constants)
    return {text for item in node.elts for text in _texts(item, constants)} if isinstance(node, ast.Tuple) else set()


def test_every_key_of_a_policy_is_in_the_manual() -> None:
    """jitsudo-policy(5) names each key of the grammar, as a term or in a literal."""
    page = (DOCS / "man" / "jitsudo-policy.5").read_text()
    lines = re.findall(r"^\.(?:It |Pq )?(?:Ic|Li) (.*)$", page, re.MULTILINE)
    terms = {word for line in lines for word in re.findall(r"[a-z_]+", line)}
    assert len(policy_keys()) > 90
    assert policy_keys() - terms == set()


def test_the_exit_statuses_are_those_of_the_code() -> None:
    """docs/exit-codes.md and jitsudo(1) list each status."""
    text = (DOCS / "exit-codes.md").read_text()
    expected = {str(int(status)): f"`{status.name}`" for status in errors.ExitStatus}
    assert {number: cells[0] for number, cells in rows(text, "status").items()} == expected
    section = manual("jitsudo.1").partition(".Sh EXIT STATUS")[2].partition(".Sh ")[0]
    assert re.findall(r"^\.It (\d)$", section, re.MULTILINE) == sorted(expected)


def test_the_error_codes_are_those_of_the_code() -> None:
    """docs/exit-codes.md lists each class of error with its code and status."""

    def below(kind: type[errors.JitsudoError]) -> set[type[errors.JitsudoError]]:
        return {kind, *(found for child in kind.__subclasses__() for found in below(child))}

    kinds = {kind for kind in below(errors.JitsudoError) if kind.__module__.startswith("jitsudo.")} - {errors.JitsudoError}
    table = rows((DOCS / "exit-codes.md").read_text(), "code")
    documented = {cells[1].strip("`"): (code, cells[0]) for code, cells in table.items() if len(cells) == 3}
    # OptionRefused reaches people through sudo, which has a status of its own.
    statuses = {kind.__name__: (kind.code, str(int(kind.exit_status))) for kind in kinds if kind.__name__ != "OptionRefused"}
    assert {name: row for name, row in documented.items() if name != "OptionRefused"} == statuses


def test_the_codes_of_a_refusal_are_those_of_the_code() -> None:
    """docs/exit-codes.md has a row for each code that a refusal can have."""
    section = (DOCS / "exit-codes.md").read_text().partition("## Codes of a refusal")[2]
    source = "".join(path.read_text() for path in (ROOT / "src" / "jitsudo").rglob("*.py"))
    used = set(re.findall(r"\b(?:Deny|denied)\(\s*\"([a-z-]+)\"", source))
    assert len(used) > 10
    assert used - set(rows(section, "code")) == set()


def test_every_decision_is_in_the_index() -> None:
    """docs/adr/README.md lists each record under its title."""
    index = (DOCS / "adr" / "README.md").read_text()
    records = sorted((DOCS / "adr").glob("0*.md"))
    assert [p.name for p in records] == re.findall(r"\]\((0\d{3}-[a-z0-9-]+\.md)\)", index)


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    """A link to a file names one that exists, and a fragment names a heading in it."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert fragment in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, target


def test_every_test_that_a_document_cites_exists() -> None:
    """A promise in docs/sudo-cve.md names the test that earns it."""
    cited = re.findall(r"`((?:unit|property|e2e)/[\w/.]+)::(\w+)`", (DOCS / "sudo-cve.md").read_text())
    assert cited
    for file, name in cited:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), f"{file}::{name}"


def test_the_readme_names_the_two_commands() -> None:
    """A newcomer finds scripts/demo and scripts/test, and they can be run."""
    text = (ROOT / "README.md").read_text()
    for name in ("scripts/demo", "scripts/test"):
        assert name in text
        assert (ROOT / name).stat().st_mode & 0o111


def test_the_readme_is_a_screen() -> None:
    """What is longer belongs into docs/."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 85


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_a_manual_page_has_the_sections_of_one(page: Path) -> None:
    """man-pages(7): name, synopsis, description; the title agrees with the file's name."""
    text = page.read_text()
    name, _, section = page.name.rpartition(".")
    assert f"\n.Dt {name.upper()} {section}\n" in text
    assert re.findall(r"^\.Sh (.*)$", text, re.MULTILINE)[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]


def test_no_script_or_unit_names_a_manual_page_that_does_not_exist() -> None:
    """`systemctl status` and the catalog point at manual pages of ours."""
    known = {f"{p.stem}({p.suffix[1:]})" for p in PAGES}
    for source in (ROOT / "systemd").iterdir():
        for page in re.findall(r"man:(jitsudo[\w-]*\(\d\))", source.read_text()):
            assert page in known, f"{source.name}: {page}"


def said_by_the_code() -> str:
    """Every text in the code that could be part of a sentence, in one piece; what is put into them is `…`."""
    texts = []
    for path in (ROOT / "src" / "jitsudo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    texts += [path.read_text() for path in (ROOT / "systemd").glob("jitsudo-restore")]
    texts += [path.read_text() for path in (ROOT / "sudo" / "native").glob("*.c")]
    return "\n".join(texts)


def test_every_message_of_the_troubleshooting_table_can_be_printed() -> None:
    """Whoever looks for a message in the guide looks for one that exists; sudo's own is named as such."""
    table = rows((DOCS / "administrators-guide.md").read_text(), "message")
    assert len(table) > 10
    said = said_by_the_code()
    for message, (meaning, cure) in table.items():
        assert cure
        for part in message.split("…"):
            assert meaning.startswith("sudo's own") or part.strip() in said, message
