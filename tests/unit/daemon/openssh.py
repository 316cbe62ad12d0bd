"""OpenSSH's own keys and agent, for tests that want no imitation of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from waiting import LONG

__all__ = ["make_key", "ssh_agent"]


def make_key(path: Path, *options: str) -> str:
    """The line of a new key without a passphrase; its type is ed25519 or what the options of ssh-keygen(1) say."""
    subprocess.run(["ssh-keygen", "-q", *(options or ("-t", "ed25519")), "-N", "", "-C", "x", "-f", path], check=True)
    return path.with_suffix(".pub").read_text().strip()


@contextlib.asynccontextmanager
async def ssh_agent(folder: Path, *keys: Path) -> AsyncIterator[tuple[str, int]]:
    """A real one that holds these keys: its socket in the folder, its pid."""
    path = str(folder / "agent")
    process = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", path, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(LONG):
            await _until_it_listens(path)
        subprocess.run(["ssh-add", "-q", *keys], env={**os.environ, "SSH_AUTH_SOCK": path}, check=True)
        yield path, process.pid
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        await process.wait()


async def _until_it_listens(path: str) -> None:
    """Its socket is there before that."""
    while True:
        try:
            _, writer = await asyncio.open_unix_connection(path)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
