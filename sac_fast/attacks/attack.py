"""What an attack is, and the one way in which all of them are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from ..models import Preprocessing
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
class Job:
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
        return self.run(Job(source, student, images, labels, context, options, seed, progress))
