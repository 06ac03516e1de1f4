"""Projected gradient steps on pixels, shared by the methods that craft their queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Objective = Callable[[Tensor, Tensor], Tensor]
_BATCH = 256


@contextmanager
def frozen(*models: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients for parameters, which only cost time here; both come back afterwards."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    needed = [(p, p.requires_grad) for model in models for p in model.parameters()]
    try:
        for model in models:
            model.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, need in needed:
            parameter.requires_grad_(need)


def ascend(objective: Objective, images: Tensor, epsilon: float, step: float, steps: int, seed: int) -> Tensor:
    """Maximise an objective within ``|x' − x|∞ ≤ epsilon`` and 0..1, by steps along the gradient's sign.

    ``x ← clip(x + step · sign ∇ objective(x))`` from a random start in the ball (Madry et al., ICLR 2018, PGD).

    Args:
        objective: of (perturbed images, indices of the images), a scalar: the sum or mean over the batch.
        images: (n, 3, H, W) pixels in 0..1.
        epsilon, step: in units of pixels 0..1.
        steps: how many.
        seed: of the start.

    Returns:
        (n, 3, H, W) perturbed images.
    """
    generator = torch.Generator().manual_seed(seed)
    done = []
    for indices in torch.split(torch.arange(len(images)), _BATCH):
        clean = images[indices]
        low, high = (clean - epsilon).clamp(min=0), (clean + epsilon).clamp(max=1)
        x = clean + epsilon * (2 * torch.rand(clean.shape, generator=generator) - 1)
        x = torch.maximum(torch.minimum(x, high), low)
        for _ in range(steps):
            x.requires_grad_(True)
            (gradient,) = torch.autograd.grad(objective(x, indices), x)
            x = torch.maximum(torch.minimum(x.detach() + step * gradient.sign(), high), low)
        done.append(x)
    return torch.cat(done)
