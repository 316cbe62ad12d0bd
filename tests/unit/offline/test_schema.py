"""The JSON Schema and the parser agree on a corpus of good and bad files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from jitsudo.errors import PolicyInvalid
from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.offline.schema import policy_schema
from jitsudo.policy.nodes import Mapping, Node, Scalar

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "tests" / "data" / "policies"
SCHEMA = policy_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
GOOD = sorted((CORPUS / "good").glob("*.yaml")) + sorted((ROOT / "policies").glob("*.yaml"))
BAD = sorted((CORPUS / "bad").glob("*.yaml"))
BEYOND = sorted((CORPUS / "beyond").glob("*.yaml"))


def as_editors_read_it(node: Node) -> object:
    """The values of a file by the core schema of YAML 1.2, as language servers read it."""
    if isinstance(node, Scalar):
        return _scalar(node)
    if isinstance(node, Mapping):
        return {key.text: as_editors_read_it(value) for key, value in node.entries}
    return [as_editors_read_it(item) for item in node.items]


def _scalar(node: Scalar) -> object:
    if not node.plain:
        return node.text
    if node.text in ("", "~", "null", "Null", "NULL"):
        return None
    if node.text in ("true", "false"):
        return node.text == "true"
    if re.fullmatch(r"[-+]?[0-9]+", node.text):
        return int(node.text)
    return float(node.text) if re.fullmatch(r"[-+]?[0-9]+\.[0-9]*", node.text) else node.text


def value_of(path: Path) -> object:
    issues: list[object] = []
    node = read_yaml(path.name, path.read_bytes(), issues)  # type: ignore[arg-type]
    assert node is not None, issues
    return as_editors_read_it(node)


def refused(path: Path) -> tuple[str, ...]:
    with pytest.raises(PolicyInvalid) as caught:
        load_policy_bytes({path.name: path.read_bytes()}, grammars={})
    return caught.value.issues


def test_the_schema_is_one() -> None:
    """By its own meta-schema."""
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_file_that_is_installed_is_the_schema() -> None:
    """Whoever changes the language has to write it anew: `jitsudo policy schema > policies/policy.schema.json`."""
    assert json.loads((ROOT / "policies" / "policy.schema.json").read_text()) == SCHEMA


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_both_accept_good_files(path: Path) -> None:
    """Every key and every type among them."""
    load_policy_bytes({path.name: path.read_bytes()}, grammars={})
    errors = [f"{list(error.absolute_path)}: {error.message[:200]}" for error in VALIDATOR.iter_errors(value_of(path))]
    assert errors == []


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_both_refuse_bad_files(path: Path) -> None:
    """For what one file, read by itself, shows."""
    assert refused(path)
    assert list(VALIDATOR.iter_errors(value_of(path)))


@pytest.mark.parametrize("path", BEYOND, ids=lambda path: path.name)
def test_the_parser_refuses_what_no_schema_sees(path: Path) -> None:
    """YAML's traps, and names that name nothing: with a place, and one error for one mistake."""
    issues = refused(path)
    assert len(issues) <= 2, issues
    assert all(re.match(rf"{re.escape(path.name)}:[0-9]+:[0-9]+: ", issue) for issue in issues)


def test_the_corpus_names_every_key_that_the_schema_knows() -> None:
    """A new key needs an example."""
    text = (CORPUS / "good" / "full.yaml").read_text()
    keys = {key for part in _objects(SCHEMA) for key in part["properties"]}  # type: ignore[attr-defined]
    elsewhere = {"key", "keys", "forwarded", "calendar", "file"}
    assert {key for key in keys - elsewhere if key not in text} == set()


def _objects(part: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    if isinstance(part, dict):
        if isinstance(part.get("properties"), dict) and part.get("additionalProperties") is False:
            found.append(part)
        for value in part.values():
            found += _objects(value)
    elif isinstance(part, list):
        for value in part:
            found += _objects(value)
    return found
