"""benchmarks/gpu_run.sh keeps what was measured and ends with the right exit code, whatever a part comes to."""

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
RUN = ROOT / "benchmarks" / "gpu_run.sh"

pytestmark = pytest.mark.skipif(not RUN.is_file(), reason="needs the source tree")

# In place of the interpreter: gpu_check.py and the loading of the module are what the test says, all else is Python.
STAND_IN = """#!{python}
import os, signal, sys, time
if sys.argv[1] == "-c":
    {load}
elif sys.argv[1].endswith("gpu_check.py"):
    out = sys.argv[sys.argv.index("--out") + 1]
    step = sys.argv[sys.argv.index("--only") + 1]
    def write(text):
        open(out, "w").write(text)
    if step == "checks":
        {checks}
else:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def record(*rows, planned=("a", "b"), **fields):
    """The JSON of gpu_check.py whose checks have one row each: (name, ok)."""
    return json.dumps(
        {
            "ran_on_gpu": False,
            "checks": [{"case": name, "error": 0 if ok else 1, "tolerance": 0, "ok": ok} for name, ok in rows],
            "planned": {"checks": planned},
            "parts": {"checks": [{"part": name, "rows": 1, "missing": None} for name, _ in rows]},
            **fields,
        }
    )


GOOD = record(("a", True), ("b", True))


@pytest.fixture
def start(tmp_path):
    """Start the script with stand-ins for its parts: its process."""

    def call(checks, *arguments, load="pass"):
        python = tmp_path / "python"
        python.write_text(STAND_IN.format(python=sys.executable, checks=checks, load=load))
        python.chmod(0o755)
        command = ["bash", RUN, "--device", "cpu", "--no-build", "--out", tmp_path / "out", *arguments]
        pipe = subprocess.PIPE
        environment = os.environ | {"PYTHON": str(python)}
        return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment)

    return call


def parts_of(folder):
    lines = (folder / "out" / "parts.jsonl").read_text().splitlines()
    return {part["part"]: part["rc"] for part in map(json.loads, lines)}


def test_right_results(start, tmp_path):
    process = start(f"write({GOOD!r})")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    assert "2 of 2 results right" in printed
    assert "NO GPU RAN THIS" in printed
    assert parts_of(tmp_path) == {"load": 0, "checks": 0, "times": 0}


@pytest.mark.parametrize(
    ("checks", "named"),
    [
        (f"write({record(('a', True), ('b', False))!r})", "b: error 1, allowed 0"),
        (f"write({record(('a', True))!r}); sys.exit(1)", "b: not reached"),
        (f"write({record(('a', True))!r}); os.kill(os.getpid(), signal.SIGSEGV)", "part checks: 139"),
        ("sys.exit(1)", "no check was made"),
        ("write('{')", "no check was made"),
        (f"write({record(('a', True), ('b', True), sanitizer={'memcheck': {'rc': 9}})!r})", "memcheck: exit code 9"),
    ],
)
def test_wrong_or_missing_results(start, tmp_path, checks, named):
    process = start(checks)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert named in printed
    assert parts_of(tmp_path)["times"] == 0  # the others are run all the same


def test_results_of_an_earlier_run_do_not_pass_for_this_ones(start, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gpu_check.json").write_text(GOOD)
    process = start("sys.exit(1)")
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert (tmp_path / "out" / "gpu_check.previous.json").read_text() == GOOD


def test_a_module_that_does_not_load(start, tmp_path):
    process = start(f"write({GOOD!r})", load="sys.exit('undefined symbol')")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "part load: 1" in printed
    assert "undefined symbol" in (tmp_path / "out" / "load.log").read_text()
    assert parts_of(tmp_path) == {"load": 1, "formulas": 0, "ceilings": 0}


def test_a_part_that_ignores_the_end_of_its_time(start, tmp_path):
    begun = time.monotonic()
    ignoring = f"write({record(('a', True))!r}); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    process = start(ignoring, "--limit", "20")
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert time.monotonic() - begun < 100
    assert "part checks: 137" in printed
    assert "b: not reached" in printed
    assert parts_of(tmp_path)["times"] == "no time left"


@pytest.mark.parametrize(("rows", "code"), [((("a", True),), 3), ((("a", False),), 1)])
def test_sigterm_ends_the_part_and_the_run(start, tmp_path, rows, code):
    process = start(f"write({record(*rows)!r}); time.sleep(600)")
    check = tmp_path / "out" / "gpu_check.json"
    until = time.monotonic() + 60
    while not (check.exists() and check.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == code
    assert "part checks: signal" in printed
    assert "times" not in parts_of(tmp_path)
    assert json.loads(check.read_text())["checks"]


@pytest.mark.slow
def test_the_whole_rehearsal(tmp_path):
    out = tmp_path / "rehearsal.json"
    script = ROOT / "benchmarks" / "gpu_rehearsal.py"
    answer = subprocess.run([sys.executable, script, "--jobs", "3", "--out", out], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout
    found = json.loads(out.read_text())
    assert set(found["runs"]) == set(importlib.import_module("gpu_rehearsal").RUNS)
    assert found["ran_on_gpu"] is False
