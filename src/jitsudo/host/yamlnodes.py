"""YAML as far as policies may use it: one document of text, lists and mappings, and nothing that YAML can do besides."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any, Final

import yaml

from jitsudo.policy.issues import Issue, shown
from jitsudo.policy.nodes import Mapping, Node, Pos, Scalar, Sequence
from jitsudo.policy.reader import MAX_DEPTH

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A named tuple without its Python constructor, in half the time.
_new: Final[Any] = tuple.__new__


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
    """Builds nodes from events, without recursion. Written for speed: a large policy has millions of events."""

    def __init__(self, name: str, issues: list[Issue]) -> None:
        self._name = name
        self._issues = issues

    def build(self, text: str) -> Node:
        """The root node of the one document."""
        loader = _LOADER(text)
        try:
            roots = self._roots(loader.get_event)
        finally:
            loader.dispose()
        if not roots:
            raise _Refused(Pos(self._name, 1, 1), "the file is empty; it needs at least 'version: 1'")
        return roots[0]

    def _roots(self, next_event: Callable[[], Any]) -> list[Node]:
        name = self._name
        roots: list[Node] = []
        # Of each open collection: its place, whether it is a mapping, its items (a mapping's keys and values in turn).
        open_: list[tuple[Pos, bool, list[Any]]] = []
        items, in_mapping = roots, False
        while True:
            event = next_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                mark, text = event.start_mark, event.value
                pos: Pos = _new(Pos, (name, mark.line + 1, mark.column + 1))
                if event.anchor is not None or event.tag is not None or text == "<<":
                    self._refuse_extras(event, pos, is_key=in_mapping and not len(items) % 2)
                items.append(_new(Scalar, (pos, intern(text), not event.style)))
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                pos, was_mapping, done = open_.pop()
                # The keys of a mapping are scalars: that is seen to where a collection starts.
                closed: Node = (
                    _new(Mapping, (pos, tuple(zip(done[::2], done[1::2], strict=True))))
                    if was_mapping
                    else _new(Sequence, (pos, tuple(done)))
                )
                _, in_mapping, items = open_[-1] if open_ else (None, False, roots)
                items.append(closed)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                mark = event.start_mark
                pos = _new(Pos, (name, mark.line + 1, mark.column + 1))
                if event.anchor is not None or event.tag is not None:
                    self._refuse_extras(event, pos, is_key=False)
                if in_mapping and not len(items) % 2:
                    raise _Refused(pos, "a key must be text")
                if len(open_) >= MAX_DEPTH:
                    raise _Refused(pos, f"nested more than {MAX_DEPTH} levels deep")
                in_mapping, items = kind is yaml.MappingStartEvent, []
                open_.append((pos, in_mapping, items))
            elif kind is yaml.AliasEvent:
                self._error(event, "YAML aliases are not allowed: write it out")
                items.append(Scalar(self._pos(event), "alias", plain=False))
            elif kind is yaml.DocumentStartEvent:
                self._document(event, roots)
            elif kind is yaml.StreamEndEvent:
                return roots

    def _pos(self, event: Any) -> Pos:
        mark = event.start_mark
        return Pos(self._name, mark.line + 1, mark.column + 1)

    def _error(self, event: Any, message: str) -> None:
        self._issues.append(Issue.at(self._pos(event), message))

    def _document(self, event: Any, roots: list[Node]) -> None:
        if roots:
            raise _Refused(self._pos(event), "a policy file holds one document only")
        if event.version or event.tags:
            self._error(event, "YAML directives are not allowed")

    def _refuse_extras(self, event: Any, pos: Pos, *, is_key: bool) -> None:
        if event.anchor is not None:
            self._issues.append(Issue.at(pos, "YAML anchors are not allowed"))
        if event.tag is not None:
            self._issues.append(Issue.at(pos, "YAML tags are not allowed"))
        if is_key and isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style:
            self._issues.append(Issue.at(pos, "YAML merge keys are not allowed: write it out"))
