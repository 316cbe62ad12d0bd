"""The disguises of a command line: other ways to write what a policy denies (the list of docs/threat-model.md and more).

Each takes a line and yields lines. Those of KEEPING mean the same to the program, or at least still do what was denied;
those of CHANGING may come to nothing, but no strict rule may allow what they make either.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from jitsudo.policy.grammar import GrammarShape, KnownOption


@dataclass(frozen=True)
class Line:
    """One invocation: the program as looked up, argv as typed, the cwd."""

    path: str
    argv: tuple[str, ...]
    cwd: str = "/"

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.argv[1:]

    def with_arguments(self, arguments: tuple[str, ...]) -> Line:
        return replace(self, argv=(self.argv[0], *arguments))


Rewrite = Callable[[Line, GrammarShape], Iterator[Line]]
LOOK_ALIKES = str.maketrans("aeoc-/s", "\u0430\u0435\u043e\u0441\u2010\u2044\uff53")


def _each(line: Line) -> Iterator[tuple[int, str]]:
    return iter(enumerate(line.arguments))


def _put(line: Line, at: int, *instead: str) -> Line:
    return line.with_arguments((*line.arguments[:at], *instead, *line.arguments[at + 1 :]))


def _insert(line: Line, at: int, *more: str) -> Line:
    return line.with_arguments((*line.arguments[:at], *more, *line.arguments[at:]))


def _option(shape: GrammarShape, argument: str) -> KnownOption | None:
    return shape.by_spelling.get(argument.partition("=")[0])


# -- options ---------------------------------------------------------------------------------------------------------


def abbreviated(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Every beginning of a long option."""
    for at, argument in _each(line):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and len(name) > 3:
            for size in range(3, len(name)):
                yield _put(line, at, name[:size] + equals + value)


def respelled(line: Line, shape: GrammarShape) -> Iterator[Line]:
    """The option by its other names."""
    for at, argument in _each(line):
        option = _option(shape, argument)
        value = argument.partition("=")[2]
        for spelling in option.spellings if option else ():
            long = spelling.startswith("--")
            if value:
                yield _put(line, at, f"{spelling}={value}" if long else spelling + value)
                yield _put(line, at, spelling, value)
            else:
                yield _put(line, at, spelling)


def attached(line: Line, shape: GrammarShape) -> Iterator[Line]:
    """A separate value attached, an attached one separate."""
    for at, argument in _each(line):
        option = _option(shape, argument)
        if option is not None and option.value == "required" and "=" not in argument and at + 1 < len(line.arguments):
            value = line.arguments[at + 1]
            joined = f"{argument}={value}" if argument.startswith("--") else argument + value
            yield line.with_arguments((*line.arguments[:at], joined, *line.arguments[at + 2 :]))
        if argument.startswith("--") and "=" in argument:
            name, _, value = argument.partition("=")
            yield _put(line, at, name, value)


def bundled(line: Line, shape: GrammarShape) -> Iterator[Line]:
    """Neighbouring letters in one argument, one argument's letters apart, and flags of no account in front."""
    flags = [spelling[1] for spelling, option in shape.by_spelling.items() if len(spelling) == 2 and option.value == "none"]
    for at, argument in _each(line):
        if not argument.startswith("-") or argument.startswith("--") or len(argument) < 2:
            continue
        following = line.arguments[at + 1] if at + 1 < len(line.arguments) else ""
        if following.startswith("-") and not following.startswith("--"):
            yield line.with_arguments((*line.arguments[:at], argument + following[1:], *line.arguments[at + 2 :]))
        for cut in range(2, len(argument)):
            yield _put(line, at, argument[:cut], "-" + argument[cut:])
        for flag in flags[:6]:
            yield _put(line, at, f"-{flag}{argument[1:]}")


def repeated(line: Line, _: GrammarShape) -> Iterator[Line]:
    """An option, or an operand, once more."""
    for at, argument in _each(line):
        yield _insert(line, at, argument)
        yield line.with_arguments((*line.arguments, argument))


def permuted(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Every argument at every other place."""
    for (at, argument), to in itertools.product(_each(line), range(len(line.arguments))):
        rest = (*line.arguments[:at], *line.arguments[at + 1 :])
        yield line.with_arguments((*rest[:to], argument, *rest[to:]))


def last_first(line: Line, _: GrammarShape) -> Iterator[Line]:
    """The options behind the operands: all that begin with a dash, without a value of their own, go to the end."""
    dashed = tuple(argument for argument in line.arguments if argument.startswith("-"))
    yield line.with_arguments((*(argument for argument in line.arguments if not argument.startswith("-")), *dashed))


def terminated(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Two dashes anywhere."""
    for at in range(len(line.arguments) + 1):
        yield _insert(line, at, "--")


# -- paths and programs ----------------------------------------------------------------------------------------------


def repathed(line: Line, _: GrammarShape) -> Iterator[Line]:
    """An operand or a value by other ways to the same file."""
    for at, argument in _each(line):
        head, slash, tail = argument.partition("/")
        if not slash:
            continue
        path = "/" + tail
        folder, name = posixpath.split(path)
        for other in (
            "/" + path, path.replace("/", "//"), "/." + path, "/proc/self/root" + path, "/proc/1/root" + path, path + "/.",
            "/usr/.." + path, "/var/log/nginx/../../.." + path, "/home/alice/link" + path, "." + path, "../../.." + path,
            f"{folder}/./{name}", f"{folder}/x/../{name}", path + "/", path + "//",
        ):  # fmt: skip
            yield _put(line, at, head + other)


def relative(line: Line, _: GrammarShape) -> Iterator[Line]:
    """The same file from another cwd, where nothing else on the line is read against it."""
    if line.cwd != "/" or any(argument.startswith(".") or "=" in argument for argument in line.arguments):
        return
    for at, argument in _each(line):
        if argument.startswith("/") and posixpath.dirname(argument.rstrip("/")) != "/":
            folder, name = posixpath.split(argument.rstrip("/"))
            logs = "/var/log/nginx"
            for cwd, path in ((folder, name), (folder, "./" + name), (logs, posixpath.relpath(argument, logs))):
                yield replace(_put(line, at, path), cwd=cwd)


def renamed(line: Line, _: GrammarShape) -> Iterator[Line]:
    """The program by another path or another name of itself."""
    name = posixpath.basename(line.path)
    for path in (
        f"/bin/{name}", f"/sbin/{name}", f"/usr/sbin/{name}", f"/usr/local/bin/{name}", f"/usr//bin/{name}",
        f"/usr/bin/../bin/{name}", f"/proc/self/root{line.path}", f"/home/alice/bin/{name}", f"/tmp/{name}",
        f"/usr/bin/hard-{name}", f"/usr/bin/soft-{name}",
    ):  # fmt: skip
        yield replace(line, path=path)
        yield replace(line, path=path, argv=(path, *line.arguments))
    for zeroth in ("", name, line.path, "tail", "-" + name, "nginx"):
        yield replace(line, argv=(zeroth, *line.arguments))


def wrapped(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Another program that runs it."""
    name = posixpath.basename(line.path)
    inner = (line.path, *line.arguments)
    for outer in ("env", "env -i", "env -S", "env A=b", "nice -n 5", "nohup", "timeout 5", "sh -c"):
        words = tuple(outer.split())
        yield replace(line, path=f"/usr/bin/{words[0]}", argv=(*words, *inner))
        yield replace(line, path=f"/usr/bin/{words[0]}", argv=(*words, name, *line.arguments))


def moved(line: Line, shape: GrammarShape) -> Iterator[Line]:
    """With an option that changes folder, where the program has one, and where it has none."""
    for option, folder in itertools.product(("-C", "--directory", "--chdir", "-D", "--root"), ("/etc", "/var/log/nginx", "..")):
        yield _insert(line, 0, option, folder)
        yield _insert(line, 0, f"{option}={folder}" if option.startswith("--") else option + folder)
    del shape


# -- text ------------------------------------------------------------------------------------------------------------


def from_file(line: Line, _: GrammarShape) -> Iterator[Line]:
    """A response file instead of an argument, or besides."""
    for at, argument in _each(line):
        yield _put(line, at, "@/tmp/loot")
        yield _put(line, at, "@" + argument)
        yield _insert(line, at, "@/tmp/loot")


def look_alike(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Letters and dashes that look the same, invisible ones, other cases, combined ones."""
    for at, argument in _each(line):
        for other in (
            argument.translate(LOOK_ALIKES), "\u200b" + argument, argument + "\u200d", argument.upper(), argument.swapcase(),
            argument + "\u0301", "\u202e" + argument, "\ufeff" + argument, argument.replace("-", "\u2212"),
        ):  # fmt: skip
            yield _put(line, at, other)


def spaced(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Newlines, blanks and other control characters around an argument and within it."""
    for at, argument in _each(line):
        for mark in ("\n", "\r", "\t", " ", "\x0b", "\x1b[2K", "\u2028", "\u00a0", "\x7f"):
            yield from (_put(line, at, mark + argument), _put(line, at, argument + mark))
            yield _put(line, at, argument[:2] + mark + argument[2:])


def emptied(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Empty arguments anywhere, and instead of another."""
    for at in range(len(line.arguments) + 1):
        yield _insert(line, at, "")


def not_text(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Bytes that are not UTF-8, before, behind and within."""
    for at, argument in _each(line):
        for byte in ("\udcff", "\udc80", "\udcc0\udcaf"):
            yield from (_put(line, at, byte + argument), _put(line, at, argument + byte))
            yield _put(line, at, argument[:1] + byte + argument[1:])


def joined(line: Line, _: GrammarShape) -> Iterator[Line]:
    """Two arguments as one, and one as two."""
    for at in range(len(line.arguments) - 1):
        first, second = line.arguments[at : at + 2]
        for between in ("", " ", "=", ",", ";", "\n", "--"):
            yield line.with_arguments((*line.arguments[:at], first + between + second, *line.arguments[at + 2 :]))
    for at, argument in _each(line):
        for cut in range(1, min(len(argument), 12)):
            yield _put(line, at, argument[:cut], argument[cut:])


def patterned(line: Line, _: GrammarShape) -> Iterator[Line]:
    """What a program might expand by itself: globs, templates, lists, variables."""
    for at, argument in _each(line):
        for other in (argument + "*", "*", argument[:-1] + "?", f"{{{argument}}}", f"$({argument})", f"{argument},{argument}",
                      argument + ".service", argument + "@x", "!" + argument, "~" + argument, "%" + argument):  # fmt: skip
            yield _put(line, at, other)


def prefixed(line: Line, shape: GrammarShape) -> Iterator[Line]:
    """Any other option that the program knows, in front and at the end."""
    for spelling, option in shape.by_spelling.items():
        more = (spelling,) if option.value != "required" else (spelling, "/etc/shadow")
        yield _insert(line, 0, *more)
        yield line.with_arguments((*line.arguments, *more))


KEEPING: tuple[Rewrite, ...] = (
    abbreviated, respelled, attached, bundled, repeated, last_first, repathed, relative, renamed, emptied,
)  # fmt: skip
CHANGING: tuple[Rewrite, ...] = (
    permuted, terminated, wrapped, moved, from_file, look_alike, spaced, not_text, joined, patterned, prefixed,
)  # fmt: skip
