"""DeepJudge's black-box metrics: robustness distance and Jensen-Shannon distance on adversarial images.

Source: Chen, Wang, Peng, Sun, Cheng, Ji, Ma, Li, Song: Copy, Right? A Testing Framework for Copyright Protection of
Deep Learning Models, IEEE S&P 2022, arXiv 2112.05588.

Seeds are the images of which the source is most certain (smallest Gini impurity 1 − Σ p²) and right; PGD against the
source makes adversarial images x' of them, with the true label y.

    RobD = |Rob(suspect) − Rob(source)|,  Rob(f) = mean [f(x') = y]        (hard labels)
    JSD  = mean ½ (KL(p_source ‖ q) + KL(p_suspect ‖ q)),  q = ½ (p_source + p_suspect)   (probabilities)

The paper votes over several metrics with thresholds; here each metric is a score of its own, so that AUCs can be had.

Hyper-parameters (paper → here): some thousand seeds of a test set → the budget, of at least 2,000 images where
there are so many; PGD in L∞ as there, epsilon 8/255 (a common bound of 32×32 colour images), 10 steps of a quarter
of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .defender import OwnModels, Task, check_budget, logits_of
from .perturb import ascend, frozen

EPSILON = 8 / 255
SEEDS_AMONG = 2000
STEPS = 10
SETTINGS = {"seeds": "most certain", "attack": "PGD L∞", "epsilon": EPSILON, "step": EPSILON / 4, "steps": STEPS}


def robustness(logits: Tensor, labels: Tensor) -> float:
    """``Rob``: the share of adversarial images to which the true label is given."""
    return float((logits.argmax(1) == labels).double().mean())


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """``½ (KL(p ‖ m) + KL(q ‖ m))``, ``m = ½ (p + q)``, of every row, in nats.

    Args:
        p, q: (n, k) float64 probabilities; a zero adds nothing.

    Returns:
        (n,) float64, 0 … ln 2.
    """
    middle = (p + q) / 2
    # xlogy(0, 0) is 0, and where p > 0 the middle is too.
    divergence = torch.xlogy(p, p) + torch.xlogy(q, q) - torch.xlogy(p + q, middle)
    return divergence.sum(1).clamp(min=0) / 2


@dataclass(frozen=True, eq=False)
class DeepJudge:
    """Adversarial images with their true labels, and the source's logits for them."""

    metric: Literal["robd", "jsd"]
    images: Tensor
    labels: Tensor
    logits: Tensor

    @property
    def queries(self) -> int:
        """Questions to a suspect; one set of answers serves both metrics."""
        return len(self.images)

    def score(self, model: nn.Module) -> float:
        """RobD, 0 … 1, or JSD, 0 … ln 2."""
        logits = logits_of(model, self.images, self.logits.shape[1])
        if self.metric == "robd":
            return abs(robustness(logits, self.labels) - robustness(self.logits, self.labels))
        p, q = (torch.softmax(x.double(), 1) for x in (self.logits, logits))
        return float(jensen_shannon(p, q).mean())


def prepare(
    source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int, *, metric: Literal["robd", "jsd"]
) -> DeepJudge:
    """Make adversarial images of the seeds of which the source is most certain.

    Args:
        source: pixels to logits.
        task: where the seeds are taken from.
        own: not used.
        budget: number of seeds.
        seed: of PGD's start.
        metric: ``"robd"`` or ``"jsd"``.

    Returns:
        The fingerprint.
    """
    check_budget(budget)
    images, true = task.draw(max(budget, SEEDS_AMONG), seed)
    logits = logits_of(source, images)
    certainty = torch.softmax(logits.double(), 1).square().sum(1)
    right = logits.argmax(1) == true
    seeds = torch.argsort(torch.where(right, certainty, -1.0), descending=True, stable=True)[:budget]
    seeds = seeds[right[seeds]]
    if not len(seeds):
        raise ValueError("the source must get some of the task's images right, got none")
    labels = true[seeds]

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        return F.cross_entropy(source(x), labels[rows], reduction="sum")

    with frozen(source):
        adversarial = ascend(loss, images[seeds], EPSILON, EPSILON / 4, STEPS, seed)
    return DeepJudge(metric, adversarial, labels, logits_of(source, adversarial))


prepare_robd = partial(prepare, metric="robd")
prepare_jsd = partial(prepare, metric="jsd")
