"""Test beds of one task with several sources: which models each has, and what an honest model is to another source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ..attacks import TrainingConfig
from ..attacks.attack import Attack
from ..attacks.registry import ATTACKS
from ..errors import require
from ..labelled_zoo.folder import NullKind, ZooMember
from ..labelled_zoo.plan import MAX_COUNT
from ..models.kinds import Kind
from .plan import Planned, Size, plan

#: The probes of `sac-jc` beside the plain ones; disputed ones are chosen from the outputs on these.
PROBE_SETS = ("plain", "jpeg-q15")


@dataclass(frozen=True)
class Source:
    """A source: its architecture and the half of the data, ``"a"`` or ``"b"``, on which it is trained."""

    architecture: str
    half: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.architecture}-{self.half}"


#: In the order in which ``--sources`` takes them.
SOURCES = (
    Source("vgg", "a"), Source("resnet", "a"), Source("mobilenet", "b"), Source("densenet", "b"), Source("vgg", "b"),
    Source("resnet", "b"),
)  # fmt: skip
#: Architectures of the public models.
PRETRAINED = ("vgg", "resnet", "mobilenet")
# Thefts of one source: their number and the students' architectures, 0 that of the source, 1 … those after it.
THEFTS: Mapping[str, tuple[int, ...]] = {
    "finetune-all": (0, 0),
    "finetune-last": (0, 0),
    "fine-prune": (0, 0),
    "prune-taylor": (0,),
    "prune-magnitude": (0,),
    "n-finetune": (0, 0),
    "prune-only": (0, 0),
    "adversarial-finetune": (0,),
    "extract-labels": (0, 1, 2),
    "extract-knockoff": (1, 0),
    "extract-distill": (2, 0),
    "extract-soft-t4": (1, 0),
    "extract-soft-t1": (0, 1, 2),
    "extract-adversarial": (1,),
    "extract-jagielski": (0,),
    "extract-second-hand": (1, 2),
    "prune-distill": (1,),
    "transfer-all": (0, 0),
    "transfer-last": (0, 0),
    "quantize-int8": (0,),
    "weight-noise": (0,),
    "adaptive-correlation": (0,),
    "adaptive-removalnet": (0,),
    "adaptive-siblings": (0,),
    "adaptive-mixture": (1,),
}
# Honest models of every source, of its architecture.
_OWN: Mapping[Kind, int] = {"same-data-same-architecture": 5, "other-data": 3}
# Honest models trained once, with the first source, and shared by all.
SHARED: Mapping[Kind, tuple[str, ...]] = {
    "same-data": ("densenet", "mixer"),
    "other-data": ("densenet", "mixer"),
    "other-classes": ("vgg", "resnet", "mobilenet"),
    "other-backbone": ("vgg", "resnet", "mobilenet", "vgg", "resnet", "mobilenet"),
}
_HONEST_ONLY = ("mixer",)  # needs half as many images more, and imitates badly at this size
_LAST = ("extract-adversarial", "extract-second-hand", "adaptive-mixture")
_SAME_BACKBONE = 8  # half of them on the source's data, half on the other's


@dataclass(frozen=True)
class SourcesSize:
    """How large the test beds of one task are.

    Attributes:
        images, tuning, probes, extraction, jpeg_probes, config: as in `Size`.
        siblings: of each source.
        thefts: number and students of each attack, see ``THEFTS``.
        shared: kinds of the honest models that all sources share, and their architectures, see ``SHARED``.
        honest: largest number of honest models of a kind; None: all.
        pretrained: whether sources, and most others, are fine-tuned from the public model of their architecture.
        backbone_images: that the training of a public model sees.

    Raises:
        ValueError: fewer than 0 siblings, or too many.
    """

    images: int
    tuning: int
    probes: int
    extraction: float = 1.0
    siblings: int = 19
    jpeg_probes: int = 1000
    config: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    thefts: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=lambda: THEFTS)
    shared: Mapping[Kind, tuple[str, ...]] = dataclasses.field(default_factory=lambda: SHARED)
    honest: int | None = None
    pretrained: bool = False
    backbone_images: int = 60_000

    def __post_init__(self) -> None:
        require(0 <= self.siblings <= MAX_COUNT, f"siblings must be in 0…{MAX_COUNT}", self.siblings)

    def of_source(self) -> Size:
        """What one source's test bed has but for its models."""
        return Size(
            self.images, self.tuning, {}, {}, self.probes, self.extraction, self.jpeg_probes, PROBE_SETS, self.config
        )


def plan_source(
    source: Source,
    size: SourcesSize,
    architectures: Sequence[str],
    seed_of: Callable[[str], int],
    *,
    first: bool,
    attacks: Mapping[str, Attack] = ATTACKS,
) -> list[Planned]:
    """List the models of one source's test bed, the source first.

    Args:
        source: of the test bed.
        size: how many.
        architectures: names, at least three, the source's among them.
        seed_of: the seed of the model of this name.
        first: whether the models that all sources share are trained here.
        attacks: by origin.

    Returns:
        The models, in the order of training.

    Raises:
        ValueError: the source's architecture is none of the architectures.
    """
    require(source.architecture in architectures, "architectures must hold the source's", source.architecture)
    start = architectures.index(source.architecture)
    ring = [name for name in (*architectures[start:], *architectures[:start]) if name not in _HONEST_ONLY]
    if size.pretrained:  # a thief from new weights learns too little from so few images
        ring = [name for name in ring if name in PRETRAINED]

    def most(count: int) -> int:
        return count if size.honest is None else min(count, size.honest)

    independents: dict[Kind, tuple[int, tuple[str, ...]]] = {"sibling": (size.siblings, (source.architecture,))}
    for kind, count in _OWN.items():
        independents[kind] = (most(count), (source.architecture,))
    if size.pretrained:
        independents["same-backbone"] = (most(_SAME_BACKBONE), (source.architecture,))
    if first:
        for kind, names in size.shared.items():
            own = (source.architecture,) * independents.get(kind, (0, ()))[0]
            there = tuple(name for name in names if name in architectures)[: most(len(names))]
            independents[kind] = (len(own) + len(there), (*own, *there))
    stolen = {
        origin: (len(places), tuple(ring[place % len(ring)] for place in places))
        for origin, places in size.thefts.items()
    }
    of_source = dataclasses.replace(size.of_source(), independents=independents, stolen=stolen)
    models = plan(of_source, names=ring, attacks=attacks)
    placed = _in_order([_placed(model, size.pretrained, attacks) for model in models])
    return [dataclasses.replace(model, seed=seed_of(model.name)) for model in placed]


def _in_order(models: Sequence[Planned]) -> list[Planned]:
    """The source, then siblings and others by turns, thefts that train two models last.

    So all siblings are there once half of the models are, and what is left out of a stopped run matters least.
    """
    source, *rest = models
    siblings = [model for model in rest if model.role == "sibling"]
    others = sorted((model for model in rest if model.role != "sibling"), key=lambda model: model.origin in _LAST)
    turns = [model for pair in zip_longest(siblings, others) for model in pair if model is not None]
    return [source, *turns]


def _placed(model: Planned, pretrained: bool, attacks: Mapping[str, Attack]) -> Planned:
    """The model with its side of the data and the public model from which it is fine-tuned."""
    if model.origin == "other-backbone":
        return dataclasses.replace(model, data="defender", backbone="unrelated")
    if model.origin == "same-backbone":
        number = int(model.name.split("-")[-2])
        return dataclasses.replace(model, data=("defender", "attacker")[(number + 1) % 2], backbone="public")
    student = model.role == "stolen" and attacks[model.origin].starts_from == "student"
    public = student or model.role in ("source", "sibling")
    if pretrained and public and model.architecture in PRETRAINED:
        return dataclasses.replace(model, backbone="public")
    return model


def relative_kind(member: ZooMember, home: Source, source: Source) -> NullKind:
    """What an honest model of one source's test bed is to another source.

    Args:
        member: of the test bed of ``home``: its source, a sibling of it or an independent.
        home: whose test bed it is of.
        source: the other one.

    Returns:
        Its kind.
    """
    details, architecture = member.details, member.details["kind"]
    # In a task of verification other people are no other classes, but other data.
    if details["data"] == "transfer" and member.origin != "other-data":
        return "other-classes"
    if details.get("backbone") == "unrelated":
        return "other-backbone"
    other = {"a": "b", "b": "a"}
    half = home.half if details["data"] == "defender" else other[home.half]
    if details.get("backbone") is not None and architecture == source.architecture:
        return "same-backbone"
    if half != source.half:
        return "other-data"
    return "same-data-same-architecture" if architecture == source.architecture else "same-data"
