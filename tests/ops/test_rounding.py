"""Rows whose products are all equal (constant, hard labels): every float32 addition may round the same way."""

import numpy as np
import pytest
import torch
from support import definition
from support.tolerances import FLOAT32

from sac_fast import (
    correlation_distance,
    correlation_distance_weighted,
    correlation_distances,
    correlation_matrix,
    correlation_vector,
    nearest_models,
    pairwise_correlation_distances,
)

# short chunks, chunks and runs of them that just fill or miss, CIFAR-100, ImageNet, ImageNet-21k, a vocabulary of words
LENGTHS = (21, 24, 25, 31, 37, 49, 52, 100, 108, 109, 253, 512, 777, 1000, 21843, 50257)
N = 32


def rows_of(kind, k):
    if kind == "ones":
        return torch.ones(N, k)
    if kind == "signs":
        return torch.where(torch.arange(N) % 2 == 0, 1.0, -1.0)[:, None].expand(N, k).contiguous()
    if kind == "random":
        return torch.randn(N, k, generator=torch.Generator().manual_seed(k))
    hard = torch.full((N, k), 0.01)
    hard[torch.arange(N), torch.arange(N) % k] = 1.0
    return hard.softmax(dim=1)


@pytest.mark.parametrize("k", LENGTHS)
@pytest.mark.parametrize("kind", ["ones", "hard labels"])
def test_distances_within_a_millionth(instruction_set, kind, k):
    a = rows_of(kind, k)
    others = [rows_of(other, length) for other in ("signs", "hard labels", "random") for length in (1, 2, 10)]
    others.append(rows_of("ones" if kind == "hard labels" else "hard labels", k))
    c = definition.matrix(a.double())
    expected = np.array([np.abs(c - definition.matrix(b.double())).mean() for b in others])
    assert correlation_distances(a, others).numpy() == pytest.approx(expected, abs=FLOAT32)
    pairs = pairwise_correlation_distances([a, *others])
    assert pairs[0, 1:].numpy() == pytest.approx(expected, abs=FLOAT32)
    nearest = nearest_models(others, [a], top=len(others))
    assert nearest.values[0].numpy() == pytest.approx(np.sort(expected), abs=FLOAT32)
    for b, distance in zip(others, expected, strict=True):
        assert correlation_distance(a, b).item() == pytest.approx(distance, abs=FLOAT32)
        weighted = correlation_distance_weighted(a, b, torch.ones(1, N))
        assert weighted.item() == pytest.approx(distance, abs=FLOAT32)


@pytest.mark.parametrize("k", LENGTHS)
@pytest.mark.parametrize("kind", ["ones", "hard labels", "random"])
def test_entries_within_a_millionth(instruction_set, kind, k):
    a = rows_of(kind, k)
    c = definition.matrix(a.double())
    assert correlation_matrix(a).numpy() == pytest.approx(c, abs=FLOAT32)
    assert correlation_vector(a).numpy() == pytest.approx(c[np.triu_indices(N, 1)], abs=FLOAT32)


def test_autocast_rounds_nothing():
    a = rows_of("random", 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        c = correlation_matrix(a)
    assert c.dtype == torch.float32
    assert c.numpy() == pytest.approx(definition.matrix(a.double()), abs=FLOAT32)


@pytest.mark.parametrize("sigma", [1e-4, 1e-3, 0.05, 1.0, 1e15])
def test_narrow_kernels_have_a_diagonal_of_ones(backend, sigma):
    a = torch.randn(40, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    diagonal = correlation_matrix(a, metric="rbf", sigma=sigma, backend=backend).diagonal()
    assert diagonal.numpy() == pytest.approx(np.ones(40), abs=FLOAT32)
    turned = a @ torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    assert correlation_distance(a, turned, metric="rbf", sigma=sigma, backend=backend).item() < FLOAT32


def test_narrower_kernels_are_refused():
    a = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r"sigma must lie within 1e-4 … 1e15, got 1e-05"):
        correlation_distance(a, a, metric="rbf", sigma=1e-5)


@pytest.mark.parametrize("comparison", ["rsa", "cka"])
@pytest.mark.parametrize("sigma", [1e-3, 0.05, 0.7])
def test_rbf_of_rows_of_one_direction_has_no_variation(backend, comparison, sigma):
    generator = torch.Generator().manual_seed(2)
    flat = torch.outer(torch.arange(1.0, 65.0), torch.randn(7, generator=generator)).double()
    a = torch.randn(64, 5, generator=generator)
    found = correlation_distance(a, flat, metric="rbf", comparison=comparison, sigma=sigma, backend=backend)
    assert found.item() == 1.0
