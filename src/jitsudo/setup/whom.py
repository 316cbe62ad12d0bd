"""Whether everybody who gets on today will get on tomorrow: the policy compared with sudoers and with what was seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from jitsudo.doctor.policy import FIRST_POLICY
from jitsudo.errors import Failed, JitsudoError
from jitsudo.host.accounts import SystemAccounts
from jitsudo.host.clock import read_clocks
from jitsudo.host.hostfile import load_host
from jitsudo.host.policyfiles import load_policy
from jitsudo.setup.coverage import Coverage, accounts_of, candidates, people
from jitsudo.setup.programs import run
from jitsudo.setup.report import Entry, breaking, read_report
from jitsudo.setup.sudoconf import FrontEnd
from jitsudo.setup.sudoers import NSSWITCH, SudoersFile, directories, read_sudoers
from jitsudo.setup.waivers import Waivers

CONFIG: Final = Path("/etc/jitsudo")
SSHD: Final = Path("/etc/pam.d/sshd")
GETENT: Final = "/usr/bin/getent"
# The name of a check, what was found, a cure, the waiver.
Found = tuple[str, str, str, str | None]


def check_people(front_end: FrontEnd, waivers: Waivers, *, switching: bool) -> Iterator[Found]:
    """Policy, sudoers, accounts, callers. `switching`: jitsudo is enabled, and sudoers was kept aside then."""
    try:
        policy = load_policy(CONFIG / "policy.d").policy
        coverage = Coverage(policy, load_host(CONFIG), read_clocks(), SystemAccounts())
    except JitsudoError as error:
        issues = getattr(error, "issues", ())
        yield "policy", "; ".join([error.sentence, *issues[:5]]), "jitsudo policy check", None
        return
    yield from _lets_somebody_in(coverage, front_end)
    if switching:
        return
    if front_end is FrontEnd.PAM:
        yield from _over_ssh(coverage, waivers)
    else:  # with PAM, sudoers goes on deciding what may be run by whom has got in
        yield from _elsewhere(waivers)
    try:
        files = read_sudoers()
    except Failed as error:
        yield "sudoers", error.sentence, error.hint or "visudo", None
        return
    yield from check_files(files, coverage, waivers, "sudo" if front_end is FrontEnd.PAM else None)
    try:
        report = read_report()
    except JitsudoError as error:
        yield "caller", error.sentence, error.hint or "jitsudo setup report", None
        return
    yield from check_callers(report.entries, waivers)


def _lets_somebody_in(coverage: Coverage, front_end: FrontEnd) -> Iterator[Found]:
    if not coverage.policy.roles:
        yield "policy", f"there is no role in {CONFIG}/policy.d: nobody but root would get anything", FIRST_POLICY, None
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


def _over_ssh(coverage: Coverage, waivers: Waivers) -> Iterator[Found]:
    """Our PAM profile is for sshd as well: who has no role with access to it cannot log in, and so not ask for one."""
    if not SSHD.exists():
        return
    for name in people():
        if not coverage.roles_of(name, "sshd") and not waivers.covers(f"account:{name}"):
            what = f"{name} could not log in over ssh any more: no role with access to sshd is open to {name}"
            yield "account", what, "a role with `access: [{services: [sshd]}]`, a standing one as a rule", f"account:{name}"


def check_files(
    files: tuple[SudoersFile, ...], coverage: Coverage, waivers: Waivers, service: str | None = None
) -> Iterator[Found]:
    """Each account that a file lets in needs a role, or to be waived, by itself or with the file. `service`: that of PAM."""
    for file in files:
        if waivers.covers(f"sudoers:{file.path}"):
            continue
        for subject in file.subjects:
            names = accounts_of(subject, _netgroup)
            if names is None:
                what = f"{file.path} lets in {subject}, of which the members cannot be known here"
                yield "account", what, "give those concerned a role", f"sudoers:{file.path}"
            for name in names or ():
                if not coverage.roles_of(name, service):
                    yield from _account(name, f"{file.path} ({subject})", coverage, waivers)


def check_callers(entries: Iterable[Entry], waivers: Waivers) -> Iterator[Found]:
    """Each caller that was observed and would not get on; not people at terminals, who can ask for a role."""
    stopped: dict[str, list[Entry]] = {}
    for entry in breaking(tuple(entries)):
        if entry.caller != "person":
            stopped.setdefault(f"caller:{entry.person}/{entry.unit or entry.caller}", []).append(entry)
    for waiver, found in sorted(stopped.items()):
        if not waivers.covers(waiver):
            first, more = found[0], f", and {len(found) - 1} commands more" if len(found) > 1 else ""
            what = f"{first.person}, {first.who}, runs {first.line} as {first.run_as}{more}: jitsudo would refuse it"
            yield "caller", what, f"{first.helps or 'a role'}; jitsudo setup report shows all of it", waiver


def _account(name: str, whence: str, coverage: Coverage, waivers: Waivers) -> Iterator[Found]:
    waiver = f"account:{name}"
    person = coverage.person(name)
    if person is None or person.uid == 0 or waivers.covers(waiver):
        return
    what = f"{name} has sudo by {whence}, and no role is open to {name}"
    yield "account", what, f"add user:{name} or a group of theirs to a role's `who`, then: jitsudo policy reload", waiver


def _netgroup(name: str) -> list[str]:
    """The users of a netgroup: getent prints `NAME (host,user,domain) ...`; an empty user is everybody, and not listed."""
    ran = run([GETENT, "netgroup", name])
    triples = [triple.strip("() ").split(",") for triple in ran.out.split("(")[1:]]
    return [parts[1].strip() for parts in triples if len(parts) == 3 and parts[1].strip() not in ("", "-")]
