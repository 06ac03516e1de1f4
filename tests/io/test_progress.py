"""The progress bar: a line every 30 seconds in a log, a bar with count, rate and note in a terminal."""

import re
import types

import pytest

from sac_fast.io import progress
from sac_fast.io.progress import ProgressBar, track


def visible(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    monkeypatch.setenv("COLUMNS", "160")


def test_a_log_gets_a_line_every_thirty_seconds(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    clock = [100.0]
    # not the module's own function: rich would take it, too
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    with ProgressBar("scanning", 9, unit="models") as bar:
        for seconds in (10.0, 19.0, 2.0, 10.0, 25.0):
            clock[0] += seconds
            bar.advance(note="1 failed")
    assert (
        capsys.readouterr().err == "scanning: 3 of 9 models, 1 failed, 31 s\nscanning: 5 of 9 models, 1 failed, 66 s\n"
    )
    with ProgressBar("reading", enabled=False) as bar:
        clock[0] += 100
        bar.advance()
    assert capsys.readouterr().err == ""


def test_a_short_job_leaves_nothing_in_a_log_not_even_an_empty_line(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert list(track([1, 2], "reading")) == [1, 2]
    with ProgressBar("scanning", 2, unit="models") as bar:
        bar.advance(note="1 failed")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_count_rate_and_note_on_stderr(capsys, terminal):
    with ProgressBar("scanning", 3, unit="models") as bar:
        for _ in range(3):
            bar.advance(note="2 failed")
    out, err = capsys.readouterr()
    assert out == ""
    assert "scanning" in visible(err)
    assert "3/3" in visible(err)
    assert re.search(r"[0-9]+\.[0-9] models/s, 2 failed", visible(err))


def test_items_pass_through_and_are_counted(capsys, terminal):
    assert list(track(iter("abc"), "reading", total=3)) == ["a", "b", "c"]
    assert list(track(range(2), "writing")) == [0, 1]
    err = visible(capsys.readouterr().err)
    assert "3/3" in err
    assert "2/2" in err


def test_disabled_shows_nothing_even_in_a_terminal(capsys, terminal):
    assert list(track([1], "reading", enabled=False)) == [1]
    assert capsys.readouterr() == ("", "")


def test_the_bar_ends_when_the_loop_is_left_early(capsys, terminal):
    loop = track(range(3), "reading")
    assert next(loop) == 0
    loop.close()
    assert capsys.readouterr().err.endswith("\x1b[2K")
