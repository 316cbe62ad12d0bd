"""Side doors through rules: what remains in sudoers, in a directory's sudo rules, and in doas.conf."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from jitsudo.doctor.findings import Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.doctor.people import group_members, listed
from jitsudo.doctor.registry import Check
from jitsudo.doctor.sudoconf import active_front_end

SUDOERS: Final = "/etc/sudoers"
CVTSUDOERS: Final = "/usr/bin/cvtsudoers"
DOAS: Final = "/usr/bin/doas"
DOAS_CONF: Final = "/etc/doas.conf"

SUDOERS_RULES = Kind("door-sudoers", Severity.WARNING, "sudoers has rules, which count as soon as jitsudo's line is gone")
IN_FORCE = Kind("sudoers-in-force", Severity.NOTICE, "sudoers decides here, by these rules")
INVALID = Kind("sudoers-invalid", Severity.WARNING, "sudoers cannot be read: if jitsudo is taken away, sudo does not work")
DIRECTORY = Kind("door-sudoers-directory", Severity.WARNING, "sudo takes rules from a directory as well")
DOAS_RULES = Kind("door-doas", Severity.WARNING, "doas lets people become root, and asks nobody")


def look_at_sudoers(host: Host) -> Iterator[Seen | str]:
    if not host.exists(SUDOERS):
        yield f"there is no {SUDOERS}"
        return
    host.require_root(SUDOERS)
    ran = host.run(CVTSUDOERS, "-f", "json", str(host.at(SUDOERS)))
    if ran is None:
        raise Unknown(f"there is no {CVTSUDOERS}")
    try:
        rules = json.loads(ran.out) if ran.status == 0 else None
    except ValueError:
        rules = None
    if not isinstance(rules, dict):
        said = (ran.err.strip().splitlines() or ["no answer"])[0]
        yield INVALID.found(f"{SUDOERS} is invalid: {said}", "visudo -c   # then: visudo", SUDOERS)
        return
    everybody = _everybody(host, rules)
    kind = SUDOERS_RULES if active_front_end(host) else IN_FORCE
    for who, count in sorted(everybody.items()):
        rules_text = "a rule" if count == 1 else f"{count} rules"
        cure = "jitsudo setup enable   # it keeps sudoers aside" if kind is IN_FORCE else _cure(who)
        yield kind.found(f"{SUDOERS} has {rules_text} for {who}", cure, who)
    yield f"{SUDOERS} has rules for nobody but root"


def _cure(who: str) -> str:
    return f"visudo   # take out what is for {who}; jitsudo setup enable does that, and keeps it aside"


def _everybody(host: Host, rules: dict[str, Any]) -> dict[str, int]:
    """For whom there are rules, aliases followed; groups without members, and root, are left out."""
    aliases = rules.get("User_Aliases", {})
    names = [name for spec in rules.get("User_Specs", ()) for name in _names(spec.get("User_List", ()), aliases)]
    groups = group_members(host, *sorted({name[1:] for name in names if name.startswith("%")}))
    found: dict[str, int] = {}
    for name in names:
        if name.startswith("%") and name[1:2] not in ("#", ":"):  # those two are no names that could be looked up
            members = groups.get(name[1:], frozenset()) - {"root"}
            if not members:
                continue
            name = f"{name} ({listed(members)})"
        if name not in ("root", "#0"):
            found[name] = found.get(name, 0) + 1
    return found


def _names(users: Any, aliases: dict[str, Any]) -> Iterator[str]:
    """The members of a User_List of `cvtsudoers -f json`, in the notation of sudoers."""
    for user in users:
        if user.get("negated"):
            continue
        for key, mark in (("username", ""), ("usergroup", "%"), ("netgroup", "+"), ("nonunixgroup", "%:")):
            if key in user:
                yield mark + str(user[key])
        for key, mark in (("userid", "#"), ("usergid", "%#")):
            if key in user:
                yield f"{mark}{user[key]}"
        if "useralias" in user:
            rest = {name: members for name, members in aliases.items() if name != user["useralias"]}
            yield from _names(aliases.get(user["useralias"], ()), rest)


def look_at_directory(host: Host) -> Iterator[Seen | str]:
    for line in host.lines("/etc/nsswitch.conf"):
        base, _, services = line.partition(":")
        others = [word for word in services.split() if word != "files" and not word.startswith("[")]
        if base.strip() == "sudoers" and others:
            yield DIRECTORY.found(
                f"/etc/nsswitch.conf lets sudo take rules from {', '.join(others)} as well",
                "sed -i 's/^sudoers:.*/sudoers: files/' /etc/nsswitch.conf",
                "/etc/nsswitch.conf",
            )
    yield "sudo takes no rules from a directory"


def look_at_doas(host: Host) -> Iterator[Seen | str]:
    program = host.target(DOAS)
    if program is None or not program.mode & 0o4000 or host.entry(DOAS_CONF) is None:
        yield "doas lets nobody become root"
        return
    permitted = [line for line in host.lines(DOAS_CONF) if line.split()[0] == "permit" and not line.endswith(" root")]
    for line in permitted:
        cure = f"chmod u-s {program.path}   # or take the line out of {DOAS_CONF}"
        yield DOAS_RULES.found(f"{DOAS_CONF}: {line}", cure, DOAS_CONF)
    yield "doas lets nobody become root"


CHECKS: Final = (
    Check("doors-sudoers", look_at_sudoers, (SUDOERS_RULES, IN_FORCE, INVALID)),
    Check("doors-directory", look_at_directory, (DIRECTORY,)),
    Check("doors-doas", look_at_doas, (DOAS_RULES,)),
)
