"""Finds in a program's file the tables that it gives to getopt_long: what the program itself says of its options.

Reads 64-bit little-endian ELF: the `struct option` arrays lie in data that the loader relocates, so that the relocations say
where their names are; the string of short options is the one that has the letters to which the table points.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

_KINDS = {0: "none", 1: "required", 2: "optional"}
_ENTRY = 32  # struct option: name, has_arg and padding, flag, val and padding
_NAME = re.compile(rb"-?[A-Za-z0-9][A-Za-z0-9._+-]*\0")
_SHORTS = re.compile(rb"[+:-]{0,2}(?:[!-+./0-9<-~]:{0,2})+\0")
_RELATIVE = {62: 8, 183: 1027}  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE by e_machine


@dataclass(frozen=True)
class Entry:
    """One row of a table. `value` is what getopt_long returns; rows with the same one are the same option."""

    name: str
    kind: str
    value: int

    @property
    def letter(self) -> str | None:
        """The short option that the long one stands for, where it does."""
        return chr(self.value) if 33 <= self.value <= 126 else None


class Elf:
    """As much of a program's file as its option tables need."""

    def __init__(self, path: Path) -> None:
        self.raw = path.read_bytes()
        assert self.raw[:6] == b"\x7fELF\x02\x01", f"{path}: not a 64-bit little-endian program"
        (self.machine,) = struct.unpack_from("<H", self.raw, 18)
        offset, size, number = (*struct.unpack_from("<Q", self.raw, 32), *struct.unpack_from("<HH", self.raw, 54))
        headers = [struct.unpack_from("<IIQQQQQQ", self.raw, offset + at * size) for at in range(number)]
        self.segments = [(h[3], h[2], h[5]) for h in headers if h[0] == 1]
        self.dynamic = next(((h[2], h[5]) for h in headers if h[0] == 2), (0, 0))

    def offset(self, address: int) -> int | None:
        """Where in the file an address is."""
        for start, offset, size in self.segments:
            if start <= address < start + size:
                return offset + address - start
        return None

    def pointers(self) -> dict[int, int]:
        """What the loader will write where, as far as it is an address in this file."""
        tags = {}
        for at in range(self.dynamic[0], self.dynamic[0] + self.dynamic[1], 16):
            tag, value = struct.unpack_from("<QQ", self.raw, at)
            tags.setdefault(tag, value)
        found = {}
        start = self.offset(tags.get(7, 0))
        for at in range(start or 0, (start or 0) + tags.get(8, 0), 24) if start else ():
            where, info, addend = struct.unpack_from("<QQq", self.raw, at)
            if info & 0xFFFFFFFF == _RELATIVE.get(self.machine):
                found[where] = addend
        found.update(self._packed(tags.get(36), tags.get(35, 0)))
        return found

    def _packed(self, table: int | None, size: int) -> dict[int, int]:
        """DT_RELR: addresses, each followed by bitmaps of the words behind it; the addends stand in place."""
        start = self.offset(table) if table else None
        wheres, base = [], 0
        for at in range(start or 0, (start or 0) + size, 8) if start else ():
            (entry,) = struct.unpack_from("<Q", self.raw, at)
            if not entry & 1:
                wheres.append(entry)
                base = entry + 8
                continue
            wheres += [base + bit * 8 for bit in range(63) if entry >> (bit + 1) & 1]
            base += 63 * 8
        return {where: struct.unpack_from("<Q", self.raw, at)[0] for where in wheres if (at := self.offset(where)) is not None}

    def name_at(self, address: int) -> str | None:
        """The option name at an address, if there is one."""
        at = self.offset(address)
        found = _NAME.match(self.raw, at) if at is not None else None
        return found[0][:-1].decode() if found else None


def long_tables(path: Path) -> list[list[Entry]]:
    """Every table of long options in the program."""
    elf = Elf(path)
    pointers = elf.pointers()
    tables: list[list[Entry]] = []
    taken: set[int] = set()
    for start in sorted(pointers):
        table = []
        at = start
        while at not in taken and (entry := _entry(elf, pointers, at)) is not None:
            table.append(entry)
            taken.add(at)
            at += _ENTRY
        offset = elf.offset(at)
        if table and offset is not None and elf.raw[offset : offset + _ENTRY] == bytes(_ENTRY) and at not in pointers:
            tables.append(table)
    return tables


def _entry(elf: Elf, pointers: dict[int, int], at: int) -> Entry | None:
    offset = elf.offset(at)
    if offset is None or at not in pointers or offset + _ENTRY > len(elf.raw):
        return None
    name = elf.name_at(pointers[at])
    kind, value = struct.unpack_from("<i", elf.raw, offset + 8)[0], struct.unpack_from("<i", elf.raw, offset + 24)[0]
    if name is None or kind not in _KINDS or (at + 16 not in pointers and elf.raw[offset + 16 : offset + 24] != bytes(8)):
        return None
    # With a flag to set, the value is what it is set to, and says nothing of which option it is.
    return Entry(name, _KINDS[kind], value if at + 16 not in pointers else 0)


def short_options(path: Path, letters: set[str]) -> list[dict[str, str]]:
    """Every string of the program that can be its short options: it has all of `letters`, none twice."""
    found = []
    for text in {match[0][:-1].decode() for match in _SHORTS.finditer(path.read_bytes())}:
        options = dict(re.findall(r"([!-+./0-9<-~])(:{0,2})", text.lstrip("+:-")))
        once = len(options) == len(re.findall(r"[!-+./0-9<-~]", text.lstrip("+:-")))
        if letters <= set(options) and once and len(options) <= len(letters) + 30:
            found.append({letter: _KINDS[len(colons)] for letter, colons in options.items()})
    return sorted(found, key=len)
