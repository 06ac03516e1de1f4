"""The table of ops: what each is called with, what defines it, and what each backend serves.

Dispatch, `sac_fast.capabilities()`, the support table of the docs and the uniform test suite
(tests/ops/test_all_ops.py) come from it. It follows FlashInfer, whose ops declare what each backend requires, and timm,
whose models stand in one registry that says how to build and test each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from . import reference
from .arguments import COMPARISONS, FLOATING, METRICS


@dataclass(frozen=True)
class Support:
    """What one backend serves of an op.

    Attributes:
        dtypes: of the inputs.
        metrics, comparisons: empty where the op has none; other comparisons are refused by the op itself.
        shapes: in words, which shapes the kernel takes, and what takes the others.
        compiled: whether it needs the compiled module.
        ran_on_gpu: of a CUDA kernel, whether a GPU has run it; `backend="auto"` takes only such.
        takes_host_tensors: a CUDA kernel that is asked for by name reads inputs of the host's memory too.
    """

    dtypes: tuple[torch.dtype, ...] = FLOATING
    metrics: tuple[str, ...] = METRICS
    comparisons: tuple[str, ...] = ("l1",)
    shapes: str = "any n ≥ 2, k ≥ 1"
    compiled: bool = True
    ran_on_gpu: bool = False
    takes_host_tensors: bool = False


@dataclass(frozen=True)
class Op:
    """A row of the table.

    Attributes:
        name: of the public function, `torch.ops.sac_fast.<name>`, and of the files of every layer.
        calls: the arguments of the public function, each with its kind, for which the uniform tests have good and bad
            values; one mapping for each form of input that it takes.
        schemas: of the registered ops that stand behind the public one, by name; `backend` chooses the implementation.
        backends: what each serves.
        definition: the op in plain PyTorch, which every backend is measured against.
    """

    name: str
    calls: tuple[Mapping[str, str], ...]
    schemas: Mapping[str, str]
    backends: Mapping[str, Support]
    definition: Callable[..., Any] = field(repr=False)


def _declare(
    name: str, calls: tuple[Mapping[str, str], ...], schema: str, backends: Mapping[str, Support], **schemas: str
) -> Op:
    """A row whose definition is the function of its name in `reference`; `schemas` stand beside that of its name."""
    return Op(name, calls, {name: schema, **schemas}, backends, getattr(reference, name))


_OPTIONS = {"metric": "metric", "sigma": "sigma", "backend": "backend"}
_LEVEL = 'str backend, str precision="highest"'
_REFERENCE = Support(compiled=False)
_TILES = "k ≤ 2,048 on tensor cores; longer rows, float64 and rbf with 2σ² < 1: "
_MOMENTS = "l2, rsa and cka by torch's products in float64"

_ROWS = (
    _declare(
        "correlation_matrix",
        ({"outputs": "outputs", **_OPTIONS},),
        "(Tensor outputs, str metric, float sigma, str backend) -> Tensor",
        {
            # torch's product in float64: float32 sums of long rows of one sign would be wrong by more than 1e-6
            "cpu": Support(comparisons=(), compiled=False),
            "cuda": Support(comparisons=(), shapes=_TILES + "torch's product in float64"),
            "reference": Support(comparisons=(), compiled=False),
        },
    ),
    _declare(
        "correlation_distance",
        (
            {
                "a": "differentiable",
                "b": "differentiable, same probes",
                **_OPTIONS,
                "comparison": "comparison",
                "precision": "precision",
            },
        ),
        f"(Tensor a, Tensor b, str metric, str comparison, float sigma, {_LEVEL}) -> Tensor",
        {
            "cpu": Support(comparisons=COMPARISONS, shapes=f"any; {_MOMENTS}"),
            "cuda": Support(comparisons=COMPARISONS, shapes=f"{_TILES}the float64 kernel; {_MOMENTS}"),
            "reference": Support(comparisons=COMPARISONS, compiled=False),
        },
        correlation_distance_backward="(Tensor grad, Tensor a, Tensor b, str metric, str comparison, float sigma,"
        " bool wants_a, bool wants_b, str backend) -> (Tensor, Tensor)",
    ),
    _declare(
        "correlation_distances",
        ({"source": "outputs", "suspects": "models", **_OPTIONS, "precision": "precision"},),
        f"(Tensor source, Tensor[] suspects, str metric, float sigma, {_LEVEL}) -> Tensor",
        {"cpu": Support(), "cuda": Support(shapes=_TILES + "the float64 kernel"), "reference": _REFERENCE},
    ),
    _declare(
        "pairwise_correlation_distances",
        ({"models": "models", **_OPTIONS, "precision": "precision"},),
        f"(Tensor[] models, str metric, float sigma, {_LEVEL}) -> Tensor",
        {"cpu": Support(), "cuda": Support(), "reference": _REFERENCE},
    ),
    _declare(
        "correlation_vector",
        ({"outputs": "outputs", **_OPTIONS, "dtype": "dtype"},),
        "(Tensor outputs, str metric, float sigma, str backend) -> Tensor",
        {
            "cpu": Support(comparisons=()),
            "cuda": Support(comparisons=(), shapes=_TILES + "the definition"),
            "reference": Support(comparisons=(), compiled=False),
        },
    ),
    _declare(
        "nearest_models",
        (
            {"models": "models", "queries": "models", "top": "top", "first_pass": "first_pass", **_OPTIONS},
            {"models": "vectors", "queries": "same vectors", "top": "top", "first_pass": "first_pass", **_OPTIONS},
        ),
        "(Tensor[] models, Tensor[] queries, str metric, float sigma, int top, int candidates, str backend)"
        " -> (Tensor, Tensor)",
        {
            "cpu": Support(shapes="any; stored vectors of uint8, float16 and float32 too"),
            "cuda": Support(shapes="any; stored vectors too, also of the host's memory", takes_host_tensors=True),
            "reference": Support(shapes="any; stored vectors too", compiled=False),
        },
        nearest_vectors="(Tensor models, Tensor? queries, int top, int candidates, str backend) -> (Tensor, Tensor)",
    ),
    _declare(
        "correlation_distance_weighted",
        ({"a": "differentiable", "b": "differentiable, same probes", "weights": "weights", **_OPTIONS},),
        "(Tensor a, Tensor b, Tensor weights, str metric, float sigma, str backend) -> Tensor",
        {"cpu": Support(), "reference": _REFERENCE},
        correlation_distance_weighted_backward="(Tensor grad, Tensor a, Tensor b, Tensor weights, str metric,"
        " float sigma, bool wants_a, bool wants_b, str backend) -> (Tensor, Tensor)",
    ),
    _declare(
        "jpeg_roundtrip",
        ({"images": "images", "quality": "quality", "subsampling": "subsampling", "backend": "backend"},),
        "(Tensor images, Tensor quality, str subsampling, str backend) -> Tensor",
        {
            backend: Support((torch.uint8,), (), (), "gray or RGB, sides of 1 to 65,500 pixels", backend != "reference")
            for backend in ("cpu", "cuda", "reference")
        },
    ),
)
OPS: Mapping[str, Op] = {op.name: op for op in _ROWS}


def cuda_kernels_not_run() -> list[str]:
    """Ops whose CUDA kernels no GPU has run yet: `backend="auto"` does not take them."""
    return sorted(op.name for op in _ROWS if "cuda" in op.backends and not op.backends["cuda"].ran_on_gpu)


def support_markdown() -> str:
    """The table of what each backend serves, for the docs."""
    lines = [
        "| op | backend | dtypes | metrics | comparisons | shapes | run on a GPU |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for op in _ROWS:
        for name, support in op.backends.items():
            cells = (
                f"`{op.name}`",
                name,
                ", ".join(str(dtype).removeprefix("torch.") for dtype in support.dtypes),
                ", ".join(support.metrics) or "–",
                ", ".join(support.comparisons) or "–",
                support.shapes,
                ("yes" if support.ran_on_gpu else "not yet") if name == "cuda" else "–",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
