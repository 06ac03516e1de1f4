"""Which models a test bed has: the source, independents of three declared kinds, and every attack's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..attacks import SCRATCH, TrainingConfig
from ..attacks.attack import Attack
from ..attacks.registry import ATTACKS
from ..labelled_zoo.folder import Role
from ..labelled_zoo.plan import PlannedModel
from ..models.kinds import KINDS, Kind
from . import architectures as networks
from .probes import NAMES

#: The first one is the source's.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vgg": {"width": 12},
    "resnet": {"width": 12},
    "densenet": {"width": 12, "growth": 12},
    "mobilenet": {"width": 16},
    "mixer": {"tile": 8, "channels": 64},
}
_ADAMW = frozenset({"mixer"})  # without batch normalisation, momentum alone learns too slowly
# With 90 % of its filters removed (the fourth variant) a network this small stays at 73 % accuracy.
_MAX_VARIANTS = {"fine-prune": 3}
_MAX_MEMBERS = 10_000  # seeds of one test bed; those of other test beds differ


@dataclass(frozen=True)
class Size:
    """How large a test bed is.

    Attributes:
        images: that one training from the start sees, all epochs together.
        tuning: that fine-tuning sees, likewise; so does every round of pruning, half as many.
        extraction: a thief's student sees so many times ``images``: to imitate takes longer than to learn.
        independents: number of each kind, siblings too, and the architectures they go round.
        stolen: number for each attack and the students' architectures they go round (the source's where the attack
            starts from its weights).
        probes: largest number in every probe set.
        jpeg_probes: largest number in the compressed ones; None: as many.
        probe_sets: their names, of those of `sac_fast.testbed.probes`.
        config: of a training from the start but for its number of epochs.
    """

    images: int
    tuning: int
    independents: Mapping[Kind, tuple[int, tuple[str, ...]]]
    stolen: Mapping[str, tuple[int, tuple[str, ...]]]
    probes: int
    extraction: float = 1.0
    jpeg_probes: int | None = None
    probe_sets: tuple[str, ...] = NAMES
    config: TrainingConfig = SCRATCH


FULL = Size(
    images=60_000,
    tuning=24_000,
    independents={
        "same-data-same-architecture": (48, ("vgg",)),
        "same-data": (36, ("resnet", "densenet", "mobilenet", "resnet", "densenet", "mixer")),
        "other-data": (36, ("vgg", "resnet", "densenet", "mobilenet", "vgg", "mixer")),
    },
    stolen={
        "finetune-all": (5, ("vgg",)),
        "finetune-last": (4, ("vgg",)),
        "fine-prune": (5, ("vgg",)),
        "prune-taylor": (5, ("vgg",)),
        "prune-magnitude": (5, ("vgg",)),
        "extract-labels": (12, ("vgg", "resnet", "densenet", "mobilenet", "vgg", "mixer")),
        "extract-knockoff": (5, ("vgg", "resnet", "densenet", "mobilenet")),
        "extract-distill": (8, ("vgg", "resnet", "densenet", "mobilenet", "mixer")),
        "extract-soft-t4": (6, ("resnet", "vgg", "densenet", "mobilenet", "mixer")),
        "extract-soft-t1": (8, ("vgg", "resnet", "densenet", "mobilenet", "mixer")),
        "extract-adversarial": (4, ("vgg", "resnet", "densenet")),
        "extract-jagielski": (4, ("vgg", "resnet", "densenet")),
        "extract-second-hand": (4, ("resnet", "vgg", "densenet")),
        "prune-distill": (4, ("resnet", "vgg", "densenet")),
        "transfer-all": (5, ("vgg",)),
        "transfer-last": (4, ("vgg",)),
        "quantize-int8": (3, ("vgg",)),
        "weight-noise": (4, ("vgg",)),
        "adaptive-correlation": (5, ("vgg",)),
        "adaptive-removalnet": (4, ("vgg",)),
        "adaptive-siblings": (4, ("vgg",)),
        "adaptive-mixture": (4, ("resnet", "vgg", "densenet")),
        "n-finetune": (4, ("vgg",)),
        "prune-only": (3, ("vgg",)),
        "adversarial-finetune": (3, ("vgg",)),
    },
    probes=2000,
)
QUICK = Size(
    images=48_000,
    tuning=16_000,
    independents={
        "same-data-same-architecture": (6, ("vgg",)),
        "same-data": (5, ("resnet", "densenet", "mobilenet")),
        "other-data": (5, ("vgg", "resnet", "densenet")),
    },
    stolen={origin: (1, ("resnet",)) for origin in ATTACKS}
    | {"extract-labels": (2, ("vgg", "resnet")), "extract-soft-t1": (2, ("vgg", "densenet"))},
    probes=600,
)


@dataclass(frozen=True, kw_only=True)
class Planned(PlannedModel):
    """A `PlannedModel` of a test bed.

    Attributes:
        architecture: key of ``ARCHITECTURES``.
        data: side of the task on which a source, sibling or independent is trained; None: as its origin says.
        backbone: name of the public model (`sac_fast.testbed.backbones`) from which it, or the thief's student, is
            fine-tuned; None: it is trained from new weights.
    """

    architecture: str
    data: str | None = None
    backbone: str | None = None


def model_spec(architecture: str) -> str:
    """The architecture as the command line names it."""
    return f"{networks.__name__}:{architecture}"


def epochs(images: float, rows: int) -> int:
    """The number of epochs over the rows in which this many images are seen, at least one."""
    return max(1, round(images / rows))


def training_config(architecture: str, images: float, rows: int, base: TrainingConfig = SCRATCH) -> TrainingConfig:
    """How a network of this kind is trained from the start.

    Args:
        architecture: key of ``ARCHITECTURES``.
        images: to be seen, all epochs together.
        rows: of the training set.
        base: what else is said of the training; the optimizer of some architectures is another one.
    """
    if architecture in _ADAMW:
        return dataclasses.replace(
            base, epochs=epochs(1.5 * images, rows), optimizer="adamw", learning_rate=3e-3, weight_decay=0.05
        )
    return dataclasses.replace(base, epochs=epochs(images, rows))


def tuning_config(architecture: str, images: float, rows: int, base: TrainingConfig = SCRATCH) -> TrainingConfig:
    """How such a network is trained on from weights that are there: at a fifth of the learning rate."""
    full = training_config(architecture, images, rows, base)
    return dataclasses.replace(full, learning_rate=full.learning_rate / 5)


def plan(
    size: Size, seed: int = 0, *, names: Sequence[str] = tuple(ARCHITECTURES), attacks: Mapping[str, Attack] = ATTACKS
) -> list[Planned]:
    """List the models of a test bed, the source first, all groups evenly mixed after it.

    So the folder of a test bed that is still being trained, or was stopped, holds something of every group.

    Args:
        size: how many.
        seed: of the test bed; every model gets a seed of its own.
        names: of the architectures, the source's first.
        attacks: by origin.

    Returns:
        The models, in the order of training.
    """
    groups: list[list[Planned]] = []
    for kind in KINDS:
        count, architectures = size.independents.get(kind, (0, ()))
        role: Role = "sibling" if kind == "sibling" else "independent"
        groups.append([_planned(kind, role, i, architectures, {}) for i in range(count)])
    for origin, attack in attacks.items():
        count, architectures = size.stolen.get(origin, (0, ()))
        if attack.starts_from == "source":
            architectures = (names[0],)
        variants = attack.variants[: _MAX_VARIANTS.get(origin)]
        groups.append([_planned(origin, "stolen", i, architectures, variants[i % len(variants)]) for i in range(count)])
    # Seeds by group and place: a larger plan keeps the models that a smaller one has.
    mixed = [
        (place / len(group), number, dataclasses.replace(model, seed=seed * _MAX_MEMBERS + 100 * (number + 1) + place))
        for number, group in enumerate(groups)
        for place, model in enumerate(group)
    ]
    source = Planned(name="source", role="source", origin="source", architecture=names[0], seed=seed * _MAX_MEMBERS)
    return [source, *(model for _, _, model in sorted(mixed, key=lambda entry: entry[:2]))]


def _planned(origin: str, role: Role, index: int, architectures: Sequence[str], options: Mapping[str, Any]) -> Planned:
    """The model of this index in its group; the seed is drawn later."""
    architecture = architectures[index % len(architectures)]
    return Planned(
        name=f"{origin}-{index + 1:02}-{architecture}", role=role, origin=origin, architecture=architecture, seed=0,
        options=dict(options),
    )  # fmt: skip
