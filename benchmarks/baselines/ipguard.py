"""IPGuard: the labels of points just beyond the source's classification boundary.

Source: Cao, Jia, Gong: IPGuard: Protecting Intellectual Property of Deep Neural Networks via Fingerprinting the
Classification Boundary, ASIA CCS 2021, arXiv 1910.12903.

From an image of class i, towards its least likely class j, Adam minimises

    ReLU(Z_i(x) − Z_j(x) + k) + ReLU(max_{t ≠ i, j} Z_t(x) − Z_i(x))

and stops at 0: j leads by k, i comes second. A suspect is compared by the share of points to which it gives the
source's label (matching rate).

Hyper-parameters (paper → here): 100 points → the budget; Adam for 1,000 iterations at learning rate 0.001 → 120 at
0.01, about the same way in pixels, by which nine of ten 32×32 images have arrived; k, which the paper varies and which
goes with the scale of the logits → 1 (the two largest differ by 4.9, the median, on the test bed's held-out images);
points that do not arrive are left out, of 1.25 times as many starts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .defender import LabelledQueries, OwnModels, Task, check_budget, logits_of
from .perturb import frozen

MARGIN = 1.0
LEARNING_RATE = 0.01
STEPS = 120
STARTS = 1.25
SETTINGS = {"margin_k": MARGIN, "learning_rate": LEARNING_RATE, "steps": STEPS, "starts": STARTS}
_BATCH = 256


class IPGuard(LabelledQueries):
    """Points near the boundary and the source's labels for them."""


def boundary_loss(logits: Tensor, first: Tensor, target: Tensor, margin: float) -> Tensor:
    """``ReLU(Z_i − Z_j + k) + ReLU(max_{t ≠ i, j} Z_t − Z_i)`` of every row, (n,).

    Args:
        logits: (n, k).
        first: (n,) i, the class one comes from.
        target: (n,) j, the class beyond the boundary.
        margin: k of the formula.
    """
    z_i = logits.gather(1, first[:, None])[:, 0]
    z_j = logits.gather(1, target[:, None])[:, 0]
    others = logits.scatter(1, torch.stack([first, target], 1), -torch.inf).amax(1)
    return torch.relu(z_i - z_j + margin) + torch.relu(others - z_i)


def boundary_points(
    source: nn.Module, images: Tensor, first: Tensor, target: Tensor, margin: float, learning_rate: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Move images just over the boundary between two classes, by Adam, each until its loss is 0.

    Args:
        source: pixels to logits.
        images: (n, 3, H, W) pixels in 0..1 where they start.
        first, target: (n,) classes i and j.
        margin: k.
        learning_rate: of Adam, in units of pixels 0..1.
        steps: at most so many.

    Returns:
        (n, 3, H, W) points in 0..1; (n,) whether each arrived.
    """
    points, arrived = images.clone(), torch.zeros(len(images), dtype=torch.bool)
    with frozen(source):
        for rows in torch.split(torch.arange(len(images)), _BATCH):
            x = images[rows].clone().requires_grad_(True)
            optimizer = torch.optim.Adam([x], learning_rate)
            for step in range(steps + 1):
                loss = boundary_loss(source(x), first[rows], target[rows], margin)
                there = loss.detach() == 0
                points[rows] = x.detach()
                arrived[rows[there]] = True
                if step == steps or bool(there.all()):
                    break
                (x.grad,) = torch.autograd.grad(loss.sum(), x)
                if bool(there.any()):
                    rows = rows[~there]
                    x, optimizer = _without(optimizer, x, ~there, learning_rate)
                optimizer.step()
                with torch.no_grad():
                    x.clamp_(0, 1)
    return points, arrived


def _without(
    optimizer: torch.optim.Adam, x: Tensor, kept: Tensor, learning_rate: float
) -> tuple[Tensor, torch.optim.Adam]:
    """The rows that go on, with their gradient and Adam's moments; Adam works entry by entry."""
    rest = x.detach()[kept].requires_grad_(True)
    rest.grad = None if x.grad is None else x.grad[kept]
    after = torch.optim.Adam([rest], learning_rate)
    if state := optimizer.state[x]:
        moments = {name: state[name][kept] for name in ("exp_avg", "exp_avg_sq")}
        after.state[rest] = {"step": state["step"], **moments}
    return rest, after


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> IPGuard:
    """Make points near the source's boundary.

    Args:
        source: pixels to logits.
        task: where the points start.
        own: not used.
        budget: number of points.
        seed: which images they start from.

    Returns:
        The fingerprint.
    """
    check_budget(budget)
    start, _ = task.draw(int(STARTS * budget), seed)
    logits = logits_of(source, start)
    points, arrived = boundary_points(
        source, start, logits.argmax(1), logits.argmin(1), MARGIN, LEARNING_RATE, STEPS
    )  # fmt: skip
    # Those that arrived come first; the others only fill up.
    chosen = torch.argsort((~arrived).int(), stable=True)[:budget]
    return IPGuard(points[chosen], logits_of(source, points[chosen]).argmax(1), logits.shape[1])
