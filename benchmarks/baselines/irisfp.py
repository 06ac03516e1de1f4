"""IrisFP: several points each where all classes meet, those kept that tell own stolen models from own honest ones.

Source: Geng, Yang, Chen, Luo: IrisFP: Adversarial-Example-based Model Fingerprinting with Enhanced Uniqueness and
Robustness, CVPR 2026, arXiv 2603.24996. Written from its description; the authors' loss and constants are not.

From an image, Adam brings all logits together (their variance to 0) while one class, the label, leads by k. A
fingerprint is several such points that begin near each other and lead to different labels. Of many candidates those are
kept that separate the defender's own stolen models from its own independent ones best: difference of the mean matching
rates over the sum of their standard deviations. Each has its own threshold, the middle of the two means; a suspect is
compared by the share of fingerprints whose matching rate lies below their threshold.

Hyper-parameters (here): 5 points a fingerprint, twice as many candidates as are kept, k = 0.5, Adam for 80 steps at
0.01, starts within 4/255 of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .defender import OwnModels, Task, check_budget, logits_of
from .perturb import frozen

SAMPLES = 5
CANDIDATES = 2
MARGIN = 0.5
LEARNING_RATE = 0.01
STEPS = 80
START = 4 / 255
SETTINGS = {
    "samples": SAMPLES,
    "candidates": CANDIDATES,
    "margin_k": MARGIN,
    "learning_rate": LEARNING_RATE,
    "steps": STEPS,
    "start": START,
}
_BATCH = 256
_SMALL = 0.05  # added to deviations: a few own models may agree by chance


@dataclass(frozen=True, eq=False)
class IrisFP:
    """Points (f · SAMPLES, 3, H, W), the source's labels, and each fingerprint's threshold (f,)."""

    images: Tensor
    labels: Tensor
    thresholds: Tensor
    classes: int

    @property
    def queries(self) -> int:
        """Questions to a suspect."""
        return len(self.images)

    def score(self, model: nn.Module) -> float:
        """The share of fingerprints below their threshold: 0 … 1."""
        matched = matching(model, self.images, self.labels, self.classes)
        return float((matched < self.thresholds).double().mean())


def matching(model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Share of the points of each fingerprint with the source's label, (f,) float64."""
    same = logits_of(model, images, classes).argmax(1) == labels
    return same.double().reshape(-1, SAMPLES).mean(1)


def meeting_loss(logits: Tensor, label: Tensor, margin: float) -> Tensor:
    """``var_t Z_t + ReLU(max_{t ≠ i} Z_t − Z_i + k)`` of every row, (n,).

    Args:
        logits: (n, k).
        label: (n,) i, the class that leads.
        margin: k of the formula.
    """
    own = logits.gather(1, label[:, None])
    others = logits.scatter(1, label[:, None], -torch.inf).amax(1)
    return logits.var(dim=1, correction=0) + torch.relu(others - own[:, 0] + margin)


def meeting_points(source: nn.Module, images: Tensor, label: Tensor) -> Tensor:
    """Move images where all classes meet, by Adam: (n, 3, H, W) pixels in 0..1."""
    done = []
    with frozen(source):
        for rows in torch.split(torch.arange(len(images)), _BATCH):
            x = images[rows].clone().requires_grad_(True)
            optimizer = torch.optim.Adam([x], LEARNING_RATE)
            for _ in range(STEPS):
                loss = meeting_loss(source(x), label[rows], MARGIN)
                (x.grad,) = torch.autograd.grad(loss.sum(), x)
                optimizer.step()
                with torch.no_grad():
                    x.clamp_(0, 1)
            done.append(x.detach())
    return torch.cat(done)


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> IrisFP:
    """Make candidates and keep those that separate the defender's own models.

    Args:
        source: pixels to logits.
        task: where the points start.
        own: at least one stolen and one independent model.
        budget: number of points, at least those of one fingerprint.
        seed: of images, starts and labels.

    Returns:
        The fingerprint.

    Raises:
        ValueError: own models of one kind are missing.
    """
    check_budget(budget, least=SAMPLES)
    if not own.stolen or not own.independent:
        raise ValueError(
            f"own must hold stolen and independent models, got {len(own.stolen)} and {len(own.independent)}"
        )
    kept = budget // SAMPLES
    images, _ = task.draw(CANDIDATES * kept, seed)
    images = images.repeat_interleave(SAMPLES, dim=0)
    generator = torch.Generator().manual_seed(seed)
    images = (images + START * (2 * torch.rand(images.shape, generator=generator) - 1)).clamp(0, 1)
    classes = logits_of(source, images[:1]).shape[1]
    points = meeting_points(source, images, torch.randint(classes, (len(images),), generator=generator))
    labels = logits_of(source, points).argmax(1)
    near, far = (
        torch.stack([matching(model, points, labels, classes) for model in models])
        for models in (own.stolen, own.independent)
    )
    power = (near.mean(0) - far.mean(0)) / (near.std(0, correction=0) + far.std(0, correction=0) + _SMALL)
    best = torch.sort(torch.argsort(-power, stable=True)[:kept]).values
    # Never above what the source itself reaches, which matches everywhere.
    thresholds = ((near.mean(0) + far.mean(0)) / 2)[best].clamp(max=1.0)
    shape = points.shape[1:]
    return IrisFP(
        points.reshape(-1, SAMPLES, *shape)[best].flatten(0, 1), labels.reshape(-1, SAMPLES)[best].flatten(),
        thresholds, classes,
    )  # fmt: skip
