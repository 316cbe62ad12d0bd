"""`jitsudo policy fmt`: one layout for all policy files; comments, order and meaning stay as they are."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from itertools import takewhile
from typing import Final

from jitsudo.errors import Failed, InvalidValue
from jitsudo.host.yamllayout import Comment, Layout, Piece, read_layout
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.issues import Issue
from jitsudo.policy.nodes import Mapping, Node, Scalar

WIDTH: Final = 120
_INDENT: Final = 2
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


def format_text(name: str, raw: bytes) -> str:
    """The file's text in the canonical layout.

    Raises InvalidValue for a file that is not YAML as policies may use it, Failed where laying it out would change anything.
    """
    layout = read_layout(name, raw)
    text = _Writer(layout).write()
    _check_same(name, raw, layout, text)
    return text


def _check_same(name: str, raw: bytes, before: Layout, text: str) -> None:
    """What was laid out has to say the same, and to be laid out as it is."""
    refused = Failed(f"{name}: left as it is, since laying it out would change what it says")
    new = text.encode("utf-8")
    try:
        after = read_layout(name, new)
    except InvalidValue as error:
        raise refused from error
    if [one.text for one in before.comments] != [one.text for one in after.comments]:
        raise Failed(f"{name}: left as it is: a comment stands where it cannot be kept")
    if _meaning(_node(name, raw)) != _meaning(_node(name, new)) or _Writer(after).write() != text:
        raise refused


def _node(name: str, raw: bytes) -> Node:
    issues: list[Issue] = []
    node = read_yaml(name, raw, issues)
    if node is None or issues:
        raise InvalidValue(str(issues[0]))
    return node


def _meaning(node: Node) -> object:
    """The node without its places."""
    if isinstance(node, Scalar):
        return node.text, node.plain
    if isinstance(node, Mapping):
        return "mapping", tuple((_meaning(key), _meaning(value)) for key, value in node.entries)
    return "list", tuple(_meaning(item) for item in node.items)


class _Writer:
    """Writes one layout out."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._comments = deque(layout.comments)
        self._out: list[str] = []
        lines = enumerate(layout.lines)
        self._starts = [n for n, text in lines if text.strip() and not text.lstrip().startswith("#")]

    def write(self) -> str:
        """The text of the whole file."""
        self._block(self._layout.root, 0)
        self._flush(len(self._layout.lines), 0)
        while self._out and not self._out[-1]:
            self._out.pop()
        return "\n".join(self._out) + "\n"

    # -- comments and blank lines ------------------------------------------------------------------------------------

    def _flush(self, before: int, indent: int, least_column: int = 0) -> None:
        """Write the comments that stand before a line, each on its own."""
        while self._comments and self._comments[0].line < before and self._comments[0].column >= least_column:
            comment = self._comments.popleft()
            self._blank(comment.line)
            self._out.append(" " * indent + comment.text)

    def _blank(self, line: int) -> None:
        """Keep one blank line where there were some, except at the beginning."""
        if line - 1 in self._layout.blank and self._out and self._out[-1]:
            self._out.append("")

    def _trailing(self, first: int, last: int) -> str:
        """The comment at the end of what stands on these lines; more than one, or one inside, cannot stay at an end."""
        here = [one for one in self._until(last + 1) if first <= one.line]
        if len(here) == 1 and not here[0].own and here[0].line == last:
            self._comments.remove(here[0])
            return "  " + here[0].text
        return ""

    def _until(self, line: int) -> Iterator[Comment]:
        """The comments that stand before a line, and are not written yet."""
        return takewhile(lambda one: one.line < line, self._comments)

    # -- blocks ------------------------------------------------------------------------------------------------------

    def _block(self, piece: Piece, indent: int) -> None:
        """A collection whose entries stand on lines of their own; a scalar as a document of its own."""
        if piece.kind == "scalar":
            self._flush(piece.line, indent)
            self._value("", piece, indent, piece.line)
        elif piece.kind == "mapping":
            for key, value in piece.entries:
                self._entry(" " * indent, key, value, indent)
        else:
            for item in piece.items:
                self._item(item, indent)
        column = piece.column if not piece.flow else 0
        if column and self._comments:
            self._flush(self._next_line(piece), indent, column)

    def _next_line(self, piece: Piece) -> int:
        """The line up to which comments belong to a block: those that are indented like it, without a gap to the next."""
        line = self._comments[0].line
        at = bisect_left(self._starts, max(piece.end_line, line))
        following = self._starts[at] if at < len(self._starts) else len(self._layout.lines)
        for comment in self._until(following):
            if comment.column < piece.column or not comment.own:
                break
            line = comment.line + 1
        return line

    def _entry(self, prefix: str, key: Piece, value: Piece, indent: int, *, first: bool = False) -> None:
        if not first:
            self._flush(key.line, indent)
            self._blank(key.line)
        head = f"{prefix}{_scalar(key)}:"
        if value.kind != "scalar" and (not value.flow or not self._fits(head, value)) and (value.entries or value.items):
            self._out.append(head + self._trailing(key.line, key.line))
            self._block(value, indent + _INDENT)
        else:
            self._value(head, value, indent, key.line)

    def _item(self, item: Piece, indent: int) -> None:
        self._flush(item.line, indent)
        self._blank(item.line)
        head = " " * indent + "-"
        if item.kind == "mapping" and item.entries and (not item.flow or not self._fits(head, item)):
            for number, (key, value) in enumerate(item.entries):
                lead = f"{head} " if number == 0 else " " * (indent + _INDENT)
                self._entry(lead, key, value, indent + _INDENT, first=number == 0)
        elif item.kind == "list" and item.items and (not item.flow or not self._fits(head, item)):
            self._out.append(head)
            self._block(item, indent + _INDENT)
        else:
            self._value(head, item, indent, item.line)

    def _fits(self, head: str, piece: Piece) -> bool:
        """Whether a flow collection may stay on one line: it is short enough, and no comment stands inside."""
        inside = any(piece.line <= one.line for one in self._until(piece.end_line))
        return not inside and len(head) + 1 + len(_flow(piece)) <= WIDTH

    def _value(self, head: str, piece: Piece, indent: int, line: int) -> None:
        """What stands behind a key or dash, on the same line."""
        if piece.kind == "scalar" and piece.style in ("|", ">"):
            self._literal(head, piece, indent)
            return
        text = _scalar(piece) if piece.kind == "scalar" else _flow(piece)
        gap = " " if head and text else ""
        self._out.append(f"{head}{gap}{text}{self._trailing(line, piece.end_line)}")

    def _literal(self, head: str, piece: Piece, indent: int) -> None:
        """A block scalar: its own lines, moved to their new place."""
        lines = self._layout.lines
        header = lines[piece.line][piece.column :].partition("#")[0].strip()
        body = lines[piece.line + 1 : piece.end_line]
        own = min((len(one) - len(one.lstrip(" ")) for one in body if one.strip()), default=0)
        self._out.append(f"{head} {header}{self._trailing(piece.line, piece.line)}")
        self._out += [(" " * (indent + _INDENT) + one[own:]).rstrip() if one.strip() else "" for one in body]


# -- scalars and flow collections ------------------------------------------------------------------------------------


def _flow(piece: Piece) -> str:
    if piece.kind == "scalar":
        return _scalar(piece)
    if piece.kind == "mapping":
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(value)}".rstrip() for key, value in piece.entries) + "}"
    return "[" + ", ".join(_flow(item) for item in piece.items) + "]"


def _scalar(piece: Piece) -> str:
    """Plain text stays plain and quoted text quoted, since policies tell them apart; double quotes where they will do."""
    if not piece.style:
        return piece.text
    text = piece.text
    if ('"' in text or "\\" in text) and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_ESCAPES.get(char, char if char.isprintable() else _escaped(char)) for char in text) + '"'


def _escaped(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


__all__ = ["WIDTH", "Comment", "format_text"]
