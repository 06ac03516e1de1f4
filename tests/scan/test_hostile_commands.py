"""Commands on hostile input, as they are typed: what they say, how they end, how long they take and what memory."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.hostile_commands import PROBES, TABLE, fingerprint

import sac_fast

ROOT, TESTS = Path(sac_fast.__file__).parents[1], Path(__file__).parents[1]
FREE_BYTES = 200 << 20


def run(words, folder):
    """Exit code, what was said, seconds, and the largest resident memory of the command or a process of it."""
    begun = time.monotonic()
    with open(folder / ".said", "w+b") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "sac_fast", *map(str, words)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace")
    return process.returncode, text, time.monotonic() - begun, usage.ru_maxrss << 10


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """What each command takes on sound input."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("sound")
    PROBES.save(folder / "probes")
    (folder / "images").mkdir()
    for number in range(4):
        Image.fromarray(np.full((9, 9, 3), 40 * number, np.uint8)).save(folder / "images" / f"{number}.png")
    (folder / "models").mkdir()
    for number in range(2):
        np.save(folder / "models" / f"{number}.npy", np.random.default_rng(number).normal(size=(len(PROBES), 5)))
    for number in range(6):
        fingerprint(f"m{number}", number).save(folder / f"m{number}")
    words = {
        "scan": ["scan", "models", "--probes", "probes", "--store", "store", "--workers", "1", "--quiet"],
        "fingerprint": ["fingerprint", "models/0.npy", "--probes", "probes", "--out", "out"],
        "probes": ["probes", "jpeg", "images", "--severity", "3", "--out", "made", "--limit", "2"],
        "show": ["show", "m0"],
        "verify": ["verify", "m0", "m1", *(word for n in range(2, 6) for word in ("--null", f"m{n}"))],
        "weights": ["weights", "models/0.npy", "models/1.npy"],
        "report": ["report", "check", "models"],
    }
    return {name: run(some, folder)[3] for name, some in words.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_a_command_on_hostile_input(name, sound, tmp_path):
    command = TABLE[name]
    words = command.make(tmp_path)
    try:
        disk = sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir() if path.is_file())
        code, text, seconds, peak = run(words, tmp_path)
    finally:
        subprocess.run(["rm", "-rf", *tmp_path.glob("models/d")], check=True)  # too deep for what removes the others
    growth = peak - sound[words[0]]
    print(json.dumps({"command": name, "code": code, "seconds": round(seconds, 1), "MB": round(growth / 1e6)}))
    with contextlib.suppress(ValueError):
        print(text[-600:])
    assert code == command.code, text[-3000:]
    assert re.search(command.says, text), text[-3000:]
    assert "Traceback" not in text
    assert seconds < command.seconds
    assert growth < 2 * disk + FREE_BYTES
    assert not list(tmp_path.rglob("*marker*"))
