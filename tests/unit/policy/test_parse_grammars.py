"""Grammar files are read strictly: every word of the format, and one clear error for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.grammar import Grammar, KnownOption
from jitsudo.policy.issues import Issue
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar, Sequence
from jitsudo.policy.parse_grammars import MAX_DEPTH, parse_grammars


def issues_of(*texts: str) -> list[str]:
    """What is wrong with files of these texts."""
    issues: list[Issue] = []
    nodes = [read_yaml(f"{name}.yaml", text.encode(), issues) for name, text in zip("ab", texts, strict=False)]
    assert not issues
    return [str(issue) for issue in parse_grammars(node for node in nodes if node is not None).issues]


def programs(text: str) -> dict[str, Grammar]:
    issues: list[Issue] = []
    node = read_yaml("a.yaml", f"version: 1\nprograms: {text}".encode(), issues)
    assert node is not None
    result = parse_grammars([node])
    assert result.issues == ()
    assert result.grammars is not None
    return dict(result.grammars)


def program(body: str) -> Grammar:
    return programs(f"{{/bin/x: {{{body}}}}}")["/bin/x"]


def option(words: str) -> KnownOption:
    return program(f'options: {{"-x, --xx": {words}}}').shape.options[0]


def test_every_key_of_a_program_is_read() -> None:
    """As the README describes them."""
    found = programs(
        "{/bin/x: {also: [/opt/x, /opt/y], syntax: single-dash, order: posix, uninterruptible: true, leads: [runs-program], "
        'refused_operands: "+", refused_arguments: ["@"], first_is_option: true, operands: [reads-file, writes-file], '
        "refused_words: ['No']}}"
    )
    assert sorted(found) == ["/bin/x", "/opt/x", "/opt/y"]
    x = found["/bin/x"]
    assert found["/opt/y"] is x
    assert (x.syntax, x.order, x.shape.order) == ("single-dash", "posix", None)
    assert (x.uninterruptible, x.first_is_option, x.unreadable) == (True, True, False)
    assert (x.refused_operands, x.refused_arguments) == (("+",), ("@",))
    assert x.refused_words == {"no"}
    assert x.shape.leads == {"runs-program"}
    assert x.shape.operands == {"reads-file", "writes-file"}
    assert (x.file, program("unreadable: true").unreadable) == ("a.yaml", True)


def test_defaults_are_those_of_getopt() -> None:
    """A program of which only the name is written."""
    found = program("")
    assert (found.syntax, found.order, found.shape.options, found.shape.subcommands) == ("getopt", "permute", (), None)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("flag", "none"),
        ("[value]", "required"),
        ("optional", "optional"),
        ("optional-long", "optional-long"),
        ("number", "number"),
        ("many", "many"),
    ],
)
def test_every_kind_of_value_is_read(words: str, value: str) -> None:
    """One word, or a list that begins anywhere."""
    assert option(words) == KnownOption(("-x", "--xx"), value)  # type: ignore[arg-type]


def test_every_mark_of_an_option_is_read() -> None:
    """In any order."""
    assert option("[global, harmless, secret, chdir, value, moves, reads-file, runs-program]") == KnownOption(
        ("-x", "--xx"), "required", True, True, True, True, True, frozenset({"reads-file", "runs-program"})
    )


def test_global_beside_options_is_said_of_all_of_them() -> None:
    """For programs that read one table over the whole line."""
    found = program('global: true, options: {"-x": flag, "-y": [value, global]}, subcommands: {a: {options: {"-z": flag}}}')
    assert [one.is_global for one in found.shape.options] == [True, True]
    assert found.shape.subcommands is not None
    assert found.shape.subcommands["a"].options[0].is_global is False


def test_sub_commands_have_names_and_shapes() -> None:
    """`|` is between two, `,` between two names of one."""
    found = program('subcommands: {"start|stop, condstop": {order: posix, operands: loads-code}, a: {subcommands: {b: {}}}}')
    subs = found.shape.subcommands
    assert subs is not None
    assert [(word, shape.name) for word, shape in subs.items()] == [
        ("start", "start"),
        ("stop", "stop"),
        ("condstop", "stop"),
        ("a", "a"),
    ]
    assert {shape.order for word, shape in subs.items() if word != "a"} == {"posix"}
    assert subs["stop"].operands == {"loads-code"}
    assert subs["a"].subcommands is not None


def test_a_later_file_replaces_a_program() -> None:
    """Whole, so that a site can describe its own build."""
    issues: list[Issue] = []
    texts = ['{"-x": flag, "-y": flag}', '{"-z": flag}']
    nodes = [read_yaml("a.yaml", f"version: 1\nprograms: {{/bin/x: {{options: {t}}}}}".encode(), issues) for t in texts]
    found = parse_grammars(node for node in nodes if node is not None).grammars
    assert found is not None
    assert set(found["/bin/x"].shape.by_spelling) == {"-z"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "a.yaml:1:1: a grammar file: 'version' is missing"),
        ("version: 1", "a.yaml:1:1: a grammar file: 'programs' is missing"),
        ("version: 2\nprograms: {}", "a.yaml:1:10: version must be 1"),
        ("version: [1]\nprograms: {}", "a.yaml:1:10: version must be 1"),
        ("version: 1\nprograms: []", "a.yaml:2:11: programs must be a mapping"),
        ("version: 1\nprograms: {}\nroles: {}", "a.yaml:3:1: unknown key 'roles'"),
    ],
)
def test_a_file_is_a_version_and_programs(text: str, message: str) -> None:
    """And nothing besides."""
    assert message in issues_of(text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("option: {}", "unknown key 'option' (did you mean 'options'?)"),
        ("syntax: getopts", "syntax: unknown 'getopts' (did you mean 'getopt'?)"),
        ("order: permutes", "order: unknown 'permutes'"),
        ("also: [x]", "also: not an absolute path"),
        ("unreadable: 1", "unreadable must be true or false"),
        ('unreadable: true, options: {"-x": flag}', "an unreadable program has no options"),
        ("unreadable: true, order: posix", "an unreadable program has no order"),
        ("leads: [root]", "leads: unknown 'root'"),
        ("operands: any", "operands: unknown 'any'"),
        ('options: {"-x": flg}', "an option: unknown 'flg' (did you mean 'flag'?)"),
        ('options: {"-x": harmless}', "an option is exactly one of flag, value, optional,"),
        ('options: {"-x": [flag, value]}', "an option is exactly one of flag, value, optional,"),
        ('options: {"-x": [flag, global, global]}', "each word stands once"),
        ('options: {"-x": []}', "an option is empty"),
        ('options: {"-x": [flag, chdir]}', "chdir and secret are about a value, and a flag has none"),
        ('options: {"-x": [flag, secret]}', "chdir and secret are about a value, and a flag has none"),
        ('options: {"-x, -x": flag}', "options: '-x' stands here twice"),
        ('options: {"-x": flag, "-y, -x": flag}', "options: '-x' stands here twice"),
        ('options: {"-xy": flag}', "'-xy' has one dash and several letters"),
        ('options: {"--": flag}', "not an option: '--'"),
        ('syntax: single-dash, options: {"-x": optional}', "optional does not go with syntax: single-dash"),
        ('syntax: single-dash, options: {"-x": number}', "number does not go with syntax: single-dash"),
        ("syntax: key-value, options: {x: flag}", "flag does not go with syntax: key-value"),
        ("syntax: key-value, subcommands: {a: {}}", "subcommands do not go with syntax: key-value"),
        ("syntax: literal, subcommands: {a: {}}", "subcommands do not go with syntax: literal"),
        ("subcommands: {-a: {}}", "a subcommand is a word"),
        ('subcommands: {"a|": {}}', "a subcommand is a word"),
        ('subcommands: {"a|b": {}, "c, b": {}}', "subcommands: 'b' stands here twice"),
        ("subcommands: {a: {also: /x}}", "unknown key 'also'"),
        ("refused_operands: []", "refused_operands is empty"),
    ],
)
def test_what_the_format_does_not_have_is_an_error(body: str, message: str) -> None:
    """With its place."""
    found = issues_of(f"version: 1\nprograms: {{/bin/x: {{{body}}}}}")
    assert any(message in issue for issue in found), found


@pytest.mark.parametrize(
    ("programs_text", "message"),
    [
        ("{bin/x: {}}", "a program: not an absolute path"),
        ("{/bin/x: {}, /bin/y: {also: /bin/x}}", "/bin/x is described twice, first in line 2"),
        ("{/bin/x: {also: /bin/x}}", "/bin/x is described twice, first in line 2"),
        ("{/bin/x: []}", "a program must be a mapping"),
    ],
)
def test_a_program_is_a_path_that_stands_once(programs_text: str, message: str) -> None:
    """In one file; another file may replace it."""
    found = issues_of(f"version: 1\nprograms: {programs_text}")
    assert any(message in issue for issue in found), found


def test_sub_commands_do_not_stand_endlessly_deep() -> None:
    """To exactly the limit."""
    deep = "{subcommands: {a: " * MAX_DEPTH + "{}" + "}}" * MAX_DEPTH
    assert issues_of(f"version: 1\nprograms: {{/bin/x: {deep}}}") == []
    deeper = "{subcommands: {a: " * (MAX_DEPTH + 1) + "{}" + "}}" * (MAX_DEPTH + 1)
    assert issues_of(f"version: 1\nprograms: {{/bin/x: {deeper}}}")[0].endswith(f"subcommands stand more than {MAX_DEPTH} deep")


def test_errors_of_all_files_are_told_at_once() -> None:
    """Sorted by their place."""
    assert issues_of("version: 2\nprograms: {}", "version: 3\nprograms: {}") == [
        "a.yaml:1:10: version must be 1",
        "b.yaml:1:10: version must be 1",
    ]


WORDS = tuple("""
    version programs 1 true flag value optional number many global harmless chdir secret options subcommands operands leads
    order posix syntax getopt key-value literal single-dash also unreadable /bin/x -x --xx a|b runs-program refused_operands
""".split())  # noqa: SIM905  as a list, each word would have its line
HERE = Pos("a.yaml", 1, 1)
scalars = st.builds(lambda text, plain: Scalar(HERE, text, plain), st.sampled_from(WORDS) | st.text(max_size=5), st.booleans())


def _containers(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    lists = st.lists(inner, max_size=3).map(lambda items: Sequence(HERE, tuple(items)))
    mappings = st.lists(st.tuples(scalars, inner), max_size=4).map(lambda items: Mapping(HERE, tuple(items)))
    return lists | mappings


@given(st.recursive(scalars, _containers, max_leaves=20))
def test_reading_grammars_is_total(node: Node) -> None:
    """Any nodes become grammars or issues."""
    inner = Mapping(HERE, ((Scalar(HERE, "/bin/x"), node),))
    whole = Mapping(HERE, ((Scalar(HERE, "version"), Scalar(HERE, "1")), (Scalar(HERE, "programs"), inner)))
    for root in (node, whole):
        result = parse_grammars([root])
        assert (result.grammars is None) == bool(result.issues)
