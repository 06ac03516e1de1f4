"""The task of a test bed: images of four disjoint sides, and their preprocessing."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ProbeError, require
from ..labelled_zoo.images import Images
from ..models import Preprocessing


@dataclass(frozen=True)
class Task:
    """A recognition task, shared out.

    Attributes:
        name: of the task.
        classes: names, in the order of the labels.
        defender: what the source, and independents of the kinds "same-data…", are trained on.
        attacker: the thief's own images with their true labels; independents of the kind "other-data" are trained on
            a random part of them.
        test: accuracy is measured on these.
        pool: of the probes; no model is trained on ``test`` or ``pool``.
        surrogate: other images, for the thief who has none of the kind (Knockoff); their labels are not used.
        transfer, transfer_test: the other task of the transferred models.
        transfer_classes: its classes' names.
        preprocessing: of all models.
        facts: further entries of zoo.json.
        references: uint8 (r, H, W, 3), or None. With references the task is one of verification: a network embeds (it
            returns the input of its last layer), its fingerprint is the similarities of the probes to the references
            (FRI), and it is measured by pairs of ``test``. The attacker's people are then the classes of
            ``transfer``, on which independents of the kind "other-data" are trained too, and the labels of
            ``attacker`` mean nothing.
        other_half: what defender, attacker and others are where the source is trained on the other half of the data,
            see `on_half`; None: defender and attacker change places.

    Raises:
        ProbeError: labels that are no class, or images of different sizes.
    """

    name: str
    classes: tuple[str, ...]
    defender: Images
    attacker: Images
    test: Images
    pool: Images
    surrogate: NDArray[np.uint8]
    transfer: Images
    transfer_test: Images
    transfer_classes: tuple[str, ...]
    preprocessing: Preprocessing
    facts: dict[str, Any] = field(default_factory=dict)
    references: NDArray[np.uint8] | None = None
    other_half: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        size = self.size
        for side in ("defender", "attacker", "test", "pool", "transfer", "transfer_test"):
            images: Images = getattr(self, side)
            classes = self.transfer_classes if side.startswith("transfer") else self.classes
            if not len(images):
                raise ProbeError(f"{side} of the task must hold at least one image, got none")
            if images.pixels.shape[1:3] != size:
                raise ProbeError(f"{side} must have images of {size} like defender, got {images.pixels.shape[1:3]}")
            if images.labels.min() < 0 or images.labels.max() >= len(classes):
                raise ProbeError(
                    f"labels of {side} must lie in 0…{len(classes) - 1}, "
                    f"got {images.labels.min()}…{images.labels.max()}"
                )
        if self.surrogate.shape[1:] != self.defender.pixels.shape[1:]:
            raise ProbeError(f"surrogate must have images of {size} like defender, got {self.surrogate.shape}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all images."""
        height, width = self.defender.pixels.shape[1:3]
        return int(height), int(width)

    def on_half(self, half: str) -> Task:
        """The task of a source that is trained on half ``"a"`` (this one) or ``"b"``: the same probes and test images.

        Raises:
            ValueError: another half.
            ProbeError: a task of verification that does not say what its other half is.
        """
        require(half in ("a", "b"), "half must be 'a' or 'b'", half)
        if half == "b" and self.references is not None and self.other_half is None:
            raise ProbeError("half of a task of verification must be 'a', got 'b'")
        changes = self.other_half or {"defender": self.attacker, "attacker": self.defender}
        facts = {**self.facts, "half": half}
        return dataclasses.replace(self, facts=facts, other_half=None, **(changes if half == "b" else {}))

    def describe(self) -> dict[str, Any]:
        """What zoo.json says of the task; the hash is of every pixel and label."""
        digest = hashlib.sha256()
        counts = {}
        for side in ("defender", "attacker", "test", "pool", "transfer", "transfer_test"):
            images: Images = getattr(self, side)
            counts[side] = len(images)
            digest.update(np.ascontiguousarray(images.pixels).data)
            digest.update(np.ascontiguousarray(images.labels).data)
        digest.update(np.ascontiguousarray(self.surrogate).data)
        if self.references is not None:
            counts["references"] = len(self.references)
            digest.update(np.ascontiguousarray(self.references).data)
        return {
            "name": self.name,
            "classes": list(self.classes),
            "size": list(self.size),
            "images": {**counts, "surrogate": len(self.surrogate)},
            "transfer_classes": list(self.transfer_classes),
            "hash": f"sha256:{digest.hexdigest()}",
            **self.facts,
        }
