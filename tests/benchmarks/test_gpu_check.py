"""benchmarks/gpu_check.py keeps what was measured when a kernel hangs or takes its process along."""

import importlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from sac_fast.bench.results import check_result

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


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_part_that_hangs_is_ended_with_what_it_started(parts, tmp_path):
    started = tmp_path / "pid"
    hang = f"open({str(started)!r}, 'w').write(str(child.pid)); child.wait()"
    child = "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    rows, why = parts(f"import subprocess\n{child}\n{ROW}\n{hang}").run_part("checks:x", [], 2)
    assert rows == [{"case": "a", "error": 0}]
    assert "ended after 2 s behind a" in why
    pid = int(started.read_text())
    # the group is told to end, and does so in its own time
    until = time.monotonic() + 60
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_running(pid)


def test_the_script_without_a_gpu(tmp_path):
    out = tmp_path / "found.json"
    command = [
        sys.executable,
        str(BENCHMARKS / "gpu_check.py"),
        "--device",
        "cpu",
        "--sizes",
        "quick",
        "--out",
        str(out),
    ]
    command += ["--only", "checks", "times", "--cases", "jpeg"]
    environment = os.environ | {"PYTHONSAFEPATH": ""}  # a script finds those beside it
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(out.read_text())
    assert len(found["checks"]) == 6 * 3 * 6
    assert all(row["ok"] for row in found["checks"])
    assert [row["case"] for row in found["times"]] == ["jpeg 8 of 32×32 q=25"]
    assert found["ran_on_gpu"] is False
    assert found["kind"] == "sac_fast gpu rehearsal on a CPU"
    assert "targets" not in found
    assert found["planned"] == {"checks": ["jpeg"], "times": ["jpeg"]}
    assert [part["missing"] for part in found["parts"]["checks"]] == [None]
    assert set(found["step_code"]) == {"checks", "times"}
    assert set(found["step_code"]["checks"]) == {"commit", "dirty", "csrc_hash"}
    check_result(found)


def test_a_case_that_is_none_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--out", "x", "--cases", "nonsense"])
    with pytest.raises(SystemExit) as caught:
        importlib.import_module("gpu_check").main()
    assert caught.value.code == 2
    assert "got nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"), [((), "--device cpu needs --out"), (("--only", "checks"), "a run on a GPU")]
)
def test_a_rehearsal_does_not_pass_for_a_run_on_a_gpu(monkeypatch, capsys, tmp_path, arguments, message):
    module = importlib.import_module("gpu_check")
    out = tmp_path / "found.json"
    out.write_text('{"ran_on_gpu": true}')
    where = ("--out", str(out)) if arguments else ()
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", *where, *arguments])
    with pytest.raises(SystemExit) as caught:
        module.begin(module.parse())
    assert message in str(caught.value.code) + capsys.readouterr().err
    assert out.read_text() == '{"ran_on_gpu": true}'


def test_what_is_no_number_is_kept_as_text(parts):
    row = """print('{"case": "a", "error": NaN, "seconds": -Infinity}', file=rows, flush=True)"""
    assert parts(row).run_part("checks:x", [], 60) == ([{"case": "a", "error": "nan", "seconds": "-inf"}], None)


@pytest.mark.parametrize("check", ["comparisons", "gradients"])
def test_formulas_are_right_on_the_cpu(check):
    rows = list(importlib.import_module("gpu_check_formulas").FORMULAS[check]("cpu", "cpu"))
    assert len(rows) == {"comparisons": 4 * 4 * 2 * 4, "gradients": 3 * 4 * 3 * 2 + 1}[check]
    assert [row["case"] for row in rows if not row["ok"]] == []


def test_wrong_gradients_are_seen(monkeypatch):
    module = importlib.import_module("gpu_check_formulas")
    right = module.distance
    monkeypatch.setattr(module, "distance", lambda *arguments: 1.001 * right(*arguments))
    assert not any(row["ok"] for row in list(module.check_gradients("cpu", "cpu"))[:-1])
