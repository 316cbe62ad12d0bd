"""Loads the policy: at the start, on reload; a refused one changes nothing, the last good one is kept across restarts."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path
from typing import Final

from jitsudo import strictjson
from jitsudo.daemon.state import DaemonState
from jitsudo.errors import JitsudoError, PolicyInvalid
from jitsudo.host.policyfiles import LoadedPolicy, load_policy, load_policy_bytes
from jitsudo.policy.index import index_of
from jitsudo.types import Person
from jitsudo.wire.framing import decode_text, encode_text

log = logging.getLogger("jitsudod")
LAST_GOOD: Final = "policy"
CALENDARS: Final = "calendars.json"
MAX_CALENDARS_BYTES: Final = 16 * 1024 * 1024
MAX_SHOWN_ISSUES: Final = 20


class PolicyLoading:
    """From a folder of YAML files to the policy in force."""

    def __init__(self, state: DaemonState, folder: Path, *, check_owner: bool) -> None:
        self._state = state
        self._folder = folder
        self._check_owner = check_owner
        self._lock = asyncio.Lock()

    async def load_at_start(self) -> None:
        """The policy in /etc, or else the last good one, or else none: then nobody but root runs anything."""
        now, journal = self._state.now(), self._state.journal
        try:
            loaded = await asyncio.to_thread(self._load)
        except PolicyInvalid as error:
            kept = await asyncio.to_thread(self._load_kept)
            self._state.policy, self._state.policy_problem = kept, _summary(error)
            journal.redact(kept.policy.redact if kept is not None else ())
            self._state.note(now, journal.policy_refused(_summary(error), kept.digest if kept else None))
            log.error("policy refused, %s: %s", "the last good one stays in force" if kept else "none is in force", error)
            return
        self._put_in_force(loaded)
        self._state.note(now, journal.policy_loaded(loaded.digest))

    async def reload(self, by: Person) -> LoadedPolicy:
        """Returns when the new policy is in force. Raises PolicyInvalid; the old one stays in force then."""
        async with self._lock:
            now, journal = self._state.now(), self._state.journal
            before = self._state.policy.digest if self._state.policy is not None else None
            try:
                loaded = await asyncio.to_thread(self._load)
            except PolicyInvalid as error:
                self._state.policy_problem = _summary(error)
                self._state.note(now, journal.policy_refused(_summary(error), before))
                raise
            await self._state.record(now, journal.policy_changed(by, before, loaded.digest))
            self._put_in_force(loaded)
            return loaded

    def _load(self) -> LoadedPolicy:
        """Raises PolicyInvalid."""
        loaded = load_policy(self._folder, check_owner=self._check_owner)
        index_of(loaded.policy)  # made here, in a thread, rather than by the first decision
        return loaded

    def _put_in_force(self, loaded: LoadedPolicy) -> None:
        self._state.policy, self._state.policy_problem = loaded, None
        self._state.journal.redact(loaded.policy.redact)
        try:
            self._keep(loaded)
        except OSError as error:
            log.error("the policy could not be kept for the next start: %s", error)

    def _keep(self, loaded: LoadedPolicy) -> None:
        """Complete or not at all: a new folder takes the old one's place."""
        kept, new, old = (self._state.folder / name for name in (LAST_GOOD, f".{LAST_GOOD}.new", f".{LAST_GOOD}.old"))
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir(mode=0o700)
        for name, content in loaded.files.items():
            (new / name).write_bytes(content)
        texts = {name: encode_text(raw.decode("utf-8", "surrogateescape")) for name, raw in loaded.calendars.items()}
        (new / CALENDARS).write_bytes(strictjson.encode(texts))
        if kept.exists():
            os.rename(kept, old)
        os.rename(new, kept)
        shutil.rmtree(old, ignore_errors=True)

    def _load_kept(self) -> LoadedPolicy | None:
        """The copy, or the one before it, if the daemon died while they were exchanged."""
        for name in (LAST_GOOD, f".{LAST_GOOD}.old"):
            try:
                folder = self._state.folder / name
                files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.yaml"))}
                if files:
                    return load_policy_bytes(files, _kept_calendars(folder / CALENDARS))
            except (OSError, JitsudoError) as error:
                log.error("the last good policy cannot be used: %s", error)
        return None


def _kept_calendars(path: Path) -> dict[str, bytes]:
    """Raises OSError, InvalidValue."""
    if not path.exists():  # kept by a version that had none
        return {}
    texts = strictjson.parse_object(path.read_bytes(), MAX_CALENDARS_BYTES)
    return {name: decode_text(text, "a kept calendar").encode("utf-8", "surrogateescape") for name, text in texts.items()}


def _summary(error: PolicyInvalid) -> str:
    """The reasons alone: every sentence that this stands in says that the policy was refused."""
    return "; ".join(error.issues[:MAX_SHOWN_ISSUES]) or error.sentence
