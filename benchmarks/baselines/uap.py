"""UAP fingerprint: how answers change under the source's universal adversarial perturbation, seen by a trained
encoder.

Source: Peng, Li, Chen, Zhang, Zhu, Xue: Fingerprinting Deep Neural Networks Globally via Universal Adversarial
Perturbations, CVPR 2022, arXiv 2202.08602. Perturbation by sign gradients: Shafahi et al., Universal Adversarial
Training, AAAI 2020, arXiv 1811.11304. Loss: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, arXiv
2004.11362.

One perturbation v, |v|∞ ≤ ε, raises the source's loss on all images at once. The defender's images are clustered by
K-means in the source's last hidden layer; a view is one image x of each cluster, and its fingerprint the
probabilities for x and x + v of all clusters, one vector. An encoder learns from views of the source, of own stolen
models (one class) and of own independent ones (another), by the supervised contrastive loss. A suspect is compared
by the mean cosine, over its views, between its encoding and the source's.

Hyper-parameters (paper → here): DeepFool's perturbation → sign gradients, which need no inner attack for each
image, 20 passes over at most 2,000 images, ε = 10/255 as is common for it; 100 clusters → as many as the budget of
2 queries an image allows, at most 100, and then more views; an encoder for many large models → 256 hidden units and
64 outputs, Adam, 300 steps, temperature 0.1, as own models are few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sac_fast.attacks import last_layer_name
from sac_fast.attacks.training import seeded

from .defender import OwnModels, Task, check_budget, logits_of
from .perturb import frozen

EPSILON = 10 / 255
PASSES = 20
IMAGES = 2000
CLUSTERS = 100
HIDDEN, CODE = 256, 64
STEPS = 300
TEMPERATURE = 0.1
OWN_VIEWS = 16
SETTINGS = {
    "epsilon": EPSILON,
    "passes": PASSES,
    "images": IMAGES,
    "clusters_at_most": CLUSTERS,
    "encoder": [HIDDEN, CODE],
    "encoder_steps": STEPS,
    "temperature": TEMPERATURE,
    "own_views": OWN_VIEWS,
}
_BATCH = 128


def universal_perturbation(source: nn.Module, images: Tensor, labels: Tensor, epsilon: float, passes: int) -> Tensor:
    """One perturbation for all images: ``v ← clip(v + (ε / 4) sign ∇_v loss(x + v), ±ε)`` over mini-batches.

    Args:
        source: pixels to logits.
        images: (n, 3, H, W) pixels in 0..1.
        labels: (n,) what the source says of them.
        epsilon: bound of |v|∞.
        passes: over the images.

    Returns:
        (1, 3, H, W), no entry beyond ±epsilon.
    """
    v = torch.zeros_like(images[:1])
    with frozen(source):
        for i in range(passes):
            for rows in torch.split(torch.arange(len(images)), _BATCH):
                v.requires_grad_(True)
                loss = F.cross_entropy(source((images[rows] + v).clamp(0, 1)), labels[rows])
                (gradient,) = torch.autograd.grad(loss, v)
                # Falling steps, else v only jumps between the corners of the ball.
                v = (v.detach() + epsilon / 4 / (1 + i) ** 0.5 * gradient.sign()).clamp(-epsilon, epsilon)
    return v


def contrastive_loss(codes: Tensor, kinds: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss: ``mean_i −mean_{p ∈ P(i)} log(exp(z_i·z_p / τ) / Σ_{a ≠ i} exp(z_i·z_a / τ))``.

    Args:
        codes: (n, d) rows of length 1.
        kinds: (n,) integers; P(i) are the other rows of the same kind, of which there must be one.
        temperature: τ.
    """
    own = torch.eye(len(codes), dtype=torch.bool)
    logits = (codes @ codes.T / temperature).masked_fill(own, -torch.inf)
    logarithms = torch.log_softmax(logits, 1).masked_fill(own, 0)
    positive = (kinds[:, None] == kinds) & ~own
    return -((logarithms * positive).sum(1) / positive.sum(1)).mean()


def _hidden(source: nn.Module, images: Tensor) -> Tensor:
    """What enters the source's last layer, (n, features)."""
    taken: list[Tensor] = []
    layer = source.get_submodule(last_layer_name(source))
    handle = layer.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].detach().flatten(1)))
    try:
        logits_of(source, images)
    finally:
        handle.remove()
    return torch.cat(taken)


def _clusters(source: nn.Module, images: Tensor, count: int, seed: int) -> list[Tensor]:
    """The images' indices, cluster by cluster."""
    from sklearn.cluster import KMeans

    found = KMeans(count, n_init=1, random_state=seed).fit_predict(_hidden(source, images).numpy())
    return [torch.from_numpy(np.flatnonzero(found == i)) for i in range(count)]


@dataclass(frozen=True, eq=False)
class Uap:
    """Views (v, n, 3, H, W), the perturbation, the encoder, and the source's codes (v, d)."""

    views: Tensor
    perturbation: Tensor
    encoder: nn.Module
    classes: int
    codes: Tensor

    @property
    def queries(self) -> int:
        """Questions to a suspect: two for each image of each view."""
        return 2 * self.views.shape[0] * self.views.shape[1]

    def score(self, model: nn.Module) -> float:
        """One minus the mean cosine between the model's and the source's codes, view for view: 0 … 2."""
        with torch.no_grad():
            codes = self.encoder(_rows(model, self.views, self.perturbation, self.classes))
        return max(0.0, 1 - float(F.cosine_similarity(codes.double(), self.codes.double(), dim=1).mean()))


class Encoder(nn.Sequential):
    """Two linear layers; rows of length 1 come out."""

    def forward(self, rows: Tensor) -> Tensor:
        """Codes (n, d) of fingerprints."""
        return F.normalize(super().forward(rows), dim=1)  # type: ignore[no-untyped-call]


def _rows(model: nn.Module, views: Tensor, perturbation: Tensor, classes: int | None = None) -> Tensor:
    """Fingerprints of all views, (v, 2 · n · k)."""
    images = views.flatten(0, 1)
    asked = torch.cat([images, (images + perturbation).clamp(0, 1)])
    shares = torch.softmax(logits_of(model, asked, classes), 1)
    clean, perturbed = shares.reshape(2, views.shape[0], -1)
    return torch.cat([clean, perturbed], 1)


def _train(rows: Tensor, kinds: Tensor, seed: int) -> Encoder:
    with seeded(seed, rows.device):
        encoder = Encoder(nn.Linear(rows.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CODE))
        optimizer = torch.optim.Adam(encoder.parameters(), 1e-3)
        for _ in range(STEPS):
            chosen = torch.randperm(len(rows))[:_BATCH]
            optimizer.zero_grad()
            contrastive_loss(encoder(rows[chosen]), kinds[chosen], TEMPERATURE).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return encoder.eval()


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> Uap:
    """Make the perturbation, choose views and train the encoder.

    Args:
        source: pixels to logits.
        task: where perturbation and views come from.
        own: at least one stolen and one independent model, for the encoder.
        budget: number of queries, at least 4.
        seed: of draws, clusters and encoder.

    Returns:
        The fingerprint.

    Raises:
        ValueError: own models of one kind are missing.
    """
    check_budget(budget, least=4)
    if not own.stolen or not own.independent:
        raise ValueError(
            f"own must hold stolen and independent models, got {len(own.stolen)} and {len(own.independent)}"
        )
    images, _ = task.draw(IMAGES, seed)
    logits = logits_of(source, images)
    v = universal_perturbation(source, images, logits.argmax(1), EPSILON, PASSES)
    count = min(CLUSTERS, budget // 2, len(images))
    clusters = _clusters(source, images, count, seed)
    generator = torch.Generator().manual_seed(seed)

    def view() -> Tensor:
        chosen = [c[torch.randint(len(c), (1,), generator=generator)] for c in clusters]
        return images[torch.cat(chosen)]

    views = torch.stack([view() for _ in range(math.floor(budget / (2 * count)))])
    training = torch.stack([view() for _ in range(OWN_VIEWS)])
    near = [_rows(model, training, v) for model in (source, *own.stolen)]
    far = [_rows(model, training, v) for model in own.independent]
    kinds = torch.cat([torch.zeros(OWN_VIEWS * len(near)), torch.ones(OWN_VIEWS * len(far))]).long()
    encoder = _train(torch.cat(near + far), kinds, seed)
    with torch.no_grad():
        codes = encoder(_rows(source, views, v))
    return Uap(views, v, encoder, logits.shape[1], codes)
