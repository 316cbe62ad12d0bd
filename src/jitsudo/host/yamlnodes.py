"""YAML as far as policies may use it: one document of text, lists and mappings, and nothing that YAML can do besides."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from jitsudo.policy.issues import Issue, shown
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar, Sequence
from jitsudo.policy.reader import MAX_DEPTH

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Refused(Exception):
    """Nothing more can be read from this file."""

    def __init__(self, pos: Pos, message: str) -> None:
        super().__init__(message)
        self.pos = pos
        self.message = message


def read_yaml(name: str, raw: bytes, issues: list[Issue]) -> Node | None:
    """The root node of one file; None, and issues, if it cannot be had. Never raises."""
    try:
        return _Builder(name, issues).build(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        issues.append(Issue(name, line, 1, "error", "not UTF-8 text"))
    except _Refused as error:
        issues.append(Issue.at(error.pos, error.message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        issues.append(Issue(name, line, column, "error", f"not YAML: {shown(error.problem or error.context or '?')}"))
    except yaml.YAMLError:
        issues.append(Issue(name, 1, 1, "error", "not YAML: it holds characters that YAML does not allow"))
    return None


class _Builder:
    """Builds nodes from events, without recursion."""

    def __init__(self, name: str, issues: list[Issue]) -> None:
        self._name = name
        self._issues = issues
        self._open: list[tuple[Pos, bool, list[Node]]] = []  # place, whether it is a mapping, items (keys and values in turn)
        self._roots: list[Node] = []

    def build(self, text: str) -> Node:
        """The root node of the one document."""
        for event in self._events(text):
            self._take(event)
        if not self._roots:
            raise _Refused(Pos(self._name, 1, 1), "the file is empty; it needs at least 'version: 1'")
        return self._roots[0]

    def _events(self, text: str) -> Iterator[yaml.Event]:
        return iter(yaml.parse(text, Loader=_LOADER))

    def _pos(self, event: yaml.Event) -> Pos:
        mark = event.start_mark
        return Pos(self._name, mark.line + 1, mark.column + 1) if mark else Pos(self._name, 1, 1)

    def _error(self, event: yaml.Event, message: str) -> None:
        self._issues.append(Issue.at(self._pos(event), message))

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            if self._roots:
                raise _Refused(self._pos(event), "a policy file holds one document only")
            if event.version or event.tags:
                self._error(event, "YAML directives are not allowed")
        elif isinstance(event, yaml.AliasEvent):
            self._error(event, "YAML aliases are not allowed: write it out")
            self._add(Scalar(self._pos(event), "alias", plain=False))
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self._take_node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _take_node(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is not None:
            self._error(event, "YAML anchors are not allowed")
        if event.tag is not None:
            self._error(event, "YAML tags are not allowed")
        pos = self._pos(event)
        if isinstance(event, yaml.ScalarEvent):
            if self._expects_key() and not event.style and event.value == "<<":
                self._error(event, "YAML merge keys are not allowed: write it out")
            self._add(Scalar(pos, event.value, plain=not event.style))
            return
        if self._expects_key():
            raise _Refused(pos, "a key must be text")
        if len(self._open) >= MAX_DEPTH:
            raise _Refused(pos, f"nested more than {MAX_DEPTH} levels deep")
        self._open.append((pos, isinstance(event, yaml.MappingStartEvent), []))

    def _expects_key(self) -> bool:
        return bool(self._open) and self._open[-1][1] and len(self._open[-1][2]) % 2 == 0

    def _add(self, node: Node) -> None:
        (self._open[-1][2] if self._open else self._roots).append(node)

    def _close(self) -> None:
        pos, is_mapping, items = self._open.pop()
        if not is_mapping:
            self._add(Sequence(pos, tuple(items)))
            return
        pairs = zip(items[::2], items[1::2], strict=True)
        self._add(Mapping(pos, tuple((key, value) for key, value in pairs if isinstance(key, Scalar))))
