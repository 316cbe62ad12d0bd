"""The policy and the host's labels: valid, and are there people who can get in and people who can let them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from jitsudo.doctor.findings import Kind, Seen, Severity, Unknown
from jitsudo.doctor.host import Host
from jitsudo.doctor.people import group_members, listed, user_exists
from jitsudo.doctor.registry import Area, Check
from jitsudo.errors import PolicyInvalid
from jitsudo.host.hostfile import load_host
from jitsudo.offline.checking import check
from jitsudo.offline.sources import Sources, read_knowledge, read_policy
from jitsudo.policy.model import Policy, Principal, Role
from jitsudo.policy.verdict import Host as PolicyHost

CONFIG: Final = "/etc/jitsudo"
FOLDER: Final = f"{CONFIG}/policy.d"

INVALID = Kind("policy-invalid", Severity.PROBLEM, "the policy is invalid: the last good one stays in force, if there was one")
FIRST_POLICY: Final = (
    "cp /usr/share/doc/jitsudo/examples/first-host.yaml /etc/jitsudo/policy.d/ && jitsudo policy reload"
    "   # to begin with; see jitsudo-policy(5)"
)
EMPTY = Kind("policy-empty", Severity.WARNING, "there is no role: nobody but root gets anything")
TESTS = Kind("policy-test-failed", Severity.PROBLEM, "a test of the policy fails: it allows or refuses what it should not")
LINT = Kind("policy-risky", Severity.NOTICE, "the policy gives more away than it seems to")
NOT_HERE = Kind("policy-not-for-this-host", Severity.WARNING, "there are roles, but none for this host")
NOBODY = Kind("role-for-nobody", Severity.WARNING, "a role is open to nobody who has an account here")
NO_ACCOUNT = Kind("role-unknown-account", Severity.WARNING, "a role names an account or group that does not exist here")
NO_RUN_AS = Kind("role-unknown-target", Severity.PROBLEM, "a role runs commands as an account that does not exist here")
NO_APPROVER = Kind("role-no-approver", Severity.PROBLEM, "too few people can approve a role for anybody ever to get it")
LABELS = Kind("host-labels-missing", Severity.NOTICE, "roles choose hosts by a label that this host does not have")
HOST_FILE = Kind("host-file-invalid", Severity.PROBLEM, "host.yaml is invalid: the daemon does not start with it")


def read_host_policy(host: Host) -> Policy | None:
    """The policy of this host as it lies there; None if it is invalid or not to be seen. Lint and tests are not run."""
    return read_policy(_sources(host), read_knowledge().grammars).policy


def _sources(host: Host) -> Sources:
    """Owners and modes are for the area `files` to judge: a policy that has the wrong owner can still be read here."""
    folder = host.real(FOLDER)
    files: dict[str, bytes] = {}
    for name in host.names(folder):
        if name.endswith(".yaml") and not name.startswith("."):
            text = host.read(f"{folder}/{name}")
            if text is not None:
                files[name] = text.encode(errors="surrogateescape")
    return Sources(files, (host.at(folder),))


def look_at_validity(host: Host) -> Iterator[Seen | str]:
    checked = check(_sources(host), read_knowledge())
    cure = "jitsudo policy check   # then correct the file and: jitsudo policy reload"
    errors = [finding for finding in checked.findings if finding.code == "invalid"]
    for finding in errors[:3]:
        yield INVALID.found(f"{FOLDER}: {finding}", cure, finding.pos.file)
    if checked.policy is None:
        if not errors:
            yield INVALID.found(f"{FOLDER} holds no valid policy", cure, FOLDER)
        return
    failed = [one for one in checked.tests if not one.passed]
    if failed:
        yield TESTS.found(f"{len(failed)} of {len(checked.tests)} tests of the policy fail", "jitsudo policy test", FOLDER)
    risky = [finding for finding in checked.findings if finding.severity == "warning"]
    if risky:
        many = "a warning" if len(risky) == 1 else f"{len(risky)} warnings, the first"
        yield LINT.found(f"{many}: {risky[0]}", "jitsudo policy check", FOLDER)
    if not checked.policy.roles:
        yield EMPTY.found(f"{FOLDER} defines no role", FIRST_POLICY, FOLDER)
    yield f"the policy is valid: {len(checked.policy.roles)} roles"


def look_at_people(host: Host) -> Iterator[Seen | str]:
    policy = read_host_policy(host)
    if policy is None:
        raise Unknown("the policy is invalid")
    people = _People(host, policy)
    for role in policy.roles.values():
        missing = [str(one) for one in (*role.who, *_approving(role)) if not people.exists(one)]
        if missing:
            what = f"role {role.name} names {listed(sorted(set(missing)))}, which does not exist here"
            yield NO_ACCOUNT.found(what, f"jitsudo policy edit {role.pos.file}", role.name)
        if not any(people.of(one) for one in role.who):
            what = f"role {role.name} is open to nobody who has an account here ({listed([str(one) for one in role.who])})"
            yield NOBODY.found(what, f"jitsudo policy edit {role.pos.file}", role.name)
        for target in role.run_as.users:
            if not people.exists(Principal("user", target)):
                what = f"role {role.name} runs commands as {target}, who does not exist here"
                yield NO_RUN_AS.found(what, f"jitsudo policy edit {role.pos.file}", role.name)
        yield from _without_approvers(role, people)
    yield "who is named in the policy exists, and roles that need approval can get it"


def _approving(role: Role) -> Sequence[Principal]:
    return () if role.request is None or role.request.source is None else role.request.source.principals


def _without_approvers(role: Role, people: _People) -> Iterator[Seen]:
    terms = role.request
    if terms is None or terms.approvals < 1 or terms.source is None:
        return
    humans = {people.human(account) for one in terms.source.principals for account in people.of(one)}
    askers = {people.human(account) for one in role.who for account in people.of(one)}
    left = humans - askers if len(askers) == 1 else humans  # nobody approves their own request
    empty = [str(one) for one in terms.source.principals if not people.of(one)] if terms.source.all_of else []
    if len(left) < terms.approvals or empty:
        have = f"{len(left)} people here can approve it" if not empty else f"nobody here is {empty[0]}"
        what = f"role {role.name} needs {terms.approvals} approvals; {have}"
        yield NO_APPROVER.found(what, f"jitsudo policy edit {role.pos.file}", role.name)


class _People:
    """Which accounts of this host a principal of the policy means; each is looked up once."""

    def __init__(self, host: Host, policy: Policy) -> None:
        self._host = host
        self._policy = policy
        named = {one for role in policy.roles.values() for one in (*role.who, *_approving(role))}
        self._groups = group_members(host, *sorted(one.name for one in named if one.kind == "group"))
        self._users: dict[str, bool] = {}

    def of(self, one: Principal) -> frozenset[str]:
        if one.kind == "group":
            return self._groups.get(one.name, frozenset())
        accounts = [one.name] if one.kind == "user" else self._team(one.name)
        return frozenset(account for account in accounts if self._has(account))

    def exists(self, one: Principal) -> bool:
        if one.kind == "team":  # the policy's own: the parser sees to it
            return True
        return one.name in self._groups if one.kind == "group" else self._has(one.name)

    def human(self, account: str) -> str:
        approver = self._policy.approver_of(account)
        return f"user:{account}" if approver is None else approver.name

    def _team(self, team: str) -> list[str]:
        return [account for one in self._policy.approvers.values() if team in one.teams for account in one.accounts]

    def _has(self, account: str) -> bool:
        if account not in self._users:
            self._users[account] = user_exists(self._host, account)
        return self._users[account]


def look_at_labels(host: Host) -> Iterator[Seen | str]:
    try:
        here: PolicyHost = load_host(host.at(CONFIG), check_owner=False)
    except PolicyInvalid as error:
        yield HOST_FILE.found(error.sentence, f"editor {CONFIG}/host.yaml; systemctl restart jitsudod", f"{CONFIG}/host.yaml")
        return
    policy = read_host_policy(host)
    if policy is None:
        raise Unknown("the policy is invalid")
    labels = {label: role for role in policy.roles.values() for label, _ in role.hosts.labels}
    for label, role in sorted(labels.items()):
        if label not in here.labels:
            value = next(values[0] for name, values in role.hosts.labels if name == label)
            text = f"{CONFIG}/host.yaml"
            cure = f"editor {text}   # labels: {{{label}: {value}}}; then: systemctl restart jitsudod"
            yield LABELS.found(f"role {role.name} is for hosts with the label {label}; this host has none", cure, text)
    if policy.roles and not any(_selects(role, here) for role in policy.roles.values()):
        what = f"none of {len(policy.roles)} roles is for this host (name {here.name}, labels {dict(here.labels) or 'none'})"
        yield NOT_HERE.found(what, f"editor {CONFIG}/host.yaml; systemctl restart jitsudod", f"{CONFIG}/host.yaml")
    yield f"this host is {here.name}, with {len(here.labels)} labels"


def _selects(role: Role, here: PolicyHost) -> bool:
    named = not role.hosts.names or any(pattern.matches(here.name) for pattern in role.hosts.names)
    return named and all(here.labels.get(label) in values for label, values in role.hosts.labels)


AREA: Final = Area(
    "policy",
    "whether the policy is valid, and people exist who can ask and approve",
    (
        Check("policy", look_at_validity, (INVALID, TESTS, LINT, EMPTY)),
        Check("policy-people", look_at_people, (NO_ACCOUNT, NOBODY, NO_RUN_AS, NO_APPROVER)),
        Check("host-labels", look_at_labels, (LABELS, NOT_HERE, HOST_FILE)),
    ),
)
