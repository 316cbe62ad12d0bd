"""The host's own secrets: its signing key and the key under which redacted secrets can be matched."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jitsudo.crypto import HostKey
from jitsudo.errors import Failed, InvalidValue

KEY_FILE: Final = "host_key"
REDACTION_FILE: Final = "redaction_key"
REDACTION_KEY_BYTES: Final = 32
MAX_KEY_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this host is to its own documents."""

    key: HostKey
    redaction_key: bytes


def load_identity(folder: Path) -> Identity:
    """Read the keys in the state folder; on the first start, make them. Raises Failed."""
    path = folder / KEY_FILE
    try:
        key = HostKey.from_openssh_private(_read_or_make(path, lambda: HostKey.generate().to_openssh_private()))
    except InvalidValue as error:
        raise Failed(f"{path}: {error.sentence}", "restore it from a backup; a new key makes all grants void") from None
    public = folder / f"{KEY_FILE}.pub"
    if not public.exists():
        public.write_text(key.public_line(os.uname().nodename) + "\n", "ascii")
    redaction_key = _read_or_make(folder / REDACTION_FILE, lambda: secrets.token_bytes(REDACTION_KEY_BYTES))
    if len(redaction_key) != REDACTION_KEY_BYTES:  # with a short key, secrets could be guessed from their tags
        raise Failed(f"{folder / REDACTION_FILE} is damaged", "restore it from a backup, or remove it: tags change then")
    return Identity(key, redaction_key)


def _read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return _write_new(path, make())
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}") from None
    try:
        facts = os.fstat(descriptor)
        if facts.st_uid != os.geteuid() or not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077:
            raise Failed(f"{path} is not a file that root alone can read", f"chown root: {path}; chmod 0600 {path}")
        return os.read(descriptor, MAX_KEY_BYTES)
    finally:
        os.close(descriptor)


def _write_new(path: Path, content: bytes) -> bytes:
    """Complete under its name or not there at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    return content
