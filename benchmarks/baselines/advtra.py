"""ADV-TRA: labels along paths that lead through several classes of the source.

Source: Xu, Wang, Ren, Gu, Wang, Chen, Liu, Cao: United We Stand, Divided We Fall: Fingerprinting Deep Neural Networks
via Adversarial Trajectories, NeurIPS 2024.

A trajectory starts at an image and goes, by small steps along the sign of the gradient, into one other class after
another. Its points are asked of a suspect; it is compared by the share of points to which it gives another label than
the source (mutation rate). One point may change sides when a model is changed; that a whole path does is unlikely.

Hyper-parameters (paper → here): each stage has the same number of points, spread evenly over the steps that the source
needs into the next class (the paper controls the length by steps that shrink); 20 points a trajectory, 4 classes, steps
of 2/255, at most 30 a class; as many trajectories as the budget allows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .defender import LabelledQueries, OwnModels, Task, check_budget, logits_of
from .perturb import frozen

STAGES = 4
POINTS = 5
STEP = 2 / 255
STEPS = 30
SETTINGS = {"classes": STAGES, "points_a_class": POINTS, "step": STEP, "steps_a_class_at_most": STEPS}
_BATCH = 256


class AdvTra(LabelledQueries):
    """Points of all trajectories and the source's labels for them."""


def stage(source: nn.Module, images: Tensor, target: Tensor, step: float, steps: int) -> tuple[Tensor, Tensor]:
    """Walk into another class.

    Args:
        source: pixels to logits.
        images: (n, 3, H, W) pixels in 0..1 where the walk begins.
        target: (n,) classes.
        step: along the gradient's sign, in units of pixels 0..1.
        steps: at most so many.

    Returns:
        (steps + 1, n, 3, H, W) places, the first of which are the images; (n,) the first place in the target class, or
        the last one of all.
    """
    places, x = [images], images
    arrived = torch.full((len(images),), steps)
    with frozen(source):
        for number in range(1, steps + 1):
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(source(x), target, reduction="sum"), x)
            x = (x.detach() - step * gradient.sign()).clamp(0, 1)
            places.append(x)
            with torch.no_grad():
                there = source(x).argmax(1) == target
            arrived = torch.where(there & (arrived == steps), number, arrived)
            if bool((arrived <= number).all()):
                break
    return torch.stack(places), arrived.clamp(max=len(places) - 1)


def trajectories(source: nn.Module, images: Tensor, classes: int, seed: int) -> Tensor:
    """The points of one trajectory an image: (n · STAGES · POINTS, 3, H, W), trajectory by trajectory."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    for start in torch.split(images, _BATCH):
        x, now = start, logits_of(source, start).argmax(1)
        points: list[Tensor] = []
        rows = torch.arange(len(x))
        for _ in range(STAGES):
            # another class than that of now
            target = (now + torch.randint(1, classes, (len(x),), generator=generator)) % classes
            places, arrived = stage(source, x, target, STEP, STEPS)
            for number in range(1, POINTS + 1):
                points.append(places[(arrived * number / POINTS).round().long(), rows])
            x, now = places[arrived, rows], target
        found.append(torch.stack(points, dim=1).flatten(0, 1))
    return torch.cat(found)


def prepare(source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int) -> AdvTra:
    """Make the trajectories.

    Args:
        source: pixels to logits.
        task: where they start.
        own: not used.
        budget: number of points, at least one trajectory's.
        seed: of the images and the classes.

    Returns:
        The fingerprint.
    """
    check_budget(budget, least=STAGES * POINTS)
    start, _ = task.draw(budget // (STAGES * POINTS), seed)
    classes = logits_of(source, start[:1]).shape[1]
    points = trajectories(source, start, classes, seed)
    return AdvTra(points, logits_of(source, points).argmax(1), classes)
