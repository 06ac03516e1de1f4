"""Every simulated theft under its name, callable in one way: ``ATTACKS[origin].make(…)``.

    stolen = ATTACKS["extract-distill"].make(source, student, images, labels, context=context, seed=3)

The names are the `ZooMember.origin` of stolen models, and the rows of every table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from . import adaptive, adversarial, extract, finetune, prune, prune_filters, transfer, weights
from .attack import Attack, AttackContext, Job

__all__ = ["ATTACKS", "Attack", "AttackContext"]


def _finetune_all(job: Job) -> nn.Module:
    return finetune.finetune_all(
        job.source, job.images, job.known_labels(), recipe=job.context.tuning, seed=job.seed, progress=job.progress
    )


def _finetune_last(job: Job) -> nn.Module:
    return finetune.finetune_last(
        job.source, job.images, job.known_labels(),
        recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _pruning(function: Callable[..., nn.Module]) -> Callable[[Job], nn.Module]:
    def run(job: Job) -> nn.Module:
        return function(
            job.source, job.images, job.known_labels(),
            recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
        )  # fmt: skip

    return run


def _extract_labels(job: Job) -> nn.Module:
    return extract.extract_labels(
        job.source, job.student_like_source(job.images), job.images,
        recipe=job.context.recipe, seed=job.seed, progress=job.progress,
    )  # fmt: skip


def _extract_knockoff(job: Job) -> nn.Module:
    surrogate = job.context.surrogate
    assert surrogate is not None
    answers = job.options["answers"]
    if answers not in ("hard", "soft"):
        raise ValueError(f"answers must be 'hard' or 'soft', got {answers!r}")
    student = job.student_like_source(surrogate)
    if answers == "hard":
        return extract.extract_labels(
            job.source, student, surrogate, recipe=job.context.recipe, seed=job.seed, progress=job.progress
        )
    return extract.extract_probabilities(
        job.source, student, surrogate,
        temperature=1.0, recipe=job.context.recipe, seed=job.seed, progress=job.progress,
    )  # fmt: skip


def _extract_soft(job: Job) -> nn.Module:
    return extract.extract_probabilities(
        job.source, job.student_like_source(job.images), job.images,
        recipe=job.context.recipe, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _extract_distill(job: Job) -> nn.Module:
    options = dict(job.options)
    labels = options.pop("labels")
    if labels not in ("source", "own"):
        raise ValueError(f"labels must be 'source' or 'own', got {labels!r}")
    if labels == "own" and job.labels is None:
        raise ValueError("labels must be given for extract-distill with labels='own', got None")
    return extract.extract_distilled(
        job.source, job.student_like_source(job.images), job.images, job.labels if labels == "own" else None,
        recipe=job.context.recipe, seed=job.seed, progress=job.progress, **options,
    )  # fmt: skip


def _extract_adversarial(job: Job) -> nn.Module:
    return adversarial.extract_adversarial(
        job.source, job.student_like_source(job.images), job.images, preprocessing=job.context.preprocessing,
        recipe=job.context.recipe, tuning=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _other_task(job: Job) -> tuple[Tensor, Tensor]:
    if job.context.transfer is not None:
        return job.context.transfer
    if job.labels is None:
        raise ValueError("labels or context.transfer must be given for a transfer, got neither")
    return job.images, torch.div(job.labels, 2, rounding_mode="floor")


def _transfer_all(job: Job) -> nn.Module:
    images, labels = _other_task(job)
    return transfer.transfer_all(
        job.source, images, labels, recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options
    )


def _transfer_last(job: Job) -> nn.Module:
    images, labels = _other_task(job)
    return transfer.transfer_last(
        job.source, images, labels, recipe=job.context.recipe, seed=job.seed, progress=job.progress, **job.options
    )


def _quantize_int8(job: Job) -> nn.Module:
    return _told(job, weights.quantize_int8(job.source, **job.options))


def _weight_noise(job: Job) -> nn.Module:
    return _told(job, weights.weight_noise(job.source, seed=job.seed, **job.options))


def _told(job: Job, model: nn.Module) -> nn.Module:
    if callable(job.progress):
        job.progress(1, 1)
    return model


def _adaptive_correlation(job: Job) -> nn.Module:
    return adaptive.adaptive_correlation(
        job.source, job.images, job.labels,
        recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _adaptive_removalnet(job: Job) -> nn.Module:
    return adaptive.adaptive_removalnet(
        job.source, job.images, recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options
    )


_HEAD = {"layer": None, "outputs": None}
_ALL = (
    Attack("finetune-all", "fine-tuned, all layers", _finetune_all, needs_labels=True),
    Attack("finetune-last", "fine-tuned, last layer", _finetune_last, needs_labels=True, defaults={"layer": None}),
    Attack(
        "fine-prune", "dormant filters of the last convolution removed, tuned", _pruning(prune_filters.fine_prune),
        needs_labels=True, defaults={"ratio": 0.3, "rounds": 2, "layer": None},
        variants=({}, {"ratio": 0.5}, {"ratio": 0.7}, {"ratio": 0.9}),
    ),
    Attack(
        "prune-taylor", "unimportant filters of all layers removed, tuned", _pruning(prune_filters.prune_taylor),
        needs_labels=True, defaults={"ratio": 0.2, "rounds": 2},
        variants=({}, {"ratio": 0.3}, {"ratio": 0.4}, {"ratio": 0.5}),
    ),
    Attack(
        "prune-magnitude", "smallest weights removed, tuned", _pruning(prune.prune_magnitude),
        needs_labels=True, defaults={"ratio": 0.5, "rounds": 2},
        variants=({}, {"ratio": 0.3}, {"ratio": 0.7}, {"ratio": 0.8}),
    ),
    Attack("extract-labels", "student on the source's labels", _extract_labels, starts_from="student"),
    Attack(
        "extract-knockoff", "student on the source's labels of surrogate images", _extract_knockoff,
        starts_from="student", needs_surrogate=True, defaults={"answers": "hard"},
        variants=({}, {"answers": "soft"}),
    ),
    Attack(
        "extract-distill", "student on a mix of softened answers and labels", _extract_distill,
        starts_from="student", defaults={"temperature": 20.0, "alpha": 0.1, "labels": "source"},
    ),
    Attack(
        "extract-soft-t4", "student on softened answers, T = 4", _extract_soft,
        starts_from="student", defaults={"temperature": 4.0},
    ),
    Attack(
        "extract-soft-t1", "student on the answers, T = 1", _extract_soft,
        starts_from="student", defaults={"temperature": 1.0},
    ),
    Attack(
        "extract-adversarial", "student on the source's labels, then adversarial training", _extract_adversarial,
        starts_from="student", defaults={"epsilon": adversarial.EPSILON, "steps": 2},
    ),
    Attack("transfer-all", "new head, all layers on another task", _transfer_all, defaults=_HEAD),
    Attack("transfer-last", "new head alone on another task", _transfer_last, defaults=_HEAD),
    Attack(
        "quantize-int8", "weights rounded to 8 bits a channel", _quantize_int8,
        random=False, defaults={"bits": 8}, variants=({}, {"bits": 6}, {"bits": 5}, {"bits": 4}),
    ),
    Attack(
        "weight-noise", "normal noise on the weights", _weight_noise,
        defaults={"level": 0.1}, variants=({}, {"level": 0.05}, {"level": 0.15}, {"level": 0.2}),
    ),
    Attack(
        "adaptive-correlation", "fine-tuned away from the source's correlation matrix", _adaptive_correlation,
        adaptive=True, defaults={"weight": 2.0, "target": None, "metric": "pearson"},
        variants=({}, {"target": 0.2}, {"weight": 1.0}, {"target": 0.3, "metric": "cosine"}),
    ),
    Attack(
        "adaptive-removalnet", "min-max removal of features and answers (RemovalNet)", _adaptive_removalnet,
        adaptive=True,
        defaults={"weight": 1.0, "temperature": 4.0, "alpha": 0.3, "inner_steps": 10},
        variants=({}, {"weight": 3.0}, {"alpha": 0.5}, {"weight": 0.3}),
    ),
)  # fmt: skip
#: Every attack by its origin, in the order of the tables.
ATTACKS: dict[str, Attack] = {attack.origin: attack for attack in _ALL}
