"""Whether everybody who gets on today will get on tomorrow: the policy compared with sudoers and with what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jitsudo.errors import Failed, JitsudoError
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.clock import read_clocks
from jitsudo.host.hostfile import load_host
from jitsudo.host.policyfiles import load_policy
from jitsudo.setup.coverage import Coverage, accounts_of, candidates
from jitsudo.setup.programs import run
from jitsudo.setup.sudoconf import FrontEnd
from jitsudo.setup.sudoers import NSSWITCH, SudoersFile, directories, read_sudoers
from jitsudo.setup.waivers import Waivers
from jitsudo.types import UserName

CONFIG: Final = Path("/etc/jitsudo")
GETENT: Final = "/usr/bin/getent"
# The name of a check, what was found, a cure, the waiver.
Found = tuple[str, str, str, str | None]


def check_people(front_end: FrontEnd, waivers: Waivers, *, switching: bool) -> Iterator[Found]:
    """Policy, sudoers, accounts. `switching`: sudoers was kept aside when jitsudo was enabled, and is not asked again."""
    try:
        policy = load_policy(CONFIG / "policy.d").policy
        coverage = Coverage(policy, load_host(CONFIG), read_clocks(), SystemAccounts())
    except JitsudoError as error:
        issues = getattr(error, "issues", ())
        yield "policy", "; ".join([error.sentence, *issues[:5]]), "jitsudo policy check", None
        return
    yield from _lets_somebody_in(coverage, front_end)
    if switching or front_end is FrontEnd.PAM:  # with PAM, sudoers goes on deciding
        return
    yield from _elsewhere(waivers)
    try:
        files = read_sudoers()
    except Failed as error:
        yield "sudoers", error.sentence, error.hint or "visudo", None
        return
    yield from check_files(files, coverage, waivers)


def _lets_somebody_in(coverage: Coverage, front_end: FrontEnd) -> Iterator[Found]:
    if not coverage.policy.roles:
        yield "policy", f"there is no role in {CONFIG}/policy.d: nobody but root would get anything", "man jitsudo-policy", None
        return
    ways = coverage.ways_in(candidates(coverage))
    if front_end is FrontEnd.PAM:
        ways = ((person, role) for person, role in ways if role.services)
    if next(iter(ways), None) is None:
        what = "nobody who has an account here can get a role: no person, or too few approvers who exist"
        yield "policy", what, "jitsudo doctor --only policy", None


def _elsewhere(waivers: Waivers) -> Iterator[Found]:
    try:
        text = Path(NSSWITCH).read_text()
    except OSError:
        return
    for source in directories(text):
        waiver = f"sudoers:{source}"
        if not waivers.covers(waiver):
            what = f"{NSSWITCH} has sudo take rules from {source}, too; they cannot be listed here, and would count no more"
            yield "sudoers", what, "see sudo -l -U NAME for those concerned, give them roles", waiver


def check_files(files: tuple[SudoersFile, ...], coverage: Coverage, waivers: Waivers) -> Iterator[Found]:
    """Each account that a file lets in needs a role, or to be waived, by itself or with the file."""
    for file in files:
        if waivers.covers(f"sudoers:{file.path}"):
            continue
        for subject in file.subjects:
            names = accounts_of(subject, _netgroup)
            if names is None:
                what = f"{file.path} lets in {subject}, of which the members cannot be known here"
                yield "account", what, "give those concerned a role", f"sudoers:{file.path}"
            for name in names or ():
                yield from _account(name, f"{file.path} ({subject})", coverage, waivers)


def _account(name: str, whence: str, coverage: Coverage, waivers: Waivers) -> Iterator[Found]:
    waiver = f"account:{name}"
    person = coverage.person(name)
    if person is None or person.uid == 0 or waivers.covers(waiver) or coverage.roles_of(UserName(name)):
        return
    what = f"{name} has sudo by {whence}, and no role is open to {name}"
    yield "account", what, f"add user:{name} or a group of theirs to a role's `who`, then: jitsudo policy reload", waiver


def _netgroup(name: str) -> list[str]:
    """The users of a netgroup: getent prints `NAME (host,user,domain) ...`; an empty user is everybody, and not listed."""
    ran = run([GETENT, "netgroup", name])
    triples = [triple.strip("() ").split(",") for triple in ran.out.split("(")[1:]]
    return [parts[1].strip() for parts in triples if len(parts) == 3 and parts[1].strip() not in ("", "-")]
