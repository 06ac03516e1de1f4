"""Every op of the table on every backend: dtypes, strides, options and bad values, from the table itself."""

import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from support import definition, jpeg_images, tolerances

import sac_fast
from sac_fast import _backend, ops
from sac_fast.errors import BackendError
from sac_fast.ops import dispatch, samples, table

ROOT = pathlib.Path(__file__).parents[2]
CALLS = [
    pytest.param(op, arguments, id=f"{op.name}-{next(iter(arguments.values()))}")
    for op in table.OPS.values()
    for arguments in op.calls
]
# Options that the expected values follow
FOLLOWED = ("metric", "comparison", "sigma", "subsampling", "first_pass", "precision")


def distances(left, right, metric="cosine", sigma=definition.SIGMA):
    return np.array([[definition.distance(a, b, metric, sigma=sigma) for b in right] for a in left])


def nearest(models, queries, top, metric="cosine", sigma=definition.SIGMA):
    if isinstance(models, list):
        return np.sort(distances(queries, models, metric, sigma))[:, :top]
    # 9 probes
    scale = 2 / 81 / (127.5 if models.dtype == np.uint8 else 1)
    return (
        np.sort(scipy.spatial.distance.cdist(queries.astype(float), models.astype(float), "cityblock"))[:, :top] * scale
    )


def weighted(a, b, weights, metric="cosine", sigma=definition.SIGMA):
    apart = np.abs(definition.matrix(a, metric, sigma) - definition.matrix(b, metric, sigma))
    return np.einsum("ri,ij,rj->r", weights, apart, weights) / weights.sum(axis=1) ** 2


def pillow(images, quality, subsampling="4:2:0"):
    return np.stack([jpeg_images.pillow(x, q, subsampling) for x, q in zip(images, quality, strict=True)])


# What the ops must give, by NumPy, SciPy and Pillow, of arrays; options by name
EXPECTED = {
    "correlation_matrix": definition.matrix,
    "correlation_distance": definition.distance,
    "correlation_distances": lambda source, suspects, **options: distances([source], suspects, **options)[0],
    "pairwise_correlation_distances": lambda models, **options: distances(models, models, **options),
    "correlation_vector": lambda outputs, **options: definition.matrix(outputs, **options)[np.triu_indices(9, 1)],
    "nearest_models": nearest,
    "correlation_distance_weighted": weighted,
    "jpeg_roundtrip": pillow,
}


def inside(x):
    """`x` within a larger tensor: what lies around it must not be read."""
    wide = torch.full([size + 3 for size in x.shape], 255 if x.dtype == torch.uint8 else torch.nan, dtype=x.dtype)
    within = wide[tuple(slice(1, size + 1) for size in x.shape)]
    return within.copy_(x)


LAYOUTS = {
    "plain": lambda x: x,
    "transposed": lambda x: x.mT.contiguous().mT,
    "inside": inside,
    "every second": lambda x: x.repeat_interleave(2, dim=0)[::2],
    "negated view": lambda x: torch._neg_view(-x) if x.is_floating_point() else x,
    "NumPy": lambda x: x.numpy() if x.dtype != torch.bfloat16 else x,
    "NumPy backwards": lambda x: x.flip(0).numpy()[::-1] if x.dtype != torch.bfloat16 else x,
}


def mapped(change, arguments):
    """The arguments with their tensors changed, also those in lists."""

    def one(value):
        if isinstance(value, list):
            return [one(each) for each in value]
        return change(value) if isinstance(value, torch.Tensor) else value

    return {name: one(value) for name, value in arguments.items()}


def numbers(x):
    return x.double().numpy() if x.is_floating_point() else x.numpy()


def serves(op, backend):
    """The support of a backend that this machine has, else skips."""
    if backend not in op.backends:
        pytest.skip(f"{op.name} has no kernel for {backend}")
    return op.backends[backend]


def dtypes_of(arguments, support):
    if "vectors" in arguments.values():
        return (torch.uint8, torch.float16, torch.float32)
    return support.dtypes


def values_of(result):
    return result.values if isinstance(result, ops.NearestModels) else result


@pytest.mark.parametrize(("op", "arguments"), CALLS)
def test_every_dtype_and_layout(backend, op, arguments):
    for dtype, layout in itertools.product(dtypes_of(arguments, serves(op, backend)), LAYOUTS):
        call = samples.sample(arguments, dtype)
        expected = EXPECTED[op.name](**mapped(numbers, call))
        result = values_of(getattr(ops, op.name)(**mapped(LAYOUTS[layout], call), backend=backend))
        bound = 0 if result.dtype == torch.uint8 else tolerances.HIGHEST[result.dtype]
        wide = dtype == torch.float64
        assert result.dtype == (
            torch.uint8 if op.name == "jpeg_roundtrip" else torch.float64 if wide else torch.float32
        )
        np.testing.assert_allclose(result, expected, rtol=0, atol=bound, err_msg=f"{dtype} {layout}")


@pytest.mark.cuda
@pytest.mark.parametrize(("op", "arguments"), CALLS)
def test_every_dtype_on_cuda(op, arguments):
    for dtype, metric in itertools.product(
        dtypes_of(arguments, serves(op, "cuda")), op.backends["cuda"].metrics or (None,)
    ):
        options = {} if metric is None or "vectors" in arguments.values() else {"metric": metric}
        call = samples.sample(arguments, dtype)
        expected = EXPECTED[op.name](**mapped(numbers, call), **options)
        for backend in ("cuda", "auto", "reference"):
            result = values_of(getattr(ops, op.name)(**mapped(torch.Tensor.cuda, call), **options, backend=backend))
            assert result.is_cuda
            bound = 0 if result.dtype == torch.uint8 else tolerances.HIGHEST[result.dtype]
            np.testing.assert_allclose(
                result.cpu(), expected, rtol=0, atol=bound, err_msg=f"{dtype} {options} {backend}"
            )


@pytest.mark.parametrize(("op", "arguments"), CALLS)
def test_every_option(backend, op, arguments):
    support = serves(op, backend)
    choices = {**samples.CHOICES, "metric": support.metrics, "comparison": support.comparisons}
    names = [name for name in FOLLOWED if name in arguments]
    if "vectors" in arguments.values():
        names = ["first_pass"]
    for seed, values in enumerate(itertools.product(*(choices[name] for name in names))):
        options = dict(zip(names, values, strict=True))
        call = samples.sample(arguments, dtypes_of(arguments, support)[-1], seed)
        # levels of precision and first passes change nothing here: four models are all candidates
        followed = {name: value for name, value in options.items() if name not in ("precision", "first_pass")}
        expected = EXPECTED[op.name](**mapped(numbers, call), **followed)
        result = values_of(getattr(ops, op.name)(**call, **options, backend=backend))
        bound = 0 if result.dtype == torch.uint8 else tolerances.HIGHEST[result.dtype]
        np.testing.assert_allclose(result, expected, rtol=0, atol=bound, err_msg=str(options))


@pytest.mark.parametrize(("op", "arguments"), CALLS)
def test_every_bad_value_names_the_argument(backend, op, arguments):
    support = serves(op, backend)
    for name, kind in arguments.items():
        assert samples.BAD[kind]
        for number, bad in enumerate(samples.BAD[kind]):
            call = {"backend": backend, **samples.sample(arguments, dtypes_of(arguments, support)[-1])}
            call[name] = bad.make(call.get(name))
            words = bad.words.replace("{name}", name).replace("{{", "{")
            with pytest.raises(bad.error, match=words):
                print(f"{op.name}: bad value {number} of {name} was taken:", getattr(ops, op.name)(**call))


@pytest.mark.parametrize(("op", "arguments"), CALLS)
def test_backends_that_do_not_fit(op, arguments, monkeypatch):
    call = samples.sample(arguments, dtypes_of(arguments, op.backends["reference"])[-1])
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="backend 'cuda' needs tensors on a cuda device, got cpu"):
            getattr(ops, op.name)(**call, backend="cuda")
    monkeypatch.setattr(_backend, "_module", None)
    if op.backends["cpu"].compiled:
        with pytest.raises(BackendError, match="backend 'cpu' needs the compiled module"):
            getattr(ops, op.name)(**call, backend="cpu")
    expected = EXPECTED[op.name](**mapped(numbers, call))
    result = values_of(getattr(ops, op.name)(**call))
    np.testing.assert_allclose(result, expected, rtol=0, atol=tolerances.FLOAT32)


@pytest.mark.parametrize("op", table.OPS.values(), ids=list(table.OPS))
def test_auto_takes_a_cuda_kernel_only_once_a_gpu_has_run_it(op, monkeypatch):
    monkeypatch.setattr(_backend, "_cuda_architectures", ["90a"])
    cpu, cuda, other = (torch.device(name) for name in ("cpu", "cuda", "mps"))
    assert dispatch.choose_backend(op, "auto", cpu) == ("cpu" if _backend.is_compiled() else "reference")
    assert dispatch.choose_backend(op, "auto", other) == "reference"
    if "cuda" not in op.backends:
        assert dispatch.choose_backend(op, "auto", cuda) == "reference"
        with pytest.raises(BackendError, match=f"backend of {op.name} must be one of auto, cpu, reference, got 'cuda'"):
            dispatch.choose_backend(op, "cuda", cuda)
        return
    assert dispatch.choose_backend(op, "cuda", cuda) == "cuda"
    for ran in (False, True):
        support = dataclasses.replace(op.backends["cuda"], ran_on_gpu=ran)
        row = dataclasses.replace(op, backends={**op.backends, "cuda": support})
        assert dispatch.choose_backend(row, "auto", cuda) == ("cuda" if ran else "reference")
        with monkeypatch.context() as without:
            without.setattr(_backend, "_cuda_architectures", [])
            assert dispatch.choose_backend(row, "auto", cuda) == "reference"


def test_capabilities_name_the_kernels_that_no_gpu_has_run(monkeypatch):
    monkeypatch.setattr(_backend, "_cuda_architectures", ["90a"])
    waiting = sac_fast.capabilities()["cuda_kernels_not_run_yet"]
    assert waiting == sorted(
        n for n, op in table.OPS.items() if "cuda" in op.backends and not op.backends["cuda"].ran_on_gpu
    )
    monkeypatch.setattr(_backend, "_cuda_architectures", [])
    assert sac_fast.capabilities()["cuda_kernels_not_run_yet"] == []


def registered(name, backend):
    """Good arguments of a registered op."""
    outputs = [torch.randn(9, k, generator=torch.Generator().manual_seed(k)) for k in (4, 3, 5)]
    vectors = torch.stack([ops.correlation_vector(x) for x in outputs])
    images = torch.randint(0, 256, (2, 20, 21, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return {
        "correlation_matrix": (outputs[0], "cosine", 0.7, backend),
        "correlation_distance": (*outputs[:2], "rbf", "l1", 0.7, backend, "highest"),
        "correlation_distances": (outputs[0], outputs, "cosine", 0.7, backend, "highest"),
        "pairwise_correlation_distances": (outputs, "rbf", 0.7, backend, "highest"),
        "correlation_vector": (outputs[0], "pearson", 0.7, backend),
        "nearest_models": (outputs, outputs[:1], "cosine", 0.7, 2, 0, backend),
        "nearest_vectors": (vectors, vectors[:2], 2, 0, backend),
        "correlation_distance_weighted": (*outputs[:2], torch.ones(3, 9), "cosine", 0.7, backend),
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
from ops.test_all_ops import SCHEMAS, nonsense_of, registered
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


def test_each_op_has_its_files_and_an_independent_definition():
    assert EXPECTED.keys() == table.OPS.keys()
    for name, op in table.OPS.items():
        for layer in ("sac_fast/ops", "sac_fast/ops/reference", "tests/ops"):
            file = f"test_{name}.py" if layer == "tests/ops" else f"{name}.py"
            assert (ROOT / layer / file).exists(), f"{layer}/{file}"
        assert op.backends.keys() <= {"cpu", "cuda", "reference"}
        assert "reference" in op.backends
        assert callable(op.definition)
        assert name in sac_fast.__all__


def test_an_op_must_implement_what_the_table_says():
    with pytest.raises(
        TypeError, match="correlation_matrix must implement cpu, cuda, reference as the table says, got cpu"
    ):
        dispatch.register("correlation_matrix", check=print, fake=print, cpu=print)


def test_numerics_page_shows_both_tables():
    page = (ROOT / "docs/numerics.md").read_text()
    assert tolerances.markdown() in page
    assert table.support_markdown() in page
