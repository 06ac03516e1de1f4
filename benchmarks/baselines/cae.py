"""CAE: adversarial images that transfer to stolen copies of the source, and not to independent models.

Source: Lukas, Zhang, Kerschbaum: Deep Neural Network Fingerprinting by Conferrable Adversarial Examples, ICLR 2021,
arXiv 1912.00888.

With Surr and Ref, the mean probabilities of the defender's own stolen and independent models (dropout on the
answers),

    Confer_t(x') = Surr_t(x') (1 − Ref_t(x'))

the images minimise, within an L∞ ball, the paper's three terms with weight 1 each: the cross-entropy of the most
conferrable class, minus the cross-entropy H(source(x), source(x')) (the source must change its mind), plus
H(source(x'), Surr(x')) (source and stolen models must agree). A suspect is compared by the share of images to which
it gives the source's label.

Hyper-parameters (paper → here): ensembles of a dozen large networks and more → a few small ones (`own_models`);
Adam in an L∞ ball of 0.1, 20 steps at 0.02; dropout 0.3; of 1.25 times as many candidates those with the highest
conferrability (share of own stolen models that agree × share of own independent ones that do not) are kept, in
place of the paper's threshold on it, so that the number of queries is the budget.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sac_fast.attacks.training import seeded

from .defender import LabelledQueries, OwnModels, Task, check_budget, logits_of
from .perturb import frozen

EPSILON = 0.1
LEARNING_RATE = 0.02
STEPS = 20
DROPOUT = 0.3
CANDIDATES = 1.25
SETTINGS = {
    "epsilon": EPSILON,
    "learning_rate": LEARNING_RATE,
    "steps": STEPS,
    "dropout": DROPOUT,
    "candidates": CANDIDATES,
    "weights": [1, 1, 1],
}
_BATCH = 256
_TINY = 1e-7


class Cae(LabelledQueries):
    """Conferrable images and the source's labels for them."""


def conferrability(labels: Tensor, stolen: Tensor, independent: Tensor) -> Tensor:
    """``(share of stolen models that agree) · (1 − share of independent ones that agree)``, (n,) float64.

    Args:
        labels: (n,) the source's labels.
        stolen: (s, n) the stolen models' labels.
        independent: (r, n) the independent models' labels.
    """
    return (stolen == labels).double().mean(0) * (1 - (independent == labels).double().mean(0))


def _ensemble(models: tuple[nn.Module, ...], x: Tensor) -> Tensor:
    outputs = [F.dropout(model(x), DROPOUT) for model in models]
    return torch.stack([torch.softmax(output, 1) for output in outputs]).mean(0)


def _cross_entropy(wanted: Tensor, given: Tensor) -> Tensor:
    return -(wanted * given.clamp(min=_TINY).log()).sum(1)


def _craft(source: nn.Module, own: OwnModels, images: Tensor, seed: int) -> Tensor:
    crafted = []
    with frozen(source, *own.stolen, *own.independent), seeded(seed, images.device):
        for clean in torch.split(images, _BATCH):
            before = torch.softmax(source(clean), 1)
            change = torch.zeros_like(clean, requires_grad=True)
            optimizer = torch.optim.Adam([change], LEARNING_RATE)
            for _ in range(STEPS):
                x = clean + change
                after = torch.softmax(source(x), 1)
                surrogate, reference = _ensemble(own.stolen, x), _ensemble(own.independent, x)
                confer = (surrogate * (1 - reference)).amax(1)
                loss = -confer.clamp(min=_TINY).log()
                loss = loss - _cross_entropy(before, after) + _cross_entropy(after, surrogate)
                (change.grad,) = torch.autograd.grad(loss.sum(), change)
                optimizer.step()
                with torch.no_grad():
                    change.clamp_(-EPSILON, EPSILON)
                    change.copy_((clean + change).clamp(0, 1) - clean)
            crafted.append((clean + change).detach().clamp(0, 1))
    return torch.cat(crafted)


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> Cae:
    """Craft conferrable images.

    Args:
        source: pixels to logits.
        task: where the images start.
        own: at least one stolen and one independent model.
        budget: number of images.
        seed: of draw and dropout.

    Returns:
        The fingerprint.

    Raises:
        ValueError: own models of one kind are missing.
    """
    check_budget(budget)
    if not own.stolen or not own.independent:
        raise ValueError(
            f"own must hold stolen and independent models, got {len(own.stolen)} and {len(own.independent)}"
        )
    start, _ = task.draw(int(CANDIDATES * budget), seed)
    images = _craft(source, own, start, seed)
    logits = logits_of(source, images)
    labels = logits.argmax(1)
    stolen, independent = (
        torch.stack([logits_of(model, images).argmax(1) for model in models])
        for models in (own.stolen, own.independent)
    )  # fmt: skip
    order = torch.argsort(conferrability(labels, stolen, independent), descending=True, stable=True)[:budget]
    return Cae(images[order], labels[order], logits.shape[1])
