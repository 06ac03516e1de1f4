"""Which models a simulation makes, and what decides how each of them comes out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..attacks.registry import ATTACKS, Attack
from ..attacks.training import SCRATCH, TUNING, TrainingConfig
from ..errors import ModelError, ProbeError, require
from ..io.hashing import hash_json
from ..labelled_zoo.folder import NullKind, ZooMember
from ..labelled_zoo.plan import MAX_COUNT, Architecture, PlannedModel
from ..models import Preprocessing
from ..probes import ProbeSet

_HELD_OUT = 5  # every fifth image of a set without test images of its own, drawn by the seed
_FORMAT = 1  # part of the plan hash: raised when an attack itself changes, so that its models are trained again


@dataclass(frozen=True)
class Images:
    """Images to train on and images to measure the accuracy on; one without labels has no accuracy."""

    train: ProbeSet
    test: ProbeSet | None

    @classmethod
    def split(cls, images: ProbeSet, test: ProbeSet | None, seed: int) -> Images:
        """Hold out every fifth image for the test, unless there are test images.

        Raises:
            ProbeError: too few images to hold one out.
        """
        if test is not None or images.labels is None:
            return cls(images, test)
        if len(images) < _HELD_OUT:
            raise ProbeError(f"data must hold at least {_HELD_OUT} images to hold some out, got {len(images)}")
        order = np.random.default_rng([seed, 0x7E57]).permutation(len(images))
        count = len(images) // _HELD_OUT
        return cls(images.subset(np.sort(order[count:])), images.subset(np.sort(order[:count])))

    @property
    def hash(self) -> str:
        """Of the training images and their labels: what a model's weights depend on."""
        return self.train.content_hash

    @property
    def classes(self) -> int:
        """The largest label of training and test images, plus one; 0 without labels."""
        sets = [part.labels for part in (self.train, self.test) if part is not None and part.labels is not None]
        return max((int(labels.max()) + 1 for labels in sets), default=0)


@dataclass(frozen=True)
class Setting:
    """What all models of a simulation share.

    Attributes:
        source: the architecture of the model that is stolen.
        source_hash: `weights_hash` of it.
        outputs: number of its outputs.
        preprocessing: of all models.
        thief: the thief's own images.
        owner: the images that the source was trained on, for independents on the same data; None: not known.
        surrogate: other images, for extract-knockoff.
        transfer: images of another task; None: the thief's own, with the labels ``label // 2``.
        config, tuning: see `AttackContext`.
        device: where models are trained.
    """

    source: Architecture
    source_hash: str
    outputs: int
    preprocessing: Preprocessing
    thief: Images
    owner: Images | None = None
    surrogate: ProbeSet | None = None
    transfer: Images | None = None
    config: TrainingConfig = SCRATCH
    tuning: TrainingConfig = TUNING
    device: str = "cpu"

    @property
    def other_task(self) -> tuple[Images, int]:
        """The images that a transfer is trained and measured on, and its number of classes."""
        if self.transfer is not None:
            return self.transfer, self.transfer.classes
        train, test = (None if part is None else halved(part) for part in (self.thief.train, self.thief.test))
        assert train is not None
        return Images(train, test), (self.outputs + 1) // 2


def halved(images: ProbeSet) -> ProbeSet:
    """The same images with half as many classes: ``label // 2``."""
    labels = None if images.labels is None else images.labels // 2
    return ProbeSet(images.images, labels, images.provenance)


@dataclass(frozen=True, kw_only=True)
class Planned(PlannedModel):
    """A `PlannedModel` of a simulation.

    Attributes:
        architecture: that of its weights file.
        trained: the architecture that is trained; another one only where a transfer gives it a new head.
        provenance: everything that decides the trained weights, as JSON can hold it.
    """

    architecture: Architecture
    trained: Architecture
    provenance: Mapping[str, Any]

    @property
    def plan_hash(self) -> str:
        """``"sha256:..."`` of the provenance: equal hashes, equal models."""
        return hash_json(dict(self.provenance))

    def matches(self, member: ZooMember) -> bool:
        """Whether this member was trained by the same plan hash."""
        return member.details.get("recipe_hash") == self.plan_hash


def obstacle(attack: Attack, setting: Setting) -> str | None:
    """Why an attack cannot be made with these images; None where it can."""
    labelled = setting.thief.train.labels is not None
    if attack.needs_labels and not labelled:
        return "needs labels of the thief's images"
    if attack.needs_surrogate and setting.surrogate is None:
        return "needs surrogate images"
    if attack.origin.startswith("transfer-") and not labelled and setting.transfer is None:
        return "needs labels of the thief's images, or images of another task"
    return None


def plan(
    setting: Setting,
    attacks: Sequence[str],
    *,
    students: Sequence[Architecture] = (),
    copies: int = 1,
    independents: int = 0,
    seed: int = 0,
) -> list[Planned]:
    """List the models to make: stolen ones in the order of ``attacks``, then independents by kind.

    Args:
        setting: the source, the images, the training configurations.
        attacks: origins, see `ATTACKS`.
        students: architectures of extracted and independent models; none: the source's.
        copies: models of each attack, and of each student where it starts from one; they run through the
            attack's variants. An attack without randomness is made once a variant.
        independents: models of each kind that the images allow: ``other-data`` on the thief's, and, where the
            owner's images are known, ``same-data-same-architecture`` and, with other students, ``same-data``.
        seed: a model's own follows from it and the model's name alone, so that a larger plan has the same models.

    Returns:
        The plan.

    Raises:
        ValueError: an unknown attack, or one that these images do not allow; copies or independents out of range.
        ProbeError: independents without labels.
        ModelError: labels that the source has no output for.
    """
    if unknown := [name for name in attacks if name not in ATTACKS]:
        raise ValueError(f"attacks must be among {', '.join(ATTACKS)}, got {unknown[0]!r}")
    require(1 <= copies <= MAX_COUNT, f"copies must be in 1…{MAX_COUNT}", copies)
    require(0 <= independents <= MAX_COUNT, f"independents must be in 0…{MAX_COUNT}", independents)
    for name in attacks:
        if (reason := obstacle(ATTACKS[name], setting)) is not None:
            raise ValueError(f"attack {name} {reason}")
    for what, images in (("data", setting.thief), ("source data", setting.owner)):
        if images is not None and images.classes > setting.outputs:
            raise ModelError(
                f"labels of the {what} must lie in 0…{setting.outputs - 1}, as the source has {setting.outputs} "
                f"outputs, got {images.classes - 1}"
            )
    kinds = list(students) or [setting.source]
    labels = _labels(kinds)
    planned: list[Planned] = []
    for name in dict.fromkeys(attacks):
        attack = ATTACKS[name]
        count = copies if attack.random else min(copies, len(attack.variants))
        for kind, label in (
            zip(kinds, labels, strict=True) if attack.starts_from == "student" else [(setting.source, "")]
        ):
            for copy in range(count):
                own = "-".join(part for part in (name, label, str(copy + 1)) if part)
                options = {**attack.defaults, **attack.variants[copy % len(attack.variants)]}
                planned.append(_stolen(setting, own, attack, kind, options, _seed(seed, own)))
    return planned + _independents(setting, kinds, labels, independents, seed)


def _stolen(
    setting: Setting, name: str, attack: Attack, kind: Architecture, options: Mapping[str, Any], seed: int
) -> Planned:
    weights_of = kind
    used: dict[str, Any] = {"images": setting.thief.hash}
    if attack.origin.startswith("transfer-"):
        images, classes = setting.other_task
        used["transfer"] = images.hash
        arguments = {"model": kind.spec, "outputs": classes, "model_args": dict(kind.arguments)}
        if options.get("layer") is not None:
            arguments["layer"] = options["layer"]
        weights_of = Architecture("sac_fast.attacks.transfer:with_head", arguments)
    if attack.needs_surrogate and setting.surrogate is not None:
        used["surrogate"] = setting.surrogate.content_hash
    return Planned(
        name=name, role="stolen", origin=attack.origin, seed=seed, options=options,
        architecture=weights_of, trained=kind,
        provenance=_provenance(setting, attack.origin, kind, seed, options, used),
    )  # fmt: skip


def _independents(
    setting: Setting, kinds: Sequence[Architecture], labels: Sequence[str], count: int, seed: int
) -> list[Planned]:
    if not count:
        return []
    others = [(kind, label) for kind, label in zip(kinds, labels, strict=True) if kind != setting.source]
    groups: list[tuple[NullKind, Images, list[tuple[Architecture, str]]]] = [
        ("other-data", setting.thief, list(zip(kinds, labels, strict=True)))
    ]
    if setting.owner is not None:
        if others:
            groups.append(("same-data", setting.owner, others))
        groups.append(("same-data-same-architecture", setting.owner, [(setting.source, setting.source.label)]))
    planned = []
    for origin, images, choices in groups:
        if images.train.labels is None:
            raise ProbeError(f"independents of the kind {origin} must have labelled images, got none with labels")
        for index in range(count):
            kind, label = choices[index % len(choices)]
            name = f"{origin}-{label}-{index + 1}"
            own = _seed(seed, name)
            planned.append(
                Planned(
                    name=name, role="independent", origin=origin, seed=own, architecture=kind, trained=kind,
                    provenance=_provenance(setting, origin, kind, own, {}, {"images": images.hash}),
                )
            )  # fmt: skip
    return planned


def _provenance(
    setting: Setting, origin: str, kind: Architecture, seed: int, options: Mapping[str, Any], used: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "origin": origin,
        "architecture": kind.spec,
        "architecture_args": dict(kind.arguments),
        "source": setting.source_hash if origin in ATTACKS else None,
        "preprocessing": setting.preprocessing.hash,
        "recipe": dataclasses.asdict(setting.config),
        "tuning": dataclasses.asdict(setting.tuning) if origin in ATTACKS else None,
        "seed": seed,
        "options": dict(options),
        "data": dict(used),
    }


def _labels(kinds: Sequence[Architecture]) -> list[str]:
    """Short names, different ones: callables of one name are numbered, past the names that others have."""
    names = [kind.label for kind in kinds]
    used = {name for name in names if names.count(name) == 1}
    labels = []
    for index, name in enumerate(names):
        label, number = name, names[: index + 1].count(name)
        if names.count(name) > 1:
            while (label := f"{name}{number}") in used:
                number += 1
            used.add(label)
        labels.append(label)
    return labels


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big") >> 1
