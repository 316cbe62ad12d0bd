"""Everything that has to be right before anything is changed: each check has a name, says what it found, and has a cure.

All are made, all problems are told at once. What `jitsudo doctor` examines is not examined again here, but heeded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from jitsudo.client import Client
from jitsudo.doctor.examination import examine
from jitsudo.doctor.findings import Finding, Severity
from jitsudo.doctor.host import Host as ExaminedHost
from jitsudo.errors import Failed, JitsudoError
from jitsudo.setup.dryrun import problems, try_front_end
from jitsudo.setup.enabling import PAM_FILES
from jitsudo.setup.places import Places
from jitsudo.setup.programs import run
from jitsudo.setup.state import Mode, SetupState, read_state
from jitsudo.setup.sudoconf import PLUGIN_LINE, SUDOERS_POLICY, FrontEnd, read_sudo_conf
from jitsudo.setup.waivers import Waivers
from jitsudo.setup.whom import check_people

# What a check can be about, for the documentation and `--json`.
CHECKS: Final[Mapping[str, str]] = {
    "root": "it has to be root who enables",
    "host": "systemd, cgroups, architecture, a disk with room; a container counts if it has all of it",
    "sudo": "the sudo that people find is Debian's, root's and setuid, and no other is before it",
    "sudo-conf": "/etc/sudo.conf is there, root's, and names no policy plugin of somebody else's",
    "etc": "/etc can be written, and files can be renamed from it to where the originals are kept",
    "state": "nothing is enabled already, and no earlier enable left anything behind",
    "installed": "everything of jitsudo's is there, root's, and nobody else's to write",
    "daemon": "the daemon answers, and has a policy",
    "dry-run": "the very sudo that is installed loads the front end, lets root in, and refuses who has no grant",
    "pam": "the PAM services that jitsudo uses exist and ask for a proof",
    "policy": "the policy is valid, and somebody who exists can get a role, approvals included",
    "root-password": "root can log in at the console when all else fails",
    "sudoers": "sudoers can be read, by visudo, and comes from no directory",
    "account": "each account that sudoers lets in can get a role",
    "caller": "each caller that was observed and that nobody sits at (cron, units, Ansible) gets on as before",
}
_AREAS: Final[Mapping[str, str]] = {
    "host": "host", "sudo": "sudo", "files": "installed", "sockets": "daemon", "daemon": "daemon", "pam": "pam",
    "accounts": "root-password", "units": "installed",
}  # fmt: skip
# Less than problems to doctor, who does not know what is planned.
_ALSO: Final = frozenset({"root-locked", "root-no-console", "etc-read-only"})
_MAKE_PYTHON: Final = (
    "/usr/share/jitsudo/sudo-python/package-sudo-python --output /root && apt-get install /root/jitsudo-sudo-python_*.deb"
)
# Problems that do not keep from enabling: what they are about is not needed, or said better by another check.
_NOT: Final = frozenset({"account-no-password", "sudo-rs", "setup-interrupted"})


@dataclass(frozen=True, slots=True)
class Problem:
    """What keeps from enabling. `check`: a name of CHECKS; `waiver`: the --waive that lets it pass, if there is one."""

    check: str
    found: str
    cure: str
    waiver: str | None = None


def preflight(front_end: FrontEnd, waivers: Waivers, places: Places) -> tuple[Problem, ...]:
    """Every problem, in the order of CHECKS. It changes nothing."""
    if os.geteuid() != 0:
        return (Problem("root", "you are not root", "sudo jitsudo setup enable"),)
    state = list(_state(front_end, places))
    found = [*_examined(front_end, waivers), *_sudo_conf(front_end, places), *_etc(places), *state, *_installed(front_end)]
    found += _guarded("daemon", _daemon)
    # What cannot work need not be tried: a dry run of a sudo that is not there says nothing more.
    if not {"host", "sudo", "sudo-conf", "installed"} & {problem.check for problem in found}:
        found += _guarded("dry-run", lambda: _dry_run(front_end, places))
    for person in check_people(front_end, waivers, switching=_is_switch(front_end, places)):
        found.append(Problem(*person))
    order = list(CHECKS)
    return tuple(sorted(dict.fromkeys(found), key=lambda problem: order.index(problem.check)))


def _guarded(check: str, look: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """A check that fails is a problem, with its own words."""
    try:
        return list(look())
    except JitsudoError as error:
        return [Problem(check, error.sentence, error.hint or "jitsudo doctor")]


def _examined(front_end: FrontEnd, waivers: Waivers) -> Iterator[Problem]:
    """What doctor finds in the areas that matter here."""
    for finding in examine(ExaminedHost(), tuple(_AREAS)):
        check = _AREAS[finding.area]
        if not _counts(finding, front_end) or (check == "root-password" and waivers.covers("root-password")):
            continue
        waiver = "root-password" if check == "root-password" else None
        yield Problem(check, finding.found, finding.cure or f"jitsudo doctor --only {finding.area}", waiver)


def _counts(finding: Finding, front_end: FrontEnd) -> bool:
    if finding.code == "sudo-rs":  # it loads no plugins
        return front_end is not FrontEnd.PAM
    if finding.area == "accounts":
        return finding.code in _ALSO
    return (finding.severity is Severity.PROBLEM and finding.code not in _NOT) or finding.code in _ALSO


def _sudo_conf(front_end: FrontEnd, places: Places) -> Iterator[Problem]:
    if front_end is FrontEnd.PAM:
        return
    path = places.sudo_conf
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        yield Problem("sudo-conf", f"there is no {path}", f"install -m 0644 /dev/null {path}")
        return
    try:
        conf = read_sudo_conf(path)
    except Failed as error:
        yield Problem("sudo-conf", error.sentence, f"cp --remove-destination $(realpath {path}) {path}")
        return
    if found.st_uid != 0 or found.st_mode & 0o022:
        yield Problem("sudo-conf", f"{path} can be written by others than root", f"chown root:root {path}; chmod 0644 {path}")
    for plugin in conf.plugins():
        if not plugin.is_ours and plugin.symbol != SUDOERS_POLICY and "policy" in plugin.symbol:
            what = f"{path}, line {plugin.first + 1}, names another policy plugin: {plugin.symbol}"
            yield Problem("sudo-conf", what, f"sed -i '{plugin.first + 1}d' {path}   # sudo takes one policy plugin")


def _etc(places: Places) -> Iterator[Problem]:
    """Renaming is tried, not guessed: /etc may be read-only, immutable, or of several file systems."""
    for folder in (places.sudo_conf.parent, places.drop_ins):
        if not folder.is_dir():
            continue
        tried, there = folder / ".jitsudo-try", places.kept.parent / ".jitsudo-try"
        try:
            there.parent.mkdir(mode=0o755, exist_ok=True)
            tried.touch(mode=0o600)
            os.rename(tried, there)
        except OSError as error:
            yield Problem("etc", f"no file can be moved from {folder} to {places.kept.parent}: {error.strerror}", _cure(error))
        finally:
            for left in (tried, there):
                _remove(left)


def _cure(error: OSError) -> str:
    return {30: "mount -o remount,rw /", 18: "have them on one file system"}.get(error.errno or 0, "lsattr -d /etc /etc/*")


def _remove(path: os.PathLike[str]) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _is_switch(front_end: FrontEnd, places: Places) -> bool:
    """Whether sudo's plugin is to be replaced by another of ours: sudoers was kept aside long ago."""
    try:
        state = read_state(places.state)
    except Failed:
        return False
    return state.mode in (Mode.UNCONFIRMED, Mode.ENABLED) and FrontEnd.PAM not in (front_end, state.front_end)


def _state(front_end: FrontEnd, places: Places) -> Iterator[Problem]:
    try:
        state: SetupState = read_state(places.state)
    except Failed as error:
        yield Problem("state", error.sentence, error.hint or "jitsudo setup rollback")
        return
    if state.mode in (Mode.UNCONFIRMED, Mode.ENABLED):
        if not _is_switch(front_end, places):
            what = f"the {state.front_end} front end is enabled; it and {front_end} cannot be exchanged in one step"
            yield Problem("state", what, f"jitsudo setup disable && jitsudo setup enable --front-end {front_end}")
    elif places.kept.is_dir() and any(path.is_file() for path in places.kept.rglob("*")):
        yield Problem("state", f"an earlier enable left originals in {places.kept}", "jitsudo setup rollback")


def _installed(front_end: FrontEnd) -> Iterator[Problem]:
    """Doctor knows which files belong to a front end that is in use; this one is not yet."""
    if front_end is FrontEnd.PAM:
        if not os.path.exists("/usr/share/pam-configs/jitsudo"):
            yield Problem("installed", "pam_jitsudo is not installed", "apt-get install libpam-jitsudo")
        return
    path = f"/usr/libexec/sudo/{PLUGIN_LINE[front_end].split()[2]}"
    if not os.path.exists(path):
        cure = "apt-get install jitsudo-sudo-native" if front_end is FrontEnd.NATIVE else _MAKE_PYTHON
        yield Problem("installed", f"the {front_end} front end is not installed: there is no {path}", cure)


def _daemon() -> Iterator[Problem]:
    with Client() as client:
        reply = client.call("Status", all=True)
    found = reply.get("problems")
    for sentence in found if isinstance(found, list) else ["it did not say how it is"]:
        yield Problem("daemon", str(sentence), "jitsudo status; journalctl -u jitsudod -n 20")


def _dry_run(front_end: FrontEnd, places: Places) -> Iterator[Problem]:
    if front_end is FrontEnd.PAM:
        yield from _pam_can_be_changed(places)
        return
    conf = read_sudo_conf(places.sudo_conf).for_front_end(front_end)
    for problem in problems(try_front_end(conf, front_end)):
        yield Problem("dry-run", problem, _dry_run_cure(front_end))


def _dry_run_cure(front_end: FrontEnd) -> str:
    if front_end is FrontEnd.PYTHON:
        return f"{_MAKE_PYTHON}   # for the sudo that is installed; or --front-end native"
    return "journalctl -u jitsudod -n 20; jitsudo doctor --only front-end"


def _pam_can_be_changed(places: Places) -> Iterator[Problem]:
    """pam-auth-update leaves stacks alone that somebody has edited, and would have nothing to put back."""
    ran = run(["/usr/bin/ldd", *(str(path) for path in places.at("/usr/lib").glob("*-linux-gnu/security/pam_jitsudo.so"))])
    if ran.status or "not found" in ran.out:
        yield Problem("dry-run", f"pam_jitsudo.so cannot be loaded: {ran.said}", "apt-get install --reinstall libpam-jitsudo")
    stack = places.pam / PAM_FILES[0]
    if "# here are the per-package modules" not in stack.read_text():
        yield Problem("dry-run", f"{stack} is not kept by pam-auth-update", "docs/pam-stacks.md says how it goes by hand")
