"""Verification: embedding models, measured by pairs and fingerprinted by similarities to reference images (FRI)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attacks import last_layer_name
from ..attacks.attack import Attack, Job
from ..attacks.registry import ATTACKS
from ..attacks.training import compute_logits, fit
from ..verdict import roc_curve

# Scales the mean squared difference of cosines, some hundredths, to the size of a cross-entropy.
_SCALE = 50.0


def embedder(model: nn.Module) -> nn.Module:
    """A copy of a classifier without its last layer: it returns the input of that layer, (n, d).

    Args:
        model: it is not changed.

    Returns:
        The copy.

    Raises:
        ModelError: no linear or convolutional layer.
    """
    bare = copy.deepcopy(model)
    _swap_head(bare, nn.Identity())
    return bare


def _swap_head(model: nn.Module, head: nn.Module, name: str | None = None) -> tuple[str, nn.Module]:
    name = last_layer_name(model) if name is None else name
    parent, _, attribute = name.rpartition(".")
    old = model.get_submodule(name)
    setattr(model.get_submodule(parent), attribute, head)
    return name, old


def verification_accuracy(embeddings: Tensor, people: Tensor) -> float:
    """The best balanced accuracy of a threshold on the cosine, for pairs of one person against pairs of two.

    ``max over t of (share of same pairs with cosine ≥ t + share of different pairs with cosine < t) / 2``

    Args:
        embeddings: (n, d) float.
        people: (n,) integers.

    Returns:
        0.5 (chance) … 1.

    Raises:
        ValueError: no pair of one kind.
    """
    unit = F.normalize(embeddings.double(), dim=1)
    first, second = torch.triu_indices(len(people), len(people), 1)
    cosines, same = (unit @ unit.T)[first, second], people[first] == people[second]
    positives, negatives = int(same.sum()), int((~same).sum())
    if not positives or not negatives:
        raise ValueError(f"people must give pairs of one and of two, got {positives} and {negatives}")
    curve = roc_curve(-cosines[same].numpy(), -cosines[~same].numpy())
    return float(((1 + curve.true_positive_rate - curve.false_positive_rate) / 2).max())


def _imitate(job: Job) -> nn.Module:
    """Train a student on the source's cosines between the thief's images, which are all that a verifier returns."""
    stolen = job.student_like_source(job.images)
    name, head = _swap_head(stolen, nn.Identity())
    source = embedder(job.source)
    embedded = F.normalize(compute_logits(source, job.images), dim=1)
    mirrored = F.normalize(compute_logits(source, job.images.flip(-1)), dim=1)

    def difference(outputs: Tensor, target: Tensor) -> Tensor:
        mine = F.normalize(outputs, dim=1)
        return _SCALE * (mine @ mine.T - target @ target.T).square().mean()

    fit(
        stolen, job.images, embedded, mirrored, difference, job.context.config, job.seed,
        progress=job.progress, description="extracting by similarities",
    )  # fmt: skip
    _swap_head(stolen, head, name)
    return stolen


#: The attacks on a verifier by a thief with images of other people only: none that needs the source's labels.
#: Transfer-L is left out, since it does not change the embedding.
VERIFIER_ATTACKS: Mapping[str, Attack] = {
    origin: ATTACKS[origin]
    for origin in ("extract-labels", "extract-soft-t1", "transfer-all", "quantize-int8", "weight-noise")
} | {
    "extract-similarities": Attack(
        "extract-similarities", "student on the source's similarities of pairs", _imitate, starts_from="student"
    )
}
