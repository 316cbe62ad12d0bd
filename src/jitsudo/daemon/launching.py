"""From an allow to what sudo is told: the program, its arguments, `command_info` and the whole environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jitsudo.daemon.asking import Asked
from jitsudo.daemon.passed import find_program
from jitsudo.elevation.command_info import build_command_info
from jitsudo.elevation.edit import checked_edit, choose_editor, plain_edit
from jitsudo.elevation.environment import build_environment
from jitsudo.elevation.modes import Launch, launch
from jitsudo.elevation.options import command_timeout
from jitsudo.policy.model import Environment
from jitsudo.policy.verdict import Allow
from jitsudo.wire.framing import Json, encode_text

NO_ENVIRONMENT: Final = Environment()


@dataclass(frozen=True, slots=True)
class Terms:
    """What an allow fixes of a launch; for root outside a session, what was asked for."""

    path: str
    argv: Sequence[str]
    environment: Environment
    keep_all: bool
    files: Sequence[str]
    check: Sequence[str]
    pinned: bool


def terms_of(allow: Allow) -> Terms:
    """A verdict's terms."""
    return Terms(
        path=allow.path,
        argv=allow.argv,
        environment=allow.environment or NO_ENVIRONMENT,
        keep_all=allow.keep_environment,
        files=allow.files,
        check=allow.check,
        pinned=allow.digest is not None,
    )


def root_terms(asked: Asked, path: str) -> Terms:
    """Root outside a session gets what it asks for."""
    return Terms(
        path=path,
        argv=asked.check.argv,
        environment=NO_ENVIRONMENT,
        keep_all=asked.options.preserve_environment,
        files=asked.check.argv[1:],
        check=(),
        pinned=False,
    )


def launched(asked: Asked, terms: Terms, root: int | None) -> Json:
    """`command_info`, `argv` and `env` of the reply. `root` is the caller's root: editors are looked for there.

    Blocks: not for the event loop. Raises InvalidValue, OptionRefused.
    """
    what = asked.invoked
    if what.mode == "edit":
        editor = choose_editor(asked.check.invocation.user_env, lambda name: find_program(name, root))
        run = checked_edit(editor, terms.files, terms.check) if terms.check else plain_edit(editor, terms.files)
    else:
        run = launch(what, asked.options, asked.target, terms.path, terms.argv)
    return {
        "command_info": [encode_text(item) for item in _command_info(asked, terms, run)],
        "argv": [encode_text(item) for item in run.argv],
        "env": [encode_text(item) for item in _environment(asked, terms, run)],
    }


def _command_info(asked: Asked, terms: Terms, run: Launch) -> tuple[str, ...]:
    options = asked.options
    return build_command_info(
        asked.target,
        run.path,
        run.cwd,
        timeout=command_timeout(options),
        cwd_optional=run.cwd_optional,
        closefrom=options.closefrom,
        preserve_groups=options.preserve_groups,
        edit_files=len(terms.files) if asked.invoked.mode == "edit" and not terms.check else None,
        pinned=terms.pinned,
    )


def _environment(asked: Asked, terms: Terms, run: Launch) -> tuple[str, ...]:
    return build_environment(
        asked.check.invocation.user_env,
        asked.behind.account,
        asked.target,
        run.path,
        run.argv,
        keep=terms.environment.keep,
        set_=dict(terms.environment.set),
        added=asked.options.env_add,
        keep_all=terms.keep_all,
        mode=asked.invoked.mode,
    )
