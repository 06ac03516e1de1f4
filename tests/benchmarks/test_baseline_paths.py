"""ADV-TRA and IrisFP: their formulas by hand."""

import numpy as np
import pytest
import torch
from baselines import METHODS, Task, advtra, irisfp
from baselines.defender import logits_of
from support.baseline_models import OWN, FixedLogits, Linear, Net, pixels, task


def test_a_stage_walks_by_equal_steps_into_the_class_and_stops_there():
    # Logits are sums over the three colour planes: the gradient has the sign of one plane up, the others down.
    model = Linear(torch.eye(3).repeat_interleave(4, 1))
    images = torch.full((2, 3, 2, 2), 0.5)
    images[:, 0] += 0.05
    places, arrived = advtra.stage(model, images, torch.tensor([1, 0]), step=0.02, steps=9)
    # Plane 1 rises by 0.02 a step and plane 0 falls: 0.55 − 0.02 s < 0.5 + 0.02 s from s = 2 on. The other is there.
    assert arrived.tolist() == [2, 1]
    assert places[2, 0, 1].flatten().tolist() == pytest.approx([0.54] * 4)
    assert places[2, 0, 0].flatten().tolist() == pytest.approx([0.51] * 4)
    assert torch.equal(places[0], images)


def test_trajectories_pass_the_classes_point_by_point():
    source, given = Net(), task()
    made = METHODS["adv-tra"].prepare(source, given, OWN, 41, 0)
    assert made.queries == 40  # two trajectories of 20 points
    labels = made.labels.reshape(2, advtra.STAGES, advtra.POINTS)
    # the last point of a stage lies in another class than the last one of the stage before
    assert (labels[:, 1:, -1] != labels[:, :-1, -1]).all()
    suspect = FixedLogits(torch.eye(3)[[0] * 40])
    assert made.score(suspect) == pytest.approx(float((made.labels != 0).double().mean()))


def test_irisfp_loss_by_hand():
    logits = torch.tensor([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    # variance 0, 2, 2; the leader is 0.5, −2.5, 3.5 behind the best other with its margin
    found = irisfp.meeting_loss(logits, torch.tensor([0, 0, 0]), 0.5)
    assert found.tolist() == pytest.approx([0.5, 2.0, 5.5])


def test_irisfp_points_lie_nearer_to_all_boundaries_than_their_starts():
    source, start = Linear(torch.eye(3).repeat_interleave(64, 1)), pixels(10)
    points = irisfp.meeting_points(source, start, torch.zeros(10, dtype=torch.int64))
    spread = [logits_of(source, images).var(dim=1).mean() for images in (points, start)]
    assert spread[0] < spread[1] / 4
    assert (logits_of(source, points).argmax(1) == 0).all()


def test_irisfp_counts_fingerprints_below_their_own_threshold():
    labels = torch.tensor([0, 1, 2, 0, 1] * 3)
    made = irisfp.IrisFP(pixels(15), labels, torch.tensor([0.5, 0.9, 0.7], dtype=torch.float64), 3)
    said = labels.clone()
    said[5] = said[10] = said[11] = 2 - said[10]  # matching rates 1, 4/5, 3/5
    said[11] = 0
    suspect = FixedLogits(torch.eye(3)[said])
    assert irisfp.matching(suspect, made.images, labels, 3).tolist() == pytest.approx([1.0, 0.8, 0.6])
    assert made.score(suspect) == pytest.approx(2 / 3)


def test_irisfp_keeps_what_separates_the_own_models():
    made = METHODS["irisfp"].prepare(Net(), task(), OWN, 20, 0)
    assert made.queries == 20
    near = np.mean([made.score(model) for model in OWN.stolen])
    far = np.mean([made.score(model) for model in OWN.independent])
    assert near < far
    with pytest.raises(ValueError, match="at least 5"):
        METHODS["irisfp"].prepare(Net(), Task(pixels(4), torch.zeros(4, dtype=torch.int64)), OWN, 4, 0)
