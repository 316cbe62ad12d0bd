"""The question for a password, as sudo asks it (sudo(8), `-p`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jitsudo.elevation.options import Options
from jitsudo.types import UserName

DEFAULT_PROMPT = "[sudo] password for %p: "
_ESCAPE = re.compile("%([HhpuU%])")


def password_prompt(options: Options, user_env: Sequence[str], caller: UserName, target: UserName, host: str) -> str:
    """What is shown in place of the stack's own question: -p, else $SUDO_PROMPT, else sudo's; escapes expanded.

    `caller` is whose password is asked for; `host` the host's full name.
    """
    asked = options.prompt
    if asked is None:
        asked = next((e.partition("=")[2] for e in user_env if e.startswith("SUDO_PROMPT=")), DEFAULT_PROMPT)
    return expand(asked, caller, target, host)


def expand(template: str, caller: UserName, target: UserName, host: str) -> str:
    """`%H` the host's full name, `%h` its first label, `%p` `%u` the caller, `%U` the target, `%%` a percent sign."""
    values = {"H": host, "h": host.partition(".")[0], "p": caller, "u": caller, "U": target, "%": "%"}
    return _ESCAPE.sub(lambda found: values[found[1]], template)
