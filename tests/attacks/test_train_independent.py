"""Independent models: every weight is drawn anew, or the model is refused."""

import pytest
import torch
from support.attack_models import make_gray as make
from support.attack_models import make_gray_data as make_data
from support.attack_models import same
from torch import nn
from torch.nn.utils import spectral_norm

from sac_fast.attacks import (
    TrainingConfig,
    train,
    train_independent,
)
from sac_fast.errors import ModelError

pytestmark = pytest.mark.usefixtures("one_thread")


SHORT = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.05)
IMAGES, LABELS = make_data()


def test_train_independent_keeps_nothing_of_the_given_weights():
    """From two different models of one architecture and one seed comes one and the same model."""
    trained = train(make(1), IMAGES, LABELS, config=SHORT)
    one, other = (train_independent(m, IMAGES, LABELS, config=SHORT, seed=2) for m in (trained, make(7)))
    assert same(one, other)


def test_train_independent_refuses_weights_it_cannot_renew():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x.flatten(1)[:, :3] * self.scale

    with pytest.raises(ModelError, match=r"module 'Own' must have reset_parameters\(\)"):
        train_independent(Own(), IMAGES, LABELS)


class Scaled(nn.Linear):
    """Its own reset leaves the scale, one number, and the running mean as they are."""

    def __init__(self, what):
        super().__init__(36, 3)
        if what == "scale":
            self.scale = nn.Parameter(torch.ones(()))
        else:
            self.register_buffer("mean", torch.zeros(3))

    def forward(self, x):
        return super().forward(x.flatten(1))


@pytest.mark.parametrize(
    ("make_model", "kept"),
    [
        (lambda: nn.Sequential(nn.Flatten(), spectral_norm(nn.Linear(36, 3))), "'1.weight_orig' left .* by a Linear"),
        (lambda: Scaled("scale"), "'scale' left .* by a Scaled"),
        (lambda: Scaled("mean"), "'mean' left .* by a Scaled"),
    ],
    ids=["spectral_norm", "number", "buffer"],
)
def test_train_independent_refuses_weights_that_a_reset_leaves(make_model, kept):
    with pytest.raises(ModelError, match=kept):
        train_independent(make_model(), IMAGES, LABELS, config=SHORT)
