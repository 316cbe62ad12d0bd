"""Which front end suits the host at hand, and why (docs/front-ends.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from jitsudo.doctor.host import Host
from jitsudo.doctor.sudo import is_rust
from jitsudo.doctor.sudoconf import PLUGIN_FOLDER, SUDO

FrontEnd = Literal["python", "native", "pam"]
PYTHON_PLUGIN: Final = f"{PLUGIN_FOLDER}/python_plugin.so"
NATIVE: Final = f"{PLUGIN_FOLDER}/jitsudo_native.so"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """`why` is a sentence for people, without a full stop."""

    front_end: FrontEnd
    why: str


def recommend(host: Host) -> Recommendation:
    """By what sudo this is, and by what has to be there for each front end. May raise Unknown."""
    if not host.exists(SUDO):
        return Recommendation("pam", "there is no sudo that could load a plugin")
    if is_rust(host):
        return Recommendation("pam", "sudo is sudo-rs, which loads no plugins")
    if _ships_python(host):
        if host.exists(NATIVE):
            return Recommendation("native", "it saves the start of two interpreters each time; python works here as well")
        return Recommendation("python", "this sudo ships Python plugins, and jitsudo's native one is not installed")
    return Recommendation(
        "native", "this sudo ships no Python plugins: python's would have to be built again at each upgrade of sudo"
    )


def _ships_python(host: Host) -> bool:
    """Whether python_plugin.so comes from a package; one that was built here does not count."""
    if not host.exists(PYTHON_PLUGIN):
        return False
    dpkg = host.run("/usr/bin/dpkg-query", "-S", PYTHON_PLUGIN)
    if dpkg is not None:
        return dpkg.status == 0
    rpm = host.run("/usr/bin/rpm", "-qf", PYTHON_PLUGIN)
    return rpm is not None and rpm.status == 0
