"""The adaptive thieves: away from the fingerprint, and as accurate as before."""

import pytest
import torch
from support.attack_models import accuracy
from support.attack_models import make_colour as make
from support.attack_models import make_colour_data as make_data
from torch import nn

from sac_fast.attacks import (
    TrainingConfig,
    adaptive_correlation,
    adaptive_removalnet,
    train,
)
from sac_fast.attacks.adaptive import far_features, mix_with_farthest
from sac_fast.attacks.training import compute_logits
from sac_fast.ops import correlation_distance

IMAGES, LABELS = make_data()
SOURCE = train(make(), IMAGES, LABELS, config=TrainingConfig(epochs=8, batch_size=16, learning_rate=0.1))


def test_a_batch_of_one_has_no_gap():
    options = {"config": TrainingConfig(epochs=1, batch_size=1, learning_rate=0.01), "seed": 1}
    alone = adaptive_correlation(SOURCE, IMAGES[:3], LABELS[:3], weight=5.0, **options)
    plain = adaptive_correlation(SOURCE, IMAGES[:3], LABELS[:3], weight=0.0, **options)
    for one, other in zip(alone.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_adaptive_thief_goes_away_and_keeps_the_accuracy():
    images, labels = make_data(seed=6)
    options = {"config": TrainingConfig(epochs=10, batch_size=32, learning_rate=0.05), "seed": 1}

    def distance(model):
        return float(
            correlation_distance(compute_logits(model, images), compute_logits(SOURCE, images), metric="pearson")
        )

    plain = adaptive_correlation(SOURCE, IMAGES, LABELS, weight=0.0, **options)
    away = adaptive_correlation(SOURCE, IMAGES, LABELS, weight=1.0, **options)
    hidden = adaptive_correlation(SOURCE, IMAGES, weight=1.0, target=0.15, **options)
    assert distance(away) > 4 * distance(plain)
    assert distance(plain) < distance(hidden) < distance(away)
    for model in (plain, away, hidden):
        assert accuracy(model, images, labels) > 0.95


def test_far_features_leave_and_keep_the_label():
    head = nn.Linear(8, 3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        head.weight.copy_(torch.randn(3, 8, generator=generator))
    latent = torch.randn(64, 8, generator=generator)
    labels = head(latent).argmax(dim=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = far_features(head, latent, labels, 0)
        torch.manual_seed(0)
        far = far_features(head, latent, labels, 20)
    assert (far - latent).norm(dim=1).mean() > 1.3 * (start - latent).norm(dim=1).mean()
    assert (head(far).argmax(dim=1) == labels).all()


def test_mixing_takes_the_smallest_share_that_keeps_the_label():
    """Rows (0.9, 0.1) and (0.2, 0.8): share β of the first needs 0.9 β + 0.2 (1 − β) > ½, β > 3/7: 0.45.

    The second needs 0.8 β + 0.1 (1 − β) > ½, β > 4/7: 0.6.
    """
    mixed = mix_with_farthest(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1]))
    assert mixed.flatten().tolist() == pytest.approx([0.515, 0.485, 0.48, 0.52])
    # A label that the row itself does not have: it stays as it is.
    kept = mix_with_farthest(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([1, 0]))
    assert kept[0].tolist() == pytest.approx([0.9, 0.1])


def test_removalnet_goes_away_and_keeps_the_accuracy():
    images, labels = make_data(seed=6)
    config = TrainingConfig(epochs=20, batch_size=32, learning_rate=0.02)
    stolen = adaptive_removalnet(SOURCE, IMAGES, config=config)
    assert accuracy(stolen, images, labels) > 0.9
    tuned = adaptive_correlation(
        SOURCE, IMAGES, weight=0.0, config=TrainingConfig(epochs=20, batch_size=32, learning_rate=0.05)
    )
    distances = [
        float(correlation_distance(compute_logits(m, images), compute_logits(SOURCE, images), metric="pearson"))
        for m in (stolen, tuned)
    ]
    assert distances[0] > 2 * distances[1]
    assert not stolen[5]._forward_pre_hooks
