"""The process that forks workers is started before a command's imports, used once, and ended if nobody wants it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sac_fast.scan import fork_server
from sac_fast.scan.fork_server import ForkServer, started_ahead, take_server


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ForkServer]:
    """Every server that is started."""
    found: list[ForkServer] = []

    class Watched(ForkServer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            found.append(self)

    monkeypatch.setattr(fork_server, "ForkServer", Watched)
    return found


def has_ended(server: ForkServer) -> bool:
    return server._process.poll() is not None


def test_the_server_is_taken_once_and_belongs_to_who_took_it(started: list[ForkServer]) -> None:
    with started_ahead(scrub=True):
        other = take_server(scrub=False)  # of another environment
        mine, second = take_server(scrub=True), take_server(scrub=True)
    assert [mine, other, second] == started
    assert [server.scrub for server in started] == [True, False, True]
    assert not any(map(has_ended, started))
    for server in started:
        server.close(wait=False)
    assert all(map(has_ended, started))


def test_a_server_that_nobody_wanted_is_ended(started: list[ForkServer]) -> None:
    with pytest.raises(ValueError, match="something else"), started_ahead(scrub=True):
        raise ValueError("something else")
    assert [has_ended(server) for server in started] == [True]
    assert fork_server._ahead == []
    with pytest.raises(ProcessLookupError):
        os.kill(started[0]._process.pid, 0)


def test_commands_start_one_server_and_those_with_nothing_to_do_none(
    tmp_path: Path, run: Any, started: list[ForkServer]
) -> None:
    (tmp_path / "models").mkdir()
    np.save(tmp_path / "models" / "a.npy", np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32))
    command = ("scan", tmp_path / "models", "--store", tmp_path / "s", "--quiet", "--workers", 1, "--probe-hash")
    for _ in range(2):
        code, _, err = run(*command, "sha256:" + "0" * 64)
        assert code == 0, err
        assert [has_ended(server) for server in started] == [True]
    code, _, _ = run("scan", tmp_path / "models", "--store", tmp_path / "new", "--quiet", "--probe-hash", "md5:1")
    assert code == 2
    assert [has_ended(server) for server in started] == [True, True]
    assert not (tmp_path / "new").exists()
