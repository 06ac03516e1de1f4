"""Adaptive theft by a thief who knows the sibling test: outputs between the source's and those of models of his own.

The sibling test asks whether a suspect is nearer to the source than to the owner's other trainings. The thief has
none of these, but he can train models of his own; what they share with the source, any honest model shares.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ..errors import require
from .attack import Job
from .extract import extract_probabilities
from .training import Progress, TrainingConfig, split_progress, train_independent


class Mixture(nn.Module):
    """``log(share · softmax(source) + (1 − share) · mean softmax(own))``: (n, k) log-probabilities.

    Args:
        source: with k outputs.
        own: at least one model with k outputs.
        share: 0 … 1, of the source.
    """

    def __init__(self, source: nn.Module, own: list[nn.Module], share: float) -> None:
        super().__init__()
        self.source, self.own, self.share = source, nn.ModuleList(own), share

    def forward(self, batch: Tensor) -> Tensor:
        theirs = torch.softmax(self.source(batch), dim=1)
        mine = torch.stack([torch.softmax(model(batch), dim=1) for model in self.own]).mean(dim=0)
        return (self.share * theirs + (1 - self.share) * mine).clamp(min=1e-12).log()


def extract_mixture(job: Job) -> nn.Module:
    """Train a student on a mixture of the source's probabilities and those of the thief's own models.

    Options: ``share`` of the source, ``count`` of own models, each trained as the student is on the thief's labels.
    """
    *parts, last = _parts(job, [job.context.config])
    target = _mixture(job, job.student_like_source(job.images), parts)
    return dataclasses.replace(job, source=target, options={"temperature": 1.0}, progress=last).extract(
        extract_probabilities
    )


def adaptive_siblings(job: Job) -> nn.Module:
    """Fine-tune a copy of the source towards siblings of the thief's own making.

    They have the source's architecture, the thief's images and his labels. Options: as `extract_mixture`.
    """
    *parts, last = _parts(job, [job.context.tuning])
    target = _mixture(job, job.source, parts)
    return extract_probabilities(
        target, job.source, job.images, temperature=1.0, config=job.context.tuning, seed=job.seed, progress=last
    )


def _parts(job: Job, last: list[TrainingConfig]) -> list[Progress]:
    count = job.options["count"]
    require(isinstance(count, int) and count >= 1, "count must be an integer of at least 1", count)
    return split_progress(job.progress, [job.context.config] * count + last, len(job.images))


def _mixture(job: Job, architecture: nn.Module, parts: list[Progress]) -> Mixture:
    share = job.options["share"]
    require(0 <= share <= 1, "share must lie in 0…1", share)
    assert job.labels is not None
    own = [
        train_independent(
            architecture, job.images, job.labels, config=job.context.config, seed=job.seed + 1 + index, progress=part
        )
        for index, part in enumerate(parts)
    ]
    return Mixture(job.source, own, share)
