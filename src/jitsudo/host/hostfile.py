"""This host's name and labels: `host.yaml`, with `name:` where the kernel's will not do, and `labels: {env: prod}`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from jitsudo.errors import PolicyInvalid
from jitsudo.host.policyfiles import read_checked
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.issues import Issue
from jitsudo.policy.nodes import Node
from jitsudo.policy.reader import Reader
from jitsudo.policy.verdict import Host

FILE: Final = "host.yaml"


def load_host(config: Path, *, check_owner: bool = True) -> Host:
    """Without a file: the kernel's name and no labels. Raises PolicyInvalid with every issue."""
    issues: list[Issue] = []
    raw = read_checked(config, FILE, issues, check_owner=check_owner)
    node = None if raw is None else read_yaml(FILE, raw, issues)
    name = os.uname().nodename
    labels: dict[str, str] = {}
    reader = Reader()
    if node is not None:
        fields = reader.fields(node, FILE, ("name", "labels"))
        name = fields.read("name", lambda n: reader.text(n, "name"), name)
        labels = dict(fields.read("labels", lambda n: _labels(reader, n), ()))
    errors = tuple(str(i) for i in (*issues, *reader.issues) if i.severity == "error")
    if errors:
        raise PolicyInvalid(f"{config / FILE} was refused: {errors[0]}", "correct the file, then restart jitsudod", errors)
    return Host(name, labels)


def _labels(reader: Reader, node: Node) -> tuple[tuple[str, str], ...]:
    return tuple((key.text, reader.text(value, f"label '{key.text}'")) for key, value in reader.entries(node, "labels"))
