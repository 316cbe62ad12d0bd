"""Command lines are read as the C library was measured to read them, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jitsudo.policy.argv import (
    MAX_ARGUMENTS,
    MAX_BUNDLE_CHARS,
    MAX_FOUND_OPTIONS,
    Found,
    Reading,
    Unreadable,
    Word,
    read_arguments,
)
from jitsudo.policy.grammar import Grammar, GrammarShape, KnownOption
from jitsudo.types import AbsPath

MEASURED = json.loads((Path(__file__).resolve().parents[2] / "data" / "getopt_cases.json").read_text())
PROGRAM = AbsPath("/usr/bin/program")


def known(key: str, value: str = "none", **more: Any) -> KnownOption:
    return KnownOption(tuple(part.strip() for part in key.split(",")), value, **more)  # type: ignore[arg-type]


def grammar(*options: KnownOption, **more: Any) -> Grammar:
    shape = {key: more.pop(key) for key in ("subcommands",) if key in more}
    return Grammar(PROGRAM, GrammarShape(options, **shape), **more)


def shape(*options: KnownOption, **more: Any) -> GrammarShape:
    return GrammarShape(options, **more)


def read(by: Grammar, *arguments: str) -> Reading:
    found = read_arguments(by, arguments)
    assert isinstance(found, Reading), found
    return found


def why_not(by: Grammar, *arguments: str) -> str:
    found = read_arguments(by, arguments)
    assert isinstance(found, Unreadable), found
    return found.why


def plain(found: Reading) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Options by their spelling, with values; operands."""
    return [(one.spelling, one.value) for one in found.options], [word.text for word in found.operands]


@pytest.mark.parametrize("case", MEASURED["cases"], ids=lambda case: case["name"])
def test_a_line_is_read_as_the_c_library_reads_it(case: dict[str, Any]) -> None:
    """The same options, values and operands in the same order; an error, or what we refuse, is unreadable."""
    table = MEASURED["tables"][case["table"]]
    by = grammar(*(known(key, value) for key, value in table.items()), order=case["order"])
    found = read_arguments(by, case["arguments"])
    if case["reading"] == "error" or "refused" in case:
        assert isinstance(found, Unreadable)
        assert case.get("refused", "") in found.why
        return
    assert isinstance(found, Reading)
    options = [[", ".join(one.option.spellings), one.value] for one in found.options]
    assert case["reading"] == {"options": options, "operands": [word.text for word in found.operands]}


# -- what is kept of a line ------------------------------------------------------------------------------------------


def test_the_reading_says_where_everything_stood() -> None:
    """Options by the argument that names them, operands, and the two dashes."""
    by = grammar(known("-n, --lines", "required"), known("-f"))
    found = read(by, "-fn", "5", "a", "--lines=6", "--", "-f")
    assert [(one.spelling, one.index) for one in found.options] == [("-f", 0), ("-n", 0), ("--lines", 3)]
    assert found.operands == (Word("a", 2), Word("-f", 5))
    assert found.terminator == 4


def test_without_two_dashes_there_is_no_terminator() -> None:
    """A `--` that is a value or stands behind a posix operand ends nothing."""
    by = grammar(known("-n", "required"), order="posix")
    assert read(by, "-n", "--", "a", "--").terminator is None


def test_what_cannot_be_read_says_which_argument() -> None:
    """For messages that point at it."""
    by = grammar(known("-n", "required"))
    assert read_arguments(by, ["a", "-x"]) == Unreadable("'-x' is not an option that is known", 1)
    assert read_arguments(by, ["a", "-n"]) == Unreadable("-n needs a value", 1)


def test_what_is_shown_of_a_line_is_short_and_harmless() -> None:
    """A message never carries control characters or a whole megabyte."""
    by = grammar()
    assert why_not(by, "--\x1b[31m") == "'--\\x1b[31m' is not an option that is known"
    assert why_not(by, "--" + "x" * 100) == f"'--{'x' * 62}…' is not an option that is known"
    assert why_not(grammar(), "--" + "x" * 62) == f"'--{'x' * 62}' is not an option that is known"


def test_an_abbreviation_is_named_as_such() -> None:
    """The way out is in the message."""
    assert why_not(grammar(known("-n, --lines", "required")), "--li=5") == "'--li' is an abbreviation; write --lines"


def test_what_is_no_beginning_of_a_name_is_unknown() -> None:
    """And not called an abbreviation of whatever there is."""
    assert why_not(grammar(known("-n, --lines")), "--lone") == "'--lone' is not an option that is known"


def test_a_letter_alone_is_no_abbreviation_of_a_short_option() -> None:
    """Only long names can be abbreviated."""
    assert why_not(grammar(known("-n")), "--n") == "'--n' is not an option that is known"


def test_a_flag_with_a_value_is_refused() -> None:
    """As the C library does, also for an empty one."""
    assert why_not(grammar(known("--force")), "--force=") == "--force takes no value"


# -- sub-commands ----------------------------------------------------------------------------------------------------


GIT = grammar(
    known("-C", "required", chdir=True),
    known("-q"),
    known("--verbose", is_global=True),
    subcommands={
        "commit": shape(known("-C", "required"), known("-m", "required")),
        "remote": shape(subcommands={"add": shape(known("-f")), "show": shape(order="posix")}),
        "exec": shape(known("-i"), order="posix"),
        "stop": shape(name="stop"),
        "condstop": shape(name="stop"),
    },
)


def test_a_sub_command_reads_its_own_options() -> None:
    """The same spelling means what it means where it stands."""
    found = read(GIT, "-C", "/srv", "commit", "-C", "HEAD", "-m", "x", "file")
    assert [(one.spelling, one.value, one.depth) for one in found.options] == [
        ("-C", "/srv", 0),
        ("-C", "HEAD", 1),
        ("-m", "x", 1),
    ]
    assert found.subcommand == (Word("commit", 2, "commit"),)
    assert found.operands == (Word("file", 7),)
    assert found.folders == ("/srv",)


def test_a_global_option_may_follow_the_sub_command() -> None:
    """It stays the program's own, however deep it stands."""
    found = read(GIT, "remote", "--verbose", "add", "--verbose")
    assert [(one.index, one.depth) for one in found.options] == [(1, 0), (3, 0)]
    assert [word.text for word in found.subcommand] == ["remote", "add"]


def test_any_other_option_of_the_program_may_not_follow_it() -> None:
    """The program would read it by the sub-command's table, which does not have it."""
    assert why_not(GIT, "remote", "-q") == "'-q' is not an option that is known"
    assert why_not(GIT, "remote", "add", "-C", "/srv") == "'-C' is not an option that is known"


def test_an_option_of_the_sub_command_may_not_precede_it() -> None:
    """Nor does the program know it there."""
    assert why_not(GIT, "-m", "x", "commit") == "'-m' is not an option that is known"


def test_an_unknown_sub_command_is_unreadable() -> None:
    """Nobody knows what its arguments mean."""
    assert why_not(GIT, "frobnicate") == "'frobnicate' is not a sub-command that is known"
    assert why_not(GIT, "remote", "") == "'' is not a sub-command that is known"
    assert why_not(GIT, "remote", "-") == "'-' is not a sub-command that is known"


def test_no_sub_command_at_all_is_readable() -> None:
    """What the program then does is for the rule to know."""
    assert read(GIT, "-q") == Reading(options=(Found(GIT.shape.options[1], "-q", None, 0),))


def test_two_dashes_before_the_sub_command_are_refused() -> None:
    """Some programs read on, some take the next word for an operand."""
    assert why_not(GIT, "--", "commit") == "'--' stands where a sub-command is expected"
    assert why_not(GIT, "remote", "--") == "'--' stands where a sub-command is expected"


def test_two_dashes_after_it_end_the_options() -> None:
    """As everywhere."""
    assert plain(read(GIT, "commit", "--", "-m")) == ([], ["-m"])


def test_posix_order_can_belong_to_one_sub_command() -> None:
    """`docker exec -i c ls -l` passes `-l` on, `docker ps` permutes; an order holds below, too."""
    assert plain(read(GIT, "exec", "-i", "box", "ls", "-i")) == ([("-i", None)], ["box", "ls", "-i"])
    assert plain(read(GIT, "remote", "show", "x", "--verbose")) == ([], ["x", "--verbose"])
    inherits = grammar(order="posix", subcommands={"run": shape(known("-i"))})
    assert plain(read(inherits, "run", "box", "-i")) == ([], ["box", "-i"])


def test_a_sub_command_goes_by_its_first_name() -> None:
    """So that what is said of `stop` holds for `condstop`."""
    assert read(GIT, "condstop", "x").subcommand == (Word("condstop", 0, "stop"),)


def test_an_abbreviation_of_a_parents_option_is_named() -> None:
    """Whichever command it belongs to."""
    assert why_not(GIT, "remote", "add", "--verb") == "'--verb' is an abbreviation; write --verbose"


# -- folders ---------------------------------------------------------------------------------------------------------


MAKE = grammar(known("-C, --directory", "required", chdir=True), known("--cd", "optional", chdir=True))


def test_a_second_folder_must_be_absolute() -> None:
    """make reads it against the first, env against the cwd."""
    assert read(MAKE, "-C", "a", "-C/b").folders == ("a", "/b")
    assert why_not(MAKE, "-Ca", "--directory=b") == "--directory 'b' may be read against more than one folder"


def test_an_empty_folder_is_refused() -> None:
    """git stays where it is, others fail or go home."""
    assert why_not(MAKE, "-C", "") == "-C '' may be read against more than one folder"


def test_an_optional_folder_that_is_not_given_leaves_the_cwd() -> None:
    """Nothing was changed to."""
    assert read(MAKE, "--cd").folders == ()


def test_a_folder_for_part_of_the_line_leaves_relative_paths_without_meaning() -> None:
    """tar reads the archive's name against the cwd, and what follows -C against its value."""
    by = grammar(known("-C", "required", moves=True))
    assert read(by, "-C", "/srv", "x").placeable is False
    assert read(by, "x").placeable is True


# -- single-dash, key-value, literal ---------------------------------------------------------------------------------


FIND = grammar(
    known("-name", "required"),
    known("!, -not"),
    known("-exec", "many"),
    known("--help"),
    syntax="single-dash",
)


def test_a_single_dash_option_is_a_whole_argument() -> None:
    """Its value is the next one, whatever that looks like; there are no bundles and no equals signs."""
    assert plain(read(FIND, "/tmp", "!", "-name", "-not", "--help")) == (
        [("!", None), ("-name", "-not"), ("--help", None)],
        ["/tmp"],
    )
    for argument in ("-nam", "-name=x", "-namex", "--name", "--", "-n"):
        assert why_not(FIND, argument, "x").endswith("is not an option that is known")


def test_a_bracket_must_have_been_opened() -> None:
    """find searches a folder called `)` otherwise."""
    by = grammar(known("-name", "required"), known("("), known(")"), syntax="single-dash")
    assert plain(read(by, "(", "(", ")", "-name", ")", ")"))[0][-1] == (")", None)
    assert why_not(by, "(", ")", ")") == "')' closes nothing"
    assert why_not(by, ")", "(") == "')' closes nothing"
    assert why_not(by, "-name", "x", ")") == "')' closes nothing"


def test_a_single_dash_value_may_be_missing() -> None:
    """Then the program will not know either."""
    assert why_not(FIND, "-name") == "-name needs a value"


def test_a_dash_alone_is_an_operand_everywhere() -> None:
    """It usually means standard input."""
    assert plain(read(FIND, "-")) == ([], ["-"])


def test_an_option_that_takes_part_of_the_line_makes_it_unreadable() -> None:
    """What `-exec … ;` runs cannot be told from what comes after it."""
    assert why_not(FIND, "/", "-exec", "rm", "{}", ";") == "-exec takes a part of the command line that cannot be read"
    by = grammar(known("-S, --split-string", "many"), known("-i"))
    for argument in ("-S", "-iS", "-Sls -l", "--split-string", "--split-string=ls"):
        assert why_not(by, argument, "x").endswith("takes a part of the command line that cannot be read")


def test_single_dash_programs_have_sub_commands_and_posix_order_too() -> None:
    """`openssl x509 -in f`, `java -jar f -x`."""
    by = grammar(syntax="single-dash", subcommands={"x509": shape(known("-in", "required"))})
    assert plain(read(by, "x509", "-in", "f")) == ([("-in", "f")], [])
    java = grammar(known("-cp", "required"), syntax="single-dash", order="posix")
    assert plain(read(java, "-cp", "x", "Main", "-cp")) == ([("-cp", "x")], ["Main", "-cp"])


DD = grammar(known("if", "required"), known("of", "required"), syntax="key-value")


def test_key_value_arguments_are_split_at_the_first_sign() -> None:
    """What has none is an operand."""
    assert plain(read(DD, "if=/dev/zero", "of=a=b", "x", "of=")) == ([("if", "/dev/zero"), ("of", "a=b"), ("of", "")], ["x"])


def test_key_value_knows_neither_other_keys_nor_options() -> None:
    """Whatever the program does with them."""
    assert why_not(DD, "bs=1") == "'bs' is not a key that is known"
    assert why_not(DD, "--help") == "'--help' is not a key that is known"
    assert why_not(DD, "=x") == "'' is not a key that is known"


def test_a_literal_line_is_all_operands() -> None:
    """Compared word by word, whatever the words look like."""
    assert plain(read(grammar(syntax="literal"), "-x", "--", "a")) == ([], ["-x", "--", "a"])


# -- what no model reads ---------------------------------------------------------------------------------------------


def test_an_unreadable_program_has_no_reading() -> None:
    """Only literal rules can allow it."""
    assert why_not(grammar(unreadable=True)) == "no model describes this program's command line"


def test_operands_of_a_program_s_own_way_are_refused() -> None:
    """`tail +5`, `less +!sh`: before and behind two dashes, but not as a value."""
    by = grammar(known("-n", "required"), refused_operands=("+",))
    assert why_not(by, "a", "+5") == "the program reads '+5' in a way of its own"
    assert why_not(by, "--", "+5") == "the program reads '+5' in a way of its own"
    assert plain(read(by, "-n", "+5", "a+")) == ([("-n", "+5")], ["a+"])


def test_response_files_are_refused_wherever_they_stand() -> None:
    """They are read before the options are."""
    by = grammar(known("-o", "required"), refused_arguments=("@",))
    assert why_not(by, "-o", "@x") == "the program reads '@x' in a way of its own"
    assert plain(read(by, "-o", "x@")) == ([("-o", "x@")], [])


@pytest.mark.parametrize("line", [("-s", "no", "a"), ("-s", "a", "NO"), ("-o", "no"), ("--", "no")])
def test_words_that_a_switch_may_take_are_refused_wherever_they_stand(line: tuple[str, ...]) -> None:
    """`apt-get install --only-upgrade no a` installs a."""
    by = grammar(known("-s"), known("-o", "required"), refused_words=frozenset({"no"}))
    assert why_not(by, *line).endswith("in a way of its own")
    assert plain(read(by, "-s", "not", "a")) == ([("-s", None)], ["not", "a"])


def test_old_style_options_are_refused() -> None:
    """`tar xf` has no dash and yet no operand."""
    by = grammar(known("-x"), known("-f", "required"), first_is_option=True)
    assert read_arguments(by, ["xf", "a"]) == Unreadable("the program reads its first argument, 'xf', as options", 0)
    assert why_not(by, "", "a").startswith("the program reads its first argument")
    assert plain(read(by, "-xf", "a", "b")) == ([("-x", None), ("-f", "a")], ["b"])
    assert plain(read(by)) == ([], [])


# -- limits ----------------------------------------------------------------------------------------------------------


def test_the_number_of_arguments_is_limited() -> None:
    """To exactly the limit."""
    assert len(read(grammar(), *["a"] * MAX_ARGUMENTS).operands) == MAX_ARGUMENTS
    assert why_not(grammar(), *["a"] * (MAX_ARGUMENTS + 1)) == f"more than {MAX_ARGUMENTS} arguments"


def test_the_length_of_a_bundle_is_limited() -> None:
    """A value attached to it is not part of it."""
    by = grammar(known("-f"), known("-n", "required"))
    assert len(read(by, "-" + "f" * MAX_BUNDLE_CHARS).options) == MAX_BUNDLE_CHARS
    assert why_not(by, "-" + "f" * (MAX_BUNDLE_CHARS + 1)) == f"more than {MAX_BUNDLE_CHARS} options in one argument"
    assert plain(read(by, "-n" + "f" * 10_000)) == ([("-n", "f" * 10_000)], [])


def test_the_number_of_options_is_limited() -> None:
    """However they are bundled."""
    by = grammar(known("-f"))
    full, more = divmod(MAX_FOUND_OPTIONS, MAX_BUNDLE_CHARS)
    assert more == 0
    assert len(read(by, *["-" + "f" * MAX_BUNDLE_CHARS] * full).options) == MAX_FOUND_OPTIONS
    assert why_not(by, *["-" + "f" * MAX_BUNDLE_CHARS] * full, "-f") == f"more than {MAX_FOUND_OPTIONS} options"


# -- journalctl's way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "operands"),
    [
        (["-n", "5"], [("-n", "5")], []),
        (["-n5", "x"], [("-n", "5")], ["x"]),
        (["-n"], [("-n", None)], []),
        (["-n", "-f"], [("-n", None), ("-f", None)], []),
        (["-fn", "+5"], [("-f", None), ("-n", "+5")], []),
        (["-n", "-1"], [("-n", "-1")], []),
        (["-n", "--", "x"], [("-n", None)], ["x"]),
        (["--lines", "0", "x"], [("--lines", "0")], ["x"]),
        (["--lines=all", "x"], [("--lines", "all")], ["x"]),
        (["--lines"], [("--lines", None)], []),
    ],
)
def test_a_number_may_follow_its_option(
    arguments: list[str], options: list[tuple[str, str | None]], operands: list[str]
) -> None:
    """What is surely a number is taken, what is surely an option is not."""
    by = grammar(known("-n, --lines", "number"), known("-f"))
    assert plain(read(by, *arguments)) == (options, operands)


@pytest.mark.parametrize("following", ["abc", "", "08", "1234567890", "5x", "-5x", "all"])
def test_what_may_or_may_not_be_the_number_is_refused(following: str) -> None:
    """Only the program knows what it takes for a number."""
    by = grammar(known("-n, --lines", "number"), known("-f"))
    for option in ("-n", "-fn", "--lines"):
        assert "may be the value of" in why_not(by, option, following)


def test_a_value_may_belong_to_the_long_spelling_alone() -> None:
    """`tail -f` takes none, `--follow=name` does; they are one option."""
    by = grammar(known("-f, --follow", "optional-long"), known("-n", "required"))
    assert plain(read(by, "-fn", "5", "--follow=name", "--follow", "x")) == (
        [("-f", None), ("-n", "5"), ("--follow", "name"), ("--follow", None)],
        ["x"],
    )
    assert why_not(by, "-fx") == "'-x' is not an option that is known"
