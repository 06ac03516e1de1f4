"""`nearest_models`: of outputs, and of stored correlation vectors."""

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from support.model_outputs import defined, models_of
from support.tolerances import FLOAT32, HIGHEST

from sac_fast import correlation_vector, nearest_models

METRICS = ["cosine", "pearson", "spearman", "rbf"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("first_pass", ["none", "uint8"])
def test_nearest_models(backend, metric, first_pass):
    half = 6 if backend == "reference" else 30
    models = models_of(2 * half, 40, 8, 4)
    for i in range(half):  # relatives: half + i is a noisy copy of i
        models[half + i] = models[i] + 0.05 * models[half + i]
    full = defined(models, models, metric)
    np.fill_diagonal(full, np.inf)
    found = nearest_models(models, top=5, metric=metric, first_pass=first_pass, backend=backend)
    assert (found.values.dtype, found.indices.dtype) == (torch.float32, torch.int64)
    np.testing.assert_allclose(found.values, np.sort(full)[:, :5], rtol=0, atol=FLOAT32)
    np.testing.assert_array_equal(found.indices[:, 0], [*range(half, 2 * half), *range(half)])
    np.testing.assert_allclose(
        np.take_along_axis(full, found.indices.numpy(), 1), np.sort(full)[:, :5], rtol=0, atol=FLOAT32
    )


def test_nearest_models_of_queries(backend):
    models, queries = models_of(25, 30, 5, 5), models_of(4, 30, 9, 6)
    expected = defined(queries, models)
    values, indices = nearest_models(models, queries, top=25, backend=backend)
    np.testing.assert_allclose(values, np.sort(expected), rtol=0, atol=FLOAT32)
    np.testing.assert_array_equal(np.sort(indices), np.tile(np.arange(25), (4, 1)))


@pytest.mark.parametrize("dtype", HIGHEST)
def test_mixed_dtypes(backend, dtype):
    models = models_of(6, 40, 12, 1, dtype)
    models[2] = models[2].float()
    expected = defined(models, models)
    actual = nearest_models(models, models[:1], top=6, backend=backend).values
    assert actual.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    np.testing.assert_allclose(actual, np.sort(expected[:1]), rtol=0, atol=HIGHEST[dtype])


def test_ties_go_by_index(backend):
    one = models_of(1, 20, 4, 7)[0]
    values, indices = nearest_models([one] * 6, top=5, backend=backend)
    assert not values.any()
    assert indices.tolist() == [[j for j in range(6) if j != i] for i in range(6)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_nearest_models_of_vectors(backend, dtype):
    models = models_of(40, 30, 6, 8)
    vectors = torch.stack([correlation_vector(x, dtype=dtype) for x in models])
    assert vectors.dtype == dtype
    full = scipy.spatial.distance.cdist(vectors.double(), vectors.double(), "cityblock") * 2 / 30**2
    if dtype == torch.uint8:
        full /= 127.5
    expected = np.sort(full + np.diag([np.inf] * 40))[:, :7]
    for given in (vectors, vectors.numpy()):
        found = nearest_models(given, top=7, backend=backend)
        np.testing.assert_allclose(found.values, expected, rtol=0, atol=FLOAT32)
    asked = nearest_models(vectors, vectors[3:5], top=40, backend=backend)
    np.testing.assert_allclose(asked.values, np.sort(full[3:5]), rtol=0, atol=FLOAT32)
    if dtype != torch.uint8:
        rough = nearest_models(vectors, top=7, first_pass="uint8", backend=backend)
        np.testing.assert_allclose(rough.values, expected, rtol=0, atol=FLOAT32)


def test_sweep_over_several_blocks(instruction_set):
    # more models than one block holds, so that blocks meet each other in both directions
    vectors = torch.randint(0, 256, (2500, 10), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    full = torch.cdist(vectors.double(), vectors.double(), p=1).fill_diagonal_(torch.inf)
    values, indices = nearest_models(vectors, top=3)
    expected, order = torch.sort(full, stable=True)
    torch.testing.assert_close(values.double(), expected[:, :3] * 2 / 25 / 127.5, rtol=0, atol=FLOAT32)
    assert torch.equal(indices, order[:, :3])


def test_memory_map_larger_than_what_is_read(tmp_path):
    vectors = torch.stack([correlation_vector(x) for x in models_of(50, 20, 6, 10)]).numpy()
    path = tmp_path / "vectors.npy"
    np.save(path, vectors)
    mapped = np.load(path, mmap_mode="r")
    found = nearest_models(mapped, top=4)
    torch.testing.assert_close(found, nearest_models(vectors, top=4))


@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_same_bits_for_any_number_of_threads(instruction_set, metric, monkeypatch):
    models = models_of(90, 65, 9, 12, spread=2)
    seen = set()
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
        results = [
            nearest_models(models, top=4, metric=metric, first_pass="uint8").values,
            nearest_models(models, top=4, metric=metric).values,
        ]
        seen.add(tuple(result.numpy().tobytes() for result in results))
    assert len(seen) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_nan_names_model_and_row(instruction_set, metric):
    models = models_of(5, 40, 3, 14)
    bad = [*models[:3], models[3].clone(), models[4].clone()]
    bad[3][17, 1] = float("nan")
    bad[4][2, 1] = float("inf")
    calls = [
        (lambda: nearest_models(bad, top=1, metric=metric), r"models\[3\]"),
        (lambda: nearest_models(models, bad, top=1, metric=metric), r"queries\[3\]"),
    ]
    for call, name in calls:
        with pytest.raises(ValueError, match=f"{name} must be finite, got NaN or Inf in row 17"):
            call()


@pytest.mark.parametrize("first_pass", ["none", "uint8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_vectors_with_nan_are_refused(backend, first_pass, value):
    for m, place in ((6, (4, 7)), (40, (39, 3))):
        vectors = torch.rand(m, 10)
        vectors[place] = value
        for queries in (None, vectors[:2]):
            with pytest.raises(ValueError, match=r"^models and queries must be finite, got a vector with NaN or Inf"):
                nearest_models(
                    vectors, queries, top=5 if queries is None else 1, first_pass=first_pass, backend=backend
                )


def test_a_model_is_no_neighbour_of_itself():
    models = torch.ones(3, 5, 2)
    with pytest.raises(ValueError, match=r"top must be within 1 … 2 .*got 3"):
        nearest_models(models, top=3)
    assert nearest_models(models, models, top=3).indices.shape == (3, 3)
