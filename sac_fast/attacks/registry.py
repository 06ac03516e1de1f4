"""Every attack under its name, callable in one way: ``ATTACKS[origin].make(…)``.

    stolen = ATTACKS["extract-distill"].make(source, student, images, labels, context=context, seed=3)

The names are the `ZooMember.origin` of stolen models, and the rows of every table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from operator import methodcaller

import torch
from torch import nn

from ..errors import require
from .adaptive import adaptive_correlation, adaptive_removalnet
from .adversarial import EPSILON, extract_adversarial, finetune_adversarial
from .attack import Attack, AttackContext, Job
from .extract import extract_distilled, extract_labels, extract_probabilities
from .finetune import finetune_all, finetune_last
from .mixture import adaptive_siblings, extract_mixture
from .prune import prune_magnitude, prune_only
from .prune_filters import fine_prune, prune_taylor
from .semi_supervised import extract_semi_supervised
from .stages import noise_finetune, prune_distill, second_hand
from .transfer import transfer_all, transfer_last
from .weights import quantize_int8, weight_noise

__all__ = ["ATTACKS", "Attack", "AttackContext"]

# attack -> the callable of a job that makes its model by `Job.tune` or `Job.extract`
_tuning = partial(methodcaller, "tune")
_extraction = partial(methodcaller, "extract")


def _extract_knockoff(job: Job) -> nn.Module:
    answers = job.options["answers"]
    require(answers in ("hard", "soft"), "answers must be 'hard' or 'soft'", answers)
    if answers == "hard":
        return dataclasses.replace(job, options={}).extract(extract_labels, job.context.surrogate)
    soft = dataclasses.replace(job, options={"temperature": 1.0})
    return soft.extract(extract_probabilities, job.context.surrogate)


def _extract_distill(job: Job) -> nn.Module:
    options = dict(job.options)
    labels = options.pop("labels")
    require(labels in ("source", "own"), "labels must be 'source' or 'own'", labels)
    own = job.labels if labels == "own" else None
    require(labels == "source" or own is not None, "labels must be given for extract-distill with labels='own'", own)
    return dataclasses.replace(job, options=options).extract(extract_distilled, job.images, own)


def _extract_adversarial(job: Job) -> nn.Module:
    return job.extract(extract_adversarial, tuning=job.context.tuning, preprocessing=job.context.preprocessing)


def _finetune_adversarial(job: Job) -> nn.Module:
    attack = partial(finetune_adversarial, preprocessing=job.context.preprocessing)
    return job.tune(attack)


def _transfer(attack: Callable[..., nn.Module], *, tuned: bool) -> Callable[[Job], nn.Module]:
    def run(job: Job) -> nn.Module:
        data = job.context.transfer
        if data is None:
            if job.labels is None:
                raise ValueError("labels or context.transfer must be given for a transfer, got neither")
            data = job.images, torch.div(job.labels, 2, rounding_mode="floor")
        context = job.context if tuned else dataclasses.replace(job.context, tuning=job.context.config)
        return dataclasses.replace(job, context=context).tune(attack, *data)

    return run


def _untrained(attack: Callable[..., nn.Module], *, seeded: bool) -> Callable[[Job], nn.Module]:
    def run(job: Job) -> nn.Module:
        model = attack(job.source, **({"seed": job.seed} if seeded else {}), **job.options)
        if callable(job.progress):
            job.progress(1, 1)
        return model

    return run


_HEAD = {"layer": None, "outputs": None}
_ALL = (
    Attack("finetune-all", "fine-tuned, all layers", _tuning(finetune_all), needs_labels=True),
    Attack(
        "finetune-last", "fine-tuned, last layer", _tuning(finetune_last), needs_labels=True, defaults={"layer": None}
    ),
    Attack(
        "fine-prune", "inactive filters of the last convolution removed, fine-tuned", _tuning(fine_prune),
        needs_labels=True, defaults={"ratio": 0.3, "rounds": 2, "layer": None},
        variants=({}, {"ratio": 0.5}, {"ratio": 0.7}, {"ratio": 0.9}),
    ),
    Attack(
        "prune-taylor", "unimportant filters of all layers removed, fine-tuned", _tuning(prune_taylor),
        needs_labels=True, defaults={"ratio": 0.2, "rounds": 2},
        variants=({}, {"ratio": 0.3}, {"ratio": 0.4}, {"ratio": 0.5}),
    ),
    Attack(
        "prune-magnitude", "smallest weights removed, fine-tuned", _tuning(prune_magnitude),
        needs_labels=True, defaults={"ratio": 0.5, "rounds": 2},
        variants=({}, {"ratio": 0.3}, {"ratio": 0.7}, {"ratio": 0.8}),
    ),
    Attack("extract-labels", "student on the source's labels", _extraction(extract_labels), starts_from="student"),
    Attack(
        "extract-knockoff", "student on the source's labels of surrogate images", _extract_knockoff,
        starts_from="student", needs_surrogate=True, defaults={"answers": "hard"},
        variants=({}, {"answers": "soft"}),
    ),
    Attack(
        "extract-distill", "student on a mix of softened outputs and labels", _extract_distill,
        starts_from="student", defaults={"temperature": 20.0, "alpha": 0.1, "labels": "source"},
    ),
    Attack(
        "extract-soft-t4", "student on softened outputs, T = 4", _extraction(extract_probabilities),
        starts_from="student", defaults={"temperature": 4.0},
    ),
    Attack(
        "extract-soft-t1", "student on the outputs, T = 1", _extraction(extract_probabilities),
        starts_from="student", defaults={"temperature": 1.0},
    ),
    Attack(
        "extract-adversarial", "student on the source's labels, then adversarial training", _extract_adversarial,
        starts_from="student", defaults={"epsilon": EPSILON, "steps": 2},
    ),
    Attack(
        "extract-jagielski", "student on few outputs and its own guesses", _extraction(extract_semi_supervised),
        starts_from="student", defaults={"share": 0.25, "temperature": 0.5, "mix": 0.75},
        variants=({}, {"share": 0.1}),
    ),
    Attack(
        "extract-second-hand", "student of a student on its outputs", second_hand,
        starts_from="student", defaults={"answers": "soft"}, variants=({}, {"answers": "hard"}),
    ),
    Attack(
        "prune-distill", "pruned by magnitude, then distilled into a student", prune_distill,
        starts_from="student", needs_labels=True, defaults={"ratio": 0.5, "rounds": 2, "temperature": 4.0},
        variants=({}, {"ratio": 0.7}),
    ),
    Attack("transfer-all", "new head, all layers on another task", _transfer(transfer_all, tuned=True), defaults=_HEAD),
    Attack("transfer-last", "new head alone on another task", _transfer(transfer_last, tuned=False), defaults=_HEAD),
    Attack(
        "quantize-int8", "weights rounded to 8 bits a channel", _untrained(quantize_int8, seeded=False),
        random=False, defaults={"bits": 8}, variants=({}, {"bits": 6}, {"bits": 5}, {"bits": 4}),
    ),
    Attack(
        "weight-noise", "normal noise on the weights", _untrained(weight_noise, seeded=True),
        defaults={"level": 0.1}, variants=({}, {"level": 0.05}, {"level": 0.15}, {"level": 0.2}),
    ),
    Attack(
        "adaptive-correlation", "fine-tuned away from the source's correlation matrix", _tuning(adaptive_correlation),
        adaptive=True, defaults={"weight": 2.0, "target": None, "metric": "pearson"},
        variants=({}, {"target": 0.2}, {"weight": 1.0}, {"target": 0.3, "metric": "cosine"}),
    ),
    Attack(
        "adaptive-removalnet", "min-max removal of features and outputs (RemovalNet)",
        lambda job: job.tune(adaptive_removalnet, job.images),
        adaptive=True,
        defaults={"weight": 1.0, "temperature": 4.0, "alpha": 0.3, "inner_steps": 10},
        variants=({}, {"weight": 3.0}, {"alpha": 0.5}, {"weight": 0.3}),
    ),
    Attack(
        "adaptive-siblings", "fine-tuned towards siblings of the thief's making", adaptive_siblings,
        adaptive=True, needs_labels=True, defaults={"share": 0.5, "count": 1}, variants=({}, {"share": 0.25}),
    ),
    Attack(
        "adaptive-mixture", "student on the source's outputs mixed with those of own models", extract_mixture,
        adaptive=True, starts_from="student", needs_labels=True, defaults={"share": 0.5, "count": 1},
        variants=({}, {"share": 0.7}),
    ),
    # Last, since the seeds of a test bed's models go by the attacks' places.
    Attack(
        "n-finetune", "normal noise on the weights, then fine-tuned, all layers", noise_finetune,
        needs_labels=True, defaults={"level": 0.1}, variants=({}, {"level": 0.2}),
    ),
    Attack(
        "prune-only", "smallest weights removed, not trained", _untrained(prune_only, seeded=False),
        random=False, defaults={"ratio": 0.3}, variants=({}, {"ratio": 0.2}, {"ratio": 0.4}),
    ),
    Attack(
        "adversarial-finetune", "fine-tuned on clean and adversarial images", _finetune_adversarial,
        needs_labels=True, defaults={"epsilon": EPSILON, "steps": 2},
    ),
)  # fmt: skip
#: Every attack by its origin, in the order of the tables.
ATTACKS: dict[str, Attack] = {attack.origin: attack for attack in _ALL}
