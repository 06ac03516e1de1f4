"""Running models that answer, and models that do not."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sac_fast.errors import ModelError
from sac_fast.models import Preprocessing, run_model
from sac_fast.probes import ProbeSet

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 4, 6, 3), np.uint8)
PROBES = ProbeSet.from_arrays(PIXELS)
MEANS = torch.from_numpy(PIXELS).to(torch.float32).div(255).mean((1, 2))  # (7, 3)


def mean_colour(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3))


class MeanColour(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * self.scale


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))


def run(model: Any, **options: Any) -> torch.Tensor:
    return run_model(model, PROBES, preprocessing=Preprocessing(), batch_size=3, **options)


def test_run_model_answers() -> None:
    for model in (mean_colour, MeanColour()):
        outputs = run(model)
        assert outputs.dtype == torch.float32
        assert outputs.device.type == "cpu"
        assert not outputs.requires_grad
        assert not outputs.is_inference()
        torch.testing.assert_close(outputs, MEANS)
    outputs.add_(1)


def test_preprocessing_and_batches_reach_the_model() -> None:
    seen: list[torch.Tensor] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        seen.append(x.clone())
        return x.flatten(1)

    preprocessing = Preprocessing(size=(2, 2), mean=(0.5,), layout="NHWC")
    run_model(model, PROBES, preprocessing=preprocessing, batch_size=3)
    assert [tuple(x.shape) for x in seen] == [(3, 2, 2, 3), (3, 2, 2, 3), (1, 2, 2, 3)]
    torch.testing.assert_close(torch.cat(seen), preprocessing(torch.from_numpy(PIXELS)))


@pytest.mark.parametrize("fails", [False, True])
def test_eval_mode_is_set_and_put_back(fails: bool) -> None:
    model = net()
    model[2].eval()  # frozen batch norm in a model that trains
    statistics = model[2].running_mean.clone()
    first = run(model)
    assert torch.equal(first, run(model))  # no dropout
    assert torch.equal(model[2].running_mean, statistics)
    if fails:
        model.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ModelError):
            run(model)
    assert [module.training for module in model.modules()] == [True, True, True, False, True]
    model.eval()
    if not fails:
        run(model)
    assert not any(module.training for module in model.modules())


def test_interrupt_passes_and_puts_eval_mode_back() -> None:
    model = net()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    model.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(model)
    assert model.training


def test_dtype_runs_a_copy() -> None:
    model = MeanColour(1 / 3)
    double = run(model, dtype=torch.float64)
    assert double.dtype == torch.float64
    exact = torch.from_numpy(PIXELS.astype(np.float32)).div(255).double().mean((1, 2))
    torch.testing.assert_close(double, exact * float(np.float32(1 / 3)), rtol=1e-12, atol=0)
    assert run(model, dtype=torch.bfloat16).dtype == torch.float32
    assert model.scale.dtype == torch.float32
    assert model.scale.item() == float(np.float32(1 / 3))
    own = MeanColour().to(torch.bfloat16)
    assert run(own).dtype == torch.float32  # inputs follow the module's own dtype, answers come back as float32
    assert run(lambda x: x.flatten(1), dtype=torch.float64).dtype == torch.float64
    with pytest.raises(ValueError, match=r"dtype must be a floating dtype, got torch\.int64"):
        run(model, dtype=torch.int64)


def test_a_model_that_cannot_be_copied() -> None:
    model = MeanColour()
    model.cache = model.scale * 2  # no leaf: deepcopy refuses
    with pytest.raises(ModelError, match=r"must be copied to run on cpu in torch\.float64"):
        run(model, dtype=torch.float64)
    torch.testing.assert_close(run(model, device="cpu"), MEANS)


@pytest.mark.parametrize("device", ["nonsense", "meta", "cuda:99"])
@pytest.mark.parametrize("model", [mean_colour, MeanColour()])
def test_a_device_that_is_not_there(model: Any, device: str) -> None:
    with pytest.raises(ModelError, match=f"device must be one that torch can use here, got '{device}'"):
        run(model, device=device)


@pytest.mark.cuda
def test_device_runs_a_copy() -> None:
    model = MeanColour()
    torch.testing.assert_close(run(model, device="cuda"), MEANS)
    assert model.scale.device.type == "cpu"
    torch.testing.assert_close(run(model.cuda()), MEANS)
    torch.testing.assert_close(run(model, device="cuda"), MEANS)


@dataclass
class Answer:
    logits: torch.Tensor
    features: torch.Tensor
    loss: None = None


Pair = namedtuple("Pair", ["logits", "features"])


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda a, b: (a, b), 0),
        (lambda a, b: [b, a], 1),
        (lambda a, b: {"logits": a, "features": b}, "logits"),
        (lambda a, b: {3: a, 4: b}, 3),
        (Answer, "logits"),
        (Pair, "logits"),
        (lambda a, b: SimpleNamespace(logits=a, features=b), "logits"),
        (lambda a, b: (a,), None),
        (lambda a, b: (a, None, "text"), None),
        (lambda a, b: {"logits": a, "loss": None}, None),
        (lambda a, b: Answer(a, None), None),  # type: ignore[arg-type]
        (lambda a, b: (a.numpy(), b.numpy()), 0),
        (lambda a, b: a.numpy()[:, ::-1][:, ::-1], None),
    ],
)
def test_output_picks(wrap: Any, output: Any) -> None:
    outputs = run(lambda x: wrap(mean_colour(x), x.flatten(1)), output=output)
    torch.testing.assert_close(outputs, MEANS)


@pytest.mark.parametrize(
    ("wrap", "output", "message"),
    [
        (
            lambda a: (a, a),
            None,
            r"must return one tensor, got tuple with 2; pick one with output= \(--output\) \(choices: 0, 1\)",
        ),
        (lambda a: {"u": a, "v": a}, None, r"\(choices: 'u', 'v'\)"),
        (lambda a: Answer(a, a), None, r"got Answer with 2.*'logits', 'features'"),
        (lambda a: {"u": a}, "w", r"output='w' must name a tensor in the model's dict \(choices: 'u'\)"),
        (lambda a: (a, a), 2, "output=2 must name a tensor in the model's tuple"),
        (lambda a: (a, a), "logits", "output='logits' must name a tensor"),
        (lambda a: Answer(a, a), "loss", "output='loss' must name a tensor"),
        (lambda a: (a, 3.0), 1, "output=1 must name a tensor"),
        (
            lambda a: a,
            0,
            r"must return several outputs for one to be picked, got output=0 \(--output\), but it returns one",
        ),
        (lambda a: None, None, "got NoneType with 0"),
        (lambda a: (), None, r"got tuple with 0.*\(choices: none\)"),
        (lambda a: "text", None, "got str with 0"),
        (lambda a: a.tolist(), None, "got list with 0"),
        (lambda a: np.array([["a"]] * len(a)), None, "must return numbers, got a NumPy array of <U1"),
        (lambda a: a > 0, None, "must return dense real numbers, got .*bool"),
        (lambda a: a.to(torch.complex64), None, "dense real numbers"),
        (lambda a: a.to_sparse(), None, "dense real numbers"),
        (lambda a: a[:-1], None, "must return 3 rows for a batch of 3, got 2"),
        (lambda a: torch.cat([a, a]), None, "must return 3 rows for a batch of 3, got 6"),
        (lambda a: a.sum(), None, "must return 3 rows for a batch of 3, got a single number"),
        (lambda a: a[:, :0], None, r"at least one value a probe, got shape \(3, 0\)"),
        (
            lambda a: a if len(a) == 3 else a[:, :2],
            None,
            r"must return 3 values a probe as before, got 2.*batch 2",
        ),
        (lambda a: a.squeeze(0), None, "must return 1 rows for a batch of 1, got 3"),
        (lambda a: a / 0 * 0, None, "must return finite numbers, got nan for probe 0"),
        (lambda a: a.half() * 60000 * 60000, None, "must return finite numbers, got inf for probe 0"),
    ],
)
def test_outputs_that_cannot_be_used(wrap: Any, output: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        run(lambda x: wrap(mean_colour(x)), output=output)


@pytest.mark.parametrize(
    ("wrap", "reason"),
    [
        (lambda a: a[:-1], "wrong-shape"),
        (lambda a: a[:, :0], "wrong-shape"),
        (lambda a: a if len(a) == 3 else a[:, :2], "wrong-shape"),
        (lambda a: a / 0, "not-finite"),
        (lambda a: a > 0, None),
        (lambda a: a["x"], None),
    ],
)
def test_reason_of_outputs_that_cannot_be_used(wrap: Any, reason: str | None) -> None:
    with pytest.raises(ModelError) as caught:
        run(lambda x: wrap(mean_colour(x)))
    assert caught.value.reason == reason


def test_nan_names_the_probe() -> None:
    calls: list[int] = []

    def model(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        answer = x.flatten(1).clone()
        if len(calls) == 2:
            answer[1, 5] = float("-inf")
        return answer

    with pytest.raises(ModelError, match="must return finite numbers, got -inf for probe 4"):
        run(model)


def test_large_outputs_are_kept_whose_sum_is_not_finite() -> None:
    values = torch.tensor([3e38, 3e38, -3e38, -3e38])
    assert torch.equal(run(lambda x: values.repeat(len(x), 1)), values.repeat(7, 1))


def test_shapes_of_outputs() -> None:
    assert run(lambda x: x).shape == (7, 72)
    assert run(lambda x: x.mean((1, 2, 3))).shape == (7, 1)
    integers = run(lambda x: torch.arange(len(x) * 2).reshape(-1, 2))
    assert integers.dtype == torch.float32
    assert integers[:3].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_exception_in_the_model_names_the_batch() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        if len(x) == 1:
            raise IndexError("out of luck")
        return x

    with pytest.raises(ModelError, match=r"failed on probes 6 to 6 \(batch 2\): IndexError: out of luck") as caught:
        run(model)
    assert isinstance(caught.value.__cause__, IndexError)


def test_wrong_arguments() -> None:
    with pytest.raises(ModelError, match=r"must be an nn\.Module or a callable, got str"):
        run("model")
    for size in (0, 2.5):
        with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
            run_model(mean_colour, PROBES, preprocessing=Preprocessing(), batch_size=size)  # type: ignore[arg-type]


def test_progress_stays_off_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    run(mean_colour, progress=True)
    assert capsys.readouterr().out == ""
