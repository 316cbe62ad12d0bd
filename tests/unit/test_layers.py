"""Who may import whom: the arrows of docs/adr/0001, nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "jitsudo"
PURE = {"policy", "grants", "elevation"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "types": set(),
    "strictjson": set(),
    "policy": set(),
    "grants": set(),
    "elevation": set(),
    "crypto": {"grants"},
    "wire": set(),
    "host": {"policy", "grants"},
    "client": {"wire"},
    "offline": {"policy", "grants", "elevation", "crypto", "host", "wire"},
    "daemon": {"policy", "grants", "elevation", "crypto", "host", "wire"},
    "editing": {"client", "elevation", "wire"},
    "doctor": {"client", "offline", "host", "policy"},
    "setup": {"client", "offline", "host", "policy", "doctor", "wire"},
    "cli": {"client", "offline", "wire", "setup", "doctor"},
}
EVERYBODY = {"errors", "types", "strictjson"}
# What a pure package may take from the standard library: nothing that knows a clock, a file, a socket or a log.
IMPURE = {"asyncio", "io", "logging", "os", "pathlib", "random", "secrets", "signal", "socket", "subprocess", "time"}
ONLY_IN = {"cryptography": {"crypto"}, "yaml": {"host"}}


def layer_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, absolutely named."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            if node.module == "jitsudo":
                found |= {f"jitsudo.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


MODULES = sorted(p for p in SRC.rglob("*.py") if p != SRC / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_follow_the_picture(path: Path) -> None:
    """A module imports only what the layer diagram allows its layer."""
    layer = layer_of(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "jitsudo":
            target = rest.split(".")[0]
            assert target in EVERYBODY | MAY_IMPORT[layer] | {layer, "__version__"}, f"{path} imports {name}"
        elif layer in PURE | EVERYBODY:
            assert top in sys.stdlib_module_names - IMPURE, f"{path} imports {name}"
        for package, layers in ONLY_IN.items():
            assert top != package or layer in layers, f"{path} imports {name}"


def test_every_layer_is_in_the_picture() -> None:
    """A new top-level module or package has to be placed in the diagram first."""
    assert {layer_of(p) for p in MODULES} <= set(MAY_IMPORT)


def test_the_sudo_plugin_uses_the_standard_library_alone() -> None:
    """sudo runs the plugin in a sub-interpreter with an isolated path; its own other half lies beside it."""
    files = sorted((SRC.parents[1] / "sudo" / "python").glob("*.py"))
    assert [path.stem for path in files] == ["jitsudo_sudo_plugin", "jitsudo_sudo_proof"]
    for path in files:
        for name in imports(path):
            assert name.partition(".")[0] in sys.stdlib_module_names | {"sudo", "jitsudo_sudo_proof"}, f"{path}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_no_module_has_a_second_job(path: Path) -> None:
    """A module past 400 lines has two jobs."""
    assert len(path.read_text().splitlines()) <= 420


def lines_of_code(path: Path) -> int:
    """Lines of a C file without comments and blank ones, directives included."""
    argv = ["gcc", "-fpreprocessed", "-dD", "-E", "-P", path]
    return len(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines())


def test_the_native_plugin_stays_small() -> None:
    """What runs in set-user-ID sudo forwards and obeys, in less than 900 lines of code with its PAM part (docs/adr/0020)."""
    files = sorted((SRC.parents[1] / "sudo" / "native").glob("*.[ch]"))
    assert {"native.h", "pam.c", "plugin.c"} <= {path.name for path in files}
    assert sum(map(lines_of_code, files)) < 900
