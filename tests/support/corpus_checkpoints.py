"""Files of weights of the corpus: whatever torch and safetensors write around a state dict, and their neighbours."""

from __future__ import annotations

import argparse
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from .checkpoints import sharded
from .corpus import BIAS, NETWORK, PIXELS, WEIGHT, Case, Net, content, network, saved, weights

KEYS = ("net", "model", "model_state_dict", "state_dict", "weight", "ema", "state_dict_ema", "params_ema")
LEGACY = {"_use_new_zipfile_serialization": False}
#: The weight of `Tied`, and what it gives for the probes.
SQUARE = np.random.default_rng(4).standard_normal((12, 12)).astype(np.float32)
TWICE = PIXELS @ SQUARE.astype(np.float64).T @ SQUARE.astype(np.float64).T


def _torch(name: str, value: Any, outcome: Any = NETWORK, says: str = "", **options: Any) -> Case:
    """What ``torch.save`` makes of a value."""
    key = {"weights_key": options.pop("key")} if "key" in options else {}
    format = "torch-legacy" if "_use_new_zipfile_serialization" in options else "torch"
    return Case(name, saved(lambda file: torch.save(value, file, **options)), format, outcome, says, key)


def _safe(name: str, state: Any, outcome: Any = NETWORK, says: str = "", **metadata: str) -> Case:
    return Case(name, content(safetensors.torch.save(state, metadata or None)), "safetensors", outcome, says)


def _prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in weights().items()}


def wrapped_cases() -> list[Case]:
    """State dicts under keys, and with prefixes before their names."""
    state, other = weights(), {key: value + 1 for key, value in weights().items()}
    two = {"state_dict": state, "state_dict_ema": other}
    inner = {"run": {"best": {"model": state}}}
    flat = {**_prefixed("q."), **{f"k.{key}": value for key, value in other.items()}}
    return [
        *(_torch(f"key-{key}.pt", {key: state, "epoch": 3}, NETWORK, f"weights under '{key}'") for key in KEYS),
        _torch("key-deep.pt", inner, NETWORK, "weights under 'run.best.model'"),
        _torch("key-default-dict.pt", defaultdict(dict, {"model": state}), NETWORK, "weights under 'model'"),
        _torch("key-optimizer.pt", {"model": state, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}),
        _torch("key-random.pt", {"model": state, "rng_state": torch.get_rng_state()}),
        _torch("several.pt", two, "which-weights", "--weights-key"),
        _torch("several-equal.pt", {"model": state, "ema": dict(state)}, NETWORK, "weights under 'model'"),
        _torch("several-named.pt", two, NETWORK, "weights under 'state_dict'", key="state_dict"),
        _torch("several-wrong.pt", two, "which-weights", "'state_dict_ema'", key="ema"),
        _torch("two-networks.pt", flat, "no-architecture", "unexpected"),
        _torch("two-networks-named.pt", flat, NETWORK, "weights under 'q'", key="q"),
        *(
            _torch(f"prefix-{prefix}pt", _prefixed(prefix), NETWORK, f"prefix '{prefix}' removed")
            for prefix in ("module.", "model.", "backbone.", "net.", "encoder.")
        ),
        _torch("prefix-compiled.pt", _prefixed("_orig_mod.")),
        _torch("prefix-nested.pt", _prefixed("module._orig_mod.model."), NETWORK, "prefix 'module.model.' removed"),
        _torch("prefix-sharded.pt", _prefixed("_fsdp_wrapped_module.")),
        _torch("prefix-key.pt", {"state_dict": _prefixed("model.")}, NETWORK, "prefix 'model.' removed"),
        _torch("averaged.pt", {"n_averaged": torch.tensor(7), **_prefixed("module.")}, NETWORK, "'module.'"),
        _safe("prefix.safetensors", _prefixed("model."), NETWORK, "prefix 'model.' removed"),
    ]


def beside_cases() -> list[Case]:
    """Weights with other things beside them, in every protocol."""
    state, legacy = weights(), LEGACY
    foreign = {"model": state, "args": argparse.Namespace(lr=0.1, out=Path("x")), "where": Path("y")}
    numbers = {"model": state, "best": np.float64(0.9), "curve": np.arange(3), "kind": np.dtype("f4")}
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    return [
        *(_torch(f"protocol-{n}.pt", {"model": state, "raw": b"x" * 300}, pickle_protocol=n) for n in (2, 3, 4, 5)),
        *(_torch(f"legacy-{n}.pt", {"model": state}, pickle_protocol=n, **legacy) for n in (2, 3, 4, 5)),
        _torch("beside-number.pt", {**state, "epoch": 3, "lr": 0.1}, NETWORK, "left out: epoch, lr"),
        _torch("beside-sets.pt", {"model": state, "seen": {1, 2}, "frozen": frozenset("ab"), "at": range(3)}),
        _torch("beside-numpy.pt", numbers),
        _torch("beside-foreign.pt", foreign),
        _torch("beside-object.pt", {**state, "args": argparse.Namespace(lr=0.1)}, NETWORK, "left out: args"),
        _torch("beside-quantised.pt", {"model": state, "q": {"w": quantised}}),
        _torch("beside-float8.pt", {"model": state, "scale": torch.ones(2).to(torch.float8_e4m3fn)}),
        _torch("beside-code.pt", {"model": state, "x": _Calls()}, "pickle", "needs code to run"),
        _torch("parameters.pt", {key: nn.Parameter(value) for key, value in state.items()}),
        _torch("ordered.pt", OrderedDict(reversed(state.items()))),
        _torch("transposed.pt", {**state, "linear.weight": state["linear.weight"].T.contiguous().T}),
        _torch("view.pt", {**state, "linear.weight": torch.cat([state["linear.weight"]] * 2)[3:]}),
    ]


class _Calls:
    def __reduce__(self) -> Any:
        return eval, ("1",)


def dtype_cases() -> list[Case]:
    """Other dtypes than the network's: floats are converted, and nothing else."""

    def narrowed(dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], np.ndarray[Any, Any]]:
        state = {key: value.to(dtype) for key, value in weights().items()}
        return state, network(*(value.double().numpy() for value in state.values()))

    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
    made = [(str(kind).removeprefix("torch."), *narrowed(kind)) for kind in kinds]
    whole = {key: value.round().to(torch.int8) for key, value in weights().items()}
    return [
        *(_torch(f"{name}.pt", state, outcome) for name, state, outcome in made),
        *(_safe(f"{name}.safetensors", state, outcome) for name, state, outcome in made),
        _torch("int8.pt", whole, "no-architecture", "expected float32 (3, 12), got int8 (3, 12)"),
        _torch("complex.pt", {k: v.to(torch.complex64) for k, v in weights().items()}, "no-architecture", "complex64"),
    ]


def parametrized_cases() -> list[Case]:
    """States saved with torch's pruning and parametrization utilities still attached; the weight by NumPy."""
    weight, bias = torch.from_numpy(WEIGHT.copy()), torch.from_numpy(BIAS.copy())
    mask = torch.arange(36).reshape(3, 12) % 2
    length = weight.norm(dim=1, keepdim=True)
    u, sigma, v = np.linalg.svd(WEIGHT.astype(np.float64), full_matrices=False)
    left, right = torch.from_numpy(u[:, 0]).float(), torch.from_numpy(v[0]).float()
    new, spectral = "linear.parametrizations.weight", network(WEIGHT / sigma[0])
    names: dict[str, tuple[dict[str, torch.Tensor], Any, str]] = {
        "pruned": (
            {"linear.weight_orig": weight, "linear.weight_mask": mask.float()},
            network(WEIGHT * mask.numpy()),
            "pruning undone",
        ),
        "weight-norm-old": ({"linear.weight_g": length, "linear.weight_v": 3 * weight}, NETWORK, "weight norm undone"),
        "weight-norm": ({f"{new}.original0": length, f"{new}.original1": 3 * weight}, NETWORK, "weight norm undone"),
        "spectral-norm-old": (
            {"linear.weight_orig": 5 * weight, "linear.weight_u": left, "linear.weight_v": right},
            spectral,
            "spectral norm undone",
        ),
        "spectral-norm": (
            {f"{new}.original": 5 * weight, f"{new}.0._u": left, f"{new}.0._v": right},
            spectral,
            "spectral norm undone",
        ),
        "orthogonal": ({f"{new}.original": weight, f"{new}.0.base": weight}, "no-architecture", f"unexpected: {new}"),
    }
    return [_torch(f"{name}.pt", {**state, "linear.bias": bias}, *rest) for name, (state, *rest) in names.items()]


def tied_cases() -> list[Case]:
    """One tensor under two names: twice in the file, once, or once with a note of the other name."""
    square = torch.from_numpy(SQUARE.copy())
    return [
        _torch("tied.pt", {"a.weight": square, "b.weight": square}, TWICE),
        _torch("tied-copies.pt", {"a.weight": square, "b.weight": square.clone()}, TWICE),
        _safe("tied.safetensors", {"a.weight": square}, TWICE),
        _safe("tied-noted.safetensors", {"a.weight": square}, TWICE, **{"b.weight": "a.weight"}),
        _safe("tied-other-name.safetensors", {"b.weight": square}, TWICE),
        # Of two that differ torch keeps the last one.
        _torch("untied.pt", {"a.weight": square + 1, "b.weight": square}, TWICE),
    ]


def sharded_cases() -> list[Case]:
    """Checkpoints in several files with an index."""

    def parts(form: str, change: Callable[[Path], Any] = lambda folder: None) -> Callable[[Path], Any]:
        def write(path: Path) -> None:
            sharded(path.parent, weights(), form)
            change(path.parent)

        return write

    def without(folder: Path) -> None:
        next(folder.glob("*-00002-of-*")).unlink()

    safe, torchs = "model.safetensors.index.json", "pytorch_model.bin.index.json"
    return [
        Case(f"sharded/{safe}", parts("safetensors"), "sharded", NETWORK),
        Case(f"sharded-torch/{torchs}", parts("torch"), "sharded", NETWORK),
        Case(f"sharded-cut/{safe}", parts("safetensors", without), "sharded", "external-data", "00002-of-00002"),
        Case(
            f"sharded-outside/{safe}",
            content('{"weight_map": {"linear.weight": "../net.pt", "linear.bias": "../net.pt"}}'),
            "sharded",
            "external-data",
        ),
        Case(f"sharded-nothing/{safe}", content('{"weight_map": {}}'), "sharded", "malformed"),
    ]


def refused_cases() -> list[Case]:
    """What is no state dict, or none that may be read."""
    state = weights()
    sparse = {**state, "linear.weight": state["linear.weight"].to_sparse()}
    buffer = safetensors.torch.save(state)
    quantised = {key: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8) for key, value in state.items()}
    return [
        _torch("module.pt", Net(), "pickle", "support.corpus.Net"),
        _torch("tensor.pt", torch.ones(3), "no-state-dict", "got Tensor"),
        _torch("list.pt", [torch.ones(3)], "no-state-dict", "got list"),
        _torch("nothing.pt", {}, "no-state-dict"),
        _torch("sparse.pt", sparse, "sparse"),
        _torch("quantised.pt", quantised, "not-dense"),
        _torch("missing.pt", {"linear.weight": state["linear.weight"]}, "no-architecture", "missing: linear.bias"),
        _torch("more.pt", {**state, "head.weight": torch.ones(2)}, "no-architecture", "unexpected: head.weight"),
        _torch("wider.pt", {**state, "linear.bias": torch.ones(4)}, "no-architecture", "got float32 (4,)"),
        _torch("not-finite.pt", {**state, "linear.bias": torch.full((3,), torch.nan)}, "not-finite", "probe 0"),
        Case("pickle.pkl", content(pickle.dumps({"a": 1})), "pickle", "pickle", "a plain pickle"),
        Case("cut.safetensors", content(buffer[:-4]), None, "truncated"),
        _safe("damaged.safetensors", state, "damaged", **{"sac_fast.weights_hash": "sha256:" + "0" * 64}),
    ]


def checkpoint_cases() -> list[Case]:
    """All of this module."""
    return [
        _safe("net.safetensors", weights()),
        _torch("net.pt", weights()),
        _torch("legacy.pt", weights(), **LEGACY),
        *wrapped_cases(),
        *beside_cases(),
        *dtype_cases(),
        *parametrized_cases(),
        *tied_cases(),
        *sharded_cases(),
        *refused_cases(),
    ]
