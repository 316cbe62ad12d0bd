"""What a rule says and what is known of its program become one; where they contradict each other, that is an error."""

from __future__ import annotations

import pytest

from bench import grammars
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy import rules
from jitsudo.policy.argv import Reading, read_arguments
from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.issues import Issue
from jitsudo.policy.parse_people import PeopleReader
from jitsudo.policy.parse_rules import RuleReader
from jitsudo.policy.reader import Reader

KNOWN = """
/usr/bin/tail:
  options: {"-n, --lines": value, "-f, --follow": optional-long, "-q, --quiet, --silent": [flag, harmless],
            "--color": [optional, harmless], "--width": [value, harmless], "-b": number, "--pid": value, "-S": many}
/usr/bin/env:
  order: posix
  options: {"-i": flag}
/usr/bin/find:
  syntax: single-dash
  options: {"-name": value, "!": flag, "-exec": many}
/bin/dd:
  syntax: key-value
  options: {if: value, status: [value, harmless]}
/usr/bin/ps:
  unreadable: true
/usr/bin/git:
  options: {"-C": [value, chdir], "--no-pager": [flag, harmless, global], "--loud": [flag, global], "-q": flag}
  subcommands:
    status: {options: {"-s, --short": [flag, harmless]}}
    "log, lg": {options: {"-n, --max-count": value}}
    "fetch|pull": {order: posix}
    remote: {subcommands: {add: {options: {"-f": flag}}, show: {}}}
"""


def read(text: str, known: Grammars | None = None) -> tuple[rules.CommandRule, list[str]]:
    """The rule and what is wrong with it."""
    issues: list[Issue] = []
    node = read_yaml("web.yaml", text.encode(), issues)
    assert node is not None
    assert not issues
    reader = Reader()
    rule = RuleReader(reader, PeopleReader(reader), grammars(KNOWN) if known is None else known).rule(node)
    assert isinstance(rule, rules.CommandRule)
    return rule, [str(issue) for issue in sorted(set(reader.issues))]


def good(text: str, known: Grammars | None = None) -> rules.CommandRule:
    rule, issues = read(text, known)
    assert issues == []
    return rule


def named(shape: rules.Shape, *, harmless: bool) -> list[tuple[str, ...]]:
    return [option.spellings for option in shape.options or () if option.harmless is harmless]


def sub(rule: rules.CommandRule, word: str) -> rules.Shape:
    return next(one.shape for one in rule.shape.subcommands or () if word in one.words)


# -- a program of which nothing is known -----------------------------------------------------------------------------


def test_without_a_grammar_the_rule_is_all_that_is_known() -> None:
    """Its options are the table by which arguments are read."""
    rule = good('{command: /bin/x, options: {"-n, --lines": int, "-f": flag, "--color": {optional: any}}}', NO_GRAMMARS)
    assert not rule.grammar_known
    assert [(option.spellings, option.value) for option in rule.grammar.shape.options] == [
        (("-n", "--lines"), "required"),
        (("-f",), "none"),
        (("--color",), "optional"),
    ]
    assert named(rule.shape, harmless=True) == []
    assert isinstance(read_arguments(rule.grammar, ["-fn5"]), Reading)


def test_without_a_grammar_sub_commands_are_the_rules_own() -> None:
    """Two words of one entry share their part of the rule; an order holds below, too."""
    inner = '"a|b": {operands: [int]}, c: {order: permute, options: {"-f": flag}}'
    rule = good(f"{{command: /bin/x, order: posix, subcommands: {{{inner}}}}}", NO_GRAMMARS)
    assert [one.words for one in rule.shape.subcommands or ()] == [("a", "b"), ("c",)]
    assert [sub(rule, word).order for word in "abc"] == ["posix", "posix", "permute"]
    assert set(rule.grammar.shape.subcommands or {}) == {"a", "b", "c"}
    found = read_arguments(rule.grammar, ["c", "x", "-f"])
    assert isinstance(found, Reading)
    assert [word.text for word in found.operands] == ["x"]


def test_equal_rules_on_an_unknown_program_share_one_table() -> None:
    """Ten thousand roles may have the same rule."""
    issues: list[Issue] = []
    node = read_yaml("web.yaml", b'{command: /bin/x, options: {"-f": flag}}', issues)
    assert node is not None
    reader = Reader()
    one = RuleReader(reader, PeopleReader(reader))
    first, second = one.rule(node), one.rule(node)
    assert isinstance(first, rules.CommandRule)
    assert isinstance(second, rules.CommandRule)
    assert first.grammar is second.grammar


def test_a_nested_command_needs_to_know_where_options_end() -> None:
    """Nothing is guessed: without a grammar the rule should say."""
    inner = "operands: [{command: {command: /bin/y}}]"
    warning = "web.yaml:1:1: does x pass options behind the command on? Then write order: posix, otherwise order: permute"
    assert read(f"{{command: /bin/x, {inner}}}", NO_GRAMMARS)[1] == [warning]
    for said in ("order: posix", "order: permute", "syntax: single-dash"):
        good(f"{{command: /bin/x, {said}, {inner}}}", NO_GRAMMARS)
    good(f"{{command: /usr/bin/env, {inner}}}")


# -- options ---------------------------------------------------------------------------------------------------------


def test_a_rule_that_adds_nothing_shares_the_programs_grammar() -> None:
    """Order and syntax come from there."""
    known = grammars(KNOWN)
    rule = good('{command: /usr/bin/tail, options: {"-n": int}}', known)
    assert rule.grammar is known["/usr/bin/tail"]
    assert rule.grammar_known
    assert good("{command: /usr/bin/env}", known).shape.order == "posix"
    assert good('{command: /usr/bin/find, options: {"-name": any}}', known).shape.syntax == "single-dash"


@pytest.mark.parametrize("command", ["/bin/tail", "/usr/bin/dd"])
def test_a_program_is_known_by_both_its_names_under_the_usr_merge(command: str) -> None:
    """/bin and /usr/bin are one folder; /usr/local/bin is another."""
    assert good(f"{{command: {command}}}").grammar_known
    assert not good("{command: /usr/local/bin/tail}").grammar_known


def test_only_the_spellings_that_the_rule_names_are_the_rules() -> None:
    """The grammar knows the others, so that they can be refused by name."""
    rule = good('{command: /usr/bin/tail, options: {"-n": int}}')
    assert named(rule.shape, harmless=False) == [("-n",)]
    assert rule.grammar.shape.by_spelling["--lines"] is rule.grammar.shape.by_spelling["-n"]


def test_harmless_options_are_added() -> None:
    """With any value, as often as one likes, and marked."""
    rule = good('{command: /usr/bin/tail, options: {"-n": int}}')
    assert [option for option in rule.shape.options or () if option.harmless] == [
        rules.Option(("-q", "--quiet", "--silent"), rules.Flag(), repeat=True, harmless=True),
        rules.Option(("--color",), rules.AnyValue(), attached_only=True, repeat=True, harmless=True),
        rules.Option(("--width",), rules.AnyValue(), repeat=True, harmless=True),
    ]
    assert named(good("{command: /usr/bin/tail}").shape, harmless=True) == [
        ("-q", "--quiet", "--silent"),
        ("--color",),
        ("--width",),
    ]


def test_rules_that_name_none_share_the_harmless_ones() -> None:
    """Ten thousand roles need not each have their own."""
    issues: list[Issue] = []
    node = read_yaml("web.yaml", b"{command: /usr/bin/tail}", issues)
    assert node is not None
    reader = Reader()
    one = RuleReader(reader, PeopleReader(reader), grammars(KNOWN))
    first, second = one.rule(node), one.rule(node)
    assert isinstance(first, rules.CommandRule)
    assert isinstance(second, rules.CommandRule)
    assert first.shape.options
    assert first.shape.options is second.shape.options


def test_harmless_false_adds_none() -> None:
    """Nor for the sub-commands, unless one of them says otherwise."""
    assert good("{command: /usr/bin/tail, harmless: false}").shape.options is None
    rule = good("{command: /usr/bin/git, harmless: false, subcommands: {status: {}, log: {harmless: true}}}")
    assert named(rule.shape, harmless=True) == named(sub(rule, "status"), harmless=True) == []
    rule = good("{command: /usr/bin/git, harmless: false, subcommands: {status: {harmless: true}}}")
    assert named(sub(rule, "status"), harmless=True) == [("-s", "--short")]
    assert rule.shape.harmless is False


def test_a_harmless_option_that_the_rule_names_is_the_rules() -> None:
    """Whoever narrows it means it, also where the narrowing stands under a sub-command."""
    rule = good('{command: /usr/bin/tail, options: {"--width": {int: {max: 80}}, "--quiet": flag}}')
    assert named(rule.shape, harmless=True) == [("--color",)]
    rule = good('{command: /usr/bin/git, subcommands: {log: {options: {"--no-pager": flag}}}}')
    assert named(rule.shape, harmless=True) == []
    assert rule.shape.options is None


@pytest.mark.parametrize(
    ("option", "cure"),
    [
        ('"-n": flag', "tail -n takes a value: write its type instead of flag, e.g. int, or any"),
        ('"-n": {optional: int}', "tail -n always takes a value: write its type without `optional`"),
        ('"-q": int', "tail -q takes no value: write flag"),
        ('"-q": {optional: int}', "tail -q takes no value: write flag"),
        ('"--color": any', "tail --color takes its value attached, if any: write {optional: TYPE}, or flag"),
        ('"-f": any', "tail -f takes its value attached, if any: write {optional: TYPE}, or flag"),
        ('"-S": any', "tail -S takes a part of the command line that cannot be read: no rule can allow it"),
        ('"-n, --line": int', "'--line' is not a spelling of tail's option -n, --lines"),
        ('"-n, -q": int', "'-q' is not a spelling of tail's option -n, --lines"),
        ('"--li": int', "'--li' is an abbreviation; write --lines"),
    ],
)
def test_an_option_that_contradicts_the_grammar_is_an_error(option: str, cure: str) -> None:
    """With its place and what to write instead."""
    _, issues = read(f"{{command: /usr/bin/tail, options: {{{option}}}}}")
    assert issues == [f"web.yaml:1:36: {cure}"]


@pytest.mark.parametrize(
    "option", ['"--color": flag', '"--color": {optional: any}', '"-f": flag', '"--follow": {optional: any}']
)
def test_an_optional_value_may_be_allowed_or_not(option: str) -> None:
    """The option alone, or with a value of a type."""
    good(f"{{command: /usr/bin/tail, options: {{{option}}}}}")


@pytest.mark.parametrize("type_", ["flag", "int", "{optional: int}"])
def test_a_number_may_be_needed_allowed_or_refused(type_: str) -> None:
    """`journalctl -n`, `-n 5`."""
    good(f'{{command: /usr/bin/tail, options: {{"-b": {type_}}}}}')


def test_an_option_that_the_grammar_lacks_is_read_as_the_rule_says() -> None:
    """The installed program may be newer; but it is probably a slip."""
    rule, issues = read('{command: /usr/bin/tail, options: {"--linez": int, "-X": flag}}')
    assert issues == [
        "web.yaml:1:36: the grammar of tail has no option '--linez' (did you mean '--lines'?); it is read as the rule says",
        "web.yaml:1:52: the grammar of tail has no option '-X'; it is read as the rule says",
    ]
    assert rule.grammar.shape.by_spelling["--linez"].value == "required"
    assert rule.grammar.shape.by_spelling["--lines"].value == "required"


# -- sub-commands ----------------------------------------------------------------------------------------------------


def test_a_rule_without_sub_commands_keeps_those_of_the_grammar() -> None:
    """They are operands to the rule, and yet options behind them are read as theirs."""
    known = grammars(KNOWN)
    rule = good("{command: /usr/bin/git, operands: [{literal: status}]}", known)
    assert rule.grammar is known["/usr/bin/git"]
    assert rule.shape.subcommands is None


def test_options_of_a_sub_command_are_its_own() -> None:
    """Each part of the rule has its own harmless ones."""
    rule = good('{command: /usr/bin/git, options: {"-C": any}, subcommands: {status: {}, log: {options: {"-n": int}}}}')
    assert named(rule.shape, harmless=True) == [("--no-pager",)]
    assert named(sub(rule, "status"), harmless=True) == [("-s", "--short")]
    assert [(o.spellings, o.inherited) for o in sub(rule, "log").options or ()] == [(("-n",), False)]


def test_a_global_option_may_be_allowed_for_one_sub_command() -> None:
    """It is marked as one of the commands above."""
    rule = good('{command: /usr/bin/git, subcommands: {remote: {subcommands: {add: {options: {"--loud": flag, "-f": flag}}}}}}')
    add = next(one.shape for one in sub(rule, "remote").subcommands or ())
    assert [(option.spellings, option.inherited) for option in add.options or ()] == [(("--loud",), True), (("-f",), False)]


def test_an_option_that_is_not_global_stands_before_the_sub_command() -> None:
    """The program would not know it behind."""
    _, issues = read('{command: /usr/bin/git, subcommands: {status: {options: {"-q": flag}}}}')
    assert issues == ["web.yaml:1:58: '-q' stands before the sub-command: name it there"]


def test_an_abbreviation_of_a_parents_option_is_an_error() -> None:
    """Wherever the long one may stand."""
    _, issues = read('{command: /usr/bin/git, subcommands: {status: {options: {"--lou": flag}}}}')
    assert issues == ["web.yaml:1:58: '--lou' is an abbreviation; write --loud"]


def test_words_of_one_entry_may_come_to_differ() -> None:
    """Each is merged with what is known of it."""
    rule = good('{command: /usr/bin/git, subcommands: {"status|fetch|pull": {operands: [any]}}}')
    assert [one.words for one in rule.shape.subcommands or ()] == [("status",), ("fetch", "pull")]
    assert [sub(rule, word).order for word in ("status", "pull")] == ["permute", "posix"]


def test_an_unknown_sub_command_is_read_as_the_rule_says() -> None:
    """As an unknown option is; the known ones stay known."""
    rule, issues = read('{command: /usr/bin/git, subcommands: {stat: {options: {"-x": flag}}}}')
    assert issues == [
        "web.yaml:1:39: the grammar of git has no sub-command 'stat' (did you mean 'status'?); it is read as the rule says"
    ]
    assert {"stat", "status"} <= set(rule.grammar.shape.subcommands or {})
    assert rule.grammar.shape.name == ""


def test_two_names_of_one_sub_command_belong_to_one_entry() -> None:
    """Which of two entries counts would depend on their order."""
    _, issues = read("{command: /usr/bin/git, subcommands: {log: {}, lg: {operands: any}}}")
    assert issues == ["web.yaml:1:48: 'lg' is another name of git's 'log': let one entry name both"]
    assert [one.words for one in good('{command: /usr/bin/git, subcommands: {"log|lg": {}}}').shape.subcommands or ()] == [
        ("log", "lg")
    ]


def test_a_rule_may_extend_one_sub_command() -> None:
    """The others are shared with the program's grammar."""
    known = grammars(KNOWN)
    rule, issues = read('{command: /usr/bin/git, subcommands: {log: {options: {"--newer": flag}}}}', known)
    assert len(issues) == 1
    subs, before = rule.grammar.shape.subcommands or {}, known["/usr/bin/git"].shape.subcommands or {}
    assert "--newer" in subs["log"].by_spelling
    assert subs["log"].name == "log"
    assert subs["status"] is before["status"]


def test_a_program_without_sub_commands_has_none_in_a_rule() -> None:
    """Its first operand is an operand."""
    for text in ("{command: /usr/bin/tail, subcommands: {a: {}}}", "{command: /bin/dd, subcommands: {a: {}}}"):
        _, issues = read(text)
        assert len(issues) == 1
        assert issues[0].endswith("has no sub-commands here: write operands")


# -- order and syntax ------------------------------------------------------------------------------------------------


def test_an_order_that_contradicts_the_grammar_is_an_error() -> None:
    """What agrees with it may be said."""
    assert read("{command: /usr/bin/tail, order: posix}")[1] == [
        "web.yaml:1:33: order: the grammar of tail says permute; leave `order` out"
    ]
    good("{command: /usr/bin/tail, order: permute}")
    good("{command: /usr/bin/git, subcommands: {pull: {order: posix}}}")


def test_a_syntax_that_contradicts_the_grammar_is_an_error() -> None:
    """What agrees with it may be said, and `literal` always."""
    rule, issues = read("{command: /usr/bin/tail, syntax: single-dash}")
    assert issues == ["web.yaml:1:34: syntax: tail reads its arguments as getopt; leave `syntax` out, or say literal"]
    assert rule.shape.syntax == "getopt"
    good("{command: /usr/bin/find, syntax: single-dash}")
    assert good('{command: /usr/bin/find, syntax: literal, operands: [{literal: "-delete"}]}').shape.syntax == "literal"
    assert good("{command: /bin/x, syntax: key-value}", NO_GRAMMARS).shape.syntax == "key-value"


def test_an_unreadable_program_takes_literal_rules_only() -> None:
    """A rule without arguments is literal enough."""
    for arguments in ("operands: [any]", 'options: {"-a": flag}, order: posix', "subcommands: {a: {}}"):
        assert read(f"{{command: /usr/bin/ps, {arguments}}}")[1] == [
            "web.yaml:1:1: no model describes the command line of ps: only rules with `syntax: literal` can allow it"
        ]
    assert good("{command: /usr/bin/ps}").shape.syntax == "literal"
    rule = good("{command: /usr/bin/ps, syntax: literal, operands: [{literal: aux}]}")
    assert rule.grammar_known
    assert not rule.grammar.unreadable


@pytest.mark.parametrize("key", ["order: posix", 'options: {"-x": flag}', "subcommands: {a: {}}"])
def test_a_literal_rule_has_operands_only(key: str) -> None:
    """A list is compared word by word."""
    _, issues = read(f"{{command: /bin/x, syntax: literal, {key}}}", NO_GRAMMARS)
    assert issues == [f"web.yaml:1:1: syntax: literal compares word by word, without {key.partition(':')[0]}"]


def test_a_literal_rules_operands_are_words() -> None:
    """Exactly these, or exactly one of these."""
    good('{command: /bin/x, syntax: literal, operands: [{literal: "-a"}, {one_of: [b, c]}]}', NO_GRAMMARS)
    _, issues = read("{command: /bin/x, syntax: literal, operands: [int]}", NO_GRAMMARS)
    assert issues == [
        "web.yaml:1:1: syntax: literal compares word by word: its operands are {literal: …} or {one_of: […]}"
    ]


def test_single_dash_and_key_value_have_no_optional_values() -> None:
    """Their values are the next argument, and what follows the sign."""
    assert read('{command: /usr/bin/find, options: {"-name": {optional: any}}}')[1][0] == (
        "web.yaml:1:36: `optional` belongs to syntax: getopt, and find is read as single-dash"
    )
    assert read("{command: /bin/dd, options: {if: flag}}")[1][0] == (
        "web.yaml:1:30: 'if' has a value: write its type instead of flag"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{command: /bin/x, options: {"-name": any}}',
            "'-name' has one dash and several letters: write --name, or syntax: single-dash",
        ),
        ('{command: /bin/x, options: {"--": flag}}', "not an option: '--'; write e.g. \"-n, --lines\""),
        ('{command: /bin/x, options: {"-:": flag}}', "not an option: '-:'; write e.g. \"-n, --lines\""),
        ('{command: /bin/x, options: {"-;": flag}}', "not an option: '-;'; write e.g. \"-n, --lines\""),
        ('{command: /bin/x, options: {"-n,": flag}}', "not an option: ''; write e.g. \"-n, --lines\""),
        ('{command: /bin/x, options: {n: flag}}', "not an option: 'n'; write e.g. \"-n, --lines\""),
        ('{command: /bin/x, syntax: single-dash, options: {"--": flag}}', "not an option: '--'; write e.g. \"-name\""),
        ('{command: /bin/x, syntax: key-value, options: {"-n": any}}', "not an option: '-n'; write e.g. \"of\""),
    ],
)  # fmt: skip
def test_a_spelling_that_no_program_could_read_is_an_error(text: str, message: str) -> None:
    """Such an entry would never match, or two dashes would be an option."""
    assert read(text, NO_GRAMMARS)[1][0].endswith(message)
