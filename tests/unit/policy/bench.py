"""A workbench for policy tests: a file system in memory, policies from text, actions in one line."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from jitsudo.host.policyfiles import load_policy_bytes
from jitsudo.host.yamlnodes import read_yaml
from jitsudo.policy.grammar import NO_GRAMMARS, Grammars
from jitsudo.policy.issues import Issue
from jitsudo.policy.model import Policy
from jitsudo.policy.parse_grammars import parse_grammars
from jitsudo.policy.rules import ArgumentType, CommandRule, Flag
from jitsudo.policy.verdict import Action, Circumstances, HeldGrant, Host, Source
from jitsudo.policy.world import FileFacts, FileKind
from jitsudo.types import AbsPath, Account, Digest, GrantId, Moment, Person, RoleName, Uid, UserName

NOW = Moment(wall=1_795_500_000, boot=1000.0)  # Tue 2026-11-24 06:00:00 UTC
HOST = Host("web-01", {"env": "prod", "tier": "web"})
ALICE = Person(Uid(1000), UserName("alice"), Uid(1000), frozenset({"alice", "web"}))
BOB = Person(Uid(1001), UserName("bob"), Uid(1001), frozenset({"bob", "web-leads"}))
ROOT = Person(Uid(0), UserName("root"), Uid(0), frozenset({"root"}))

# Everything that a role can ask a person for, at a console.
PROVEN = Circumstances(source=Source("local"), authenticated=0, agent=0, proven_now=True)


@dataclass
class MemoryWorld:
    """Implements `World` on a dictionary; folders that were not planted exist as soon as something is in them."""

    entries: dict[str, FileFacts] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    digests: dict[str, Digest] = field(default_factory=dict)
    broken: bool = False

    def plant(self, path: str, kind: FileKind = "file", *, uid: int = 0, mode: int = 0o755, ino: int = 0) -> MemoryWorld:
        """Put something there."""
        for folder in _above(path):
            self.entries.setdefault(folder, FileFacts("directory", 0, 0, 0o755, 1, _number(folder)))
        self.entries[path] = FileFacts(kind, uid, 0, mode, 1, ino or _number(path))
        return self

    def link(self, path: str, target: str) -> MemoryWorld:
        """Put a symbolic link there."""
        self.plant(path, "link", mode=0o777)
        self.links[path] = target
        return self

    def real_path(self, path: AbsPath) -> AbsPath | None:
        if self.broken:
            raise OSError("broken")
        return self._walk(path, careful=True)

    def facts(self, path: AbsPath) -> FileFacts | None:
        if self.broken:
            raise OSError("broken")
        folder, name = posixpath.split(posixpath.normpath(path) if ".." not in path else path)
        parent = self._walk(folder, careful=False)
        return self.entries.get(posixpath.join(parent, name) if name else parent) if parent else None

    def user(self, name: str) -> Account | None:
        return self.accounts.get(name)

    def group(self, name: str) -> bool:
        return name in self.groups

    def digest(self, path: AbsPath) -> Digest | None:
        return self.digests.get(path)

    def _walk(self, path: str, *, careful: bool) -> AbsPath | None:
        todo = path.split("/")
        here = "/"
        for _ in range(200):
            if not todo:
                return AbsPath(here)
            name = todo.pop(0)
            if name in ("", "."):
                continue
            if name == "..":
                here = posixpath.dirname(here)
                continue
            folder = self.entries.get(here)
            if folder is None or folder.kind != "directory" or (careful and not folder.roots_alone):
                return None
            step = posixpath.join(here, name)
            if step in self.links:
                target = self.links[step]
                todo = target.split("/") + todo
                here = "/" if target.startswith("/") else here
                continue
            if step not in self.entries and any(todo):
                return None
            here = step
        return None


def _number(path: str) -> int:
    return abs(hash(path)) or 1


def _above(path: str) -> list[str]:
    folders = []
    while path != "/":
        path = posixpath.dirname(path)
        folders.append(path)
    return folders


def world() -> MemoryWorld:
    """A merged-/usr host with some programs, logs, a home and a /tmp."""
    made = MemoryWorld()
    for name in ("systemctl", "sleep", "tail", "true", "id", "rm", "cat", "find"):
        made.plant(f"/usr/bin/{name}")
    made.link("/bin", "usr/bin").link("/usr/sbin/poweroff", "../bin/systemctl")
    made.plant("/var/log/nginx/access.log", mode=0o640).plant("/var/log/nginx/old/a.log").plant("/etc/shadow", mode=0o600)
    made.link("/var/log/nginx/evil", "/etc/shadow").plant("/srv/app/x").plant("/etc/nginx/sites-available/a.conf")
    made.plant("/home/alice", "directory", uid=1000, mode=0o700).plant("/home/alice/bin/tool", uid=1000)
    made.plant("/tmp", "directory", mode=0o1777).plant("/tmp/loot")
    made.link("/home/alice/etc", "/etc")
    return made


def load(text: str = "", *, known: str = "", **more: str) -> Policy:
    """A policy from the text of its one file (`web.yaml`), or of several; `known` are the programs of a grammar file."""
    files = {f"{name}.yaml": part.encode() for name, part in ({"web": text} | more).items() if part}
    return load_policy_bytes(files, grammars=grammars(known) if known else NO_GRAMMARS).policy


def grammars(programs: str) -> Grammars:
    """Program grammars from the text under `programs:`, unindented."""
    lines = "".join(f"  {line}\n" for line in programs.strip("\n").splitlines())
    issues: list[Issue] = []
    node = read_yaml("grammars.yaml", f"version: 1\nprograms:\n{lines}".encode(), issues)
    assert node is not None, issues
    found = parse_grammars([node])
    assert found.grammars is not None, found.issues
    return found.grammars


def role_text(body: str, name: str = "r", head: str = "") -> str:
    """One self-service role for alice; `body` are further lines of the role, unindented."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    defaults = ""
    for key, value in (
        ("description", "Test"),
        ("who", '["user:alice"]'),
        ("request", "{max_duration: 1h, approvals: 0}"),
        ("allow", "[{command: /usr/bin/true}]"),
    ):
        if not any(line.startswith(f"{key}:") for line in body.splitlines()):
            defaults += f"    {key}: {value}\n"
    return f"version: 1\n{head}\nroles:\n  {name}:\n{defaults}{lines}"


def role(body: str = "", head: str = "", known: str = "") -> Policy:
    """The policy of one such role, `r`."""
    return load(role_text(body, head=head), known=known)


def rule(command: str, operands: str | None = None) -> Policy:
    """The policy of one role with one rule."""
    tail = f", operands: {operands}" if operands is not None else ""
    return role(f"allow: [{{command: {command}{tail}}}]")


def act(
    *argv: str,
    path: str | None = None,
    cwd: str = "/",
    run_as: str = "root",
    group: str | None = None,
    person: Person = ALICE,
    mode: str = "command",
) -> Action:
    """An action; the program is in /usr/bin unless `path` says otherwise."""
    looked_up = path if path is not None else (argv[0] if argv and "/" in argv[0] else f"/usr/bin/{argv[0]}")
    return Action(
        person=person,
        run_as=UserName(run_as),
        run_as_group=UserName(group) if group else None,
        mode=mode,  # type: ignore[arg-type]
        path=AbsPath(looked_up),
        argv=argv,
        cwd=AbsPath(cwd),
    )


def held(
    role: str = "r",
    *,
    id: str = "G-AAAAAAAA",  # noqa: A002
    run_as: tuple[str, ...] = ("root",),
    until: int = NOW.wall + 600,
    uses: int | None = None,
) -> HeldGrant:
    """A grant of ten more minutes."""
    return HeldGrant(GrantId(id), RoleName(role), tuple(map(UserName, run_as)), until, uses)




def one_type(text: str) -> ArgumentType:
    """The type that this text describes, as an operand or, a flag, as an option."""
    if text == "flag":
        return Flag()
    rule = role(f"allow: [{{command: /bin/x, operands: [{text}]}}]").roles[RoleName("r")].rules[0]
    assert isinstance(rule, CommandRule)
    assert rule.shape.operands
    return rule.shape.operands[0].type
