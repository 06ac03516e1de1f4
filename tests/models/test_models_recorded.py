"""Recorded outputs of every format as models."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from support.hostile_onnx import onnx_model
from support.opened_models import INPUTS, opened
from torch import nn

import sac_fast
from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.io.container import save_container
from sac_fast.models import identify, save_weights

OUTPUTS = np.random.default_rng(0).standard_normal((7, 3))


def _write_outputs(folder: Path) -> None:
    np.save(folder / "c.npy", OUTPUTS)
    np.save(folder / "fortran.npy", np.asfortranarray(OUTPUTS))
    np.save(folder / "big-endian.npy", OUTPUTS.astype(">f8"))
    np.savez(folder / "named.npz", outputs=OUTPUTS, other=OUTPUTS + 1)
    np.savez_compressed(folder / "single.npz", what=OUTPUTS)
    np.savetxt(folder / "plain.csv", OUTPUTS, delimiter=",", fmt="%.17g")
    np.savetxt(folder / "header.csv", OUTPUTS, delimiter=", ", fmt="%.17g", header="a,b,c", comments="", newline="\r\n")
    with h5py.File(folder / "gzip.h5", "w") as file:
        file.create_dataset("outputs", data=OUTPUTS, compression="gzip", shuffle=True, fletcher32=True, chunks=(2, 2))
        file["labels"] = np.zeros(7)
    for name in ("lzf.h5", "lzf-block.h5"):
        with h5py.File(folder / name, "w", userblock_size=512 if "block" in name else 0) as file:
            file.create_dataset("outputs", data=OUTPUTS, compression="lzf", shuffle=True, chunks=(3, 2))
    with (folder / "lzf-block.h5").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    with h5py.File(folder / "plain.h5", "w") as file:
        file["what"] = OUTPUTS
    save_weights(folder / "outputs.safetensors", {"outputs": torch.from_numpy(OUTPUTS)})


def test_recorded_outputs_of_all_forms(tmp_path: Path) -> None:
    _write_outputs(tmp_path)
    line = b'["outputs","float64",[7,3]]\n'
    expected = "sha256:" + hashlib.sha256(line + OUTPUTS.tobytes()).hexdigest()
    for path in sorted(tmp_path.iterdir()):
        found = opened(path)
        assert found.recorded, path
        assert found.model_hash == expected, path
        assert np.array_equal(found.run(None).numpy(), OUTPUTS), path
        assert found.run(INPUTS).shape == (7, 3)
        with pytest.raises(ModelError, match="must have 6 rows like the probes, got 7"):
            found.run(INPUTS[:6])


@pytest.mark.parametrize("kind", ["zeros", "repeats", "noise", "text"])
def test_lzf_gives_back_what_h5py_wrote(tmp_path: Path, kind: str) -> None:
    """Runs, long matches, matches over themselves, and chunks that it could not make smaller."""
    rng = np.random.default_rng(3)
    values = {
        "zeros": np.zeros((400, 9)),
        "repeats": np.tile(rng.integers(0, 9, (7, 9)), (60, 1)),
        "noise": rng.standard_normal((300, 9)),
        "text": rng.integers(0, 3, (500, 9)),
    }[kind]
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file.create_dataset("outputs", data=values, compression="lzf", chunks=(64, 9))
    assert np.array_equal(opened(tmp_path / "o.h5").run(None).numpy(), values)


def test_vectors_are_one_column(tmp_path: Path) -> None:
    numbers = np.array([3, 1, 2, 0, 9, 9, 7])
    np.save(tmp_path / "a.npy", numbers)
    np.savez(tmp_path / "a.npz", numbers)
    np.savetxt(tmp_path / "a.csv", numbers, fmt="%d")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("outputs", data=numbers, compression="gzip", chunks=(2,))
    save_weights(tmp_path / "a.safetensors", {"outputs": torch.from_numpy(numbers)})
    for path in tmp_path.iterdir():
        answer = opened(path).run(None)
        assert answer.tolist() == [[3], [1], [2], [0], [9], [9], [7]], path


@pytest.mark.parametrize("dtype", ["f2", "f4", "i1", "u1", "i2", "u2"])
def test_narrow_outputs_become_float32(tmp_path: Path, dtype: str) -> None:
    values = np.arange(21).reshape(7, 3).astype(dtype)
    np.save(tmp_path / "a", values)
    answer = opened(tmp_path / "a.npy").run(None)
    assert answer.dtype == torch.float32
    assert answer.tolist() == values.tolist()


def test_the_array_is_picked_by_output(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", outputs=OUTPUTS, other=OUTPUTS + 1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["outputs"] = OUTPUTS
        file["group/other"] = OUTPUTS + 1
    for name, key in (("a.npz", "other"), ("a.h5", "group/other"), ("a.h5", "/group/other")):
        assert np.array_equal(opened(tmp_path / name, output=key).run(None).numpy(), OUTPUTS + 1)
    for name in ("a.npz", "a.h5"):
        with pytest.raises(ModelRefusedError) as caught:
            opened(tmp_path / name, output="nothing")
        assert caught.value.reason == "which-array"


def test_fingerprints_are_recorded_outputs(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    made = sac_fast.fingerprint(lambda x: x.mean((2, 3)), sac_fast.ProbeSet.from_arrays(pixels), name="x")
    made.save(tmp_path / "f")
    assert identify(tmp_path / "f") == "fingerprint"
    assert torch.equal(opened(tmp_path / "f").run(None), made.outputs)
    assert opened(tmp_path / "f").probe_hash == made.probe_hash


def test_fingerprints_of_other_probes_are_not_answers_to_these(tmp_path: Path, run: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    own, other = sac_fast.ProbeSet.from_arrays(pixels), sac_fast.ProbeSet.from_arrays(pixels[::-1])
    made = sac_fast.fingerprint(lambda x: x.mean((2, 3)), own, name="x")
    made.save(tmp_path / "f")
    assert torch.equal(sac_fast.fingerprint(opened(tmp_path / "f"), own).outputs, made.outputs)
    message = f"must be of the probes {other.content_hash}, got a fingerprint of {own.content_hash}"
    with pytest.raises(ModelError, match=message):
        sac_fast.fingerprint(opened(tmp_path / "f"), other)
    other.save(tmp_path / "probes")
    code, _, err = run("fingerprint", tmp_path / "f", "--probes", tmp_path / "probes", "--out", tmp_path / "g")
    assert code == 1
    assert own.content_hash in " ".join(err.split())
    assert not (tmp_path / "g").exists()
    save_container(tmp_path / "f", "fingerprint", {"outputs": made.outputs.numpy()}, {"provenance": {"name": "x"}})
    with pytest.raises(ModelRefusedError, match="must state its probes"):
        opened(tmp_path / "f")


def test_fingerprint_command_takes_model_files(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    probes = sac_fast.ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (7, 2, 2, 3), np.uint8))
    probes.save("probes")
    pixels = probes.images.transpose(0, 3, 1, 2).reshape(7, 12).astype(np.float64) / 255
    np.save("recorded.npy", OUTPUTS)
    from onnx import helper

    weight = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    model = onnx_model(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])], {"w": weight}
    )
    del model.graph.input[0].type.tensor_type.shape.dim[1:]
    for side in (3, 2, 2):
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=side)
    Path("m.onnx").write_bytes(model.SerializeToString())
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    save_weights("weights", network)
    Path("models_of_test.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n"
    )
    network_outputs = pixels @ network[1].weight.detach().double().numpy().T + network[1].bias.detach().double().numpy()
    for file, expected, more in (
        ("recorded.npy", OUTPUTS, ()),
        ("m.onnx", pixels @ weight, ()),
        ("weights", network_outputs, ("--architecture", "torch.nn:Identity", "--architecture", "models_of_test:net")),
    ):
        code, _, err = run("fingerprint", file, "--probes", "probes", "--out", f"{file}.f", "-q", *more)
        assert (code, err) == (0, "")
        made = sac_fast.Fingerprint.load(f"{file}.f")
        np.testing.assert_allclose(made.outputs.numpy(), expected, rtol=1e-5, atol=1e-6)
        assert made.model_hash == opened(Path(file), architectures=more[1::2]).model_hash
    np.save("short.npy", OUTPUTS[:5])
    code, _, err = run("fingerprint", "short.npy", "--probes", "probes", "--out", "f", "-q")
    assert (code, "7 rows" in err, "got 5" in err) == (1, True, True)
