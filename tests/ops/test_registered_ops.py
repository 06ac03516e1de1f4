"""The registered ops, `torch.ops.sac_fast.*`: torch's own rules, and nonsense instead of arguments."""

import json
import pathlib
import subprocess
import sys

import pytest
import torch

from sac_fast import _backend, ops
from sac_fast.ops import table

ROOT = pathlib.Path(__file__).parents[2]


def registered(name, backend):
    """Good arguments of a registered op."""
    outputs = [torch.randn(9, k, generator=torch.Generator().manual_seed(k)) for k in (4, 3, 5)]
    vectors = torch.stack([ops.correlation_vector(x) for x in outputs])
    images = torch.randint(0, 256, (2, 20, 21, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return {
        "correlation_matrix": (outputs[0], "cosine", 0.7, backend),
        "correlation_distance": (*outputs[:2], "rbf", "l1", 0.7, backend, "highest"),
        "correlation_distance_backward": (torch.tensor(0.5), *outputs[:2], "rbf", "l1", 0.7, True, True, backend),
        "correlation_distances": (outputs[0], outputs, "cosine", 0.7, backend, "highest"),
        "pairwise_correlation_distances": (outputs, "rbf", 0.7, backend, "highest"),
        "correlation_vector": (outputs[0], "pearson", 0.7, backend),
        "nearest_models": (outputs, outputs[:1], "cosine", 0.7, 2, 0, backend),
        "nearest_vectors": (vectors, vectors[:2], 2, 0, backend),
        "correlation_distance_weighted": (*outputs[:2], torch.ones(3, 9), "cosine", 0.7, backend),
        "correlation_distance_weighted_backward": (
            torch.tensor([0.5, -1.0, 2.0]),
            *outputs[:2],
            torch.ones(3, 9),
            "cosine",
            0.7,
            True,
            False,
            backend,
        ),
        "jpeg_roundtrip": (images, torch.tensor([30, 60], dtype=torch.uint8), "4:2:0", backend),
    }[name]


SCHEMAS = [name for op in table.OPS.values() for name in op.schemas]


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_registered_ops_keep_the_rules_of_torch(name, backend):
    torch.library.opcheck(getattr(torch.ops.sac_fast, name).default, registered(name, backend))


NONSENSE = """
import faulthandler, json, sys, warnings
import torch
sys.path.insert(0, {tests!r})
import sac_fast
from ops.test_registered_ops import SCHEMAS, nonsense_of, registered
faulthandler.enable()
warnings.simplefilter("ignore")
torch.set_num_threads(1)
counts = {{"refused": 0, "computed": 0}}

def outcome(op, arguments):
    try:
        return op(*arguments)
    except (ValueError, TypeError, RuntimeError, NotImplementedError, sac_fast.BackendError) as error:
        return error

def same(a, b):
    if isinstance(a, tuple):
        return all(map(same, a, b))
    return a.dtype == b.dtype and (a.is_meta or torch.allclose(a.double(), b.double(), rtol=0, atol=1e-5))

for name in SCHEMAS:
    op = getattr(torch.ops.sac_fast, name).default
    for what, wrong in nonsense_of(name):
        got = {{backend: outcome(op, wrong(backend)) for backend in ("cpu", "auto", "cuda", "reference")}}
        on_cuda = got.pop("cuda")
        assert isinstance(on_cuda, Exception) or torch.cuda.is_available(), (name, what)
        if any(getattr(result, "is_meta", False) for result in got.values()):
            continue  # shapes alone
        refused = {{backend: isinstance(result, Exception) for backend, result in got.items()}}
        assert len(set(refused.values())) == 1, (name, what, got)
        counts["refused" if refused["cpu"] else "computed"] += 1
        if not refused["cpu"]:
            assert same(got["cpu"], got["reference"]), (name, what, got)
print(json.dumps(counts))
"""


def nonsense_of(name):
    """What is wrong, and the arguments of a registered op for a backend, with one of them nonsense."""
    wrong_tensors = {
        "no dimension": torch.tensor(1.0),
        "one dimension": torch.ones(9),
        "no elements": torch.empty(0, 0),
        "no columns": torch.empty(9, 0),
        "other rows": torch.ones(5, 4),
        "three dimensions": torch.ones(2, 9, 4),
        "integers": torch.ones(9, 4, dtype=torch.int64),
        "bytes": torch.full((9, 4), 7, dtype=torch.uint8),
        "booleans": torch.ones(9, 4, dtype=torch.bool),
        "complex": torch.ones(9, 4, dtype=torch.complex64),
        "float8": torch.ones(9, 4).to(torch.float8_e4m3fn),
        "sparse": torch.eye(9).to_sparse(),
        "csr": torch.eye(9).to_sparse_csr(),
        "nested": torch.nested.nested_tensor([torch.ones(9, 4), torch.ones(8, 4)]),
        "quantised": torch.quantize_per_tensor(torch.ones(9, 4), 0.1, 0, torch.quint8),
        "not finite": torch.full((9, 4), torch.nan),
        "expanded": torch.ones(1, 1).expand(9, 4),
        "overlapping": torch.arange(40.0).as_strided((9, 4), (1, 3)),
        "transposed": torch.arange(36.0).reshape(4, 9).T,
        "requires grad": torch.ones(9, 4, requires_grad=True),
        "meta": torch.ones(9, 4, device="meta"),
        "zeros": torch.zeros(2, dtype=torch.uint8),
        "two hundred": torch.full((2,), 200, dtype=torch.uint8),
        "one quality too many": torch.full((3,), 50, dtype=torch.uint8),
        "two channels": torch.zeros(2, 8, 8, 2, dtype=torch.uint8),
        "a transposed image": torch.zeros(2, 3, 21, 20, dtype=torch.uint8).permute(0, 3, 2, 1),
        "no height": torch.zeros(2, 0, 8, 3, dtype=torch.uint8),
        "vectors of another length": torch.zeros(3, 35),
        "transposed vectors": torch.zeros(36, 3).T,
        "doubles": torch.zeros(3, 36, dtype=torch.float64),
    }
    good = registered(name, "auto")
    for place, value in enumerate(good):
        if isinstance(value, str):
            wrong = {"": "", "nonsense": "nonsense"}
        elif isinstance(value, float):
            wrong = {str(x): x for x in (float("nan"), float("inf"), -1.0, 0.0)}
        elif isinstance(value, int):
            wrong = {str(x): x for x in (-1, 4, 2**62, -(2**62))}
        elif isinstance(value, list):
            wrong = {what: [value[0], x] for what, x in wrong_tensors.items()}
            wrong |= {f"first of all {what}": [x, *value] for what, x in wrong_tensors.items()}
            wrong |= {f"alone {what}": [x] for what, x in wrong_tensors.items()} | {"none": []}
        else:
            wrong = wrong_tensors
        for what, x in wrong.items():

            def arguments(backend, place=place, x=x):
                chosen = registered(name, backend)
                return (*chosen[:place], x, *chosen[place + 1 :])

            yield f"argument {place}: {what}", arguments


@pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")
def test_registered_ops_refuse_nonsense(tmp_path):
    code = NONSENSE.format(tests=str(ROOT / "tests"))
    # away from the source tree, which has no compiled module
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    counts = json.loads(run.stdout.splitlines()[-1])
    assert counts["refused"] > 300
    assert counts["computed"] > 10
