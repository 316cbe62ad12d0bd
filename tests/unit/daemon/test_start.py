"""The daemon's start: nothing that may take its time keeps it from being ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from jitsudo.daemon import main


def arguments(folder: Path) -> Any:
    (folder / "etc" / "policy.d").mkdir(parents=True)
    (folder / "etc" / "policy.d" / "web.yaml").write_text("version: 1\n")
    (folder / "state").mkdir(mode=0o700)
    folders = ("--state-dir", f"{folder}/state", "--config-dir", f"{folder}/etc", "--runtime-dir", f"{folder}/run")
    return main._arguments(["--no-owner-check", *folders])


@pytest.mark.parametrize("ends", ["never", "badly"])
def test_a_grant_that_cannot_be_verified_does_not_delay_the_start(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that is dead is waited for afterwards; what raises there is logged, and the daemon goes on."""
    said: list[str] = []
    begun = asyncio.Event()
    monkeypatch.setattr(main.systemd.daemon, "notify", said.append)

    async def verify(_state: Any, _granting: Any) -> None:
        assert "READY=1" in said
        begun.set()
        if ends == "badly":
            raise RuntimeError("directory")
        await asyncio.Event().wait()

    monkeypatch.setattr(main, "_verify_all", verify)

    async def run() -> None:
        serving = asyncio.create_task(main.serve(arguments(tmp_path)))
        await until(lambda: serving.done() or begun.is_set())
        if ends == "badly":
            await until(lambda: "could not all be verified" in caplog.text)
        assert not serving.done()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert ("could not all be verified" in caplog.text) == (ends == "badly")
