"""Theft in two stages: a second thief who steals from the first, a student of a pruned copy, noise before tuning."""

from __future__ import annotations

import dataclasses

from torch import nn

from ..errors import require
from .attack import Job
from .extract import extract_labels, extract_probabilities
from .finetune import finetune_all
from .prune import prune_magnitude
from .training import Progress, split_progress
from .weights import weight_noise


def second_hand(job: Job) -> nn.Module:
    """Extract a student from the source by probabilities, and another from that student: the source is seen once.

    Option ``answers``: what the first student gives to the second thief, ``"soft"`` probabilities or ``"hard"`` labels.
    """
    answers = job.options["answers"]
    require(answers in ("hard", "soft"), "answers must be 'hard' or 'soft'", answers)
    first, second = split_progress(job.progress, [job.context.config] * 2, len(job.images))
    middle = _stage(job, first, temperature=1.0).extract(extract_probabilities)
    # A seed of its own: the second thief is another one.
    last = dataclasses.replace(job, source=middle, seed=job.seed + 1)
    if answers == "hard":
        return _stage(last, second).extract(extract_labels)
    return _stage(last, second, temperature=1.0).extract(extract_probabilities)


def prune_distill(job: Job) -> nn.Module:
    """Prune a copy of the source by magnitude, fine-tune it, and distil the copy into a student.

    Options: ``ratio`` and ``rounds`` of `prune_magnitude`, ``temperature`` of `extract_probabilities`.
    """
    ratio, rounds, temperature = (job.options[name] for name in ("ratio", "rounds", "temperature"))
    configs = [*[job.context.tuning] * max(1, rounds), job.context.config]
    parts = split_progress(job.progress, configs, len(job.images))
    pruned = _stage(job, parts[0], ratio=ratio, rounds=rounds).tune(prune_magnitude)
    return _stage(dataclasses.replace(job, source=pruned), parts[-1], temperature=temperature).extract(
        extract_probabilities
    )


def noise_finetune(job: Job) -> nn.Module:
    """Add noise to the weights of a copy of the source, and fine-tune all layers.

    Option ``level``: of `weight_noise`.
    """
    noisy = weight_noise(job.source, level=job.options["level"], seed=job.seed)
    return dataclasses.replace(job, source=noisy, options={}).tune(finetune_all)


def _stage(job: Job, progress: Progress, **options: float) -> Job:
    return dataclasses.replace(job, progress=progress, options=options)
