"""An attack: a simulated theft, and the one way in which all of them are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from ..errors import require
from ..models import Preprocessing
from .training import SCRATCH, TUNING, Progress, TrainingConfig, compute_logits, device_of, seeded

#: Builds a freshly initialised student with this number of outputs; called under the attack's seed.
Student = Callable[[int], nn.Module]


@dataclass(frozen=True)
class AttackContext:
    """Configuration of an attack beside the source and the thief's images.

    Attributes:
        config: of trainings from new weights (students, new heads).
        tuning: of trainings that start from stolen weights; pruning fine-tunes with it in every round.
        surrogate: (n, …) float, after preprocessing: images other than the thief's own, for ``extract-knockoff``.
        transfer: images (n, …) and labels (n,) of another task, for ``transfer-all`` and ``transfer-last``; None:
            the thief's own images with the labels ``label // 2``, half as many classes.
        preprocessing: of the images, for ε in pixel units.
        options: of this attack, see ``Attack.defaults``.

    Example:
        >>> context = AttackContext(config=TrainingConfig(epochs=2), options={"ratio": 0.5})
        >>> context.tuning.epochs
        4
    """

    config: TrainingConfig = SCRATCH
    tuning: TrainingConfig = TUNING
    surrogate: Tensor | None = None
    transfer: tuple[Tensor, Tensor] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One call of an attack, with checked arguments."""

    source: nn.Module
    student: Student | None
    images: Tensor
    labels: Tensor | None
    context: AttackContext
    options: Mapping[str, Any]
    seed: int
    progress: Progress

    def student_like_source(self, images: Tensor) -> nn.Module:
        """A new student with as many outputs as the source, under the attack's seed."""
        if self.student is None:
            raise ValueError("student must be a callable of the number of outputs for this attack, got None")
        outputs = compute_logits(self.source, images[:1]).shape[1]
        with seeded(self.seed, device_of(self.source)):
            return self.student(outputs)

    def tune(self, attack: Callable[..., nn.Module], *data: Tensor | None) -> nn.Module:
        """Call ``attack(source, *data)``, which starts from the source's weights; by default images and labels."""
        return self._call(attack, *(data or (self.images, self.labels)), config=self.context.tuning)

    def extract(self, attack: Callable[..., nn.Module], *data: Tensor | None, **more: Any) -> nn.Module:
        """Call ``attack(source, student, *data)``, which trains a student; by default the images are the data."""
        images, *labels = data or (self.images,)
        assert images is not None
        student = self.student_like_source(images)
        return self._call(attack, student, images, *labels, config=self.context.config, **more)

    def _call(self, attack: Callable[..., nn.Module], *data: Any, **more: Any) -> nn.Module:
        return attack(self.source, *data, seed=self.seed, progress=self.progress, **more, **self.options)


@dataclass(frozen=True)
class Attack:
    """One kind of attack.

    Attributes:
        origin: its name.
        description: in a few words, for tables.
        run: makes the stolen model of a checked `Job`.
        adaptive: whether the thief knows the method and trains against it.
        starts_from: ``"source"``: the stolen model has the source's architecture (transfer: but for the head);
            ``"student"``: that of the student.
        needs_labels: whether ``labels`` must be given.
        needs_surrogate: whether ``context.surrogate`` must be given.
        defaults: its options and their default values.
        random: whether another seed gives another model.
        variants: options of the first, second, … model of this attack in a set; the defaults first.

    Example:
        >>> import torch
        >>> from sac_fast.attacks import ATTACKS
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> stolen = ATTACKS["weight-noise"].make(model, None, images, labels, seed=3)
        >>> torch.equal(stolen.weight, model.weight)
        False
    """

    origin: str
    description: str
    run: Callable[[Job], nn.Module]
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
            context: training configurations, surrogate images, another task, options.
            seed: decides everything random, initialisation included; the global random state is left alone.
            progress: see `RunOptions`.

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
        require(not self.needs_labels or labels is not None, f"labels must be given for {self.origin}", None)
        surrogate = not self.needs_surrogate or context.surrogate is not None
        require(surrogate, f"context.surrogate must hold images for {self.origin}", None)
        options = {**self.defaults, **context.options}
        return self.run(Job(source, student, images, labels, context, options, seed, progress))
