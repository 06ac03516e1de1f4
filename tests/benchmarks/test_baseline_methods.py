"""The published fingerprints in benchmarks/baselines: what all of them keep, and their formulas by hand or by SciPy."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from baselines import METHODS, OwnModels, Task, deepjudge, ipguard, modeldiff, uap, zest
from baselines.defender import logits_of
from scipy.spatial.distance import cosine, jensenshannon
from support.baseline_models import OWN, SIDE, FixedLogits, Linear, Net, pixels, task

from sac_fast.errors import ModelError

# --- every method ----------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    """Nothing but less work."""
    monkeypatch.setattr(uap, "STEPS", 20)
    monkeypatch.setattr(uap, "PASSES", 2)
    monkeypatch.setattr(ipguard, "STEPS", 30)
    monkeypatch.setattr(zest, "superpixels", lambda image: np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 16)


@pytest.mark.parametrize("name", METHODS)
def test_the_source_scores_0_and_no_other_scores_less(short, name):
    source = Net()
    before = {key: value.clone() for key, value in source.state_dict().items()}
    print_of = METHODS[name].prepare(source, task(), OWN, 40, 0)
    assert print_of.score(source) == pytest.approx(0, abs=1e-12)
    others = [print_of.score(Net(seed=seed)) for seed in range(5, 10)]
    assert min(others) >= 0
    assert max(others) > 1e-3
    assert all(torch.equal(before[key], value) for key, value in source.state_dict().items())
    assert all(parameter.requires_grad for parameter in source.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_the_number_of_questions_is_what_is_told_and_within_the_budget(short, name):
    asked = 0

    class Counting(Net):
        def forward(self, x):
            nonlocal asked
            asked += len(x)
            assert float(x.min()) >= 0
            assert float(x.max()) <= 1
            return super().forward(x)

    print_of = METHODS[name].prepare(Net(), task(), OWN, 40, 0)
    print_of.score(Counting(seed=7))
    assert asked == print_of.queries
    assert 27 <= asked <= 40


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_fingerprint(short, name):
    state = torch.random.get_rng_state()
    scores = [METHODS[name].prepare(Net(), task(), OWN, 36, seed).score(Net(seed=7)) for seed in (3, 3)]
    assert scores[0] == scores[1]
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", [name for name in METHODS if not METHODS[name].any_classes])
def test_another_number_of_classes_is_refused_where_it_says_nothing(short, name):
    print_of = METHODS[name].prepare(Net(), task(), OWN, 36, 0)
    with pytest.raises(ModelError, match="must answer with 3 classes like the source, got 5"):
        print_of.score(Net(classes=5))


@pytest.mark.parametrize("budget", [0, -1, 2.0, True])
@pytest.mark.parametrize("name", METHODS)
def test_a_budget_that_is_none_is_refused(name, budget):
    with pytest.raises(ValueError, match="budget must be an integer of at least"):
        METHODS[name].prepare(Net(), task(), OWN, budget, 0)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].own_models])
def test_own_models_of_both_kinds_are_needed(name):
    with pytest.raises(ValueError, match="own must hold stolen and independent models, got 2 and 0"):
        METHODS[name].prepare(Net(), task(), OwnModels(OWN.stolen, ()), 36, 0)


# --- AKH -------------------------------------------------------------------------------------------------


def test_akh_counts_the_labels_that_differ():
    source = FixedLogits([[3, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3], [3, 0, 0]])
    true = torch.tensor([1, 2, 0, 0, 1])
    some = Task(pixels(5), torch.zeros(5, dtype=torch.int64), errors=pixels(5), error_labels=true)
    print_of = METHODS["akh"].prepare(source, some, OwnModels(), 5, 0)
    assert print_of.queries == 5
    ordered = dataclasses.replace(print_of, labels=torch.tensor([0, 0, 1, 2, 0]))
    # Labels 0, 2, 1, 0, 0 of the suspect against 0, 0, 1, 2, 0: the second and the fourth differ.
    suspect = FixedLogits([[3, 0, 0], [0, 0, 3], [0, 3, 0], [3, 0, 0], [3, 0, 0]])
    assert ordered.score(suspect) == 0.4


def test_akh_asks_only_what_the_source_gets_wrong():
    given = task()
    print_of = METHODS["akh"].prepare(Net(), given, OwnModels(), 100, 0)
    assert print_of.queries == 27  # of 30 errors the source gets three right
    wrong = {tuple(image.flatten().tolist()) for image in given.errors[3:]}
    assert {tuple(image.flatten().tolist()) for image in print_of.images} == wrong


def test_akh_without_errors_is_refused():
    with pytest.raises(ValueError, match="task must have errors"):
        METHODS["akh"].prepare(Net(), Task(pixels(4), torch.zeros(4, dtype=torch.int64)), OwnModels(), 5, 0)


# --- IPGuard ---------------------------------------------------------------------------------------------


def test_ipguard_loss_by_hand():
    logits = torch.tensor([[4.0, 1.0, 2.0], [1.0, 3.0, 0.0], [1.0, 3.0, 2.5]])
    i, j = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])
    # (4 − 1 + 0.5) + 0;  0 + 0;  0 + (2.5 − 1)
    assert ipguard.boundary_loss(logits, i, j, 0.5).tolist() == [3.5, 0.0, 1.5]


def test_ipguard_points_lie_where_the_two_largest_logits_differ_by_the_margin():
    # Logits are sums over the three colour planes, the second of which is far behind and stays so: the gradient is
    # constant, one step of Adam moves an entry by the learning rate, and Z_j − Z_i by 2 · 16 · 0.01 = 0.32.
    model = Linear(torch.eye(3).repeat_interleave(16, 1))
    images = 0.2 * pixels(20, side=4) + 0.4
    images[:, 0] += 0.2
    images[:, 1] -= 0.4
    images[:, 2] -= 0.2
    start = logits_of(model, images)
    first, target = torch.zeros(20, dtype=torch.int64), torch.full((20,), 2)
    assert (start.argmax(1) == 0).all()
    points, arrived = ipguard.boundary_points(model, images, first, target, margin=1.0, learning_rate=0.01, steps=99)
    assert arrived.all()
    z = logits_of(model, points)
    lead = z[:, 2] - z[:, 0]
    assert (z.argmax(1) == 2).all()
    assert (z[:, 0] >= z[:, 1]).all()
    assert ((lead >= 1.0) & (lead <= 1.0 + 0.3201)).all()


def test_ipguard_steps_are_adams_whichever_rows_have_arrived():
    """A point gets the same steps alone as among others that arrive sooner."""
    model, images = Net(), pixels(12)
    z = logits_of(model, images)
    together, _ = ipguard.boundary_points(model, images, z.argmax(1), z.argmin(1), 0.05, 0.01, 60)
    for row in range(12):
        one = slice(row, row + 1)
        alone, _ = ipguard.boundary_points(model, images[one], z[one].argmax(1), z[one].argmin(1), 0.05, 0.01, 60)
        assert torch.allclose(together[one], alone, atol=1e-4)


# --- ModelDiff -------------------------------------------------------------------------------------------


def test_modeldiff_decision_distances_by_hand():
    clean = torch.tensor([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    perturbed = torch.tensor([[0.0, 2.0], [4.0, 3.0], [-2.0, -2.0]])
    # cos = 0, 24/25, −1
    assert modeldiff.decision_distances(clean, perturbed).tolist() == pytest.approx([1.0, 0.04, 2.0], abs=1e-12)


def test_modeldiff_distance_is_scipys_cosine():
    a, b = torch.rand(9, dtype=torch.float64), torch.rand(9, dtype=torch.float64)
    assert modeldiff.vector_distance(a, b) == pytest.approx(cosine(a.numpy(), b.numpy()), abs=1e-12)


def test_modeldiff_takes_other_classes_and_its_pairs_lie_far_apart():
    source = Net()
    print_of = modeldiff.prepare(source, task(), OwnModels(), 40, 0)
    assert 0 <= print_of.score(Net(classes=7, seed=5)) <= 2
    change = (print_of.perturbed - print_of.clean).abs().max()
    assert float(change) <= modeldiff.EPSILON + 1e-6
    noise = modeldiff.EPSILON * pixels(20, 3).sub(0.5).sign()
    noisy = modeldiff.decision_distances(logits_of(source, print_of.clean), logits_of(source, print_of.clean + noise))
    assert print_of.vector.mean() > 2 * noisy.mean()


# --- DeepJudge -------------------------------------------------------------------------------------------


def test_deepjudge_jensen_shannon_is_scipys():
    p, q = (torch.softmax(3 * torch.randn(6, 4, dtype=torch.float64), 1) for _ in range(2))
    expected = jensenshannon(p.numpy(), q.numpy(), axis=1) ** 2
    assert deepjudge.jensen_shannon(p, q).numpy() == pytest.approx(expected, abs=1e-12)
    certain = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert deepjudge.jensen_shannon(certain, certain.flip(1)).item() == pytest.approx(math.log(2), abs=1e-15)
    assert deepjudge.jensen_shannon(certain, certain).item() == 0


def test_deepjudge_metrics_by_hand():
    images, labels = pixels(4), torch.tensor([0, 1, 1, 2])
    source = torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])  # right: the first, ¼
    suspect = FixedLogits([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]])  # right: the first three, ¾
    assert deepjudge.DeepJudge("robd", images, labels, source).score(suspect) == 0.5
    told = [jensenshannon(*(np.exp(row) / np.exp(row).sum() for row in pair)) ** 2
            for pair in zip(source.numpy(), suspect.logits.numpy(), strict=True)]  # fmt: skip
    assert deepjudge.DeepJudge("jsd", images, labels, source).score(suspect) == pytest.approx(np.mean(told), abs=1e-7)


def test_deepjudge_seeds_are_those_of_which_the_source_is_right_and_most_certain(monkeypatch):
    monkeypatch.setattr(deepjudge, "ascend", lambda loss, images, *_: images)
    images = pixels(4)
    source = FixedLogits([[5, 0, 0], [0, 1, 0], [9, 0, 0], [0, 3, 0]])  # certain: third, first, fourth, second
    labels = torch.tensor([0, 1, 1, 1])  # the third is wrong
    some = Task(images, labels)
    monkeypatch.setattr(Task, "draw", lambda *_: (images, labels))  # in this order
    print_of = deepjudge.prepare(source, some, OwnModels(), 2, 0, metric="robd")
    assert torch.equal(print_of.images, images[[0, 3]])
    assert print_of.labels.tolist() == [0, 1]
