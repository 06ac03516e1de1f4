"""Searches among bytes and subsets of correlations, against all distances in float64."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.spatial.distance import cdist
from support.model_outputs import defined as defined_of_tensors
from support.model_outputs import models_of

from sac_fast import _backend, nearest_models, neighbours_within
from sac_fast.neighbours import vectors
from sac_fast.neighbours.recall import Recall, count_found
from sac_fast.neighbours.search import Sample, exact_distances, nearest_by_subset, nearest_vectors
from sac_fast.neighbours.within import choose_radius, pairs_within

SETS = _backend.instruction_sets()


def defined(outputs, metric="cosine"):
    tensors = [torch.from_numpy(one) for one in outputs]
    return defined_of_tensors(tensors, tensors, metric)


def random_vectors(m, n=40, seed=0):
    """Bytes that no outputs have: every entry is its own."""
    rows = np.random.default_rng(seed).integers(0, 256, (m, vectors.count_entries(n, "cosine")), dtype=np.uint8)
    head, tail = vectors.part_bytes(n, "cosine")
    packed = vectors.ByteVectors(
        n, np.arange(rows.shape[1], dtype=np.int32), vectors.empty_rows(m, head), vectors.empty_rows(m, tail)
    )
    packed.head[:], packed.tail[:] = 0, 0
    packed.head[:, : min(512, rows.shape[1])] = rows[:, :512]
    packed.tail[:, : rows.shape[1] - 512] = rows[:, 512:]
    return packed, cdist(rows.astype(float), rows.astype(float), "cityblock")


def families(count, size, n=60, k=6, seed=0):
    """Models in families of `size`, one after another, at growing distances from their parent."""
    rng = np.random.default_rng(seed)
    parents = rng.standard_normal((count, n, k))
    steps = 0.1 + 0.02 * np.arange(size)
    noise = rng.standard_normal((count, size, n, k))
    return list((parents[:, None] + steps[:, None, None] * noise).reshape(-1, n, k).astype(np.float32))


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("m", [2, 9, 131])
def test_every_instruction_set_finds_the_nearest_rows(monkeypatch, instruction_set, m):
    monkeypatch.setenv("SAC_FAST_INSTRUCTION_SET", instruction_set)
    packed, distances = random_vectors(m)
    top = min(7, m - 1)
    np.fill_diagonal(distances, np.inf)
    found = nearest_vectors(packed, None, top)
    scale = 2 / 40**2 / 127.5
    np.testing.assert_allclose(found.distances, np.sort(distances)[:, :top] * scale, rtol=1e-12)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, kind="stable")[:, :top])


@pytest.mark.parametrize("threads", ["1", "3"])
def test_queries_and_their_own_rows(monkeypatch, threads):
    monkeypatch.setenv("SAC_FAST_NUM_THREADS", threads)
    packed, distances = random_vectors(300)
    found = nearest_vectors(packed, packed[5:9], 4)
    assert found.indices[:, 0].tolist() == [5, 6, 7, 8]
    np.fill_diagonal(distances, np.inf)
    found = nearest_vectors(packed, packed[5:9], 4, first_query=5)
    np.testing.assert_array_equal(found.indices, np.argsort(distances[5:9], kind="stable")[:, :4])


def test_two_passes_with_all_candidates_are_one_pass():
    packed, _ = random_vectors(90)
    once, twice = nearest_vectors(packed, None, 5), nearest_vectors(packed, None, 5, candidates=88)
    np.testing.assert_array_equal(once.indices, twice.indices)
    np.testing.assert_array_equal(once.distances, twice.distances)


def test_ties_go_by_index():
    packed, _ = random_vectors(1)
    same = packed.take(np.zeros(70, np.int64))
    found = nearest_vectors(same, None, 3)
    assert not found.distances.any()
    assert found.indices[:5].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("instruction_set", SETS)
def test_pairs_within_a_limit_of_bytes(monkeypatch, instruction_set):
    monkeypatch.setenv("SAC_FAST_INSTRUCTION_SET", instruction_set)
    packed, distances = random_vectors(150)
    limit = int(np.quantile(distances[np.triu_indices(150, 1)], 0.1))
    rows = np.argwhere(np.triu(distances <= limit, 1))
    found = pairs_within(packed, limit)
    np.testing.assert_array_equal(found[:, :2], rows)
    np.testing.assert_array_equal(found[:, 2], distances[tuple(rows.T)])
    assert pairs_within(packed, int(distances[distances > 0].min()) - 1).shape == (0, 3)


@pytest.mark.parametrize("metric", ["cosine", "pearson", "rbf"])
def test_packed_vectors_are_rounded_correlations_in_the_drawn_order(metric):
    outputs = [one.numpy() for one in models_of(3, 40, 6, 1)]
    outputs[0][7] = 0
    order = vectors.draw_order(40, metric, seed=3)
    packed = vectors.pack_vectors(outputs, order, metric=metric)
    sums = np.abs(packed.head.astype(int)[:, None] - packed.head).sum(-1)
    sums = sums + np.abs(packed.tail.astype(int)[:, None] - packed.tail).sum(-1)
    np.testing.assert_allclose(packed.distances(sums), defined(outputs, metric), atol=5e-4)
    assert sorted(order) == list(range(len(order)))


@pytest.mark.parametrize("metric", ["cosine", "rbf"])
def test_within_is_exact_and_streams_each_pair_once(metric):
    outputs = families(12, 5, n=40)
    full = np.triu(defined(outputs, metric), 1)
    radius = float(np.quantile(full[full > 0], 0.05))
    blocks = list(neighbours_within(outputs, radius, metric=metric))
    pairs = np.concatenate([np.stack([one.queries, one.models], 1) for one in blocks])
    np.testing.assert_array_equal(pairs, np.argwhere((full > 0) & (full <= radius)))
    np.testing.assert_allclose(np.concatenate([one.distances for one in blocks]), full[tuple(pairs.T)], atol=1e-6)


def test_within_of_queries_includes_equal_models():
    outputs = families(3, 3, n=30)
    found = list(neighbours_within(outputs, 0.0, [torch.from_numpy(outputs[4])]))
    assert [(one.queries.tolist(), one.models.tolist(), one.distances.tolist()) for one in found] == [([0], [4], [0.0])]


def test_chosen_radius_leaves_one_neighbour_a_model():
    packed, distances = random_vectors(200)
    pairs = (packed.distances(distances) <= choose_radius(packed, seed=1)).sum() - 200
    assert 190 <= pairs <= 210


def test_nearest_by_subset_finds_families_and_says_how_many_it_misses():
    outputs = families(220, 5, n=36)
    rows = np.array(outputs) / np.linalg.norm(outputs, axis=2, keepdims=True)
    matrices = (rows @ rows.transpose(0, 2, 1)).reshape(len(outputs), -1)
    some = np.arange(0, 1100, 23)
    full = cdist(matrices[some], matrices, "cityblock") / 36**2
    full[np.arange(len(some)), some] = np.inf
    found = nearest_by_subset(outputs, None, 4, seed=5)
    assert found.recall is not None
    assert found.recall.lower >= 0.99
    assert found.recall.candidates in (25, 50, 100, 200)
    np.testing.assert_allclose(found.distances[some], np.sort(full)[:, :4], atol=1e-6)
    values, indices = nearest_models(outputs, top=4, first_pass="subset")
    np.testing.assert_array_equal(indices.numpy()[some], np.argsort(full)[:, :4])
    assert values.dtype == torch.float32


def test_few_models_are_compared_by_all_entries():
    outputs = families(10, 4, n=45)
    found = nearest_by_subset(outputs, None, 3)
    full = defined(outputs)
    np.fill_diagonal(full, np.inf)
    assert found.recall is None
    np.testing.assert_array_equal(found.indices, np.argsort(full)[:, :3])


def test_subset_of_dense_families_needs_more_candidates():
    # 300 models alike: 50 candidates of 512 noisy entries miss some of the ten nearest.
    packed, _ = random_vectors(1)
    rng = np.random.default_rng(2)
    alike = packed.take(np.zeros(1300, np.int64))
    alike.head[:] += rng.integers(0, 60, alike.head.shape, dtype=np.uint8) // 2
    alike.tail[:] += rng.integers(0, 60, alike.tail.shape, dtype=np.uint8) // 2
    candidates = Sample(alike, 10, seed=1).choose_candidates()
    assert candidates is None or candidates > 50


def test_exact_distances_of_pairs_are_the_definition():
    outputs = families(5, 4, n=33, k=3)
    full = defined(outputs, "pearson")
    candidates = np.random.default_rng(0).integers(0, 20, (20, 6))
    found = exact_distances(vectors.views(list(outputs)), None, candidates, metric="pearson")
    np.testing.assert_allclose(found, np.take_along_axis(full, candidates, 1), atol=1e-6)


def test_lower_limit_is_that_of_clopper_and_pearson():
    for hits, trials in ((1000, 1000), (996, 1000), (3, 10)):
        expected = scipy.stats.binomtest(hits, trials).proportion_ci(0.9, "exact").low
        assert Recall(hits, trials, 50, 0.95).lower == pytest.approx(expected, abs=1e-12)
    assert Recall(0, 10, 50, 0.95).lower == 0


def test_count_found_takes_a_tie_for_the_drawn_neighbour():
    found = np.array([[0.1, 0.2], [0.1, 0.4]])
    hits = count_found(
        found, np.array([[3, 9], [4, 5]]), np.array([[0.1, 0.2]] * 2), np.array([[3, 8], [4, 6]]), np.ones(2, int)
    )
    assert hits == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: neighbours_within([a, a], -1.0), "radius must be a finite number of at least 0, got -1.0"),
        (lambda a: neighbours_within([a, a[:5]], 0.1), r"models\[1\] must have 20 rows like models\[0\], got 5"),
        (lambda a: neighbours_within([a, a], 0.1, [a[:5]]), "queries must have 20 rows like the models, got 5"),
        (lambda a: neighbours_within([a, a * np.nan], 0.1), r"models\[1\] must be finite"),
        (lambda a: neighbours_within([a], 0.1, metric="l1"), "metric must be one of cosine, pearson, rbf, got 'l1'"),
        (lambda a: nearest_by_subset([a, a], None, 2), "top must be within 1 … 1"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    outputs = models_of(1, 20, 4, 1)[0].numpy()
    with pytest.raises(ValueError, match=message):
        call(outputs)


def test_a_search_imports_no_torch(tmp_path):
    code = (
        "import sys, numpy as np; from sac_fast.neighbours.search import nearest_by_subset\n"
        "from sac_fast import neighbours_within\n"
        "x = np.random.default_rng(0).standard_normal((30, 20, 3))\n"
        "nearest_by_subset(list(x), None, 2); list(neighbours_within(list(x), 0.1)); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_the_threads_are_there_again_after_a_fork(monkeypatch):
    monkeypatch.setenv("SAC_FAST_NUM_THREADS", "3")
    packed, _ = random_vectors(600)
    before = nearest_vectors(packed, None, 3).indices
    child = os.fork()
    if child == 0:
        os._exit(0 if (nearest_vectors(packed, None, 3).indices == before).all() else 3)
    assert os.waitpid(child, 0)[1] == 0
