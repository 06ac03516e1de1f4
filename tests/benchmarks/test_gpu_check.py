"""benchmarks/gpu_check.py keeps what was measured when a kernel hangs or takes its process along."""

import importlib.util
import json
import pathlib
import subprocess
import sys
import time

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the source tree")


@pytest.fixture
def parts(monkeypatch, tmp_path):
    """The module, whose parts are processes of a script that the test writes."""
    spec = importlib.util.spec_from_file_location("gpu_check_parts", BENCHMARKS / "gpu_check_parts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def script(text):
        path = tmp_path / "script.py"
        path.write_text(f"import os, signal, sys, time\nrows = open(sys.argv[4], 'w')\n{text}\n")
        monkeypatch.setattr(module, "SCRIPT", path)
        return module

    return script


ROW = """print('{"case": "a", "error": 0}', file=rows, flush=True)"""


def test_rows_of_a_part_come_back(parts):
    assert parts(ROW).run_part("checks:x", [], 60) == ([{"case": "a", "error": 0}], None)


def test_a_part_that_dies_leaves_its_rows(parts):
    module = parts(f'{ROW}\nrows.write(\'{{"case": "b\'); rows.flush(); os.kill(os.getpid(), signal.SIGKILL)')
    rows, why = module.run_part("checks:x", [], 60)
    assert rows == [{"case": "a", "error": 0}]
    assert "exit code -9 behind a" in why


def test_a_part_that_fails_says_why(parts):
    rows, why = parts("raise RuntimeError('an illegal memory access')").run_part("checks:x", [], 60)
    assert rows == []
    assert "exit code 1 behind the start" in why
    assert why.endswith("RuntimeError: an illegal memory access")


def test_a_part_that_hangs_is_ended_with_what_it_started(parts, tmp_path):
    child = f"import time; time.sleep(3); open({str(tmp_path / 'alive')!r}, 'w')"
    module = parts(f"{ROW}\nimport subprocess; subprocess.run([sys.executable, '-c', {child!r}])")
    start = time.monotonic()
    rows, why = module.run_part("checks:x", [], 1)
    assert time.monotonic() - start < 3
    assert rows == [{"case": "a", "error": 0}]
    assert "ended after 1 s behind a" in why
    time.sleep(3)
    assert not (tmp_path / "alive").exists()


def test_the_script_without_a_gpu(tmp_path):
    out = tmp_path / "found.json"
    command = [sys.executable, str(BENCHMARKS / "gpu_check.py"), "--device", "cpu", "--quick", "--out", str(out)]
    answer = subprocess.run([*command, "--only", "checks", "times", "--cases", "jpeg"], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(out.read_text())
    assert len(found["checks"]) == 6 * 3 * 6
    assert all(row["ok"] for row in found["checks"])
    assert [row["case"] for row in found["times"]] == ["jpeg 8 of 32×32 q=25"]
    refused = subprocess.run([*command, "--cases", "nonsense"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "got nonsense" in refused.stderr
