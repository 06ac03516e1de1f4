"""Models of every format: what they answer, what they are called, and which architecture is taken."""

from __future__ import annotations

import hashlib
import sys
import types
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from support.hostile_onnx import linear_onnx, onnx_model
from torch import nn

import sac_fast
from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.io.container import save_container
from sac_fast.models import ModelEntry, identify, open_model, run_inputs, save_weights, weights_hash

INPUTS = torch.rand(7, 12, generator=torch.Generator().manual_seed(0))
OUTPUTS = np.random.default_rng(0).standard_normal((7, 3))
LINEAR = 'torch.nn:Linear {"in_features": 12, "out_features": 3}'
LINEAR_KWARGS = {"in_features": 12, "out_features": 3}


class Tied(nn.Module):
    """Two names for one weight, a buffer that no file holds, and half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(12, 12, bias=False)
        self.b = nn.Linear(12, 12, bias=False)
        self.b.weight = self.a.weight
        self.register_buffer("scale", torch.tensor(2.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x)) * self.scale


class Stubborn(nn.Linear):
    """Looks at a value when it is built, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__(12, 3)
        self.sum = float(self.weight.sum())


def opened(path: Path, **options: Any) -> Any:
    architectures = options.pop("architectures", ())
    return open_model(ModelEntry("m", path, **options), architectures=architectures)


def test_weights_of_all_forms_answer_alike(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Linear(12, 3)
    expected = (INPUTS.double() @ model.weight.detach().double().T + model.bias.detach().double()).float()
    save_weights(tmp_path / "safetensors", model)
    torch.save(model.state_dict(), tmp_path / "torch")
    torch.save(model.state_dict(), tmp_path / "torch-legacy", _use_new_zipfile_serialization=False)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}, "epoch": 3}, tmp_path / "nested"
    )
    torch.save({key: nn.Parameter(value) for key, value in model.state_dict().items()}, tmp_path / "parameters")
    for name in ("safetensors", "torch", "torch-legacy", "nested", "parameters"):
        with opened(tmp_path / name, architectures=[LINEAR]) as found:
            assert (
                found.format
                == identify(tmp_path / name)
                == (name if name in ("safetensors", "torch-legacy") else "torch")
            )
            assert found.model_hash == weights_hash(model)
            assert (found.architecture, found.kwargs, found.recorded) == ("torch.nn:Linear", LINEAR_KWARGS, False)
            answer = found.run(INPUTS, batch_size=2)
            torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-6)
            assert found.to("cpu", torch.float64).run(INPUTS.double()).dtype == torch.float64
            with pytest.raises(ModelError, match="inputs must be a tensor"):
                found.run(None)
        with pytest.raises(ModelError, match="was closed"):
            found.run(INPUTS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_architecture_s(tmp_path: Path, dtype: torch.dtype) -> None:
    model = nn.Linear(12, 3).to(dtype)
    save_weights(tmp_path / "w", model)
    found = opened(tmp_path / "w", architectures=[LINEAR])
    assert found.model_hash == weights_hash({key: value.float() for key, value in model.state_dict().items()})
    assert found.run(INPUTS).dtype == torch.float32


def test_tied_weights_and_buffers_that_no_file_holds(tmp_path: Path) -> None:
    model = Tied()
    save_weights(tmp_path / "w", model)
    found = opened(tmp_path / "w", architecture=f"{__name__}:Tied")
    weight = model.a.weight.detach()
    torch.testing.assert_close(found.run(INPUTS), 2 * INPUTS @ weight.T @ weight.T)


def test_inference_takes_the_only_one_that_fits(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", nn.Linear(12, 3))
    others = ['torch.nn:Linear {"in_features": 12, "out_features": 4}', "torch.nn:Identity", LINEAR, LINEAR]
    assert opened(tmp_path / "w", architectures=others).kwargs == LINEAR_KWARGS
    assert opened(tmp_path / "w", architectures=[f"{__name__}:Stubborn"]).architecture == f"{__name__}:Stubborn"
    for architectures, reason in (
        ([], "no-architecture"),
        (others[:2], "no-architecture"),
        ([LINEAR, f"{__name__}:Stubborn"], "ambiguous-architecture"),
    ):
        with pytest.raises(ModelRefusedError) as caught:
            opened(tmp_path / "w", architectures=architectures)
        assert caught.value.reason == reason
    with pytest.raises(ModelError, match="must be a JSON object, got 'x'"):
        opened(tmp_path / "w", architectures=["torch.nn:Linear x"])
    with pytest.raises(ModelError, match=r"1 mismatched|2 mismatched"):
        opened(tmp_path / "w", architecture="torch.nn:Linear", kwargs={"in_features": 12, "out_features": 4})


def test_inference_allocates_nothing(tmp_path: Path) -> None:
    save_weights(tmp_path / "w", nn.Linear(12, 3))
    huge = 'torch.nn:Linear {"in_features": 10000000, "out_features": 10000000}'  # 400 TB
    assert opened(tmp_path / "w", architectures=[huge, LINEAR]).kwargs == LINEAR_KWARGS


def test_timm_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_weights(tmp_path / "w", nn.Linear(12, 3))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelRefusedError, match=r"pip install 'sac-fast\[timm\]'") as caught:
        opened(tmp_path / "w", architecture="timm:linear")
    assert caught.value.reason == "missing-extra"
    calls = []

    def create_model(name: str, **kwargs: Any) -> Any:
        calls.append((name, kwargs))
        return nn.Linear(12, 3) if name == "linear" else 3

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create_model))
    kwargs = {"num_classes": 3, "pretrained": True}
    assert opened(tmp_path / "w", architecture="timm:linear", kwargs=kwargs).run(INPUTS).shape == (7, 3)
    assert calls == [("linear", {"num_classes": 3, "pretrained": False})]
    for spec, message in (("timm:other", "must return an nn.Module"), ("timm:hf-hub:a/b", "without a hub")):
        with pytest.raises(ModelError, match=message):
            opened(tmp_path / "w", architecture=spec)
    # timm unpickles it as it is.
    with pytest.raises(ModelError, match="must not hold checkpoint_path, got 'evil"):
        opened(tmp_path / "w", architecture="timm:linear", kwargs={"checkpoint_path": "evil.pth"})


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


def test_onnx_answers_as_its_definition(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    raw = linear_onnx(weight).SerializeToString()
    (tmp_path / "m.bin").write_bytes(raw)
    found = opened(tmp_path / "m.bin")
    assert (found.format, found.recorded, found.architecture) == ("onnx", False, None)
    assert found.model_hash == "sha256:" + hashlib.sha256(raw).hexdigest()
    expected = (INPUTS.numpy().astype(np.float64) @ weight).astype(np.float32)
    np.testing.assert_allclose(found.run(INPUTS, batch_size=2).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert found.to("cpu", torch.float64).run(INPUTS.double()).dtype == torch.float32
    found.close()
    with pytest.raises(ModelError, match="was closed"):
        found.run(INPUTS)


def test_onnx_outputs_batches_and_external_data(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    weight = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    model = onnx_model(nodes, {"w": weight})
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2  # two rows, no more and no fewer
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    expected = INPUTS.numpy() @ weight
    for output, wanted in (("y", expected), (1, expected.clip(0)), ("z", expected.clip(0))):
        found = opened(tmp_path / "m.onnx", output=output)
        np.testing.assert_allclose(found.run(INPUTS).numpy(), wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match=r"pick one with output= \(choices: 'y', 'z'\)"):
        opened(tmp_path / "m.onnx").run(INPUTS)
    first = found.model_hash
    (tmp_path / "m.data").write_bytes((weight + 1).tobytes())
    assert opened(tmp_path / "m.onnx", output="y").model_hash != first


def test_onnx_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").write_bytes(linear_onnx(np.ones((12, 3), np.float32)).SerializeToString())
    assert identify(tmp_path / "m") == "onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelRefusedError, match=r"pip install 'sac-fast\[onnx\]'") as caught:
        opened(tmp_path / "m")
    assert caught.value.reason == "missing-extra"


def test_run_inputs_is_run_model_after_the_preprocessing() -> None:
    model = nn.Linear(12, 3).train()
    assert torch.equal(run_inputs(model, INPUTS, batch_size=3), run_inputs(model, INPUTS, batch_size=3))
    assert model.training
    assert run_inputs(lambda x: (x, x[:, :2]), INPUTS, output=1).shape == (7, 2)
    with pytest.raises(ModelError, match="got nan for probe 4"):
        run_inputs(lambda x: torch.where(x == INPUTS[4, 5], torch.nan, x), INPUTS, batch_size=2)
    with pytest.raises(ValueError, match=r"inputs must be \(n, ...\) with n at least 1, got \(0, 12\)"):
        run_inputs(model, INPUTS[:0])


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
    assert (code, "recorded outputs must have 7 rows like the probes, got 5" in err) == (1, True)
