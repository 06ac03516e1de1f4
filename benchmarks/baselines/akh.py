"""AKH: hard labels on images that the source gets wrong, compared by Hamming distance.

Source: Godinot, Le Merrer, Penzo, Taïani, Trédan: Queries, Representation & Detection: The Next 100 Model
Fingerprinting Schemes, AAAI 2025, arXiv 2412.13021 (the Anna Karenina heuristic).

Happy models are alike: on images that the source gets right every good model agrees with it. So only those count
that it gets wrong.

Hyper-parameters: the number of queries alone. Nothing is scaled down.
"""

from __future__ import annotations

from torch import nn

from .defender import LabelledQueries, OwnModels, Task, check_budget, draw, logits_of

SETTINGS = {"queries_are": "misclassified by the source", "answers": "hard labels", "distance": "Hamming"}


class Akh(LabelledQueries):
    """Queries and the source's (wrong) labels for them."""


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> Akh:
    """Draw queries among the images that the source gets wrong.

    Args:
        source: pixels to logits.
        task: its errors are used.
        own: not used.
        budget: at most so many queries.
        seed: of the draw.

    Returns:
        The fingerprint.

    Raises:
        ValueError: the task has no errors.
    """
    check_budget(budget)
    if task.errors is None or task.error_labels is None:
        raise ValueError("task must have errors, images that the source gets wrong, got none")
    logits = logits_of(source, task.errors)
    labels = logits.argmax(1)
    wrong = (labels != task.error_labels).nonzero()[:, 0]
    if not len(wrong):
        raise ValueError(f"the source must get some of {len(labels)} errors wrong, got all of them right")
    chosen = wrong[draw(len(wrong), budget, seed)]
    return Akh(task.errors[chosen], labels[chosen], logits.shape[1])
