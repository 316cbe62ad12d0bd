"""Changes one thing at a time in a module and runs its tests: a change that no test notices is a gap, or means nothing.

    PYTHONPATH=src python tests/probe/mutants.py src/jitsudo/policy/argv.py tests/unit/policy/test_argv.py [TEST...]

Prints the changes that survived. Each runs in a process of its own, for at most SECONDS.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 60
COMPARED = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}
STATEMENTS = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Continue, ast.Break)


def changes(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """What can be changed at one node: a name for it, and how."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            other = COMPARED[type(op)]
            yield f"{type(op).__name__} becomes {other.__name__}", lambda at=at, other=other: node.ops.__setitem__(at, other())
    elif isinstance(node, ast.BoolOp):
        other_bool = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{type(node.op).__name__} becomes {other_bool.__name__}", lambda: setattr(node, "op", other_bool())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not is dropped", lambda: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED:
        other_op = COMPUTED[type(node.op)]
        yield f"{type(node.op).__name__} becomes {other_op.__name__}", lambda: setattr(node, "op", other_op())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} becomes {not node.value}", lambda: setattr(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield f"{node.value} becomes {node.value + 1}", lambda: setattr(node, "value", node.value + 1)
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        for value in (True, False) if not isinstance(node, ast.While) else (False,):
            yield f"the condition becomes {value}", lambda value=value: setattr(node, "test", ast.Constant(value))
    elif isinstance(node, ast.Return) and not (node.value is None or ast.unparse(node.value) == "None"):
        yield "None is returned", lambda: setattr(node, "value", ast.Constant(None))


def statements(tree: ast.AST) -> Iterator[tuple[list[ast.stmt], int]]:
    """Each statement of a function's body that can be left out."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            for body in (getattr(node, name, None) for name in ("body", "orelse")):
                for at, one in enumerate(body) if isinstance(body, list) else ():
                    text = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
                    if isinstance(one, STATEMENTS) and not text:
                        yield body, at


def mutants(source: str) -> Iterator[tuple[int, str, ast.Module]]:
    """Every changed module, with the line and what was changed."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for which, _ in enumerate(changes(node)):
            changed = copy.deepcopy(tree)
            what, change = list(changes(list(ast.walk(changed))[number]))[which]
            change()
            yield getattr(node, "lineno", 0), what, changed
    for number, (body, at) in enumerate(statements(tree)):
        changed = copy.deepcopy(tree)
        inner, place = list(statements(changed))[number]
        inner[place] = ast.copy_location(ast.Pass(), inner[place])
        yield body[at].lineno, "left out", changed


def survives(tree: ast.Module, path: Path, tests: list[str]) -> bool:
    """Whether the tests pass with the changed module in place of its own."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    signal.alarm(SECONDS)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    status = 1
    try:
        name = ".".join(path.with_suffix("").parts[path.parts.index("jitsudo") :])
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), module.__dict__)  # noqa: S102  that is the point
        status = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests]))
    finally:
        os._exit(status)


def main() -> None:
    """Try every mutant."""
    path, tests = Path(sys.argv[1]), sys.argv[2:]
    source = path.read_text()
    lines, tried, left = source.splitlines(), 0, 0
    for line, what, tree in mutants(source):
        tried += 1
        if survives(tree, path, tests):
            left += 1
            sys.stdout.write(f"{path}:{line}: {what}: {lines[line - 1].strip()}\n")
    sys.stdout.write(f"{tried} mutants, {left} survived\n")


if __name__ == "__main__":
    main()
