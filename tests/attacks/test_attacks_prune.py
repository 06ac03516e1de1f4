"""Pruning: the share is exact, what is removed stays removed, and the scores are those worked out by hand."""

import copy

import pytest
import torch
from torch import nn

from sac_fast.attacks import TrainingConfig, fine_prune, prune_magnitude, prune_only, prune_taylor
from sac_fast.attacks.filters import find_filters
from sac_fast.attacks.prune import _mask_smallest
from sac_fast.attacks.prune_filters import _choose, mean_activations, taylor_scores
from sac_fast.errors import ModelError

CONFIG = TrainingConfig(epochs=1, batch_size=16, learning_rate=0.05)


def net(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 5, 3, padding=1),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Conv2d(5, 10, 3, padding=1),
            nn.BatchNorm2d(10),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(40, 3),
        ).to(memory_format=torch.channels_last)


IMAGES = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(5))
LABELS = torch.arange(64) % 3


def weights(model):
    return torch.cat([m.weight.detach().flatten() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)])


def removed_filters(layer):
    return (layer.weight.detach().flatten(1) == 0).all(dim=1).nonzero().flatten().tolist()


@pytest.mark.parametrize(("ratio", "rounds", "zeros"), [(0.5, 1, 308), (0.5, 3, 308), (0.3, 2, 184)])
def test_magnitude_removes_exactly_the_share_and_tuning_does_not_bring_it_back(ratio, rounds, zeros):
    # 5·9 + 10·5·9 + 3·40 = 615 weights; round(0.5 · 615) = 308 (307.5, to even), round(0.3 · 615) = 184
    model = net()
    stolen = prune_magnitude(model, IMAGES, LABELS, ratio=ratio, rounds=rounds, config=CONFIG)
    assert int((weights(stolen) == 0).sum()) == zeros
    assert not torch.equal(stolen[8].bias, model[8].bias)  # it was tuned
    assert list(stolen.state_dict()) == list(model.state_dict())
    assert not any(hasattr(module, "weight_orig") for module in stolen.modules())


def test_magnitude_removes_the_smallest_of_all_layers_together():
    layers = [nn.Linear(3, 1, bias=False), nn.Linear(2, 2, bias=False)]
    layers[0].weight.data = torch.tensor([[0.5, -0.01, 3.0]])
    layers[1].weight.data = torch.tensor([[0.2, -4.0], [0.0, 0.3]])
    _mask_smallest(layers, 2)
    assert layers[0].weight.tolist() == [[0.5, 0.0, 3.0]]
    assert layers[1].weight.tolist() == [[pytest.approx(0.2), -4.0], [0.0, pytest.approx(0.3)]]
    _mask_smallest(layers, 4)  # the two of before, -0.01 and 0, and the next two: 0.2 and 0.3
    assert layers[0].weight_mask.tolist() == [[1, 0, 1]]
    assert layers[1].weight_mask.tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_magnitude_tells_the_smallest_apart_in_low_precision(dtype):
    """These powers of 2 differ in every dtype, but not all of them once 1 is added."""
    layer = nn.Linear(5, 1, bias=False).to(dtype)
    layer.weight.data = torch.tensor([[2**-12, -(2**-13), 0.0, 2**-3, 2**-24]], dtype=dtype)
    gone = []
    for count in (1, 2, 3, 4):
        _mask_smallest([layer], count)
        gone.append((layer.weight_mask == 0).flatten().nonzero().flatten().tolist())
    assert gone == [[2], [2, 4], [1, 2, 4], [0, 1, 2, 4]]


def test_mean_activation_is_that_of_the_normalised_rectified_output():
    """One 1×1 filter doubles, one negates; batch normalisation of fixed statistics adds 1 to the second."""
    conv = nn.Conv2d(1, 2, 1, bias=False)
    conv.weight.data = torch.tensor([2.0, -1.0]).reshape(2, 1, 1, 1)
    norm = nn.BatchNorm2d(2, eps=0.0)
    norm.bias.data = torch.tensor([0.0, 1.0])
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    images = torch.tensor([[[[1.0, -1.0]]], [[[3.0, 0.5]]]])
    (filters,) = find_filters(model, images)
    assert filters.norm is norm
    # 2x: 2, 0, 6, 1 → 9/4; 1 − x: 0, 2, 0, 0.5 → 2.5/4
    assert mean_activations(model, filters, images).tolist() == [2.25, 0.625]


def test_fine_pruning_removes_the_dormant_filters_of_the_last_convolution():
    model = net()
    with torch.no_grad():
        for dead in (7, 2, 4):
            model[4].weight[dead], model[4].bias[dead] = 0.0, -1.0  # −1 before the ReLU whatever the image
    stolen = fine_prune(model, IMAGES, LABELS, ratio=0.3, rounds=2, config=CONFIG)
    assert removed_filters(stolen[3]) == [2, 4, 7]
    assert removed_filters(stolen[0]) == []
    for part in (stolen[3].bias, stolen[4].weight, stolen[4].bias):
        assert part[[2, 4, 7]].tolist() == [0, 0, 0]
    assert not torch.equal(stolen[0].weight, model[0].weight)  # it was tuned


def test_fine_pruning_keeps_one_filter():
    stolen = fine_prune(net(), IMAGES, LABELS, ratio=0.99, rounds=1, config=CONFIG)
    assert len(removed_filters(stolen[3])) == 9


def test_taylor_scores_by_hand_on_a_linear_net():
    """h = W x, logits = h: with two classes and one image the gradients follow from the probabilities.

    x = (1, 2), W = ((1, 0), (0, 0.5)): h = (1, 1), then logits V h with V = ((1, 0), (0, 1)), so p = (½, ½);
    label 0: ∂loss/∂logits = (−½, ½) = ∂loss/∂h. Filter 0: Σ g w = −½·1·1 = −½; filter 1: ½·2·0.5 = ½ (biases are 0).
    Second batch by 128 rows: none. Squares: ¼ each.
    """
    first, last = nn.Linear(2, 2), nn.Linear(2, 2)
    first.weight.data, first.bias.data = torch.tensor([[1.0, 0.0], [0.0, 0.5]]), torch.zeros(2)
    last.weight.data, last.bias.data = torch.eye(2), torch.zeros(2)
    model = nn.Sequential(first, last)
    images, labels = torch.tensor([[1.0, 2.0]]), torch.tensor([0])
    filters = find_filters(model, images)
    assert [layer.name for layer in filters] == ["0"]
    (scores,) = taylor_scores(model, filters, images, labels)
    assert scores.tolist() == pytest.approx([0.25, 0.25])
    first.bias.data = torch.tensor([2.0, -1.0])
    # h = (3, 0): p = (σ(3), σ(−3)), g = (σ(3) − 1, σ(−3)) = (−0.047426, 0.047426)
    # filter 0: g (1·1 + 2) = −0.142278; filter 1: g (2·0.5 − 1) = 0
    (scores,) = taylor_scores(model, filters, images, labels)
    assert scores.tolist() == pytest.approx([0.0202430, 0.0], abs=1e-6)
    assert first.weight.grad is None


def test_taylor_scores_take_the_gate_behind_the_normalisation():
    """With γ = 0 and β = 0 a filter passes nothing and its gate's derivative is 0, whatever its weights."""
    model = net()
    with torch.no_grad():
        model[1].weight[3], model[1].bias[3] = 0.0, 0.0
    filters = find_filters(model, IMAGES)
    assert [layer.name for layer in filters] == ["0", "3"]
    scores = taylor_scores(model, filters, IMAGES, LABELS)
    assert scores[0][3] == 0
    assert (scores[0][[0, 1, 2, 4]] > 0).all()


def test_choose_takes_the_lowest_and_leaves_one_of_each_layer():
    gone = [{1}, set()]
    _choose([torch.tensor([0.1, 0.0, 0.2]), torch.tensor([0.3, 0.4])], gone, 3)
    assert gone == [{0, 1}, {0}]  # 0.2 would be next, but is the last of its layer
    _choose([torch.tensor([0.1, 0.0, 0.2]), torch.tensor([0.3, 0.4])], gone, 5)
    assert gone == [{0, 1}, {0}]


def test_taylor_pruning_removes_the_share_of_all_filters():
    model = net()
    stolen = prune_taylor(model, IMAGES, LABELS, ratio=0.4, rounds=2, config=CONFIG)
    assert len(removed_filters(stolen[0])) + len(removed_filters(stolen[3])) == 6  # of 15
    for conv, norm in ((stolen[0], stolen[1]), (stolen[3], stolen[4])):
        gone = removed_filters(conv)
        assert norm.weight[gone].tolist() == norm.bias[gone].tolist() == conv.bias[gone].tolist() == [0] * len(gone)


def test_attention_is_left_out_and_the_norm_of_another_layer_is_not_taken():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(6, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.hidden = nn.Linear(8, 8)
            self.head = nn.Linear(8, 3)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            x = self.embed(x[:, 0])
            x = x + self.attention(x, x, x, need_weights=False)[0]
            return self.head(self.norm(torch.relu(self.hidden(x.mean(1)))))

    filters = find_filters(Net(), IMAGES)
    assert [(layer.name, layer.norm) for layer in filters] == [("embed", None), ("hidden", None)]
    for attack in (prune_magnitude, prune_taylor, fine_prune):
        stolen = attack(Net(), IMAGES, LABELS, ratio=0.5, rounds=1, config=CONFIG)
        assert (stolen.attention.out_proj.weight != 0).all()


@pytest.mark.parametrize("attack", [prune_magnitude, prune_taylor, fine_prune])
def test_refusals(attack):
    for ratio in (0.0, 1.0, -0.1):
        with pytest.raises(ValueError, match=f"ratio must be above 0 and below 1, got {ratio}"):
            attack(net(), IMAGES, LABELS, ratio=ratio)
    with pytest.raises(ValueError, match="rounds must be an integer of at least 1, got 0"):
        attack(net(), IMAGES, LABELS, rounds=0)
    with pytest.raises(ValueError, match="labels must lie in 0…2"):
        attack(net(), IMAGES, LABELS + 1)
    with pytest.raises(ModelError, match="got"):
        attack(nn.Flatten(), IMAGES, LABELS)


def test_fine_pruning_refuses_an_unknown_layer():
    with pytest.raises(ModelError, match=r"layer must name .* before the last one, got '8'"):
        fine_prune(net(), IMAGES, LABELS, layer="8")


def test_memory_layout_is_the_given_models():
    model = copy.deepcopy(net())
    stolen = prune_magnitude(model, IMAGES, LABELS, config=CONFIG)
    assert stolen[3].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("attack", [prune_magnitude, fine_prune, prune_taylor])
@pytest.mark.parametrize("normalise", [nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_weights_that_are_computed_are_refused_by_name(attack, normalise):
    model = nn.Sequential(nn.Flatten(), normalise(nn.Linear(36, 8)), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(ModelError, match="weight of layer '1' must be a parameter to be pruned"):
        attack(model, IMAGES, LABELS)


def test_pruning_alone_removes_the_smallest_weights_and_changes_no_other():
    model = net()
    stolen = prune_only(model, ratio=0.3)
    before, after = weights(model), weights(stolen)
    removed = after == 0
    assert int(removed.sum()) == 184  # round(0.3 · 615)
    assert torch.equal(before[~removed], after[~removed])
    assert before[removed].abs().max() <= before[~removed].abs().min()
    assert not any("mask" in name for name, _ in stolen.named_buffers())
    with pytest.raises(ModelError, match="layer to prune, got none"):
        prune_only(nn.ReLU())
    with pytest.raises(ValueError, match="ratio must be above 0"):
        prune_only(model, ratio=1.0)
