"""Too few descriptors, a full disk, a clock that was set back: the next scan ends as if nothing had happened.

Kills of the scan and its workers at random moments are in `test_scan_kill`.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.store_folders import blobs

from sac_fast.store import ModelStore, check_store, export_models

MODELS = 60
PROBES = "sha256:" + "9" * 64
# Earlier than any file here.
SET_BACK = (
    "import datetime, sys, time\n"
    "class Back(datetime.datetime):\n"
    "    @classmethod\n"
    "    def now(cls, tz=None):\n"
    "        return cls(2001, 2, 3, tzinfo=tz)\n"
    "datetime.datetime = Back\n"
    "real = time.time\n"
    "time.time = lambda: real() - 10**9\n"
    "sys.argv = ['sac-fast', *sys.argv[1:]]\n"
    "from sac_fast.cli.main import main\n"
    "main()\n"
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Recorded outputs of which some are large and some are none, and what an undisturbed scan of them gives."""
    base = tmp_path_factory.mktemp("faults")
    (base / "models").mkdir()
    rng = np.random.default_rng(0)
    for number in range(MODELS):
        width = 900 if number % 10 == 0 else 5  # the wide ones are files of their own
        np.save(base / "models" / f"m{number:02}.npy", rng.standard_normal((100, width), dtype=np.float32))
    (base / "models" / "bad.npy").write_bytes(b"\x93NUMPY nothing")
    assert scan(base, "undisturbed").returncode == 0
    return base, contents(base, "undisturbed")


def scan(base: Path, store: str, limits: dict[int, int] | None = None, code: str | None = None):
    """The command in a process of its own, with limits of the process."""

    def limit() -> None:
        for number, value in (limits or {}).items():
            resource.setrlimit(number, (value, resource.getrlimit(number)[1]))

    words = ["scan", base / "models", "--store", base / store, "--probe-hash", PROBES, "--workers", "2", "--quiet"]
    start = ["-m", "sac_fast"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *map(str, words)],
        cwd=base,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )


def contents(base: Path, store: str):
    with ModelStore.open(base / store, write=False) as opened:
        export_models(opened, base / f"{store}.csv")
        assert not check_store(opened).findings
    return (base / f"{store}.csv").read_bytes(), blobs(base / store)


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        *({resource.RLIMIT_NOFILE: count} for count in (12, 16, 20, 24)),
        *({resource.RLIMIT_FSIZE: size} for size in (1 << 12, 1 << 16, 200_000, 400_000)),
    ],
    ids=str,
)
def test_after_a_scan_with_too_little_of_something_the_next_one_ends_as_if_undisturbed(recorded, limits, tmp_path):
    base, expected = recorded
    store = f"limited-{'-'.join(f'{name}-{value}' for name, value in limits.items())}"
    limited = scan(base, store, limits)
    if limited.returncode:
        assert "Traceback" not in limited.stderr
        assert limited.stderr.strip()
    assert scan(base, store).returncode == 0
    # Nothing is left that only a repair would take away.
    assert contents(base, store) == expected


@contextlib.contextmanager
def disk_of(size: str, place: Path):
    """A file system of that size in memory; its owner may mount one, others skip the test."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["16k", "64k", "160k", "500k", "1m", "2m"])
def test_after_a_scan_on_a_full_disk_the_next_one_ends_as_if_undisturbed(recorded, size):
    base, expected = recorded
    with disk_of(size, base / f"disk-{size}"):
        store = f"disk-{size}/store"
        full = scan(base, store)
        assert "Traceback" not in full.stderr
        assert full.stderr.strip() if full.returncode else "over-budget" in full.stdout
        subprocess.run(["mount", "-o", "remount,size=64m", base / f"disk-{size}"], check=True)
        assert scan(base, store).returncode == 0
        assert contents(base, store) == expected


@pytest.mark.slow
def test_a_clock_that_was_set_back_changes_nothing(recorded):
    base, expected = recorded
    assert scan(base, "back", code=SET_BACK).returncode == 0
    assert contents(base, "back") == expected
    for path in (base / "models").iterdir():
        os.utime(path, (10**9, 10**9))  # a file that looks older than what was scanned is run again, with equal bytes
    assert scan(base, "back").returncode == 0
    assert contents(base, "back") == expected


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_refused_and_read(recorded, monkeypatch):
    base, expected = recorded
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: not mode & os.W_OK and real(path, mode, **more))
    assert contents(base, "undisturbed") == expected
    with contextlib.ExitStack() as stack:
        (base / "undisturbed" / "writer.lock").rename(base / "lock")
        (base / "undisturbed" / "writer.lock").mkdir()  # the lock cannot be made, as on a read-only medium
        stack.callback((base / "lock").rename, base / "undisturbed" / "writer.lock")
        stack.callback((base / "undisturbed" / "writer.lock").rmdir)
        refused = scan(base, "undisturbed")
    assert refused.returncode == 1
    assert "cannot write to the store" in refused.stderr
    assert contents(base, "undisturbed") == expected
