"""The progress bar."""

from __future__ import annotations

import pytest

from sac_fast.io.progress import track


def test_track_passes_items_and_writes_to_stderr_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(track(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""  # stderr is no terminal: not even an empty line for a log
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes it for one
    assert list(track([1, 2], "shown", total=2)) == [1, 2]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "shown" in captured.err
    assert list(track([1, 2], "numbers", enabled=False)) == [1, 2]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
