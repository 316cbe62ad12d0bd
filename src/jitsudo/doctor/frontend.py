"""The front end: which one sudo.conf names, whether sudo can load it, and whether what it loads is safe to load."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Final

from jitsudo import __version__
from jitsudo.doctor.findings import Kind, Seen, Severity
from jitsudo.doctor.host import Host
from jitsudo.doctor.recommend import recommend
from jitsudo.doctor.registry import Area, Check
from jitsudo.doctor.sudoconf import PLUGIN_FOLDER, POLICIES, SUDO, SUDO_CONF, active_front_end, plugins

LIBEXEC: Final = "/usr/libexec/jitsudo"
MODULE: Final = f"{LIBEXEC}/jitsudo_sudo_plugin.py"
PYTHON_PLUGIN: Final = f"{PLUGIN_FOLDER}/python_plugin.so"
SUDOS_FILES: Final = "/var/lib/dpkg/info/sudo.list"  # dpkg writes it anew at each upgrade
RESTORE: Final = "jitsudo setup rollback"
# As sudo does (dlopen(3) with RTLD_LAZY | RTLD_GLOBAL), with what sudo itself brings along.
_LOAD: Final = (
    "import ctypes, os, sys\n"
    "flags = os.RTLD_LAZY | os.RTLD_GLOBAL\n"
    "util = '/usr/libexec/sudo/libsudo_util.so.0'\n"
    "if os.path.exists(util): ctypes.CDLL(util, flags)\n"
    "try: getattr(ctypes.CDLL(sys.argv[1], flags), sys.argv[2])\n"
    "except (OSError, AttributeError) as error: sys.exit(str(error))\n"
)
_FILES: Final = {
    "python": ((f"{PLUGIN_FOLDER}/jitsudo_python.so", "jitsudo_python"), (PYTHON_PLUGIN, "python_policy")),
    "native": ((f"{PLUGIN_FOLDER}/jitsudo_native.so", "jitsudo_native"),),
}

NONE = Kind("front-end-none", Severity.NOTICE, "sudo is not in jitsudo's hands: sudoers decides, and jitsudo grants nothing")
CONFLICT = Kind("front-end-conflict", Severity.PROBLEM, "sudo.conf names several policy plugins; sudo takes the first alone")
UNGUARDED = Kind("front-end-unguarded", Severity.PROBLEM, "a Python plugin without the carrier: its caller becomes root")
CONF_UNSAFE = Kind("sudo-conf-unsafe", Severity.PROBLEM, "others than root can write sudo.conf; sudo may ignore it")
NO_LOAD = Kind("front-end-broken", Severity.PROBLEM, "sudo cannot load the front end, so sudo does not work at all")
SPARE_NO_LOAD = Kind("front-end-spare-broken", Severity.NOTICE, "a front end that is not in use cannot be loaded")
OUTDATED = Kind("front-end-outdated", Severity.WARNING, "the front end in use is of another version than jitsudo")
OLD_HOST = Kind("python-plugin-outdated", Severity.WARNING, "sudo was upgraded after its plugin host for Python was built")
CACHE = Kind("python-plugin-cache", Severity.PROBLEM, "__pycache__ beside the Python plugin is missing, or not safe")
OTHER_CHOICE = Kind("front-end-other-recommended", Severity.NOTICE, "another front end suits this host better")


def look_at_choice(host: Host) -> Iterator[Seen | str]:
    named = plugins(host)
    policies = [one for one in named if one.symbol in POLICIES or one.symbol == "sudoers_policy"]
    for one in named:
        if one.file.endswith("/python_plugin.so"):
            yield UNGUARDED.found(
                f"{SUDO_CONF} loads {one.path} as it is: the caller's PATH chooses its Python, and so becomes root",
                f"sed -i '/python_plugin[.]so/d' {SUDO_CONF}",
                SUDO_CONF,
            )
    if len(policies) > 1:
        others = ", ".join(one.symbol for one in policies[1:])
        lines = others.replace(", ", "|")
        yield CONFLICT.found(
            f"{SUDO_CONF} names {policies[0].symbol} and also {others}",
            f"sed -i -E '/^[[:space:]]*Plugin[[:space:]]+({lines})[[:space:]]/d' {SUDO_CONF}",
            SUDO_CONF,
        )
    active = active_front_end(host)
    if active is None:
        observing = any(one.symbol == "jitsudo_observe" for one in named)
        yield NONE.found(
            "sudo decides by sudoers" + (", and jitsudo observes" if observing else f": no line of {SUDO_CONF} names jitsudo"),
            "jitsudo setup report; jitsudo setup enable" if observing else "jitsudo setup observe",
            SUDO_CONF,
        )
        return
    yield f"sudo loads jitsudo's {active} plugin"


def look_at_conf(host: Host) -> Iterator[Seen | str]:
    found = host.entry(SUDO_CONF)
    if found is None:
        return
    if found.uid != 0 or found.others_write or found.kind != "file":
        what = f"is a {found.kind} of uid {found.uid}, mode {found.mode_text}"
        yield CONF_UNSAFE.found(f"{SUDO_CONF} {what}", f"chown root:root {SUDO_CONF} && chmod 0644 {SUDO_CONF}", SUDO_CONF)
    yield f"{SUDO_CONF} is root's alone to write"


def look_at_loading(host: Host) -> Iterator[Seen | str]:
    active = active_front_end(host)
    if active is not None:
        yield from _really(host, active)
    for kind, files in _FILES.items():
        if kind != active:
            for path, symbol in files:
                file = host.target(path)
                # Loading runs what is in it, here as root: not what others could have written, which is a finding by itself.
                why = _refusal(host, path, symbol) if file and file.uid == 0 and not file.others_write else None
                if why:
                    yield SPARE_NO_LOAD.found(f"{path} cannot be loaded: {why}", f"rm {path}   # or build it anew", path)
    yield f"sudo loads its {active} plugin" if active else "what is installed can be loaded"


def _really(host: Host, active: str) -> Iterator[Seen | str]:
    ran = host.once(SUDO, "-V")
    if ran is None:
        return
    ours = [line for line in ran.out.splitlines() if line.startswith("jitsudo policy plugin")]
    if ran.status == 0 and ours:
        if not ours[0].endswith(f" {__version__}"):
            cure = "apt-get install --reinstall jitsudo jitsudo-sudo-native"
            yield OUTDATED.found(f"sudo says '{ours[0]}', this is {__version__}", cure, SUDO)
        return
    why = next((path for path, symbol in _FILES[active] if not host.exists(path)), None)
    said = (ran.err or ran.out).strip().splitlines()
    said = [line for line in said if "jitsudo" in line or "python_plugin" in line] or said  # sudo's last words are none
    what = f"there is no {why}" if why else said[-1] if said else f"sudo -V {_end(ran.status)} and said nothing"
    yield NO_LOAD.found(f"sudo cannot load its {active} plugin: {what}", RESTORE, why or _FILES[active][0][0])


def _end(status: int) -> str:
    """A plugin that was cut off, for one, takes sudo with it."""
    return f"ended with {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"


def _refusal(host: Host, path: str, symbol: str) -> str | None:
    ran = host.run("/usr/bin/python3", "-I", "-c", _LOAD, path, symbol)
    return None if ran is None or ran.status == 0 else (ran.err.strip().splitlines() or [f"status {ran.status}"])[-1]


def look_at_python(host: Host) -> Iterator[Seen | str]:
    if active_front_end(host) != "python":
        return
    plugin, upgraded = host.target(PYTHON_PLUGIN), host.target(SUDOS_FILES)
    if plugin is not None and upgraded is not None and upgraded.ctime > plugin.ctime:
        yield OLD_HOST.found(
            f"{PYTHON_PLUGIN} is older than the sudo that is installed; it has to be built for exactly that one",
            "jitsudo setup verify   # and build it anew: docs/front-ends.md",
            PYTHON_PLUGIN,
        )
    module = next((one.option("ModulePath") for one in plugins(host) if one.symbol == "jitsudo_python"), None) or MODULE
    folder = module.rpartition("/")[0]
    cache = f"{folder}/__pycache__"
    found = host.entry(cache)
    cure = f"install -d -o root -g root -m 0755 {cache}; (umask 022; /usr/bin/python3 -I -m compileall -q -f {folder})"
    if found is None:
        yield CACHE.found(f"there is no {cache}: sudo would make it with the umask of whoever calls", cure, cache)
    elif found.kind != "folder" or found.uid != 0 or found.others_write:
        yield CACHE.found(
            f"{cache} is of uid {found.uid}, mode {found.mode_text}: who writes there becomes root",
            f"rm -rf {cache}; {cure}",
            cache,
        )
    else:
        for name in host.names(cache):
            compiled = host.entry(f"{cache}/{name}")
            if compiled is not None and (compiled.uid != 0 or compiled.others_write):
                what = f"is of uid {compiled.uid}, mode {compiled.mode_text}"
                yield CACHE.found(f"{compiled.path} {what}: who writes there becomes root", f"rm -rf {cache}; {cure}", cache)
        stem = module.rpartition("/")[2].removesuffix(".py")
        if not any(name.startswith(f"{stem}.") for name in host.names(cache)):
            yield CACHE.found(f"{cache} has no compiled {stem}", cure, cache)
    yield f"{cache} is in order"


def look_at_recommendation(host: Host) -> Iterator[Seen | str]:
    best, active = recommend(host), active_front_end(host)
    if active is not None and active != best.front_end:
        yield OTHER_CHOICE.found(
            f"the {active} plugin is in use; {best.front_end} suits this host better: {best.why}",
            f"jitsudo setup enable --front-end {best.front_end}",
        )
    yield f"{best.front_end} is the front end for this host: {best.why}"


AREA: Final = Area(
    "front-end",
    "what asks the daemon from inside sudo",
    (
        Check("front-end", look_at_choice, (NONE, CONFLICT, UNGUARDED)),
        Check("sudo-conf", look_at_conf, (CONF_UNSAFE,)),
        Check("front-end-loads", look_at_loading, (NO_LOAD, SPARE_NO_LOAD, OUTDATED)),
        Check("front-end-python", look_at_python, (OLD_HOST, CACHE)),
        Check("front-end-for-this-host", look_at_recommendation, (OTHER_CHOICE,)),
    ),
)
