"""What the first batch norm of a network is given, against the statistics of its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sac_fast import ProbeSet, fingerprint
from sac_fast.models import Preprocessing
from sac_fast.models.batch_statistics import BatchStatistics, watch_statistics

RNG = np.random.default_rng(0)
PROBES = ProbeSet.from_arrays(RNG.integers(0, 256, (40, 6, 6, 3), np.uint8))
USED = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def trained() -> nn.Module:
    """Its batch norms have seen the probes with `USED`."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4)
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for part in model:
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the plain mean of all batches
    with torch.no_grad():
        model.train()(USED(torch.from_numpy(PROBES.images.copy())))
    return model.eval()


def test_means_and_variances_are_those_of_numpy() -> None:
    norm = nn.BatchNorm1d(3)
    values = RNG.standard_normal((50, 3)) * [1, 2, 4] + [0, 1, 9]
    seen = BatchStatistics()
    seen.add(norm, torch.from_numpy(values[:20]))
    seen.add(nn.BatchNorm1d(3), torch.full((20, 3), 1e9))  # not the first one
    seen.add(norm, torch.from_numpy(values[20:]))
    shift, ratio = seen.measured() or (0, 0)
    # Of a start: μ 0 and σ² 1, ε 1e-5.
    assert shift == pytest.approx(np.median(np.abs(values.mean(0))) / np.sqrt(1 + 1e-5))
    assert ratio == pytest.approx(np.median(values.var(0)) / (1 + 1e-5))
    assert BatchStatistics().measured() is None
    assert BatchStatistics().notes() == []


@pytest.mark.parametrize("shape", [(300, 3), (300, 3, 5), (300, 3, 4, 2)])
def test_float32_far_from_zero_is_as_exact_as_float64(shape: tuple[int, ...]) -> None:
    norm = nn.BatchNorm1d(3)
    assert norm.running_mean is not None
    norm.running_mean.fill_(1e4)
    values = (RNG.standard_normal(shape) + 1e4).astype(np.float32)
    seen = BatchStatistics()
    seen.add(norm, torch.from_numpy(values[:200]))
    assert not seen.is_complete
    seen.add(norm, torch.from_numpy(values[200:]))
    assert seen.is_complete
    seen.add(norm, torch.full(shape, 7.0))  # more than is looked at
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    exact = values.astype(np.float64)
    shift, ratio = seen.measured() or (0, 0)
    assert shift == pytest.approx(np.median(np.abs(exact.mean(axes) - 1e4)) / np.sqrt(1 + 1e-5), rel=1e-4)
    assert ratio == pytest.approx(np.median(exact.var(axes)) / (1 + 1e-5), rel=1e-5)


def test_what_a_batch_norm_cannot_take_is_left_to_it() -> None:
    seen = BatchStatistics()
    for wrong in (None, torch.ones(3), torch.ones(2, 4), torch.ones(0, 3)):
        seen.add(nn.BatchNorm1d(3), wrong)
    assert seen.measured() is None


def test_hooks_go_once_enough_was_seen() -> None:
    model = trained()
    with watch_statistics(model):
        model(torch.zeros(255, 3, 6, 6))
        assert sum(len(part._forward_pre_hooks) for part in model.modules()) == 2
        model(torch.zeros(1, 3, 6, 6))
        assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_forgotten_mean_and_std_are_told() -> None:
    model = trained()
    with watch_statistics(model) as seen:
        model(USED(torch.from_numpy(PROBES.images.copy())))
    assert seen.measured() == (pytest.approx(0, abs=1e-4), pytest.approx(1, rel=1e-2))
    notes = fingerprint(model, PROBES, preprocessing=USED).provenance["notes"]
    assert not any("batch norm" in note for note in notes)
    forgotten = fingerprint(model, PROBES).provenance["notes"]
    # 0.225² = 0.051 of the variance.
    assert any(
        note.startswith("its first batch norm is given 0.051 of the variance of its training") for note in forgotten
    )
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_copy_in_another_dtype_is_looked_at_too() -> None:
    notes = fingerprint(trained(), PROBES, dtype=torch.float64).provenance["notes"]
    assert any("batch norm" in note for note in notes)


def test_networks_without_statistics_say_nothing() -> None:
    for part in (nn.BatchNorm2d(3, track_running_stats=False), nn.GroupNorm(1, 3), nn.Identity()):
        model = nn.Sequential(part, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        assert not any("batch norm" in note for note in fingerprint(model, PROBES).provenance["notes"])
