"""`sac-fast fingerprint` of a file: torch is imported once, by the process of the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sac_fast import Fingerprint, ProbeSet, RecordedInputs
from sac_fast.scan.budgets import default_threads

onnx = pytest.importorskip("onnx")

RNG = np.random.default_rng(0)
PROBES = ProbeSet.from_arrays(RNG.integers(0, 256, (30, 4, 4, 3), np.uint8), labels=RNG.integers(0, 3, 30))
VALUES = RNG.standard_normal((30, 3)).astype(np.float32)


def flat_graph(path: Path) -> None:
    """A graph that gives its images as rows."""
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 4, 4])
    rows = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 48])
    node = onnx.helper.make_node("Flatten", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "flat", [given], [rows])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


def identity_graph(path: Path) -> None:
    """A graph that gives its inputs."""
    both = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "same", both[:1], both[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    PROBES.save(tmp_path / "probes")
    RecordedInputs({"x": VALUES}).save(tmp_path / "inputs")
    flat_graph(tmp_path / "flat.onnx")
    identity_graph(tmp_path / "same.onnx")
    np.save(tmp_path / "recorded.npy", VALUES)
    np.savetxt(tmp_path / "recorded.csv", VALUES, delimiter=",", fmt="%.9g")
    return tmp_path


PIXELS = PROBES.images.astype(np.float32).transpose(0, 3, 1, 2).reshape(30, -1) / 255


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("flat.onnx", ["--probes", "probes", "--json"], PIXELS),
        ("same.onnx", ["--probes", "inputs", "--output", "y"], VALUES),
        ("recorded.npy", ["--probes", "probes", "--output-form", "embeddings"], VALUES),
        ("recorded.csv", ["--probes", "probes", "--no-sandbox"], VALUES),
    ],
)
def test_the_process_that_asks_imports_no_torch(
    files: Path, model: str, options: list[str], expected: np.ndarray
) -> None:
    code = (
        "import sys\n"
        "from sac_fast.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit(', '.join(name for name in ('torch', 'scipy', 'h5py', 'onnx') if name in sys.modules) or 0)"
    )
    command = [sys.executable, "-c", code, "fingerprint", model, *options, "--out", "made", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=files)
    assert done.returncode == 0, done.stderr
    made = Fingerprint.load(files / "made")
    assert np.array_equal(made.array.astype(np.float32), expected)
    assert made.provenance["versions"]["torch"] == torch.__version__
    assert made.provenance["file"]["name"] == model
    assert made.provenance["output_form_declared"] is ("--output-form" in options)
    if "probes" in options:
        assert made.provenance["accuracy"] == float((made.outputs.argmax(1).numpy() == PROBES.labels).mean())
    if "--json" in options:
        assert json.loads(done.stdout)["probe_hash"] == PROBES.content_hash


def test_notes_are_said_once_of_the_declared_form_and_of_all_rows(tmp_path: Path, run) -> None:
    """One probe in 150 with another label would be missed among 100; as class numbers nearly all are equal."""
    ProbeSet.from_arrays(RNG.integers(0, 256, (150, 4, 4, 3), np.uint8)).save(tmp_path / "probes")
    numbers = np.zeros((150, 1), np.float32)
    numbers[1] = 2
    np.save(tmp_path / "numbers.npy", numbers)
    noted = []
    for form in ("labels", "logits"):
        command = ("fingerprint", str(tmp_path / "numbers.npy"), "--probes", str(tmp_path / "probes"), "-q")
        assert run(*command, "--output-form", form, "--out", str(tmp_path / form))[0] == 0
        noted.append(" ".join(Fingerprint.load(tmp_path / form).provenance["notes"]))
    assert noted[0].count("one label for 99% of the probes") == 1
    assert "one label" not in noted[1]


def test_a_form_that_outputs_cannot_have_is_named_as_the_option(files: Path, run) -> None:
    file, probes = str(files / "recorded.npy"), str(files / "probes")
    command = ("fingerprint", file, "--probes", probes, "--out", str(files / "made"), "-q", "--output-form", "labels")
    code, _, err = run(*command)
    assert code == 2
    assert "--output-form: must be logits or similarities or embeddings for these outputs, got 'labels'" in err
    assert not (files / "made").exists()


def test_a_worker_gets_the_threads_that_torch_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    code = "import torch; from sac_fast.scan.budgets import default_threads as d; print(d(), torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain)
    ours, theirs = done.stdout.split()
    assert ours == theirs
    for values, expected in (("1", None), 1), (("4,2", "1"), 1), (("1", "x"), int(ours)), (("0", None), int(ours)):
        for name, value in zip(names, values, strict=True):
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        assert default_threads() == expected
