"""ModelDiff: how far a model's answers to an image and to a perturbed copy lie apart, pair for pair.

Source: Li, Zhang, Liu, Yang, Liu: ModelDiff: Testing-Based DNN Similarity Comparison for Model Reuse Detection, ISSTA
2021, arXiv 2106.08890.

    DDV(f) = (d(f(x_1), f(x'_1)), …, d(f(x_n), f(x'_n))),  d = cosine distance of the raw outputs
    distance = 1 − cos(DDV(source), DDV(suspect))

Only distances within one model meet, so that suspects may have other classes than the source. The perturbed copies
are made with the source's gradient to score high in the paper's two criteria: divergence, the mean distance within
a pair, and diversity, the mean distance between the answers to different perturbed images.

Hyper-parameters (paper → here): the paper's score, divergence and diversity with equal weights, is climbed by 10
PGD steps of 2/255 within 8/255, instead of its longer search by mutations. A pair costs two queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .defender import OwnModels, Task, check_budget, logits_of
from .perturb import ascend, frozen

EPSILON = 8 / 255
STEPS = 10
DIVERSITY = 1.0
SETTINGS = {"epsilon": EPSILON, "step": EPSILON / 4, "steps": STEPS, "diversity_weight": DIVERSITY, "outputs": "logits"}


def decision_distances(clean: Tensor, perturbed: Tensor) -> Tensor:
    """The decision distance vector: ``1 − cos(f(x_i), f(x'_i))``, (n,) float64, of (n, k) outputs each."""
    return 1 - F.cosine_similarity(clean.double(), perturbed.double(), dim=1)


def vector_distance(a: Tensor, b: Tensor) -> float:
    """``1 − cos(a, b)`` of two decision distance vectors, not below 0."""
    return max(0.0, 1 - float(F.cosine_similarity(a, b, dim=0)))


@dataclass(frozen=True, eq=False)
class ModelDiff:
    """Pairs of images and the source's decision distance vector."""

    clean: Tensor
    perturbed: Tensor
    vector: Tensor

    @property
    def queries(self) -> int:
        """Questions to a suspect: two a pair."""
        return 2 * len(self.clean)

    def score(self, model: nn.Module) -> float:
        """One minus the cosine of the two decision distance vectors: 0 … 2."""
        vector = decision_distances(logits_of(model, self.clean), logits_of(model, self.perturbed))
        return vector_distance(self.vector, vector)


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> ModelDiff:
    """Draw images and perturb them.

    Args:
        source: pixels to logits.
        task: where the images are taken from.
        own: not used.
        budget: number of queries, at least 4: an odd one is left.
        seed: of draw and perturbation.

    Returns:
        The fingerprint.
    """
    check_budget(budget, least=4)
    clean, _ = task.draw(budget // 2, seed)
    logits = logits_of(source, clean)

    def objective(x: Tensor, rows: Tensor) -> Tensor:
        outputs = source(x)
        divergence = (1 - F.cosine_similarity(outputs, logits[rows], dim=1)).mean()
        directions = F.normalize(outputs, dim=1)
        # The mean of 1 − cos over all pairs of the batch.
        diversity = 1 - directions.mean(0).square().sum()
        return divergence + DIVERSITY * diversity

    with frozen(source):
        perturbed = ascend(objective, clean, EPSILON, EPSILON / 4, STEPS, seed)
    return ModelDiff(clean, perturbed, decision_distances(logits, logits_of(source, perturbed)))
