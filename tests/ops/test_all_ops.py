"""Every op of the table on every backend: dtypes, strides, options and bad values, from the table itself."""

import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from support import definition, jpeg_images, tolerances
from support import op_samples as samples

import sac_fast
from sac_fast import _backend, ops
from sac_fast.errors import BackendError
from sac_fast.ops import dispatch, table

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
