"""The interface files say what the code does: every method, every parameter, both ways round."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from jitsudo.wire.calls import CONTROL, DECIDE, interface_text

SRC = Path(__file__).resolve().parents[3] / "src" / "jitsudo"
READERS = {"text", "optional_text", "integer", "optional_integer", "boolean", "texts", "nested"}


def without_comments(interface: str) -> str:
    return re.sub(r"#.*", "", interface_text(interface))


def names_in(parameters: str) -> set[str]:
    return set(re.findall(r"(\w+)\s*:", parameters))


def methods(interface: str) -> dict[str, set[str]]:
    """The parameters of each method in the interface file."""
    found = re.findall(r"method\s+(\w+)\s*\(([^)]*)\)\s*->", without_comments(interface))
    return {name: names_in(parameters) for name, parameters in found}


def replies(interface: str) -> dict[str, set[str]]:
    """The parameters of each method's reply."""
    text = without_comments(interface)
    found = re.findall(r"method\s+(\w+)\s*\([^)]*\)\s*->\s*\(((?:[^()]|\([^()]*\))*)\)", text)
    return {name: names_in(re.sub(r"\([^()]*\)", "", parameters)) for name, parameters in found}


def typedefs(interface: str) -> dict[str, set[str]]:
    found = re.findall(r"type\s+(\w+)\s*\(((?:[^()]|\([^()]*\))*)\)", without_comments(interface))
    return {name: names_in(fields) for name, fields in found}


def tree(path: str) -> ast.Module:
    return ast.parse((SRC / path).read_text())


def functions(module: ast.Module) -> dict[str, ast.AST]:
    return {n.name: n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


def handlers(path: str) -> dict[str, str]:
    """From the method's name to the function that answers it, out of the class's table."""
    found = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Attribute) and key.value[:1].isupper():
                    found[str(key.value)] = value.attr
    return found


def read_names(function: ast.AST) -> set[str]:
    """The parameters that a function reads: the literals in `fields.text("…")` and its like."""
    return {
        node.args[0].value
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS
        if node.args and isinstance(node.args[0], ast.Constant)
    }


@pytest.mark.parametrize(("interface", "path"), [(CONTROL, "daemon/control.py"), (DECIDE, "daemon/decide.py")])
def test_every_method_has_a_handler_and_every_handler_a_method(interface: str, path: str) -> None:
    """Nothing that is promised is missing, nothing that answers is undocumented."""
    assert set(methods(interface)) == set(handlers(path))
    assert len(methods(interface)) == len(re.findall(r"\bmethod ", without_comments(interface)))


@pytest.mark.parametrize("method", sorted(methods(CONTROL)))
def test_control_reads_exactly_the_parameters_of_the_file(method: str) -> None:
    """A name read but not in the file, or in the file but never read, is a mistake."""
    code = functions(tree("daemon/control.py")) | functions(tree("daemon/requesting.py"))
    assert read_names(code[handlers("daemon/control.py")[method]]) == methods(CONTROL)[method]


READ_BY = {
    "Check": ("Check", "parse"),
    "Started": ("SessionCall", "parse"),
    "Close": ("SessionCall", "parse"),
    "List": ("ListCommands", "parse"),
    "Answer": ("Answer", "parse"),
    "Validate": ("Validate", "parse"),
    "Invalidate": ("Invalidate", "parse"),
    "Edited": ("Edited", "parse"),
    "Admit": ("Admit", "parse"),
    "Observe": ("Observe", "parse"),
}


@pytest.mark.parametrize("method", sorted(methods(DECIDE)))
def test_decide_reads_exactly_the_parameters_of_the_file(method: str) -> None:
    """The typed calls of wire/calls.py."""
    classes = {n.name: n for n in ast.walk(tree("wire/calls.py")) if isinstance(n, ast.ClassDef)}
    read = read_names(classes[READ_BY[method][0]])
    if method == "Started":
        read -= {"wait_status", "errno"}  # read when closing only
    assert read == methods(DECIDE)[method]


def test_an_invocation_has_the_fields_of_the_file() -> None:
    """What every decide call begins with."""
    classes = {n.name: n for n in ast.walk(tree("wire/calls.py")) if isinstance(n, ast.ClassDef)}
    assert read_names(classes["Invocation"]) == typedefs(DECIDE)["Invocation"]


@pytest.mark.parametrize(
    ("type_name", "function"),
    [("RequestInfo", "request_info"), ("GrantInfo", "grant_info"), ("SessionInfo", "session_info"), ("RoleInfo", "role_info")],
)
def test_what_is_shown_has_the_fields_of_the_file(type_name: str, function: str) -> None:
    """daemon/views.py and the interface file list the same fields."""
    returned = [n for n in ast.walk(functions(tree("daemon/views.py"))[function]) if isinstance(n, ast.Return)]
    assert len(returned) == 1
    assert isinstance(returned[0].value, ast.Dict)
    keys = {k.value for k in returned[0].value.keys if isinstance(k, ast.Constant)}
    assert keys == typedefs(CONTROL)[type_name]


@pytest.mark.parametrize("method", sorted(methods(CONTROL)))
def test_control_answers_with_the_parameters_of_the_file(method: str) -> None:
    """The keys of every reply that a handler returns."""
    code = functions(tree("daemon/control.py")) | functions(tree("daemon/requesting.py"))
    names = [handlers("daemon/control.py")[method]]
    if method in {"Approve", "Answer"}:
        names.append("_step")
    if method == "Explain":
        code |= functions(tree("daemon/explaining.py"))
        names.append("explain_to")
    if method == "Observed":
        code |= functions(tree("daemon/observations.py"))
        names.append("since")
    keys = set()
    for name in names:
        for node in ast.walk(code[name]):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict):
                keys |= {k.value for k in node.value.keys if isinstance(k, ast.Constant)}
    assert keys == replies(CONTROL)[method]


def test_the_command_line_calls_methods_that_exist_with_parameters_that_exist() -> None:
    """Every `client.call("Method", name=…)` of the command line and of setup."""
    known, seen = methods(CONTROL), set()
    for path in (*(SRC / "cli").glob("*.py"), *(SRC / "setup").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "call":
                if not isinstance(node.args[0], ast.Constant):
                    continue
                method = node.args[0].value
                assert {k.arg for k in node.keywords} <= known[method], f"{path.name}: {method}"
                seen.add(method)
    assert seen | {"Deny", "Cancel"} == set(known)
