"""Every simulated theft under its name, callable in one way: ``ATTACKS[origin].make(…)``.

    stolen = ATTACKS["extract-distill"].make(source, student, images, labels, context=context, seed=3)

The names are the `ZooMember.origin` of stolen models, and the rows of every table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..models import Preprocessing
from . import adaptive, adversarial, extract, finetune, prune, prune_filters, transfer, weights
from .training import Progress, Recipe, ask, device_of, seeded

#: Builds a freshly initialised student with so many outputs; it is called under the attack's seed.
Student = Callable[[int], nn.Module]


@dataclass(frozen=True)
class AttackContext:
    """What an attack may need beside the source and the thief's images.

    Attributes:
        recipe: of trainings from the start (students, new heads).
        tuning: of trainings that start from stolen weights; pruning takes it for the tuning of every round.
        surrogate: (n, …) float, other images than the thief's own, as the model sees them, for
            ``extract-knockoff``.
        transfer: images (n, …) and labels (n,) of another task, for ``transfer-all`` and ``transfer-last``; None:
            the thief's own images with the labels ``label // 2``, half as many classes.
        preprocessing: how images were made from pixels, for ε in pixel units.
        options: of this attack: ``Attack.defaults`` lists those there are.
    """

    recipe: Recipe = field(default_factory=Recipe)
    tuning: Recipe = field(default_factory=lambda: Recipe(epochs=4, learning_rate=0.01))
    surrogate: Tensor | None = None
    transfer: tuple[Tensor, Tensor] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """One call of an attack, its arguments checked."""

    source: nn.Module
    student: Student | None
    images: Tensor
    labels: Tensor | None
    context: AttackContext
    options: Mapping[str, Any]
    seed: int
    progress: Progress

    def fresh(self, classes: int) -> nn.Module:
        """A new student under the attack's seed; the global random state is left alone."""
        if self.student is None:
            raise ValueError("student must be a callable of the number of outputs for this attack, got None")
        with seeded(self.seed, device_of(self.source)):
            return self.student(classes)

    def student_like_source(self, images: Tensor) -> nn.Module:
        """A new student with as many outputs as the source."""
        return self.fresh(ask(self.source, images[:1]).shape[1])

    def known_labels(self) -> Tensor:
        """The labels, which the attack needs; `Attack.make` has checked that they are there."""
        assert self.labels is not None
        return self.labels


@dataclass(frozen=True)
class Attack:
    """One kind of theft.

    Attributes:
        origin: its name.
        description: in a few words, for tables.
        adaptive: whether the thief knows the method and works against it.
        starts_from: ``"source"``: the stolen model has the source's architecture (transfer: but for the head);
            ``"student"``: that of the student.
        needs_labels: whether ``labels`` must be given.
        needs_surrogate: whether ``context.surrogate`` must be given.
        defaults: the options it takes and their values when they are not given.
        random: whether another seed gives another model.
        variants: settings to run through when several models of this attack are made, the default first.
    """

    origin: str
    description: str
    run: Callable[[_Job], nn.Module]
    adaptive: bool = False
    starts_from: Literal["source", "student"] = "source"
    needs_labels: bool = False
    needs_surrogate: bool = False
    random: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ({},)

    def make(
        self,
        source: nn.Module,
        student: Student | None,
        images: Tensor,
        labels: Tensor | None,
        *,
        context: AttackContext | None = None,
        seed: int = 0,
        progress: Progress = False,
    ) -> nn.Module:
        """Steal the source.

        Args:
            source: in any mode; it is not changed.
            student: builds the thief's own network; None where ``starts_from`` is ``"source"``.
            images: (n, …) float, as the models see them (after preprocessing): the thief's own.
            labels: (n,) integers, 0 … classes - 1; None where ``needs_labels`` is false.
            context: recipes, surrogate images, another task, options.
            seed: decides everything random, initialisation included; the global random state is left alone.
            progress: ``True`` for a bar on stderr, or a callable of (steps done, steps in all), which may raise
                to stop the attack.

        Returns:
            A new model, in eval mode. Transfer gives it the other task's number of outputs.

        Raises:
            TypeError, ValueError: arguments that the attack cannot use, labels, student or surrogate missing,
                an unknown option.
            ModelError: a model that does not fit, or a training that diverged.
        """
        context = context or AttackContext()
        if unknown := sorted(set(context.options) - set(self.defaults)):
            known = ", ".join(self.defaults) or "none"
            raise ValueError(f"options of {self.origin} must be among: {known}, got {unknown[0]!r}")
        if self.needs_labels and labels is None:
            raise ValueError(f"labels must be given for {self.origin}, got None")
        if self.needs_surrogate and context.surrogate is None:
            raise ValueError(f"context.surrogate must hold images for {self.origin}, got None")
        options = {**self.defaults, **context.options}
        return self.run(_Job(source, student, images, labels, context, options, seed, progress))


def _finetune_all(job: _Job) -> nn.Module:
    return finetune.finetune_all(
        job.source, job.images, job.known_labels(), recipe=job.context.tuning, seed=job.seed, progress=job.progress
    )


def _finetune_last(job: _Job) -> nn.Module:
    return finetune.finetune_last(
        job.source, job.images, job.known_labels(),
        recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _pruning(function: Callable[..., nn.Module]) -> Callable[[_Job], nn.Module]:
    def run(job: _Job) -> nn.Module:
        return function(
            job.source, job.images, job.known_labels(),
            recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
        )  # fmt: skip

    return run


def _extract_labels(job: _Job) -> nn.Module:
    return extract.extract_labels(
        job.source, job.student_like_source(job.images), job.images,
        recipe=job.context.recipe, seed=job.seed, progress=job.progress,
    )  # fmt: skip


def _extract_knockoff(job: _Job) -> nn.Module:
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


def _extract_soft(job: _Job) -> nn.Module:
    return extract.extract_probabilities(
        job.source, job.student_like_source(job.images), job.images,
        recipe=job.context.recipe, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _extract_distill(job: _Job) -> nn.Module:
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


def _extract_adversarial(job: _Job) -> nn.Module:
    return adversarial.extract_adversarial(
        job.source, job.student_like_source(job.images), job.images, preprocessing=job.context.preprocessing,
        recipe=job.context.recipe, tuning=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _other_task(job: _Job) -> tuple[Tensor, Tensor]:
    if job.context.transfer is not None:
        return job.context.transfer
    if job.labels is None:
        raise ValueError("labels or context.transfer must be given for a transfer, got neither")
    return job.images, torch.div(job.labels, 2, rounding_mode="floor")


def _transfer_all(job: _Job) -> nn.Module:
    images, labels = _other_task(job)
    return transfer.transfer_all(
        job.source, images, labels, recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options
    )


def _transfer_last(job: _Job) -> nn.Module:
    images, labels = _other_task(job)
    return transfer.transfer_last(
        job.source, images, labels, recipe=job.context.recipe, seed=job.seed, progress=job.progress, **job.options
    )


def _quantize_int8(job: _Job) -> nn.Module:
    return _told(job, weights.quantize_int8(job.source, **job.options))


def _weight_noise(job: _Job) -> nn.Module:
    return _told(job, weights.weight_noise(job.source, seed=job.seed, **job.options))


def _told(job: _Job, model: nn.Module) -> nn.Module:
    if callable(job.progress):
        job.progress(1, 1)
    return model


def _adaptive_correlation(job: _Job) -> nn.Module:
    return adaptive.adaptive_correlation(
        job.source, job.images, job.labels,
        recipe=job.context.tuning, seed=job.seed, progress=job.progress, **job.options,
    )  # fmt: skip


def _adaptive_removalnet(job: _Job) -> nn.Module:
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
        defaults={"weight": 1.0, "temperature": 4.0, "alpha": 0.5, "inner_steps": 10},
        variants=({}, {"weight": 3.0}, {"alpha": 0.7}, {"weight": 0.3}),
    ),
)  # fmt: skip
#: Every attack by its origin, in the order of the tables.
ATTACKS: dict[str, Attack] = {attack.origin: attack for attack in _ALL}
