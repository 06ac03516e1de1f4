"""The contrast as a mean of channels: by its definition, and on invented thefts that the largest channel loses."""

import numpy as np
import pytest
import torch

from sac_fast.evaluation.contrast_mean import contrast_mean
from sac_fast.scores.regression import unexplained_share
from sac_fast.verdict import auc
from sac_fast.verify.contrast import contrast_channels


def invented(n=120, k=5, honest=12, seed=0):
    """Source and siblings, honest models, and copies of the source of which some have other classes."""
    draw = torch.Generator().manual_seed(seed)
    truth = 2.0 * torch.randn(n, k, generator=draw, dtype=torch.float64)
    own = lambda size=k: 1.5 * torch.randn(n, size, generator=draw, dtype=torch.float64)  # noqa: E731
    source, *siblings = [truth + own() for _ in range(6)]
    thefts = [source + 0.5 * own() for _ in range(3)]
    moved = [source @ torch.randn(k, 3, generator=draw, dtype=torch.float64) + own(3) for _ in range(3)]
    return source, siblings, [truth + own() for _ in range(honest)], thefts, moved


def unexplained(member, model):
    """u(b, s) of the docstring; `unexplained_share` has tests of its own."""
    return unexplained_share(torch.log_softmax(member / 4, dim=1), torch.log_softmax(model / 4, dim=1))


def test_it_is_the_mean_of_the_standardised_channels_with_the_regression_twice():
    source, siblings, honest, thefts, moved = invented(n=40, honest=4)
    models = [*honest, *thefts, *moved]
    logs = -np.log([[unexplained(member, model) for model in models] for member in (source, *siblings)])
    channels = [*contrast_channels(source, siblings, models, "logits"), logs[0] - logs[1:].mean(axis=0)]
    scaled = [(c - np.nanmean(c)) / np.nanstd(c) for c in channels]
    expected = -np.nanmean(scaled, axis=0)
    assert contrast_mean(source, siblings, models, "logits") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("form", ["similarities", "embeddings", "labels"])
def test_forms_without_a_regression_are_refused(form):
    source, siblings, honest, _, _ = invented(n=20, honest=2)
    with pytest.raises(ValueError, match=f"form must be one with outputs by class for a regression, got '{form}'"):
        contrast_mean(source, siblings, honest, form)


def test_models_of_other_classes_are_found_and_the_order_does_not_matter():
    source, siblings, honest, thefts, moved = invented()
    models = [*honest, *thefts, *moved]
    found = contrast_mean(source, siblings, models, "logits")
    assert auc(found[12:].tolist(), found[:12].tolist()) >= 0.95
    back = contrast_mean(source, siblings, models[::-1], "logits")
    assert back[::-1] == pytest.approx(found, abs=1e-9)
